//! Gradients in buckets, and back.

use std::collections::HashSet;
use std::sync::MutexGuard;

use burn::module::{Module as _, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

use super::reducer::Reducer;
use crate::error::{Error, Result};
use crate::model::{Classifier, host_vec, params};

/// The parameters that have a gradient.
pub(in crate::train) fn with_gradient(
    model: &Classifier,
    gradients: &GradientsParams,
) -> HashSet<ParamId> {
    struct Present<'a>(&'a GradientsParams, HashSet<ParamId>);
    impl ModuleVisitor for Present<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.0.get::<D>(param.id).is_some() {
                self.1.insert(param.id);
            }
        }
    }
    let mut visitor = Present(gradients, HashSet::new());
    model.visit(&mut visitor);
    visitor.1
}

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

    /// Which of them are among these.
    pub fn present(&self, ids: &HashSet<ParamId>) -> Vec<bool> {
        let params = self.params.iter();
        params.map(|(id, _)| ids.contains(id)).collect()
    }

    /// Those of which this says so, of parameters in this order.
    pub fn chosen(&self, which: impl Fn(usize) -> bool) -> HashSet<ParamId> {
        let params = self.params.iter().enumerate();
        params
            .filter(|(index, _)| which(*index))
            .map(|(_, (id, _))| *id)
            .collect()
    }

    /// Of all parameters, so that ranks can compare what they train.
    pub fn lengths(&self) -> Vec<usize> {
        self.params.iter().map(|(_, length)| *length).collect()
    }
}

/// Gradients on their way to their sums over all ranks, in buckets.
pub(in crate::train) struct Reduction<'a> {
    reducer: MutexGuard<'a, Reducer>,
    bucket: Vec<f32>,
    /// Numbers of a bucket; a parameter is in one bucket whole.
    numbers: usize,
    buckets: usize,
    /// What was handed over: all ranks hand over the same in the same order.
    parts: Vec<HashSet<ParamId>>,
    /// Why a gradient could not be read. The sum is made all the same: others wait for it.
    failed: Option<Error>,
}

impl<'a> Reduction<'a> {
    pub(super) fn new(reducer: MutexGuard<'a, Reducer>, bucket_bytes: usize) -> Self {
        Self {
            reducer,
            bucket: Vec::new(),
            numbers: (bucket_bytes / size_of::<f32>()).max(1),
            buckets: 0,
            parts: Vec::new(),
            failed: None,
        }
    }

    /// Hands over this rank's gradients of some parameters, times a weight. Where it has none, it adds
    /// nothing.
    pub fn add(
        &mut self,
        model: &Classifier,
        ids: HashSet<ParamId>,
        gradients: GradientsParams,
        weight: f64,
    ) -> Result<()> {
        let mut pack = Pack {
            reduction: self,
            gradients,
            ids: &ids,
            weight: weight as f32,
            result: Ok(()),
        };
        model.visit(&mut pack);
        let result = pack.result;
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
        self.parts.push(ids);
        Ok(())
    }

    /// The sums of what was handed over, of the parameters that have a gradient on any rank.
    pub fn finish(
        mut self,
        model: &Classifier,
        wanted: &HashSet<ParamId>,
    ) -> Result<GradientsParams> {
        self.flush();
        let sums = self.reducer.sums(self.buckets)?;
        if let Some(error) = self.failed {
            return Err(error);
        }
        let mut unpack = Unpack {
            gradients: GradientsParams::new(),
            ids: HashSet::new(),
            wanted,
            sums: sums.into_iter(),
            bucket: Vec::new(),
            next: 0,
        };
        for ids in self.parts {
            unpack.ids = ids;
            model.visit(&mut unpack);
        }
        Ok(unpack.gradients)
    }

    fn flush(&mut self) {
        if !self.bucket.is_empty() {
            self.reducer.push(std::mem::take(&mut self.bucket));
            self.buckets += 1;
        }
    }
}

/// Square kernels `[out, in, k, k]` are sent as `[k, k, in, out]`: so their gradients lie in memory on a
/// CPU, and nothing is copied. What is sent follows from the shape alone, whatever a rank computes on.
const SENT: [isize; 4] = [2, 3, 1, 0];
const COMPUTED: [isize; 4] = [3, 2, 0, 1];

/// Whether these are square kernels.
fn are_square<const D: usize>(shape: &[usize]) -> bool {
    D == 4 && shape[2] == shape[3]
}

/// A permutation of four dimensions as one of D.
fn axes<const D: usize>(axes: [isize; 4]) -> [isize; D] {
    std::array::from_fn(|index| axes.get(index).copied().unwrap_or(index as isize))
}

fn as_sent<const D: usize>(gradient: Tensor<D>) -> Tensor<D> {
    if are_square::<D>(&gradient.dims()) {
        gradient.permute(axes(SENT))
    } else {
        gradient
    }
}

fn as_computed<const D: usize>(values: Vec<f32>, shape: Vec<usize>, device: &Device) -> Tensor<D> {
    if !are_square::<D>(&shape) {
        return Tensor::from_data(TensorData::new(values, shape), device);
    }
    let sent: Vec<usize> = SENT.iter().map(|axis| shape[*axis as usize]).collect();
    Tensor::from_data(TensorData::new(values, sent), device).permute(axes(COMPUTED))
}

struct Pack<'a, 'b> {
    reduction: &'a mut Reduction<'b>,
    gradients: GradientsParams,
    ids: &'a HashSet<ParamId>,
    weight: f32,
    result: Result<()>,
}

impl ModuleVisitor for Pack<'_, '_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.ids.contains(&param.id) {
            return;
        }
        let length = param.lazy_shape().num_elements();
        let bucket = &mut self.reduction.bucket;
        match self.gradients.remove::<D>(param.id) {
            Some(gradient) => match host_vec(as_sent(gradient).into_data()) {
                Ok(values) if self.weight == 1.0 => bucket.extend(values),
                Ok(values) => {
                    let weight = self.weight;
                    bucket.extend(values.into_iter().map(|value| value * weight));
                }
                // The others count on as many numbers.
                Err(error) => {
                    bucket.resize(bucket.len() + length, 0.0);
                    self.result = Err(error);
                }
            },
            None => bucket.resize(bucket.len() + length, 0.0),
        }
        if bucket.len() >= self.reduction.numbers {
            self.reduction.flush();
        }
    }
}

struct Unpack<'a> {
    gradients: GradientsParams,
    ids: HashSet<ParamId>,
    wanted: &'a HashSet<ParamId>,
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
        let range = self.next..self.next + length;
        self.next += length;
        if !self.wanted.contains(&param.id) {
            return;
        }
        let values = self.bucket[range].to_vec();
        let device = param.lazy_device().without_autodiff();
        let gradient = as_computed::<D>(values, shape.to_vec(), &device);
        self.gradients.register(param.id, gradient);
    }
}
