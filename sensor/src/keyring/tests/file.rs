//! Keys in files.

use super::*;

const SECRET: &str = "correct horse battery staple, correct horse";

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

fn load(config: IssuerConfig) -> Result<(Snapshot, Vec<String>), String> {
    load_files(&[config]).map_err(|error| error.to_string())
}

fn of_keys(path: PathBuf) -> IssuerConfig {
    IssuerConfig { key_files: vec![path], ..IssuerConfig::default() }
}

fn of_secret(path: PathBuf) -> IssuerConfig {
    IssuerConfig { secret_files: vec![path], ..IssuerConfig::default() }
}

#[test]
fn files_of_all_kinds_add_up() {
    let files = Files::new();
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let config = IssuerConfig {
        jwks_file: Some(files.write("set", set("1"), 0o644)),
        key_files: vec![
            files.write("jwk", jwk("2"), 0o644),
            files.write("der", pair.to_pkcs8v1().unwrap(), 0o600),
        ],
        secret_files: vec![files.write("hs", SECRET, 0o400)],
        ..IssuerConfig::default()
    };
    let (snapshot, warnings) = load(config.clone()).unwrap();
    assert!(warnings.is_empty());
    let keys = snapshot.of(None).unwrap();
    assert_eq!(keys.keys.len(), 4);
    assert!(keys.has_secret());
    let keyring = start(config, settings(files.0.path()));
    let status = status(&keyring);
    assert_eq!((status.source, status.keys, status.next_refresh), (KeysFrom::Files, 4, None));
    // Nothing is fetched, and nothing is written.
    keyring.unknown_kid(None, "9");
    assert!(!files.0.path().join("keys").exists());
}

#[test]
fn a_secret_that_others_may_read_is_refused() {
    let files = Files::new();
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let der = pair.to_pkcs8v1().unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        base64::engine::general_purpose::STANDARD.encode(&der)
    );
    let private_jwk = jwk("1").replace("\"kid\"", "\"d\":\"c2VjcmV0\",\"kid\"");
    let oct = format!(r#"{{"kty":"oct","k":"{}"}}"#, URL_SAFE_NO_PAD.encode(SECRET));
    let kinds: [(&str, &[u8]); 4] = [
        ("der", der.as_ref()),
        ("pem", pem.as_bytes()),
        ("jwk", private_jwk.as_bytes()),
        ("oct", oct.as_bytes()),
    ];
    for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
        for (name, bytes) in kinds {
            let path = files.write(&format!("{name}-{mode:o}"), bytes, mode);
            let due = format!("(mode {mode:04o}); make it 0600");
            match load(of_keys(path.clone())) {
                Ok(_) => assert!(fine, "{name} {mode:o}"),
                Err(error) => {
                    assert!(!fine && error.contains(&due), "{error}");
                    assert!(error.starts_with(&path.display().to_string()), "{error}");
                }
            }
        }
        let path = files.write(&format!("hs-{mode:o}"), SECRET, mode);
        assert_eq!(load(of_secret(path)).is_ok(), fine);
    }
}

#[test]
fn what_is_wrong_names_the_file_and_none_of_its_bytes() {
    let files = Files::new();
    let bad = r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#;
    fs::create_dir(files.0.path().join("dir")).unwrap();
    let missing = files.0.path().join("missing");
    for (config, due) in [
        (of_keys(missing.clone()), "missing: No such file"),
        (of_secret(missing), "missing: No such file"),
        (of_keys(files.0.path().join("dir")), "dir: not a regular file"),
        (of_keys(files.write("text", SECRET, 0o644)), "text: neither a JWK Set"),
        (of_keys(files.write("empty", "{\"keys\":[]}", 0o644)), "empty: holds no key"),
        (of_keys(files.write("bad", bad, 0o644)), "bad: a coordinate has the wrong length"),
        (of_keys(files.write("long", vec![b' '; 2 << 20], 0o644)), "long: over 1048576 bytes"),
        (of_secret(files.write("none", "\n", 0o600)), "none: the secret is empty"),
        (of_secret(files.write("huge", [7; 5_000], 0o600)), "huge: over 4096 bytes"),
    ] {
        let error = load(config.clone()).unwrap_err();
        assert!(error.contains(due), "{error}");
        assert!(!error.contains(SECRET));
        assert!(Keyring::start_with(&[config], settings(files.0.path())).is_err());
    }
    let open = files.write("open", set_of(&[&jwk("1")]), 0o646);
    let (snapshot, warnings) = load(of_keys(open)).unwrap();
    assert_eq!(snapshot.issuers()[0].keys.len(), 1);
    assert!(warnings[0].contains("open: anybody can write it (mode 0646)"), "{warnings:?}");
    let mixed = files.write("mixed", set_of(&[&jwk("1"), bad, "{}"]), 0o644);
    let (snapshot, warnings) = load(of_keys(mixed)).unwrap();
    assert_eq!(snapshot.issuers()[0].keys.len(), 1);
    assert!(warnings[0].contains("mixed: 2 of 3 keys can't be used; the first is number 2: a "));
}

#[test]
fn no_debug_output_shows_a_secret() {
    let files = Files::new();
    let config = of_secret(files.write("hs", SECRET, 0o600));
    let (snapshot, _) = load(config.clone()).unwrap();
    let shown = format!("{snapshot:?} {:?} {config:?}", snapshot.issuers()[0].keys);
    assert!(!shown.contains("horse"), "{shown}");
}

#[test]
fn a_set_in_a_file_serves_until_one_was_fetched() {
    let files = Files::new();
    let server = Server::start(Reply::status(500));
    let mut config = from_url(&server.url("/"));
    config.jwks_file = Some(files.write("set", set("file"), 0o644));
    config.key_files = vec![files.write("jwk", jwk("fixed"), 0o644)];
    let keyring = start(config.clone(), settings(files.0.path()));
    wait_for_error(&keyring, "answered 500");
    assert_eq!(kids(&keyring), ["fixed", "file"]);
    assert_eq!(status(&keyring).source, KeysFrom::Files);
    server.all(Reply::json(&set("fetched")));
    wait("the fetched set", || kids(&keyring) == ["fixed", "fetched"]);
    wait("the cache", || status(&keyring).source == KeysFrom::Network);
    server.all(Reply::status(500));
    drop(keyring);
    assert_eq!(kids(&start(config, settings(files.0.path()))), ["fixed", "fetched"]);
}

#[test]
fn the_configuration_comes_through() {
    let files = Files::new();
    let path = files.write("jwk", jwk("1"), 0o644);
    let text = format!(
        "[daemon]\nstate_dir = {:?}\n[[issuer]]\nkey_files = [{path:?}]\n[[issuer]]\nissuer = \"policy only\"\n",
        files.0.path()
    );
    let config = crate::config::parse(&text, "c.toml".as_ref()).unwrap();
    let keyring = Keyring::start(&config).unwrap();
    assert_eq!(kids(&keyring), ["1"]);
    // An issuer without a source of keys is left to what is learned.
    assert_eq!(keyring.current().issuers().len(), 1);
    let resolved = Settings::new(&config);
    assert_eq!(resolved.cache_dir, files.0.path().join("keys"));
    assert_eq!((resolved.connect, resolved.total), (3 * SECOND, 10 * SECOND));
    assert!(!resolved.allow_http && resolved.max_bytes == 1 << 20);
}
