//! A test server: HTTP/1.1 over sockets that are driven by io_uring alone.
//!
//! `uring-http ADDRESS` accepts, receives and sends with io_uring operations on one thread;
//! after `listen` it makes no socket system call. It answers each request head with the same
//! 200 and expects no content.

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::{AsRawFd as _, RawFd},
};

use anyhow::{Context as _, Result, ensure};
use io_uring::{IoUring, opcode, squeue, types::Fd};

const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n";
/// Operations in flight; each connection has one, and accepting has one.
const RING: u32 = 4096;
/// Connections at once; accepting stops there until one closes.
const MAX_CONNECTIONS: usize = 4000;
const RECEIVE: usize = 16 * 1024;
/// Bytes of an unfinished request head; a longer one closes the connection.
const MAX_HEAD: usize = 256 * 1024;
/// The `user_data` of an accept; a connection's is its slot.
const ACCEPT: u64 = u64::MAX;

/// What a connection's one operation in flight does.
#[derive(Clone, Copy)]
enum State {
    Receiving,
    /// So many bytes of `output` have gone out.
    Sending(usize),
}

struct Connection {
    fd: RawFd,
    state: State,
    /// Where the kernel writes: boxed, so that it stays where it is.
    receive: Box<[u8; RECEIVE]>,
    /// What has come of a request head that is not complete.
    head: Vec<u8>,
    output: Vec<u8>,
}

fn main() -> Result<()> {
    let addr: SocketAddr = std::env::args().nth(1).context("usage: uring-http ADDRESS")?.parse()?;
    let listener = TcpListener::bind(addr)?;
    let mut ring = IoUring::new(RING)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut accepting = false;
    loop {
        let open = connections.len() - free.len();
        if !accepting && open < MAX_CONNECTIONS {
            let accept = opcode::Accept::new(
                Fd(listener.as_raw_fd()),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            );
            push(&mut ring, &accept.flags(libc::SOCK_CLOEXEC).build().user_data(ACCEPT))?;
            accepting = true;
        }
        ring.submit_and_wait(1)?;
        let done: Vec<(u64, i32)> =
            ring.completion().map(|entry| (entry.user_data(), entry.result())).collect();
        for (tag, result) in done {
            if tag == ACCEPT {
                accepting = false;
                ensure!(result >= 0, "accept: {}", std::io::Error::from_raw_os_error(-result));
                let slot = free.pop().unwrap_or_else(|| {
                    connections.push(None);
                    connections.len() - 1
                });
                let connection = Connection {
                    fd: result,
                    state: State::Receiving,
                    receive: Box::new([0; RECEIVE]),
                    head: Vec::new(),
                    output: Vec::new(),
                };
                let connection = connections[slot].insert(connection);
                push(&mut ring, &next(connection, slot))?;
                continue;
            }
            let slot = usize::try_from(tag)?;
            let Some(connection) = &mut connections[slot] else { continue };
            if advance(connection, result) {
                push(&mut ring, &next(connection, slot))?;
            } else {
                // No operation of this connection is in flight: its only one has completed.
                // SAFETY: the descriptor came from accept, and is closed once, here.
                unsafe { libc::close(connection.fd) };
                connections[slot] = None;
                free.push(slot);
            }
        }
    }
}

/// Takes the result of a connection's operation; false when the connection is over.
fn advance(connection: &mut Connection, result: i32) -> bool {
    let Ok(count @ 1..) = usize::try_from(result) else { return false };
    match connection.state {
        State::Receiving => {
            connection.head.extend_from_slice(&connection.receive[..count]);
            let mut rest = 0;
            while let Some(end) = connection.head[rest..].windows(4).position(|w| w == b"\r\n\r\n")
            {
                rest += end + 4;
                connection.output.extend_from_slice(RESPONSE);
            }
            connection.head.drain(..rest);
            if !connection.output.is_empty() {
                connection.state = State::Sending(0);
            }
            connection.head.len() <= MAX_HEAD
        }
        State::Sending(sent) => {
            if sent + count < connection.output.len() {
                connection.state = State::Sending(sent + count);
            } else {
                connection.output.clear();
                connection.state = State::Receiving;
            }
            true
        }
    }
}

/// The operation that a connection's state asks for.
fn next(connection: &mut Connection, slot: usize) -> squeue::Entry {
    let fd = Fd(connection.fd);
    let entry = match connection.state {
        State::Receiving => {
            let buffer = &mut connection.receive;
            opcode::Recv::new(fd, buffer.as_mut_ptr(), RECEIVE as u32).build()
        }
        State::Sending(sent) => {
            let rest = &connection.output[sent..];
            let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            opcode::Send::new(fd, rest.as_ptr(), length).flags(libc::MSG_NOSIGNAL).build()
        }
    };
    entry.user_data(slot as u64)
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) -> Result<()> {
    // SAFETY: an entry's buffer belongs to its connection, which is neither moved out of its
    // heap allocation nor changed nor dropped before the operation has completed; an accept
    // has no buffer.
    unsafe { ring.submission().push(entry) }.context("more operations than the ring holds")
}
