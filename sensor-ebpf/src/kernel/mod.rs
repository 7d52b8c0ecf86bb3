//! The programs. Only built for the BPF target.

mod copy;
mod egress;
mod emit;
mod ingress;
mod maps;
mod quick;
mod read;
mod run;
mod segment;
mod state;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// `bpf_ktime_get_ns`, `bpf_ringbuf_*` and `bpf_probe_read_kernel` are for GPL-compatible
/// programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
