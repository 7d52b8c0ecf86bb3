//! Jotwatch's kernel programs: three hooks over shared parts.
//!
//! - [`kernel::ingress`], [`kernel::egress`]: cgroup_skb programs that see every TCP segment of
//!   every socket in a cgroup (attached by link: Linux 5.7).
//! - [`kernel::state`]: raw tracepoint `inet_sock_set_state` (4.17), for closed connections.
//!
//! What they need of the kernel: ring buffer (5.8), `bpf_sk_fullsock` and `bpf_tcp_sock` (5.1),
//! `bpf_skb_cgroup_id` and `bpf_get_socket_cookie` in cgroup_skb (4.18 / 5.x), bounded loops
//! (5.3), writable globals (5.2), `bpf_probe_read_kernel` (5.5). No kfunc, no `bpf_loop`, no
//! atomics that return a value: Linux 5.10 is enough.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod kernel;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
