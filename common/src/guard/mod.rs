//! What enforcement shares: the reader of heads and its keyed hashes, and the tables of the guard
//! programs.

pub mod known;
pub mod scan;
pub mod sip;
mod swar;
pub mod tables;
