//! Weights that are packed once and multiplied with again and again.

use rayon::prelude::*;

use super::matmul::Matrix;

/// Columns of a panel of [`Packed`]: two vectors of AVX-512.
pub const PANEL: usize = 32;

/// The most rows whose sums stay in registers, beside a row of a panel.
#[cfg(target_arch = "x86_64")]
const ROWS: usize = 14;

/// A matrix of `k` rows and `n` columns in panels of [`PANEL`] columns, zeros at the end included:
/// `[panel][k][column]`. It belongs to weights that are multiplied with again and again, and are
/// packed once for it.
#[derive(Debug)]
pub struct Packed {
    k: usize,
    n: usize,
    values: Vec<f32>,
}

impl Packed {
    /// Whether this CPU has the instructions for it.
    fn available() -> bool {
        #[cfg(target_arch = "x86_64")]
        return std::arch::is_x86_feature_detected!("avx512f");
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// From rows of `n` numbers, one after the other. `None` where
    /// [`product`](super::matmul::product) is to be used.
    pub fn new(from: &[f32], k: usize, n: usize) -> Option<Self> {
        Self::pack(k, n, |panel, out| {
            let first = panel * PANEL;
            let width = PANEL.min(n - first);
            for (out, row) in out.chunks_exact_mut(PANEL).zip(from.chunks_exact(n)) {
                out[..width].copy_from_slice(&row[first..first + width]);
            }
        })
    }

    /// From columns of `k` numbers, one after the other; as [`new`](Self::new).
    pub fn transposed(from: &[f32], k: usize, n: usize) -> Option<Self> {
        Self::pack(k, n, |panel, out| {
            let columns = from.chunks_exact(k).skip(panel * PANEL).take(PANEL);
            for (column, from) in columns.enumerate() {
                for (out, value) in out[column..].iter_mut().step_by(PANEL).zip(from) {
                    *out = *value;
                }
            }
        })
    }

    /// Fills each panel, which holds zeros before.
    fn pack(k: usize, n: usize, fill: impl Fn(usize, &mut [f32]) + Sync) -> Option<Self> {
        if !Self::available() || k == 0 || n == 0 {
            return None;
        }
        let mut values = vec![0.0; n.div_ceil(PANEL) * k * PANEL];
        let panels = values.par_chunks_exact_mut(k * PANEL).enumerate();
        panels.for_each(|(panel, out)| fill(panel, out));
        Some(Self { k, n, values })
    }

    /// `out = a b`, or `out += a b` where `add`, for `m` rows of `a` and the columns from `first` to
    /// `last`; `first` is a multiple of [`PANEL`]. `out` is where the first of them goes.
    ///
    /// # Safety
    /// All of `out` (`m` by `last - first`, rows `row` apart) and `a` (`m` by `k`) is memory that may
    /// be used, and nobody else uses `out`.
    pub unsafe fn product(
        &self,
        m: usize,
        (first, last): (usize, usize),
        out: *mut f32,
        row: usize,
        add: bool,
        a: Matrix,
    ) {
        debug_assert!(first.is_multiple_of(PANEL) && last <= self.n);
        #[cfg(target_arch = "x86_64")]
        for start in (first..last).step_by(PANEL) {
            let panel = &self.values[start / PANEL * self.k * PANEL..][..self.k * PANEL];
            let width = PANEL.min(last - start);
            let blocks = m.div_ceil(ROWS);
            for block in 0..blocks {
                // As even as can be: a block of one row would leave most of the registers empty.
                let (from, to) = (block * m / blocks, (block + 1) * m / blocks);
                // SAFETY: as above; a packed matrix is only made where the instructions are there.
                unsafe {
                    let out = out.add(from * row + start - first);
                    avx512::rows(
                        to - from,
                        self.k,
                        a.from(from, 0),
                        panel,
                        out,
                        row,
                        width,
                        add,
                    );
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = (m, first, last, out, row, add, a);
            unreachable!("a packed matrix is only made where the instructions are there");
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{Matrix, PANEL};

    /// The product of so many rows with a panel.
    ///
    /// # Safety
    /// As [`super::Packed::product`], and the CPU has AVX-512.
    #[allow(clippy::too_many_arguments)] // what a product is made of
    pub unsafe fn rows(
        m: usize,
        k: usize,
        a: Matrix,
        panel: &[f32],
        out: *mut f32,
        row: usize,
        width: usize,
        add: bool,
    ) {
        macro_rules! pick {
            ($($rows:literal)*) => {
                match m {
                    $($rows => unsafe { block::<$rows>(k, a, panel, out, row, width, add) },)*
                    _ => {}
                }
            };
        }
        pick!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn block<const M: usize>(
        k: usize,
        a: Matrix,
        panel: &[f32],
        out: *mut f32,
        row: usize,
        width: usize,
        add: bool,
    ) {
        // SAFETY: everything read and written is inside, see `rows`; masks cut off what is not.
        unsafe {
            let mut sums = [[_mm512_setzero_ps(); 2]; M];
            let mut from = a.start;
            for b in panel[..k * PANEL].chunks_exact(PANEL) {
                let left = _mm512_loadu_ps(b.as_ptr());
                let right = _mm512_loadu_ps(b.as_ptr().add(16));
                for (i, sum) in sums.iter_mut().enumerate() {
                    let value = _mm512_set1_ps(*from.add(i * a.row_stride));
                    sum[0] = _mm512_fmadd_ps(value, left, sum[0]);
                    sum[1] = _mm512_fmadd_ps(value, right, sum[1]);
                }
                from = from.add(a.column_stride);
            }
            let bits = u32::MAX >> (PANEL - width);
            let masks = [bits as u16, (bits >> 16) as u16];
            for (i, sum) in sums.iter().enumerate() {
                for (half, sum) in sum.iter().enumerate() {
                    let to = out.add(i * row + 16 * half);
                    let sum = if add {
                        _mm512_add_ps(*sum, _mm512_maskz_loadu_ps(masks[half], to))
                    } else {
                        *sum
                    };
                    _mm512_mask_storeu_ps(to, masks[half], sum);
                }
            }
        }
    }
}
