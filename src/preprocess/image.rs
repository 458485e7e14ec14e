//! An image in memory.

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

    /// The grey image of an RGB image: ITU-R 601-2 luma in 16-bit fixed point, as Pillow's
    /// `convert("L")` computes it.
    pub(crate) fn luma(&self) -> Image {
        let pixels = self.pixels.as_chunks::<3>().0.iter().map(|[r, g, b]| {
            let luma = 19_595 * u32::from(*r) + 38_470 * u32::from(*g) + 7_471 * u32::from(*b);
            ((luma + 0x8000) >> 16) as u8
        });
        Image::from_parts(self.height, self.width, 1, pixels.collect())
    }
}
