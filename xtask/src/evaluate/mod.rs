//! `cargo xtask evaluate`: what the models are worth on data that they have not seen.

mod behaviour;
mod benign;
mod fresh;
mod speed;

use std::{collections::BTreeMap, io::Write, path::PathBuf};

use anyhow::{Context, Result};
use jotwatch_models::payload::{Group, PayloadModel, Scratch};

use crate::train::{
    self, Foreign, Which, artifact,
    data::{self, Label, Sample, Source},
    fit, synth,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder with the public data
    #[arg(long, value_name = "DIR", default_value = "../shared/data")]
    data: PathBuf,
    /// Train again without each group of features: several times as long
    #[arg(long)]
    ablation: bool,
    /// Only this round of the behaviour model's ablation, and nothing else: `without network`,
    /// `scraping`; several times for several
    #[arg(long = "round", value_name = "NAME", requires = "ablation")]
    rounds: Vec<String>,
    /// Only time the built-in models
    #[arg(long)]
    speed: bool,
    /// Only this model
    #[arg(long)]
    only: Option<Which>,
    /// Measure the payload model that training gives now, in the place of the artifact
    #[arg(long)]
    fresh: bool,
    /// Count alarms among the lines of this file, too
    #[arg(long, value_name = "FILE")]
    lines: Option<PathBuf>,
    /// Show so many misses and false alarms of each source
    #[arg(long, value_name = "N", default_value_t = 0)]
    show: usize,
}

/// A share in percent.
fn percent(of: usize, all: usize) -> f64 {
    if all == 0 { f64::NAN } else { 100.0 * of as f64 / all as f64 }
}

/// Every `n`th of a long list, so that a few show the whole of it.
fn spread<T>(list: &[T], n: usize) -> impl Iterator<Item = &T> {
    list.iter().step_by((list.len() / n.max(1)).max(1)).take(n)
}

fn shown(sample: &Sample) -> String {
    let text: Vec<String> = sample
        .parts
        .iter()
        .map(|p| String::from_utf8_lossy(&p.bytes).chars().take(140).collect())
        .collect();
    text.join(" ¦ ").escape_debug().to_string()
}

/// Figures of one source that was held out whole.
#[derive(Default)]
struct Figures {
    found: usize,
    attacks: usize,
    alarms: usize,
    benign: usize,
    /// Lines that its lists have among attacks, and that are none on their own.
    others: usize,
    others_found: usize,
}

fn held_out(
    out: &mut impl Write,
    foreign: &Foreign<'_>,
    source: Source,
    show: usize,
) -> Result<Figures> {
    let settings = foreign.settings(Some(source))?;
    let mut classes: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let (mut misses, mut alarms) = (Vec::new(), Vec::new());
    let mut all = Figures::default();
    for (sample, margin) in foreign.rows.iter().filter(|(s, _)| s.source == source) {
        let hit = *margin > settings.threshold;
        let name = match sample.label {
            Label::Benign => {
                all.benign += 1;
                if hit {
                    all.alarms += 1;
                    alarms.push((sample, margin));
                }
                continue;
            }
            Label::Attack(class) => {
                all.attacks += 1;
                all.found += usize::from(hit);
                if !hit {
                    misses.push((sample, margin));
                }
                class.id()
            }
            Label::Fragment => "(fragments)",
            Label::Redirect => "(redirects)",
            Label::Harmless => "(harmless markup)",
        };
        let (found, n) = classes.entry(name).or_default();
        *found += usize::from(hit);
        *n += 1;
        if !matches!(sample.label, Label::Attack(_)) {
            all.others += 1;
            all.others_found += usize::from(hit);
        }
    }
    writeln!(
        out,
        "{:<22} {:>7} {:>9.2} {:>8} {:>9.3}   threshold {:.2}",
        source.name(),
        all.attacks,
        percent(all.found, all.attacks),
        all.benign,
        percent(all.alarms, all.benign),
        settings.threshold,
    )?;
    for (class, (found, n)) in classes {
        writeln!(out, "    {class:<18} {n:>7} {:>9.2}", percent(found, n))?;
    }
    for (sample, margin) in spread(&misses, show) {
        writeln!(out, "      missed {margin:.2}: {}", shown(sample))?;
    }
    for (sample, margin) in spread(&alarms, show) {
        writeln!(out, "      alarm {margin:.2}: {}", shown(sample))?;
    }
    Ok(all)
}

/// What the calibration said of each row that is an attack or legitimate: its probability where half
/// are attacks, and which it is. Each fold's rows are calibrated on those of the others.
fn said(
    foreign: &Foreign<'_>,
    folds: usize,
    fold: impl Fn(usize, &Sample) -> usize,
) -> Result<Vec<(f64, bool)>> {
    let mut said = Vec::new();
    for out in 0..folds {
        let curve = foreign.curve(|at, sample| fold(at, sample) != out)?;
        for (at, (sample, margin)) in foreign.rows.iter().enumerate() {
            let attack = matches!(sample.label, Label::Attack(_));
            if fold(at, sample) == out && (attack || sample.label == Label::Benign) {
                said.push((curve.probability(*margin).into(), attack));
            }
        }
    }
    Ok(said)
}

