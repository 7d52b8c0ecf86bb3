//! What the memory is told.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Limits and times of a [`Memory`](super::Memory).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryConfig {
    /// Tokens that are remembered.
    pub tokens: usize,
    /// Subjects whose privileges are remembered.
    pub subjects: usize,
    /// Services on this host.
    pub services: usize,
    /// (Issuer, key id) pairs whose algorithm family is remembered.
    pub key_ids: usize,
    /// Revocations and ended sessions that are remembered.
    pub revocations: usize,
    /// Single-use tokens that are remembered.
    pub proofs: usize,
    /// How long the old and the new address of a client may overlap, and how long a pause may be
    /// behind which a new address still counts as the same client's. At most one day.
    pub grace: Duration,
    /// Requests that were under way when their token was revoked may arrive this much later.
    pub revocation_grace: Duration,
    /// A token that is used later than its `exp` is remembered this much longer.
    pub leeway: Duration,
    /// What is not used for this long is forgotten, also before its `exp`.
    pub max_age: Duration,
    /// How long a subject's privileges, a service's audiences and a key's family are remembered.
    pub window: Duration,
    /// How long a single-use token is remembered at least; until its `exp` where it has one.
    pub proof_window: Duration,
    /// Different subjects whose verified tokens a service accepted for an audience, before that
    /// audience counts as the service's.
    pub learn_subjects: usize,
    /// Verified tokens that a service accepted before its learned audiences say anything.
    pub learn_tokens: u32,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        let hours = |n: u64| Duration::from_secs(n * 3_600);
        Self {
            tokens: 1_000_000,
            subjects: 100_000,
            services: 1_024,
            key_ids: 4_096,
            revocations: 65_536,
            proofs: 131_072,
            grace: Duration::from_secs(60),
            revocation_grace: Duration::from_secs(5),
            leeway: Duration::from_secs(60),
            max_age: hours(24),
            window: hours(7 * 24),
            proof_window: Duration::from_secs(600),
            learn_subjects: 8,
            learn_tokens: 32,
        }
    }
}

/// Whether a key vouches for the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// A key of the issuer verified the signature.
    Verified,
    /// The right key refused the signature.
    Bad,
    /// There was no key to check it with.
    Unverifiable,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Bearer and access tokens: used again and again by right.
    Access,
    /// An OpenID Connect ID token.
    Identity,
    /// Made for one request: DPoP proofs (RFC 9449), client assertions (RFC 7523), logout tokens.
    SingleUse,
}

/// Hashes of a token under the installation's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenKeys {
    /// Over all bytes of the token.
    pub fingerprint: u128,
    /// Over the signature's decoded bytes.
    pub signature: u128,
    /// How many bytes the decoded signature has; 0 without one.
    pub signature_len: usize,
    /// Over the signing input, `header.payload` as sent (RFC 7515, section 5.1).
    pub signing_input: u128,
}

impl TokenKeys {
    /// Shorter signatures are placeholders and say nothing: the shortest real one, of HS256, has
    /// 32 bytes.
    pub const MIN_SIGNATURE: usize = 16;

    /// Whether there is a signature to tell tokens by.
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        self.signature_len >= Self::MIN_SIGNATURE
    }

    /// What names the token in the memory: signing input and decoded signature, so that another
    /// encoding of the same signature is the same token; without a signature the fingerprint.
    #[must_use]
    pub const fn identity(&self) -> u128 {
        if self.is_signed() {
            self.signature.rotate_left(64) ^ self.signing_input
        } else {
            self.fingerprint
        }
    }
}

/// The service that a token is shown to.
#[derive(Clone, Copy, Debug)]
pub struct ServiceUse<'a> {
    /// The address and port that the client connected to.
    pub server: SocketAddr,
    /// The cgroup of its process, 0 where it isn't known.
    pub cgroup: u64,
    /// Its name, where the config or its unit names it. A name outlives a restart, a cgroup's id
    /// does not.
    pub name: Option<&'a str>,
    /// The audiences that the config gives it; empty where they are to be learned.
    pub audiences: &'a [String],
}

