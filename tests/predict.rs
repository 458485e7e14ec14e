//! From an image file to the probabilities that timm gives, and from many files to a table.

mod common;

use std::path::{Path, PathBuf};

use burn_zoo::Outputs;
use burn_zoo::data::{FolderOptions, ImageFiles};
use burn_zoo::prelude::*;
use burn_zoo::preprocess::augment::Views;
use burn_zoo::preprocess::{CropMode, Image, Interpolation, Resizing};
use burn_zoo::train::PredictOptions;
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
        for prediction in model.predict(&image, Some(64.into()), 10).unwrap() {
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

/// The images of the fixtures, of many sizes and kinds.
fn images() -> Vec<PathBuf> {
    let found = ImageFiles::below(fixture("pixels"), &FolderOptions::default()).unwrap();
    assert!(found.files.len() > 20, "{}", found.files.len());
    found.files
}

/// The beginning of a JPEG.
fn cut_jpeg(path: &Path) {
    let jpeg = images()
        .into_iter()
        .find(|f| f.extension().unwrap() == "jpg");
    let bytes = std::fs::read(jpeg.unwrap()).unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

/// Weights that are numbers may give scores that are none.
#[test]
fn scores_that_are_no_numbers_are_errors() {
    for task in [Task::SingleLabel, Task::MultiLabel, Task::Regression] {
        let model = rule_model(Zoo::test_resnet().num_classes(2), &Device::default());
        let outputs = Outputs {
            task,
            ..Outputs::default()
        };
        let model = model.with_outputs(outputs).unwrap();
        let model = model.map_state_dict(|name, shape| {
            let huge = |index: usize| if index.is_multiple_of(2) { 3e38 } else { -3e38 };
            (name == "fc.weight").then(|| (0..shape.iter().product()).map(huge).collect())
        });
        let model = model.unwrap();
        let files = images();
        let reason = "finite scores; weights of a run that diverged, or damaged ones, give none";
        let image = Image::open(&files[0]).unwrap();
        let error = model.predict(&image, Some(64.into()), 2).unwrap_err();
        assert!(error.to_string().contains(reason), "{task}: {error}");
        let options = PredictOptions {
            image_size: Some(64.into()),
            ..PredictOptions::default()
        };
        let mut results = model.predict_files(files[..1].to_vec(), options).unwrap();
        let error = results.next().unwrap().result.unwrap_err().to_string();
        let path = files[0].display().to_string();
        assert!(error.contains(reason) && error.contains(&path), "{error}");
    }
}

#[test]
fn many_files_are_predicted_as_one_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = images();
    cut_jpeg(&dir.path().join("cut.jpg"));
    files.insert(3, dir.path().join("cut.jpg"));
    files.insert(7, dir.path().join("none.png"));
    let model = rule_model(Zoo::test_resnet().num_classes(4), &Device::default());
    for (image_size, views) in [
        (Some(64.into()), Views::One),
        (Some(64.into()), Views::Flip),
        (None, Views::One),
    ] {
        let alone = files.iter().map(|file| {
            let image = Image::open(file)?;
            model.predict_views(&image, image_size, 3, views)
        });
        let alone: Vec<_> = alone.collect();
        for (batch_size, workers) in [(1, 0), (5, 1), (8, 3), (1000, 2)] {
            let options = PredictOptions {
                image_size,
                top_k: 3,
                views,
                batch_size,
                workers,
                ..PredictOptions::default()
            };
            let found: Vec<_> = model
                .predict_files(files.clone(), options)
                .unwrap()
                .collect();
            assert_eq!(found.len(), files.len());
            for ((found, alone), file) in found.iter().zip(&alone).zip(&files) {
                assert_eq!(&found.path, file);
                match (&found.result, alone) {
                    (Ok(found), Ok(alone)) => {
                        assert_eq!(found.len(), 3);
                        for (a, b) in found.iter().zip(alone) {
                            assert!((a.probability - b.probability).abs() < 1e-4, "{file:?}");
                        }
                    }
                    (Err(found), Err(alone)) => {
                        assert_eq!(found.to_string(), alone.to_string());
                    }
                    (found, alone) => panic!("{}: {found:?} / {alone:?}", file.display()),
                }
            }
            let failed = found.iter().filter(|f| f.result.is_err()).count();
            assert_eq!(failed, 2, "the two that were put in");
        }
    }
}

#[test]
fn an_image_that_the_model_does_not_take_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for side in [32, 16, 32] {
        let path = dir.path().join(format!("{}.png", files.len()));
        image::RgbImage::new(side, side).save(&path).unwrap();
        files.push(path);
    }
    let spec = Zoo::get("test_vit").unwrap().image_size(32).num_classes(2);
    let model = rule_model(spec, &Device::default());
    let found = model
        .predict_files(files, PredictOptions::default())
        .unwrap();
    let failed: Vec<bool> = found.map(|file| file.result.is_err()).collect();
    assert_eq!(failed, [false, true, false]);
}

#[test]
fn options_out_of_range_are_refused() {
    let model = rule_model(Zoo::test_resnet().num_classes(2), &Device::default());
    let refuses = |options: PredictOptions, what: &str| {
        let error = model.predict_files(Vec::new(), options).err().unwrap();
        assert!(error.to_string().starts_with(what), "{error}");
    };
    let batch_size = 0;
    let options = PredictOptions::default;
    refuses(
        PredictOptions {
            batch_size,
            ..options()
        },
        "batch_size: ",
    );
    let workers = 1000;
    refuses(
        PredictOptions {
            workers,
            ..options()
        },
        "workers: ",
    );
    let image_size = Some(0.into());
    refuses(
        PredictOptions {
            image_size,
            ..options()
        },
        "image_size: ",
    );
    let headless = rule_model(Zoo::test_resnet().num_classes(0), &Device::default());
    let error = headless.predict_files(Vec::new(), options()).err().unwrap();
    assert!(error.to_string().contains("without a head"), "{error}");
}
