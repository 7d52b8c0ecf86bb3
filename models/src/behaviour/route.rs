//! From a path to its route: what varies is left out, and becomes the object that is asked for.
//!
//! `/orders/4711/items` and `/orders/4712/items` are one route with the objects 4711 and 4712. Out
//! go numbers, dates, UUIDs (RFC 9562), ULIDs, hexadecimal and base64url identifiers, numbers
//! behind a word (`INV-0042`), identifiers behind a prefix (`cus_Nf2a91`), addresses, and text that
//! is no plain word. A path is read as servers read it: each segment is percent-decoded once after
//! it was split off, empty and `.` segments are passed over, and what stands behind `;` or in the
//! query is no part of the route; a query that names an object or a page does so where the path
//! doesn't.

use siphasher::sip::SipHasher13;

/// Segments of a path that tell routes apart; of a longer path the rest is passed over, and its
/// route is that of all paths with the same beginning that are as long or longer.
pub const MAX_SEGMENTS: usize = 32;

/// Bytes of a decoded segment that is read as a word; a longer one is an object.
pub const MAX_WORD: usize = 64;

/// Bytes of a template. More than most servers' paths have; what is beyond it is passed over.
const MAX_TEMPLATE: usize = 512;

/// Parameters of a query that are looked at for an object.
const MAX_PARAMETERS: usize = 16;

/// Bytes of the shortest segment that is an identifier by its letters and digits alone.
const LEAST_IDENTIFIER: usize = 16;

/// Bytes of a method that tell routes apart.
pub(super) const MAX_METHOD: usize = 16;

/// Digits that fit below [`super::Route::OPAQUE`].
pub(super) const MAX_DIGITS: usize = 18;

/// Makes routes under the installation's secret: nobody outside can find two paths of one hash.
#[derive(Clone, Copy)]
pub struct Templates {
    key: [u8; 16],
}

impl std::fmt::Debug for Templates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Templates")
    }
}

/// A template that is being written.
struct Text {
    bytes: [u8; MAX_TEMPLATE],
    len: usize,
}

impl Text {
    fn push(&mut self, more: &[u8]) {
        let left = self.bytes.get_mut(self.len..).unwrap_or_default();
        let len = more.len().min(left.len());
        if let (Some(to), Some(from)) = (left.get_mut(..len), more.get(..len)) {
            to.copy_from_slice(from);
        }
        self.len += len;
    }

