//! What being watched costs downloads of a file of 1 GiB: of their bytes the sensor wants none.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{
    note,
    sensor::{Sensor, ran},
    stand::{BULK_BYTES, Stand, UNWATCHED, WATCHED, request},
    sys,
    table::{Table, float, median, spread, thousands},
    token::token,
};

/// The watched throughput should be this part of the bare one.
const TARGET_RATIO: f64 = 0.98;
/// What a client reads at a time.
const BUFFER: usize = 256 << 10;
/// How long a read may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The ways in which nginx sends it.
const WAYS: [(&str, &str); 2] = [("sendfile", "/bulk"), ("in chunks", "/chunked")];

/// Measures the part.
///
/// # Errors
/// If nginx or the sensor fails, or a download is not whole.
pub(super) fn run(stand: &Stand, program: &Path, quick: bool) -> Result<Table> {
    let (rounds, downloads) = if quick { (2, 1) } else { (11, 3) };
    let several = |addr, target| -> Result<f64> {
        let mut took = Duration::ZERO;
        for _ in 0..downloads {
            took += download(addr, target)?;
        }
        Ok(float(BULK_BYTES) * f64::from(downloads) / took.as_secs_f64())
    };
    // The file comes into the page cache.
    download(UNWATCHED, "/bulk")?;
    let mut bare: [Vec<f64>; 2] = Default::default();
    let (mut watched, mut beside) = (bare.clone(), bare.clone());
    for round in 1..=rounds {
        note(&format!("bulk, bare and watched, {round} of {rounds}"));
        for (bare, (_, target)) in bare.iter_mut().zip(WAYS) {
            bare.push(several(WATCHED, target)?);
        }
        let sensor = Sensor::start(program, stand)?;
        for (number, (_, target)) in WAYS.into_iter().enumerate() {
            watched[number].push(several(WATCHED, target)?);
            beside[number].push(several(UNWATCHED, target)?);
        }
        sensor.stop()?;
    }
    note("bulk, kernel programs and daemon");
    let measuring = sys::measure_bpf()?;
    let sensor = Sensor::start(program, stand)?;

    let mut table = Table::new(format!(
        "bulk: 1 GiB from nginx by one connection over loopback, on two CPUs; {rounds} rounds of {downloads} \
         in turn, medians"
    ));
    for (number, (way, target)) in WAYS.into_iter().enumerate() {
        let rate =
            |rates: &[f64]| format!("{} MB/s", thousands(median(rates.iter().copied()) / 1e6));
        let ratios = |rates: &[f64]| -> Vec<f64> {
            rates.iter().zip(&bare[number]).map(|(rate, bare)| rate / bare).collect()
        };
        table.figure(format!("{way}: bare"), rate(&bare[number]));
        table.figure("  watched", rate(&watched[number]));
        let of_bare = ratios(&watched[number]);
        table.judged(
            "  watched / bare, a round",
            spread(&of_bare),
            format!("≥ {TARGET_RATIO}"),
            median(of_bare) >= TARGET_RATIO,
        );
        table.figure("  a port that is not watched / bare", spread(&ratios(&beside[number])));
        // Much steadier than throughput: what the sensor itself takes of such a download.
        for (title, addr) in [("watched", WATCHED), ("not watched", UNWATCHED)] {
            let (programs, cpu) = (sensor.programs()?, sensor.cpu()?);
            let took = download(addr, target)?;
            let runs = ran(&programs, &sensor.programs()?, "cgroup_skb");
            let cpu = sensor.cpu()?.saturating_sub(cpu);
            let share = |part: f64| format!("{:.2} %", part / took.as_secs_f64() * 100.0);
            table.figure(
                format!("  kernel programs, {title}: a run, runs, of the time"),
                format!(
                    "{:.0} ns, {}, {}",
                    float(runs.nanoseconds) / float(runs.count.max(1)),
                    thousands(float(runs.count)),
                    share(float(runs.nanoseconds) / 1e9)
                ),
            );
            table.figure("    daemon, of the time", share(cpu.as_secs_f64()));
        }
    }
    sensor.stop()?;
    drop(measuring);
    Ok(table)
}

/// Downloads the file with a token and passes over its bytes.
fn download(addr: SocketAddr, target: &str) -> Result<Duration> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let began = Instant::now();
    let head = request(addr, target, &token(0), "Connection: close\r\n");
    stream.write_all(head.as_bytes())?;
    let mut buffer = vec![0; BUFFER];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            read => bytes += read as u64,
        }
    }
    // Beside the file its head, and the sizes of chunks.
    let around = BULK_BYTES..BULK_BYTES + BULK_BYTES / 100;
    ensure!(around.contains(&bytes), "{bytes} bytes came of {target}");
    Ok(began.elapsed())
}
