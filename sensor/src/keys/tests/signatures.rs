use super::*;

/// Fits, is wrong, and which of both.
fn is_refused(result: Result<(), VerifyError>) -> bool {
    matches!(result, Err(VerifyError::BadSignature | VerifyError::Malformed(_)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_a_key_signs_verifies_and_nothing_else(
        input in proptest::collection::vec(any::<u8>(), 1..300),
        alg in proptest::sample::select(&Algorithm::ALL[..]),
        at in any::<proptest::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let signer = signer_of(alg);
        let signature = (signer.sign)(alg, &input);
        prop_assert_eq!(signer.key.verify(alg, &input, &signature), Ok(()));

        let mut other = input.clone();
        other[at.index(input.len())] ^= 1 << bit;
        prop_assert_eq!(
            signer.key.verify(alg, &other, &signature),
            Err(VerifyError::BadSignature)
        );

        let mut other = signature.clone();
        other[at.index(signature.len())] ^= 1 << bit;
        prop_assert!(is_refused(signer.key.verify(alg, &input, &other)));

        for wrong in [&signature[..signature.len() - 1], &[&*signature, &[0]].concat(), &[]] {
            prop_assert_eq!(
                signer.key.verify(alg, &input, wrong),
                Err(Malformation::Length.into())
            );
        }

        for other in signers() {
            for other_alg in Algorithm::ALL {
                if Arc::ptr_eq(&other.key, &signer.key) && other_alg == alg {
                    continue;
                }
                let result = other.key.verify(other_alg, &input, &signature);
                if other.algs.contains(&other_alg) {
                    prop_assert!(is_refused(result), "{} as {}", alg, other_alg);
                } else {
                    prop_assert_eq!(result, Err(Unfit::Type.into()));
                }
            }
        }
    }

    #[test]
    fn jsonwebtoken_agrees(
        input in "[a-z.]{1,80}",
        alg in proptest::sample::select(&Algorithm::ALL[..]),
        flip in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let Ok(theirs) = alg.as_str().parse::<jsonwebtoken::Algorithm>() else { return Ok(()) };
        let signer = signer_of(alg);
        let mut signature = (signer.sign)(alg, input.as_bytes());
        if let Some(at) = flip {
            let at = at.index(signature.len());
            signature[at] ^= 1;
        }
        let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_slice(&signer.forms[0].1).unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
        let oracle =
            jsonwebtoken::crypto::verify(&b64(&signature), input.as_bytes(), &key, theirs).unwrap();
        prop_assert_eq!(signer.key.verify(alg, input.as_bytes(), &signature).is_ok(), oracle);
        prop_assert_eq!(oracle, flip.is_none());
    }
}

/// r and s as the DER that most libraries give.
fn to_der(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let mut numbers = Vec::new();
    der::write_unsigned(&mut numbers, r);
    der::write_unsigned(&mut numbers, s);
    der::value(der::SEQUENCE, &numbers)
}

#[test]
fn psychic_and_misencoded_ecdsa_signatures_are_told_apart() {
    use Malformation::{DerEncoded, ScalarOutOfRange, ZeroScalar};
    for alg in [Algorithm::Es256, Algorithm::Es384, Algorithm::Es512, Algorithm::Es256k] {
        let signer = signer_of(alg);
        let good = (signer.sign)(alg, b"input");
        let half = good.len() / 2;
        let (r, s) = good.split_at(half);
        let zero = vec![0; half];
        let Some(spki::Public::Ec { curve, .. }) = &signer.key.public else { panic!() };
        let order = curve.order().to_vec();
        let mut below = order.clone();
        below[half - 1] -= 1;
        let mut above = order.clone();
        above[half - 1] += 1;
        let ones = vec![0xff; half];

        let verify = |signature: &[u8]| signer.key.verify(alg, b"input", signature);
        for (r, s, malformation) in [
            (&*zero, &*zero, ZeroScalar),
            (&zero, s, ZeroScalar),
            (r, &zero, ZeroScalar),
            (&order, s, ScalarOutOfRange),
            (r, &order, ScalarOutOfRange),
            (&above, &above, ScalarOutOfRange),
            (&ones, &ones, ScalarOutOfRange),
            (&order, &zero, ScalarOutOfRange),
        ] {
            assert_eq!(verify(&[r, s].concat()), Err(malformation.into()), "{alg}");
        }
        assert_eq!(verify(&[&*below, &below].concat()), Err(VerifyError::BadSignature));
        assert_eq!(verify(&to_der(&good)), Err(DerEncoded.into()), "{alg}");
        // n - s verifies as well in plain ECDSA; JOSE does not forbid it.
        assert_eq!(verify(&good), Ok(()));
    }
}

#[test]
fn der_of_the_length_of_r_and_s_is_recognised() {
    let signer = signer_of(Algorithm::Es256);
    // Two numbers of 28 and 32 bytes: 2 + 2 + 28 + 2 + 30 = 64.
    let signature = to_der(&[&[0; 4][..], &[0x11; 28], &[0; 2], &[0x22; 30]].concat());
    assert_eq!(signature.len(), 64);
    assert_eq!(
        signer.key.verify(Algorithm::Es256, b"input", &signature),
        Err(Malformation::DerEncoded.into())
    );
}

#[test]
fn pss_salts_of_another_length_do_not_verify() {
    static SHORT: aws_lc_rs::signature::RsaSignatureEncoding =
        RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Custom(20));
    static LONGEST: aws_lc_rs::signature::RsaSignatureEncoding =
        RSA_PSS_SHA256.with_pss_salt_length(RsaPssSaltLength::Max);
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let key = only_key(pair.public_key().as_ref());
    for (encoding, due) in [
        (&RSA_PSS_SHA256, Ok(())),
        (&SHORT, Err(VerifyError::BadSignature)),
        (&LONGEST, Err(VerifyError::BadSignature)),
    ] {
        let signature = rsa_sign(&pair, encoding, b"input");
        assert_eq!(key.verify(Algorithm::Ps256, b"input", &signature), due);
    }
}

/// A throw-away RSA key of 1024 bits and its signatures over [`WEAK_INPUT`], made with OpenSSL.
const WEAK_RSA: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDSyo9v0mHkfBKx+8eOtiDy9H8A
jGCJlBr1rMA+mKNiznm72p/f5Yd4fx8Ah+T7TgSBdhg+gTe+MHXBPSHhGIjIWnzo
wv/a/V2IGgaf9evGwHf44urwQYm7fgM2oq8DSBAT24TYc5NNicISlttcCv+rFJIR
/0skePygz0zMrol/FQIDAQAB
-----END PUBLIC KEY-----
";
const WEAK_INPUT: &[u8] = b"eyJhbGciOiJSUzI1NiJ9.e30";
const WEAK_RS256: &str = "kQimIw9Plojjyq2gD+CzuJAD6Ag7IOhGSF6RfywYfOWXUWP5lzgeJ3AISazRO9mYMjYcvPUHpX9kfTI6YjWq39cOpCZbpeG2iRkuX6+ayicoY5W6MABWNQaPH640uVyWjUrpnyhd7CUhJG5v+pCAzo7/zOQonPe3jdYFJMmqQDk=";
const WEAK_RS512: &str = "uZibPTjTgnyvSO/Fq47SQp9TqZuDLvzPn0bEfvithGly1b2dovA/4K+6QjT+j1rNc/hyAIinME9dM4K//TAe/3rBJ/w/g/5VsVB3bAHjv7yCGdgOHUHAwkjD7KPW8Jz68ETL2tynRvdozoG42+SCO2rUoyauXCWo0cnp4r8VX2Y=";

#[test]
fn short_rsa_keys_verify_where_the_backend_can_and_are_flagged() {
    use base64::engine::general_purpose::STANDARD;
    let key = only_key(WEAK_RSA.as_bytes());
    let (rs256, rs512) =
        (STANDARD.decode(WEAK_RS256).unwrap(), STANDARD.decode(WEAK_RS512).unwrap());
    assert_eq!(key.verify(Algorithm::Rs256, WEAK_INPUT, &rs256), Ok(()));
    assert_eq!(key.verify(Algorithm::Rs512, WEAK_INPUT, &rs512), Ok(()));
    assert_eq!(key.verify(Algorithm::Rs512, WEAK_INPUT, &rs256), Err(VerifyError::BadSignature));
    for alg in [Algorithm::Rs384, Algorithm::Ps256, Algorithm::Ps384, Algorithm::Ps512] {
        assert_eq!(key.verify(alg, WEAK_INPUT, &rs256), Err(VerifyError::Unsupported));
    }
    assert_eq!(key.weakness(Algorithm::Rs256), Some(Weakness::RsaModulus { bits: 1_024 }));
    assert_eq!(signer_of(Algorithm::Rs256).key.weakness(Algorithm::Rs256), None);
}

#[test]
fn hmac_secrets_verify_at_any_length_and_short_ones_are_flagged() {
    for len in [1, 31, 32, 33, 64, 65, 200] {
        let secret = vec![0x5a; len];
        let key = Key::from_secret(&secret, None, KeySource::File).unwrap();
        for alg in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
            let tag = hmac_tag(&secret, alg, b"input");
            assert_eq!(key.verify(alg, b"input", &tag), Ok(()));
            assert_eq!(
                key.verify(alg, b"input", &tag[..alg.hash_len() / 2]),
                Err(Malformation::Length.into())
            );
            let weak = (len < alg.hash_len()).then_some(Weakness::HmacSecret { bytes: len });
            assert_eq!(key.weakness(alg), weak);
        }
    }
    assert!(matches!(Key::from_secret(b"", None, KeySource::File), Err(KeyError::EmptySecret)));
}

