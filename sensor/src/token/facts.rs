//! Who a token is about and what it allows: the claims that are compared between uses, read once.

use super::{decode::Decoded, json::Value};

/// Roles, scopes, groups or audiences of one token that are read.
const MAX_NAMES: usize = 256;

/// What a token says of its subject. Names are as the claims have them.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `iss`.
    pub issuer: Option<Box<str>>,
    /// `sub`.
    pub subject: Option<Box<str>>,
    /// `jti`.
    pub id: Option<Box<str>>,
    /// `sid`.
    pub session: Option<Box<str>>,
    /// `nonce`.
    pub nonce: Option<Box<str>>,
    /// `tid`, `tenant_id`, `tenant` or `org_id`.
    pub tenant: Option<Box<str>>,
    /// `kid` of the header.
    pub key_id: Option<Box<str>>,
    /// `alg` of the header.
    pub algorithm: Option<Box<str>>,
    /// `cnf.jkt`: the thumbprint of the key that the token is bound to (RFC 9449, section 6.1).
    pub key_thumbprint: Option<Box<str>>,
    /// `exp`, in seconds since the epoch.
    pub expires: Option<i64>,
    /// `iat`, in seconds since the epoch.
    pub issued: Option<i64>,
    /// `aud`.
    pub audiences: Vec<Box<str>>,
    /// `roles`, `role`, and Keycloak's `realm_access.roles`.
    pub roles: Vec<Box<str>>,
    /// `scope` (RFC 8693, section 4.2), `scp`, `permissions`; one each.
    pub scopes: Vec<Box<str>>,
    /// `groups`.
    pub groups: Vec<Box<str>>,
}

impl Facts {
    pub(super) fn of(decoded: &Decoded) -> Self {
        let mut facts = Self::default();
        let header = |name| text(decoded.header()?.get(name)?);
        facts.key_id = header("kid");
        facts.algorithm = header("alg");
        for (name, value) in decoded.claims().into_iter().flat_map(Value::members) {
            // Of a name that stands twice the last counts, as most readers have it.
            match &*name {
                "iss" => facts.issuer = text(value),
                "sub" => facts.subject = text(value),
                "jti" => facts.id = text(value),
                "sid" => facts.session = text(value),
                "nonce" => facts.nonce = text(value),
                "tid" | "tenant_id" | "tenant" | "org_id" => facts.tenant = text(value),
                "cnf" => facts.key_thumbprint = value.get("jkt").and_then(text),
                "exp" => facts.expires = value.as_f64().map(|seconds| seconds as i64),
                "iat" => facts.issued = value.as_f64().map(|seconds| seconds as i64),
                "aud" => names(value, false, &mut facts.audiences),
                "roles" | "role" => names(value, false, &mut facts.roles),
                "realm_access" => {
                    if let Some(roles) = value.get("roles") {
                        names(roles, false, &mut facts.roles);
                    }
                }
                "scope" | "scp" | "permissions" => names(value, true, &mut facts.scopes),
                "groups" => names(value, false, &mut facts.groups),
                _ => {}
            }
        }
        facts
    }
}

fn text(value: Value<'_>) -> Option<Box<str>> {
    Some(value.as_str()?.into())
}

/// Adds a string, or the strings of a list; where `split`, each parted by spaces.
fn names(value: Value<'_>, split: bool, out: &mut Vec<Box<str>>) {
    let texts = value.as_str().into_iter().chain(value.elements().filter_map(Value::as_str));
    for text in texts {
        if split {
            out.extend(text.split_ascii_whitespace().map(Into::into));
        } else {
            out.push(text.into());
        }
        if out.len() >= MAX_NAMES {
            out.truncate(MAX_NAMES);
            return;
        }
    }
}
