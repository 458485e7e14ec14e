//! Images of a batch mixed with each other, and the targets that belong to them.

use serde::{Deserialize, Serialize};

use super::checks::{check_in, check_length, check_probability};
use super::random::{happens, index};
use super::rectangle::Rectangle;
use crate::error::{Error, Result};
use crate::init::Rng;

/// Mixup (Zhang et al., 2018, <https://arxiv.org/abs/1710.09412>) and CutMix (Yun et al., 2019,
/// <https://arxiv.org/abs/1905.04899>) over a batch: timm's `Mixup` with the mode `batch`.
///
/// The first image is mixed with the last, the second with the last but one, and so on, all in the
/// same way; the images must be in random order. Images and targets then belong to two classes, so
/// that the loss has to take [`soft_targets`].
///
/// With the defaults, which are those of timm's training script, nothing is mixed; 0.2 for Mixup
/// and 1 for CutMix are common.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table such as { mixup_alpha = 0.2 }"
)]
pub struct Mixing {
    /// α of the Beta(α, α) that says how much of the images remains in Mixup, 0 to 1000; 0, the
    /// default, is no Mixup. Around 0.2 most images remain almost what they are, at 1 all mixtures
    /// are as likely.
    pub mixup_alpha: f64,
    /// The same for CutMix.
    pub cutmix_alpha: f64,
    /// How likely it is that a batch is mixed at all, 0 to 1; default 1.
    pub prob: f64,
    /// How likely it is that CutMix is taken, where both are possible, 0 to 1; default 0.5.
    pub switch_prob: f64,
}

impl Default for Mixing {
    fn default() -> Self {
        Self {
            mixup_alpha: 0.0,
            cutmix_alpha: 0.0,
            prob: 1.0,
            switch_prob: 0.5,
        }
    }
}

/// One way to mix a batch, with nothing left to chance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mixture {
    /// Not at all.
    Nothing,
    /// Each image is the sum of itself, times `lam`, and its partner, times 1 − `lam`.
    Mixup {
        /// How much of each image remains, 0 to 1.
        lam: f64,
    },
    /// Each image gets a rectangle of its partner.
    CutMix {
        /// Where the rectangle is.
        part: Rectangle,
        /// How much of each image remains, 0 to 1: the part of its area.
        lam: f64,
    },
}

impl Mixing {
    /// Whether batches are ever mixed, so that the loss needs [`soft_targets`].
    pub fn is_active(&self) -> bool {
        self.prob > 0.0 && (self.mixup_alpha > 0.0 || self.cutmix_alpha > 0.0)
    }

    /// Whether all settings are in range.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] that names the setting.
    pub fn check(&self) -> Result<()> {
        for (name, alpha) in [
            ("mixup_alpha", self.mixup_alpha),
            ("cutmix_alpha", self.cutmix_alpha),
        ] {
            check_in(name, alpha, 0.0..=1e3, "0 to 1000")?;
        }
        check_probability("prob", self.prob)?;
        check_probability("switch_prob", self.switch_prob)
    }

    /// Draws how a batch of images of this `[height, width]` is mixed.
    pub(super) fn draw(&self, [height, width]: [usize; 2], rng: &mut Rng) -> Mixture {
        if !self.is_active() || !happens(rng, self.prob) {
            return Mixture::Nothing;
        }
        let (mixup, cutmix) = (self.mixup_alpha > 0.0, self.cutmix_alpha > 0.0);
        if cutmix && (!mixup || happens(rng, self.switch_prob)) {
            let lam = beta(self.cutmix_alpha, rng);
            let center = [index(rng, height), index(rng, width)];
            return Mixture::cutmix([height, width], center, lam);
        }
        Mixture::Mixup {
            lam: beta(self.mixup_alpha, rng),
        }
    }

    /// Draws how a batch is mixed, and mixes it. Make `rng` by
    /// [`batch_rng`](super::batch_rng).
    ///
    /// # Shapes
    /// - `images`: `shape`, which is `[batch, channels, height, width]`, row-major
    /// - `targets`: `[batch, classes]`, row-major, as [`soft_targets`] makes them
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for as many values as the shapes do not say.
    pub fn apply(
        &self,
        images: &mut [f32],
        shape: [usize; 4],
        targets: &mut [f32],
        rng: &mut Rng,
    ) -> Result<()> {
        let [_, _, height, width] = shape;
        self.draw([height, width], rng)
            .apply(images, shape, targets)
    }
}

impl Mixture {
    /// CutMix with a rectangle of the image's proportions that has 1 − `lam` of its area, about
    /// `center`, which is a row and a column. What of it is outside the image is cut off, and the
    /// result's `lam` is corrected for that.
    pub fn cutmix([height, width]: [usize; 2], center: [usize; 2], lam: f64) -> Self {
        let ratio = (1.0 - lam).sqrt();
        let range = |side: usize, center: usize| {
            let length = (side as f64 * ratio) as usize;
            let start = center.saturating_sub(length / 2).min(side);
            let end = (center.saturating_add(length.div_ceil(2))).min(side);
            (start, end - start)
        };
        let (top, rows) = range(height, center[0]);
        let (left, columns) = range(width, center[1]);
        let area = (height as f64 * width as f64).max(1.0);
        Mixture::CutMix {
            part: Rectangle {
                top,
                left,
                height: rows,
                width: columns,
            },
            lam: 1.0 - rows as f64 * columns as f64 / area,
        }
    }

