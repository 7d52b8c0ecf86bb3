//! What became of every request start that the kernel counted.
//!
//! The kernel counts a request where its first bytes pass, before it knows whether there is room
//! in the ring; the daemon counts one where its head is complete. Both agree because each counted
//! start is followed by its sequence number until it is one of: the start of a request, lost by a
//! named cause, or no request at all. Then, at any moment and for any input,
//!
//! ```text
//! taken + unmarked - mistaken = begun + cut + incomplete + malformed + evicted + open
//! ```

use smallvec::SmallVec;

/// Starts of one connection that are followed at once; more than these wait only where a client
/// sends turn after turn that the service's TCP never confirms.
const MAX_OPEN: usize = 256;

/// Counts of request starts. All count up but `open`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StartStats {
    /// Starts that the kernel counted and whose bytes arrived here.
    pub taken: u64,
    /// Requests that began where the kernel counted none: pipelined behind another in one
    /// segment, or by an unusual method.
    pub unmarked: u64,
    /// Starts that were no request: bytes of a body or of another protocol that look like one.
    pub mistaken: u64,
    /// Requests whose head is complete. They are judged, at the latest when their body ends.
    pub begun: u64,
    /// Lost: a part of the head is missing.
    pub cut: u64,
    /// Lost: the connection ended before its head did.
    pub incomplete: u64,
    /// Lost: the head can't be read.
    pub malformed: u64,
    /// Lost: the connection was given up over a limit.
    pub evicted: u64,
    /// Gauge: starts whose head is not complete.
    pub open: u64,
}

/// Why a start is no more to become a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Cut,
    Incomplete,
    Malformed,
    Evicted,
    Mistaken,
}

impl StartStats {
    fn count(&mut self, fate: Fate, n: usize) {
        let n = n as u64;
        self.open -= n;
        *match fate {
            Fate::Cut => &mut self.cut,
            Fate::Incomplete => &mut self.incomplete,
            Fate::Malformed => &mut self.malformed,
            Fate::Evicted => &mut self.evicted,
            Fate::Mistaken => &mut self.mistaken,
        } += n;
    }
}

/// The open starts of one connection, by sequence number, in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Starts(SmallVec<[u32; 4]>);

impl Starts {
    /// A counted start arrived.
    pub(super) fn take(&mut self, seq: u32, stats: &mut StartStats) {
        stats.taken += 1;
        stats.open += 1;
        if self.0.len() < MAX_OPEN {
            self.0.push(seq);
        } else {
            // Its request will be one that nobody marked: the sum stays right.
            stats.count(Fate::Mistaken, 1);
        }
    }

    /// The bytes before `seq` were read as HTTP, and `begun` requests begin in them. A start among
    /// them that is none of these met `otherwise`.
    pub(super) fn read_upto(
        &mut self,
        seq: u32,
        begun: u64,
        otherwise: Fate,
        stats: &mut StartStats,
    ) {
        stats.begun += begun;
        let passed = self.pass(seq);
        let matched = passed.min(usize::try_from(begun).unwrap_or(usize::MAX));
        stats.open -= matched as u64;
        stats.unmarked += begun - matched as u64;
        stats.count(otherwise, passed - matched);
    }

    /// The bytes before `seq` are passed over.
    pub(super) fn lose_upto(&mut self, seq: u32, fate: Fate, stats: &mut StartStats) {
        let passed = self.pass(seq);
        stats.count(fate, passed);
    }

    /// Nothing more is read of the connection.
    pub(super) fn lose_all(&mut self, fate: Fate, stats: &mut StartStats) {
        stats.count(fate, self.0.len());
        self.0.clear();
    }

    /// Takes out the starts before `seq`; gives their number.
    fn pass(&mut self, seq: u32) -> usize {
        let before = self.0.len();
        if before > 0 {
            self.0.retain(|start| (seq.wrapping_sub(*start) as i32) <= 0);
        }
        before - self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Fate, MAX_OPEN, StartStats, Starts};

    fn balances(stats: &StartStats, open: usize) {
        assert_eq!(stats.open, open as u64);
        assert_eq!(
            stats.taken + stats.unmarked - stats.mistaken,
            stats.begun
                + stats.cut
                + stats.incomplete
                + stats.malformed
                + stats.evicted
                + stats.open,
            "{stats:?}"
        );
    }

    #[test]
    fn a_start_is_matched_across_the_wrap_of_sequence_numbers() {
        let (mut starts, mut stats) = (Starts::default(), StartStats::default());
        starts.take(u32::MAX - 1, &mut stats);
        starts.read_upto(u32::MAX - 1, 0, Fate::Malformed, &mut stats);
        assert_eq!(stats.open, 1);
        starts.read_upto(40, 1, Fate::Malformed, &mut stats);
        assert_eq!((stats.open, stats.begun, stats.unmarked, stats.malformed), (0, 1, 0, 0));
    }

    #[test]
    fn pipelined_requests_are_unmarked() {
        let (mut starts, mut stats) = (Starts::default(), StartStats::default());
        starts.take(0, &mut stats);
        starts.read_upto(100, 10, Fate::Malformed, &mut stats);
        assert_eq!((stats.taken, stats.unmarked, stats.begun), (1, 9, 10));
        balances(&stats, 0);
    }

    #[test]
    fn more_open_starts_than_are_followed_keep_the_sum() {
        let (mut starts, mut stats) = (Starts::default(), StartStats::default());
        for seq in 0..2 * MAX_OPEN as u32 {
            starts.take(seq, &mut stats);
        }
        balances(&stats, MAX_OPEN);
        starts.read_upto(u32::MAX / 2, 2 * MAX_OPEN as u64, Fate::Malformed, &mut stats);
        balances(&stats, 0);
        assert_eq!(stats.begun, 2 * MAX_OPEN as u64);
    }

    proptest! {
        #[test]
        fn every_start_meets_one_fate(
            from in any::<u32>(),
            steps in prop::collection::vec((0..4u8, 1..5000u32, 0..4u64, 0..5u8), 0..60),
        ) {
            let fates =
                [Fate::Cut, Fate::Incomplete, Fate::Malformed, Fate::Evicted, Fate::Mistaken];
            let (mut starts, mut stats) = (Starts::default(), StartStats::default());
            let (mut sent, mut model) = (from, Vec::<u32>::new());
            for (what, bytes, begun, fate) in steps {
                let fate = fates[usize::from(fate)];
                match what {
                    0 | 1 => {
                        starts.take(sent, &mut stats);
                        model.push(sent.wrapping_sub(from));
                        sent = sent.wrapping_add(bytes);
                    }
                    2 => {
                        starts.read_upto(sent.wrapping_sub(bytes), begun, fate, &mut stats);
                        let upto = i64::from(sent.wrapping_sub(from)) - i64::from(bytes);
                        model.retain(|start| i64::from(*start) >= upto);
                    }
                    _ => {
                        starts.lose_upto(sent, fate, &mut stats);
                        model.clear();
                    }
                }
                balances(&stats, model.len());
            }
            starts.lose_all(Fate::Evicted, &mut stats);
            balances(&stats, 0);
        }
    }
}
