//! The messages of the OpenTelemetry protocol that are sent and answered.
//!
//! Source: opentelemetry-proto 1.x (`common/v1`, `resource/v1`, `logs/v1`, `metrics/v1`,
//! `collector/logs/v1`, `collector/metrics/v1`): names, numbers and types of fields. What is left out
//! here is never sent; what a receiver answers beside is passed over.

use std::collections::BTreeMap;

use prost::{Message, Oneof};

/// `common.v1.AnyValue`
#[derive(Clone, PartialEq, Message)]
pub struct AnyValue {
    /// The value; absent for null.
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5, 6")]
    pub value: Option<Value>,
}

/// What an [`AnyValue`] holds.
#[derive(Clone, PartialEq, Oneof)]
pub enum Value {
    /// Text.
    #[prost(string, tag = "1")]
    String(String),
    /// Truth.
    #[prost(bool, tag = "2")]
    Bool(bool),
    /// A whole number.
    #[prost(int64, tag = "3")]
    Int(i64),
    /// Another number.
    #[prost(double, tag = "4")]
    Double(f64),
    /// A list.
    #[prost(message, tag = "5")]
    Array(ArrayValue),
    /// An object.
    #[prost(message, tag = "6")]
    Object(KeyValueList),
}

/// `common.v1.ArrayValue`
#[derive(Clone, PartialEq, Message)]
pub struct ArrayValue {
    /// Its values.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<AnyValue>,
}

/// `common.v1.KeyValueList`
#[derive(Clone, PartialEq, Message)]
pub struct KeyValueList {
    /// Its members.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<KeyValue>,
}

