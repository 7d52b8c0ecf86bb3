//! What proxies say of their clients: `X-Forwarded-For`, and `Forwarded` (RFC 7239).
//!
//! A proxy adds the address of whoever asked it at the right end of the list; what stands to the
//! left of a trusted proxy's word came from its client and may be anything. Therefore the list is
//! read from the right, quoted strings too: an open quotation mark in the client's part must not
//! swallow the proxy's.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

use crate::{config::ProxyHeader, http::Request};

/// Proxies in a row that are followed; more than any real way has.
pub const MAX_HOPS: usize = 32;

/// The longest `for` that can be an address: IPv6 with an IPv4 tail, brackets, quotes and port.
const MAX_NODE: usize = 64;

/// The last address that is not `trusted`, seen from here; of a hop that names no address, the
/// hop itself; where all are trusted, the first one.
pub(super) fn client(
    peer: IpAddr,
    request: &Request,
    header: ProxyHeader,
    trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let name = match header {
        ProxyHeader::XForwardedFor => "x-forwarded-for",
        ProxyHeader::Forwarded => "forwarded",
    };
    // Several fields are one list (RFC 9110, section 5.3).
    let fields: SmallVec<[&[u8]; 4]> = request
        .headers()
        .filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))
        .map(|field| field.value)
        .collect();
    let elements = fields.iter().rev().flat_map(|field| from_right(field, header));
    // RFC 9110, section 5.6.1: empty elements of a list are none.
    let elements = elements.filter(|element| !element.trim_ascii().is_empty());
    let mut at = peer;
    for element in elements.take(MAX_HOPS) {
        if !trusted(at) {
            break;
        }
        let address = match header {
            ProxyHeader::XForwardedFor => node(element),
            ProxyHeader::Forwarded => forwarded_for(element),
        };
        match address {
            Some(address) => at = address,
            None => break,
        }
    }
    at
}

/// The elements of a list, the last one first.
fn from_right(list: &[u8], header: ProxyHeader) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let text = rest?;
        let comma = match header {
            ProxyHeader::XForwardedFor => memchr::memrchr(b',', text),
            ProxyHeader::Forwarded => last_plain(text, b','),
        };
        rest = comma.and_then(|comma| text.get(..comma));
        comma.map_or(Some(text), |comma| text.get(comma + 1..))
    })
}

/// Where `wanted` last stands outside of quoted strings, these read from the right.
fn last_plain(text: &[u8], wanted: u8) -> Option<usize> {
    let mut quoted = false;
    for (k, &byte) in text.iter().enumerate().rev() {
        if byte == wanted && !quoted {
            return Some(k);
        }
        if byte == b'"' {
            let before = text.get(..k).unwrap_or_default();
            let slashes = before.iter().rev().take_while(|&&b| b == b'\\').count();
            quoted ^= slashes % 2 == 0;
        }
    }
    None
}

/// The `for` of one element (RFC 7239, section 4); `None` where there is none or more than one.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    // No address holds a semicolon: what a quoted one cuts is no address either.
    let mut values = element.split(|&byte| byte == b';').filter_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        let (name, value) = pair.split_at_checked(at)?;
        name.trim_ascii().eq_ignore_ascii_case(b"for").then(|| value.get(1..).unwrap_or_default())
    });
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    node(value)
}

/// An address with or without a port, as proxies write them: `192.0.2.1`, `192.0.2.1:80`,
/// `2001:db8::1`, `[2001:db8::1]`, `"[2001:db8::1]:80"`. `None` for `unknown`, obfuscated names
/// (RFC 7239, section 6.3) and all else.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = text.trim_ascii();
    if text.len() > MAX_NODE {
        return None;
    }
    let text = match text {
        [b'"', inside @ .., b'"'] => inside,
        _ => text,
    };
    let text = std::str::from_utf8(text).ok()?;
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        if !(port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
            return None;
        }
        IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)
    } else if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else {
        let (address, port) = text.split_once(':')?;
        IpAddr::V4(address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port))?)
    };
    Some(address.to_canonical())
}

