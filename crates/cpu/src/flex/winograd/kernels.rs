//! Kernels as they are multiplied with.

use rayon::prelude::*;

use super::filter::{Filter, Four, LANES, Lanes, Two};
use super::{MADE, READ, TRAINING, best_tile, whole};
use crate::flex::conv::Kernels;
use crate::flex::map::Sides;
use crate::flex::simd::{Packed, Shared, room, vectorised};

/// Kernels as `[place of a tile][in][out]`.
#[derive(Debug)]
pub(in crate::flex) struct Transformed {
    /// Outputs along a side of a tile: 2 or 4.
    pub(super) tile: usize,
    pub(super) values: Vec<f32>,
    /// The same, packed for each place; `values` is empty then.
    pub(super) packed: Option<Vec<Packed>>,
    /// How far apart the channels are that are read, and those that are written.
    pub(super) strides: [usize; 2],
}

/// What kernels are transformed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::flex) enum Use {
    /// One forward pass.
    Forward,
    /// Many of them.
    Forwards,
    /// The gradient of the input, which is a convolution with the kernels turned around, from
    /// outputs to inputs.
    InputGradient,
}

impl Transformed {
    /// `None` where the plain kernels are better: where the maps are so small that most taps fall on
    /// padding, which costs nothing otherwise, and where there are so few tiles that the transform
    /// and the reading of its result, which is larger, cost more than they save. `direct` counts the
    /// products of each pair of channels without this; `output` is the map that is computed.
    pub fn new(kernels: &Kernels, of: Use, direct: usize, output: Sides) -> Option<Self> {
        if !whole(kernels.input) || !whole(kernels.output) {
            return None;
        }
        let found = match of {
            Use::Forwards => best_tile(&[2, 4], READ, direct, output),
            Use::Forward | Use::InputGradient => best_tile(TRAINING, MADE, direct, output),
        };
        match found? {
            2 => Some(transform::<Two, 2, 4>(kernels, of)),
            _ => Some(transform::<Four, 4, 6>(kernels, of)),
        }
    }
}

fn transform<F: Filter<M, T>, const M: usize, const T: usize>(
    kernels: &Kernels,
    of: Use,
) -> Transformed {
    let tap = |tap: usize| match of {
        Use::InputGradient => 8 - tap,
        Use::Forward | Use::Forwards => tap,
    };
    let (input, output) = (kernels.input, kernels.output);
    let from = kernels.values();
    let mut values = room(T * T * input * output);
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
    let strides = match of {
        Use::InputGradient => [1, output],
        Use::Forward | Use::Forwards => [output, 1],
    };
    let packed = match of {
        Use::Forwards => {
            let places: Vec<&[f32]> = values.chunks_exact(input * output).collect();
            let packed = places
                .into_par_iter()
                .map(|place| Packed::new(place, input, output));
            packed.collect::<Option<Vec<_>>>()
        }
        Use::Forward | Use::InputGradient => None,
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
