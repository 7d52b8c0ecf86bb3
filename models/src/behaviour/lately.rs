//! Routes of paths that were asked for lately.
//!
//! A service has few routes and many objects: paths repeat but for the numbers in them. A path is
//! remembered with its numbers left out, by all of its other bytes, so that no other is ever taken
//! for it.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

use super::{
    Route,
    route::{MAX_DIGITS, MAX_METHOD, MAX_SEGMENTS, Templates, number},
};
use crate::numbers::{self, Numbers};

/// Paths that are kept, a power of two; 40 KiB in all.
const SLOTS: usize = 256;

/// Bytes of method and path; longer ones are read each time.
const MAX_LEN: usize = 120;

/// Finds routes, and remembers the latest.
pub struct Routes {
    templates: Templates,
    kept: Vec<Kept>,
    /// Method and path of the request that is read, with zeros in the place of numbers.
    key: Vec<u8>,
    /// Whoever fills a slot on purpose makes one path be read again, no more.
    hasher: FixedState,
}

impl std::fmt::Debug for Routes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Routes")
    }
}

#[derive(Clone, Copy)]
struct Kept {
    /// Method and path, with zeros in the place of numbers.
    key: [u8; MAX_LEN],
    len: u8,
    service: u64,
    template: u64,
    object: Which,
}

/// What a path names.
#[derive(Clone, Copy)]
enum Which {
    /// The last of its numbers.
    LastNumber,
    /// Always this, or nothing.
    Always(Option<u64>),
}

impl Kept {
    const NONE: Self =
        Self { key: [0; MAX_LEN], len: 0, service: 0, template: 0, object: Which::Always(None) };

