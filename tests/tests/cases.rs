//! Runs `jotwatch replay` on every capture case and compares what it prints, byte for byte.
//!
//! `JOTWATCH_BLESS=1` writes the expected files instead.
#![expect(clippy::expect_used, reason = "a test that can't run shall fail")]

use std::{
    collections::BTreeSet,
    env, fs,
    path::Path,
    process::{Command, Output},
};

use jotwatch_tests::{binary, cases};

fn replay(folder: &Path, config: bool, exchanges: bool, threads: usize) -> Output {
    let mut command = Command::new(binary::jotwatch());
    // From inside the folder, so that errors name the same path on every machine.
    command.current_dir(folder).args(["replay", "input.pcap"]).env_remove("RUST_LOG");
    if threads > 1 {
        command.args(["--threads", &threads.to_string()]);
    }
    if config {
        command.args(["--config", "config.toml"]);
    }
    if exchanges {
        command.arg("--exchanges");
    }
    command.output().expect("jotwatch runs")
}

/// Compares with a file, or writes it. An absent file stands for nothing, if `optional`.
fn hold(path: &Path, got: &[u8], optional: bool, wrong: &mut Vec<String>) {
    if env::var_os("JOTWATCH_BLESS").is_some() {
        if got.is_empty() && optional {
            let _ = fs::remove_file(path);
        } else {
            fs::write(path, got).expect("the expected file can be written");
        }
        return;
    }
    let expected = match fs::read(path) {
        Ok(expected) => expected,
        Err(_) if optional => Vec::new(),
        Err(error) => return wrong.push(format!("{}: {error}", path.display())),
    };
    if got == expected {
        return;
    }
    let (got, expected) = (String::from_utf8_lossy(got), String::from_utf8_lossy(&expected));
    let same = got.lines().zip(expected.lines()).take_while(|(a, b)| a == b).count();
    wrong.push(format!(
        "{}:{}: \n  expected {}\n  got      {}",
        path.display(),
        same + 1,
        expected.lines().nth(same).unwrap_or("the end"),
        got.lines().nth(same).unwrap_or("the end"),
    ));
}

#[test]
fn replay_prints_what_is_expected() {
    let mut wrong = Vec::new();
    for (turn, case) in cases::all().into_iter().enumerate() {
        let folder = cases::folder().join(case.name);
        for (exchanges, expected) in [(false, "expected.jsonl"), (true, "expected-exchanges.jsonl")]
        {
            let first = replay(&folder, case.config.is_some(), exchanges, 1);
            let threads = [2, 3, 8][(turn + usize::from(exchanges)) % 3];
            let second = replay(&folder, case.config.is_some(), exchanges, threads);
            if (&first.stdout, &first.stderr, first.status.code())
                != (&second.stdout, &second.stderr, second.status.code())
            {
                let name = case.name;
                wrong.push(format!("{name}: a run with {threads} threads differs ({expected})"));
            }
            // Every part of a token begins with `{"`, which is `eyJ` in base64url.
            let all = [&first.stdout[..], &first.stderr].concat();
            if all.windows(3).any(|bytes| bytes == b"eyJ") {
                wrong.push(format!("{}: a token is written out ({expected})", case.name));
            }
            if case.name.starts_with("benign") && !exchanges && !first.stdout.is_empty() {
                wrong.push(format!("{}: there is an event", case.name));
            }
            let code = i32::from(case.name == "truncated-file");
            if first.status.code() != Some(code) {
                wrong.push(format!("{}: {}, expected {code}", case.name, first.status));
            }
            hold(&folder.join(expected), &first.stdout, false, &mut wrong);
            hold(&folder.join("expected-stderr.txt"), &first.stderr, true, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_scripts_make_the_committed_captures() {
    let read =
        |path: &Path| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut folders = BTreeSet::new();
    for case in cases::all() {
        let folder = cases::folder().join(case.name);
        assert!(read(&folder.join("input.pcap")) == (case.input)(), "{} is not current", case.name);
        match case.config {
            Some(config) => assert_eq!(read(&folder.join("config.toml")), config.as_bytes()),
            None => assert!(!folder.join("config.toml").exists(), "{}", case.name),
        }
        for (name, content) in cases::files(case.name) {
            assert!(read(&folder.join(name)) == content, "{}: {name} is not current", case.name);
        }
        assert!(folders.insert(case.name.to_owned()), "{} stands twice", case.name);
    }
    assert_eq!(read(&cases::folder().join("README.md")), cases::readme().as_bytes());
    let found: BTreeSet<String> = fs::read_dir(cases::folder())
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, folders);
}

/// What the scripts write is what the reader reads: every packet gives a segment, but for those
/// that a case takes out on purpose.
#[test]
fn every_packet_of_the_cases_is_read() {
    use jotwatch::capture::file::{CaptureFile, Error, Skip};
    for case in cases::all() {
        let path = cases::folder().join(case.name).join("input.pcap");
        let mut capture = CaptureFile::open(&path, &[]).unwrap();
        let end = loop {
            match capture.next() {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        let cut = matches!(end, Some(Error::Truncated { .. }));
        assert_eq!(cut, case.name == "truncated-file", "{}: {end:?}", case.name);
        let counters = capture.counters();
        // A connection that is joined midway begins with the request or answer that tells its server.
        let undecided = counters.skipped(Skip::Undecided);
        assert_eq!(undecided, u64::from(case.name == "midstream-join"), "{}", case.name);
        let checksum = counters.skipped(Skip::Checksum);
        assert_eq!(checksum, u64::from(case.name == "bad-checksum-then-good"), "{}", case.name);
        assert_eq!(counters.packets, counters.segments + undecided + checksum, "{}", case.name);
        assert!(counters.segments > 0, "{}", case.name);
    }
}
