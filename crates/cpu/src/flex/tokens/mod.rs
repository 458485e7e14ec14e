//! The operations of a transformer: affine layers with GELU or an addition behind them, layer
//! normalisation, attention.
//!
//! Tokens lie as rows, `[batch, length, width]`, each a row of `width` numbers. As elsewhere in this
//! room, work is divided by sizes that depend on the shapes alone.

mod attention;
mod autodiff;
mod linear;
mod math;
mod norm;
mod product;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Backend, Dispatch, DispatchAutodiffContext, DispatchTensor, Flex,
    GradientCheckpointingStrategy, backend_extension,
};
use burn::tensor::{Bytes, DType, Shape, Tensor};

use super::{floats, is_here};

pub use linear::Prepared;

/// What follows an affine layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follow {
    pub gelu: bool,
    /// Whether another tensor is added.
    pub residual: bool,
}

/// What a transformer adds to burn's operations. Tensors have any rank; all but the last dimension
/// are rows.
#[backend_extension(Flex, Autodiff)]
pub trait TokenOps: Backend {
    /// `x weightᵀ + bias` and what follows. The residual is only looked at where `follow` says so.
    fn zoo_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        follow: Follow,
        prepared: Option<Arc<Prepared>>,
    ) -> FloatTensor<Self>;

    /// A normalisation of the last dimension.
    fn zoo_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;

    /// Attention of so many heads, of `[batch, length, 3 * width]`.
    fn zoo_attention(qkv: FloatTensor<Self>, heads: usize) -> FloatTensor<Self>;
}

impl TokenOps for Flex {
    fn zoo_linear(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        residual: FlexTensor,
        follow: Follow,
        prepared: Option<Arc<Prepared>>,
    ) -> FlexTensor {
        let other = follow.residual.then_some(&residual);
        let prepared = prepared.unwrap_or_default();
        affine(&x, &weight, &bias, other, follow.gelu, &prepared)
    }

    fn zoo_layer_norm(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        epsilon: f64,
    ) -> FlexTensor {
        let (weight, bias) = (values(&weight), values(&bias));
        let (output, _) = norm::forward(&values(&x), &weight, &bias, epsilon);
        tensor(output, x.layout().shape().clone())
    }

    fn zoo_attention(qkv: FlexTensor, heads: usize) -> FlexTensor {
        attend(&qkv, heads, false).0
    }
}

fn affine(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    residual: Option<&FlexTensor>,
    gelu: bool,
    prepared: &Prepared,
) -> FlexTensor {
    let residual = residual.map(values);
    let bias = values(bias);
    let after = linear::After {
        bias: &bias,
        residual: residual.as_deref(),
        gelu,
    };
    let sides = sides(weight);
    let output = linear::forward(&values(x), &values(weight), sides, after, prepared);
    tensor(output, last(x, sides[0]))
}

/// The mixed values, and the scores where they are kept.
fn attend(qkv: &FlexTensor, heads: usize, keep: bool) -> (FlexTensor, Vec<f32>) {
    let shape = heads_of(qkv, heads);
    let (output, scores) = attention::forward(&values(qkv), shape, keep);
    (tensor(output, last(qkv, heads * shape.size)), scores)
}

fn heads_of(qkv: &FlexTensor, heads: usize) -> attention::Shape {
    let sides = qkv.layout().shape();
    attention::Shape {
        batch: sides[0],
        length: sides[1],
        heads,
        size: sides[2] / 3 / heads,
    }
}

/// The sides of a weight: outputs, inputs.
fn sides(weight: &FlexTensor) -> [usize; 2] {
    let shape = weight.layout().shape();
    [shape[0], shape[1]]
}

/// A tensor's shape with another last dimension.
fn last(like: &FlexTensor, width: usize) -> Shape {
    let mut sides = like.layout().shape().to_vec();
    if let Some(last) = sides.last_mut() {
        *last = width;
    }
    Shape::from(sides)
}

/// The numbers of a tensor in its own order; a copy only if they lie otherwise.
fn values(tensor: &FlexTensor) -> Cow<'_, [f32]> {
    match tensor.as_slice::<f32>() {
        Some(values) => Cow::Borrowed(values),
        None => {
            let copy = tensor.to_contiguous();
            let start = copy.layout().start_offset();
            let count: usize = copy.layout().shape().iter().product();
            Cow::Owned(copy.storage::<f32>()[start..start + count].to_vec())
        }
    }
}

fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(
        Bytes::from_elems(values),
        Layout::contiguous(shape),
        DType::F32,
    )
}

