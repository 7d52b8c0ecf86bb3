//! Issuers' keys from what watched services serve or fetch in clear.
//!
//! Whoever can make a service answer with JSON of his own could teach the sensor his own keys. So
//! a key set is taken only from where its issuer alone can put one:
//!
//! - at `/.well-known/jwks.json` (`jwks`, `keys`) right below the issuer's URL, on its host;
//! - at the `jwks_uri` of a discovery document that stood where the issuer's has to stand (OpenID
//!   Connect Discovery, section 4; RFC 8414, section 3) and names that issuer;
//! - at a URL that the configuration gives for the issuer (`learn_from`).
//!
//! A set seen anywhere else is counted and left alone, and so is one whose request or answer is
//! ambiguous. What is cut is not read at all: half a set would make the other half's signatures
//! look forged. And what is learned proves nothing: see
//! [`SignatureCheck::Learned`](crate::token::validate::SignatureCheck).
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

use std::{collections::HashMap, sync::Arc};

use hashlink::LruCache;
use serde::Deserialize;

use crate::{
    finding::Severity,
    http::{Body, Request, Response},
    keys::{Key, KeySource, MAX_LEARNED_ISSUERS, MAX_LEARNED_NAME, issuer_name, parse_keys},
};

/// The longest URL, without scheme, of which a document is taken.
const MAX_URL: usize = 1_024;

/// What stands behind an issuer's URL where its key set has no address of its own.
const KEY_SETS: [&str; 3] = ["/.well-known/jwks.json", "/.well-known/jwks", "/.well-known/keys"];
/// OpenID Connect Discovery, section 4.1: behind the issuer's path.
const OPENID: &str = "/.well-known/openid-configuration";
/// RFC 8414, section 3.1: in front of the issuer's path.
const OAUTH: &str = "/.well-known/oauth-authorization-server";

/// What was seen and learned of key sets since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeySetStats {
    /// Whole key sets that belong to an issuer.
    pub read: u64,
    /// Keys that were learned.
    pub learned: u64,
    /// Keys that differ from the pinned one.
    pub changed: u64,
    /// Keys that were not learned: over a limit, of an issuer with configured keys or one that is
    /// not configured, or of no use.
    pub refused: u64,
    /// Documents of an issuer that were cut: over the budget, lost, or compressed.
    pub incomplete: u64,
    /// Documents that belong to no issuer for certain.
    pub unattributed: u64,
    /// Documents of an issuer that can't be read.
    pub unusable: u64,
}

/// What a document says.
#[derive(Debug)]
pub(crate) enum Lesson {
    /// These are an issuer's keys, all of them.
    Keys { issuer: Box<str>, keys: Vec<Arc<Key>> },
    /// Where an issuer's key set is; noted. The target under which its host serves it.
    Announced(Box<[u8]>),
    /// It belongs to an issuer and is cut.
    Incomplete,
    /// It belongs to an issuer and can't be read.
    Unusable,
    /// It belongs to no issuer for certain.
    Unattributed,
}

/// Tells whose keys a document holds.
#[derive(Debug)]
pub(crate) struct Learner {
    /// Issuers by the URL of their key set, without scheme, as discovery documents announced it.
    announced: LruCache<Box<str>, Box<str>>,
    /// The same, as the configuration has it.
    configured: HashMap<Box<str>, Box<str>>,
}

/// What a URL is for.
enum Place {
    KeySet(Box<str>),
    Discovery(Box<str>),
}

