//! What a subject's tokens were allowed, to see when that grows.

use smallvec::SmallVec;

use super::{
    clock::Second,
    hash::{Is, Names},
    persist::{Reader, Record},
    table::Entry,
};
use crate::finding::Severity;

/// Roles, scopes, groups and tenants that are remembered of one subject, and looked at in one
/// token. Beyond it nothing is found about them, and that is counted.
pub const MAX_PRIVILEGES: usize = 64;

/// The kinds of privilege, by the finding that their growth is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Privilege {
    Scope,
    Role,
    Group,
    Tenant,
}

impl Privilege {
    pub(super) const fn noun(self) -> &'static str {
        match self {
            Self::Scope => "scope",
            Self::Role => "role",
            Self::Group => "group",
            Self::Tenant => "tenant",
        }
    }
}

/// A privilege by name; 32 bits of a keyed hash, where a collision only misses a finding.
pub(super) fn name(names: &Names, privilege: Privilege, name: &str) -> u32 {
    let is = match privilege {
        Privilege::Scope => Is::Scope,
        Privilege::Role => Is::Role,
        Privilege::Group => Is::Group,
        Privilege::Tenant => Is::Tenant,
    };
    names.short(is, &[name.as_bytes()]) as u32
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) key: u128,
    pub(super) end: Second,
    /// A verified token has been seen: from then on only verified tokens teach.
    pub(super) verified: bool,
    /// More privileges than fit were held: nothing is found any more.
    pub(super) overflowed: bool,
    /// Hash of a privilege, and when a token last held it.
    pub(super) held: SmallVec<[(u32, Second); 4]>,
}

impl Entry for Subject {
    fn key(&self) -> u128 {
        self.key
    }

    fn deadline(&self) -> Second {
        self.end
    }
}

impl Subject {
    pub(super) fn holds(&self, name: u32, now: Second, window: Second) -> bool {
        self.held.iter().any(|&(n, at)| n == name && now.saturating_sub(at) <= window)
    }

    pub(super) fn hold(&mut self, name: u32, now: Second, window: Second) {
        if let Some(held) = self.held.iter_mut().find(|(n, _)| *n == name) {
            held.1 = now;
            return;
        }
        if self.held.len() >= MAX_PRIVILEGES {
            self.held.retain(|(_, at)| now.saturating_sub(*at) <= window);
        }
        if self.held.len() < MAX_PRIVILEGES {
            self.held.push((name, now));
        } else {
            self.overflowed = true;
        }
    }
}

impl Record for Subject {
    const KIND: u8 = 2;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.key.to_le_bytes());
        out.extend(self.end.to_le_bytes());
        out.extend([u8::from(self.verified), u8::from(self.overflowed)]);
        for (name, at) in &self.held {
            out.extend(name.to_le_bytes());
            out.extend(at.to_le_bytes());
        }
    }

    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let mut subject = Self {
            key: r.u128()?,
            end: r.u32()?,
            verified: r.u8()? != 0,
            overflowed: r.u8()? != 0,
            held: SmallVec::new(),
        };
        while !r.is_empty() && subject.held.len() < MAX_PRIVILEGES {
            subject.held.push((r.u32()?, r.u32()?));
        }
        Some(subject)
    }
}

/// Whether a name sounds like the keys to the house: a word of it begins with `admin` or is one
/// of a few others, or it holds a wildcard. Words end at punctuation and at a capital letter.
pub(super) fn is_admin_like(name: &str) -> bool {
    const WORDS: [&str; 8] =
        ["root", "superuser", "super", "sudo", "owner", "god", "sysadmin", "superadmin"];
    if name.contains('*') {
        return true;
    }
    let mut start = 0;
    let mut before = ' ';
    let word_is = |word: &str| {
        word.get(..5).is_some_and(|w| w.eq_ignore_ascii_case("admin"))
            || WORDS.iter().any(|w| w.eq_ignore_ascii_case(word))
    };
    for (at, c) in name.char_indices() {
        let camel = before.is_ascii_lowercase() && c.is_ascii_uppercase();
        if camel || !c.is_ascii_alphanumeric() {
            if name.get(start..at).is_some_and(word_is) {
                return true;
            }
            start = if camel { at } else { at + c.len_utf8() };
        }
        before = c;
    }
    name.get(start..).is_some_and(word_is)
}

/// How grave the growth of a privilege is. A verified token was granted it by the issuer:
/// incremental consent is ordinary. Where nothing vouches for the token it may be made up.
pub(super) fn growth_severity(
    privilege: Privilege,
    check: super::Check,
    admin_like: bool,
) -> Severity {
    use super::Check::{Bad, Unverifiable, Verified};
    match (check, privilege) {
        (Verified, _) if admin_like => Severity::Medium,
        (Verified, Privilege::Scope) => Severity::Info,
        (Verified, _) => Severity::Low,
        (Unverifiable, Privilege::Scope) if !admin_like => Severity::Medium,
        (Unverifiable | Bad, _) => Severity::High,
    }
}

#[cfg(test)]
mod tests {
    use super::is_admin_like;

    #[test]
    fn admin_like_names() {
        for name in [
            "admin",
            "ADMIN",
            "cluster-admin",
            "ROLE_ADMIN",
            "GlobalAdministrator",
            "write:admin",
            "superAdmin",
            "root",
            "*",
            "orders:*",
            "sudo",
            "org.owner",
            "admin.readonly",
        ] {
            assert!(is_admin_like(name), "{name}");
        }
        for name in ["", "user", "badminton", "reader", "rooted", "ownership", "é", "orders:read"]
        {
            assert!(!is_admin_like(name), "{name}");
        }
    }
}
