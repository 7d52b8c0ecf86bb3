//! Claims: their types, their presence, and the times between which the token holds.

use std::time::Duration;

use super::{IssuerPolicy, Policy, injection, policy::DEFAULT_LEEWAY};
use crate::{
    finding::{Finding, FindingId},
    json::{Kind, Value},
    show::show,
    time::Time,
    token::decode::Decoded,
};

/// Claims whose text is searched for injections; more are passed over.
const MAX_SEARCHED: usize = 64;

/// When a token holds, in seconds since the epoch; a NumericDate may have a fraction (RFC 7519,
/// section 2).
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    expires: Option<f64>,
    begins: Option<f64>,
    issued: Option<f64>,
    leeway: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { expires: None, begins: None, issued: None, leeway: DEFAULT_LEEWAY }
    }
}

impl Times {
    pub(super) fn check(&self, now: Time, findings: &mut Vec<Finding>) {
        let now = Duration::from_nanos(now.unix_nanos()).as_secs_f64();
        let leeway = self.leeway.as_secs_f64();
        let mut add = |id, what, seconds: f64| {
            let detail = format!("{what} {} ago", spoken(seconds));
            findings.push(Finding::new(id, detail));
        };
        // RFC 7519, section 4.1.4: not on or after exp.
        if let Some(expires) = self.expires
            && now >= expires + leeway
        {
            add(FindingId::TokenExpired, "exp passed", now - expires);
        }
        let mut future = |id, what, seconds: f64| {
            findings.push(Finding::new(id, format!("{what} is {} ahead", spoken(seconds))));
        };
        if let Some(begins) = self.begins
            && now + leeway < begins
        {
            future(FindingId::TokenNotYetValid, "nbf", begins - now);
        }
        if let Some(issued) = self.issued
            && now + leeway < issued
        {
            future(FindingId::TokenIssuedInFuture, "iat", issued - now);
        }
    }

    pub(super) fn ends(&self) -> Option<Time> {
        let ends = self.expires? + self.leeway.as_secs_f64();
        // Saturates; a token without an end in this era is kept until it is pushed out.
        Some(Time::from_unix_nanos((ends * 1e9) as u64))
    }
}

/// Seconds for people: `90 s`, `3 h`, `12 days`.
fn spoken(seconds: f64) -> String {
    match seconds {
        s if s < 600.0 => format!("{s:.0} s"),
        s if s < 36_000.0 => format!("{:.0} min", s / 60.0),
        s if s < 864_000.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

pub(super) fn check(
    claims: Value<'_>,
    decoded: &Decoded,
    issuer: &IssuerPolicy,
    policy: &Policy,
    findings: &mut Vec<Finding>,
) -> Times {
    let mut checker = Checker { named: Named::of(claims), claims, findings };
    checker.types();
    let times = Times {
        expires: number(checker.named.exp),
        begins: number(checker.named.nbf),
        issued: number(checker.named.iat),
        leeway: issuer.leeway,
    };
    for name in &issuer.required_claims {
        if claims.get(name).is_none() {
            checker.add(FindingId::ClaimMissing, format!("{name} is missing"));
        }
    }
    checker.issuer(policy);
    checker.audience(issuer);
    checker.lifetime(&times, issuer);
    checker.purpose(decoded);
    checker.injections();
    times
}

/// What is wrong with claims that somebody else has verified: only what needs no policy.
pub(super) fn check_vouched(claims: Value<'_>, findings: &mut Vec<Finding>) -> Times {
    let mut checker = Checker { named: Named::of(claims), claims, findings };
    checker.injections();
    Times {
        expires: number(checker.named.exp),
        begins: number(checker.named.nbf),
        issued: number(checker.named.iat),
        ..Times::default()
    }
}

/// The claims that are looked at one by one; of several of one name the last, as
/// [`Value::get`] has it.
#[derive(Default)]
struct Named<'c> {
    iss: Option<Value<'c>>,
    sub: Option<Value<'c>>,
    jti: Option<Value<'c>>,
    aud: Option<Value<'c>>,
    exp: Option<Value<'c>>,
    nbf: Option<Value<'c>>,
    iat: Option<Value<'c>>,
    typ: Option<Value<'c>>,
    token_use: Option<Value<'c>>,
    at_hash: bool,
    c_hash: bool,
    s_hash: bool,
}

impl<'c> Named<'c> {
    fn of(claims: Value<'c>) -> Self {
        let mut named = Self::default();
        for (name, value) in claims.members_by_bytes() {
            match &*name {
                b"iss" => named.iss = Some(value),
                b"sub" => named.sub = Some(value),
                b"jti" => named.jti = Some(value),
                b"aud" => named.aud = Some(value),
                b"exp" => named.exp = Some(value),
                b"nbf" => named.nbf = Some(value),
                b"iat" => named.iat = Some(value),
                b"typ" => named.typ = Some(value),
                b"token_use" => named.token_use = Some(value),
                b"at_hash" => named.at_hash = true,
                b"c_hash" => named.c_hash = true,
                b"s_hash" => named.s_hash = true,
                _ => {}
            }
        }
        named
    }
}

fn number(value: Option<Value<'_>>) -> Option<f64> {
    value?.as_f64().filter(|number| number.is_finite())
}

struct Checker<'c> {
    claims: Value<'c>,
    named: Named<'c>,
    findings: &'c mut Vec<Finding>,
}

