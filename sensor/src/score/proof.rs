use crate::{
    finding::{Finding, FindingId, Severity},
    memory::PROVES_FORGERY,
};

/// Findings that prove an attack at the severity given or above, beside [`PROVES_FORGERY`].
pub const PROVEN: &[(FindingId, Severity)] = &[
    (FindingId::TokenRelayed, Severity::High),
    (FindingId::ProofReplayed, Severity::High),
    (FindingId::BypassConfirmed, Severity::Critical),
    (FindingId::TokenDenylisted, Severity::High),
    (FindingId::SubjectDenylisted, Severity::High),
    (FindingId::AddressDenylisted, Severity::High),
];

/// Whether a finding proves an attack, or somebody has said that it is one: what needs no model.
#[must_use]
pub fn is_proven(finding: &Finding) -> bool {
    let fits = |&(id, least): &(FindingId, Severity)| finding.id == id && finding.severity >= least;
    PROVES_FORGERY.iter().chain(PROVEN).any(fits)
}
