//! `finetune`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use burn_zoo::InputSize;
use burn_zoo::prelude::*;
use burn_zoo::train::FitOptions;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::progress::{Stop, Watch};
use super::{
    ModelArgs, count, fetch, names_weights, positive, print, print_json, probability, source,
};

#[derive(Args)]
pub struct FinetuneArgs {
    /// An architecture (see `burn-zoo list`), arch.tag, hf-hub:OWNER/REPO or local-dir:DIR
    model: String,
    #[command(flatten)]
    data: source::DataArgs,
    /// What trains
    #[arg(long, value_enum, default_value = "full")]
    recipe: RecipeName,
    /// hub (the default tag), hub:TAG, original[:TAG] (upstream's own file), random, or a file: .safetensors, .pth, .pt, .bin [default:
    /// those that the model's name says, else random]
    #[arg(long, value_name = "hub[:TAG]|random|FILE")]
    weights: Option<String>,
    #[command(flatten)]
    options: ModelArgs,
    /// Dropout before the head, in 0..1
    #[arg(long, default_value_t = 0.0, value_name = "P", value_parser = probability)]
    drop_rate: f64,
    /// Stochastic depth, in 0..1
    #[arg(long, default_value_t = 0.0, value_name = "P", value_parser = probability)]
    drop_path_rate: f64,
    /// Passes over the training images
    #[arg(long, value_name = "N", value_parser = positive)]
    epochs: Option<usize>,
    /// Images in a batch
    #[arg(long, value_name = "N", value_parser = count::<65_536>)]
    batch_size: Option<usize>,
    /// Learning rate before the schedule
    #[arg(long, value_name = "X")]
    lr: Option<f64>,
    /// The optimiser
    #[arg(long, value_name = "NAME", value_parser = optimizers())]
    optimizer: Option<Optimizer>,
    /// Weight decay of weights; biases and normalisations have none
    #[arg(long, value_name = "X")]
    weight_decay: Option<f64>,
    /// constant, cosine or step:EPOCHS:GAMMA
    #[arg(long, value_name = "SCHEDULE")]
    schedule: Option<Schedule>,
    /// Epochs of linear warm-up
    #[arg(long, value_name = "EPOCHS")]
    warmup: Option<f64>,
    /// What is frozen: nothing, backbone, up-to:GROUP, only:GROUP,.. or matching:REGEX; the
    /// recipe's choice by default
    #[arg(long)]
    freeze: Option<Freeze>,
    /// What becomes of frozen batch normalisations: frozen, or train-affine (scale and shift train,
    /// statistics stay)
    #[arg(long, value_name = "CHOICE")]
    frozen_norm: Option<FrozenNorm>,
    /// Seed of everything random
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Threads that prepare batches
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Leave out a last training batch that is not full
    #[arg(long)]
    drop_last: bool,
    /// Train on N images only: the first, or of a folder N spread over its classes
    #[arg(long, value_name = "N", value_parser = positive)]
    limit_train: Option<usize>,
    /// The run folder [default: runs/MODEL-DATA-1, or the next number that is free]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace an old run in the same folder
    #[arg(long, requires = "out")]
    overwrite: bool,
    /// End with one JSON document on standard output, and print nothing else there
    #[arg(long)]
    json: bool,
}

/// The names of the optimisers, so that a wrong one is answered with the right ones.
fn optimizers() -> impl TypedValueParser<Value = Optimizer> {
    PossibleValuesParser::new(["sgd", "nesterov", "adam", "adamw"])
        .try_map(|name| name.parse::<Optimizer>())
}

#[derive(Clone, Copy, ValueEnum)]
enum RecipeName {
    /// Everything trains
    Full,
    /// The backbone is frozen, the head trains
    Features,
}

