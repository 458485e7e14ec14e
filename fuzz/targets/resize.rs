//! An image of any proportions, resized by any rule that [`Preprocess::check`] accepts, and changed
//! at random by any list of transforms that its text describes.
#![no_main]

use burn_zoo::prelude::*;
use burn_zoo::preprocess::augment::{Views, image_rng};
use burn_zoo::preprocess::{CropMode, Image, Interpolation};
use burn_zoo_fuzz::{accepted, take};
use libfuzzer_sys::fuzz_target;

const FILTERS: [Interpolation; 6] = [
    Interpolation::Nearest,
    Interpolation::Box,
    Interpolation::Bilinear,
    Interpolation::Hamming,
    Interpolation::Bicubic,
    Interpolation::Lanczos,
];
const MODES: [CropMode; 3] = [CropMode::Center, CropMode::Squash, CropMode::Border];

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let [height, width] = [(); 2].map(|_| usize::from(u16::from_le_bytes(take(&mut data))));
    let [channels, size, how, fill] = take(&mut data);
    let crop_pct = f64::from(f32::from_le_bytes(take(&mut data)));
    let (height, width) = (height % 2048 + 1, width % 2048 + 1);
    let channels = [1, 3, 2, 5][usize::from(channels % 4)];
    if height * width > 1 << 14 {
        return;
    }
    let pixels = (0..height * width * channels).map(|i| (i as u8).wrapping_mul(fill));
    let image = Image::new(height, width, channels, pixels.collect()).expect("as said");
    let inputs = if how & 64 == 0 { 3 } else { 1 };
    let preprocess = Preprocess::new(
        (size > 0).then_some(usize::from(size).into()),
        Normalization::imagenet().for_channels(inputs),
    )
    .interpolation(FILTERS[usize::from(how) % 6])
    .crop_mode(MODES[usize::from(how / 6) % 3])
    .crop_pct(crop_pct);
    if accepted(preprocess.check()).is_none() {
        return;
    }
    let (out_height, out_width) = preprocess.output_size(height, width);
    let values = preprocess.apply(&image);
    assert_eq!(values.len(), inputs * out_height * out_width);
    assert!(values.iter().all(|value| value.is_finite()));

    let text = std::str::from_utf8(data).unwrap_or_default();
    if let Some(augment) = accepted(text.parse::<Augment>()) {
        let values = augment.apply(&image, &preprocess, &mut image_rng(1, 2, 3));
        assert_eq!(values.len(), inputs * out_height * out_width);
        assert!(values.iter().all(|value| value.is_finite()));
    }
    if size > 0 {
        for view in Views::TenCrop.views(&preprocess, &image) {
            assert_eq!(view.len(), inputs * out_height * out_width);
        }
    }
});
