//! How a use is held against what is remembered.

use super::*;

/// The service of a use, in the table.
#[derive(Clone, Copy)]
pub(super) struct ServiceAt {
    pub(super) slot: u32,
    pub(super) id: u32,
}

/// What the services that a token was used at say of a use.
pub(super) struct Relay {
    pub(super) finding: Option<Finding>,
    /// A service on this host shows a token that it was just shown itself.
    pub(super) forwarded: bool,
}

/// Who says that a token is over.
#[derive(Clone, Copy)]
pub(super) enum RevokedBy {
    Wire,
    List,
}

pub(super) fn found(
    id: FindingId,
    severity: Severity,
    detail: impl Into<Cow<'static, str>>,
) -> Finding {
    Finding { severity, ..Finding::new(id, detail) }
}

impl Memory {
    /// The service's entry, made where it is new.
    pub(super) fn service(&mut self, now: Second, service: &ServiceUse<'_>) -> ServiceAt {
        let address = Address::of(service.server.ip());
        if !self.hosts.contains(&address) {
            if self.hosts.len() == MAX_HOSTS {
                self.hosts.remove(0);
            }
            self.hosts.push(address);
        }
        // Not by address: one socket answers on many.
        let key = match service.name {
            Some(name) => self.names.hash(Is::Service, &[name.as_bytes()]),
            None => self.service_key(service.cgroup, service.server.port()),
        };
        let end = now.saturating_add(self.times.window);
        if let Some(slot) = self.services.find(key)
            && let Some(known) = self.services.get_mut(slot)
        {
            known.end = end;
            return ServiceAt { slot, id: known.id };
        }
        let id = self.next_service;
        self.next_service = (id + 1) & !Mark::FLAGS;
        let entry = Service { key, id, end, ..Service::default() };
        let slot = self.services.insert(now, entry, Class::Proven, &mut |_, _| {});
        ServiceAt { slot, id }
    }

    /// What stands for a service without a name. A host has few; the last ones' hashes are kept.
    fn service_key(&mut self, cgroup: u64, port: u16) -> u128 {
        let of = ServicePort { cgroup, port };
        let at = usize::from(port) % self.service_keys.len();
        if let Some(&Some((known, key))) = self.service_keys.get(at)
            && known == of
        {
            return key;
        }
        let key = self.names.hash(Is::Service, &[&cgroup.to_le_bytes(), &port.to_le_bytes()]);
        if let Some(place) = self.service_keys.get_mut(at) {
            *place = Some((of, key));
        }
        key
    }

    /// A single-use token: true where it is new.
    pub(super) fn prove(
        &mut self,
        now: Second,
        used: &Use<'_>,
        findings: &mut Vec<Finding>,
    ) -> bool {
        let fingerprint = used.token.fingerprint.to_le_bytes();
        let (kind, name): (&[u8], &[u8]) = match (used.id, used.nonce) {
            (Some(id), _) => (b"jti", id.as_bytes()),
            (None, Some(nonce)) => (b"nonce", nonce.as_bytes()),
            (None, None) => (b"token", &fingerprint),
        };
        let issuer = used.issuer.unwrap_or_default().as_bytes();
        let key = self.names.hash(Is::Proof, &[kind, issuer, name]);
        let exp = used.expires.map_or(0, |exp| self.clock.of_wall(exp));
        let end = exp
            .saturating_add(self.times.leeway)
            .min(now.saturating_add(self.times.max_age))
            .max(now.saturating_add(self.times.proof_window));
        if let Some(slot) = self.proofs.find(key)
            && let Some(proof) = self.proofs.get_mut(slot)
        {
            if proof.end >= now {
                findings.push(Finding::new(
                    FindingId::ProofReplayed,
                    match kind {
                        b"jti" => "its jti was used before",
                        b"nonce" => "its nonce was used before",
                        _ => "the same token was used before",
                    },
                ));
                return false;
            }
            proof.end = end;
            self.proofs.mark(slot);
        } else if used.check != Check::Bad {
            // What nobody signed must not use up a name before its owner does.
            let class = class_of(used.check);
            self.proofs.insert(now, Proof { key, end }, class, &mut |_, _| {});
        }
        true
    }

