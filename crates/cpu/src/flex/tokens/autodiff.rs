//! The operations' own backward passes.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};

use super::norm::{self, Row};
use super::{Follow, Prepared, TokenOps, attention, linear};
use super::{affine, attend, heads_of, sides, tensor, values};

/// A tensor of the autodiff backend.
type Node<C> = FloatTensor<Autodiff<Flex, C>>;

impl<C: CheckpointStrategy> TokenOps for Autodiff<Flex, C> {
    fn zoo_linear(
        x: Node<C>,
        weight: Node<C>,
        bias: Node<C>,
        residual: Node<C>,
        follow: Follow,
        prepared: Option<Arc<Prepared>>,
    ) -> Node<C> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let (residual, residual_node) = residual.into_parts();
        let other = follow.residual.then_some(&residual);
        let prepared = prepared.unwrap_or_default();
        let nodes = [x_node, weight_node, bias_node, residual_node];
        match LinearBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(node) => {
                // What goes into GELU is needed on the way back.
                let before = match follow.gelu {
                    true => Some(affine(&x, &weight, &bias, None, false, &prepared)),
                    false => None,
                };
                let output = match &before {
                    Some(before) => {
                        let output = linear::gelu_of(&values(before));
                        let output = tensor(output, before.layout().shape().clone());
                        match other {
                            Some(other) => super::add(output, other.clone()),
                            None => output,
                        }
                    }
                    None => affine(&x, &weight, &bias, other, false, &prepared),
                };
                let state = LinearState {
                    x,
                    weight,
                    before,
                    residual: follow.residual,
                };
                node.finish(state, output)
            }
            OpsKind::UnTracked(node) => {
                let output = affine(&x, &weight, &bias, other, follow.gelu, &prepared);
                node.finish(output)
            }
        }
    }

    fn zoo_layer_norm(x: Node<C>, weight: Node<C>, bias: Node<C>, epsilon: f64) -> Node<C> {
        let (x, x_node) = x.into_parts();
        let (weight, weight_node) = weight.into_parts();
        let (bias, bias_node) = bias.into_parts();
        let (output, rows) = norm::forward(&values(&x), &values(&weight), &values(&bias), epsilon);
        let output = tensor(output, x.layout().shape().clone());
        let nodes = [x_node, weight_node, bias_node];
        match NormBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(node) => node.finish((x, weight, Arc::new(rows)), output),
            OpsKind::UnTracked(node) => node.finish(output),
        }
    }

    fn zoo_attention(qkv: Node<C>, heads: usize) -> Node<C> {
        let (qkv, node) = qkv.into_parts();
        match AttentionBackward
            .prepare::<C>([node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(node) => {
                let (output, scores) = attend(&qkv, heads, true);
                node.finish((qkv, Arc::new(scores), heads), output)
            }
            OpsKind::UnTracked(node) => node.finish(attend(&qkv, heads, false).0),
        }
    }
}

#[derive(Debug)]
struct LinearBackward;

#[derive(Debug, Clone)]
struct LinearState {
    x: FlexTensor,
    weight: FlexTensor,
    /// What went into GELU.
    before: Option<FlexTensor>,
    residual: bool,
}

impl Backward<Flex, 4> for LinearBackward {
    type State = LinearState;

    fn backward(self, ops: Ops<LinearState, 4>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [x, weight, bias, residual] = ops.parents;
        let state = ops.state;
        let gradient = gradients.consume::<Flex>(&ops.node);
        // Without an addition, the residual is a stand-in that gets nothing.
        if let Some(residual) = residual.filter(|_| state.residual) {
            gradients.register::<Flex>(residual.id, gradient.clone());
        }
        let sides = sides(&state.weight);
        let shape = |tensor: &FlexTensor| tensor.layout().shape().clone();
        let gradient = match &state.before {
            Some(before) => linear::gelu_backward(&values(&gradient), &values(before)).into(),
            None => values(&gradient),
        };
        if let Some(bias) = bias {
            let found = linear::bias_gradient(&gradient, sides[0]);
            gradients.register::<Flex>(bias.id, tensor(found, [sides[0]].into()));
        }
        if let Some(weight) = weight {
            let found = linear::weight_gradient(&gradient, &values(&state.x), sides);
            gradients.register::<Flex>(weight.id, tensor(found, sides.into()));
        }
        if let Some(x) = x {
            let found = linear::input_gradient(&gradient, &values(&state.weight), sides);
            gradients.register::<Flex>(x.id, tensor(found, shape(&state.x)));
        }
    }
}

#[derive(Debug)]
struct NormBackward;

impl Backward<Flex, 3> for NormBackward {
    type State = (FlexTensor, FlexTensor, Arc<Vec<Row>>);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let [x, weight, bias] = ops.parents;
        let (input, scale, rows) = ops.state;
        let gradient = gradients.consume::<Flex>(&ops.node);
        let found = norm::backward(
            &values(&gradient),
            &values(&input),
            &values(&scale),
            &rows,
            x.is_some(),
        );
        if let (Some(x), Some(found)) = (x, found.input) {
            let shape = input.layout().shape().clone();
            gradients.register::<Flex>(x.id, tensor(found, shape));
        }
        let shape = scale.layout().shape();
        if let Some(weight) = weight {
            gradients.register::<Flex>(weight.id, tensor(found.weight, shape.clone()));
        }
        if let Some(bias) = bias {
            gradients.register::<Flex>(bias.id, tensor(found.bias, shape.clone()));
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
            let shape = heads_of(&qkv, heads);
            let found = attention::backward(&values(&gradient), &values(&qkv), &scores, shape);
            let shape = qkv.layout().shape().clone();
            gradients.register::<Flex>(parent.id, tensor(found, shape));
        }
    }
}
