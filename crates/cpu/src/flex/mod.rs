//! Convolution, normalisation and pooling on a CPU, for training and inference.
//!
//! Activations lie as `[height][width][batch][channels]`: space outermost, channels innermost. A run
//! of positions along a row is then one matrix of `positions * batch` rows and `channels` columns,
//! and a convolution is a sum of matrix products, one for each tap of the kernel, without a copy of
//! the input. Taps that fall on padding are never computed: on a map of 2 by 2 positions that is
//! more than half of a 3 by 3 kernel, on a single position eight of its nine taps.
//!
//! To the rest of the crate such a map is an ordinary tensor `[batch, channels, height, width]`
//! whose strides say where things lie; whatever is not in this room sees a view and works on it. The
//! functions here take any layout and give this one, so that it is kept from layer to layer.
//!
//! Work is divided by rows, channels and blocks of a fixed size, never by the number of threads:
//! results do not depend on it.
//!
//! Only burn's Flex backend with 32-bit numbers comes here; everything else takes burn's own
//! operations (see [`conv2d`], [`batch_norm`], [`max_pool2d`]).

mod autodiff;
mod conv;
mod map;
mod norm;
mod pool;
mod simd;
#[cfg(test)]
mod tests;
pub mod tokens;
mod update;
mod winograd;

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Backend, BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind, Flex,
    GradientCheckpointingStrategy, backend_extension,
};
use burn::tensor::{DType, Tensor};

pub use conv::{Prepared, Window};
pub use update::{AdamRule, SgdRule};

/// What is done on top of a normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epilogue {
    /// Whether negative values become zero.
    pub relu: bool,
    /// Whether a second map is added before that.
    pub residual: bool,
}

