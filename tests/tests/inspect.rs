//! `jotwatch inspect` as a user runs it, with foreign vectors.
// The helpers stand outside of the test functions, where clippy does not see that they are tests.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that can't run shall fail")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use jotwatch_tests::{binary, signer, tokens};
use serde_json::{Value, json};

/// What the command prints for these lines, and its exit code.
fn inspect(arguments: &[&str], lines: &[String]) -> (Vec<Value>, i32) {
    let arguments: Vec<&str> = ["inspect"].iter().chain(arguments).copied().collect();
    let (answers, code) = binary::answers(&arguments, lines);
    for (answer, line) in answers.iter().zip(lines) {
        let shown = answer.to_string();
        let signature = line.rsplit('.').next().unwrap();
        assert!(signature.len() < 20 || !shown.contains(signature), "a token is printed");
    }
    (answers, code)
}

fn verdicts(arguments: &[&str], lines: &[String]) -> Vec<String> {
    let (answers, code) = inspect(arguments, lines);
    assert_eq!(code, 0);
    answers.iter().map(|answer| answer["verdict"].as_str().unwrap().to_owned()).collect()
}

fn data(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(path);
    if !path.exists() {
        println!("skipped: {path:?} is not there");
        return None;
    }
    Some(path)
}

fn key_file(dir: &Path, name: &str, key: &Value) -> String {
    let path = dir.join(name);
    fs::write(&path, key.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn secret_key(dir: &Path, secret: &[u8]) -> String {
    key_file(dir, "k.json", &json!({ "kty": "oct", "k": tokens::base64url(secret) }))
}

#[test]
fn the_worked_examples_of_the_standards_are_valid() {
    let Some(folder) = data("jose/cookbook") else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut tried = 0;
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let whole: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let example = whole.get("sign").unwrap_or(&whole);
        if example["signing"].is_null() {
            continue;
        }
        let key = &example["input"]["key"];
        let keys = if key.is_array() { json!({ "keys": key }) } else { key.clone() };
        let keys = key_file(dir.path(), "keys.json", &keys);
        let output = &example["output"];
        let mut lines: Vec<String> =
            output["compact"].as_str().map(String::from).into_iter().collect();
        let forms = ["json", "json_flat"].iter().filter(|&form| output[form].is_object());
        lines.extend(forms.map(|form| output[form].to_string()));
        // Its payload is not in the token (RFC 7515, appendix F), so nobody can tell.
        let detached = path.to_string_lossy().contains("detached");
        let expected = if detached { "unverifiable" } else { "valid" };
        for (verdict, line) in verdicts(&["--jws", "--keys", &keys], &lines).iter().zip(&lines) {
            assert_eq!(verdict, expected, "{path:?}: {line}");
            tried += 1;
        }
        // Another key of the same kind makes none of them.
        let other = secret_key(dir.path(), b"another secret, of which nobody knows");
        for verdict in verdicts(&["--jws", "--keys", &other], &lines) {
            assert_ne!(verdict, "valid", "{path:?}");
        }
    }
    assert!(tried >= 25, "{tried}");
}

#[test]
fn json_inside_header_and_claims_is_read_strictly() {
    let Some(folder) = data("json/test_parsing") else { return };
    let dir = tempfile::tempdir().unwrap();
    let secret = b"a secret of thirty-two bytes....";
    let keys = secret_key(dir.path(), secret);
    let sign = |header: &[u8], claims: &[u8]| {
        use hmac::{Hmac, KeyInit as _, Mac as _};
        let input = format!("{}.{}", tokens::base64url(header), tokens::base64url(claims));
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
        mac.update(input.as_bytes());
        format!("{input}.{}", tokens::base64url(mac.finalize().into_bytes()))
    };
    let (mut names, mut lines) = (Vec::new(), Vec::new());
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read(&path).unwrap();
        // Deeper or longer than any token: their limits have tests of their own.
        if name.starts_with("i_") || text.len() > 4_000 {
            continue;
        }
        let wrap = |before: &[u8]| [before, &text, b"}"].concat();
        lines.push(sign(br#"{"alg":"HS256"}"#, &wrap(br#"{"x":"#)));
        lines.push(sign(&wrap(br#"{"alg":"HS256","x":"#), b"{}"));
        names.extend([name.clone(), name]);
    }
    assert!(lines.len() > 500);
    let (answers, _) = inspect(&["--keys", &keys], &lines);
    assert_eq!(answers.len(), lines.len());
    for (answer, name) in answers.iter().zip(&names) {
        // A repeated name parses, and is a finding here.
        let repeats = name.contains("duplicated_key");
        let good = name.starts_with("y_") && !repeats;
        assert_eq!(answer["verdict"] == "valid", good, "{name}: {answer}");
    }
}

#[test]
fn the_contract_of_the_command_line_holds() {
    let dir = tempfile::tempdir().unwrap();
    let secret = b"a secret of thirty-two bytes....";
    let keys = secret_key(dir.path(), secret);
    let good = tokens::hs256(&json!({"iss": "i", "aud": "a", "exp": 2_000}), secret);
    let at = ["--keys", &keys, "--at", "1970-01-01T00:30:00Z"];
    let lines = [good.clone(), String::new(), "no token".into(), tokens::strip_signature(&good)];
    let (answers, _) = inspect(&at, &lines);
    let verdicts_of: Vec<_> = answers.iter().map(|a| a["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts_of, ["valid", "invalid", "invalid", "invalid"]);
    assert_eq!(
        answers[0],
        json!({"line":1,"verdict":"valid","alg":"HS256","kid":null,"findings":[]})
    );
    assert_eq!(answers[3]["findings"][0]["id"], "signature-empty");
    assert_eq!(verdicts(&["--at", "1800"], std::slice::from_ref(&good)), ["unverifiable"]);
    assert_eq!(
        verdicts(&["--keys", &keys, "--at", "2061"], std::slice::from_ref(&good)),
        ["invalid"]
    );
    let asked = |extra: [&str; 2]| {
        verdicts(&[&at[..], &extra].concat(), std::slice::from_ref(&good)).remove(0)
    };
    assert_eq!(asked(["--issuer", "i"]), "valid");
    assert_eq!(asked(["--issuer", "j"]), "invalid");
    assert_eq!(asked(["--audience", "a"]), "valid");
    assert_eq!(asked(["--audience", "b"]), "invalid");
}

#[test]
fn bad_arguments_are_one_line_and_an_exit_code() {
    let run = |arguments: &[&str]| {
        let output = Command::new(binary::jotwatch())
            .arg("inspect")
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        (said, output.status.code().unwrap())
    };
    let (said, code) = run(&["--keys", "/no/such/file"]);
    assert!(said.contains("/no/such/file") && code == 1, "{said}");
    let (said, code) = run(&["--keys", "/etc/hostname"]);
    assert!(said.contains("/etc/hostname") && code == 1, "{said}");
    let (said, code) = run(&["--at", "yesterday"]);
    assert!(said.contains("--at") && code == 2, "{said}");
    assert_eq!(run(&["--no-such-flag"]).1, 2);
}

#[test]
fn a_weak_secret_is_told_and_not_named() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("list");
    fs::write(&list, "hunter2-hunter2\nchangeme-changeme\n").unwrap();
    let claims = json!({"sub": "ann", "exp": 4_000_000_000_u64});
    let lines = [
        tokens::hs256(&claims, b"changeme-changeme"),
        tokens::hs256(&claims, b"another-secret-of-some-length"),
    ];
    let list = list.to_str().unwrap();
    let (answers, code) = inspect(&["--weak-secrets", list], &lines);
    assert_eq!(code, 0);
    assert_eq!(answers[0]["findings"][0]["id"], "weak-secret");
    assert_eq!(answers[0]["verdict"], "invalid");
    assert!(!answers[0].to_string().contains("changeme"));
    assert_eq!(
        (&answers[1]["verdict"], &answers[1]["findings"]),
        (&json!("unverifiable"), &json!([]))
    );
}

/// A token with this header over `payload`, signed by `sign`.
fn signed(header: &Value, payload: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let input = format!("{}.{}", tokens::base64url(header.to_string()), tokens::base64url(payload));
    let signature = sign(input.as_bytes());
    format!("{input}.{}", tokens::base64url(signature))
}

#[test]
fn a_key_too_weak_for_its_algorithm_makes_no_valid_token() {
    let dir = tempfile::tempdir().unwrap();
    // RFC 7518, section 3.2: a secret of the hash's length or longer must be used.
    for (alg, due) in [("HS256", 32), ("HS384", 48), ("HS512", 64)] {
        for (len, expected) in [(due - 1, "invalid"), (due, "valid"), (due + 1, "valid")] {
            let secret = vec![7; len];
            let keys = secret_key(dir.path(), &secret);
            let token = signed(&json!({"alg": alg}), "Test", |i| signer::hmac_tag(&secret, alg, i));
            let (answers, _) = inspect(&["--jws", "--keys", &keys], &[token]);
            assert_eq!(answers[0]["verdict"], expected, "{alg} with {len} bytes");
            let weak = answers[0]["findings"][0]["id"] == "key-weak";
            assert_eq!(weak, expected == "invalid", "{alg} with {len} bytes");
        }
    }
}

#[test]
fn a_key_says_what_it_is_for() {
    let dir = tempfile::tempdir().unwrap();
    let keys = signer::issuer();
    let judged = |alg: &str, changes: &Value| {
        let signer = keys.of(alg);
        let mut jwk = signer.jwk();
        for (name, value) in changes.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        let file = key_file(dir.path(), "k.json", &jwk);
        let header = json!({"alg": alg, "kid": signer.kid});
        let token = signed(&header, "Test", |input| signer.sign(alg, input));
        verdicts(&["--jws", "--keys", &file], &[token]).remove(0)
    };
    for alg in ["RS256", "PS512", "ES256", "ES384", "ES512", "EdDSA"] {
        assert_eq!(judged(alg, &json!({})), "valid", "{alg}");
        assert_eq!(judged(alg, &json!({"alg": alg, "use": "sig"})), "valid", "{alg}");
        assert_eq!(judged(alg, &json!({"key_ops": ["verify"]})), "valid", "{alg}");
        assert_eq!(judged(alg, &json!({"use": "enc"})), "invalid", "{alg}");
        assert_eq!(judged(alg, &json!({"key_ops": ["encrypt"]})), "invalid", "{alg}");
        assert_eq!(judged(alg, &json!({"alg": "ES224"})), "invalid", "{alg}");
    }
    // A common misspelling of ES512, and no algorithm for another curve.
    assert_eq!(judged("ES512", &json!({"alg": "ES521"})), "valid");
    assert_eq!(judged("ES256", &json!({"alg": "ES521"})), "invalid");
    assert_eq!(judged("PS512", &json!({"alg": "PS256"})), "invalid");
}

#[test]
fn an_algorithm_that_nothing_here_verifies_is_unverifiable() {
    let dir = tempfile::tempdir().unwrap();
    // RFC 8410, section 10.3 has such a key: an OID and the point.
    let mut ed448 = vec![0x30, 0x43, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x71, 0x03, 0x3a, 0x00];
    ed448.extend([0x5f; 57]);
    let der = dir.path().join("ed448.der");
    fs::write(&der, &ed448).unwrap();
    let pem = dir.path().join("ed448.pem");
    fs::write(&pem, signer::pem("PUBLIC KEY", &ed448)).unwrap();
    let jwk = json!({"kty": "OKP", "crv": "Ed448", "x": tokens::base64url([0x5f; 57])});
    let jwk = key_file(dir.path(), "ed448.json", &jwk);
    let registered = ["EdDSA", "Ed448", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"];
    let token = |alg: &str| signed(&json!({"alg": alg}), "Test", |_| vec![0x5f; 114]);
    for keys in [der.to_str().unwrap(), pem.to_str().unwrap(), &jwk] {
        let lines: Vec<String> = registered.iter().map(|alg| token(alg)).collect();
        for (verdict, alg) in verdicts(&["--jws", "--keys", keys], &lines).iter().zip(registered) {
            assert_eq!(verdict, "unverifiable", "{alg} with {keys}");
        }
        let unknown = verdicts(&["--jws", "--keys", keys], &[token("ES224")]);
        assert_eq!(unknown, ["invalid"], "{keys}");
    }
}
