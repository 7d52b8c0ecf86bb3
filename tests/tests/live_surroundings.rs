//! What changes around a running sensor: its cgroup is removed and made again, loopback goes down and
//! comes up, the disk is full for a while, and a second daemon wants the same folders.

// The helpers of these tests are tests too, though clippy's allowance covers only `#[test]`.

use std::{
    collections::BTreeSet,
    ffi::CStr,
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use jotwatch::enforce::guard::pin_folder;
use jotwatch_tests::{
    net::{Place, privileged},
    sensor::{self, Sensor, parsed, refusal},
    services::{
        http::{Client, get},
        nginx, plain,
    },
    soak::kills::attached,
    stand::{PORT, addr, end, forged, good, wait},
};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// Moves a place's processes elsewhere, removes its cgroup, makes it again and moves them back.
fn make_anew(net: &Place, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
    let path = net.cgroup();
    let aside = path.with_extension("aside");
    fs::create_dir(&aside)?;
    let shift = |from: &Path, to: &Path| -> Result<()> {
        for pid in fs::read_to_string(from.join("cgroup.procs"))?.lines() {
            fs::write(to.join("cgroup.procs"), pid)?;
        }
        Ok(())
    };
    let moved = shift(path, &aside)
        .and_then(|()| Ok(fs::remove_dir(path)?))
        .and_then(|()| meanwhile())
        .and_then(|()| Ok(fs::create_dir(path)?))
        .and_then(|()| shift(&aside, path));
    fs::remove_dir(&aside)?;
    moved
}

#[test]
fn a_cgroup_that_is_made_anew_is_watched_again() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let sensor = Sensor::start(&net, &[PORT], "")?;
        {
            let _service = plain::start(place, &[PORT])?;
            Client::connect(place, addr())?.send(&get("/first", &forged(0)))?;
            sensor.wait_for("the first", |event| event["request"]["path"] == "/first")?;
        }
        make_anew(&net, || {
            let gone = sensor.wait_for("the end", |event| event["state"] == "cgroup-gone")?;
            ensure!(gone["severity"] == "medium", "{gone}");
            Ok(())
        })?;
        sensor.wait_for("the return", |event| event["state"] == "cgroup-back")?;
        ensure!(attached(&net)? == 2, "{} programs", attached(&net)?);
        // A socket is of the cgroup that its maker was in: what is started now is in the new one.
        let _service = plain::start(place, &[PORT])?;
        Client::connect(place, addr())?.send(&get("/second", &forged(1)))?;
        sensor.wait_for("the second", |event| event["request"]["path"] == "/second")?;
        ensure!(sensor.log().contains("is gone: nothing is watched"), "{}", sensor.log());
        end(sensor)?;
        wait("the programs to go", || Ok(attached(&net)? == 0))
    })
}

#[test]
fn a_cgroup_that_is_made_anew_is_guarded_again() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let gate = "[enforcement]\nmode = \"gate\"\nfail = \"closed\"\n";
        let sensor = Sensor::start(&net, &[PORT], gate)?;
        let old = pin_folder(Some(net.cgroup()))?;
        ensure!(old.join("guard_ingress").exists(), "not pinned");
        sensor.ask(&["deny", "add", "192.0.2.1"], "")?;
        make_anew(&net, || {
            sensor.wait_for("the end", |event| event["state"] == "cgroup-gone").map(drop)
        })?;
        sensor.wait_for("the return", |event| event["state"] == "cgroup-back")?;
        let new = pin_folder(Some(net.cgroup()))?;
        ensure!(old != new && !old.exists(), "{} is left behind", old.display());
        ensure!(new.join("guard_ingress").exists(), "not pinned again");
        ensure!(attached(&net)? == 4, "{} programs", attached(&net)?);
        let _service = plain::start(place, &[PORT])?;
        ensure!(Client::connect(place, addr())?.send(&get("/", &good()))?.status == 200);
        let cut = Client::connect(place, addr())?.send(&get("/", &forged(0)));
        ensure!(cut.is_err(), "a forged one is answered: {cut:?}");
        let list = sensor.ask(&["deny", "list"], "")?;
        ensure!(list["entries"].to_string().contains("192.0.2.1"), "{list}");
        end(sensor)
    })
}

#[test]
fn loopback_goes_down_and_comes_up() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    net.services(|place| {
        let _service = nginx::start(place, addr())?;
        let sensor = Sensor::start(&net, &[PORT], "")?;
        let link = |state: &str| -> Result<()> {
            let args = ["-n", net.name(), "link", "set", "lo", state];
            ensure!(Command::new("ip").args(args).status()?.success(), "ip link set lo {state}");
            Ok(())
        };
        let mut before = Client::connect(place, addr())?;
        ensure!(before.send(&get("/a", &forged(0)))?.status == 404);
        link("down")?;
        let limit = Duration::from_millis(200);
        let up = net.inside(|| Ok(TcpStream::connect_timeout(&addr(), limit).is_ok()))?;
        ensure!(!up, "lo is up");
        link("up")?;
        let mut after = Client::connect(place, addr())?;
        ensure!(after.send(&get("/b", &forged(1)))?.status == 404);
        ensure!(before.send(&get("/c", &forged(2)))?.status == 404);
        for path in ["/a", "/b", "/c"] {
            sensor.wait_for(path, |event| event["request"]["path"] == path)?;
        }
        let status = sensor.settled(3)?;
        let lost = status["balance"]["lost"].as_object().context("no balance")?;
        ensure!(lost.values().all(|count| count == 0), "{status:#}");
        end(sensor)
    })
}

