use proptest::prelude::*;

use super::*;

const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
const PAYLOAD: &str = "eyJzdWIiOiIxMjM0NTY3ODkwIn0";
const SIGNATURE: &str = "dyt0CoTl4WoVjAHI9Q_CwSKhl6d_9rhM3NrXuJttkao";

fn jwt() -> String {
    format!("{HEADER}.{PAYLOAD}.{SIGNATURE}")
}

/// Encodes as base64url without padding, the plain way.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = bytes.iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1)).collect::<Vec<_>>();
    bits.chunks(6)
        .map(|six| {
            let value = (0..6).fold(0, |v, i| v << 1 | six.get(i).copied().unwrap_or(0));
            char::from(ALPHABET[usize::from(value)])
        })
        .collect()
}

fn percent(text: &str, which: impl Fn(char) -> bool, levels: usize) -> String {
    let encode = |c: char| format!("%{}{:02x}", "25".repeat(levels - 1), u32::from(c));
    text.chars().map(|c| if which(c) { encode(c) } else { c.to_string() }).collect()
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    let jwt = jwt();
    for (before, after) in cases {
        let before = before.replace("JWT", &jwt);
        assert_eq!(text(&before), *after, "{before}");
        assert_eq!(text(after), *after, "a second time: {after}");
    }
}

#[test]
fn finds_tokens_wherever_they_stand() {
    check(&[
        ("JWT", "[redacted]"),
        ("/verify/JWT", "/verify/[redacted]"),
        ("/verify/JWT/next?x=1", "/verify/[redacted]/next?x=1"),
        ("/a?x=JWT&y=2", "/a?x=[redacted]&y=2"),
        ("/a?JWT", "/a?[redacted]"),
        ("/a;t=JWT", "/a;t=[redacted]"),
        ("Mozilla/5.0 (JWT; x)", "Mozilla/5.0 ([redacted]; x)"),
        ("JWT.example.org", "[redacted]"),
        ("JWT, JWT", "[redacted], [redacted]"),
        ("\"JWT\"", "\"[redacted]\""),
        ("xxJWT", "xx[redacted]"),
        ("x_JWT", "x_[redacted]"),
        ("kid is JWT", "kid is [redacted]"),
        ("http://h/JWT/p?q=JWT/r", "http://h/[redacted]/p?q=[redacted]"),
    ]);
}

#[test]
fn finds_tokens_of_every_shape() {
    let spaced = base64url(b" \r\n\t{\"alg\":\"HS256\"}");
    let marked = base64url(b"\xef\xbb\xbf{\"alg\":\"HS256\"}");
    let lined = base64url(b"{\n \"alg\":\"HS256\"}");
    for (shape, token) in [
        ("unsigned", format!("{HEADER}.{PAYLOAD}.")),
        ("detached", format!("{HEADER}..{SIGNATURE}")),
        ("encrypted", format!("{HEADER}.a.b.c.{SIGNATURE}")),
        ("direct encryption", format!("{HEADER}..b.c.{SIGNATURE}")),
        ("cut in the payload", format!("{HEADER}.{}", &PAYLOAD[..5])),
        ("cut in the signature", format!("{HEADER}.{PAYLOAD}.{}", &SIGNATURE[..7])),
        ("padded", format!("{HEADER}==.{PAYLOAD}=.{SIGNATURE}=")),
        ("with disclosures", format!("{HEADER}.{PAYLOAD}.{SIGNATURE}~WyJhIiwiYiJd~")),
        ("with foreign characters", format!("{HEADER}.{PAYLOAD}*!.{SIGNATURE}:")),
        ("with white space in the header", format!("{spaced}.{PAYLOAD}.{SIGNATURE}")),
        ("with a byte order mark", format!("{marked}.{PAYLOAD}.{SIGNATURE}")),
        ("with line feeds in the header", format!("{lined}.{PAYLOAD}.{SIGNATURE}")),
        ("with a short header", format!("{}.e30.", base64url(b"{\"a\":1}"))),
    ] {
        assert_eq!(text(&token), MARK, "{shape}");
        assert_eq!(text(&format!("/p?x={token}&y")), "/p?x=[redacted]&y", "{shape}");
    }
    // The standard alphabet, where a slash does not part a path.
    assert_eq!(text(&format!("{HEADER}.{PAYLOAD}.ab/c+d")), MARK);
    assert_eq!(text(&format!("/p?x={HEADER}.{PAYLOAD}.ab/c+d")), "/p?x=[redacted]");
    assert_eq!(text(&format!("/p/{HEADER}.{PAYLOAD}.ab%2Fc/q")), "/p/[redacted]/q");
}

