//! Worked examples of the JOSE standards: each signature verifies, and none does once a bit is
//! changed in what it signs or in itself.

// The helpers stand outside of the test functions, where clippy does not see that they are tests.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, sync::Arc};

use jotwatch::{
    json::Value,
    keys::{Algorithm, Key, KeySource, KeyStore, append_detached, parse_keys},
    token::{DecodeOptions, decode},
};

fn store(keys: &str) -> KeyStore {
    let set = parse_keys(keys.as_bytes(), KeySource::File).unwrap();
    assert!(set.rejected.is_empty(), "{:?}", set.rejected);
    let mut store = KeyStore::new();
    store.add(None, set.keys);
    store
}

/// One signature: what names its key, what it signs, and its bytes.
struct Signed {
    alg: Algorithm,
    kid: Option<String>,
    input: Vec<u8>,
    signature: Vec<u8>,
}

/// The signatures of a token in compact or JSON serialisation.
fn read(token: &str, detached: &[u8]) -> Vec<Signed> {
    let decoded = decode(token.as_bytes(), &DecodeOptions { claims: false, ..Default::default() });
    decoded
        .signatures()
        .map(|signature| {
            let text = |name| signature.header.get(name).and_then(Value::as_str);
            let mut input = signature.signing_input(token.as_bytes()).into_owned();
            if decoded.payload().is_empty() {
                let b64 = signature.header.get("b64").and_then(Value::as_bool).unwrap_or(true);
                append_detached(&mut input, detached, b64);
            }
            Signed {
                alg: Algorithm::from_name(&text("alg").unwrap()).unwrap(),
                kid: text("kid").map(Into::into),
                input,
                signature: signature.bytes().to_vec(),
            }
        })
        .collect()
}

impl Signed {
    /// Whether a key of the store made this signature.
    fn is_by(&self, store: &KeyStore) -> bool {
        let found = store.candidates(None, self.kid.as_deref(), self.alg);
        let verifies = |key: &&Arc<Key>| key.verify(self.alg, &self.input, &self.signature).is_ok();
        found.keys.into_iter().any(|key| verifies(&key))
    }
}

fn verify(what: &str, store: &KeyStore, all: &[Signed]) {
    assert!(!all.is_empty(), "{what}");
    assert!(all.iter().all(|signed| signed.is_by(store)), "{what}");
}

/// One bit of every byte: header, payload and signature.
fn flip(what: &str, store: &KeyStore, all: &mut [Signed]) {
    for signed in all {
        let (input, signature) = (signed.input.len(), signed.signature.len());
        for at in 0..input + signature {
            let bit = 1 << (at % 8);
            if at < input {
                signed.input[at] ^= bit;
                assert!(!signed.is_by(store), "{what}: input {at}");
                signed.input[at] ^= bit;
            } else {
                signed.signature[at - input] ^= bit;
                assert!(!signed.is_by(store), "{what}: signature {at}");
                signed.signature[at - input] ^= bit;
            }
        }
    }
}

#[test]
fn cookbook_examples_verify_and_changed_ones_do_not() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/jose/cookbook");
    let Ok(files) = fs::read_dir(&folder) else {
        println!("skipped: the cookbook is not in ../shared/data/jose/cookbook");
        return;
    };
    let mut examples = 0;
    for file in files {
        let path = file.unwrap().path();
        let what = path.file_name().unwrap().to_string_lossy().into_owned();
        let whole: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let example = whole.get("sign").unwrap_or(&whole);
        if !example["signing"].is_object() && !example["signing"].is_array() {
            continue;
        }
        examples += 1;
        let key = &example["input"]["key"];
        let keys = if key.is_array() {
            serde_json::json!({ "keys": key }).to_string()
        } else {
            key.to_string()
        };
        let store = store(&keys);
        let payload = example["input"]["payload"].as_str().unwrap().as_bytes();
        let output = &example["output"];
        let mut forms: Vec<String> =
            output["compact"].as_str().map(Into::into).into_iter().collect();
        for json in ["json", "json_flat"] {
            if output[json].is_object() {
                forms.push(output[json].to_string());
            }
        }
        for form in &forms {
            verify(&what, &store, &read(form, payload));
        }
        flip(&what, &store, &mut read(&forms[0], payload));
    }
    assert_eq!(examples, 12);
}

