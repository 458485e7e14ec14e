//! `eval`, `report` and `export`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn_zoo::data::{Loader, LoaderConfig};
use burn_zoo::prelude::*;
use burn_zoo::preprocess::augment::Views;
#[cfg(feature = "plots")]
use burn_zoo::report::Report;
use burn_zoo::train::{Evaluation, RunConfig};
use clap::Args;
use comfy_table::{Cell, CellAlignment, Table, presets};

use super::{count, model_folder, open, pixels, print, print_json, source};

#[derive(Args)]
pub struct EvalArgs {
    /// The folder of a run or of an exported model
    dir: PathBuf,
    #[command(flatten)]
    data: source::DataArgs,
    /// Images in a batch
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = count::<65_536>)]
    batch_size: usize,
    /// Side of the images in pixels [default: that of the training]
    #[arg(long, value_name = "N", value_parser = pixels)]
    image_size: Option<usize>,
    /// Average over several views of each image: one, flip, five-crop or ten-crop
    #[arg(long, value_name = "VIEWS", default_value_t)]
    tta: Views,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl EvalArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        let model = open(&self.dir, device)?;
        let data = self.images()?;
        let names = &model.info().classes;
        if !names.is_empty() && names != data.test.classes() {
            bail!(
                "--data: expected the classes {names:?}, found {:?}",
                data.test.classes()
            );
        }
        let size = self.image_size.or(model.info().image_size);
        let preprocess = model.preprocess(size);
        let config = LoaderConfig {
            batch_size: self.batch_size,
            views: self.tta,
            ..LoaderConfig::default()
        };
        let loader = Loader::new(data.test, preprocess, config, device)?;
        let result = model.evaluate(&loader)?;
        if self.json {
            return print_json(&result);
        }
        print_evaluation(&result)
    }
}

impl EvalArgs {
    /// Those that were asked for; unasked, those that a run was validated on.
    fn images(&self) -> Result<source::Data> {
        match RunConfig::open(&self.dir) {
            Ok(config) if self.data.data.is_none() => {
                let mut images = super::task::ImageArgs::of_run(&self.dir, &config)?;
                images.data.limit_test = self.data.limit_test.or(images.data.limit_test);
                images.open()
            }
            _ => self.data.open(None),
        }
    }
}

fn print_evaluation(result: &Evaluation) -> Result<()> {
    print(format!(
        "accuracy {:.2} %, top-5 {:.2} %, loss {:.4} over {} images\n",
        100.0 * result.accuracy,
        100.0 * result.top5_accuracy,
        result.loss,
        result.images
    ))?;
    if result.confusion.is_empty() {
        return Ok(());
    }
    print("Rows are the true classes, columns what the model said.")?;
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let numbers = (0..result.per_class.len()).map(|class| class.to_string());
    let header = ["class".to_owned(), "accuracy".to_owned()];
    table.set_header(header.into_iter().chain(numbers));
    for (index, (class, row)) in result.per_class.iter().zip(&result.confusion).enumerate() {
        let counts = row.iter().map(|n| match n {
            0 => String::new(),
            n => n.to_string(),
        });
        let share = format!("{:.1} %", 100.0 * class.accuracy);
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let cells = [share].into_iter().chain(counts).map(right);
        table.add_row(
            [Cell::new(format!("{index} {}", class.name))]
                .into_iter()
                .chain(cells),
        );
    }
    print(table)
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
            model_folder(&self.run)?.display(),
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
