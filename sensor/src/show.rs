//! What others wrote, safe to print.
#![forbid(unsafe_code)]

use std::borrow::Cow;

/// Characters of an attacker's string that are shown.
pub const MAX_SHOWN: usize = 256;

/// A foreign string, safe to print: control characters and those that change the direction or
/// hide text are written as `\u{XXXX}`, and what goes beyond [`MAX_SHOWN`] characters is cut and
/// replaced by `…`.
#[must_use]
pub fn show(text: &str) -> Cow<'_, str> {
    show_at_most(text, MAX_SHOWN)
}

/// As [`show`], of at most so many characters.
pub(crate) fn show_at_most(text: &str, max: usize) -> Cow<'_, str> {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}')
    };
    if text.len() <= max
        && (text.bytes().all(|b| matches!(b, b' '..=b'~')) || !text.contains(hidden))
    {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    for (k, c) in text.chars().enumerate() {
        if k == max {
            shown.push('…');
            break;
        }
        if hidden(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}
