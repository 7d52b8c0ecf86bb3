//! HTTP over TLS as a client: whom it trusts, and that it goes nowhere by itself.
#![forbid(unsafe_code)]

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use ureq::{
    Agent,
    config::ConfigBuilder,
    tls::{Certificate, ClientCert, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem},
    typestate::AgentScope,
};

/// The largest file of certificates.
pub(crate) const MAX_CERTIFICATES_BYTES: usize = 4 << 20;
/// The largest head of an answer.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// The certificates that the system trusts.
pub(crate) fn system_roots() -> Vec<Certificate<'static>> {
    let native = rustls_native_certs::load_native_certs();
    native.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
}

/// The certificates of a PEM file; `None` where it holds none or is no PEM.
pub(crate) fn certificates(pem: &[u8]) -> Option<Vec<Certificate<'static>>> {
    let mut found = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item.ok()? {
            found.push(certificate);
        }
    }
    (!found.is_empty()).then_some(found)
}

/// An agent that trusts these and no others, and shows this certificate where it is asked for one.
/// Statuses are answers, and redirects are not followed.
pub(crate) fn agent(
    roots: Vec<Certificate<'static>>,
    client: Option<ClientCert>,
) -> ConfigBuilder<AgentScope> {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .client_cert(client)
        .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .max_redirects(0)
        .http_status_as_error(false)
        // A proxy from the environment would see what is sent, and could move where things come from.
        .proxy(None)
        .user_agent(concat!("jotwatch/", env!("CARGO_PKG_VERSION")))
        .max_response_header_size(MAX_HEAD_BYTES)
}
