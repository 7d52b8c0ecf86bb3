//! The tokens that a subject uses, and with which client each was first used.

use super::wire::wire;

/// Tokens that are told apart: a browser's, a phone's, and one that is about to end.
const TOKENS: usize = 3;

/// The token was seen from its first use on.
const WHOLE: u8 = 1;
/// The token was seen in this hour.
const NOW: u8 = 2;

/// A token and its clients, by parts of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    /// 0 where there is none.
    fingerprint: u32,
    device: u16,
    network: u16,
    /// The client of the last use.
    last: u16,
    switches: u8,
    marks: u8,
}

wire!(Held { fingerprint: u32, device: u16, network: u16, last: u16, switches: u8, marks: u8 });

/// The latest tokens, latest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    held: [Held; TOKENS],
}

wire!(Tokens { held: [Held; TOKENS] });

/// How a use compares with the token's first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// Another user agent; none where the first use is not known.
    pub(super) device_changed: Option<bool>,
    /// Another network.
    pub(super) network_changed: Option<bool>,
    /// How often it went from one client to another, up to 255.
    pub(super) switches: u8,
    /// Not used in this hour.
    pub(super) first_this_hour: bool,
}

impl Tokens {
    /// How many tokens of one hour are told apart without fail.
    pub(super) const EXACT: u16 = TOKENS as u16;

    /// An hour is over.
    pub(super) fn roll(&mut self) {
        self.held.iter_mut().for_each(|held| held.marks &= !NOW);
    }

    pub(super) fn see(&mut self, token: u64, first_use: bool, device: u16, network: u16) -> Use {
        let fingerprint = ((token >> 32) as u32).max(1);
        // Rotated, so that the same device and network don't cancel.
        let client = device ^ network.rotate_left(5);
        let known = self.held.iter().position(|held| held.fingerprint == fingerprint);
        let at = known.unwrap_or(TOKENS - 1);
        if let Some(held) = self.held.get_mut(..=at) {
            held.rotate_right(1);
        }
        let Some(held) = self.held.first_mut() else { return Use::default() };
        if known.is_none() {
            let marks = if first_use { WHOLE } else { 0 };
            *held = Held { fingerprint, device, network, last: client, switches: 0, marks };
        }
        let first_this_hour = held.marks & NOW == 0;
        held.marks |= NOW;
        if held.last != client {
            held.last = client;
            held.switches = held.switches.saturating_add(1);
        }
        let sure = known.is_some() || held.marks & WHOLE != 0;
        Use {
            device_changed: sure.then_some(held.device != device),
            network_changed: sure.then_some(held.network != network),
            switches: held.switches,
            first_this_hour,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stolen_token_changes_its_client_back_and_forth() {
        let mut tokens = Tokens::default();
        let first = tokens.see(1 << 32, true, 10, 20);
        assert_eq!(
            first,
            Use {
                device_changed: Some(false),
                network_changed: Some(false),
                switches: 0,
                first_this_hour: true,
            }
        );
        for n in 0..10 {
            let stolen = tokens.see(1 << 32, false, 11, 21);
            assert_eq!(stolen.device_changed, Some(true));
            assert_eq!((stolen.network_changed, stolen.switches), (Some(true), 2 * n + 1));
            assert_eq!(tokens.see(1 << 32, false, 10, 20).device_changed, Some(false));
        }
        // It moves, and does not come back.
        let moved = tokens.see(1 << 32, false, 10, 22);
        assert_eq!((moved.device_changed, moved.network_changed), (Some(false), Some(true)));
    }

    #[test]
    fn a_token_whose_first_use_was_not_seen_says_nothing_at_first() {
        let mut tokens = Tokens::default();
        let unknown = Use { first_this_hour: true, ..Use::default() };
        assert_eq!(tokens.see(1 << 32, false, 10, 20), unknown);
        let again = tokens.see(1 << 32, false, 10, 20);
        assert_eq!((again.device_changed, again.first_this_hour), (Some(false), false));
        tokens.roll();
        assert!(tokens.see(1 << 32, false, 10, 20).first_this_hour);
        for other in 2..5_u64 {
            tokens.see(other << 32, true, 10, 20);
        }
        assert_eq!(tokens.see(1 << 32, false, 10, 20), unknown, "forgotten");
    }
}
