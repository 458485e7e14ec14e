//! Gradients in buckets, and back.

use burn::module::{Module as _, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};

use super::reducer::Reducer;
use crate::error::Result;
use crate::model::{Classifier, host_vec, params};

/// The trainable parameters in the order of the model, which is the same on every rank: ids need not
/// be.
pub(super) struct Order {
    params: Vec<(ParamId, usize)>,
}

impl Order {
    pub fn of(model: &Classifier) -> Self {
        let trainable = params::trainable_ids(model);
        let params = params::list(model).into_iter();
        let params = params.filter(|param| trainable.contains(&param.id));
        Self {
            params: params.map(|p| (p.id, p.num_elements())).collect(),
        }
    }

    /// Which of them have a gradient.
    pub fn present(&self, model: &Classifier, gradients: &GradientsParams) -> Vec<bool> {
        struct Present<'a>(&'a GradientsParams, std::collections::HashSet<ParamId>);
        impl ModuleVisitor for Present<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if self.0.get::<D>(param.id).is_some() {
                    self.1.insert(param.id);
                }
            }
        }
        let mut visitor = Present(gradients, std::collections::HashSet::new());
        model.visit(&mut visitor);
        let found = visitor.1;
        self.params
            .iter()
            .map(|(id, _)| found.contains(id))
            .collect()
    }

    /// Of all parameters, so that ranks can compare what they train.
    pub fn lengths(&self) -> Vec<usize> {
        self.params.iter().map(|(_, length)| *length).collect()
    }
}

/// Multiplies this rank's gradients with its weight and replaces them by the sums over all ranks.
/// `wanted` says which parameters have a gradient on any rank; where this one has none, it adds nothing.
pub(super) fn all_reduce(
    model: &Classifier,
    order: &Order,
    wanted: &[bool],
    weight: f64,
    gradients: &mut GradientsParams,
    reducer: &mut Reducer,
    bucket_bytes: usize,
) -> Result<()> {
    let wanted: Vec<(ParamId, usize)> = order
        .params
        .iter()
        .zip(wanted)
        .filter_map(|(param, wanted)| wanted.then_some(*param))
        .collect();
    let ids = wanted.iter().map(|(id, _)| *id).collect();
    let mut pack = Pack {
        gradients,
        ids,
        weight: weight as f32,
        bucket: Vec::new(),
        numbers: (bucket_bytes / size_of::<f32>()).max(1),
        buckets: 0,
        reducer,
        result: Ok(()),
    };
    model.visit(&mut pack);
    pack.flush();
    let buckets = pack.buckets;
    pack.result?;
    let sums = reducer.sums(buckets)?;
    let mut unpack = Unpack {
        gradients,
        ids: wanted.into_iter().map(|(id, _)| id).collect(),
        sums: sums.into_iter(),
        bucket: Vec::new(),
        next: 0,
    };
    model.visit(&mut unpack);
    Ok(())
}

struct Pack<'a> {
    gradients: &'a mut GradientsParams,
    ids: std::collections::HashSet<ParamId>,
    weight: f32,
    bucket: Vec<f32>,
    /// Numbers of a bucket; a parameter is in one bucket whole.
    numbers: usize,
    buckets: usize,
    reducer: &'a mut Reducer,
    result: Result<()>,
}

impl Pack<'_> {
    fn flush(&mut self) {
        if !self.bucket.is_empty() {
            self.reducer.push(std::mem::take(&mut self.bucket));
            self.buckets += 1;
        }
    }
}

impl ModuleVisitor for Pack<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.ids.contains(&param.id) || self.result.is_err() {
            return;
        }
        let length = param.lazy_shape().num_elements();
        match self.gradients.remove::<D>(param.id) {
            Some(gradient) => match host_vec(gradient.into_data()) {
                Ok(values) if self.weight == 1.0 => self.bucket.extend(values),
                Ok(values) => {
                    let weight = self.weight;
                    self.bucket
                        .extend(values.into_iter().map(|value| value * weight));
                }
                Err(error) => self.result = Err(error),
            },
            None => self.bucket.resize(self.bucket.len() + length, 0.0),
        }
        if self.bucket.len() >= self.numbers {
            self.flush();
        }
    }
}

struct Unpack<'a> {
    gradients: &'a mut GradientsParams,
    ids: std::collections::HashSet<ParamId>,
    sums: std::vec::IntoIter<Vec<f32>>,
    bucket: Vec<f32>,
    next: usize,
}

impl ModuleVisitor for Unpack<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.ids.contains(&param.id) {
            return;
        }
        let shape = param.lazy_shape();
        let length = shape.num_elements();
        if self.next == self.bucket.len() {
            self.bucket = self.sums.next().unwrap_or_default();
            self.next = 0;
        }
        let values = self.bucket[self.next..self.next + length].to_vec();
        self.next += length;
        let device = param.lazy_device().without_autodiff();
        let gradient = Tensor::<D>::from_data(TensorData::new(values, shape), &device);
        self.gradients.register(param.id, gradient);
    }
}
