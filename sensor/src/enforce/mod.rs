//! Carrying verdicts out: what is denied and allowed, and how a connection is cut.
//!
//! The policy decides ([`crate::policy`]), this module acts. What is denied is kept in user space,
//! with reason and source; the [`tables`] are its image where segments are looked up.

pub mod denylist;
pub mod entry;
pub mod file_list;
pub mod tables;
