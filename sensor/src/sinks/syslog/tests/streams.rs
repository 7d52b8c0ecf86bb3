//! Receivers on TCP and on local sockets: what is confirmed, and what comes again.

use std::{
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use super::super::super::{
    SyslogConfig,
    tests::{DEADLINE, local, numbered, only, parse, start, wait},
};

/// Takes frames of octet counting (RFC 6587, section 3.4.1) from the front.
pub(super) fn frames(bytes: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Some(space) = bytes.iter().position(|&b| b == b' ') {
        let len = std::str::from_utf8(&bytes[..space]).unwrap();
        assert!(!len.starts_with('0') && len.bytes().all(|b| b.is_ascii_digit()), "{len}");
        let len = len.parse::<usize>().unwrap();
        if bytes.len() < space + 1 + len {
            break;
        }
        frames.push(bytes[space + 1..space + 1 + len].to_vec());
        bytes.drain(..space + 1 + len);
    }
    frames
}

fn exchange(message: &[u8]) -> u64 {
    parse(message).event()["exchange"].as_u64().unwrap()
}

/// What the receivers of a test have read, by number.
type Got = Arc<Mutex<Vec<u64>>>;

/// Accepts connections one by one and reads each to its end.
fn read_all(listener: TcpListener, got: Got, connections: Arc<AtomicUsize>) {
    thread::spawn(move || {
        for socket in listener.incoming() {
            connections.fetch_add(1, SeqCst);
            let mut socket = socket.unwrap();
            let (mut bytes, mut some) = (Vec::new(), [0; 4096]);
            loop {
                let len = socket.read(&mut some).unwrap();
                if len == 0 {
                    break;
                }
                bytes.extend_from_slice(&some[..len]);
                let read = frames(&mut bytes);
                got.lock().unwrap().extend(read.iter().map(|frame| exchange(frame)));
            }
            assert!(bytes.is_empty(), "torn: {bytes:?}");
        }
    });
}

fn tcp(address: SocketAddr) -> SyslogConfig {
    SyslogConfig {
        address: format!("tcp://{address}").try_into().unwrap(),
        ..SyslogConfig::default()
    }
}

#[test]
fn what_a_tcp_receiver_has_read_is_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = only(tcp(listener.local_addr().unwrap()));
    let (got, connections) = (Got::default(), Arc::<AtomicUsize>::default());
    read_all(listener, Arc::clone(&got), Arc::clone(&connections));
    let (sinks, warnings) = start(&config, dir.path());
    assert_eq!(warnings, Vec::<String>::new());
    for number in 0..1500 {
        sinks.send(numbered(number));
    }
    // The last of them by time, as their window is not full.
    let status = wait(&sinks, |status| status.delivered == 1500);
    assert_eq!((status.errors, status.failing), (0, false));
    assert_eq!(*got.lock().unwrap(), (0..1500).collect::<Vec<_>>());
    assert!(connections.load(SeqCst) >= 4, "{connections:?}");
    let status = sinks.shutdown(DEADLINE).remove(0);
    assert_eq!((status.delivered, status.queued, status.errors), (1500, 0, 0));
}

#[test]
fn a_sink_that_a_reload_changes_sends_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = tcp(listener.local_addr().unwrap());
    let got = Got::default();
    read_all(listener, Arc::clone(&got), Arc::default());
    let (mut sinks, _) = start(&only(config.clone()), dir.path());
    let until = |count: u64| {
        let start = Instant::now();
        while (got.lock().unwrap().len() as u64) < count {
            assert!(start.elapsed() < DEADLINE);
            thread::sleep(Duration::from_millis(1));
        }
    };
    let mut sent = 0;
    // Two in a row, too: one that has not begun yet gives way to the next.
    for (round, reloads) in [1, 2, 3].into_iter().enumerate() {
        for number in sent..sent + 300 {
            sinks.send(numbered(number));
        }
        sent += 300;
        // Read, and not confirmed: the window is not full.
        until(sent);
        for reload in 0..reloads {
            let app_name = format!("sensor{round}-{reload}");
            let changed = only(SyslogConfig { app_name, ..config.clone() });
            let (prepared, _) = sinks.prepare(&changed).unwrap();
            let start = Instant::now();
            sinks.apply(prepared).unwrap();
            assert!(start.elapsed() < Duration::from_secs(1), "it waited for the receiver");
        }
    }
    sinks.send(numbered(sent));
    // By the one that ends, where that is slow to see that it is to.
    until(sent + 1);
    wait(&sinks, |status| status.queued == 0);
    assert_eq!(*got.lock().unwrap(), (0..=sent).collect::<Vec<_>>());
    drop(sinks.shutdown(DEADLINE));
}

#[test]
fn what_was_not_confirmed_comes_again_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sinks, _) = start(&only(tcp(address)), dir.path());
    for number in 0..300 {
        sinks.send(numbered(number));
    }
    // One that reads some of it and dies, one that reads all and closes by itself: neither confirms.
    for all in [false, true] {
        let mut socket = listener.accept().unwrap().0;
        let (mut bytes, mut some, mut read) = (Vec::new(), [0; 1000], 0);
        while read < if all { 300 } else { 3 } {
            let len = socket.read(&mut some).unwrap();
            assert!(len > 0);
            bytes.extend_from_slice(&some[..len]);
            for frame in frames(&mut bytes) {
                assert_eq!(exchange(&frame), read);
                read += 1;
            }
        }
        assert_eq!(sinks.status()[0].delivered, 0);
    }
    wait(&sinks, |status| status.errors >= 2);
    let got = Got::default();
    read_all(listener, Arc::clone(&got), Arc::default());
    wait(&sinks, |status| status.delivered == 300 && !status.failing);
    assert_eq!(*got.lock().unwrap(), (0..300).collect::<Vec<_>>());
    drop(sinks.shutdown(DEADLINE));
}

