//! Feeds the shapes of events that the sinks keep to themselves; see [`crate::fuzz`].
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what does not hold shall fail")]

use serde_json::Value;

use super::{
    BodyFormat, MESSAGE_DEFAULT, MESSAGE_MIN, SyslogConfig,
    format::{Format, Origin},
    journald,
    syslog::Format as Syslog,
    webhook::Template,
};

/// A template of a webhook.
pub(crate) fn texts(text: &str) {
    if let Ok(template) = Template::parse(text) {
        let rendered = template.render(&Value::Null);
        assert!(serde_json::from_str::<Value>(&rendered).is_ok(), "{rendered}");
    }
}

/// A line of the journal in every shape: what is an event stays JSON, and a message is one line
/// within its limit.
pub(crate) fn line(line: &[u8]) {
    let is_json = serde_json::from_slice::<Value>(line).is_ok();
    for format in [Format::Ecs, Format::Ocsf] {
        let shaped = format.line(line, Origin::own());
        assert!(!is_json || serde_json::from_slice::<Value>(&shaped).is_ok());
    }
    for format in [BodyFormat::Json, BodyFormat::Text, BodyFormat::Cef, BodyFormat::Leef] {
        for message_bytes in [MESSAGE_MIN, MESSAGE_DEFAULT] {
            let config = SyslogConfig { format, message_bytes, ..SyslogConfig::default() };
            if let Some(message) = Syslog::new(&config).message(line) {
                assert!(message.len() <= message_bytes, "{format:?}: {}", message.len());
                assert!(!message.contains(['\n', '\0']), "{format:?}: {message:?}");
            }
        }
    }
    if let Ok(event) = serde_json::from_slice(line) {
        journald::fields(&mut Vec::new(), &event, line, "jotwatch");
    }
}
