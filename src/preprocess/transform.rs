//! The steps that turn an image into a model's input.

use std::borrow::Cow;
use std::ops::Range;

use super::image::Image;
use super::image_size::ImageSize;
use super::normalize::Normalization;
use super::resample::{self, Interpolation};
use crate::error::{Error, Result};

/// How an image that is not square is made to fit, by timm's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CropMode {
    /// The shorter side is brought to the size; what the longer one has more is lost.
    #[default]
    Center,
    /// Both sides are brought to the size; proportions are lost.
    Squash,
    /// The longer side is brought to the size; the rest is filled with the mean colour.
    Border,
}

/// What `crop_pct` may be.
pub(crate) const CROP_PCT: std::ops::RangeInclusive<f64> = 0.1..=10.0;

/// # Errors
/// [`Error::InvalidArgument`] for what it cannot be.
pub(crate) fn check_crop_pct(crop_pct: f64) -> Result<()> {
    if CROP_PCT.contains(&crop_pct) {
        return Ok(());
    }
    Err(Error::argument("crop_pct", "0.1 to 10", crop_pct))
}

/// How images of any size were brought to the size a model was trained on: belongs to the weights,
/// as their normalisation does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resizing {
    /// The filter.
    pub interpolation: Interpolation,
    /// Which part of the resized image's side is kept.
    pub crop_pct: f64,
    /// What is done about images that are not square.
    pub crop_mode: CropMode,
}

impl Default for Resizing {
    /// Bicubic, nothing cut off, [`CropMode::Center`].
    fn default() -> Self {
        Self {
            interpolation: Interpolation::default(),
            crop_pct: 1.0,
            crop_mode: CropMode::default(),
        }
    }
}

/// What happens to an image before a model sees it: it is resized, the middle is cut out, channels
/// are matched, and values are normalised. The same as timm's `create_transform(is_training=False)`
/// with Pillow images: the 8-bit pixels are the same bytes, and the values the same numbers.
///
/// The size to which an image is brought is the image size divided by `crop_pct`, rounded down;
/// the middle of the image size is cut out of that. Where it is smaller than the image size (a
/// `crop_pct` above 1), black is added around it, in border mode the mean colour.
///
/// Channels: a grey image is replicated; RGB becomes grey by ITU-R 601-2 luma, as Pillow's
/// `convert("L")`; any other pair repeats the channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocess {
    pub(super) image_size: Option<ImageSize>,
    interpolation: Interpolation,
    pub(super) crop_pct: f64,
    crop_mode: CropMode,
    normalization: Normalization,
}

/// Where the pixels of an output come from.
pub(super) struct Plan {
    /// The size of the whole resized image: height, width.
    pub(super) resized: [u64; 2],
    pub(super) rows: Cut,
    pub(super) columns: Cut,
}

/// The part of one axis that an output shows.
#[derive(Clone)]
pub(super) struct Cut {
    /// What is taken of the resized image.
    pub(super) taken: Range<u64>,
    /// How much is added before it.
    pub(super) before: usize,
}

impl Cut {
    /// `size` of `side`, placed as torchvision's `center_crop` and timm's `center_crop_or_pad` do.
    pub(super) fn middle(side: u64, size: u64) -> Self {
        match side.checked_sub(size) {
            None => Cut {
                taken: 0..side,
                before: ((size - side) / 2) as usize,
            },
            Some(over) => {
                // Python rounds a half to the even neighbour.
                let half = over / 2;
                let start = half + (over & half & 1);
                Cut {
                    taken: start..start + size,
                    before: 0,
                }
            }
        }
    }
}

impl Preprocess {
    /// The steps for images of `image_size`, or of their own size: bicubic, `crop_pct` 1,
    /// [`CropMode::Center`]. The normalisation says how many channels there are.
    pub fn new(image_size: Option<ImageSize>, normalization: Normalization) -> Self {
        Self {
            image_size,
            interpolation: Interpolation::default(),
            crop_pct: 1.0,
            crop_mode: CropMode::default(),
            normalization,
        }
    }

    /// Sets filter, part and mode at once.
    pub fn resizing(self, resizing: Resizing) -> Self {
        self.interpolation(resizing.interpolation)
            .crop_pct(resizing.crop_pct)
            .crop_mode(resizing.crop_mode)
    }

    /// The filter of the resizing.
    pub fn interpolation(mut self, interpolation: Interpolation) -> Self {
        self.interpolation = interpolation;
        self
    }

    /// Which part of the resized image's side is kept, 0.1 to 10; 0.875 and 0.95 are common. Of no
    /// effect without an image size.
    pub fn crop_pct(mut self, crop_pct: f64) -> Self {
        self.crop_pct = crop_pct;
        self
    }

    /// What is done about images that are not square. Of no effect without an image size.
    pub fn crop_mode(mut self, crop_mode: CropMode) -> Self {
        self.crop_mode = crop_mode;
        self
    }

    /// Channels of what comes out.
    pub fn channels(&self) -> usize {
        self.normalization.channels()
    }

