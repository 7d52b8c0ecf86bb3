//! Behaviour: how a request compares with what its subject, its role, its route and this host are
//! used to.
//!
//! [`observation`] is what the stage is told of a request and of its answer, [`schema`] names the
//! features, [`vector`] holds them.
//!
//! Pure; time is an argument. What is not known is absent (NaN) and never zero.

pub mod observation;
pub mod schema;
pub mod vector;

pub use observation::{Answer, Client, GeoPoint, NetworkKinds, Request, Route, TokenUse};
pub use schema::{FEATURES, Feature, Group, Index, WIDTH, schema_hash};
pub use vector::Vector;
