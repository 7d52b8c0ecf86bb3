//! Metrics as text: OpenMetrics 1.0, and the older text format of Prometheus, 0.0.4.

use std::fmt::Write as _;

use super::{Family, Kind, Number};

/// A form of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, 0.0.4.
    Prometheus,
}

impl Exposition {
    /// The form that a scraper asks for in `Accept`: the older one unless it names the newer.
    #[must_use]
    pub fn wanted(accept: &str) -> Self {
        let kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
        let mut kinds = kinds.map(str::to_ascii_lowercase);
        match kinds.any(|kind| kind == "application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    /// The value of `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes metrics; those without a value are named all the same.
#[must_use]
pub fn expose(families: &[Family], form: Exposition) -> String {
    let mut to = String::with_capacity(16 << 10);
    for family in families {
        let open = form == Exposition::OpenMetrics;
        let suffix = match family.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        // The older form knows no suffixes of a family, and no infos.
        let (name, kind) = match (open, family.kind) {
            (true, kind) => (family.name.to_owned(), kind.as_str()),
            (false, Kind::Info) => (format!("{}{suffix}", family.name), "gauge"),
            (false, kind) => (format!("{}{suffix}", family.name), kind.as_str()),
        };
        let _ = writeln!(to, "# TYPE {name} {kind}");
        if open && !family.unit.is_empty() {
            let _ = writeln!(to, "# UNIT {name} {}", family.unit);
        }
        let _ = writeln!(to, "# HELP {name} {}", family.help);
        for sample in &family.samples {
            let labels: Vec<(&str, &str)> =
                sample.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            match &sample.value {
                Number::Int(value) => {
                    line(&mut to, family.name, suffix, &labels, &value.to_string());
                }
                Number::Histogram(histogram) => {
                    for (bound, count) in histogram.cumulative() {
                        // OpenMetrics wants bounds as floats in their canonical form.
                        let bound = bound.map_or("+Inf".to_owned(), |bound| format!("{bound:?}"));
                        let labels: Vec<_> =
                            labels.iter().copied().chain([("le", bound.as_str())]).collect();
                        line(&mut to, family.name, "_bucket", &labels, &count.to_string());
                    }
                    let count = histogram.count().to_string();
                    line(&mut to, family.name, "_count", &labels, &count);
                    let sum = format!("{:?}", histogram.sum);
                    line(&mut to, family.name, "_sum", &labels, &sum);
                }
            }
        }
    }
    if form == Exposition::OpenMetrics {
        to.push_str("# EOF\n");
    }
    to
}

fn line(to: &mut String, name: &str, suffix: &str, labels: &[(&str, &str)], value: &str) {
    to.push_str(name);
    to.push_str(suffix);
    for (i, (label, value)) in labels.iter().enumerate() {
        to.push(if i == 0 { '{' } else { ',' });
        let _ = write!(to, "{label}=\"");
        for c in value.chars() {
            match c {
                '\\' => to.push_str("\\\\"),
                '"' => to.push_str("\\\""),
                '\n' => to.push_str("\\n"),
                c => to.push(c),
            }
        }
        to.push('"');
    }
    if !labels.is_empty() {
        to.push('}');
    }
    let _ = writeln!(to, " {value}");
}
