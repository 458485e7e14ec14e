//! `eval`.

mod shown;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use burn_zoo::Error;
use burn_zoo::ImageSize;
use burn_zoo::data::{ImageData, Loader, LoaderConfig, Part, match_classes};
use burn_zoo::prelude::*;
use burn_zoo::preprocess::augment::Views;
use burn_zoo::train::{Evaluation, RunConfig};
use clap::Args;

use self::shown::{document, print_evaluation};
use crate::flags::{Choice, count};
use crate::model::{warn_of_unseen_edge, with_image_size};
use crate::model_folder::spec_of;
use crate::output::print_json;
use crate::source::EvaluationImages;
use crate::task::ImageArgs;
use crate::{notice, source};

#[derive(Args)]
#[command(
    after_help = "Every image of what --data names is judged: of a folder of classes or a \
    CSV file all of it, of a set with parts the one that --part names (unasked test, else val). \
    Without --data it is the images that the run was validated on. Classes are matched by their \
    names, and a set may lack some of them. How many images of how many were judged is in the \
    output."
)]
pub struct EvalArgs {
    /// The folder of a run or of an exported model
    dir: PathBuf,
    #[command(flatten)]
    data: source::DataArgs,
    /// Judge this part: train, val or test [default: of a run's own images val; of a set with parts
    /// test, else val; a set without parts is taken whole]
    #[arg(long, value_name = "PART")]
    part: Option<Part>,
    /// Images in a batch
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = count::<65_536>)]
    batch_size: usize,
    /// The images in pixels: a side, or height and width as 96x64 [default: that of the training]
    #[arg(long, value_name = "N|HxW")]
    image_size: Option<ImageSize>,
    /// Average over several views of each image
    #[arg(long, value_name = "VIEWS", default_value_t,
        value_parser = Choice::<Views>::of(Views::names()))]
    tta: Views,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl EvalArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        self.divides_nothing()?;
        let mut spec = spec_of(&self.dir)?;
        if let Some(size) = self.image_size {
            spec = spec.image_size(size);
        }
        let model = spec.build(device)?;
        warn_of_unseen_edge(&model);
        let chosen = self.images(&model)?;
        let images = by_name(chosen.images.clone(), &model)?;
        let size = model.info().image_size;
        let preprocess = model.preprocess(size);
        let config = LoaderConfig {
            batch_size: self.batch_size,
            views: self.tta,
            // Damage that the quick look does not see shows when the image is decoded.
            skip_broken: chosen.skip_broken,
            ..LoaderConfig::default()
        };
        let loader = Loader::new(images, preprocess, config, device)?;
        let result = model.evaluate(&loader);
        let broken = loader.broken();
        if chosen.skip_broken {
            for image in &broken {
                notice::tell(format!(
                    "left out of the evaluation: {}: {}",
                    image.name, image.reason
                ));
            }
        }
        let result = match result {
            Err(error) if !broken.is_empty() && !chosen.skip_broken => {
                return Err(self.data.with_skip_broken(error));
            }
            result => result.map_err(with_image_size)?,
        };
        let (judged, of) = (result.images, chosen.of);
        if judged < of {
            notice::tell(format!("{judged} of {of} images are judged"));
        }
        let missing = missing(&result, chosen.images.classes());
        if !missing.is_empty() {
            let what = match result.multi_label {
                Some(_) => {
                    "labels, which count as 0 in macro F1, with what is said of them in micro F1, and not in mAP"
                }
                None => "classes, about which this says nothing",
            };
            notice::tell(format!(
                "no images of {} of the model's {} {what}: {}",
                missing.len(),
                model.num_classes(),
                first_few(&missing)
            ));
        }
        if self.json {
            return print_json(&document(&result, &chosen, &missing)?);
        }
        print_evaluation(&result, &chosen)
    }

    /// What `eval` has no use for is not overlooked.
    fn divides_nothing(&self) -> Result<()> {
        // The seed also chooses the images of a folder that --limit-test leaves.
        let data = self.data.data.as_ref().and_then(|_| self.data.folder());
        let chooses = self.data.limit_test.is_some() && data.is_some();
        let flags = [
            ("--valid-share", self.data.valid_share.is_some()),
            ("--split-seed", self.data.split_seed.is_some() && !chooses),
        ];
        if let Some((flag, _)) = flags.iter().find(|(_, given)| *given) {
            bail!(
                "{flag}: `eval` divides nothing: it takes all of --data, and a run's own images as \
                 the run divided them; leave {flag} away"
            );
        }
        Ok(())
    }

    /// Those that were asked for; unasked, those that a run was validated on.
    fn images(&self, model: &Classifier) -> Result<EvaluationImages> {
        let classes = &model.info().classes;
        let data = self.data.of_task(model.info().outputs.task, "the model")?;
        let run = run_of(&self.dir)?;
        if self.data.data.is_some() {
            let chosen = data.open_to_evaluate(classes, self.part)?;
            if let Some(own) = &run
                && trained_on(&own.images.data, &self.data, chosen.part)
            {
                notice::tell(format!(
                    "warning: the run was trained on images of {}, so that this is no test; \
                     without --data its validation images alone are judged",
                    self.data.name()
                ));
            }
            return Ok(chosen);
        }
        let Some(OfRun {
            dir,
            config,
            mut images,
        }) = run
        else {
            notice::tell(format!(
                "{} is no run that says what it was validated on, so {} is taken; --data names \
                 other images",
                self.dir.display(),
                self.data.name()
            ));
            return data.open_to_evaluate(classes, self.part);
        };
        let context = || format!("the images of the run {}", self.dir.display());
        images.data.skip_broken |= self.data.skip_broken;
        images.data.max_pixels = self.data.max_pixels.or(images.data.max_pixels);
        let mut splits = None;
        if images.data.folder().is_some() {
            let opened = images.open_to_judge(&dir, &config);
            splits = opened.with_context(context)?.splits;
            if self.data.verify {
                notice::tell("--verify: of a run's images, those that are judged are all decoded");
            }
        } else {
            images.data.verify |= self.data.verify;
        }
        images.data.limit_test = self.data.limit_test.or(images.data.limit_test);
        let limit_train = self.data.limit_test.or(images.limit_train);
        let own = images.data.part_of_run(splits, limit_train, self.part);
        own.with_context(context)
    }
}

