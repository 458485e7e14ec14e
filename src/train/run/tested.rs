//! How the chosen model does on images by which nothing was chosen: `test.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::config::RunConfig;
use super::finished::Run;
use super::layout::TEST;
use crate::data::{ImageData, Loader, LoaderConfig};
use crate::error::{Error, Result};
use crate::files::write_file;
use crate::infer::is_nan;
use crate::train::classes::check_same_classes;
use crate::train::epoch_record::{metrics_in_words, named, nan};

/// `test.json`: how the best epoch's model does on a test set, by which nothing was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestRecord {
    /// The epoch of the model, counted from 1.
    pub epoch: usize,
    /// Mean loss over the test images.
    pub test_loss: f64,
    /// Share of test images that were recognised, in 0..1; NaN and not in the file where an image has
    /// not one class, as the other accuracies.
    #[serde(default = "nan", skip_serializing_if = "is_nan")]
    pub test_accuracy: f64,
    /// Share of test images whose class was among the best five, in 0..1.
    #[serde(default = "nan", skip_serializing_if = "is_nan")]
    pub test_top5_accuracy: f64,
    /// Mean over the classes of the share that was recognised, in 0..1.
    #[serde(default = "nan", skip_serializing_if = "is_nan")]
    pub test_balanced_accuracy: f64,
    /// The figures of a task other than one label, such as `test_map`; labels by the model's thresholds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// Images that were judged.
    pub test_images: usize,
    /// Images that were left out because they could not be read.
    pub skipped_images: usize,
}

impl Run {
    /// Judges the best epoch's model on a test set, and writes `test.json` into the run folder, from
    /// which the report has it.
    ///
    /// The figure is honest as long as nothing is chosen by it: not the epoch, not the recipe, not
    /// the model. With `skip_broken`, images that cannot be read are left out and counted.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the images have other classes than the run's, if no image is left,
    /// or if the model's scores are not numbers; and whatever reading images and writing the file
    /// meets.
    pub fn test(&self, test: Arc<dyn ImageData>, skip_broken: bool) -> Result<TestRecord> {
        let RunConfig { recipe, data, .. } = RunConfig::open(&self.dir)?;
        // A run whose model has more classes than its data may know no names.
        if !data.classes.is_empty() {
            check_same_classes("test data", &data.classes, test.classes())?;
        }
        let none = || Error::argument("test data", "at least one image", "none");
        if test.is_empty() {
            return Err(none());
        }
        // As it was validated.
        let loader = Loader::new(
            test,
            self.model.preprocess(self.model.info().image_size),
            LoaderConfig {
                batch_size: recipe.batch_size,
                workers: recipe.workers,
                skip_broken,
                ..LoaderConfig::default()
            },
            &self.model.device(),
        )?;
        let evaluation = self
            .model
            .evaluate_while(&loader, recipe.precision, |_| true)?
            .ok_or_else(none)?;
        if !evaluation.loss.is_finite() {
            return Err(crate::infer::no_numbers("scores"));
        }
        let record = TestRecord {
            epoch: self.best().epoch,
            test_loss: evaluation.loss,
            test_accuracy: evaluation.accuracy,
            test_top5_accuracy: evaluation.top5_accuracy,
            test_balanced_accuracy: evaluation.balanced_accuracy(),
            metrics: named(evaluation.metrics(), "test"),
            test_images: evaluation.images,
            skipped_images: loader.broken().len(),
        };
        let mut text = serde_json::to_string(&record)
            .map_err(|error| Error::argument(TEST, "values that JSON can hold", error))?;
        text.push('\n');
        write_file(&self.dir.join(TEST), text.as_bytes())?;
        Ok(record)
    }
}

impl fmt::Display for TestRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "test ")?;
        if !self.test_accuracy.is_nan() {
            write!(f, "accuracy {:.1} %, ", 100.0 * self.test_accuracy)?;
        }
        for (name, value) in metrics_in_words(&self.metrics) {
            write!(f, "{name} {value:.3}, ")?;
        }
        let (loss, images) = (self.test_loss, self.test_images);
        write!(f, "loss {loss:.3} over {images} images")?;
        match self.skipped_images {
            0 => Ok(()),
            skipped => write!(f, "; left out: {skipped} that could not be read"),
        }
    }
}
