//! Shapes before they have colours.

use super::tables::Tables;

/// What all drawings share.
pub(super) struct Context<'a> {
    pub(super) tables: &'a Tables,
    /// Pixels of a side.
    pub(super) size: usize,
}

/// A shape without colours: how much of each pixel it covers, and how bright it is there; both from
/// 0 to 1, row by row.
pub(super) struct Layer {
    pub(super) cover: Vec<f32>,
    pub(super) tone: Vec<f32>,
}

impl Layer {
    pub(super) fn empty(size: usize) -> Self {
        Layer {
            cover: vec![0.0; size * size],
            tone: vec![0.0; size * size],
        }
    }

    /// Sets a pixel; the cover is clamped.
    pub(super) fn set(&mut self, pixel: usize, cover: f32, tone: f32) {
        if let (Some(c), Some(t)) = (self.cover.get_mut(pixel), self.tone.get_mut(pixel)) {
            *c = cover.clamp(0.0, 1.0);
            *t = tone;
        }
    }

    /// Pixels that are covered, in parts too.
    #[cfg(test)]
    pub(super) fn covered(&self) -> f32 {
        self.cover.iter().sum()
    }

    /// Lays `self` over another one.
    pub(super) fn over(&mut self, under: &Layer) {
        let pixels = self.cover.iter_mut().zip(&mut self.tone);
        for ((cover, tone), (c, t)) in pixels.zip(under.cover.iter().zip(&under.tone)) {
            let seen = c * (1.0 - *cover);
            let sum = *cover + seen;
            if sum > 0.0 {
                *tone = (*tone * *cover + t * seen) / sum;
                *cover = sum;
            }
        }
    }
}
