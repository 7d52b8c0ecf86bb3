//! Kernel programs of Jotwatch.
