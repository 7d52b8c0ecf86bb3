//! The command line of Jotwatch.
fn main() {}
