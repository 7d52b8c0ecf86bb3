//! What the stage is told of a request and, later, of its answer.
//!
//! Names come as hashes under the installation's secret, so that nobody outside can make two
//! collide; none of them can be turned back.

use std::net::IpAddr;

/// A request that was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request {
    /// When its head was seen, in milliseconds since 1970 (UTC).
    pub at_ms: u64,
    /// Who asks: a keyed hash of issuer and subject, without a token of the client's address.
    ///
    /// Anybody can write another's name into a forgery: a subject that no good signature vouches
    /// for has to be hashed apart from the same name under one, or forgeries teach the profile.
    pub subject: u128,
    /// A keyed hash of the sorted roles; none where the token names none.
    pub role: Option<u64>,
    /// The token that it came with.
    pub token: Option<TokenUse>,
    /// From where.
    pub client: Client,
    /// A keyed hash of the user agent.
    pub device: u64,
    /// A keyed hash of the service's name.
    pub service: u64,
    /// What was asked for.
    pub route: Route,
    /// Whether the token's scopes cover the route; none where nothing says which are needed.
    pub scope_covers: Option<bool>,
    /// How many findings it has, by severity: info, low, medium, high, critical.
    pub findings: [u8; 5],
    /// The payload model's probability of an attack, 0..=1; none where it was not asked.
    pub payload: Option<f32>,
    /// Bytes of head and body as they were declared or seen.
    pub bytes: u64,
}

/// A token as it was used in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenUse {
    /// A keyed fingerprint of the token.
    pub fingerprint: u64,
    /// A keyed hash of its issuer.
    pub issuer: u64,
    /// `iat` in seconds since 1970 (RFC 7519 section 4.1.6).
    pub issued_s: Option<i64>,
    /// `exp` in seconds since 1970 (RFC 7519 section 4.1.4).
    pub expires_s: Option<i64>,
    /// This host has not seen it before.
    pub first_use: bool,
}

/// The client as the databases at hand know it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Client {
    /// Its address, behind trusted proxies.
    pub address: IpAddr,
    /// Its autonomous system; none where no database tells.
    pub asn: Option<u32>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<[u8; 2]>,
    /// Where a GeoIP database puts it.
    pub place: Option<GeoPoint>,
    /// What kind of network it is in; none where no database tells.
    pub kinds: Option<NetworkKinds>,
    /// Whether a threat feed names it; none where no feed is configured.
    pub threat: Option<bool>,
}

/// A place on earth (WGS 84), as GeoIP databases give it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeoPoint {
    /// Degrees north, -90..=90.
    pub lat: f32,
    /// Degrees east, -180..=180.
    pub lon: f32,
    /// The database's accuracy radius in kilometres.
    pub radius_km: u16,
}

/// What a network is used for, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NetworkKinds(u8);

impl NetworkKinds {
    /// An ordinary network.
    pub const NONE: Self = Self(0);
    /// A VPN service.
    pub const VPN: Self = Self(1);
    /// A relay or public proxy, such as a browser's private relay.
    pub const RELAY: Self = Self(2);
    /// An exit of Tor.
    pub const TOR: Self = Self(4);
    /// A data centre.
    pub const HOSTING: Self = Self(8);
    /// A mobile network.
    pub const MOBILE: Self = Self(16);

    /// What both say.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether one of `other`'s is among them.
    #[must_use]
    pub const fn any_of(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the address says little about where its user is: VPN, relay, Tor and mobile
    /// networks, whose addresses stand where the gateway is.
    #[must_use]
    pub const fn hides_place(self) -> bool {
        self.any_of(Self::VPN.with(Self::RELAY).with(Self::TOR).with(Self::MOBILE))
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// A keyed hash of service, method and the path without what varies in it.
    pub template: u64,
    /// The object that the path names last. Below [`Route::OPAQUE`] it is the decimal number that
    /// stood there; at or above it, a hash of something without an order, such as a UUID.
    pub object: Option<u64>,
}

impl Route {
    /// The first value of [`Route::object`] that is no number.
    pub const OPAQUE: u64 = 1 << 63;
}

/// What the service answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code (RFC 9110 section 15).
    pub status: u16,
    /// From the end of the request to the head of its answer, in microseconds.
    pub latency_us: u64,
    /// Bytes of head and body.
    pub bytes: u64,
}
