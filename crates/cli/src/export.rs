//! `export`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn_zoo::prelude::*;
use burn_zoo::train::RunConfig;
use burn_zoo::weights::Adapter;
use clap::{Args, ValueEnum};

use crate::model::warn_of;
use crate::model_folder::{model_folder, open};
use crate::output::print;

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
    /// The whole model, or what was trained of it by itself: a run with --adapt leaves an adapter, which
    /// peft opens if it is of lora
    #[arg(long, value_enum, default_value_t = Format::Model, conflicts_with = "half")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Model,
    Adapter,
}

impl ExportArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        if !self.overwrite && !is_free(&self.dir) {
            bail!(
                "{} exists already; pass --overwrite to write into it",
                self.dir.display()
            );
        }
        if self.format == Format::Adapter {
            return self.adapter(device);
        }
        let model = open(&self.run, device)?;
        let info = model.info();
        if let Some(licence) = &info.licence {
            let source = info.licence_source.as_deref();
            warn_of(licence, source, "the weights that it started from");
        }
        if self.half {
            model.export_half(&self.dir)?
        } else {
            model.export(&self.dir)?
        }
        let dir = self.dir.display();
        print(format!("{} -> {dir}", model_folder(&self.run)?.display()))?;
        match model.unknown_to_timm() {
            Some(difference) => print(format!("open it with burn-zoo: {difference}")),
            None => print(format!(
                "open it with timm.create_model(\"local-dir:{dir}\", pretrained=True)"
            )),
        }
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
        adapter.save(&self.dir)?;
        print(format!(
            "{} -> {}: {}, {} numbers with the head",
            from.display(),
            self.dir.display(),
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
