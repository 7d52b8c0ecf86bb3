//! The services on this host, and whose tokens they take.

use smallvec::SmallVec;

use super::{
    clock::Second,
    persist::{Reader, Record},
    table::Entry,
};

/// Audiences that are learned of one service. With more, the learned set says nothing: a service
/// that takes any audience is no place that a token is relayed to.
pub const MAX_LEARNED_AUDIENCES: usize = 64;
/// Subjects that are told apart for one learned audience.
const MAX_SUBJECTS: usize = 32;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Learned {
    pub(super) audience: u64,
    /// Different subjects whose verified tokens for this audience the service answered 2xx.
    pub(super) subjects: SmallVec<[u32; 8]>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) key: u128,
    /// Never given twice, so that what tokens remember of a forgotten service means nothing.
    pub(super) id: u32,
    pub(super) end: Second,
    /// Verified tokens with an audience that it answered 2xx.
    pub(super) accepted: u32,
    pub(super) learned: Vec<Learned>,
    /// There were more audiences than fit: the learned set isn't complete and says nothing.
    pub(super) overflowed: bool,
}

impl Entry for Service {
    fn key(&self) -> u128 {
        self.key
    }

    fn deadline(&self) -> Second {
        self.end
    }
}

impl Service {
    pub(super) fn learn(&mut self, audiences: &[u64], subject: u32) {
        self.accepted = self.accepted.saturating_add(1);
        for &audience in audiences {
            let known = self.learned.iter().position(|l| l.audience == audience);
            let at = match known {
                Some(at) => at,
                None if self.learned.len() < MAX_LEARNED_AUDIENCES => {
                    self.learned.push(Learned { audience, subjects: SmallVec::new() });
                    self.learned.len() - 1
                }
                None => {
                    self.overflowed = true;
                    continue;
                }
            };
            if let Some(learned) = self.learned.get_mut(at)
                && learned.subjects.len() < MAX_SUBJECTS
                && !learned.subjects.contains(&subject)
            {
                learned.subjects.push(subject);
            }
        }
    }

    /// Whether enough tokens of enough subjects were accepted to say what the service takes.
    pub(super) fn is_mature(&self, tokens: u32, subjects: usize) -> bool {
        !self.overflowed
            && self.accepted >= tokens
            && self.learned.iter().any(|l| l.subjects.len() >= subjects.min(MAX_SUBJECTS))
    }

    /// How many different subjects the service accepted with this audience.
    pub(super) fn subjects_of(&self, audience: u64) -> usize {
        self.learned.iter().find(|l| l.audience == audience).map_or(0, |l| l.subjects.len())
    }
}

impl Record for Service {
    const KIND: u8 = 3;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.key.to_le_bytes());
        out.extend(self.id.to_le_bytes());
        out.extend(self.end.to_le_bytes());
        out.extend(self.accepted.to_le_bytes());
        out.push(u8::from(self.overflowed));
        for learned in &self.learned {
            out.extend(learned.audience.to_le_bytes());
            out.push(learned.subjects.len() as u8);
            for subject in &learned.subjects {
                out.extend(subject.to_le_bytes());
            }
        }
    }

    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let mut service = Self {
            key: r.u128()?,
            id: r.u32()?,
            end: r.u32()?,
            accepted: r.u32()?,
            overflowed: r.u8()? != 0,
            learned: Vec::new(),
        };
        while !r.is_empty() && service.learned.len() < MAX_LEARNED_AUDIENCES {
            let audience = r.u64()?;
            let count = usize::from(r.u8()?).min(MAX_SUBJECTS);
            let subjects = (0..count).map(|_| r.u32()).collect::<Option<_>>()?;
            service.learned.push(Learned { audience, subjects });
        }
        Some(service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_says_nothing_before_it_has_accepted_enough() {
        let mut service = Service::default();
        for k in 0..8 {
            assert!(!service.is_mature(20, 8));
            service.learn(&[1], k);
        }
        for _ in 8..20 {
            // Enough subjects, too few tokens.
            assert!(!service.is_mature(20, 8));
            service.learn(&[2], 1);
        }
        assert!(service.is_mature(20, 8));
        assert!(!service.is_mature(20, 9));
        // One subject alone makes no audience.
        assert_eq!((service.subjects_of(1), service.subjects_of(2)), (8, 1));
        // Who takes any audience has none.
        (0..=MAX_LEARNED_AUDIENCES as u64).for_each(|a| service.learn(&[a], 1));
        assert!(!service.is_mature(20, 8));
    }
}
