//! Visual atoms: closed contours whose radius is a sum of sine waves of the angle, after Takashima
//! et al., "Visual Atoms: Pre-training Vision Transformers with Sinusoidal Waves" (CVPR 2023), who
//! draw them as bundles of orbits. Here they are filled as well, with a texture.

use super::contour::{Contour, Wave};
use super::layer::{Context, Layer};
use super::place::{Affine, Pose};
use super::random::{below, chance};
use super::texture::Texture;
use burn_zoo::init::Rng;

/// The share of atoms that are drawn as lines.
const LINES: f64 = 0.3;
/// The share of the square around it that a contour encloses at least.
const AREA: f32 = 0.2;

/// A category of contours.
#[derive(Debug, Clone)]
pub(super) struct Atom {
    waves: Vec<Wave>,
    /// Corners of a polygon; 0 is a smooth contour.
    corners: usize,
    /// Width and height.
    oval: [f64; 2],
    body: Body,
}

/// What is drawn of a contour. Lengths are shares of the radius in the same direction.
#[derive(Debug, Clone)]
enum Body {
    /// As many lines, evenly from the contour to `inner`, which share `width`.
    Lines { orbits: u8, inner: f32, width: f32 },
    /// From `hole` to the contour, the outer part `rim` inverted.
    Filled {
        texture: Texture,
        hole: f32,
        rim: f32,
    },
}

impl Atom {
    pub(super) fn sample(rng: &mut Rng) -> Self {
        let symmetric = chance(rng, 0.5);
        let corners = if chance(rng, 0.4) {
            3 + below(rng, 8)
        } else {
            0
        };
        let oval = rng.uniform(0.5, 1.0);
        Atom {
            waves: waves(symmetric, rng),
            corners,
            oval: if chance(rng, 0.65) {
                [oval, 1.0]
            } else {
                [1.0, oval]
            },
            body: Body::sample(rng),
        }
    }

    /// Whether a contour encloses enough to be seen.
    pub(super) fn is_solid(&self, context: &Context) -> bool {
        Contour::new(&self.waves, self.corners, context).area() > 4.0 * AREA
    }

    /// One instance.
    pub(super) fn layer(
        &self,
        pose: &Pose,
        weights: f64,
        context: &Context,
        rng: &mut Rng,
    ) -> Layer {
        let mut waves = self.waves.clone();
        for wave in &mut waves {
            wave.amplitude *= rng.uniform(1.0 - weights, 1.0 + weights) as f32;
        }
        // A small wave of the instance's own: no two outlines are affine images of each other.
        waves.push(Wave {
            frequency: 2 + below(rng, 7) as u8,
            phase: below(rng, 256) as u8,
            amplitude: (0.3 * weights * rng.uniform(0.0, 1.0)) as f32,
        });
        let contour = Contour::new(&waves, self.corners, context);
        let [width, height] = self.oval.map(|value| value as f32);
        let outline: Vec<[f32; 2]> = contour
            .points(context)
            .map(|[x, y]| [x * width, y * height])
            .collect();
        let oval = Affine::diagonal(self.oval, [0.0, 0.0]);
        let drawing = Drawing {
            place: pose.fit(&outline, 0.0, context.size).after(&oval),
            contour,
            context,
        };
        match &self.body {
            Body::Lines {
                orbits,
                inner,
                width,
            } => drawing.lines(*orbits, *inner, *width),
            Body::Filled { texture, hole, rim } => drawing.filled(texture, *hole, *rim, rng),
        }
    }
}

/// From two to four waves; the more periods, the smaller.
fn waves(symmetric: bool, rng: &mut Rng) -> Vec<Wave> {
    let count = 2 + below(rng, 3);
    (0..count)
        .map(|_| {
            let frequency = 1 + below(rng, 7) as u8;
            let amplitude = rng.uniform(0.15, 0.6) / f64::from(frequency).sqrt();
            let phase = if symmetric {
                128 * below(rng, 2)
            } else {
                below(rng, 256)
            };
            Wave {
                frequency,
                phase: phase as u8,
                amplitude: amplitude as f32,
            }
        })
        .collect()
}

impl Body {
    fn sample(rng: &mut Rng) -> Self {
        if chance(rng, LINES) {
            return Body::Lines {
                orbits: 1 + below(rng, 4) as u8,
                inner: rng.uniform(0.2, 0.6) as f32,
                width: rng.uniform(0.1, 0.24) as f32,
            };
        }
        let hole = if chance(rng, 0.15) {
            rng.uniform(0.3, 0.6)
        } else {
            0.0
        };
        let rim = if chance(rng, 0.2) {
            rng.uniform(0.12, 0.25)
        } else {
            0.0
        };
        Body::Filled {
            texture: Texture::sample(rng),
            hole: hole as f32,
            rim: rim as f32,
        }
    }
}

