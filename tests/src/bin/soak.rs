//! `soak kills N` and `soak minutes N`, for `cargo xtask soak`: one JSON object on standard output.

use std::{
    env, fs,
    io::{self, Write as _},
    process,
    time::Duration,
};

use anyhow::Result;
use jotwatch_tests::soak::{kills::kills, steady::steady};

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let report = match *words {
        ["kills", count] => {
            let mut seed = [0; 8];
            io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut seed)?;
            let seed = u64::from_le_bytes(seed);
            eprintln!("seed of the kills: {seed}");
            kills(count.parse()?, seed, |done| eprintln!("killed {done} times"))?.to_json()
        }
        ["minutes", count] => {
            let lasts = Duration::from_secs(count.parse::<u64>()?.max(1) * 60);
            let tell = |second, kib, lost: &_| {
                eprintln!("{second} s: {kib} KiB of its own, lost: {lost}");
            };
            steady(lasts, tell)?.to_json()
        }
        _ => {
            eprintln!("usage: soak kills N | soak minutes N");
            process::exit(2);
        }
    };
    writeln!(io::stdout(), "{report:#}")?;
    Ok(())
}
