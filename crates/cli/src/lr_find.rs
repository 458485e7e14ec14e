//! `lr-find`.

use std::path::PathBuf;

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
    /// Where the curve is drawn
    #[arg(long, value_name = "FILE.svg", default_value = "lr-find.svg")]
    plot: PathBuf,
    /// Print one JSON document with every point
    #[arg(long)]
    json: bool,
}

impl LrFindArgs {
    pub fn run(self, device: Device) -> Result<()> {
        if let Some(BatchSizeArg::Auto) = self.recipe.batch_size {
            bail!("--batch-size: expected a number, since the rate depends on it; found auto");
        }
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
        found.write_plot(&self.plot)?;
        if self.json {
            return print_json(&found);
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
        print(table)?;
        print(format!("curve: {}", self.plot.display()))?;
        Ok(())
    }
}
