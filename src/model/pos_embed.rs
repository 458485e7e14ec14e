//! Position embeddings at another image size.

use super::host_tensor::HostTensor;
use super::stem::Trained;
use crate::preprocess::resample;

/// Where a backbone keeps a learnt embedding for each patch of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PosEmbed {
    /// Path of the parameter, `[1, prefix_tokens + rows * columns, width]`.
    pub path: String,
    /// Embeddings before those of the grid, which have no place in it.
    pub prefix_tokens: usize,
    /// Rows and columns of the grid.
    pub grid: [usize; 2],
    /// Pixels on a side of a patch upstream.
    pub patch: usize,
    /// The largest side of a grid.
    pub max_side: usize,
}

impl PosEmbed {
    /// Whether an embedding for images of another size, if that is known, can be brought to the
    /// model's.
    pub(crate) fn resamples(&self, trained: &Trained, from: &[usize], to: &[usize]) -> bool {
        self.source(trained, from, to)
            .is_some_and(|grid| grid != self.grid)
    }

    /// The values for the model's grid: those without a place are kept, the grid is resampled
    /// bicubically with antialiasing (timm's `resample_abs_pos_embed`).
    pub(crate) fn resample(
        &self,
        trained: &Trained,
        tensor: &HostTensor,
        to: &[usize],
    ) -> Vec<f32> {
        let Some(from) = self.source(trained, &tensor.shape, to) else {
            return tensor.data.clone();
        };
        let width = to[2];
        let (kept, grid) = tensor.data.split_at(self.prefix_tokens * width);
        let mut data = kept.to_vec();
        data.extend(resample::bicubic(grid, from, self.grid, width));
        data
    }

    /// The grid of an embedding of this shape, if it is one of the model's width: that of the image
    /// size; where nothing says it, the model's own, or else a square.
    fn source(&self, trained: &Trained, from: &[usize], to: &[usize]) -> Option<[usize; 2]> {
        let ([1, tokens, width], [1, _, wanted]) = (from, to) else {
            return None;
        };
        let tokens = tokens.checked_sub(self.prefix_tokens)?;
        let patch = trained.stem_stride.unwrap_or(self.patch);
        let size = trained.image_size;
        let declared = size.map(|size| size.sides().map(|side| side / patch));
        let grid = declared
            .or((from == to).then_some(self.grid))
            .filter(|[rows, columns]| rows.checked_mul(*columns) == Some(tokens))
            .unwrap_or([tokens.isqrt(); 2]);
        let fits = grid[0] * grid[1] == tokens
            && grid.iter().all(|side| (1..=self.max_side).contains(side));
        (width == wanted && fits).then_some(grid)
    }
}