/// `common.v1.KeyValue`
#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    /// The name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// `common.v1.InstrumentationScope`
#[derive(Clone, PartialEq, Message)]
pub struct Scope {
    /// Who made the records.
    #[prost(string, tag = "1")]
    pub name: String,
    /// In which version.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// `resource.v1.Resource`
#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    /// What describes it.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

/// `collector.logs.v1.ExportLogsServiceRequest`
#[derive(Clone, PartialEq, Message)]
pub struct ExportLogs {
    /// One of them is sent.
    #[prost(message, repeated, tag = "1")]
    pub resource_logs: Vec<ResourceLogs>,
}

/// `logs.v1.ResourceLogs`
#[derive(Clone, PartialEq, Message)]
pub struct ResourceLogs {
    /// Where they come from.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// One of them is sent.
    #[prost(message, repeated, tag = "2")]
    pub scope_logs: Vec<ScopeLogs>,
}

/// `logs.v1.ScopeLogs`
#[derive(Clone, PartialEq, Message)]
pub struct ScopeLogs {
    /// Who made them.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    /// The records.
    #[prost(message, repeated, tag = "2")]
    pub log_records: Vec<LogRecord>,
}

/// `logs.v1.LogRecord`
#[derive(Clone, PartialEq, Message)]
pub struct LogRecord {
    /// When it happened, in nanoseconds since 1970.
    #[prost(fixed64, tag = "1")]
    pub time_unix_nano: u64,
    /// How grave, 1 to 24.
    #[prost(int32, tag = "2")]
    pub severity_number: i32,
    /// The same in the words of the source.
    #[prost(string, tag = "3")]
    pub severity_text: String,
    /// What happened.
    #[prost(message, optional, tag = "5")]
    pub body: Option<AnyValue>,
    /// What it can be found by.
    #[prost(message, repeated, tag = "6")]
    pub attributes: Vec<KeyValue>,
    /// When it was sent.
    #[prost(fixed64, tag = "11")]
    pub observed_time_unix_nano: u64,
    /// What kind of event it is.
    #[prost(string, tag = "12")]
    pub event_name: String,
}

/// `collector.logs.v1.ExportLogsServiceResponse`, and that of metrics, which has the same fields.
#[derive(Clone, PartialEq, Message)]
pub struct Answer {
    /// What of it was not taken.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// `collector.logs.v1.ExportLogsPartialSuccess`
#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    /// How many records.
    #[prost(int64, tag = "1")]
    pub rejected: i64,
    /// Why, or a warning where none was.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

impl From<&serde_json::Value> for AnyValue {
    fn from(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;

        let value = match json {
            Json::Null => None,
            Json::Bool(truth) => Some(Value::Bool(*truth)),
            Json::Number(number) => Some(match number.as_i64() {
                Some(whole) => Value::Int(whole),
                None => Value::Double(number.as_f64().unwrap_or(f64::MAX)),
            }),
            Json::String(text) => Some(Value::String(text.clone())),
            Json::Array(values) => {
                Some(Value::Array(ArrayValue { values: values.iter().map(Self::from).collect() }))
            }
            Json::Object(members) => {
                let member = |(key, value): (&String, &Json)| KeyValue {
                    key: key.clone(),
                    value: Some(value.into()),
                };
                let values = members.iter().map(member).collect();
                Some(Value::Object(KeyValueList { values }))
            }
        };
        Self { value }
    }
}

/// Attributes of names and JSON values.
pub(crate) fn attributes(members: BTreeMap<&str, serde_json::Value>) -> Vec<KeyValue> {
    let attribute = |(key, value): (&str, serde_json::Value)| KeyValue {
        key: key.to_owned(),
        value: Some((&value).into()),
    };
    members.into_iter().map(attribute).collect()
}

/// `collector.metrics.v1.ExportMetricsServiceRequest`
#[derive(Clone, PartialEq, Message)]
pub struct ExportMetrics {
    /// One of them is sent.
    #[prost(message, repeated, tag = "1")]
    pub resource_metrics: Vec<ResourceMetrics>,
}

/// `metrics.v1.ResourceMetrics`
#[derive(Clone, PartialEq, Message)]
pub struct ResourceMetrics {
    /// Where they come from.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// One of them is sent.
    #[prost(message, repeated, tag = "2")]
    pub scope_metrics: Vec<ScopeMetrics>,
}

/// `metrics.v1.ScopeMetrics`
#[derive(Clone, PartialEq, Message)]
pub struct ScopeMetrics {
    /// Who made them.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    /// The metrics.
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
}

/// `metrics.v1.Metric`
#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it means.
    #[prost(string, tag = "2")]
    pub description: String,
    /// After UCUM.
    #[prost(string, tag = "3")]
    pub unit: String,
    /// Its values.
    #[prost(oneof = "MetricData", tags = "5, 7, 9")]
    pub data: Option<MetricData>,
}

/// What a [`Metric`] holds.
#[derive(Clone, PartialEq, Oneof)]
pub enum MetricData {
    /// Values that rise and fall.
    #[prost(message, tag = "5")]
    Gauge(Gauge),
    /// Values that rise.
    #[prost(message, tag = "7")]
    Sum(Sum),
    /// Distributions.
    #[prost(message, tag = "9")]
    Histogram(Histogram),
}

/// `metrics.v1.Gauge`
#[derive(Clone, PartialEq, Message)]
pub struct Gauge {
    /// One for each combination of attributes.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberPoint>,
}

/// `metrics.v1.Sum`
#[derive(Clone, PartialEq, Message)]
pub struct Sum {
    /// One for each combination of attributes.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<NumberPoint>,
    /// 2: since the start.
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
    /// Whether it only rises.
    #[prost(bool, tag = "3")]
    pub is_monotonic: bool,
}

/// `metrics.v1.NumberDataPoint`
#[derive(Clone, PartialEq, Message)]
pub struct NumberPoint {
    /// Since when it counts, in nanoseconds since 1970.
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    /// When it was read.
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    /// The value.
    #[prost(oneof = "NumberValue", tags = "4, 6")]
    pub value: Option<NumberValue>,
    /// What it is of.
    #[prost(message, repeated, tag = "7")]
    pub attributes: Vec<KeyValue>,
}

/// What a [`NumberPoint`] holds.
#[derive(Clone, Copy, PartialEq, Oneof)]
pub enum NumberValue {
    /// Any number.
    #[prost(double, tag = "4")]
    Double(f64),
    /// A whole number.
    #[prost(sfixed64, tag = "6")]
    Int(i64),
}

/// `metrics.v1.Histogram`
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    /// One for each combination of attributes.
    #[prost(message, repeated, tag = "1")]
    pub data_points: Vec<HistogramPoint>,
    /// 2: since the start.
    #[prost(int32, tag = "2")]
    pub aggregation_temporality: i32,
}

/// `metrics.v1.HistogramDataPoint`
#[derive(Clone, PartialEq, Message)]
pub struct HistogramPoint {
    /// Since when it counts, in nanoseconds since 1970.
    #[prost(fixed64, tag = "2")]
    pub start_time_unix_nano: u64,
    /// When it was read.
    #[prost(fixed64, tag = "3")]
    pub time_unix_nano: u64,
    /// How many.
    #[prost(fixed64, tag = "4")]
    pub count: u64,
    /// All of them together.
    #[prost(double, optional, tag = "5")]
    pub sum: Option<f64>,
    /// How many in each bucket, one more than bounds.
    #[prost(fixed64, repeated, tag = "6")]
    pub bucket_counts: Vec<u64>,
    /// Upper bounds, each in its bucket.
    #[prost(double, repeated, tag = "7")]
    pub explicit_bounds: Vec<f64>,
    /// What they are of.
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
}
