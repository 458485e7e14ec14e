//! Products of matrices on one thread.

/// A matrix in memory: where it begins, and how far apart rows and columns are.
#[derive(Clone, Copy)]
pub struct Matrix {
    pub start: *const f32,
    pub row_stride: usize,
    pub column_stride: usize,
}

// SAFETY: it is only read through, by unsafe functions whose callers see to the memory.
unsafe impl Send for Matrix {}
unsafe impl Sync for Matrix {}

impl Matrix {
    /// Rows of neighbouring numbers that begin `row_stride` apart, the first at `start`.
    pub fn new(values: &[f32], start: usize, row_stride: usize) -> Self {
        Self::at(values[start..].as_ptr(), row_stride)
    }

    /// Rows of neighbouring numbers that begin `row_stride` apart.
    pub fn at(start: *const f32, row_stride: usize) -> Self {
        Self {
            start,
            row_stride,
            column_stride: 1,
        }
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// The matrix from this row and this column on.
    ///
    /// # Safety
    /// Both are inside of it.
    pub unsafe fn from(self, row: usize, column: usize) -> Self {
        let offset = row * self.row_stride + column * self.column_stride;
        Self {
            // SAFETY: as above.
            start: unsafe { self.start.add(offset) },
            ..self
        }
    }
}

/// `out = a b`, or `out += a b` where `add`; `out` is row-major with rows `row_stride` apart.
///
/// # Safety
/// All of `out` (`m` by `n`), `a` (`m` by `k`) and `b` (`k` by `n`) is memory that may be used, and
/// nobody else uses `out`.
pub unsafe fn product(
    [m, n, k]: [usize; 3],
    out: *mut f32,
    row_stride: usize,
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
            row_stride as isize,
            add,
            a.start,
            a.column_stride as isize,
            a.row_stride as isize,
            b.start,
            b.column_stride as isize,
            b.row_stride as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
