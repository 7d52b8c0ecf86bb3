//! What can be denied and allowed, and who said so.
#![forbid(unsafe_code)]

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::tables::TokenKey;
use crate::{networks, policy::AllowedName, time::Time};

/// Bytes of a reason that are kept.
pub const MAX_REASON: usize = 256;

/// Bytes of an issuer's, a subject's or a route's name.
pub const MAX_NAME: usize = 1_024;

/// What is denied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Denied {
    /// Every token with this signature.
    Token(TokenKey),
    /// Clients of this network.
    Network(IpNet),
    /// Tokens of this subject, of one issuer or of any.
    Subject(AllowedName),
    /// A connection, by the cookie of the service's socket.
    Flow(u64),
}

/// What is never cut.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Allowed {
    /// Clients of this network.
    Network(IpNet),
    /// Tokens of this subject, of one issuer or of any, where a key vouches for them.
    Subject(AllowedName),
    /// Tokens of this issuer, where a key vouches for them.
    Issuer(String),
    /// Requests for this route: `/health`, or `GET /orders/{id}`.
    Route(String),
}

/// An entry as files, the control socket and audit events write it: what kind of thing, and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Written {
    /// 32 hexadecimal digits.
    Token {
        /// The token's deny key.
        token_key: String,
    },
    /// An address or a network (CIDR).
    Address {
        /// The address.
        address: String,
    },
    /// A subject.
    Subject {
        /// `iss`; any when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<String>,
        /// `sub`.
        subject: String,
    },
    /// An issuer.
    Issuer {
        /// `iss`.
        issuer: String,
    },
    /// A route.
    Route {
        /// `/health`, or `GET /orders/{id}`.
        route: String,
    },
    /// A connection.
    Flow {
        /// The socket's cookie.
        cookie: u64,
    },
}

/// Why a written entry is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not 32 hexadecimal digits.
    #[error("a token key has 32 hexadecimal digits")]
    TokenKey,
    /// Neither an address nor a network.
    #[error("{0:?} is neither an address nor a network")]
    Address(String),
    /// Empty or over [`MAX_NAME`].
    #[error("{0} must have 1 to 1024 bytes")]
    Name(&'static str),
    /// No route.
    #[error("{0:?} is no route: write /path/{{id}}, or a method, a space and the path")]
    Route(String),
    /// This kind of thing can't be denied.
    #[error("{0} can't be denied; deny an address, a subject or a token")]
    NotDeniable(&'static str),
    /// This kind of thing can't be allowed.
    #[error("{0} can't be allowed; allow an address, a subject, an issuer or a route")]
    NotAllowable(&'static str),
}

fn name(name: &str, what: &'static str) -> Result<String, EntryError> {
    if (1..=MAX_NAME).contains(&name.len()) {
        Ok(name.to_owned())
    } else {
        Err(EntryError::Name(what))
    }
}

fn network(text: &str) -> Result<IpNet, EntryError> {
    networks::parse(text).ok_or_else(|| EntryError::Address(text.chars().take(64).collect()))
}

fn subject(issuer: Option<&String>, subject: &str) -> Result<AllowedName, EntryError> {
    Ok(AllowedName {
        issuer: issuer.map(|issuer| name(issuer, "an issuer")).transpose()?,
        subject: name(subject, "a subject")?,
    })
}

impl Written {
    /// As something to deny.
    ///
    /// # Errors
    /// It can't be read, or can't be denied.
    pub fn denied(&self) -> Result<Denied, EntryError> {
        match self {
            Self::Token { token_key } => {
                TokenKey::parse(token_key).map(Denied::Token).ok_or(EntryError::TokenKey)
            }
            Self::Address { address } => network(address).map(Denied::Network),
            Self::Subject { issuer, subject: of } => {
                subject(issuer.as_ref(), of).map(Denied::Subject)
            }
            Self::Flow { cookie } => Ok(Denied::Flow(*cookie)),
            Self::Issuer { .. } => Err(EntryError::NotDeniable("an issuer")),
            Self::Route { .. } => Err(EntryError::NotDeniable("a route")),
        }
    }

    /// As something to allow.
    ///
    /// # Errors
    /// It can't be read, or can't be allowed.
    pub fn allowed(&self) -> Result<Allowed, EntryError> {
        match self {
            Self::Address { address } => network(address).map(Allowed::Network),
            Self::Subject { issuer, subject: of } => {
                subject(issuer.as_ref(), of).map(Allowed::Subject)
            }
            Self::Issuer { issuer } => name(issuer, "an issuer").map(Allowed::Issuer),
            Self::Route { route } => {
                let route = name(route, "a route")?;
                let added = crate::policy::Allowlist::default().add_route(&route);
                added.map_err(|_| EntryError::Route(route.clone()))?;
                Ok(Allowed::Route(route))
            }
            Self::Token { .. } => Err(EntryError::NotAllowable("a token's signature")),
            Self::Flow { .. } => Err(EntryError::NotAllowable("a connection")),
        }
    }
}

impl From<&Denied> for Written {
    fn from(denied: &Denied) -> Self {
        match denied {
            Denied::Token(key) => Self::Token { token_key: key.to_string() },
            Denied::Network(network) => Self::Address { address: shown(*network) },
            Denied::Subject(AllowedName { issuer, subject }) => {
                Self::Subject { issuer: issuer.clone(), subject: subject.clone() }
            }
            Denied::Flow(cookie) => Self::Flow { cookie: *cookie },
        }
    }
}

impl From<&Allowed> for Written {
    fn from(allowed: &Allowed) -> Self {
        match allowed {
            Allowed::Network(network) => Self::Address { address: shown(*network) },
            Allowed::Subject(AllowedName { issuer, subject }) => {
                Self::Subject { issuer: issuer.clone(), subject: subject.clone() }
            }
            Allowed::Issuer(issuer) => Self::Issuer { issuer: issuer.clone() },
            Allowed::Route(route) => Self::Route { route: route.clone() },
        }
    }
}

/// A network; a single address without its length.
fn shown(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        network.addr().to_string()
    } else {
        network.to_string()
    }
}

/// One line for people.
impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token { token_key } => write!(f, "token key {token_key}"),
            Self::Address { address } => write!(f, "address {address}"),
            Self::Subject { issuer: Some(issuer), subject } => {
                write!(f, "subject {subject:?} of issuer {issuer:?}")
            }
            Self::Subject { issuer: None, subject } => write!(f, "subject {subject:?}"),
            Self::Issuer { issuer } => write!(f, "issuer {issuer:?}"),
            Self::Route { route } => write!(f, "route {route:?}"),
            Self::Flow { cookie } => write!(f, "connection {cookie}"),
        }
    }
}

/// Who put an entry in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A verdict of this daemon.
    Verdict,
    /// A person, over the control socket.
    Operator,
    /// A denylist file, or the configuration itself.
    File,
}

impl Source {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Operator => "operator",
            Self::File => "file",
        }
    }
}

/// What is known of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms<'a> {
    /// It counts for nothing from this time on; `None` never.
    pub until: Option<Time>,
    /// Since when.
    pub added: Time,
    /// Why.
    pub reason: &'a str,
    /// In which line of the file or feed, where it is known.
    pub line: Option<u32>,
    /// On whose word.
    pub source: Source,
}
