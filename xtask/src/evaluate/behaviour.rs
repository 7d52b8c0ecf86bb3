//! What the behaviour model is worth on generated worlds that it has not seen, drawn from other
//! ranges than those it was trained on. Every figure here is synthetic.

use std::{
    collections::{BTreeMap, HashMap},
    io::Write,
    ops::Range,
    path::Path,
};

use anyhow::{Context, Result, bail};
use jotwatch_models::{
    behaviour::{
        Answers, BehaviourModel, Group, Index, Vector, model::Calibration, schema::FEATURES,
    },
    train::{self, Example, Forests, Mask, PRIOR, Voices, all_groups, calibrate},
};

use super::percent;
use crate::{
    progress,
    train::{
        behaviour::{
            self, Sampled,
            rows::{self, Moment, Truth},
        },
        sessions::{
            Kind, Label, Oddity,
            ranges::{SETTLED, TEST},
        },
    },
};

/// Seeds of the worlds to test on: those that were looked at while features and training were
/// designed, and others that were not.
const WORLDS: [(&str, Range<u64>); 2] =
    [("worlds that the design has seen", 300..310), ("fresh worlds", 400..410)];

/// Seeds of those that ablation is measured on.
const ABLATION: Range<u64> = 400..405;

/// What the forests said of a request of a test world.
#[derive(Clone, Copy)]
struct Heard {
    /// Place of the episode among all worlds'.
    attack: Option<u32>,
    odd: Option<Oddity>,
    /// Subject and day, of all worlds.
    day: u32,
    asked: Answers,
    answered: Answers,
}

/// How often a feature was the first, second or third reason of an alert, by kind of attack.
type Reasons = BTreeMap<Kind, BTreeMap<&'static str, usize>>;

/// What was heard in all test worlds.
struct Test {
    reasons: Reasons,
    heard: Vec<Heard>,
    /// Kind and number of requests of each episode.
    episodes: Vec<(Kind, usize)>,
    learning: usize,
    requests: usize,
}

fn listen(model: &BehaviourModel, worlds: Range<u64>) -> Test {
    let first = worlds.start;
    let parts = behaviour::each_world("worlds to test on", worlds, &TEST, |seed, world| {
        let mut heard = Vec::new();
        let (mut learning, mut reasons) = (0, Reasons::new());
        let mut asked = Answers::default();
        rows::replay(world, |event, truth, moment, vector| {
            let says = model.answers(vector.values());
            if moment == Moment::Asked {
                asked = says;
                learning += usize::from(vector.learning);
                return;
            }
            if vector.learning || truth == Truth::Beside {
                return;
            }
            if let Truth::Attack(episode) = truth {
                let score = model.score(vector);
                if score.is_suspicious {
                    let of = reasons.entry(world.episodes[episode as usize].kind).or_default();
                    for reason in score.reasons.iter().flatten().take(3) {
                        *of.entry(reason.feature.id).or_default() += 1;
                    }
                }
            }
            heard.push(Heard {
                attack: match truth {
                    Truth::Attack(episode) => Some(episode),
                    _ => None,
                },
                odd: match event.label {
                    Label::Odd(odd) => Some(odd),
                    _ => None,
                },
                day: (seed - first) as u32 * 1_000_000 + rows::day_of(world, event),
                asked,
                answered: says,
            });
        });
        let mut sizes = vec![0; world.episodes.len()];
        for event in &world.events {
            if let Label::Attack(episode) = event.label {
                sizes[episode as usize] += 1;
            }
        }
        let kinds: Vec<(Kind, usize)> = world.episodes.iter().map(|e| e.kind).zip(sizes).collect();
        (heard, kinds, learning, world.events.len(), reasons)
    });
    let mut test = Test {
        reasons: Reasons::new(),
        heard: Vec::new(),
        episodes: Vec::new(),
        learning: 0,
        requests: 0,
    };
    for (heard, kinds, learning, requests, reasons) in parts {
        for (kind, of) in reasons {
            for (feature, n) in of {
                *test.reasons.entry(kind).or_default().entry(feature).or_default() += n;
            }
        }
        let before = test.episodes.len() as u32;
        test.heard
            .extend(heard.into_iter().map(|h| Heard { attack: h.attack.map(|a| a + before), ..h }));
        test.episodes.extend(kinds);
        test.learning += learning;
        test.requests += requests;
    }
    test
}

