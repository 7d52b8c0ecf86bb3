//! Writing JSON with a fixed order of members. Every line that leaves goes through here, so this
//! stands on the hot path: no intermediate tree, no formatting machinery for numbers.

use std::net::{IpAddr, SocketAddr};

use super::text::{escape, is_plain};
use crate::{redact, time::Time};

/// Appends `text` as a JSON string.
pub(super) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|b| b == b'"' || b == b'\\') {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        out.push('\\');
        let (special, behind) = special.split_at(1);
        out.push_str(special);
        rest = behind;
    }
    out.push_str(rest);
    out.push('"');
}

/// A JSON object being written. [`Object::end`] closes it.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    open: bool,
}

impl<'a> Object<'a> {
    /// Opens an object at the end of `out`.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, open: true }
    }

    /// Writes the name of a member; the caller writes its value to what this returns.
    #[inline]
    pub(super) fn key(&mut self, name: &'static str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.open) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A member whose value is a name of ours, that needs no escape.
    #[inline]
    pub(super) fn name(&mut self, name: &'static str, value: &str) {
        let out = self.key(name);
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    }

    /// A string member of text that is fit to be shown.
    pub(super) fn text(&mut self, name: &'static str, value: &str) {
        shown(self.key(name), value.as_bytes());
    }

    /// A string member of bytes from the network: redacted, escaped and cut as [`Text`].
    pub(super) fn bytes(&mut self, name: &'static str, value: &[u8], limit: usize) {
        let out = self.key(name);
        let clean = redact::bytes(value);
        if clean.len() <= limit && is_plain(&clean) {
            quoted(out, &clean);
        } else {
            shown(out, escape(&clean, limit).as_bytes());
        }
    }

    /// A number member.
    #[inline]
    pub(super) fn number(&mut self, name: &'static str, value: u64) {
        number(self.key(name), value);
    }

    /// A member that is `null`.
    pub(super) fn null(&mut self, name: &'static str) {
        self.key(name).extend_from_slice(b"null");
    }

    /// A member that is `true` or `false`.
    pub(super) fn flag(&mut self, name: &'static str, value: bool) {
        self.key(name).extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A member that is an array of names of ours, that need no escape.
    pub(super) fn names(
        &mut self,
        name: &'static str,
        values: impl IntoIterator<Item = &'static str>,
    ) {
        let out = self.key(name);
        out.push(b'[');
        for (i, value) in values.into_iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            quoted(out, value.as_bytes());
        }
        out.push(b']');
    }

    /// A time member.
    pub(super) fn time(&mut self, name: &'static str, value: Time) {
        use std::io::Write as _;
        // Writing to a vector does not fail.
        let _ = write!(self.key(name), "\"{value}\"");
    }

    /// A member of bytes in lower-case hexadecimal.
    pub(super) fn hex(&mut self, name: &'static str, value: &[u8]) {
        let out = self.key(name);
        out.push(b'"');
        hex(out, value);
        out.push(b'"');
    }

    /// A member `"address:port"`; an IPv6 address in brackets.
    pub(super) fn address(&mut self, name: &'static str, value: SocketAddr) {
        let out = self.key(name);
        out.push(b'"');
        match value.ip() {
            IpAddr::V4(_) => ip(out, value.ip()),
            IpAddr::V6(_) => {
                out.push(b'[');
                ip(out, value.ip());
                out.push(b']');
            }
        }
        out.push(b':');
        number(out, value.port().into());
        out.push(b'"');
    }

    /// A string member that is an address without a port.
    pub(super) fn ip(&mut self, name: &'static str, value: IpAddr) {
        let out = self.key(name);
        out.push(b'"');
        ip(out, value);
        out.push(b'"');
    }

    /// A member `{"ip":…,"port":…}`.
    pub(super) fn endpoint(&mut self, name: &'static str, value: SocketAddr) {
        self.endpoint_with(name, value, |_| ());
    }

    /// The same with what `more` adds.
    pub(super) fn endpoint_with(
        &mut self,
        name: &'static str,
        value: SocketAddr,
        more: impl FnOnce(&mut Object<'_>),
    ) {
        let mut object = Object::new(self.key(name));
        let out = object.key("ip");
        out.push(b'"');
        ip(out, value.ip());
        out.push(b'"');
        object.number("port", value.port().into());
        more(&mut object);
        object.end();
    }

    /// A member that is an array.
    pub(super) fn array<T>(
        &mut self,
        name: &'static str,
        elements: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Object<'_>, T),
    ) {
        let out = self.key(name);
        out.push(b'[');
        for (i, element) in elements.into_iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            let mut object = Object::new(out);
            write(&mut object, element);
            object.end();
        }
        out.push(b']');
    }

    /// Closes the object.
    pub(super) fn end(self) {
        self.out.push(b'}');
    }
}

/// A string that needs no escape.
fn quoted(out: &mut Vec<u8>, plain: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(plain);
    out.push(b'"');
}

/// A string without control characters.
fn shown(out: &mut Vec<u8>, text: &[u8]) {
    if is_plain(text) {
        return quoted(out, text);
    }
    out.push(b'"');
    for &byte in text {
        if byte == b'"' || byte == b'\\' {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[inline]
fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => {
            for (i, octet) in v4.octets().into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            }
        }
        IpAddr::V6(v6) => {
            use std::io::Write as _;
            // Writing to a vector does not fail.
            let _ = write!(out, "{v6}");
        }
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |d: u8| if d < 10 { b'0' + d } else { b'a' + d - 10 };
    out.extend(bytes.iter().flat_map(|&b| [digit(b >> 4), digit(b & 15)]));
}
