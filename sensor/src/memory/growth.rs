//! Escalation: a subject's token held against its earlier ones.

use super::{
    judge::{class_of, found},
    *,
};

impl Memory {
    /// Privileges that the earlier tokens of the subject, whose hash is `key`, had not.
    pub(super) fn judge_growth(
        &mut self,
        now: Second,
        used: &Use<'_>,
        key: u128,
        token: &mut Token,
        findings: &mut Vec<Finding>,
        pending: &mut Option<Box<Pending>>,
    ) {
        let of = |kind, names| std::iter::repeat(kind).zip(names);
        let named = of(Privilege::Scope, used.scopes.iter())
            .chain(of(Privilege::Role, used.roles.iter()))
            .chain(of(Privilege::Group, used.groups.iter()))
            .map(|(kind, &name)| (kind, name))
            .chain(used.tenant.map(|tenant| (Privilege::Tenant, tenant)));
        let mut privileges: SmallVec<[(Privilege, &str, u32); 16]> = SmallVec::new();
        for (kind, name) in named {
            if privileges.len() == MAX_PRIVILEGES - 2 {
                self.over_limit += 1;
                return;
            }
            privileges.push((kind, name, subjects::name(&self.names, kind, name)));
        }
        // Tokens are compared with earlier ones for the same purpose and audience: an ID token
        // has no scopes, and each API has its own.
        let mut like: SmallVec<[&[u8]; 8]> = SmallVec::new();
        like.push(if used.purpose == Purpose::Identity { b"id" } else { b"at" });
        like.extend(used.audiences.iter().take(MAX_AUDIENCES).map(|a| a.as_bytes()));
        let like = self.names.short(Is::Audience, &like) as u32;
        let any_tenant = used.tenant.map_or(0, |_| self.names.short(Is::Tenant, &[]) as u32);
        let all = || {
            let tenant = used.tenant.map(|_| any_tenant);
            privileges.iter().map(|&(.., hash)| hash).chain([like]).chain(tenant)
        };
        let window = self.times.window;

        let Some(slot) = self.subjects.find(key) else {
            if used.check != Check::Bad {
                let mut entry = Subject { key, ..Subject::default() };
                entry.end = now.saturating_add(window);
                entry.verified = used.check == Check::Verified;
                all().for_each(|hash| entry.hold(hash, now, window));
                self.subjects.insert(now, entry, class_of(used.check), &mut |_, _| {});
            }
            return;
        };
        let Some(known) = self.subjects.get(slot) else { return };
        let mut grown = false;
        let mut worst: [Option<(Severity, Privilege, &str)>; 3] = [None; 3];
        if !known.overflowed {
            for &(kind, name, hash) in &privileges {
                let baseline = if kind == Privilege::Tenant { any_tenant } else { like };
                if known.holds(hash, now, window) || !known.holds(baseline, now, window) {
                    continue;
                }
                grown = true;
                let admin = kind != Privilege::Tenant && is_admin_like(name);
                let severity = growth_severity(kind, used.check, admin);
                let [scope, role, tenant] = &mut worst;
                let place = match kind {
                    Privilege::Scope => scope,
                    Privilege::Role | Privilege::Group => role,
                    Privilege::Tenant => tenant,
                };
                if place.is_none_or(|(s, ..)| s < severity) {
                    *place = Some((severity, kind, name));
                }
            }
        }
        let kept = [
            (Kept::Scope, FindingId::ScopeEscalated),
            (Kept::Role, FindingId::RoleEscalated),
            (Kept::Tenant, FindingId::TenantChanged),
        ];
        for (worst, (kept, id)) in worst.into_iter().zip(kept) {
            let Some((severity, kind, name)) = worst else { continue };
            token.keep(kept, Some(severity));
            let shown: String = name.chars().take(SHOWN).collect();
            findings.push(found(id, severity, format!("new {} {shown:?}", kind.noun())));
        }
        match used.check {
            Check::Verified => {
                let hashes: SmallVec<[u32; 16]> = all().collect();
                self.hold(now, key, &hashes, true);
            }
            Check::Unverifiable if grown => {
                // What the service accepts was granted after all.
                let pending = pending.get_or_insert_default();
                pending.subject_key = key;
                pending.privileges = all().collect();
            }
            Check::Unverifiable => {
                let hashes: SmallVec<[u32; 16]> = all().collect();
                self.hold(now, key, &hashes, false);
            }
            Check::Bad => {}
        }
    }

    /// Adds privileges to what a subject's tokens had. Once there was a verified token, others
    /// teach nothing.
    pub(super) fn hold(&mut self, now: Second, key: u128, hashes: &[u32], verified: bool) {
        let window = self.times.window;
        let Some(slot) = self.subjects.find(key) else { return };
        let Some(known) = self.subjects.get_mut(slot) else { return };
        if known.verified && !verified {
            return;
        }
        known.verified |= verified;
        known.end = now.saturating_add(window);
        hashes.iter().for_each(|&hash| known.hold(hash, now, window));
        self.subjects.mark(slot);
        if verified {
            self.subjects.promote(slot);
        }
    }
}
