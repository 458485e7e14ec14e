//! Batch normalisation with what usually follows it, an addition and a ReLU, in one pass each way.

use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::feature_map::{self, MapShape};
use super::simd::{at_least, uninitialized, vectorised};
use crate::layers::StatisticsSync;

/// Mean, biased variance, and one over the standard deviation of each channel.
#[derive(Debug, Clone)]
pub struct Statistics {
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
    pub inverse: Vec<f32>,
    /// Values of each channel that they are of, those of other replicas among them.
    count: f64,
}

/// Mean of each channel and the sum of squared differences from it, over so many values.
struct Moments {
    count: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    /// Of all replicas: exact whatever the means are, since no square of a mean is subtracted (Chan,
    /// Golub & LeVeque, 1979).
    fn over_replicas(self, sync: &dyn StatisticsSync) -> Self {
        let channels = self.mean.len();
        let own = [&[self.count], &self.mean[..], &self.squares[..]].concat();
        let all = sync.all(&own);
        let count: f64 = all.iter().map(|of| of[0]).sum();
        let mean_of = |c: usize| all.iter().map(|of| of[0] * of[1 + c]).sum::<f64>() / count;
        let mean: Vec<f64> = (0..channels).map(mean_of).collect();
        let squares_of = |c: usize| {
            let around =
                |of: &Vec<f64>| of[1 + channels + c] + of[0] * (of[1 + c] - mean[c]).powi(2);
            all.iter().map(around).sum()
        };
        let squares = (0..channels).map(squares_of).collect();
        Self {
            count,
            mean,
            squares,
        }
    }
}

impl Statistics {
    fn new(mean: Vec<f32>, variance: Vec<f32>, count: f64, epsilon: f64) -> Self {
        let inverse = variance
            .iter()
            .map(|v| (1.0 / (f64::from(*v) + epsilon).sqrt()) as f32)
            .collect();
        Self {
            mean,
            variance,
            inverse,
            count,
        }
    }

    /// The unbiased variance; that of a single value, which has none, is zero.
    pub fn unbiased_variance(&self) -> Vec<f32> {
        let factor = self.count / (self.count - 1.0).max(1.0);
        let unbiased = |v: &f32| (f64::from(*v) * factor) as f32;
        self.variance.iter().map(unbiased).collect()
    }

    /// What a normalisation by these statistics multiplies each channel with, and what it adds.
    pub fn affine(&self, weight: &[f32], bias: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let scale: Vec<f32> = weight
            .iter()
            .zip(&self.inverse)
            .map(|(w, i)| w * i)
            .collect();
        let means = self.mean.iter().zip(&scale);
        let shift = bias.iter().zip(means).map(|(b, (m, s))| b - m * s);
        let shift = shift.collect();
        (scale, shift)
    }

    pub fn given(mean: &FlexTensor, variance: &FlexTensor, epsilon: f64) -> Self {
        let (mean, variance) = (feature_map::numbers(mean), feature_map::numbers(variance));
        Self::new(mean.into_owned(), variance.into_owned(), 1.0, epsilon)
    }

    /// Of a batch, or of those of all replicas.
    pub fn of_batch(x: &FlexTensor, epsilon: f64, sync: Option<&dyn StatisticsSync>) -> Self {
        let channels = MapShape::of(x).channels;
        let mut moments = Moments::of(&feature_map::values(x), channels);
        if let Some(sync) = sync {
            moments = moments.over_replicas(sync);
        }
        let mean = moments.mean.iter().map(|mean| *mean as f32).collect();
        let variance = moments.squares.iter().map(|s| (s / moments.count) as f32);
        Self::new(mean, variance.collect(), moments.count, epsilon)
    }
}

