//! What there is to tell of a model that was trained.

use std::fmt;

use serde::Serialize;

use super::platt::Bent;

/// Where the random forest comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Trees {
    /// The built-in's stay: there are too few labels to grow others.
    BuiltIn {
        /// Subjects' days with a malicious label to learn from.
        malicious: usize,
        /// And with a benign one.
        benign: usize,
        /// Of each there would have to be so many.
        needed: usize,
        /// How the labels there are bent the calibration.
        bent: Option<Bent>,
    },
    /// Grown from the host's labels, and standing beside the built-in's.
    Grown {
        /// Subjects' days with a malicious label that they were grown from.
        malicious: usize,
        /// And with a benign one.
        benign: usize,
    },
}

impl Default for Trees {
    fn default() -> Self {
        Self::BuiltIn { malicious: 0, benign: 0, needed: super::GROW_FROM, bent: None }
    }
}

/// How the threshold was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Threshold {
    /// The threshold on the probability.
    pub value: f32,
    /// The share of subjects' days that may have a false alert.
    pub rate: f64,
    /// Subjects' days that it was set on.
    pub days: u64,
    /// They are enough to set it below what it was.
    pub may_fall: bool,
    /// What it was.
    pub built_in: f32,
}

/// A model on the subjects' days that are held out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Its threshold.
    pub threshold: f32,
    /// Days with an alert that nobody called malicious.
    pub days_with_alert: u64,
}

/// A model on the labelled exchanges that are held out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Labelled {
    /// Labelled malicious.
    pub malicious: u64,
    /// Of these, found.
    pub found: u64,
    /// Labelled benign.
    pub benign: u64,
    /// Of these, suspicious.
    pub alerts: u64,
}

/// Both models on what is held out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct HeldOut {
    /// Subjects' days.
    pub days: u64,
    /// The built-in model.
    pub built_in: Figures,
    /// The one that was trained.
    pub new: Figures,
    /// The mean difference of their probabilities, without its sign.
    pub mean_difference: f64,
    /// The built-in model on labels.
    pub labelled_built_in: Labelled,
    /// The one that was trained on labels.
    pub labelled_new: Labelled,
}

/// The summary of a training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Card {
    /// Files read.
    pub files: usize,
    /// Lines in them.
    pub rows: u64,
    /// Exchanges that the lines stand for.
    pub exchanges: u64,
    /// Subjects.
    pub subjects: u64,
    /// When the first was, RFC 3339.
    pub first: Option<String>,
    /// When the last was.
    pub last: Option<String>,
    /// Lines left out as their subjects' profiles were learning.
    pub learning: u64,
    /// Lines left out as an attack was proven.
    pub proven: u64,
    /// Lines that were learned from.
    pub drawn: u64,
    /// Drawn from so many.
    pub drawn_from: u64,
    /// Labelled malicious and usable.
    pub malicious: u64,
    /// Labelled benign and usable.
    pub benign: u64,
    /// Labels of exchanges that are in none of the files.
    pub labels_missing: u64,
    /// Labels of exchanges of profiles that were learning.
    pub labels_learning: u64,
    /// The seed.
    pub seed: u64,
    /// Where the random forest comes from.
    pub trees: Trees,
    /// The threshold.
    pub threshold: Threshold,
    /// The figures.
    pub held_out: HeldOut,
    /// Lines of subjects' days beyond those that are counted.
    pub days_not_counted: u64,
}

