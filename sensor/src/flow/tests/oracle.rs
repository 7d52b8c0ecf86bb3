//! Random segments against a dumb model of Linux's receive queue, and hostile ones.

use proptest::prelude::*;

use crate::flow::bench::{self, Step};

/// Mostly the bytes that belong there, sometimes others.
fn steps(differing: bool) -> impl Strategy<Value = Vec<Step>> {
    let step = (0..100_usize, 0..30_usize, 0..4_u8, 0..5_u8, 0..6_u8, 0..40_u64, any::<bool>())
        .prop_flat_map(move |(start, len, other, taken, seen, read, confirm)| {
            (0..120_u64).prop_map(move |pause| {
                let shift = u8::from(differing && other == 0) * 100;
                let bytes = (start..start + len).map(|k| (k as u8).wrapping_add(shift)).collect();
                let (taken, seen) = (taken > 0, seen > 0);
                Step { start, bytes, taken, seen, read, confirm, pause }
            })
        });
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Every segment is accepted: exactly what Linux reads, never more than is confirmed.
    #[test]
    fn reads_what_linux_reads(steps in steps(true), back in 0..150_u32) {
        bench::reads_what_linux_reads(&steps, back);
    }

    /// TCP refuses some segments, lags behind with others, and bytes are delivered unconfirmed
    /// at times: what Linux reads, or a finding.
    #[test]
    fn reads_what_linux_reads_or_says_that_it_may_not(
        steps in steps(true),
        back in 0..150_u32,
        lags in any::<bool>(),
        waits in any::<bool>(),
    ) {
        bench::reads_what_linux_reads_or_says_that_it_may_not(&steps, back, lags, waits);
    }

    /// Some segments are lost to the sensor: every byte in its place, holes of exact length.
    #[test]
    fn what_was_not_seen_is_a_gap_in_its_place(steps in steps(false), back in 0..150_u32) {
        bench::what_was_not_seen_is_a_gap_in_its_place(&steps, back);
    }

    /// Anything at all: the limits hold (`Bench::check`), the position only ever moves forward
    /// but for a restart, and everything is freed at the end.
    #[test]
    fn limits_hold_on_hostile_input(
        steps in proptest::collection::vec(
            (
                prop_oneof![0..400_u32, any::<u32>()],
                prop_oneof![0..200_usize, 0..3_usize],
                0..64_u8,
                proptest::option::of(prop_oneof![0..400_u32, any::<u32>()]),
                prop_oneof![0..60_u64, Just(u64::MAX)],
                0..400_u64,
            ),
            1..80,
        ),
        arrival in any::<bool>(),
    ) {
        bench::limits_hold_on_hostile_input(&steps, arrival);
    }
}
