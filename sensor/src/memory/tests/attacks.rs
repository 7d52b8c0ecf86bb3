//! Each class of attack, and its benign twin that differs only in what makes it an attack.

use std::{net::SocketAddr, sync::LazyLock};

use super::*;

pub(super) static SHOP: LazyLock<Vec<String>> = LazyLock::new(|| vec!["shop".to_owned()]);
pub(super) static BANK: LazyLock<Vec<String>> = LazyLock::new(|| vec!["bank".to_owned()]);

#[allow(clippy::large_enum_variant, reason = "a few dozen in a test")]
pub(super) enum Step {
    /// A use at a second, and the service's answer.
    Use(u64, Use<'static>, u16),
    Revoke(u64, Revocation<'static>),
    /// Many verified tokens of many subjects are accepted by a service.
    Teach(ServiceUse<'static>, &'static [&'static str]),
    /// Memory written and read back.
    Restart,
}

pub(super) fn service(
    name: &'static str,
    port: u16,
    audiences: &'static [String],
) -> ServiceUse<'static> {
    let server = SocketAddr::new([10, 0, 0, 1].into(), port);
    ServiceUse { server, cgroup: 7, name: Some(name), audiences }
}

/// A token of alice for the shop, used at home.
pub(super) fn token(name: &str) -> Use<'static> {
    Use {
        check: Check::Verified,
        issuer: Some("https://issuer.example"),
        subject: Some("alice"),
        audiences: &["shop"],
        expires: Some(START as i64 + 36_000),
        issued: Some(START as i64),
        key_id: Some("k1"),
        algorithm: Some("RS256"),
        user_agent: Some(11),
        asn: Some(64_500),
        ..Use::new(keys(name, name), [192, 0, 2, 1].into(), service("shop", 8080, &SHOP))
    }
}

pub(super) fn from(client: &str, used: Use<'static>) -> Use<'static> {
    Use { client: client.parse().unwrap(), ..used }
}

pub(super) fn unchecked(used: Use<'static>) -> Use<'static> {
    Use { check: Check::Unverifiable, ..used }
}

pub(super) fn ok(at: u64, used: Use<'static>) -> Step {
    Step::Use(at, used, 200)
}

/// The findings of all uses, and those of the last.
fn run(steps: Vec<Step>) -> (Vec<Finding>, Vec<Finding>) {
    let mut memory = Memory::new(SECRET, small());
    let (mut all, mut last) = (Vec::new(), Vec::new());
    for step in steps {
        match step {
            Step::Use(secs, used, status) => {
                let seen = memory.observe(at(secs), &used);
                all.extend(seen.findings.iter().cloned());
                last = seen.findings;
                memory.answered(at(secs), seen.handle, status);
            }
            Step::Revoke(secs, what) => memory.revoked(at(secs), &what),
            Step::Teach(service, audiences) => {
                for k in 0..40_u8 {
                    let subject = format!("teacher {}", k % 10);
                    let name = format!("lesson {k} {}", service.server);
                    let used = Use { subject: Some(&subject), audiences, service, ..token(&name) };
                    let seen = memory.observe(at(0), &used);
                    assert_eq!(seen.findings, []);
                    memory.answered(at(0), seen.handle, 200);
                }
            }
            Step::Restart => {
                let mut state = Vec::new();
                memory.snapshot(&mut state).unwrap();
                let (back, lost) = Memory::restore(SECRET, small(), &state).unwrap();
                assert_eq!(lost, Lost::default());
                memory = back;
            }
        }
    }
    (all, last)
}

pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) id: FindingId,
    pub(super) least: Severity,
    pub(super) attack: Vec<Step>,
    pub(super) twin: Vec<Step>,
}

#[test]
fn every_attack_is_found_and_no_twin() {
    let mut failures = Vec::new();
    for case in cases::cases() {
        let (_, found) = run(case.attack);
        if !found.iter().any(|f| f.id == case.id && f.severity >= case.least) {
            failures.push(format!("{}: not found, but {found:?}", case.name));
        }
        let (found, _) = run(case.twin);
        if found.iter().any(|f| f.severity > Severity::Info) {
            failures.push(format!("{}: the twin is found: {found:?}", case.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
