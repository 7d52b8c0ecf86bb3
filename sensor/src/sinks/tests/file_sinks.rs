//! Files of JSON lines.

use super::*;

#[test]
fn a_file_is_set_aside_by_size() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.json");
    let len = line(&numbered(0)).len() as u64 + 1;
    let rotated = FileConfig { max_bytes: Some(len * 3), keep: 2, ..file(&path) };
    let config = files(vec![rotated]);
    let (sinks, _) = start(&config, dir.path());
    for number in 0..9 {
        sinks.send(numbered(number));
        wait(&sinks, |status| status.delivered == number + 1);
    }
    drop(sinks.shutdown(DEADLINE));
    let numbers = |name: &str| {
        let text = fs::read_to_string(dir.path().join(name)).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|event| event["exchange"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers("events.json"), [6, 7, 8]);
    assert_eq!(numbers("events.json.1"), [3, 4, 5]);
    assert_eq!(numbers("events.json.2"), [0, 1, 2]);
    assert!(!dir.path().join("events.json.3").exists());
}

#[test]
fn a_file_is_private_appended_to_and_reopened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.json");
    let config = files(vec![file(&path)]);
    for round in 1..=2 {
        let (sinks, _) = start(&config, dir.path());
        sinks.send(samples::request());
        let status = sinks.shutdown(DEADLINE).remove(0);
        assert_eq!((status.name, status.delivered), (format!("file:{}", path.display()), 1));
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), round);
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let (sinks, _) = start(&config, dir.path());
    sinks.send(samples::request());
    wait(&sinks, |status| status.delivered == 1);
    let rotated = dir.path().join("events.json.1");
    fs::rename(&path, &rotated).unwrap();
    sinks.reopen();
    // Opened anew without an event that asks for it.
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < DEADLINE);
        thread::sleep(Duration::from_millis(2));
    }
    for event in samples::all() {
        sinks.send(event);
    }
    let status = sinks.shutdown(DEADLINE).remove(0);
    assert_eq!(status.delivered, 1 + samples::all().len() as u64);
    assert_eq!(fs::read_to_string(&rotated).unwrap().lines().count(), 3);
    let mut expected = Vec::new();
    for event in samples::all() {
        event.write_line(&mut Vec::new(), &mut expected).unwrap();
    }
    assert_eq!(fs::read(&path).unwrap(), expected);
}

#[test]
fn a_file_that_can_not_be_opened_is_one_clear_line() {
    let path = Path::new("/nonexistent/dir/events.json");
    let config = files(vec![file(path)]);
    let dir = tempfile::tempdir().unwrap();
    let Err(error) = Sinks::start(&config, &delivery(dir.path())) else { panic!() };
    let line = error.to_string();
    assert!(line.starts_with("sink file:/nonexistent/dir/events.json: can't open"), "{line}");
    assert!(!line.contains('\n'));
}

#[test]
fn a_write_that_tears_a_line_is_completed() {
    // A pipe that takes no more stands for a full disk.
    let (reader, writer) = io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&writer, rustix::fs::OFlags::NONBLOCK).unwrap();
    let mut lines = lines::Lines::over(std::os::fd::OwnedFd::from(writer).into()).unwrap();
    let record = |number| Record {
        sequence: number,
        severity: Severity::High,
        line: line(&numbered(number)).into(),
    };
    let batch = (0..200).map(record).collect::<Vec<_>>();
    let mut reader = reader;
    let (mut taken, mut failures, mut read) = (0, 0, Vec::new());
    while taken < batch.len() {
        let (more, result) = lines.deliver(&batch[taken..]);
        taken += more;
        if result.is_err() {
            failures += 1;
            let mut some = [0; 5000];
            let len = io::Read::read(&mut reader, &mut some).unwrap();
            read.extend_from_slice(&some[..len]);
        }
    }
    while lines.deliver(&[]).1.is_err() {
        let mut some = [0; 5000];
        let len = io::Read::read(&mut reader, &mut some).unwrap();
        read.extend_from_slice(&some[..len]);
    }
    drop(lines);
    io::Read::read_to_end(&mut reader, &mut read).unwrap();
    assert!(failures > 10);
    let text = String::from_utf8(read).unwrap();
    let numbers = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["exchange"].as_u64().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
}
