//! Template expressions, lookups, entities, filters, addresses and serialised objects.

use super::{
    keywords::{cat, kind},
    lex::shape,
    schema::f,
    view::{Hits, View},
};

/// Tokens of an expression that are looked through for its end.
const REACH: usize = 64;

/// Spells out what a Log4j lookup resolves to and looks for `jndi` in it.
fn spells_jndi(v: &View<'_>, from: usize) -> bool {
    let wanted = b"jndi";
    let mut matched = 0;
    for at in from..from + REACH {
        let token = v.at(at);
        if token.kind == shape::NONE {
            break;
        }
        let key =
            v.kind(at + 1) == b':' && matches!(v.back(at, 1).kind, shape::DOLLAR_BRACE | b':');
        if !token.is_word() || key {
            continue;
        }
        for byte in v.text(token) {
            matched = if wanted.get(matched) == Some(byte) {
                matched + 1
            } else {
                usize::from(*byte == b'j')
            };
            if matched == wanted.len() {
                return true;
            }
        }
    }
    false
}

fn lookup(v: &View<'_>, at: usize, hits: &mut Hits) {
    let token = v.at(at);
    let next = v.at(at + 1);
    if next.kind == kind::JNDI {
        hits.add(f::T_JNDI, token.start);
    }
    if matches!(next.kind, b':') || (next.is_word() && v.kind(at + 2) == b':') {
        hits.add(f::T_LOOKUP, token.start);
    }
    let end = v.find(at + 1, REACH, |t| matches!(t.kind, b'}' | shape::BRACES_END));
    let inner = v.find(at + 1, REACH, |t| t.kind == shape::DOLLAR_BRACE);
    if inner.is_some_and(|inner| end.is_none_or(|end| inner < end)) {
        hits.add(f::T_NESTED, token.start);
    }
    if next.kind != kind::JNDI && spells_jndi(v, at + 1) {
        hits.add(f::T_JNDI_SPELT, token.start);
    }
}

/// What stands in a template expression that starts at `at`.
fn template(v: &View<'_>, at: usize, hits: &mut Hits) {
    let token = v.at(at);
    let feature = match token.kind {
        shape::BRACES => f::T_BRACES,
        shape::DOLLAR_BRACE => f::T_DOLLAR,
        shape::HASH_BRACE => f::T_HASH,
        _ => f::T_PERCENT,
    };
    // `{{ user.name }}` and `<%= user.name %>` show a value, as any page's template does.
    let plain = token.kind != shape::DOLLAR_BRACE
        && v.find(at + 1, 12, |t| {
            t.cats & cat::REFLECT != 0
                || !(t.is_operand()
                    || matches!(t.kind, b'.' | b'|' | b':' | b'\'' | b'"' | b',' | b'='))
        })
        .is_some_and(|end| matches!(v.kind(end), shape::BRACES_END | b'%' | b'}'));
    // `{{"a": 1}}` and `{%s}` are formats for JSON and text.
    let opener = v.at(at + 1);
    let format = token.kind == shape::BRACES
        && (opener.kind == b'\\'
            || opener.is_quote() && v.kind(at + 3) == opener.kind && v.kind(at + 4) == b':'
            || v.text(token) == b"{%" && v.joined(at + 1) && v.kind(at + 2) == b'}');
    if !plain && !format {
        hits.add(feature, token.start);
    }
    for place in at + 1..at + 24 {
        let inner = v.at(place);
        match inner.kind {
            shape::NONE | b'}' | shape::BRACES_END => break,
            b'*' | b'+' | b'-' | b'/'
                if v.back(place, 1).is_number()
                    && (v.at(place + 1).is_number() || v.at(place + 1).is_quote()) =>
            {
                hits.add(f::T_MATH, token.start);
            }
            b'(' if v.back(place, 1).is_word() && v.joined(place) => {
                hits.add(f::T_CALL, token.start);
            }
            _ => {}
        }
    }
}

