//! Text that is made to be misread by what processes it: a first, narrow look. It asks for the
//! attack's grammar, not for its letters, so that names like O'Brien and keys like `a/b+c=` pass.

use memchr::{memchr2_iter, memchr3};

/// Bytes of a text that are looked at.
const MAX_SCANNED: usize = 2_048;

/// Names behind a shell separator that make it a command.
const COMMANDS: [&str; 19] = [
    "bash", "cat", "chmod", "curl", "dd", "echo", "id", "ls", "nc", "nslookup", "ping", "python",
    "rm", "sh", "sleep", "touch", "uname", "wget", "whoami",
];

/// The class of an attack in a `kid`: a path, a null device, SQL, a command, an address, control
/// characters. What names a key needs none of them.
pub(super) fn in_identifier(text: &str) -> Option<&'static str> {
    let lower = start(text);
    if lower.chars().any(char::is_control) {
        return Some("text with control characters");
    }
    // Before paths: /dev/null is a path too, and its content is the empty key.
    if matches!(&*lower, "nul" | "nul:") || lower.contains("/dev/null") {
        return Some("a null device");
    }
    if lower.contains("://") {
        return Some("an address");
    }
    let is_path = lower.contains("../")
        || lower.contains("..\\")
        || lower.contains("..%2f")
        || lower.contains("%2e%2e")
        || ["/etc/", "/proc/", "/dev/", "/sys/", "/tmp/", "/var/", "/home/", "/usr/", "/root/"]
            .iter()
            .any(|root| lower.starts_with(root))
        || lower.starts_with("file:");
    if is_path {
        return Some("a path");
    }
    sql(&lower).or_else(|| command(&lower, false))
}

/// The class of an attack in a claim's text, which may hold prose.
pub(super) fn in_claim(text: &str) -> Option<&'static str> {
    if !text.contains('"') && !may_be_attack(text.as_bytes()) {
        return None;
    }
    let lower = start(text);
    if lower.contains("../../") || lower.contains("..\\..\\") {
        return Some("a path");
    }
    if lower.contains("<script")
        || lower.contains("javascript:")
        || (lower.contains('<') && (lower.contains("onerror=") || lower.contains("onload=")))
    {
        return Some("a script");
    }
    if lower.contains("${jndi:") || lower.contains("${${") {
        return Some("a look-up");
    }
    sql(&lower).or_else(|| command(&lower, true))
}

/// Whether [`in_claim`] has to look at a text. Most have nothing that an attack needs:
/// identifiers, addresses and times pass here. Also for text as it is written in JSON, one string
/// or many: a quotation mark inside of a string has a backslash there.
pub(super) fn may_be_attack(text: &[u8]) -> bool {
    // Three bytes at once is what vector instructions are ready for.
    memchr3(b'\'', b';', b'|', text).is_some()
        || memchr3(b'&', b'$', b'`', text).is_some()
        || memchr3(b'<', b'\\', b' ', text).is_some()
        || memchr2_iter(b'/', b':', text).any(|at| {
            let before = text.get(..at).unwrap_or_default();
            before.ends_with(b"..") || before.ends_with(b"script")
        })
}

fn start(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_SCANNED)).unwrap_or_default().to_ascii_lowercase()
}

/// A quote that ends a string, with SQL behind it; or a query that needs no quote.
fn sql(lower: &str) -> Option<&'static str> {
    let after_quote = |rest: &str| {
        let rest = rest.trim_start_matches([')', ' ', '\t']);
        let words = ["or ", "and ", "union ", "or(", "and(", "union(", "||", "having ", "order by"];
        words.iter().any(|word| rest.starts_with(word))
            || rest.starts_with("--")
            || rest.starts_with("/*")
            || (rest.starts_with(';') && rest.len() > 1)
    };
    let mut quoted = lower.match_indices(['\'', '"']);
    let found = quoted.any(|(at, quote)| after_quote(lower.get(at + quote.len()..).unwrap_or("")))
        || lower.contains("union select")
        || lower.contains("union all select")
        || lower.contains("; drop table")
        || lower.contains(";drop table")
        || lower.contains("waitfor delay");
    found.then_some("SQL")
}

