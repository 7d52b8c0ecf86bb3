//! However a sender cuts its bytes into segments, what is made of them is the same.
// The helpers stand outside of the test functions, where clippy does not see that they are tests.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't run shall fail")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use jotwatch::{
    capture::{Input, Segment, file::CaptureFile},
    config::{self, Config},
    fingerprint_key,
    pipeline::{Pipeline, Settings},
};
use jotwatch_tests::lines::Lines;

/// Here the segments' borders decide which bytes the service keeps (`tcp_data_queue_ofo`), so other
/// borders are another request.
const BORDERS_MATTER: [&str; 2] = ["overlap-server-kept-first", "overlap-server-kept-second"];

/// Days of requests that are alike: what cuts do to one they do to all of them.
const DAYS: [&str; 2] = ["impossible-travel", "benign-travel-through-vpn"];

/// A case's segments, owned.
struct Case {
    name: String,
    config: Config,
    segments: Vec<(Segment<'static>, Vec<u8>)>,
}

fn cases() -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut dirs: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    dirs.sort();
    let cases = dirs.iter().map(|dir| read(dir));
    let left_out = [BORDERS_MATTER, DAYS].concat();
    cases.filter(|case| !left_out.contains(&case.name.as_str())).collect()
}

fn read(dir: &Path) -> Case {
    let config = dir.join("config.toml");
    let config = if config.exists() { config::load(&config).unwrap() } else { Config::default() };
    let input = ["input.pcap", "input.pcapng"].map(|name| dir.join(name));
    let input = input.iter().find(|path| path.exists()).unwrap();
    let mut file = CaptureFile::open(input, &config.capture.ports).unwrap();
    let mut segments = Vec::new();
    while let Ok(Some(input)) = file.next() {
        let Input::Segment(segment) = input else { panic!("a file holds segments") };
        segments.push((Segment { payload: &[], ..segment }, segment.payload.to_vec()));
    }
    Case { name: dir.file_name().unwrap().to_string_lossy().into_owned(), config, segments }
}

/// Runs a case, each segment cut before the offsets that `cuts` gives for its length, ascending.
fn run(case: &Case, cuts: impl Fn(usize) -> Vec<usize>) -> Lines {
    let mut settings =
        Settings::new(&case.config, fingerprint_key::REPLAY, fingerprint_key::REPLAY_SALT);
    // A new memory for each of many thousand runs.
    settings.memory.tokens = 1_000;
    settings.memory.subjects = 1_000;
    settings.memory.proofs = 1_000;
    settings.memory.revocations = 1_000;
    let (mut pipeline, mut out) = (Pipeline::new(settings), Lines::default());
    for (segment, payload) in &case.segments {
        let mut ends = cuts(payload.len());
        ends.push(payload.len());
        let mut start = 0;
        for (k, &end) in ends.iter().enumerate() {
            let last = k + 1 == ends.len();
            let mut piece = *segment;
            piece.payload = &payload[start..end];
            piece.seq = segment.seq.wrapping_add(start as u32);
            // A piece behind the first stands behind the SYN's own number too.
            if start > 0 && segment.flags.syn {
                piece.seq = piece.seq.wrapping_add(1);
            }
            piece.len = if last { segment.len - start as u32 } else { (end - start) as u32 };
            piece.flags.syn &= k == 0;
            piece.flags.fin &= last;
            piece.flags.rst &= last;
            pipeline.push(&Input::Segment(piece), &mut out);
            start = end;
        }
    }
    pipeline.finish(&mut out);
    out
}

fn assert_same(case: &Case, whole: &Lines, cut: &Lines, how: &str) {
    let show = |lines: &Lines| String::from_utf8_lossy(&lines.0).into_owned();
    assert!(whole == cut, "{}, {how}:\n{}\nwhole:\n{}", case.name, show(cut), show(whole));
}

/// The longest cuts that are tried at every byte; behind, the step grows with the offset.
const EVERY_BYTE: usize = 320;

/// The end of a head decides: of segments longer than that, cuts are counted from there too.
const FROM_END: usize = 24;

#[test]
fn every_case_cut_at_every_byte_gives_the_same() {
    for case in cases() {
        let whole = run(&case, |_| Vec::new());
        let longest = case.segments.iter().map(|(_, payload)| payload.len()).max().unwrap_or(0);
        let mut at = 1;
        while at < longest {
            let cut = run(&case, |len| if at < len { vec![at] } else { Vec::new() });
            assert_same(&case, &whole, &cut, &format!("cut at byte {at}"));
            if at <= FROM_END {
                let cut = run(&case, |len| if at < len { vec![len - at] } else { Vec::new() });
                assert_same(&case, &whole, &cut, &format!("cut {at} bytes before the end"));
            }
            at += 1 + at.saturating_sub(EVERY_BYTE) / 2;
        }
    }
}

#[test]
fn every_case_in_single_bytes_gives_the_same() {
    for case in cases() {
        let whole = run(&case, |_| Vec::new());
        let bytes = run(&case, |len| (1..len).collect());
        assert_same(&case, &whole, &bytes, "in single bytes");
    }
}
