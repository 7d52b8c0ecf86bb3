//! Behaviour: how a request compares with what its subject, its role, its route and this host are
//! used to.
//!
//! [`observation`] is what the stage is told of a request and of its answer, [`schema`] names the
//! features, [`vector`] holds them, [`route`] makes routes of paths, and [`profile`] remembers what
//! is usual. [`forest`] is inference over trees, and [`model`] makes a probability with reasons of
//! what three forests say.
//!
//! Pure; time is an argument. What is not known is absent (NaN) and never zero.

pub mod forest;
mod gate;
mod lately;
pub mod model;
pub mod observation;
pub mod profile;
pub mod route;
pub mod schema;
pub mod vector;

pub use gate::Gate;
pub use lately::Routes;
pub use model::{Answers, BehaviourModel, BehaviourScore, Reason};
pub use observation::{Answer, Client, GeoPoint, NetworkKinds, Request, Route, TokenUse};
pub use profile::{Counts, Handle, Limits, LoadError, Profiles, Saving, Seal};
pub use route::Templates;
pub use schema::{FEATURES, Feature, Group, Index, WIDTH, schema_hash};
pub use vector::Vector;
