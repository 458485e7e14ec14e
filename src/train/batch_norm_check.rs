//! Batch normalisations that get one value per channel from a batch of one image.

use burn::module::Module as _;
use burn::tensor::Tensor;

use crate::error::{Error, Result};
use crate::model::{Classifier, params};
use crate::nn::trace;

/// The batch normalisations that train and whose input is a single position for one image of this
/// height and width, by their paths. PyTorch refuses such a batch.
///
/// Nothing is learnt to find out: one image of zeros goes through the model as it is used.
pub(super) fn single_value_norms(
    model: &Classifier,
    [height, width]: [usize; 2],
) -> Result<Vec<String>> {
    let training = params::training_state(model);
    let all = params::list(model);
    let trains = |path: &str| training.get(&format!("{path}.training")) == Some(&true);
    let norms: Vec<_> = all
        .iter()
        .filter_map(|param| Some((param.path.strip_suffix(".running_mean")?, param)))
        .filter(|(path, _)| trains(path))
        .collect();
    if norms.is_empty() {
        return Ok(Vec::new());
    }
    let used = model.valid();
    let image = Tensor::zeros([1, model.in_channels(), height, width], &used.device());
    let (output, records) = trace::record(|| used.forward(image));
    output?;
    let single = records.into_iter().filter_map(|record| {
        let [1, _, 1, 1] = record.output[..] else {
            return None;
        };
        let weight = all.iter().find(|param| Some(param.id) == record.weight)?;
        let path = weight.path.strip_suffix(".weight")?;
        norms
            .iter()
            .any(|(norm, _)| *norm == path)
            .then(|| path.to_owned())
    });
    Ok(single.collect())
}

/// The error for such a batch; there is at least one layer.
pub(super) fn single_value_error(
    model: &Classifier,
    layers: &[String],
    [height, width]: [usize; 2],
    situation: String,
) -> Error {
    let groups = model.all_groups().into_iter();
    let hit = |prefix: &str| layers.iter().any(|layer| layer.starts_with(prefix));
    Error::SingleValue {
        situation,
        layer: layers.first().cloned().unwrap_or_default(),
        others: layers.len().saturating_sub(1),
        groups: groups.filter(|g| hit(&g.prefix)).map(|g| g.name).collect(),
        height,
        width,
    }
}