    fn key(&self) -> &[u8] {
        self.key.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl Routes {
    /// Under a secret of the installation.
    #[must_use]
    pub fn new(key: [u8; 16]) -> Self {
        Self {
            templates: Templates::new(key),
            kept: Vec::new(),
            key: Vec::with_capacity(MAX_LEN),
            hasher: FixedState::default(),
        }
    }

    /// As [`Templates::route`].
    pub fn route(&mut self, service: u64, method: &[u8], target: &[u8]) -> Route {
        let end = target.iter().position(|b| *b == b'?').unwrap_or(target.len());
        let (path, query) = target.split_at(end);
        let Some(numbers) = self.read(method, path) else {
            return self.templates.route(service, method, target);
        };
        #[expect(clippy::cast_possible_truncation, reason = "the lower bits are as good")]
        let slot = self.hasher.hash_one(&*self.key) as usize % SLOTS;
        let known =
            self.kept.get(slot).filter(|kept| kept.service == service && kept.key() == self.key);
        let (template, object) = match known {
            Some(kept) => (kept.template, kept.object),
            None => self.keep(slot, service, method, path, &numbers),
        };
        let last = || path.get(numbers.last.clone()?).and_then(number);
        let object = match object {
            Which::LastNumber => last(),
            // A query names an object where the path doesn't.
            Which::Always(None) if !query.is_empty() => {
                return self.templates.route(service, method, target);
            }
            Which::Always(object) => object,
        };
        Route { template, object }
    }

    /// Makes the key of a plain method and of a path that meets none of the limits of a template.
    fn read(&mut self, method: &[u8], path: &[u8]) -> Option<Numbers> {
        self.key.clear();
        if method.len() + path.len() > MAX_LEN || !method.iter().all(u8::is_ascii_uppercase) {
            return None;
        }
        self.key.extend_from_slice(method);
        let numbers = numbers::leave_out(path, &mut self.key)?;
        // Longer numbers are taken for text.
        let is_short = numbers.longest <= MAX_DIGITS && numbers.segments <= MAX_SEGMENTS;
        (is_short && method.len() <= MAX_METHOD).then_some(numbers)
    }

    /// Reads a path and keeps what it came to.
    fn keep(
        &mut self,
        slot: usize,
        service: u64,
        method: &[u8],
        path: &[u8],
        numbers: &Numbers,
    ) -> (u64, Which) {
        let Route { template, object } = self.templates.route(service, method, path);
        // Of all objects the last one counts.
        let object = match &numbers.last {
            Some(last) => {
                let behind = path.get(last.end..).unwrap_or_default();
                match self.templates.route(service, b"", behind).object {
                    None => Which::LastNumber,
                    Some(_) => Which::Always(object),
                }
            }
            None => Which::Always(object),
        };
        if self.kept.is_empty() {
            self.kept.resize(SLOTS, Kept::NONE);
        }
        if let Some(kept) = self.kept.get_mut(slot)
            && let Some(key) = kept.key.get_mut(..self.key.len())
            && let Ok(len) = u8::try_from(self.key.len())
        {
            key.copy_from_slice(&self.key);
            *kept = Kept { key: kept.key, len, service, template, object };
        }
        (template, object)
    }
}

const _: () = assert!(SLOTS.is_power_of_two() && MAX_LEN < 256);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A target of segments that classify in all ways, so that numbers stand before and behind
    /// objects of other kinds.
    fn target() -> impl Strategy<Value = String> {
        let segment = prop_oneof![
            4 => "[0-9]{1,4}",
            1 => "[0-9]{16,20}",
            3 => "[a-z]{1,8}",
            1 => "v[0-9]",
            1 => "[a-z]{3}-[0-9]{3,4}",
            1 => "[0-9]{1,3}\\.(json|xml|[0-9])",
            1 => "[0-9a-f]{8}-[0-9a-f]{4}",
            1 => "cus_[A-Za-z0-9]{6}",
            1 => "[0-9]{4}-[0-9]{2}",
            1 => Just(String::new()),
            1 => Just(".".to_owned()),
            1 => "[a-z%;@:]{1,4}",
        ];
        let query = prop_oneof![
            5 => Just(String::new()),
            1 => "\\?(id|page|x)=[a-z0-9]{1,3}(&page=[0-9])?",
            1 => "#[a-z]",
        ];
        (prop::collection::vec(segment, 0..6), query)
            .prop_map(|(segments, query)| format!("/{}{query}", segments.join("/")))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn a_remembered_route_is_the_one_that_is_read(
            targets in prop::collection::vec((target(), 0_u64..3, prop_oneof!["GET", "POST", "x"]), 1..12),
            numbers in prop::collection::vec(0_u64..20, 12),
        ) {
            let mut routes = Routes::new([7; 16]);
            let templates = Templates::new([7; 16]);
            for _ in 0..2 {
                for (target, service, method) in &targets {
                    // The same path with other numbers in it.
                    let mut numbers = numbers.iter().cycle();
                    let other: Vec<String> = target
                        .split('/')
                        .map(|part| match part.parse::<u64>() {
                            Ok(_) => numbers.next().unwrap().to_string(),
                            Err(_) => part.to_owned(),
                        })
                        .collect();
                    for target in [target.clone(), other.join("/")] {
                        let (method, target) = (method.as_bytes(), target.as_bytes());
                        let read = templates.route(*service, method, target);
                        prop_assert_eq!(routes.route(*service, method, target), read);
                    }
                }
            }
        }
    }

    #[test]
    fn limits_are_those_of_reading() {
        let mut routes = Routes::new([7; 16]);
        let templates = Templates::new([7; 16]);
        for segments in [1, 31, 32, 33, 40] {
            for target in [
                "/1".repeat(segments),
                "/a".repeat(segments),
                format!("{}/7", "/a".repeat(segments)),
                format!("{}/77?id=3", "/".repeat(segments)),
                format!("/{}/{}", "a".repeat(segments * 3), "1".repeat(segments)),
            ] {
                for target in [target.as_bytes(), target.as_bytes()] {
                    let read = templates.route(1, b"GET", target);
                    assert_eq!(routes.route(1, b"GET", target), read);
                }
            }
        }
        for target in ["", "*", "/", "a/1", "1", "/1", "//1//"] {
            let read = templates.route(1, b"GET", target.as_bytes());
            assert_eq!(routes.route(1, b"GET", target.as_bytes()), read, "{target}");
        }
    }
}
