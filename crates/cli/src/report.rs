//! `report`.

use std::path::PathBuf;

use anyhow::Result;
use burn_zoo::Error;
use burn_zoo::prelude::*;
use burn_zoo::report::Report;
use burn_zoo::train::RunConfig;
use clap::Args;

use crate::model_folder::open;
use crate::output::print;
use crate::task::ImageArgs;
use crate::{notice, progress};

#[derive(Args)]
pub struct ReportArgs {
    /// The folder of a run
    run: PathBuf,
    /// Leave out images that cannot be read, instead of stopping
    #[arg(long)]
    skip_broken: bool,
}

impl ReportArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        let config = RunConfig::open(&self.run)?;
        let mut images = ImageArgs::of_run(&self.run, &config)?;
        images.data.skip_broken |= self.skip_broken;
        let data = images.open_to_judge(&self.run, &config)?;
        let model = open(&self.run, device)?;
        let of = data.valid.len();
        let skip = images.data.skip_broken;
        let made = progress::report(|| {
            let (report, left_out) =
                Report::of_run_but_broken(&self.run, &model, data.valid, skip)?;
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
