//! The operations as a program calls them: what they can compute is checked here.

use burn::backend::flex::FlexTensor;
use burn::backend::{
    BackendTensor, Dispatch, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind,
    GradientCheckpointingStrategy, TensorMetadata,
};
use burn::tensor::{DType, Tensor};

use super::batch_norm::Statistics;
use super::epilogue::ChannelEpilogue;
use super::feature_map::MapShape;
use super::ops::{ImageOps, LinearOptions, NormOptions, TokenOps};
use super::packed::PANEL;
use super::simd::allocatable;
use super::tokens::linear as rows_linear;
use super::weight_forms::WeightForms;
use super::window::Window;
use super::{activation, conv, feature_map, kernels, muon, optimizer};
use crate::epilogue::{Act, Epilogue};
use crate::layers::{
    Adam, Attention, BatchNorm, BatchNormTrain, BatchNormTrainOutput, Conv2d, LayerNorm, Linear,
    MaxPool2d, Muon, Sgd,
};

/// Whether an operation is part of a graph of gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Graph {
    No,
    Yes,
    /// One that computes what is cheap again in place of keeping it, which burn does for its own
    /// operations only.
    Checkpointed,
}

/// Whether these tensors are part of a graph; `None` if one of them is not on Flex in 32 bits.
fn graph_of<'a>(tensors: impl IntoIterator<Item = &'a DispatchTensor>) -> Option<Graph> {
    let mut graph = Graph::No;
    for tensor in tensors {
        let on_flex = match &tensor.kind {
            DispatchTensorKind::Flex(_) => true,
            DispatchTensorKind::Autodiff(inner) => {
                if graph == Graph::No {
                    graph = Graph::Yes;
                }
                matches!(**inner, DispatchTensorKind::Flex(_))
            }
            #[allow(unreachable_patterns)]
            _ => false,
        };
        if !on_flex || tensor.dtype() != DType::F32 {
            return None;
        }
        let checkpointed = GradientCheckpointingStrategy::Balanced;
        if tensor.autodiff == DispatchAutodiffContext::Enabled(checkpointed) {
            graph = Graph::Checkpointed;
        }
    }
    Some(graph)
}

fn dispatch<const D: usize>(tensor: &Tensor<D>) -> DispatchTensor {
    tensor.clone().into_dispatch()
}

/// What kernels do of an activation, and what is left to burn: all or nothing.
fn split(act: Act, fast: Act) -> (bool, Act) {
    if act == fast {
        (true, Act::None)
    } else {
        (false, act)
    }
}

/// Convolves, adds the bias, normalises, and applies the epilogue. Without a graph all of it, up to a
/// ReLU, is one pass over the output; in a graph each is an operation with a gradient of its own.
/// `None`: burn has to compute it.
///
/// # Shapes
/// - x: `[batch, in_channels, height, width]`
/// - residual and output: `[batch, out_channels, height', width']`, where each side is
///   `(side + 2 * padding - kernel) / stride + 1`
pub fn conv2d(x: &Tensor<4>, conv: Conv2d<'_>, epilogue: Epilogue<'_, 4>) -> Option<Tensor<4>> {
    let [batch, in_channels, height, width] = x.dims();
    let [out_channels, of_group, kernel, kernel_width] = conv.weight.dims();
    let window = Window {
        kernel,
        stride: conv.stride,
        padding: conv.padding,
        is_direct: conv.is_direct,
    };
    let groups_fit = of_group > 0
        && in_channels.is_multiple_of(of_group)
        && in_channels > 0
        && out_channels.is_multiple_of(in_channels / of_group);
    let windows_fit = kernel == kernel_width && window.fits(height) && window.fits(width);
    if !groups_fit || !windows_fit || out_channels == 0 || x.dims().contains(&0) {
        return None;
    }
    let input_map = MapShape {
        height,
        width,
        batch,
        channels: in_channels,
    };
    let output_map = MapShape {
        height: window.output(height),
        width: window.output(width),
        batch,
        channels: out_channels,
    };
    if !conv::is_allocatable(input_map, output_map, window, in_channels / of_group) {
        return None;
    }
    let norm = conv.norm.iter().flat_map(norm_vectors);
    let vectors: Vec<&Tensor<1>> = conv.bias.into_iter().chain(norm).collect();
    let output = output_map.dims();
    if !vectors_fit(&vectors, out_channels) || !residual_fits(&epilogue, output) {
        return None;
    }
    let maps = [Some(x), Some(conv.weight), epilogue.residual];
    let maps = maps.into_iter().flatten().map(dispatch);
    let tensors: Vec<_> = maps.chain(vectors.into_iter().map(dispatch)).collect();
    match graph_of(&tensors)? {
        Graph::No => return Some(conv2d_without_graph(x, conv, window, epilogue)),
        // The normalisation would be burn's.
        Graph::Checkpointed if conv.norm.is_some() => return None,
        Graph::Yes | Graph::Checkpointed => {}
    }
    let y = <Dispatch as ImageOps>::flex_conv2d(dispatch(x), dispatch(conv.weight), window);
    let mut y = Tensor::from_dispatch(y);
    if let Some(bias) = conv.bias {
        y = y + bias.clone().reshape([1, out_channels, 1, 1]);
    }
    match conv.norm {
        Some(norm) => batch_norm(&y, norm, epilogue),
        None => Some(epilogue.apply(y)),
    }
}

