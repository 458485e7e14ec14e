//! The names of what a run folder holds.

use std::path::Path;

/// A line for each epoch.
pub(super) const LOG: &str = "log.jsonl";
/// A line for every tenth step.
pub(super) const STEPS: &str = "steps.csv";
/// A line for each image that was left out.
pub(super) const SKIPPED: &str = "skipped.jsonl";
/// How the best model does on a test set.
pub(super) const TEST: &str = "test.json";
/// The configuration.
pub(super) const CONFIG: &str = "config.toml";
/// The folder of the best model.
pub(super) const BEST: &str = "best";
/// Where an old run waits until the new one has a checkpoint.
pub(super) const PREVIOUS: &str = ".previous";

/// Whether a folder holds a run: another program's `config.toml` does not say what ours says.
pub(super) fn is_run(dir: &Path) -> bool {
    let text = std::fs::read_to_string(dir.join(CONFIG)).unwrap_or_default();
    let config: Option<toml::Table> = text.parse().ok();
    config.is_some_and(|config| config.contains_key("burn_zoo"))
}
