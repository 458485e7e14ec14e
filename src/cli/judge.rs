//! `predict`, `report` and `export`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn_zoo::prelude::*;
use burn_zoo::preprocess::Image;
use burn_zoo::preprocess::augment::Views;
#[cfg(feature = "plots")]
use burn_zoo::report::Report;
#[cfg(feature = "plots")]
use burn_zoo::train::RunConfig;
use clap::Args;
use serde_json::json;

use super::{
    WeightsArgs, build, chosen, is_folder, model_folder, names_weights, open, pixels, positive, print,
    print_json,
};

#[derive(Args)]
pub struct PredictArgs {
    /// The folder of a run or of an exported model, an architecture, arch.tag, hf-hub:OWNER/REPO
    model: String,
    /// Image files: PNG, JPEG, WebP, GIF, BMP or TIFF
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// hub, hub:TAG or a file; needed with an architecture that names no weights
    #[arg(long, value_name = "hub[:TAG]|FILE")]
    weights: Option<String>,
    #[command(flatten)]
    choice: WeightsArgs,
    /// Side of the images in pixels [default: that of the training]
    #[arg(long, value_name = "N", value_parser = pixels)]
    image_size: Option<usize>,
    /// Average over several views of each image: one, flip, five-crop or ten-crop
    #[arg(long, value_name = "VIEWS", default_value_t)]
    tta: Views,
    /// How many classes to show
    #[arg(long, default_value_t = 5, value_name = "K", value_parser = positive)]
    top_k: usize,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl PredictArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        let model = self.model(device)?;
        let size = self.image_size.or(model.info().image_size);
        let mut results = Vec::new();
        for path in &self.images {
            let image = Image::open(path)?;
            results.push((
                path,
                model.predict_views(&image, size, self.top_k, self.tta)?,
            ));
        }
        if self.json {
            let documents: Vec<_> = results
                .iter()
                .map(|(path, predictions)| json!({ "image": path, "predictions": predictions }))
                .collect();
            return print_json(&documents);
        }
        for (path, predictions) in results {
            print(path.display())?;
            for p in predictions {
                print(format!("  {:>6.2} %  {}", 100.0 * p.probability, p.name))?;
            }
        }
        Ok(())
    }
}

impl PredictArgs {
    fn model(&self, device: &Device) -> Result<Classifier> {
        let weights = self.weights.as_deref();
        if is_folder(&self.model) {
            if weights.is_some() {
                bail!("--weights: {} has weights of its own", self.model);
            }
            if !self.choice.is_empty() {
                bail!("--weights-key and --weights-prefix: only with --weights FILE");
            }
            return open(Path::new(&self.model), device);
        }
        let mut spec = chosen(&self.model, weights, 0)?;
        if weights.is_none() && !names_weights(&self.model) {
            bail!("--weights: expected hub, hub:TAG or a file, found nothing");
        }
        if let Some(size) = self.image_size {
            spec = spec.image_size(size);
        }
        build(&self.choice.choose(spec), device)
    }
}

#[cfg(feature = "plots")]
#[derive(Args)]
pub struct ReportArgs {
    /// The folder of a run
    run: PathBuf,
}

#[cfg(feature = "plots")]
impl ReportArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        let config = RunConfig::open(&self.run)?;
        let data = super::task::ImageArgs::of_run(&self.run, &config)?.open()?;
        let model = open(&self.run, device)?;
        let page = super::progress::report(|| {
            Report::of_run(&self.run, &model, data.test).and_then(|report| report.write(&self.run))
        })?;
        print(page.display())
    }
}

#[derive(Args)]
pub struct ExportArgs {
    /// The folder of a run
    run: PathBuf,
    /// The folder to write
    dir: PathBuf,
    /// Write into a folder that is there already
    #[arg(long)]
    overwrite: bool,
    /// Write kernels and matrices as 16-bit numbers, in half the room
    #[arg(long)]
    half: bool,
}

impl ExportArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        let model = open(&self.run, device)?;
        if !self.overwrite && !is_free(&self.dir) {
            bail!(
                "{} exists already; pass --overwrite to write into it",
                self.dir.display()
            );
        }
        match self.half {
            true => model.export_half(&self.dir)?,
            false => model.export(&self.dir)?,
        }
        print(format!(
            "{} -> {}\nopen it with timm.create_model(\"local-dir:{}\", pretrained=True)",
            model_folder(&self.run).display(),
            self.dir.display(),
            self.dir.display()
        ))
    }
}

/// Whether nothing would be overwritten there.
fn is_free(dir: &Path) -> bool {
    match dir.read_dir() {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => !dir.exists(),
    }
}
