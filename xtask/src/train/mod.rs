//! `cargo xtask train`: rebuilds the models' artifacts from the public data and from generated
//! sessions, bit for bit.

pub(crate) mod behaviour;
pub(crate) mod data;
pub(crate) mod fit;
mod fragment;
pub(crate) mod sessions;
pub(crate) mod synth;

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use jotwatch_models::payload::{Curve, Weights};

use crate::{progress, setup};
use data::{Label, Sample, Source};
use fit::Mask;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder with the public data; see models/artifacts/payload.md for what is in it
    #[arg(long, value_name = "DIR", default_value = "../shared/data")]
    data: PathBuf,
    /// Write nothing; fail unless the artifacts are what training gives
    #[arg(long)]
    check: bool,
    /// Only this model
    #[arg(long)]
    only: Option<Which>,
}

/// A model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Which {
    Payload,
    Behaviour,
}

/// Where the artifact lies.
pub(crate) fn artifact() -> PathBuf {
    setup::workspace().join("models/artifacts/payload.model")
}

/// At most this share of the legitimate requests of any source may be taken for attacks, where
/// the source was held out; the threshold is set by it.
pub(crate) const FALSE_POSITIVES: f64 = 0.003;

/// No threshold is below this margin, even if the sources at hand would allow it: few of them have
/// requests with any evidence, and the next may have more.
const LOWEST: f32 = 1.0;

/// What is trained on when `held_out` is not: all else, without what it also has.
fn training<'a>(
    samples: &'a [Sample],
    generated: &'a [Sample],
    held_out: Option<Source>,
) -> Vec<&'a Sample> {
    let keys: HashSet<&str> =
        samples.iter().filter(|s| Some(s.source) == held_out).map(|s| s.key.as_str()).collect();
    let public =
        samples.iter().filter(|s| Some(s.source) != held_out && !keys.contains(s.key.as_str()));
    public.chain(generated.iter().filter(|s| !keys.contains(s.key.as_str()))).collect()
}

/// The margins that each public source's requests get from a model that has not seen the source.
pub(crate) struct Foreign<'a> {
    pub(crate) rows: Vec<(&'a Sample, f32)>,
}

impl<'a> Foreign<'a> {
    /// Trains once a source, on all the others.
    ///
    /// # Errors
    /// What training says.
    pub(crate) fn measure(
        samples: &'a [Sample],
        generated: &[Sample],
        mask: Mask,
        mut held: impl FnMut(Source, &Weights),
    ) -> Result<Self> {
        let mut rows = Vec::new();
        let bar = progress::bar("trained without each source", Source::PUBLIC.len());
        for source in Source::PUBLIC {
            let weights = fit::train(&training(samples, generated, Some(source)), mask)?;
            held(source, &weights);
            let of: Vec<&Sample> = samples.iter().filter(|s| s.source == source).collect();
            rows.extend(of.iter().copied().zip(fit::margins(&weights, of.iter().copied())));
            bar.inc(1);
        }
        Ok(Self { rows })
    }

    /// Threshold margin and calibration, from all sources but `without`.
    ///
    /// # Errors
    /// That a label has no rows.
    pub(crate) fn settings(&self, without: Option<Source>) -> Result<Settings> {
        let rows = || self.rows.iter().filter(|(s, _)| Some(s.source) != without);
        let mut threshold = LOWEST;
        for source in Source::PUBLIC {
            let mut benign: Vec<f32> = rows()
                .filter(|(s, _)| s.source == source && s.label == Label::Benign)
                .map(|r| r.1)
                .collect();
            benign.sort_by(f32::total_cmp);
            let allowed = (benign.len() as f64 * FALSE_POSITIVES) as usize;
            // The first that is too many stays below.
            if let Some(at) = benign.len().checked_sub(allowed + 1) {
                threshold = threshold.max(benign[at]);
            }
        }
        let curve = self.curve(|_, sample| Some(sample.source) != without)?;
        Ok(Settings { threshold, curve })
    }

    /// The calibration from the rows (place, request) that `keep` takes.
    ///
    /// # Errors
    /// That a label has no rows.
    pub(crate) fn curve(&self, keep: impl Fn(usize, &Sample) -> bool) -> Result<Curve> {
        let kept = self.rows.iter().enumerate().filter(|(at, (sample, _))| keep(*at, sample));
        let points: Vec<(f32, bool)> = kept
            .filter_map(|(_, (sample, margin))| match sample.label {
                Label::Benign => Some((*margin, false)),
                Label::Attack(_) => Some((*margin, true)),
                Label::Fragment | Label::Redirect | Label::Harmless => None,
            })
            .collect();
        fit::calibrate(&points)
    }
}

/// What stands between a margin and a verdict.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The margin above which a request is taken for an attack.
    pub(crate) threshold: f32,
    pub(crate) curve: Curve,
}

/// Trains on everything, with threshold and calibration from the sources held out in turn.
///
/// # Errors
/// Data that is missing, or what training says.
pub(crate) fn build(
    samples: &[Sample],
    generated: &[Sample],
    foreign: &Foreign<'_>,
) -> Result<Weights> {
    let weights = fit::train(&training(samples, generated, None), fit::all_groups)?;
    let settings = foreign.settings(None)?;
    // A hair above, so that the margin itself does not pass.
    const HAIR: f32 = 1.0 / 512.0;
    Ok(Weights { curve: settings.curve, threshold: settings.threshold + HAIR, ..weights })
}

/// Trains and writes the artifacts, or compares them.
///
/// # Errors
/// Data that is missing; an artifact that differs, with `--check`.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.only != Some(Which::Behaviour) {
        let samples = data::load(&args.data)?;
        let generated = synth::generate(&samples);
        let foreign = Foreign::measure(&samples, &generated, fit::all_groups, |source, _| {
            eprintln!("trained without {}", source.name());
        })?;
        let bytes = build(&samples, &generated, &foreign)?.to_bytes()?;
        finish(&artifact(), &bytes, args.check)?;
    }
    if args.only != Some(Which::Payload) {
        finish(&behaviour::artifact(), &behaviour::build()?.to_bytes()?, args.check)?;
    }
    Ok(())
}

fn finish(path: &Path, bytes: &[u8], check: bool) -> Result<()> {
    if check {
        ensure!(fs::read(path)? == bytes, "{} is not what training gives", path.display());
        eprintln!("{} is what training gives", path.display());
    } else {
        fs::write(path, bytes)?;
        eprintln!("{}: {} bytes", path.display(), bytes.len());
    }
    Ok(())
}
