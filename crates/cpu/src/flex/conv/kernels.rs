//! Kernels in the forms that are computed with.

use std::borrow::Cow;
use std::sync::OnceLock;

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};
use rayon::prelude::*;

use super::Window;
use super::grouped::Blocks;
use crate::flex::map::Sides;
use crate::flex::simd::{Matrix, Packed, Shared, product, room};
use crate::flex::winograd::{Transformed, Use};

/// Kernels as `[tap][in][out]`.
#[derive(Debug, Clone)]
pub(in crate::flex) struct Kernels {
    values: Memory,
    pub input: usize,
    pub output: usize,
    pub taps: usize,
}

/// Numbers of our own, or a tensor that lies right already.
#[derive(Debug, Clone)]
enum Memory {
    Own(Vec<f32>),
    Tensor(FlexTensor),
}

/// Channels of a block that is turned around at once.
const BLOCK: usize = 16;

impl Kernels {
    /// From `[out, in, k, k]` in any layout.
    pub fn new(weight: &FlexTensor) -> Self {
        let shape = weight.layout().shape();
        let (output, input, taps) = (shape[0], shape[1], shape[2] * shape[3]);
        let ours = strides([output, input, shape[2]]);
        let lies_right =
            (0..4).all(|axis| shape[axis] == 1 || weight.layout().strides()[axis] == ours[axis]);
        let values = match lies_right {
            true => Memory::Tensor(weight.clone()),
            false => {
                let weight: Cow<'_, FlexTensor> = match weight.is_contiguous() {
                    true => Cow::Borrowed(weight),
                    false => Cow::Owned(weight.to_contiguous()),
                };
                let start = weight.layout().start_offset();
                let from = &weight.storage::<f32>()[start..];
                Memory::Own(turned(from, [output, input, taps]))
            }
        };
        Self {
            values,
            input,
            output,
            taps,
        }
    }

    /// Whether each channel of such a map has a kernel of its own and makes one channel.
    pub fn is_depthwise(&self, input: Sides) -> bool {
        self.input == 1 && self.output == input.channels
    }

    pub fn values(&self) -> &[f32] {
        let len = self.input * self.output * self.taps;
        match &self.values {
            Memory::Own(values) => values,
            Memory::Tensor(tensor) => {
                let start = tensor.layout().start_offset();
                &tensor.storage::<f32>()[start..start + len]
            }
        }
    }
}

/// Kernels `[out, in, k, k]` that lie as `[k][k][in][out]`.
pub(in crate::flex) fn settled(weight: &FlexTensor) -> FlexTensor {
    let shape = weight.layout().shape();
    if shape[2] != shape[3] || shape.num_elements() == 0 {
        return weight.clone();
    }
    let shape = [shape[0], shape[1], shape[2]];
    match Kernels::new(weight).values {
        Memory::Own(values) => kernels(values, shape),
        Memory::Tensor(tensor) => tensor,
    }
}

/// `[out][in][tap]` as `[tap][in][out]`.
fn turned(from: &[f32], [output, input, taps]: [usize; 3]) -> Vec<f32> {
    let mut values = room(output * input * taps);
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
pub(super) fn kernels(values: Vec<f32>, [output, input, kernel]: [usize; 3]) -> FlexTensor {
    let shape = Shape::from([output, input, kernel, kernel]);
    let layout = Layout::new(shape, strides([output, input, kernel]).to_vec(), 0);
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// Kernels in the form that is computed with, kept from one forward pass to the next. It belongs to
/// kernels that do not change.
#[derive(Debug, Default)]
pub struct Prepared {
    transformed: OnceLock<Option<Transformed>>,
    packed: OnceLock<Option<Packed>>,
    blocks: OnceLock<Blocks>,
}

impl Prepared {
    /// The kernels for [`winograd`], if that pays: decided when they are first needed.
    pub(super) fn transformed(
        &self,
        kernels: &Kernels,
        window: Window,
        input: Sides,
        output: Sides,
    ) -> Option<&Transformed> {
        let make = || transformed(kernels, Use::Forwards, window, input, output);
        self.transformed.get_or_init(make).as_ref()
    }
}

impl Prepared {
    /// The kernels of groups.
    pub(super) fn blocks(&self, kernels: &Kernels, channels: usize) -> &Blocks {
        self.blocks
            .get_or_init(|| Blocks::new(kernels, channels, false))
    }

    /// The kernels as one matrix `[tap * in, out]`, if this CPU multiplies with such.
    pub(super) fn packed(&self, kernels: &Kernels) -> Option<&Packed> {
        let depth = kernels.taps * kernels.input;
        let make = || Packed::new(kernels.values(), depth, kernels.output);
        self.packed.get_or_init(make).as_ref()
    }
}

/// Kernels for [`winograd`], if that pays.
pub(super) fn transformed(
    kernels: &Kernels,
    of: Use,
    window: Window,
    input: Sides,
    output: Sides,
) -> Option<Transformed> {
    if window.kernel != 3 || window.stride != 1 || window.padding > 2 {
        return None;
    }
    let direct = window.products(input);
    let computed = match of {
        Use::InputGradient => input,
        Use::Forward | Use::Forwards => output,
    };
    Transformed::new(kernels, of, direct, computed)
}

/// Kernels, packed or not.
#[derive(Clone, Copy)]
pub(super) struct Factor<'a> {
    kernels: &'a Kernels,
    packed: Option<&'a Packed>,
}

impl<'a> Factor<'a> {
    pub(super) fn new(kernels: &'a Kernels, packed: Option<&'a Packed>) -> Self {
        Self { kernels, packed }
    }

    /// The product of `m` rows of `a` with the kernels of all taps, or where `tap` says so of one,
    /// for some of the outputs; see [`product`].
    ///
    /// # Safety
    /// As [`product`].
    pub(super) unsafe fn multiply(
        &self,
        m: usize,
        (first, last): (usize, usize),
        out: *mut f32,
        add: bool,
        a: Matrix,
        tap: Option<usize>,
    ) {
        let Kernels {
            input,
            output,
            taps,
            ..
        } = *self.kernels;
        // SAFETY: as above.
        unsafe {
            if let Some(packed) = self.packed {
                return packed.product(m, (first, last), out, output, add, a);
            }
            let (depth, start) = match tap {
                None => (taps * input, 0),
                Some(tap) => (input, tap * input * output),
            };
            let kernels = Matrix {
                start: self.kernels.values().as_ptr().add(start + first),
                row: output,
                column: 1,
            };
            product([m, last - first, depth], out, output, add, a, kernels);
        }
    }
}
