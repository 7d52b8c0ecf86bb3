//! Request targets of which the kernel copies the answers further than others.
//!
//! Key sets are longer than the budget of an ordinary answer. The kernel knows them by their
//! request: the daemon tells it the targets where it met one, and the answers from the next on are
//! whole. Which answer came before the daemon knew of it does not matter: sets are served again.

use jotwatch_common::{TARGETS, Target};

/// The targets, the lasting ones first; of the others the one told least recently gives way.
#[derive(Debug)]
pub(super) struct Whole {
    targets: [Target; TARGETS],
    lasting: usize,
    next: usize,
}

impl Whole {
    /// `lasting` are kept for good; half of the room at most is theirs.
    pub(super) fn new<'a>(lasting: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut whole = Self { targets: [Target::default(); TARGETS], lasting: 0, next: 0 };
        for target in lasting.into_iter().filter_map(Target::new) {
            if whole.lasting < TARGETS / 2 && !whole.targets.contains(&target) {
                whole.targets[whole.lasting] = target;
                whole.lasting += 1;
            }
        }
        whole.next = whole.lasting;
        whole
    }

    /// Adds a target; `false` where it is there, or too short to be told from others.
    pub(super) fn add(&mut self, target: &[u8]) -> bool {
        let Some(target) = Target::new(target).filter(|target| !self.targets.contains(target))
        else {
            return false;
        };
        self.targets[self.next] = target;
        self.next += 1;
        if self.next == TARGETS {
            self.next = self.lasting;
        }
        true
    }

    /// As the kernel has them.
    pub(super) fn words(&self) -> [[u64; 3]; TARGETS] {
        bytemuck::cast(self.targets)
    }
}

#[cfg(test)]
mod tests {
    use super::{TARGETS, Target, Whole};

    /// What the kernel compares.
    fn fits(target: &Target, request: &[u8]) -> bool {
        let word = |at: usize| {
            let bytes = request.get(at..at + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().unwrap()))
        };
        word(0) == Some(target.first) && word(target.at as usize) == Some(target.last)
    }

    #[test]
    fn a_target_fits_its_own_requests_and_few_others() {
        for text in ["/ks", "/keys", "/a/b", "/.well-known/jwks.json", "/realms/x/certs?a=b"] {
            let target = Target::new(text.as_bytes()).unwrap();
            for version in ["1.1\r\nHost: a\r\n\r\n", "1.0\r\n\r\n"] {
                assert!(fits(&target, format!("GET {text} HTTP/{version}").as_bytes()), "{text}");
            }
            for other in ["/", "/ky", "/keyz", "/a/c", "/.well-known/jwks.jsonx", "/realms/x/"] {
                assert!(!fits(&target, format!("GET {other} HTTP/1.1\r\n\r\n").as_bytes()));
            }
            assert!(!fits(&target, format!("PUT {text} HTTP/1.1\r\n\r\n").as_bytes()));
        }
        assert_eq!(Target::new(b"/"), None);
        assert_eq!(Target::new(&[b'a'; 70_000]), None);
    }

    #[test]
    fn the_oldest_gives_way_and_the_lasting_ones_stay() {
        let text = |n: usize| format!("/issuer-{n}/keys").into_bytes();
        let lasting = [b"/.well-known/keys".as_slice(), b"/.well-known/keys", b"/"];
        let mut whole = Whole::new(lasting);
        assert_eq!(whole.lasting, 1);
        assert!((0..TARGETS).all(|n| whole.add(&text(n))));
        assert!(!whole.add(&text(TARGETS - 1)) && !whole.add(b"/") && !whole.add(lasting[0]));
        let has = |n: usize| whole.targets.contains(&Target::new(&text(n)).unwrap());
        assert!(!has(0) && (1..TARGETS).all(has));
        assert_eq!(whole.targets[0], Target::new(lasting[0]).unwrap());

        let many: Vec<_> = (0..TARGETS).map(text).collect();
        let whole = Whole::new(many.iter().map(|target| &target[..]));
        assert_eq!(whole.lasting, TARGETS / 2);
    }
}