    /// Adds a token and says what is wrong with it besides its use.
    pub(super) fn first_use(
        &mut self,
        now: Second,
        used: &Use<'_>,
        findings: &mut Vec<Finding>,
        pending: &mut Option<Box<Pending>>,
    ) -> u32 {
        let keys = &used.token;
        let identity = keys.identity();
        let issuer = used.issuer.unwrap_or_default().as_bytes();
        let name = |is, name: Option<&str>| {
            name.map_or(0, |name| self.names.short(is, &[issuer, name.as_bytes()]))
        };
        let subject =
            used.subject.map(|subject| self.names.hash(Is::Subject, &[issuer, subject.as_bytes()]));
        let mut token = Token {
            identity: [(identity >> 64) as u64, identity as u64],
            signature: if keys.is_signed() { (keys.signature as u64).max(1) } else { 0 },
            signing_input: keys.signing_input as u64,
            jti: name(Is::Jti, used.id),
            subject: subject.map_or(0, short),
            session: name(Is::Session, used.session),
            first: now,
            last: now,
            checked: self.revocations.wrapping_sub(1),
            ..Token::default()
        };
        token.end = end_of(&token, used.expires, &self.clock, &self.times);
        token.set_purpose(used.purpose);
        if used.check == Check::Verified {
            token.flags |= Token::VERIFIED;
        }
        self.judge_signature(used, &mut token, findings);
        self.judge_jti(used, &mut token, findings);
        self.judge_family(now, used, &mut token, findings);
        if let Some(subject) = subject {
            self.judge_growth(now, used, subject, &mut token, findings, pending);
        }
        self.tokens.insert(now, token, class_of(used.check))
    }

    /// One signature under two signing inputs: one of the two was tampered with.
    fn judge_signature(&mut self, used: &Use<'_>, token: &mut Token, findings: &mut Vec<Finding>) {
        let Some(slot) = self.tokens.with_signature(token.signature) else { return };
        let Some(other) = self.tokens.table.get_mut(slot) else { return };
        if other.signing_input == token.signing_input {
            return;
        }
        if used.check == Check::Verified {
            other.keep(Kept::Tampered, Some(Severity::Critical));
            self.tokens.table.mark(slot);
            findings.push(found(
                FindingId::TokenTampered,
                Severity::Medium,
                "this token is the real one, a tampered copy of it was used before",
            ));
            return;
        }
        token.keep(Kept::Tampered, Some(Severity::Critical));
        findings.push(Finding::new(
            FindingId::TokenTampered,
            if other.has(Token::VERIFIED) {
                "its signature is that of another token, which verified"
            } else {
                "its signature was seen before under another header or payload"
            },
        ));
    }

    /// Two tokens with one (iss, jti) (RFC 7519, section 4.1.7).
    fn judge_jti(&mut self, used: &Use<'_>, token: &mut Token, findings: &mut Vec<Finding>) {
        let Some(slot) = self.tokens.with_jti(token.jti, used.purpose) else { return };
        let Some(other) = self.tokens.table.get_mut(slot) else { return };
        let severity = match (token.has(Token::VERIFIED), other.has(Token::VERIFIED)) {
            // The issuer gives them out so: its fault, no attack.
            (true, true) => Severity::Info,
            (false, true) => Severity::High,
            (true, false) => {
                other.keep(Kept::JtiReused, Some(Severity::High));
                self.tokens.table.mark(slot);
                Severity::Info
            }
            (false, false) => Severity::Medium,
        };
        token.keep(Kept::JtiReused, Some(severity));
        findings.push(found(
            FindingId::JtiReused,
            severity,
            "another token had the same iss and jti",
        ));
    }

