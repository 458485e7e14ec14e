//! Position embeddings at another image size.

use super::host_tensor::HostTensor;
use crate::preprocess::resample;

/// Where a backbone keeps a learnt embedding for each place of a square grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PosEmbed {
    /// Path of the parameter, `[1, prefix_tokens + side * side, width]`.
    pub path: String,
    /// Embeddings before those of the grid, which have no place in it.
    pub prefix_tokens: usize,
    /// The largest side of a grid.
    pub max_side: usize,
}

impl PosEmbed {
    /// Whether an embedding of one shape can be brought to another.
    pub(crate) fn resamples(&self, from: &[usize], to: &[usize]) -> bool {
        from != to && self.sides(from, to).is_some()
    }

    /// The values at another shape: those without a place are kept, the grid is resampled
    /// bicubically with antialiasing (timm's `resample_abs_pos_embed`).
    pub(crate) fn resample(&self, tensor: &HostTensor, shape: &[usize]) -> Vec<f32> {
        let Some((from, to, width)) = self.sides(&tensor.shape, shape) else {
            return tensor.data.clone();
        };
        let (kept, grid) = tensor.data.split_at(self.prefix_tokens * width);
        let mut data = kept.to_vec();
        data.extend(resample::bicubic(grid, [from, from], [to, to], width));
        data
    }

    /// Sides of the grids of two embeddings, and their width, if both are square.
    fn sides(&self, from: &[usize], to: &[usize]) -> Option<(usize, usize, usize)> {
        let ([1, from, width], [1, to, wanted]) = (from, to) else {
            return None;
        };
        let side = |tokens: usize| {
            let grid = tokens.checked_sub(self.prefix_tokens)?;
            let side = grid.isqrt();
            (side * side == grid && (1..=self.max_side).contains(&side)).then_some(side)
        };
        (width == wanted).then_some((side(*from)?, side(*to)?, *width))
    }
}
