//! Gradients of a whole model: their norm, clipping, accumulation.

use std::collections::HashSet;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::ranges::positive;
use crate::error::Result;
use crate::model::{Classifier, host_vec};
use crate::text::{Form, Style, no_fields, text_form};

/// How large gradients are kept from doing harm.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum Clip {
    /// Nothing is done.
    #[default]
    #[serde(deserialize_with = "no_fields")]
    None,
    /// All gradients together are scaled down to this norm where theirs is larger:
    /// `torch.nn.utils.clip_grad_norm_`.
    Norm {
        /// The largest norm.
        max: f64,
    },
    /// Every value is brought into `-max..max`: `torch.nn.utils.clip_grad_value_`.
    Value {
        /// The largest absolute value.
        max: f64,
    },
}

impl Clip {
    pub(crate) fn validate(&self) -> Result<()> {
        match *self {
            Clip::None => Ok(()),
            Clip::Norm { max } | Clip::Value { max } => positive("clip", max),
        }
    }
}

text_form!(
    /// `none`, `norm:MAX` or `value:MAX`.
    Clip,
    Form::new("clip", Style::Colons, &[("norm", 1), ("value", 1)]),
    Clip::validate
);

/// Changes each gradient that a model's parameters have, as a function of tensors of any rank does.
#[derive(Clone, Copy)]
enum Change {
    Scale(f64),
    Clamp(f64),
}

struct ChangeEach<'a> {
    gradients: &'a mut GradientsParams,
    change: Change,
}

impl ModuleVisitor for ChangeEach<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            let gradient = match self.change {
                Change::Scale(factor) => gradient.mul_scalar(factor),
                Change::Clamp(max) => gradient.clamp(-max, max),
            };
            self.gradients.register(param.id, gradient);
        }
    }
}

/// The L2 norm of all gradients together. One value crosses from the device to the host.
///
/// # Errors
/// [`Error::Device`](crate::Error::Device) if the device cannot hand it over.
pub fn gradient_norm(model: &Classifier, gradients: &GradientsParams) -> Result<f64> {
    struct Squares<'a> {
        gradients: &'a GradientsParams,
        sums: Vec<Tensor<1>>,
        /// Of those that are in host memory.
        here: f64,
    }
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.get::<D>(param.id) {
                if let Some(sum) = burn_zoo_cpu::sum_of_squares(&gradient) {
                    self.here += sum;
                    return;
                }
                // Parts of a model may be on several devices.
                let sum = gradient.square().sum();
                let first = self.sums.first().map(Tensor::device);
                self.sums
                    .push(first.map_or(sum.clone(), |first| sum.to_device(&first)));
            }
        }
    }
    let mut visitor = Squares {
        gradients,
        sums: Vec::new(),
        here: 0.0,
    };
    model.visit(&mut visitor);
    let mut sum = visitor.here;
    if !visitor.sums.is_empty() {
        let sums = host_vec(Tensor::cat(visitor.sums, 0).into_data())?;
        sum += sums.iter().map(|s| f64::from(*s)).sum::<f64>();
    }
    Ok(sum.sqrt())
}

/// Multiplies all gradients.
pub(crate) fn scale(model: &Classifier, gradients: &mut GradientsParams, factor: f64) {
    let change = Change::Scale(factor);
    model.visit(&mut ChangeEach { gradients, change });
}

/// Clips gradients in place. `norm` is their [norm](gradient_norm).
pub fn clip_gradients(model: &Classifier, gradients: &mut GradientsParams, clip: Clip, norm: f64) {
    match clip {
        Clip::None => {}
        // PyTorch's epsilon; a norm within the limit is left exactly as it is.
        Clip::Norm { max } => {
            let factor = max / (norm + 1e-6);
            if factor < 1.0 {
                scale(model, gradients, factor);
            }
        }
        Clip::Value { max } => {
            let change = Change::Clamp(max);
            model.visit(&mut ChangeEach { gradients, change });
        }
    }
}

fn added<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    burn_zoo_cpu::add(&a, &b).unwrap_or_else(|| a + b)
}

/// Takes out the gradients of some parameters.
pub(crate) fn take(
    model: &Classifier,
    from: &mut GradientsParams,
    ids: &HashSet<ParamId>,
) -> GradientsParams {
    struct Take<'a> {
        from: &'a mut GradientsParams,
        ids: &'a HashSet<ParamId>,
        taken: GradientsParams,
    }
    impl ModuleVisitor for Take<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.ids.contains(&param.id)
                && let Some(gradient) = self.from.remove::<D>(param.id)
            {
                self.taken.register(param.id, gradient);
            }
        }
    }
    let taken = GradientsParams::new();
    let mut visitor = Take { from, ids, taken };
    model.visit(&mut visitor);
    visitor.taken
}

/// Adds gradients to those of earlier batches.
pub(crate) fn accumulate(model: &Classifier, sum: &mut GradientsParams, more: GradientsParams) {
    struct Add<'a> {
        sum: &'a mut GradientsParams,
        more: GradientsParams,
    }
    impl ModuleVisitor for Add<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Some(more) = self.more.remove::<D>(param.id) else {
                return;
            };
            let sum = match self.sum.remove::<D>(param.id) {
                Some(sum) => added(sum, more),
                None => more,
            };
            self.sum.register(param.id, sum);
        }
    }
    model.visit(&mut Add { sum, more });
}
