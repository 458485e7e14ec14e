//! `export`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn_zoo::prelude::*;
use clap::Args;

use crate::model::warn_of;
use crate::model_folder::{model_folder, open};
use crate::output::print;
use crate::push::write_card;

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
        write_card(&self.run, &model, &self.dir)?;
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

/// Whether nothing would be overwritten there.
fn is_free(dir: &Path) -> bool {
    match dir.read_dir() {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => !dir.exists(),
    }
}