#[test]
fn a_receiver_that_closes_its_end_and_is_gone_confirms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sinks, _) = start(&only(tcp(address)), dir.path());
    sinks.send(numbered(0));
    // As one that is killed between reading and writing: the listening socket goes with it.
    let mut socket: TcpStream = listener.accept().unwrap().0;
    drop(listener);
    socket.read_to_end(&mut Vec::new()).unwrap();
    drop(socket);
    let status = wait(&sinks, |status| status.failing);
    assert_eq!((status.delivered, status.queued), (0, 1));
    let listener = TcpListener::bind(address).unwrap();
    let got = Got::default();
    read_all(listener, Arc::clone(&got), Arc::default());
    wait(&sinks, |status| status.delivered == 1);
    assert_eq!(*got.lock().unwrap(), [0]);
    drop(sinks.shutdown(DEADLINE));
}

#[test]
fn without_confirmation_what_was_written_is_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = SyslogConfig { confirm: false, ..tcp(listener.local_addr().unwrap()) };
    let (sinks, _) = start(&only(config), dir.path());
    sinks.send(numbered(0));
    let _held = listener.accept().unwrap();
    wait(&sinks, |status| status.delivered == 1);
    let start = Instant::now();
    drop(sinks.shutdown(DEADLINE));
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[test]
fn an_idle_connection_that_was_closed_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (sinks, _) = start(&only(tcp(listener.local_addr().unwrap())), dir.path());
    sinks.send(numbered(0));
    let mut first = listener.accept().unwrap().0;
    first.read_to_end(&mut Vec::new()).unwrap();
    drop(first);
    // The connection behind the confirmation, which the receiver gives up while nothing is sent.
    drop(listener.accept().unwrap());
    wait(&sinks, |status| status.delivered == 1);
    sinks.send(numbered(1));
    let mut third = listener.accept().unwrap().0;
    let mut bytes = Vec::new();
    third.read_to_end(&mut bytes).unwrap();
    assert_eq!(frames(&mut bytes).iter().map(|f| exchange(f)).collect::<Vec<_>>(), [1]);
    drop(third);
    let _last = listener.accept().unwrap();
    let status = wait(&sinks, |status| status.delivered == 2);
    assert_eq!(status.errors, 0);
}

#[test]
fn a_local_stream_gets_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let listener = UnixListener::bind(&path).unwrap();
    let (sinks, _) = start(&only(local(&path)), dir.path());
    // The first connection is that which looks whether it is there.
    let mut socket = listener.accept().unwrap().0;
    for number in 0..3 {
        sinks.send(numbered(number));
    }
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    drop(socket);
    let text = String::from_utf8(bytes).unwrap();
    let got = text.lines().map(|line| exchange(line.as_bytes())).collect::<Vec<_>>();
    assert_eq!(got, [0, 1, 2]);
    wait(&sinks, |status| status.delivered == 3);
}

#[test]
fn what_a_local_receiver_left_unread_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let first = super::super::super::tests::receiver(&path);
    let (sinks, _) = start(&only(local(&path)), dir.path());
    for number in 0..5 {
        sinks.send(numbered(number));
    }
    let mut buffer = vec![0; 1 << 16];
    for number in 0..2 {
        let len = first.recv(&mut buffer).unwrap();
        assert_eq!(exchange(&buffer[..len]), number);
    }
    // Killed, and started anew before anything asks: what was in the kernel's queue is gone.
    drop(first);
    std::fs::remove_file(&path).unwrap();
    let second = super::super::super::tests::receiver(&path);
    for number in 0..5 {
        let len = second.recv(&mut buffer).unwrap();
        assert_eq!(exchange(&buffer[..len]), number);
    }
    let status = wait(&sinks, |status| status.delivered == 5);
    assert_eq!(status.errors, 1);
}

#[test]
fn a_receiver_that_takes_all_and_confirms_nothing_is_not_flooded() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (sinks, _) = start(&only(tcp(listener.local_addr().unwrap())), dir.path());
    let stop = Arc::<AtomicBool>::default();
    let connections = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            let mut count = 0;
            while !stop.load(SeqCst) {
                // With what it has sent unread, the connection ends with a reset.
                drop(listener.accept().unwrap());
                count += 1;
            }
            count
        })
    };
    let start = Instant::now();
    for number in 0..600 {
        sinks.send(numbered(number));
    }
    thread::sleep(Duration::from_secs(2));
    stop.store(true, SeqCst);
    let status = sinks.shutdown(Duration::ZERO).remove(0);
    assert_eq!(status.delivered, 0);
    // 50, 100, 200, 400, 800, 1600 ms: few attempts in that time.
    assert!(status.errors <= 8, "{} in {:?}", status.errors, start.elapsed());
    drop(connections);
}
