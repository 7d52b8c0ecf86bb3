//! Time of scoring a request, without a harness: the best of several rounds, so that what else
//! the machine does counts least.

use std::{hint::black_box, io::Write, time::Instant};

use anyhow::Result;
use jotwatch_models::{
    behaviour::{BehaviourModel, Vector, WIDTH},
    payload::{Form, PayloadModel, Place, Scratch, Value},
};
use rustix::time::{ClockId, clock_gettime};

use crate::train::{
    behaviour::{artifact, rows},
    sessions::{self, ranges::TEST},
};

/// A value of a head, to be written down.
type Part = (Place, Form, &'static str);

/// A head of some 500 bytes as a browser or client sends it, as values.
const HEADS: &[(&str, &[Part])] = &[
    (
        "API client",
        &[
            (Place::Path, Form::Text, "/api/v2/customers/84213/orders"),
            (
                Place::Query,
                Form::Pairs,
                "page=3&per_page=50&status=open&sort=-created_at&q=blue+chairs",
            ),
            (Place::Header, Form::Text, "shop.example.com"),
            (Place::Header, Form::Text, "okhttp/4.12.0"),
            (Place::Header, Form::Text, "application/json"),
            (Place::Header, Form::Text, "gzip, deflate, br"),
            (Place::Header, Form::Text, "4f1c6a0e-3c52-4d6e-9a31-2f3f0f7b9d11"),
            (Place::Header, Form::Text, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            (Place::Claim, Form::Text, "8a7d3f52-user"),
            (Place::Claim, Form::Text, "orders:read orders:write profile"),
            (Place::Claim, Form::Text, "https://login.example.com/realms/shop"),
            (Place::Header, Form::Text, "203.0.113.7, 198.51.100.2"),
            (Place::Header, Form::Text, "max-age=0"),
            (Place::Header, Form::Text, "W/\"5f3c2a-19b0-6a1f\""),
            (Place::Header, Form::Text, "mobile-app 5.14.2 build 9931 channel store"),
        ],
    ),
    (
        "browser",
        &[
            (Place::Path, Form::Text, "/account/orders/84213"),
            (Place::Query, Form::Pairs, "tab=items&ref=mail"),
            (Place::Header, Form::Text, "shop.example.com"),
            (
                Place::Header,
                Form::Text,
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
            ),
            (
                Place::Header,
                Form::Text,
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            ),
            (Place::Header, Form::Text, "en-GB,en;q=0.9,de;q=0.7"),
            (Place::Header, Form::Text, "gzip, deflate, br"),
            (Place::Header, Form::Text, "https://shop.example.com/account?tab=orders"),
            (
                Place::Cookie,
                Form::Cookies,
                "sid=s%3AqX9vT2mL0aKc4wZ7; theme=dark; _ga=GA1.2.1493023847.1718200000; lang=en",
            ),
        ],
    ),
];

/// Writes the microseconds a request of each head.
///
/// # Errors
/// That the output is closed.
pub(super) fn report(out: &mut impl Write, model: &PayloadModel) -> Result<()> {
    const ROUNDS: usize = 30;
    const REQUESTS: u32 = 2000;
    writeln!(
        out,
        "\ntime to score a request, features and model, best and middle of {ROUNDS} rounds"
    )?;
    let mut scratch = Scratch::default();
    for (name, head) in HEADS {
        let values: Vec<Value<'_>> = head
            .iter()
            .map(|(place, form, text)| Value { place: *place, form: *form, bytes: text.as_bytes() })
            .collect();
        let bytes: usize = head.iter().map(|h| h.2.len()).sum();
        let mut times: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let start = Instant::now();
                for _ in 0..REQUESTS {
                    black_box(model.score(black_box(&values), &mut scratch));
                }
                start.elapsed().as_secs_f64() * 1e6 / f64::from(REQUESTS)
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let score = model.score(&values, &mut scratch);
        writeln!(
            out,
            "{name:<22} {bytes:>4} bytes {:>7.2} µs {:>7.2} µs   (probability {:.4})",
            times[0],
            times[ROUNDS / 2],
            score.probability
        )?;
    }
    Ok(())
}

/// Seconds of processor that this thread has had: others on the machine do not count.
fn cpu_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Vectors to score, one after another: more than the caches of branches can learn.
const VECTORS: usize = 4096;

/// Writes the microseconds a vector of the behaviour model, for vectors of a generated world.
///
/// # Errors
/// An artifact that does not load, or that the output is closed.
pub(super) fn behaviour(out: &mut impl Write) -> Result<()> {
    const ROUNDS: usize = 30;
    let model = BehaviourModel::from_bytes(&std::fs::read(artifact())?)?;
    let world = sessions::world(399, &TEST);
    let mut vectors: Vec<Vector> = Vec::new();
    let mut nth = 0_usize;
    rows::replay(&world, |_, _, _, vector| {
        nth += 1;
        if !vector.learning && nth.is_multiple_of(37) && vectors.len() < VECTORS {
            vectors.push(*vector);
        }
    });
    let raised: Vec<Vector> = vectors
        .iter()
        .copied()
        .filter(|v| model.score(v).reasons.iter().any(Option::is_some))
        .collect();
    writeln!(
        out,
        "\nprocessor time of all forests a vector ({WIDTH} features), best and middle of {ROUNDS} rounds"
    )?;
    for (name, of) in [("all", &vectors), ("with reasons", &raised)] {
        if of.is_empty() {
            continue;
        }
        let mut times: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let start = cpu_time();
                for vector in of.iter().cycle().take(VECTORS) {
                    black_box(model.score(black_box(vector)));
                }
                (cpu_time() - start) * 1e6 / VECTORS as f64
            })
            .collect();
        times.sort_by(f64::total_cmp);
        writeln!(
            out,
            "{name:<22} {:>5} vectors {:>7.2} µs {:>7.2} µs",
            of.len(),
            times[0],
            times[ROUNDS / 2]
        )?;
    }
    Ok(())
}
