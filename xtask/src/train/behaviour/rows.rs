//! From generated worlds to rows: what the profiles make of every request.

use jotwatch_models::{
    behaviour::{Limits, Profiles, Vector},
    train::{self, Example},
};

use super::super::sessions::{DAY, Event, Label, World};

/// Once an attack is over, the profile takes a day to forget: what its victim does till then is
/// neither held against the model nor shown to it.
const SHADOW: u64 = DAY;

/// What a request counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    /// Of this episode.
    Attack(u32),
    Benign,
    /// The victim's own, during an attack or in its shadow.
    Beside,
}

/// When a vector is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Before the service has answered.
    Asked,
    Answered,
}

/// Runs all requests of a world through profiles that start empty.
pub(crate) fn replay(world: &World, mut each: impl FnMut(&Event, Truth, Moment, &Vector)) {
    let mut spans: Vec<Vec<(u64, u64)>> = vec![Vec::new(); world.who.len()];
    for episode in &world.episodes {
        spans[episode.subject as usize].push((episode.from_ms, episode.to_ms + SHADOW));
    }
    let mut profiles = Profiles::new(Limits::default(), *b"a generated host");
    let mut vector = Vector::default();
    for event in &world.events {
        let at = event.request.at_ms;
        let truth = match event.label {
            Label::Attack(episode) => Truth::Attack(episode),
            Label::Usual | Label::Odd(_) => {
                let spans = &spans[event.subject as usize];
                if spans.iter().any(|(from, to)| (*from..=*to).contains(&at)) {
                    Truth::Beside
                } else {
                    Truth::Benign
                }
            }
        };
        let handle = profiles.request(&event.request, &mut vector);
        each(event, truth, Moment::Asked, &vector);
        profiles.answer(handle, &event.answer, &mut vector);
        each(event, truth, Moment::Answered, &vector);
    }
}

/// Subject and day of a request, by a number of its own in the world.
pub(crate) fn day_of(world: &World, event: &Event) -> u32 {
    event.subject * 100 + ((event.request.at_ms - world.start_ms) / DAY) as u32
}

/// Requests of an episode that are kept, evenly spaced: a scraper's thousand say one thing.
const AN_EPISODE: usize = 24;

/// Requests of an episode that are kept as they come right behind one of the victim's own. Where
/// two places, devices or networks alternate, it is there that it shows.
const TURNS: usize = 24;

/// One in so many usual requests is kept; of odd ones all are.
const USUAL: u64 = 8;

/// The rows of a world to train on, past learning; every other as it was before the answer. Days and
/// episodes get numbers from `first` on.
pub(crate) fn sample(world: &World, first: u32) -> Vec<Example> {
    let mut sizes = vec![0_usize; world.episodes.len()];
    for event in &world.events {
        if let Label::Attack(episode) = event.label {
            sizes[episode as usize] += 1;
        }
    }
    let mut seen = vec![0_usize; world.episodes.len()];
    let mut turns = vec![0_usize; world.episodes.len()];
    let mut kept = vec![0_usize; world.episodes.len()];
    // Whether the last request of each subject was an attack's.
    let mut attacked = vec![false; world.who.len()];
    let (mut nth, mut usual) = (0_u64, 0_u64);
    let mut is_turn = false;
    let mut rows = Vec::new();
    replay(world, |event, truth, moment, vector| {
        if moment == Moment::Asked {
            nth += 1;
            let attacked = &mut attacked[event.subject as usize];
            let attack = matches!(truth, Truth::Attack(_));
            is_turn = attack && !*attacked;
            *attacked = attack;
        }
        let wanted = if nth.is_multiple_of(2) { Moment::Asked } else { Moment::Answered };
        if vector.learning || moment != wanted {
            return;
        }
        let day = train::Truth::Legitimate { day: first + day_of(world, event) };
        let (truth, weight) = match truth {
            Truth::Beside => return,
            Truth::Attack(episode) => {
                let at = episode as usize;
                seen[at] += 1;
                turns[at] += usize::from(is_turn);
                let step = (sizes[at] / 2 / AN_EPISODE).max(1);
                let is_kept = seen[at].is_multiple_of(step) || (is_turn && turns[at] <= TURNS);
                if !is_kept {
                    return;
                }
                kept[at] += 1;
                (train::Truth::Attack { episode: first + episode }, 1.0)
            }
            Truth::Benign if matches!(event.label, Label::Odd(_)) => (day, 1.0),
            Truth::Benign => {
                usual += 1;
                // Not every eighth: machines have rhythms.
                if usual.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & (USUAL - 1) != 0 {
                    return;
                }
                (day, USUAL as f32)
            }
        };
        rows.push((*vector.values(), truth, weight));
    });
    rows.into_iter()
        .map(|(values, truth, weight)| {
            // All episodes weigh the same.
            let part = match truth {
                train::Truth::Attack { episode } => kept[(episode - first) as usize] as f32,
                train::Truth::Legitimate { .. } => 1.0,
            };
            Example { values, truth, weight: weight / part }
        })
        .collect()
}
