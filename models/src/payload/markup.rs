//! Markup and script.

use super::{
    keywords::{cat, kind},
    lex::{is_handler, shape},
    schema::f,
    view::{Hits, View},
    writing::is_char_literal,
};

/// Elements that only format text.
fn formats_text(word: &[u8]) -> bool {
    matches!(
        word,
        b"p" | b"b"
            | b"i"
            | b"u"
            | b"br"
            | b"em"
            | b"strong"
            | b"ul"
            | b"ol"
            | b"li"
            | b"h1"
            | b"h2"
            | b"h3"
            | b"h4"
            | b"span"
            | b"div"
            | b"code"
            | b"pre"
            | b"blockquote"
            | b"hr"
            | b"td"
            | b"tr"
    )
}

/// Active elements that need an attribute or a child to do anything.
fn is_quiet(word: &[u8]) -> bool {
    matches!(
        word,
        b"svg"
            | b"math"
            | b"template"
            | b"details"
            | b"dialog"
            | b"slot"
            | b"noscript"
            | b"meta"
            | b"link"
    )
}

/// Whether the word names what pages look elements up with, and listen to them.
fn is_accessor(word: &[u8]) -> bool {
    matches!(
        word,
        b"getelementbyid" | b"getelementsbytagname" | b"queryselector" | b"addeventlistener"
    )
}

/// Whether `script` and a scheme's other letters stand before the colon at `colon`, whatever
/// blanks and control characters are between them.
fn script_uri(v: &View<'_>, colon: usize) -> Option<u16> {
    /// Bytes that are looked back over: the letters and as many fillers again, thrice.
    const REACH: usize = 48;
    let end = usize::from(v.at(colon).start);
    let from = end.saturating_sub(REACH);
    // All of them end in `script`.
    let last = v.low.get(from..end)?.iter().rev().find(|b| !matches!(b, 0..=b' ' | b'\\' | b'/'));
    if last != Some(&b't') {
        return None;
    }
    let mut spelt = [0_u8; 16];
    let mut len = 0;
    for (n, &byte) in v.low.get(from..end)?.iter().enumerate().rev() {
        match byte {
            b'a'..=b'z' => {
                if let Some(slot) = spelt.get_mut(len) {
                    *slot = byte;
                }
                len += 1;
                let so_far = spelt.get(..len)?;
                if so_far == b"tpircsavaj" || so_far == b"tpircsbv" || so_far == b"tpircsevil" {
                    return u16::try_from(from + n).ok();
                }
            }
            0..=b' ' | b'\\' | b'/' => {}
            _ => return None,
        }
    }
    None
}

/// Finds the features of the element at `at`; gives the token behind it where it is harmless, else 0.
fn element(v: &View<'_>, at: usize, hits: &mut Hits) -> usize {
    let open = v.at(at);
    let closing = open.kind == shape::CLOSE_TAG;
    let mut name_at = at + 1;
    if v.kind(name_at) == b'/' {
        name_at += 1;
    }
    let name = v.at(name_at);
    if !name.is_word() || (name.spaced && name.cats & cat::TAG_ACTIVE == 0) {
        return 0;
    }
    let text = v.text(name);
    let next = v.at(name_at + 1);
    // `Option<Frame>` is a type.
    let type_of = v.joined(at) && v.back(at, 1).is_word();
    if type_of
        && matches!(next.kind, b'>' | b',' | b'<' | b':' | b'&')
        && name.kind != kind::SCRIPT
        && !closing
    {
        return 0;
    }
    if closing {
        hits.add(f::X_CLOSE, open.start);
        if name.kind == kind::SCRIPT {
            hits.add(f::X_SCRIPT, open.start);
        }
        return 0;
    }
    hits.add(f::X_OPEN, open.start);
    if name.cats & cat::TAG != 0 {
        hits.add(f::X_TAG, open.start);
    }
    if name.kind == kind::SCRIPT {
        hits.add(f::X_SCRIPT, open.start);
    }
    if formats_text(text) && matches!(next.kind, b'>' | b'/') {
        hits.add(f::X_TEXT, open.start);
    }
    if next.kind == b'/' && v.at(name_at + 2).is_word() {
        hits.add(f::X_SLASH_ATTRIBUTE, open.start);
    }
    let attributes = next.is_word() && v.kind(name_at + 2) == b'=';
    let closed = v.find(name_at + 1, 48, |t| t.kind == b'>');
    let end = closed.unwrap_or(name_at + 48);
    let active = name.cats & cat::TAG_ACTIVE != 0;
    let quiet = is_quiet(text);
    let mut harmless = closed.is_some() && (!active || quiet) || text == b"img";
    let mut within: Option<u8> = None;
    for place in name_at + 1..end {
        let token = v.at(place);
        if token.kind == shape::NONE {
            break;
        }
        harmless &= token.cats & (cat::JS_CALL | cat::DOM) == 0
            && !matches!(token.kind, b'(' | b'`' | b'<' | b'{' | kind::JAVASCRIPT);
        if token.is_quote() {
            within = match within {
                None => Some(token.kind),
                Some(open) if open == token.kind => None,
                open => open,
            };
        }
        // What a quiet element loads is its own page's, and says how the page is to be read.
        harmless &=
            !active || !matches!(token.kind, b':' | shape::SLASH2) && v.text(token) != b"equiv";
        if v.kind(place + 1) == b'=' && token.is_word() {
            harmless &= within.is_some() || v.at(place + 2).is_quote();
            let word = v.text(token);
            // `onClick={…}` is a component's, in the source of a page.
            if is_handler(word) && v.kind(place + 2) != b'{' {
                harmless = false;
                hits.add(f::X_HANDLER_TAG, token.start);
            } else if matches!(
                word,
                b"srcdoc" | b"formaction" | b"to" | b"values" | b"attributename"
            ) {
                harmless = false;
                hits.add(f::X_SRCDOC, token.start);
            } else if matches!(token.kind, kind::SRC) {
                hits.add(f::X_SRC, token.start);
            }
        }
    }
    if harmless && closed.is_some() {
        hits.add(f::X_HARMLESS, open.start);
        return end;
    }
    if attributes {
        hits.add(f::X_ATTRIBUTES, open.start);
    }
    if active {
        hits.add(f::X_ACTIVE, open.start);
    }
    0
}

