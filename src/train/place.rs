//! A run with a model that is cut over devices.

use burn::tensor::Device;

use super::setup::Setup;
use crate::error::{Error, Result};
use crate::model::Classifier;

/// How a model is cut over devices in a run: see [`Classifier::place`].
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// Groups (`stem..stage2`, `head`) and the device that they go to; nothing leaves the model where
    /// it is.
    pub parts: Vec<(String, Device)>,
    /// Parts of each batch that go through the devices one after the other, so that all are busy
    /// (GPipe). Batch normalisations normalise each by itself. 0 and 1 are whole batches.
    pub micro_batches: usize,
}

impl Place {
    /// Cuts a model.
    pub(super) fn apply(&self, model: Classifier) -> Result<Classifier> {
        if self.parts.is_empty() {
            return Ok(model);
        }
        let parts: Vec<(&str, Device)> = self
            .parts
            .iter()
            .map(|(groups, device)| (groups.as_str(), device.clone()))
            .collect();
        model.place(&parts)
    }

    /// Checks it against the rest of a run, and tells the run of it.
    pub(super) fn prepare(&self, setup: &mut Setup) -> Result<()> {
        let cuts = self.micro_batches > 1;
        if cuts && self.parts.len() < 2 {
            let expected = "1, where the model is not cut over devices (`place`)";
            return Err(Error::argument(
                "micro_batches",
                expected,
                self.micro_batches,
            ));
        }
        if self.micro_batches > setup.recipe.batch_size {
            let expected = format!("at most the batch size, {}", setup.recipe.batch_size);
            return Err(Error::argument(
                "micro_batches",
                expected,
                self.micro_batches,
            ));
        }
        if !self.parts.is_empty() && !setup.group.is_alone() {
            let expected = "one rank, where a model is cut over devices";
            return Err(Error::argument("place", expected, setup.group.size()));
        }
        setup.micro_batches = self.micro_batches.max(1);
        Ok(())
    }
}
