use std::fs;

use super::*;
use crate::finding::Severity;

#[test]
fn bodies_are_signed_with_their_time() {
    // python3: hmac.new(b"k"*32, b"1795251600.{}", "sha256").hexdigest()
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[b'k'; 32]);
    let due = "t=1795251600,v1=efb0b5d9a8a07e3e71900ef0f59ebeeedb404b5e5512327c8111e7bf801007b1";
    assert_eq!(signature(&key, 1_795_251_600, b"{}"), due);
    assert_ne!(signature(&key, 1_795_251_601, b"{}"), due);
}

fn config(text: &str) -> Result<WebhookConfig, String> {
    toml::from_str(&format!("url = \"https://hook.example/s3cret?k=s3cret\"\n{text}"))
        .map_err(|error| error.to_string())
}

#[test]
fn mistakes_are_named() {
    for (text, said) in [
        ("batch = 0", "batch must be from 1 to 64"),
        ("batch = 65", "batch must be from 1 to 64"),
        ("batch_as = \"array\"", "batch of more than one"),
        ("format = \"ecs\"\ntemplate_file = \"/t\"", "template_file says"),
        ("format = \"xml\"", "unknown variant"),
        ("secret = \"x\"", "unknown field"),
        ("header_files = { Host = \"/h\" }", "header_files: Host"),
    ] {
        let error = config(text).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn the_url_is_shown_without_what_may_be_secret() {
    let config = config("").unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
    assert_eq!(config.target.url.to_string(), "https://hook.example");
}

#[test]
fn files_are_read_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let fails = |text: &str| Webhook::new(&config(text).unwrap()).err().map(|e| e.to_string());
    fs::write(path("short"), "0123456789").unwrap();
    fs::write(path("template"), "{\"a\": {{/serverity}}}").unwrap();
    let restrict = |name: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    restrict("short");
    let of = |key: &str, name: &str| fails(&format!("{key} = {:?}", path(name))).unwrap();
    assert!(of("secret_file", "none").contains("none"));
    let short = of("secret_file", "short");
    assert!(short.contains("at least 32") && !short.contains("0123"), "{short}");
    assert!(of("template_file", "template").contains("no event has \"/serverity\""));
    assert!(of("ca_file", "short").contains("no certificate"));
    fs::write(path("header"), "Splunk 1234\u{7}").unwrap();
    restrict("header");
    let text = format!("header_files = {{ Authorization = {:?} }}", path("header"));
    let error = fails(&text).unwrap();
    assert!(error.contains("no value") && !error.contains("1234"), "{error}");
}

fn record(line: &str) -> Record {
    Record { sequence: 1, severity: Severity::High, line: line.as_bytes().into() }
}

#[test]
fn a_batch_is_lines_or_an_array() {
    let records = [record("{\"id\":\"a\"}"), record("{\"id\":\"b\"}")];
    for (text, due) in [
        ("batch = 2", "{\"id\":\"a\"}\n{\"id\":\"b\"}"),
        ("batch = 2\nbatch_as = \"array\"", "[{\"id\":\"a\"},{\"id\":\"b\"}]"),
    ] {
        let hook = Webhook::new(&config(text).unwrap()).unwrap();
        assert_eq!(hook.body(&records), due.as_bytes());
    }
    assert_eq!(id(&records[1].line).unwrap(), "b");
    assert_eq!(id(b"\0"), None);
}