/// A contour at its place.
struct Drawing<'a> {
    contour: Contour,
    place: Affine,
    context: &'a Context<'a>,
}

impl Drawing<'_> {
    fn filled(&self, texture: &Texture, hole: f32, rim: f32, rng: &mut Rng) -> Layer {
        let size = self.context.size;
        let surface = texture.surface(&self.place, self.context, rng);
        let mut layer = Layer::empty(size);
        self.contour.trace(&self.place, size, 1.0, |pixel, at| {
            let mut inside = (1.0 - at.level) / at.slope;
            if hole > 0.0 {
                inside = inside.min((at.level - hole) / at.slope);
            }
            let tone = surface.tone(pixel, at.point, at.level, self.context);
            let tone = if at.level > 1.0 - rim {
                1.0 - tone
            } else {
                tone
            };
            layer.set(pixel, inside + 0.5, tone);
        });
        layer
    }

    fn lines(&self, orbits: u8, inner: f32, width: f32) -> Layer {
        let size = self.context.size;
        let mut layer = Layer::empty(size);
        let [a, b, c, d] = self.place.linear;
        // The mean radius in pixels.
        let scale = (a * d - b * c).abs().sqrt() as f32;
        // As many orbits as stay apart at this size.
        let room = ((1.0 - inner) * scale / 2.2) as u8;
        let orbits = orbits.min(room.saturating_add(1)).max(1);
        let gap = (1.0 - inner) / f32::from(orbits);
        let half = 0.5 * width * scale / f32::from(orbits);
        let half = half.clamp(0.55, 0.55 + 0.3 * gap * scale);
        let reach = 1.0 + 2.0 * (half + 1.0) / scale;
        self.contour.trace(&self.place, size, reach, |pixel, at| {
            let orbit = ((1.0 - at.level) / gap + 0.5) as i32;
            let orbit = orbit.clamp(0, i32::from(orbits) - 1) as f32;
            let away = (at.level - (1.0 - orbit * gap)).abs() / at.slope;
            layer.set(pixel, half + 0.5 - away, 1.0 - 0.15 * orbit);
        });
        layer
    }
}

#[cfg(test)]
mod tests {
    use super::super::contour;
    use super::super::options::Jitter;
    use super::super::tables::Tables;
    use super::*;

    /// What is covered of 64 x 64 pixels by a shape that is 48 pixels long.
    fn covered(corners: usize, body: Body) -> f32 {
        let context = Context {
            tables: &Tables::new(),
            size: 64,
        };
        let still = Jitter {
            rotation: 0.0,
            stretch: 0.0,
            shear: 0.0,
            scale: (0.75, 0.75),
            shift: 0.0,
            ..Jitter::default()
        };
        let mut rng = Rng::new(0, "area");
        let atom = Atom {
            waves: Vec::new(),
            corners,
            oval: [1.0, 1.0],
            body,
        };
        let pose = Pose::draw(&still, &mut rng);
        atom.layer(&pose, 0.0, &context, &mut rng).covered()
    }

    fn filled(hole: f32) -> Body {
        Body::Filled {
            texture: Texture::Plain,
            hole,
            rim: 0.0,
        }
    }

    #[test]
    fn fills_and_lines_are_antialiased_to_the_area_that_they_have() {
        let circle = std::f32::consts::PI * 24.0 * 24.0;
        let close = |found: f32, expected: f32| {
            assert!((found / expected - 1.0).abs() < 0.01, "{found} {expected}");
        };
        close(covered(0, filled(0.0)), circle);
        close(covered(0, filled(0.5)), 0.75 * circle);
        // A square that stands on a corner.
        close(covered(4, filled(0.0)), 0.5 * 48.0 * 48.0);
        let line = Body::Lines {
            orbits: 1,
            inner: 0.2,
            width: 0.1,
        };
        close(covered(0, line), circle * 2.0 * 0.1);
    }

    #[test]
    fn most_atoms_are_solid_and_a_disc_has_its_area() {
        let context = Context {
            tables: &Tables::new(),
            size: 32,
        };
        let atoms = (0..200).map(|i| Atom::sample(&mut Rng::new(i, "solid")));
        let solid = atoms.filter(|atom| atom.is_solid(&context)).count();
        assert!(solid > 150, "{solid}");
        let disc = contour::Contour::new(&[], 0, &context).area();
        assert!((disc - std::f32::consts::PI).abs() < 1e-3);
    }
}
