//! Functions of one number that are looked up, or approximated by a polynomial, as a picture needs
//! thousands of them. All of it is basic arithmetic, so that it is the same on every machine.

use std::f64::consts::TAU;

/// Sines of 256ths of a turn, and logarithms of small counts.
pub(super) struct Tables {
    sine: [f32; 256],
    log: [f32; 256],
}

impl Tables {
    pub(super) fn new() -> Self {
        Tables {
            sine: std::array::from_fn(|i| libm::sin(i as f64 * TAU / 256.0) as f32),
            log: std::array::from_fn(|i| libm::log(1.0 + i as f64) as f32),
        }
    }

    /// sin(2π i / 256).
    pub(super) fn sine(&self, i: u8) -> f32 {
        self.sine[usize::from(i)]
    }

    /// cos(2π i / 256).
    pub(super) fn cosine(&self, i: u8) -> f32 {
        self.sine(i.wrapping_add(64))
    }

    /// sin(2π t), to a fortieth.
    pub(super) fn wave(&self, t: f32) -> f32 {
        // The cast cuts off towards zero, which is less than a step of the table.
        self.sine((t * 256.0) as i32 as u8)
    }

    /// ln(1 + count); counts above 255 count as 255.
    pub(super) fn log(&self, count: u16) -> f32 {
        self.log[usize::from(count.min(255))]
    }
}

/// The direction of `(u, v)` in turns from the first axis, in `[0, 1]`, to 2e-6; 0 for the origin.
pub(super) fn turn(u: f32, v: f32) -> f32 {
    let (a, b) = (u.abs(), v.abs());
    let larger = a.max(b);
    if larger == 0.0 {
        return 0.0;
    }
    let x = a.min(b) / larger;
    let s = x * x;
    // Abramowitz and Stegun (1964), 4.4.49, over 2π.
    let mut t = 0.003_316_0 * s - 0.013_549_3;
    t = t * s + 0.028_670_3;
    t = t * s - 0.052_568_8;
    t = (t * s + 0.159_133_6) * x;
    if b > a {
        t = 0.25 - t;
    }
    if u < 0.0 {
        t = 0.5 - t;
    }
    if v < 0.0 { 1.0 - t } else { t }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_those_of_the_arc_tangent() {
        for i in 0..1000 {
            let angle = f64::from(i) * TAU / 1000.0;
            let (sin, cos) = libm::sincos(angle);
            let found = f64::from(turn(3.0 * cos as f32, 3.0 * sin as f32));
            let off = (found - angle / TAU).abs();
            assert!(off.min(1.0 - off) < 3e-6, "{found} {angle}");
        }
        assert_eq!(turn(0.0, 0.0), 0.0);
    }

    #[test]
    fn waves_are_sines_of_turns() {
        let tables = Tables::new();
        for i in -500..500 {
            let t = f64::from(i) * 0.0173;
            let off = f64::from(tables.wave(t as f32)) - libm::sin(t * TAU);
            assert!(off.abs() < 0.026, "{t}");
        }
        assert_eq!((tables.sine(64), tables.cosine(128)), (1.0, -1.0));
    }
}
