//! Bytes of clients that parsers may read in different ways.

/// Behind every variant: whether it is seen as a request of its own tells where the one before it
/// ended.
pub(crate) const CANARY: &str =
    "GET /canary HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer canary\r\n\r\n";

const FIRST: &str = "Host: x\r\nAuthorization: Bearer first\r\n";
/// A request within what may be a body.
const INNER: &str = "GET /inner HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer inner\r\n\r\n";

/// Fields that frame a body, and the body.
const FRAMING: &[(&str, &str, &str)] = &[
    ("none", "", ""),
    ("none-with-body", "", "hello"),
    ("cl", "Content-Length: 5\r\n", "hello"),
    ("cl-zero", "Content-Length: 0\r\n", ""),
    ("cl-short", "Content-Length: 3\r\n", "hello"),
    ("cl-leading-zeros", "Content-Length: 0005\r\n", "hello"),
    ("cl-plus", "Content-Length: +5\r\n", "hello"),
    ("cl-minus", "Content-Length: -5\r\n", "hello"),
    ("cl-minus-zero", "Content-Length: -0\r\n", ""),
    ("cl-hex", "Content-Length: 0x5\r\n", "hello"),
    ("cl-underscore", "Content-Length: 0_5\r\n", "hello"),
    ("cl-decimal", "Content-Length: 5.0\r\n", "hello"),
    ("cl-exponent", "Content-Length: 5e0\r\n", "hello"),
    ("cl-empty", "Content-Length:\r\n", ""),
    ("cl-letters", "Content-Length: five\r\n", "hello"),
    ("cl-behind", "Content-Length: 5 x\r\n", "hello"),
    ("cl-space-inside", "Content-Length: 5 5\r\n", "hello"),
    ("cl-tab", "Content-Length:\t5\t\r\n", "hello"),
    ("cl-vt", "Content-Length: \x0b5\r\n", "hello"),
    ("cl-ff", "Content-Length: 5\x0c\r\n", "hello"),
    ("cl-list-same", "Content-Length: 5, 5\r\n", "hello"),
    ("cl-list-other", "Content-Length: 5, 6\r\n", "hello"),
    ("cl-list-empty", "Content-Length: 5,\r\n", "hello"),
    ("cl-twice-same", "Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
    ("cl-twice-other", "Content-Length: 5\r\nContent-Length: 0\r\n", "hello"),
    ("cl-twice-other-back", "Content-Length: 0\r\nContent-Length: 5\r\n", "hello"),
    ("cl-overflow-32", "Content-Length: 4294967301\r\n", "hello"),
    ("cl-overflow-64", "Content-Length: 18446744073709551621\r\n", "hello"),
    ("cl-largest", "Content-Length: 18446744073709551615\r\n", "hello"),
    ("cl-quoted", "Content-Length: \"5\"\r\n", "hello"),
    ("cl-nul", "Content-Length: 5\0\r\n", "hello"),
    ("cl-folded", "Content-Length:\r\n 5\r\n", "hello"),
    ("cl-space-colon", "Content-Length : 5\r\n", "hello"),
    ("cl-tab-colon", "Content-Length\t: 5\r\n", "hello"),
    ("cl-underscore-name", "Content_Length: 5\r\n", "hello"),
    ("cl-lower", "content-length: 5\r\n", "hello"),
    ("cl-inner", "Content-Length: {}\r\n", INNER),
    ("te", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("te-upper", "Transfer-Encoding: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("te-inner", "Transfer-Encoding: chunked\r\n", "{x}\r\n{}\r\n0\r\n\r\n"),
    ("cl-te", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nX"),
    ("te-cl", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "5c\r\nhello\r\n0\r\n\r\n"),
    (
        "te-cl-valid",
        "Transfer-Encoding: chunked\r\nContent-Length: 15\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "cl-te-valid",
        "Content-Length: 15\r\nTransfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    ("te-identity", "Transfer-Encoding: identity\r\n", ""),
    ("te-identity-cl", "Transfer-Encoding: identity\r\nContent-Length: 5\r\n", "hello"),
    ("te-gzip", "Transfer-Encoding: gzip\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("te-gzip-chunked", "Transfer-Encoding: gzip, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("te-chunked-gzip", "Transfer-Encoding: chunked, gzip\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("te-chunked-identity", "Transfer-Encoding: chunked, identity\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    (
        "te-twice",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    ("te-list-twice", "Transfer-Encoding: chunked, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    (
        "te-cow",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    ("te-xchunked", "Transfer-Encoding: xchunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("te-chunkedx", "Transfer-Encoding: chunkedx\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("te-parameter", "Transfer-Encoding: chunked;q=1\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("te-quoted", "Transfer-Encoding: \"chunked\"\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("te-comma-front", "Transfer-Encoding: , chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("te-comma-behind", "Transfer-Encoding: chunked,\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("te-empty", "Transfer-Encoding:\r\n", ""),
    ("te-empty-cl", "Transfer-Encoding:\r\nContent-Length: 5\r\n", "hello"),
    ("te-space-colon", "Transfer-Encoding : chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    (
        "te-space-colon-cl",
        "Transfer-Encoding : chunked\r\nContent-Length: 15\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    ("te-tab", "Transfer-Encoding:\tchunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("te-vt", "Transfer-Encoding: \x0bchunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    (
        "te-vt-cl",
        "Transfer-Encoding: \x0bchunked\r\nContent-Length: 15\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    ("te-nul", "Transfer-Encoding: chunked\0\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("te-folded", "Transfer-Encoding:\r\n chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    (
        "te-folded-cl",
        "Transfer-Encoding:\r\n chunked\r\nContent-Length: 15\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
    ),
    ("te-fold-behind", "Transfer-Encoding: chunked\r\n x\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("te-underscore", "Transfer_Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("te-bare-lf", "X: y\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("te-bare-cr", "X: y\rTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-extension", "Transfer-Encoding: chunked\r\n", "5;a=b\r\nhello\r\n0;c\r\n\r\n"),
    (
        "chunk-extension-quoted",
        "Transfer-Encoding: chunked\r\n",
        "5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n",
    ),
    ("chunk-extension-lf", "Transfer-Encoding: chunked\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
    ("chunk-extension-cr", "Transfer-Encoding: chunked\r\n", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("chunk-extension-space", "Transfer-Encoding: chunked\r\n", "5 ; a=b\r\nhello\r\n0\r\n\r\n"),
    ("chunk-space-behind", "Transfer-Encoding: chunked\r\n", "5 \r\nhello\r\n0 \r\n\r\n"),
    ("chunk-space-front", "Transfer-Encoding: chunked\r\n", " 5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-plus", "Transfer-Encoding: chunked\r\n", "+5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-minus", "Transfer-Encoding: chunked\r\n", "-5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-0x", "Transfer-Encoding: chunked\r\n", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-underscore", "Transfer-Encoding: chunked\r\n", "0_5\r\nhello\r\n0\r\n\r\n"),
    ("chunk-zeros", "Transfer-Encoding: chunked\r\n", "0000000000005\r\nhello\r\n00000\r\n\r\n"),
    (
        "chunk-many-zeros",
        "Transfer-Encoding: chunked\r\n",
        "00000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
    ),
    ("chunk-overflow-32", "Transfer-Encoding: chunked\r\n", "100000005\r\nhello\r\n0\r\n\r\n"),
    (
        "chunk-overflow-64",
        "Transfer-Encoding: chunked\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
    ),
    ("chunk-largest", "Transfer-Encoding: chunked\r\n", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    ("chunk-empty-size", "Transfer-Encoding: chunked\r\n", "\r\nhello\r\n0\r\n\r\n"),
    ("chunk-not-hex", "Transfer-Encoding: chunked\r\n", "g\r\nhello\r\n0\r\n\r\n"),
    ("chunk-bare-lf", "Transfer-Encoding: chunked\r\n", "5\nhello\n0\n\n"),
    ("chunk-lf-size", "Transfer-Encoding: chunked\r\n", "5\nhello\r\n0\r\n\r\n"),
    ("chunk-lf-data", "Transfer-Encoding: chunked\r\n", "5\r\nhello\n0\r\n\r\n"),
    ("chunk-lf-end", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\n\r\n"),
    ("chunk-cr-size", "Transfer-Encoding: chunked\r\n", "5\rhello\r\n0\r\n\r\n"),
    ("chunk-no-end", "Transfer-Encoding: chunked\r\n", "5\r\nhelloX\r\n0\r\n\r\n"),
    ("chunk-two-bytes-end", "Transfer-Encoding: chunked\r\n", "5\r\nhelloXX0\r\n\r\n"),
    ("chunk-short", "Transfer-Encoding: chunked\r\n", "3\r\nhello\r\n0\r\n\r\n"),
    ("chunk-nul", "Transfer-Encoding: chunked\r\n", "5\0\r\nhello\r\n0\r\n\r\n"),
    ("chunk-none", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    ("trailer", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nX: y\r\n\r\n"),
    (
        "trailer-authorization",
        "Transfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\nAuthorization: Bearer trailer\r\n\r\n",
    ),
    (
        "trailer-cl",
        "Transfer-Encoding: chunked\r\n",
        "5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n",
    ),
    ("trailer-bare-lf", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nX: y\n\r\n"),
    ("trailer-no-colon", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nXy\r\n\r\n"),
    ("trailer-folded", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"),
    (
        "trailer-inner",
        "Transfer-Encoding: chunked\r\n",
        "0\r\nGET /inner HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    ("expect", "Expect: 100-continue\r\nContent-Length: 5\r\n", "hello"),
    ("expect-other", "Expect: 200-ok\r\nContent-Length: 5\r\n", "hello"),
    ("upgrade", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n", ""),
    ("upgrade-cl", "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n", "hello"),
    (
        "upgrade-h2c",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "",
    ),
    ("close", "Connection: close\r\n", ""),
    ("close-upper", "Connection: CLOSE\r\nContent-Length: 5\r\n", "hello"),
    ("keep-alive", "Connection: keep-alive, x\r\n", ""),
    ("connection-cl", "Connection: Content-Length\r\nContent-Length: 5\r\n", "hello"),
];

/// How fields are written around the credential.
const FIELDS: &[(&str, &str)] = &[
    ("plain", "Authorization: Bearer first\r\n"),
    ("no-space", "Authorization:Bearer first\r\n"),
    ("tabs", "Authorization:\t\tBearer first\t\r\n"),
    ("case", "aUTHORIZATION: Bearer first\r\n"),
    ("space-colon", "Authorization : Bearer first\r\n"),
    ("tab-colon", "Authorization\t: Bearer first\r\n"),
    ("space-front", "X: y\r\n Authorization: Bearer first\r\n"),
    ("tab-front", "X: y\r\n\tAuthorization: Bearer first\r\n"),
    ("folded", "Authorization: Bearer\r\n first\r\n"),
    ("folded-tab", "Authorization: Bearer\r\n\tfirst\r\n"),
    ("folded-start", "Authorization:\r\n Bearer first\r\n"),
    ("folded-blank", "Authorization: Bearer first\r\n \r\n"),
    ("bare-lf", "X: y\nAuthorization: Bearer first\n"),
    ("bare-cr", "X: y\rAuthorization: Bearer first\r\n"),
    ("cr-cr-lf", "X: y\r\r\nAuthorization: Bearer first\r\n"),
    ("lf-cr", "X: y\n\rAuthorization: Bearer first\r\n"),
    ("nul-value", "Authorization: Bearer \0first\r\n"),
    ("nul-name", "Author\0ization: Bearer first\r\n"),
    ("nul-other", "X: y\0z\r\nAuthorization: Bearer first\r\n"),
    ("vt-front", "\x0bAuthorization: Bearer first\r\n"),
    ("vt-value", "Authorization: \x0bBearer first\r\n"),
    ("del", "Authorization: Bearer first\x7f\r\n"),
    ("control", "X: \x01\r\nAuthorization: Bearer first\r\n"),
    ("latin-1", "X: \u{e9}\r\nAuthorization: Bearer first\r\n"),
    ("latin-1-name", "\u{e9}: y\r\nAuthorization: Bearer first\r\n"),
    ("no-colon", "Xy\r\nAuthorization: Bearer first\r\n"),
    ("empty-name", ": y\r\nAuthorization: Bearer first\r\n"),
    ("separator-name", "X(y): z\r\nAuthorization: Bearer first\r\n"),
    ("at-name", "X@y: z\r\nAuthorization: Bearer first\r\n"),
    ("space-name", "X y: z\r\nAuthorization: Bearer first\r\n"),
    ("underscore-name", "X_Y: z\r\nAuthorization: Bearer first\r\n"),
    ("twice", "Authorization: Bearer first\r\nAuthorization: Bearer second\r\n"),
    ("twice-empty", "Authorization:\r\nAuthorization: Bearer second\r\n"),
    ("empty", "Authorization:\r\n"),
    ("blank", "Authorization:   \r\n"),
    ("semicolon", "Authorization; Bearer first\r\n"),
    ("host-twice", "Host: y\r\nAuthorization: Bearer first\r\n"),
    ("long-value", "X: {long}\r\nAuthorization: Bearer first\r\n"),
    ("many", "{many}Authorization: Bearer first\r\n"),
];

/// First lines.
const LINES: &[(&str, &str)] = &[
    ("http10", "GET /a HTTP/1.0\r\n"),
    ("http12", "GET /a HTTP/1.2\r\n"),
    ("http19", "GET /a HTTP/1.9\r\n"),
    ("http20", "GET /a HTTP/2.0\r\n"),
    ("http1", "GET /a HTTP/1\r\n"),
    ("http11-zeros", "GET /a HTTP/01.01\r\n"),
    ("http110", "GET /a HTTP/1.10\r\n"),
    ("http-lower", "GET /a http/1.1\r\n"),
    ("http09", "GET /a\r\n"),
    ("no-target", "GET HTTP/1.1\r\n"),
    ("two-spaces", "GET  /a HTTP/1.1\r\n"),
    ("two-spaces-behind", "GET /a  HTTP/1.1\r\n"),
    ("space-end", "GET /a HTTP/1.1 \r\n"),
    ("space-front", " GET /a HTTP/1.1\r\n"),
    ("tab", "GET\t/a\tHTTP/1.1\r\n"),
    ("vt", "GET\x0b/a\x0bHTTP/1.1\r\n"),
    ("lf", "GET /a HTTP/1.1\n"),
    ("cr", "GET /a HTTP/1.1\r"),
    ("crlf-front", "\r\nGET /a HTTP/1.1\r\n"),
    ("crlf-front-many", "\r\n\r\n\r\n\r\n\r\nGET /a HTTP/1.1\r\n"),
    ("lf-front", "\n\nGET /a HTTP/1.1\r\n"),
    ("cr-front", "\rGET /a HTTP/1.1\r\n"),
    ("method-lower", "get /a HTTP/1.1\r\n"),
    ("method-own", "FROB /a HTTP/1.1\r\n"),
    ("method-digits", "G3T /a HTTP/1.1\r\n"),
    ("method-dash", "M-SEARCH /a HTTP/1.1\r\n"),
    ("method-underscore", "GET_IT /a HTTP/1.1\r\n"),
    ("method-odd", "GET! /a HTTP/1.1\r\n"),
    ("method-bad", "GE(T /a HTTP/1.1\r\n"),
    ("method-nul", "GE\0T /a HTTP/1.1\r\n"),
    ("method-long", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMNOPQRSTUVWXYZ /a HTTP/1.1\r\n"),
    ("absolute", "GET http://x/a?b HTTP/1.1\r\n"),
    ("absolute-other", "GET http://y/a HTTP/1.1\r\n"),
    ("absolute-user", "GET http://u:p@x/a HTTP/1.1\r\n"),
    ("absolute-scheme", "GET ftp://x/a HTTP/1.1\r\n"),
    ("asterisk", "OPTIONS * HTTP/1.1\r\n"),
    ("asterisk-get", "GET * HTTP/1.1\r\n"),
    ("authority", "GET x:80 HTTP/1.1\r\n"),
    ("connect", "CONNECT x:80 HTTP/1.1\r\n"),
    ("relative", "GET a HTTP/1.1\r\n"),
    ("query-only", "GET ?a=b HTTP/1.1\r\n"),
    ("two-slashes", "GET //a HTTP/1.1\r\n"),
    ("fragment", "GET /a#b HTTP/1.1\r\n"),
    ("space-target", "GET /a b HTTP/1.1\r\n"),
    ("percent-bad", "GET /a%zz HTTP/1.1\r\n"),
    ("percent-nul", "GET /a%00 HTTP/1.1\r\n"),
    ("dots", "GET /a/../../b HTTP/1.1\r\n"),
    ("latin-1-target", "GET /\u{e9} HTTP/1.1\r\n"),
    ("nul-target", "GET /a\0b HTTP/1.1\r\n"),
    ("control-target", "GET /a\x01b HTTP/1.1\r\n"),
    ("tab-target", "GET /a\tb HTTP/1.1\r\n"),
    ("cr-target", "GET /a\rb HTTP/1.1\r\n"),
    ("quote-target", "GET /a\"<>\\^`{|} HTTP/1.1\r\n"),
    ("long-target", "GET /{long} HTTP/1.1\r\n"),
    ("head", "HEAD /a HTTP/1.1\r\n"),
    ("trace", "TRACE /a HTTP/1.1\r\n"),
    ("pri", "PRI * HTTP/1.1\r\n"),
    ("response", "HTTP/1.1 200 OK\r\n"),
];

/// Bytes, in Latin-1, of a text of such characters.
fn latin_1(text: &str) -> Vec<u8> {
    text.chars().map(|c| c as u8).collect()
}

fn filled(text: &str) -> String {
    let many: String = (0..90).map(|n| format!("X{n}: y\r\n")).collect();
    text.replace("{long}", &"a".repeat(3_000)).replace("{many}", &many)
}

/// All variants by name: the bytes that a client sends.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (name, fields, body) in FRAMING {
        let inner = INNER.len();
        let body = body.replace("{x}", &format!("{inner:x}")).replace("{}", INNER);
        let fields = fields.replace("{}", &inner.to_string());
        let text = format!("POST /a HTTP/1.1\r\n{FIRST}{fields}\r\n{body}{CANARY}");
        all.push((format!("framing-{name}"), latin_1(&text)));
    }
    // Without `POST`, and over a version that has no chunks.
    for (name, method, version, of) in [
        ("get-cl", "GET", "1.1", "cl"),
        ("get-te", "GET", "1.1", "te"),
        ("head-cl", "HEAD", "1.1", "cl"),
        ("delete-te", "DELETE", "1.1", "te"),
        ("connect-cl", "CONNECT", "1.1", "cl"),
        ("http10-cl", "POST", "1.0", "cl"),
        ("http10-te", "POST", "1.0", "te"),
        ("http10-cl-te", "POST", "1.0", "cl-te-valid"),
        ("http10-keep-alive", "POST", "1.0", "keep-alive"),
    ] {
        let (_, fields, body) = FRAMING.iter().find(|(name, ..)| *name == of).unwrap();
        let target = if method == "CONNECT" { "x:80" } else { "/a" };
        let text = format!("{method} {target} HTTP/{version}\r\n{FIRST}{fields}\r\n{body}{CANARY}");
        all.push((format!("framing-{name}"), latin_1(&text)));
    }
    for (name, fields) in FIELDS {
        let text = format!("GET /a HTTP/1.1\r\nHost: x\r\n{}\r\n{CANARY}", filled(fields));
        all.push((format!("field-{name}"), latin_1(&text)));
        // First in the head, where a continuation has nothing to continue.
        if matches!(*name, "space-front" | "tab-front") {
            let fields = fields.trim_start_matches("X: y\r\n");
            let text = format!("GET /a HTTP/1.1\r\n{fields}Host: x\r\n\r\n{CANARY}");
            all.push((format!("field-first-{name}"), latin_1(&text)));
        }
    }
    for (name, line) in LINES {
        let text = format!("{}{FIRST}\r\n{CANARY}", filled(line));
        all.push((format!("line-{name}"), latin_1(&text)));
    }
    for (name, text) in [
        ("no-host", format!("GET /a HTTP/1.1\r\nAuthorization: Bearer first\r\n\r\n{CANARY}")),
        ("no-fields", format!("GET /a HTTP/1.1\r\n\r\n{CANARY}")),
        ("end-lf", format!("GET /a HTTP/1.1\r\n{FIRST}\n{CANARY}")),
        ("end-lf-lf", format!("GET /a HTTP/1.1\n{}\n{CANARY}", FIRST.replace("\r\n", "\n"))),
        ("end-cr", format!("GET /a HTTP/1.1\r\n{FIRST}\r{CANARY}")),
        ("end-cr-cr-lf", format!("GET /a HTTP/1.1\r\n{FIRST}\r\r\n{CANARY}")),
        ("end-space", format!("GET /a HTTP/1.1\r\n{FIRST} \r\n\r\n{CANARY}")),
        ("pipelined", CANARY.repeat(5)),
        ("pipelined-crlf", [CANARY, CANARY].join("\r\n")),
        ("pipelined-lf", [CANARY, CANARY].join("\n")),
        ("pipelined-garbage", [CANARY, CANARY].join("garbage\r\n")),
        ("pipelined-space", [CANARY, CANARY].join(" ")),
        ("cut-head", CANARY[..CANARY.len() - 2].to_owned()),
        ("cut-line", "GET /a HTT".to_owned()),
        ("cut-body", format!("POST /a HTTP/1.1\r\n{FIRST}Content-Length: 50\r\n\r\nhello")),
        (
            "cut-chunk",
            format!("POST /a HTTP/1.1\r\n{FIRST}Transfer-Encoding: chunked\r\n\r\n5\r\nhe"),
        ),
        ("garbage", "garbage".to_owned()),
        ("garbage-front", format!("garbage\r\n{CANARY}")),
        ("garbage-lines", format!("a b c d\r\n\r\n{CANARY}")),
        ("proxy-v1", format!("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n{CANARY}")),
        ("tls", "\u{16}\u{3}\u{1}\0\u{5}hello".to_owned()),
        ("http2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0".to_owned()),
    ] {
        all.push((format!("other-{name}"), latin_1(&text)));
    }
    all
}

/// Pieces that matter to parsers.
const PIECES: &[&str] = &[
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    "\0",
    "\x0b",
    ":",
    ",",
    ";",
    "0",
    "5",
    "+",
    "-",
    "x",
    "\r\n ",
    "\r\n\r\n",
    "0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Content-Length: 5\r\n",
    "chunked",
    "Content-Length: 0\r\n",
    " HTTP/1.1\r\n",
    "GET / HTTP/1.1\r\n",
    "\u{e9}",
    "Connection: close\r\n",
];

/// `count` mutations of the variants; the same for the same seed.
pub(crate) fn mutations(seed: u64, count: usize) -> Vec<(String, Vec<u8>)> {
    let all = all();
    let mut state = seed | 1;
    // xorshift64* (Vigna, 2014).
    let mut below = |n: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    };
    let mut mutated = Vec::new();
    while mutated.len() < count {
        let (name, bytes) = &all[below(all.len())];
        let mut bytes = bytes.clone();
        for _ in 0..=below(3) {
            let at = below(bytes.len() + 1);
            let piece = latin_1(PIECES[below(PIECES.len())]);
            let end = match below(3) {
                0 => at,
                1 => (at + piece.len()).min(bytes.len()),
                _ => (at + 1 + below(4)).min(bytes.len()),
            };
            let piece = if end > at && below(3) == 0 { Vec::new() } else { piece };
            bytes.splice(at..end, piece);
        }
        mutated.push((format!("{name}-mutated-{}", mutated.len()), bytes));
    }
    mutated
}