    /// The algorithm family of an (iss, kid) is what its key is (RFC 8725, section 3.1).
    fn judge_family(
        &mut self,
        now: Second,
        used: &Use<'_>,
        token: &mut Token,
        findings: &mut Vec<Finding>,
    ) {
        let (Some(issuer), Some(algorithm)) = (used.issuer, used.algorithm) else { return };
        let family = Family::of(algorithm);
        let verified = used.check == Check::Verified;
        let kid = used.key_id.map_or(&[][..], str::as_bytes);
        let has_kid = [u8::from(used.key_id.is_some())];
        let key = self.names.hash(Is::Kid, &[issuer.as_bytes(), &has_kid, kid]);
        let end = now.saturating_add(self.times.window);
        let Some(slot) = self.families.find(key) else {
            if used.check != Check::Bad {
                let mut entry = KeyFamilies { key, end, ..KeyFamilies::default() };
                entry.learn(family, verified);
                self.families.insert(now, entry, class_of(used.check), &mut |_, _| {});
            }
            return;
        };
        let Some(known) = self.families.get_mut(slot) else { return };
        let change = known.is_change(family);
        if verified || (!change && used.check != Check::Bad) {
            known.learn(family, verified);
            known.end = end;
            self.families.mark(slot);
            if verified {
                self.families.promote(slot);
            }
        }
        if change {
            let severity = match (verified, used.key_id) {
                // The issuer has two keys under one id.
                (true, Some(_)) => Severity::Low,
                // Without an id there may be any number of keys.
                (true, None) => Severity::Info,
                (false, None) => Severity::Medium,
                (false, Some(_)) => Severity::High,
            };
            token.keep(Kept::Family, Some(severity));
            findings.push(found(
                FindingId::AlgFamilyChanged,
                severity,
                format!("this key id has signed with another family, now it is {}", family.noun()),
            ));
        }
    }

    /// Whether the token belongs to the service, and if not, whether it belongs to another.
    pub(super) fn judge_service(
        &mut self,
        now: Second,
        slot: u32,
        used: &Use<'_>,
        at: ServiceAt,
        pending: &mut Option<Box<Pending>>,
    ) -> Relay {
        let mut relay = Relay { finding: None, forwarded: false };
        let Some(token) = self.tokens.table.get_mut(slot) else { return relay };
        let others = || token.marks.iter().filter(|m| m.service != 0 && m.id() != at.id);
        let recently = others().any(|m| now.saturating_sub(m.last) <= self.times.grace);
        let elsewhere = others().any(|m| m.has(Mark::BELONGS));
        let before = token.marks.iter().find(|m| m.id() == at.id).copied().unwrap_or_default();

        if recently && !token.clients.0.is_empty() {
            let address = Address::of(used.client);
            let local = used.client_on_host
                || used.client.to_canonical().is_loopback()
                || self.hosts.contains(&address);
            relay.forwarded = local && token.clients.0.iter().all(|c| c.address != address);
        }

        let audiences = used.audiences.get(..MAX_AUDIENCES).unwrap_or(used.audiences);
        if audiences.len() < used.audiences.len() {
            self.over_limit += 1;
        }
        let learning = used.service.audiences.is_empty();
        let wants = learning && used.check == Check::Verified && !before.has(Mark::ACCEPTED);
        let mature = self.services.get(at.slot).filter(|s| {
            learning && s.is_mature(self.config.learn_tokens, self.config.learn_subjects)
        });
        let mut hashes: SmallVec<[u64; 4]> = SmallVec::new();
        if wants || (mature.is_some() && !before.has(Mark::BELONGS)) {
            let hash = |a: &&str| self.names.short(Is::Audience, &[a.as_bytes()]);
            hashes.extend(audiences.iter().map(hash));
        }
        let covers = if audiences.is_empty() {
            None
        } else if before.has(Mark::BELONGS) {
            Some(true)
        } else if !learning {
            Some(audiences.iter().any(|a| used.service.audiences.iter().any(|own| own == a)))
        } else {
            mature.map(|s| hashes.iter().any(|&a| s.subjects_of(a) >= 2))
        };
        if covers == Some(false) && elsewhere {
            let (severity, detail) = match (learning, relay.forwarded) {
                (false, _) => {
                    (Severity::High, "its audience is another service's, where it was used")
                }
                (true, false) => (
                    Severity::High,
                    "its audience is none that this service is known to take, and it was used where it belongs",
                ),
                (true, true) => (
                    Severity::Medium,
                    "a service on this host passes it on to one that is not known to take its audience",
                ),
            };
            relay.finding = Some(found(FindingId::TokenRelayed, severity, detail));
        } else if wants && !hashes.is_empty() {
            let pending = pending.get_or_insert_default();
            pending.audiences = hashes;
            pending.subject =
                if token.subject == 0 { token.identity[0] } else { token.subject } as u32;
        }
        if let Some(mark) = token.mark(at.id) {
            mark.last = now;
            if covers == Some(true) {
                mark.service |= Mark::BELONGS;
            }
        }
        relay
    }