/// One use of a token: a request that carries it.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    /// What stands for its bytes.
    pub token: TokenKeys,
    /// What the signature check said.
    pub check: Check,
    /// What it is for.
    pub purpose: Purpose,
    /// `iss`. For a DPoP proof the thumbprint of its key.
    pub issuer: Option<&'a str>,
    /// `sub`.
    pub subject: Option<&'a str>,
    /// `jti`.
    pub id: Option<&'a str>,
    /// `sid`, the session at the issuer.
    pub session: Option<&'a str>,
    /// `azp` or `client_id`, the client that it was issued to.
    pub client_id: Option<&'a str>,
    /// `nonce`, of single-use tokens without `jti`.
    pub nonce: Option<&'a str>,
    /// `aud`.
    pub audiences: &'a [&'a str],
    /// `exp` in seconds since the epoch.
    pub expires: Option<i64>,
    /// `iat` in seconds since the epoch.
    pub issued: Option<i64>,
    /// `kid`.
    pub key_id: Option<&'a str>,
    /// `alg`.
    pub algorithm: Option<&'a str>,
    /// Roles.
    pub roles: &'a [&'a str],
    /// Scopes, one each.
    pub scopes: &'a [&'a str],
    /// Groups.
    pub groups: &'a [&'a str],
    /// The tenant or organisation.
    pub tenant: Option<&'a str>,
    /// The client: the peer of the connection, or whom a trusted proxy names.
    pub client: IpAddr,
    /// The client is known to be a process on this host.
    pub client_on_host: bool,
    /// The client's autonomous system.
    pub asn: Option<u32>,
    /// A hash of the `User-Agent` field; of the empty string where there is none. `None` where
    /// it isn't known, which is compared with nothing.
    pub user_agent: Option<u64>,
    /// To whom.
    pub service: ServiceUse<'a>,
}

impl<'a> Use<'a> {
    /// A use of an access token without claims that nobody checked.
    #[must_use]
    pub const fn new(token: TokenKeys, client: IpAddr, service: ServiceUse<'a>) -> Self {
        Self {
            token,
            check: Check::Unverifiable,
            purpose: Purpose::Access,
            issuer: None,
            subject: None,
            id: None,
            session: None,
            client_id: None,
            nonce: None,
            audiences: &[],
            expires: None,
            issued: None,
            key_id: None,
            algorithm: None,
            roles: &[],
            scopes: &[],
            groups: &[],
            tenant: None,
            client,
            client_on_host: false,
            asn: None,
            user_agent: None,
            service,
        }
    }
}

/// Something that ended: seen on the wire, or listed in the config.
///
/// From the wire only what succeeded: a revocation request (RFC 7009) that was answered 2xx, a
/// logout token (OpenID Connect Back-Channel Logout) that verified. Otherwise anyone could end
/// anyone's session in the sensor's eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation<'a> {
    /// One token.
    Token(TokenKeys),
    /// One token, by the fingerprint that events show; for lists.
    Fingerprint(u128),
    /// One token by its `jti`; of any issuer without `issuer`.
    Id {
        /// `iss`.
        issuer: Option<&'a str>,
        /// `jti`.
        id: &'a str,
    },
    /// All tokens of a session.
    Session {
        /// `iss`.
        issuer: &'a str,
        /// `sid`.
        session: &'a str,
    },
    /// All tokens that one client was issued in a session until now: what came of one refresh
    /// token.
    Grant {
        /// `iss`.
        issuer: &'a str,
        /// `sid`.
        session: &'a str,
        /// `azp` or `client_id`; empty without one.
        client: &'a str,
    },
    /// All tokens of a subject that were issued until now; from a list, all.
    Subject {
        /// `iss`.
        issuer: &'a str,
        /// `sub`.
        subject: &'a str,
    },
}