/// Expected calibration error over ten bins of equal width where attacks weigh `base` of all, of
/// requests with a probability from `least` on.
fn calibration_error(said: &[(f64, bool)], base: f64, least: f64) -> f64 {
    const BINS: usize = 10;
    let mut bins = [(0.0, 0.0, 0.0); BINS];
    let attacks = said.iter().filter(|(_, attack)| *attack).count() as f64;
    let benign = said.len() as f64 - attacks;
    for (even, attack) in said {
        let (truth, weight) =
            if *attack { (1.0, base / attacks) } else { (0.0, (1.0 - base) / benign) };
        let probability = even * base / (even * base + (1.0 - even) * (1.0 - base));
        if probability < least {
            continue;
        }
        let bin = &mut bins[((probability * BINS as f64) as usize).min(BINS - 1)];
        bin.0 += weight;
        bin.1 += weight * probability;
        bin.2 += weight * truth;
    }
    let all: f64 = bins.iter().map(|(weight, ..)| weight).sum();
    bins.iter().map(|(_, said, true_)| (said - true_).abs()).sum::<f64>() / all
}

/// The calibration error at several shares of attacks.
fn calibration(out: &mut impl Write, foreign: &Foreign<'_>) -> Result<()> {
    writeln!(
        out,
        "\ncalibration error (ECE); curve from the other sources, and from every other row of all"
    )?;
    writeln!(out, "attacks %      all   at 5 % and more   |   all   at 5 % and more")?;
    let place = |source| Source::PUBLIC.iter().position(|known| *known == source);
    let sources = said(foreign, Source::PUBLIC.len(), |_, s| place(s.source).unwrap_or_default())?;
    let halves = said(foreign, 2, |at, _| at % 2)?;
    for base in [0.01, 0.05, 0.2, 0.5] {
        let [a, b, c, d] = [(&sources, 0.0), (&sources, 0.05), (&halves, 0.0), (&halves, 0.05)]
            .map(|(said, least)| calibration_error(said, base, least));
        writeln!(out, "{:>9} {a:>8.4} {b:>17.4}   | {c:>5.4} {d:>17.4}", 100.0 * base)?;
    }
    Ok(())
}

fn summary(figures: &[Figures]) -> (f64, f64) {
    let sum = |get: fn(&Figures) -> usize| figures.iter().map(get).sum::<usize>();
    (percent(sum(|f| f.found), sum(|f| f.attacks)), percent(sum(|f| f.alarms), sum(|f| f.benign)))
}

/// Legitimate values of kinds that detectors stumble over, against the built-in model.
fn stumbling_blocks(out: &mut impl Write, args: &Args, model: &PayloadModel) -> Result<()> {
    writeln!(
        out,
        "\nlegitimate values that look like attacks, built-in model, never trained on; in brackets: not in all"
    )?;
    writeln!(out, "{:<22} {:>7} {:>9}", "kind", "values", "alarms %")?;
    let mut scratch = Scratch::default();
    let (mut all, mut alarms) = (0, 0);
    let mut sets = benign::sets(&args.data)?;
    if let Some(file) = &args.lines {
        sets.push(("(your lines)", benign::lines(file)?));
    }
    for (kind, samples) in sets {
        let mut hits = Vec::new();
        for sample in &samples {
            let score = model.score(&sample.values(), &mut scratch);
            if score.is_attack {
                hits.push((sample, score));
            }
        }
        if !kind.starts_with('(') {
            all += samples.len();
            alarms += hits.len();
        }
        writeln!(
            out,
            "{kind:<22} {:>7} {:>9.3}",
            samples.len(),
            percent(hits.len(), samples.len())
        )?;
        for (sample, score) in spread(&hits, args.show) {
            let reasons: Vec<&str> = score.reasons.iter().flatten().map(|r| r.feature.id).collect();
            writeln!(out, "      alarm {:.3} {reasons:?}: {}", score.probability, shown(sample))?;
        }
    }
    writeln!(out, "{:<22} {all:>7} {:>9.3}", "all", percent(alarms, all))?;
    Ok(())
}

/// Class that the built-in model names, for attacks that it finds. It has been trained on them.
fn classes(out: &mut impl Write, samples: &[Sample], model: &PayloadModel) -> Result<()> {
    let mut scratch = Scratch::default();
    let mut right: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for sample in samples {
        let Label::Attack(class) = sample.label else { continue };
        let score = model.score(&sample.values(), &mut scratch);
        if score.is_attack {
            let (same, n) = right.entry(class.id()).or_default();
            *same += usize::from(score.class == Some(class));
            *n += 1;
        }
    }
    writeln!(
        out,
        "\nclass named rightly, where an attack is found (built-in model, its own training sets)"
    )?;
    for (class, (same, n)) in right {
        writeln!(out, "{class:<22} {n:>7} {:>9.2}", percent(same, n))?;
    }
    Ok(())
}

