//! From a category and random numbers to pixels.

use super::atom::Atom;
use super::chaos::{Chaos, PILOT, pilot, tones};
use super::colour::{Colours, mix};
use super::layer::{Context, Layer};
use super::options::{Colour, FractalOptions};
use super::place::{Affine, Pose};
use super::random::{below, chance};
use super::shape::{OUTSIDE, frame};
use super::system::System;
use burn_zoo::init::Rng;

/// Jumps of the chaos game for each pixel of the picture.
const JUMPS: usize = 10;

/// What a label stands for.
#[derive(Debug, Clone)]
pub(super) enum Category {
    Ifs { system: System, oval: [f64; 2] },
    Atom(Atom),
}

impl Category {
    pub(super) fn sample(is_atom: bool, context: &Context, rng: &mut Rng) -> Self {
        if !is_atom {
            let system = System::shape(rng);
            let oval = rng.uniform(0.6, 1.0);
            let oval = if chance(rng, 0.5) {
                [oval, 1.0]
            } else {
                [1.0, oval]
            };
            return Category::Ifs { system, oval };
        }
        let mut atom = Atom::sample(rng);
        // Most are solid; the bound only keeps a stream of numbers from being endless.
        for _ in 0..20 {
            if atom.is_solid(context) {
                break;
            }
            atom = Atom::sample(rng);
        }
        Category::Atom(atom)
    }

    fn layer(&self, pose: &Pose, weights: f64, context: &Context, rng: &mut Rng) -> Layer {
        match self {
            Category::Ifs { system, oval } => {
                let system = system.jittered(weights, rng);
                let mut points = pilot(&system, PILOT, rng);
                let frame = Affine::diagonal(*oval, [0.0, 0.0]).after(&frame(&points, OUTSIDE));
                for point in &mut points {
                    *point = frame.apply(point.map(f64::from)).map(|value| value as f32);
                }
                let place = pose.fit(&points, OUTSIDE, context.size).after(&frame);
                let mut hits = vec![0; context.size * context.size];
                let jumps = JUMPS * hits.len();
                Chaos::new(&system, &place, rng).count(jumps, context.size, &mut hits);
                develop(&hits, context, rng)
            }
            Category::Atom(atom) => atom.layer(pose, weights, context, rng),
        }
    }

    /// The pixels of an instance, row by row, as many channels as the options say.
    pub(super) fn draw(
        &self,
        options: &FractalOptions,
        context: &Context,
        rng: &mut Rng,
    ) -> Vec<u8> {
        let jitter = &options.instance;
        let coloured = match options.colour {
            Colour::Grey => false,
            Colour::Rgb => true,
            Colour::Mixed => chance(rng, 0.5),
        };
        let colours = Colours::draw(options, coloured, rng);
        let mut pose = Pose::draw(jitter, rng);
        let mut layer;
        if chance(rng, jitter.second) {
            let other = Pose::draw(jitter, rng);
            let second = pose.split(other, rng);
            layer = self.layer(&pose, jitter.weights, context, rng);
            layer.over(&self.layer(&second, jitter.weights, context, rng));
        } else {
            layer = self.layer(&pose, jitter.weights, context, rng);
        }
        paint(&layer, &colours, context, options.channels())
    }
}

fn paint(layer: &Layer, colours: &Colours, context: &Context, channels: usize) -> Vec<u8> {
    let size = context.size;
    let mut pixels = Vec::with_capacity(size * size * channels);
    let step = 1.0 / size as f32;
    for (i, (cover, tone)) in layer.cover.iter().zip(&layer.tone).enumerate() {
        let (x, y) = ((i % size) as f32 * step, (i / size) as f32 * step);
        let mut rgb = colours.behind(x, y, context);
        if *cover > 0.0 {
            rgb = mix(rgb, colours.ink(*tone), *cover);
        }
        let bytes = rgb.map(|value| (value * 255.0 + 0.5) as u8);
        pixels.extend(bytes.into_iter().take(channels));
    }
    pixels
}

/// Visits as a shape, in one of four ways that belong to the instance: log density, points, points
/// as random patches of 3 x 3 pixels (Kataoka et al., 2020), and closed to a solid shape.
fn develop(hits: &[u16], context: &Context, rng: &mut Rng) -> Layer {
    let mut layer = Layer {
        cover: hits
            .iter()
            .map(|count| (0.5 * f32::from(*count)).min(1.0))
            .collect(),
        tone: tones(hits, context),
    };
    match below(rng, 4) {
        0 => layer,
        1 => {
            layer.tone.fill(1.0);
            layer
        }
        2 => {
            let offsets = patch(rng);
            spread(&mut layer, context.size, &offsets);
            layer
        }
        _ => {
            close(&mut layer, context.size);
            layer
        }
    }
}

/// Offsets of a random patch; the middle is always in it.
fn patch(rng: &mut Rng) -> Vec<[i32; 2]> {
    (0..9)
        .map(|i| [i % 3 - 1, i / 3 - 1])
        .filter(|offset| *offset == [0, 0] || chance(rng, 0.4))
        .collect()
}

/// Each pixel becomes the most covered one of those at these offsets.
fn spread(layer: &mut Layer, size: usize, offsets: &[[i32; 2]]) {
    let mut wide = Layer::empty(size);
    for y in 0..size {
        for x in 0..size {
            let (mut cover, mut tone) = (0.0, 0.0);
            for [dx, dy] in offsets {
                let (column, row) = (x as i32 + dx, y as i32 + dy);
                if (0..size as i32).contains(&column) && (0..size as i32).contains(&row) {
                    let at = row as usize * size + column as usize;
                    cover = layer.cover.get(at).copied().unwrap_or(0.0).max(cover);
                    tone = layer.tone.get(at).copied().unwrap_or(0.0).max(tone);
                }
            }
            wide.set(y * size + x, cover, tone);
        }
    }
    *layer = wide;
}

/// Smooths with a box of 3 x 3 and fills what is lit by half, which leaves a solid shape.
fn close(layer: &mut Layer, size: usize) {
    let cover = smooth(&layer.cover, size);
    layer.tone = smooth(&layer.tone, size)
        .iter()
        .zip(&cover)
        .map(|(tone, cover)| 0.3 + 0.7 * (tone / cover.max(0.05)).min(1.0))
        .collect();
    layer.cover = cover
        .iter()
        .map(|value| (3.0 * (value - 0.15)).clamp(0.0, 1.0))
        .collect();
}

/// The mean of 3 x 3 pixels; outside there is nothing.
fn smooth(values: &[f32], size: usize) -> Vec<f32> {
    let at = |i: usize, before: Option<usize>, after: usize, values: &[f32]| {
        let low = before.and_then(|i| values.get(i)).copied().unwrap_or(0.0);
        let high = values.get(after).copied().unwrap_or(0.0);
        (low + values.get(i).copied().unwrap_or(0.0) + high) / 3.0
    };
    let rows: Vec<f32> = values
        .chunks(size)
        .flat_map(|row| (0..size).map(move |i| at(i, i.checked_sub(1), i + 1, row)))
        .collect();
    (0..values.len())
        .map(|i| at(i, i.checked_sub(size), i + size, &rows))
        .collect()
}
