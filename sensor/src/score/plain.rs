//! Features of the behaviour model in plain words.

use jotwatch_models::behaviour::Feature;

/// What a feature's value says, with its unit, to be read by a person.
pub(super) fn words(feature: &Feature, value: f32) -> String {
    if value.is_nan() {
        return format!("not known: {}", feature.source);
    }
    format!("{value:.1} {}: {}", feature.unit, feature.source)
}
