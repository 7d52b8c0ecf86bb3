//! A seeded generator: attacks of classes that the public sets hardly have, and legitimate values
//! that look like attacks. Its assumptions are its templates; no figure is measured on it.
//!
//! A template is text with slots: `«name»` is replaced by a choice of the list of that name,
//! `«n»` by a number, `«w»` by a word of the prose set, `«h»` by hexadecimal digits.

mod attacks;
mod benign;
mod code;
mod lists;

use jotwatch_models::{
    payload::{Class, Form, Place},
    train::Random,
};

use super::data::{Label, Sample, Source, part};
use attacks::ATTACKS;
use benign::BENIGN;
use code::CODE;
use lists::LISTS;

const HEX: &[u8] = b"0123456789abcdef";
const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn letters(random: &mut Random, of: &[u8], n: usize) -> String {
    (0..n).map(|_| char::from(*random.pick(of))).collect()
}

/// A choice of a list, whose choices ` ¦ ` separates.
fn choose<'a>(random: &mut Random, list: &'a str) -> &'a str {
    let all: Vec<&str> = list.split(" ¦ ").collect();
    all[random.below(all.len())]
}

/// Fills the slots of `template`; lists may hold slots, to a depth.
fn fill(template: &str, random: &mut Random, words: &[String], depth: u8) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('«') {
        out.push_str(&rest[..open]);
        let behind = &rest[open + '«'.len_utf8()..];
        let Some(close) = behind.find('»') else { break };
        let name = &behind[..close];
        rest = &behind[close + '»'.len_utf8()..];
        match name {
            "n" => {
                let digits = 1 + random.below(4);
                out.push_str(&(random.bits() % 10_u64.pow(digits as u32)).to_string());
            }
            "w" => out.push_str(&words[random.below(words.len())]),
            "W" => {
                let mut word = random.pick(words).clone();
                if let Some(first) = word.get_mut(..1) {
                    first.make_ascii_uppercase();
                }
                out.push_str(&word);
            }
            "h" => {
                let n = 8 + random.below(24);
                out.push_str(&letters(random, HEX, n));
            }
            "b64" => {
                let n = 4 * (4 + random.below(40));
                out.push_str(&letters(random, BASE64, n));
            }
            "text" => {
                let n = 3 + random.below(9);
                for at in 0..n {
                    if at > 0 {
                        out.push(' ');
                    }
                    out.push_str(&words[random.below(words.len())]);
                }
            }
            _ => {
                let mut lists = LISTS.iter().chain(code::LISTS);
                let list = lists.find(|(known, _)| *known == name).map_or("", |(_, list)| list);
                debug_assert!(!list.is_empty(), "no list {name}");
                if depth < 5 {
                    let choice = choose(random, list);
                    out.push_str(&fill(choice, random, words, depth + 1));
                }
            }
        }
    }
    out.push_str(rest);
    out
}

