//! Whole trainings on histories that are made here.

use std::{fs, path::Path};

use jotwatch_models::{
    behaviour::{Index, Vector},
    train::Random,
};

use super::*;
use crate::{
    event::EventId,
    feedback::Record,
    history::{Row, Scored, scored},
    time::Time,
};

const START: u64 = 1_700_000_000 / 86_400 * 86_400;

/// So many subjects for ten days with twelve exchanges each; every `attacked`th subject's day has
/// three more at its end that walk through objects.
fn history(subjects: u64, attacked: u64) -> Vec<Row> {
    let mut random = Random::new(5);
    let mut rows = Vec::new();
    for day in 0..10 {
        for subject in 0..subjects {
            let attack = attacked > 0 && (subject * 10 + day) % attacked == 3;
            for n in 0..if attack { 15 } else { 12 } {
                let odd = n >= 12;
                let mut vector = Vector::default();
                vector.learning = day == 0 && subject % 7 == 0;
                for (feature, value) in [
                    (Index::TokenAge, 9.0 + random.normal()),
                    (Index::RequestsMinute, 2.0 + random.normal().abs()),
                    (Index::RateHourZ, random.normal()),
                    (Index::RouteSurprise, random.normal().abs()),
                    (Index::ObjectRun, if odd { 7.0 + random.unit() } else { random.unit() }),
                    (
                        Index::ObjectsHourZ,
                        if odd { 9.0 + random.normal() } else { random.normal() },
                    ),
                    (Index::HourSurprise, random.normal()),
                ] {
                    vector.set(feature, value as f32);
                }
                let id = rows.len() as u128 + 1;
                let scored = Scored {
                    event: EventId(id.to_be_bytes()),
                    at: Time::from_unix_secs(START + day * 86_400 + 3_600 * n),
                    subject: u128::from(subject) + 1,
                    told: odd,
                    vector,
                    ..scored(0)
                };
                rows.push(scored.row(1));
            }
        }
    }
    rows
}

fn is_attack(row: &Row) -> bool {
    row.told
}

fn write(path: &Path, rows: &[Row]) {
    let mut text = Vec::new();
    rows.iter().for_each(|row| row.write(&mut text));
    fs::write(path, text).unwrap();
}

fn label(path: &Path, labels: impl Iterator<Item = (Row, Label)>, with_rows: bool) {
    let mut text = Vec::new();
    for (row, label) in labels {
        let mut record = Record::new(row.event.clone(), Some(label), Time::from_unix_secs(START));
        record.row = with_rows.then_some(row);
        record.write(&mut text).unwrap();
    }
    fs::write(path, text).unwrap();
}

fn options(data: &[&Path], labels: &[&Path]) -> Options {
    let own = |paths: &[&Path]| paths.iter().map(|&path| path.to_owned()).collect();
    Options { data: own(data), labels: own(labels), seed: 1, false_alerts: 0.01, rows: MAX_ROWS }
}

#[test]
fn without_labels_the_hosts_own_usual_is_learned_and_it_repeats_itself() {
    let dir = tempfile::tempdir().unwrap();
    let [whole, one, two] = ["h", "h.1", "h.2"].map(|name| dir.path().join(name));
    let rows = history(60, 0);
    write(&whole, &rows);
    write(&one, &rows[..3_001]);
    write(&two, &rows[3_001..]);
    let (bytes, card) = train(&options(&[&whole], &[]), &mut Unwatched).unwrap();
    let again = train(&options(&[&one, &two], &[]), &mut Unwatched).unwrap();
    assert_eq!(again.0, bytes, "the same rows in the same order");
    assert_ne!(
        train(&Options { seed: 2, ..options(&[&whole], &[]) }, &mut Unwatched).unwrap().0,
        bytes
    );
    assert_eq!(card.rows, 7_200);
    assert_eq!((card.subjects, card.learning), (60, 9 * 12));
    assert!(matches!(card.trees, Trees::BuiltIn { malicious: 0, benign: 0, bent: None, .. }));
    let (model, base) =
        (BehaviourModel::from_bytes(&bytes).unwrap(), BehaviourModel::embedded().unwrap());
    assert_eq!(model.forest, base.forest);
    assert_ne!(model.isolation, base.isolation);
    assert_eq!(model.calibration.curve, base.calibration.curve);
    assert!(card.held_out.days > 100);
    assert!(card.held_out.new.days_with_alert * 20 <= card.held_out.days, "{card}");
    let text = card.to_string();
    assert!(text.contains("7200 lines") && text.contains("the built-in's"), "{text}");
    assert_eq!(card.json()["left_out"]["learning"], 108);
}

