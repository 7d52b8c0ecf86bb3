//! Kernel programs of Jotwatch: the part that needs no kernel.
//!
//! [`packet`] reads IP and TCP headers, [`scan`] finds the end and the framing of a message head,
//! [`flow`] decides which bytes of a segment are copied ([`plain`] in short), [`track`] which of them enforcement reads
//! before they pass. The programs in `main.rs` join them to
//! the hooks. All of it is written for the verifier: no panics, no recursion, bounded loops.
#![no_std]
#![deny(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod flow;
pub mod packet;
pub mod plain;
pub mod scan;
pub mod track;
