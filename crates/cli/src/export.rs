//! `export`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use burn_zoo::prelude::*;
use burn_zoo::train::RunConfig;
use burn_zoo::weights::Adapter;
use burn_zoo::{Error, ImageSize, OnnxSize};
use clap::{Args, ValueEnum};

use crate::model::warn_of;
use crate::model_folder::{model_folder, open, open_to_share};
use crate::notice;
use crate::output::print;
use crate::push::write_card;

#[derive(Args)]
pub struct ExportArgs {
    /// The folder of a run, or an exported one
    run: PathBuf,
    /// The folder to write, or a file whose name ends with .onnx
    #[arg(value_name = "DIR|FILE.onnx")]
    to: PathBuf,
    /// What to write: a folder that timm and burn-zoo open, or a network for ONNX runtimes (`model.onnx` in
    /// the folder) [default: onnx for a name that ends with .onnx, else folder]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Write over what is there already
    #[arg(long)]
    overwrite: bool,
    /// Write kernels and matrices as 16-bit numbers, in half the room
    #[arg(long)]
    half: bool,
    /// Size of the images that an ONNX network takes [default: what the model was trained with]
    #[arg(long, value_name = "N|HxW", conflicts_with = "dynamic_size")]
    image_size: Option<ImageSize>,
    /// The ONNX network takes images of any size that the model takes
    #[arg(long)]
    dynamic_size: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// `model.safetensors`, `config.json` and a model card
    Folder,
    /// One file, opset 18
    Onnx,
    /// What was trained by itself: a run with --adapt leaves an adapter, which peft opens if it is of lora
    Adapter,
}

impl Format {
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl ExportArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        let is_file = self.to.extension().is_some_and(|it| it == "onnx");
        let format = match self.format {
            Some(format @ (Format::Folder | Format::Adapter)) if is_file => bail!(
                "--format {}: {} is the name of a file; leave --format out, or name a folder",
                format.name(),
                self.to.display()
            ),
            Some(format) => format,
            None if is_file => Format::Onnx,
            None => Format::Folder,
        };
        let is_onnx = format == Format::Onnx;
        if format != Format::Folder && self.half {
            bail!(
                "--half: only with --format folder; {} has 32-bit numbers",
                format.name()
            );
        }
        for (flag, is_there) in [
            ("--image-size", self.image_size.is_some()),
            ("--dynamic-size", self.dynamic_size),
        ] {
            if is_there && !is_onnx {
                bail!("{flag}: only with --format onnx or a file whose name ends with .onnx");
            }
        }
        let to = match format {
            Format::Onnx if !is_file => self.to.join("model.onnx"),
            _ => self.to.clone(),
        };
        let is_free = if is_onnx { !to.exists() } else { is_free(&to) };
        if !self.overwrite && !is_free {
            bail!(
                "{} exists already; pass --overwrite to write into it",
                to.display()
            );
        }
        if format == Format::Adapter {
            return self.adapter(device);
        }
        let model = open_to_share(&self.run, device)?;
        let info = model.info();
        if let Some(licence) = &info.licence {
            let source = info.licence_source.as_deref();
            warn_of(licence, source, "the weights that it started from");
        }
        if format == Format::Folder {
            self.tell_of_lost_card();
        }
        match format {
            Format::Onnx => self.write_onnx(&model, &to)?,
            Format::Folder if self.half => model.export_half(&to)?,
            Format::Folder | Format::Adapter => model.export(&to)?,
        }
        if !is_onnx {
            write_card(&self.run, &model, &to)?;
        }
        let shown = to.display();
        print(format!("{} -> {shown}", model_folder(&self.run)?.display()))?;
        match model.unknown_to_timm() {
            _ if is_onnx => print(format!(
                "open it with onnxruntime.InferenceSession(\"{shown}\")"
            )),
            Some(difference) => print(format!("open it with burn-zoo: {difference}")),
            None if model.library() == "timm" => print(format!(
                "open it with timm.create_model(\"local-dir:{shown}\", pretrained=True)"
            )),
            None => print(format!(
                "open it with {}, as {shown}/README.md says",
                model.library()
            )),
        }
    }

    /// An exported folder knows its model; what its card tells of a run, the run's folder has.
    fn tell_of_lost_card(&self) {
        let card = self.run.join("README.md");
        let tells = std::fs::read_to_string(&card).is_ok_and(|card| card.contains("\n## "));
        if tells && !self.run.join("config.toml").exists() {
            notice::tell(format!(
                "{}: what it tells of results and training is not in the new one; export the run to have it",
                card.display()
            ));
        }
    }

    fn write_onnx(&self, model: &Classifier, file: &Path) -> Result<()> {
        if file != self.to {
            std::fs::create_dir_all(&self.to)
                .with_context(|| format!("cannot create {}", self.to.display()))?;
        }
        let (flag, size) = match self.image_size {
            Some(size) => ("--image-size: ", OnnxSize::Fixed(size)),
            None if self.dynamic_size => ("--dynamic-size: ", OnnxSize::Any),
            None => ("", OnnxSize::Own),
        };
        model.export_onnx(file, size).map_err(|error| match error {
            Error::InputShape { .. } | Error::InvalidArgument { .. } => {
                anyhow!("{flag}{error}")
            }
            // No size would change a full disk.
            error => error.into(),
        })
    }
}

impl ExportArgs {
    /// Writes what was trained of a model.
    fn adapter(&self, device: &Device) -> Result<()> {
        let from = model_folder(&self.run)?;
        let adapter = if Adapter::is_in(&from) {
            Adapter::open(&from)?
        } else {
            let adapt = if self.run.join("config.toml").is_file() {
                RunConfig::open(&self.run)?.recipe.adapt
            } else {
                Adapt::None
            };
            if adapt.is_none() {
                bail!(
                    "{}: the whole model was trained; expected a run with --adapt",
                    self.run.display()
                );
            }
            Adapter::of(&open(&self.run, device)?, adapt)?
        };
        adapter.save(&self.to)?;
        print(format!(
            "{} -> {}: {}, {} numbers with the head",
            from.display(),
            self.to.display(),
            adapter.adapt,
            adapter.num_parameters()
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
