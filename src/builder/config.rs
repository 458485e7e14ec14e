//! From a configuration in timm's form to a spec.

use std::path::Path;

use serde_json::Value;

use super::checks::{check_channels, check_classes};
use super::spec::Spec;
use crate::error::{Error, Result};
use crate::model::{Pool, StemShape};
use crate::preprocess::Normalization;
use crate::weights::manifest::HubModel;
use crate::weights::{CONFIG, PICKLED, WEIGHTS, Weights};
use crate::zoo;

impl Spec {
    /// The spec of a model in a folder that [`Classifier::export`](crate::Classifier::export) or timm's `save_for_hf` wrote:
    /// its architecture, weights, channels, classes, pooling and normalisation. It can be adapted
    /// like any other.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) or [`Error::Folder`](crate::Error::Folder) for a configuration
    /// that is missing or cannot be used.
    pub fn of_folder(dir: impl AsRef<std::path::Path>) -> Result<Self> {
        let dir = dir.as_ref();
        // timm writes a pickle unless it is asked for safetensors.
        let [own, pickled] = [WEIGHTS, PICKLED].map(|name| dir.join(name));
        let weights = if !own.exists() && pickled.exists() {
            pickled
        } else {
            own
        };
        read_config(&dir.join(CONFIG), Weights::File(weights))
    }
}

/// The spec that a configuration in timm's form describes.
pub(crate) fn read_config(path: &Path, weights: Weights) -> Result<Spec> {
    let bad = |error: Error| Error::Folder {
        path: path.to_path_buf(),
        reason: error.to_string(),
    };
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let model = HubModel::from_config(&text, path)?;
    check_channels(model.in_channels).map_err(bad)?;
    check_classes(model.num_classes).map_err(bad)?;

    let data = &model.data;
    let size = model.image_size.unwrap_or(data.image_size().sides());
    let normalization = Normalization::new(data.mean.clone(), data.std.clone()).map_err(bad)?;
    let mut spec = Spec::of(zoo::find(&model.architecture)?.name)
        .declared_weights(weights, model.in_channels, model.num_classes, size.into())
        .normalization(normalization.for_channels(model.in_channels))
        .resizing(data.resizing())
        .image_size(size)
        .drop_rate(model.drop_rate)
        .drop_path_rate(model.drop_path_rate);
    spec.declared_stem = model.stem;
    spec.stem = model.stem.unwrap_or_default();
    spec.licence = model.licence.clone();
    spec.licence_source = model.licence_source.clone();
    if let Some(pool) = &model.global_pool {
        spec = spec.pool(Pool::from_timm_name(pool).map_err(bad)?);
    }
    if model.stem.is_some() || !model.other_args.is_empty() {
        // Arguments that we would write ourselves say nothing new; any other may make another model.
        let sketch = spec.build_zeros(&crate::device("cpu")?).map_err(bad)?;
        let mut ours = sketch.backbone.timm_args(sketch.head.pool());
        let stem = sketch.backbone.describe().stem.as_ref();
        if let Some((name, stride)) = stem.and_then(StemShape::in_timm) {
            ours.insert(name.to_owned(), stride.into());
        }
        let same = |(key, value): &&(String, String)| {
            serde_json::from_str(value).is_ok_and(|value: Value| ours.get(key) == Some(&value))
        };
        if let Some((key, value)) = model.other_args.iter().find(|arg| !same(arg)) {
            return Err(bad(Error::argument(
                format!("model_args.{key}"),
                "no argument that changes the architecture",
                value,
            )));
        }
    }
    spec.classes = model.label_names;
    spec.outputs = model.outputs;
    let named = |text: &String| format!("{}: {text}", path.display());
    spec.assumed = model.assumed.iter().map(named).collect();
    Ok(spec)
}
