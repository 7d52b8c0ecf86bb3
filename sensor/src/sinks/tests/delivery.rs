//! What arrives, what waits, and what is counted as lost.

use super::*;

#[test]
fn a_receiver_that_comes_late_or_restarts_gets_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (sinks, warnings) = start(&only(local(&path)), dir.path());
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains(path.to_str().unwrap()), "{warnings:?}");
    for number in 0..5 {
        sinks.send(numbered(number));
    }
    let status = wait(&sinks, |status| status.failing && status.errors > 1);
    assert_eq!((status.delivered, status.queued), (0, 5));
    assert!(status.last_error.is_some());

    let socket = receiver(&path);
    for number in 0..5 {
        assert_eq!(parse(&receive(&socket)).event()["exchange"], number);
    }
    wait(&sinks, |status| status.delivered == 5 && !status.failing);

    drop(socket);
    fs::remove_file(&path).unwrap();
    for number in 5..8 {
        sinks.send(numbered(number));
    }
    wait(&sinks, |status| status.failing);
    let socket = receiver(&path);
    for number in 5..8 {
        assert_eq!(parse(&receive(&socket)).event()["exchange"], number);
    }
    let status = sinks.shutdown(DEADLINE).remove(0);
    assert_eq!((status.delivered, status.dropped, status.queued), (8, [0; 5], 0));
}

