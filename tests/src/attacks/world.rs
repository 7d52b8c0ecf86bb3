//! Issuers, services and their tokens.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use jotwatch::fingerprint_key;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::keys::{CONFIGURED, WEAK};
use crate::{
    mmdb,
    signer::{self, Signer},
    tokens::base64url,
};

/// When a dialogue begins, in seconds since the epoch.
pub const START: u64 = 1_767_323_045;

/// Files and configuration that every case shares.
///
/// | issuer | what is asked of its tokens |
/// |---|---|
/// | `https://id.example` | RS, PS, ES and EdDSA keys; `aud`, `typ`, claims and lifetime are held to |
/// | `https://hs.example` | an HMAC secret |
/// | `https://es.example` | the same public keys, but only ES256 is allowed |
/// | `https://remote.example` | the same public keys, which are fetched |
/// | `https://keyless.example` | no keys at all |
/// | `https://weak.example` | an HMAC secret that stands in the list of weak ones |
///
/// | port | service | audiences |
/// |---|---|---|
/// | 8080 | orders, with routes that ask for scopes | `orders` |
/// | 8081 | billing | `billing` |
/// | 8082 | stock, with an OpenAPI document | `stock` |
/// | 8083 | nothing is configured | learned |
pub struct World {
    folder: TempDir,
}

const CONFIG: &str = r#"
[capture]
ports = [8080, 8081, 8082, 8083]
[events]
min_severity = "info"

[[issuer]]
issuer = "https://id.example"
jwks_file = "@/id.jwks"
audiences = ["orders", "billing", "stock", "shelf", "id-client"]
types = ["at+jwt", "JWT"]
required_claims = ["sub", "exp", "iat"]
max_lifetime_seconds = 7200
jku_allow = ["https://id.example/"]

[clients]
trusted_proxies = ["198.51.100.128/28"]
asn_database = "@/asn.mmdb"
[revocation]
list_file = "@/revoked"

[[issuer]]
issuer = "https://hs.example"
encrypted = true
secret_files = ["@/hs.key"]

[[issuer]]
issuer = "https://es.example"
jwks_file = "@/id.jwks"
algorithms = ["ES256"]

[[issuer]]
issuer = "https://remote.example"
jwks_url = "https://remote.example/keys"
jwks_file = "@/id.jwks"

[[issuer]]
issuer = "https://keyless.example"

[[issuer]]
issuer = "https://weak.example"
secret_files = ["@/weak.key"]

[tokens]
weak_secrets_file = "@/weak.txt"

[[service]]
port = 8080
name = "orders"
audiences = ["orders"]
[[service.route]]
method = "POST"
path = "/orders"
scopes = ["orders:write"]
[[service.route]]
method = "DELETE"
path = "/orders/{id}"
scopes = ["orders:write", "orders:delete"]
[[service.route]]
method = "GET"
path = "/health"
public = true

[[service]]
port = 8081
name = "billing"
audiences = ["billing"]
encrypted = false

[[service]]
port = 8082
name = "stock"
audiences = ["stock"]
openapi = "@/stock.json"
"#;

const OPENAPI: &str = r#"{"openapi":"3.1.0","info":{"title":"stock","version":"1"},
"components":{"securitySchemes":{"id":{"type":"oauth2","flows":{}}}},
"paths":{"/shelves/{shelf}":{
"get":{"security":[{"id":["stock:read"]}],"responses":{}},
"put":{"security":[{"id":["stock:write"]}],"responses":{}}}}}"#;

