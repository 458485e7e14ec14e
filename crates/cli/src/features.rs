//! The features of images, for the commands that train no backbone.

use std::sync::Arc;

use anyhow::{Result, bail};
use burn_zoo::data::{BrokenImage, ImageData, Loader, LoaderConfig, Part, Task};
use burn_zoo::prelude::*;
use burn_zoo::probe::Embeddings;
use burn_zoo::{Fused, ImageSize, InputSize};
use clap::{Arg, Args};

use crate::flags::count;
use crate::model::{build, names_weights, trained_size, with_image_size};
use crate::output::Stopped;
use crate::progress::{self, Stop};
use crate::source::TrainingImages;
use crate::task::{ImageArgs, StartArgs};
use crate::{model_folder, notice};

/// Images, and what they go through.
#[derive(Args)]
pub struct FeatureArgs {
    #[command(flatten)]
    pub images: ImageArgs,
    #[command(flatten)]
    pub start: StartArgs,
    /// Images that go through the model at once
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = count::<65_536>)]
    pub batch_size: usize,
    /// Threads that read images ahead; 0 for none [default: half of the machine's, 8 at most]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=256))]
    pub workers: Option<u16>,
}

/// The flag `--data` as an argument that must be given.
pub fn positional(data: Arg) -> Arg {
    let help = help_without_default(&data);
    data.help(help)
        .long(None::<&'static str>)
        .value_name("DATA")
        .required(true)
}

/// Hides the flags without use where each image has one class.
pub fn of_one_class(flag: Arg) -> Arg {
    let of_others = ["task", "csv_label_columns", "csv_label_separator"];
    if of_others.contains(&flag.get_id().as_str()) {
        return flag.hide(true);
    }
    flag
}

/// The flag `--weights` where a model is not random unless somebody says so.
pub fn never_random(weights: Arg) -> Arg {
    let help = help_without_default(&weights);
    weights.help(format!("{help}; needed unless the model names its weights"))
}

fn help_without_default(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    help.split(" [default")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// The features of one part of the images.
pub struct PartFeatures {
    pub part: Part,
    pub images: Arc<dyn ImageData>,
    pub features: Embeddings,
    /// Those that could not be read.
    pub broken: Vec<BrokenImage>,
}

impl FeatureArgs {
    /// Opens the images, each of which has one class.
    pub fn open(&self) -> Result<TrainingImages> {
        let task = self.images.data.task();
        if task != Task::SingleLabel {
            bail!("--task: expected single-label, as vectors go with one class each, found {task}");
        }
        self.images.open()
    }

    /// A model without its last layer.
    pub fn spec(&self, name: &str) -> Result<Spec> {
        let options = &self.start.options;
        let without_effect = [
            ("--num-classes", options.num_classes.is_some()),
            ("--head-init", options.head_init.is_some()),
        ];
        if let Some((flag, _)) = without_effect.iter().find(|(_, given)| *given) {
            bail!("{flag}: has no effect: features are what comes before the last layer");
        }
        let weights = self.start.weights.as_deref();
        if weights.is_none() && !names_weights(name) {
            // A name that is none is the first thing to say.
            Zoo::get(name).map_err(|error| model_folder::or_folder(error, name))?;
            bail!(
                "--weights: expected bundled, hub, hub:TAG, original[:TAG], random or a file, found nothing"
            );
        }
        let spec = options.spec(name, weights, 0)?.num_classes(0);
        Ok(self.start.choice.choose(spec))
    }

    /// Builds a model for the images.
    pub fn model(&self, spec: Spec, data: &TrainingImages, device: &Device) -> Result<Classifier> {
        let mut spec = spec;
        if self.start.options.in_channels.is_none() {
            spec = spec.in_channels(data.channels);
        }
        build(&spec, device)
    }

    /// The size that images are brought to: they stay as they are if all have the same.
    pub fn image_size(
        &self,
        model: &Classifier,
        data: &TrainingImages,
    ) -> Result<Option<ImageSize>> {
        Ok(match model.backbone.describe().input_size {
            InputSize::Exactly(size) => Some(size.into()),
            _ => match self.start.options.image_size {
                None if data.any_size => Some(trained_size(model)?),
                asked => asked,
            },
        })
    }

    /// The images to train on and those to judge by.
    pub fn parts(&self, data: &TrainingImages) -> [(Part, Arc<dyn ImageData>); 2] {
        [
            (Part::Train, data.train.clone()),
            (data.valid_part, data.valid.clone()),
        ]
    }

    /// These, and the test images of a set that has them beside others to judge by.
    pub fn all_parts(&self, data: &TrainingImages) -> Vec<(Part, Arc<dyn ImageData>)> {
        let third = data.test.clone().map(|images| (Part::Test, images));
        self.parts(data).into_iter().chain(third).collect()
    }

    /// The features of each part: every image goes through the model once.
    pub fn embed(
        &self,
        model: &Fused,
        image_size: Option<ImageSize>,
        parts: &[(Part, Arc<dyn ImageData>)],
    ) -> Result<Vec<PartFeatures>> {
        let stop = Stop::on_signal()?;
        let skip_broken = self.images.data.skip_broken;
        let config = LoaderConfig {
            batch_size: self.batch_size,
            workers: self.workers.map_or_else(progress::workers, usize::from),
            skip_broken,
            ..LoaderConfig::default()
        };
        let device = model.model().device();
        let loader = |images: &Arc<dyn ImageData>| {
            let preprocess = model.model().preprocess(image_size);
            Loader::new(images.clone(), preprocess, config.clone(), &device)
        };
        let loaders = parts.iter().map(|(_, images)| loader(images));
        let loaders = loaders.collect::<burn_zoo::Result<Vec<_>>>()?;
        let batches = loaders.iter().map(Loader::num_batches).sum();
        let bar = progress::bar(batches, "features");
        bar.set_message(model.model().info().architecture.clone());
        let mut found = Vec::with_capacity(parts.len());
        for ((part, images), loader) in parts.iter().zip(&loaders) {
            let features = model.embed_all(loader, |_| {
                bar.inc(1);
                !stop.asked()
            });
            let broken = loader.broken();
            let features = match features {
                Ok(Some(features)) => features,
                Ok(None) => return Err(Stopped("interrupted; nothing is kept".to_owned()).into()),
                Err(error) if !broken.is_empty() => {
                    return Err(self.images.data.with_skip_broken(error));
                }
                Err(error) => return Err(with_image_size(error)),
            };
            for image in &broken {
                let name = &image.name;
                bar.suspend(|| notice::tell(format!("left out: {name}: {}", image.reason)));
            }
            found.push(PartFeatures {
                part: *part,
                images: images.clone(),
                features,
                broken,
            });
        }
        bar.finish_and_clear();
        Ok(found)
    }
}