/// Area under the curve of precision over recall: the mean precision at each attack found. Equal
/// scores are found together.
fn average_precision(mut scores: Vec<(f32, bool)>) -> f64 {
    scores.sort_by(|a, b| b.0.total_cmp(&a.0));
    let all = scores.iter().filter(|s| s.1).count() as f64;
    let (mut found, mut taken, mut area) = (0.0, 0.0, 0.0);
    for equal in scores.chunk_by(|a, b| a.0 == b.0) {
        let hits = equal.iter().filter(|s| s.1).count() as f64;
        found += hits;
        taken += equal.len() as f64;
        area += hits / all * (found / taken);
    }
    area
}

/// Figures of one calibration.
struct Figures {
    by_request: f64,
    by_episode: f64,
    /// Found, found before an answer, requests until then, all; by kind.
    kinds: BTreeMap<Kind, (usize, usize, Vec<usize>, usize)>,
    days: usize,
    false_days: usize,
    false_requests: usize,
    false_by: HashMap<Option<Oddity>, usize>,
    /// Expected calibration error: of all requests; of those that get 5 % and more.
    ece: f64,
    ece_raised: f64,
    /// Weight, mean probability, share of attacks; by tenth.
    bins: [(f64, f64, f64); 10],
}

impl Figures {
    fn of(test: &Test, calibration: &Calibration) -> Self {
        let probability = |says: Answers| calibration.probability(calibration.margin(&says));
        let mut worst: Vec<f32> = vec![0.0; test.episodes.len()];
        let mut early: Vec<bool> = vec![false; test.episodes.len()];
        let mut seen = vec![0_usize; test.episodes.len()];
        let mut until: Vec<Option<usize>> = vec![None; test.episodes.len()];
        let mut days: HashMap<u32, f32> = HashMap::new();
        let mut scores = Vec::with_capacity(test.heard.len());
        let (mut false_requests, mut false_by) = (0, HashMap::new());
        let mut bins = [(0.0, 0.0, 0.0); 10];
        let benign = test.heard.iter().filter(|h| h.attack.is_none()).count() as f64;
        let scale = PRIOR / (1.0 - PRIOR) * benign / test.episodes.len() as f64;
        let mut raised = [(0.0, 0.0, 0.0); 10];
        for heard in &test.heard {
            let now = probability(heard.answered);
            scores.push((now, heard.attack.is_some()));
            let (truth, weight) = match heard.attack {
                Some(episode) => (1.0, scale / test.episodes[episode as usize].1 as f64),
                None => (0.0, 1.0),
            };
            let bin = ((now * 10.0) as usize).min(9);
            for bins in if now >= 0.05 { vec![&mut bins, &mut raised] } else { vec![&mut bins] } {
                bins[bin].0 += weight;
                bins[bin].1 += weight * f64::from(now);
                bins[bin].2 += weight * truth;
            }
            let alert = now >= calibration.threshold;
            if let Some(episode) = heard.attack {
                let at = episode as usize;
                seen[at] += 1;
                worst[at] = worst[at].max(now);
                early[at] |= probability(heard.asked) >= calibration.threshold;
                if alert && until[at].is_none() {
                    until[at] = Some(seen[at]);
                }
            } else {
                let worst = days.entry(heard.day).or_default();
                if alert && *worst < calibration.threshold {
                    *false_by.entry(heard.odd).or_default() += 1;
                }
                *worst = worst.max(now);
                false_requests += usize::from(alert);
            }
        }
        let mut kinds: BTreeMap<Kind, (usize, usize, Vec<usize>, usize)> = BTreeMap::new();
        for (at, (kind, _)) in test.episodes.iter().enumerate() {
            let figures = kinds.entry(*kind).or_default();
            figures.0 += usize::from(until[at].is_some());
            figures.1 += usize::from(early[at]);
            figures.2.extend(until[at]);
            figures.3 += 1;
        }
        let units = worst.iter().map(|w| (*w, true)).chain(days.values().map(|w| (*w, false)));
        let ece = |bins: &[(f64, f64, f64); 10]| {
            let all: f64 = bins.iter().map(|b| b.0).sum();
            bins.iter().map(|b| (b.1 - b.2).abs()).sum::<f64>() / all
        };
        Self {
            by_request: average_precision(scores),
            by_episode: average_precision(units.collect()),
            kinds,
            days: days.len(),
            false_days: days.values().filter(|w| **w >= calibration.threshold).count(),
            false_requests,
            false_by,
            ece: ece(&bins),
            ece_raised: ece(&raised),
            bins,
        }
    }

