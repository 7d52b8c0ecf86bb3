//! Use after logout and revocation (RFC 7009; OpenID Connect Back-Channel Logout 1.0).

use super::{Case, World};

pub(super) fn cases(_: &World, _out: &mut Vec<Case>) {}
