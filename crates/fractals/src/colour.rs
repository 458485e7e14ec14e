//! Colours of an instance. They never tell the category: every image draws its own.

use super::layer::Context;
use super::options::FractalOptions;
use super::random::chance;
use burn_zoo::init::Rng;

/// Steps of a palette.
const STEPS: usize = 64;

/// Red, green and blue, from 0 to 1.
type Rgb = [f32; 3];

/// The colours of one picture.
pub(super) struct Colours {
    palette: [Rgb; STEPS],
    from: Rgb,
    to: Rgb,
    field: Field,
}

/// How the background goes from one of its two colours to the other.
enum Field {
    Plain,
    /// Along a direction, over the picture's side.
    Gradient([f32; 2]),
    /// Three sines: direction and phase.
    Noise([[f32; 3]; 3]),
}

impl Colours {
    /// `coloured` is whether there is more than grey.
    pub(super) fn draw(options: &FractalOptions, coloured: bool, rng: &mut Rng) -> Self {
        let black = chance(rng, options.black);
        let levels = if black { [0.0; 2] } else { pair(rng) };
        let [low, high] = ends(levels, rng);
        let saturation = if coloured { rng.uniform(0.3, 1.0) } else { 0.0 };
        let (hue, turn) = (rng.uniform(0.0, 1.0), rng.uniform(-0.5, 0.5));
        let behind = if coloured { rng.uniform(0.0, 0.9) } else { 0.0 };
        let back = rng.uniform(0.0, 1.0);
        let other = back + rng.uniform(-0.2, 0.2);
        Colours {
            palette: std::array::from_fn(|i| {
                let t = i as f64 / (STEPS - 1) as f64;
                tint(hue + turn * t, saturation, low + (high - low) * t)
            }),
            from: tint(back, behind, levels[0]),
            to: tint(other, behind, levels[1]),
            field: Field::draw(black, rng),
        }
    }

    /// The colour of a tone.
    pub(super) fn ink(&self, tone: f32) -> Rgb {
        let step = (tone * (STEPS - 1) as f32 + 0.5) as usize;
        self.palette[step.min(STEPS - 1)]
    }

    /// The background at a place in shares of the side.
    pub(super) fn behind(&self, x: f32, y: f32, context: &Context) -> Rgb {
        let t = match &self.field {
            Field::Plain => return self.from,
            Field::Gradient([a, b]) => 0.5 + a * (x - 0.5) + b * (y - 0.5),
            Field::Noise(waves) => {
                let wave = |[a, b, phase]: &[f32; 3]| context.tables.wave(a * x + b * y + phase);
                0.5 + 0.17 * waves.iter().map(wave).sum::<f32>()
            }
        };
        mix(self.from, self.to, t.clamp(0.0, 1.0))
    }
}

impl Field {
    fn draw(black: bool, rng: &mut Rng) -> Self {
        if black || chance(rng, 0.35) {
            return Field::Plain;
        }
        if chance(rng, 0.5) {
            let (sin, cos) = libm::sincos(rng.uniform(0.0, std::f64::consts::TAU));
            return Field::Gradient([cos as f32, sin as f32]);
        }
        let mut wave = || {
            [
                rng.uniform(-2.5, 2.5) as f32,
                rng.uniform(-2.5, 2.5) as f32,
                rng.uniform(0.0, 1.0) as f32,
            ]
        };
        Field::Noise([wave(), wave(), wave()])
    }
}

/// The levels of the background's two colours, both dark or both bright.
fn pair(rng: &mut Rng) -> [f64; 2] {
    let bright = chance(rng, 0.35);
    let first = rng.uniform(0.0, 0.35);
    let second = rng.uniform(0.0, 0.35);
    if bright {
        [1.0 - first, 1.0 - second]
    } else {
        [first, second]
    }
}

/// The levels of the darkest and the brightest tone: far enough from the background for the shape
/// to be seen, and from each other for the texture to be seen.
fn ends(background: [f64; 2], rng: &mut Rng) -> [f64; 2] {
    // Now and then the other way round: dense or lit parts nearer to the background. What is drawn
    // in the brightest tone alone is then near it, and must be seen nevertheless.
    let turned = chance(rng, 0.2);
    let near = if turned {
        rng.uniform(0.3, 0.45)
    } else {
        rng.uniform(0.2, 0.4)
    };
    let far = rng.uniform(0.0, 0.2);
    let [low, high] = if background[0] < 0.5 {
        [background[0].max(background[1]) + near, 1.0 - far]
    } else {
        [background[0].min(background[1]) - near, far]
    };
    if turned { [high, low] } else { [low, high] }
}

/// A colour of this hue, in turns, whose luma (ITU-R 601-2) is `level`: contrast is the same for
/// all hues.
fn tint(hue: f64, saturation: f64, level: f64) -> Rgb {
    let ramp = |shift: f64| {
        // A trapezoid over the circle of hues, which is where libm's floor is used.
        let place = hue + shift;
        let place = 6.0 * (place - libm::floor(place));
        let full = ((place - 3.0).abs() - 1.0).clamp(0.0, 1.0);
        1.0 - saturation * (1.0 - full)
    };
    let rgb = [ramp(0.0), ramp(2.0 / 3.0), ramp(1.0 / 3.0)];
    let luma = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
    let level = level.clamp(0.0, 1.0);
    rgb.map(|value| {
        if level <= luma {
            (value * level / luma) as f32
        } else {
            (value + (1.0 - value) * (level - luma) / (1.0 - luma)) as f32
        }
    })
}

/// The colour at `t` on the way from one to another.
pub(super) fn mix(from: Rgb, to: Rgb, t: f32) -> Rgb {
    std::array::from_fn(|i| from[i] + (to[i] - from[i]) * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tints_have_the_luma_that_is_asked_for() {
        for i in 0..500 {
            let mut rng = Rng::new(i, "tint");
            let level = rng.uniform(0.0, 1.0);
            let [r, g, b] = tint(rng.uniform(-2.0, 2.0), rng.uniform(0.0, 1.0), level);
            let luma = 0.299 * r + 0.587 * g + 0.114 * b;
            assert!((f64::from(luma) - level).abs() < 1e-5);
            assert!([r, g, b].iter().all(|value| (0.0..=1.0).contains(value)));
        }
        assert_eq!(tint(0.0, 1.0, 0.299), [1.0, 0.0, 0.0]);
        assert_eq!(tint(1.0 / 3.0, 1.0, 0.587), [0.0, 1.0, 0.0]);
        assert_eq!(tint(0.4, 0.0, 0.5), [0.5; 3]);
    }

    #[test]
    fn shapes_stand_out_from_every_background() {
        for i in 0..500 {
            let mut rng = Rng::new(i, "contrast");
            let background = pair(&mut rng);
            let tones = ends(background, &mut rng);
            for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                assert!((background[a] - tones[b]).abs() > 0.19);
            }
        }
    }
}
