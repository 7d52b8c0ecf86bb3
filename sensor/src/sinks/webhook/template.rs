//! Bodies after the wish of the receiver: JSON with places for members of the event.
//!
//! `{{/json/pointer}}` (RFC 6901) stands for a member as docs/events.md names it, `{{}}` for the whole
//! event. Outside of a JSON string a place becomes the member's JSON, `null` where it is absent;
//! inside of one its text, escaped, and nothing where it is absent.

use std::borrow::Cow;

use serde_json::Value;

/// The schema that places are held to.
const SCHEMA: &str = include_str!("../../../../docs/event.schema.json");

/// The most places of a template.
const PLACES_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A place that is a value by itself.
    Value(String),
    /// A place inside of a string.
    Inside(String),
}

/// A template that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sinks) struct Template(Vec<Piece>);

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A place that is not closed or that no event has, or what comes of it is no JSON.
    pub(in crate::sinks) fn parse(text: &str) -> Result<Self, String> {
        let schema = serde_json::from_str(SCHEMA).map_err(|error| error.to_string())?;
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let (mut quoted, mut escaped) = (false, false);
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            if let Some(behind) = rest.strip_prefix("{{") {
                let line = || text.len().checked_sub(rest.len()).map_or(1, |at| line_of(text, at));
                let (place, behind) = behind
                    .split_once("}}")
                    .ok_or_else(|| format!("line {}: a place that does not end", line()))?;
                let place = place.trim();
                if !is_known(&schema, place) {
                    return Err(format!("line {}: no event has {place:?}", line()));
                }
                if pieces.len() >= PLACES_MAX * 2 {
                    return Err(format!("more than {PLACES_MAX} places"));
                }
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
                pieces.push(match quoted {
                    true => Piece::Inside(place.to_owned()),
                    false => Piece::Value(place.to_owned()),
                });
                rest = behind;
                continue;
            }
            if next == '"' && !escaped {
                quoted = !quoted;
            }
            escaped = quoted && !escaped && next == '\\';
            plain.push(next);
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
        }
        pieces.push(Piece::Text(plain));
        let template = Self(pieces);
        let rendered = template.render(&Value::Null);
        // As a receiver reads it: a number may be JSON and yet larger than any.
        serde_json::from_str::<Value>(&rendered)
            .map_err(|error| format!("what it makes is no JSON: {error}"))?;
        Ok(template)
    }

    /// The body for an event.
    pub(in crate::sinks) fn render(&self, event: &Value) -> String {
        let mut to = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => to.push_str(text),
                Piece::Value(place) => match event.pointer(place) {
                    Some(value) => to.push_str(&value.to_string()),
                    None => to.push_str("null"),
                },
                Piece::Inside(place) => {
                    let text = match event.pointer(place) {
                        Some(Value::String(text)) => Cow::Borrowed(text.as_str()),
                        None | Some(Value::Null) => Cow::Borrowed(""),
                        Some(value) => Cow::Owned(value.to_string()),
                    };
                    let quoted = Value::from(text).to_string();
                    let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
                    to.push_str(inner.unwrap_or_default());
                }
            }
        }
        // On one line: a batch may be lines.
        match to.contains(['\n', '\r']) {
            // Inside of strings JSON has them escaped: these stand between values.
            true => to.replace(['\n', '\r'], " "),
            false => to,
        }
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&b| b == b'\n').count() + 1
}

/// Whether the schema has a member at a pointer.
fn is_known(schema: &Value, pointer: &str) -> bool {
    if pointer.is_empty() {
        return true;
    }
    let Some(path) = pointer.strip_prefix('/') else { return false };
    let mut at = resolved(schema, schema);
    for segment in path.split('/') {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        let mut next = Vec::new();
        for node in at {
            let is_index = segment.parse::<u8>().is_ok();
            let found = node
                .pointer("/properties")
                .and_then(|properties| properties.get(&segment))
                .or_else(|| node.get("items").filter(|_| is_index))
                .or_else(|| node.get("additionalProperties"));
            if let Some(found) = found.filter(|found| **found != Value::Bool(false)) {
                next.extend(resolved(schema, found));
            }
        }
        at = next;
    }
    !at.is_empty()
}