impl Moments {
    /// Of positions, in one pass over them: sums of what differs from the first position's values, and of
    /// its squares, so that values far from zero keep their digits.
    fn of(x: &[f32], channels: usize) -> Self {
        let count = (x.len() / channels.max(1)) as f64;
        if count <= FEW as f64 {
            return Self::of_few(x, channels);
        }
        let pivot = &x[..channels];
        let parts = x.par_chunks(part(channels)).map(|x| {
            let mut sums = vec![0.0f64; 2 * channels];
            let mut few = vec![0.0f32; 2 * channels];
            for x in x.chunks(FEW * channels) {
                few.fill(0.0);
                let (sum, squares) = few.split_at_mut(channels);
                vectorised(
                    #[inline(always)]
                    || {
                        for x in x.chunks_exact(channels) {
                            let sums = sum.iter_mut().zip(squares.iter_mut());
                            for ((x, pivot), (sum, square)) in x.iter().zip(pivot).zip(sums) {
                                let d = x - pivot;
                                *sum += d;
                                *square += d * d;
                            }
                        }
                    },
                );
                gather(&mut sums, &few);
            }
            sums
        });
        let sums = add(parts.collect(), 2 * channels);
        let (sum, squares) = sums.split_at(channels);
        let means = sum.iter().map(|sum| sum / count);
        let mean = means.clone().zip(pivot).map(|(m, p)| f64::from(*p) + m);
        let squares = means
            .zip(squares)
            .map(|(mean, square)| (square - count * mean * mean).max(0.0));
        Self {
            count,
            mean: mean.collect(),
            squares: squares.collect(),
        }
    }

    /// Of so few positions that rounding shows: all in 64 bits, the mean first.
    fn of_few(x: &[f32], channels: usize) -> Self {
        let count = (x.len() / channels.max(1)) as f64;
        let mut mean = vec![0.0f64; channels];
        for x in x.chunks_exact(channels.max(1)) {
            gather(&mut mean, x);
        }
        mean.iter_mut().for_each(|mean| *mean /= count);
        let mut squares = vec![0.0f64; channels];
        for x in x.chunks_exact(channels.max(1)) {
            for ((square, x), mean) in squares.iter_mut().zip(x).zip(&mean) {
                *square += (f64::from(*x) - mean).powi(2);
            }
        }
        Self {
            count,
            mean,
            squares,
        }
    }
}

/// Positions whose numbers are summed in 32 bits before they are added to a sum in 64.
const FEW: usize = 32;

/// Adds short sums to long ones.
fn gather(sums: &mut [f64], few: &[f32]) {
    for (sum, value) in sums.iter_mut().zip(few) {
        *sum += f64::from(*value);
    }
}

/// Numbers that one task takes: whole positions, enough to be worth a task.
fn part(channels: usize) -> usize {
    const NUMBERS: usize = 1 << 15;
    (NUMBERS / channels.max(1)).max(1) * channels.max(1)
}

/// Sums of parts, in order.
fn add(parts: Vec<Vec<f64>>, len: usize) -> Vec<f64> {
    let mut sums = vec![0.0; len];
    for part in parts {
        for (sum, value) in sums.iter_mut().zip(part) {
            *sum += value;
        }
    }
    sums
}

/// `max(0, x * scale + shift + residual)`; without ReLU, there is no maximum.
pub fn forward(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    statistics: &Statistics,
    residual: Option<&FlexTensor>,
    relu: bool,
) -> FlexTensor {
    let shape = MapShape::of(x);
    let channels = shape.channels;
    let (weight, bias) = (feature_map::numbers(weight), feature_map::numbers(bias));
    let (scale, shift) = statistics.affine(&weight, &bias);
    let x = feature_map::values(x);
    let residual = residual.map(feature_map::values);
    let mut out = uninitialized(shape.len());
    let size = part(channels);
    let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
    out.par_chunks_mut(size)
        .enumerate()
        .for_each(|(index, out)| {
            let place = index * size..index * size + out.len();
            let x = &x[place.clone()];
            let rows = out.chunks_exact_mut(channels).zip(x.chunks_exact(channels));
            let (scale, shift) = (&scale[..channels], &shift[..channels]);
            match &residual {
                None => vectorised(
                    #[inline(always)]
                    || {
                        for (out, x) in rows {
                            for c in 0..channels {
                                out[c] = at_least(x[c] * scale[c] + shift[c], floor);
                            }
                        }
                    },
                ),
                Some(residual) => {
                    let rows = rows.zip(residual[place].chunks_exact(channels));
                    vectorised(
                        #[inline(always)]
                        || {
                            for ((out, x), r) in rows {
                                for c in 0..channels {
                                    out[c] = at_least(x[c] * scale[c] + shift[c] + r[c], floor);
                                }
                            }
                        },
                    );
                }
            }
        });
    feature_map::tensor(out, shape)
}

