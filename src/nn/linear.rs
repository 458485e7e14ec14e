//! Affine layer.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, module};
use burn_zoo_cpu::Epilogue;

use super::{ParamBuilder, fused, trace};
use crate::init::Init;

/// What a [`Linear`] looks like.
#[derive(Debug, Clone)]
pub struct LinearConfig {
    in_features: usize,
    out_features: usize,
    bias: bool,
    weights: Init,
    biases: Option<Init>,
}

impl LinearConfig {
    /// A layer with bias, with [`Init::PyTorch`]'s values.
    pub fn new(in_features: usize, out_features: usize) -> Self {
        Self {
            in_features,
            out_features,
            bias: true,
            weights: Init::PyTorch,
            biases: None,
        }
    }

    /// Takes the bias away.
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// Sets how the weights start, and with them the bias.
    pub fn weights(mut self, init: Init) -> Self {
        self.weights = init;
        self
    }

    /// Sets how the bias starts, where it has a rule of its own.
    pub fn biases(mut self, init: Init) -> Self {
        self.biases = Some(init);
        self
    }

    /// Makes the layer.
    pub fn init(&self, params: &ParamBuilder) -> Linear {
        let shape = [self.out_features, self.in_features];
        let bias = || match &self.biases {
            Some(init) => params.own_bias(self.out_features, &shape, init),
            None => params.bias(self.out_features, &shape, &self.weights),
        };
        Linear {
            weight: params.weight(shape, &self.weights),
            bias: self.bias.then(bias),
        }
    }
}

/// `torch.nn.Linear`, with its weight in PyTorch's layout.
#[derive(Module, Debug)]
pub struct Linear {
    /// Weight, `[out_features, in_features]`.
    pub weight: Param<Tensor<2>>,
    /// Bias, `[out_features]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// `x · Wᵀ + b`.
    ///
    /// # Shapes
    /// - input: `[.., in_features]`
    /// - output: `[.., out_features]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.forward_with(input, Epilogue::default())
    }

    /// The layer, and what follows in the same pass where there is an operation for it.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward); the residual is of the output's shape.
    pub fn forward_with<const D: usize>(
        &self,
        input: Tensor<D>,
        epilogue: Epilogue<'_, D>,
    ) -> Tensor<D> {
        let bias = self.bias.as_ref().map(Param::val);
        self.apply(input, bias, epilogue)
    }

    /// The layer with this bias in place of its own.
    ///
    /// # Shapes
    /// - bias: `[out_features]`
    /// - input and output: as for [`forward`](Self::forward)
    pub fn forward_biased<const D: usize>(&self, input: Tensor<D>, bias: Tensor<1>) -> Tensor<D> {
        self.apply(input, Some(bias), Epilogue::default())
    }

    fn apply<const D: usize>(
        &self,
        input: Tensor<D>,
        bias: Option<Tensor<1>>,
        epilogue: Epilogue<'_, D>,
    ) -> Tensor<D> {
        if !trace::active() {
            let cache = fused::current().map(|prepared| prepared.weight_cache(self.weight.id));
            let layer = burn_zoo_cpu::Linear {
                weight: &self.weight.val(),
                bias: bias.as_ref(),
                cache: cache.as_deref(),
            };
            if let Some(output) = burn_zoo_cpu::linear(&input, layer, epilogue) {
                return output;
            }
        }
        let dtype = input.dtype();
        let bias = bias.map(|bias| bias.cast(dtype));
        // The transpose is a view; the matrix product takes strides.
        let output = product(input, self.weight.val().cast(dtype).transpose(), bias);
        if trace::active() {
            let dims = output.dims();
            let rows: usize = dims[..D - 1].iter().product();
            let macs = self.weight.lazy_shape().num_elements() * rows;
            trace::layer("Linear", self.weight.id, &output, macs);
        }
        epilogue.apply(output)
    }
}

fn product<const D: usize>(
    input: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    // burn chooses between two forms of it by the number of rows; a recording is for any number.
    #[cfg(feature = "onnx")]
    if D > 1 && is_recorded(&input) {
        let output = input.matmul(weight.unsqueeze());
        return match bias {
            Some(bias) => output + bias.unsqueeze(),
            None => output,
        };
    }
    module::linear(input, weight, bias)
}

/// Whether operations on a tensor are recorded in place of computed.
#[cfg(feature = "onnx")]
fn is_recorded<const D: usize>(tensor: &Tensor<D>) -> bool {
    use burn::backend::DispatchTensorKind;
    let kind = tensor.clone().into_dispatch().kind;
    matches!(kind, DispatchTensorKind::Capture(_))
}
