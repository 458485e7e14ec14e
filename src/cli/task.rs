//! A model and its images, for the commands that train.

use std::path::Path;

use anyhow::{Context as _, Result};
use burn_zoo::InputSize;
use burn_zoo::prelude::*;
use burn_zoo::train::RunConfig;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{ModelArgs, WeightsArgs, build, names_weights, notice, positive, source};

/// Which images; kept in the run folder, so that a run can be resumed.
#[derive(Args, Serialize, Deserialize)]
pub struct ImageArgs {
    #[command(flatten)]
    pub data: source::DataArgs,
    /// Train on N images only: the first, or of a folder N spread over its classes
    #[arg(long, value_name = "N", value_parser = positive)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_train: Option<usize>,
}

impl ImageArgs {
    /// Those that a run began with.
    pub fn of_run(dir: &Path, config: &RunConfig) -> Result<Self> {
        let arguments = config.data.arguments.clone();
        let images = arguments.try_into();
        images.with_context(|| format!("{}: the images are not named in it", dir.display()))
    }

    pub fn open(&self) -> Result<source::Data> {
        self.data.open(self.limit_train)
    }
}

/// What the model starts from.
#[derive(Args)]
pub struct StartArgs {
    /// hub (the default tag), hub:TAG, original[:TAG] (upstream's own file), random, or a file:
    /// .safetensors, .pth, .pt, .bin [default: those that the model's name says, else random]
    #[arg(long, value_name = "bundled|hub[:TAG]|random|FILE")]
    pub weights: Option<String>,
    #[command(flatten)]
    pub choice: WeightsArgs,
    #[command(flatten)]
    pub options: ModelArgs,
}

/// A model, the images it shall learn, and how.
pub struct Task {
    pub model: Classifier,
    pub data: source::Data,
    pub recipe: Recipe,
}

/// Builds the model for the images.
pub fn task(
    name: &str,
    images: &ImageArgs,
    options: &ModelArgs,
    weights: Option<&str>,
    choice: &WeightsArgs,
    recipe: Recipe,
    device: Device,
) -> Result<Task> {
    let mut recipe = recipe;
    let data = images.open()?;
    let mut spec = choice
        .choose(options.spec(name, weights, recipe.seed)?)
        .seed(recipe.seed)
        .drop_rate(recipe.drop_rate.unwrap_or(0.0))
        .drop_path_rate(recipe.drop_path_rate.unwrap_or(0.0));
    if options.in_channels.is_none() {
        spec = spec.in_channels(data.channels);
        if data.any_size && data.channels == 1 {
            notice::tell(
                "all training images are grey: the model gets one input channel; --in-channels 3 \
                 keeps three",
            );
        }
    }
    if options.num_classes.is_none() {
        spec = spec.num_classes(data.train.classes().len());
    }
    if weights.is_none() && !names_weights(name) {
        notice::tell("weights: random; --weights bundled, hub or FILE starts from pretrained ones");
    }
    let model = build(&spec, &device.autodiff())?;
    // Photographs differ in size; they are brought to the one the model was trained at.
    if data.any_size && recipe.image_size.is_none() {
        let architecture = model.info().architecture.clone();
        let trained = Zoo::list(&architecture).first().map(|a| a.image_size);
        recipe.image_size = model.info().image_size.or(trained);
    }
    if let InputSize::Exactly(size) = model.backbone.input_size() {
        notice::tell(format!("images are brought to {size} x {size} pixels"));
    }
    Ok(Task {
        model,
        data,
        recipe,
    })
}
