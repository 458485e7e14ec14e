//! The values that each rule gives, and what they are drawn and filled with.

use rayon::prelude::*;

use super::gain::elements;
use super::{FanMode, Init, Nonlinearity, Rng, calculate_gain, fans};
use crate::error::{Error, Result};

impl Init {
    /// The values of a weight of this shape, in row-major order.
    ///
    /// The shape is in PyTorch's layout, `[out, in / groups, ...kernel]`. A shape with a 0 in it
    /// gives no values, as in torch. The values of a bounded rule lie between its bounds, these
    /// rounded to `f32`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if
    /// - an argument of the rule is outside what its documentation says,
    /// - the shape has a rank that the rule does not take: 2 or more for Xavier, Kaiming,
    ///   orthogonal and the two recipes, 3 to 5 for Dirac, 2 for eye and sparse, any for the
    ///   others,
    /// - the groups of Dirac do not divide `shape[0]`,
    /// - the values do not fit into memory, or one of them does not fit into an `f32`.
    pub fn weight(&self, shape: &[usize], rng: &mut Rng) -> Result<Vec<f32>> {
        self.check()?;
        self.check_shape(shape)?;
        let len = elements(shape)?;
        if len == 0 {
            return Ok(Vec::new());
        }
        let values = match *self {
            Init::Zeros => fill(len, || 0.0),
            Init::Ones => fill(len, || 1.0),
            Init::Constant { value } => fill(len, || value),
            // The width is rounded, possibly up.
            Init::Uniform { low, high } => {
                draw(len, UNIFORM, rng, |rng| rng.uniform(low, high).min(high))
            }
            Init::Normal { mean, std } => draw(len, NORMAL, rng, |rng| mean + std * rng.normal()),
            Init::TruncNormal {
                mean,
                std,
                low,
                high,
            } => {
                // So far out the values exceed the bound by some std / alpha, 1e-16 of its distance
                // from the mean, which rounding does not see.
                const FAR: f64 = 1e8;
                let (alpha, beta) = ((low - mean) / std, (high - mean) / std);
                if alpha > FAR {
                    fill(len, || low)
                } else if beta < -FAR {
                    fill(len, || high)
                } else {
                    fill(len, || {
                        let value = mean + std * rng.truncated_normal(alpha, beta);
                        // Rounding in the way to standard units and back could cross a bound.
                        value.max(low).min(high)
                    })
                }
            }
            Init::XavierUniform { gain } => uniform_of_std(len, xavier_std(shape, gain)?, rng),
            Init::XavierNormal { gain } => {
                let std = xavier_std(shape, gain)?;
                draw(len, NORMAL, rng, |rng| std * rng.normal())
            }
            Init::KaimingUniform { mode, nonlinearity } => {
                uniform_of_std(len, kaiming_std(shape, mode, nonlinearity)?, rng)
            }
            Init::KaimingNormal { mode, nonlinearity } => {
                let std = kaiming_std(shape, mode, nonlinearity)?;
                draw(len, NORMAL, rng, |rng| std * rng.normal())
            }
            Init::Orthogonal { gain } => orthogonal(shape[0], len / shape[0], gain, rng),
            Init::Dirac { groups } => dirac(shape, len, groups),
            Init::Eye => eye(shape[0], shape[1]),
            Init::Sparse { sparsity, std } => sparse(shape[0], shape[1], sparsity, std, rng),
            Init::PyTorch => {
                let rule = Nonlinearity::LeakyRelu(5f64.sqrt());
                uniform_of_std(len, kaiming_std(shape, FanMode::FanIn, rule)?, rng)
            }
            Init::Course => uniform_of_std(len, xavier_std(shape, 1.0)?, rng),
        }?;
        self.check_values(&values)?;
        Ok(values)
    }

    /// The `len` values of the bias that belongs to a weight of shape `weight_shape`.
    ///
    /// For [`Init::PyTorch`] and [`Init::Course`] they are U(−1/√fan_in, 1/√fan_in), the rule of
    /// `torch.nn.Linear` and `torch.nn.Conv2d`; for every other rule they are 0, and the shape is
    /// not looked at.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if
    /// - an argument of the rule is outside what its documentation says,
    /// - the values do not fit into memory,
    /// - for the two recipes, the weight has fewer than two dimensions or a `fan_in` of 0.
    pub fn bias(&self, weight_shape: &[usize], len: usize, rng: &mut Rng) -> Result<Vec<f32>> {
        self.check()?;
        if !matches!(self, Init::PyTorch | Init::Course) {
            return fill(len, || 0.0);
        }
        self.check_shape(weight_shape)?;
        let (fan_in, _) = fans(weight_shape)?;
        if len == 0 {
            return Ok(Vec::new());
        }
        if fan_in == 0 {
            return Err(Error::argument(
                format!("{self} weight shape"),
                "a fan_in of 1 or more",
                format!("{weight_shape:?}"),
            ));
        }
        let bound = 1.0 / (fan_in as f64).sqrt();
        draw(len, UNIFORM, rng, |rng| rng.uniform(-bound, bound))
    }
}

/// An empty vector with room for `len` elements; the error stands in for the abort that an
/// allocation of any size would risk.
fn buffer<T>(len: usize) -> Result<Vec<T>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len).map_err(|_| {
        Error::argument(
            "shape",
            "a tensor that fits into memory",
            format!("{len} elements"),
        )
    })?;
    Ok(buffer)
}

/// `len` values, drawn in row-major order.
fn fill(len: usize, mut value: impl FnMut() -> f64) -> Result<Vec<f32>> {
    fill_from(len, |_| value())
}

