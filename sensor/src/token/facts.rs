//! Who a token is about and what it allows: the claims that are compared between uses, read once.

use smallvec::SmallVec;

use super::decode::{Decoded, Header};
use crate::json::Value;

/// Roles, scopes, groups or audiences of one token that are read.
const MAX_NAMES: usize = 256;

/// A piece of the text of [`Facts`]; [`Facts::text`] gives it.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    start: u32,
    end: u32,
}

/// Pieces of the text of [`Facts`]; [`Facts::texts`] gives them.
pub type Texts = SmallVec<[Text; 2]>;

/// What a token says of its subject. Names are as the claims have them, unescaped. They lie in
/// one text: a token that is new and never seen again shall not cost an allocation for each.
#[derive(Clone, Default)]
pub struct Facts {
    /// What the fields below point into.
    names: String,
    /// `iss`.
    pub issuer: Option<Text>,
    /// `sub`.
    pub subject: Option<Text>,
    /// `jti`.
    pub id: Option<Text>,
    /// `sid`, or `session_state` as older versions of Keycloak have it.
    pub session: Option<Text>,
    /// `azp` or `client_id`: the client that it was issued to.
    pub client: Option<Text>,
    /// `nonce`.
    pub nonce: Option<Text>,
    /// `tid`, `tenant_id`, `tenant` or `org_id`.
    pub tenant: Option<Text>,
    /// `kid` of the header.
    pub key_id: Option<Text>,
    /// `alg` of the header.
    pub algorithm: Option<Text>,
    /// `cnf.jkt`: the thumbprint of the key that the token is bound to (RFC 9449, section 6.1).
    pub key_thumbprint: Option<Text>,
    /// `exp`, in seconds since the epoch.
    pub expires: Option<i64>,
    /// `iat`, in seconds since the epoch.
    pub issued: Option<i64>,
    /// `aud`.
    pub audiences: Texts,
    /// `roles`, `role`, and Keycloak's `realm_access.roles`.
    pub roles: Texts,
    /// `scope` (RFC 8693, section 4.2), `scp`, `permissions`; one each.
    pub scopes: Texts,
    /// `groups`.
    pub groups: Texts,
}

/// Keyed hashes of whom a token names, see [`features`](crate::features).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Issuer and subject.
    pub subject: u128,
    /// `iss`.
    pub issuer: u64,
    /// The roles, in whatever order; `None` without any.
    pub role: Option<u64>,
}

impl Facts {
    pub(super) fn of(decoded: &Decoded) -> Self {
        /// Room for what most tokens name.
        const FIRST_BYTES: usize = 128;
        let mut facts = Self { names: String::with_capacity(FIRST_BYTES), ..Self::default() };
        for (name, value) in decoded.header().into_iter().flat_map(Header::members_by_bytes) {
            match &*name {
                b"kid" => facts.key_id = facts.keep(value),
                b"alg" => facts.algorithm = facts.keep(value),
                _ => {}
            }
        }
        for (name, value) in decoded.claims().into_iter().flat_map(Value::members_by_bytes) {
            // Of a name that stands twice the last counts, as most readers have it.
            match &*name {
                b"iss" => facts.issuer = facts.keep(value),
                b"sub" => facts.subject = facts.keep(value),
                b"jti" => facts.id = facts.keep(value),
                b"sid" | b"session_state" => facts.session = facts.keep(value),
                b"azp" | b"client_id" => facts.client = facts.keep(value),
                b"nonce" => facts.nonce = facts.keep(value),
                b"tid" | b"tenant_id" | b"tenant" | b"org_id" => facts.tenant = facts.keep(value),
                b"cnf" => facts.key_thumbprint = value.get("jkt").and_then(|key| facts.keep(key)),
                b"exp" => facts.expires = value.as_f64().map(|seconds| seconds as i64),
                b"iat" => facts.issued = value.as_f64().map(|seconds| seconds as i64),
                b"aud" => facts.keep_all(value, false, |facts| &mut facts.audiences),
                b"roles" | b"role" => facts.keep_all(value, false, |facts| &mut facts.roles),
                b"realm_access" => {
                    if let Some(roles) = value.get("roles") {
                        facts.keep_all(roles, false, |facts| &mut facts.roles);
                    }
                }
                b"scope" | b"scp" | b"permissions" => {
                    facts.keep_all(value, true, |facts| &mut facts.scopes);
                }
                b"groups" => facts.keep_all(value, false, |facts| &mut facts.groups),
                _ => {}
            }
        }
        facts
    }

    /// What one of the fields says.
    #[must_use]
    pub fn text(&self, text: Option<Text>) -> Option<&str> {
        let Text { start, end } = text?;
        self.names.get(start as usize..end as usize)
    }

    /// What one of the lists says, in its order.
    pub fn texts<'f>(&'f self, texts: &'f [Text]) -> impl Iterator<Item = &'f str> {
        texts.iter().filter_map(|&text| self.text(Some(text)))
    }

    /// Bytes of memory that it has beside itself.
    pub(super) fn memory(&self) -> usize {
        let lists = [&self.audiences, &self.roles, &self.scopes, &self.groups];
        let spilled = lists.into_iter().filter(|list| list.spilled());
        self.names.capacity()
            + spilled.map(|list| list.capacity() * size_of::<Text>()).sum::<usize>()
    }

    /// As [`Decoded::shrink`].
    pub(super) fn shrink(&mut self) {
        self.names.shrink_to_fit();
    }

    fn add(&mut self, text: &str) -> Text {
        // A token's text is far below 4 GiB: `MAX_TOKEN_BYTES` of `decode`.
        let start = self.names.len() as u32;
        self.names.push_str(text);
        Text { start, end: self.names.len() as u32 }
    }

    fn keep(&mut self, value: Value<'_>) -> Option<Text> {
        let text = value.as_str()?;
        Some(self.add(&text))
    }

    /// Adds a string, or the strings of a list; where `split`, each parted by spaces.
    fn keep_all(&mut self, value: Value<'_>, split: bool, list: fn(&mut Self) -> &mut Texts) {
        let texts = value.as_str().into_iter().chain(value.elements().filter_map(Value::as_str));
        for text in texts {
            if split {
                for word in text.split_ascii_whitespace() {
                    let word = self.add(word);
                    list(self).push(word);
                }
            } else {
                let text = self.add(&text);
                list(self).push(text);
            }
            if list(self).len() >= MAX_NAMES {
                list(self).truncate(MAX_NAMES);
                return;
            }
        }
    }
}

/// Shows no claims.
impl std::fmt::Debug for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facts").field("bytes", &self.names.len()).finish_non_exhaustive()
    }
}
