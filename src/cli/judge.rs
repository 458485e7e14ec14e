//! `eval`, `predict` and `export`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn_zoo::data::{Loader, LoaderConfig};
use burn_zoo::prelude::*;
use burn_zoo::preprocess::Image;
use burn_zoo::train::Evaluation;
use clap::Args;
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::json;

use super::{count, model_folder, open, pixels, positive, print, print_json, source};

#[derive(Args)]
pub struct EvalArgs {
    /// The folder of a run or of an exported model
    dir: PathBuf,
    /// fashion-mnist, fashion-mnist-mini, or a folder with FashionMNIST's files
    #[arg(long, default_value = "fashion-mnist-mini", value_parser = source::name)]
    data: String,
    /// Images in a batch
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = count::<65_536>)]
    batch_size: usize,
    /// Side of the images in pixels [default: that of the training]
    #[arg(long, value_name = "N", value_parser = pixels)]
    image_size: Option<usize>,
    /// Look at the first N test images only
    #[arg(long, value_name = "N", value_parser = positive)]
    limit_test: Option<usize>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl EvalArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        let model = open(&self.dir, device)?;
        let data = source::open(&self.data, None, self.limit_test)?;
        let names = &model.info().classes;
        if !names.is_empty() && names != data.test.classes() {
            bail!(
                "--data: expected the classes {names:?}, found {:?}",
                data.test.classes()
            );
        }
        let size = self.image_size.or(model.info().image_size);
        let preprocess = Preprocess::new(size, model.info().normalization.clone());
        let config = LoaderConfig {
            batch_size: self.batch_size,
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

#[derive(Args)]
pub struct PredictArgs {
    /// The folder of a run or of an exported model
    dir: PathBuf,
    /// PNG or JPEG files
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// How many classes to show
    #[arg(long, default_value_t = 5, value_name = "K", value_parser = positive)]
    top_k: usize,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl PredictArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        let model = open(&self.dir, device)?;
        let size = model.info().image_size;
        let mut results = Vec::new();
        for path in &self.images {
            let image = Image::open(path)?;
            results.push((path, model.predict(&image, size, self.top_k)?));
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

#[derive(Args)]
pub struct ExportArgs {
    /// The folder of a run
    run: PathBuf,
    /// The folder to write
    dir: PathBuf,
    /// Write into a folder that is there already
    #[arg(long)]
    overwrite: bool,
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
        model.export(&self.dir)?;
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
