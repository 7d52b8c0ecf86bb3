use std::{fs::OpenOptions, io::Write as _, os::unix::fs::PermissionsExt as _, time::SystemTime};

use proptest::prelude::*;

use super::*;

const KEEP: Keep = Keep { bytes: 64 << 20, age: Duration::from_secs(3600) };

fn line(number: u64, padding: usize) -> (Severity, Arc<[u8]>) {
    let padding = "x".repeat(padding);
    let line = format!(
        r#"{{"time":"2026-01-01T00:00:00Z","severity":"low","number":{number},"x":"{padding}"}}"#
    );
    (Severity::Low, line.into_bytes().into())
}

fn number(record: &Record) -> u64 {
    serde_json::from_slice::<serde_json::Value>(&record.line).unwrap()["number"].as_u64().unwrap()
}

/// Everything that there is.
fn rest(reader: &mut Reader) -> Vec<u64> {
    let mut records = Vec::new();
    while reader.read(&mut records, 7, Duration::ZERO).unwrap() == Read::Some {}
    records.iter().map(number).collect()
}

#[test]
fn a_reader_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let (journal, mut writer) = Journal::open(dir.path(), KEEP).unwrap();
        let mut reader = journal.reader(Some("one"), Filter::default()).unwrap();
        let expected = round * 10..(round + 1) * 10;
        writer.append(expected.clone().map(|n| line(n, 0)).collect(), SystemTime::now());
        let early = if round == 0 { 0 } else { round * 10 - 5 };
        assert_eq!(rest(&mut reader), (early..expected.end).collect::<Vec<_>>());
        reader.confirm(expected.end - 5).unwrap();
        // Another one begins with what comes from now on.
        let mut late = journal.reader(None, Filter::default()).unwrap();
        assert_eq!(rest(&mut late), Vec::<u64>::new());
        writer.close(true);
        assert_eq!(rest(&mut reader), Vec::<u64>::new());
        let mut out = Vec::new();
        assert_eq!(reader.read(&mut out, 1, Duration::from_secs(9)).unwrap(), Read::End);
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for path in [segment::path(dir.path(), 0), dir.path().join("lock")] {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = Journal::open(dir.path(), KEEP).unwrap();
    let error = Journal::open(dir.path(), KEEP).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    drop(first);
    Journal::open(dir.path(), KEEP).unwrap();
}

#[test]
fn a_torn_line_and_a_torn_place_are_survived() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, mut writer) = Journal::open(dir.path(), KEEP).unwrap();
    let mut reader = journal.reader(Some("one"), Filter::default()).unwrap();
    writer.append((0..5).map(|n| line(n, 0)).collect(), SystemTime::now());
    assert_eq!(rest(&mut reader).len(), 5);
    reader.confirm(2).unwrap();
    reader.confirm(3).unwrap();
    drop((reader, writer, journal));

    let file = segment::path(dir.path(), 0);
    OpenOptions::new().append(true).open(&file).unwrap().write_all(b"{\"torn\":").unwrap();
    let place = fs::read_dir(dir.path().join("places")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&place).unwrap();
    // The slot with the later place is torn.
    let at = whole.windows(20).rposition(|text| text == b"00000000000000000003").unwrap();
    for end in 0..20 {
        let mut torn = whole.clone();
        torn[at + end] = b'?';
        fs::write(&place, torn).unwrap();
        let (journal, mut writer) = Journal::open(dir.path(), KEEP).unwrap();
        let mut reader = journal.reader(Some("one"), Filter::default()).unwrap();
        assert_eq!(rest(&mut reader), (2..5 + end as u64).collect::<Vec<_>>());
        writer.append(vec![line(5 + end as u64, 0)], SystemTime::now());
    }
}

#[test]
fn a_disk_that_takes_nothing_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let (place, away) = (dir.path().join("journal"), dir.path().join("away"));
    // Small files: a new one is needed soon.
    let keep = Keep { bytes: 8 << 10, ..KEEP };
    let (journal, mut writer) = Journal::open(&place, keep).unwrap();
    let mut reader = journal.reader(None, Filter::default()).unwrap();
    let start = SystemTime::now();
    writer.append(vec![line(0, 1000)], start);
    // As a full disk does it, no file can be made.
    fs::rename(&place, &away).unwrap();
    for n in 1..20 {
        writer.append(vec![line(n, 1000)], start);
    }
    let status = journal.status();
    assert!(status.error.is_some() && status.unwritten >= 18, "{status:?}");
    assert_eq!(rest(&mut reader), (0..20).collect::<Vec<_>>());
    reader.confirm(20).unwrap();
    // It is not tried again at once, and then all of it is written.
    fs::rename(&away, &place).unwrap();
    writer.append(Vec::new(), start);
    assert!(journal.status().unwritten >= 18);
    writer.append(vec![line(20, 2000)], start + Duration::from_secs(2));
    assert_eq!(journal.status().unwritten, 0);
    assert_eq!(journal.status().error, None);
    let mut history = History::open(&place, None).unwrap();
    let mut last = None;
    while let Some(line) = history.next_line().unwrap() {
        last = Some(line);
    }
    assert_eq!(last.as_deref(), Some(&*line(20, 2000).1));

    // What is held in memory has a bound; what is over it is counted.
    fs::rename(&place, &away).unwrap();
    let big = TAIL_BYTES / 16;
    for n in 21..71 {
        writer.append(vec![line(n, big)], start);
    }
    let lost = reader.position().lost();
    let got = rest(&mut reader);
    assert!((14..=16).contains(&got.len()), "{}", got.len());
    // 20 was written, and is not to be read for now.
    assert_eq!(lost[Severity::Low as usize] + got.len() as u64, 50, "{lost:?}");
    fs::rename(&away, &place).unwrap();
}

