use proptest::prelude::*;

use super::*;
use crate::{
    http::{Events, Limits, head},
    time::Time,
};

const AT: Time = Time::EPOCH;

/// What reading gives, as far as anybody can see it.
type Seen = Option<(Request, Framing, bool, bool)>;

fn seen(read: Option<RequestHead>) -> Seen {
    let RequestHead { request, framing, expects_continue, upgrade } = read?;
    Some((*request, framing, expects_continue, upgrade))
}

/// Reads with what is remembered.
fn read(bytes: &[u8], shape: &mut u16, limits: &Limits, out: &mut Events) -> Seen {
    seen(head::whole_request(bytes, AT, limits, shape, out))
}

/// Reads as if nothing was.
fn read_anew(bytes: &[u8], limits: &Limits) -> Seen {
    read(bytes, &mut u16::MAX.clone(), limits, &mut Events::default())
}

fn line() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        6 => Just("GET /a/1 HTTP/1.1\r\n"),
        3 => Just("POST /b?c=d HTTP/1.1\r\n"),
        1 => Just("GET / HTTP/1.0\r\n"),
        1 => Just("GET  / HTTP/1.1\r\n"),
        1 => Just("GET / HTTP/1.1\n"),
        1 => Just("GET /\t HTTP/1.1\r\n"),
        1 => Just("G\u{e4}T / HTTP/1.1\r\n"),
        1 => Just("GET /\u{e4} HTTP/1.1\r\n"),
        1 => Just("GET / HTTP/1.2\r\n"),
        1 => Just("GET HTTP/1.1\r\n"),
        1 => Just(" / HTTP/1.1\r\n"),
    ]
}

fn token() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        4 => Just("aaa.bbb.ccc"),
        4 => Just("dddd.eeee.ffffff"),
        2 => Just("opaque"),
        1 => Just(""),
        1 => Just("a b"),
        1 => Just("a,b"),
        1 => Just("{}"),
        1 => Just("a "),
        1 => Just("a\t"),
        1 => Just("a\u{7f}b"),
        1 => Just("a\u{e4}"),
        1 => Just("a\rb"),
        1 => Just("a\nb"),
        1 => Just("a\r\nX: y"),
        1 => Just("a\r\n\r\nX: y"),
    ]
}

/// Header sections with `TOKEN` in some; few, so that many come again.
fn section() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        6 => Just("Host: a\r\nAuthorization: Bearer TOKEN\r\nAccept: x\r\n\r\n"),
        3 => Just("Host: a\r\nauthorization:Bearer TOKEN\r\n\r\n"),
        2 => Just("Host: a\r\nX:\r\nAuthorization: Bearer TOKEN\r\nY: \r\n\r\n"),
        2 => Just("Host: a\r\nCookie: b=TOKEN\r\n\r\n"),
        2 => Just("Host: a\r\n\r\n"),
        1 => Just("Host: a\r\nAuthorization: bearer TOKEN\r\n\r\n"),
        1 => Just("Host: a\r\nAuthorization: Bearer  TOKEN\r\n\r\n"),
        1 => Just("Host: a\r\nAuthorization: Basic x\r\nAuthorization: Bearer TOKEN\r\n\r\n"),
        1 => Just("Authorization: Bearer TOKEN\r\n\r\n"),
        1 => Just("Host: a\r\nAuthorization: Bearer TOKEN\n\r\n"),
        1 => Just("Host: a\r\nExpect: 100-continue\r\nUpgrade: x\r\n\r\n"),
        1 => Just("Host: a\r\nContent-Length: 3\r\nAuthorization: Bearer TOKEN\r\n\r\n"),
        1 => Just("Host: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        1 => Just("Host: a\r\nAuthorization: Bearer TOKEN\r\n more\r\n\r\n"),
        1 => Just("Host: a\r\nAuthorization: Bearer TOKEN\r\n"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// Any requests of any two connections in turn, whole and cut off, with anything behind.
    #[test]
    fn what_is_remembered_is_what_is_read(
        requests in prop::collection::vec((line(), section(), token(), any::<bool>(), 0_usize..3), 1..40),
        limit in prop_oneof![Just(64 * 1024_usize), 40_usize..120],
    ) {
        let limits = Limits { head_bytes: limit, ..Limits::default() };
        let (mut out, mut shapes) = (Events::default(), [u16::MAX; 2]);
        for (line, section, token, second, more) in requests {
            let head = format!("{line}{}", section.replace("TOKEN", token));
            let shape = &mut shapes[usize::from(second)];
            let bytes = format!("{head}{}", "\r\nx".repeat(more));
            for end in [bytes.len(), head.len(), head.len() - 1, head.len() / 2] {
                let bytes = bytes.as_bytes().get(..end).unwrap_or_default();
                let found = read(bytes, shape, &limits, &mut out);
                prop_assert_eq!(&found, &read_anew(bytes, &limits), "{:?}", bytes.escape_ascii().to_string());
                if let Some((request, ..)) = found {
                    if let Some(token) = request.bearer() {
                        let value = request.header("authorization").unwrap_or_default();
                        prop_assert_eq!(value, [b"Bearer ", token].concat());
                        prop_assert!(token.iter().all(|b| is_plain(*b)));
                    }
                    out.recycle(Box::new(request));
                }
            }
        }
    }
}

/// Every token but none of the empty one has one shape; what else differs has another.
#[test]
fn a_shape_is_all_but_the_token() {
    let (mut out, mut last) = (Events::default(), u16::MAX);
    let mut shape = |text: &str| {
        let read =
            head::whole_request(text.as_bytes(), AT, &Limits::default(), &mut last, &mut out);
        read.unwrap().request.shape().map(|shape| shape.id)
    };
    let of = |target: &str, agent: &str, token: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: h\r\nUser-Agent: {agent}\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
    };
    let first = shape(&of("/", "a", "x.y.z"));
    assert!(first.is_some());
    for same in [of("/", "a", "x.y.z"), of("/b", "a", "1"), of("/c?d", "a", &"e".repeat(3000))] {
        assert_eq!(shape(&same), first);
    }
    let other = shape(&of("/", "b", "x.y.z"));
    assert!(other.is_some() && other != first);
    // Kept, though the connection had another one in between.
    assert_eq!(shape(&of("/", "a", "x")), first);
    assert_ne!(shape(&of("/", "a", "x").replace("1.1", "1.0")), first);
    // Too long to be kept.
    assert_eq!(shape(&of("/", &"a".repeat(MAX_LEN), "x")), None);
}

#[test]
fn what_is_kept_beside_a_shape_is_for_that_alone() {
    let mut kept = ByShape::default();
    let shapes: Vec<Shape> =
        (0..2 * SLOTS).map(|_| Shape { id: ShapeId::new().unwrap(), token: None }).collect();
    for (number, shape) in shapes.iter().enumerate() {
        assert_eq!(kept.get(*shape), None);
        kept.note(*shape, number);
        assert_eq!(kept.get(*shape), Some(number));
    }
    assert_eq!(kept.places.len(), SLOTS);
    let left = shapes.iter().filter(|shape| kept.get(**shape).is_some()).count();
    assert!(left <= SLOTS);
}
