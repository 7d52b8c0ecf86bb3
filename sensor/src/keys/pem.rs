//! Textual encodings of keys and certificates (RFC 7468, and the older RFC 1421 headers).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// One block of a PEM file. The content may be a private key: it is wiped when dropped.
pub(super) struct Block<'a> {
    pub(super) label: &'a str,
    /// `None` where the block does not decode or is encrypted.
    pub(super) der: Option<Zeroizing<Vec<u8>>>,
}

/// Whether a file is PEM: text may stand before the first block (RFC 7468, section 2).
pub(super) fn looks_like_pem(text: &str) -> bool {
    text.contains(BEGIN)
}

/// The blocks in their order. Text between them is ignored. One pass.
pub(super) fn blocks(text: &str) -> impl Iterator<Item = Block<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(BEGIN)?;
        let Some((label, after)) =
            after.split_once(DASHES).filter(|(label, _)| !label.contains('\n'))
        else {
            rest = "";
            return Some(Block { label: "", der: None });
        };
        // The end must name the same label; without one nothing more is readable.
        let Some((body, after_body)) = after.split_once(END) else {
            rest = "";
            return Some(Block { label, der: None });
        };
        rest = after_body;
        let ended = after_body.strip_prefix(label).is_some_and(|tail| tail.starts_with(DASHES));
        Some(Block { label, der: if ended { decode(body) } else { None } })
    })
}

fn decode(body: &str) -> Option<Zeroizing<Vec<u8>>> {
    // A colon marks an RFC 1421 header. Such blocks are encrypted in practice, and their base64
    // would be read as if it were clear.
    if body.contains(':') {
        return None;
    }
    let mut compact = Zeroizing::new(Vec::with_capacity(body.len()));
    compact.extend(body.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    STANDARD.decode(&*compact).ok().filter(|der| !der.is_empty()).map(Zeroizing::new)
}

/// A block as most tools write it: lines of 64 characters that end in LF, also the last.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut out = String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 40);
    out.push_str(BEGIN);
    out.push_str(label);
    out.push_str("-----\n");
    let mut rest = body.as_str();
    while let Some((line, tail)) = rest.split_at_checked(64) {
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    if !rest.is_empty() {
        out.push_str(rest);
        out.push('\n');
    }
    out.push_str(END);
    out.push_str(label);
    out.push_str("-----\n");
    out
}
