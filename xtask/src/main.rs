//! Jotwatch's developer commands.
fn main() {}