    fn written(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What a segment is made of.
enum Segment<'a> {
    /// A part of the route.
    Word,
    /// An object between two parts of the route.
    Object { before: &'a [u8], object: Object<'a>, behind: &'a [u8] },
}

enum Object<'a> {
    Number(u64),
    Opaque(&'a [u8]),
}

impl Templates {
    /// Under a secret of the installation.
    #[must_use]
    pub const fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    /// The route of a request. `target` is the request target as sent (RFC 9112 section 3.2), in
    /// origin form; `service` a keyed hash of the service's name.
    #[must_use]
    pub fn route(&self, service: u64, method: &[u8], target: &[u8]) -> super::Route {
        let mut text = Text { bytes: [0; MAX_TEMPLATE], len: 0 };
        let hasher = SipHasher13::new_with_key(&self.key);
        let object = read(method, target, &mut text, |object| match *object {
            Object::Number(number) => number,
            Object::Opaque(text) => hasher.hash(text) | super::Route::OPAQUE,
        });
        let template = hasher.hash(text.written()) ^ service.rotate_left(17);
        super::Route { template: super::profile::mix(template, service), object }
    }
}

/// How many bytes of a text are of a kind, in a byte a kind. Of a text that is no longer than a word
/// none of them overflows.
#[derive(Clone, Copy, Default)]
struct Census(u64);

impl Census {
    const DIGITS: u32 = 0;
    const LETTERS: u32 = 8;
    /// `-`, `_`, `.`, `~`.
    const MARKS: u32 = 16;
    const HEX: u32 = 24;
    const DASHES: u32 = 32;
    const DOTS: u32 = 40;
    /// What does not stand for itself: `%` and `;`.
    const CODED: u32 = 48;
    /// What no plain text of a segment has: other than ASCII, and `@`, `%`, `/`.
    const ODD: u32 = 56;

    const fn of_byte(byte: u8) -> u64 {
        let mut kinds = 0;
        if byte.is_ascii_digit() {
            kinds |= 1 << Self::DIGITS;
        }
        if byte.is_ascii_alphabetic() {
            kinds |= 1 << Self::LETTERS;
        }
        if matches!(byte, b'-' | b'_' | b'.' | b'~') {
            kinds |= 1 << Self::MARKS;
        }
        if hex(byte).is_some() {
            kinds |= 1 << Self::HEX;
        }
        if byte == b'-' {
            kinds |= 1 << Self::DASHES;
        }
        if byte == b'.' {
            kinds |= 1 << Self::DOTS;
        }
        if matches!(byte, b'%' | b';') {
            kinds |= 1 << Self::CODED;
        }
        if !byte.is_ascii_graphic() || matches!(byte, b'@' | b'%' | b'/') {
            kinds |= 1 << Self::ODD;
        }
        kinds
    }

    fn of(text: &[u8]) -> Self {
        text.iter().fold(Self::default(), |census, byte| census.with(Self::of_byte(*byte)))
    }

    const fn with(self, kinds: u64) -> Self {
        Self(self.0.wrapping_add(kinds))
    }

    const fn count(self, kind: u32) -> usize {
        (self.0 >> kind & 0xff) as usize
    }
}

/// Ends a segment: `/`, and `?` and `#`, which end the path. No count of one byte.
const END: u64 = u64::MAX;

/// What each byte of a target adds to a segment's census.
static KINDS: [u64; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let b = byte as u8;
        kinds[byte] = if matches!(b, b'/' | b'?' | b'#') { END } else { Census::of_byte(b) };
        byte += 1;
    }
    kinds
};

/// A segment and its census off the front of a target, and the byte that ends it.
fn segment<'t>(target: &mut &'t [u8]) -> (&'t [u8], Census, Option<u8>) {
    let mut census = Census::default();
    for (at, byte) in target.iter().enumerate() {
        let kinds = KINDS.get(usize::from(*byte)).copied().unwrap_or(END);
        if kinds == END {
            let (segment, rest) = target.split_at(at);
            *target = rest.get(1..).unwrap_or_default();
            return (segment, census, Some(*byte));
        }
        census = census.with(kinds);
    }
    (std::mem::take(target), census, None)
}

/// Writes the template and finds the object, of which it gives what `take` makes of it.
fn read<T>(
    method: &[u8],
    target: &[u8],
    text: &mut Text,
    take: impl Fn(&Object<'_>) -> T,
) -> Option<T> {
    text.push(method.get(..MAX_METHOD).unwrap_or(method));
    let mut object = None;
    let mut segments = 0;
    let mut rest = target;
    let mut end = Some(b'/');
    let mut buffer = [0; MAX_WORD];
    while end == Some(b'/') {
        let (raw, census);
        (raw, census, end) = segment(&mut rest);
        if segments > MAX_SEGMENTS {
            continue;
        }
        let decoded = if raw.len() <= MAX_WORD && census.count(Census::CODED) == 0 {
            // As it stands.
            Some((raw, census))
        } else {
            decode(raw, &mut buffer).map(|text| (text, Census::of(text)))
        };
        if matches!(decoded, Some((b"" | b".", _))) {
            continue;
        }
        segments += 1;
        if segments > MAX_SEGMENTS {
            text.push(b"/**");
            continue;
        }
        text.push(b"/");
        let Some((segment, census)) = decoded else {
            text.push(b"{}");
            let object_of = raw.get(..MAX_WORD).unwrap_or(raw);
            object = Some(take(&Object::Opaque(object_of)));
            continue;
        };
        match classify(segment, census) {
            Segment::Word => text.push(segment),
            Segment::Object { before, object: found, behind } => {
                text.push(before);
                text.push(b"{}");
                text.push(behind);
                object = Some(take(&found));
            }
        }
    }
    object.or_else(|| match end {
        Some(b'?') => in_query(rest.split(|b| *b == b'#').next()?, take),
        _ => None,
    })
}

/// A segment as the server reads it; none where it is longer than a word.
fn decode<'a>(raw: &[u8], buffer: &'a mut [u8; MAX_WORD]) -> Option<&'a [u8]> {
    let mut len = 0;
    let mut rest = raw;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let byte = match (byte, behind) {
            (b';', _) => break,
            (b'%', [high, low, behind @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = behind;
                    high << 4 | low
                }
                _ => b'%',
            },
            _ => byte,
        };
        *buffer.get_mut(len)? = byte;
        len += 1;
    }
    buffer.get(..len)
}

