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
        let expected = strides([output, input, shape[2]]);
        let strides = weight.layout().strides();
        let values = if (0..4).all(|axis| shape[axis] == 1 || strides[axis] == expected[axis]) {
            Memory::Tensor(weight.clone())
        } else {
            let weight: Cow<'_, FlexTensor> = if weight.is_contiguous() {
                Cow::Borrowed(weight)
            } else {
                Cow::Owned(weight.to_contiguous())
            };
            let start = weight.layout().start_offset();
            let from = &weight.storage::<f32>()[start..];
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

/// `[out][in][tap]` as `[tap][in][out]`.
fn transposed(from: &[f32], [output, input, taps]: [usize; 3]) -> Vec<f32> {
    let mut values = uninitialized(output * input * taps);
    let to = Shared::new(&mut values);
    // A block reads whole runs of kernels, and writes runs of outputs.
    (0..input.div_ceil(BLOCK))
        .into_par_iter()
        .for_each(|block| {
            let ins = block * BLOCK..((block + 1) * BLOCK).min(input);
            for outs in (0..output).step_by(BLOCK) {
                let outs = outs..(outs + BLOCK).min(output);
                for tap in 0..taps {
                    for i in ins.clone() {
                        for o in outs.clone() {
                            // SAFETY: inside, and each block of inputs belongs to one thread.
                            unsafe {
                                *to.at((tap * input + i) * output + o) =
                                    *from.get_unchecked((o * input + i) * taps + tap);
                            }
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