/// Starts once the threads of those before have let go of the journal, which may take longer than
/// the time that they had to deliver.
fn start_again(config: &SinksConfig, delivery: &Delivery) -> Sinks {
    let start = Instant::now();
    loop {
        match Sinks::start(config, delivery) {
            Ok((sinks, _)) => return sinks,
            Err(error) => assert!(
                error.source.kind() == io::ErrorKind::WouldBlock && start.elapsed() < DEADLINE,
                "{error}"
            ),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until so many were appended and each of them waits or counts as lost, which it does a
/// moment behind its file's end.
fn counted(sinks: &Sinks, count: u64) {
    wait(sinks, |status| {
        let lost = status.dropped.iter().sum::<u64>();
        sinks.delivery().journal.appended == count && status.queued + lost == count
    });
}

#[test]
fn what_is_over_the_limit_of_the_journal_is_counted_by_severity() {
    let dir = tempfile::tempdir().unwrap();
    let keep = Keep { bytes: 1 << 20, age: Duration::from_secs(3600) };
    let delivery = Delivery { keep, ..delivery(dir.path()) };
    let config = only(local(&dir.path().join("nobody")));
    let (sinks, _) = Sinks::start(&config, &delivery).unwrap();
    let mut event = samples::request();
    event.severity = Severity::Low;
    // Far more than is held on disk and in memory.
    let count = 30_000;
    for number in 0..count {
        sinks.send(event.clone());
        if number % 1000 == 0 {
            let sent = number + 1;
            let start = Instant::now();
            while sinks.delivery().journal.appended < sent {
                assert!(start.elapsed() < DEADLINE);
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    for _ in 0..10 {
        sinks.send(samples::request());
    }
    counted(&sinks, count + 10);
    let status = sinks.shutdown(Duration::from_millis(100)).remove(0);
    let [info, low, medium, high, critical] = status.dropped;
    assert_eq!((info, medium, high, critical), (0, 0, 0, 0));
    assert!(low > count / 2, "{low}");
    assert_eq!((status.delivered, status.queued + low), (0, count + 10));

    // The next start delivers what is left, in order, and no more.
    let socket = receiver(&dir.path().join("nobody"));
    let sinks = start_again(&config, &delivery);
    let left = count - low;
    for number in 0..left + 10 {
        let severity = if number < left { "low" } else { "critical" };
        assert_eq!(parse(&receive(&socket)).param("severity"), Some(severity), "{number}");
    }
    let status = sinks.shutdown(DEADLINE).remove(0);
    assert_eq!((status.delivered, status.dropped, status.queued), (left + 10, [0; 5], 0));
}

#[test]
fn sinks_get_what_their_filter_lets_pass() {
    let dir = tempfile::tempdir().unwrap();
    let grave = FileConfig {
        filter: Filter { severity: Some(Severity::Critical), ..Filter::default() },
        ..file(&dir.path().join("grave"))
    };
    let config = files(vec![grave, file(&dir.path().join("all"))]);
    let (sinks, _) = start(&config, dir.path());
    let mut grave = 0;
    for event in samples::all() {
        grave += u64::from(event.severity == Severity::Critical);
        sinks.send(event);
    }
    let all = samples::all().len() as u64;
    assert!(0 < grave && grave < all);
    let status = sinks.shutdown(DEADLINE);
    let got = status.iter().map(|sink| (sink.delivered, sink.queued)).collect::<Vec<_>>();
    assert_eq!(got, [(grave, 0), (all, 0)]);
    let lines = fs::read_to_string(dir.path().join("grave")).unwrap();
    assert!(lines.lines().all(|line| line.contains(r#""severity":"critical""#)));
}

/// A file, the configuration with it alone, and alerts that are joined for an hour.
fn joining(dir: &Path) -> (PathBuf, SinksConfig, Delivery) {
    let path = dir.join("events.json");
    let config = files(vec![file(&path)]);
    (path, config, Delivery { join: Duration::from_secs(3600), ..delivery(dir) })
}

#[test]
fn alerts_of_one_cause_are_joined_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (path, config, delivery) = joining(dir.path());
    let (sinks, _) = Sinks::start(&config, &delivery).unwrap();
    for number in 0..1000 {
        sinks.send(numbered(number));
    }
    wait(&sinks, |status| status.delivered == 1);
    // At once, and what is held back with the end.
    let status = sinks.shutdown(DEADLINE).remove(0);
    assert_eq!(status.delivered, 2);
    let lines = fs::read_to_string(&path).unwrap();
    let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events = events.collect::<Vec<_>>();
    assert_eq!((&events[0]["exchange"], events[0].get("joined")), (&0.into(), None));
    assert_eq!((&events[1]["exchange"], &events[1]["joined"]["count"]), (&999.into(), &998.into()));
}

#[test]
fn what_is_held_back_outlasts_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (path, config, delivery) = joining(dir.path());
    let (sinks, _) = Sinks::start(&config, &delivery).unwrap();
    for number in 0..100 {
        sinks.send(numbered(number));
    }
    let held = delivery.dir.join("held");
    let start = Instant::now();
    while !held.exists() {
        assert!(start.elapsed() < DEADLINE);
        thread::sleep(Duration::from_millis(5));
    }
    // As it is found behind a kill: the files as they are now, and nobody at work on them.
    let after = dir.path().join("after");
    fs::create_dir_all(after.join("places")).unwrap();
    for from in [delivery.dir.clone(), delivery.dir.join("places")] {
        for entry in fs::read_dir(&from).unwrap() {
            let entry = entry.unwrap().path();
            if entry.is_file() {
                fs::copy(&entry, after.join(entry.strip_prefix(&delivery.dir).unwrap())).unwrap();
            }
        }
    }
    drop(sinks.shutdown(DEADLINE));
    fs::remove_file(&path).unwrap();
    let (sinks, _) = Sinks::start(&config, &Delivery { dir: after, ..delivery }).unwrap();
    wait(&sinks, |status| status.delivered >= 1);
    drop(sinks.shutdown(DEADLINE));
    let lines = fs::read_to_string(&path).unwrap();
    let last = serde_json::from_str::<Value>(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&last["exchange"], &last["joined"]["count"]), (&99.into(), &98.into()));
}

#[test]
fn other_sinks_take_over_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (kept, gone, new) =
        (dir.path().join("kept"), dir.path().join("gone"), dir.path().join("new"));
    let config = |files: &[&Path]| super::files(files.iter().map(|path| file(path)).collect());
    let (mut sinks, _) = start(&config(&[&gone, &kept]), dir.path());
    sinks.send(numbered(0));
    wait(&sinks, |status| status.delivered == 1);
    let bad = config(&[&kept, Path::new("/nonexistent/x")]);
    assert!(sinks.prepare(&bad).is_err());
    assert_eq!(sinks.status().len(), 2);
    let (prepared, _) = sinks.prepare(&config(&[&kept, &new])).unwrap();
    sinks.apply(prepared).unwrap();
    sinks.send(numbered(1));
    let status = sinks.shutdown(DEADLINE);
    let names = status.iter().map(|sink| (sink.name.as_str(), sink.delivered)).collect::<Vec<_>>();
    let name = |path: &Path| format!("file:{}", path.display());
    assert_eq!(names, [(name(&kept).as_str(), 2), (name(&new).as_str(), 1)]);
    assert_eq!(fs::read_to_string(&gone).unwrap().lines().count(), 1);
}

#[test]
fn a_sink_that_hangs_holds_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    // Nobody reads from it: the kernel's queue fills, then writing waits.
    let _socket = receiver(&path);
    let file = dir.path().join("events.json");
    let config = SinksConfig {
        stdout: false,
        file: vec![self::file(&file)],
        syslog: vec![local(&path)],
        ..SinksConfig::default()
    };
    let (sinks, _) = start(&config, dir.path());
    for number in 0..2000 {
        sinks.send(numbered(number));
    }
    wait(&sinks, |status| status.delivered == 2000);
    let hung = sinks.status().remove(1);
    assert!(hung.delivered < 2000 && hung.queued > 0, "{hung:?}");
    let status = sinks.shutdown(Duration::from_millis(10));
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 2000);
    let [_, hung] = status.as_slice() else { panic!() };
    assert_eq!(hung.delivered + hung.queued + hung.dropped.iter().sum::<u64>(), 2000);
}

/// Starts with a receiver that is not there and a journal whose folder is gone by then, and sends 3
/// events of low severity and 2 critical ones. The folder is at the second path.
fn with_a_journal_that_is_gone(dir: &Path) -> (SinksConfig, Delivery, PathBuf, Sinks) {
    let config = only(local(&dir.join("nobody")));
    let delivery = delivery(dir);
    let (sinks, _) = Sinks::start(&config, &delivery).unwrap();
    let away = dir.join("away");
    fs::rename(&delivery.dir, &away).unwrap();
    for number in 0..5 {
        let mut event = numbered(number);
        if number < 3 {
            event.severity = Severity::Low;
        }
        sinks.send(event);
    }
    let start = Instant::now();
    while sinks.delivery().journal.unwritten < 5 {
        assert!(start.elapsed() < DEADLINE);
        thread::sleep(Duration::from_millis(2));
    }
    (config, delivery, away, sinks)
}

#[test]
fn what_could_not_be_written_until_the_end_is_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (config, delivery, _, sinks) = with_a_journal_that_is_gone(dir.path());
    // The folder is made anew for it: there is room for a file again.
    let status = sinks.shutdown(Duration::from_millis(200)).remove(0);
    assert_eq!((status.delivered, status.dropped, status.queued), (0, [0; 5], 5));
    let held = fs::read_to_string(delivery.dir.join("held")).unwrap();
    assert_eq!(held.lines().count(), 5);
    let socket = receiver(&dir.path().join("nobody"));
    let sinks = start_again(&config, &delivery);
    for number in 0..5 {
        assert_eq!(parse(&receive(&socket)).event()["exchange"], number);
    }
    assert!(!delivery.dir.join("held").exists());
    let status = sinks.shutdown(DEADLINE).remove(0);
    assert_eq!((status.delivered, status.dropped, status.queued), (5, [0; 5], 0));
}

#[test]
fn what_can_be_kept_nowhere_is_counted_by_severity() {
    let dir = tempfile::tempdir().unwrap();
    let (_, delivery, _, sinks) = with_a_journal_that_is_gone(dir.path());
    // Nothing can be made in a file.
    fs::write(&delivery.dir, "").unwrap();
    let status = sinks.shutdown(Duration::from_millis(200)).remove(0);
    assert_eq!((status.delivered, status.dropped, status.queued), (0, [0, 3, 0, 0, 2], 0));
}

#[test]
fn what_ended_sinks_lost_stays_counted() {
    let dir = tempfile::tempdir().unwrap();
    let keep = Keep { bytes: 64 << 10, age: Duration::from_secs(3600) };
    let delivery = Delivery { keep, ..delivery(dir.path()) };
    let config = only(local(&dir.path().join("nobody")));
    let (mut sinks, _) = Sinks::start(&config, &delivery).unwrap();
    for number in 0..1000 {
        sinks.send(numbered(number));
    }
    counted(&sinks, 1000);
    let lost = sinks.delivery().lost;
    assert_eq!(lost.journal_full, sinks.status()[0].dropped);
    assert!(lost.journal_full[Severity::Critical as usize] > 500, "{lost:?}");
    for _ in 0..3 {
        let (prepared, _) = sinks.prepare(&files(Vec::new())).unwrap();
        sinks.apply(prepared).unwrap();
        assert!(sinks.status().is_empty());
        assert_eq!(sinks.delivery().lost, lost);
        let (prepared, _) = sinks.prepare(&files(vec![file(&dir.path().join("other"))])).unwrap();
        sinks.apply(prepared).unwrap();
    }
    drop(sinks.shutdown(DEADLINE));
}
