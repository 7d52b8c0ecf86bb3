//! What the daemon counts, as metrics: for Prometheus (text, over HTTP) and for OpenTelemetry.
//!
//! The only source is [`Status`], which the daemon makes when somebody asks; [`Source`] lets others
//! wait for it without holding the daemon up. docs/metrics.md has a row for every metric.
#![forbid(unsafe_code)]

mod families;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod otlp;
#[cfg(test)]
pub(crate) mod samples;
mod server;
mod source;
#[cfg(test)]
mod tests;
mod text;

pub use self::{
    families::{Family, Kind, Number, Sample, families},
    otlp::Exporter,
    server::Server,
    source::Source,
    text::{Exposition, expose},
};
