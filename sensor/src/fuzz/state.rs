//! What the daemon reads back after a restart, whatever became of it.

use super::script::Script;
use crate::{
    feedback::Record,
    history::Row,
    http::Request,
    pipeline::{Pipeline, Settings},
    score::{Models, Scorer},
    time::Time,
    token::{FingerprintKey, TokenReport},
};
use jotwatch_models::{
    behaviour::{BehaviourModel, Limits, Profiles, Seal},
    payload::PayloadModel,
};

const NOW: Time = Time::from_unix_secs(1_750_000_000);

/// Files of state, of models, and their lines. The first byte says which; what carries a checksum
/// is sealed here.
pub fn state(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 8 {
        0 => crate::memory::fuzz::restore(data),
        1 => profiles(data),
        2 => crate::enforce::fuzz::lines(data),
        3 => {
            let _row = Row::parse(data);
            let _record = Record::parse(data);
        }
        4 => crate::journal::fuzz::place(data),
        5 => {
            let config = crate::config::Config::default();
            let mut settings = Settings::new(&config, FingerprintKey::new([7; 16]), [0; 16]);
            (settings.memory.tokens, settings.memory.subjects) = (1_000, 1_000);
            crate::daemon::fuzz::lines(data, &mut Pipeline::new(settings));
        }
        6 => {
            let bytes =
                patched(&PayloadModel::embedded().unwrap().weights().to_bytes().unwrap(), data);
            let Ok(payload) = PayloadModel::from_bytes(&bytes) else { return };
            let models = Models::built_in().unwrap();
            let mut scorer = Scorer::new(Models { payload: payload.into(), ..models });
            let target = b"/a?b=1'%20OR%201=1--&c=../../etc/passwd";
            let request = Request::from_parts(b"GET", target, [], Vec::new(), NOW);
            scorer.score(&request, &TokenReport::default(), std::iter::empty());
        }
        _ => {
            let bytes = patched(&BehaviourModel::embedded().unwrap().to_bytes().unwrap(), data);
            let Ok(model) = BehaviourModel::from_bytes(&bytes) else { return };
            let _score = model.score(&jotwatch_models::behaviour::Vector::default());
        }
    }
}

/// A sealed file with other bytes in it: each patch has three bytes of offset, and its length.
fn patched(sealed: &[u8], patches: &[u8]) -> Vec<u8> {
    let mut bytes = sealed.to_vec();
    bytes.truncate(sealed.len() - 32);
    let mut script = Script(patches);
    while !script.is_empty() {
        let at = usize::from(script.short()) | usize::from(script.byte()) << 16;
        let len = usize::from(script.byte() & 15);
        let patch = script.take(len);
        let at = at % bytes.len();
        for (to, from) in bytes[at..].iter_mut().zip(patch) {
            *to = *from;
        }
    }
    let mut seal = Seal::default();
    seal.add(&bytes);
    bytes.extend_from_slice(&seal.finish());
    bytes
}

/// Behind the header of our own, under a checksum that fits.
fn profiles(data: &[u8]) {
    const HEAD: usize = 8 + 4 + 8;
    let limits = Limits { subjects: 64, ..Limits::default() };
    let mut profiles = Profiles::new(limits, [7; 16]);
    let mut bytes = Vec::new();
    profiles.save(&mut bytes).unwrap();
    // The first byte says how much of an empty file stands in front.
    let (keep, data) = data.split_first().unwrap_or((&0, &[]));
    bytes.truncate(HEAD + usize::from(*keep));
    bytes.extend_from_slice(data);
    let mut seal = Seal::default();
    seal.add(&bytes);
    bytes.extend_from_slice(&seal.finish());
    if profiles.load(&mut &bytes[..]).is_ok() {
        let mut again = Vec::new();
        profiles.save(&mut again).unwrap();
        profiles.load(&mut &again[..]).unwrap();
    }
}