/// The operations that this room adds to burn. Maps are `[batch, channels, height, width]` in any
/// layout.
#[backend_extension(Flex, Autodiff)]
pub trait CpuOps: Backend {
    /// A convolution with a square kernel `[out, in / groups, k, k]`, without bias.
    fn zoo_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        window: Window,
    ) -> FloatTensor<Self>;

    /// A normalisation by the batch's statistics: the output, the mean and the biased variance. The
    /// last argument is only looked at where the epilogue says so.
    fn zoo_norm_train(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        epilogue: Epilogue,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// A normalisation by given statistics.
    #[allow(clippy::too_many_arguments)] // all that a normalisation is made of
    fn zoo_norm_eval(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        epilogue: Epilogue,
        epsilon: f64,
    ) -> FloatTensor<Self>;

    /// A convolution and a normalisation by given statistics.
    #[allow(clippy::too_many_arguments)] // all that the two are made of
    fn zoo_conv2d_norm(
        x: FloatTensor<Self>,
        kernels: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        mean: FloatTensor<Self>,
        variance: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        window: Window,
        epilogue: Epilogue,
        epsilon: f64,
        prepared: Option<Arc<Prepared>>,
    ) -> FloatTensor<Self> {
        let _ = prepared;
        let x = Self::zoo_conv2d(x, kernels, window);
        let residual = match epilogue.residual {
            true => residual,
            false => x.clone(),
        };
        Self::zoo_norm_eval(x, weight, bias, mean, variance, residual, epilogue, epsilon)
    }

    /// The largest value of each window.
    fn zoo_max_pool2d(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self>;

    /// The same map twice, for a loss that depends on both.
    fn zoo_fork(x: FloatTensor<Self>) -> (FloatTensor<Self>, FloatTensor<Self>);
}

impl CpuOps for Flex {
    fn zoo_conv2d(x: FlexTensor, weight: FlexTensor, window: Window) -> FlexTensor {
        conv::forward(&x, &weight, window, None, None).0
    }

    fn zoo_norm_train(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        residual: FlexTensor,
        epilogue: Epilogue,
        epsilon: f64,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let residual = epilogue.residual.then_some(&residual);
        let (output, batch) =
            norm::forward_train(&x, &weight, &bias, residual, epilogue.relu, epsilon);
        (output, map::vector(batch.mean), map::vector(batch.variance))
    }

    fn zoo_norm_eval(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        mean: FlexTensor,
        variance: FlexTensor,
        residual: FlexTensor,
        epilogue: Epilogue,
        epsilon: f64,
    ) -> FlexTensor {
        let residual = epilogue.residual.then_some(&residual);
        let batch = norm::Statistics::given(&mean, &variance, epsilon);
        norm::forward(&x, &weight, &bias, &batch, residual, epilogue.relu)
    }

    fn zoo_conv2d_norm(
        x: FlexTensor,
        kernels: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        mean: FlexTensor,
        variance: FlexTensor,
        residual: FlexTensor,
        window: Window,
        epilogue: Epilogue,
        epsilon: f64,
        prepared: Option<Arc<Prepared>>,
    ) -> FlexTensor {
        let statistics = norm::Statistics::given(&mean, &variance, epsilon);
        let (scale, shift) = statistics.affine(&map::numbers(&weight), &map::numbers(&bias));
        let residual = epilogue.residual.then(|| map::values(&residual));
        let finish = conv::Finish {
            scale: &scale,
            shift: &shift,
            residual: residual.as_deref(),
            relu: epilogue.relu,
        };
        conv::forward(&x, &kernels, window, Some(&finish), prepared.as_deref()).0
    }

    fn zoo_max_pool2d(x: FlexTensor, window: Window) -> FlexTensor {
        pool::forward(&x, window).0
    }

    fn zoo_fork(x: FlexTensor) -> (FlexTensor, FlexTensor) {
        (x.clone(), x)
    }
}

/// Whether tensors are where this room computes, in the numbers it computes in.
fn is_here(tensors: &[&DispatchTensor]) -> bool {
    fn of(kind: &DispatchTensorKind) -> bool {
        match kind {
            DispatchTensorKind::Flex(_) => true,
            DispatchTensorKind::Autodiff(inner) => of(inner),
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }
    tensors.iter().all(|tensor| of(&tensor.kind))
}

/// A convolution with a square kernel, without bias; `None` where burn's own has to do it. The shapes
/// say how many groups there are.
///
/// # Shapes
/// - x: `[batch, in, height, width]`
/// - weight: `[out, in / groups, k, k]`
/// - output: `[batch, out, height', width']`
pub fn conv2d(x: &Tensor<4>, weight: &Tensor<4>, window: Window) -> Option<Tensor<4>> {
    let [_, _, height, width] = x.dims();
    let [_, _, kernel, _] = weight.dims();
    if !groups_fit(x, weight) {
        return None;
    }
    let fits = |side: usize| side + 2 * window.padding >= kernel;
    let floats = floats(&[x.dtype(), weight.dtype()]);
    if !fits(height) || !fits(width) || !floats || empty(x) {
        return None;
    }
    let (x, weight) = (x.clone().into_dispatch(), weight.clone().into_dispatch());
    is_here(&[&x, &weight]).then(|| {
        Tensor::from_dispatch(<burn::backend::Dispatch as CpuOps>::zoo_conv2d(
            x, weight, window,
        ))
    })
}

/// Whether the shapes are those of a convolution of so many groups that divide its channels.
fn groups_fit(x: &Tensor<4>, weight: &Tensor<4>) -> bool {
    let ([_, channels, _, _], [outputs, inputs, _, _]) = (x.dims(), weight.dims());
    inputs > 0
        && channels.is_multiple_of(inputs)
        && channels > 0
        && outputs.is_multiple_of(channels / inputs)
}

/// Whether there is nothing to compute.
fn empty(x: &Tensor<4>) -> bool {
    x.dims().contains(&0)
}

fn floats(types: &[DType]) -> bool {
    types.iter().all(|dtype| *dtype == DType::F32)
}

/// The output of a normalisation, and what it saw.
pub struct Normalised {
    pub output: Tensor<4>,
    /// Mean and biased variance of the batch.
    pub statistics: [Tensor<1>; 2],
}

/// Which statistics a normalisation takes.
#[allow(clippy::large_enum_variant)] // made and taken apart at once
pub enum Take {
    /// The batch's.
    Batch,
    /// These: mean and variance.
    Given([Tensor<1>; 2]),
}

/// A batch normalisation, an optional addition and an optional ReLU in one pass; `None` where burn's
/// own operations have to do it.
///
/// # Shapes
/// - x, residual and output: `[batch, channels, height, width]`
/// - weight, bias and statistics: `[channels]`
pub fn batch_norm(
    x: &Tensor<4>,
    [weight, bias]: [Tensor<1>; 2],
    take: Take,
    residual: Option<&Tensor<4>>,
    relu: bool,
    epsilon: f64,
) -> Option<Normalised> {
    let other = residual.unwrap_or(x);
    let floats = floats(&[x.dtype(), weight.dtype(), other.dtype()]);
    if !floats || other.dims() != x.dims() || empty(x) {
        return None;
    }
    let epilogue = Epilogue {
        relu,
        residual: residual.is_some(),
    };
    let (x, other) = (x.clone().into_dispatch(), other.clone().into_dispatch());
    let (weight, bias) = (weight.into_dispatch(), bias.into_dispatch());
    // With gradient checkpointing, what is cheap is computed again instead of being kept, which
    // burn does for its own operations only.
    let again = DispatchAutodiffContext::Enabled(GradientCheckpointingStrategy::Balanced);
    if !is_here(&[&x, &other, &weight, &bias]) || x.autodiff == again {
        return None;
    }
    type Ops = burn::backend::Dispatch;
    Some(match take {
        Take::Batch => {
            let (output, mean, variance) =
                <Ops as CpuOps>::zoo_norm_train(x, weight, bias, other, epilogue, epsilon);
            Normalised {
                output: Tensor::from_dispatch(output),
                statistics: [Tensor::from_dispatch(mean), Tensor::from_dispatch(variance)],
            }
        }
        Take::Given([mean, variance]) => {
            let statistics = [mean.clone(), variance.clone()];
            let output = <Ops as CpuOps>::zoo_norm_eval(
                x,
                weight,
                bias,
                mean.into_dispatch(),
                variance.into_dispatch(),
                other,
                epilogue,
                epsilon,
            );
            Normalised {
                output: Tensor::from_dispatch(output),
                statistics,
            }
        }
    })
}

/// A normalisation by given statistics.
pub struct Given {
    /// Scale and shift, `[channels]` each.
    pub affine: [Tensor<1>; 2],
    /// Mean and variance, `[channels]` each.
    pub statistics: [Tensor<1>; 2],
    /// What is added to the variance.
    pub epsilon: f64,
}

/// A convolution and what follows it where nothing is to be learnt: a normalisation by given mean and
/// variance, an optional addition, an optional ReLU. `None` where the layers have to do it one by one.
///
/// # Shapes
/// - x: `[batch, in, height, width]`
/// - kernels: `[out, in / groups, k, k]`
/// - residual and output: `[batch, out, height', width']`
///
/// `prepared` belongs to these kernels.
#[allow(clippy::too_many_arguments)] // all that the two are made of
pub fn conv2d_norm(
    x: &Tensor<4>,
    kernels: &Tensor<4>,
    window: Window,
    norm: Given,
    residual: Option<&Tensor<4>>,
    relu: bool,
    prepared: Option<Arc<Prepared>>,
) -> Option<Tensor<4>> {
    let [batch, _, height, width] = x.dims();
    let [channels, _, kernel, _] = kernels.dims();
    let fits = |side: usize| side + 2 * window.padding >= kernel;
    let other = residual.unwrap_or(x);
    let graph = x.device().is_autodiff();
    let floats = floats(&[x.dtype(), other.dtype()]);
    if graph || !groups_fit(x, kernels) || !fits(height) || !fits(width) || !floats || empty(x) {
        return None;
    }
    let output = [batch, channels, window.output(height), window.output(width)];
    if residual.is_some_and(|residual| residual.dims() != output) {
        return None;
    }
    let epilogue = Epilogue {
        relu,
        residual: residual.is_some(),
    };
    let (x, kernels) = (x.clone().into_dispatch(), kernels.clone().into_dispatch());
    let other = other.clone().into_dispatch();
    let [weight, bias] = norm.affine.map(Tensor::into_dispatch);
    let [mean, variance] = norm.statistics.map(Tensor::into_dispatch);
    if !is_here(&[&x, &kernels, &other, &weight, &bias, &mean, &variance]) {
        return None;
    }
    Some(Tensor::from_dispatch(
        <burn::backend::Dispatch as CpuOps>::zoo_conv2d_norm(
            x,
            kernels,
            weight,
            bias,
            mean,
            variance,
            other,
            window,
            epilogue,
            norm.epsilon,
            prepared,
        ),
    ))
}

/// A map for two branches that come together again. Their gradients are added in one go, by all
/// threads; the loss has to depend on both branches.
pub fn fork<const D: usize>(x: Tensor<D>) -> [Tensor<D>; 2] {
    if !x.device().is_autodiff() || !floats(&[x.dtype()]) {
        return [x.clone(), x];
    }
    let primitive = x.clone().into_dispatch();
    if !is_here(&[&primitive]) {
        return [x.clone(), x];
    }
    let (a, b) = <burn::backend::Dispatch as CpuOps>::zoo_fork(primitive);
    [a, b].map(Tensor::from_dispatch)
}

/// The largest value of each window, padding left out; `None` where burn's own has to do it.
///
/// # Shapes
/// - x: `[batch, channels, height, width]`
/// - output: `[batch, channels, height', width']`
pub fn max_pool2d(x: &Tensor<4>, window: Window) -> Option<Tensor<4>> {
    let [_, _, height, width] = x.dims();
    let fits = |side: usize| side + 2 * window.padding >= window.kernel;
    if !fits(height) || !fits(width) || !floats(&[x.dtype()]) || window.kernel > 15 || empty(x) {
        return None;
    }
    let x = x.clone().into_dispatch();
    is_here(&[&x]).then(|| {
        Tensor::from_dispatch(<burn::backend::Dispatch as CpuOps>::zoo_max_pool2d(
            x, window,
        ))
    })
}

/// A step of SGD. All tensors are [`here`](handles), without a graph.
pub fn sgd<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    velocity: Option<Tensor<D>>,
    rule: SgdRule,
) -> (Tensor<D>, Option<Tensor<D>>) {
    let (parameter, velocity) = update::sgd(
        primitive(parameter),
        primitive(gradient),
        velocity.map(primitive),
        rule,
    );
    (from_primitive(parameter), velocity.map(from_primitive))
}

/// A step of Adam: parameter, first and second moment. All tensors are [`here`](handles), without a
/// graph.
pub fn adam<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: Option<[Tensor<D>; 2]>,
    rule: AdamRule,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let moments = moments.map(|[first, second]| (primitive(first), primitive(second)));
    let (parameter, first, second) =
        update::adam(primitive(parameter), primitive(gradient), moments, rule);
    (
        from_primitive(parameter),
        [from_primitive(first), from_primitive(second)],
    )
}