    fn found(&self) -> (usize, usize) {
        self.kinds.values().fold((0, 0), |sum, k| (sum.0 + k.0, sum.1 + k.3))
    }

    fn line(&self, out: &mut impl Write, name: &str) -> Result<()> {
        let (found, all) = self.found();
        let least = self.kinds.values().map(|k| percent(k.0, k.3)).fold(100.0, f64::min);
        writeln!(
            out,
            "{name:<28} {:>8.4} {:>8.4} {:>9.1} {least:>9.1} {:>10.4} {:>8.4}",
            self.by_request,
            self.by_episode,
            percent(found, all),
            percent(self.false_days, self.days),
            self.ece_raised,
        )?;
        Ok(out.flush()?)
    }

    fn print(&self, out: &mut impl Write, calibration: &Calibration) -> Result<()> {
        writeln!(
            out,
            "area under precision and recall (synthetic): {:.4} by request, {:.4} by episode and subject's day",
            self.by_request, self.by_episode
        )?;
        writeln!(
            out,
            "false alerts (synthetic): {:.4} % of {} subjects' days have one, {:.5} alerts a subject and day; threshold {:.4}",
            percent(self.false_days, self.days),
            self.days,
            self.false_requests as f64 / self.days as f64,
            calibration.threshold
        )?;
        let mut by: Vec<_> = self.false_by.iter().collect();
        by.sort_by_key(|b| std::cmp::Reverse(*b.1));
        for (odd, days) in by {
            let name = odd.map_or("usual".to_owned(), |o| format!("{o:?}").to_lowercase());
            writeln!(out, "    first alert of a day while {name:<12} {days:>4}")?;
        }
        writeln!(
            out,
            "{:<24} {:>8} {:>8} {:>15} {:>20}   (synthetic)",
            "episodes", "number", "found %", "before answer %", "requests till found"
        )?;
        for (kind, (found, early, until, all)) in &self.kinds {
            let mut until = until.clone();
            until.sort_unstable();
            let middle = until.get(until.len() / 2).map_or("-".to_owned(), ToString::to_string);
            writeln!(
                out,
                "{:<24} {all:>8} {:>8.1} {:>15.1} {middle:>20}",
                kind.name(),
                percent(*found, *all),
                percent(*early, *all)
            )?;
        }
        let (found, all) = self.found();
        writeln!(out, "{:<24} {all:>8} {:>8.1}", "all", percent(found, all))?;
        writeln!(
            out,
            "ECE (synthetic, {} % of requests attacks): {:.4} of all, {:.4} of those at 5 % and more",
            PRIOR * 100.0,
            self.ece,
            self.ece_raised
        )?;
        for (n, (weight, said, truth)) in self.bins.iter().enumerate() {
            writeln!(
                out,
                "    {:>3} to {:>3} %: {weight:>12.1} requests, said {:>6.2} %, were {:>6.2} %",
                n * 10,
                n * 10 + 10,
                100.0 * said / weight,
                100.0 * truth / weight
            )?;
        }
        Ok(())
    }
}

const WITHOUT: &[(&str, Mask)] = &[
    ("without token", |g| g != Group::Token),
    ("without subject", |g| g != Group::Subject),
    ("without access", |g| g != Group::Access),
    ("without answer", |g| g != Group::Answer),
    ("without payload", |g| g != Group::Payload),
    ("without network", |g| g != Group::Network),
];