    /// Whether the token is over.
    pub(super) fn judge_end(
        &mut self,
        now: Second,
        slot: u32,
        used: &Use<'_>,
    ) -> Option<RevokedBy> {
        let token = self.tokens.table.get_mut(slot)?;
        if self.listed_fingerprints {
            let key = fingerprint_key(used.token.fingerprint);
            if self.listed.contains(&key) {
                return Some(RevokedBy::List);
            }
        }
        if token.checked != self.revocations {
            let mut settled = true;
            let flags = token.flags & (Token::REVOKED | Token::LISTED);
            token.flags &= !(Token::REVOKED | Token::LISTED);
            if flags & Token::REVOKED != 0 {
                // What was revoked stays so, also when the revocation is forgotten.
                token.flags |= Token::REVOKED;
            }
            let any = used.id.map_or(0, |id| self.names.short(Is::ListedJti, &[id.as_bytes()]));
            let keys = [
                (EndOf::Jti, token.jti),
                (EndOf::AnyJti, any),
                (EndOf::Session, token.session),
                (EndOf::Subject, token.subject),
            ];
            let keys = keys
                .into_iter()
                .filter(|&(_, hash)| hash != 0)
                .map(|(of, hash)| (Some(of), end_key(of, hash)))
                .chain([(None, token.key())]);
            for (of, key) in keys {
                if self.listed.contains(&key) {
                    token.flags |= Token::LISTED;
                }
                let Some(ended) = self.ended.find(key).and_then(|s| self.ended.get(s)) else {
                    continue;
                };
                let leeway = i64::from(self.times.leeway);
                let later = matches!(of, Some(EndOf::Subject))
                    && token.first > ended.since
                    && used.issued.is_none_or(|at| at.saturating_add(leeway) > ended.wall);
                if later {
                    continue;
                }
                if now.saturating_sub(ended.since) > self.times.revocation_grace {
                    token.flags |= Token::REVOKED;
                } else {
                    // Under way when it was revoked; ask again.
                    settled = false;
                }
            }
            if settled {
                token.checked = self.revocations;
            }
        }
        if token.has(Token::LISTED) {
            Some(RevokedBy::List)
        } else if token.has(Token::REVOKED) {
            Some(RevokedBy::Wire)
        } else {
            None
        }
    }

    /// The key of something that ended.
    pub(super) fn end_key(&self, what: &Revocation<'_>) -> u128 {
        let short = |is, issuer: &str, name: &str| {
            self.names.short(is, &[issuer.as_bytes(), name.as_bytes()])
        };
        match *what {
            Revocation::Token(keys) => keys.identity(),
            Revocation::Fingerprint(fingerprint) => fingerprint_key(fingerprint),
            Revocation::Id { issuer: Some(issuer), id } => {
                end_key(EndOf::Jti, short(Is::Jti, issuer, id))
            }
            Revocation::Id { issuer: None, id } => {
                end_key(EndOf::AnyJti, self.names.short(Is::ListedJti, &[id.as_bytes()]))
            }
            Revocation::Session { issuer, session } => {
                end_key(EndOf::Session, short(Is::Session, issuer, session))
            }
            Revocation::Subject { issuer, subject } => {
                end_key(EndOf::Subject, short(Is::Subject, issuer, subject))
            }
        }
    }
}

/// Apart from a token's identity, which is the fingerprint of a token without a signature.
fn fingerprint_key(fingerprint: u128) -> u128 {
    fingerprint.rotate_left(1) ^ EndOf::Fingerprint as u128
}

pub(super) fn class_of(check: Check) -> Class {
    if check == Check::Verified { Class::Proven } else { Class::Unproven }
}