/// `a + (b - a) weight`; `None` where it has to be put together from burn's operations.
pub fn blend<const D: usize>(a: &Tensor<D>, b: &Tensor<D>, weight: f64) -> Option<Tensor<D>> {
    handles(&[a, b]).then(|| {
        let (a, b) = (primitive(a.clone()), primitive(b.clone()));
        from_primitive(update::blend(a, b, weight as f32))
    })
}

/// `a + b`, or `None` as [`blend`].
pub fn add<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> Option<Tensor<D>> {
    handles(&[a, b])
        .then(|| from_primitive(update::add(primitive(a.clone()), primitive(b.clone()))))
}

/// The sum of all squares, or `None` as [`blend`].
pub fn square_sum<const D: usize>(tensor: &Tensor<D>) -> Option<f64> {
    handles(&[tensor]).then(|| update::square_sum(&primitive(tensor.clone())))
}

/// Whether steps of an optimiser over these tensors are for this room.
pub fn handles<const D: usize>(tensors: &[&Tensor<D>]) -> bool {
    tensors.iter().all(|tensor| {
        let tensor = (*tensor).clone().into_dispatch();
        match tensor.kind {
            DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => tensor.dtype() == DType::F32,
            _ => false,
        }
    })
}

/// A parameter in the layout in which it is used here: kernels of a convolution as
/// `[k][k][in][out]`. Anything else stays as it is.
pub fn settled<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let mut tensor = tensor.into_dispatch();
    if let DispatchTensorKind::Flex(BackendTensor::Float(values)) = &mut tensor.kind
        && D == 4
        && values.dtype() == DType::F32
    {
        *values = conv::settled(values);
    }
    Tensor::from_dispatch(tensor)
}

fn primitive<const D: usize>(tensor: Tensor<D>) -> FlexTensor {
    match tensor.into_dispatch().kind {
        DispatchTensorKind::Flex(tensor) => tensor.float(),
        _ => unreachable!("the caller has looked where its tensors are"),
    }
}

fn from_primitive<const D: usize>(tensor: FlexTensor) -> Tensor<D> {
    Tensor::from_dispatch(DispatchTensor {
        kind: DispatchTensorKind::Flex(BackendTensor::Float(tensor)),
        autodiff: DispatchAutodiffContext::Disabled,
    })
}
