//! Judging a request that the kernel holds, before the service has taken it: its head, and of its
//! body what the kernel has read where that may hold a token.
//!
//! It is judged by itself: its tokens against keys, policy and denylist, and how it is written.
//! Nothing is remembered of it, as the kernel may hold one head several times; what takes memory
//! (replay, relay, tampering) is found when the service has taken the request, as in any mode.

use std::time::Duration;

use super::{
    Pipeline,
    enforcement::{evidence_of, note_denied},
};
use crate::{
    capture::FlowKey,
    enforce::Cut,
    http::{self, BodyFraming},
    policy::{Context, Mode, Verdict},
    time::Time,
    token::TokenReport,
};

/// Credentials that were found good pass without being asked for again for this long, and no
/// longer than their tokens last. Keys, policy and denylist may change in between: the daemon
/// then takes all of them back at once.
const GOOD_FOR: Duration = Duration::from_secs(300);

/// The verdict on one head holds for this long: the client's TCP sends its segment again for up to
/// a quarter of an hour, but those of the first seconds count.
const VERDICT_FOR: Duration = Duration::from_secs(60);

/// What is to become of a held head.
#[derive(Clone, Debug)]
pub struct HeadVerdict {
    /// It passes.
    pub pass: bool,
    /// For how long that is so.
    pub until: Time,
    /// Other requests with the same credentials pass, too, for so long.
    pub credentials_until: Option<Time>,
    /// How its body is framed; `None` where that could be read in two ways, or is of no interest.
    pub body: Option<BodyFraming>,
    /// The connection that is to be cut.
    pub cut: Option<Cut>,
}

impl Pipeline {
    /// Judges a head of `flow`, with its empty line and what follows of its body.
    pub fn judge_head(
        &mut self,
        now: Time,
        flow: &FlowKey,
        cookie: u64,
        head: &[u8],
    ) -> HeadVerdict {
        let shared = &mut self.back.shared;
        let enforcement = &shared.settings.enforcement;
        let service = shared.services.of(flow);
        let mode = service.and_then(|service| service.mode).unwrap_or(enforcement.mode);
        let dry_run = service.and_then(|s| s.dry_run).unwrap_or(enforcement.dry_run);
        let mut verdict = HeadVerdict {
            pass: true,
            until: now + VERDICT_FOR,
            credentials_until: None,
            body: None,
            cut: None,
        };
        if matches!(mode, Mode::Alert) {
            return verdict;
        }
        let kills = match http::read_request(head, now, &shared.settings.http) {
            // Whoever reads it as a request reads it otherwise than we do, or may find another one
            // behind it.
            Err(_) | Ok((_, None)) => true,
            Ok((mut request, Some(framing))) => {
                verdict.body = Some(framing);
                let mut report: TokenReport = shared.judge.judge(&request);
                let peer = flow.client.ip();
                let client = shared.clients.of(peer, &request);
                let denied = &shared.lists.denied;
                note_denied(denied, now, [peer, client], &mut request, &mut report.tokens);
                let context = Context {
                    peer,
                    client,
                    method: request.method(),
                    target: request.target(),
                    score: None,
                    suspected: false,
                };
                let decision = enforcement.policy.decide(
                    shared.lists.allowed.in_force(),
                    &context,
                    shared.settings.min_severity,
                    evidence_of(&request, &report),
                );
                match decision.verdict {
                    Verdict::Allow | Verdict::Alert => {
                        let ends = report.tokens.iter().filter_map(|token| {
                            let ends = token.decoded.as_ref()?.facts().expires?;
                            Some(Time::from_unix_secs(u64::try_from(ends).unwrap_or(0)))
                        });
                        let until = ends.chain([now + GOOD_FOR]).min();
                        verdict.credentials_until = until.filter(|until| *until > now);
                        false
                    }
                    // By address or route: others do not gain by it.
                    Verdict::Spared { .. } => false,
                    Verdict::Kill { .. } => true,
                }
            }
        };
        if kills {
            verdict.pass = false;
            if !dry_run {
                let service = self.back.service(self.front.find(flow, cookie));
                let pid = service.and_then(|service| service.pid);
                verdict.cut = Some(Cut { flow: *flow, cookie, pid, denied: Vec::new() });
            }
        }
        verdict
    }
}
