//! Products of matrices, by all threads.

use rayon::prelude::*;

use crate::flex::simd::{self, Matrix, PANEL, Packed, Shared};

/// A matrix in a slice: where it begins, and how far apart its rows and its columns are.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub values: &'a [f32],
    pub row: usize,
    pub column: usize,
}

impl<'a> View<'a> {
    /// Rows of so many numbers, one after the other.
    pub fn rows(values: &'a [f32], columns: usize) -> Self {
        Self {
            values,
            row: columns,
            column: 1,
        }
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            row: self.column,
            column: self.row,
            ..self
        }
    }

    /// The matrix from this row and this column on.
    fn at(&self, row: usize, column: usize) -> Matrix {
        Matrix {
            start: self.values[row * self.row + column * self.column..].as_ptr(),
            row: self.row,
            column: self.column,
        }
    }
}

/// The right side of a product, `k` by `n`.
#[derive(Clone, Copy)]
pub enum Right<'a> {
    Packed(&'a Packed),
    Plain(View<'a>),
}

/// Rows of a task: whole blocks of what a product with a packed matrix computes at a time.
const ROWS: usize = 56;
/// Columns of a task.
const COLUMNS: usize = 8 * PANEL;

/// `a b` as rows of `n` numbers, for `a` of `m` by `k` and `b` of `k` by `n`. `finish` sees every
/// part of a row once it is there: the row, its first column, the numbers.
pub fn product(
    [m, n, k]: [usize; 3],
    a: View<'_>,
    b: Right<'_>,
    finish: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let mut out = simd::room(m * n);
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
            // SAFETY: each task writes its own rows and columns of `out`, all of which are inside; `a`
            // and `b` are as large as is said, which `at` and the callers see to.
            unsafe {
                let start = to.at(row * n + column);
                match b {
                    Right::Packed(b) => {
                        let columns = (column, column + columns);
                        b.product(rows, columns, start, n, false, a.at(row, 0));
                    }
                    Right::Plain(b) => {
                        let size = [rows, columns, k];
                        simd::product(size, start, n, false, a.at(row, 0), b.at(0, column));
                    }
                }
                for place in 0..rows {
                    let part =
                        std::slice::from_raw_parts_mut(to.at((row + place) * n + column), columns);
                    finish(row + place, column, part);
                }
            }
        });
    out
}