#[test]
fn few_labels_bend_the_calibration_and_many_grow_trees() {
    let dir = tempfile::tempdir().unwrap();
    let [data, few, many] = ["h", "few", "many"].map(|name| dir.path().join(name));
    let rows = history(80, 8);
    write(&data, &rows);
    let attacks = || rows.iter().filter(|row| is_attack(row) && !row.learning);
    let benign = || rows.iter().filter(|row| !is_attack(row) && !row.learning).step_by(30);
    let both = |n: usize| {
        let bad = attacks().take(n).map(|row| (row.clone(), Label::Malicious));
        bad.chain(benign().take(n).map(|row| (row.clone(), Label::Benign))).collect::<Vec<_>>()
    };
    label(&few, both(12).into_iter(), false);
    let (bytes, card) = train(&options(&[&data], &[&few]), &mut Unwatched).unwrap();
    let Trees::BuiltIn { malicious, bent: Some(bent), .. } = card.trees else { panic!("{card}") };
    assert!((1..=4).contains(&malicious));
    assert!(bent.moved.is_finite() && bent.stretched > 0.0);
    let base = BehaviourModel::embedded().unwrap();
    assert_eq!(BehaviourModel::from_bytes(&bytes).unwrap().forest, base.forest);
    assert_eq!((card.malicious, card.benign, card.labels_missing), (12, 12, 0));

    label(&many, both(usize::MAX).into_iter(), false);
    let (bytes, card) = train(&options(&[&data], &[&many]), &mut Unwatched).unwrap();
    let Trees::Grown { malicious, benign } = card.trees else { panic!("{card}") };
    assert!(malicious >= GROW_FROM && benign >= GROW_FROM);
    let model = BehaviourModel::from_bytes(&bytes).unwrap();
    assert!(model.forest.trees() > base.forest.trees());
    // These attacks are plain: trees that were grown from them find those that are held out.
    let held = card.held_out;
    assert!(held.labelled_new.malicious >= 20, "{card}");
    assert!(held.labelled_new.found * 10 >= held.labelled_new.malicious * 9, "{card}");
    assert!(held.new.days_with_alert * 20 <= held.days, "{card}");
    assert_eq!(train(&options(&[&data], &[&many]), &mut Unwatched).unwrap().0, bytes);
}

#[test]
fn a_label_brings_its_row_where_the_history_has_gone_on() {
    let dir = tempfile::tempdir().unwrap();
    let [data, with, bare] = ["h", "with", "bare"].map(|name| dir.path().join(name));
    let rows = history(60, 8);
    let (gone, kept): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| is_attack(row));
    write(&data, &kept.into_iter().cloned().collect::<Vec<_>>());
    let labels =
        || gone.iter().filter(|row| !row.learning).map(|&row| (row.clone(), Label::Malicious));
    label(&with, labels(), true);
    label(&bare, labels(), false);
    let (_, card) = train(&options(&[&data], &[&with]), &mut Unwatched).unwrap();
    assert_eq!((card.malicious, card.labels_missing), (labels().count() as u64, 0));
    let (_, card) = train(&options(&[&data], &[&bare]), &mut Unwatched).unwrap();
    assert_eq!((card.malicious, card.labels_missing), (0, labels().count() as u64));
}

#[test]
fn what_can_not_be_learned_from_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let [data, labels] = ["h", "l"].map(|name| dir.path().join(name));
    let fails = |options: &Options| format!("{:#}", train(options, &mut Unwatched).unwrap_err());
    fs::write(&data, "").unwrap();
    assert_eq!(fails(&options(&[&data], &[])), "the history is empty");
    let rows = history(9, 8);
    write(&data, &rows);
    let few = fails(&options(&[&data], &[]));
    assert!(few.contains("subjects' days to learn from, at least 100 are needed"), "{few}");
    let mut other = rows[0].clone();
    other.features.0 ^= 1;
    write(&data, &[rows[1].clone(), other]);
    let schema = fails(&options(&[&data], &[]));
    assert!(schema.contains("h:2: written for other features: schema "), "{schema}");
    write(&data, &rows);
    fs::write(&labels, "\n{\"event\":\"7\",\"label\":\"benign\"}\n").unwrap();
    let bad = fails(&options(&[&data], &[&labels]));
    assert!(bad.contains("l:2: `event` is not what a label has"), "{bad}");
    let missing = fails(&options(&[&dir.path().join("none")], &[]));
    assert!(missing.contains("none"), "{missing}");
}
