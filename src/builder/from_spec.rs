//! From a spec to a model.

use std::path::Path;

use burn::tensor::Device;

use super::resolve::{bundled, resolve};
use super::spec::{IMAGENET_CLASSES, Spec};
use super::stem::StemRule;
use crate::error::{Error, Result};
use crate::model::{Classifier, in_head, params};
use crate::weights::{Weights, WeightsFile};

impl Spec {
    /// Builds the model on a device. On one with autodiff it is ready to train.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a parameter out of range or weights that were not chosen;
    /// [`Error::Io`], [`Error::WeightsFormat`], [`Error::NonFinite`] for a file that cannot be
    /// used; [`Error::WeightsMismatch`] if any tensor is missing, left over, or of another shape or
    /// type, but for the first convolution and the head where the spec asks for others, and for
    /// what is outside of the key and the prefix under which the model is found. What was taken and
    /// what was left out is in the model's [`load_report`](Classifier::load_report).
    pub fn build(&self, device: &Device) -> Result<Classifier> {
        self.validate()?;
        let spec = resolve(self, &mut |_| {})?;
        let model = match &spec.weights {
            Weights::Random(seed) => spec.build_random(*seed, device)?,
            Weights::File(path) => {
                let (key, prefix) = (self.weights_key.as_deref(), self.weights_prefix.as_deref());
                spec.build_from(&WeightsFile::open_at(path, key, prefix)?, device)?
            }
            Weights::Bundled => spec.build_from(&bundled(spec.architecture)?, device)?,
            other => {
                let expected = "weights that are a file";
                return Err(Error::argument("weights", expected, other));
            }
        };
        // The names belong to the classes of the weights, and not to a new head, which may have another number of
        // them.
        let is_new = spec.head_init.is_some() || matches!(spec.weights, Weights::Random(_));
        let count = model.num_classes();
        let (scaling, thresholds) = (&spec.outputs.scaling, spec.outputs.thresholds.len());
        let scales = scaling.as_ref().map_or(0, |scaling| scaling.mean.len());
        let names = [spec.classes.len(), thresholds, scales];
        if is_new || names.iter().any(|own| ![0, count].contains(own)) {
            return Ok(model);
        }
        model.with_classes(spec.classes)?.with_outputs(spec.outputs)
    }

    fn build_random(&self, seed: u64, device: &Device) -> Result<Classifier> {
        let in_channels = self.in_channels.unwrap_or(3);
        let num_classes = self.num_classes.unwrap_or(IMAGENET_CLASSES);
        let (model, starts) = self.skeleton_with_starts(in_channels, num_classes, device)?;
        let first = model.backbone.describe().first_convs.clone();
        let is_first = |path: &str| {
            let layer = path.rsplit_once('.').map(|(layer, _)| layer);
            first.iter().any(|first| Some(&first.conv[..]) == layer)
        };
        // Running statistics have their values already.
        params::write(model, |path, shape| {
            let Some(start) = starts.get(path) else {
                return Ok(None);
            };
            let values = match (&self.stem_rule, &self.head_init) {
                (StemRule::Init(init), _) if is_first(path) => {
                    start.with_rule(init).values(path, shape, seed)
                }
                (_, Some(init)) if in_head(path) => start.with_rule(init).values(path, shape, seed),
                _ => start.values(path, shape, seed),
            };
            values.map(Some)
        })
    }
}

impl Classifier {
    /// Opens a folder that [`export`](Self::export) or timm's `save_for_hf` wrote.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Folder`] for a configuration that is missing or cannot be used,
    /// and whatever [`Spec::build`] finds.
    pub fn open(dir: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Spec::of_folder(dir)?.build(device)
    }
}
