//! Images that are wider than high, from training to a file and back.

#![cfg(feature = "fashion-mnist-mini")]

mod common;

use std::path::Path;

use burn::module::Module;
use burn_zoo::prelude::*;
use burn_zoo::preprocess::Image;
use burn_zoo::{ImageSize, TableLayout};
use common::{fixture, relative_error, rule_input, rule_model, values};

const SIZE: ImageSize = ImageSize {
    height: 32,
    width: 48,
};

fn config(dir: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(dir.join("config.json")).unwrap()).unwrap()
}

#[test]
fn a_model_is_trained_judged_used_written_and_read() {
    let data = FashionMnist::bundled().unwrap();
    for spec in [Zoo::test_resnet(), Zoo::test_vit()] {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec
            .weights(Weights::Random(1))
            .adapt(1, 10)
            .image_size(SIZE);
        let model = spec.build(&Device::default().autodiff()).unwrap();
        let recipe = Recipe::full()
            .epochs(1)
            .batch_size(32)
            .image_size(SIZE)
            .augment(
                "random-resized-crop:scale=0.5..1,horizontal-flip"
                    .parse()
                    .unwrap(),
            );
        let (train, test) = (data.train().take_first(64), data.test().take_first(32));
        let run = recipe
            .fit(model, train, test, dir.path().join("run"))
            .unwrap();
        assert!(run.epochs()[0].train_loss.is_finite());

        let best = dir.path().join("run/best");
        assert_eq!(
            config(&best)["pretrained_cfg"]["input_size"],
            serde_json::json!([1, 32, 48])
        );
        let recipe = std::fs::read_to_string(dir.path().join("run/config.toml")).unwrap();
        assert!(recipe.contains("\"32x48\""), "{recipe}");
        let again = Classifier::open(&best, &Device::default()).unwrap();
        assert_eq!(again.info().image_size, Some(SIZE));
        let images = rule_input([2, 1, 32, 48], &Device::default());
        let score = |model: &Classifier| values(&model.forward(images.clone()).unwrap());
        assert_eq!(score(&again), score(&run.model().valid()));
        let image = Image::open(fixture("pixels/photo.png")).unwrap();
        let size = again.info().image_size;
        assert_eq!(again.predict(&image, size, 3).unwrap().len(), 3);
    }
}

/// Two grids of as many patches are not taken for each other.
#[test]
fn position_embeddings_follow_the_grid_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let model = rule_model(
        Zoo::test_vit().num_classes(4).image_size(SIZE),
        &Device::default(),
    );
    model.export(dir.path()).unwrap();
    assert_eq!(
        config(dir.path())["model_args"]["img_size"],
        serde_json::json!([32, 48])
    );
    let positions = |model: &Classifier| model.state_dict().unwrap()["pos_embed"].data.clone();
    let at = |size: [usize; 2]| {
        let spec = Spec::of_folder(dir.path()).unwrap().image_size(size);
        positions(&spec.build(&Device::default()).unwrap())
    };
    let own = positions(&model);
    assert_eq!(at([32, 48]), own);
    let turned = at([48, 32]);
    assert_eq!(turned.len(), own.len());
    assert!(relative_error(&turned, &own) > 0.1);
    // 32 pixels to the left of the same rows: the class token stays, the grid is three patches wide.
    let wide = at([32, 96]);
    assert_eq!(wide[..64], own[..64]);
    assert_eq!(wide.len(), 64 * (1 + 2 * 6));
}

#[test]
fn a_size_has_one_form() {
    for (text, size) in [("224", [224, 224]), ("96x64", [96, 64])] {
        let parsed: ImageSize = text.parse().unwrap();
        assert_eq!((parsed, parsed.to_string()), (size.into(), text.to_owned()));
    }
    for wrong in [
        "", "x", "96x", "x64", "0", "96x0", "96X64", "96x64x3", "-1", "1e3", "20000",
    ] {
        let error = wrong.parse::<ImageSize>().unwrap_err().to_string();
        assert!(
            error.starts_with("image_size: expected"),
            "{wrong}: {error}"
        );
    }
    let recipe = Recipe::from_toml("image_size = \"96x64\"").unwrap();
    assert_eq!(recipe, Recipe::from_toml("").unwrap().image_size([96, 64]));
    assert!(Recipe::from_toml("image_size = \"96\"").is_ok());
    let error = Recipe::from_toml("image_size = \"96x\"")
        .unwrap_err()
        .to_string();
    assert!(error.contains("image_size"), "{error}");
}