/// Which gradients are wanted, and what they need.
pub struct Backward<'a> {
    pub gradient: &'a FlexTensor,
    pub x: &'a FlexTensor,
    /// The output, where a ReLU was the last step.
    pub relu_output: Option<&'a FlexTensor>,
    pub weight: &'a FlexTensor,
    pub statistics: &'a Statistics,
    /// Whether the statistics are the batch's, and so depend on the input.
    pub of_batch: bool,
    /// Replicas whose batches were normalised as one.
    pub sync: Option<&'a dyn StatisticsSync>,
    pub input_needed: bool,
    pub residual_needed: bool,
}

/// Gradients of the input, of scale and shift, and of the residual.
pub struct Gradients {
    pub input: Option<FlexTensor>,
    pub weight: FlexTensor,
    pub bias: FlexTensor,
    pub residual: Option<FlexTensor>,
}

impl Backward<'_> {
    pub fn run(self) -> Gradients {
        let shape = MapShape::of(self.x);
        let channels = shape.channels;
        let size = part(channels);
        let (x, gradient) = (
            feature_map::values(self.x),
            feature_map::values(self.gradient),
        );
        let output = self.relu_output.map(feature_map::values);
        let mean = &self.statistics.mean[..channels];
        let inverse = &self.statistics.inverse[..channels];

        // What the ReLU lets through is the residual's gradient, and stored where that is needed.
        let mut masked = if self.residual_needed && output.is_some() {
            uninitialized(shape.len())
        } else {
            Vec::new()
        };
        let mut masked_parts: Vec<Option<&mut [f32]>> = if masked.is_empty() {
            (0..x.len().div_ceil(size)).map(|_| None).collect()
        } else {
            masked.chunks_mut(size).map(Some).collect()
        };
        let parts: Vec<Vec<f64>> = masked_parts
            .par_iter_mut()
            .enumerate()
            .map(|(index, masked)| {
                let place = index * size..(index * size + size).min(x.len());
                let mut sums = vec![0.0f64; 2 * channels];
                let mut few = vec![0.0f32; 2 * channels];
                let mut masked = masked.as_deref_mut();
                for from in place.clone().step_by(FEW * channels) {
                    let to = (from + FEW * channels).min(place.end);
                    let rows = x[from..to].chunks_exact(channels);
                    let rows = rows.zip(gradient[from..to].chunks_exact(channels));
                    few.fill(0.0);
                    let (sum, product) = few.split_at_mut(channels);
                    match (&output, &mut masked) {
                        (None, _) => vectorised(
                            #[inline(always)]
                            || {
                                for (x, g) in rows {
                                    for c in 0..channels {
                                        sum[c] += g[c];
                                        product[c] += g[c] * ((x[c] - mean[c]) * inverse[c]);
                                    }
                                }
                            },
                        ),
                        (Some(output), None) => {
                            let rows = rows.zip(output[from..to].chunks_exact(channels));
                            vectorised(
                                #[inline(always)]
                                || {
                                    for ((x, g), y) in rows {
                                        for c in 0..channels {
                                            let g = passed(g[c], y[c]);
                                            sum[c] += g;
                                            product[c] += g * ((x[c] - mean[c]) * inverse[c]);
                                        }
                                    }
                                },
                            );
                        }
                        (Some(output), Some(masked)) => {
                            let masked = &mut masked[from - place.start..to - place.start];
                            let rows = rows.zip(output[from..to].chunks_exact(channels));
                            let rows = rows.zip(masked.chunks_exact_mut(channels));
                            vectorised(
                                #[inline(always)]
                                || {
                                    for (((x, g), y), masked) in rows {
                                        for c in 0..channels {
                                            let g = passed(g[c], y[c]);
                                            masked[c] = g;
                                            sum[c] += g;
                                            product[c] += g * ((x[c] - mean[c]) * inverse[c]);
                                        }
                                    }
                                },
                            );
                        }
                    }
                    gather(&mut sums, &few);
                }
                sums
            })
            .collect();
        let sums = add(parts, 2 * channels);
        let residual = match (self.residual_needed, masked.is_empty()) {
            (false, _) => None,
            (true, true) => Some(self.gradient.clone()),
            (true, false) => Some(feature_map::tensor(masked, shape)),
        };

        // All replicas come here, whether or not this one's input wants a gradient: that is a matter of
        // what is frozen, which is the same for all.
        let all = self
            .sync
            .filter(|_| self.input_needed)
            .map(|sync| sync.all(&sums));
        let shared = all.map(|all| {
            let sum = |c: usize| all.iter().map(|of| of[c]).sum::<f64>();
            (0..2 * channels).map(sum).collect::<Vec<f64>>()
        });
        let in_common = shared.as_ref().unwrap_or(&sums);
        let input = self.input_needed.then(|| {
            // g * scale for given statistics; for the batch's own, what all of it has in common in
            // the direction of a shift and of a scaling is taken away: dx = a g + b x + d.
            let weight = feature_map::numbers(self.weight);
            let count = self.statistics.count;
            let (mut a, mut b, mut d) = (Vec::new(), Vec::new(), Vec::new());
            for c in 0..channels {
                let inverse = f64::from(inverse[c]);
                let scale = f64::from(weight[c]) * inverse;
                a.push(scale as f32);
                let (slope, shift) = if self.of_batch {
                    let slope = -scale * inverse * in_common[channels + c] / count;
                    (slope, -scale * in_common[c] / count)
                } else {
                    (0.0, 0.0)
                };
                b.push(slope as f32);
                d.push(shift as f32);
            }
            let (a, b, d) = (&a[..channels], &b[..channels], &d[..channels]);
            let masked = residual
                .as_ref()
                .filter(|_| output.is_some())
                .map(feature_map::values);
            let mut out = uninitialized(shape.len());
            out.par_chunks_mut(size)
                .enumerate()
                .for_each(|(index, out)| {
                    let place = index * size..index * size + out.len();
                    let from = masked.as_ref().unwrap_or(&gradient);
                    let rows = out.chunks_exact_mut(channels);
                    let rows = rows.zip(x[place.clone()].chunks_exact(channels));
                    let rows = rows.zip(from[place.clone()].chunks_exact(channels));
                    match (&output, &masked) {
                        (Some(output), None) => {
                            let rows = rows.zip(output[place].chunks_exact(channels));
                            vectorised(
                                #[inline(always)]
                                || {
                                    for (((out, x), g), y) in rows {
                                        for c in 0..channels {
                                            let g = passed(g[c], y[c]);
                                            out[c] = a[c] * g + b[c] * (x[c] - mean[c]) + d[c];
                                        }
                                    }
                                },
                            );
                        }
                        _ => vectorised(
                            #[inline(always)]
                            || {
                                for ((out, x), g) in rows {
                                    for c in 0..channels {
                                        out[c] = a[c] * g[c] + b[c] * (x[c] - mean[c]) + d[c];
                                    }
                                }
                            },
                        ),
                    }
                });
            feature_map::tensor(out, shape)
        });
        let single = |from: usize| {
            let values = sums[from..from + channels].iter().map(|v| *v as f32);
            feature_map::vector(values.collect())
        };
        Gradients {
            input,
            weight: single(channels),
            bias: single(0),
            residual,
        }
    }
}

/// What a ReLU lets through backwards.
#[inline(always)]
fn passed(gradient: f32, output: f32) -> f32 {
    if output > 0.0 { gradient } else { 0.0 }
}
