//! A model and its images, for the commands that train.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use burn_zoo::data::{self, Part};
use burn_zoo::prelude::*;
use burn_zoo::train::RunConfig;
use burn_zoo::{Error, ImageSize, InputSize};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::flags::positive;
use crate::model::{ModelArgs, WeightsArgs, build, names_weights, trained_size};
use crate::{notice, source};

/// Which images; kept in the run folder, so that a run can be resumed.
#[derive(Args, Serialize, Deserialize)]
pub struct ImageArgs {
    #[command(flatten)]
    pub data: source::DataArgs,
    /// Train on N images only: the first, or of a folder N spread over its classes
    #[arg(long, value_name = "N", value_parser = positive)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_train: Option<usize>,
    /// Whether the test images judge the chosen model at the end.
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub test: bool,
}

impl ImageArgs {
    /// Those that a run began with.
    pub fn of_run(dir: &Path, config: &RunConfig) -> Result<Self> {
        let arguments = config.data.arguments.clone();
        let mut images: Self = arguments
            .try_into()
            .with_context(|| format!("{}: the images are not named in it", dir.display()))?;
        images.data.of_run = true;
        images.data = images.data.of_task(config.recipe.task, "the run")?;
        let Some(data) = images.data.data.as_deref() else {
            return Ok(images);
        };
        let path = Path::new(data);
        if is_builtin(data) || path.exists() {
            return Ok(images);
        }
        let where_from = if path.is_relative() {
            ", counted from the folder that the run was started in, and not there from this one"
        } else {
            ", and that is not there"
        };
        bail!(
            "--data: the images of {} are at `{data}`{where_from}; if they are elsewhere now, say \
             where with --data",
            dir.display()
        )
    }

    /// Those of a run that goes on: `asked` may say where they are now, and that broken ones are
    /// left out from here on.
    pub fn to_go_on(dir: &Path, config: &RunConfig, asked: &Self) -> Result<Self> {
        let mut config = config.clone();
        let mut moved = asked.kept(&[])?;
        if let Some(data) = moved.remove("data").filter(|_| asked.data.data.is_some()) {
            let arguments = &mut config.data.arguments;
            match (arguments.get_mut("data"), data) {
                (Some(toml::Value::Table(kept)), toml::Value::Table(mut data)) => {
                    kept.extend(data.remove("data").map(|path| ("data".to_owned(), path)));
                }
                // A run of a program that kept nothing.
                (_, data) => drop(arguments.insert("data".to_owned(), data)),
            }
        }
        let mut images = Self::of_run(dir, &config)?;
        images.data.skip_broken |= asked.data.skip_broken;
        Ok(images)
    }

    pub fn open(&self) -> Result<source::TrainingImages> {
        self.data.open(self.limit_train)
    }

    /// [`open`](Self::open) for a recipe of this task.
    pub fn open_for(&self, task: data::Task) -> Result<source::TrainingImages> {
        let data = self.data.of_task(task, "the recipe")?;
        data.open(self.limit_train)
    }

    /// The test images, if they are asked for. Before anything trains, so that it shows at once where
    /// there are none.
    pub fn to_test(&self, data: &source::TrainingImages) -> Result<Option<Arc<dyn ImageData>>> {
        let name = self.data.name();
        match &data.test {
            Some(test) if self.test => Ok(Some(test.clone())),
            Some(test) => {
                notice::say(format_args!(
                    "the {} test images are not looked at; --test judges the chosen model by them \
                     at the end",
                    test.len()
                ));
                Ok(None)
            }
            None if !self.test => Ok(None),
            None if data.valid_part == Part::Test => bail!(
                "--test: expected test images by which nothing is chosen, found that those of {name} \
                 are the validation images; leave --test away, or start a run with validation \
                 images of its own"
            ),
            None => bail!(
                "--test: expected a data set with test images, a folder test/ beside train/ or rows \
                 of a CSV file whose split is test, found none in {name}"
            ),
        }
    }

    /// Opens the images of a run that goes on. An image that broke meanwhile is still one of them,
    /// or all others would change their places: it is met when it is read.
    pub fn open_again(&mut self, config: &RunConfig) -> Result<source::TrainingImages> {
        self.data.unchecked = true;
        let mut found = self.open();
        // A program keeps nothing of its images: it may have validated on the test images.
        if config.data.arguments.is_empty()
            && self.data.splits_fashion_mnist
            && found.as_ref().is_ok_and(|data| !is_of(config, data))
        {
            self.data.splits_fashion_mnist = false;
            found = self.open();
        }
        self.data.unchecked = false;
        if self.data.left_out.is_some() {
            return found;
        }
        // An earlier version did not keep what was left out when the run began.
        let data = match found {
            Ok(data) if is_of(config, &data) => data,
            _ => self.open()?,
        };
        self.data.left_out = Some(data.left_out.clone());
        Ok(data)
    }

