//! Kernels that cut patches, for patches of another side.

use super::host_tensor::HostTensor;
use crate::preprocess::resample;

/// The kernels `[out, in, side, side]` at another side: those whose products with patches that are
/// resampled bicubically come nearest to the products of the old kernels with the old patches (Beyer et
/// al., "FlexiViT", CVPR 2023, <https://arxiv.org/abs/2212.08013>, section 3.4). timm's
/// `resample_patch_embed`.
pub(crate) fn resample_kernels(kernels: &HostTensor, to: [usize; 2]) -> Vec<f32> {
    let [out, channels, height, width] = kernels.shape[..] else {
        return kernels.data.clone();
    };
    // The resampling is one along each axis, and so is its pseudo-inverse.
    let (down, across) = (resampler(height, to[0]), resampler(width, to[1]));
    let mut data = Vec::with_capacity(out * channels * to[0] * to[1]);
    for kernel in kernels.data.chunks_exact(height * width) {
        for row in &down {
            for column in &across {
                let mut sum = 0.0;
                for (y, weight) in row.iter().enumerate() {
                    for (x, factor) in column.iter().enumerate() {
                        sum += weight * factor * f64::from(kernel[y * width + x]);
                    }
                }
                data.push(sum as f32);
            }
        }
    }
    data
}

/// The pseudo-inverse of the transpose of what resamples an axis: a row for each new position.
fn resampler(from: usize, to: usize) -> Vec<Vec<f64>> {
    let mut unit = vec![0.0f32; from * from];
    unit.iter_mut()
        .step_by(from + 1)
        .for_each(|value| *value = 1.0);
    // The old positions are the channels: each new one is a row of what resamples.
    let resized = resample::bicubic(&unit, [from, 1], [to, 1], from);
    let rows: Vec<Vec<f64>> = resized
        .chunks_exact(from)
        .map(|row| row.iter().copied().map(f64::from).collect())
        .collect();
    // R is to x from and of full rank: (Rᵀ)⁺ is (R Rᵀ)⁻¹ R, or R (Rᵀ R)⁻¹.
    let columns = transposed(&rows);
    if to <= from {
        solved(products(&rows), rows)
    } else {
        transposed(&solved(products(&columns), columns))
    }
}

fn transposed(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let columns = 0..rows[0].len();
    columns
        .map(|column| rows.iter().map(|row| row[column]).collect())
        .collect()
}

/// The products of all pairs of rows.
fn products(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum();
    rows.iter()
        .map(|a| rows.iter().map(|b| product(a, b)).collect())
        .collect()
}

/// `matrix⁻¹ values` of a positive definite matrix, by Gauss and Jordan.
fn solved(mut matrix: Vec<Vec<f64>>, mut values: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    for pivot in 0..matrix.len() {
        let divide = |rows: &mut Vec<Vec<f64>>, by: f64| {
            rows[pivot].iter_mut().for_each(|value| *value /= by);
        };
        let by = matrix[pivot][pivot];
        divide(&mut matrix, by);
        divide(&mut values, by);
        for row in (0..matrix.len()).filter(|row| *row != pivot) {
            let factor = matrix[row][pivot];
            for rows in [&mut matrix, &mut values] {
                let own = rows[pivot].clone();
                let pairs = rows[row].iter_mut().zip(own);
                pairs.for_each(|(value, own)| *value -= factor * own);
            }
        }
    }
    values
}
