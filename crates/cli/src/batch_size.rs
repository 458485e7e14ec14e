//! `--batch-size auto`.

use anyhow::Result;
use burn_zoo::nn::Precision;
use burn_zoo::prelude::Recipe;
use burn_zoo::train::BatchSearch;

use crate::list::table;
use crate::notice;
use crate::task::Task;

/// Finds the largest batch that fits; `gib` are those that the process may take.
pub fn find(task: &mut Task, gib: Option<f64>, skip_broken: bool) -> Result<()> {
    let budget = gib.map(|gib| (gib * (1u64 << 30) as f64) as u64);
    let search = BatchSearch {
        budget,
        skip_broken,
        ..BatchSearch::default()
    };
    let found =
        task.recipe
            .find_batch_size(&task.model, task.data.train.clone(), search, |trial| {
                // The next trial is measured without what this one held.
                crate::allocator::give_back();
                let peak = trial.peak.map_or("unknown".to_owned(), |bytes| {
                    format!("{:.2} GiB", bytes as f64 / (1u64 << 30) as f64)
                });
                let verdict = if trial.fits { "fits" } else { "too much" };
                notice::say(format_args!(
                    "batch size {:>5}: {peak}, {verdict}",
                    trial.batch_size
                ));
            })?;
    notice::say(format_args!("batch size: {found}"));
    task.recipe.batch_size = found;
    propose_savings(task)
}

/// Says what would need less memory, and how much less.
fn propose_savings(task: &Task) -> Result<()> {
    let recipe = &task.recipe;
    let memory_use = |recipe: &Recipe| {
        let between = crate::allocator::give_back;
        recipe.memory_use(&task.model, task.data.train.clone(), false, between)
    };
    let whole = memory_use(recipe)?;
    let (Some(all), Some(kept)) = (whole.predicted, whole.activations) else {
        return Ok(());
    };
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut rows = table(["what would need less", "saves", "of"]);
    let mut row = |flag: String, saved: u64| {
        rows.add_row([
            flag,
            format!("{:.0} MiB", mebibytes(saved)),
            format!("{:.0} MiB", mebibytes(all)),
        ]);
    };
    if recipe.batch_size > 1 {
        let half = recipe.batch_size / 2;
        let times = recipe.effective_batch().div_ceil(half);
        let flags = format!("--batch-size {half} --accumulate {times}, the same images a step");
        row(flags, kept - kept * half as u64 / recipe.batch_size as u64);
    }
    if !recipe.gradient_checkpointing {
        let less = memory_use(&recipe.clone().gradient_checkpointing(true))?;
        let saved = less.predicted.map_or(0, |less| all.saturating_sub(less));
        row("--gradient-checkpointing, measured".to_owned(), saved);
    }
    if recipe.precision == Precision::F32 {
        row(
            "--precision bf16, on a device that computes in it".to_owned(),
            kept / 2,
        );
    }
    notice::say(rows);
    Ok(())
}
