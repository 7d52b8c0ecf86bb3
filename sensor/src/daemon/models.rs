//! The behaviour model in force, and the one in shadow.
//!
//! Which one is in force says the configuration, until somebody promotes another: that one is kept
//! in the state folder, and stays in force over restarts as long as the configuration names what it
//! named then. When that names another model, or its file has other bytes, the configuration has
//! the last word again.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use jotwatch_models::behaviour::BehaviourModel;
use serde::{Deserialize, Serialize};

use super::{Daemon, lists, now};
use crate::{
    config::{ScoringConfig, read_behaviour},
    control::{ModelRequest, ModelStatus, ModelsStatus, ShadowStatus},
    event::{AuditEvent, Peer},
    score::Models,
};

/// What was promoted, in the state folder.
const FILE_NAME: &str = "promoted.json";

/// Bytes of that file that are read.
const MAX_BYTES: u64 = 64 << 10;

/// What somebody promoted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Promotion {
    /// The promoted model's name; its file bears it.
    model: String,
    /// When, RFC 3339.
    at: String,
    /// Whence it was read.
    file: String,
    /// Who asked: a user id.
    uid: u32,
    /// The name of the model that the configuration had then.
    instead_of: String,
}

/// A model's name: the first 16 digits of the checksum of its artifact.
pub(super) fn name(model: &BehaviourModel) -> anyhow::Result<String> {
    let bytes = model.to_bytes()?;
    let sum = bytes.last_chunk::<32>().context("an artifact without a checksum")?;
    Ok(sum.iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}

/// A model in shadow.
#[derive(Clone)]
struct Shadow {
    file: PathBuf,
    /// The model with its name, or why there is none.
    model: Result<(Arc<BehaviourModel>, String), String>,
}

/// Which models there are.
#[derive(Clone)]
pub(super) struct Choice {
    /// What requests are scored with; `None` where they are not.
    models: Option<Models>,
    /// The name of the behaviour model among them.
    name: String,
    /// The model that the configuration asks for, and its name.
    configured: Option<(Arc<BehaviourModel>, String)>,
    configured_file: Option<PathBuf>,
    promotion: Option<Promotion>,
    /// There is a promotion that counts no more: the configuration has another model by now.
    superseded: bool,
    shadow: Option<Shadow>,
}

impl Choice {
    /// Reads what the configuration and the state folder ask for.
    ///
    /// # Errors
    /// A model that the configuration names is refused. A promoted one that is refused gives way to
    /// the configured one, and is told of. `lenient`: so is one in shadow.
    pub(super) fn load(
        scoring: &ScoringConfig,
        state_dir: &Path,
        lenient: bool,
    ) -> anyhow::Result<Self> {
        let Some(mut models) = scoring.models()? else {
            return Ok(Self {
                models: None,
                name: String::new(),
                configured: None,
                configured_file: None,
                promotion: None,
                superseded: false,
                shadow: None,
            });
        };
        let configured = (Arc::clone(&models.behaviour), name(&models.behaviour)?);
        let shadow = match (&scoring.shadow_model_file, scoring.shadow()) {
            (Some(file), Ok(Some(model))) => {
                let own = name(&model)?;
                Some(Shadow { file: file.clone(), model: Ok((model, own)) })
            }
            // What only looks on must not keep the sensor from watching.
            (Some(file), Err(error)) if lenient => {
                tracing::error!("nothing is in shadow: {error:#}");
                Some(Shadow { file: file.clone(), model: Err(format!("{error:#}")) })
            }
            (_, Err(error)) => return Err(error),
            _ => None,
        };
        let (mut promotion, mut superseded) = (None, false);
        let mut in_force = configured.1.clone();
        match promoted(state_dir, &configured.1) {
            Found::Promoted(found, model) => {
                models.behaviour = model;
                in_force.clone_from(&found.model);
                promotion = Some(found);
            }
            Found::Superseded => superseded = true,
            Found::Nothing => {}
        }
        Ok(Self {
            models: Some(models),
            name: in_force,
            configured: Some(configured),
            configured_file: scoring.behaviour_model_file.clone(),
            promotion,
            superseded,
            shadow,
        })
    }

    /// The choice counts from now on: forgets a promotion that does not any more.
    pub(super) fn settle(&mut self, state_dir: &Path) {
        if std::mem::take(&mut self.superseded) {
            tracing::warn!(
                "the configuration has another behaviour model than when one was promoted: it \
                 counts, and the promotion is over"
            );
            if let Err(error) = remember(state_dir, self) {
                tracing::error!("the promotion is not forgotten: {error:#}");
            }
        }
    }

    /// What requests are scored with.
    pub(super) fn models(&self) -> Option<Models> {
        self.models.clone()
    }

    /// The model in force and the one in shadow, where they are two.
    pub(super) fn to_compare(&self) -> Option<(Arc<BehaviourModel>, Arc<BehaviourModel>)> {
        let current = Arc::clone(&self.models.as_ref()?.behaviour);
        let (shadow, name) = self.shadow.as_ref()?.model.as_ref().ok()?;
        (*name != self.name).then(|| (current, Arc::clone(shadow)))
    }

    /// The same with a model put in force, and the promotion to be remembered.
    fn promoted(&self, file: Option<&Path>, by: Peer) -> anyhow::Result<Self> {
        let (Some(models), Some((_, instead_of))) = (&self.models, &self.configured) else {
            bail!("nothing is scored: scoring.enabled is false");
        };
        let (model, name, file) = match (file, &self.shadow) {
            (Some(file), _) => {
                let model = Arc::new(read_behaviour(file)?);
                let name = name(&model)?;
                (model, name, file.display().to_string())
            }
            (None, Some(Shadow { file, model: Ok((model, name)) })) => {
                (Arc::clone(model), name.clone(), file.display().to_string())
            }
            (None, Some(Shadow { model: Err(error), .. })) => {
                bail!("nothing is in shadow: {error}")
            }
            (None, None) => {
                bail!("nothing is in shadow: set scoring.shadow_model_file, or name a file")
            }
        };
        if name == self.name {
            bail!("model {name} is in force already");
        }
        let promotion = Promotion {
            model: name.clone(),
            at: now().to_string(),
            file,
            uid: by.uid,
            instead_of: instead_of.clone(),
        };
        let models = Models { behaviour: model, ..models.clone() };
        Ok(Self { models: Some(models), name, promotion: Some(promotion), ..self.clone() })
    }

    /// The same with the configured model in force.
    fn demoted(&self) -> anyhow::Result<Self> {
        let (Some(models), Some((model, name))) = (&self.models, &self.configured) else {
            bail!("nothing is scored: scoring.enabled is false");
        };
        if self.promotion.is_none() {
            bail!("no model is promoted");
        }
        let models = Models { behaviour: Arc::clone(model), ..models.clone() };
        Ok(Self { models: Some(models), name: name.clone(), promotion: None, ..self.clone() })
    }

    /// The names of the model in force and of the one in shadow.
    fn names(&self) -> (&str, Option<&str>) {
        let shadow = self.shadow.as_ref().and_then(|shadow| shadow.model.as_ref().ok());
        (&self.name, shadow.map(|(_, name)| &**name))
    }

    fn status(&self) -> Option<ModelStatus> {
        let model = &self.models.as_ref()?.behaviour;
        let (from, file) = match (&self.promotion, &self.configured_file) {
            (Some(promotion), _) => ("promoted", Some(promotion.file.clone())),
            (None, Some(file)) => ("file", Some(file.display().to_string())),
            (None, None) => ("built-in", None),
        };
        Some(ModelStatus {
            from: from.to_owned(),
            file,
            model: self.name.clone(),
            threshold: model.calibration.threshold,
            promoted: self.promotion.as_ref().map(|promotion| promotion.at.clone()),
        })
    }

    fn shadow_status(&self) -> Option<ShadowStatus> {
        let shadow = self.shadow.as_ref()?;
        let file = shadow.file.display().to_string();
        Some(match &shadow.model {
            Ok((model, name)) => ShadowStatus {
                file,
                model: Some(name.clone()),
                threshold: Some(model.calibration.threshold),
                idle: (*name == self.name).then(|| "it is the model in force".to_owned()),
                ..ShadowStatus::default()
            },
            Err(error) => {
                ShadowStatus { file, idle: Some(error.clone()), ..ShadowStatus::default() }
            }
        })
    }
}

fn artifact(state_dir: &Path, name: &str) -> PathBuf {
    state_dir.join(format!("behaviour-{name}.model"))
}

/// What stands in the state folder.
enum Found {
    Promoted(Promotion, Arc<BehaviourModel>),
    /// A promotion over another model than the configuration has now.
    Superseded,
    Nothing,
}

/// What was promoted, as far as it still counts.
fn promoted(state_dir: &Path, configured: &str) -> Found {
    let path = state_dir.join(FILE_NAME);
    let read = || -> anyhow::Result<Option<Promotion>> {
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => {
                let text = io::read_to_string(io::Read::take(file?, MAX_BYTES))?;
                Ok(Some(serde_json::from_str(&text)?))
            }
        }
    };
    let found = match read() {
        Ok(Some(found)) => found,
        Ok(None) => return Found::Nothing,
        Err(error) => {
            tracing::error!("{}: {error}; the configured model is in force", path.display());
            return Found::Nothing;
        }
    };
    if found.instead_of != configured {
        return Found::Superseded;
    }
    let is_name = found.model.len() == 16 && found.model.bytes().all(|b| b.is_ascii_hexdigit());
    let model = match is_name {
        true => read_behaviour(&artifact(state_dir, &found.model)),
        false => Err(anyhow::anyhow!("{} names no model", path.display())),
    };
    match model.and_then(|model| Ok((name(&model)?, model))) {
        Ok((name, model)) if name == found.model => Found::Promoted(found, Arc::new(model)),
        Ok(_) => {
            tracing::error!("the promoted model is another one; the configured is in force");
            Found::Nothing
        }
        Err(error) => {
            tracing::error!("the promoted model is refused, the configured is in force: {error:#}");
            Found::Nothing
        }
    }
}