/// `len` values, each from its index.
fn fill_from(len: usize, mut value: impl FnMut(usize) -> f64) -> Result<Vec<f32>> {
    let mut values = buffer(len)?;
    values.extend((0..len).map(|index| value(index) as f32));
    Ok(values)
}

/// Words of the stream that a number takes.
const UNIFORM: usize = 1;
const NORMAL: usize = 2;

/// `len` values, drawn in row-major order, each from so many words of the stream: on all threads, as it is known
/// where in the stream a value begins.
fn draw(
    len: usize,
    words: usize,
    rng: &mut Rng,
    value: impl Fn(&mut Rng) -> f64 + Sync,
) -> Result<Vec<f32>> {
    const BLOCK: usize = 1 << 14;
    let mut values = fill(len, || 0.0)?;
    let blocks = values.par_chunks_mut(BLOCK).enumerate();
    blocks.for_each(|(index, block)| {
        let mut rng = rng.after(index * BLOCK * words);
        block.fill_with(|| value(&mut rng) as f32);
    });
    *rng = rng.after(len * words);
    Ok(values)
}

/// The uniform distribution with mean 0 and this standard deviation. The bound is computed in
/// torch's order of operations, to the last bit.
fn uniform_of_std(len: usize, std: f64, rng: &mut Rng) -> Result<Vec<f32>> {
    let bound = 3f64.sqrt() * std;
    draw(len, UNIFORM, rng, |rng| rng.uniform(-bound, bound))
}

fn xavier_std(shape: &[usize], gain: f64) -> Result<f64> {
    let (fan_in, fan_out) = fans(shape)?;
    Ok(gain * (2.0 / (fan_in as f64 + fan_out as f64)).sqrt())
}

fn kaiming_std(shape: &[usize], mode: FanMode, nonlinearity: Nonlinearity) -> Result<f64> {
    let (fan_in, fan_out) = fans(shape)?;
    let fan = match mode {
        FanMode::FanIn => fan_in,
        FanMode::FanOut => fan_out,
    };
    Ok(calculate_gain(nonlinearity) / (fan as f64).sqrt())
}

/// Q of the QR decomposition of an N(0, 1) matrix, drawn as `[rows, cols]` and decomposed as its
/// transpose where that is the taller one.
///
/// Gram–Schmidt makes the diagonal of R positive by itself, so there are no signs to correct.
fn orthogonal(rows: usize, cols: usize, gain: f64, rng: &mut Rng) -> Result<Vec<f32>> {
    let mut drawn: Vec<f64> = buffer(rows * cols)?;
    drawn.extend((0..rows * cols).map(|_| rng.normal()));
    if rows < cols {
        orthonormalize(&mut drawn, cols);
        return fill_from(rows * cols, |index| gain * drawn[index]);
    }
    // Column by column, so that each vector is contiguous.
    let mut columns: Vec<f64> = buffer(rows * cols)?;
    for col in 0..cols {
        columns.extend((0..rows).map(|row| drawn[row * cols + col]));
    }
    drop(drawn);
    orthonormalize(&mut columns, rows);
    fill_from(rows * cols, |index| {
        gain * columns[index % cols * rows + index / cols]
    })
}

/// Makes the vectors of length `dim` that lie one after the other in `vectors` orthonormal, each
/// from itself and those before it.
fn orthonormalize(vectors: &mut [f64], dim: usize) {
    for start in (0..vectors.len()).step_by(dim) {
        let (done, rest) = vectors.split_at_mut(start);
        let vector = &mut rest[..dim];
        // One pass leaves an error that grows with the condition number; after the second one it
        // is rounding: "twice is enough" (Kahan; Parlett 1980).
        for _ in 0..2 {
            for unit in done.chunks_exact(dim) {
                let along = dot(unit, vector);
                for (v, u) in vector.iter_mut().zip(unit) {
                    *v -= along * u;
                }
            }
        }
        let norm = dot(vector, vector).sqrt();
        for v in vector {
            *v /= norm;
        }
    }
}

/// The inner product, in eight sums: one sum would have to be added up in order, which neither
/// vectorizes nor pipelines.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

fn dirac(shape: &[usize], len: usize, groups: usize) -> Result<Vec<f32>> {
    let (outputs, inputs, kernel) = (shape[0], shape[1], &shape[2..]);
    let receptive_field: usize = kernel.iter().product();
    let middle = kernel.iter().fold(0, |index, size| index * size + size / 2);
    let outputs_per_group = outputs / groups;
    let mut values = fill(len, || 0.0)?;
    for group in 0..groups {
        for channel in 0..outputs_per_group.min(inputs) {
            let row = group * outputs_per_group + channel;
            values[(row * inputs + channel) * receptive_field + middle] = 1.0;
        }
    }
    Ok(values)
}

fn eye(rows: usize, cols: usize) -> Result<Vec<f32>> {
    let mut values = fill(rows * cols, || 0.0)?;
    values
        .iter_mut()
        .step_by(cols + 1)
        .take(rows.min(cols))
        .for_each(|value| *value = 1.0);
    Ok(values)
}

/// All values are drawn first, then for each column the rows that become 0: the first places of a
/// Fisher–Yates shuffle of all rows.
fn sparse(rows: usize, cols: usize, sparsity: f64, std: f64, rng: &mut Rng) -> Result<Vec<f32>> {
    let mut values = fill(rows * cols, || std * rng.normal())?;
    let zeros = ((sparsity * rows as f64).ceil() as usize).min(rows);
    let mut order: Vec<usize> = buffer(rows)?;
    for col in 0..cols {
        order.clear();
        order.extend(0..rows);
        for place in 0..zeros {
            let left = rows - place;
            let step = (rng.unit() * left as f64) as usize;
            order.swap(place, place + step.min(left - 1));
            values[order[place] * cols + col] = 0.0;
        }
    }
    Ok(values)
}