/// Public sessions of an API as far as their columns map: an outside check. Its column of address
/// kinds is left out, as in it a data centre is an outlier in every row.
fn outside(out: &mut impl Write, data: &Path, model: &BehaviourModel) -> Result<()> {
    let path = data.join("behaviour/api_access.csv");
    let mut reader = csv::Reader::from_path(&path).with_context(|| path.display().to_string())?;
    let headers = reader.headers()?.clone();
    let column = |name: &str| {
        headers.iter().position(|h| h == name).with_context(|| format!("no column {name}"))
    };
    let (interval, unique, truth) = (
        column("inter_api_access_duration(sec)")?,
        column("num_unique_apis")?,
        column("classification")?,
    );
    let mut said_of = [const { Vec::new() }; 3];
    for record in reader.records() {
        let record = record?;
        let number = |at: usize| record.get(at).and_then(|v| v.parse::<f32>().ok());
        let mut vector = Vector::default();
        vector.set_option(Index::Interval, number(interval).map(|s| (1.0 + 1000.0 * s).log2()));
        vector.set_option(Index::RoutesHour, number(unique).map(|n| (1.0 + n).log2()));
        let said = model.answers(vector.values());
        let outlier = record.get(truth) == Some("outlier");
        for (to, value) in said_of.iter_mut().zip([said.evidence, said.boosted, said.anomaly]) {
            to.push((value, outlier));
        }
    }
    let [forest, boosted, isolation] = said_of;
    let outliers = forest.iter().filter(|s| s.1).count();
    let all = forest.len();
    writeln!(
        out,
        "\noutside check: {} public API sessions, {:.1} % outliers, by interval and number of routes alone (no training on them)",
        all,
        percent(outliers, all)
    )?;
    writeln!(
        out,
        "    area under precision and recall: random forest {:.3}, boosted trees {:.3}, isolation forest {:.3}; by chance {:.3}",
        average_precision(forest),
        average_precision(boosted),
        average_precision(isolation),
        outliers as f64 / all as f64
    )?;
    Ok(())
}

/// What a model says of recorded vectors.
fn ask(model: &BehaviourModel, recorded: &Sampled<Example>) -> Test {
    let mut places: Vec<u32> = recorded.kinds.keys().copied().collect();
    places.sort_unstable();
    let mut episodes: Vec<(Kind, usize)> =
        places.iter().filter_map(|at| Some((*recorded.kinds.get(at)?, 0))).collect();
    let mut heard = Vec::with_capacity(recorded.rows.len());
    for example in &recorded.rows {
        let answered = model.answers(&example.values);
        let (attack, day) = match example.truth {
            train::Truth::Attack { episode } => {
                let place = places.partition_point(|p| *p < episode);
                episodes[place].1 += 1;
                (Some(place as u32), 0)
            }
            train::Truth::Legitimate { day } => (None, day),
        };
        heard.push(Heard { attack, odd: None, day, asked: answered, answered });
    }
    Test { reasons: Reasons::new(), heard, episodes, learning: 0, requests: recorded.rows.len() }
}

/// What groups of features are worth, and what is found of attacks of a kind never seen: in the
/// rounds of these names, or in all of them if none is named.
///
/// # Errors
/// A name that no round has, or what training says.
pub(super) fn ablate(out: &mut impl Write, rounds: &[String]) -> Result<()> {
    let groups = [("all", all_groups as Mask)];
    let groups: Vec<_> = groups.iter().chain(WITHOUT).collect();
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|k| *k != Kind::Mixed).collect();
    let names = || groups.iter().map(|g| g.0).chain(kinds.iter().map(|k| k.name()));
    if let Some(unknown) = rounds.iter().find(|round| !names().any(|name| name == *round)) {
        let names: Vec<&str> = names().collect();
        bail!("no round is named `{unknown}`: there are {}", names.join("; "));
    }
    let is_due = |name: &str| rounds.is_empty() || rounds.iter().any(|round| round == name);
    let pool = behaviour::pool();
    // A third of the worlds to grow from: what is compared is one training with another.
    let first: Vec<Example> =
        pool.rows.iter().filter(|r| pool.world(r.truth).is_multiple_of(3)).cloned().collect();
    let held = behaviour::record("worlds to calibrate on", behaviour::CALIBRATE, &SETTLED);
    let test = behaviour::record("worlds to test on", ABLATION, &TEST);
    let mut stages = progress::Stages::default();
    writeln!(
        out,
        "\nwhat each group of features is worth (synthetic; trained without it; a third of the worlds to grow from, half of the fresh ones)"
    )?;
    heading(out)?;
    for (name, mask) in groups.into_iter().filter(|(name, _)| is_due(name)) {
        let forests = behaviour::grow(&first, *mask, &mut |p| stages.show(p))?;
        let rows: Vec<&Example> = held.rows.iter().collect();
        let said = forests.listen(&rows, &mut |p| stages.show(p));
        let model = forests.with(calibrate(&said, Voices::ALL)?);
        Figures::of(&ask(&model, &test), &model.calibration).line(out, name)?;
    }
    writeln!(
        out,
        "\nfound of a kind of attack that was not trained on, nor calibrated, nor mixed with others (synthetic)"
    )?;
    writeln!(out, "{:<24} {:>8} {:>8} {:>14}", "episodes", "number", "all %", "no isolation %")?;
    for unseen in kinds.into_iter().filter(|kind| is_due(kind.name())) {
        let is_out = |kind: Option<Kind>| kind == Some(unseen) || kind == Some(Kind::Mixed);
        let rows: Vec<Example> =
            first.iter().filter(|r| !is_out(pool.kind(r.truth))).cloned().collect();
        let forests = behaviour::grow(&rows, all_groups, &mut |p| stages.show(p))?;
        let rows: Vec<&Example> =
            held.rows.iter().filter(|r| !is_out(held.kind(r.truth))).collect();
        let said = forests.listen(&rows, &mut |p| stages.show(p));
        let test = ask(&forests.uncalibrated(), &test);
        let found = |voices| -> Result<(f64, usize)> {
            let figures = Figures::of(&test, &calibrate(&said, voices)?);
            let of = figures.kinds.get(&unseen).map_or((0, 0), |k| (k.0, k.3));
            Ok((percent(of.0, of.1), of.1))
        };
        let ((all, number), (less, _)) =
            (found(Voices::ALL)?, found(Voices { isolation: false, ..Voices::ALL })?);
        writeln!(out, "{:<24} {number:>8} {all:>8.1} {less:>14.1}", unseen.name())?;
        out.flush()?;
    }
    Ok(())
}