/// Writes a file whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

/// Remembers what is promoted, or that nothing is.
fn remember(state_dir: &Path, choice: &Choice) -> anyhow::Result<()> {
    let path = state_dir.join(FILE_NAME);
    let place = || path.display().to_string();
    let kept = match (&choice.promotion, &choice.models) {
        (Some(promotion), Some(models)) => {
            // The artifact first: what names it must never name what is not there.
            let artifact = artifact(state_dir, &promotion.model);
            let bytes = models.behaviour.to_bytes()?;
            write(&artifact, &bytes).with_context(|| artifact.display().to_string())?;
            write(&path, &serde_json::to_vec(promotion)?).with_context(place)?;
            Some(artifact)
        }
        _ => {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(place);
                }
                _ => {}
            }
            None
        }
    };
    File::open(state_dir)?.sync_all().with_context(place)?;
    // Those of earlier promotions.
    for entry in fs::read_dir(state_dir)?.flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let is_artifact = name.starts_with("behaviour-") && name.ends_with(".model");
        if is_artifact && Some(entry.path()) != kept {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

impl Daemon {
    /// Does what `model` asks.
    pub(super) fn model(
        &mut self,
        request: &ModelRequest,
        by: Peer,
    ) -> anyhow::Result<serde_json::Value> {
        let (change, choice) = match request {
            ModelRequest::Promote { file } => {
                let file = file.as_ref().map(PathBuf::from);
                ("model-promote", self.choice.promoted(file.as_deref(), by)?)
            }
            ModelRequest::Demote => ("model-demote", self.choice.demoted()?),
        };
        // Remembered first: what is in force must be what is in force behind a restart.
        remember(&self.config.daemon.state_dir, &choice).context("nothing is changed")?;
        if let Some(models) = choice.models() {
            self.pipeline.score_with(models);
        }
        self.choose(choice);
        let file = self.choice.promotion.as_ref().map(|promotion| promotion.file.clone());
        let model = self.choice.name.clone();
        tracing::info!("behaviour model {model} is in force ({change})");
        let (model, by) = (Some(model), Some(by));
        self.audit(AuditEvent { change, file, model, by, ..lists::nothing() });
        Ok(serde_json::to_value(self.models_status())?)
    }

    /// Has the recorder hold these models against each other; where they are the same as before,
    /// it goes on.
    pub(super) fn choose(&mut self, choice: Choice) {
        let same = choice.names() == self.choice.names();
        self.choice = choice;
        if !same {
            self.compare_models();
        }
    }

    /// The models that were chosen count from now on.
    pub(super) fn settle_models(&mut self) {
        self.choice.settle(&self.config.daemon.state_dir);
    }

    /// Has the recorder hold the models against each other from now on.
    pub(super) fn compare_models(&mut self) {
        let (current, shadow) = self.choice.to_compare().unzip();
        self.recorder.compare(current, shadow, now());
    }

    /// What there is to say of models, labels and the history.
    pub(super) fn models_status(&self) -> ModelsStatus {
        let mut shadow = self.choice.shadow_status();
        if let (Some(shadow), Some((since, comparison))) = (&mut shadow, self.recorder.comparison())
        {
            shadow.since = Some(since.to_string());
            shadow.only_current = comparison.only_current();
            shadow.only_shadow = comparison.only_shadow();
            shadow.mean_difference = comparison.mean_difference();
            shadow.comparison = comparison;
        }
        ModelsStatus {
            behaviour: self.choice.status(),
            shadow,
            labels: self.feedback.counts(now()),
            history: self.recorder.status(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY: Peer = Peer { uid: 0, pid: 1 };

    fn model(threshold: f32) -> BehaviourModel {
        let mut model = BehaviourModel::embedded().unwrap();
        model.calibration.threshold = threshold;
        model
    }

    fn save(path: &Path, threshold: f32) {
        fs::write(path, model(threshold).to_bytes().unwrap()).unwrap();
    }

    fn threshold(choice: &Choice) -> f32 {
        choice.models().unwrap().behaviour.calibration.threshold
    }

    #[test]
    fn a_promotion_stays_until_it_is_taken_back_or_the_configuration_changes() {
        let dir = tempfile::tempdir().unwrap();
        let [shadow, own] = ["shadow.model", "own.model"].map(|name| dir.path().join(name));
        save(&shadow, 0.25);
        let mut scoring =
            ScoringConfig { shadow_model_file: Some(shadow.clone()), ..ScoringConfig::default() };
        let load = |scoring: &ScoringConfig| Choice::load(scoring, dir.path(), false).unwrap();
        let first = load(&scoring);
        assert!(first.to_compare().is_some() && first.demoted().is_err());
        let next = first.promoted(None, BY).unwrap();
        assert_eq!(threshold(&next), 0.25);
        assert!(next.to_compare().is_none(), "it is the model in force");
        remember(dir.path(), &next).unwrap();

        // Behind a restart, and with the shadow's file gone.
        fs::remove_file(&shadow).unwrap();
        scoring.shadow_model_file = None;
        let again = load(&scoring);
        assert_eq!(threshold(&again), 0.25);
        assert_eq!(again.status().unwrap().from, "promoted");
        // Another one, named by its file; the artifact of the one before goes.
        save(&own, 0.35);
        let other = again.promoted(Some(&own), BY).unwrap();
        remember(dir.path(), &other).unwrap();
        assert_eq!(threshold(&load(&scoring)), 0.35);
        let artifacts = fs::read_dir(dir.path()).unwrap().flatten();
        let artifacts =
            artifacts.filter(|e| e.file_name().to_string_lossy().starts_with("behaviour-"));
        assert_eq!(artifacts.count(), 1);
        assert!(other.promoted(Some(&own), BY).is_err(), "in force already");

        // The configuration changes: it has the last word.
        save(&own, 0.45);
        scoring.behaviour_model_file = Some(own.clone());
        let configured = load(&scoring);
        assert_eq!(
            (threshold(&configured), configured.status().unwrap().from),
            (0.45, "file".into())
        );
        // Promoted over that file, until the file has other bytes.
        save(&shadow, 0.25);
        remember(dir.path(), &configured.promoted(Some(&shadow), BY).unwrap()).unwrap();
        assert_eq!(threshold(&load(&scoring)), 0.25);
        save(&own, 0.55);
        let mut changed = load(&scoring);
        assert_eq!(threshold(&changed), 0.55);
        // A configuration that was not taken in the end changes nothing.
        save(&own, 0.45);
        assert_eq!(threshold(&load(&scoring)), 0.25);
        changed.settle(dir.path());
        assert_eq!(threshold(&load(&scoring)), 0.45);
        remember(dir.path(), &load(&scoring).promoted(Some(&shadow), BY).unwrap()).unwrap();
        let back = load(&scoring).demoted().unwrap();
        remember(dir.path(), &back).unwrap();
        assert_eq!(threshold(&load(&scoring)), 0.45);
        assert!(!dir.path().join(FILE_NAME).exists());
    }

    #[test]
    fn what_is_torn_is_refused_and_what_was_in_force_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.model");
        save(&path, 0.25);
        let whole = fs::read(&path).unwrap();
        let built_in = ScoringConfig::default();
        let choice = Choice::load(&built_in, dir.path(), false).unwrap();
        let configured =
            ScoringConfig { behaviour_model_file: Some(path.clone()), ..built_in.clone() };
        let in_shadow = ScoringConfig { shadow_model_file: Some(path.clone()), ..built_in.clone() };
        let mut other_schema = whole.clone();
        other_schema[12] ^= 1;
        let too_large = [&whole[..], &vec![0; 17 << 20]].concat();
        for (bytes, why) in [
            (&whole[..whole.len() / 2], "damaged"),
            (&other_schema, "schema"),
            (&too_large, "torn"),
        ] {
            fs::write(&path, bytes).unwrap();
            for scoring in [&configured, &in_shadow] {
                let error = Choice::load(scoring, dir.path(), false).err().unwrap();
                let error = format!("{error:#}");
                assert!(error.contains("x.model") && error.contains(why), "{error}");
            }
            let error = format!("{:#}", choice.promoted(Some(&path), BY).err().unwrap());
            assert!(error.contains("x.model") && error.contains(why), "{error}");
            // What only looks on does not keep the sensor from starting.
            let lenient = Choice::load(&in_shadow, dir.path(), true).unwrap();
            assert!(lenient.to_compare().is_none());
            assert!(lenient.shadow_status().unwrap().idle.unwrap().contains(why));
            assert!(lenient.promoted(None, BY).is_err());
        }
        // A promoted artifact that is torn gives way to the configured model.
        fs::write(&path, &whole).unwrap();
        let promoted = choice.promoted(Some(&path), BY).unwrap();
        remember(dir.path(), &promoted).unwrap();
        let kept = artifact(dir.path(), &promoted.name);
        fs::write(&kept, &whole[..100]).unwrap();
        let after = Choice::load(&built_in, dir.path(), false).unwrap();
        assert_eq!(after.status().unwrap().from, "built-in");
        fs::write(dir.path().join(FILE_NAME), "{").unwrap();
        assert_eq!(Choice::load(&built_in, dir.path(), false).unwrap().name, choice.name);
    }
}