/// A table for windows of 4 x 6 positions has as many rows as one of 6 x 4, and another order.
#[test]
fn tables_of_windows_follow_their_sides() {
    let device = Device::default();
    for name in ["test_coatnet", "swin_tiny_patch4_window7_224"] {
        let dir = tempfile::tempdir().unwrap();
        let built = |size: [usize; 2]| {
            let spec = Zoo::get(name)
                .unwrap()
                .weights(Weights::Random(1))
                .num_classes(3);
            spec.image_size(size).build(&device).unwrap()
        };
        // By its rows, the sides of a table; each value is the offset of its rows, the same in all columns.
        let sides = |model: &Classifier, rows: usize| {
            let tables = &model.backbone.describe().position_tables;
            let sides = tables.iter().map(|table| {
                assert_eq!(table.layout, TableLayout::Offsets);
                table.sides.map(|side| 2 * side - 1)
            });
            sides
                .into_iter()
                .find(|[height, width]| height * width == rows)
        };
        let is_table = |name: &str| name.ends_with("relative_position_bias_table");
        let wide = built([64, 96]);
        let wide = wide.clone().map_state_dict(|name, shape| {
            let is_it = is_table(name);
            let [rows, columns] = sides(&wide, shape[0]).filter(|_| is_it)?;
            let value = |row: usize| (row / columns) as f32 - (rows / 2) as f32;
            let values = (0..shape[0]).flat_map(|row| vec![value(row); shape[1]]);
            Some(values.collect())
        });
        wide.unwrap().export(dir.path()).unwrap();
        for size in [[96, 64], [128, 128]] {
            let folder = Spec::of_folder(dir.path()).unwrap();
            let file = Zoo::get(name).unwrap().num_classes(3);
            let file = file.weights(Weights::File(dir.path().join("model.safetensors")));
            for spec in [folder, file] {
                let model = spec.image_size(size).build(&device).unwrap();
                let told = model.load_report().unwrap();
                assert!(!told.resampled.is_empty());
                let values = model.state_dict().unwrap();
                let tables = values.iter().filter(|(name, _)| is_table(name));
                assert!(tables.clone().count() > 1, "{name}");
                for (_, table) in tables {
                    let [_, columns] = sides(&model, table.shape[0]).unwrap();
                    let place = format!("{name} at {size:?}, table {:?}", table.shape);
                    let heads = table.shape[1];
                    let of_head: Vec<f32> = table.data.iter().step_by(heads).copied().collect();
                    let rows: Vec<f32> = of_head.chunks(columns).map(|row| row[0]).collect();
                    for (row, first) in of_head.chunks(columns).zip(&rows) {
                        assert!(
                            row.iter().all(|value| (value - first).abs() < 1e-5),
                            "{place}: {row:?}"
                        );
                    }
                    // What lies beyond the ends of the old table has their values.
                    assert!(rows.is_sorted() && rows[0] < 0.0, "{place}: {rows:?}");
                }
            }
        }
    }
}

/// 8 x 2 patches are as many as 4 x 4 and 2 x 8.
#[test]
fn position_embeddings_of_a_file_follow_the_images() {
    let device = Device::default();
    let dir = tempfile::tempdir().unwrap();
    let built = |size: [usize; 2], weights: Weights| {
        let spec = Zoo::test_vit().weights(weights).num_classes(3);
        spec.image_size(size).build(&device).unwrap()
    };
    let embedding = |model: &Classifier| model.state_dict().unwrap()["pos_embed"].data.clone();
    let tall = built([128, 32], Weights::Random(1));
    tall.export(dir.path()).unwrap();
    let file = dir.path().join("model.safetensors");
    // Alone, a file says nothing of its images: of as many patches they are taken as they are, as in timm.
    let alone = dir.path().join("alone");
    std::fs::create_dir(&alone).unwrap();
    std::fs::copy(&file, alone.join("model.safetensors")).unwrap();
    let alone = alone.join("model.safetensors");
    for file in [&file, &alone] {
        let model = built([128, 32], Weights::File(file.clone()));
        assert_eq!(embedding(&model), embedding(&tall));
        assert!(model.load_report().unwrap().resampled.is_empty());
    }
    let turned = built([32, 128], Weights::File(file));
    assert_eq!(turned.load_report().unwrap().resampled, ["pos_embed"]);
    let folder = Spec::of_folder(dir.path()).unwrap().image_size([32, 128]);
    let folder = folder.build(&device).unwrap();
    assert_eq!(embedding(&turned), embedding(&folder));
    assert_ne!(embedding(&turned), embedding(&tall));
}
