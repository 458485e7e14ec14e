//! Images as PNG files.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder as _};

use super::image::Image;
use crate::error::{Error, Result};

impl Image {
    /// The bytes of a PNG file with this image: grey, RGB or RGB with alpha, 8 bits a channel.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for two channels or more than four, and for sides that PNG has no
    /// number for.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        self.encode_png(CompressionType::Best)
    }

    /// [`to_png`](Self::to_png) with the time that it may take.
    pub(crate) fn encode_png(&self, compression: CompressionType) -> Result<Vec<u8>> {
        let [height, width, channels] = [self.height(), self.width(), self.channels()];
        let wrong = |found: String| {
            let expected = "1, 3 or 4 channels and sides that PNG can hold";
            Error::argument("image", expected, found)
        };
        let color = match channels {
            1 => ExtendedColorType::L8,
            3 => ExtendedColorType::Rgb8,
            4 => ExtendedColorType::Rgba8,
            _ => return Err(wrong(format!("{channels} channels"))),
        };
        let [Ok(height), Ok(width)] = [height, width].map(u32::try_from) else {
            return Err(wrong(format!("{height} x {width} pixels")));
        };
        let mut bytes = Vec::new();
        PngEncoder::new_with_quality(&mut bytes, compression, FilterType::Adaptive)
            .write_image(self.pixels(), width, height, color)
            .map_err(|error| wrong(error.to_string()))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for channels in [1, 3] {
            let pixels: Vec<u8> = (0..2 * 3 * channels).map(|v| (v * 10) as u8).collect();
            let image = Image::new(2, 3, channels, pixels.clone()).unwrap();
            let read = image::load_from_memory(&image.to_png().unwrap()).unwrap();
            assert_eq!((read.height(), read.width()), (2, 3));
            assert_eq!(read.into_bytes(), pixels);
        }
        let odd = Image::new(1, 1, 2, vec![0, 0]).unwrap();
        assert!(odd.to_png().unwrap_err().to_string().contains("2 channels"));
    }
}
