//! The kernel programs of enforcement: `guard_ingress` and `guard_egress`, two cgroup_skb
//! programs that are attached beside those of capture where a service's mode asks for more than
//! alerts.
//!
//! What they need of the kernel beyond capture: `bpf_loop` (5.17) and atomic exchange (5.12; on
//! arm64 5.18).
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
#[path = "kernel/guard/mod.rs"]
mod guard;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
