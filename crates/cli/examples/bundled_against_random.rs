//! The same recipe with the same budget, once from weights and once from random ones: FashionMNIST (or
//! a folder of images) with few and with many images a class, several seeds, as a table.
//!
//! `cargo run --release --example bundled_against_random -- --help`
//!
//! Every result is a line of the file `--out`, with the settings behind the model's name; what stands
//! there already is not computed again, so that the whole may be interrupted and continued.

// The command's: memory stays with the program from step to step, which is a fifth faster.
#[allow(dead_code)]
#[path = "../src/allocator.rs"]
mod allocator;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use burn_zoo::data::{ImageSet, Loader, LoaderConfig};
use burn_zoo::prelude::*;
use burn_zoo::preprocess::augment::Views;
use clap::Parser;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
struct Arguments {
    /// The architecture
    #[arg(long, default_value = "resnet18")]
    model: String,
    /// What is compared with random weights: bundled, or a file
    #[arg(long, default_value = "bundled")]
    weights: PathBuf,
    /// Only these, not random ones
    #[arg(long)]
    alone: bool,
    /// mini (the bundled sample), a folder with FashionMNIST's files, or a folder of images
    /// (train/CLASS/*, val/CLASS/*) [default: the whole of FashionMNIST]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Side of the images in pixels
    #[arg(long, default_value_t = 28)]
    image_size: usize,
    /// Training images of each class; 0 for all
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,0")]
    per_class: Vec<usize>,
    /// Recipes: features, gradual, full; or what trains beside the head in `full`: lora:rank=8:alpha=16,
    /// bias-only, norm-only
    #[arg(long, value_delimiter = ',', default_value = "features,gradual,full")]
    recipes: Vec<String>,
    /// Seeds: of the images that are chosen, of the head, of the order, and of random weights
    #[arg(long, value_delimiter = ',', default_value = "1,2,3,4,5")]
    seeds: Vec<u64>,
    /// The head's learning rate [default: 1e-2 for features, 1e-3 for the others]
    #[arg(long)]
    rate: Option<f64>,
    /// How the rate falls: cosine, or constant
    #[arg(long, default_value = "cosine")]
    schedule: Schedule,
    /// Epochs [default: 40, 15, 8 or 4, by the number of images]
    #[arg(long)]
    epochs: Option<usize>,
    /// Images in a batch [default: 32, or 64 from 500 images a class]
    #[arg(long)]
    batch_size: Option<usize>,
    /// The optimiser [default: Adam]
    #[arg(long)]
    optimizer: Option<Optimizer>,
    /// Weight decay
    #[arg(long, default_value_t = 0.0)]
    weight_decay: f64,
    /// Random changes of the training images
    #[arg(long, default_value = "none")]
    augment: Augment,
    /// How much of each target is spread over all classes
    #[arg(long, default_value_t = 0.0)]
    label_smoothing: f64,
    /// The stride of the stem
    #[arg(long)]
    stem_stride: Option<usize>,
    /// Leaves the pooling of the stem out
    #[arg(long)]
    no_stem_pool: bool,
    /// Views of each test image that are averaged over
    #[arg(long, default_value = "one")]
    tta: Views,
    /// Measures on 6000 of the training images, which are left out of training, in place of the test
    /// images: for what is to be chosen
    #[arg(long)]
    valid: bool,
    /// The file of results
    #[arg(long, default_value = "runs/bundled-against-random.csv")]
    out: PathBuf,
}

impl Arguments {
    /// The model, and what differs from the defaults of the command line, without commas.
    fn setting(&self) -> String {
        let mut setting = self.model.clone();
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                setting += &format!(" {name}={}", value.replace(',', "+"));
            }
        };
        add(
            "size",
            (self.image_size != 28).then(|| self.image_size.to_string()),
        );
        add("rate", self.rate.map(|rate| rate.to_string()));
        let schedule = self.schedule.to_string();
        add("schedule", (schedule != "cosine").then_some(schedule));
        add("epochs", self.epochs.map(|epochs| epochs.to_string()));
        add("batch", self.batch_size.map(|size| size.to_string()));
        add(
            "optimizer",
            self.optimizer.map(|optimizer| optimizer.to_string()),
        );
        add(
            "decay",
            (self.weight_decay != 0.0).then(|| self.weight_decay.to_string()),
        );
        add(
            "augment",
            (!self.augment.is_none()).then(|| self.augment.to_string()),
        );
        let smoothing = self.label_smoothing;
        add(
            "smoothing",
            (smoothing != 0.0).then(|| smoothing.to_string()),
        );
        add("stride", self.stem_stride.map(|stride| stride.to_string()));
        add("pool", self.no_stem_pool.then(|| "no".to_owned()));
        add(
            "tta",
            (self.tta != Views::One).then(|| self.tta.to_string()),
        );
        add("on", self.valid.then(|| "validation".to_owned()));
        setting
    }
}

