//! The sample of FashionMNIST inside the library.

use std::path::Path;

use burn_zoo_fashion_mnist_mini::SAMPLE;

use super::fashion_mnist_files::{CLASSES, image_set};
use super::idx;
use super::image_set::ImageSet;
use crate::error::Result;

/// The training and the test images of the sample.
pub(super) fn read() -> Result<(ImageSet, ImageSet)> {
    let path = Path::new("fashion_mnist_mini.bin.gz");
    let mut reader = idx::Reader::from_gzip(path, SAMPLE);
    let mut split = || {
        let mut images = reader.images()?;
        let labels = reader.labels(CLASSES.len())?;
        undo_paeth(&mut images);
        image_set(images, labels, &CLASSES.map(str::to_owned), path, path)
    };
    let train = split()?;
    let test = split()?;
    reader.finish(None)?;
    Ok((train, test))
}

/// Turns the differences to the Paeth predictor (filter type 4 of PNG, ISO/IEC 15948, clause 9.4;
/// neighbours outside the image are 0), which the sample is stored as because they compress
/// better, back into pixels.
fn undo_paeth(images: &mut idx::Images) {
    let width = images.width;
    for image in images.pixels.chunks_exact_mut(images.height * width) {
        for index in 0..image.len() {
            let (top, first) = (index < width, index % width == 0);
            let left = if first { 0 } else { image[index - 1] };
            let up = if top { 0 } else { image[index - width] };
            let corner = if top || first {
                0
            } else {
                image[index - width - 1]
            };
            image[index] = image[index].wrapping_add(paeth(left, up, corner));
        }
    }
}

/// Whichever of the three neighbours is nearest to `left + up - corner`.
fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let estimate = i16::from(left) + i16::from(up) - i16::from(corner);
    let distance = |neighbour: u8| (estimate - i16::from(neighbour)).abs();
    if distance(left) <= distance(up) && distance(left) <= distance(corner) {
        left
    } else if distance(up) <= distance(corner) {
        up
    } else {
        corner
    }
}
