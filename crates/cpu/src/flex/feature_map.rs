//! Feature maps in memory: images as `[height][width][batch][channels]`.

use std::borrow::Cow;

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};
use rayon::prelude::*;

use super::simd::{uninitialized, vectorised};

/// The shape of a feature map that lies as `[height][width][batch][channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapShape {
    pub height: usize,
    pub width: usize,
    pub batch: usize,
    pub channels: usize,
}

impl MapShape {
    pub fn of(tensor: &FlexTensor) -> Self {
        let shape = tensor.layout().shape();
        Self {
            height: shape[2],
            width: shape[3],
            batch: shape[0],
            channels: shape[1],
        }
    }

    pub fn len(&self) -> usize {
        self.height * self.row()
    }

    /// Numbers of a position.
    pub fn position(&self) -> usize {
        self.batch * self.channels
    }

    /// Numbers of a row of positions.
    pub fn row(&self) -> usize {
        self.width * self.position()
    }

    pub fn dims(&self) -> [usize; 4] {
        [self.batch, self.channels, self.height, self.width]
    }

    fn strides(&self) -> [usize; 4] {
        [self.channels, 1, self.row(), self.position()]
    }

    /// Whether a tensor of this shape lies so in memory.
    fn is_layout_of(&self, tensor: &FlexTensor) -> bool {
        let strides = tensor.layout().strides();
        // Where a side is 1, it does not matter how far the next would be.
        (0..4).all(|axis| self.dims()[axis] == 1 || strides[axis] == self.strides()[axis] as isize)
    }
}

/// The values of a tensor `[batch, channels, height, width]` as `[height][width][batch][channels]`;
/// a copy only if they lie otherwise.
pub fn values(tensor: &FlexTensor) -> Cow<'_, [f32]> {
    let shape = MapShape::of(tensor);
    let layout = tensor.layout();
    let storage = tensor.storage::<f32>();
    let start = layout.start_offset();
    if shape.is_layout_of(tensor) {
        return Cow::Borrowed(&storage[start..start + shape.len()]);
    }
    let [batch, channel, row, column] = [0, 1, 2, 3].map(|axis| layout.strides()[axis]);
    let mut values = uninitialized(shape.len());
    let MapShape {
        width, channels, ..
    } = shape;
    let position = shape.position().max(1);
    values
        .par_chunks_mut(position)
        .enumerate()
        .for_each(|(place, out)| {
            let (y, x) = ((place / width) as isize, (place % width) as isize);
            let start = start as isize + y * row + x * column;
            for (n, out) in out.chunks_exact_mut(channels).enumerate() {
                let start = start + n as isize * batch;
                for (c, out) in out.iter_mut().enumerate() {
                    *out = storage[(start + c as isize * channel) as usize];
                }
            }
        });
    Cow::Owned(values)
}

/// Whether the numbers of a layout lie beside each other, each once, in whatever order.
pub fn is_dense(layout: &Layout) -> bool {
    let axes = layout.strides().iter().zip(layout.shape().iter());
    let mut axes: Vec<_> = axes.filter(|(_, side)| **side != 1).collect();
    // Sorted by stride, each has to span exactly what is inside of it.
    axes.sort_unstable();
    let mut span = 1;
    let mut spans = axes.into_iter().map(|(stride, side)| {
        let fits = *stride == span;
        span *= *side as isize;
        fits
    });
    spans.all(|fits| fits) && layout.start_offset() == 0
}

/// A map as a tensor `[batch, channels, height, width]`.
pub fn tensor(values: Vec<f32>, shape: MapShape) -> FlexTensor {
    let strides = shape.strides().map(|stride| stride as isize).to_vec();
    let layout = Layout::new(Shape::from(shape.dims()), strides, 0);
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// Numbers as a tensor of rank one.
pub fn vector(values: Vec<f32>) -> FlexTensor {
    let layout = Layout::contiguous(Shape::from([values.len()]));
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// The numbers of a tensor of rank one.
pub fn numbers(tensor: &FlexTensor) -> Cow<'_, [f32]> {
    match tensor.as_slice::<f32>() {
        Some(values) => Cow::Borrowed(values),
        None => {
            let (start, stride) = (tensor.layout().start_offset(), tensor.layout().strides()[0]);
            let storage = tensor.storage::<f32>();
            let places = 0..tensor.layout().shape()[0] as isize;
            let at = |place: isize| storage[(start as isize + place * stride) as usize];
            Cow::Owned(places.map(at).collect())
        }
    }
}

/// The sum of two maps, in the memory of one of them if nobody else uses it.
pub fn add(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    let shape = MapShape::of(&a);
    let reusable = |tensor: &FlexTensor| {
        tensor.layout().start_offset() == 0
            && tensor.storage::<f32>().len() == shape.len()
            && shape.is_layout_of(tensor)
            && tensor.is_unique()
    };
    let (mut to, from) = if reusable(&a) { (a, b) } else { (b, a) };
    let from = values(&from);
    if !reusable(&to) {
        to = tensor(values(&to).into_owned(), shape);
    }
    add_to(to.storage_mut::<f32>(), &from);
    to
}

/// Adds numbers to others.
pub fn add_to(to: &mut [f32], from: &[f32]) {
    let pairs = to.par_chunks_mut(ADDED).zip(from.par_chunks(ADDED));
    pairs.for_each(|(to, from)| {
        vectorised(
            #[inline(always)]
            || to.iter_mut().zip(from).for_each(|(to, from)| *to += from),
        );
    });
}

/// Numbers that one task adds.
const ADDED: usize = 1 << 15;
