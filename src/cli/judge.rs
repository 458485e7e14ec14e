//! `report` and `export`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
#[cfg(feature = "plots")]
use burn_zoo::Error;
use burn_zoo::prelude::*;
#[cfg(feature = "plots")]
use burn_zoo::report::Report;
#[cfg(feature = "plots")]
use burn_zoo::train::RunConfig;
use clap::Args;

#[cfg(feature = "plots")]
use super::notice;
use super::{model_folder, open, print};

#[cfg(feature = "plots")]
#[derive(Args)]
pub struct ReportArgs {
    /// The folder of a run
    run: PathBuf,
    /// Leave out images that cannot be read, instead of stopping
    #[arg(long)]
    skip_broken: bool,
}

#[cfg(feature = "plots")]
impl ReportArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        let config = RunConfig::open(&self.run)?;
        let mut images = super::task::ImageArgs::of_run(&self.run, &config)?;
        images.data.skip_broken |= self.skip_broken;
        let data = images.open_to_judge(&self.run, &config)?;
        let model = open(&self.run, device)?;
        let of = data.test.len();
        let skip = images.data.skip_broken;
        let made = super::progress::report(|| {
            let (report, left_out) = Report::of_run_but_broken(&self.run, &model, data.test, skip)?;
            Ok((report.write(&self.run)?, left_out))
        });
        let (page, left_out) = made.map_err(|error| match error {
            Error::Image { .. } => images.data.with_skip_broken(error),
            error => error.into(),
        })?;
        for image in &left_out {
            notice::tell(format!(
                "left out of the report: {}: {}",
                image.name, image.reason
            ));
        }
        if !left_out.is_empty() {
            let judged = of.saturating_sub(left_out.len());
            notice::tell(format!("{judged} of {of} images are judged"));
        }
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
