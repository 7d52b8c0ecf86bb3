//! Feeds the reader of described requests; see [`crate::fuzz`].

use serde_json::Value;

use super::Vouched;
use crate::{
    time::Time,
    token::{FingerprintKey, Judge, JudgeConfig},
};

/// A body that was read as JSON; what it describes is judged.
pub(crate) fn described(value: &Value, now: Time) {
    let Ok(vouched) = Vouched::from_json(value, now) else { return };
    let judge = Judge::new(JudgeConfig {
        cache_entries: 1,
        ..JudgeConfig::new(FingerprintKey::new([7; 16]))
    });
    judge.vouched(&vouched.claims, now);
}
