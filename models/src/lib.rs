//! Features, trained artifacts and inference of Jotwatch's scorer.
//!
//! Pure: bytes in, scores out. No I/O, no clock, no `unsafe`; nothing here panics on input.

#![forbid(unsafe_code)]

mod artifact;
pub mod behaviour;
mod numbers;
pub mod payload;
#[cfg(feature = "train")]
pub mod train;