    /// [`open_again`](Self::open_again) to judge images as the run divided them: their counts must
    /// be the run's, or images of its training may be among those of its validation.
    pub fn open_to_judge(
        &mut self,
        dir: &Path,
        config: &RunConfig,
    ) -> Result<source::TrainingImages> {
        let data = self.open_again(config)?;
        if !is_of(config, &data) {
            bail!(
                "--data: expected the images of the run {}, {} for training and {} for validation, \
                 found {} and {}; they cannot be divided as the run divided them, and --data with \
                 `eval` judges others",
                dir.display(),
                config.data.train_images,
                config.data.valid_images,
                data.train.len(),
                data.valid.len()
            );
        }
        Ok(data)
    }

    /// As a run folder keeps them: found again from any folder, without those that were left out.
    pub fn kept(&self, left_out: &[String]) -> Result<toml::Table> {
        let mut table = toml::Table::try_from(self)?;
        // A run keeps what it was divided by, whatever the default is later.
        if let Some(toml::Value::Table(data)) = table.get_mut("data") {
            data.insert("valid_share".to_owned(), self.data.share().into());
        }
        // A run that goes on keeps what it left out when it began. That nothing was left out is
        // kept as well: it says that a later count is not to be explained by it.
        if let Some(toml::Value::Table(data)) = table.get_mut("data")
            && self.data.left_out.is_none()
        {
            data.insert("left_out".to_owned(), left_out.to_vec().into());
        }
        if let Some(toml::Value::Table(data)) = table.get_mut("data")
            && let Some(toml::Value::String(path)) = data.get_mut("data")
            && !is_builtin(path)
            && Path::new(path.as_str()).exists()
        {
            let absolute = std::path::absolute(path.as_str())
                .with_context(|| format!("--data: {path}: its place is not known"))?;
            let Some(absolute) = absolute.to_str() else {
                bail!("--data: {}: expected a path in UTF-8", absolute.display());
            };
            *path = absolute.to_owned();
        }
        Ok(table)
    }
}

/// Whether there are as many images as a run had.
fn is_of(config: &RunConfig, data: &source::TrainingImages) -> bool {
    let expected = [config.data.train_images, config.data.valid_images];
    [data.train.len(), data.valid.len()] == expected
}

/// Whether `--data` names no file or folder.
fn is_builtin(data: &str) -> bool {
    let kind = data.split(':').next().unwrap_or_default();
    matches!(kind, "fashion-mnist" | "fashion-mnist-mini" | "fractals")
}

/// What the model starts from.
#[derive(Args, Clone)]
pub struct StartArgs {
    /// bundled (part of the program), hub (the default tag), hub:TAG, original[:TAG] (upstream's own
    /// file), random, or a file: .safetensors, .pth, .pt, .bin [default: those that the model's name
    /// says, else random]
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
    pub data: source::TrainingImages,
    pub recipe: Recipe,
}

/// The spec for small images at the size that they have: they are not enlarged to one for photographs.
fn at_own_size(
    spec: Spec,
    name: &str,
    data: &source::TrainingImages,
    device: &Device,
) -> Result<Spec> {
    if data.any_size {
        bail!(
            "--small-images: expected --image-size N beside it, as images in files may differ in size, \
             found none"
        );
    }
    let (image, _) = data.train.get(0)?;
    let size = ImageSize::from([image.height(), image.width()]);
    let spec = spec.image_size(size);
    match spec.build_zeros(device) {
        Err(Error::InvalidArgument { argument, .. }) if argument == "image_size" => bail!(
            "--small-images: {name} cannot be built for the images' own size, {size}; --image-size brings \
             them to another"
        ),
        _ => Ok(spec),
    }
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
    let data = images.open_for(recipe.task)?;
    let mut spec = choice
        .choose(options.spec(name, weights, recipe.seed)?)
        .seed(recipe.seed)
        .drop_rate(recipe.drop_rate.unwrap_or(0.0))
        .drop_path_rate(recipe.drop_path_rate.unwrap_or(0.0));
    if let (None, Some(size)) = (options.image_size, recipe.image_size) {
        spec = spec.image_size(size);
    }
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
    if options.small_images && options.image_size.is_none() && recipe.image_size.is_none() {
        spec = at_own_size(spec, name, &data, &device)?;
    }
    let model = build(&spec, &device.autodiff())?;
    // Photographs differ in size; they are brought to the last one that is asked for, or else to the one
    // the model was trained at.
    let is_chosen = data.any_size && recipe.image_size.is_none();
    if is_chosen {
        let last = recipe.progressive_sizes.last();
        recipe.image_size = Some(last.map_or_else(|| trained_size(&model), Ok)?);
    }
    let size = match model.backbone.describe().input_size {
        InputSize::Exactly(size) => Some(size.into()),
        _ => recipe.image_size.filter(|_| is_chosen),
    };
    if let Some(ImageSize { height, width }) = size {
        notice::tell(format!("images are brought to {height} x {width} pixels"));
    }
    Ok(Task {
        model,
        data,
        recipe,
    })
}
