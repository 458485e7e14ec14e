//! The operations' gradients.

use std::sync::{Arc, Mutex};

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend as _, Flex};

use super::batch_norm::{self, Statistics};
use super::feature_map::{self, MapShape};
use super::kernels::Kernels;
use super::ops::{ImageOps, LinearOptions, NormOptions, TokenOps};
use super::tokens::layer_norm::RowStatistics;
use super::tokens::{attention, layer_norm, linear, rows};
use super::weight_forms::WeightForms;
use super::window::Window;
use super::{activation, conv, max_pool};
use crate::epilogue::Act;
use crate::layers::StatisticsSync;

/// A tensor of the autodiff backend.
type Node<C> = FloatTensor<Autodiff<Flex, C>>;

/// An output in the graph, with what its gradient needs where one is wanted.
fn node<C, B, const N: usize>(
    operation: B,
    parents: [NodeGuard; N],
    output: FlexTensor,
    state: impl FnOnce() -> B::State,
) -> Node<C>
where
    C: CheckpointStrategy,
    B: Backward<Flex, N>,
{
    match operation.prepare::<C>(parents).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(state(), output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    }
}

impl<C: CheckpointStrategy> ImageOps for Autodiff<Flex, C> {
    fn flex_conv2d(x: Node<C>, weight: Node<C>, window: Window) -> Node<C> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (output, kernels) = conv::forward(&x, &weight, window, None, None);
        node::<C, _, _>(ConvBackward, [x_node, weight_node], output, || ConvState {
            x,
            kernels: Arc::new(kernels),
            window,
        })
    }

    fn flex_batch_norm_train(
        x: Node<C>,
        weight: Node<C>,
        bias: Node<C>,
        residual: Node<C>,
        options: NormOptions,
    ) -> (Node<C>, Node<C>, Node<C>) {
        let values = x.clone().into_primitive();
        let statistics = Statistics::of_batch(&values, options.epsilon, options.sync.as_deref());
        let [mean, variance] = [statistics.mean.clone(), statistics.unbiased_variance()]
            .map(|values| Self::from_inner(feature_map::vector(values)));
        let output = batch_norm_node::<C>(x, weight, bias, residual, options, statistics, true);
        (output, mean, variance)
    }

    fn flex_batch_norm(
        x: Node<C>,
        weight: Node<C>,
        bias: Node<C>,
        mean: Node<C>,
        variance: Node<C>,
        residual: Node<C>,
        options: NormOptions,
    ) -> Node<C> {
        let (mean, variance) = (mean.into_primitive(), variance.into_primitive());
        let statistics = Statistics::given(&mean, &variance, options.epsilon);
        batch_norm_node::<C>(x, weight, bias, residual, options, statistics, false)
    }

    fn flex_max_pool2d(x: Node<C>, window: Window) -> Node<C> {
        let (x, parent) = x.into_parts();
        let (output, taps) = max_pool::forward(&x, window);
        node::<C, _, _>(PoolBackward, [parent], output, || {
            (Arc::new(taps), window, MapShape::of(&x))
        })
    }
}

fn batch_norm_node<C: CheckpointStrategy>(
    x: Node<C>,
    weight: Node<C>,
    bias: Node<C>,
    residual: Node<C>,
    options: NormOptions,
    statistics: Statistics,
    of_batch: bool,
) -> Node<C> {
    let (x, x_node) = x.into_parts();
    let (weight, weight_node) = weight.into_parts();
    let (bias, bias_node) = bias.into_parts();
    let (residual, residual_node) = residual.into_parts();
    let added = options.adds_residual.then_some(&residual);
    let output = batch_norm::forward(&x, &weight, &bias, &statistics, added, options.relu);
    let relu_output = options.relu.then(|| output.clone());
    let parents = [x_node, weight_node, bias_node, residual_node];
    node::<C, _, _>(BatchNormBackward, parents, output, || BatchNormState {
        x,
        relu_output,
        weight,
        statistics: Arc::new(statistics),
        of_batch,
        adds_residual: options.adds_residual,
        sync: options.sync,
    })
}

