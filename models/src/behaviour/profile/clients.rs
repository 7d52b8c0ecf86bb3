//! Whether a subject comes from two clients at once.

use super::wire::wire;

/// The client of the latest requests, when there was another, and how often they took turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clients {
    /// The last request of another client than the present one, seconds since 1970; 0 where there
    /// was none.
    other_s: u32,
    /// A part of the present client's hash; 0 before the first request.
    client: u16,
    /// In this hour, and in the one before.
    turns: [u8; 2],
}

wire!(Clients { other_s: u32, client: u16, turns: [u8; 2] });

impl Clients {
    /// A request of a client, `before_s` after which the subject had made its last one; seconds
    /// since another client's last request.
    pub(super) fn see(&mut self, client: u16, now_s: u32, before_s: Option<u32>) -> Option<u32> {
        let client = client.max(1);
        if client != self.client {
            if let Some(before) = before_s.filter(|_| self.client != 0) {
                self.other_s = now_s.saturating_sub(before).max(1);
                let [now, _] = &mut self.turns;
                *now = now.saturating_add(1);
            }
            self.client = client;
        }
        (self.other_s != 0).then(|| now_s.saturating_sub(self.other_s))
    }

    /// How often another client took over in the last hour, of which `past` (0..=1) lies in this
    /// one.
    pub(super) fn turns(self, past: f32) -> f32 {
        let [now, before] = self.turns;
        f32::from(now) + f32::from(before) * (1.0 - past)
    }

    /// An hour is over, and `hours - 1` with nothing in them.
    pub(super) const fn roll(&mut self, hours: u64) {
        let [now, _] = self.turns;
        self.turns = [0, if hours == 1 { now } else { 0 }];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clients_that_take_turns_are_never_long_apart() {
        let mut clients = Clients::default();
        assert_eq!(clients.see(1, 1000, None), None);
        assert_eq!(clients.see(1, 1010, Some(10)), None, "one alone has no other");
        assert_eq!(clients.see(2, 1030, Some(20)), Some(20));
        assert_eq!(clients.see(2, 1090, Some(60)), Some(80), "and it goes on counting");
        assert_eq!(clients.see(1, 1100, Some(10)), Some(10));
        assert!((clients.turns(0.0) - 2.0).abs() < 1e-6);
        clients.roll(1);
        assert!((clients.turns(0.25) - 1.5).abs() < 1e-6);
        clients.roll(2);
        assert!(clients.turns(0.0).abs() < 1e-6);
        // A clock that leaps back, and a client whose hash is 0.
        assert_eq!(clients.see(7, 5, Some(u32::MAX)), Some(4));
        assert_eq!(clients.see(0, 6, Some(1)), Some(1));
        assert_eq!(clients.see(1, 9, Some(3)), Some(4), "0 is taken for 1");
    }
}
