//! Kernels of a convolution in memory, as `[tap][in][out]`.

use std::borrow::Cow;

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};
use rayon::prelude::*;

use super::feature_map::MapShape;
use super::simd::{Shared, uninitialized};

/// Kernels as `[tap][in][out]`.
#[derive(Debug, Clone)]
pub struct Kernels {
    values: Memory,
    pub input: usize,
    pub output: usize,
    pub taps: usize,
}

/// A copy in this layout, or a tensor that has it already.
#[derive(Debug, Clone)]
enum Memory {
    Copied(Vec<f32>),
    Tensor(FlexTensor),
}

/// Channels of a block that is transposed at once.
const BLOCK: usize = 16;

impl Kernels {
    /// From `[out, in, k, k]` in any layout.
    pub fn new(weight: &FlexTensor) -> Self {
        let shape = weight.layout().shape();
        let (output, input, taps) = (shape[0], shape[1], shape[2] * shape[3]);
        let values = if lies_transposed(weight) {
            Memory::Tensor(weight.clone())
        } else {
            let weight: Cow<'_, FlexTensor> = if weight.is_contiguous() {
                Cow::Borrowed(weight)
            } else {
                Cow::Owned(weight.to_contiguous())
            };
            let (start, len) = (weight.layout().start_offset(), output * input * taps);
            let from = &weight.storage::<f32>()[start..start + len];
            Memory::Copied(transposed(from, [output, input, taps]))
        };
        Self {
            values,
            input,
            output,
            taps,
        }
    }

    /// Whether each channel of such a map has a kernel of its own and makes one channel.
    pub fn is_depthwise(&self, input: MapShape) -> bool {
        self.input == 1 && self.output == input.channels
    }

    pub fn values(&self) -> &[f32] {
        let len = self.input * self.output * self.taps;
        match &self.values {
            Memory::Copied(values) => values,
            Memory::Tensor(tensor) => {
                let start = tensor.layout().start_offset();
                &tensor.storage::<f32>()[start..start + len]
            }
        }
    }
}

/// Kernels `[out, in, k, k]` that lie as `[k][k][in][out]`.
pub fn kernel_layout(weight: &FlexTensor) -> FlexTensor {
    let shape = weight.layout().shape();
    if shape[2] != shape[3] || shape.num_elements() == 0 {
        return weight.clone();
    }
    let shape = [shape[0], shape[1], shape[2]];
    match Kernels::new(weight).values {
        Memory::Copied(values) => tensor(values, shape),
        Memory::Tensor(tensor) => tensor,
    }
}

/// Kernels `[out, in, k, k]` that lie in this order, if they lie as `[k][k][in][out]`.
pub fn row_major(weight: &FlexTensor) -> Option<FlexTensor> {
    let shape = weight.layout().shape();
    let is_square = shape[2] == shape[3] && shape.num_elements() > 0;
    if !is_square || weight.is_contiguous() || !lies_transposed(weight) {
        return None;
    }
    let sizes = [shape[0], shape[1], shape[2] * shape[3]];
    let values = restored(Kernels::new(weight).values(), sizes);
    let layout = Layout::contiguous(shape.clone());
    Some(FlexTensor::new(
        Bytes::from_elems(values),
        layout,
        DType::F32,
    ))
}

/// Whether `[out, in, k, k]` lies as `[k][k][in][out]`.
fn lies_transposed(weight: &FlexTensor) -> bool {
    let (shape, own) = (weight.layout().shape(), weight.layout().strides());
    let expected = strides([shape[0], shape[1], shape[2]]);
    (0..4).all(|axis| shape[axis] == 1 || own[axis] == expected[axis])
}

/// `[out][in][tap]` as `[tap][in][out]`.
fn transposed(from: &[f32], sizes: [usize; 3]) -> Vec<f32> {
    reordered(sizes, |torch, own| (own, torch), from)
}

/// `[tap][in][out]` as `[out][in][tap]`.
fn restored(from: &[f32], sizes: [usize; 3]) -> Vec<f32> {
    reordered(sizes, |torch, own| (torch, own), from)
}

/// A copy in another order. Of the places of a value in `[out][in][tap]` and in `[tap][in][out]`,
/// `to_and_from` says where it goes and where it is from.
fn reordered(
    [output, input, taps]: [usize; 3],
    to_and_from: impl Fn(usize, usize) -> (usize, usize) + Sync,
    from: &[f32],
) -> Vec<f32> {
    assert_eq!(from.len(), output * input * taps);
    let mut values = uninitialized(output * input * taps);
    let to = Shared::new(&mut values);
    // A block goes over whole runs of kernels, and over runs of outputs.
    (0..input.div_ceil(BLOCK))
        .into_par_iter()
        .for_each(|block| {
            let ins = block * BLOCK..((block + 1) * BLOCK).min(input);
            for outs in (0..output).step_by(BLOCK) {
                let outs = outs..(outs + BLOCK).min(output);
                for tap in 0..taps {
                    for i in ins.clone() {
                        for o in outs.clone() {
                            let torch = (o * input + i) * taps + tap;
                            let own = (tap * input + i) * output + o;
                            let (place, source) = to_and_from(torch, own);
                            // SAFETY: inside, and each block of inputs belongs to one thread.
                            unsafe { *to.at(place) = *from.get_unchecked(source) };
                        }
                    }
                }
            }
        });
    values
}

/// The strides of `[out, in, k, k]` over `[k][k][in][out]`.
fn strides([output, input, kernel]: [usize; 3]) -> [isize; 4] {
    let tap = input * output;
    [1, output, kernel * tap, tap].map(|stride| stride as isize)
}

/// Values `[tap][in][out]` as a tensor `[out, in, k, k]`.
pub fn tensor(values: Vec<f32>, [output, input, kernel]: [usize; 3]) -> FlexTensor {
    let shape = Shape::from([output, input, kernel, kernel]);
    let layout = Layout::new(shape, strides([output, input, kernel]).to_vec(), 0);
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_come_back_as_they_were() {
        for [output, input, kernel] in [[3, 5, 3], [40, 17, 3], [16, 33, 1], [2, 1, 5]] {
            let count = output * input * kernel * kernel;
            let values: Vec<f32> = (0..count).map(|i| i as f32).collect();
            let shape = Shape::from([output, input, kernel, kernel]);
            let bytes = Bytes::from_elems(values.clone());
            let torch = FlexTensor::new(bytes, Layout::contiguous(shape), DType::F32);
            assert!(row_major(&torch).is_none());
            let back = row_major(&kernel_layout(&torch)).unwrap();
            assert!(back.is_contiguous());
            assert_eq!(back.storage::<f32>(), values);
        }
    }
}
