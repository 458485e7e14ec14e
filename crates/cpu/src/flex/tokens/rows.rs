//! Tokens in memory: rows of neighbouring numbers, one after the other.

use std::borrow::Cow;

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};

use crate::flex::feature_map::add_to;

/// The numbers of a tensor in its own order; a copy only if they lie otherwise.
pub fn values(tensor: &FlexTensor) -> Cow<'_, [f32]> {
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

pub fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(
        Bytes::from_elems(values),
        Layout::contiguous(shape),
        DType::F32,
    )
}

/// The sum of what tasks have computed, in their order.
pub fn sum_of_parts(parts: &[Vec<f32>], len: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; len];
    for part in parts {
        let pairs = sums.iter_mut().zip(part);
        pairs.for_each(|(sum, value)| *sum += f64::from(*value));
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}

/// The sum of two tensors of one shape, in the memory of one of them if nobody else uses it.
pub fn add(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    let reusable = |tensor: &FlexTensor| {
        tensor.is_unique()
            && tensor.as_slice::<f32>().map(<[f32]>::len) == Some(tensor.storage::<f32>().len())
    };
    let (mut to, from) = if reusable(&a) { (a, b) } else { (b, a) };
    if !reusable(&to) {
        to = tensor(values(&to).into_owned(), to.layout().shape().clone());
    }
    add_to(to.storage_mut::<f32>(), &values(&from));
    to
}

/// A tensor's shape with another last dimension.
pub fn with_last(like: &FlexTensor, last: usize) -> Shape {
    let mut shape = like.layout().shape().to_vec();
    if let Some(side) = shape.last_mut() {
        *side = last;
    }
    Shape::from(shape)
}