impl<C: CheckpointStrategy> TokenOps for Autodiff<Flex, C> {
    fn flex_linear(
        x: Node<C>,
        weight: Node<C>,
        bias: Node<C>,
        residual: Node<C>,
        options: LinearOptions,
    ) -> Node<C> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let (residual, residual_node) = residual.into_parts();
        let added = options.adds_residual.then_some(&residual);
        let forms = WeightForms::default();
        let forward = |gelu| linear::forward(&x, &weight, &bias, added, gelu, &forms);
        let parents = [x_node, weight_node, bias_node, residual_node];
        match LinearBackward
            .prepare::<C>(parents)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                // What goes into GELU is needed on the way back.
                let output = forward(false);
                let (output, gelu_input) = if options.gelu {
                    (activation::forward(output.clone(), Act::Gelu), Some(output))
                } else {
                    (output, None)
                };
                let state = LinearState {
                    x,
                    weight,
                    gelu_input,
                    adds_residual: options.adds_residual,
                };
                prepared.finish(state, output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(forward(options.gelu)),
        }
    }

    fn flex_layer_norm(x: Node<C>, weight: Node<C>, bias: Node<C>, epsilon: f64) -> Node<C> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let (output, statistics) = layer_norm::forward(&x, &weight, &bias, epsilon);
        let parents = [x_node, weight_node, bias_node];
        node::<C, _, _>(LayerNormBackward, parents, output, || {
            (x, weight, Arc::new(statistics))
        })
    }

    fn flex_attention(qkv: Node<C>, heads: usize) -> Node<C> {
        let (qkv, parent) = qkv.into_parts();
        match AttentionBackward
            .prepare::<C>([parent])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                let (output, scores) = attention::forward(&qkv, heads, true);
                prepared.finish((qkv, Arc::new(scores), heads), output)
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(attention::forward(&qkv, heads, false).0)
            }
        }
    }

    fn flex_activation(x: Node<C>, act: Act) -> Node<C> {
        let (x, parent) = x.into_parts();
        let output = activation::forward(x.clone(), act);
        node::<C, _, _>(ActivationBackward, [parent], output, || (x, act))
    }

    fn flex_fork(x: Node<C>) -> (Node<C>, Node<C>) {
        let first_gradient = FirstGradient::default();
        let branch = |x: Node<C>| {
            let (x, parent) = x.into_parts();
            node::<C, _, _>(ForkBackward, [parent], x, || first_gradient.clone())
        };
        (branch(x.clone()), branch(x))
    }
}

#[derive(Debug)]
struct ConvBackward;

#[derive(Debug, Clone)]
struct ConvState {
    x: FlexTensor,
    kernels: Arc<Kernels>,
    window: Window,
}

impl Backward<Flex, 2> for ConvBackward {
    type State = ConvState;

    fn backward(self, ops: Ops<ConvState, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weight_node] = ops.parents;
        let ConvState { x, kernels, window } = ops.state;
        let gradient = gradients.consume::<Flex>(&ops.node);
        if let Some(node) = x_node {
            let of_x = conv::input_gradient(&gradient, &kernels, window, MapShape::of(&x));
            gradients.register::<Flex>(node.id, of_x);
        }
        if let Some(node) = weight_node {
            let groups = MapShape::of(&x).channels / kernels.input;
            let of_weight = conv::kernel_gradient(&x, &gradient, window, groups);
            gradients.register::<Flex>(node.id, of_weight);
        }
    }
}

#[derive(Debug)]
struct BatchNormBackward;

#[derive(Debug, Clone)]
struct BatchNormState {
    x: FlexTensor,
    relu_output: Option<FlexTensor>,
    weight: FlexTensor,
    statistics: Arc<Statistics>,
    of_batch: bool,
    adds_residual: bool,
    sync: Option<Arc<dyn StatisticsSync>>,
}

impl Backward<Flex, 4> for BatchNormBackward {
    type State = BatchNormState;

