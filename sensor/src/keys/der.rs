//! The small part of DER (X.690) that public keys and certificates need.

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// A cursor over DER values. Every method gives `None` where the bytes are not what is asked for
/// and then leaves the cursor in place.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn peek_tag(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value, whatever its tag: (tag, content, the whole value with tag and length).
    pub(super) fn any(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let &[tag, first, ref rest @ ..] = self.0 else { return None };
        // A tag number over 30 takes more bytes; nothing read here has one.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (len, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            // 0x80 is BER's indefinite length; more than 4 bytes is no key.
            let count = usize::from(first & 0x7f);
            if !(1..=4).contains(&count) {
                return None;
            }
            let (len, rest) = rest.split_at_checked(count)?;
            let len = len.iter().fold(0_u64, |len, &byte| (len << 8) | u64::from(byte));
            (usize::try_from(len).ok()?, rest)
        };
        let (content, rest) = rest.split_at_checked(len)?;
        let whole = self.0.get(..self.0.len() - rest.len())?;
        self.0 = rest;
        Some((tag, content, whole))
    }

    /// The content of the next value if it has this tag.
    pub(super) fn read(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.peek_tag()? != tag {
            return None;
        }
        self.any().map(|(_, content, _)| content)
    }

    /// A cursor inside the next SEQUENCE.
    pub(super) fn sequence(&mut self) -> Option<Self> {
        self.read(SEQUENCE).map(Self)
    }

    /// The magnitude of a non-negative INTEGER, without leading zeros; zero is empty.
    pub(super) fn unsigned(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let content = ahead.read(INTEGER)?;
        if content.first()? & 0x80 != 0 {
            return None;
        }
        *self = ahead;
        Some(trim_zeros(content))
    }

    /// The content of a BIT STRING of whole bytes.
    pub(super) fn bit_string(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let (&unused, bits) = ahead.read(BIT_STRING)?.split_first()?;
        if unused != 0 {
            return None;
        }
        *self = ahead;
        Some(bits)
    }
}

/// A big-endian number without its leading zero bytes.
pub(super) fn trim_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// Appends a value: tag, length, content. Content over 4 GiB does not occur: its sources are
/// limited.
pub(super) fn write(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let len = content.len();
    if len < 0x80 {
        out.push(len as u8);
    } else {
        let bytes = len.to_be_bytes();
        let bytes = trim_zeros(&bytes);
        out.push(0x80 | bytes.len() as u8);
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(content);
}

/// Appends a non-negative INTEGER from its big-endian magnitude.
pub(super) fn write_unsigned(out: &mut Vec<u8>, magnitude: &[u8]) {
    let magnitude = trim_zeros(magnitude);
    let mut content = Vec::with_capacity(magnitude.len() + 1);
    if magnitude.first().is_none_or(|&first| first & 0x80 != 0) {
        content.push(0);
    }
    content.extend_from_slice(magnitude);
    write(out, INTEGER, &content);
}

/// A value on its own.
pub(super) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    write(&mut out, tag, content);
    out
}

/// Whether these bytes are exactly an `ECDSA-Sig-Value` (RFC 3279, section 2.2.3):
/// SEQUENCE of two INTEGERs.
pub(super) fn is_ecdsa_sig_value(bytes: &[u8]) -> bool {
    let mut outer = Reader::new(bytes);
    let Some(mut numbers) = outer.sequence() else { return false };
    outer.is_empty()
        && numbers.read(INTEGER).is_some()
        && numbers.read(INTEGER).is_some()
        && numbers.is_empty()
}
