//! What `feedback` and `model` ask of the daemon, and what `status` says of both.

use serde::{Deserialize, Serialize};

use crate::{
    history::{Comparison, RecorderStatus},
    score::Label,
};

/// What somebody says of an event, or a look at what was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedbackRequest {
    /// Says what an event was.
    Add {
        /// The event's id.
        event: String,
        /// What it was.
        label: Label,
        /// Why.
        note: String,
        /// For how long that counts for the like of it, in seconds; as configured when absent.
        seconds: Option<u64>,
    },
    /// Takes back what was said.
    Remove {
        /// The event's id.
        event: String,
    },
    /// Lists what was said.
    List {
        /// How many at most.
        limit: usize,
    },
}

/// The answer to what somebody said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedbackAnswer {
    /// The event's id.
    pub event: String,
    /// What it was; of a removal, what it was called before.
    pub label: Label,
    /// Until when that counts for the like of it, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// What its score rested on, as `source:id`; where there is nothing, nothing is like it.
    pub reasons: Vec<String>,
}

/// A label as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedLabel {
    /// The event's id.
    pub event: String,
    /// What it was.
    pub label: Label,
    /// When it happened, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// When that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Until when it counts for the like of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// What its score rested on.
    pub reasons: Vec<String>,
}

/// The answer to [`FeedbackRequest::List`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelList {
    /// The labels, the latest first.
    pub labels: Vec<ListedLabel>,
    /// How many there are.
    pub total: usize,
}

/// A change of the behaviour model in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelRequest {
    /// Puts a model in force.
    Promote {
        /// Its file, an absolute path; the one in shadow when absent.
        file: Option<String>,
    },
    /// Puts the configured one in force again.
    Demote,
}

/// The behaviour model in force and the one in shadow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelsStatus {
    /// In force; absent where nothing is scored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behaviour: Option<ModelStatus>,
    /// In shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowStatus>,
    /// What people said of events.
    pub labels: LabelCounts,
    /// What is kept of scored exchanges.
    pub history: RecorderStatus,
}

/// A behaviour model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelStatus {
    /// `built-in`, `file` or `promoted`.
    pub from: String,
    /// The file it was read from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its name: the first digits of its checksum.
    pub model: String,
    /// The probability from which on it raises an alert.
    pub threshold: f32,
    /// When it was promoted, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<String>,
}

/// A behaviour model in shadow, and how it compares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShadowStatus {
    /// The file it was read from.
    pub file: String,
    /// Its name: the first digits of its checksum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The probability from which on it would raise an alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// Why there is no comparison: it is the model in force, or could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<String>,
    /// Since when they are compared, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The counts.
    pub comparison: Comparison,
    /// Suspicious to the model in force alone.
    pub only_current: u64,
    /// Suspicious to the shadow alone.
    pub only_shadow: u64,
    /// The mean difference of their probabilities, without its sign.
    pub mean_difference: f64,
}

/// What people said of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCounts {
    /// Events that were benign.
    pub benign: u64,
    /// Events that were malicious.
    pub malicious: u64,
    /// Of both, those that do not count for the like of them any more.
    pub ended: u64,
}
