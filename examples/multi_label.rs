//! Tells several labels of an image: on which part of the body a piece of clothing is worn, and whether it
//! has sleeves.
//!
//! `cargo run --release --example multi_label [bundled|random] [TRAINING_IMAGES]`

mod arguments;

use std::sync::Arc;

use arguments::Arguments;
use burn_zoo::data::{ImageSet, Targets};
use burn_zoo::prelude::*;

const LABELS: [&str; 4] = ["upper body", "lower body", "feet", "sleeves"];
/// Of each class of FashionMNIST. Bags have none.
const OF_CLASS: [&[usize]; 10] = [
    &[0, 3],
    &[1],
    &[0, 3],
    &[0, 1],
    &[0, 3],
    &[2],
    &[0, 3],
    &[2],
    &[],
    &[2],
];

fn main() -> burn_zoo::Result<()> {
    let arguments = Arguments::read(&["WEIGHTS", "TRAINING_IMAGES"])?;
    let spec = arguments.bundled_or_random(0)?;
    let images = arguments.number(1, 1000)?;

    let data = FashionMnist::bundled()?;
    let (train, valid) = data.train().split(0.1, 42)?;
    let train = labelled(&train.take_first(images))?;
    let test = Arc::new(labelled(&data.test())?);

    let model = spec
        .adapt(1, LABELS.len())
        .build(&Device::default().autodiff())?;
    let run = Recipe::full()
        .task(Task::MultiLabel)
        .epochs(3)
        .learning_rate(3e-3)
        .fit(model, train, labelled(&valid)?, "runs/multi-label")?;
    for epoch in run.epochs() {
        println!("{epoch}");
    }
    println!("{}", run.test(test.clone(), false)?);

    // The best epoch's model, with a threshold for each label.
    let model = Classifier::open("runs/multi-label/best", &Device::default())?;
    for (label, threshold) in LABELS.iter().zip(&model.info().outputs.thresholds) {
        println!("{label}: from {threshold:.2} on");
    }
    for index in 0..5 {
        let (image, _) = test.get(index)?;
        let labels = model.predict(&image, None, LABELS.len())?;
        let labels = labels.iter().map(|label| &*label.name);
        println!("image {index}: {}", labels.collect::<Vec<_>>().join(", "));
    }
    Ok(())
}

/// The same images with several labels each.
fn labelled(images: &ImageSet) -> burn_zoo::Result<ImageSet> {
    let pixels = (0..images.len()).filter_map(|index| images.pixels(index));
    let rows = images.labels().iter().flat_map(|class| {
        (0..LABELS.len()).map(|label| f32::from(OF_CLASS[*class].contains(&label)))
    });
    let targets = Targets::Rows {
        values: rows.collect(),
        width: LABELS.len(),
    };
    let names = LABELS.map(str::to_owned).to_vec();
    ImageSet::with_targets(
        pixels.flatten().copied().collect(),
        Task::MultiLabel,
        targets,
        (28, 28),
        1,
        names,
    )
}