#[test]
fn old_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let keep = Keep { bytes: 80 << 10, age: Duration::from_secs(100) };
    let (journal, mut writer) = Journal::open(dir.path(), keep).unwrap();
    let start = SystemTime::now();
    for n in 0..40 {
        writer.append(vec![line(n, 1000)], start);
    }
    let files = || segment::find(dir.path()).unwrap().len();
    assert!(files() > 3);
    // The last one stays: it is being written.
    writer.append(Vec::new(), start + Duration::from_secs(101));
    assert_eq!(files(), 1);
    assert_eq!(journal.status().appended, 40);
}

#[test]
fn history_is_read_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let keep = Keep { bytes: 1 << 20, ..KEEP };
    let (_journal, mut writer) = Journal::open(dir.path(), keep).unwrap();
    let mut history = History::open(dir.path(), None).unwrap();
    let mut read = 0;
    for n in 0..200 {
        writer.append(vec![line(n, 2000)], SystemTime::now());
        if n % 7 == 0 {
            while let Some(got) = history.next_line().unwrap() {
                assert_eq!(*got, *line(read, 2000).1);
                read += 1;
            }
            assert_eq!(read, n + 1);
        }
    }
    assert!(segment::find(dir.path()).unwrap().len() > 2);
    let late = SystemTime::now() + Duration::from_secs(60);
    let mut none = History::open(dir.path(), Some(late)).unwrap();
    let first = none.next_line().unwrap().unwrap();
    assert_ne!(*first, *line(0, 2000).1);
}

/// An event that names a subject, where one is given.
fn naming(number: u64, subject: Option<(&str, Option<&str>)>, said_of: Option<u64>) -> Line {
    let mut event = serde_json::json!({
        "id": format!("{number:032x}"), "time": "2026-01-01T00:00:00Z", "severity": "low",
        "number": number,
    });
    if let Some((subject, issuer)) = subject {
        let mut claims = serde_json::json!({ "sub": subject });
        issuer.into_iter().for_each(|issuer| claims["iss"] = issuer.into());
        event["tokens"] = serde_json::json!([{ "claims": claims }]);
    }
    if let Some(of) = said_of {
        event["change"] = "feedback-add".into();
        event["event"] = format!("{of:032x}").into();
    }
    (Severity::Low, serde_json::to_vec(&event).unwrap().into())
}

type Line = (Severity, Arc<[u8]>);