/// Epochs, batch size and the head's rate of a recipe for so many images of each class.
fn budget(per_class: usize, recipe: &str) -> (usize, usize, f64) {
    let (epochs, batch) = match per_class {
        1..50 => (40, 32),
        50..500 => (15, 32),
        500..3000 => (8, 64),
        _ => (4, 64),
    };
    // A linear layer alone bears a higher rate than a network, and so do few parameters of one.
    let rate = match recipe {
        "features" => 1e-2,
        "gradual" | "full" => 1e-3,
        _ => 5e-3,
    };
    (epochs, batch, rate)
}

fn main() -> Outcome<()> {
    allocator::keep_blocks();
    let arguments = Arguments::parse();
    let mut results = Results::open(&arguments.out)?;
    let (mut train, mut test) = images(&arguments)?;
    if arguments.valid {
        (train, test) = train.split(0.1, 42)?;
    }
    for per_class in &arguments.per_class {
        for recipe in &arguments.recipes {
            for seed in &arguments.seeds {
                for weights in [true, false] {
                    if arguments.alone && !weights {
                        continue;
                    }
                    let named = if weights {
                        arguments.weights.display().to_string()
                    } else {
                        "random".to_owned()
                    };
                    let key = [
                        arguments.setting(),
                        per_class.to_string(),
                        recipe.clone(),
                        named,
                        seed.to_string(),
                    ];
                    if results.has(&key) {
                        continue;
                    }
                    let seen = match per_class {
                        0 => train.clone(),
                        n => train.per_class(*n, *seed),
                    };
                    let accuracy = measure(&arguments, weights, seen, &test, recipe, *seed)?;
                    println!("{}: {:.2} %", key.join(" "), 100.0 * accuracy);
                    results.add(key, accuracy)?;
                }
            }
        }
    }
    println!("{}", results.table(&arguments.setting()));
    Ok(())
}

/// Trains once, and gives the accuracy on the test images of the epoch with the lowest training loss:
/// none of them has a say in which epoch that is.
fn measure(
    arguments: &Arguments,
    from_weights: bool,
    train: ImageSet,
    test: &ImageSet,
    recipe: &str,
    seed: u64,
) -> Outcome<f64> {
    let weights = match (from_weights, arguments.weights.to_str()) {
        (false, _) => Weights::Random(seed),
        (true, Some("bundled")) => Weights::Bundled,
        (true, _) => Weights::File(arguments.weights.clone()),
    };
    let spec = Zoo::get(&arguments.model)?
        .weights(weights)
        .adapt(train.channels(), train.classes().len())
        .image_size(arguments.image_size)
        .seed(seed);
    let spec = match arguments.stem_stride {
        Some(stride) => spec.stem_stride(stride),
        None => spec,
    };
    let spec = if arguments.no_stem_pool {
        spec.stem_pool(false)
    } else {
        spec
    };
    let mut model = spec.build(&Device::default().autodiff())?;
    if !from_weights && recipe != "full" {
        model = calibrate(model, &train, arguments.image_size)?;
    }
    let per_class = train.len() / train.classes().len();
    let (epochs, batch_size, rate) = budget(per_class, recipe);
    let rate = arguments.rate.unwrap_or(rate);
    let recipe = match recipe.parse::<Adapt>() {
        Ok(adapt) => Recipe::full().adapt(adapt),
        Err(_) => Recipe::named(recipe)?,
    };
    let optimizer = arguments.optimizer.unwrap_or(recipe.optimizer);
    let recipe = recipe
        .epochs(arguments.epochs.unwrap_or(epochs))
        .batch_size(arguments.batch_size.unwrap_or(batch_size))
        .with_optimizer(optimizer)
        .weight_decay(arguments.weight_decay)
        .augment(arguments.augment.clone())
        .label_smoothing(arguments.label_smoothing)
        .learning_rate(rate)
        .schedule(arguments.schedule.clone())
        .metric(burn_zoo::train::Metric::TrainLoss)
        .image_size(arguments.image_size)
        .seed(seed);
    let folder = tempfile::tempdir()?;
    let run = recipe.fit(model, train, test.take_first(1), folder.path().join("run"))?;
    let model = run.model();
    let preprocess = model.preprocess(Some(arguments.image_size.into()));
    let loader = Loader::new(
        Arc::new(test.clone()),
        preprocess,
        LoaderConfig {
            batch_size: 64,
            views: arguments.tta,
            ..LoaderConfig::default()
        },
        &model.device(),
    )?;
    Ok(model.fuse().evaluate(&loader)?.accuracy)
}

