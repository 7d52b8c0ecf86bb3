use super::*;

/// A self-signed certificate that OpenSSL made, and its key.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBujCCAV+gAwIBAgIUXinz4OE/qS9fR+XNwmeQiCyigCkwCgYIKoZIzj0EAwIw
MTEWMBQGA1UECgwNSm90d2F0Y2ggdGVzdDEXMBUGA1UEAwwOaXNzdWVyLmV4YW1w
bGUwIBcNMjYxMTIxMDk0NjI0WhgPMjEyNjEwMjgwOTQ2MjRaMDExFjAUBgNVBAoM
DUpvdHdhdGNoIHRlc3QxFzAVBgNVBAMMDmlzc3Vlci5leGFtcGxlMFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEEyjfv6ySvTqYdLpQDWL58Q+bOF9aiiJFfXGBNMaA
dzIJP5rtKM3SkoshA+VeAo8FyKE7r5C9yMOoBqamXjb/TKNTMFEwHQYDVR0OBBYE
FDLUwt1m18nXn8kmRu0EPEL+4kEIMB8GA1UdIwQYMBaAFDLUwt1m18nXn8kmRu0E
PEL+4kEIMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAPlrqx1j
sxxokavZgftjVGr5nrMk74U0D6bLNFLvpmmeAiEA74enFk5fjn6rMf3ynNdIWFto
MSxq+28jevIxmflWAzk=
-----END CERTIFICATE-----
";
const CERTIFIED_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEyjfv6ySvTqYdLpQDWL58Q+bOF9a
iiJFfXGBNMaAdzIJP5rtKM3SkoshA+VeAo8FyKE7r5C9yMOoBqamXjb/TA==
-----END PUBLIC KEY-----
";
/// An id-RSASSA-PSS key that OpenSSL made.
const PSS_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIDALBgkqhkiG9w0BAQoDggEPADCCAQoCggEBALyCePzGVocC73/YyNIOZk59
YcUu5CxarNLZsBxKrUYX4SRJaKOOVwmiphXqlVVecha9lPHc1mOOu5XTv4jBlwCy
3XPfXZYLbiDGW/YcjEhxDc2ZWvVwOqOYBFYn/0sU2QFC8kGEcrtXBCKQDeeJeyhs
HJ7z8m1RFd+w8A6yzvk64RsVZEb11odjZbXsUm4EJpbRHuYc3yGNPKFIxpHvk6V6
DVIHSYOMV467F78tc1Wxy55YVs9Bfj2OmqcNQ3hxZq1tU9Bw3hNSmgrQyokCG9hw
TuaND8ViS1RYAM8IQOesozXI2oofd1u0fxuf+mMgsZ88ZYUP/rqzh6WoJK/dnhMC
AwEAAQ==
-----END PUBLIC KEY-----
";

#[test]
fn every_form_of_a_key_reads_as_the_same_key() {
    for signer in signers() {
        let alg = signer.algs[0];
        let signature = (signer.sign)(alg, b"input");
        for (what, form, private) in &signer.forms {
            let key = only_key(form);
            assert_eq!(key.thumbprint(), signer.key.thumbprint(), "{what}");
            assert_eq!(key.key_type(), signer.key.key_type(), "{what}");
            assert_eq!(key.verify(alg, b"input", &signature), Ok(()), "{what}");
            if *private {
                assert!(key.loaded.is_empty(), "{what} keeps a private key");
                assert!(confusion_secrets(&key).all(|secret| secret != *form));
            }
        }
    }
}

#[test]
fn our_der_is_the_backends_der() {
    for signer in signers() {
        let Some(public) = &signer.key.public else { continue };
        let spki = &signer.forms.iter().find(|(what, ..)| *what == "PUBLIC KEY").unwrap().1;
        assert_eq!(pem::encode("PUBLIC KEY", &public.to_spki()).as_bytes(), &spki[..]);
    }
}

