//! Kernels of groups of channels.
//!
//! Groups of few channels, as ResNeXt has them, are computed several at a time as one group whose
//! kernels are zero between channels of different groups: the products with zeros cost less than
//! what thin products leave of the CPU.

use super::kernels::Kernels;
use super::matmul::{Matrix, product};
use super::packed::{PANEL, Packed};

/// Kernels of groups that are computed at once, `[block][tap][in][out]`.
#[derive(Debug)]
pub struct GroupBlocks {
    values: Vec<f32>,
    packed: Option<Vec<Packed>>,
    /// Channels of a block.
    pub input: usize,
    pub output: usize,
    /// The number of blocks.
    pub count: usize,
    taps: usize,
}

/// How many groups are computed at once.
pub fn groups_of_block(groups: usize, [input, output]: [usize; 2]) -> usize {
    let most = (PANEL / input.max(output).max(1)).max(1);
    (1..=most.min(groups))
        .rev()
        .find(|count| groups.is_multiple_of(*count))
        .unwrap_or(1)
}

impl GroupBlocks {
    /// Of kernels for so many input channels. Where `transposed`, inputs and outputs are exchanged,
    /// for the way back.
    pub fn new(kernels: &Kernels, channels: usize, transposed: bool) -> Self {
        let groups = channels / kernels.input.max(1);
        let [from, to] = [kernels.input, kernels.output / groups.max(1)];
        let together = groups_of_block(groups, [from, to]);
        let (count, taps) = (groups / together.max(1), kernels.taps);
        let [input, output] = if transposed {
            [together * to, together * from]
        } else {
            [together * from, together * to]
        };
        let mut values = vec![0.0; count * taps * input * output];
        let of_kernels = kernels.values();
        for (index, values) in values.chunks_exact_mut(input * output).enumerate() {
            let (block, tap) = (index / taps, index % taps);
            for i in 0..from {
                for o in 0..together * to {
                    // The group within the block, which both channels belong to.
                    let group = o / to;
                    let kernel =
                        of_kernels[(tap * from + i) * kernels.output + block * together * to + o];
                    let (row, column) = (group * from + i, o);
                    let place = if transposed {
                        column * output + row
                    } else {
                        row * output + column
                    };
                    values[place] = kernel;
                }
            }
        }
        let packed = values
            .chunks_exact(input * output)
            .map(|values| Packed::new(values, input, output))
            .collect();
        Self {
            values,
            packed,
            input,
            output,
            count,
            taps,
        }
    }

    /// The product of `m` rows of `a` with a tap of a block.
    ///
    /// # Safety
    /// As [`product`].
    pub unsafe fn multiply(
        &self,
        (block, tap): (usize, usize),
        m: usize,
        (out, row): (*mut f32, usize),
        add: bool,
        a: Matrix,
    ) {
        let place = block * self.taps + tap;
        // SAFETY: as above.
        unsafe {
            if let Some(packed) = &self.packed {
                return packed[place].product(m, (0, self.output), out, row, add, a);
            }
            let size = self.input * self.output;
            let b = Matrix::new(&self.values, place * size, self.output);
            product([m, self.output, self.input], out, row, add, a, b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_groups_are_computed_several_at_a_time() {
        assert_eq!(groups_of_block(32, [4, 4]), 8);
        assert_eq!(groups_of_block(32, [8, 8]), 4);
        assert_eq!(groups_of_block(6, [8, 8]), 3);
        assert_eq!(groups_of_block(7, [8, 8]), 1);
        assert_eq!(groups_of_block(32, [64, 64]), 1);
    }
}