fn heading(out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "{:<28} {:>8} {:>8} {:>9} {:>9} {:>10} {:>8}",
        "", "requests", "episodes", "found %", "worst %", "false d. %", "ECE 5%+"
    )?;
    Ok(())
}

/// Prints every figure of the behaviour model.
///
/// # Errors
/// An artifact that does not load, data that is missing, or what training says.
pub(super) fn report(out: &mut impl Write, data: &Path, ablation: bool) -> Result<()> {
    let bytes = std::fs::read(behaviour::artifact())?;
    let model = BehaviourModel::from_bytes(&bytes).context("run `cargo xtask train` first")?;
    let forests = Forests {
        forest: model.forest.clone(),
        boosted: model.boosted.clone(),
        isolation: model.isolation.clone(),
    };
    let mut tests = Vec::new();
    for (name, worlds) in WORLDS {
        let test = listen(&model, worlds.clone());
        writeln!(
            out,
            "\nbehaviour, synthetic: {} {name}, of other ranges than the training's, {} requests ({:.1} % while learning), {} features, {} + {} + {} trees, {} bytes",
            worlds.count(),
            test.requests,
            percent(test.learning, test.requests),
            FEATURES.len(),
            model.forest.trees(),
            model.boosted.trees(),
            model.isolation.trees(),
            bytes.len()
        )?;
        Figures::of(&test, &model.calibration).print(out, &model.calibration)?;
        tests.push(test);
    }
    let test = tests.pop().context("no worlds to test on")?;
    writeln!(
        out,
        "\nfirst three reasons of alerts on attacks, most frequent first (synthetic, fresh worlds)"
    )?;
    for (kind, of) in &test.reasons {
        let mut of: Vec<_> = of.iter().collect();
        of.sort_by_key(|f| std::cmp::Reverse(f.1));
        let names: Vec<&str> = of.iter().take(5).map(|f| *f.0).collect();
        writeln!(out, "{:<24} {}", kind.name(), names.join(", "))?;
    }

    writeln!(
        out,
        "\nwhat each model is worth (synthetic, fresh worlds; each calibrated and with a threshold of its own)"
    )?;
    heading(out)?;
    let said = behaviour::listen(&forests).rows;
    for (name, forest, boosted, isolation) in [
        ("all three", true, true, true),
        ("random forest alone", true, false, false),
        ("boosted trees alone", false, true, false),
        ("isolation forest alone", false, false, true),
        ("without random forest", false, true, true),
        ("without boosted trees", true, false, true),
        ("without isolation forest", true, true, false),
    ] {
        let voices = Voices { forest, boosted, isolation };
        Figures::of(&test, &calibrate(&said, voices)?).line(out, name)?;
    }
    if ablation {
        ablate(out, &[])?;
    }
    outside(out, data, &model)
}
