//! Examples that tests grow trees from.

use super::{Example, Random, Truth};
use crate::behaviour::schema::WIDTH;

/// An attack is where the first feature is above 3 and the second is absent or below 1.
pub(super) fn rows(n: u32) -> Vec<Example> {
    let mut random = Random::new(5);
    (0..n)
        .map(|nth| {
            let mut values = [f32::NAN; WIDTH];
            values[0] = random.unit() as f32 * 6.0;
            if random.chance(0.7) {
                values[1] = random.unit() as f32 * 2.0;
            }
            values[2] = random.unit() as f32;
            let attack = values[0] > 3.0 && (values[1].is_nan() || values[1] < 1.0);
            let truth = match attack {
                true => Truth::Attack { episode: nth / 4 },
                false => Truth::Legitimate { day: nth },
            };
            Example { values, truth, weight: 1.0 }
        })
        .collect()
}
