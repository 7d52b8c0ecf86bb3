//! From requests to judged tokens.
#![forbid(unsafe_code)]
