//! The programs of enforcement. Only built for the BPF target.

mod egress;
mod ingress;
mod known;
mod maps;
mod messages;
#[path = "../read.rs"]
mod read;
mod scratch;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
