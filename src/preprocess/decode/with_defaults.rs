//! Decoding with the default options.

use std::path::Path;

use super::options::DecodeOptions;
use crate::error::Result;
use crate::preprocess::image::Image;

/// # Decoding
///
/// PNG, JPEG, WebP, GIF, BMP and TIFF (not all of its variants), told apart by content; the name of
/// a file does not matter. Of an animation the first frame is taken, of several pages the first
/// ([`has_more_frames`](Self::has_more_frames) tells). A file that ends early is an error; other damage is one
/// where the format can tell.
///
/// What Pillow reads is read: bytes behind the image; a PNG whose image data have a wrong checksum,
/// or that lacks what follows them; a JPEG without its end marker, as long as no pixel depends on
/// what is missing; a GIF without its trailer.
///
/// The pixels are Pillow's, byte for byte, unless the table says otherwise and except in JPEG
/// files. There nearly all are within 1 where colour is as fine as brightness, and within 2 where
/// it is coarser and has to be enlarged; single ones differ by more, and so do images of at most 4
/// pixels across, whose colour libjpeg enlarges in another way.
///
/// | in the file | becomes |
/// |---|---|
/// | grey | one channel |
/// | RGB, palette | RGB |
/// | alpha, or a transparent colour of a palette | dropped, the colour beneath stays, as in Pillow's `convert("RGB")` |
/// | 16 bits a channel | divided by 257 and rounded (Pillow clips 16-bit grey at 255 or keeps the upper byte, depending on the file) |
/// | grey TIFF of floats, of 32-bit or of signed integers | cut off at 0 and 255, fractions dropped, as in Pillow's `convert("RGB")`: values in another range must be scaled beforehand |
/// | colour TIFF of floats | 0..1 becomes 0..255 (Pillow does not read them) |
/// | a GIF frame smaller than its canvas | black around it (Pillow takes a colour of the palette) |
/// | CMYK and YCCK JPEG | RGB, inks inverted as Adobe writes them, as in Pillow |
/// | ICC profiles, gamma | ignored, as in Pillow |
impl Image {
    /// Reads an image file with the default [`DecodeOptions`].
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the file cannot be read; [`Error::Image`](crate::Error::Image) if it is no image of these
    /// kinds, is damaged or ends early, or is larger than [`DecodeOptions`](super::DecodeOptions) allow.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &DecodeOptions::default())
    }

    /// Decodes the bytes of an image file with the default [`DecodeOptions`]. Errors call it
    /// `name`.
    ///
    /// # Errors
    /// [`Error::Image`](crate::Error::Image) as for [`open`](Self::open).
    pub fn decode(bytes: &[u8], name: impl AsRef<Path>) -> Result<Self> {
        Self::decode_with(bytes, name, &DecodeOptions::default())
    }
}