/// What a part of the schema stands for: itself, what it refers to, its choices.
fn resolved<'a>(schema: &'a Value, node: &'a Value) -> Vec<&'a Value> {
    let mut found = Vec::new();
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        let to = node.get("$ref").and_then(Value::as_str);
        let to = to.and_then(|to| schema.pointer(to.strip_prefix('#')?));
        open.extend(to);
        open.extend(node.get("oneOf").and_then(Value::as_array).into_iter().flatten());
        found.push(node);
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(template: &str, event: &Value) -> String {
        Template::parse(template).unwrap_or_else(|error| panic!("{error}")).render(event)
    }

    #[test]
    fn places_become_values_or_text() {
        let event = json!({"id": "ab", "severity": "high", "score": 7,
            "request": {"path": "/a\"\\\n{{/id}}"}, "findings": [{"id": "alg-none"}]});
        for (template, due) in [
            (r#"{"event":{{}}}"#, json!({"event": event}).to_string()),
            (r#"{"a":{{/score}},"b":{{ /findings/0/id }}}"#, r#"{"a":7,"b":"alg-none"}"#.into()),
            (r#"{"a":{{/service/pid}},"b":"<{{/service/pid}}>"}"#, r#"{"a":null,"b":"<>"}"#.into()),
            (r#""\"{{/severity}} {{/score}}\\""#, r#""\"high 7\\""#.into()),
            (r#"["{{/request/path}}"]"#, r#"["/a\"\\\n{{/id}}"]"#.into()),
            (r#""{{/findings/0}}""#, r#""{\"id\":\"alg-none\"}""#.into()),
            ("{\n\"a\":\n1}\n", "{ \"a\": 1} ".into()),
        ] {
            assert_eq!(render(template, &event), due, "{template}");
        }
    }

    /// What an event holds can't change the shape of the body.
    #[test]
    fn nothing_gets_out_of_a_string() {
        for text in ["\",\"admin\":\"", "\\", "\\\"", "\u{0}\u{2028}", "}}{{}}"] {
            let event = json!({"id": text});
            let body = render(r#"{"a":"x{{/id}}y","b":{{/id}}}"#, &event);
            let read: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(read, json!({"a": format!("x{text}y"), "b": text}));
        }
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        for (template, said) in [
            ("{\"a\":\n{{/serverity}}}", "line 2: no event has \"/serverity\""),
            ("{\"a\": {{/client/ipp}}}", "no event has \"/client/ipp\""),
            ("{\"a\": {{id}}}", "no event has \"id\""),
            ("{\"a\": {{/findings/x}}}", "no event has"),
            ("{\"a\": {{/id}", "line 1: a place that does not end"),
            ("{\"a\": {{/id}}", "is no JSON"),
            ("severity {{/severity}}", "is no JSON"),
            ("{\"a\": 1e999}", "number out of range"),
            ("", "is no JSON"),
        ] {
            let error = Template::parse(template).unwrap_err();
            assert!(error.contains(said), "{template}: {error}");
        }
        let many = format!("[{}0]", "{{/id}},".repeat(PLACES_MAX + 1));
        assert!(Template::parse(&many).unwrap_err().contains("places"));
    }

    #[test]
    fn every_member_of_every_sample_can_be_named() {
        fn walk(value: &Value, at: &str, to: &mut Vec<String>) {
            to.push(at.to_owned());
            match value {
                Value::Object(members) => {
                    for (name, value) in members {
                        let name = name.replace('~', "~0").replace('/', "~1");
                        walk(value, &format!("{at}/{name}"), to);
                    }
                }
                Value::Array(values) => {
                    values.iter().enumerate().for_each(|(i, v)| walk(v, &format!("{at}/{i}"), to));
                }
                _ => {}
            }
        }
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        for event in crate::event::samples::all() {
            let mut line = Vec::new();
            event.write(&mut line);
            let mut event: Value = serde_json::from_slice(&line).unwrap();
            // Of claims any may be asked for, but not what is in them.
            for token in event["tokens"].as_array_mut().into_iter().flatten() {
                token["claims"] = json!({"sub": "x"});
            }
            let mut pointers = Vec::new();
            walk(&event, "", &mut pointers);
            for pointer in pointers {
                assert!(is_known(&schema, &pointer), "{pointer}");
            }
        }
    }
}
