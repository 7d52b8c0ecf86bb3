//! libhtp's recorded dialogues through [`Connection`].
//!
//! What each gives stands in [`DIALOGUES`], derived from RFC 9110 and RFC 9112 by hand; those
//! that may surprise are explained in docs/http-conformance.md.

use std::{collections::BTreeMap, path::Path};

use super::*;

/// A dialogue, and for each of its requests the method and the status that answers it, with its
/// findings; then what else is reported.
const DIALOGUES: &[(&str, &str)] = &[
    ("00-adhoc", "GET !bare-lf 200 !bare-lf"),
    ("01-get", "GET 200"),
    ("02-header-test-apache2", "GET !malformed-request,nul,obs-fold,space-before-colon 200"),
    ("03-post-urlencoded", "POST 200, GET 200 !transfer-encoding-invalid"),
    ("04-post-urlencoded-chunked", "POST !missing-host 200"),
    ("05-expect", "POST !bare-lf,missing-host 200 !bare-lf cut"),
    ("06-uri-normal", "GET 200"),
    ("07-pipelined-connection", "GET !missing-host 200, GET !missing-host 200"),
    ("08-not-pipelined-connection", "GET !missing-host 200, GET !missing-host 200"),
    ("09-multi-packet-request-head", "GET 200"),
    ("10-host-in-headers", "GET 200, GET cut, GET cut, GET cut"),
    ("100-auth-bearer", "GET !bare-lf cut"),
    ("100-response-body-data", "; opaque not-http"),
    ("11-response-stream-closure", "GET 200"),
    ("12-connect-request", "CONNECT 405"),
    ("13-compressed-response-gzip-ct", "GET 302"),
    ("14-compressed-response-gzip-chunked", "GET 200"),
    ("15-connect-complete", "CONNECT 200; opaque upgraded"),
    ("16-connect-extra", "CONNECT 301, HEAD 301"),
    ("17-multipart-1", "POST 200"),
    ("18-compressed-response-deflate", "GET 200"),
    ("19-urlencoded-test", "POST 200"),
    ("20-ambiguous-host", "GET 200, GET 200, POST 200, POST 200, POST 200"),
    ("21-http09", "; opaque not-http"),
    ("22-php-param-processing", "GET 200"),
    ("23-http09-multiple", "; opaque not-http"),
    ("24-http09-explicit", "; malformed !malformed-request"),
    ("25-small-chunks", "GET !bare-lf 200 !bare-lf"),
    ("26-request-headers-raw", "GET !bare-lf 200 !bare-lf"),
    ("27-request-trailer-raw", "POST !missing-host 200"),
    ("28-response-headers-raw", "GET 200 !transfer-encoding-invalid"),
    ("29-response-trailer-raw", "GET 200 !transfer-encoding-invalid"),
    ("30-get-ipv6", "GET 200"),
    ("31-get-request-line-nul", "GET !nul 200"),
    ("32-invalid-hostname", "GET 200"),
    ("33-invalid-hostname", "GET 200"),
    ("34-invalid-hostname", "GET 200"),
    ("35-early-response", "POST 400"),
    ("36-invalid-request-1-invalid-c-l", "POST !content-length-invalid 200 cut"),
    ("37-invalid-request-2-t-e-and-c-l", "POST !content-length-and-transfer-encoding 200"),
    ("38-invalid-request-3-invalid-t-e", "POST !transfer-encoding-invalid 200 cut"),
    ("39-auto-destroy-crash", "GET 200, GET cut, GET cut, GET cut"),
    ("40-auth-basic", "GET cut"),
    ("41-auth-digest", "GET !obs-fold cut"),
    ("42-unknown-method_only", "; malformed !malformed-request"),
    ("43-invalid-protocol", "; malformed !malformed-request"),
    ("44-auth-basic-invalid", "GET cut"),
    ("45-auth-digest-unquoted-username", "GET !obs-fold cut"),
    ("46-auth-digest-invalid-username", "GET !obs-fold cut"),
    ("47-auth-unrecognized", "GET cut"),
    ("48-invalid-response-headers-1", "GET 200 !malformed-response,space-before-colon"),
    ("49-invalid-response-headers-2", "GET 200 !malformed-response"),
    ("50-util", "GET 200"),
    ("51-get-ipv6-invalid", "GET 200"),
    ("52-invalid-path", "GET 200"),
    ("53-path-utf8-none", "GET 200"),
    ("54-path-utf8-valid", "GET 200"),
    ("55-path-utf8-overlong-2", "GET 200"),
    ("56-path-utf8-overlong-3", "GET 200"),
    ("57-path-utf8-overlong-4", "GET 200"),
    ("58-path-utf8-invalid", "GET 200"),
    ("59-path-utf8-fullwidth", "GET 200"),
    ("60-request-cookies", "GET 200"),
    ("61-empty-line-between-requests", "GET !missing-host 200, GET !missing-host 200"),
    ("62-post-no-body", "POST 200, GET 200 !transfer-encoding-invalid"),
    ("63-post-chunked-invalid-1", "POST !missing-host 200 cut"),
    ("64-post-chunked-invalid-2", "POST !chunk-invalid,missing-host 200 cut"),
    ("65-post-chunked-invalid-3", "POST !chunk-invalid,missing-host 200 cut"),
    ("66-post-chunked-split-chunk", "POST !missing-host 200"),
    ("67-long-request-line", "GET 200"),
    ("68-invalid-request-header", "GET !malformed-request,nul 200"),
    ("69-long-response-header", "GET 200"),
    (
        "70-response-invalid-chunk-length",
        "GET 200 !transfer-encoding-invalid cut; malformed !chunk-invalid",
    ),
    ("71-response-split-chunk", "GET 200 !transfer-encoding-invalid"),
    ("72-response-split-body", "GET 200"),
    (
        "73-response-te-and-cl",
        "GET 200 !content-length-and-transfer-encoding,transfer-encoding-invalid",
    ),
    ("74-response-multiple-cl", "GET 200 !content-length-repeated"),
    ("75-response-invalid-cl", "GET 200 !content-length-invalid cut"),
    ("76-response-no-body", "POST 200, GET 200 !transfer-encoding-invalid"),
    ("77-response-folded-headers", "POST 200 !obs-fold, GET 200 !transfer-encoding-invalid"),
    ("78-response-no-status-headers", "GET cut; malformed !malformed-response"),
    ("79-connect-invalid-hostport", "CONNECT 301, HEAD 301; malformed !malformed-response"),
    ("80-hostname-invalid-1", "GET 200"),
    ("81-hostname-invalid-2", "GET 200"),
    ("82-put", "PUT 200"),
    ("83-auth-digest-invalid-username-2", "GET cut"),
    ("84-response-no-status-headers-2", "GET cut; malformed !malformed-response"),
    ("85-zero-byte-request-timeout", ""),
    ("86-partial-request-timeout", ""),
    ("87-issue-55-incorrect-host-ambiguous-warning", "CONNECT cut"),
    ("88-response-multiple-cl-mismatch", "GET 200 !content-length-conflict cut"),
    ("89-get-whitespace", "GET !malformed-request 200"),
    ("90-request-uri-too-large", ""),
    ("91-request-unexpected-body", "POST 200, GET cut; malformed !malformed-request"),
    ("92-http_0_9-method_only", "; malformed !malformed-request"),
    ("93-compressed-response-deflateasgzip", "GET 200"),
    ("94-compressed-response-multiple", "GET cut; malformed !malformed-response"),
    ("95-compressed-response-gzipasdeflate", "GET 302"),
    ("96-compressed-response-lzma", "GET 200"),
    ("97-requests-cut", "GET !missing-host cut, GET !bare-lf,missing-host cut"),
    ("98-responses-cut", "GET !missing-host 200, GET !malformed-request,missing-host cut"),
    ("99-expect-100", "PUT !bare-lf,missing-host 401 !bare-lf cut, POST !bare-lf,missing-host cut"),
];

