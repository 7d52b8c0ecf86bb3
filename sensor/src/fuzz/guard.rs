//! The kernel's reader of heads against the daemon's.

use bytemuck::Zeroable as _;
use jotwatch_common::guard::scan::{
    BAD, CHUNKED, CREDENTIALS, CUT, EXTRA_LINES, HTTP1, MIN_OPAQUE, MORE, ODD, PART, Prefix,
    Scanner, TOKEN, Terms, WHOLE, bytes_at,
};

use crate::{
    http::{self, BodyFraming, Limits, Request},
    time::Time,
    token::{
        FingerprintKey, Location,
        extract::{Candidate, extract},
        guard_keys::TokenKeys,
    },
};

/// Whether the kernel has to find a token of the daemon's: one of the characters that a compact
/// serialisation has, with two dots, none of them in front, or as long as the shortest credential
/// that is told without.
/// Nothing else is a token to any service; the daemon judges it because it was meant for one, and
/// where it is asked for, that counts. And it stands alone: of `TOKEN,b` the key is of all of it, as
/// some decoders pass over the comma (docs/enforcement.md).
fn is_due(candidate: &Candidate<'_>, request: &Request) -> bool {
    let token = &*candidate.bytes;
    let long = match candidate.location {
        Location::Authorization => token.len() >= MIN_OPAQUE as usize,
        Location::Dpop | Location::Header(_) => false,
        _ => return false,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let dotted = token.iter().filter(|&&b| b == b'.').count() >= 2;
    let ends = |b: Option<&u8>| b.is_none_or(|&b| b <= b' ' || b"\"=:;".contains(&b));
    token.iter().all(|&b| plain(b))
        && !token.starts_with(b".")
        && (dotted || long)
        && request.headers().any(|header| {
            // Where it lies in the value.
            let at = (token.as_ptr() as usize).wrapping_sub(header.value.as_ptr() as usize);
            header.value.get(at..at.saturating_add(token.len())) == Some(token)
                && ends(at.checked_sub(1).and_then(|before| header.value.get(before)))
                && ends(header.value.get(at + token.len()))
        })
}

/// A head that the scanner takes for whole and unambiguous is read by the daemon, with the same end
/// and the same framing; and whatever the bytes are, it comes to an end.
pub fn guard_scan(data: &[u8]) {
    let mut extra = [Prefix::of(""); EXTRA_LINES];
    extra[0] = Prefix::of("X-Key");
    let keys = TokenKeys::new(&FingerprintKey::new([7; 16]));
    let terms = Terms { secret: keys.secret(), extra };
    let mut scanner = Scanner::zeroed();
    scanner.start(&terms, data.len() as u32, true);
    let load = |at| bytes_at(data, at);
    // Bytes are looked at five times at most: see the scanner's own tests.
    let steps = data.len() * 5 + 8;
    let (mut end, mut found) = (MORE, Vec::new());
    for _ in 0..=steps {
        end = scanner.step(&load);
        match end {
            MORE => {}
            TOKEN => found.push(scanner.deny_key()),
            _ => break,
        }
    }
    assert!(matches!(end, WHOLE | CUT), "no end");
    if end == CUT {
        return;
    }
    let head_end = scanner.end() as usize;
    assert!(head_end <= data.len());
    let flags = scanner.flags();
    if flags & (ODD | HTTP1) == HTTP1 {
        let length = scanner.body();
        let (request, framing) = http::read_request(data, Time::EPOCH, &Limits::default())
            .unwrap_or_else(|wrong| panic!("the daemon reads no request: {wrong:?}"));
        let blank = data.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        assert_eq!(blank + request.head_len(), head_end, "another end");
        // Where the daemon is in doubt, it says so and the connection is cut.
        match framing {
            Some(BodyFraming::Length(n)) => {
                assert_eq!((flags & CHUNKED, u64::from(length)), (0, n), "another length");
            }
            Some(BodyFraming::Chunked) => assert_eq!(flags & CHUNKED, CHUNKED),
            None => {}
        }
        let named = |name: &str| request.header(name).is_some();
        if named("authorization") || named("cookie") || named("dpop") || named("x-key") {
            assert_eq!(flags & CREDENTIALS, CREDENTIALS, "credentials that the kernel passes over");
        }
        for candidate in extract(&request, &["x-key".into()]).candidates {
            if is_due(&candidate, &request) {
                let key = keys.of(&candidate.bytes);
                assert!(found.contains(&key.0), "a token that the kernel passes over");
            }
        }
    }
    scanner.begin_body(data.len() as u32);
    for _ in 0..=steps {
        end = scanner.body_step(&load);
        if !matches!(end, MORE | TOKEN) {
            break;
        }
    }
    assert!(matches!(end, WHOLE | CUT | BAD | PART), "no end of a body");
}
