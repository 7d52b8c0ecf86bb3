//! Time as the pure stages see it: handed in, never read from a clock.
#![forbid(unsafe_code)]

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// A point in time, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);

    /// The time `nanos` nanoseconds after the Unix epoch.
    #[must_use]
    pub const fn from_unix_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The time `secs` whole seconds after the Unix epoch; saturates in the year 2554.
    #[must_use]
    pub const fn from_unix_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Reads RFC 3339, or whole seconds since 1970.
    ///
    /// # Errors
    /// What the text is instead.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if let Ok(seconds) = text.parse::<u64>() {
            return Ok(Self::from_unix_secs(seconds));
        }
        let time: jiff::Timestamp =
            text.parse().map_err(|_| "neither RFC 3339 nor seconds since 1970")?;
        let nanos = u64::try_from(time.as_nanosecond()).map_err(|_| "before 1970")?;
        Ok(Self::from_unix_nanos(nanos))
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn unix_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// The time that a clock shows which is set by `nanos`, forward or back.
    #[must_use]
    pub const fn moved(self, nanos: i64) -> Self {
        Self(self.0.saturating_add_signed(nanos))
    }

    /// How long after `earlier` this is; zero where the clock went backwards.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// RFC 3339 in UTC with microseconds, `2026-11-21T09:00:00.000001Z`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Civil date from days since the epoch, after Howard Hinnant's `civil_from_days`
        // (public domain): this stands on the hot path of every event line.
        let micros = self.0 / 1_000;
        let (secs, micros) = (micros / 1_000_000, micros % 1_000_000);
        let (days, secs) = (secs / 86_400, secs % 86_400);
        let z = days + 719_468;
        let (era, doe) = (z / 146_097, z % 146_097);
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + u64::from(month <= 2);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        // Each group of digits from its last one, with the number that is written there.
        for (last, digits, mut number) in [
            (3, 4, year),
            (6, 2, month),
            (9, 2, day),
            (12, 2, secs / 3_600),
            (15, 2, secs / 60 % 60),
            (18, 2, secs % 60),
            (25, 6, micros),
        ] {
            for at in 0..digits {
                if let Some(digit) = text.get_mut(last - at) {
                    *digit = b'0' + (number % 10) as u8;
                }
                number /= 10;
            }
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::Time;

    #[test]
    fn prints_rfc_3339_like_jiff_over_five_centuries() {
        for k in 0..5_000_u64 {
            let nanos =
                k.wrapping_mul(3_689_348_814_741_911) % (500 * 365 * 86_400 * 1_000_000_000);
            let ours = Time::from_unix_nanos(nanos).to_string();
            let theirs = jiff::Timestamp::from_microsecond((nanos / 1_000) as i64).unwrap();
            assert_eq!(ours, format!("{theirs:.6}"));
        }
    }
}
