use super::*;

fn header(json: &str) -> String {
    b64(json.as_bytes())
}

#[test]
fn compact_detached_and_unencoded_payloads_give_their_signing_input() {
    let plain = header(r#"{"alg":"HS256"}"#);
    let raw = header(r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#);

    let parts = JwsParts::compact(&format!("{plain}.e30.AA")).unwrap();
    assert_eq!(parts.signing_input(None).unwrap(), format!("{plain}.e30").as_bytes());
    assert_eq!((parts.alg.as_deref(), parts.b64, parts.signature), (Some("HS256"), true, vec![0]));

    let parts = JwsParts::compact(&format!("{plain}..AA")).unwrap();
    assert_eq!(parts.signing_input(None).unwrap(), format!("{plain}.").as_bytes());
    assert_eq!(parts.signing_input(Some(b"{}")).unwrap(), format!("{plain}.e30").as_bytes());

    let parts = JwsParts::compact(&format!("{raw}.$.02.AA")).unwrap();
    assert_eq!(parts.signing_input(None).unwrap(), format!("{raw}.$.02").as_bytes());
    assert_eq!(parts.crit, Some(vec!["b64".into()]));
    let parts = JwsParts::compact(&format!("{raw}..AA")).unwrap();
    assert_eq!(parts.signing_input(Some(b"$.02")).unwrap(), format!("{raw}.$.02").as_bytes());

    for (token, error) in [
        ("", JwsError::Malformed),
        ("e30.AA", JwsError::Malformed),
        (&*format!("{plain}.e30.e30.AA"), JwsError::Base64),
        ("e31.e30.AA", JwsError::Header),
        ("e30=.e30.AA", JwsError::Header),
        ("W10.e30.AA", JwsError::Header),
        (&*format!("{plain}.e30.A"), JwsError::Base64),
        (&*format!("{plain}.e3.AA"), JwsError::Base64),
        (&*format!("{}.e30.AA", header(r#"{"alg":"A","alg":"B"}"#)), JwsError::Header),
        (&*format!("{}.e30.AA", header(r#"{"x":1,"x":2}"#)), JwsError::Header),
        (&*format!("{}.e30.AA", header(r#"{"alg":1}"#)), JwsError::Header),
    ] {
        assert_eq!(JwsParts::compact(token), Err(error), "{token}");
    }
}

#[test]
fn json_serialisations_are_read_by_the_rfc() {
    let p = header(r#"{"alg":"HS256"}"#);
    let raw = header(r#"{"alg":"HS256","b64":false}"#);
    let crit = r#"{"alg":"HS256","crit":["x"]}"#;
    let read = |text: &str| jws_json(text.as_bytes());

    let flat = read(&format!(r#"{{"payload":"e30","protected":"{p}","signature":"AA"}}"#)).unwrap();
    assert_eq!(flat[0].signing_input(None).unwrap(), format!("{p}.e30").as_bytes());
    let general = read(&format!(
        r#"{{"payload":"e30","signatures":[{{"protected":"{p}","header":{{"kid":"a"}},"signature":"AA"}},{{"header":{{"alg":"ES256"}},"signature":"AQ"}}]}}"#
    ))
    .unwrap();
    assert_eq!(general.len(), 2);
    assert_eq!(general[0].kid.as_deref(), Some("a"));
    assert_eq!(general[1].alg.as_deref(), Some("ES256"));
    assert_eq!(general[1].signing_input(None).unwrap(), b".e30");
    let detached = read(&format!(r#"{{"protected":"{p}","signature":"AA"}}"#)).unwrap();
    assert_eq!(detached[0].signing_input(None), None);
    assert_eq!(detached[0].signing_input(Some(b"{}")).unwrap(), format!("{p}.e30").as_bytes());
    let unencoded =
        read(&format!(r#"{{"payload":"$.\u0030","protected":"{raw}","signature":"AA"}}"#)).unwrap();
    assert_eq!(unencoded[0].signing_input(None).unwrap(), format!("{raw}.$.0").as_bytes());

    let one = format!(r#"{{"protected":"{p}","signature":"AA"}}"#);
    for (text, error) in [
        ("", JwsError::Malformed),
        ("[]", JwsError::Malformed),
        ("{}", JwsError::Malformed),
        (r#"{"payload":"e30","signatures":[]}"#, JwsError::Malformed),
        (r#"{"payload":"e30","signature":"AA"}"#, JwsError::Header),
        (r#"{"payload":"e30","protected":"","signature":"AA"}"#, JwsError::Header),
        (
            &*format!(r#"{{"payload":"e30","payload":"e30","protected":"{p}","signature":"AA"}}"#),
            JwsError::Malformed,
        ),
        (&*format!(r#"{{"payload":"e3","protected":"{p}","signature":"AA"}}"#), JwsError::Base64),
        (
            &*format!(r#"{{"payload":"e30","protected":"{p}","signature":"AA=="}}"#),
            JwsError::Base64,
        ),
        (
            &*format!(r#"{{"payload":"e30","signatures":[{one}],"signature":"AA"}}"#),
            JwsError::MixedSyntax,
        ),
        (
            &*format!(
                r#"{{"payload":"e30","protected":"{p}","header":{{"alg":"HS256"}},"signature":"AA"}}"#
            ),
            JwsError::HeaderConflict,
        ),
        (
            &*format!(r#"{{"payload":"e30","header":{crit},"signature":"AA"}}"#),
            JwsError::Unprotected,
        ),
        (r#"{"payload":"e30","header":{"b64":false},"signature":"AA"}"#, JwsError::Unprotected),
        (
            &*format!(
                r#"{{"payload":"e30","signatures":[{one},{{"protected":"{raw}","signature":"AA"}}]}}"#
            ),
            JwsError::MixedB64,
        ),
        (
            &*format!(
                r#"{{"payload":"e30","signatures":[{}]}}"#,
                vec![&*one; MAX_JWS_SIGNATURES + 1].join(",")
            ),
            JwsError::TooManySignatures,
        ),
        (&*" ".repeat(MAX_JWS_JSON_BYTES + 1), JwsError::TooLarge),
    ] {
        assert_eq!(read(text), Err(error), "{text:.80}");
    }
}
