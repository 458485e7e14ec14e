//! What fills a visual atom. The kind and its frequency belong to the category, the phase to the
//! instance.

use super::chaos::{Chaos, PILOT, pilot, tones};
use super::layer::Context;
use super::place::Affine;
use super::random::{below, chance};
use super::shape::{OUTSIDE, frame};
use super::system::System;
use super::tables::turn;
use burn_zoo::init::Rng;

/// A texture; frequencies are periods over the shape's radius.
#[derive(Debug, Clone)]
pub(super) enum Texture {
    Plain,
    /// Along a direction; hard edges or a sine.
    Stripes {
        across: [f32; 2],
        sharpness: f32,
    },
    Checks {
        across: [f32; 2],
    },
    /// Of the same form as the contour.
    Rings {
        frequency: f32,
    },
    Spokes {
        count: f32,
    },
    /// From dark to bright along a direction.
    Gradient {
        along: [f32; 2],
    },
    /// From the middle to the border.
    Shaded,
    /// Noise made of three sines.
    Noise {
        waves: [[f32; 2]; 3],
    },
    /// The density of a fractal.
    Fractal(System),
}

impl Texture {
    pub(super) fn sample(rng: &mut Rng) -> Self {
        match below(rng, 10) {
            0 => Texture::Plain,
            1 | 2 => Texture::Stripes {
                across: direction(rng, 1.2, 3.2),
                sharpness: if chance(rng, 0.5) { 4.0 } else { 0.6 },
            },
            3 => Texture::Checks {
                across: direction(rng, 0.9, 2.2),
            },
            4 => Texture::Rings {
                frequency: rng.uniform(1.2, 2.8) as f32,
            },
            5 => Texture::Spokes {
                count: 2.0 + below(rng, 6) as f32,
            },
            6 => Texture::Gradient {
                along: direction(rng, 0.4, 0.6),
            },
            7 => Texture::Shaded,
            8 => {
                let frequency = rng.uniform(0.7, 2.2);
                let wave = |_| direction(rng, 0.7 * frequency, 1.3 * frequency);
                Texture::Noise {
                    waves: [0, 1, 2].map(wave),
                }
            }
            _ => Texture::Fractal(System::shape(rng)),
        }
    }

    /// The texture on one instance, whose place in the picture is given.
    pub(super) fn surface(&self, place: &Affine, context: &Context, rng: &mut Rng) -> Surface<'_> {
        let phases = std::array::from_fn(|_| rng.uniform(0.0, 1.0) as f32);
        let density = match self {
            Texture::Fractal(system) => {
                let frame = place.after(&frame(&pilot(system, PILOT, rng), OUTSIDE));
                let mut hits = vec![0; context.size * context.size];
                let jumps = 8 * hits.len();
                Chaos::new(system, &frame, rng).count(jumps, context.size, &mut hits);
                tones(&hits, context)
            }
            _ => Vec::new(),
        };
        Surface {
            texture: self,
            phases,
            density,
        }
    }
}

/// A direction with a frequency from an interval.
fn direction(rng: &mut Rng, low: f64, high: f64) -> [f32; 2] {
    let frequency = rng.uniform(low, high);
    let (sin, cos) = libm::sincos(rng.uniform(0.0, std::f64::consts::TAU));
    [(frequency * cos) as f32, (frequency * sin) as f32]
}

/// A texture on an instance.
pub(super) struct Surface<'a> {
    texture: &'a Texture,
    phases: [f32; 3],
    density: Vec<f32>,
}

impl Surface<'_> {
    /// The tone, from 0 to 1, at a pixel with this place on the shape and this share of its radius.
    pub(super) fn tone(
        &self,
        pixel: usize,
        [u, v]: [f32; 2],
        level: f32,
        context: &Context,
    ) -> f32 {
        let [p, q, r] = self.phases;
        let wave = |t: f32| context.tables.wave(t);
        let dot = |[a, b]: [f32; 2]| a * u + b * v;
        let tone = match self.texture {
            Texture::Plain => 0.8,
            Texture::Stripes { across, sharpness } => 0.5 + sharpness * wave(dot(*across) + p),
            Texture::Checks { across: [a, b] } => {
                let other = wave(dot([-*b, *a]) + q);
                0.5 + 6.0 * wave(dot([*a, *b]) + p) * other
            }
            Texture::Rings { frequency } => 0.5 + 2.0 * wave(frequency * level + 0.25),
            Texture::Spokes { count } => 0.5 + 3.0 * wave(count * turn(u, v)),
            Texture::Gradient { along } => 0.5 + dot(*along),
            Texture::Shaded => 1.1 - level * level,
            Texture::Noise { waves: [a, b, c] } => {
                let sum = wave(dot(*a) + p) + wave(dot(*b) + q) + wave(dot(*c) + r);
                0.5 + 0.45 * sum
            }
            Texture::Fractal(_) => self.density.get(pixel).copied().unwrap_or(0.0),
        };
        tone.clamp(0.0, 1.0)
    }
}
