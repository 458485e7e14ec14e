//! Functions for loops that are compiled into vector instructions: no branches, no calls.

/// Where `exp` of anything below is smaller than a normal number.
const LOWEST: f32 = -87.3;
/// 3 * 2^22: a small number added to it is rounded to an integer, which stands in its lowest bits.
const ROUND: f32 = 12_582_912.0;
/// The natural logarithm of 2 in two parts, the first of them with few enough digits that its
/// multiples by an exponent are exact.
const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// The exponential of a number that is zero or negative, to two units in the last place; zero where
/// it would not be a normal number. What is not a number stays so.
#[inline(always)]
pub fn exp_of_negative(x: f32) -> f32 {
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let exponent = shifted - ROUND;
    let r = (x - exponent * LN2[0]) - exponent * LN2[1];
    // Taylor's series on [-ln 2 / 2, ln 2 / 2]; the eighth term is below a unit in the last place.
    let mut p = 1.0 / 5040.0;
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = p * r + factor;
    }
    // The exponent goes where a float has its own; what `ROUND` left above it is shifted out.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < LOWEST { 0.0 } else { p * scale }
}

/// Numerator and denominator of erf(x) / x as polynomials of x², highest power first: the rational
/// function that comes closest on [-4, 4], 2.5e-8 relative (fitted by weighted least squares at
/// Chebyshev's points).
const ERF: [[f32; 6]; 2] = [
    [
        1.986_805_3e-6,
        2.845_609_3e-4,
        3.883_158e-3,
        5.310_117_3e-2,
        0.193_540_84,
        std::f32::consts::FRAC_2_SQRT_PI,
    ],
    [
        3.742_015e-5,
        1.185_524_5e-3,
        1.520_688e-2,
        0.115_348_24,
        0.504_853_66,
        1.0,
    ],
];

/// From here on erf is 1 in 32 bits.
const ONE_FROM: f32 = 4.0;

/// The error function, to 5e-7 relative. What is not a number stays so.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let square = x * x;
    let [above, below] = ERF.map(|factors| {
        let mut sum = factors[0];
        for factor in &factors[1..] {
            sum = sum * square + factor;
        }
        sum
    });
    let inside = x * above / below;
    if x.abs() >= ONE_FROM {
        1.0f32.copysign(x)
    } else {
        inside
    }
}

/// Hendrycks & Gimpel's GELU, <https://arxiv.org/abs/1606.08415>: x Φ(x).
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    x * normal(x)
}

/// The derivative of [`gelu`]: Φ(x) + x φ(x).
#[inline(always)]
pub fn gelu_slope(x: f32) -> f32 {
    /// 1 / √(2π)
    const DENSITY: f32 = 0.398_942_3;
    normal(x) + x * DENSITY * exp_of_negative(-0.5 * x * x)
}

/// Φ, the normal distribution.
#[inline(always)]
fn normal(x: f32) -> f32 {
    0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Sums that run beside each other, as a vector has them; the order in which numbers are added does
/// not depend on the CPU.
const LANES: usize = 16;

/// The sum of what a function gives for each pair.
#[inline(always)]
pub fn sum_of(a: &[f32], b: &[f32], each: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let whole = a.len() / LANES * LANES;
    let parts = a[..whole].chunks_exact(LANES);
    for (a, b) in parts.zip(b[..whole].chunks_exact(LANES)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += each(*a, *b);
        }
    }
    let mut total = 0.0;
    for (a, b) in a[whole..].iter().zip(&b[whole..]) {
        total += each(*a, *b);
    }
    let mut half = LANES / 2;
    while half > 0 {
        for place in 0..half {
            sums[place] += sums[place + half];
        }
        half /= 2;
    }
    total + sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_to_rounding() {
        for step in 0..=87_000 {
            let x = -(step as f32) / 1000.0;
            let expected = f64::from(x).exp();
            let off = (f64::from(exp_of_negative(x)) / expected - 1.0).abs();
            assert!(off < 2.5e-7, "{x}: {off}");
        }
        assert_eq!(exp_of_negative(0.0), 1.0);
        assert_eq!(exp_of_negative(-1e30), 0.0);
        assert_eq!(exp_of_negative(f32::NEG_INFINITY), 0.0);
        assert!(exp_of_negative(f32::NAN).is_nan());
    }

    #[test]
    fn erf_has_its_known_values() {
        // Abramowitz & Stegun, table 7.1, and mpmath.
        let known = [
            (0.01, 0.011_283_415_555_849_616),
            (0.1, 0.112_462_916_018_284_9),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (1.5, 0.966_105_146_475_310_7),
            (2.0, 0.995_322_265_018_952_7),
            (3.0, 0.999_977_909_503_001_4),
            (3.9, 0.999_999_965_203_020_4),
        ];
        for (x, expected) in known {
            let off = (f64::from(erf(x)) / expected - 1.0).abs();
            assert!(off < 5e-7, "{x}: {off}");
            assert_eq!(erf(-x), -erf(x));
        }
        assert_eq!(erf(0.0), 0.0);
        assert_eq!(erf(1e30), 1.0);
        assert_eq!(erf(f32::NEG_INFINITY), -1.0);
        assert!(erf(f32::NAN).is_nan());
    }

    #[test]
    fn gelu_is_nothing_far_below_zero_and_the_number_itself_far_above() {
        assert_eq!(gelu(-1e4), 0.0);
        assert_eq!(gelu(1e4), 1e4);
        assert_eq!(gelu_slope(-1e4), 0.0);
        assert_eq!(gelu_slope(1e4), 1.0);
    }

    #[test]
    fn the_slope_is_the_differences() {
        for step in -40..=40 {
            let x = step as f32 / 10.0;
            let exact = |x: f64| 0.5 * x * (1.0 + series(x * std::f64::consts::FRAC_1_SQRT_2));
            let (at, by) = (f64::from(x), 1e-4);
            let expected = (exact(at + by) - exact(at - by)) / (2.0 * by);
            assert!((f64::from(gelu_slope(x)) - expected).abs() < 2e-6, "{x}");
        }
    }

    /// The error function by its series, which is exact enough for arguments below 3.
    fn series(x: f64) -> f64 {
        let mut term = x;
        let mut sum = x;
        for n in 1..200 {
            let n = f64::from(n);
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn sums_are_whole_whatever_the_length() {
        for len in [0, 1, 15, 16, 17, 100] {
            let values: Vec<f32> = (0..len).map(|v| v as f32).collect();
            let expected: f32 = values.iter().sum();
            assert_eq!(sum_of(&values, &values, |a, _| a), expected);
        }
    }
}
