//! Steps of an optimiser over one parameter, in one pass over its memory.
//!
//! Kernels of a convolution keep the layout of their gradient, which is the one that the convolution
//! reads, and are never turned around.

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType};
use rayon::prelude::*;

use super::feature_map;
use super::simd::{uninitialized, vectorised};
use crate::layers::{Adam, Sgd};

/// Numbers that one task takes.
pub const PART: usize = 1 << 15;

/// A tensor's numbers in a layout, for writing: its own memory if nobody else uses it and it lies
/// so already, else a copy.
pub fn in_layout(tensor: FlexTensor, layout: &Layout) -> FlexTensor {
    if tensor.layout().strides() == layout.strides() && tensor.layout().start_offset() == 0 {
        return tensor;
    }
    let shape = layout.shape();
    let rank = shape.num_dims();
    let from = tensor.storage::<f32>();
    let mut values = uninitialized(layout.num_elements());
    let mut index = vec![0usize; rank];
    for _ in 0..values.len() {
        let at = |layout: &Layout| {
            let steps = index.iter().zip(layout.strides());
            steps.fold(layout.start_offset() as isize, |sum, (i, s)| {
                sum + *i as isize * s
            }) as usize
        };
        values[at(layout)] = from[at(tensor.layout())];
        for axis in (0..rank).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    FlexTensor::new(Bytes::from_elems(values), layout.clone(), DType::F32)
}

/// What an optimiser remembers, which is zero before the first step.
pub fn in_layout_or_zeros(tensor: Option<FlexTensor>, layout: &Layout) -> FlexTensor {
    match tensor {
        Some(tensor) => in_layout(tensor, layout),
        None => {
            let zeros = Bytes::from_elems(vec![0.0f32; layout.num_elements()]);
            FlexTensor::new(zeros, layout.clone(), DType::F32)
        }
    }
}

/// The layout that all tensors of a step take: of kernels the gradient's, if its numbers fill their
/// memory. Everything else stays as it is loaded, so that a run that goes on from a checkpoint
/// computes what it would have computed.
pub fn common_layout(gradient: &FlexTensor) -> Layout {
    let layout = gradient.layout();
    if layout.num_dims() != 4 {
        return Layout::contiguous(layout.shape().clone());
    }
    if feature_map::is_dense(layout) {
        layout.clone()
    } else {
        Layout::contiguous(layout.shape().clone())
    }
}

pub fn sgd(
    parameter: FlexTensor,
    gradient: FlexTensor,
    velocity: Option<FlexTensor>,
    rule: Sgd,
) -> (FlexTensor, Option<FlexTensor>) {
    let layout = common_layout(&gradient);
    let gradient = in_layout(gradient, &layout);
    let mut parameter = in_layout(parameter, &layout);
    let g = &gradient.storage::<f32>()[..layout.num_elements()];
    let Sgd {
        learning_rate: rate,
        momentum,
        nesterov,
        weight_decay: decay,
    } = rule;
    let p = parameter.storage_mut::<f32>();
    if momentum == 0.0 {
        p.par_chunks_mut(PART)
            .zip(g.par_chunks(PART))
            .for_each(|(p, g)| {
                vectorised(
                    #[inline(always)]
                    || {
                        for (p, g) in p.iter_mut().zip(g) {
                            *p -= rate * (*g + decay * *p);
                        }
                    },
                );
            });
        return (parameter, None);
    }
    // The first step takes the gradient as it is, which a velocity of zeros does.
    let mut velocity = in_layout_or_zeros(velocity, &layout);
    let v = velocity.storage_mut::<f32>();
    p.par_chunks_mut(PART)
        .zip(g.par_chunks(PART))
        .zip(v.par_chunks_mut(PART))
        .for_each(|((p, g), v)| {
            vectorised(
                #[inline(always)]
                || {
                    for ((p, g), v) in p.iter_mut().zip(g).zip(v) {
                        let g = *g + decay * *p;
                        *v = momentum * *v + g;
                        let step = if nesterov { g + momentum * *v } else { *v };
                        *p -= rate * step;
                    }
                },
            );
        });
    (parameter, Some(velocity))
}

pub fn adam(
    parameter: FlexTensor,
    gradient: FlexTensor,
    moments: Option<[FlexTensor; 2]>,
    rule: Adam,
) -> [FlexTensor; 3] {
    let layout = common_layout(&gradient);
    let gradient = in_layout(gradient, &layout);
    let mut parameter = in_layout(parameter, &layout);
    let [mut first, mut second] = match moments {
        Some(moments) => moments.map(Some),
        None => [None, None],
    }
    .map(|moment| in_layout_or_zeros(moment, &layout));
    let Adam {
        learning_rate: rate,
        betas: [beta1, beta2],
        epsilon,
        weight_decay,
        decoupled,
        step,
    } = rule;
    let step = i32::try_from(step).unwrap_or(i32::MAX);
    let root = (1.0 - beta2.powi(step)).sqrt();
    let factor = rate * root / (1.0 - beta1.powi(step));
    let epsilon = epsilon * root;
    // Of the gradient, or of the parameter.
    let (decay, shrink) = if decoupled {
        (0.0, 1.0 - rate * weight_decay)
    } else {
        (weight_decay, 1.0)
    };
    let g = &gradient.storage::<f32>()[..layout.num_elements()];
    let p = parameter.storage_mut::<f32>();
    let (m, v) = (first.storage_mut::<f32>(), second.storage_mut::<f32>());
    p.par_chunks_mut(PART)
        .zip(g.par_chunks(PART))
        .zip(m.par_chunks_mut(PART).zip(v.par_chunks_mut(PART)))
        .for_each(|((p, g), (m, v))| {
            vectorised(
                #[inline(always)]
                || {
                    for ((p, g), (m, v)) in p.iter_mut().zip(g).zip(m.iter_mut().zip(v)) {
                        let g = *g + decay * *p;
                        *m = beta1 * *m + (1.0 - beta1) * g;
                        *v = beta2 * *v + (1.0 - beta2) * (g * g);
                        *p = shrink * *p - factor * *m / (v.sqrt() + epsilon);
                    }
                },
            );
        });
    [parameter, first, second]
}

/// A tensor's numbers, in whatever order.
pub fn with_numbers<R>(tensor: &FlexTensor, f: impl FnOnce(&[f32]) -> R) -> R {
    let layout = common_layout(tensor);
    let tensor = in_layout(tensor.clone(), &layout);
    f(&tensor.storage::<f32>()[..layout.num_elements()])
}

/// `a + (b - a) weight`.
pub fn lerp(a: FlexTensor, b: FlexTensor, weight: f32) -> FlexTensor {
    each_pair(a, b, move |a, b| a + (b - a) * weight)
}

/// `a + b`.
pub fn add(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    each_pair(a, b, |a, b| a + b)
}

fn each_pair(a: FlexTensor, b: FlexTensor, f: impl Fn(f32, f32) -> f32 + Sync) -> FlexTensor {
    let layout = common_layout(&b);
    let b = in_layout(b, &layout);
    let mut a = in_layout(a, &layout);
    let values = &b.storage::<f32>()[..layout.num_elements()];
    a.storage_mut::<f32>()
        .par_chunks_mut(PART)
        .zip(values.par_chunks(PART))
        .for_each(|(a, b)| {
            vectorised(
                #[inline(always)]
                || {
                    for (a, b) in a.iter_mut().zip(b) {
                        *a = f(*a, *b);
                    }
                },
            );
        });
    a
}

/// The sum of all squares.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    let parts: Vec<f64> = values
        .par_chunks(PART)
        .map(|values| {
            // Short sums in 32 bits, their sum in 64; sixteen side by side, for the vectors.
            let mut sum = 0.0f64;
            for values in values.chunks(1024) {
                let mut lanes = [0.0f32; 16];
                vectorised(
                    #[inline(always)]
                    || {
                        let whole = values.chunks_exact(16);
                        let rest = whole.remainder();
                        for values in whole {
                            for (lane, v) in lanes.iter_mut().zip(values) {
                                *lane += v * v;
                            }
                        }
                        for (lane, v) in lanes.iter_mut().zip(rest) {
                            *lane += v * v;
                        }
                    },
                );
                sum += lanes.iter().map(|v| f64::from(*v)).sum::<f64>();
            }
            sum
        })
        .collect();
    parts.iter().sum()
}