/// A port, or a name in its place (RFC 7239, section 6).
fn is_port(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.chars().all(plain),
        None => text.parse::<u16>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::token::testing::get;

    fn told(header: ProxyHeader, fields: &[&str]) -> String {
        let trusted = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.octets()[0] == 10,
            IpAddr::V6(v6) => v6.segments()[0] == 0xfd00,
        };
        client([10, 0, 0, 1].into(), &get("/", fields), header, trusted).to_string()
    }

    #[test]
    fn the_rightmost_address_that_is_not_trusted_is_the_client() {
        for (value, client) in [
            ("203.0.113.7", "203.0.113.7"),
            ("1.1.1.1, 203.0.113.7", "203.0.113.7"),
            ("1.1.1.1, 203.0.113.7, 10.0.0.9,10.1.2.3", "203.0.113.7"),
            ("203.0.113.7:4711", "203.0.113.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]:443, fd00::1", "2001:db8::7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("203.0.113.7, ::ffff:10.0.0.9", "203.0.113.7"),
            ("203.0.113.7,,  ,", "203.0.113.7"),
            // All trusted: the first of them.
            ("10.0.0.8, 10.0.0.9", "10.0.0.8"),
            // No address: who says so.
            ("203.0.113.7, unknown", "10.0.0.1"),
            ("unknown, 10.0.0.9", "10.0.0.9"),
            ("203.0.113.7, 203.0.113.999", "10.0.0.1"),
            ("203.0.113.7:99999", "10.0.0.1"),
            ("fe80::1%eth0", "10.0.0.1"),
            ("[2001:db8::7", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            let field = format!("X-Forwarded-For: {value}");
            assert_eq!(told(ProxyHeader::XForwardedFor, &[&field]), client, "{value}");
            assert_eq!(told(ProxyHeader::Forwarded, &[&field]), "10.0.0.1", "the other field");
        }
        let fields = ["x-forwarded-for: 1.1.1.1", "A: b", "X-FORWARDED-FOR: 203.0.113.7, 10.0.0.9"];
        assert_eq!(told(ProxyHeader::XForwardedFor, &fields), "203.0.113.7");
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        for (value, client) in [
            ("for=203.0.113.7", "203.0.113.7"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=203.0.113.7;proto=http;by=203.0.113.43", "203.0.113.7"),
            ("for=1.1.1.1, for=203.0.113.7; proto=https , for=10.0.0.9", "203.0.113.7"),
            ("for=\"203.0.113.7:_port\"", "203.0.113.7"),
            ("for=203.0.113.7, for=_hidden", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
            ("proto=https", "10.0.0.1"),
            ("for=203.0.113.7;for=1.1.1.1", "10.0.0.1"),
            // The client's open quotation mark does not swallow what the proxy adds.
            ("for=\"1.1.1.1, for=203.0.113.7", "203.0.113.7"),
            ("for=1.1.1.1;x=\"\\\", for=203.0.113.7", "203.0.113.7"),
            ("for=1.1.1.1;x=\", for=\"[2001:db8::7]\"", "2001:db8::7"),
            // A comma inside a quoted string parts nothing.
            ("for=203.0.113.7;by=\"a, for=1.1.1.1\"", "203.0.113.7"),
        ] {
            let field = format!("Forwarded: {value}");
            assert_eq!(told(ProxyHeader::Forwarded, &[&field]), client, "{value}");
        }
    }

    #[test]
    fn a_stranger_is_not_asked_and_a_long_way_is_cut() {
        let request = get("/", &["X-Forwarded-For: 203.0.113.7"]);
        let peer = IpAddr::from([192, 0, 2, 1]);
        let header = ProxyHeader::XForwardedFor;
        assert_eq!(client(peer, &request, header, |_| false), peer);
        let way = (0..100).map(|k| format!("10.0.0.{k}")).collect::<Vec<_>>().join(",");
        let field = format!("X-Forwarded-For: 203.0.113.7,{way}");
        assert_eq!(told(header, &[&field]), format!("10.0.0.{}", 100 - MAX_HOPS));
    }

    proptest! {
        /// Whatever stands left of a proxy's element, that element is what counts.
        #[test]
        fn nothing_to_the_left_of_the_proxy_counts(
            junk in "[ -~]{0,80}", forwarded in any::<bool>(),
        ) {
            let (header, field) = if forwarded {
                (ProxyHeader::Forwarded, format!("Forwarded: {junk}, for=203.0.113.7"))
            } else {
                (ProxyHeader::XForwardedFor, format!("X-Forwarded-For: {junk}, 203.0.113.7"))
            };
            prop_assert_eq!(told(header, &[&field]), "203.0.113.7");
        }

        /// Any bytes are read without a panic, and the split from the right loses none of them.
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for header in [ProxyHeader::XForwardedFor, ProxyHeader::Forwarded] {
                let mut parts: Vec<&[u8]> = from_right(&bytes, header).collect();
                for part in &parts {
                    let _ = (node(part), forwarded_for(part));
                }
                parts.reverse();
                prop_assert_eq!(parts.join(&b','), bytes.clone());
            }
        }
    }
}
