//! `predict`.

mod inputs;
mod output;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use burn_zoo::prelude::*;
use burn_zoo::preprocess::DecodeOptions;
use burn_zoo::preprocess::augment::Views;
use burn_zoo::train::PredictOptions;
use burn_zoo::{ImageSize, InputSize};
use clap::Args;
use serde_json::json;

use self::inputs::{Input, gather};
use self::output::{Columns, File, Output, Row, Screen};
use crate::flags::{Choice, count, positive};
use crate::model::{WeightsArgs, build, chosen, names_weights, with_image_size};
use crate::output::{Stopped, print, print_json};
use crate::progress::{self, Stop};
use crate::{model_folder, notice};

#[derive(Args)]
pub struct PredictArgs {
    /// The folder of a run or of an exported model, an architecture, arch.tag, hf-hub:OWNER/REPO
    model: String,
    /// Images: files, folders with all below them, and patterns such as 'photos/*.jpg'. Files are
    /// PNG, JPEG, WebP, GIF, BMP or TIFF, whatever their name; in folders the names tell
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// hub, hub:TAG or a file; needed with an architecture that names no weights
    #[arg(long, value_name = "hub[:TAG]|FILE")]
    weights: Option<String>,
    #[command(flatten)]
    choice: WeightsArgs,
    /// The images in pixels: a side, or height and width as 96x64 [default: that of the training]
    #[arg(long, value_name = "N|HxW")]
    image_size: Option<ImageSize>,
    /// Average over several views of each image
    #[arg(long, value_name = "VIEWS", default_value_t,
        value_parser = Choice::<Views>::of(Views::names()))]
    tta: Views,
    /// How many classes to show [default: 5]
    #[arg(long, value_name = "K", value_parser = positive)]
    top_k: Option<usize>,
    /// Images that go through the model at once; fewer where they are very large
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = count::<65_536>)]
    batch_size: usize,
    /// Threads that read images ahead; 0 for none [default: half of the machine's, 8 at most]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=256))]
    workers: Option<u16>,
    /// Pixels of the largest image that is decoded [default: Pillow's 178956970]
    #[arg(long, value_name = "N")]
    max_pixels: Option<u64>,
    /// Write the results into a file: FILE.csv, or FILE.jsonl with one JSON object a line
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace an old file of that name
    #[arg(long, requires = "output")]
    overwrite: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Classes shown unasked.
const TOP_K: usize = 5;

