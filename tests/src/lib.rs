//! Helpers shared by the end-to-end tests.
#![expect(clippy::expect_used, clippy::panic, reason = "a script that makes no sense shall fail")]

pub mod attacks;
pub mod binary;
pub mod burst;
pub mod capture;
pub mod cases;
pub mod day;
pub mod delivery;
pub mod judge;
pub mod lines;
pub mod load;
pub mod mmdb;
pub mod net;
pub mod processor;
pub mod receiver;
pub mod sensor;
pub mod services;
pub mod signer;
pub mod soak;
pub mod stand;
pub mod tokens;
pub mod usage;
pub mod wire;
pub mod work;