impl Checker<'_> {
    fn add(&mut self, id: FindingId, detail: impl Into<std::borrow::Cow<'static, str>>) {
        self.findings.push(Finding::new(id, detail));
    }

    /// RFC 7519, section 4.1.
    fn types(&mut self) {
        let Named { iss, sub, jti, exp, nbf, iat, aud, .. } = self.named;
        for (name, value) in [("iss", iss), ("sub", sub), ("jti", jti)] {
            if value.is_some_and(|value| value.kind() != Kind::String) {
                self.add(FindingId::ClaimWrongType, format!("{name} is not a string"));
            }
        }
        for (name, value) in [("exp", exp), ("nbf", nbf), ("iat", iat)] {
            if value.is_some_and(|value| value.kind() != Kind::Number) {
                self.add(FindingId::ClaimWrongType, format!("{name} is not a number"));
            }
        }
        if let Some(audience) = aud {
            let good = match audience.kind() {
                Kind::String => true,
                Kind::Array => audience.elements().all(|one| one.kind() == Kind::String),
                _ => false,
            };
            if !good {
                self.add(FindingId::ClaimWrongType, "aud is not a string or a list of strings");
            }
        }
    }

    fn issuer(&mut self, policy: &Policy) {
        if !policy.known_issuers_only {
            return;
        }
        match self.named.iss.and_then(Value::as_str) {
            Some(iss) if policy.issuers.iter().any(|p| p.issuer.as_deref() == Some(&iss)) => {}
            Some(iss) => {
                let detail = format!("iss is {}", show(&iss));
                self.add(FindingId::IssuerUnknown, detail);
            }
            None => self.add(FindingId::IssuerUnknown, "iss is missing"),
        }
    }

    fn audience(&mut self, issuer: &IssuerPolicy) {
        if issuer.audiences.is_empty() {
            return;
        }
        let meant = |value: Value<'_>| {
            value.as_str().is_some_and(|one| issuer.audiences.iter().any(|allowed| *allowed == one))
        };
        match self.named.aud {
            None => self.add(FindingId::AudienceWrong, "aud is missing"),
            Some(audience) if meant(audience) || audience.elements().any(meant) => {}
            Some(audience) => {
                let first = audience.as_str().or_else(|| audience.elements().next()?.as_str());
                let named = first.map(|one| show(&one).into_owned()).unwrap_or_default();
                self.add(FindingId::AudienceWrong, format!("aud names {named}"));
            }
        }
    }

    fn lifetime(&mut self, times: &Times, issuer: &IssuerPolicy) {
        let (Some(longest), Some(expires)) = (issuer.max_lifetime, times.expires) else { return };
        let Some(begins) = times.issued.or(times.begins) else { return };
        if expires - begins > longest.as_secs_f64() {
            let detail = format!(
                "{} where {} is the longest",
                spoken(expires - begins),
                spoken(longest.as_secs_f64())
            );
            self.add(FindingId::TokenLifetimeTooLong, detail);
        }
    }

    /// OpenID Connect Core, sections 2 and 3.3.2.11: these claims stand in ID tokens. An ID token
    /// is for the client, not for an API (RFC 9068, section 4; RFC 8725, section 2.8).
    fn purpose(&mut self, decoded: &Decoded) {
        let says = |claim: Option<Value<'_>>, value: &str| {
            claim.and_then(Value::as_str).is_some_and(|text| text == value)
        };
        let named = &self.named;
        let detail = match () {
            // Keycloak and Cognito name the purpose.
            () if says(named.typ, "ID") => "typ is ID",
            () if says(named.token_use, "id") => "token_use is id",
            () if named.at_hash => "it has at_hash",
            () if named.c_hash => "it has c_hash",
            () if named.s_hash => "it has s_hash",
            () => return,
        };
        let typ = decoded.header().and_then(|h| h.get("typ")).and_then(Value::as_str);
        if typ.is_some_and(|typ| typ.to_ascii_lowercase().ends_with("at+jwt")) {
            return;
        }
        self.add(FindingId::IdTokenAsAccessToken, detail);
    }

    fn injections(&mut self) {
        // One look at all of them decides most often, and copies nothing.
        if !injection::may_be_attack(self.claims.raw()) {
            return;
        }
        let class = |value: Value<'_>| injection::in_claim(&value.as_str()?);
        let found = self.claims.member_names().take(MAX_SEARCHED).find_map(|(name, value)| {
            let class =
                class(value).or_else(|| value.elements().take(MAX_SEARCHED).find_map(class))?;
            Some((name.name(), class))
        });
        if let Some((name, class)) = found {
            let detail = format!("{} looks like {class}", show(&name));
            self.add(FindingId::ClaimInjection, detail);
        }
    }
}
