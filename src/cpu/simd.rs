//! Loops compiled for the instructions that the CPU has.

/// Runs a loop in the widest vectors that this CPU has; what is called in it has to be inlined.
#[inline(always)]
pub(super) fn vectorised<R>(run: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(run)
}

/// A pointer that several threads write through, each to places of its own.
#[derive(Clone, Copy)]
pub(super) struct Shared(*mut f32);

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
}

/// Room for so many numbers, which hold nothing yet: each has to be written before it is read.
pub(super) fn room(len: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    // SAFETY: every user below writes each number before anything reads it.
    #[allow(clippy::uninit_vec)]
    unsafe {
        values.set_len(len);
    }
    values
}

/// A matrix in memory: where it begins and how far apart rows and columns are.
#[derive(Clone, Copy)]
pub(super) struct Matrix {
    pub start: *const f32,
    pub row: usize,
    pub column: usize,
}

/// `out = a b`, or `out += a b` where `add`; `out` is row-major with rows `row` apart.
///
/// # Safety
/// All of `out` (`m` by `n`), `a` (`m` by `k`) and `b` (`k` by `n`) is memory that may be used, and
/// nobody else uses `out`.
pub(super) unsafe fn product(
    [m, n, k]: [usize; 3],
    out: *mut f32,
    row: usize,
    add: bool,
    a: Matrix,
    b: Matrix,
) {
    // SAFETY: as above.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            row as isize,
            add,
            a.start,
            a.column as isize,
            a.row as isize,
            b.start,
            b.column as isize,
            b.row as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
