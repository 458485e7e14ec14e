//! An image file: decoded from memory, or as the one file of a class in a folder, and brought to a
//! model's input.
#![no_main]

use burn_zoo::data::{Broken, Check, FolderOptions};
use burn_zoo::prelude::*;
use burn_zoo::preprocess::{DecodeOptions, Image};
use burn_zoo_fuzz::{accepted, file, scratch, take};
use libfuzzer_sys::fuzz_target;

/// Four megapixels keep an execution short; the limit is the user's.
const LIMITS: DecodeOptions = DecodeOptions {
    max_pixels: 1 << 22,
    max_bytes: 1 << 25,
    orient: true,
};

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let [form] = take(&mut data);
    let decode = DecodeOptions {
        orient: form & 1 == 0,
        ..LIMITS
    };
    let image = if form & 2 == 0 {
        accepted(Image::decode_with(data, "input", &decode))
    } else {
        file("folder/a/1.png", data);
        file(
            "folder/b/1.png",
            include_bytes!("../../tests/fixtures/pixels/1x1.png"),
        );
        let options = FolderOptions {
            decode,
            broken: if form & 4 == 0 {
                Broken::Fail
            } else {
                Broken::Skip
            },
            check: Some(if form & 8 == 0 {
                Check::Quick
            } else {
                Check::Full
            }),
            allow_empty: true,
            ..FolderOptions::default()
        };
        let found = accepted(ImageFolder::open_with(scratch().join("folder"), &options));
        let part = found.map(|found| found.train);
        let image = part.filter(|part| !part.is_empty());
        image
            .and_then(|part| accepted(part.get(0)))
            .map(|(image, _)| image)
    };
    let Some(image) = image else { return };
    let area = image.height() * image.width();
    assert!(area > 0 && area as u64 <= LIMITS.max_pixels);
    assert_eq!(image.pixels().len(), area * image.channels());
    let preprocess = Preprocess::new(Some(8.into()), Normalization::imagenet());
    assert_eq!(preprocess.apply(&image).len(), 3 * 8 * 8);
});
