//! Files of several images.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use ::tiff::decoder::Decoder;
use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{AnimationDecoder as _, ImageDecoder as _, ImageFormat, Limits};

use super::format;
use crate::panics;
use crate::preprocess::image::Image;

impl Image {
    /// Whether a file has more images than the first, which is the one that [`open`](Self::open) reads: frames
    /// of an animation, pages of a TIFF. `false` where that cannot be told, and of what is no regular file.
    pub fn has_more_frames(path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        let found = panics::quietly(|_| true, || more_frames(path));
        found.ok().flatten().unwrap_or(false)
    }
}

fn more_frames(path: &Path) -> Option<bool> {
    // What is read from a pipe is gone.
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut file = BufReader::new(File::open(path).ok()?);
    Some(match format::known(file.fill_buf().ok()?)? {
        ImageFormat::Png => PngDecoder::new(file).ok()?.is_apng().ok()?,
        ImageFormat::WebP => WebPDecoder::new(file).ok()?.has_animation(),
        ImageFormat::Tiff => Decoder::new(file).ok()?.more_images(),
        ImageFormat::Gif => {
            let mut decoder = GifDecoder::new(file).ok()?;
            decoder.set_limits(Limits::default()).ok()?;
            let mut frames = decoder.into_frames();
            frames.next()?.ok()?;
            matches!(frames.next(), Some(Ok(_)))
        }
        _ => false,
    })
}
