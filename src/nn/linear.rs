//! Affine layer.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, module};
use burn_zoo_cpu::{Act, Epilogue};

use super::{fused, parameter, trace};

/// `torch.nn.Linear`, with its weight in PyTorch's layout.
#[derive(Module, Debug)]
pub struct Linear {
    /// Weight, `[out_features, in_features]`.
    pub weight: Param<Tensor<2>>,
    /// Bias, `[out_features]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// A layer with bias; its parameters are lazy zeros.
    pub fn new(in_features: usize, out_features: usize, device: &Device) -> Self {
        Self {
            weight: parameter([out_features, in_features], device),
            bias: Some(parameter([out_features], device)),
        }
    }

    /// `x · Wᵀ + b`.
    ///
    /// # Shapes
    /// - input: `[.., in_features]`
    /// - output: `[.., out_features]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        if let Some(output) = self.on_cpu(&input, Epilogue::default()) {
            return output;
        }
        let dtype = input.dtype();
        let bias = self.bias.as_ref().map(|bias| bias.val().cast(dtype));
        // The transpose is a view; the matrix product takes strides.
        let output = module::linear(input, self.weight.val().cast(dtype).transpose(), bias);
        if trace::active() {
            let dims = output.dims();
            let rows: usize = dims[1..D - 1].iter().product();
            let macs = self.weight.lazy_shape().num_elements() * rows;
            trace::layer("Linear", self.weight.id, &output, macs);
        }
        output
    }

    /// The layer and GELU behind it.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward).
    pub fn forward_gelu<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        let epilogue = Epilogue::act(Act::Gelu);
        self.on_cpu(&input, epilogue)
            .unwrap_or_else(|| epilogue.apply(self.forward(input)))
    }

    /// The layer, and `residual` added to what it gives.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward); residual: `[.., out_features]`
    pub fn forward_add<const D: usize>(&self, input: Tensor<D>, residual: Tensor<D>) -> Tensor<D> {
        let epilogue = Epilogue {
            residual: Some(&residual),
            act: Act::None,
        };
        self.on_cpu(&input, epilogue)
            .unwrap_or_else(|| epilogue.apply(self.forward(input)))
    }

    /// The layer in one pass over the output, where there is an operation for it.
    fn on_cpu<const D: usize>(
        &self,
        input: &Tensor<D>,
        epilogue: Epilogue<'_, D>,
    ) -> Option<Tensor<D>> {
        if trace::active() {
            return None;
        }
        let bias = self.bias.as_ref().map(Param::val);
        let cache = fused::current().map(|prepared| prepared.weight_cache(self.weight.id));
        let layer = burn_zoo_cpu::Linear {
            weight: &self.weight.val(),
            bias: bias.as_ref(),
            cache: cache.as_deref(),
        };
        burn_zoo_cpu::linear(input, layer, epilogue)
    }
}