/// When a token may be forgotten: at its `exp` with the leeway, unused for `max_age` before it.
pub(super) fn end_of(token: &Token, exp: Option<i64>, clock: &Clock, times: &Times) -> Second {
    let expires = exp.map_or(Second::MAX, |exp| clock.of_wall(exp).saturating_add(times.leeway));
    expires
        .max(token.last.saturating_add(times.leeway))
        .min(token.last.saturating_add(times.max_age))
}

/// The findings that a token keeps, for a further use of it. Those that are no more than worth
/// knowing were said once.
pub(super) fn repeat_kept(token: &Token, findings: &mut Vec<Finding>) {
    for kept in Kept::ALL {
        let Some(severity) = token.kept(kept).filter(|&s| s >= Severity::Medium) else { continue };
        let (id, detail) = match kept {
            Kept::Tampered => (FindingId::TokenTampered, "its signature is that of another token"),
            Kept::JtiReused => (FindingId::JtiReused, "another token had the same iss and jti"),
            Kept::Family => {
                (FindingId::AlgFamilyChanged, "this key id has signed with another family")
            }
            Kept::Scope => (FindingId::ScopeEscalated, "it has scopes that earlier ones had not"),
            Kept::Role => {
                (FindingId::RoleEscalated, "it has roles or groups that earlier ones had not")
            }
            Kept::Tenant => {
                (FindingId::TenantChanged, "it names a tenant that earlier ones did not")
            }
        };
        findings.push(found(id, severity, detail));
    }
}

pub(super) fn revoked_finding(by: RevokedBy, own_address: bool) -> Finding {
    let (severity, detail) = match (by, own_address) {
        (RevokedBy::List, _) => (Severity::High, "the config lists it as revoked"),
        (RevokedBy::Wire, false) => (Severity::High, "revoked, and used from another address"),
        // A page that was left open goes on asking.
        (RevokedBy::Wire, true) => (Severity::Medium, "revoked, and used from its own address"),
    };
    found(FindingId::TokenUsedAfterRevocation, severity, detail)
}

/// Address, network and user agent of a use. Says whether the token's entry changed.
pub(super) fn judge_client(
    now: Second,
    token: &mut Token,
    used: &Use<'_>,
    grace: Second,
    room: usize,
    findings: &mut Vec<Finding>,
) -> bool {
    let agent = used.user_agent.map_or(0, |ua| ((ua ^ ua >> 32) as u32).max(1));
    let [own, ..] = token.agents;
    let sighting = Sighting {
        now,
        last: token.last,
        address: Address::of(used.client),
        asn: used.asn.unwrap_or(0),
        own_agent: agent != 0 && agent == own,
    };
    let step = token.clients.seen(sighting, grace, room);
    let other_agent = agent != 0 && own != 0 && agent != own;
    let mut changed = !matches!(step, Move::Fine { changed: false });
    let mut moved = false;
    if let Move::Returned { from } | Move::Appeared { from } | Move::Late { from } = step {
        let late = matches!(step, Move::Late { .. });
        moved = !late;
        let severity = if late {
            Severity::Info
        } else if other_agent && elsewhere(&from, sighting.address, sighting.asn) {
            Severity::High
        } else {
            Severity::Medium
        };
        let how = match step {
            Move::Returned { .. } => "returned to",
            Move::Late { .. } => "moved late to",
            _ => "appeared at",
        };
        let pause = now.saturating_sub(token.last);
        findings.push(found(
            FindingId::TokenReplayedAddress,
            severity,
            format!("{how} {} {pause} s after a use, last from {}", sighting.address, from.address),
        ));
        if networks_differ(from.asn, sighting.asn) {
            findings.push(found(
                FindingId::TokenReplayedNetwork,
                severity,
                format!("AS{} instead of AS{}", sighting.asn, from.asn),
            ));
        }
    }
    if agent != 0 && !token.agents.contains(&agent) {
        if let Some(free) = token.agents.iter_mut().find(|a| **a == 0) {
            *free = agent;
            changed = true;
        }
        if own != 0 {
            let severity = if moved { Severity::High } else { Severity::Medium };
            findings.push(found(
                FindingId::TokenReplayedUserAgent,
                severity,
                "a user agent that the token was not used with before",
            ));
        }
    }
    changed
}
