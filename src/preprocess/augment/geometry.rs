//! Flips and crops.

use super::padding::PaddingMode;
use crate::preprocess::image::Image;
use crate::preprocess::resample::{self, Interpolation};

/// Calls `$function::<C>` for a grey or RGB image; other images are taken channel by channel.
macro_rules! by_pixel {
    ($image:expr, $function:ident($($argument:expr),*)) => {
        match $image.channels() {
            1 => $function::<1>($image, $($argument),*),
            3 => $function::<3>($image, $($argument),*),
            _ => channel_by_channel($image, |grey| $function::<1>(grey, $($argument),*)),
        }
    };
}
pub(super) use by_pixel;

pub(super) fn channel_by_channel(image: &Image, change: impl Fn(&Image) -> Image) -> Image {
    let channels = image.channels();
    let planes: Vec<Image> = (0..channels)
        .map(|channel| {
            let pixels = image.pixels().iter().skip(channel).step_by(channels);
            let pixels = pixels.copied().collect();
            change(&Image::from_parts(image.height(), image.width(), 1, pixels))
        })
        .collect();
    let (height, width) = (planes[0].height(), planes[0].width());
    let pixels = (0..height * width * channels)
        .map(|i| planes[i % channels].pixels()[i / channels])
        .collect();
    Image::from_parts(height, width, channels, pixels)
}

pub(super) fn flip_horizontally(image: &Image) -> Image {
    by_pixel!(image, mirror_rows())
}

fn mirror_rows<const C: usize>(image: &Image) -> Image {
    let mut pixels = image.pixels().to_vec();
    for row in pixels.chunks_exact_mut(image.width() * C) {
        row.as_chunks_mut::<C>().0.reverse();
    }
    like(image, pixels)
}

pub(super) fn flip_vertically(image: &Image) -> Image {
    let rows = image.pixels().chunks_exact(row_length(image));
    let mut pixels = Vec::with_capacity(image.pixels().len());
    rows.rev().for_each(|row| pixels.extend_from_slice(row));
    like(image, pixels)
}

/// An image of the same size.
pub(super) fn like(image: &Image, pixels: Vec<u8>) -> Image {
    Image::from_parts(image.height(), image.width(), image.channels(), pixels)
}

fn row_length(image: &Image) -> usize {
    image.width() * image.channels()
}

/// A part of an image that goes on beyond its edges. Sides of 0 become 1.
pub(super) fn crop(
    image: &Image,
    [top, left]: [i64; 2],
    sides: [usize; 2],
    mode: PaddingMode,
    fill: u8,
) -> Image {
    let [height, width] = sides.map(|side| side.max(1));
    let channels = image.channels();
    let mut pixels = vec![fill; height * width * channels];
    // The columns of the result that lie in the image.
    let first = 0_i64.saturating_sub(left).clamp(0, width as i64) as usize;
    let last = (image.width() as i64).saturating_sub(left);
    let last = last.clamp(first as i64, width as i64) as usize;
    for (row, result) in pixels.chunks_exact_mut(width * channels).enumerate() {
        let Some(row) = mode.position(top.saturating_add(row as i64), image.height()) else {
            continue;
        };
        let source = &image.pixels()[row * row_length(image)..][..row_length(image)];
        if first < last {
            let start = (left + first as i64) as usize;
            let inside = &source[start * channels..][..(last - first) * channels];
            result[first * channels..last * channels].copy_from_slice(inside);
        }
        for column in (0..first).chain(last..width) {
            let position = mode.position(left.saturating_add(column as i64), image.width());
            if let Some(position) = position {
                let pixel = &source[position * channels..][..channels];
                result[column * channels..][..channels].copy_from_slice(pixel);
            }
        }
    }
    Image::from_parts(height, width, channels, pixels)
}

/// A part of an image, resized without a look at what is around it. A part that is not in the image
/// is moved and cut until it is.
pub(super) fn resized_crop(
    image: &Image,
    [top, left]: [usize; 2],
    [height, width]: [usize; 2],
    to: [usize; 2],
    filter: Interpolation,
) -> Image {
    let height = height.clamp(1, image.height());
    let width = width.clamp(1, image.width());
    let top = top.min(image.height() - height);
    let left = left.min(image.width() - width);
    let part;
    let part = if (height, width) == (image.height(), image.width()) {
        image
    } else {
        let sides = [height, width];
        part = crop(
            image,
            [top as i64, left as i64],
            sides,
            PaddingMode::Edge,
            0,
        );
        &part
    };
    let [height, width] = to.map(|side| side.max(1));
    let mut pixels = Vec::with_capacity(height * width * image.channels());
    let [rows, columns] = [height as u64, width as u64];
    resample::resize_part(part, [rows, columns], 0..rows, 0..columns, filter, |row| {
        pixels.extend_from_slice(row);
    });
    Image::from_parts(height, width, image.channels(), pixels)
}