#[test]
fn a_public_key_used_as_hmac_secret_is_found_in_every_common_form() {
    for signer in signers().iter().filter(|signer| signer.key.is_public()) {
        for (what, form, private) in &signer.forms {
            if *private || *what == "CERTIFICATE" {
                continue;
            }
            let tag = hmac_tag(form, Algorithm::Hs256, b"input");
            let is_it = |secret: Vec<u8>| {
                Key::from_secret(&secret, None, KeySource::File)
                    .unwrap()
                    .verify(Algorithm::Hs256, b"input", &tag)
                    .is_ok()
            };
            // The key as it was loaded from another form than the attacker used, too.
            let found = confusion_secrets(&signer.key).any(is_it);
            assert!(found, "{what} of {:?}", signer.key);
            let trimmed = hmac_tag(form.trim_ascii(), Algorithm::Hs256, b"input");
            assert!(confusion_secrets(&only_key(form)).any(|secret| hmac_tag(
                &secret,
                Algorithm::Hs256,
                b"input"
            ) == trimmed));
        }
    }
    let odd_file = format!("# issuer key\r\n{}\r\n\r\n", WEAK_RSA.replace('\n', "\r\n"));
    let key = only_key(odd_file.as_bytes());
    assert!(confusion_secrets(&key).any(|secret| secret == odd_file.as_bytes()));
    assert!(confusion_secrets(&key).any(|secret| secret == WEAK_RSA.as_bytes()));
    assert_eq!(confusion_secrets(&signer_of(Algorithm::Hs256).key).count(), 0);
}

