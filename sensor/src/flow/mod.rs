//! From segments to ordered bytes.
#![forbid(unsafe_code)]
