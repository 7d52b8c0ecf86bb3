//! The rooms of `sensor/src` use each other as ARCHITECTURE.md says: downwards only, and the pure
//! ones do no I/O.
#![expect(clippy::expect_used, reason = "a test that can't read the sources shall fail")]

mod sources;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use self::sources::sources;

const ARCHITECTURE: &str = include_str!("../../ARCHITECTURE.md");

/// What no pure room may name: I/O, clocks, threads.
const IMPURE: [&str; 11] = [
    "std::fs",
    "fs::",
    "std::net::Tcp",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "thread::spawn",
    "thread::sleep",
    "::now()",
    "rustix::",
    "std::process",
];

/// The rooms, lowest first, and those of them that are pure (marked with a star).
fn layers() -> (Vec<String>, BTreeSet<String>) {
    let begin = "```layers\n";
    let block = ARCHITECTURE.split_once(begin).and_then(|(_, rest)| rest.split_once("```"));
    let (mut rooms, mut pure) = (Vec::new(), BTreeSet::new());
    for line in block.expect("ARCHITECTURE.md has a block of layers").0.lines() {
        for word in line.split_whitespace().skip(1) {
            let room = word.trim_end_matches('*').to_owned();
            if word.ends_with('*') {
                pure.insert(room.clone());
            }
            rooms.push(room);
        }
    }
    (rooms, pure)
}

/// The modules that `lib.rs` declares.
fn declared() -> BTreeSet<String> {
    let declarations = include_str!("../src/lib.rs").lines().filter_map(|line| {
        let name = line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';')?;
        Some(name.to_owned())
    });
    declarations.collect()
}

/// What a file says, as [`sources::code`]. Tests, and what fuzzing feeds, may reach for any room.
fn code(path: &Path) -> String {
    let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path).to_string_lossy();
    match ["test", "samples", "fuzz"].iter().any(|part| name.contains(part)) {
        true => String::new(),
        false => sources::code(path),
    }
}

/// The rooms that `code` names by `crate::`, in one of its two spellings.
fn uses(code: &str) -> BTreeSet<String> {
    let word = |text: &str| {
        let end = text.find(|c: char| c != '_' && !c.is_alphanumeric());
        text[..end.unwrap_or(text.len())].to_owned()
    };
    let mut found = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        let rest = &code[at + path.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let (mut depth, mut start) = (1, true);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => start = true,
                _ if depth == 1 && start && !c.is_whitespace() => {
                    found.insert(word(&group[at..]));
                    start = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    found
}

/// The code of each room, file by file.
fn rooms() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let mut rooms: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for path in paths {
        let inner = path.strip_prefix(&root).expect("a path inside").to_owned();
        let first = inner.iter().next().expect("a name").to_string_lossy().into_owned();
        let room = first.trim_end_matches(".rs").to_owned();
        rooms.entry(room).or_default().push((inner, code(&path)));
    }
    rooms
}

#[test]
fn every_room_has_its_layer() {
    let (layers, _) = layers();
    let named: BTreeSet<_> = layers.iter().cloned().collect();
    assert_eq!(named.len(), layers.len(), "a room is named twice");
    assert_eq!(named, declared());
}

#[test]
fn rooms_use_those_below_them_only() {
    let (layers, _) = layers();
    let height = |room: &str| layers.iter().position(|layer| layer == room);
    let mut wrong = Vec::new();
    for (room, files) in rooms() {
        let Some(own) = height(&room) else { continue };
        for (path, code) in files {
            let above = uses(&code).into_iter().filter(|used| height(used) > Some(own));
            wrong.extend(above.map(|used| format!("{} uses {used}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pure_rooms_do_no_io() {
    let (_, pure) = layers();
    let mut wrong = Vec::new();
    for (room, files) in rooms() {
        for (path, code) in files.into_iter().filter(|_| pure.contains(&room)) {
            let named = IMPURE.iter().filter(|name| code.contains(*name));
            wrong.extend(named.map(|name| format!("{} names {name}", path.display())));
            if code.contains("unsafe {") {
                wrong.push(format!("{} has unsafe code", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The reader of uses itself: a test that sees nothing can't fail.
#[test]
fn uses_are_seen_in_either_spelling() {
    let code =
        "use crate::time::Time;\nuse crate::{\n    a::{self, b}, c,\n    d::E};\nf(crate::g::h());";
    assert_eq!(uses(code), ["a", "c", "d", "g", "time"].map(str::to_owned).into());
    assert!(rooms()["pipeline"].iter().any(|(_, code)| uses(code).contains("token")));
}