impl PredictArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        if let Some(path) = &self.output {
            output::check(path, self.overwrite)?;
        }
        let spec = self.spec()?;
        let inputs = gather(&self.images)?;
        let model = build(&spec, device)?;
        let image_size = self.image_size(&model);
        if let Some(size) = image_size {
            model.check_image_size(size).map_err(with_image_size)?;
        }
        let top_k = self.top_k(&model);
        let options = PredictOptions {
            image_size,
            top_k,
            views: self.tta,
            batch_size: self.batch_size,
            workers: self.workers.map_or_else(progress::workers, usize::from),
            decode: self.decode(),
        };
        let names = &model.info().classes;
        let task = model.info().outputs.task;
        if names.is_empty() && model.num_classes() > 0 {
            notice::tell("the model does not name its classes; they are shown by number");
        }
        let mut output = match &self.output {
            Some(path) => {
                let columns = columns(&model, top_k);
                columns.check(path, names)?;
                let file = File::create(path, self.overwrite, columns)?;
                Output::File(Box::new(file))
            }
            None if self.json => Output::Document(Vec::new()),
            None => Output::Screen(Screen::new(
                task,
                inputs.iter().map(|input| input.path.as_path()),
                names.iter().map(String::as_str),
            )),
        };
        let total = inputs.len();
        let broken = predict(&model, inputs, options, &mut output)?;
        match output {
            Output::File(file) => file.finish()?,
            Output::Screen(_) => {}
            Output::Document(images) => print_json(&json!({
                "images": images,
                "classes": names,
                "images_read": total - broken,
                "images_broken": broken,
            }))?,
        }
        if let Some(path) = &self.output {
            if self.json {
                print_json(&json!({
                    "output": path.to_string_lossy(),
                    "classes": names,
                    "images_read": total - broken,
                    "images_broken": broken,
                }))?
            } else {
                print(format!("{} images -> {}", total - broken, path.display()))?
            }
        }
        match broken {
            0 => Ok(()),
            broken => bail!("{broken} of {total} images have no prediction; their rows say why"),
        }
    }

    fn decode(&self) -> DecodeOptions {
        let default = DecodeOptions::default();
        DecodeOptions {
            max_pixels: self.max_pixels.unwrap_or(default.max_pixels),
            ..default
        }
    }

    fn spec(&self) -> Result<Spec> {
        let weights = self.weights.as_deref();
        let mut spec = match model_folder::folder_of(&self.model) {
            Some(_) if weights.is_some() => {
                bail!("--weights: {} has weights of its own", self.model)
            }
            Some(_) if !self.choice.is_empty() => {
                bail!("--weights-key and --weights-prefix: only with --weights FILE")
            }
            Some(dir) => model_folder::spec_of(dir)?,
            None => chosen(&self.model, weights, 0)?,
        };
        if weights.is_none() && !names_weights(&self.model) {
            bail!("--weights: expected hub, hub:TAG or a file, found nothing");
        }
        if let Some(size) = self.image_size {
            spec = spec.image_size(size);
        }
        Ok(self.choice.choose(spec))
    }

    /// The size that images are brought to.
    fn image_size(&self, model: &Classifier) -> Option<ImageSize> {
        let fixed = match model.backbone.describe().input_size {
            InputSize::Exactly(size) => Some(size.into()),
            _ => None,
        };
        let size = self.image_size.or(model.info().image_size).or(fixed);
        if size.is_none() {
            notice::tell(
                "nothing says which size the model was trained at; each image is classified at its \
                 own; --image-size brings all of them to one",
            );
        }
        size
    }

    fn top_k(&self, model: &Classifier) -> usize {
        let classes = model.num_classes();
        let task = model.info().outputs.task;
        if task != Task::SingleLabel && self.top_k.is_some() {
            notice::tell(format!(
                "--top-k: of a {task} model all that an image has is shown"
            ));
        }
        if let Some(asked) = self.top_k.filter(|asked| *asked > classes) {
            notice::tell(format!("--top-k {asked}: the model has {classes} classes"));
        }
        self.top_k.unwrap_or(TOP_K).min(classes)
    }
}

/// The columns of a table of what a model says.
fn columns(model: &Classifier, top_k: usize) -> Columns {
    match model.info().outputs.task {
        Task::SingleLabel => Columns::Best(top_k),
        Task::MultiLabel => Columns::Labels,
        Task::Regression => Columns::Numbers(match &model.info().classes[..] {
            [] => (0..model.num_classes())
                .map(|index| format!("value_{index}"))
                .collect(),
            names => names.to_vec(),
        }),
    }
}

/// Writes a row for each input, and counts those that could not be read.
fn predict(
    model: &Classifier,
    inputs: Vec<Input>,
    options: PredictOptions,
    output: &mut Output,
) -> Result<usize> {
    let files = inputs.iter().filter(|input| input.fault.is_none());
    let files: Vec<PathBuf> = files.map(|input| input.path.clone()).collect();
    let bar = progress::bar(inputs.len(), "images");
    let stop = Stop::on_signal()?;
    let began = Instant::now();
    let mut predictions = model.predict_files(files, options)?;
    let total = inputs.len();
    let mut broken = 0;
    for (done, input) in inputs.into_iter().enumerate() {
        if stop.asked() {
            return Err(Stopped(format!("interrupted after {done} of {total} images")).into());
        }
        let result = match input.fault {
            Some(fault) => Err(fault),
            // There is one for each file.
            None => match predictions.next() {
                Some(file) => file.result.map_err(|error| error.without_path()),
                None => bail!("{}: no prediction was made", input.path.display()),
            },
        };
        broken += usize::from(result.is_err());
        let path = burn_zoo::path_text(&input.path);
        let row = Row { path, result };
        bar.suspend(|| output.write(&row))?;
        let rate = (done + 1) as f64 / began.elapsed().as_secs_f64();
        bar.set_message(format!("{rate:.0} images/s"));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(broken)
}