#[test]
fn a_public_key_is_found_however_its_lines_were_broken() {
    let signer = signer_of(Algorithm::Rs256);
    let pem = &signer.forms.iter().find(|(what, ..)| *what == "PUBLIC KEY").unwrap().1;
    let pem = std::str::from_utf8(pem).unwrap();
    let text = pem.trim_end();
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let wrapped = |width: usize| {
        let lines: Vec<_> = body.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n"))
    };
    let spellings = [
        text.to_owned(),
        format!("{text}\n\n"),
        format!("\n{text}\n"),
        text.replace('\n', "\r\n"),
        text.replace('\n', "\\n"),
        text.replace('\n', " "),
        text.replace('\n', ""),
        wrapped(76),
        format!("{}\n", wrapped(76)),
        wrapped(10_000),
        wrapped(10_000).replace('\n', "\\n"),
        body.clone(),
        wrapped(64).lines().filter(|line| !line.starts_with('-')).collect::<Vec<_>>().join("\n"),
        format!("{text}\n\0"),
    ];
    let secrets: Vec<_> = confusion_secrets(&signer.key).collect();
    for spelling in spellings {
        assert!(secrets.iter().any(|secret| secret == spelling.as_bytes()), "{spelling:?}");
    }
    // Each costs an HMAC on a forged token.
    assert!(secrets.len() < 80, "{}", secrets.len());
}