fn conv2d_without_graph(
    x: &Tensor<4>,
    conv: Conv2d<'_>,
    window: Window,
    epilogue: Epilogue<'_, 4>,
) -> Tensor<4> {
    let numbers = |tensor: &Tensor<1>| feature_map::numbers(&primitive(tensor)).into_owned();
    let out_channels = conv.weight.dims()[0];
    let bias = conv.bias.map(numbers);
    let affine = match conv.norm {
        Some(norm) => {
            let mut statistics = Statistics::given(
                &primitive(norm.mean),
                &primitive(norm.variance),
                norm.epsilon,
            );
            if let Some(bias) = bias {
                let pairs = statistics.mean.iter_mut().zip(bias);
                pairs.for_each(|(mean, bias)| *mean -= bias);
            }
            Some(statistics.affine(&numbers(norm.weight), &numbers(norm.bias)))
        }
        None => bias.map(|bias| (vec![1.0; out_channels], bias)),
    };
    let (relu, act) = split(epilogue.act, Act::Relu);
    // Without anything to multiply with or to add, the convolution is all there is to do.
    let affine = if relu || epilogue.residual.is_some() {
        Some(affine.unwrap_or_else(|| (vec![1.0; out_channels], vec![0.0; out_channels])))
    } else {
        affine
    };
    let residual = epilogue.residual.map(primitive);
    let residual = residual.as_ref().map(feature_map::values);
    let epilogue = affine.as_ref().map(|(scale, shift)| ChannelEpilogue {
        scale,
        shift,
        residual: residual.as_deref(),
        relu,
    });
    let [_, of_group, _, _] = conv.weight.dims();
    let layer = (window, [out_channels, of_group, x.dims()[1]]);
    let forms = conv.cache.map(|cache| &cache.forms);
    let forms = forms.filter(|forms| forms.belong_to(layer));
    let (x, weight) = (primitive(x), primitive(conv.weight));
    let (output, _) = conv::forward(&x, &weight, window, epilogue.as_ref(), forms);
    act.forward(from_primitive(output))
}

fn norm_vectors<'a>(norm: &BatchNorm<'a>) -> [&'a Tensor<1>; 4] {
    [norm.weight, norm.bias, norm.mean, norm.variance]
}

fn vectors_fit(vectors: &[&Tensor<1>], len: usize) -> bool {
    vectors.iter().all(|vector| vector.dims() == [len])
}

fn residual_fits<const D: usize>(epilogue: &Epilogue<'_, D>, output: [usize; D]) -> bool {
    epilogue
        .residual
        .is_none_or(|residual| residual.dims() == output)
}

/// Normalises each channel by given statistics and applies the epilogue, up to a ReLU in one pass.
/// `None`: burn has to compute it.
///
/// # Shapes
/// - x, residual and output: `[batch, channels, height, width]`
pub fn batch_norm(
    x: &Tensor<4>,
    norm: BatchNorm<'_>,
    epilogue: Epilogue<'_, 4>,
) -> Option<Tensor<4>> {
    let (relu, act) = split(epilogue.act, Act::Relu);
    let [x, residual] = norm_maps(x, &norm_vectors(&norm), &epilogue)?;
    let [weight, bias, mean, variance] = norm_vectors(&norm).map(dispatch);
    let options = NormOptions {
        epsilon: norm.epsilon,
        adds_residual: epilogue.residual.is_some(),
        relu,
        sync: None,
    };
    let output =
        <Dispatch as ImageOps>::flex_batch_norm(x, weight, bias, mean, variance, residual, options);
    Some(act.forward(Tensor::from_dispatch(output)))
}