/// Whether an address leads to this host, a private network or a cloud's metadata.
fn host(v: &View<'_>, at: usize, hits: &mut Hits) {
    let first = v.at(at);
    let rest = v.rest(first);
    let start = first.start;
    if rest.starts_with(b"169.254.169.254")
        || rest.starts_with(b"metadata.")
        || rest.starts_with(b"100.100.100.200")
        || rest.starts_with(b"instance-data")
    {
        hits.add(f::U_METADATA, start);
    }
    let local = rest.starts_with(b"localhost")
        || rest.starts_with(b"127.")
        || rest.starts_with(b"0.0.0.0")
        || rest.starts_with(b"[::")
        || rest.starts_with(b"10.")
        || rest.starts_with(b"192.168.")
        || rest.starts_with(b"0/")
        || rest.starts_with(b"127/");
    if local {
        hits.add(f::U_LOCAL, start);
    }
    let numeric = match first.kind {
        shape::HEX => true,
        // One number of 32 bits, or an octal one.
        shape::NUMBER => {
            let digits = v.text(first);
            (digits.len() >= 8 && digits.iter().all(u8::is_ascii_digit))
                || (digits.len() >= 3 && digits.first() == Some(&b'0'))
        }
        _ => false,
    };
    if numeric {
        hits.add(f::U_NUMERIC, start);
    }
    let authority = rest.iter().take(128).take_while(|b| !matches!(b, b'/' | b'?' | b'#' | b' '));
    let mut user = false;
    let mut last = 0;
    for &byte in authority {
        // A quote ends an address, also one that is escaped.
        if matches!(byte, 0 | b'"' | b'\'') {
            break;
        }
        user |= byte == b'@' || last == b'\\';
        last = byte;
    }
    if user || first.kind == b'\\' {
        hits.add(f::U_USER, start);
    }
}

fn address(v: &View<'_>, at: usize, hits: &mut Hits) {
    let colon = v.at(at);
    let scheme = v.back(at, 1);
    let next = v.at(at + 1);
    if next.kind != shape::SLASH2 && !(matches!(next.kind, b'/' | b'\\')) {
        return;
    }
    if matches!(scheme.kind, kind::HTTP) || scheme.cats & cat::SCHEME != 0 {
        let mut first = at + 2;
        while first < at + 5 && matches!(v.kind(first), b'/' | b'\\') {
            first += 1;
        }
        host(v, first, hits);
        if first > at + 2 || next.kind != shape::SLASH2 || next.end - next.start > 2 {
            hits.add(f::U_SLASHES, colon.start);
        }
    }
    if scheme.cats & cat::SCHEME != 0
        && matches!(
            v.text(scheme),
            b"gopher"
                | b"dict"
                | b"ldap"
                | b"ldaps"
                | b"rmi"
                | b"dns"
                | b"iiop"
                | b"nis"
                | b"file"
                | b"netdoc"
                | b"jar"
                | b"sftp"
                | b"tftp"
                | b"expect"
                | b"php"
                | b"phar"
        )
    {
        hits.add(f::U_SCHEME, scheme.start);
    }
    if matches!(scheme.kind, kind::HTTP) {
        let authority = v.find(at + 2, 10, |t| {
            matches!(
                v.text(t),
                b"oastify"
                    | b"burpcollaborator"
                    | b"interactsh"
                    | b"dnslog"
                    | b"nip"
                    | b"xip"
                    | b"sslip"
                    | b"localtest"
                    | b"lvh"
                    | b"requestbin"
                    | b"oast"
                    | b"interact"
            )
        });
        if authority.is_some() {
            hits.add(f::U_CALLBACK, scheme.start);
        }
    }
}

fn xml(v: &View<'_>, at: usize, hits: &mut Hits) {
    let token = v.at(at);
    let next = v.at(at + 1);
    match token.kind {
        shape::LT_BANG => match v.text(next) {
            b"doctype"
                if v.find(at + 2, 8, |t| {
                    matches!(t.kind, b'[') || matches!(v.text(t), b"system" | b"public")
                })
                .is_some()
                    && v.word(at + 2) != b"html" =>
            {
                hits.add(f::M_DOCTYPE, token.start);
            }
            b"entity" | b"element" | b"attlist" => hits.add(f::M_ENTITY, token.start),
            b"--" if v.kind(at + 2) == b'#' => hits.add(f::M_SSI, token.start),
            _ => {}
        },
        shape::LT_QUESTION if v.text(next) == b"xml" => hits.add(f::M_XML, token.start),
        _ if token.is_word() => match v.text(token) {
            b"system" | b"public" if next.is_quote() && v.has(shape::LT_BANG) => {
                hits.add(f::M_EXTERNAL, token.start);
            }
            b"xi" | b"xinclude" if v.has_any(&[b'<', shape::CLOSE_TAG]) => {
                hits.add(f::M_XINCLUDE, token.start);
            }
            _ => {}
        },
        _ => {}
    }
}

