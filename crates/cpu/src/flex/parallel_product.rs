//! Products of matrices by all threads.

use rayon::prelude::*;

use crate::flex::matmul::{self, Matrix};
use crate::flex::packed::{PANEL, Packed};
use crate::flex::simd::{Shared, uninitialized};

/// The right side of a product, `k` by `n`.
#[derive(Clone, Copy)]
pub enum Right<'a> {
    Packed(&'a Packed),
    Plain(Matrix),
}

/// Rows of a task: whole blocks of what a product with a packed matrix computes at a time.
const ROWS: usize = 56;
/// Columns of a task.
const COLUMNS: usize = 8 * PANEL;

/// `a b` as rows of `n` numbers, for `a` of `m` by `k` and `b` of `k` by `n`. `epilogue` sees every
/// part of a row while it is in the cache: the row, its first column, the numbers.
///
/// # Safety
/// `a` and `b` are memory of this size that may be read.
pub unsafe fn product(
    [m, n, k]: [usize; 3],
    a: Matrix,
    b: Right<'_>,
    epilogue: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let mut out = uninitialized(m * n);
    if k == 0 {
        out.fill(0.0);
        return out;
    }
    let to = Shared::new(&mut out);
    let across = n.div_ceil(COLUMNS);
    (0..m.div_ceil(ROWS) * across)
        .into_par_iter()
        .for_each(|task| {
            let (row, column) = (task / across * ROWS, task % across * COLUMNS);
            let (rows, columns) = (ROWS.min(m - row), COLUMNS.min(n - column));
            // SAFETY: each task writes its own rows and columns of `out`, all of which are inside; for
            // `a` and `b` as above.
            unsafe {
                let start = to.at(row * n + column);
                match b {
                    Right::Packed(b) => {
                        let columns = (column, column + columns);
                        b.product(rows, columns, start, n, false, a.from(row, 0));
                    }
                    Right::Plain(b) => {
                        let size = [rows, columns, k];
                        matmul::product(size, start, n, false, a.from(row, 0), b.from(0, column));
                    }
                }
                for place in 0..rows {
                    let part =
                        std::slice::from_raw_parts_mut(to.at((row + place) * n + column), columns);
                    epilogue(row + place, column, part);
                }
            }
        });
    out
}