#[test]
fn sees_through_percent_encoding() {
    for levels in 1..4 {
        for token in [
            percent(&jwt(), |c| c == '.', levels),
            percent(&jwt(), |c| c == 'e', levels),
            percent(&jwt(), |_| true, levels),
            percent(&jwt(), |c| c == '.', levels).to_uppercase().replace("%2E", "%2e"),
        ]
        .iter()
        .take(3)
        {
            assert_eq!(text(token), MARK, "{token}");
            assert_eq!(
                text(&format!("/v/{token}/w?x={token}&y")),
                "/v/[redacted]/w?x=[redacted]&y"
            );
        }
    }
    assert_eq!(text(&jwt().replace('.', "%2E")), MARK);
    check(&[
        (
            "/cb?to=https%3A%2F%2Fh%2F%3Ftoken%3Dabc%26x%3D1&y=2",
            "/cb?to=https%3A%2F%2Fh%2F%3Ftoken%3D[redacted]%26x%3D1&y=2",
        ),
        ("/a?password=a%26b%20c&x=1", "/a?password=[redacted]&x=1"),
        ("/a?acce%73s%5Ftoken=abc", "/a?acce%73s%5Ftoken=[redacted]"),
        ("/a?user%5Bpassword%5D=abc&x", "/a?user%5Bpassword%5D=[redacted]&x"),
        ("/a%20b?x=100%25&y=%zz%", "/a%20b?x=100%25&y=%zz%"),
    ]);
}

#[test]
fn hides_the_values_of_credential_parameters() {
    check(&[
        ("/a?access_token=abc&x=1", "/a?access_token=[redacted]&x=1"),
        ("/a?x=1&Access-Token=abc", "/a?x=1&Access-Token=[redacted]"),
        ("/a?TOKEN=a=b;c/d?e", "/a?TOKEN=[redacted]"),
        (
            "/a?api_key=1&apikey=2&API-Key=3",
            "/a?api_key=[redacted]&apikey=[redacted]&API-Key=[redacted]",
        ),
        ("/a?user[password]=abc&z", "/a?user[password]=[redacted]&z"),
        ("/a;jsessionid=12AB?x=1", "/a;jsessionid=[redacted]?x=1"),
        ("/a?#id_token=abc", "/a?#id_token=[redacted]"),
        ("token=x", "token=[redacted]"),
        ("agent (client_secret=x y)", "agent (client_secret=[redacted] y)"),
        ("/cb?code=4%2F0AfJohXmEXAMPLECODE&state=1", "/cb?code=[redacted]&state=1"),
    ]);
}

#[test]
fn knows_every_documented_name_in_every_spelling() {
    let document = include_str!("../../../docs/events.md");
    for &name in NAMES {
        let name = std::str::from_utf8(name).unwrap();
        assert!(name.len() <= NAME_MAX);
        for spelling in
            [name.to_owned(), name.to_uppercase(), format!("{}-_{}", &name[..1], &name[1..])]
        {
            let shown = text(&format!("/a?x=1&{spelling}=0123456789abcdef&y=2")).into_owned();
            assert_eq!(shown, format!("/a?x=1&{spelling}=[redacted]&y=2"));
        }
        let plain = document.replace(['-', '_'], "");
        assert!(plain.contains(&format!("`{name}`")), "{name} is not in docs/events.md");
    }
}

#[test]
fn hides_bearer_credentials_and_user_information() {
    check(&[
        ("curl Bearer 0123456789abcdef x", "curl Bearer [redacted] x"),
        ("bEARER   0123456789abcdef", "bEARER   [redacted]"),
        ("http://user:pass@host/p", "http://[redacted]@host/p"),
        ("/r?u=https://ghp_x@host/p", "/r?u=https://[redacted]@host/p"),
        ("/r?u=https%3A%2F%2Fa%3Ab%40host", "/r?u=https%3A%2F%2F[redacted]%40host"),
    ]);
}

#[test]
fn control_characters_end_no_credential() {
    let (half, rest) = SIGNATURE.split_at(9);
    for c in (0..b' ').chain([0x7f]).map(char::from) {
        check(&[
            (&format!("/a?access_token=ab{c}cd&x=1"), "/a?access_token=[redacted]&x=1"),
            (&format!("/a?id_token=JWT{c}{rest} x"), "/a?id_token=[redacted] x"),
            (&format!("/v/{HEADER}.{PAYLOAD}.{half}{c}{rest}/w"), "/v/[redacted]/w"),
            (&format!("/v/{HEADER}.{c}{PAYLOAD}{c}.{SIGNATURE}/w"), "/v/[redacted]/w"),
            (&format!("Bearer 01234567{c}89abcdef x"), "Bearer [redacted] x"),
            (&format!("http://us{c}er:pa{c}ss@host/p"), "http://[redacted]@host/p"),
        ]);
    }
    for encoded in ["%0b", "%0A", "%250d", "%00"] {
        check(&[
            (&format!("/v/{HEADER}.{PAYLOAD}.{half}{encoded}{rest}/w"), "/v/[redacted]/w"),
            (&format!("/a?token=ab{encoded}cd&x=1"), "/a?token=[redacted]&x=1"),
        ]);
    }
}