/// Whether the function at `at` is one of a program's own of the same name: `file.write(`,
/// `Self::confirm(`, `fn alert(`.
fn is_own(v: &View<'_>, at: usize) -> bool {
    let before = v.back(at, 1);
    match before.kind {
        b'.' => {
            let object = v.back(at, 2);
            if is_accessor(v.text(v.at(at))) {
                return true;
            }
            // The next line of a chain of calls.
            let chained = at == 1 || object.kind == shape::NEWLINE;
            let scripts = matches!(v.text(v.at(at)), b"alert" | b"eval" | b"prompt");
            let is_global = match v.text(object) {
                b"window" | b"top" | b"parent" | b"frames" => true,
                b"self" | b"this" => scripts,
                _ => object.cats & cat::DOM != 0,
            };
            object.is_word() && !is_global || (chained && !scripts)
        }
        b':' => v.back(at, 2).kind == b':',
        _ => matches!(v.text(before), b"fn" | b"def" | b"func" | b"function" | b"fun" | b"void"),
    }
}

fn call(v: &View<'_>, at: usize, hits: &mut Hits) {
    let token = v.at(at);
    let next = v.at(at + 1);
    let word = v.text(token);
    let plain = matches!(word, b"write" | b"writeln");
    if is_own(v, at) || (plain && v.back(at, 1).kind != b'.' && !v.at(at + 2).is_number()) {
        return;
    }
    // Names that programs give to what they pass on, too.
    let usual = plain || matches!(word, b"fetch" | b"throw" | b"prompt" | b"confirm" | b"reflect");
    match next.kind {
        // `alert (see below)` is prose.
        b'(' if !next.spaced || !v.at(at + 2).is_word() => hits.add(f::X_CALL, token.start),
        b'`' => hits.add(f::X_CALL_TICK, token.start),
        b'.' if matches!(v.word(at + 2), b"call" | b"apply" | b"bind" | b"source") => {
            hits.add(f::X_CALL_HIDDEN, token.start);
        }
        b',' if usual && matches!(v.back(at, 1).kind, b'(' | b',') => {}
        b')' | b']' | b',' | b';' | b'.'
            if matches!(v.back(at, 1).kind, b'(' | b'[' | b'=' | b',' | b'\'' | b'.') =>
        {
            hits.add(f::X_CALL_HIDDEN, token.start);
        }
        b'\'' | b'"' if v.back(at, 1).is_quote() && v.kind(at + 2) == b']' => {
            hits.add(f::X_CALL_HIDDEN, token.start);
        }
        _ => {}
    }
}

fn dom(v: &View<'_>, at: usize, hits: &mut Hits) {
    let token = v.at(at);
    let object = matches!(
        v.text(token),
        b"document"
            | b"window"
            | b"self"
            | b"top"
            | b"parent"
            | b"location"
            | b"navigator"
            | b"localstorage"
            | b"sessionstorage"
            | b"globalthis"
            | b"frames"
            | b"this"
    );
    let member = match v.kind(at + 1) {
        b'.' => v.at(at + 2),
        b'[' => v.at(at + 3),
        _ => return,
    };
    // A program's own method of the name of a script's: `self.write(`.
    let own = member.cats & cat::DOM == 0
        && matches!(v.text(token), b"self" | b"this")
        && !matches!(v.text(member), b"alert" | b"eval" | b"prompt")
        || is_accessor(v.text(member));
    if object && !own && member.cats & (cat::DOM | cat::JS_CALL) != 0 {
        hits.add(f::X_DOM, token.start);
    }
}

