//! The signature: bad, missing, cut, malformed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Case, Class, Credential, World};
use crate::{
    signer,
    tokens::{base64url, strip_signature},
};

const ALL: [&str; 13] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "ES512", "EdDSA",
];

pub(super) fn cases(_: &World, out: &mut Vec<Case>) {
    for alg in ALL {
        let good = Credential::new(alg);
        let mut add = |what: &str, finds: &[&'static str], attack: String, twin: String| {
            let name = format!("{alg}: {what}");
            out.push(Case::refused(Class::Signature, name, finds, attack, twin));
        };
        let twin = good.sign();
        add("one bit changed", &["signature-invalid"], edit(&twin, |s| s[7] ^= 4), twin);
        if matches!(alg, "HS256" | "RS256" | "PS256" | "ES256" | "EdDSA") {
            let forged = good.sign_by(signer::attacker().of(alg));
            add("signed with a key of the attacker's", &["signature-invalid"], forged, good.sign());
            let twin = good.sign();
            add("the signature cut off", &["signature-empty"], strip_signature(&twin), twin);
            let twin = good.sign();
            let cut = edit(&twin, |s| s.truncate(s.len() / 2));
            add("half of the signature", &["signature-malformed"], cut, twin);
        }
        if matches!(alg, "RS256" | "ES256" | "EdDSA") {
            let twin = good.sign();
            add("a byte too many", &["signature-malformed"], edit(&twin, |s| s.push(0)), twin);
        }
        if alg.starts_with("ES") {
            ecdsa(&good, &mut add);
        }
    }
    let good = Credential::new("RS256").sign();
    let two = good.rsplit_once('.').map_or_else(String::new, |(input, _)| input.to_owned());
    let mut add = |name: &str, finds: &[&'static str], attack: String| {
        out.push(Case::refused(Class::Signature, name, finds, attack, &good));
    };
    add("two parts, the signature with its dot gone", &["token-malformed"], two);
    add("padding", &["token-noncanonical-base64"], format!("{good}=="));
    // 256 bytes end in a character with four spare bits.
    let (rest, last) = good.split_at(good.len() - 1);
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = ALPHABET.find(last).unwrap_or_default();
    let spare = &ALPHABET[at + 1..at + 2];
    add("spare bits set", &["token-noncanonical-base64"], format!("{rest}{spare}"));
}

/// What broken verifiers of ECDSA take (CVE-2022-21449), and DER in place of r and s.
fn ecdsa(good: &Credential, add: &mut impl FnMut(&str, &[&'static str], String, String)) {
    let twin = good.sign();
    let with = |change: &dyn Fn(&mut [u8], &mut [u8])| {
        edit(&twin, |s| {
            let half = s.len() / 2;
            let (r, s) = s.split_at_mut(half);
            change(r, s);
        })
    };
    let psychic = &["signature-psychic"];
    add(
        "r and s zero",
        psychic,
        with(&|r, s| {
            r.fill(0);
            s.fill(0);
        }),
        twin.clone(),
    );
    add("r zero", psychic, with(&|r, _| r.fill(0)), twin.clone());
    add("s zero", psychic, with(&|_, s| s.fill(0)), twin.clone());
    add(
        "r and s beyond the order",
        psychic,
        with(&|r, s| {
            r.fill(255);
            s.fill(255);
        }),
        twin.clone(),
    );
    if twin_is_p256(good) {
        add(
            "r the order itself",
            psychic,
            with(&|r, _| r.copy_from_slice(&P256_ORDER)),
            twin.clone(),
        );
    }
    let der = edit(&twin, |s| *s = to_der(s));
    add("DER", &["signature-malformed"], der, twin);
}

fn twin_is_p256(good: &Credential) -> bool {
    good.header_json().contains("\"ES256\"")
}

/// The order of P-256 (SEC 2, section 2.4.2).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The token with its signature's bytes changed.
fn edit(token: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let (input, signature) = token.rsplit_once('.').expect("three parts");
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    change(&mut bytes);
    format!("{input}.{}", base64url(bytes))
}

/// `SEQUENCE { INTEGER r, INTEGER s }` (RFC 3279, section 2.2.3).
fn to_der(signature: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|&&byte| byte == 0).count();
        let mut value = number[zeros..].to_vec();
        if value.first().is_none_or(|&byte| byte >= 0x80) {
            value.insert(0, 0);
        }
        let len = u8::try_from(value.len()).expect("a short number");
        [&[2, len], &value[..]].concat()
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let body = [integer(r), integer(s)].concat();
    let len = u8::try_from(body.len()).expect("a short signature");
    // Lengths from 128 on take a byte that says how many follow.
    let head = if len < 128 { vec![0x30, len] } else { vec![0x30, 0x81, len] };
    [head, body].concat()
}
