//! `lr-find`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn_zoo::prelude::*;
use burn_zoo::train::Sweep;
use clap::Args;

use crate::model::with_image_size;
use crate::output::{print, print_json};
use crate::progress::Stop;
use crate::recipe::{BatchSizeArg, RecipeArgs};
use crate::task::{ImageArgs, StartArgs, task};
use crate::{notice, progress};

#[derive(Args)]
pub struct LrFindArgs {
    /// An architecture (see `burn-zoo list`), arch.tag, hf-hub:OWNER/REPO or local-dir:DIR
    model: String,
    #[command(flatten)]
    images: ImageArgs,
    #[command(flatten)]
    start: StartArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// The first learning rate
    #[arg(long, value_name = "X", default_value_t = Sweep::default().start)]
    from: f64,
    /// The last learning rate
    #[arg(long, value_name = "X", default_value_t = Sweep::default().end)]
    to: f64,
    /// Steps in between
    #[arg(long, value_name = "N", default_value_t = Sweep::default().steps)]
    steps: usize,
    /// Where the curve is drawn [default: lr-find.svg, which is replaced]
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Replace the file of --plot
    #[arg(long)]
    overwrite: bool,
    /// Print one JSON document with every point
    #[arg(long)]
    json: bool,
}

impl LrFindArgs {
    pub fn run(self, device: Device) -> Result<()> {
        if let Some(BatchSizeArg::Auto) = self.recipe.batch_size {
            bail!("--batch-size: expected a number, since the rate depends on it; found auto");
        }
        let plot = self.plot()?;
        let (size, kind) = (self.start.options.image_size, self.images.data.task);
        let recipe = self.recipe.recipe(size, kind)?;
        let weights = self.start.weights.as_deref();
        let (options, choice) = (&self.start.options, &self.start.choice);
        let task = task(
            &self.model,
            &self.images,
            options,
            weights,
            choice,
            recipe,
            device,
        )?;
        let sweep = Sweep {
            start: self.from,
            end: self.to,
            steps: self.steps,
            skip_broken: self.images.data.skip_broken,
        };
        let stop = Stop::on_signal()?;
        let bar = progress::bar(sweep.steps, "learning rates");
        let found = task
            .recipe
            .find_learning_rate(&task.model, task.data.train, sweep, |step| {
                bar.set_position(step as u64);
                !stop.asked()
            })
            .map_err(with_image_size)?;
        bar.finish_and_clear();
        for image in &found.skipped {
            notice::tell(format!("left out: {}: {}", image.name, image.reason));
        }
        if self.json {
            print_json(&found)?;
            return Ok(found.write_plot(plot)?);
        }
        let suggestions = found.suggestions;
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        for (name, rate, what) in [
            (
                "valley",
                suggestions.valley,
                "in the longest fall; the usual choice",
            ),
            (
                "steepest",
                suggestions.steepest,
                "where the loss falls fastest",
            ),
            ("minimum", suggestions.minimum, "a tenth of the best rate"),
            ("slide", suggestions.slide, "before the curve turns"),
        ] {
            let rate = rate.map_or("-".to_owned(), |rate| format!("{rate:.2e}"));
            table.add_row([name, &rate, what]);
        }
        // What was computed is told, whatever becomes of the file.
        print(table)?;
        found.write_plot(plot)?;
        print(format!("curve: {}", plot.display()))
    }

    /// Where the curve goes: asked before anything is computed.
    fn plot(&self) -> Result<&Path> {
        let Some(path) = &self.plot else {
            return Ok(Path::new("lr-find.svg"));
        };
        let shown = path.display();
        let folder = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        if path.is_dir() || folder.is_some_and(|dir| !dir.is_dir()) {
            bail!("--plot: expected a file in a folder that exists, found {shown}");
        }
        if path.exists() && !self.overwrite {
            bail!("--plot: {shown} exists already; pass --overwrite to replace it");
        }
        Ok(path)
    }
}
