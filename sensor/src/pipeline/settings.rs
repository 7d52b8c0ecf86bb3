use std::{sync::Arc, time::Duration};

use super::Endpoints;
use crate::{
    config::{Config, IssuerConfig},
    features::SubjectLimits,
    finding::Severity,
    flow, http,
    memory::MemoryConfig,
    policy::Enforcement,
    score::Models,
    token::{FingerprintKey, JudgeConfig},
    weak::WeakSecrets,
};

/// What the front keeps to.
#[derive(Clone, Debug)]
pub(super) struct FrontLimits {
    pub(super) flow: flow::Limits,
    pub(super) http: http::Limits,
    pub(super) max_flows: usize,
    pub(super) max_held_bytes: usize,
    pub(super) idle: Duration,
}

/// What the pipeline needs of the configuration, resolved.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Reassembly.
    pub flow: flow::Limits,
    /// HTTP.
    pub http: http::Limits,
    /// Tokens.
    pub judge: JudgeConfig,
    /// What is remembered of tokens.
    pub memory: MemoryConfig,
    /// The secret under which it is remembered.
    pub memory_secret: [u8; 16],
    /// How many subjects are told apart by what is usual for them.
    pub subjects: SubjectLimits,
    /// The secret under which that is remembered.
    pub profile_secret: [u8; 16],
    /// Connections that are followed at once.
    pub max_flows: usize,
    /// Bytes that all connections together may hold.
    pub max_held_bytes: usize,
    /// A connection that is silent for so long is forgotten.
    pub idle: Duration,
    /// An alert waits so long for its answer.
    pub answer: Duration,
    /// An event waits so long for the name of its service; 0 where the source knows none.
    pub service_wait: Duration,
    /// Requests below raise no event.
    pub min_severity: Severity,
    /// Claims that events may show, in this order.
    pub claims: Vec<String>,
    /// Where tokens are revoked and sessions ended.
    pub endpoints: Endpoints,
    /// Whether keys are learned from key sets that are seen in clear.
    pub learn: bool,
    /// Issuers, and URLs where key sets of theirs are seen.
    pub learn_from: Vec<(String, String)>,
    /// Candidates for HMAC secrets, which the caller reads.
    pub weak_secrets: Option<Arc<WeakSecrets>>,
    /// What requests are scored with; `None` where they are not.
    pub models: Option<Models>,
    /// What is done about bad requests.
    pub enforcement: Arc<Enforcement>,
    /// Makes event ids of this sensor differ from those of others.
    pub id_salt: [u8; 16],
}

impl Settings {
    /// The settings that `config` asks for.
    #[must_use]
    pub fn new(config: &Config, fingerprint_key: FingerprintKey, id_salt: [u8; 16]) -> Self {
        Self {
            flow: flow::Limits {
                buffered: *config.limits.flow_bytes.get_ref(),
                ..flow::Limits::default()
            },
            http: http::Limits {
                request_body_budget: config.capture.request_body_budget as usize,
                document_bytes: match config.keys.learn {
                    true => http::Limits::default().document_bytes,
                    false => 0,
                },
                ..http::Limits::default()
            },
            memory: config.memory.resolve(),
            memory_secret: *fingerprint_key.fingerprint(b"jotwatch memory").as_bytes(),
            subjects: config.scoring.subject_limits(),
            profile_secret: *fingerprint_key.fingerprint(b"jotwatch profiles").as_bytes(),
            judge: JudgeConfig {
                extra_headers: config.tokens.headers.clone(),
                max_token_bytes: *config.tokens.max_bytes.get_ref(),
                cache_entries: config.tokens.cache_entries,
                fingerprint_key,
                hmac_samples: false,
            },
            max_flows: *config.limits.flows.get_ref(),
            max_held_bytes: config.limits.total_bytes,
            idle: config.limits.idle(),
            answer: config.limits.answer(),
            service_wait: Duration::ZERO,
            min_severity: config.events.min_severity,
            claims: config.tokens.claims.clone(),
            endpoints: Endpoints::new(&config.revocation),
            learn: config.keys.learn,
            learn_from: config.issuers.iter().flat_map(IssuerConfig::learn_from).collect(),
            weak_secrets: None,
            models: None,
            enforcement: Arc::new(config.enforcement.resolve()),
            id_salt,
        }
    }

    /// What of it the front keeps to.
    pub(super) fn front(&self) -> FrontLimits {
        FrontLimits {
            flow: self.flow,
            http: self.http,
            max_flows: self.max_flows,
            max_held_bytes: self.max_held_bytes,
            idle: self.idle,
        }
    }

    /// The same with models to score requests with.
    #[must_use]
    pub fn with_models(self, models: Option<Models>) -> Self {
        Self { models, ..self }
    }

    /// The same with a list of weak secrets to try.
    #[must_use]
    pub fn with_weak_secrets(mut self, list: Option<WeakSecrets>) -> Self {
        self.judge.hmac_samples = list.is_some();
        self.weak_secrets = list.map(Arc::new);
        self
    }
}
