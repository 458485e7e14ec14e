//! From an image file to the probabilities that timm gives.

mod common;

use burn_zoo::prelude::*;
use burn_zoo::preprocess::{CropMode, Image, Interpolation, Resizing};
use common::{fixture, rule_model};

#[derive(serde::Deserialize)]
struct Case {
    image: String,
    interpolation: Interpolation,
    crop_pct: f64,
    crop_mode: CropMode,
    probabilities: Vec<f64>,
}

#[test]
fn the_whole_way_gives_timms_probabilities() {
    let text = std::fs::read_to_string(fixture("predict.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    assert!(cases.len() > 50, "{}", cases.len());
    let mut worst = [0f64; 2];
    for case in cases {
        let spec = Zoo::test_resnet().num_classes(10).resizing(Resizing {
            interpolation: case.interpolation,
            crop_pct: case.crop_pct,
            crop_mode: case.crop_mode,
        });
        let model = rule_model(spec, &Device::default());
        let image = Image::open(fixture("pixels").join(&case.image)).unwrap();
        let mut found = [0.0; 10];
        for prediction in model.predict(&image, Some(64), 10).unwrap() {
            found[prediction.class] = prediction.probability;
        }
        let pairs = found.iter().zip(&case.probabilities);
        let error = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let jpeg = case.image.ends_with(".jpg");
        worst[usize::from(jpeg)] = worst[usize::from(jpeg)].max(error);
        assert!(
            error < 1e-3,
            "{} {:?}: {error}",
            case.image,
            case.interpolation
        );
    }
    println!(
        "largest difference: lossless {:.1e}, JPEG {:.1e}",
        worst[0], worst[1]
    );
}
