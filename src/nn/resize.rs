//! Maps at another size.

use burn::tensor::{Device, Tensor, TensorData};

/// How the positions of a resized map get their values; PyTorch's `interpolate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    /// From the position that a place falls on, rounded down.
    Nearest,
    /// As `Bilinear` without `align_corners` where a map grows; where it shrinks, from all positions that a
    /// new one covers: PyTorch's `antialias`.
    Antialiased,
    /// From the two positions next to a place, by how near they are. The outermost positions of both
    /// maps are the same places, or with `align_corners` off their outer edges are.
    Bilinear {
        /// Whether the outermost positions are the same places.
        align_corners: bool,
    },
}

/// A map at another size.
///
/// # Shapes
/// - input: `[batch, channels, height, width]`
/// - output: `[batch, channels, sides[0], sides[1]]`
pub fn resize(x: Tensor<4>, sides: [usize; 2], how: Resize) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    if [height, width] == sides {
        return x;
    }
    // Both directions are linear, and matrices have gradients on every backend.
    let (device, dtype) = (x.device(), x.dtype());
    let matrix = |from, to| how.matrix(from, to, &device).cast(dtype);
    let columns = matrix(width, sides[1]).transpose();
    matrix(height, sides[0]).matmul(x.matmul(columns))
}

impl Resize {
    /// What `to` positions get of `from`: `[1, 1, to, from]`.
    fn matrix(self, from: usize, to: usize, device: &Device) -> Tensor<4> {
        let mut values = vec![0.0f32; to * from];
        for (position, row) in values.chunks_exact_mut(from).enumerate() {
            if self == Self::Antialiased {
                spread(row, position, to);
                continue;
            }
            let at = self.place(position, from, to);
            let before = (at as usize).min(from - 1);
            let part = at - before as f32;
            match self {
                Self::Nearest => row[before] = 1.0,
                Self::Bilinear { .. } | Self::Antialiased => {
                    row[before] += 1.0 - part;
                    row[(before + 1).min(from - 1)] += part;
                }
            }
        }
        Tensor::from_data(TensorData::new(values, [1, 1, to, from]), device)
    }

    /// Where a position is among those it comes from; PyTorch counts in 32 bits, too.
    fn place(self, position: usize, from: usize, to: usize) -> f32 {
        let position = position as f32;
        let scale = from as f32 / to as f32;
        match self {
            Self::Nearest => position * scale,
            Self::Bilinear {
                align_corners: false,
            } => ((position + 0.5) * scale - 0.5).max(0.0),
            Self::Bilinear {
                align_corners: true,
            } if to > 1 => position * ((from - 1) as f32 / (to - 1) as f32),
            Self::Bilinear { .. } | Self::Antialiased => 0.0,
        }
    }
}

/// The shares of a triangle around a position, of so many, that is as wide as the position where a map shrinks.
fn spread(row: &mut [f32], position: usize, to: usize) {
    let scale = row.len() as f32 / to as f32;
    let (center, width) = ((position as f32 + 0.5) * scale, scale.max(1.0));
    for (index, share) in row.iter_mut().enumerate() {
        let distance = (index as f32 + 0.5 - center).abs() / width;
        *share = (1.0 - distance).max(0.0);
    }
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|share| *share /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `torch.nn.functional.interpolate` gives of 1 2 3 in a row, the other side as it is.
    #[test]
    fn maps_are_resized_as_in_pytorch() {
        let device = Device::default();
        let bilinear = |align_corners| Resize::Bilinear { align_corners };
        for (how, expected) in [
            (Resize::Nearest, vec![1.0, 1.0, 2.0, 2.0, 3.0]),
            (Resize::Nearest, vec![1.0, 2.0]),
            (bilinear(false), vec![1.0, 1.625, 2.375, 3.0]),
            (bilinear(false), vec![1.25, 2.75]),
            (bilinear(true), vec![1.0, 5.0 / 3.0, 7.0 / 3.0, 3.0]),
            (bilinear(true), vec![1.0, 3.0]),
            (bilinear(true), vec![1.0]),
            (Resize::Antialiased, vec![1.375, 2.625]),
            (Resize::Antialiased, vec![1.0, 1.4, 2.0, 2.6, 3.0]),
        ] {
            let row = Tensor::<4>::from_floats([[[[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]]], &device);
            let length = expected.len();
            let wide = resize(row.clone(), [2, length], how);
            let high = resize(row.swap_dims(2, 3), [length, 2], how).swap_dims(2, 3);
            for found in [wide, high] {
                let found: Vec<f32> = found.into_data().try_to_vec().unwrap();
                let twice = expected.iter().map(|value| 2.0 * value);
                let all = expected.iter().copied().chain(twice);
                for (found, expected) in found.iter().zip(all) {
                    assert!(
                        (found - expected).abs() < 1e-6,
                        "{how:?}: {found}, {expected}"
                    );
                }
            }
        }
    }
}
