//! Images, and the steps that turn one into a model's input.

use std::path::Path;

use super::Normalization;
use super::resample::{self, Interpolation};
use crate::error::{Error, Result};

/// An image of 8 bits a channel, `[height, width, channels]`; one channel is grey, three are RGB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    height: usize,
    width: usize,
    channels: usize,
    pixels: Vec<u8>,
}

impl Image {
    /// An image from its pixels, row by row.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a side of zero, or as many pixels as the sides do not say.
    pub fn new(height: usize, width: usize, channels: usize, pixels: Vec<u8>) -> Result<Self> {
        let expected = height
            .checked_mul(width)
            .and_then(|n| n.checked_mul(channels))
            .filter(|n| *n > 0);
        if expected != Some(pixels.len()) {
            return Err(Error::argument(
                "pixels",
                format!("{height} x {width} x {channels} values, no side zero"),
                format!("{} values", pixels.len()),
            ));
        }
        Ok(Self::from_parts(height, width, channels, pixels))
    }

    pub(crate) fn from_parts(
        height: usize,
        width: usize,
        channels: usize,
        pixels: Vec<u8>,
    ) -> Self {
        Self {
            height,
            width,
            channels,
            pixels,
        }
    }

    /// Reads a PNG or JPEG file: grey images as one channel, all others as RGB.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Image`] if it is no image of these kinds.
    #[cfg(feature = "image")]
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bad = |error: image::ImageError| Error::Image {
            path: path.to_path_buf(),
            reason: error.to_string(),
        };
        let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
        let decoded = image::ImageReader::new(std::io::BufReader::new(file))
            .with_guessed_format()
            .map_err(Error::io("read", path))?
            .decode()
            .map_err(bad)?;
        let (height, width) = (decoded.height() as usize, decoded.width() as usize);
        Ok(if decoded.color().has_color() {
            Self::from_parts(height, width, 3, decoded.into_rgb8().into_raw())
        } else {
            Self::from_parts(height, width, 1, decoded.into_luma8().into_raw())
        })
    }

    /// Without the `image` feature nothing can be decoded.
    ///
    /// # Errors
    /// Always [`Error::Image`].
    #[cfg(not(feature = "image"))]
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Err(Error::Image {
            path: path.as_ref().to_path_buf(),
            reason: "this build has no decoders; enable the feature `image`".to_owned(),
        })
    }

    /// Pixels from top to bottom.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Pixels from left to right.
    pub fn width(&self) -> usize {
        self.width
    }

    /// 1 for grey, 3 for RGB.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The values, row by row, the channels of a pixel side by side.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The image with another number of channels: grey is replicated; RGB becomes grey by ITU-R
    /// 601-2 luma, as Pillow's `convert("L")`; any other pair repeats the channels.
    fn with_channels(&self, channels: usize) -> Image {
        let of_pixel = |pixel: &[u8], out: &mut Vec<u8>| match (pixel, channels) {
            ([r, g, b], 1) => {
                let luma = 19_595 * u32::from(*r) + 38_470 * u32::from(*g) + 7_471 * u32::from(*b);
                out.push(((luma + 0x8000) >> 16) as u8);
            }
            _ => out.extend(pixel.iter().cycle().take(channels)),
        };
        let mut pixels = Vec::with_capacity(self.height * self.width * channels);
        for pixel in self.pixels.chunks_exact(self.channels) {
            of_pixel(pixel, &mut pixels);
        }
        Image::from_parts(self.height, self.width, channels, pixels)
    }
}

/// What happens to an image before a model sees it: the shorter side is brought to the image size,
/// the middle is cut out, channels are matched, and values are normalised.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocess {
    image_size: Option<usize>,
    interpolation: Interpolation,
    normalization: Normalization,
}

impl Preprocess {
    /// The steps for images of `image_size` x `image_size` pixels, or of their own size. The
    /// normalisation says how many channels there are.
    pub fn new(image_size: Option<usize>, normalization: Normalization) -> Self {
        Self {
            image_size,
            interpolation: Interpolation::default(),
            normalization,
        }
    }

    /// Height and width of what comes out for an image of this height and width.
    pub fn output_size(&self, height: usize, width: usize) -> (usize, usize) {
        self.image_size.map_or((height, width), |size| (size, size))
    }

    /// Normalised values.
    ///
    /// # Shapes
    /// - output: `[channels, height, width]`, row-major
    pub fn apply(&self, image: &Image) -> Vec<f32> {
        let channels = self.normalization.channels();
        let mut image = match image.channels() == channels {
            true => image.clone(),
            false => image.with_channels(channels),
        };
        if let Some(size) = self.image_size {
            image = self.resize_and_crop(image, size);
        }
        let (mean, std) = (self.normalization.mean(), self.normalization.std());
        let mut values = Vec::with_capacity(image.pixels.len());
        for channel in 0..channels {
            let (mean, std) = (mean[channel] as f32, std[channel] as f32);
            let of_channel = image.pixels[channel..].iter().step_by(channels);
            values.extend(of_channel.map(|v| (f32::from(*v) / 255.0 - mean) / std));
        }
        values
    }

    fn resize_and_crop(&self, image: Image, size: usize) -> Image {
        let shorter = image.height.min(image.width);
        // torchvision's rule: the longer side is truncated.
        let scaled = |side: usize| (size * side / shorter).max(size);
        let (height, width) = (scaled(image.height), scaled(image.width));
        resample::resize_and_crop(&image, [height, width], [size, size], self.interpolation)
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_size(self.image_size)
    }
}

/// Larger images than these are surely a mistake, and would ask for all of a machine's memory.
pub(crate) fn check_size(image_size: Option<usize>) -> Result<()> {
    match image_size {
        None | Some(1..=16_384) => Ok(()),
        Some(size) => Err(Error::argument("image_size", "1 to 16384 pixels", size)),
    }
}
