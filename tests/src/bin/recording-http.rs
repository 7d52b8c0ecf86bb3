//! A service that answers every whole request with 200 and `ok`, and writes each that it has read
//! whole, with its body, to a file, one a line: what reached the service, as the service sees it.
//!
//! `recording-http FILE ADDRESS...`

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or(io::ErrorKind::InvalidInput)?;
    let listeners = args
        .map(|address| {
            let listener = TcpListener::bind(address)?;
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            Ok(thread::spawn(move || accept(&listener, &file)))
        })
        .collect::<io::Result<Vec<_>>>()?;
    for listener in listeners {
        let _ = listener.join();
    }
    Ok(())
}

fn accept(listener: &TcpListener, file: &File) {
    for stream in listener.incoming() {
        let (Ok(stream), Ok(file)) = (stream, file.try_clone()) else { continue };
        thread::spawn(move || serve(stream, file));
    }
}

fn serve(mut stream: TcpStream, mut file: File) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut bytes, mut chunk) = (Vec::new(), [0; 65_536]);
    loop {
        let n = stream.read(&mut chunk)?;
        if n == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(chunk.get(..n).unwrap_or_default());
        loop {
            while bytes.starts_with(b"\r\n") {
                bytes.drain(..2);
            }
            let Some(end) = whole_request(&bytes) else { break };
            let request = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
            let line = format!("{:?}\n", request.trim_end());
            bytes.drain(..end);
            file.write_all(line.as_bytes())?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
    }
}

/// Where the first request ends, once it is there with its body.
fn whole_request(bytes: &[u8]) -> Option<usize> {
    let find = |from: usize, what: &[u8]| {
        let rest = bytes.get(from..)?;
        Some(from + rest.windows(what.len()).position(|w| w == what)? + what.len())
    };
    let end = find(0, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(bytes.get(..end)?).to_ascii_lowercase();
    if head.contains("\r\ntransfer-encoding:") {
        let mut at = end;
        loop {
            let line = find(at, b"\r\n")?;
            let size = String::from_utf8_lossy(bytes.get(at..line)?).into_owned();
            let size = size.split([';', '\r']).next().unwrap_or_default();
            let size = usize::from_str_radix(size, 16).ok()?;
            if size == 0 {
                // The trailer ends with an empty line; its first line may be that.
                return find(line - 2, b"\r\n\r\n");
            }
            at = line + size + 2;
        }
    }
    let length = |line: &str| line.strip_prefix("content-length:")?.trim().parse().ok();
    let end = end + head.lines().find_map(length).unwrap_or(0);
    (bytes.len() >= end).then_some(end)
}