const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// A whole decimal number.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > MAX_DIGITS {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, b| {
        b.is_ascii_digit().then(|| sum.wrapping_mul(10).wrapping_add(u64::from(b - b'0')))
    })
}

fn classify(segment: &[u8], census: Census) -> Segment<'_> {
    if census.count(Census::DOTS) == 0 {
        return classify_stem(segment, census);
    }
    // `4711.json` is an object and its representation.
    let dot = segment.iter().rposition(|b| *b == b'.').unwrap_or(segment.len());
    let (stem, extension) = segment.split_at(dot);
    if (2..=6).contains(&extension.len())
        && extension.iter().skip(1).all(u8::is_ascii_alphanumeric)
        && extension.iter().any(u8::is_ascii_alphabetic)
        && !stem.contains(&b'@')
        && let Segment::Object { before, object, .. } = classify_stem(stem, Census::of(stem))
    {
        return Segment::Object { before, object, behind: extension };
    }
    classify_stem(segment, census)
}

/// `text` is no longer than a word.
fn classify_stem(text: &[u8], census: Census) -> Segment<'_> {
    let whole = |object| Segment::Object { before: b"", object, behind: b"" };
    let digits = census.count(Census::DIGITS);
    let letters = census.count(Census::LETTERS);
    let marks = census.count(Census::MARKS);
    if digits == text.len()
        && let Some(number) = number(text)
    {
        return whole(Object::Number(number));
    }
    // Text, an address, a key with separators of its own.
    if digits + letters + marks < text.len() {
        let plain = census.count(Census::ODD) == 0;
        // `items:batch` (AIP-136), `(latest)`, `$metadata` and `*` name actions.
        return if plain && digits == 0 { Segment::Word } else { whole(Object::Opaque(text)) };
    }
    // Dates, versions of dates, numbers too long for one.
    if digits > 0 && letters == 0 && digits + marks == text.len() && digits >= 4 {
        return whole(Object::Opaque(text));
    }
    let hexadecimal = census.count(Census::HEX);
    let dashes = census.count(Census::DASHES);
    // UUIDs and hexadecimal hashes, of 8 digits at least and not a word such as `deadbeef`.
    if text.len() >= 8 && hexadecimal + dashes == text.len() && digits > 0 {
        return whole(Object::Opaque(text));
    }
    // Without digits, and shorter than an identifier.
    if digits == 0 && marks == 0 && text.len() < LEAST_IDENTIFIER {
        return Segment::Word;
    }
    // `INV-0042`: a word, a separator, a number.
    let start = text.len() - text.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (word, tail) = text.split_at(start);
    if let Some(number) = number(tail) {
        let separated = matches!(word.last(), Some(b'-' | b'_' | b'.'));
        let wordy = !word.iter().any(u8::is_ascii_digit);
        if wordy && (separated || tail.len() >= 3) && !is_version(word) {
            return Segment::Object { before: word, object: Object::Number(number), behind: b"" };
        }
    }
    // `cus_Nf2a91`: a prefix and an identifier.
    if let Some(at) = text.iter().position(|b| *b == b'_')
        && at <= 8
        && let (prefix, tail) = text.split_at(at + 1)
        && is_identifier(tail, 6)
        && prefix.iter().all(|b| b.is_ascii_lowercase() || *b == b'_')
    {
        return Segment::Object { before: prefix, object: Object::Opaque(tail), behind: b"" };
    }
    match is_identifier(text, LEAST_IDENTIFIER) {
        true => whole(Object::Opaque(text)),
        false => Segment::Word,
    }
}

/// `v`, `api-v` in front of a number.
fn is_version(word: &[u8]) -> bool {
    matches!(word, [b'v' | b'V'] | [.., b'-' | b'_' | b'.', b'v' | b'V'])
}

