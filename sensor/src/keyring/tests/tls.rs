//! Certificates.

use rcgen::{CertificateParams, date_time_ymd};

use super::*;

#[test]
fn certificates_are_checked() {
    let dir = TempDir::new().unwrap();
    let (trusted, unknown) = (Authority::new("a"), Authority::new("b"));
    let mut settings = settings(dir.path());
    settings.ca_file = Some(trusted.write(dir.path(), "ca.pem"));
    settings.allow_http = false;
    let old = |params: &mut CertificateParams| params.not_after = date_time_ymd(2001, 1, 1);
    for (config, error) in [
        (unknown.server("127.0.0.1", None), "TLS: invalid peer certificate: UnknownIssuer"),
        (trusted.server("id.example", None), "not valid for name"),
        (trusted.server_with("127.0.0.1", None, old), "expired"),
    ] {
        let server = Server::bind(Reply::json(&set("1")), Some(config));
        let keyring = start(from_url(&server.url("/")), settings.clone());
        wait_for_error(&keyring, error);
        assert!(kids(&keyring).is_empty() && server.requests().is_empty());
    }
    let server = Server::bind(Reply::json(&set("1")), Some(trusted.server("127.0.0.1", None)));
    let keyring = start(from_url(&server.url("/")), settings.clone());
    wait("keys", || kids(&keyring) == ["1"]);

    // Without the file the same server is a stranger.
    settings.ca_file = None;
    settings.cache_dir = dir.path().join("other");
    let keyring = start(from_url(&server.url("/")), settings);
    wait_for_error(&keyring, "UnknownIssuer");
}

#[test]
fn no_way_leads_from_https_to_http() {
    let dir = TempDir::new().unwrap();
    let trusted = Authority::new("a");
    let mut settings = settings(dir.path());
    settings.ca_file = Some(trusted.write(dir.path(), "ca.pem"));
    let plain = Server::start(Reply::json(&set("1")));
    let plain_host = plain.url("").split("//").nth(1).and_then(Host::parse).unwrap();
    settings.allowed_hosts = vec![plain_host];
    let config = trusted.server("127.0.0.1", None);
    let server = Server::bind(Reply::to(&plain.url("/")), Some(config));
    let keyring = start(from_url(&server.url("/")), settings.clone());
    wait_for_error(&keyring, "from https to http");

    let issuer = server.url("");
    let document = format!(r#"{{"issuer":"{issuer}","jwks_uri":"{}"}}"#, plain.url("/"));
    server.all(Reply::json(&document));
    let keyring = start(by_discovery(&issuer), settings);
    wait_for_error(&keyring, "from https to http");
    assert!(plain.requests().is_empty());
}

#[test]
fn a_file_of_something_else_is_no_authority() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ca.pem");
    for text in
        ["", "no certificate", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"]
    {
        fs::write(&path, text).unwrap();
        let mut settings = settings(dir.path());
        settings.ca_file = Some(path.clone());
        let config = from_url("https://127.0.0.1:9/");
        let error = Keyring::start_with(&[config], settings).err().unwrap().to_string();
        assert!(error.ends_with("ca.pem: not certificates in PEM"), "{error}");
    }
}
