//! From the configuration's issuers to what tokens are held against.
#![forbid(unsafe_code)]

use crate::{
    config::IssuerConfig,
    keyring::Snapshot,
    keys::KeyStore,
    token::validate::{IssuerPolicy, Policy},
};

/// What the configured issuers' tokens must look like. Where every issuer is named, a token of
/// another one is a finding.
#[must_use]
pub fn policy(issuers: &[IssuerConfig]) -> Policy {
    let mut policy = Policy::default();
    for issuer in issuers {
        let own = IssuerPolicy {
            issuer: issuer.name().map(Into::into),
            algorithms: issuer.algorithms.clone().unwrap_or_default(),
            audiences: issuer.audiences.clone(),
            leeway: issuer.leeway(),
            types: issuer.types.clone(),
            required_claims: issuer.required_claims.clone(),
            max_lifetime: issuer.max_lifetime(),
            encrypted: issuer.encrypted,
            jku_allow: issuer.jku_allow.iter().map(|start| start.get_ref().clone()).collect(),
            keys_fixed: issuer.has_keys() && !issuer.is_remote(),
        };
        match own.issuer {
            Some(_) => policy.issuers.push(own),
            None => policy.any = own,
        }
    }
    policy.known_issuers_only =
        !issuers.is_empty() && issuers.iter().all(|issuer| issuer.name().is_some());
    policy
}

/// The keys in force, ready to be looked up.
#[must_use]
pub fn store(snapshot: &Snapshot) -> KeyStore {
    let mut store = KeyStore::new();
    snapshot.apply(&mut store);
    store
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::policy;

    #[test]
    fn a_table_without_a_name_is_for_all_others() {
        let issuers = |text: &str| crate::config::parse(text, Path::new("c")).unwrap().issuers;
        let named = "[[issuer]]\nissuer = \"https://a\"\naudiences = [\"x\"]\n";
        let one = policy(&issuers(named));
        assert!(one.known_issuers_only && one.issuers[0].audiences == ["x"]);
        let both = policy(&issuers(&format!("{named}[[issuer]]\nleeway_seconds = 5\n")));
        assert!(!both.known_issuers_only && both.any.leeway.as_secs() == 5);
        assert!(!policy(&[]).known_issuers_only);
    }

    #[test]
    fn keys_are_fixed_where_they_come_from_files_alone() {
        let fixed = |keys: &str| {
            let text = format!("[[issuer]]\nissuer = \"https://a\"\n{keys}\n");
            let issuers = crate::config::parse(&text, Path::new("c")).unwrap().issuers;
            policy(&issuers).issuers[0].keys_fixed
        };
        assert!(fixed("jwks_file = \"/a\"") && fixed("key_files = [\"/a\"]"));
        assert!(!fixed("") && !fixed("jwks_url = \"https://a/k\"") && !fixed("discovery = true"));
        assert!(!fixed("jwks_file = \"/a\"\njwks_url = \"https://a/k\""));
    }
}