/// Normalises each channel by the batch's statistics and applies the epilogue, up to a ReLU in two
/// passes. `None`: burn has to compute it.
///
/// # Shapes
/// - x and residual: `[batch, channels, height, width]`
pub fn batch_norm_train(
    x: &Tensor<4>,
    norm: BatchNormTrain<'_>,
    epilogue: Epilogue<'_, 4>,
) -> Option<BatchNormTrainOutput> {
    let (relu, act) = split(epilogue.act, Act::Relu);
    let vectors = [norm.weight, norm.bias];
    let [x, residual] = norm_maps(x, &vectors, &epilogue)?;
    let [weight, bias] = vectors.map(dispatch);
    let options = NormOptions {
        epsilon: norm.epsilon,
        adds_residual: epilogue.residual.is_some(),
        relu,
        sync: norm.sync.cloned(),
    };
    let (output, mean, variance) =
        <Dispatch as ImageOps>::flex_batch_norm_train(x, weight, bias, residual, options);
    Some(BatchNormTrainOutput {
        output: act.forward(Tensor::from_dispatch(output)),
        mean: Tensor::from_dispatch(mean),
        unbiased_variance: Tensor::from_dispatch(variance),
    })
}

/// The input of a batch normalisation and its residual, or what stands in for one; `None` where burn
/// has to compute it.
fn norm_maps(
    x: &Tensor<4>,
    vectors: &[&Tensor<1>],
    epilogue: &Epilogue<'_, 4>,
) -> Option<[DispatchTensor; 2]> {
    let shapes_fit = vectors_fit(vectors, x.dims()[1]) && residual_fits(epilogue, x.dims());
    if !shapes_fit || x.dims().contains(&0) || !allocatable(&x.dims()) {
        return None;
    }
    let maps = [dispatch(x), dispatch(epilogue.residual.unwrap_or(x))];
    let vectors: Vec<_> = vectors.iter().map(|vector| dispatch(vector)).collect();
    let graph = graph_of(maps.iter().chain(&vectors))?;
    (graph != Graph::Checkpointed).then_some(maps)
}

/// The largest value of each window, NaN if there is one. `None`: burn has to compute it.
///
/// # Shapes
/// - x: `[batch, channels, height, width]`
/// - output: each side is `(side + 2 * padding - kernel) / stride + 1`
pub fn max_pool2d(x: &Tensor<4>, pool: MaxPool2d) -> Option<Tensor<4>> {
    /// The side of the largest window whose taps can be numbered in 8 bits.
    const LARGEST: usize = 15;
    let [batch, channels, height, width] = x.dims();
    let window = Window {
        kernel: pool.kernel,
        stride: pool.stride,
        padding: pool.padding,
        is_direct: true,
    };
    let windows_fit = window.fits(height) && window.fits(width);
    let all_see_something = pool.padding < pool.kernel && pool.kernel <= LARGEST;
    if !windows_fit || !all_see_something || x.dims().contains(&0) {
        return None;
    }
    let output = [window.output(height), window.output(width)];
    if !allocatable(&x.dims()) || !allocatable(&[batch, channels, output[0], output[1]]) {
        return None;
    }
    let x = dispatch(x);
    graph_of([&x])?;
    let output = <Dispatch as ImageOps>::flex_max_pool2d(x, window);
    Some(Tensor::from_dispatch(output))
}