impl FinetuneArgs {
    pub fn run(self, device: Device) -> Result<()> {
        let started = Instant::now();
        let mut recipe = self.recipe();
        let spec = self
            .options
            .spec(&self.model, self.weights.as_deref(), recipe.seed)?;
        let out = self.out.clone().unwrap_or_else(|| self.default_folder());
        let taken = out
            .read_dir()
            .is_ok_and(|mut entries| entries.next().is_some());
        if taken && !self.overwrite {
            bail!(
                "{} exists already; choose another folder with --out, or pass --overwrite",
                out.display()
            );
        }
        let data = self.data.open(self.limit_train)?;

        let mut spec = spec
            .drop_rate(self.drop_rate)
            .drop_path_rate(self.drop_path_rate)
            .seed(recipe.seed);
        if self.options.in_channels.is_none() {
            spec = spec.in_channels(data.channels);
        }
        if self.options.num_classes.is_none() {
            spec = spec.num_classes(data.train.classes().len());
        }
        let random = self.weights.as_deref().unwrap_or("random") == "random";
        if random && !(self.weights.is_none() && names_weights(&self.model)) {
            eprintln!("weights: random; --weights hub or FILE starts from pretrained ones");
        }
        let model = fetch(&spec)?.build(&device.autodiff())?;
        // Photographs differ in size; they are brought to the one the model was trained at.
        if data.any_size && recipe.image_size.is_none() {
            let architecture = model.info().architecture.clone();
            let trained = Zoo::list(&architecture).first().map(|a| a.image_size);
            recipe.image_size = model.info().image_size.or(trained);
        }

        let options = FitOptions {
            overwrite: self.overwrite,
            data: data.source.clone(),
        };
        if let InputSize::Exactly(size) = model.backbone.input_size() {
            eprintln!("images are brought to {size} x {size} pixels");
        }
        let mut watch = Watch::new(Stop::on_ctrl_c()?, !self.json);
        let run = recipe.fit_with(model, data.train, data.test, &out, options, &mut watch)?;
        let best = run.best();
        if self.json {
            return print_json(&json!({
                "run": run.dir(),
                "best_epoch": best.epoch,
                "valid_accuracy": best.valid_accuracy,
                "valid_loss": best.valid_loss,
                "seconds": started.elapsed().as_secs_f64(),
            }));
        }
        print(format!(
            "\nbest: {best}\nmodel: {}\ncurves and log: {}",
            run.dir().join("best").display(),
            run.dir().display()
        ))
    }

    fn recipe(&self) -> Recipe {
        let mut recipe = match self.recipe {
            RecipeName::Full => Recipe::full(),
            RecipeName::Features => Recipe::feature_extraction(),
        };
        let set = |field: &mut usize, value: Option<usize>| *field = value.unwrap_or(*field);
        set(&mut recipe.epochs, self.epochs);
        set(&mut recipe.batch_size, self.batch_size);
        set(&mut recipe.workers, self.workers);
        let set = |field: &mut f64, value: Option<f64>| *field = value.unwrap_or(*field);
        set(&mut recipe.learning_rate, self.lr);
        set(&mut recipe.weight_decay, self.weight_decay);
        set(&mut recipe.warmup_epochs, self.warmup);
        recipe.optimizer = self.optimizer.unwrap_or(recipe.optimizer);
        recipe.schedule = self.schedule.unwrap_or(recipe.schedule);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        recipe.image_size = self.options.image_size;
        recipe.drop_last = self.drop_last;
        recipe.frozen_norm = self.frozen_norm.unwrap_or(recipe.frozen_norm);
        if let Some(freeze) = &self.freeze {
            recipe.freeze = freeze.clone();
        }
        recipe
    }

    /// The first free one of `runs/MODEL-DATA-1`, `-2`, ..
    fn default_folder(&self) -> PathBuf {
        let data = Path::new(self.data.name()).file_name().unwrap_or_default();
        let model = self.model.replace(['/', ':', '@'], "-");
        let name = format!("{model}-{}", data.to_string_lossy());
        (1usize..)
            .map(|number| Path::new("runs").join(format!("{name}-{number}")))
            .find(|dir| !dir.exists())
            .unwrap_or_default()
    }
}