#[test]
fn leaves_everything_else_alone() {
    for clean in [
        "",
        "/",
        "/index.html",
        "/static/app.3f2a9c1e.min.js?v=1.2.3",
        "/eyes.html",
        "/ewok.tar.gz",
        "/files/archive.2026.11.21.tar.gz",
        "/keyJohn.doe.txt",
        "/a?code=404&state=x&tokens=5&broken=1&page=2",
        "/a?token=&access_token",
        "/a?cursor=eyJpZCI6MTIzNDU2Nzg5MDEyfQ",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        "Bearer authentication is malformed",
        "mail me@example.org",
        "/users/a@example.org/x.y.z",
        "192.0.2.1:8080",
    ] {
        assert!(matches!(text(clean), Cow::Borrowed(_)), "{clean}: {}", text(clean));
    }
}

/// Hostile text takes linear time: 4 MiB in a moment, also without optimisation.
#[test]
fn takes_linear_time() {
    let start = std::time::Instant::now();
    for piece in [
        "eyJhbGci.",
        "eyJhbGciO",
        "token=&",
        "token=a&",
        ";token=a?",
        "%25",
        "%2E",
        "eyJ/",
        "IICAg",
        "ICAg/",
        "@",
        "://@",
        "Bearer ",
        "a=",
        "....",
        "eyJhbGciOiJI=",
        "]=",
    ] {
        let _ = bytes(&piece.repeat(256 * 1024 / piece.len()).into_bytes());
    }
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
}

/// Pieces of every alphabet and delimiter, so that words meet tokens in every way.
fn surroundings() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-zA-Z0-9/?&=;:,. _%\"'()@-]{0,12}",
        Just("%2E".to_owned()),
        Just("token=".to_owned()),
        Just("://".to_owned()),
        Just("eyJ".to_owned()),
        Just(".".to_owned()),
        Just("é".to_owned()),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// A token between any text: no part of its payload or signature is left.
    #[test]
    fn no_token_gets_through(
        before in surroundings(),
        after in surroundings(),
        alg in "[A-Z]{2}[0-9]{3}",
        payload in "[a-z0-9]{8,40}",
        signature in prop::collection::vec(any::<u8>(), 32..64),
        levels in 0_usize..3,
        which in 0_u8..4,
    ) {
        let payload = base64url(format!("{{\"sub\":\"{payload}\"}}").as_bytes());
        let signature = base64url(&signature);
        let header = base64url(format!("{{\"alg\":\"{alg}\"}}").as_bytes());
        let token = format!("{header}.{payload}.{signature}");
        let sent = match levels {
            0 => token,
            _ => percent(&token, |c| c == '.' || u32::from(c) % 4 == u32::from(which), levels),
        };
        let whole = format!("{before}{sent}{after}");
        let shown = text(&whole).into_owned();
        // What is left, with every level of encoding undone.
        let mut plain = shown.clone();
        for _ in 0..3 {
            let mut at = 0;
            let mut next = Vec::new();
            while at < plain.len() {
                let (byte, len) = match plain.as_bytes()[at] {
                    b'%' => unit(plain.as_bytes(), at),
                    byte => (byte, 1),
                };
                next.push(byte);
                at += len;
            }
            plain = String::from_utf8_lossy(&next).into_owned();
        }
        prop_assert!(!plain.contains(&payload[8..]), "{whole} -> {shown}");
        prop_assert!(!plain.contains(&signature[..8]), "{whole} -> {shown}");
        prop_assert!(!plain.contains(&signature[signature.len() - 8..]), "{whole} -> {shown}");
    }

    /// Any bytes: no panic, and what is not redacted is unchanged.
    #[test]
    fn keeps_what_it_does_not_redact(input in prop::collection::vec(any::<u8>(), 0..200)) {
        let shown = bytes(&input);
        if memmem::find(&shown, MARK.as_bytes()).is_none() {
            prop_assert_eq!(shown.as_ref(), input.as_slice());
        }
    }
}