#[test]
fn openssl_files_read() {
    let certificate = only_key(CERTIFICATE.as_bytes());
    let key = only_key(CERTIFIED_KEY.as_bytes());
    assert_eq!(certificate.thumbprint(), key.thumbprint());
    assert_eq!(key.key_type(), KeyType::P256);
    let pss = only_key(PSS_KEY.as_bytes());
    assert_eq!(pss.fits(Algorithm::Ps256), Ok(()));
    assert_eq!(pss.fits(Algorithm::Rs256), Err(Unfit::Algorithm));

    let crlf = CERTIFIED_KEY.replace('\n', "\r\n");
    let bundle = [
        "Bag Attributes: caf\u{e9}\n",
        CERTIFICATE,
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n",
        &crlf,
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        PSS_KEY,
        "-----BEGIN PUBLIC KEY-----\nMFkw\n",
    ]
    .concat();
    let set = parse_keys(bundle.as_bytes(), KeySource::File).unwrap();
    assert_eq!(set.keys.len(), 3);
    let errors: Vec<_> = set.rejected.iter().map(|key| (key.index, key.error)).collect();
    assert_eq!(
        errors,
        [
            (2, KeyError::MalformedDer),
            (3, KeyError::MalformedPem),
            (4, KeyError::PemLabel),
            (6, KeyError::MalformedPem),
        ]
    );
    // A private key stood in the file.
    assert!(set.keys.iter().all(|key| key.loaded.is_empty()));
}

