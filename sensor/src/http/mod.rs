//! From ordered bytes to HTTP/1 exchanges.
#![forbid(unsafe_code)]

mod message;

pub use message::{Body, Header, HttpEvent, Request, Response};