/// The passes of a dialogue: the line break before a marker is not part of the message.
fn passes(content: &[u8]) -> Vec<Pass> {
    let mut passes: Vec<Pass> = Vec::new();
    for line in content.split_inclusive(|&b| b == b'\n') {
        let marker = line.trim_ascii_end();
        if marker == b">>>" || marker == b"<<<" {
            if let Some(Pass::Bytes(_, bytes)) = passes.last_mut() {
                let end = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                bytes.truncate(end.strip_suffix(b"\r").unwrap_or(end).len());
            }
            passes.push(if marker == b">>>" { c("") } else { s("") });
        } else if let Some(Pass::Bytes(_, bytes)) = passes.last_mut() {
            bytes.extend_from_slice(line);
        }
    }
    passes
}

fn summary(events: &[HttpEvent]) -> String {
    let mut exchanges: BTreeMap<u64, String> = BTreeMap::new();
    let mut other = String::new();
    for event in events {
        match event {
            HttpEvent::Request { id, request } => {
                exchanges
                    .insert(*id, format!("{}{}", text(request.method()), ids(&request.findings)));
            }
            HttpEvent::Response { id, response } => {
                let exchange = exchanges.get_mut(id).unwrap();
                *exchange += &format!(" {}{}", response.status, ids(&response.findings));
            }
            HttpEvent::Done { id, complete: false, .. } => {
                *exchanges.get_mut(id).unwrap() += " cut";
            }
            HttpEvent::Done { .. } => {}
            _ => other += &format!("; {}", describe(event)),
        }
    }
    exchanges.into_values().collect::<Vec<_>>().join(", ") + &other
}

#[test]
fn every_dialogue() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/http/libhtp");
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!("skipped: {} is not there", folder.display());
        return;
    };
    let mut expected: BTreeMap<_, _> = DIALOGUES.iter().copied().collect();
    assert_eq!(expected.len(), DIALOGUES.len(), "a dialogue is named twice");
    let mut wrong = String::new();
    let mut files: Vec<_> = files.map(|f| f.unwrap().path()).collect();
    files.sort();
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut passes = passes(&std::fs::read(&file).unwrap());
        // The recording ends with the connection.
        passes.push(Pass::End(ToServer, false));
        passes.push(Pass::End(ToClient, false));
        let seen = summary(&run_joined(false, &passes));
        match expected.remove(name.as_str()) {
            Some(expected) if expected == seen => {}
            expected => {
                wrong += &format!("(\"{name}\", \"{seen}\"), // {}\n", expected.unwrap_or("?"));
            }
        }
    }
    for name in expected.keys() {
        wrong += &format!("{name} is in the table, but not among the dialogues\n");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
