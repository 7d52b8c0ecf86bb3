//! What the tests of several rooms share.

pub(crate) mod authority;
pub(crate) mod server;
