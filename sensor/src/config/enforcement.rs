//! `[enforcement]`: what is done about bad requests.

use std::{path::PathBuf, time::Duration};

use jotwatch_common::guard::tables::HEAD_CAP;
use serde::Deserialize;
use toml::Spanned;

use super::{Complaint, FeedConfig, error::nearest, within};
use crate::{
    finding::{FindingId, Severity},
    networks,
    policy::{
        Action, AllowedName, Allowlist, DenyScope, Enforcement, FailMode, MAX_ALLOWED_NAMES,
        MAX_ALLOWED_NETWORKS, Mode, Policy, Rule,
    },
};

/// The most `[[enforcement.rule]]` tables.
pub const MAX_RULES: usize = 1_024;

/// The most files in `deny_files`.
pub const MAX_DENY_FILES: usize = 64;

/// `[enforcement]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnforcementConfig {
    /// What is done about bad requests, where a service has no mode of its own.
    pub mode: Mode,
    /// Nothing is done; events say what would have been.
    pub dry_run: bool,
    /// What the kernel does with what it holds while the daemon is not there.
    pub fail: FailMode,
    /// The daemon counts as dead when it has not beaten for so long.
    pub heartbeat_ms: Spanned<usize>,
    /// Nothing is held longer.
    pub hold_ms: Spanned<usize>,
    /// Bytes of a body that are read for tokens before it has passed whole.
    pub body_bytes: Spanned<usize>,
    /// What a verdict to cut denies beside the connection.
    pub deny: Vec<DenyScope>,
    /// For how long.
    pub deny_seconds: Spanned<usize>,
    /// Files of what is always denied.
    pub deny_files: Spanned<Vec<PathBuf>>,
    /// Lists of others, of what is always denied.
    #[serde(rename = "feed")]
    pub feeds: Vec<FeedConfig>,
    /// What is done about which findings.
    #[serde(rename = "rule")]
    pub rules: Vec<Spanned<RuleConfig>>,
    /// What is never cut.
    pub allow: AllowConfig,
}

impl Default for EnforcementConfig {
    fn default() -> Self {
        Self {
            mode: Mode::Alert,
            dry_run: false,
            fail: FailMode::Open,
            heartbeat_ms: Spanned::new(0..0, 1_000),
            hold_ms: Spanned::new(0..0, 2_000),
            body_bytes: Spanned::new(0..0, 8 << 10),
            deny: vec![DenyScope::Token],
            deny_seconds: Spanned::new(0..0, 600),
            deny_files: Spanned::new(0..0, Vec::new()),
            feeds: Vec::new(),
            rules: Vec::new(),
            allow: AllowConfig::default(),
        }
    }
}

/// `[[enforcement.rule]]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Fits this finding only.
    pub finding: Option<Spanned<String>>,
    /// Fits findings of this severity or above only.
    pub severity: Option<Severity>,
    /// Fits requests whose score is from the first to the second of these, and no finding.
    pub score: Option<Spanned<(u8, u8)>>,
    /// What is done.
    pub action: Action,
}

/// `[enforcement.allow]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AllowConfig {
    /// Addresses and networks (CIDR) of clients.
    pub addresses: Vec<Spanned<String>>,
    /// Subjects of tokens, of one issuer or of any.
    pub subjects: Vec<AllowedName>,
    /// Issuers of tokens.
    pub issuers: Vec<String>,
    /// Routes, `/health` or `GET /orders/{id}`.
    pub routes: Vec<Spanned<String>>,
}

impl EnforcementConfig {
    /// For how long a verdict denies.
    #[must_use]
    pub fn deny_for(&self) -> Duration {
        Duration::from_secs(*self.deny_seconds.get_ref() as u64)
    }

    /// The daemon counts as dead when it has not beaten for so long.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        Duration::from_millis(*self.heartbeat_ms.get_ref() as u64)
    }

    /// Nothing is held longer.
    #[must_use]
    pub fn hold(&self) -> Duration {
        Duration::from_millis(*self.hold_ms.get_ref() as u64)
    }

    /// Bytes of a body that are read for tokens before it has passed whole.
    #[must_use]
    pub fn body_bytes(&self) -> u32 {
        u32::try_from(*self.body_bytes.get_ref()).unwrap_or(u32::MAX)
    }

    /// As the pipeline takes it, of a configuration that was checked.
    #[must_use]
    pub fn resolve(&self) -> Enforcement {
        let rules = self.rules.iter().filter_map(|rule| resolve(rule.get_ref()).ok()).collect();
        Enforcement {
            policy: Policy::new(rules),
            mode: self.mode,
            dry_run: self.dry_run,
            replay: false,
            deny: self.deny.clone(),
            deny_for: self.deny_for(),
        }
    }
}

impl AllowConfig {
    /// The allowlist, of a configuration that was checked.
    #[must_use]
    pub fn resolve(&self) -> Allowlist {
        let mut allowlist = Allowlist::default();
        for address in &self.addresses {
            if let Some(network) = networks::parse(address.get_ref()) {
                allowlist.add_network(network);
            }
        }
        self.subjects.iter().for_each(|name| allowlist.add_subject(name.clone()));
        self.issuers.iter().for_each(|issuer| allowlist.add_issuer(issuer.clone()));
        for route in &self.routes {
            let _ = allowlist.add_route(route.get_ref());
        }
        allowlist
    }
}