#[test]
fn events_of_a_subject_are_erased_and_all_else_keeps_its_number() {
    let (who, a, b) = ("o'mal\"lory", Some("https://a.example"), Some("https://b.example"));
    let lines = |from: u64| {
        vec![
            naming(from, Some((who, a)), None),
            naming(from + 1, Some(("other", a)), None),
            naming(from + 2, Some((who, b)), None),
            naming(from + 3, Some((who, None)), None),
            naming(from + 4, None, Some(from)),
            naming(from + 5, None, Some(from + 1)),
            // No subject of anybody: the name stands elsewhere.
            naming(from + 6, Some((&format!("{who}2"), Some(who))), None),
        ]
    };
    for (issuer, gone, issuers) in [
        (None, &[0, 2, 3, 4][..], vec!["", "https://a.example", "https://b.example"]),
        (a, &[0, 3, 4], vec!["", "https://a.example"]),
        (Some("https://c.example"), &[3], vec![""]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (journal, mut writer) = Journal::open(dir.path(), KEEP).unwrap();
        let mut reader = journal.reader(Some("one"), Filter::default()).unwrap();
        writer.append(lines(0), SystemTime::now());
        assert_eq!(rest(&mut reader).len(), 7);
        reader.confirm(3).unwrap();
        let whose = Whose::new(who, issuer);
        let found = journal.find(&whose).unwrap();
        assert_eq!(found.events, gone.len() as u64, "{found:?}");
        assert_eq!(found.undelivered, gone.iter().filter(|n| **n >= 3).count() as u64);
        assert_eq!(found.issuers.iter().map(String::as_str).collect::<Vec<_>>(), issuers);
        assert_eq!(fs::read(segment::path(dir.path(), 0)).unwrap().len(), {
            lines(0).iter().map(|(_, line)| line.len() + 1).sum::<usize>()
        });
        assert_eq!(journal.erase(&whose).unwrap(), found);
        assert_eq!(journal.erase(&whose).unwrap().events, 0);
        // What is written goes on behind it, in the same file.
        writer.append(vec![line(7, 0)], SystemTime::now());
        let left: Vec<u64> = (0..8).filter(|n| !gone.contains(n)).collect();
        reader.rewind();
        let unconfirmed: Vec<u64> = left.iter().copied().filter(|n| *n >= 3).collect();
        assert_eq!(rest(&mut reader), unconfirmed, "from memory");
        assert_eq!(journal.latest(0, 100).0.iter().map(number).collect::<Vec<_>>(), left);
        drop((reader, writer, journal));
        let (journal, _writer) = Journal::open(dir.path(), KEEP).unwrap();
        let mut reader = journal.reader(Some("one"), Filter::default()).unwrap();
        assert_eq!(rest(&mut reader), unconfirmed, "from the file");
        assert_eq!(journal.erase(&whose).unwrap().events, 0);
        let text = fs::read_to_string(segment::path(dir.path(), 0)).unwrap();
        assert_eq!(text.lines().count(), 8);
        assert_eq!(text.matches("erased").count(), gone.len());
    }
}

#[test]
fn what_a_reader_has_read_ahead_is_erased_for_it_too() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, mut writer) = Journal::open(dir.path(), KEEP).unwrap();
    drop(journal.reader(Some("one"), Filter::default()).unwrap());
    writer
        .append((0..9).map(|n| naming(n, Some(("who", None)), None)).collect(), SystemTime::now());
    drop((writer, journal));
    // From the file: nothing stands in memory.
    let (journal, _writer) = Journal::open(dir.path(), KEEP).unwrap();
    let mut reader = journal.reader(Some("one"), Filter::default()).unwrap();
    let mut records = Vec::new();
    reader.read(&mut records, 2, Duration::ZERO).unwrap();
    assert_eq!(records.iter().map(number).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(journal.erase(&Whose::new("who", None)).unwrap().events, 9);
    assert_eq!(rest(&mut reader), Vec::<u64>::new());
}

/// What may happen to a journal.
#[derive(Clone, Debug)]
enum Step {
    Append(u64, usize),
    Read(usize),
    /// All that was read.
    Confirm,
    Rewind,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..40_u64, 0..3000_usize).prop_map(|(count, padding)| Step::Append(count, padding)),
        4 => (1..50_usize).prop_map(Step::Read),
        2 => Just(Step::Confirm),
        1 => Just(Step::Rewind),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever happens, a reader gets what it has not confirmed, in order; only what the bound
    /// forces out is left out, and that is counted. The oracle is a counter.
    #[test]
    fn nothing_is_lost_uncounted(steps in steps(), small in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let keep = Keep { bytes: if small { 64 << 10 } else { 64 << 20 }, ..KEEP };
        let (mut journal, mut writer) = Journal::open(dir.path(), keep).unwrap();
        let mut reader = journal.reader(Some("one"), Filter::default()).unwrap();
        let (mut appended, mut confirmed, mut next) = (0, 0, 0);
        let mut lost = 0;
        let mut seen = std::collections::HashSet::new();
        let mut look = |reader: &mut Reader, max, next: &mut u64| {
            let mut records = Vec::new();
            reader.read(&mut records, max, Duration::ZERO).unwrap();
            for record in records {
                let number = number(&record);
                assert!(number >= *next);
                seen.insert(number);
                *next = number + 1;
            }
        };
        for step in steps {
            match step {
                Step::Append(count, padding) => {
                    let lines = (appended..appended + count).map(|n| line(n, padding)).collect();
                    writer.append(lines, SystemTime::now());
                    appended += count;
                }
                Step::Read(max) => look(&mut reader, max, &mut next),
                Step::Confirm => {
                    reader.confirm(reader.next()).unwrap();
                    confirmed = next.max(confirmed);
                }
                Step::Rewind => {
                    reader.rewind();
                    next = confirmed;
                }
                Step::Restart => {
                    lost += reader.position().lost()[Severity::Low as usize];
                    drop((reader, writer));
                    drop(journal);
                    (journal, writer) = Journal::open(dir.path(), keep).unwrap();
                    reader = journal.reader(Some("one"), Filter::default()).unwrap();
                    next = confirmed;
                }
            }
        }
        loop {
            let before = reader.next();
            look(&mut reader, 1000, &mut next);
            if reader.next() == before {
                break;
            }
        }
        prop_assert_eq!(next, appended, "the last one is always there");
        lost += reader.position().lost()[Severity::Low as usize];
        let missing = appended - seen.len() as u64;
        if small {
            // What was under way when it gave way counts, too.
            prop_assert!(missing <= lost, "{missing} missing, {lost} counted");
        } else {
            prop_assert_eq!((missing, lost), (0, 0));
        }
    }
}
