//! The sensor over and over, and for long: killed at any moment, and left to itself under load. For
//! the live tests in short, for `cargo xtask soak` at length.

mod books;
pub mod kills;
pub mod steady;