fn resolve(rule: &RuleConfig) -> Result<Rule, Complaint> {
    let finding = rule.finding.as_ref().map(finding).transpose()?;
    let score = match &rule.score {
        Some(range) => {
            let (low, high) = *range.get_ref();
            if low > high || high > 100 {
                let message = "score must be [LOW, HIGH], from 0 to 100 and ascending";
                return Err((range.span(), message.to_owned()));
            }
            if rule.finding.is_some() || rule.severity.is_some() {
                let message =
                    "score stands alone: it is of the request, finding and severity of a finding";
                return Err((range.span(), message.to_owned()));
            }
            Some(low..=high)
        }
        None => None,
    };
    Ok(Rule { finding, severity: rule.severity, score, action: rule.action })
}

fn finding(name: &Spanned<String>) -> Result<FindingId, Complaint> {
    let text = name.get_ref().as_str();
    FindingId::ALL.iter().copied().find(|id| id.as_str() == text).ok_or_else(|| {
        let known = nearest(text, FindingId::ALL.iter().map(|id| id.as_str()));
        let proposal = known.map(|known| format!(", did you mean `{known}`?"));
        let message = format!("unknown finding `{text}`{}", proposal.unwrap_or_default());
        (name.span(), message)
    })
}

pub(super) fn check(config: &EnforcementConfig) -> Result<(), Complaint> {
    within(&config.heartbeat_ms, "heartbeat_ms", 100, 60_000)?;
    within(&config.hold_ms, "hold_ms", 100, 30_000)?;
    within(&config.body_bytes, "body_bytes", 0, HEAD_CAP as usize / 2)?;
    within(&config.deny_seconds, "deny_seconds", 1, 31_536_000)?;
    let files = &config.deny_files;
    if files.get_ref().len() > MAX_DENY_FILES {
        return Err((files.span(), format!("more than {MAX_DENY_FILES} deny_files")));
    }
    for (at, rule) in config.rules.iter().enumerate() {
        if at >= MAX_RULES {
            return Err((rule.span(), format!("more than {MAX_RULES} rules")));
        }
        let conditions = rule.get_ref();
        resolve(conditions)?;
        if conditions.finding.is_none()
            && conditions.severity.is_none()
            && conditions.score.is_none()
        {
            let message = "a rule needs a finding, a severity or a score";
            return Err((rule.span(), message.to_owned()));
        }
    }
    check_allow(&config.allow)
}