impl World {
    /// Writes its files.
    ///
    /// # Panics
    /// Where the temporary directory can't be written to.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let keys = signer::issuer();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).expect("a file in the temporary directory");
            path
        };
        write("id.jwks", keys.jwks().to_string().as_bytes());
        write("stock.json", OPENAPI.as_bytes());
        let networks = [("100.64.1.0/24", 64_500), ("100.64.2.0/24", 64_501)];
        let networks = networks.map(|(network, asn)| (network.parse().expect("a network"), asn));
        write("asn.mmdb", &mmdb::asn(&networks));
        let print = fingerprint_key::REPLAY.fingerprint(Credential::listed().sign().as_bytes());
        let revoked = format!(
            "{{\"fingerprint\":\"{print}\"}}\n{{\"jti\":\"leaked-1\"}}\n\
            {{\"iss\":\"https://id.example\",\"jti\":\"leaked-2\"}}\n\
            {{\"iss\":\"https://id.example\",\"sub\":\"mallory\"}}\n\
            {{\"iss\":\"https://id.example\",\"sid\":\"s-listed\"}}\n"
        );
        write("revoked", revoked.as_bytes());
        write("weak.txt", (WEAK.join("\n") + "\n").as_bytes());
        for secret in
            [write("hs.key", keys.secret.secret()), write("weak.key", CONFIGURED.as_bytes())]
        {
            fs::set_permissions(secret, Permissions::from_mode(0o600)).expect("an own file");
        }
        let place = folder.path().display().to_string();
        write("config.toml", CONFIG.replace('@', &place).as_bytes());
        Self { folder }
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// A token before it is signed: an ordinary one unless something is changed.
#[derive(Clone)]
pub struct Credential {
    alg: String,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl Credential {
    /// An access token of Ann's for orders, signed with `alg`; HS* is of another issuer.
    #[must_use]
    pub fn new(alg: &str) -> Self {
        let kid = signer::issuer().of(alg).kid;
        let issuer =
            if alg.starts_with("HS") { "https://hs.example" } else { "https://id.example" };
        let header = json!({ "alg": alg, "typ": "at+jwt", "kid": kid });
        let claims = json!({
            "iss": issuer,
            "sub": "ann",
            "aud": "orders",
            "iat": START - 300,
            "exp": START + 3_300,
            "jti": "t-1",
            "scope": "orders:read orders:write",
        });
        let object = |value| match value {
            Value::Object(object) => object,
            _ => Map::new(),
        };
        Self { alg: alg.to_owned(), header: object(header), claims: object(claims) }
    }

    /// The same of an issuer whose keys are not known.
    #[must_use]
    pub fn keyless() -> Self {
        Self::new("ES256").claim("iss", "https://keyless.example").header("kid", "k-1")
    }

    /// The token that the configuration's list names by its fingerprint: always the same.
    #[must_use]
    pub fn listed() -> Self {
        Self::new("EdDSA").claim("jti", "leaked-3")
    }

    /// With another header parameter.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Without a header parameter.
    #[must_use]
    pub fn no_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// With another claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Without a claim.
    #[must_use]
    pub fn no_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// The header as JSON.
    #[must_use]
    pub fn header_json(&self) -> String {
        Value::Object(self.header.clone()).to_string()
    }

    /// The claims as JSON.
    #[must_use]
    pub fn claims_json(&self) -> String {
        Value::Object(self.claims.clone()).to_string()
    }

    /// Signed by the issuer.
    #[must_use]
    pub fn sign(&self) -> String {
        self.sign_by(signer::issuer().of(&self.alg))
    }

    /// Signed by any key that can.
    #[must_use]
    pub fn sign_by(&self, key: &Signer) -> String {
        self.finish(&self.header_json(), &self.claims_json(), |input| key.sign(&self.alg, input))
    }

    /// Signed by the issuer with these bytes for a header.
    #[must_use]
    pub fn sign_header(&self, header: &str) -> String {
        let key = signer::issuer().of(&self.alg);
        self.finish(header, &self.claims_json(), |input| key.sign(&self.alg, input))
    }

    /// Signed by the issuer with these bytes for claims.
    #[must_use]
    pub fn sign_claims(&self, claims: &str) -> String {
        let key = signer::issuer().of(&self.alg);
        self.finish(&self.header_json(), claims, |input| key.sign(&self.alg, input))
    }

    /// With a signature that `sign` makes of the signing input.
    #[must_use]
    pub fn sign_with(&self, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        self.finish(&self.header_json(), &self.claims_json(), sign)
    }

    fn finish(&self, header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
        let input = format!("{}.{}", base64url(header), base64url(claims));
        let signature = base64url(sign(input.as_bytes()));
        format!("{input}.{signature}")
    }
}
