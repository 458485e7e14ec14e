//! Maps in memory.

use std::borrow::Cow;

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};
use rayon::prelude::*;

use super::simd::{room, vectorised};

/// The sides of a map that lies as `[height][width][batch][channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sides {
    pub height: usize,
    pub width: usize,
    pub batch: usize,
    pub channels: usize,
}

impl Sides {
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

    fn shape(&self) -> [usize; 4] {
        [self.batch, self.channels, self.height, self.width]
    }

    fn strides(&self) -> [usize; 4] {
        [self.channels, 1, self.row(), self.position()]
    }
}

/// The values of a tensor `[batch, channels, height, width]` as `[height][width][batch][channels]`;
/// a copy only if they lie otherwise.
pub(super) fn values(tensor: &FlexTensor) -> Cow<'_, [f32]> {
    let sides = Sides::of(tensor);
    let layout = tensor.layout();
    let storage = tensor.storage::<f32>();
    let start = layout.start_offset();
    // Where a side is 1, it does not matter how far the next would be.
    let ours = (0..4).all(|axis| {
        sides.shape()[axis] == 1 || layout.strides()[axis] == sides.strides()[axis] as isize
    });
    if ours {
        return Cow::Borrowed(&storage[start..start + sides.len()]);
    }
    let [batch, channel, row, column] = [0, 1, 2, 3].map(|axis| layout.strides()[axis]);
    let mut values = room(sides.len());
    let Sides {
        width, channels, ..
    } = sides;
    let position = sides.position().max(1);
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

/// A map as a tensor `[batch, channels, height, width]`.
pub(super) fn tensor(values: Vec<f32>, sides: Sides) -> FlexTensor {
    let strides = sides.strides().map(|stride| stride as isize).to_vec();
    let layout = Layout::new(Shape::from(sides.shape()), strides, 0);
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// Numbers as a tensor of rank one.
pub(super) fn vector(values: Vec<f32>) -> FlexTensor {
    let layout = Layout::contiguous(Shape::from([values.len()]));
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// The numbers of a tensor of rank one.
pub(super) fn numbers(tensor: &FlexTensor) -> Cow<'_, [f32]> {
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
pub(super) fn add(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    let sides = Sides::of(&a);
    let lies_right = |tensor: &FlexTensor| {
        let layout = tensor.layout();
        let strides = sides.strides();
        layout.start_offset() == 0
            && tensor.storage::<f32>().len() == sides.len()
            && (0..4).all(|axis| {
                sides.shape()[axis] == 1 || layout.strides()[axis] == strides[axis] as isize
            })
    };
    let (mut to, from) = match lies_right(&a) && a.is_unique() {
        true => (a, b),
        false => (b, a),
    };
    let from = values(&from);
    if !(lies_right(&to) && to.is_unique()) {
        to = tensor(values(&to).into_owned(), sides);
    }
    add_to(to.storage_mut::<f32>(), &from);
    to
}

/// Adds numbers to others.
pub(super) fn add_to(to: &mut [f32], from: &[f32]) {
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
