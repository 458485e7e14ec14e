//! The operations' own backward passes.

use std::sync::{Arc, Mutex};

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend as _, Flex};

use super::conv::{self, Kernels, Window};
use super::map::Sides;
use super::norm::{self, Statistics};
use super::{CpuOps, Epilogue, pool};

/// A tensor of the autodiff backend.
type Node<C> = FloatTensor<Autodiff<Flex, C>>;

impl<C: CheckpointStrategy> CpuOps for Autodiff<Flex, C> {
    fn zoo_conv2d(x: Node<C>, weight: Node<C>, window: Window) -> Node<C> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (output, kernels) = conv::forward(&x, &weight, window, None, None);
        let prepared = ConvBackward.prepare::<C>([x_node, weight_node]);
        match prepared.compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let state = ConvState {
                    x,
                    kernels: Arc::new(kernels),
                    window,
                };
                prepared.finish(state, output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }

    fn zoo_norm_train(
        x: Node<C>,
        weight: Node<C>,
        bias: Node<C>,
        residual: Node<C>,
        epilogue: Epilogue,
        epsilon: f64,
    ) -> (Node<C>, Node<C>, Node<C>) {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let (residual, residual_node) = residual.into_parts();
        let added = epilogue.residual.then_some(&residual);
        let (output, statistics) =
            norm::forward_train(&x, &weight, &bias, added, epilogue.relu, epsilon);
        let mean = super::map::vector(statistics.mean.clone());
        let variance = super::map::vector(statistics.variance.clone());
        let nodes = [x_node, weight_node, bias_node, residual_node];
        let prepared = NormBackward.prepare::<C>(nodes);
        let output = match prepared.compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let state = NormState {
                    x,
                    output: epilogue.relu.then(|| output.clone()),
                    weight,
                    statistics: Arc::new(statistics),
                    own: true,
                    epilogue,
                };
                prepared.finish(state, output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        };
        (output, Self::from_inner(mean), Self::from_inner(variance))
    }

    fn zoo_norm_eval(
        x: Node<C>,
        weight: Node<C>,
        bias: Node<C>,
        mean: Node<C>,
        variance: Node<C>,
        residual: Node<C>,
        epilogue: Epilogue,
        epsilon: f64,
    ) -> Node<C> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let (residual, residual_node) = residual.into_parts();
        let (mean, variance) = (mean.into_primitive(), variance.into_primitive());
        let statistics = Statistics::given(&mean, &variance, epsilon);
        let added = epilogue.residual.then_some(&residual);
        let output = norm::forward(&x, &weight, &bias, &statistics, added, epilogue.relu);
        let nodes = [x_node, weight_node, bias_node, residual_node];
        let prepared = NormBackward.prepare::<C>(nodes);
        match prepared.compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let state = NormState {
                    x,
                    output: epilogue.relu.then(|| output.clone()),
                    weight,
                    statistics: Arc::new(statistics),
                    own: false,
                    epilogue,
                };
                prepared.finish(state, output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }

    fn zoo_fork(x: Node<C>) -> (Node<C>, Node<C>) {
        let slot = Slot::default();
        let branch = |x: Node<C>| {
            let (x, node) = x.into_parts();
            match ForkBackward.prepare::<C>([node]).compute_bound().stateful() {
                OpsKind::Tracked(prepared) => prepared.finish(slot.clone(), x),
                OpsKind::UnTracked(prepared) => prepared.finish(x),
            }
        };
        (branch(x.clone()), branch(x))
    }

    fn zoo_max_pool2d(x: Node<C>, window: Window) -> Node<C> {
        let (x, node) = x.into_parts();
        let (output, taps) = pool::forward(&x, window);
        match PoolBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let state = (Arc::new(taps), window, Sides::of(&x));
                prepared.finish(state, output)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}

/// The gradient of the branch that came first, until the other one's is there.
type Slot = Arc<Mutex<Option<FlexTensor>>>;

#[derive(Debug)]
struct ForkBackward;

impl Backward<Flex, 1> for ForkBackward {
    type State = Slot;

    fn backward(self, ops: Ops<Slot, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
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
                4 => super::map::add(first, gradient),
                _ => super::tokens::add(first, gradient),
            };
            gradients.register::<Flex>(x.id, sum);
        }
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
        let [x, weight] = ops.parents;
        let ConvState {
            x: input,
            kernels,
            window,
        } = ops.state;
        let gradient = gradients.consume::<Flex>(&ops.node);
        if let Some(x) = x {
            let found = conv::input_gradient(&gradient, &kernels, window, Sides::of(&input));
            gradients.register::<Flex>(x.id, found);
        }
        if let Some(weight) = weight {
            let groups = Sides::of(&input).channels / kernels.input;
            let found = conv::kernel_gradient(&input, &gradient, window, groups);
            gradients.register::<Flex>(weight.id, found);
        }
    }
}

#[derive(Debug)]
struct NormBackward;

#[derive(Debug, Clone)]
struct NormState {
    x: FlexTensor,
    output: Option<FlexTensor>,
    weight: FlexTensor,
    statistics: Arc<Statistics>,
    own: bool,
    epilogue: Epilogue,
}

impl Backward<Flex, 4> for NormBackward {
    type State = NormState;

    fn backward(self, ops: Ops<NormState, 4>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [x, weight, bias, residual] = ops.parents;
        let state = ops.state;
        let gradient = gradients.consume::<Flex>(&ops.node);
        // Without an addition, the residual is a stand-in that gets nothing.
        let residual = residual.filter(|_| state.epilogue.residual);
        let found = norm::Backward {
            gradient: &gradient,
            x: &state.x,
            output: state.output.as_ref(),
            weight: &state.weight,
            statistics: &state.statistics,
            own: state.own,
            wants_input: x.is_some(),
            wants_residual: residual.is_some(),
        }
        .run();
        if let (Some(x), Some(found)) = (x, found.input) {
            gradients.register::<Flex>(x.id, found);
        }
        if let Some(weight) = weight {
            gradients.register::<Flex>(weight.id, found.weight);
        }
        if let Some(bias) = bias {
            gradients.register::<Flex>(bias.id, found.bias);
        }
        if let (Some(residual), Some(found)) = (residual, found.residual) {
            gradients.register::<Flex>(residual.id, found);
        }
    }
}

#[derive(Debug)]
struct PoolBackward;

impl Backward<Flex, 1> for PoolBackward {
    type State = (Arc<Vec<u8>>, Window, Sides);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [x] = ops.parents;
        let (taps, window, input) = ops.state;
        let gradient = gradients.consume::<Flex>(&ops.node);
        if let Some(x) = x {
            let found = pool::backward(&gradient, &taps, window, input);
            gradients.register::<Flex>(x.id, found);
        }
    }
}
