//! The attack suite: every attack is found as what it is, and no benign twin raises an alert.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZero,
};

use jotwatch_tests::attacks::{self, Stage, World};

/// What issue and documentation ask for at least.
const LEAST: usize = 120;

#[test]
fn every_attack_is_found_and_no_twin() {
    let world = World::new();
    let stage = Stage::new(&world.config());
    let cases = attacks::all(&world);
    let names: BTreeSet<_> = cases.iter().map(|case| (case.class, &case.name)).collect();
    assert_eq!(names.len(), cases.len(), "a name stands twice");

    let mut table: BTreeMap<_, [usize; 3]> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in &cases {
        assert!(!case.finds.is_empty(), "{}: an attack that finds nothing is none", case.name);
        let (found, passed, message) = stage.hold(case);
        let row = table.entry(case.class).or_default();
        row[0] += 1;
        row[1] += usize::from(found);
        row[2] += usize::from(!passed);
        wrong.extend(message);
    }
    println!("{:14} {:>5} {:>5} {:>11}", "class", "cases", "found", "twin alerts");
    let mut sum = [0; 3];
    for (class, row) in &table {
        println!("{:14} {:>5} {:>5} {:>11}", format!("{class:?}"), row[0], row[1], row[2]);
        for (sum, part) in sum.iter_mut().zip(row) {
            *sum += part;
        }
    }
    println!("{:14} {:>5} {:>5} {:>11}", "all", sum[0], sum[1], sum[2]);
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert!(cases.len() >= LEAST, "{} cases", cases.len());
}

/// All of them in one memory: several threads tell the same, in the same order.
#[test]
fn several_threads_find_what_one_does() {
    let world = World::new();
    let stage = Stage::new(&world.config());
    let cases = attacks::all(&world);
    let dialogues: Vec<_> =
        cases.iter().flat_map(|case| [&case.attack[..], &case.twin[..]]).collect();
    let read = |threads| stage.read(&dialogues, NonZero::new(threads).expect("a number"));
    let one = read(1);
    assert!(one.1.events > LEAST as u64, "{:?}", one.1);
    for threads in [2, 3, 8] {
        let several = read(threads);
        assert_eq!(several.1, one.1, "{threads} threads");
        assert!(several.0 == one.0, "{threads} threads tell other lines");
    }
}
