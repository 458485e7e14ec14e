//! What a file holds, by its content.

use std::path::Path;

use image::ImageFormat;

/// The format of a file that begins so, if it is one that is read.
pub(crate) fn known(head: &[u8]) -> Option<ImageFormat> {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    // BigTIFF differs in the width of its offsets only.
    if head.starts_with(b"II+\0") || head.starts_with(b"MM\0+") {
        return Some(Tiff);
    }
    match image::guess_format(head) {
        Ok(format @ (Png | Jpeg | WebP | Gif | Bmp | Tiff)) => Some(format),
        _ => None,
    }
}

/// What a format is called.
pub(super) fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        _ => "image",
    }
}

/// Why a file that begins and ends so is not read.
pub(super) fn unread(head: &[u8], tail: &[u8], path: &Path) -> String {
    if head.is_empty() {
        return "the file is empty".to_owned();
    }
    if let Some(image) = other_image(head, tail, path) {
        return format!("{image}, which is not read; convert it to PNG or JPEG");
    }
    if head.starts_with(b"version https://git-lfs") {
        return "a Git LFS pointer in place of the image; fetch the files with `git lfs pull`"
            .to_owned();
    }
    let start = head.trim_ascii_start().get(..5).unwrap_or_default();
    if [b"<!doc".as_slice(), b"<html"].contains(&start.to_ascii_lowercase().as_slice()) {
        return "an HTML page in place of the image; download the file again".to_owned();
    }
    if head.iter().all(|byte| *byte == 0) {
        return "its beginning is all zeros: the file was not written to its end".to_owned();
    }
    "its content is neither PNG, JPEG, WebP, GIF, BMP nor TIFF".to_owned()
}

/// Beginnings of image formats that are not read.
const OTHERS: [(&[u8], &str); 16] = [
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"8BPS", "a Photoshop image (PSD)"),
    (b"DDS ", "a DDS image"),
    (b"v/1\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance image (HDR)"),
    (b"#?RGBE", "a Radiance image (HDR)"),
    (b"qoif", "a QOI image"),
    (b"farbfeld", "a farbfeld image"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an SVG drawing or another XML file"),
    (b"%PDF", "a PDF document"),
    (b"SIMPLE  =", "a FITS image"),
    (b"\x89HDF", "an HDF5 file"),
];

/// The name of an image format that is not read.
fn other_image(head: &[u8], tail: &[u8], path: &Path) -> Option<&'static str> {
    if let Some((_, name)) = OTHERS.iter().find(|(start, _)| head.starts_with(start)) {
        return Some(name);
    }
    if let [b'P', b'1'..=b'7', space, ..] = head
        && space.is_ascii_whitespace()
    {
        return Some("a PPM, PGM or PBM image");
    }
    if let [0, 0, kind @ (1 | 2), 0, count, 0, ..] = head
        && *count > 0
    {
        return Some(["an icon (ICO)", "a cursor (CUR)"][usize::from(*kind == 2)]);
    }
    if head.get(4..8) == Some(b"ftyp") {
        return boxed(head);
    }
    // TGA has no beginning of its own, and only later versions have an end.
    let named = path.extension();
    let is_tga = tail.ends_with(b"TRUEVISION-XFILE.\0")
        || named.is_some_and(|extension| extension.eq_ignore_ascii_case("tga"));
    is_tga.then_some("a TGA image")
}

/// What the brands of a file of boxes say: the main one, then those it is compatible with.
fn boxed(head: &[u8]) -> Option<&'static str> {
    let length = u32::from_be_bytes(*head.first_chunk()?) as usize;
    let brands = head.get(8..length.min(head.len()))?;
    let (main, others) = brands.split_at_checked(8)?;
    let mut brands = main.chunks(4).take(1).chain(others.chunks(4));
    brands.find_map(|brand| match brand {
        b"avif" | b"avis" => Some("an AVIF image"),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"hevm" | b"hevs" => {
            Some("a HEIC image")
        }
        b"crx " => Some("a Canon raw image (CR3)"),
        b"isom" | b"mp41" | b"mp42" | b"qt  " => Some("a video"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_that_are_not_read_are_named_whatever_the_file_is_called() {
        let reason = |head: &[u8]| unread(head, head, Path::new("a.jpg"));
        for (head, name) in [
            (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf".as_slice(), "AVIF"),
            // The main brand is one for images of any codec.
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "AVIF"),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
            (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
            (b"\xff\x0a\0\0", "JPEG XL"),
            (b"\0\0\x01\0\x01\0\x10\x10", "ICO"),
            (b"P6 8 8 255\n", "PPM"),
            (b"\0\0\x02\0\0\0\0 TRUEVISION-XFILE.\0", "TGA"),
        ] {
            assert_eq!(known(head), None);
            let text = reason(head);
            assert!(
                text.contains(name) && text.contains("convert"),
                "{name}: {text}"
            );
        }
        let tga = unread(b"\0\0\x02\0\0", b"", Path::new("a.TGA"));
        assert!(tga.contains("TGA"), "{tga}");
        for (head, word) in [
            (
                b"version https://git-lfs.github.com/spec/v1".as_slice(),
                "git lfs pull",
            ),
            (b"\n<!DOCTYPE html>", "HTML"),
            (b"\0\0\0\0", "zeros"),
            (b"P7", "neither"),
            (b"\0\0\0\x18ftyp", "neither"),
            (b"", "empty"),
        ] {
            assert!(reason(head).contains(word), "{word}: {}", reason(head));
        }
    }
}