fn filters(v: &View<'_>, at: usize, hits: &mut Hits) {
    let token = v.at(at);
    let next = v.at(at + 1);
    match token.kind {
        b')' if next.kind == b'(' => {
            let inner = v.kind(at + 2);
            if matches!(inner, b'|' | b'&' | b'!' | shape::OR2)
                || (v.at(at + 2).is_word() && v.kind(at + 3) == b'=')
            {
                hits.add(f::L_FILTER, token.start);
            }
        }
        // `map(|(a, b)| c)` is a closure.
        b'(' if matches!(next.kind, b'|' | b'&' | b'!')
            && v.kind(at + 2) == b'('
            && v.find(at + 3, 6, |t| t.kind == b'=').is_some() =>
        {
            hits.add(f::L_FILTER, token.start);
        }
        // `count(*)` is SQL.
        // `.*)` is a regular expression, `char *)` a type.
        b'*' if next.kind == b')'
            && (at == 0
                || v.joined(at)
                    && (matches!(v.back(at, 1).kind, b'=' | b'|' | b'&')
                        || v.back(at, 1).is_operand()
                            && v.kind(at + 2) == b'('
                            && v.back(at, 2).kind != b'\\'))
            && (v.has(b'(') || at < 2) =>
        {
            hits.add(f::L_STAR, token.start);
        }
        b'*' if matches!(next.kind, b'(') && at < 2 => hits.add(f::L_STAR, token.start),
        b':' if next.kind == b':' && v.back(at, 1).kind == kind::XPATH => {
            hits.add(f::L_XPATH, token.start);
        }
        b'/' | shape::SLASH2 if matches!(next.kind, b'*' | b'@') && v.has_any(b"'\"") => {
            hits.add(f::L_XPATH, token.start);
        }
        _ if token.kind == kind::XPATH && next.kind == b'(' && v.has_any(b"'|") => {
            hits.add(f::L_XPATH, token.start);
        }
        _ => {}
    }
}

fn nosql(v: &View<'_>, at: usize, hits: &mut Hits) {
    let token = v.at(at);
    let next = v.at(at + 1);
    let operator = matches!(
        v.text(next),
        b"ne"
            | b"gt"
            | b"gte"
            | b"lt"
            | b"lte"
            | b"nin"
            | b"in"
            | b"regex"
            | b"where"
            | b"exists"
            | b"eq"
            | b"or"
            | b"and"
            | b"elemmatch"
            | b"func"
            | b"expr"
            | b"not"
            | b"nor"
    );
    match token.kind {
        b'$' | b'&' if operator && !next.spaced && (token.kind == b'$' || v.has(b'{')) => {
            if matches!(v.kind(at + 2), shape::NONE | b':' | b']' | b'"' | b'\'' | b'=') {
                hits.add(f::Q_OPERATOR, token.start);
            }
        }
        b'\'' | b'"' if matches!(next.kind, shape::OR2 | shape::AND2) => {
            hits.add(f::Q_BOOL, token.start);
        }
        // In program code a return follows a semicolon, too, but no quote or end of a value before.
        b';' if at > 1 && !v.back(at, 1).is_quote() => {}
        b';' | b'\''
            if v.text(next) == b"return" || (v.text(next) == b"this" && v.kind(at + 2) == b'.') =>
        {
            hits.add(f::Q_SCRIPT, token.start);
        }
        shape::AND2 | shape::OR2 if v.text(next) == b"this" && v.kind(at + 2) == b'.' => {
            hits.add(f::Q_SCRIPT, token.start);
        }
        _ => {}
    }
}

/// A line end in a value of one line, and what the next line is.
fn line(v: &View<'_>, at: usize, hits: &mut Hits) {
    let token = v.at(at);
    let rest = v.low.get(usize::from(token.end)..).unwrap_or_default();
    let header = [
        &b"set-cookie"[..],
        b"location",
        b"content-type",
        b"content-length",
        b"x-",
        b"http/1",
        b"host:",
        b"transfer-enc",
        b"refresh",
        b"status",
        b"bcc:",
        b"cc:",
        b"<",
    ];
    if header.iter().any(|h| rest.starts_with(h)) && v.trace.line_end {
        hits.add(f::H_HEADER, token.start);
    }
    // `ERROR: …`, `COOKIE ERROR: …`: one to three words, then a colon.
    let label = (at + 2..at + 5)
        .find(|place| !v.at(*place).is_word())
        .is_some_and(|end| v.kind(end) == b':');
    if v.one_line && v.trace.line_end && v.at(at + 1).is_word() && label {
        hits.add(f::H_LINE, token.start);
    }
}