/// A shell's substitution, or a separator with a command behind it. In prose a command needs an
/// argument that is no word.
fn command(lower: &str, prose: bool) -> Option<&'static str> {
    let substitutes = ["$(", "`"].iter().any(|mark| {
        lower.split(mark).skip(1).any(|rest| COMMANDS.iter().any(|name| starts_with(rest, name)))
    });
    let separated = lower.match_indices([';', '|', '&']).any(|(at, mark)| {
        let rest = lower.get(at + mark.len()..).unwrap_or_default();
        let rest = rest.trim_start_matches(['|', '&', ' ', '/']);
        let rest = rest.trim_start_matches("usr/").trim_start_matches("bin/");
        let technical = !prose || rest.contains(['/', '-', '.', '$', '<', '>']);
        technical && COMMANDS.iter().any(|name| starts_with(rest, name))
    });
    (substitutes || separated).then_some("a command")
}

/// Whether `text` begins with the whole word `name`, an argument or the end behind it.
fn starts_with(text: &str, name: &str) -> bool {
    text.trim_start().strip_prefix(name).is_some_and(|rest| {
        rest.is_empty() || rest.starts_with([' ', ';', '|', '&', ')', '`', '$', '\t', '<', '>'])
    })
}

#[cfg(test)]
mod tests {
    use super::{in_claim, in_identifier};

    #[test]
    fn attacks_in_a_kid_are_classed() {
        for (kid, class) in [
            ("../../../../dev/null", "a null device"),
            ("/dev/null", "a null device"),
            ("NUL", "a null device"),
            ("../../etc/passwd", "a path"),
            ("..\\..\\windows\\win.ini", "a path"),
            ("/etc/hostname", "a path"),
            ("%2e%2e%2fkey", "a path"),
            ("/proc/sys/kernel/randomize_va_space", "a path"),
            ("x' UNION SELECT 'secret", "SQL"),
            ("1' OR '1'='1", "SQL"),
            ("k'; DROP TABLE keys", "SQL"),
            ("key|whoami", "a command"),
            ("key; sleep 5", "a command"),
            ("$(id)", "a command"),
            ("key && /bin/cat x", "a command"),
            ("https://evil.example/k", "an address"),
            ("a\u{0}b", "text with control characters"),
            ("a\nb", "text with control characters"),
        ] {
            assert_eq!(in_identifier(kid), Some(class), "{kid}");
        }
    }

    #[test]
    fn what_names_keys_passes() {
        for kid in [
            "2011-04-29",
            "bilbo.baggins@hobbiton.example",
            "77c7e2b8-6e13-45cf-8672-617b5b45243a",
            "a/b+c=",
            "X5eXk4xyojNFum1kl2Ytv8dlNP4-c57dO6QGTVBwaNk",
            "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp#1",
            "key|1",
            "prod;v=2",
            "O'Brien's key",
            "projects/p/locations/eu/keyRings/r",
            "null",
        ] {
            assert_eq!(in_identifier(kid), None, "{kid}");
        }
    }

    #[test]
    fn claims_may_hold_prose() {
        for text in [
            "Sinead O'Connor and others",
            "R&D; sales",
            "tools | cat pictures",
            "select your union representative",
            "https://id.example/u/7",
            "a < b && c > d",
            "read:orders write:orders",
        ] {
            assert_eq!(in_claim(text), None, "{text}");
        }
        for text in [
            "admin' or '1'='1",
            "<script>alert(1)</script>",
            "${jndi:ldap://x}",
            "../../../etc/passwd",
            "a'; drop table users",
            "x; curl evil.example",
        ] {
            assert!(in_claim(text).is_some(), "{text}");
        }
    }
}
