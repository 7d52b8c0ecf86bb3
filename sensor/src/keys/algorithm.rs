//! The signature algorithms of JSON Web Algorithms.

use std::fmt;

/// A signature algorithm that can be verified here (RFC 7518, section 3.1; RFC 8037; RFC 8812).
///
/// `none` is not among them: it is no signature. Ed448 is not: no backend verifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256, salt of 32 bytes.
    Ps256,
    /// RSASSA-PSS with SHA-384, MGF1 with SHA-384, salt of 48 bytes.
    Ps384,
    /// RSASSA-PSS with SHA-512, MGF1 with SHA-512, salt of 64 bytes.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// ECDSA on secp256k1 with SHA-256 (RFC 8812).
    Es256k,
    /// Ed25519, under the name `EdDSA` (RFC 8037) or `Ed25519` (RFC 9864).
    EdDsa,
}

/// What kind of key an algorithm asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// A shared secret: whoever can verify can sign.
    Hmac,
    /// An RSA key.
    Rsa,
    /// A point on a curve of short Weierstrass form.
    Ec,
    /// An Edwards curve key.
    Ed,
}

impl Algorithm {
    /// All that are supported.
    pub const ALL: [Self; 14] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::Es256k,
        Self::EdDsa,
    ];

    /// Reads an `alg` value. Names are case-sensitive (RFC 7515, section 4.1.1): `hs256` is none
    /// of these. `None` means that no signature under this name can be verified.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL.into_iter().find(|alg| alg.as_str() == name)
    }

    /// Whether this names a signature algorithm of the registry for JOSE, be it one that can't be
    /// verified here: Ed448 (RFC 9864) and ML-DSA (RFC 9964) have no backend.
    #[must_use]
    pub fn is_registered(name: &str) -> bool {
        matches!(name, "Ed448" | "ML-DSA-44" | "ML-DSA-65" | "ML-DSA-87")
            || Self::from_name(name).is_some()
    }

    /// The registered name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Es256k => "ES256K",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The family of its keys.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::Hs256 | Self::Hs384 | Self::Hs512 => Family::Hmac,
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => {
                Family::Rsa
            }
            Self::Es256 | Self::Es384 | Self::Es512 | Self::Es256k => Family::Ec,
            Self::EdDsa => Family::Ed,
        }
    }

    /// The output of its hash function in bytes, which is also the shortest HMAC key that
    /// RFC 7518, section 3.2 allows.
    #[must_use]
    pub const fn hash_len(self) -> usize {
        match self {
            Self::Hs256 | Self::Rs256 | Self::Ps256 | Self::Es256 | Self::Es256k => 32,
            Self::Hs384 | Self::Rs384 | Self::Ps384 | Self::Es384 => 48,
            Self::Hs512 | Self::Rs512 | Self::Ps512 | Self::Es512 | Self::EdDsa => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
