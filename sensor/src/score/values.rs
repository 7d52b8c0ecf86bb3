//! Which parts of a request the payload model reads, and how they are written.

use jotwatch_models::payload::{Form, Place, Value};
use smallvec::SmallVec;

use crate::http::Request;

/// The values of one request.
pub(super) struct Values<'a> {
    values: SmallVec<[Value<'a>; 24]>,
    /// Names of the header fields among them, from the value at `headers` on.
    names: SmallVec<[&'a [u8]; 24]>,
    headers: usize,
}

impl<'a> Values<'a> {
    /// Path, query, body, cookies and header fields but for those that carry credentials, which are
    /// judged as such.
    pub(super) fn of(request: &'a Request) -> Self {
        let mut values = SmallVec::new();
        let (path, query) = split_target(request.target());
        for (place, form, bytes) in
            [(Place::Path, Form::Text, path), (Place::Query, Form::Pairs, query)]
        {
            if !bytes.is_empty() {
                values.push(Value { place, form, bytes });
            }
        }
        let bytes = &*request.body.bytes;
        if !bytes.is_empty() {
            let (mut content_type, mut encoded): (&[u8], bool) = (b"", false);
            for header in request.headers() {
                let is = |name: &str| header.name.eq_ignore_ascii_case(name.as_bytes());
                match header.name.len() {
                    12 if is("content-type") => content_type = header.value,
                    16 if is("content-encoding") => encoded = true,
                    _ => {}
                }
            }
            if !encoded {
                let form = body_form(bytes, content_type);
                values.push(Value { place: Place::Body, form, bytes });
            }
        }
        let headers = values.len();
        let mut names = SmallVec::new();
        for header in request.headers() {
            if header.value.is_empty() {
                continue;
            }
            let is = |name: &str| header.name.eq_ignore_ascii_case(name.as_bytes());
            // The lengths tell most names apart without reading them.
            let (place, form) = match header.name.len() {
                13 if is("authorization") => continue,
                19 if is("proxy-authorization") => continue,
                4 if is("dpop") => continue,
                6 if is("cookie") => (Place::Cookie, Form::Cookies),
                _ => (Place::Header, Form::Text),
            };
            values.push(Value { place, form, bytes: header.value });
            names.push(header.name);
        }
        Self { values, names, headers }
    }

    /// Parts that the model makes of the header fields, at most: the pairs of cookies have two.
    pub(super) fn header_parts(&self) -> usize {
        let parts = |value: &Value<'_>| match value.form {
            Form::Cookies => 2 + 2 * value.bytes.iter().filter(|b| **b == b';').count(),
            _ => 1,
        };
        self.values.iter().skip(self.headers).map(parts).sum()
    }

    pub(super) fn as_slice(&self) -> &[Value<'a>] {
        &self.values
    }

    /// Where the value at `at` stands, to be read by a person.
    pub(super) fn place(&self, at: usize) -> String {
        let name = at.checked_sub(self.headers).and_then(|at| self.names.get(at));
        match (name, self.values.get(at).map(|value| value.place)) {
            (Some(name), Some(Place::Header)) => {
                let name = crate::token::show_name(name).to_ascii_lowercase();
                format!("header {name}")
            }
            (_, Some(Place::Path)) => "the path".to_owned(),
            (_, Some(Place::Query)) => "the query".to_owned(),
            (_, Some(Place::Body)) => "the body".to_owned(),
            (_, Some(Place::Cookie)) => "a cookie".to_owned(),
            _ => "a header".to_owned(),
        }
    }
}

/// The values of a request's target, which come first in [`Values::of`], too; how many there are.
pub(super) fn of_target(request: &Request) -> ([Value<'_>; 2], usize) {
    let (path, query) = split_target(request.target());
    let path = Value { place: Place::Path, form: Form::Text, bytes: path };
    let query = Value { place: Place::Query, form: Form::Pairs, bytes: query };
    match (path.bytes.is_empty(), query.bytes.is_empty()) {
        (false, more) => ([path, query], 2 - usize::from(more)),
        (true, more) => ([query, path], 1 - usize::from(more)),
    }
}

/// A request target without scheme and authority, where it is in absolute form (RFC 9112, section
/// 3.2.2).
pub(crate) fn target_path(target: &[u8]) -> &[u8] {
    match target.first() {
        Some(b'/') | None => target,
        Some(_) => match memchr::memmem::find(target, b"://") {
            // Within the path or query it is text like any other.
            Some(at) if target.iter().take(at).all(u8::is_ascii_alphanumeric) => {
                let rest = target.get(at + 3..).unwrap_or_default();
                memchr::memchr2(b'/', b'?', rest).and_then(|at| rest.get(at..)).unwrap_or_default()
            }
            _ => target,
        },
    }
}

/// Path and query of a request target.
fn split_target(target: &[u8]) -> (&[u8], &[u8]) {
    let local = target_path(target);
    match memchr::memchr(b'?', local) {
        Some(at) => {
            let (path, query) = local.split_at_checked(at).unwrap_or_default();
            (path, query.get(1..).unwrap_or_default())
        }
        None => (local, b""),
    }
}

/// How a body is written: by its media type, and JSON also by its first character, as most
/// frameworks that take JSON do not ask for the type.
fn body_form(body: &[u8], content_type: &[u8]) -> Form {
    let media_type = content_type.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
    let json = || {
        let suffix = media_type.len().checked_sub(4).and_then(|at| media_type.get(at..));
        suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"json"))
    };
    if media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        Form::Pairs
    } else if json() || matches!(body.trim_ascii_start().first(), Some(b'{' | b'[')) {
        Form::Json
    } else if media_type.is_empty() && body.contains(&b'=') && !body.contains(&b'<') {
        Form::Pairs
    } else {
        Form::Text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_split() {
        for (target, path, query) in [
            ("/a/b?c=d?e", "/a/b", "c=d?e"),
            ("/a", "/a", ""),
            ("http://h:1/a?b", "/a", "b"),
            ("https://h?b", "", "b"),
            ("http://h", "", ""),
            ("*", "*", ""),
            ("", "", ""),
            ("/go?to=http://x/y", "/go", "to=http://x/y"),
            ("a b://c", "a b://c", ""),
            ("?q", "", "q"),
        ] {
            let split = split_target(target.as_bytes());
            assert_eq!(split, (path.as_bytes(), query.as_bytes()), "{target}");
        }
    }

    #[test]
    fn bodies_are_read_as_services_would() {
        for (body, media_type, form) in [
            ("a=b", "application/x-www-form-urlencoded; charset=utf-8", Form::Pairs),
            ("{}", "application/json", Form::Json),
            ("1", "application/problem+json", Form::Json),
            (" [1]", "text/plain", Form::Json),
            ("a=b", "", Form::Pairs),
            ("a=b", "text/plain", Form::Text),
            ("<a b=\"c\">", "", Form::Text),
            ("x", "on", Form::Text),
        ] {
            assert_eq!(body_form(body.as_bytes(), media_type.as_bytes()), form, "{body}");
        }
    }
}