#[test]
fn a_bad_key_in_a_set_harms_no_other() {
    let good = String::from_utf8(signer_of(Algorithm::Es256).forms[0].1.clone()).unwrap();
    let good = good.replace('}', r#","kid":"a"}"#);
    let set = format!(
        "\u{feff} {{\"keys\":[{good},{},{good}],\"other\":[1]}}\n",
        [
            r#"{"kty":"EC","kid":"b","crv":"P-256","x":"AA","y":"AA"}"#,
            r#"{"kty":"AKP","kid":"c","alg":"ML-DSA-44"}"#,
            r#"{"kty":"OKP","kid":"d","crv":"X25519","x":"AA"}"#,
            r#"{"kty":"EC","kid":5}"#,
            r#"{"kty":"oct","kid":"e","kid":"f","k":"AA"}"#,
            r#""text""#,
            r#"{"kid":"g"}"#,
        ]
        .join(",")
    );
    let set = parse_keys(set.as_bytes(), KeySource::Url).unwrap();
    assert_eq!(set.keys.len(), 2);
    assert!(set.keys.iter().all(|key| key.kid() == Some("a") && key.source() == KeySource::Url));
    let rejected: Vec<_> =
        set.rejected.iter().map(|key| (key.index, key.kid.as_deref(), key.error)).collect();
    assert_eq!(
        rejected,
        [
            (1, Some("b"), KeyError::CoordinateLength),
            (2, Some("c"), KeyError::UnsupportedType),
            (3, Some("d"), KeyError::UnsupportedCurve),
            (4, None, KeyError::MalformedJwk),
            (5, None, KeyError::MalformedJwk),
            (6, None, KeyError::MalformedJwk),
            (7, Some("g"), KeyError::MissingMember),
        ]
    );
}

#[test]
fn limits_hold() {
    let many =
        format!(r#"{{"keys":[{}]}}"#, vec![r#"{"kty":"oct","k":"AA"}"#; MAX_KEYS + 5].join(","));
    let set = parse_keys(many.as_bytes(), KeySource::File).unwrap();
    assert_eq!(set.keys.len(), MAX_KEYS);
    assert_eq!(set.rejected.len(), 1);
    assert_eq!(set.rejected[0].error, KeyError::TooMany);
    let refused = |bytes: &[u8]| parse_keys(bytes, KeySource::File).unwrap_err();
    assert_eq!(refused(&vec![b' '; MAX_KEY_SET_BYTES + 1]), KeyError::TooLarge);
    assert_eq!(refused(b""), KeyError::UnknownFormat);
    assert_eq!(refused(b"<html>Service unavailable</html>"), KeyError::UnknownFormat);
    assert_eq!(refused(b"{}"), KeyError::UnknownFormat);
    assert_eq!(refused(br#"{"keys":{}}"#), KeyError::MalformedJwk);
    assert_eq!(refused(br#"{"keys":[]"#), KeyError::MalformedJwk);
    assert_eq!(refused(br#"{"keys":[],"keys":[]}"#), KeyError::MalformedJwk);
    assert_eq!(refused("[".repeat(100_000).as_bytes()), KeyError::UnknownFormat);
    let deep = format!(r#"{{"keys":[{}"#, "[".repeat(100_000));
    assert_eq!(refused(deep.as_bytes()), KeyError::MalformedJwk);
}

#[test]
fn jwk_numbers_are_read_by_the_rfc() {
    let number = |len: usize, first: u8, last: u8| {
        let mut number = vec![0x77; len];
        (number[0], number[len - 1]) = (first, last);
        number
    };
    let rsa = |n: &[u8], e: &[u8]| format!(r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#, b64(n), b64(e));
    let n = number(256, 0x80, 1);
    let plain = only_key(rsa(&n, &[1, 0, 1]).as_bytes());
    // Forbidden by RFC 7518, section 6.3.1.1, written all the same, and unambiguous.
    let padded = only_key(rsa(&[&[0], &*n].concat(), &[0, 1, 0, 1]).as_bytes());
    assert_eq!(plain.thumbprint(), padded.thumbprint());

    for (n, e, error) in [
        (number(256, 0x80, 2), vec![3], KeyError::RsaModulus),
        (number(127, 0xff, 1), vec![3], KeyError::RsaModulus),
        (number(128, 0x7f, 1), vec![3], KeyError::RsaModulus),
        (number(1_025, 1, 1), vec![3], KeyError::RsaModulus),
        (vec![0; 256], vec![3], KeyError::RsaModulus),
        (n.clone(), vec![1], KeyError::RsaExponent),
        (n.clone(), vec![4], KeyError::RsaExponent),
        (n.clone(), vec![0], KeyError::RsaExponent),
        (n, vec![2, 0, 0, 0, 1], KeyError::RsaExponent),
    ] {
        assert_eq!(rejected(&rsa(&n, &e)), error);
    }
    assert_eq!(rejected(r#"{"kty":"RSA","n":"gAAB"}"#), KeyError::MissingMember);
    for oddity in ["AQ==", "AQ=", "A+/B", "AR", "A Q", "A", "AQ\\n"] {
        assert_eq!(rejected(&format!(r#"{{"kty":"oct","k":"{oddity}"}}"#)), KeyError::Base64);
    }
    assert_eq!(rejected(r#"{"kty":"oct","k":""}"#), KeyError::EmptySecret);
    assert_eq!(rejected(r#"{"kty":"OCT","k":"AA"}"#), KeyError::UnsupportedType);

    let jwk = String::from_utf8(signer_of(Algorithm::Es256).forms[0].1.clone()).unwrap();
    assert_eq!(rejected(&jwk.replace("P-256", "P-384")), KeyError::CoordinateLength);
    assert_eq!(rejected(&jwk.replace("P-256", "p-256")), KeyError::UnsupportedCurve);
    assert_eq!(rejected(&jwk.replace("P-256", "secp256k1")), KeyError::NotOnCurve);
    let off = b64(&[1; 32]);
    assert_eq!(
        rejected(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{off}","y":"{off}"}}"#)),
        KeyError::NotOnCurve
    );
    for (x, error) in [(31, KeyError::CoordinateLength), (33, KeyError::CoordinateLength)] {
        let x = b64(&vec![1; x]);
        assert_eq!(rejected(&format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#)), error);
        assert_eq!(
            rejected(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{off}"}}"#)),
            error
        );
    }
}

#[test]
fn a_key_does_only_what_its_jwk_allows() {
    let jwk = String::from_utf8(signer_of(Algorithm::Rs256).forms[0].1.clone()).unwrap();
    let with = |members: &str| only_key(jwk.replace('}', &format!(",{members}}}")).as_bytes());
    for (members, rs256, ps256) in [
        (r#""use":"sig""#, Ok(()), Ok(())),
        (r#""use":null"#, Ok(()), Ok(())),
        (r#""use":"enc""#, Err(Unfit::Use), Err(Unfit::Use)),
        (r#""use":"SIG""#, Err(Unfit::Use), Err(Unfit::Use)),
        (r#""key_ops":["verify"]"#, Ok(()), Ok(())),
        (r#""key_ops":["sign","verify"]"#, Ok(()), Ok(())),
        (r#""key_ops":["sign"]"#, Err(Unfit::Use), Err(Unfit::Use)),
        (r#""key_ops":["sign"],"d":"AA""#, Ok(()), Ok(())),
        (r#""key_ops":["encrypt"],"d":"AA""#, Err(Unfit::Use), Err(Unfit::Use)),
        (r#""key_ops":[]"#, Err(Unfit::Use), Err(Unfit::Use)),
        (r#""use":"sig","key_ops":["wrapKey"]"#, Err(Unfit::Use), Err(Unfit::Use)),
        (r#""alg":"RS256""#, Ok(()), Err(Unfit::Algorithm)),
        (r#""alg":"PS256""#, Err(Unfit::Algorithm), Ok(())),
        (r#""alg":"rs256""#, Err(Unfit::Algorithm), Err(Unfit::Algorithm)),
        (r#""alg":"RSA-OAEP""#, Err(Unfit::Algorithm), Err(Unfit::Algorithm)),
        (r#""alg":"ES256""#, Err(Unfit::Algorithm), Err(Unfit::Algorithm)),
    ] {
        let key = with(members);
        assert_eq!(key.fits(Algorithm::Rs256), rs256, "{members}");
        assert_eq!(key.fits(Algorithm::Ps256), ps256, "{members}");
        assert_eq!(key.fits(Algorithm::Hs256), Err(Unfit::Type), "{members}");
        let good = (signer_of(Algorithm::Rs256).sign)(Algorithm::Rs256, b"input");
        assert_eq!(
            key.verify(Algorithm::Rs256, b"input", &good),
            rs256.map_err(VerifyError::KeyUnfit),
            "{members}"
        );
    }
}

#[test]
fn algorithm_names_are_exact() {
    for alg in Algorithm::ALL {
        assert_eq!(Algorithm::from_name(alg.as_str()), Some(alg));
        if alg.as_str().to_ascii_lowercase() != alg.as_str() {
            assert_eq!(Algorithm::from_name(&alg.as_str().to_ascii_lowercase()), None);
        }
    }
    assert_eq!(Algorithm::from_name("Ed25519"), Some(Algorithm::EdDsa));
    for name in ["", "none", "None", "HS256 ", "HS256\0", "Ed448", "RS1", "ES256k", "A128KW"] {
        assert_eq!(Algorithm::from_name(name), None);
    }
}

#[test]
fn nothing_secret_is_shown() {
    let secret = b64(b"the secret of this test, thirty-two bytes");
    let jwk = format!(r#"{{"kty":"oct","kid":"k","k":"{secret}"}}"#);
    let set = parse_keys(jwk.as_bytes(), KeySource::File).unwrap();
    let shown = format!("{set:?}");
    assert!(
        shown.contains("kid") && !shown.contains("the secret") && !shown.contains(&secret[..8])
    );
    assert!(set.keys[0].thumbprint().is_none() && set.keys[0].loaded.is_empty());

    // A malformed file is quoted nowhere either.
    let broken = format!(r#"{{"kty":"oct","k":"{secret}","use":5}}"#);
    let shown = format!("{:?}", parse_keys(broken.as_bytes(), KeySource::File));
    assert!(shown.contains("MalformedJwk") && !shown.contains(&secret[..8]));
}

#[test]
fn the_thumbprint_is_that_of_the_rfc() {
    // RFC 8037, appendix A.3.
    let key = only_key(
        br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    );
    assert_eq!(b64(&key.thumbprint().unwrap()), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn cut_and_changed_files_are_refused_or_read_but_never_panic() {
    for alg in [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
        for (what, form, _) in &signer_of(alg).forms {
            for end in 0..form.len() {
                let cut = parse_keys(&form[..end], KeySource::File);
                // Only the line end behind text may be missing; DER may end in such a byte.
                let whole = form[end..].iter().all(|&b| b == b'\n') && form.is_ascii();
                assert_eq!(cut.is_ok_and(|set| !set.keys.is_empty()), whole, "{what} {end}");
            }
            for at in 0..form.len() {
                let mut changed = form.clone();
                changed[at] ^= 1 << (at % 8);
                let _ = parse_keys(&changed, KeySource::File);
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        text in "(-----(BEGIN|END) (PUBLIC|PRIVATE) KEY-----|[A-Za-z0-9+/=\n{}\":,\\[\\]]|\"k(eys|ty)\":){0,40}",
    ) {
        let _ = parse_keys(&bytes, KeySource::File);
        let _ = parse_keys(&[&[0x30, bytes.len() as u8], &*bytes].concat(), KeySource::File);
        let _ = parse_keys(text.as_bytes(), KeySource::File);
    }
}
