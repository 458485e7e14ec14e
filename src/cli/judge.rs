//! `report` and `export`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn_zoo::prelude::*;
#[cfg(feature = "plots")]
use burn_zoo::report::Report;
#[cfg(feature = "plots")]
use burn_zoo::train::RunConfig;
use clap::Args;

use super::{model_folder, open, print};

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