#[test]
fn cookbook_keys_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/jose/cookbook");
    if !folder.exists() {
        println!("skipped: the cookbook is not in ../shared/data/jose/cookbook");
        return;
    }
    let read = |name: &str| {
        let bytes = fs::read(folder.join(name)).unwrap();
        parse_keys(&bytes, KeySource::File).unwrap().keys.remove(0)
    };
    for (public, private) in [
        ("jwk_3_1.ec_public_key.json", "jwk_3_2.ec_private_key.json"),
        ("jwk_3_3.rsa_public_key.json", "jwk_3_4.rsa_private_key.json"),
    ] {
        assert_eq!(read(public).thumbprint(), read(private).thumbprint());
    }
    assert!(read("jwk_3_5.symmetric_key_mac_computation.json").fits(Algorithm::Hs256).is_ok());
    assert!(read("jwk_3_6.symmetric_key_encryption.json").fits(Algorithm::Hs256).is_err());
}

/// RFC 7515, appendices A.1 (which RFC 7797 uses too), A.2, A.3 and A.4.
const HS256_KEY: &str = r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
const RS256_KEY: &str = r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;
const ES256_KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const ES512_KEY: &str = r#"{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}"#;

const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const RS256_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const ES256_SIGNATURE: &str =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

#[test]
fn examples_of_rfc_7515_verify() {
    let rs256 = format!("eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}.{RS256_SIGNATURE}");
    let es256 = format!("eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}.{ES256_SIGNATURE}");
    let hs256 = format!(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    );
    let es512 = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
    for (what, key, token) in [
        ("A.1", HS256_KEY, &*hs256),
        ("A.2", RS256_KEY, &rs256),
        ("A.3", ES256_KEY, &es256),
        ("A.4", ES512_KEY, es512),
    ] {
        let mut signed = read(token, b"");
        verify(what, &store(key), &signed);
        flip(what, &store(key), &mut signed);
    }

    // A.6: two signatures by two keys, and A.7: one of them, flattened.
    let name = |key: &str, kid: &str| key.replace('}', &format!(r#","kid":"{kid}"}}"#));
    let (rsa, ec) = ("2010-12-29", "e9bc097a-ce51-4036-9562-d2ade882db0d");
    let keys = store(&format!(r#"{{"keys":[{},{}]}}"#, name(RS256_KEY, rsa), name(ES256_KEY, ec)));
    let general = format!(
        r#"{{"payload":"{PAYLOAD}","signatures":[
            {{"protected":"eyJhbGciOiJSUzI1NiJ9","header":{{"kid":"{rsa}"}},"signature":"{RS256_SIGNATURE}"}},
            {{"protected":"eyJhbGciOiJFUzI1NiJ9","header":{{"kid":"{ec}"}},"signature":"{ES256_SIGNATURE}"}}]}}"#
    );
    let flattened = format!(
        r#"{{"payload":"{PAYLOAD}","protected":"eyJhbGciOiJFUzI1NiJ9","header":{{"kid":"{ec}"}},"signature":"{ES256_SIGNATURE}"}}"#
    );
    let mut general = read(&general, b"");
    assert_eq!(general.len(), 2);
    verify("A.6", &keys, &general);
    flip("A.6", &keys, &mut general);
    verify("A.7", &keys, &read(&flattened, b""));
}

#[test]
fn examples_of_rfc_7797_verify() {
    let keys = store(HS256_KEY);
    let protected = "eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19";
    let signature = "A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY";
    // Section 4.1, then 4.2 detached and in JSON.
    let control = "eyJhbGciOiJIUzI1NiJ9.JC4wMg.5mvfOroL-g7HyqJoozehmsaqmvTYGEq5jTI1gVvoEoQ";
    verify("4.1", &keys, &read(control, b""));
    let mut detached = read(&format!("{protected}..{signature}"), b"$.02");
    verify("4.2", &keys, &detached);
    flip("4.2", &keys, &mut detached);
    let json =
        format!(r#"{{"protected":"{protected}","payload":"$.02","signature":"{signature}"}}"#);
    verify("4.2", &keys, &read(&json, b""));
}
