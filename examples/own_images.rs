//! Draws a small folder of images, a folder for each class, and learns to tell the classes apart.
//!
//! `cargo run --release --example own_images [FOLDER] [IMAGES_PER_CLASS] [EPOCHS]`

mod arguments;

use std::path::Path;

use arguments::Arguments;
use burn_zoo::data::ImageFolder;
use burn_zoo::init::Rng;
use burn_zoo::prelude::*;
use burn_zoo::preprocess::Image;
use image::{Rgb, RgbImage};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::read(&["FOLDER", "IMAGES_PER_CLASS", "EPOCHS"])?;
    let folder = arguments.text(0).unwrap_or("shapes");
    let images = arguments.number(1, 200)?;
    let epochs = arguments.number(2, 8)?;

    // shapes/circle/0.png, shapes/circle/1.png, .., shapes/square/0.png, ..
    for class in ["circle", "square", "triangle"] {
        draw_class(&Path::new(folder).join(class), class, images)?;
    }

    // The folders' names are the classes; a fifth of each is for validation.
    let data = ImageFolder::open(folder)?;
    println!("{}", data.report);

    let spec = Zoo::test_resnet()
        .weights(Weights::Random(42))
        .adapt(3, data.train.classes().len());
    let model = spec.build(&Device::default().autodiff())?;
    let run = Recipe::full()
        .epochs(epochs)
        .batch_size(16)
        .learning_rate(3e-3)
        .schedule(Schedule::cosine())
        .fit(model, data.train, data.valid.clone(), "runs/own-images")?;
    println!("best: {}", run.best());

    // What the model says about a single file.
    if let Some(path) = data.valid.path(0) {
        for guess in run.model().predict(&Image::open(&path)?, None, 1)? {
            let percent = 100.0 * guess.probability;
            println!("{}: {} ({percent:.0} %)", path.display(), guess.name);
        }
    }
    Ok(())
}

/// Draws one kind of shape again and again, of any size and colour, anywhere.
fn draw_class(folder: &Path, class: &str, images: usize) -> image::ImageResult<()> {
    std::fs::create_dir_all(folder)?;
    let mut rng = Rng::new(42, class);
    for index in 0..images {
        let radius = rng.uniform(6.0, 12.0);
        let (x, y) = (rng.uniform(13.0, 19.0), rng.uniform(13.0, 19.0));
        let mut colour = |from, to| Rgb([0; 3].map(|_: u8| rng.uniform(from, to) as u8));
        let (paper, ink) = (colour(0.0, 100.0), colour(120.0, 256.0));
        let image = RgbImage::from_fn(32, 32, |column, row| {
            let (right, down) = (f64::from(column) - x, f64::from(row) - y);
            let inside = match class {
                "circle" => right.hypot(down) <= radius,
                "square" => right.abs().max(down.abs()) <= 0.85 * radius,
                _ => down <= radius && 2.0 * right.abs() <= down + radius,
            };
            if inside { ink } else { paper }
        });
        image.save(folder.join(format!("{index}.png")))?;
    }
    Ok(())
}
