//! A request as somebody describes it in JSON, to be scored.

use std::{fmt, net::IpAddr};

use serde_json::Value;

use crate::{http::Request, time::Time};

/// Bytes of a body that are looked at; the payload model reads no more of a whole request.
pub const MAX_BODY: usize = jotwatch_models::payload::MAX_VALUE;

/// A described request.
#[derive(Debug)]
pub struct Described {
    /// The request.
    pub request: Request,
    /// Who sent it, where that is said.
    pub client: Option<IpAddr>,
}

/// Why a description can't be taken. Never shows what stood in the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputError {
    /// The field, as `headers[2]` or `headers.host`; empty where it is the whole.
    pub field: String,
    /// What should be there.
    pub expected: &'static str,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => write!(f, "not {}", self.expected),
            field => write!(f, "`{field}` is not {}", self.expected),
        }
    }
}

impl std::error::Error for InputError {}

pub(crate) fn error(field: impl Into<String>, expected: &'static str) -> InputError {
    InputError { field: field.into(), expected }
}

impl Described {
    /// Takes `{"method","path","headers":{..}|[[name,value]..],"body"?,"client_ip"?,"time"?}`.
    /// `now` is the time where none is given. Other members are ignored.
    ///
    /// # Errors
    /// [`InputError`], for the first member of another type.
    pub fn from_json(value: &Value, now: Time) -> Result<Self, InputError> {
        let members = value.as_object().ok_or_else(|| error("", "a JSON object"))?;
        let member = |name: &str| members.get(name).filter(|value| !value.is_null());
        let text = |name: &'static str| match member(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| error(name, "a string")),
        };
        let method = text("method")?.unwrap_or("GET");
        let path = text("path")?.ok_or_else(|| error("path", "given"))?;
        let headers = member("headers").map(headers).transpose()?.unwrap_or_default();
        let body = match member("body") {
            None => Vec::new(),
            Some(Value::String(text)) => text.clone().into_bytes(),
            // A framework may have parsed it.
            Some(other) => other.to_string().into_bytes(),
        };
        let client = match text("client_ip")? {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| error("client_ip", "an IP address"))?),
        };
        let at = match member("time") {
            None => now,
            Some(value) => time(value)
                .ok_or_else(|| error("time", "a time: RFC 3339, or seconds since 1970"))?,
        };
        let fields = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let mut request = Request::from_parts(method.as_bytes(), path.as_bytes(), fields, body, at);
        if request.body.bytes.len() > MAX_BODY {
            request.body.bytes.truncate(MAX_BODY);
            request.body.complete = false;
        }
        Ok(Self { request, client })
    }
}

fn headers(value: &Value) -> Result<Vec<(String, String)>, InputError> {
    const WANTED: &str = "an object of strings, or a list of pairs of strings";
    let mut all = Vec::new();
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let wrong = || error(format!("headers.{}", crate::redact::text(name)), "a string");
                match value {
                    Value::Array(values) => {
                        for value in values {
                            all.push((name.clone(), scalar(value).ok_or_else(wrong)?));
                        }
                    }
                    value => all.push((name.clone(), scalar(value).ok_or_else(wrong)?)),
                }
            }
        }
        Value::Array(pairs) => {
            for (at, pair) in pairs.iter().enumerate() {
                let Some([Value::String(name), value]) = pair.as_array().map(Vec::as_slice) else {
                    return Err(error(format!("headers[{at}]"), "a pair of strings"));
                };
                let value = scalar(value)
                    .ok_or_else(|| error(format!("headers[{at}]"), "a pair of strings"))?;
                all.push((name.clone(), value));
            }
        }
        _ => return Err(error("headers", WANTED)),
    }
    Ok(all)
}

/// A string, or what is written as one in a head.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(bool) => Some(bool.to_string()),
        _ => None,
    }
}

/// RFC 3339, or seconds since 1970.
pub(crate) fn time(value: &Value) -> Option<Time> {
    match value {
        Value::String(text) => Time::parse(text).ok(),
        Value::Number(number) => {
            let seconds = number.as_f64().filter(|seconds| *seconds >= 0.0)?;
            Some(Time::EPOCH + std::time::Duration::try_from_secs_f64(seconds).ok()?)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn described(value: &Value) -> Result<Described, String> {
        Described::from_json(value, Time::from_unix_secs(7)).map_err(|error| error.to_string())
    }

    #[test]
    fn both_forms_of_headers() {
        for headers in [
            json!({"Host": "a", "X": ["b", "c"]}),
            json!([["Host", "a"], ["X", " b "], ["X", "c"]]),
        ] {
            let found = described(&json!({
                "method": "POST", "path": "/a?b", "headers": headers, "body": "x=1",
                "client_ip": "192.0.2.1", "time": "1970-01-01T00:00:09Z", "other": 1,
            }))
            .unwrap();
            let request = &found.request;
            assert_eq!((request.method(), request.target()), (&b"POST"[..], &b"/a?b"[..]));
            let values: Vec<&[u8]> = request.headers().map(|header| header.value).collect();
            assert_eq!(values, [b"a", b"b", b"c"]);
            assert_eq!(request.body.bytes, b"x=1");
            assert_eq!(request.last_byte.unix_secs(), 9);
            assert_eq!(found.client, Some([192, 0, 2, 1].into()));
        }
    }

    #[test]
    fn what_is_missing_has_a_default() {
        let found = described(&json!({"path": "/", "body": {"a": 1}, "headers": null})).unwrap();
        assert_eq!(found.request.method(), b"GET");
        assert_eq!(found.request.body.bytes, br#"{"a":1}"#);
        assert_eq!(found.request.last_byte.unix_secs(), 7);
        assert_eq!(found.client, None);
    }

    #[test]
    fn errors_name_the_field() {
        for (value, message) in [
            (json!([]), "not a JSON object"),
            (json!({}), "`path` is not given"),
            (json!({"path": 1}), "`path` is not a string"),
            (json!({"path": "/", "method": []}), "`method` is not a string"),
            (json!({"path": "/", "headers": {"a": {}}}), "`headers.a` is not a string"),
            (json!({"path": "/", "headers": [["a"]]}), "`headers[0]` is not a pair of strings"),
            (json!({"path": "/", "client_ip": "x"}), "`client_ip` is not an IP address"),
            (
                json!({"path": "/", "time": "noon"}),
                "`time` is not a time: RFC 3339, or seconds since 1970",
            ),
        ] {
            assert_eq!(described(&value).unwrap_err(), message);
        }
    }
}
