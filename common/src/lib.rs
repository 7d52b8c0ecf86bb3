//! What crosses the boundary between the kernel programs and the daemon, and nothing else.
#![no_std]
#![forbid(unsafe_code)]