/// A run and its images.
struct OfRun {
    dir: PathBuf,
    config: RunConfig,
    images: ImageArgs,
}

/// The run that a folder is, or that it is the best model or a checkpoint of.
fn run_of(dir: &Path) -> Result<Option<OfRun>> {
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_path_buf());
    let holds = |folder: &&Path| folder.join("config.toml").is_file();
    let Some(run) = dir.ancestors().take(3).find(holds) else {
        return Ok(None);
    };
    let config = match RunConfig::open(run) {
        Ok(config) => config,
        // Another program's file, above a folder that is no part of it.
        Err(_) if run != dir => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let images = ImageArgs::of_run(run, &config)?;
    Ok(Some(OfRun {
        dir: run.to_path_buf(),
        config,
        images,
    }))
}

/// Whether a run that was trained on `own` saw images of this part of `given`, as far as their names
/// tell.
fn trained_on(own: &source::DataArgs, given: &source::DataArgs, part: Option<Part>) -> bool {
    let is_training = |part: Option<Part>| matches!(part, None | Some(Part::Train));
    let place = |data: &source::DataArgs| fs::canonicalize(data.folder()?).ok();
    match (place(own), place(given)) {
        (Some(own), Some(given)) => given.strip_prefix(&own).is_ok_and(|below| {
            // The folder of a part, perhaps.
            let first = below.iter().next().and_then(|name| name.to_str());
            let folder = first.and_then(|name| name.parse().ok());
            is_training(part) && is_training(folder)
        }),
        _ => own.name() == given.name() && is_training(part),
    }
}

/// The images with labels by the names of the model's classes.
fn by_name(images: Arc<dyn ImageData>, model: &Classifier) -> Result<Arc<dyn ImageData>> {
    let classes = &model.info().classes;
    let own = images.classes();
    if classes.is_empty() {
        if own.len() != model.num_classes() {
            bail!(
                "--data: expected {} classes, since the model does not name its classes and they \
                 are matched by their order, found {}",
                model.num_classes(),
                own.len()
            );
        }
        notice::tell(
            "the model does not name its classes: those of --data are matched by their order",
        );
        return Ok(images);
    }
    match_classes(images, classes).map_err(|error| match error {
        Error::InvalidArgument {
            expected, found, ..
        } => anyhow!("--data: expected {expected}, found {found}"),
        error => error.into(),
    })
}

/// The classes that nothing was said about.
fn missing(result: &Evaluation, classes: &[String]) -> Vec<String> {
    if let Some(labels) = &result.multi_label {
        let labels = labels.per_class.iter().zip(classes);
        let missing = labels.filter(|(label, _)| label.positives == 0);
        return missing.map(|(_, name)| name.clone()).collect();
    }
    let missing = result.per_class.iter().filter(|class| class.images == 0);
    missing.map(|class| class.name.clone()).collect()
}

/// Some names as a person reads them.
fn first_few(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
