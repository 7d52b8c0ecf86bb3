//! Keys and signatures: key sets in, verified or refused signatures out.
//!
//! Bytes come in and values go out; where the bytes come from (a file, a URL, the wire) is told by
//! the caller as a [`KeySource`] and changes nothing here.
//!
//! - [`parse_keys`] reads a JWK Set, one JWK, PEM or DER. A bad key in a set is reported and the
//!   good ones are used.
//! - [`Key::verify`] checks one signature over one signing input, and tells a wrong signature from
//!   one that could never be right.
//! - [`confusion_secrets`] gives the byte forms of a public key that an attacker would use as an
//!   HMAC secret.
//! - [`KeyStore`] finds the keys that a token may be signed with.
//! - [`append_detached`] completes the signing input of a token whose payload came another way.
//!
//! # Who does the arithmetic
//!
//! jsonwebtoken verifies ES256, ES384 and EdDSA, on its aws-lc-rs provider. Its verifiers are not
//! `Sync` and parse their key at every call. That costs 2% for these three, but 13% for RSA and
//! half of an HMAC, so RSA and HMAC keys are prepared once with aws-lc-rs itself, which also has
//! what jsonwebtoken lacks: ES512, ES256K and RSA moduli below 2048 bits.
#![forbid(unsafe_code)]

mod algorithm;
mod confusion;
mod der;
mod fetch;
mod jwk;
mod key;
mod parse;
mod pem;
mod roca;
mod spki;
mod store;
mod verify;

#[cfg(test)]
mod tests;

pub use algorithm::{Algorithm, Family};
pub use confusion::confusion_secrets;
pub use fetch::FetchMark;
pub use key::{Key, KeySource, KeyType, Unfit, Weakness};
pub use parse::{KeyError, KeySet, MAX_KEY_SET_BYTES, MAX_KEYS, RejectedKey, parse_keys};
pub use spki::{MAX_RSA_BITS, MIN_RSA_BITS};
pub use store::{
    Candidates, KeyStore, KidMatch, LEARNED_KEEP, Learned, MAX_LEARNED_ISSUERS, MAX_LEARNED_KEYS,
    MAX_LEARNED_NAME, MAX_TRIES, Pin, issuer_name,
};
pub use verify::{Malformation, VerifyError, append_detached};