    fn backward(
        self,
        ops: Ops<BatchNormState, 4>,
        gradients: &mut Gradients,
        _: &mut Checkpointer,
    ) {
        let [x, weight, bias, residual] = ops.parents;
        let state = ops.state;
        let gradient = gradients.consume::<Flex>(&ops.node);
        let residual = residual.filter(|_| state.adds_residual);
        let of = batch_norm::Backward {
            gradient: &gradient,
            x: &state.x,
            relu_output: state.relu_output.as_ref(),
            weight: &state.weight,
            statistics: &state.statistics,
            of_batch: state.of_batch,
            sync: state.sync.as_deref(),
            input_needed: x.is_some(),
            residual_needed: residual.is_some(),
        }
        .run();
        let pairs = [
            (x, of.input),
            (weight, Some(of.weight)),
            (bias, Some(of.bias)),
            (residual, of.residual),
        ];
        for (node, gradient) in pairs {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                gradients.register::<Flex>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct PoolBackward;

impl Backward<Flex, 1> for PoolBackward {
    type State = (Arc<Vec<u8>>, Window, MapShape);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [x] = ops.parents;
        let (taps, window, input) = ops.state;
        let gradient = gradients.consume::<Flex>(&ops.node);
        if let Some(x) = x {
            let of_x = max_pool::backward(&gradient, &taps, window, input);
            gradients.register::<Flex>(x.id, of_x);
        }
    }
}

#[derive(Debug)]
struct LinearBackward;

#[derive(Debug, Clone)]
struct LinearState {
    x: FlexTensor,
    weight: FlexTensor,
    gelu_input: Option<FlexTensor>,
    adds_residual: bool,
}

impl Backward<Flex, 4> for LinearBackward {
    type State = LinearState;

    fn backward(self, ops: Ops<LinearState, 4>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [x, weight, bias, residual] = ops.parents;
        let state = ops.state;
        let mut gradient = gradients.consume::<Flex>(&ops.node);
        if let Some(gelu_input) = &state.gelu_input {
            gradient = activation::backward(gradient, gelu_input, Act::Gelu);
        }
        if let Some(bias) = bias {
            gradients.register::<Flex>(bias.id, linear::bias_gradient(&gradient));
        }
        if let Some(weight) = weight {
            let of_weight = linear::weight_gradient(&gradient, &state.x);
            gradients.register::<Flex>(weight.id, of_weight);
        }
        if let Some(x) = x {
            let of_x = linear::input_gradient(&gradient, &state.weight);
            gradients.register::<Flex>(x.id, of_x);
        }
        if let Some(residual) = residual.filter(|_| state.adds_residual) {
            gradients.register::<Flex>(residual.id, gradient);
        }
    }
}

#[derive(Debug)]
struct LayerNormBackward;

impl Backward<Flex, 3> for LayerNormBackward {
    type State = (FlexTensor, FlexTensor, Arc<Vec<RowStatistics>>);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weight_node, bias_node] = ops.parents;
        let (x, weight, statistics) = ops.state;
        let gradient = gradients.consume::<Flex>(&ops.node);
        let of = layer_norm::backward(&gradient, &x, &weight, &statistics, x_node.is_some());
        let pairs = [
            (x_node, of.input),
            (weight_node, Some(of.weight)),
            (bias_node, Some(of.bias)),
        ];
        for (node, gradient) in pairs {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                gradients.register::<Flex>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct AttentionBackward;

impl Backward<Flex, 1> for AttentionBackward {
    type State = (FlexTensor, Arc<Vec<f32>>, usize);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [parent] = ops.parents;
        let (qkv, scores, heads) = ops.state;
        let gradient = gradients.consume::<Flex>(&ops.node);
        if let Some(parent) = parent {
            let of_qkv = attention::backward(&gradient, &qkv, &scores, heads);
            gradients.register::<Flex>(parent.id, of_qkv);
        }
    }
}

#[derive(Debug)]
struct ActivationBackward;

impl Backward<Flex, 1> for ActivationBackward {
    type State = (FlexTensor, Act);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [parent] = ops.parents;
        let gradient = gradients.consume::<Flex>(&ops.node);
        let (x, act) = ops.state;
        if let Some(parent) = parent {
            gradients.register::<Flex>(parent.id, activation::backward(gradient, &x, act));
        }
    }
}

/// The gradient of the branch that came first, until the other one's is there.
type FirstGradient = Arc<Mutex<Option<FlexTensor>>>;

#[derive(Debug)]
struct ForkBackward;

impl Backward<Flex, 1> for ForkBackward {
    type State = FirstGradient;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [x] = ops.parents;
        let gradient = gradients.consume::<Flex>(&ops.node);
        let first = {
            let mut slot = ops.state.lock().unwrap_or_else(|held| held.into_inner());
            match slot.take() {
                None => {
                    *slot = Some(gradient);
                    return;
                }
                Some(first) => first,
            }
        };
        if let Some(x) = x {
            let sum = match first.layout().shape().len() {
                4 => feature_map::add(first, gradient),
                _ => rows::add(first, gradient),
            };
            gradients.register::<Flex>(x.id, sum);
        }
    }
}
