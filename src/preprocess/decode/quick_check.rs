//! Whether an image file looks sound: from its header, the lengths that it declares and its end,
//! without decoding it. Only the beginning, the end and what lies where the file says are read.

use std::io::{self, Read, Seek};

use image::ImageFormat;

use super::file_window::FileWindow;
use super::options::DecodeOptions;
use super::{bmp, format, jpeg, png, tiff, webp};

/// Whether nothing about a file of `length` bytes speaks against its being a complete image, and one alone, of
/// at most the allowed size. A file that does not look sound may be one all the same: decoding it
/// tells.
pub(crate) fn looks_sound(file: impl Read + Seek, length: u64, limits: &DecodeOptions) -> bool {
    // Whatever cannot be read, the decoder meets again and has words for.
    let file = &mut FileWindow::new(file, length, limits);
    length <= limits.max_bytes && by_format(file).unwrap_or(false)
}

fn by_format<R: Read + Seek>(file: &mut FileWindow<R>) -> io::Result<bool> {
    // 16 bytes tell; none of the formats fits into fewer.
    let head = file.get::<16>(0)?;
    match format::known(&head) {
        Some(ImageFormat::Jpeg) => jpeg::looks_sound(file),
        Some(ImageFormat::Png) => png::looks_sound(file),
        Some(ImageFormat::WebP) => webp::looks_sound(file),
        Some(ImageFormat::Bmp) => bmp::looks_sound(file),
        Some(ImageFormat::Tiff) => Ok(tiff::looks_sound(file).unwrap_or(false)),
        _ => Ok(false),
    }
}
