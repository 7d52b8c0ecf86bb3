//! Logarithms and angles that give the same bits on every machine, which `std`'s need not.

/// log2 of a positive, finite, normal number; off by less than 2⁻²⁰. Anything else gives 0.
pub(super) const fn log2(x: f32) -> f32 {
    if !(x.is_normal() && x > 0.0) {
        return 0.0;
    }
    let bits = x.to_bits();
    // The sign is 0.
    let mut exponent = (bits >> 23) as i32 - 127;
    let mut m = f32::from_bits(bits & 0x007f_ffff | 0x3f80_0000);
    if m > std::f32::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1;
    }
    // ln m = 2 artanh t, |t| ≤ 0.172: the next term is below 2⁻²⁹.
    let t = (m - 1.0) / (m + 1.0);
    let t2 = t * t;
    let series = 1.0 + t2 * (1.0 / 3.0 + t2 * (0.2 + t2 * (1.0 / 7.0 + t2 / 9.0)));
    exponent as f32 + t * series * (2.0 * std::f32::consts::LOG2_E)
}

/// log2(1+x) for what is counted or measured: 0 for less than nothing.
///
/// Most of it is counted, and small: that is at hand.
pub(super) fn log2_1p(x: f32) -> f32 {
    const COUNTS: usize = 256;
    static TABLE: [f32; COUNTS] = {
        let mut table = [0.0; COUNTS];
        let mut count = 0;
        while count < COUNTS {
            table[count] = log2(1.0 + count as f32);
            count += 1;
        }
        table
    };
    let count = x as u32;
    match TABLE.get(count as usize) {
        Some(known) if count as f32 == x => *known,
        _ => log2(1.0 + x.max(0.0)),
    }
}

/// 2 to a power of at most 0; off by less than 2⁻²⁰ of it, and 0 below 2⁻¹²⁶.
pub(super) fn exp2_neg(x: f32) -> f32 {
    if x.is_nan() || x < -126.0 {
        return 0.0;
    }
    let x = x.min(0.0);
    let whole = x.floor();
    let f = (x - whole) * std::f32::consts::LN_2;
    // f < 0.694, so that the next term is below 1.4e-6 where the sum is nearly 2.
    let series = 1.0
        + f * (1.0
            + f / 2.0
                * (1.0
                    + f / 3.0
                        * (1.0 + f / 4.0 * (1.0 + f / 5.0 * (1.0 + f / 6.0 * (1.0 + f / 7.0))))));
    #[expect(clippy::cast_possible_truncation, reason = "between -126 and 0")]
    let exponent = whole as i32 + 127;
    series * f32::from_bits(u32::try_from(exponent).unwrap_or(0) << 23)
}

/// The sine of an angle in degrees between -360 and 360; off by less than 1e-8.
pub(super) fn sin_degrees(degrees: f64) -> f64 {
    let mut d = degrees % 360.0;
    if d > 180.0 {
        d -= 360.0;
    } else if d < -180.0 {
        d += 360.0;
    }
    if d > 90.0 {
        d = 180.0 - d;
    } else if d < -90.0 {
        d = -180.0 - d;
    }
    let x = d.to_radians();
    let x2 = x * x;
    let mut term = x;
    let mut sum = x;
    for k in 1..8_u32 {
        term *= -x2 / f64::from(2 * k * (2 * k + 1));
        sum += term;
    }
    sum
}

/// The arc sine of 0..=1 in radians; off by less than 3e-8 (Abramowitz and Stegun, 4.4.46).
pub(super) fn asin(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        -0.001_262_491_1,
        0.006_670_090_1,
        -0.017_088_125_6,
        0.030_891_881_0,
        -0.050_174_304_6,
        0.088_978_987_4,
        -0.214_598_801_6,
        1.570_796_305_0,
    ];
    let x = x.clamp(0.0, 1.0);
    let series = TERMS.iter().fold(0.0, |sum, term| sum * x + term);
    std::f64::consts::FRAC_PI_2 - (1.0 - x).sqrt() * series
}

/// Spreads two words over one (the finaliser of SplitMix64, twice).
pub(in crate::behaviour) const fn mix(a: u64, b: u64) -> u64 {
    const fn spread(mut x: u64) -> u64 {
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }
    spread(spread(a.wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_standard_library_has_it() {
        for k in 0..20_000_u32 {
            let x = 1.37_f32.powf(k as f32 / 200.0);
            assert!((log2(x) - x.log2()).abs() <= 1e-6 * x.log2().abs().max(1.0), "{x}");
            let power = -(k as f32) / 160.0;
            let (got, want) = (exp2_neg(power), power.exp2());
            assert!((got - want).abs() <= 2e-6 * want.max(1e-37), "{power}: {got} {want}");
            let degrees = f64::from(k) / 20_000.0 * 720.0 - 360.0;
            assert!((sin_degrees(degrees) - degrees.to_radians().sin()).abs() < 1e-8, "{degrees}");
            let share = f64::from(k) / 20_000.0;
            assert!((asin(share) - share.asin()).abs() < 3e-8, "{share}");
        }
        assert_eq!((log2(1.0), log2(8.0), exp2_neg(0.0), exp2_neg(-3.0)), (0.0, 3.0, 1.0, 0.125));
        for count in 0..1000 {
            let x = count as f32;
            assert_eq!(log2_1p(x).to_bits(), log2(1.0 + x).to_bits(), "{x}");
            assert_eq!(log2_1p(x + 0.25).to_bits(), log2(1.25 + x).to_bits(), "{x}");
        }
        for none in [-0.0, -1.0, -0.5, f32::NAN] {
            assert_eq!(log2_1p(none).to_bits(), 0, "{none}");
        }
        for odd in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert_eq!(log2(odd), 0.0);
        }
        assert_eq!((exp2_neg(f32::NAN), exp2_neg(-1e9)), (0.0, 0.0));
    }
}
