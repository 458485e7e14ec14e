//! A finished run.

use std::path::{Path, PathBuf};

use crate::model::Classifier;
use crate::train::epoch_record::{EpochRecord, SkippedImage};

/// A finished run, and the folder it wrote:
///
/// | name | what |
/// |---|---|
/// | `config.toml` | model, data and recipe, everything resolved |
/// | `log.jsonl`, `log.csv` | a line for each epoch: [`EpochRecord`] |
/// | `steps.csv` | a line for every tenth step, the first of each epoch, and those after a change of what is frozen: loss, rates, norm of the gradients |
/// | `classes.txt` | the classes' names |
/// | `skipped.jsonl` | the images that were left out because they could not be read: [`SkippedImage`] |
/// | `test.json` | how the best epoch's model does on a test set, once [`test`](Self::test) was asked for it: [`TestRecord`](crate::train::TestRecord) |
/// | `best/` | the model after the best epoch, as [`Classifier::export`] writes it |
/// | `checkpoints/` | what the run needs to go on |
#[derive(Debug)]
pub struct Run {
    pub(super) dir: PathBuf,
    pub(super) epochs: Vec<EpochRecord>,
    pub(super) best: usize,
    pub(super) model: Classifier,
    pub(super) skipped: Vec<SkippedImage>,
}

impl Run {
    /// The run folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every epoch, in order.
    pub fn epochs(&self) -> &[EpochRecord] {
        &self.epochs
    }

    /// The best epoch by the recipe's metric; the earlier of equals.
    pub fn best(&self) -> &EpochRecord {
        // There is at least one epoch, and `best` is an index into them: see `RunFolder::finish`.
        &self.epochs[self.best]
    }

    /// The images that were left out because they could not be read.
    pub fn skipped_images(&self) -> &[SkippedImage] {
        &self.skipped
    }

    /// The model as it was after the best epoch, ready for inference.
    pub fn model(&self) -> &Classifier {
        &self.model
    }
}
