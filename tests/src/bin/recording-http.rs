//! A service that answers every whole request with 200 and `ok`, and writes each head that it has
//! read whole to a file, one a line: what reached the service, as the service sees it.
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
        while let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned();
            let length = head
                .lines()
                .find_map(|l| {
                    l.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
                })
                .unwrap_or(0);
            if bytes.len() < end + 4 + length {
                break;
            }
            bytes.drain(..end + 4 + length);
            file.write_all(format!("{head:?}\n").as_bytes())?;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
    }
}
