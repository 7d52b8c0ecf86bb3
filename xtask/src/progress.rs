//! Bars with rates for long work, on stderr, when a person watches.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use jotwatch_models::train::{Progress, Stage};

/// A bar over `len` things; drawn nowhere where stderr is no terminal. Dropped, it is gone.
pub(crate) fn bar(what: &str, len: usize) -> ProgressBar {
    let bar = ProgressBar::new(len as u64).with_message(what.to_owned());
    let template = "{msg} [{bar:30}] {pos}/{len} {per_sec} {elapsed}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// A bar for each stage of training, one after another.
#[derive(Default)]
pub(crate) struct Stages(Option<(Stage, ProgressBar)>);

impl Stages {
    /// Shows how far training is.
    pub(crate) fn show(&mut self, progress: Progress) {
        if self.0.as_ref().is_none_or(|(stage, _)| *stage != progress.stage) {
            self.end();
            self.0 = Some((progress.stage, bar(progress.stage.name(), progress.all)));
        }
        if let Some((_, bar)) = &self.0 {
            bar.set_position(progress.done as u64);
        }
    }

    fn end(&mut self) {
        if let Some((_, bar)) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_has_a_bar_of_its_own() {
        let mut stages = Stages::default();
        let mut at = |stage, done| {
            stages.show(Progress { stage, done, all: 10 });
            let (_, bar) = stages.0.as_ref().unwrap();
            (bar.message(), bar.position(), bar.length())
        };
        let growing = at(Stage::Boosting, 3);
        assert_eq!((growing.1, growing.2), (3, Some(10)));
        assert_eq!(at(Stage::Boosting, 7), (growing.0.clone(), 7, Some(10)));
        let asking = at(Stage::Listening, 1);
        assert!(asking.0 != growing.0 && asking.1 == 1);
    }
}