/// `x weightᵀ + bias` and the epilogue, up to a GELU in one pass over the output. `None`: burn has to
/// compute it.
///
/// # Shapes
/// - x: `[.., in_features]`
/// - residual and output: `[.., out_features]`
pub fn linear<const D: usize>(
    x: &Tensor<D>,
    linear: Linear<'_>,
    epilogue: Epilogue<'_, D>,
) -> Option<Tensor<D>> {
    let [outputs, inputs] = linear.weight.dims();
    let mut output = x.dims();
    output[D - 1] = outputs;
    let bias_fits = linear.bias.is_none_or(|bias| bias.dims() == [outputs]);
    let shapes_fit = x.dims()[D - 1] == inputs && bias_fits && residual_fits(&epilogue, output);
    if !shapes_fit || x.dims().contains(&0) || outputs == 0 {
        return None;
    }
    // Each may be packed in whole panels, forward or backward.
    let [columns, depth] = [
        outputs.checked_next_multiple_of(PANEL)?,
        inputs.checked_next_multiple_of(PANEL)?,
    ];
    let mut packed_input = x.dims();
    packed_input[D - 1] = depth;
    let sizes = [&packed_input[..], &output, &[columns, depth]];
    if !sizes.into_iter().all(allocatable) {
        return None;
    }
    let zeros;
    let bias = match linear.bias {
        Some(bias) => bias,
        None => {
            zeros = Tensor::zeros([outputs], &x.device());
            &zeros
        }
    };
    let residual = epilogue.residual.unwrap_or(x);
    let tensors = [
        dispatch(x),
        dispatch(linear.weight),
        dispatch(bias),
        dispatch(residual),
    ];
    let (gelu, act) = split(epilogue.act, Act::Gelu);
    let output = match graph_of(&tensors)? {
        Graph::Checkpointed => return None,
        Graph::No => {
            let unused = WeightForms::default();
            let window = Window {
                kernel: 1,
                stride: 1,
                padding: 0,
                is_direct: true,
            };
            let forms = linear.cache.map(|cache| &cache.forms);
            let forms = forms
                .filter(|forms| forms.belong_to((window, [outputs, inputs, inputs])))
                .unwrap_or(&unused);
            let [x, weight, bias, residual] = tensors.map(flex_tensor);
            let residual = epilogue.residual.is_some().then_some(&residual);
            from_primitive(rows_linear::forward(
                &x, &weight, &bias, residual, gelu, forms,
            ))
        }
        Graph::Yes => {
            let [x, weight, bias, residual] = tensors;
            let options = LinearOptions {
                adds_residual: epilogue.residual.is_some(),
                gelu,
            };
            let output = <Dispatch as TokenOps>::flex_linear(x, weight, bias, residual, options);
            Tensor::from_dispatch(output)
        }
    };
    Some(act.forward(output))
}

/// Normalises the last dimension. `None`: burn has to compute it.
///
/// # Shapes
/// - x and output: `[.., features]`
pub fn layer_norm<const D: usize>(x: &Tensor<D>, norm: LayerNorm<'_>) -> Option<Tensor<D>> {
    let vectors = [norm.weight, norm.bias];
    let shapes_fit = vectors_fit(&vectors, x.dims()[D - 1]) && allocatable(&x.dims());
    if !shapes_fit || x.dims().contains(&0) {
        return None;
    }
    let x = dispatch(x);
    let [weight, bias] = vectors.map(dispatch);
    if graph_of([&x, &weight, &bias])? == Graph::Checkpointed {
        return None;
    }
    let output = <Dispatch as TokenOps>::flex_layer_norm(x, weight, bias, norm.epsilon);
    Some(Tensor::from_dispatch(output))
}

/// `softmax(q kᵀ / sqrt(width / heads)) v` for each image or sentence and head. `None`: burn has to
/// compute it.
///
/// # Shapes
/// - qkv: `[batch, length, 3 * width]`: of each token its queries, then keys, then values, of all heads
///   each
/// - output: `[batch, length, width]`
pub fn attention(qkv: &Tensor<3>, attention: Attention) -> Option<Tensor<3>> {
    let [batch, length, width] = qkv.dims();
    let per_size = attention.heads.checked_mul(3)?;
    if per_size == 0 || !width.is_multiple_of(per_size) || qkv.dims().contains(&0) {
        return None;
    }
    let sizes_fit = allocatable(&qkv.dims());
    let qkv = dispatch(qkv);
    // All scores are kept for a gradient, and those of one task otherwise.
    let scores_fit = match graph_of([&qkv])? {
        Graph::Checkpointed => return None,
        Graph::Yes => allocatable(&[batch, attention.heads, length, length]),
        Graph::No => allocatable(&[length, length]),
    };
    if !sizes_fit || !scores_fit {
        return None;
    }
    let output = <Dispatch as TokenOps>::flex_attention(qkv, attention.heads);
    Some(Tensor::from_dispatch(output))
}