/// Finds the markup and script features of `v`.
pub(super) fn detect(v: &View<'_>, hits: &mut Hits) {
    let marked = v.has_any(&[
        b'<',
        b'>',
        shape::CLOSE_TAG,
        shape::LT_BANG,
        shape::LT_QUESTION,
        b'(',
        b':',
        b'`',
        b'=',
        b'[',
        b'@',
    ]);
    if !marked {
        return;
    }
    let mut brackets = 0;
    // Behind the last element that is harmless.
    let mut harmless = 0;
    for (at, &token) in v.tokens.iter().enumerate() {
        let next = v.at(at + 1);
        match token.kind {
            b'<' | shape::CLOSE_TAG | shape::ARROWS => {
                harmless = harmless.max(element(v, at, hits));
            }
            shape::LT_BANG => {
                if next.kind == shape::DASH2 {
                    hits.add(f::X_COMMENT, token.start);
                } else if next.kind == b'[' {
                    hits.add(f::X_CDATA, token.start);
                }
            }
            b':' => {
                // `javascript: the good parts` is a title.
                let title = next.spaced && next.is_word() && v.at(at + 2).is_word();
                if !title && let Some(start) = script_uri(v, at) {
                    hits.add(f::X_SCRIPT_URI, start);
                }
                if v.back(at, 1).kind != shape::NONE && v.text(v.back(at, 1)) == b"data" {
                    let rest = v.rest(next);
                    if rest.starts_with(b"text/html")
                        || rest.starts_with(b"image/svg")
                        || rest.starts_with(b"text/xml")
                        || rest.starts_with(b"application/x")
                        || rest.starts_with(b",<")
                        || rest.starts_with(b"text/javascript")
                    {
                        hits.add(f::X_DATA_URI, token.start);
                    }
                }
            }
            b'\'' | b'"' | b'`' => {
                let behind =
                    if matches!(next.kind, b'/' | b')' | b']' | b'}') { at + 2 } else { at + 1 };
                match v.kind(behind) {
                    b'>' | b'<' | shape::CLOSE_TAG if at < harmless => {}
                    // `a['b'] > c`, `echo "a" >&2`, `c == '<'`.
                    b'>' if behind > at + 1 && v.at(behind).spaced
                        || v.at(behind).spaced && v.kind(behind + 1) == b'&' => {}
                    b'>' | b'<' | shape::CLOSE_TAG if is_char_literal(v, at) => {}
                    b'>' | b'<' | shape::CLOSE_TAG if token.kind != b'`' => {
                        hits.add(f::X_QUOTE_CLOSE, token.start);
                    }
                    _ if v.kind(behind + 1) == b'=' && is_handler(v.word(behind)) => {
                        hits.add(f::X_QUOTE_HANDLER, token.start);
                    }
                    b';' | b'-' | b'+' | b','
                        if v.at(behind + 1).cats & (cat::JS_CALL | cat::DOM) != 0 =>
                    {
                        hits.add(f::X_BREAK_SCRIPT, token.start);
                    }
                    _ if behind > at + 1 && v.at(behind).cats & cat::JS_CALL != 0 => {
                        hits.add(f::X_BREAK_SCRIPT, token.start);
                    }
                    _ => {}
                }
            }
            b')' | b'}'
                if matches!(next.kind, b';' | b'-' | b'+')
                    && v.at(at + 2).cats & cat::JS_CALL != 0
                    && matches!(v.kind(at + 3), b'(' | b'`') =>
            {
                hits.add(f::X_BREAK_SCRIPT, token.start);
            }
            b'[' | b']' | b'!' | b'+' => brackets += 1,
            shape::LT_QUESTION if v.text(next) == b"import" => hits.add(f::X_IMPORT, token.start),
            b'@' if matches!(
                v.text(next),
                b"import" | b"charset" | b"keyframes" | b"namespace"
            ) =>
            {
                hits.add(f::X_IMPORT, token.start);
            }
            kind::EXPRESSION if matches!(next.kind, b'(' | b':') => {
                hits.add(f::X_STYLE, token.start);
            }
            _ if token.is_word() => {
                if token.cats & cat::JS_CALL != 0 {
                    call(v, at, hits);
                }
                if token.cats & cat::DOM != 0 {
                    dom(v, at, hits);
                }
                // `window.onload = f` and `onClick={f}` are programs'.
                if next.kind == b'='
                    && is_handler(v.text(token))
                    && v.back(at, 1).kind != b'.'
                    && v.kind(at + 2) != b'{'
                {
                    hits.add(f::X_HANDLER, token.start);
                }
                match v.text(token) {
                    b"url" if next.kind == b'(' && v.has_any(b"<:") && v.has(kind::JAVASCRIPT) => {
                        hits.add(f::X_STYLE, token.start);
                    }
                    b"namespace" | b"xmlns" if matches!(next.kind, b'=' | b':') => {
                        hits.add(f::X_IMPORT, token.start);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    if brackets >= 12 && brackets * 3 >= v.tokens.len() {
        hits.add(f::X_BRACKETS, 0);
    }
}
