//! Loops compiled for the instructions that the CPU has, and the memory that they write to.

/// Runs a loop in the widest vectors that this CPU has; what is called in it has to be inlined.
#[inline(always)]
pub fn vectorised<R>(run: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(run)
}

/// A pointer that several threads write through, each to places of its own.
#[derive(Clone, Copy)]
pub struct Shared(*mut f32);

// Whoever uses it sees to it that no two threads write to the same place.
unsafe impl Send for Shared {}
unsafe impl Sync for Shared {}

impl Shared {
    pub fn new(values: &mut [f32]) -> Self {
        Self(values.as_mut_ptr())
    }

    /// # Safety
    /// `offset` is inside of the slice, and nobody else uses what is written through the result.
    pub unsafe fn at(self, offset: usize) -> *mut f32 {
        // SAFETY: as above.
        unsafe { self.0.add(offset) }
    }

    /// Zeros `len` numbers at `start` and at each of `rows - 1` places more, `step` apart.
    ///
    /// # Safety
    /// All of them are inside of the slice, and nobody else uses them.
    pub unsafe fn clear(self, start: usize, rows: usize, step: usize, len: usize) {
        for row in 0..rows {
            // SAFETY: as above.
            unsafe {
                std::slice::from_raw_parts_mut(self.at(start + row * step), len).fill(0.0);
            }
        }
    }
}

/// Whether numbers of this shape can be in memory at all: their bytes can be counted. Offsets into
/// them do not overflow then, which unsafe code relies on; whether there is so much memory is the
/// allocator's matter.
pub fn allocatable(sides: &[usize]) -> bool {
    let mut sides = sides.iter();
    sides
        .try_fold(1usize, |product, side| product.checked_mul(*side))
        .is_some_and(|count| count <= isize::MAX as usize / size_of::<f32>())
}

/// Memory for so many numbers, which hold nothing yet: each has to be written before it is read.
pub fn uninitialized(len: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    // SAFETY: every caller writes each number before anything reads it.
    #[allow(clippy::uninit_vec)]
    unsafe {
        values.set_len(len);
    }
    values
}

/// The value, or the floor if it is below; NaN stays, so that it is seen.
#[inline(always)]
pub fn at_least(value: f32, floor: f32) -> f32 {
    if value < floor { floor } else { value }
}
