//! The chaos game: a point that jumps by randomly chosen maps of a system visits its attractor
//! (Barnsley, 1988).

use super::layer::Context;
use super::place::{Affine, product};
use super::random::seed;
use super::system::System;
use burn_zoo::init::Rng;

/// Points that jump independently of each other, so that the processor need not wait for the last
/// jump before it computes the next. As many as there are bytes in a random number.
const LANES: usize = 8;

/// Points that tell where an instance's attractor is.
pub(super) const PILOT: usize = 512;

/// Jumps of each point before it is shown.
const UNSEEN: usize = 40;

/// A game in progress.
pub(super) struct Chaos {
    /// a, b, c, d, and the shift.
    maps: [[f32; 6]; 8],
    /// The map for each value of a random byte.
    choices: [u8; 256],
    points: [[f32; 2]; LANES],
    state: u64,
}

impl Chaos {
    /// The game of the system seen through `frame`: the maps are conjugated once, so that points
    /// need not be transformed one by one. Each point starts at a map's fixed point, which is a part
    /// of the attractor, though one that may be far away from the others and hardly ever visited:
    /// that is what the first jumps, which nobody sees, lead away from.
    pub(super) fn new(system: &System, frame: &Affine, rng: &mut Rng) -> Self {
        let back = frame.inverse().linear;
        let mut maps = [[0.0; 6]; 8];
        let mut starts = [[0.0; 2]; 8];
        for (i, map) in system.maps.iter().take(8).enumerate() {
            let [a, b, c, d] = product(product(frame.linear, map.linear), back);
            let [x, y] = frame.shift;
            let [e, f] = frame.apply(map.shift);
            let shift = [e - (a * x + b * y), f - (c * x + d * y)];
            maps[i] = [a, b, c, d, shift[0], shift[1]].map(|value| value as f32);
            starts[i] = fixed_point([a, b, c, d], shift);
        }
        let count = system.maps.len().clamp(1, 8);
        let mut game = Chaos {
            maps,
            choices: choices(system),
            points: std::array::from_fn(|lane| starts[lane % count]),
            state: seed(rng),
        };
        game.play(UNSEEN * LANES, |_, _| ());
        game
    }

    /// Plays on for `jumps` points, rounded up to a multiple of eight.
    pub(super) fn play(&mut self, jumps: usize, mut visit: impl FnMut(f32, f32)) {
        let mut points = self.points;
        for _ in 0..jumps.div_ceil(LANES) {
            for ([x, y], byte) in points.iter_mut().zip(self.random().to_le_bytes()) {
                let map = self.choices[usize::from(byte)] & 7;
                let [a, b, c, d, e, f] = self.maps[usize::from(map)];
                (*x, *y) = (a * *x + b * *y + e, c * *x + d * *y + f);
                visit(*x, *y);
            }
        }
        self.points = points;
    }

    /// Counts visits to the cells of a grid with one unit a cell, row by row.
    pub(super) fn count(&mut self, jumps: usize, side: usize, cells: &mut [u16]) {
        let limit = side as f32;
        self.play(jumps, |x, y| {
            if x >= 0.0 && x < limit && y >= 0.0 && y < limit {
                let cell = y as u32 as usize * side + x as u32 as usize;
                if let Some(hits) = cells.get_mut(cell) {
                    *hits = hits.saturating_add(1);
                }
            }
        });
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014); a word of it makes eight choices.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Points of a system's attractor.
pub(super) fn pilot(system: &System, count: usize, rng: &mut Rng) -> Vec<[f32; 2]> {
    let mut points = Vec::with_capacity(count + LANES);
    let mut game = Chaos::new(system, &Affine::IDENTITY, rng);
    game.play(count, |x, y| points.push([x, y]));
    points
}

/// Logarithmic density, 1 at three times the mean of the cells that were visited.
pub(super) fn tones(hits: &[u16], context: &Context) -> Vec<f32> {
    let (mut sum, mut lit) = (0u64, 0u64);
    for count in hits {
        sum += u64::from(*count);
        lit += u64::from(*count > 0);
    }
    let full = context
        .tables
        .log((3 * sum / lit.max(1)).clamp(1, 255) as u16);
    let tone = |count: &u16| (context.tables.log(*count) / full).min(1.0);
    hits.iter().map(tone).collect()
}

/// Each map with a share that grows with the area it makes, in 256ths; flat maps have a little too.
fn choices(system: &System) -> [u8; 256] {
    let areas = system.maps.iter().map(|map| {
        let [a, b, c, d] = map.linear;
        (a * d - b * c).abs() + 0.01
    });
    let total: f64 = areas.clone().sum();
    let mut table = [0; 256];
    let mut sum = 0.0;
    let mut start = 0;
    for (map, area) in areas.enumerate() {
        sum += area;
        let end = ((256.0 * sum / total + 0.5) as usize).min(256);
        if let Some(entries) = table.get_mut(start..end) {
            entries.fill(map as u8);
        }
        start = end;
    }
    table
}

/// The point that a contraction leaves where it is.
fn fixed_point([a, b, c, d]: [f64; 4], [e, f]: [f64; 2]) -> [f32; 2] {
    let det = (1.0 - a) * (1.0 - d) - b * c;
    let x = ((1.0 - d) * e + b * f) / det;
    let y = (c * e + (1.0 - a) * f) / det;
    [x as f32, y as f32]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sierpinski() -> System {
        let map = |x: f64, y: f64| Affine::diagonal([0.5, 0.5], [x, y]);
        System {
            maps: vec![map(0.0, 0.0), map(0.5, 0.0), map(0.0, 0.5)],
        }
    }

    #[test]
    fn the_game_visits_the_sierpinski_triangle_and_nothing_else() {
        let system = sierpinski();
        let frame = Affine::diagonal([64.0, 64.0], [0.0, 0.0]);
        let mut cells = vec![0; 64 * 64];
        Chaos::new(&system, &frame, &mut Rng::new(1, "game")).count(100_000, 64, &mut cells);
        let visited = cells.iter().filter(|hits| **hits > 0).count();
        // 3^6 cells at depth 6, and those that only a corner on their border belongs to.
        assert!((729..900).contains(&visited), "{visited}");
        // Pascal's triangle modulo 2: where x and y have a bit in common, there is a hole.
        let inside = (0..64 * 64).filter(|i| (i / 64) & (i % 64) == 0);
        let hits: u32 = inside.map(|i| u32::from(cells[i])).sum();
        assert!(hits > 99_000, "{hits}");
    }

    #[test]
    fn a_frame_moves_the_attractor_with_it() {
        let mut rng = Rng::new(3, "frame");
        let system = System::sample(&mut rng);
        let frame = Affine {
            linear: [3.0, 1.0, -0.5, 2.0],
            shift: [7.0, -4.0],
        };
        let plain = pilot(&system, 400, &mut Rng::new(3, "same"));
        let mut moved = Vec::new();
        let mut game = Chaos::new(&system, &frame, &mut Rng::new(3, "same"));
        game.play(400, |x, y| moved.push([x, y]));
        for ([x, y], other) in plain.into_iter().zip(moved) {
            let expected = frame.apply([f64::from(x), f64::from(y)]);
            assert!((expected[0] - f64::from(other[0])).abs() < 1e-3);
            assert!((expected[1] - f64::from(other[1])).abs() < 1e-3);
        }
    }
}