fn check_allow(allow: &AllowConfig) -> Result<(), Complaint> {
    for (at, address) in allow.addresses.iter().enumerate() {
        let text = address.get_ref();
        if networks::parse(text).is_none() {
            return Err((address.span(), format!("{text:?} is neither an address nor a network")));
        }
        if at >= MAX_ALLOWED_NETWORKS {
            let message = format!("more than {MAX_ALLOWED_NETWORKS} addresses");
            return Err((address.span(), message));
        }
    }
    if allow.subjects.len() + allow.issuers.len() > MAX_ALLOWED_NAMES {
        return Err((0..0, format!("more than {MAX_ALLOWED_NAMES} allowed subjects and issuers")));
    }
    let mut routes = Allowlist::default();
    for route in &allow.routes {
        let added = routes.add_route(route.get_ref());
        added.map_err(|error| (route.span(), format!("{:?}: {error}", route.get_ref())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{
        config::{Config, parse},
        finding::{Finding, FindingId, Severity},
        policy::{Action, DenyScope, Evidence, FailMode, Mode},
    };

    fn fails(text: &str) -> String {
        parse(text, Path::new("c.toml")).unwrap_err().to_string()
    }

    #[test]
    fn the_documented_keys_are_read() {
        let text = r#"
            [enforcement]
            mode = "kill"
            dry_run = true
            fail = "closed"
            heartbeat_ms = 500
            hold_ms = 1000
            body_bytes = 0
            deny = ["token", "subject", "address"]
            deny_seconds = 60
            deny_files = ["/etc/jotwatch/deny.txt"]
            [[enforcement.rule]]
            finding = "token-expired"
            action = "kill"
            [[enforcement.rule]]
            severity = "critical"
            action = "alert"
            [[enforcement.rule]]
            score = [90, 100]
            action = "kill"
            [enforcement.allow]
            addresses = ["192.0.2.7", "2001:db8::/32"]
            subjects = [{ issuer = "https://id.example", subject = "robot" }, { subject = "x" }]
            issuers = ["https://test.example"]
            routes = ["/health", "GET /orders/{id}"]
            [[service]]
            port = 8080
            mode = "gate"
            dry_run = false
        "#;
        let config: Config = parse(text, Path::new("c.toml")).unwrap();
        let enforcement = &config.enforcement;
        assert_eq!((enforcement.mode, enforcement.fail), (Mode::Kill, FailMode::Closed));
        assert_eq!(enforcement.heartbeat().as_millis(), 500);
        assert_eq!(enforcement.hold().as_millis(), 1_000);
        assert_eq!(enforcement.body_bytes(), 0);
        assert_eq!(enforcement.deny_for().as_secs(), 60);
        assert!(enforcement.dry_run);
        assert_eq!(enforcement.deny, [DenyScope::Token, DenyScope::Subject, DenyScope::Address]);
        assert_eq!(config.services[0].get_ref().mode, Some(Mode::Gate));
        assert_eq!(config.services[0].get_ref().dry_run, Some(false));
        let policy = enforcement.resolve().policy;
        let action = |id, severity| {
            let finding = &Finding { severity, ..Finding::new(id, "") };
            policy.action(&Evidence { finding, of_credentials: true, vouched: None })
        };
        assert_eq!(action(FindingId::TokenExpired, Severity::Medium), Action::Kill);
        assert_eq!(action(FindingId::AlgNone, Severity::Critical), Action::Alert);
        assert_eq!(action(FindingId::SignatureInvalid, Severity::High), Action::Kill);
        let allowlist = enforcement.allow.resolve();
        assert!(allowlist.allows_address("2001:db8::9".parse().unwrap()));
        assert!(allowlist.allows_address("192.0.2.7".parse().unwrap()));
        assert!(!allowlist.allows_address("192.0.2.8".parse().unwrap()));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_the_nearest_known() {
        for (text, due) in [
            ("[enforcment]\n", "c.toml:1:2: unknown key `enforcment`, did you mean `enforcement`?"),
            (
                "[enforcement]\ndryrun = true",
                "c.toml:2:1: enforcement: unknown key `dryrun`, did you mean `dry_run`?",
            ),
            (
                "[enforcement]\nmode = \"kil\"",
                "c.toml:2:8: enforcement.mode: unknown value `kil`, expected one of `alert`, `kill`, `hold`, `gate`; \
                 did you mean `kill`?",
            ),
            (
                "[enforcement]\ndeny = [\"tokens\"]",
                "c.toml:2:9: enforcement.deny: unknown value `tokens`, expected one of `token`, `subject`, `address`; \
                 did you mean `token`?",
            ),
            (
                "[enforcement]\nheartbeat_ms = 1",
                "c.toml:2:16: enforcement.heartbeat_ms must be from 100 to 60000, not 1",
            ),
            (
                "[enforcement]\ndeny_seconds = 0",
                "c.toml:2:16: enforcement.deny_seconds must be from 1",
            ),
            (
                "[enforcement]\nbody_bytes = 32769",
                "c.toml:2:14: enforcement.body_bytes must be from 0",
            ),
            ("[enforcement]\nhold_ms = 0", "c.toml:2:11: enforcement.hold_ms must be from 100"),
            (
                "[[enforcement.rule]]\nfinding = \"signatur-invalid\"\naction = \"kill\"",
                "c.toml:2:11: enforcement.rule.finding: unknown finding `signatur-invalid`, did you mean `signature-invalid`?",
            ),
            (
                "[[enforcement.rule]]\nfinding = \"xyz\"\naction = \"kill\"",
                "c.toml:2:11: enforcement.rule.finding: unknown finding `xyz`",
            ),
            (
                "[[enforcement.rule]]\nfinding = \"alg-none\"",
                "c.toml:1:1: enforcement.rule: missing field `action`",
            ),
            (
                "[[enforcement.rule]]\naction = \"kill\"",
                "c.toml:1:1: enforcement.rule: a rule needs a finding, a severity or a score",
            ),
            (
                "[[enforcement.rule]]\nscore = [50, 20]\naction = \"kill\"",
                "c.toml:2:9: enforcement.rule.score must be [LOW, HIGH]",
            ),
            (
                "[[enforcement.rule]]\nscore = [50, 101]\naction = \"kill\"",
                "c.toml:2:9: enforcement.rule.score must be [LOW, HIGH]",
            ),
            (
                "[[enforcement.rule]]\nscore = [50, 60]\nseverity = \"low\"\naction = \"kill\"",
                "c.toml:2:9: enforcement.rule.score stands alone",
            ),
            (
                "[enforcement.allow]\naddresses = [\"192.0.2.0/33\"]",
                "c.toml:2:14: enforcement.allow.addresses: \"192.0.2.0/33\" is neither an address nor a network",
            ),
            (
                "[enforcement.allow]\nroutes = [\"health\"]",
                "c.toml:2:11: enforcement.allow.routes: \"health\": bad path template health",
            ),
            (
                "[enforcement.allow]\nsubjects = [{ issuer = \"x\" }]",
                "c.toml:2:13: enforcement.allow.subjects: missing field `subject`",
            ),
            (
                "[[service]]\nport = 1\nmode = \"gat\"",
                "c.toml:3:8: service.mode: unknown value `gat`, expected one of `alert`, `kill`, `hold`, `gate`; \
                 did you mean `gate`?",
            ),
        ] {
            let error = fails(text);
            assert!(error.starts_with(due), "{error}");
        }
    }
}