/// Words of the prose set for the slots: letters only, so that nothing is smuggled in.
fn vocabulary(samples: &[Sample]) -> Vec<String> {
    let mut words: Vec<String> = samples
        .iter()
        .filter(|s| s.source == Source::Prose)
        .take(4000)
        .flat_map(|s| {
            String::from_utf8_lossy(&s.parts[0].bytes)
                .split(' ')
                .map(str::to_lowercase)
                .collect::<Vec<_>>()
        })
        .filter(|w| (2..12).contains(&w.len()) && w.bytes().all(|b| b.is_ascii_lowercase()))
        .collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// How a value may be written on its way.
fn encode(text: &str, random: &mut Random) -> String {
    let percent = |all: bool| {
        text.bytes()
            .map(|b| {
                if all || !b.is_ascii_alphanumeric() {
                    format!("%{b:02x}")
                } else {
                    char::from(b).to_string()
                }
            })
            .collect::<String>()
    };
    match random.below(12) {
        0 => percent(false),
        1 => percent(true),
        2 => percent(false).replace('%', "%25"),
        _ => text.to_owned(),
    }
}

/// One in so many public attacks is repeated in the midst of text.
const ATTACKS_IN_TEXT: usize = 5;

/// The generator's part of the training set; `samples` gives words and text to stand around
/// attacks.
pub(crate) fn generate(samples: &[Sample]) -> Vec<Sample> {
    const SEED: u64 = 0x6a6f_7477_6174_6368;
    let mut random = Random::new(SEED);
    let words = vocabulary(samples);
    let mut out = Vec::new();
    for (class, copies, templates) in ATTACKS {
        for template in templates.lines().map(str::trim).filter(|t| !t.is_empty()) {
            for _ in 0..*copies {
                let mut text = fill(template, &mut random, &words, 0);
                if random.below(5) == 0 {
                    text = format!("{} {text}", fill("«text»", &mut random, &words, 0));
                }
                if *class != Class::Crlf {
                    text = encode(&text, &mut random);
                }
                out.push(Sample::text(Source::Generated, Label::Attack(*class), &text));
            }
        }
    }
    for (copies, form, templates) in BENIGN.iter().chain(CODE) {
        for template in templates.lines().map(str::trim).filter(|t| !t.is_empty()) {
            for _ in 0..*copies {
                let text = fill(template, &mut random, &words, 0).replace('␤', "\n");
                let (place, text) = match form {
                    Form::Text => (Place::Body, encode(&text, &mut random)),
                    _ => (Place::Body, text),
                };
                out.push(Sample::new(
                    Source::Generated,
                    Label::Benign,
                    vec![part(place, *form, &text)],
                ));
            }
        }
    }
    // Attacks in the midst of text, so that plain words around them excuse nothing.
    let attacks =
        samples.iter().filter(|s| matches!(s.label, Label::Attack(_)) && s.parts.len() == 1);
    for sample in attacks.step_by(ATTACKS_IN_TEXT) {
        let text = |random: &mut Random| {
            let n = random.below(6);
            (0..n).map(|_| fill("«text»", random, &words, 0)).collect::<Vec<_>>().join(" ")
        };
        let payload = String::from_utf8_lossy(&sample.parts[0].bytes).into_owned();
        // And no more does program code.
        let around = if random.below(6) == 0 {
            let line = |random: &mut Random| fill("«line»", random, &words, 0);
            format!("{}\n{payload}\n{}", line(&mut random), line(&mut random))
        } else {
            format!("{} {payload} {}", text(&mut random), text(&mut random))
        };
        let mut copy = Sample::text(Source::Generated, sample.label, &around);
        // Held out with the payload that it holds.
        copy.key.clone_from(&sample.key);
        out.push(copy);
    }
    // Text that people quote and abbreviate in.
    for sample in samples.iter().filter(|s| s.source == Source::Prose).step_by(23) {
        let text = String::from_utf8_lossy(&sample.parts[0].bytes).into_owned();
        let (first, second) =
            (fill("«name»", &mut random, &words, 0), fill("«contraction»", &mut random, &words, 0));
        let text = match random.below(5) {
            0 => format!("{first}: \"{text}\""),
            1 => format!("{second} {text}"),
            2 => format!("{text} -- {first}"),
            3 => format!("'{text}' ({first})"),
            _ => format!("{text}; {second} and {first}'s."),
        };
        out.push(Sample::text(Source::Generated, Label::Benign, &text));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prose() -> Vec<Sample> {
        let line = |text| Sample::text(Source::Prose, Label::Benign, text);
        vec![line("a small library for parsing words"), line("fast and simple tools")]
    }

    #[test]
    fn the_same_seed_gives_the_same_rows() {
        let rows = |samples: &[Sample]| -> Vec<String> {
            generate(samples).into_iter().map(|s| s.key).collect()
        };
        assert_eq!(rows(&prose()), rows(&prose()));
    }

    #[test]
    fn every_slot_is_known_and_filled() {
        let templates =
            ATTACKS.iter().map(|(_, _, t)| *t).chain(BENIGN.iter().chain(CODE).map(|(_, _, t)| *t));
        for text in templates.chain(LISTS.iter().chain(code::LISTS).map(|(_, list)| *list)) {
            for slot in text.split('«').skip(1) {
                let name = slot.split('»').next().unwrap();
                let built_in = matches!(name, "n" | "w" | "W" | "h" | "b64" | "text");
                let mut lists = LISTS.iter().chain(code::LISTS);
                assert!(built_in || lists.any(|(known, _)| *known == name), "{name}");
            }
        }
        for sample in generate(&prose()) {
            let text = String::from_utf8_lossy(&sample.parts[0].bytes).into_owned();
            assert!(!text.contains(['«', '»']), "{text}");
        }
    }
}