/// The activation of each number, in the tensor's memory where nobody else uses it. `Err` gives the
/// tensor back: burn has to compute it, which is so for ReLU and the hyperbolic tangent, too.
///
/// # Shapes
/// - x and output: any, the same
// As usual as the other outcome, and no larger.
#[allow(clippy::result_large_err)]
pub fn activation<const D: usize>(x: Tensor<D>, act: Act) -> Result<Tensor<D>, Tensor<D>> {
    if !activation::is_fast(act) || !allocatable(&x.dims()) || x.dims().contains(&0) {
        return Err(x);
    }
    let x = x.into_dispatch();
    match graph_of([&x]) {
        None | Some(Graph::Checkpointed) => Err(Tensor::from_dispatch(x)),
        Some(Graph::No) => Ok(from_primitive(activation::forward(flex_tensor(x), act))),
        Some(Graph::Yes) => {
            let output = <Dispatch as TokenOps>::flex_activation(x, act);
            Ok(Tensor::from_dispatch(output))
        }
    }
}

/// The input of a block whose two branches come together again, once for each of them. The loss has
/// to depend on both.
///
/// On Flex the branches' gradients are added in one go, by all threads; elsewhere these are clones.
///
/// # Shapes
/// - x and both outputs: any, the same
pub fn fork<const D: usize>(x: Tensor<D>) -> [Tensor<D>; 2] {
    let tensor = dispatch(&x);
    match graph_of([&tensor]).filter(|_| allocatable(&x.dims())) {
        None | Some(Graph::No) => [x.clone(), x],
        Some(Graph::Yes | Graph::Checkpointed) => {
            let (a, b) = <Dispatch as TokenOps>::flex_fork(tensor);
            [a, b].map(Tensor::from_dispatch)
        }
    }
}

/// A parameter in the memory layout in which it is computed with: kernels of a convolution,
/// `[out, in, k, k]`, lie as `[k][k][in][out]`. Values and shape stay; anything else stays as it is.
///
/// Kernels in any layout are accepted everywhere, and others brought into this one in each pass.
pub fn kernel_layout<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let mut tensor = tensor.into_dispatch();
    if let DispatchTensorKind::Flex(BackendTensor::Float(values)) = &mut tensor.kind
        && D == 4
        && values.dtype() == DType::F32
        && allocatable(values.layout().shape())
    {
        *values = kernels::kernel_layout(values);
    }
    Tensor::from_dispatch(tensor)
}

/// Whether [`kernel_layout`] lays out a tensor like this one, if it has no graph.
pub fn lays_out_kernels<const D: usize>(tensor: &Tensor<D>) -> bool {
    D == 4 && graph_of([&dispatch(tensor)]).is_some()
}

/// A tensor in the order of its axes. Kernels in the layout of [`kernel_layout`] are brought into it by
/// blocks and on all threads, which burn's own copy is not; any other tensor is left as it is.
///
/// Values and shape stay. The tensor has to be without a graph.
pub fn row_major<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let mut tensor = tensor.into_dispatch();
    if let DispatchTensorKind::Flex(BackendTensor::Float(values)) = &mut tensor.kind
        && D == 4
        && values.dtype() == DType::F32
        && allocatable(values.layout().shape())
        && let Some(reordered) = kernels::row_major(values)
    {
        *values = reordered;
    }
    Tensor::from_dispatch(tensor)
}

/// A step of SGD in one pass over memory, which is changed in place where nobody else holds it.
/// `velocity` is `None` before the first step, and stays so without momentum.
///
/// Returns whether there was a step: where not, nothing has changed, and burn has to compute it. The
/// tensors have to be of one shape and without a graph.
#[must_use]
pub fn sgd_step<const D: usize>(
    sgd: Sgd,
    parameter: &mut Tensor<D>,
    gradient: &Tensor<D>,
    velocity: &mut Option<Tensor<D>>,
) -> bool {
    step_with_velocity(
        parameter,
        gradient,
        velocity,
        |parameter, gradient, velocity| optimizer::sgd(parameter, gradient, velocity, sgd),
    )
}

