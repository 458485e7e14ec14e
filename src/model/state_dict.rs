//! A model's values by upstream's names.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::optim::GradientsParams;

use super::classifier::Classifier;
use super::host_tensor::HostTensor;
use super::key_table::KeyTable;
use super::low_rank::upstream_name;
use super::params;
use crate::error::{Error, Result};

impl Classifier {
    /// Every parameter and every running statistic, by upstream's name. Adapters are named as peft names
    /// them (`blocks.0.attn.qkv.lora_A.weight`), and the weights are those beside which they stand.
    ///
    /// # Errors
    /// [`Error::Device`] if the device cannot hand the values over.
    pub fn state_dict(&self) -> Result<BTreeMap<String, HostTensor>> {
        let names = &self.backbone.describe().key_table;
        let tensors = params::read(&self.valid())?;
        Ok(by_upstream(names, tensors))
    }

    /// The gradients that a backward pass left, by upstream's name; frozen parameters have none.
    ///
    /// # Errors
    /// [`Error::Device`] if the device cannot hand the values over.
    pub fn gradient_dict(
        &self,
        gradients: &GradientsParams,
    ) -> Result<BTreeMap<String, HostTensor>> {
        let names = &self.backbone.describe().key_table;
        let tensors = params::gradients(self, gradients)?;
        Ok(by_upstream(names, tensors))
    }

    /// Upstream's name and the shape of every parameter and running statistic, without reading
    /// any.
    pub fn state_shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let names = &self.backbone.describe().key_table;
        params::list(self)
            .into_iter()
            .map(|p| {
                (
                    upstream_name(names, &p.path),
                    names.shape(&p.path, &p.shape),
                )
            })
            .collect()
    }

    /// Replaces values: `value` gets upstream's name and the shape in PyTorch's layout, and answers
    /// with the new values, row-major, or with `None` to keep the old ones.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there are more or fewer values than the shape says.
    pub fn map_state_dict(
        self,
        mut value: impl FnMut(&str, &[usize]) -> Option<Vec<f32>>,
    ) -> Result<Self> {
        let names = self.backbone.describe().key_table.clone();
        params::write(self, |path, shape| {
            let name = upstream_name(&names, path);
            let shape = names.shape(path, shape);
            let Some(values) = value(&name, &shape) else {
                return Ok(None);
            };
            if values.len() != shape.iter().product::<usize>() {
                let expected = format!("values for {shape:?}");
                return Err(Error::argument(name, expected, values.len()));
            }
            Ok(Some(values))
        })
    }
}

/// Upstream's names and shapes of tensors that have ours.
fn by_upstream(
    names: &KeyTable,
    tensors: Vec<(String, HostTensor)>,
) -> BTreeMap<String, HostTensor> {
    let tensors = tensors.into_iter().map(|(path, tensor)| {
        let shape = names.shape(&path, &tensor.shape);
        let data = tensor.data;
        (upstream_name(names, &path), HostTensor { shape, data })
    });
    tensors.collect()
}