/// Letters and digits in turns, as chance makes them and words don't: ULIDs, base64url, nanoid.
fn is_identifier(text: &[u8], least: usize) -> bool {
    if text.len() < least {
        return false;
    }
    let digits = text.iter().filter(|b| b.is_ascii_digit()).count();
    let turns = text
        .iter()
        .zip(text.iter().skip(1))
        .filter(|(a, b)| {
            kind(**a) != kind(**b) && !(a.is_ascii_uppercase() && b.is_ascii_lowercase())
        })
        .count();
    digits >= 2 && turns >= 2 || turns * 4 >= text.len() && least > 8
}

/// Kinds of characters that alternate in an identifier.
const fn kind(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => 0,
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        _ => 3,
    }
}

/// The object, else the page, that a query names.
fn in_query<T>(query: &[u8], take: impl Fn(&Object<'_>) -> T) -> Option<T> {
    let mut page = None;
    for pair in query.split(|b| *b == b'&').take(MAX_PARAMETERS) {
        let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(at);
        let mut buffer = [0; MAX_WORD];
        let Some(value) = decode(value.get(1..).unwrap_or_default(), &mut buffer) else { continue };
        if value.is_empty() {
            continue;
        }
        let named = name.len() >= 2
            && name.get(name.len() - 2..).is_some_and(|end| end.eq_ignore_ascii_case(b"id"));
        if named {
            let object = number(value).map_or(Object::Opaque(value), Object::Number);
            return Some(take(&object));
        }
        if matches!(name, b"page" | b"offset" | b"start" | b"skip")
            && let Some(number) = number(value)
        {
            page = page.or(Some(number));
        }
    }
    page.map(|page| take(&Object::Number(page)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(target: &str) -> (String, Option<String>) {
        let mut text = Text { bytes: [0; MAX_TEMPLATE], len: 0 };
        let object = read(b"GET", target.as_bytes(), &mut text, |object| match *object {
            Object::Number(number) => number.to_string(),
            Object::Opaque(text) => String::from_utf8_lossy(text).into_owned(),
        });
        (String::from_utf8_lossy(text.written()).into_owned(), object)
    }

    #[test]
    fn a_census_counts_each_kind() {
        let all: Vec<u8> = (0..=255).collect();
        for text in all.chunks(MAX_WORD).chain([&b"a.B-9%f;~_@"[..], &[b'%'; MAX_WORD]]) {
            let census = Census::of(text);
            let count = |is: &dyn Fn(u8) -> bool| text.iter().filter(|b| is(**b)).count();
            for (kind, want) in [
                (Census::DIGITS, count(&|b| b.is_ascii_digit())),
                (Census::LETTERS, count(&|b| b.is_ascii_alphabetic())),
                (Census::MARKS, count(&|b| b"-_.~".contains(&b))),
                (Census::HEX, count(&|b| b.is_ascii_hexdigit())),
                (Census::DASHES, count(&|b| b == b'-')),
                (Census::DOTS, count(&|b| b == b'.')),
                (Census::CODED, count(&|b| b"%;".contains(&b))),
                (Census::ODD, count(&|b| !b.is_ascii_graphic() || b"@%/".contains(&b))),
            ] {
                assert_eq!(census.count(kind), want, "{text:?} {kind}");
            }
        }
    }

    #[test]
    fn what_varies_is_left_out() {
        for (target, route, object) in [
            ("/", "GET", None),
            ("/orders", "GET/orders", None),
            ("/orders/", "GET/orders", None),
            ("//orders/./", "GET/orders", None),
            ("/orders/4711", "GET/orders/{}", Some("4711")),
            ("/orders/%34%37", "GET/orders/{}", Some("47")),
            ("/orders/4711;v=1/items", "GET/orders/{}/items", Some("4711")),
            ("/orders/4711.json", "GET/orders/{}.json", Some("4711")),
            ("/a/1/b/2", "GET/a/{}/b/{}", Some("2")),
            ("/invoices/INV-0042", "GET/invoices/INV-{}", Some("42")),
            ("/files/report123", "GET/files/report{}", Some("123")),
            (
                "/u/018f3b1c-7d2a-7c3e-9a55-0242ac120002",
                "GET/u/{}",
                Some("018f3b1c-7d2a-7c3e-9a55-0242ac120002"),
            ),
            ("/u/01ARZ3NDEKTSV4RRFFQ69G5FAV", "GET/u/{}", Some("01ARZ3NDEKTSV4RRFFQ69G5FAV")),
            ("/u/507f1f77bcf86cd799439011", "GET/u/{}", Some("507f1f77bcf86cd799439011")),
            ("/v/dQw4w9WgXcQ3kLm9ZpQ", "GET/v/{}", Some("dQw4w9WgXcQ3kLm9ZpQ")),
            ("/c/cus_Nf2a91xy", "GET/c/cus_{}", Some("Nf2a91xy")),
            ("/users/ann%40example.org", "GET/users/{}", Some("ann@example.org")),
            ("/days/2026-11-21", "GET/days/{}", Some("2026-11-21")),
            ("/days/2026-11-21.csv", "GET/days/{}.csv", Some("2026-11-21")),
            ("/search/two%20words", "GET/search/{}", Some("two words")),
            // More digits than a number below OPAQUE has.
            ("/n/9999999999999999999", "GET/n/{}", Some("9999999999999999999")),
            ("/api/v1/oauth2/token", "GET/api/v1/oauth2/token", None),
            ("/api/v2.1/users/me", "GET/api/v2.1/users/me", None),
            ("/.well-known/jwks.json", "GET/.well-known/jwks.json", None),
            ("/projects/batchGetItems", "GET/projects/batchGetItems", None),
            ("/deadbeef/facade", "GET/deadbeef/facade", None),
            ("/items:batch", "GET/items:batch", None),
            ("/two-factor-authentication", "GET/two-factor-authentication", None),
            ("/getUserAccountSettingsByRole", "GET/getUserAccountSettingsByRole", None),
            ("/orders?id=7", "GET/orders", Some("7")),
            ("/orders?sort=a&order_id=8&page=3", "GET/orders", Some("8")),
            ("/orders?sort=a&page=3", "GET/orders", Some("3")),
            ("/orders/5?page=3", "GET/orders/{}", Some("5")),
            ("/orders#id=3", "GET/orders", None),
        ] {
            let (found, at) = template(target);
            assert_eq!((found.as_str(), at.as_deref()), (route, object), "{target}");
        }
    }

    #[test]
    fn routes_of_methods_and_services_differ_and_objects_do_not_matter() {
        let templates = Templates::new([7; 16]);
        let one = templates.route(1, b"GET", b"/orders/1");
        assert_eq!(one, super::super::Route { object: Some(1), ..one });
        assert_eq!(one.template, templates.route(1, b"GET", b"/orders/2").template);
        assert_ne!(one.template, templates.route(1, b"POST", b"/orders/1").template);
        assert_ne!(one.template, templates.route(2, b"GET", b"/orders/1").template);
        assert_ne!(one.template, Templates::new([8; 16]).route(1, b"GET", b"/orders/1").template);
        let opaque = templates.route(1, b"GET", b"/orders/01ARZ3NDEKTSV4RRFFQ69G5FAV");
        assert_eq!(opaque.template, one.template);
        assert!(opaque.object.is_some_and(|o| o >= super::super::Route::OPAQUE));
    }

    #[test]
    fn a_long_path_is_cut_and_not_read_on() {
        let long = "/a".repeat(100);
        assert_eq!(template(&long).0, format!("GET{}/**", "/a".repeat(MAX_SEGMENTS)));
        let wide = format!("/{}/x", "a".repeat(MAX_WORD + 1));
        assert_eq!(template(&wide), ("GET/{}/x".into(), Some("a".repeat(MAX_WORD))));
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_route(target in prop::collection::vec(any::<u8>(), 0..700)) {
            let templates = Templates::new([7; 16]);
            let once = templates.route(1, b"GET", &target);
            prop_assert_eq!(once, templates.route(1, b"GET", &target));
        }

        #[test]
        fn every_number_is_itself(number in 0..10_u64.pow(18)) {
            let path = format!("/orders/{number}/lines");
            let route = Templates::new([7; 16]).route(1, b"GET", path.as_bytes());
            prop_assert_eq!(route.object, Some(number));
        }
    }
}