/// A step of an optimiser that remembers a velocity, if there is an operation for these tensors.
fn step_with_velocity<const D: usize>(
    parameter: &mut Tensor<D>,
    gradient: &Tensor<D>,
    velocity: &mut Option<Tensor<D>>,
    step: impl FnOnce(FlexTensor, FlexTensor, Option<FlexTensor>) -> (FlexTensor, Option<FlexTensor>),
) -> bool {
    let tensors = [Some(&*parameter), Some(gradient), velocity.as_ref()];
    if !alike(tensors.into_iter().flatten()) {
        return false;
    }
    let (new_parameter, new_velocity) = step(
        flex_tensor(take(parameter, gradient).into_dispatch()),
        primitive(gradient),
        velocity.take().map(|v| flex_tensor(v.into_dispatch())),
    );
    *parameter = from_primitive(new_parameter);
    *velocity = new_velocity.map(from_primitive);
    true
}

/// A step of Adam or AdamW in one pass over memory, which is changed in place where nobody else holds
/// it. `moments`, the averages of the gradients and of their squares, are `None` before the first
/// step.
///
/// Returns whether there was a step: where not, nothing has changed, and burn has to compute it. The
/// tensors have to be of one shape and without a graph, and steps to count from 1.
#[must_use]
pub fn adam_step<const D: usize>(
    adam: Adam,
    parameter: &mut Tensor<D>,
    gradient: &Tensor<D>,
    moments: &mut Option<[Tensor<D>; 2]>,
) -> bool {
    let tensors = [&*parameter, gradient].into_iter();
    if adam.step == 0 || !alike(tensors.chain(moments.iter().flatten())) {
        return false;
    }
    let [new_parameter, first, second] = optimizer::adam(
        flex_tensor(take(parameter, gradient).into_dispatch()),
        primitive(gradient),
        moments
            .take()
            .map(|moments| moments.map(|moment| flex_tensor(moment.into_dispatch()))),
        adam,
    )
    .map(from_primitive);
    *parameter = new_parameter;
    *moments = Some([first, second]);
    true
}

/// A step of Muon, changed in place where nobody else holds it. `velocity` is `None` before the first
/// step.
///
/// Returns whether there was a step: where not, nothing has changed, and burn has to compute it. The
/// tensors have to be of one shape and without a graph.
#[must_use]
pub fn muon_step<const D: usize>(
    rule: Muon,
    parameter: &mut Tensor<D>,
    gradient: &Tensor<D>,
    velocity: &mut Option<Tensor<D>>,
) -> bool {
    step_with_velocity(
        parameter,
        gradient,
        velocity,
        |parameter, gradient, velocity| {
            let (parameter, velocity) = muon::step(parameter, gradient, velocity, rule);
            (parameter, Some(velocity))
        },
    )
}

/// A tensor out of its place, where any other one stands in for it.
fn take<const D: usize>(tensor: &mut Tensor<D>, stand_in: &Tensor<D>) -> Tensor<D> {
    std::mem::replace(tensor, stand_in.clone())
}

/// `a + weight (b - a)`, exactly `a` where both are equal. `None`: burn has to compute it.
pub fn lerp<const D: usize>(a: &Tensor<D>, b: &Tensor<D>, weight: f64) -> Option<Tensor<D>> {
    alike([a, b]).then(|| {
        let sum = optimizer::lerp(primitive(a), primitive(b), weight as f32);
        from_primitive(sum)
    })
}

/// `a + b`, in the memory layout of `b`. `None`: burn has to compute it.
pub fn add<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> Option<Tensor<D>> {
    alike([a, b]).then(|| from_primitive(optimizer::add(primitive(a), primitive(b))))
}

/// The sum of all squares, on the host. `None`: burn has to compute it.
pub fn sum_of_squares<const D: usize>(tensor: &Tensor<D>) -> Option<f64> {
    alike([tensor]).then(|| optimizer::with_numbers(&primitive(tensor), optimizer::sum_of_squares))
}

/// Whether tensors are on Flex in 32 bits, without a graph, and of one shape that can be in memory.
fn alike<'a, const D: usize>(tensors: impl IntoIterator<Item = &'a Tensor<D>>) -> bool {
    let mut shape = None;
    tensors.into_iter().all(|tensor| {
        *shape.get_or_insert(tensor.dims()) == tensor.dims()
            && allocatable(&tensor.dims())
            && graph_of([&dispatch(tensor)]) == Some(Graph::No)
    })
}

fn primitive<const D: usize>(tensor: &Tensor<D>) -> FlexTensor {
    flex_tensor(dispatch(tensor))
}

fn flex_tensor(tensor: DispatchTensor) -> FlexTensor {
    match tensor.kind {
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
