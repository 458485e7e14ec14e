//! Kernels as they are multiplied with.

use rayon::prelude::*;

use super::filter::{Filter, Four, LANES, Lanes, Two};
use super::tiles::{MAKE_COST, READ_COST, TRAINING_TILES, best_tile, in_whole_lanes};
use crate::flex::feature_map::MapShape;
use crate::flex::kernels::Kernels;
use crate::flex::matmul::Matrix;
use crate::flex::packed::Packed;
use crate::flex::simd::{Shared, uninitialized, vectorised};
use crate::flex::window::Window;

/// Kernels as `[place of a tile][in][out]`.
#[derive(Debug)]
pub struct Transformed {
    /// Outputs along a side of a tile: 2 or 4.
    pub tile: usize,
    pub values: Vec<f32>,
    /// The same, packed for each place; `values` is empty then.
    pub packed: Option<Vec<Packed>>,
    /// How far apart the channels are that are read, and those that are written.
    pub strides: [usize; 2],
}

/// What kernels are transformed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// One forward pass.
    Once,
    /// Many of them.
    Repeated,
    /// The gradient of the input, which is a convolution with rotated kernels, from outputs to
    /// inputs.
    InputGradient,
}

impl Transformed {
    /// `None` where the plain kernels are better: where the window is another one or asks for them,
    /// where the maps are so small that most taps fall on padding, which costs nothing otherwise, and
    /// where there are so few tiles that the transform and the reading of its result, which is larger,
    /// cost more than they save.
    pub fn new(
        kernels: &Kernels,
        purpose: Purpose,
        window: Window,
        input: MapShape,
        output: MapShape,
    ) -> Option<Self> {
        let fits = window.kernel == 3 && window.stride == 1 && window.padding <= 2;
        if window.is_direct
            || !fits
            || !in_whole_lanes(kernels.input)
            || !in_whole_lanes(kernels.output)
        {
            return None;
        }
        let direct = window.products(input);
        let tile = match purpose {
            Purpose::Once => best_tile(TRAINING_TILES, MAKE_COST, direct, output),
            Purpose::Repeated => best_tile(&[2, 4], READ_COST, direct, output),
            Purpose::InputGradient => best_tile(TRAINING_TILES, MAKE_COST, direct, input),
        };
        match tile? {
            2 => Some(transform::<Two, 2, 4>(kernels, purpose)),
            _ => Some(transform::<Four, 4, 6>(kernels, purpose)),
        }
    }

    /// The matrix of a place of a tile, where it is not packed.
    pub fn place(&self, place: usize) -> Matrix {
        let size = self.values.len() / ((self.tile + 2) * (self.tile + 2));
        let [row_stride, column_stride] = self.strides;
        Matrix {
            start: self.values[place * size..].as_ptr(),
            row_stride,
            column_stride,
        }
    }
}

fn transform<F: Filter<M, T>, const M: usize, const T: usize>(
    kernels: &Kernels,
    purpose: Purpose,
) -> Transformed {
    let tap = |tap: usize| match purpose {
        Purpose::InputGradient => 8 - tap,
        Purpose::Once | Purpose::Repeated => tap,
    };
    let (input, output) = (kernels.input, kernels.output);
    let from = kernels.values();
    let mut values = uninitialized(T * T * input * output);
    let to = Shared::new(&mut values);
    (0..input).into_par_iter().for_each(|i| {
        vectorised(
            #[inline(always)]
            || {
                for o in (0..output).step_by(LANES) {
                    let at = |place: usize| (place * input + i) * output + o;
                    let mut g = [[Lanes::ZERO; 3]; 3];
                    for (y, row) in g.iter_mut().enumerate() {
                        for (x, value) in row.iter_mut().enumerate() {
                            // SAFETY: inside of the kernels.
                            *value = unsafe { Lanes::load(from.as_ptr().add(at(tap(y * 3 + x)))) };
                        }
                    }
                    let rows = g.map(F::kernel);
                    let columns = (0..T).map(|x| [rows[0][x], rows[1][x], rows[2][x]]);
                    for (x, column) in columns.enumerate() {
                        for (y, value) in F::kernel(column).into_iter().enumerate() {
                            // SAFETY: inside, and these inputs are this task's alone.
                            unsafe { value.store(to.at(at(y * T + x))) };
                        }
                    }
                }
            },
        );
    });
    let strides = match purpose {
        Purpose::InputGradient => [1, output],
        Purpose::Once | Purpose::Repeated => [output, 1],
    };
    let packed = match purpose {
        Purpose::Repeated => {
            let places: Vec<&[f32]> = values.chunks_exact(input * output).collect();
            let packed = places
                .into_par_iter()
                .map(|place| Packed::new(place, input, output));
            packed.collect::<Option<Vec<_>>>()
        }
        Purpose::Once | Purpose::InputGradient => None,
    };
    if packed.is_some() {
        values = Vec::new();
    }
    Transformed {
        tile: M,
        values,
        packed,
        strides,
    }
}