impl Card {
    /// As one JSON object.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let trees = match &self.trees {
            Trees::BuiltIn { malicious, benign, needed, bent } => serde_json::json!({
                "from": "built-in",
                "malicious_days": malicious, "benign_days": benign, "needed_days": needed,
                "calibration": bent.map(|bent| serde_json::json!({
                    "moved": bent.moved, "stretched": bent.stretched,
                })),
            }),
            Trees::Grown { malicious, benign } => serde_json::json!({
                "from": "built-in and grown", "malicious_days": malicious, "benign_days": benign,
            }),
        };
        serde_json::json!({
            "files": self.files,
            "rows": self.rows,
            "exchanges": self.exchanges,
            "subjects": self.subjects,
            "first": self.first,
            "last": self.last,
            "left_out": { "learning": self.learning, "proven": self.proven },
            "drawn": self.drawn,
            "drawn_from": self.drawn_from,
            "labels": {
                "malicious": self.malicious,
                "benign": self.benign,
                "missing": self.labels_missing,
                "learning": self.labels_learning,
            },
            "seed": self.seed,
            "random_forest": trees,
            "threshold": self.threshold,
            "held_out": self.held_out,
            "rows_not_counted": self.days_not_counted,
        })
    }
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |time: &Option<String>| time.clone().unwrap_or_default();
        writeln!(
            f,
            "history        {} lines for {} exchanges of {} subjects, {} to {}",
            self.rows,
            self.exchanges,
            self.subjects,
            span(&self.first),
            span(&self.last)
        )?;
        writeln!(
            f,
            "left out       {} of profiles that were learning, {} proven attacks",
            self.learning, self.proven
        )?;
        writeln!(
            f,
            "learned from   {} of {} lines; the others are held out",
            self.drawn, self.drawn_from
        )?;
        write!(f, "labels         {} malicious, {} benign", self.malicious, self.benign)?;
        if self.labels_missing > 0 {
            write!(f, "; {} are of no exchange in the history", self.labels_missing)?;
        }
        if self.labels_learning > 0 {
            write!(f, "; {} of profiles that were learning", self.labels_learning)?;
        }
        writeln!(f)?;
        match &self.trees {
            Trees::BuiltIn { malicious, benign, needed, bent } => {
                writeln!(
                    f,
                    "random forest  the built-in's: labels of {malicious} malicious and {benign} \
                     benign subjects' days to learn from, {needed} of each would grow trees"
                )?;
                if let Some(Bent { moved, stretched }) = bent {
                    writeln!(
                        f,
                        "calibration    bent by the labels: log-odds × {stretched:.2} {moved:+.2}"
                    )?;
                }
            }
            Trees::Grown { malicious, benign } => writeln!(
                f,
                "random forest  the built-in's trees and as many grown here, from labels of \
                 {malicious} malicious and {benign} benign subjects' days"
            )?,
        }
        let Threshold { value, rate, days, may_fall, built_in } = self.threshold;
        write!(f, "threshold      {value:.4} for false alerts on {rate} of subjects' days")?;
        if may_fall {
            writeln!(f, ", set on {days} of them")?;
        } else {
            writeln!(f, "; {days} of them are too few to go below {built_in:.4}")?;
        }
        let HeldOut { days, built_in, new, mean_difference, labelled_built_in, labelled_new } =
            &self.held_out;
        writeln!(f, "\nheld out                                {:>10} {:>10}", "built in", "new")?;
        let mut line = |what: String, before: u64, after: u64| {
            writeln!(f, "  {what:<37} {before:>10} {after:>10}")
        };
        line(
            format!("of {days} subjects' days, with an alert"),
            built_in.days_with_alert,
            new.days_with_alert,
        )?;
        let (before, after) = (labelled_built_in, labelled_new);
        if after.malicious > 0 {
            line(
                format!("of {} malicious labels, found", after.malicious),
                before.found,
                after.found,
            )?;
        }
        if after.benign > 0 {
            line(
                format!("of {} benign labels, alerts", after.benign),
                before.alerts,
                after.alerts,
            )?;
        }
        writeln!(f, "  mean difference of the probabilities  {mean_difference:>21.4}")?;
        if self.days_not_counted > 0 {
            let lines = self.days_not_counted;
            writeln!(f, "  {lines} lines are of further subjects' days, and not counted")?;
        }
        Ok(())
    }
}
