//! Metrics over the OpenTelemetry protocol, every so often.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use prost::Message as _;

use super::{Family, Kind, Number, Sample, Source, families};
use crate::{
    confine::{self, Reach},
    histogram::BOUNDS,
    sinks::{
        format::Origin,
        http::{Poster, Reply},
        otlp::{
            INTERVAL_DEFAULT, OtlpConfig, PROTOBUF,
            messages::{
                ExportMetrics, Gauge, Histogram, HistogramPoint, Metric, MetricData, NumberPoint,
                NumberValue, ResourceMetrics, ScopeMetrics, Sum, attributes,
            },
            now, partial, resource, scope,
        },
    },
    time::Time,
};

/// Values count up from the start that their points name.
const CUMULATIVE: i32 = 2;

/// Sends as long as it is there.
#[derive(Debug)]
pub struct Exporter {
    stop: Arc<AtomicBool>,
    thread: Thread,
}

impl Exporter {
    /// Sends from now on, the first time after one interval.
    ///
    /// # Errors
    /// A file that the config names can't be read or is not private, no thread.
    pub fn start(config: &OtlpConfig, source: Arc<Source>) -> io::Result<Self> {
        let mut poster = config.poster("/v1/metrics")?;
        let stop = Arc::new(AtomicBool::new(false));
        let (own, config) = (Arc::clone(&stop), config.clone());
        let every = config.metrics.unwrap_or(Duration::from_secs(INTERVAL_DEFAULT));
        let thread = thread::Builder::new().name("otlp-metrics".into()).spawn(move || {
            confine::hold(&Reach::Sending);
            let mut due = Instant::now() + every;
            let mut failing = false;
            while !own.load(Ordering::Relaxed) {
                let left = due.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    thread::park_timeout(left);
                    continue;
                }
                // What is missed is not made up for: values are cumulative.
                due = Instant::now() + every;
                let sent = send(&mut poster, &source, &config);
                if let (Err(error), false) = (&sent, failing) {
                    tracing::warn!("otlp:{}: metrics: {error}", config.target.url);
                }
                failing = sent.is_err();
            }
        })?;
        Ok(Self { stop, thread: thread.thread().clone() })
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

fn send(poster: &mut Poster, source: &Source, config: &OtlpConfig) -> io::Result<()> {
    let status = source.ask().ok_or_else(|| io::Error::other("the daemon is busy"))?;
    let started = Time::parse(&status.started).map_or(0, Time::unix_nanos);
    let body = export(&families(&status), started, now(), Origin::own()).encode_to_vec();
    match poster.post(PROTOBUF, &[], &body)? {
        Reply::Arrived(answer) => {
            partial(&answer, &config.target);
            Ok(())
        }
        Reply::Refused(status) => Err(io::Error::other(format!("refused with {status}"))),
    }
}

fn export(families: &[Family], started: u64, now: u64, origin: &Origin) -> ExportMetrics {
    let metrics = families.iter().filter(|family| !family.samples.is_empty());
    let metrics = metrics.map(|family| metric(family, started, now)).collect();
    let scoped = ScopeMetrics { scope: Some(scope(origin)), metrics };
    let metrics = ResourceMetrics { resource: Some(resource(origin)), scope_metrics: vec![scoped] };
    ExportMetrics { resource_metrics: vec![metrics] }
}

fn metric(family: &Family, started: u64, now: u64) -> Metric {
    let labels = |sample: &Sample| {
        attributes(
            sample.labels.iter().map(|(name, value)| (*name, value.as_str().into())).collect(),
        )
    };
    let numbers = || {
        let numbers = family.samples.iter().filter_map(|sample| match &sample.value {
            Number::Int(value) => Some((labels(sample), *value)),
            Number::Histogram(_) => None,
        });
        let point = |(attributes, value)| NumberPoint {
            attributes,
            start_time_unix_nano: started,
            time_unix_nano: now,
            value: Some(NumberValue::Int(i64::try_from(value).unwrap_or(i64::MAX))),
        };
        numbers.map(point).collect()
    };
    let data = match family.kind {
        Kind::Counter => MetricData::Sum(Sum {
            data_points: numbers(),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        Kind::Gauge | Kind::Info => MetricData::Gauge(Gauge { data_points: numbers() }),
        Kind::Histogram => {
            let histograms = family.samples.iter().filter_map(|sample| match &sample.value {
                Number::Histogram(histogram) => Some((labels(sample), histogram)),
                Number::Int(_) => None,
            });
            let point =
                |(attributes, histogram): (_, &crate::histogram::Histogram)| HistogramPoint {
                    attributes,
                    start_time_unix_nano: started,
                    time_unix_nano: now,
                    count: histogram.count(),
                    sum: Some(histogram.sum),
                    bucket_counts: histogram.counts.to_vec(),
                    explicit_bounds: BOUNDS.to_vec(),
                };
            MetricData::Histogram(Histogram {
                data_points: histograms.map(point).collect(),
                aggregation_temporality: CUMULATIVE,
            })
        }
    };
    let unit = match family.unit {
        "seconds" => "s",
        "bytes" => "By",
        _ => "1",
    };
    Metric {
        name: family.name.to_owned(),
        description: family.help.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::samples;

    #[test]
    fn what_was_encoded_is_read_back_whole() {
        let families = families(&samples::status());
        let origin = Origin { host: "web1".into(), version: "1.2.3" };
        let sent = export(&families, 5, 7, &origin);
        assert_eq!(ExportMetrics::decode(&*sent.encode_to_vec()).unwrap(), sent);
        let metrics = &sent.resource_metrics[0].scope_metrics[0].metrics;
        for metric in metrics {
            let family = families.iter().find(|family| family.name == metric.name).unwrap();
            let points = match metric.data.as_ref().unwrap() {
                MetricData::Sum(sum) => {
                    assert!(family.kind == Kind::Counter && sum.is_monotonic);
                    sum.data_points.len()
                }
                MetricData::Gauge(gauge) => gauge.data_points.len(),
                MetricData::Histogram(histogram) => {
                    for point in &histogram.data_points {
                        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                        assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
                    }
                    histogram.data_points.len()
                }
            };
            assert_eq!(points, family.samples.len(), "{}", metric.name);
        }
        assert!(metrics.len() > 40, "{}", metrics.len());
    }
}