    /// How much of each image remains, 0 to 1.
    pub fn lam(&self) -> f64 {
        match *self {
            Mixture::Nothing => 1.0,
            Mixture::Mixup { lam } | Mixture::CutMix { lam, .. } => lam,
        }
    }

    /// Mixes a batch. If it has an odd number of images, the one in the middle stays as it is.
    ///
    /// # Shapes
    /// As [`Mixing::apply`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for as many values as the shapes do not say, or a rectangle that
    /// is not in the image.
    pub fn apply(&self, images: &mut [f32], shape: [usize; 4], targets: &mut [f32]) -> Result<()> {
        let [batch, _, height, width] = shape;
        check_length("images", images.len(), &shape)?;
        let classes = targets.len().checked_div(batch).unwrap_or(0);
        check_length("targets", targets.len(), &[batch, classes])?;
        match *self {
            Mixture::Nothing => return Ok(()),
            Mixture::Mixup { lam } => pairs(images, batch, |a, b| blend(a, b, lam)),
            Mixture::CutMix { part, .. } => {
                if !part.is_inside([height, width]) {
                    let expected = format!("a part of {height} x {width} pixels");
                    return Err(Error::argument("cutmix", expected, part));
                }
                let columns = part.left..part.left + part.width;
                pairs(images, batch, |a, b| {
                    let rows = a
                        .chunks_exact_mut(width.max(1))
                        .zip(b.chunks_exact_mut(width.max(1)));
                    for (row, (a, b)) in rows.enumerate() {
                        let row = row % height.max(1);
                        if (part.top..part.top + part.height).contains(&row) {
                            a[columns.clone()].swap_with_slice(&mut b[columns.clone()]);
                        }
                    }
                });
            }
        }
        pairs(targets, batch, |a, b| blend(a, b, self.lam()));
        Ok(())
    }
}

/// Calls `mix` for each pair of items, the first and the last, and so on inwards.
fn pairs(values: &mut [f32], items: usize, mut mix: impl FnMut(&mut [f32], &mut [f32])) {
    let length = values.len().checked_div(items).unwrap_or(0).max(1);
    let (first, second) = values.split_at_mut(items / 2 * length);
    let last = second.rchunks_exact_mut(length);
    for (a, b) in first.chunks_exact_mut(length).zip(last) {
        mix(a, b);
    }
}

/// Both become sums of both, in single precision as torch computes them.
fn blend(a: &mut [f32], b: &mut [f32], lam: f64) {
    let (keep, take) = (lam as f32, (1.0 - lam) as f32);
    for (a, b) in a.iter_mut().zip(b) {
        (*a, *b) = (*a * keep + *b * take, *b * keep + *a * take);
    }
}

/// Targets for a loss that takes probabilities: for each label, 1 − `smoothing` at its class, and
/// `smoothing` spread evenly over all classes, its own included. timm's `mixup_target` gives the
/// same, and so does the `label_smoothing` of PyTorch's `CrossEntropyLoss` within the loss: use one
/// of them.
///
/// # Shapes
/// - output: `[labels, classes]`, row-major
///
/// # Errors
/// [`Error::InvalidArgument`] for a label that is no class, or a `smoothing` outside 0 to 1.
pub fn soft_targets(labels: &[usize], classes: usize, smoothing: f64) -> Result<Vec<f32>> {
    check_probability("label smoothing", smoothing)?;
    if let Some(bad) = labels.iter().find(|label| **label >= classes) {
        return Err(Error::argument("label", format!("below {classes}"), bad));
    }
    let off = smoothing / classes.max(1) as f64;
    let on = 1.0 - smoothing + off;
    let mut targets = vec![off as f32; labels.len() * classes];
    for (target, label) in targets.chunks_exact_mut(classes.max(1)).zip(labels) {
        target[*label] = on as f32;
    }
    Ok(targets)
}

/// A number of Beta(alpha, alpha): x / (x + y) with x and y of Gamma(alpha). Through logarithms,
/// since both can be too small for a number.
fn beta(alpha: f64, rng: &mut Rng) -> f64 {
    let (x, y) = (ln_gamma_variate(alpha, rng), ln_gamma_variate(alpha, rng));
    1.0 / (1.0 + (y - x).exp())
}

/// The logarithm of a number of Gamma(alpha) with the scale 1. The method of Marsaglia and Tsang
/// (2000), *A simple method for generating gamma variables*: a transformed normal number is
/// accepted in more than 95 % of all cases. Below 1, by their remark that a number of
/// Gamma(alpha + 1) times u^(1/alpha) is one of Gamma(alpha).
fn ln_gamma_variate(alpha: f64, rng: &mut Rng) -> f64 {
    if alpha < 1.0 {
        let unit = 1.0 - rng.uniform(0.0, 1.0);
        return ln_gamma_variate(alpha + 1.0, rng) + unit.ln() / alpha;
    }
    let d = alpha - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = rng.normal();
        let v = (1.0 + c * x).powi(3);
        if v <= 0.0 {
            continue;
        }
        let unit = 1.0 - rng.uniform(0.0, 1.0);
        if unit.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return (d * v).ln();
        }
    }
}
