//! Whoever fills a table from outside does not choose where in it his keys lie: every table hashes
//! under a secret of its own, of the process or of the installation, or can't be crowded.
#![expect(clippy::expect_used, reason = "a test that can't read the sources shall fail")]

mod sources;

use std::{
    collections::{BTreeMap, hash_map},
    env,
    hash::{BuildHasher, RandomState},
    path::Path,
    process::Command,
};

use self::sources::{code, sources};

/// What computes a hash by itself, or without a seed. Maps that are named with their usual hasher,
/// or with `foldhash::fast::RandomState`, take one: see below.
const UNUSUAL: [&str; 12] = [
    "FixedState",
    "BuildHasherDefault",
    "DefaultHasher",
    "FxHash",
    "FxBuild",
    "SipHasher13::new()",
    "HashTable",
    "SeedableRandomState",
    "with_hasher",
    "hash_one",
    "build_hasher",
    "impl Hasher for",
];

/// Where one of these stands, and why nobody outside gains by it.
const EXPLAINED: [(&str, &str); 11] = [
    (
        "models/src/behaviour/lately.rs",
        "a path has one place: who takes it has that path read again",
    ),
    ("models/src/behaviour/profile/table.rs", "keys are hashes under the installation's secret"),
    (
        "models/src/payload/clean.rs",
        "a value has one place: who takes it has that value read again",
    ),
    ("sensor/src/capture/file/roles.rs", "seeded"),
    ("sensor/src/clients/facts.rs", "seeded, and an address has one place"),
    (
        "sensor/src/http/shapes.rs",
        "fields have one place: who takes it has those fields read again",
    ),
    ("sensor/src/journal/cursor.rs", "a check of the sensor's own file, no table"),
    ("sensor/src/memory/index.rs", "keys are hashes under the installation's secret"),
    (
        "sensor/src/pipeline/history.rs",
        "two user agents are compared by it: who knows the one to be like can send it as it is",
    ),
    (
        "sensor/src/token/judge/cache.rs",
        "keys are universal hashes under the installation's secret",
    ),
    ("sensor/src/weak.rs", "seeded"),
];

#[test]
fn every_unusual_hash_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths = Vec::new();
    for room in ["sensor/src", "models/src", "common/src"] {
        sources(&root.join(room), &mut paths);
    }
    let mut found = BTreeMap::new();
    for path in paths {
        let name = path.strip_prefix(&root).expect("a path inside").to_string_lossy().into_owned();
        if ["test", "samples", "fuzz"].iter().any(|part| name.contains(part)) {
            continue;
        }
        let code = code(&path);
        let words: Vec<&str> = UNUSUAL.into_iter().filter(|word| code.contains(word)).collect();
        if !words.is_empty() {
            found.insert(name, words);
        }
    }
    let explained: Vec<&str> = EXPLAINED.iter().map(|(name, _)| *name).collect();
    let own: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(own, explained, "{found:#?}");
}

/// Places of a table that keys are tried on.
const PLACES: u64 = 1_024;

fn key(n: u32) -> String {
    format!("agent-{n}/1.0")
}

/// How many of these keys lie in the place where most of them do.
fn most_in_one_place(hasher: &impl BuildHasher, keys: &[String]) -> usize {
    let mut crowds = vec![0_usize; PLACES as usize];
    for key in keys {
        crowds[(hasher.hash_one(key) % PLACES) as usize] += 1;
    }
    crowds.into_iter().max().unwrap_or_default()
}

/// 400 keys that an outsider found to share a place where he knows the hash: under a seed that he
/// does not know they lie as any other keys do, of which more than a dozen in one of 1,024 places
/// is not to be seen in a lifetime.
fn keys_are_spread<S: BuildHasher + Default>() {
    let colliding = |hasher: &dyn Fn(&String) -> u64| -> Vec<String> {
        (0..).map(key).filter(|key| hasher(key) % PLACES == 7).take(400).collect()
    };
    let unseeded = foldhash::fast::FixedState::default();
    let keys = colliding(&|key| unseeded.hash_one(key));
    assert_eq!(most_in_one_place(&unseeded, &keys), 400);
    assert!(most_in_one_place(&S::default(), &keys) <= 12);
    // Nor does it help to have found keys for another table of the same kind.
    let (one, other) = (S::default(), S::default());
    let keys = colliding(&|key| one.hash_one(key));
    assert_eq!(most_in_one_place(&one, &keys), 400);
    assert!(most_in_one_place(&other, &keys) <= 12);
}

#[test]
fn what_collides_in_one_table_is_spread_over_another() {
    // The usual ones of std's maps and of hashlink's, and the one that is named beside.
    keys_are_spread::<RandomState>();
    keys_are_spread::<hashlink::DefaultHashBuilder>();
    keys_are_spread::<foldhash::fast::RandomState>();
    let map: hash_map::HashMap<u8, u8> = hash_map::HashMap::new();
    let _: &RandomState = map.hasher();
    let list: hashlink::LinkedHashMap<u8, u8> = hashlink::LinkedHashMap::new();
    let _: &hashlink::DefaultHashBuilder = list.hasher();
}

/// Set where [`a_process_has_seeds_of_its_own`] runs this program once more.
const AGAIN: &str = "JOTWATCH_HASHES";

#[test]
fn a_process_has_seeds_of_its_own() {
    if env::var_os(AGAIN).is_some() {
        let hashes = [
            RandomState::new().hash_one(key(0)),
            hashlink::DefaultHashBuilder::default().hash_one(key(0)),
            foldhash::fast::RandomState::default().hash_one(key(0)),
        ];
        eprintln!("hashes {hashes:016x?}");
        return;
    }
    let run = || -> Vec<String> {
        let output = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", "a_process_has_seeds_of_its_own", "--nocapture"])
            .env(AGAIN, "1")
            .output()
            .expect("a second run");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = said.lines().find_map(|line| line.strip_prefix("hashes "));
        let line = line.expect("hashes").trim_matches(['[', ']']).to_owned();
        line.split(", ").map(str::to_owned).collect()
    };
    let (one, other) = (run(), run());
    assert_eq!((one.len(), other.len()), (3, 3));
    assert!(one.iter().zip(&other).all(|(one, other)| one != other), "{one:?} {other:?}");
}
