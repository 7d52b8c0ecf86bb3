//! Lines of attack lists that are no attack on their own, told by what they are made of and not by
//! what any model makes of them.

/// Whether a line of an attack list is no attack on its own: a word, a name, a number.
///
/// Letters, digits and `_ . - +`, without a climb. Command lines (`cat file`) have a blank and stay.
/// For script and XML the words between blanks are no attack either, as in the names that fuzzdb
/// gives its lines: without anything that markup, an address or a call is made of there is none.
pub(crate) fn is_fragment(text: &str, markup: bool) -> bool {
    let text = text.trim();
    if markup && is_writing(text) {
        return true;
    }
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+');
    text.is_empty() || (text.chars().all(word) && !text.contains(".."))
}

/// Whether `text` has nothing of which markup or script is made: no marks of either, nothing
/// encoded, and a parenthesis or colon as in writing only: `XML (locally hosted)`, `Author Name: x`.
fn is_writing(text: &str) -> bool {
    if text.contains(['<', '>', '=', '"', '\'', ';', '`', '%', '\\', '$', '{', '[']) {
        return false;
    }
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let spaced = rest.peek().is_none_or(|next| next.is_whitespace());
        match c {
            // A call, a number's own name, an address.
            '(' if !before.is_whitespace() => return false,
            '&' | ':' if !spaced => return false,
            _ => {}
        }
        before = c;
    }
    true
}

/// Elements that do nothing but hold or set text, in any page.
const PLAIN: [&str; 52] = [
    "a",
    "b",
    "big",
    "blockquote",
    "body",
    "br",
    "button",
    "center",
    "code",
    "dd",
    "div",
    "dl",
    "dt",
    "em",
    "fieldset",
    "font",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "hr",
    "html",
    "i",
    "input",
    "label",
    "li",
    "ol",
    "option",
    "p",
    "pre",
    "s",
    "select",
    "small",
    "span",
    "strike",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "textarea",
    "th",
    "thead",
    "title",
    "tr",
    "u",
    "ul",
];

/// Attributes that neither load nor run nor style anything.
const INERT: [&str; 22] = [
    "action",
    "align",
    "alt",
    "charset",
    "class",
    "cols",
    "for",
    "height",
    "href",
    "id",
    "lang",
    "method",
    "name",
    "placeholder",
    "rel",
    "rows",
    "size",
    "target",
    "title",
    "type",
    "value",
    "width",
];

/// Whether `text` is markup in which nothing loads, runs or breaks out, as in any page: elements of
/// [`PLAIN`] with attributes of [`INERT`], comments, and text between. Addresses are http's, or
/// plain paths.
pub(crate) fn is_harmless_markup(text: &str) -> bool {
    let low = text.trim().to_ascii_lowercase();
    if !low.contains('<') || low.contains(['%', '\\', '`', '{', '\t', '\0']) || low.contains("&#") {
        return false;
    }
    let mut rest = low.as_str();
    while let Some(open) = rest.find('<') {
        let (between, tag) = rest.split_at(open);
        if !is_plain_text(between) {
            return false;
        }
        let behind = if let Some(comment) = tag.strip_prefix("<!--") {
            let Some((inner, behind)) = comment.split_once("-->") else { return false };
            if !is_plain_text(inner) || inner.contains(['<', '#', '[']) {
                return false;
            }
            behind
        } else if let Some(declared) = tag.strip_prefix("<?xml version=") {
            let Some((inner, behind)) = declared.split_once("?>") else { return false };
            if inner.contains(['<', '>']) {
                return false;
            }
            behind
        } else {
            let Some((inner, behind)) = tag[1..].split_once('>') else { return false };
            if !is_plain_tag(inner) {
                return false;
            }
            behind
        };
        rest = behind;
    }
    is_plain_text(rest)
}

/// Text between elements, without what breaks out of a string or comment, or calls.
fn is_plain_text(text: &str) -> bool {
    !text.contains(['"', '\'', '>', '(', '=', ']', ':', ';'])
}