/// A small disk of its own.
struct Disk(PathBuf);

impl Disk {
    fn new(at: &Path, options: &CStr) -> Result<Self> {
        fs::create_dir_all(at)?;
        mount("tmpfs", at, "tmpfs", MountFlags::empty(), Some(options))?;
        Ok(Self(at.to_owned()))
    }

    /// Takes what is left of it.
    fn fill(&self) -> Result<PathBuf> {
        let path = self.0.join("filler");
        let mut size = 1 << 16;
        let mut file = fs::File::create(&path)?;
        while size > 0 {
            let wrote = std::io::Write::write(&mut file, &vec![0; size]).unwrap_or(0);
            size = if wrote < size { size / 2 } else { size };
        }
        Ok(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_told_and_costs_nothing_once_there_is_room() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    let dir = tempfile::tempdir()?;
    let disk = Disk::new(&dir.path().join("disk"), c"size=4m,mode=0700")?;
    let state = disk.0.join("state");
    let extra = format!("\n[[sinks.file]]\npath = {:?}\n", disk.0.join("events.log"));
    net.services(|place| {
        let _service = nginx::start(place, addr())?;
        let config = sensor::configuration(dir.path(), &extra)?;
        let text = fs::read_to_string(&config)?;
        let own = format!("state_dir = \"{}/state\"", dir.path().display());
        ensure!(text.contains(&own), "{text}");
        let text = text.replace(&own, &format!("state_dir = {state:?}"));
        let sensor = Sensor::start_as(&net, &[PORT], &text)?;
        let mut client = Client::connect(place, addr())?;
        let mut send = |path: &str| -> Result<()> {
            ensure!(client.send(&get(path, &forged(0)))?.status == 404, "{path}");
            sensor.wait_for(path, |event| event["request"]["path"] == path).map(drop)
        };
        send("/before")?;
        let filler = disk.fill()?;
        for number in 0..50 {
            send(&format!("/full-{number}"))?;
        }
        sensor.ask(&["deny", "add", "192.0.2.7"], "")?;
        let status = sensor.wait_for_status("the journal's error", |status| {
            status["delivery"]["journal"]["unwritten"].as_u64() > Some(0)
        })?;
        let said = status["delivery"].to_string();
        ensure!(said.contains("No space left"), "{said}");
        ensure!(sensor.log().contains("No space left"), "{}", sensor.log());
        fs::remove_file(&filler)?;
        send("/after")?;
        sensor.wait_for_status("all on disk", |status| {
            let journal = &status["delivery"]["journal"];
            journal["unwritten"] == 0 && journal["error"].is_null()
        })?;
        wait("the denied address", || {
            Ok(fs::read_to_string(state.join("enforcement.state"))?.contains("192.0.2.7"))
        })?;
        let sensor = sensor.restart(&net, &[PORT])?;
        ensure!(!sensor.log().contains(" WARN "), "{}", sensor.log());
        let list = sensor.ask(&["deny", "list"], "")?;
        ensure!(list["entries"].to_string().contains("192.0.2.7"), "{list}");
        end(sensor)?;
        // All of it, once, in both.
        let ids = |text: String| -> Result<Vec<String>> {
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let events = parsed(&lines)?;
            let paths = events.iter().filter_map(|event| event["request"]["path"].as_str());
            Ok(paths.map(str::to_owned).collect())
        };
        let mut journal = Vec::new();
        let mut files: Vec<_> = fs::read_dir(state.join("events"))?.flatten().collect();
        files.sort_by_key(fs::DirEntry::file_name);
        for file in
            files.iter().filter(|file| file.path().extension().is_some_and(|e| e == "jsonl"))
        {
            journal.extend(ids(fs::read_to_string(file.path())?)?);
        }
        for paths in [journal, ids(fs::read_to_string(disk.0.join("events.log"))?)?] {
            let once: BTreeSet<&String> = paths.iter().collect();
            ensure!(paths.len() == 52 && once.len() == 52, "{} {}", paths.len(), once.len());
        }
        Ok(())
    })
}

#[test]
fn a_second_daemon_on_the_same_folders_is_refused_and_harms_nothing() -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let net = Place::new()?;
    let other = Place::new()?;
    let first = Sensor::start(&net, &[PORT], "")?;
    let folder = first.config().parent().context("no folder")?.to_owned();
    let inode = || -> Result<u64> {
        let file = fs::metadata(folder.join("state/tokens.state"))?;
        Ok(std::os::unix::fs::MetadataExt::ino(&file))
    };
    let before = inode()?;
    let pid = format!("process {},", first.pid());
    // The same state folder alone, and the same runtime folder alone.
    let dir = tempfile::tempdir()?;
    for (own, key) in [("run", "daemon.state_dir"), ("state", "daemon.runtime_dir")] {
        let config = sensor::configuration(dir.path(), "")?;
        let text = fs::read_to_string(first.config())?;
        let text = text.replace(
            &format!("{}/{own}", folder.display()),
            &format!("{}/{own}", dir.path().display()),
        );
        fs::write(&config, text)?;
        let (code, line) = refusal(&mut sensor::run(&config, other.cgroup(), &[PORT]))?;
        ensure!(code == 1 && line.contains(&pid) && line.contains(key), "{code} {line}");
    }
    ensure!(inode()? == before, "its state was written by another");
    ensure!(attached(&other)? == 0, "something is attached");
    first.status()?;
    end(first)
}
