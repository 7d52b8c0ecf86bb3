//! Jotwatch watches bearer tokens on a Linux host.
//!
//! Data flows one way, and every stage is a value in, a value out:
//!
//! ```text
//! capture -> flow -> http -> token -> features -> score -> policy -> sinks
//! ```
//!
//! [`pipeline`] composes the stages; I/O stands at the edges ([`capture`], [`sinks`], [`cli`]).

pub mod base64url;
pub mod capture;
pub mod cli;
pub mod clients;
pub mod config;
pub mod confine;
pub mod control;
pub mod credential;
pub mod daemon;
pub mod endpoint;
pub mod enforce;
pub mod event;
pub mod features;
pub mod feedback;
pub mod feeds;
pub mod finding;
pub mod fingerprint_key;
pub mod flow;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod histogram;
pub mod history;
pub mod http;
mod https;
pub mod journal;
pub mod json;
pub mod keyring;
pub mod keys;
pub mod learn;
mod log_file;
pub mod memory;
pub mod metrics;
pub mod networks;
pub mod pipeline;
pub mod policy;
pub mod redact;
pub mod replay;
pub mod rest;
pub mod revocation;
pub mod score;
pub mod services;
pub mod show;
pub mod sinks;
#[cfg(test)]
mod testing;
pub mod time;
pub mod token;
pub mod train;
pub mod trust;
mod unread;
pub mod weak;
mod whole_file;