/// A tag without its brackets.
fn is_plain_tag(tag: &str) -> bool {
    if tag == "!doctype html" {
        return true;
    }
    let inner = tag.strip_prefix('/').unwrap_or(tag);
    let inner = inner.strip_suffix('/').unwrap_or(inner).trim_end();
    let name = inner.split(' ').next().unwrap_or_default();
    let mut rest = inner[name.len()..].trim_start();
    // An element of nobody's language, as XML has them, may have no attributes.
    let own = name.chars().all(|c| c.is_ascii_lowercase() || c == '-') && name.len() > 2;
    if !(PLAIN.contains(&name) || own && rest.is_empty() && !ACTIVE.contains(&name)) {
        return false;
    }
    while !rest.is_empty() {
        let Some((attribute, behind)) = rest.split_once('=') else {
            return rest.chars().all(|c| c.is_ascii_lowercase());
        };
        let (value, behind) = match behind.chars().next() {
            Some(quote @ ('"' | '\'')) => match behind[1..].split_once(quote) {
                Some(split) => split,
                None => return false,
            },
            _ => behind.split_once(' ').unwrap_or((behind, "")),
        };
        if !INERT.contains(&attribute.trim()) || !is_plain_value(value) {
            return false;
        }
        rest = behind.trim_start();
    }
    true
}

/// Elements that load or run something, for those without attributes.
const ACTIVE: [&str; 14] = [
    "script", "iframe", "object", "embed", "svg", "math", "base", "meta", "link", "frame",
    "frameset", "style", "applet", "xss",
];

/// An attribute's value that is no script.
fn is_plain_value(value: &str) -> bool {
    let address = value
        .strip_prefix("http://")
        .or_else(|| value.strip_prefix("https://"))
        .or_else(|| value.strip_prefix("//"));
    let rest = address.unwrap_or(value);
    // Addresses written as one number, octal or hexadecimal are no plain ones.
    let hidden = address.is_some_and(|host| host.starts_with('0') || host.contains("0x"));
    !hidden
        && rest.chars().all(|c| {
            c.is_ascii_alphanumeric()
                || matches!(c, ' ' | '.' | '/' | '-' | '_' | '?' | '&' | '=' | '#' | ',')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_told_by_what_they_are_made_of() {
        for (text, markup) in [
            ("findstr", false),
            ("", false),
            ("1.7e+308", false),
            ("IMG STYLE w/expression", true),
            ("Author Name: x", true),
            ("XML (locally hosted)", true),
        ] {
            assert!(is_fragment(text, markup), "{text}");
        }
        for (text, markup) in [
            ("id;", false),
            ("..", false),
            ("cat file", false),
            ("alert(1)", true),
            ("&lt", true),
            ("javascript:x", true),
            ("Author Name: x", false),
        ] {
            assert!(!is_fragment(text, markup), "{text}");
        }
    }

    #[test]
    fn markup_is_harmless_where_nothing_loads_or_runs() {
        for text in [
            "</b>",
            "<br><hr/>",
            "<A HREF=\"http://www.google.com/\">XSS</A>",
            "<input name=\"a\" value='b' />",
            "<div id=\"108\"><!-- IE 5-8 standards mode -->",
            "<?xml version=\"1.0\"?><change-log><text>Hello</text></change-log>",
        ] {
            assert!(is_harmless_markup(text), "{text}");
        }
        for text in [
            "<script>",
            "<b onclick=a>",
            "<b",
            "\"><b>",
            "<a href=javascript:x>",
            "<a href=http://0x7f.1/>",
            "<div style=\"x\">",
            "<b>alert(1)</b>",
            "<!--#echo var=a -->",
            "<!--[if IE]>",
            "<img src=x>",
            "<svg>",
            "%3cb%3e",
            "<b>&#39;",
            "a",
        ] {
            assert!(!is_harmless_markup(text), "{text}");
        }
    }
}