    /// Height and width of what comes out for an image of this height and width.
    pub fn output_size(&self, height: usize, width: usize) -> (usize, usize) {
        self.image_size
            .map_or((height, width), |size| (size.height, size.width))
    }

    /// Normalised values.
    ///
    /// # Shapes
    /// - output: `[channels, height, width]`, row-major
    pub fn apply(&self, image: &Image) -> Vec<f32> {
        let (height, width) = (image.height(), image.width());
        let plan = self.image_size.map(|size| self.plan(height, width, size));
        let (height, width) = self.output_size(height, width);
        self.apply_plan(image, [height, width], plan.as_ref())
    }

    /// [`apply`](Self::apply), with the output's size and what it shows given; without a plan the
    /// image is taken as it is.
    pub(super) fn apply_plan(
        &self,
        image: &Image,
        [height, width]: [usize; 2],
        plan: Option<&Plan>,
    ) -> Vec<f32> {
        let channels = self.normalization.channels();
        // Channels are resized independently of each other, so copies are made at the very end.
        let image = match (image.channels(), channels) {
            (3, 1) => Cow::Owned(image.luma()),
            _ => Cow::Borrowed(image),
        };
        let tables: Vec<_> = (0..channels).map(|channel| self.table(channel)).collect();
        let area = height * width;
        let mut values = vec![0.0; channels * area];
        // Some pixels of the image, one after the other from this position of each channel on.
        let write = |values: &mut [f32], position: usize, pixels: &[u8]| {
            for (channel, table) in tables.iter().enumerate() {
                let values = &mut values[channel * area + position..];
                let pixels = pixels[channel % image.channels()..].iter();
                for (value, pixel) in values.iter_mut().zip(pixels.step_by(image.channels())) {
                    *value = table[usize::from(*pixel)];
                }
            }
        };
        let Some(plan) = plan else {
            write(&mut values, 0, image.pixels());
            return values;
        };
        if area == 0 {
            return values;
        }

        let [down, across] = plan.resized;
        if down < height as u64 || across < width as u64 {
            for (channel, plane) in values.chunks_exact_mut(area).enumerate() {
                plane.fill(tables[channel][usize::from(self.fill(channel))]);
            }
        }
        let mut position = plan.rows.before * width + plan.columns.before;
        resample::resize_part(
            &image,
            plan.resized,
            plan.rows.taken.clone(),
            plan.columns.taken.clone(),
            self.interpolation,
            |row| {
                write(&mut values, position, row);
                position += width;
            },
        );
        values
    }

    pub(super) fn plan(&self, height: usize, width: usize, size: ImageSize) -> Plan {
        let sides = [height as u64, width as u64];
        // The bound keeps what `check` would have refused from overflowing; the cast saturates.
        let scale = size
            .sides()
            .map(|side| ((side as f64 / self.crop_pct) as u64).clamp(1, 1 << 24));
        // timm's rule: proportions stay, and one side or the other fits; rounded, a half to the even
        // neighbour. timm fails where a side becomes zero; here one pixel stays.
        let proportional = |which: fn(f64, f64) -> f64| {
            let ratios = [0, 1].map(|axis| sides[axis] as f64 / scale[axis] as f64);
            let ratio = which(ratios[0], ratios[1]);
            sides.map(|side| ((side as f64 / ratio).round_ties_even() as u64).max(1))
        };
        let resized = match self.crop_mode {
            CropMode::Squash => scale,
            CropMode::Center if scale[0] == scale[1] => {
                // torchvision's rule: the longer side is truncated.
                let shorter = sides[0].min(sides[1]);
                sides.map(|side| scale[0].saturating_mul(side) / shorter)
            }
            CropMode::Center => proportional(f64::min),
            CropMode::Border => proportional(f64::max),
        };
        Plan {
            resized,
            rows: Cut::middle(resized[0], size.height as u64),
            columns: Cut::middle(resized[1], size.width as u64),
        }
    }

    /// The colour around an image that does not fill the output.
    fn fill(&self, channel: usize) -> u8 {
        match self.crop_mode {
            CropMode::Border => {
                (255.0 * self.normalization.mean()[channel]).round_ties_even() as u8
            }
            CropMode::Center | CropMode::Squash => 0,
        }
    }

    /// The normalised value of each pixel value, in single precision as in torchvision.
    fn table(&self, channel: usize) -> [f32; 256] {
        let mean = self.normalization.mean()[channel] as f32;
        let std = self.normalization.std()[channel] as f32;
        std::array::from_fn(|value| (value as f32 / 255.0 - mean) / std)
    }

    /// Whether these steps can be taken.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an image size or a `crop_pct` out of range.
    pub fn check(&self) -> Result<()> {
        if let Some(size) = self.image_size {
            size.check()?;
        }
        check_crop_pct(self.crop_pct)?;
        match self.image_size {
            Some(size)
                if size
                    .sides()
                    .iter()
                    .any(|side| (*side as f64 / self.crop_pct) < 1.0) =>
            {
                Err(Error::argument(
                    "crop_pct",
                    format!("at most the image size, {size}"),
                    self.crop_pct,
                ))
            }
            _ => Ok(()),
        }
    }
}