/// The sum of what tasks have found, in their order.
fn total(parts: &[Vec<f32>], len: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; len];
    for part in parts {
        let pairs = sums.iter_mut().zip(part);
        pairs.for_each(|(sum, value)| *sum += f64::from(*value));
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}

/// The sum of two tensors of one shape, in the memory of one of them if nobody else uses it.
pub(super) fn add(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    let whole = |tensor: &FlexTensor| {
        tensor.is_unique()
            && tensor.as_slice::<f32>().map(<[f32]>::len) == Some(tensor.storage::<f32>().len())
    };
    let (to, from) = if whole(&a) { (a, b) } else { (b, a) };
    let mut to = match whole(&to) {
        true => to,
        false => tensor(values(&to).into_owned(), to.layout().shape().clone()),
    };
    super::map::add_to(to.storage_mut::<f32>(), &values(&from));
    to
}

/// Whether burn's own operations have to compute this.
fn elsewhere(x: &DispatchTensor, others: &[&DispatchTensor]) -> bool {
    // With gradient checkpointing, what is cheap is computed again instead of being kept, which
    // burn does for its own operations only.
    let again = DispatchAutodiffContext::Enabled(GradientCheckpointingStrategy::Balanced);
    !is_here(&[x]) || !is_here(others) || x.autodiff == again
}

/// `x weightᵀ + bias`, then GELU where asked for, then an addition where there is something to add;
/// `None` where burn's own operations have to do it. `prepared` belongs to this weight, which does not
/// change.
///
/// # Shapes
/// - x: `[.., in]`
/// - weight: `[out, in]`, bias: `[out]`
/// - residual and output: `[.., out]`
pub fn linear<const D: usize>(
    x: &Tensor<D>,
    (weight, bias): (Tensor<2>, Tensor<1>),
    residual: Option<&Tensor<D>>,
    gelu: bool,
    prepared: Option<Arc<Prepared>>,
) -> Option<Tensor<D>> {
    let other = residual.unwrap_or(x);
    let shape = weight.dims();
    let inputs = x.dims()[D - 1];
    let mut output = x.dims();
    output[D - 1] = shape[0];
    let fits = shape[1] == inputs && (residual.is_none() || other.dims() == output);
    let types = [x.dtype(), weight.dtype(), bias.dtype(), other.dtype()];
    if !fits || !floats(&types) || x.dims().contains(&0) || output.contains(&0) {
        return None;
    }
    let follow = Follow {
        gelu,
        residual: residual.is_some(),
    };
    let (x, other) = (x.clone().into_dispatch(), other.clone().into_dispatch());
    let (weight, bias) = (weight.into_dispatch(), bias.into_dispatch());
    if elsewhere(&x, &[&weight, &bias, &other]) {
        return None;
    }
    let output = <Dispatch as TokenOps>::zoo_linear(x, weight, bias, other, follow, prepared);
    Some(Tensor::from_dispatch(output))
}

/// A normalisation of the last dimension; `None` where burn's own operation has to do it.
///
/// # Shapes
/// - x and output: `[.., features]`
/// - weight, bias: `[features]`
pub fn layer_norm<const D: usize>(
    x: &Tensor<D>,
    [weight, bias]: [Tensor<1>; 2],
    epsilon: f64,
) -> Option<Tensor<D>> {
    let types = [x.dtype(), weight.dtype(), bias.dtype()];
    if !floats(&types) || x.dims().contains(&0) || weight.dims() != [x.dims()[D - 1]] {
        return None;
    }
    let x = x.clone().into_dispatch();
    let (weight, bias) = (weight.into_dispatch(), bias.into_dispatch());
    if elsewhere(&x, &[&weight, &bias]) {
        return None;
    }
    let output = <Dispatch as TokenOps>::zoo_layer_norm(x, weight, bias, epsilon);
    Some(Tensor::from_dispatch(output))
}

/// Attention of so many heads; `None` where burn's own operations have to do it.
///
/// # Shapes
/// - qkv: `[batch, length, 3 * width]`, queries, keys and values of all heads
/// - output: `[batch, length, width]`
pub fn attention(qkv: &Tensor<3>, heads: usize) -> Option<Tensor<3>> {
    let [_, _, width] = qkv.dims();
    let fits = heads > 0 && width.is_multiple_of(3 * heads);
    if !fits || !floats(&[qkv.dtype()]) || qkv.dims().contains(&0) {
        return None;
    }
    let qkv = qkv.clone().into_dispatch();
    if elsewhere(&qkv, &[]) {
        return None;
    }
    let output = <Dispatch as TokenOps>::zoo_attention(qkv, heads);
    Some(Tensor::from_dispatch(output))
}