/// Makes a random model as good as it can be where layers stay frozen, so that the opponent is the
/// stronger one.
///
/// - timm starts the last normalisation of each block at zero, which helps training; as long as it is
///   frozen, nothing but the shortcuts gets through. Here they are ones, as in torchvision.
/// - Frozen normalisations keep the statistics that they have; those of a new model fit nothing. Here
///   they are those of the images.
fn calibrate(model: Classifier, train: &ImageSet, image_size: usize) -> Outcome<Classifier> {
    let before = model.state_dict()?;
    let model = model.map_state_dict(|name, _| {
        let values = &before[name].data;
        let is_scale = name.contains("bn") && name.ends_with("weight");
        Some(if is_scale && values.iter().all(|value| *value == 0.0) {
            vec![1.0; values.len()]
        } else {
            values.clone()
        })
    })?;
    let config = LoaderConfig {
        batch_size: train.len().min(100),
        shuffle: Some(0),
        drop_last: true,
        ..LoaderConfig::default()
    };
    let preprocess = model.preprocess(Some(image_size.into()));
    let loader = Loader::new(Arc::new(train.clone()), preprocess, config, &model.device())?;
    // A tenth of each batch's statistics goes into the running ones: after 60 nothing is left of
    // the first.
    let batches = (0..).flat_map(|epoch| loader.epoch(epoch));
    for batch in batches.take(60) {
        model.forward(batch?.images)?;
    }
    Ok(model)
}

/// Training and test images in memory.
fn images(arguments: &Arguments) -> Outcome<(ImageSet, ImageSet)> {
    let data = match &arguments.data {
        None => FashionMnist::open_default()?,
        Some(name) if name.as_os_str() == "mini" => FashionMnist::bundled()?,
        Some(folder) if folder.join("train").is_dir() => {
            let splits = ImageFolder::open(folder)?;
            return Ok((in_memory(&splits.train)?, in_memory(&splits.valid)?));
        }
        Some(folder) => FashionMnist::open(folder)?,
    };
    Ok((data.train(), data.test()))
}

/// All images of a folder, which have one size.
fn in_memory(folder: &ImageFolder) -> Outcome<ImageSet> {
    let (mut pixels, mut labels, mut sides) = (Vec::new(), Vec::new(), (0, 0, 0));
    for index in 0..folder.len() {
        let (image, label) = folder.get(index)?;
        pixels.extend_from_slice(image.pixels());
        labels.push(label.class()?);
        sides = (image.height(), image.width(), image.channels());
    }
    let classes = folder.classes().to_vec();
    Ok(ImageSet::new(
        pixels,
        labels,
        (sides.0, sides.1),
        sides.2,
        classes,
    )?)
}

/// What is known so far.
struct Results {
    path: PathBuf,
    accuracies: BTreeMap<[String; 5], f64>,
}

const HEADER: &str = "model,per_class,recipe,weights,seed,accuracy";

impl Results {
    fn open(path: &std::path::Path) -> Outcome<Self> {
        let mut accuracies = BTreeMap::new();
        if path.exists() {
            for line in std::fs::read_to_string(path)?.lines().skip(1) {
                let fields: Vec<&str> = line.split(',').collect();
                let [model, per_class, recipe, weights, seed, accuracy] = fields[..] else {
                    return Err(
                        format!("{}: expected {HEADER}, found {line}", path.display()).into(),
                    );
                };
                let key = [model, per_class, recipe, weights, seed].map(str::to_owned);
                accuracies.insert(key, accuracy.parse()?);
            }
        } else {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(path, format!("{HEADER}\n"))?;
        }
        let path = path.to_owned();
        Ok(Self { path, accuracies })
    }

    fn has(&self, key: &[String; 5]) -> bool {
        self.accuracies.contains_key(key)
    }

    fn add(&mut self, key: [String; 5], accuracy: f64) -> Outcome<()> {
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        writeln!(file, "{},{accuracy:.6}", key.join(","))?;
        self.accuracies.insert(key, accuracy);
        Ok(())
    }

    /// Mean, and lowest to highest, in percent.
    fn table(&self, setting: &str) -> String {
        let mut rows: BTreeMap<(usize, String), BTreeMap<String, Vec<f64>>> = BTreeMap::new();
        for ([model, per_class, recipe, weights, _], accuracy) in &self.accuracies {
            if model != setting {
                continue;
            }
            // All images of each class come last.
            let order = match per_class.parse().unwrap_or(0) {
                0 => usize::MAX,
                n => n,
            };
            let row = rows.entry((order, recipe.clone())).or_default();
            row.entry(weights.clone())
                .or_default()
                .push(100.0 * accuracy);
        }
        let mut text =
            "| images a class | recipe | weights | random | gain |\n|---:|---|---:|---:|---:|\n"
                .to_owned();
        for ((order, recipe), mut row) in rows {
            let random = row.remove("random");
            let images = if order == usize::MAX {
                "all".to_owned()
            } else {
                order.to_string()
            };
            for (_, weights) in row {
                let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
                let shown = |values: &[f64]| {
                    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
                    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    format!("{:.1} ({low:.1} to {high:.1})", mean(values))
                };
                let (other, gain) = match &random {
                    Some(random) => (
                        shown(random),
                        format!("{:+.1}", mean(&weights) - mean(random)),
                    ),
                    None => (String::new(), String::new()),
                };
                let _ = writeln!(
                    text,
                    "| {images} | {recipe} | {} | {other} | {gain} |",
                    shown(&weights)
                );
            }
        }
        text
    }
}
