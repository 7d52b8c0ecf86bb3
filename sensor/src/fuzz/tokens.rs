//! Tokens and keys.

use std::cell::RefCell;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    base64url,
    http::Request,
    keys::{Algorithm, KeySource, KeyStore, confusion_secrets, parse_keys},
    time::Time,
    token::{
        DecodeOptions, FingerprintKey, Judge, JudgeConfig, decode,
        dpop::{self, Shown},
        validate::{Policy, Validation},
    },
};

/// One token: its structure, what it says against keys and policy, and as a proof of possession
/// (RFC 9449).
pub fn token(data: &[u8]) {
    let mut bytes = Vec::new();
    let odd = base64url::decode(data, &mut bytes);
    if odd.is_empty() {
        assert_eq!(URL_SAFE_NO_PAD.decode(data).as_deref(), Ok(&bytes[..]));
    } else {
        assert!(URL_SAFE_NO_PAD.decode(data).is_err(), "nothing is wrong with it");
    }
    let decoded = decode(data, &DecodeOptions::default());
    if let Some(header) = decoded.header() {
        header.members_by_bytes().for_each(drop);
        let _alg = header.get("alg");
    }
    decoded.claims().map(|claims| claims.raw());
    for signature in decoded.signatures() {
        drop((signature.signing_input(data), signature.bytes()));
    }
    let validation = Validation::new(data, &decoded, &KeyStore::new(), &Policy::default());
    validation.at(Time::from_unix_secs(1_700_000_000), &mut Vec::new());
    let mut field = b"Bearer ".to_vec();
    field.extend_from_slice(data);
    let fields = [(&b"authorization"[..], &field[..]), (b"dpop", data), (b"cookie", data)];
    let request = Request::from_parts(b"GET", b"/a?b=c", fields, data.to_vec(), Time::EPOCH);
    JUDGE.with_borrow_mut(|judge| {
        let mut report = judge.judge(&request);
        let shown = Shown {
            request: &request,
            peer: [192, 0, 2, 1].into(),
            proxied: false,
            public_urls: &[],
            proofs_due: true,
            now: Time::from_unix_secs(1_700_000_000),
        };
        dpop::check(&mut report.tokens, &shown);
        // Behind it, the second time is the same.
        let again = judge.judge(&request);
        assert_eq!(again.tokens.len(), report.tokens.len());
    });
}

thread_local! {
    static JUDGE: RefCell<Judge> = RefCell::new(Judge::new(JudgeConfig {
        cache_entries: 16,
        hmac_samples: true,
        ..JudgeConfig::new(FingerprintKey::new([7; 16]))
    }));
}

/// Keys in every format; those that are read survive being written, and verify without a panic.
pub fn keys(data: &[u8]) {
    crate::keyring::fuzz::documents(data);
    let Ok(set) = parse_keys(data, KeySource::Url) else { return };
    for key in &set.keys {
        for algorithm in Algorithm::ALL {
            let _fits = key.fits(algorithm);
            let _weak = key.weakness(algorithm);
        }
        if let Some(algorithm) = Algorithm::ALL.into_iter().find(|alg| key.fits(*alg).is_ok()) {
            let _bad = key.verify(algorithm, b"input", data.get(..64).unwrap_or(data));
        }
        confusion_secrets(key).for_each(drop);
        if let Some(jwk) = key.to_jwk() {
            let again = parse_keys(jwk.as_bytes(), KeySource::Url).unwrap();
            assert_eq!(again.keys.len(), 1, "{jwk}");
            assert_eq!(again.keys[0].thumbprint(), key.thumbprint());
        }
    }
}
