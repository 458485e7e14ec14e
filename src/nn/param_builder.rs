//! Parameters, each made with the rule of its first value.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor};

use crate::error::Result;
use crate::init::{Init, Rng};

/// How a parameter starts in a new model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Start {
    /// A weight: values by a rule.
    Weight(Init),
    /// A bias: by the rule of the weight of this shape.
    Bias { init: Init, weight: Vec<usize> },
    /// A bias: by a rule of its own, until another rule is set for its weight, which has this shape.
    OwnBias { init: Init, weight: Vec<usize> },
    /// The scale of a normalisation. Zero is how a residual branch begins as nothing; one leaves
    /// values as they are.
    Scale(f32),
    /// A scale or a shift of a normalisation that starts at random; what is neutral leaves values as
    /// they are.
    Norm { init: Init, neutral: f32 },
    /// One value for all elements.
    Constant(f32),
}

impl Start {
    /// The values for the parameter with this path and shape. The path and the seed name the
    /// stream of random numbers.
    pub fn values(&self, path: &str, shape: &[usize], seed: u64) -> Result<Vec<f32>> {
        let len = shape.iter().product();
        let mut rng = Rng::new(seed, path);
        match self {
            Self::Weight(init) | Self::Norm { init, .. } => init.weight(shape, &mut rng),
            Self::Bias { init, weight } => init.bias(weight, len, &mut rng),
            Self::OwnBias { init, weight } => match init {
                // By the weight's fan.
                Init::PyTorch | Init::Course => init.bias(weight, len, &mut rng),
                _ => init.weight(shape, &mut rng),
            },
            Self::Scale(value) | Self::Constant(value) => Ok(vec![*value; len]),
        }
    }

    /// The same with another rule for weights and biases; normalisations leave values as they are.
    pub fn with_rule(&self, init: &Init) -> Self {
        match self {
            Self::Weight(_) => Self::Weight(init.clone()),
            Self::Bias { weight, .. } | Self::OwnBias { weight, .. } => Self::Bias {
                init: init.clone(),
                weight: weight.clone(),
            },
            Self::Scale(_) => Self::Scale(1.0),
            Self::Norm { neutral, .. } => Self::Constant(*neutral),
            Self::Constant(value) => Self::Constant(*value),
        }
    }
}

/// Makes the parameters of a model on a device, and keeps how each starts.
///
/// A parameter takes no memory before its values come, from a weights file or by its rule: until
/// somebody looks at it, it is a promise of zeros.
#[derive(Debug)]
pub struct ParamBuilder {
    device: Device,
    starts: RefCell<HashMap<ParamId, Start>>,
    grouped: RefCell<HashSet<ParamId>>,
}

impl ParamBuilder {
    /// For a model on this device.
    pub fn new(device: &Device) -> Self {
        Self {
            device: device.clone(),
            starts: RefCell::default(),
            grouped: RefCell::default(),
        }
    }

    /// Where the parameters are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A weight that starts by a rule.
    pub fn weight<const D: usize>(&self, shape: [usize; D], init: &Init) -> Param<Tensor<D>> {
        self.add(shape, Start::Weight(init.clone()))
    }

    /// A bias `[length]` that starts by the rule of the weight it belongs to.
    pub fn bias(&self, length: usize, weight: &[usize], init: &Init) -> Param<Tensor<1>> {
        let start = Start::Bias {
            init: init.clone(),
            weight: weight.to_vec(),
        };
        self.add([length], start)
    }

    /// A bias `[length]` that starts by a rule of its own. The weight it belongs to has this shape.
    pub fn own_bias(&self, length: usize, weight: &[usize], init: &Init) -> Param<Tensor<1>> {
        let start = Start::OwnBias {
            init: init.clone(),
            weight: weight.to_vec(),
        };
        self.add([length], start)
    }

    /// The scale of a normalisation, `[length]`: 1, or where a residual branch shall begin as
    /// nothing, 0. [`Classifier::init_group`](crate::Classifier::init_group) sets it to 1.
    pub fn scale(&self, length: usize, value: f32) -> Param<Tensor<1>> {
        self.add([length], Start::Scale(value))
    }

    /// A scale or a shift of a normalisation, `[length]`, that starts at N(mean, std²).
    /// [`Classifier::init_group`](crate::Classifier::init_group) sets it to `neutral`.
    pub fn norm(&self, length: usize, mean: f32, std: f32, neutral: f32) -> Param<Tensor<1>> {
        let init = Init::Normal {
            mean: mean.into(),
            std: std.into(),
        };
        self.add([length], Start::Norm { init, neutral })
    }

    /// A parameter that starts with one value for all its elements.
    pub fn constant<const D: usize>(&self, shape: [usize; D], value: f32) -> Param<Tensor<D>> {
        self.add(shape, Start::Constant(value))
    }

    /// Notes that these kernels are those of a convolution with groups, which their shape does not say.
    pub(super) fn note_groups(&self, kernels: ParamId) {
        self.grouped.borrow_mut().insert(kernels);
    }

    /// The kernels of convolutions with groups.
    pub(crate) fn grouped(&self) -> HashSet<ParamId> {
        self.grouped.borrow().clone()
    }

    fn add<const D: usize>(&self, shape: [usize; D], start: Start) -> Param<Tensor<D>> {
        const { assert!(D >= 1 && D <= 5, "models are walked over in ranks 1 to 5") };
        let id = ParamId::new();
        self.starts.borrow_mut().insert(id, start);
        let zeros = move |device: &Device, require_grad| {
            let zeros = Tensor::zeros(shape, device);
            if require_grad {
                zeros.require_grad()
            } else {
                zeros
            }
        };
        Param::uninitialized(id, zeros, self.device.clone(), true, shape.into())
    }

    /// How each parameter starts.
    pub(crate) fn into_starts(self) -> HashMap<ParamId, Start> {
        self.starts.into_inner()
    }
}