impl Learner {
    /// `configured`: an issuer and the URL of its key set each.
    pub(crate) fn new<'a>(configured: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let place = |(issuer, url)| (issuer_name(url).into(), issuer_name(issuer).into());
        Self {
            announced: LruCache::new(MAX_LEARNED_ISSUERS),
            configured: configured.into_iter().map(place).collect(),
        }
    }

    /// Reads a document that answered `request`.
    pub(crate) fn read(&mut self, request: &Request, response: &Response, body: &Body) -> Lesson {
        let ambiguous = request.findings.iter().any(|f| f.severity > Severity::Low)
            || !response.findings.is_empty();
        let place = url(request).filter(|_| !ambiguous).and_then(|url| self.place(&url));
        match place {
            None => Lesson::Unattributed,
            Some(_) if !body.complete => Lesson::Incomplete,
            Some(Place::KeySet(issuer)) => match keys(&body.bytes) {
                Some(keys) => Lesson::Keys { issuer, keys },
                None => Lesson::Unusable,
            },
            Some(Place::Discovery(issuer)) => self.announce(issuer, &body.bytes),
        }
    }

    fn place(&self, url: &str) -> Option<Place> {
        // A query is no part of an issuer; only a whole URL that somebody gave may have one.
        let plain = |place: Place| (!url.contains('?')).then_some(place);
        // As `issuer_name` has URLs: no slash at the end.
        let url = url.strip_suffix('/').unwrap_or(url);
        if let Some(issuer) = self.configured.get(url).or_else(|| self.announced.peek(url)) {
            return Some(Place::KeySet(issuer.clone()));
        }
        let below = |names: &[&str]| names.iter().find_map(|name| url.strip_suffix(name));
        if let Some(issuer) = below(&KEY_SETS) {
            return plain(Place::KeySet(issuer.into()));
        }
        if let Some(issuer) = below(&[OPENID]) {
            return plain(Place::Discovery(issuer.into()));
        }
        let (host, path) = url.split_at(url.find('/')?);
        let path = path.strip_prefix(OAUTH).filter(|path| path.is_empty() || path.starts_with('/'));
        path.and_then(|path| plain(Place::Discovery([host, path].concat().into())))
    }

    fn announce(&mut self, issuer: Box<str>, document: &[u8]) -> Lesson {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
            jwks_uri: String,
        }
        match serde_json::from_slice::<Document>(document) {
            Ok(document) if issuer_name(&document.issuer) != *issuer => Lesson::Unattributed,
            Ok(document) if document.jwks_uri.len() <= MAX_URL => {
                self.announced.insert(issuer_name(&document.jwks_uri).into(), issuer);
                Lesson::Announced(target(&document.jwks_uri).as_bytes().into())
            }
            _ => Lesson::Unusable,
        }
    }
}

/// The keys of a whole set. Each is read again by itself, so that none holds on to the document;
/// `None` where it is no key set, or one without a usable key.
fn keys(document: &[u8]) -> Option<Vec<Arc<Key>>> {
    #[derive(Deserialize)]
    struct Set {
        #[serde(rename = "keys")]
        _keys: Vec<serde::de::IgnoredAny>,
    }
    // One JWK alone is a key file, but no set.
    serde_json::from_slice::<Set>(document).ok()?;
    let set = parse_keys(document, KeySource::Learned).ok()?;
    let keys: Vec<_> = set.keys.iter().filter_map(|key| read_key(&key.to_jwk()?)).collect();
    (!keys.is_empty()).then_some(keys)
}

/// A learned key from its JWK.
pub(crate) fn read_key(jwk: &str) -> Option<Arc<Key>> {
    parse_keys(jwk.as_bytes(), KeySource::Learned).ok()?.keys.pop()
}

/// Host and target of a request as [`issuer_name`] writes URLs; `None` where it is not certain
/// which.
fn url(request: &Request) -> Option<String> {
    let mut hosts = request.headers().filter(|h| h.name.eq_ignore_ascii_case(b"host"));
    let (host, another) = (hosts.next(), hosts.next());
    let target = std::str::from_utf8(request.target()).ok()?;
    let url = if target.starts_with('/') {
        let host = std::str::from_utf8(host?.value).ok().filter(|host| is_host(host))?;
        // In clear, but perhaps behind something that ended TLS.
        let host = host.strip_suffix(":443").unwrap_or(host);
        issuer_name(&format!("http://{host}{target}")).into_owned()
    } else {
        // RFC 9112, section 3.2.2: the host of an absolute target counts.
        target.contains("://").then(|| issuer_name(target).into_owned())?
    };
    let host = url.split('/').next().unwrap_or_default();
    (another.is_none() && is_host(host) && url.len() <= MAX_URL).then_some(url)
}

/// Targets of the requests whose answers teach keys, as far as the configuration tells them:
/// documents of issuers without a path, and what `learn_from` names. `configured` are its URLs.
pub(crate) fn known_targets<'a>(configured: impl IntoIterator<Item = &'a str>) -> Vec<Box<[u8]>> {
    let standard = KEY_SETS.into_iter().chain([OPENID, OAUTH]);
    standard.chain(configured.into_iter().map(target)).map(|t| t.as_bytes().into()).collect()
}

/// The target of a request for this URL (RFC 9112, section 3.2.1), without a fragment.
fn target(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    path.split('#').next().unwrap_or(path)
}

/// A host with or without a port, and nothing else.
fn is_host(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    !text.is_empty() && text.len() <= MAX_LEARNED_NAME && text.bytes().all(plain)
}

#[cfg(test)]
#[path = "learn_tests.rs"]
mod tests;