/// Prints every figure of the models.
///
/// # Errors
/// Data that is missing, an artifact that does not load, or what training says.
pub(crate) fn run(args: &Args) -> Result<()> {
    let out = &mut std::io::stdout().lock();
    if !args.rounds.is_empty() {
        return behaviour::ablate(out, &args.rounds);
    }
    if args.only != Some(Which::Behaviour) {
        payload(out, args)?;
    }
    if args.only != Some(Which::Payload) {
        if !args.speed {
            behaviour::report(out, &args.data, args.ablation)?;
        }
        speed::behaviour(out)?;
    }
    Ok(())
}

fn payload(out: &mut impl Write, args: &Args) -> Result<()> {
    let bytes = std::fs::read(artifact())?;
    let model = PayloadModel::from_bytes(&bytes).context("run `cargo xtask train` first");
    if args.speed {
        return speed::report(out, &model?);
    }
    let samples = data::load(&args.data)?;
    let generated = synth::generate(&samples);
    writeln!(out, "each source held out whole; threshold and calibration from the others")?;
    writeln!(
        out,
        "{:<22} {:>7} {:>9} {:>8} {:>9}",
        "source", "attacks", "found %", "benign", "alarms %"
    )?;
    let foreign = Foreign::measure(&samples, &generated, fit::all_groups, |_, _| {})?;
    let figures = Source::PUBLIC
        .iter()
        .map(|s| held_out(out, &foreign, *s, args.show))
        .collect::<Result<Vec<_>>>()?;
    let (found, alarms) = summary(&figures);
    writeln!(out, "all: {found:.2} % found, {alarms:.3} % false alarms")?;
    let whole = |f: &Figures| percent(f.found + f.others_found, f.attacks + f.others);
    let lists: Vec<String> = Source::PUBLIC
        .iter()
        .zip(&figures)
        .filter(|(_, f)| f.others > 0)
        .map(|(source, f)| format!("{} {:.2} %", source.name(), whole(f)))
        .collect();
    writeln!(out, "found of every line of the lists, in brackets or not: {}", lists.join(", "))?;
    calibration(out, &foreign)?;
    if args.ablation {
        writeln!(out, "\nfeature groups, each source held out whole")?;
        for (name, mask) in ABLATIONS {
            let foreign = Foreign::measure(&samples, &generated, *mask, |_, _| {})?;
            let mut sink = std::io::sink();
            let figures = Source::PUBLIC
                .iter()
                .map(|s| held_out(&mut sink, &foreign, *s, 0))
                .collect::<Result<Vec<_>>>()?;
            let (found, alarms) = summary(&figures);
            writeln!(
                out,
                "{name:<28} {found:>7.2} % found {alarms:>7.3} % false alarms, threshold {:.2}",
                foreign.settings(None)?.threshold
            )?;
            out.flush()?;
        }
    }
    let model = match args.fresh {
        true => {
            let bytes = train::build(&samples, &generated, &foreign)?.to_bytes()?;
            PayloadModel::from_bytes(&bytes)?
        }
        false => model?,
    };
    stumbling_blocks(out, args, &model)?;
    classes(out, &samples, &model)?;
    speed::report(out, &model)
}

/// Whether a group is hashed, not named.
fn is_hashed(group: Group) -> bool {
    matches!(group, Group::TokenGrams | Group::CharGrams)
}

/// What the figures are without a group. Those of the named groups are taken without the hashed
/// ones, which would stand in for them in part.
const ABLATIONS: &[(&str, fit::Mask)] = &[
    ("named features only", |g| !is_hashed(g)),
    ("named without decoding", |g| !is_hashed(g) && g != Group::Decoding),
    ("named without sql", |g| !is_hashed(g) && g != Group::Sql),
    ("named without markup", |g| !is_hashed(g) && g != Group::Markup),
    ("named without path", |g| !is_hashed(g) && g != Group::Path),
    ("named without shell", |g| !is_hashed(g) && g != Group::Shell),
    ("named without expression", |g| !is_hashed(g) && g != Group::Expression),
    ("named without shape", |g| !is_hashed(g) && g != Group::Shape),
    ("all without character grams", |g| g != Group::CharGrams),
    ("hashed features only", is_hashed),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a hundred at each of four probabilities as many are attacks as it says: no error where half
    /// are, and none elsewhere once the odds are moved; and all the error there is, where it is wrong.
    #[test]
    fn calibration_error_is_that_of_the_definition() {
        let mut right = Vec::new();
        for percent in [5, 25, 75, 95] {
            right.extend((0..100).map(|n| (f64::from(percent) / 100.0, n < percent)));
        }
        for base in [0.01, 0.2, 0.5] {
            assert!(calibration_error(&right, base, 0.0) < 1e-9, "{base}");
        }
        let wrong = [(0.9, true), (0.9, false)];
        assert!((calibration_error(&wrong, 0.5, 0.0) - 0.4).abs() < 1e-9);
        assert!((calibration_error(&[(0.1, true), (0.9, false)], 0.5, 0.5) - 0.9).abs() < 1e-9);
    }
}