/// Finds the features of this module in `v`; objects are found in the bytes as they came.
pub(super) fn detect(v: &View<'_>, hits: &mut Hits) {
    if matches!(v.kind(0), shape::SLASH2)
        || (v.kind(0) == b'/' && v.kind(1) == b'\\')
        || (v.kind(0) == b'\\' && matches!(v.kind(1), b'/' | b'\\'))
    {
        hits.add(f::U_SLASHES, 0);
        // `/// @param` is a comment.
        if v.joined(1) {
            host(v, 1, hits);
        }
    }
    for (at, &token) in v.tokens.iter().enumerate() {
        match token.kind {
            shape::DOLLAR_BRACE => {
                lookup(v, at, hits);
                template(v, at, hits);
            }
            shape::BRACES | shape::HASH_BRACE | shape::PERCENT_BRACE | shape::LT_PERCENT => {
                template(v, at, hits);
            }
            b':' => {
                address(v, at, hits);
                filters(v, at, hits);
            }
            shape::LT_BANG | shape::LT_QUESTION => xml(v, at, hits),
            b')' | b'(' | b'*' | b'/' | shape::SLASH2 => filters(v, at, hits),
            b'$' | b'&' | b'\'' | b'"' | b';' | shape::AND2 | shape::OR2 => nosql(v, at, hits),
            shape::NEWLINE => line(v, at, hits),
            kind::JNDI => hits.add(f::T_JNDI, token.start),
            // Plain words mean nothing here, but for those that start with an underscore.
            shape::WORD if v.low.get(usize::from(token.start)) != Some(&b'_') => {}
            _ if token.is_word() => {
                let text = v.text(token);
                if token.cats & cat::REFLECT != 0
                    && (matches!(v.kind(at + 1), b'.' | b'(' | b'[' | b'|')
                        || v.back(at, 1).kind == b'.')
                    && (v.has_any(&[
                        shape::BRACES,
                        shape::DOLLAR_BRACE,
                        shape::HASH_BRACE,
                        shape::PERCENT_BRACE,
                        shape::LT_PERCENT,
                    ]) || text.starts_with(b"__")
                        || (text.starts_with(b"get") && v.kind(at + 3) == b'.'))
                {
                    hits.add(f::T_REFLECT, token.start);
                }
                if text.len() > 5 && text.starts_with(b"__") && text.ends_with(b"__") {
                    hits.add(f::T_DUNDER, token.start);
                }
                match token.kind {
                    kind::CODE_FN
                    | kind::XINCLUDE
                    | kind::SYSTEM
                    | kind::TAG
                    | kind::TAG_ACTIVE => xml(v, at, hits),
                    kind::XPATH => filters(v, at, hits),
                    _ if text == b"xi" => xml(v, at, hits),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// Whether `raw` starts as a serialised object: Java (also as base64), Python's pickle as base64,
/// .NET's BinaryFormatter as base64, PHP.
pub(super) fn is_object(raw: &[u8]) -> bool {
    let base64 = [
        &b"rO0AB"[..],
        b"H4sIAAAAAAAA",
        b"gASV",
        b"gAJ9",
        b"gAN9",
        b"gAJj",
        b"gANj",
        b"KGRw",
        b"Y29zCnN5c3RlbQ",
        b"AAEAAAD/////",
        b"Tzo",
        b"YToy",
        b"aced0005",
    ];
    let plain = raw.len() > 12 && base64.iter().any(|magic| raw.starts_with(magic));
    let java = raw.starts_with(b"\xac\xed\x00\x05");
    let php = match raw {
        [b'O' | b'a' | b'C', b':', rest @ ..] => {
            let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            digits > 0
                && (rest
                    .get(digits..)
                    .is_some_and(|r| r.starts_with(b":\"") || r.starts_with(b":{")))
        }
        _ => false,
    };
    plain || java || php
}
