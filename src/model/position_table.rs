//! Tables of what attention within windows adds to its scores, at windows of another size.

use super::host_tensor::HostTensor;
use super::stem::Trained;
use crate::preprocess::resample;

/// Where a backbone keeps such a table; a file may have it for square windows of another size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionTable {
    /// Path of the parameter.
    pub path: String,
    /// Positions on the sides of a window of the model, `[height, width]`.
    pub sides: [usize; 2],
    /// How the table is laid out.
    pub layout: TableLayout,
    /// Rows behind those of [`TableLayout::Offsets`] that belong to no offset, such as those of a class
    /// token: they are kept.
    pub other_rows: usize,
}

/// How a table is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableLayout {
    /// `[offsets, heads]`: a row for each offset between two positions, as Swin's.
    Offsets,
    /// `[heads, rows, columns]` of offsets, as MaxViT's in TensorFlow.
    Grid,
    /// `[heads, distances]`: offsets without their signs, as LeViT's.
    Distances,
}

impl PositionTable {
    /// A table for windows of these sides.
    pub fn new(path: String, sides: [usize; 2], layout: TableLayout) -> Self {
        Self {
            path,
            sides,
            layout,
            other_rows: 0,
        }
    }

    /// Sets how many rows behind those of offsets are kept.
    pub fn other_rows(self, other_rows: usize) -> Self {
        Self { other_rows, ..self }
    }

    /// Whether timm takes the table for one of square windows as it loads it, which it always does where the rows
    /// could be theirs, and resamples it.
    pub(crate) fn is_taken_for_square(&self) -> bool {
        let [height, width] = self.sides;
        let rows = (2 * height - 1) * (2 * width - 1);
        self.layout == TableLayout::Offsets && height != width && rows.isqrt().pow(2) == rows
    }

    /// Whether a table of one shape can be brought to another.
    pub(crate) fn resamples(&self, trained: &Trained, from: &[usize], to: &[usize]) -> bool {
        let grids = self.grids(trained, from, to);
        grids.is_some_and(|(from, to, _)| from != to)
    }

    /// The values at another shape. Offsets are interpolated linearly between positions that lie the
    /// farther apart the larger they are, so that the ends of both tables meet (timm's
    /// `resize_rel_pos_bias_table`, after BEiT); distances bicubically, with antialiasing.
    pub(crate) fn resample(
        &self,
        trained: &Trained,
        tensor: &HostTensor,
        shape: &[usize],
    ) -> Vec<f32> {
        let Some((from, to, heads)) = self.grids(trained, &tensor.shape, shape) else {
            return tensor.data.clone();
        };
        let kept = self.other_rows * heads;
        let (data, kept) = tensor.data.split_at(tensor.data.len() - kept);
        let by_head = match self.layout {
            TableLayout::Offsets => transposed(data, heads),
            TableLayout::Grid | TableLayout::Distances => tensor.data.clone(),
        };
        let length = from[0] * from[1];
        let tables = by_head.chunks_exact(length);
        let resampled: Vec<f32> = if self.layout == TableLayout::Distances {
            let each = tables.flat_map(|table| resample::bicubic(table, from, to, 1));
            each.collect()
        } else {
            let [rows, columns] = [0, 1].map(|dim| places(from[dim], to[dim]));
            let at = |table: &[f32], (row, below): &Place, (column, right): &Place| {
                let value = |row: usize, column: usize| f64::from(table[row * from[1] + column]);
                let [upper, lower] = [*row, (row + 1).min(from[0] - 1)].map(|row| {
                    let next = (column + 1).min(from[1] - 1);
                    value(row, *column) * (1.0 - right) + value(row, next) * right
                });
                (upper * (1.0 - below) + lower * below) as f32
            };
            let at = &at;
            let (rows, columns) = (&rows, &columns);
            tables
                .flat_map(|table| {
                    let rows = rows.iter();
                    rows.flat_map(move |row| {
                        columns.iter().map(move |column| at(table, row, column))
                    })
                })
                .collect()
        };
        match self.layout {
            TableLayout::Offsets => [&transposed(&resampled, to[0] * to[1])[..], kept].concat(),
            TableLayout::Grid | TableLayout::Distances => resampled,
        }
    }

    /// Sides of the tables of a head, of the file and of the model, and the number of heads. Where nothing says
    /// which windows the file's had, a table of the model's shape is that of its windows, and any other one of
    /// square ones.
    fn grids(
        &self,
        trained: &Trained,
        from: &[usize],
        to: &[usize],
    ) -> Option<([usize; 2], [usize; 2], usize)> {
        let entries = |sides: [usize; 2]| match self.layout {
            TableLayout::Distances => sides,
            TableLayout::Offsets | TableLayout::Grid => sides.map(|side| 2 * side - 1),
        };
        let known = trained.windows.get(&self.path).copied();
        let known = known.or((from == to).then_some(self.sides)).map(entries);
        let square = |count: usize| {
            let side = count.isqrt();
            let known = known.filter(|[rows, columns]| rows * columns == count);
            known.or((side > 0 && side * side == count).then_some([side; 2]))
        };
        let offsets = self.sides.map(|side| 2 * side - 1);
        let (from, to, heads, wanted, expected) = match (self.layout, from, to) {
            (TableLayout::Offsets, [from, heads], [to, wanted]) => {
                let [from, to] = [from, to].map(|rows| rows.checked_sub(self.other_rows));
                (square(from?)?, to?, *heads, *wanted, offsets)
            }
            (TableLayout::Grid, [heads, rows, columns], [wanted, to_rows, to_columns]) => {
                let from = [*rows, *columns];
                (from, to_rows * to_columns, *heads, *wanted, offsets)
            }
            (TableLayout::Distances, [heads, from], [wanted, to]) => {
                (square(*from)?, *to, *heads, *wanted, self.sides)
            }
            _ => return None,
        };
        // Offsets go as far to one side as to the other.
        let is_odd = self.layout == TableLayout::Distances || from.iter().all(|side| side % 2 == 1);
        let fits = heads == wanted && heads > 0 && to == expected[0] * expected[1] && is_odd;
        fits.then_some((from, expected, heads))
    }
}

/// The entry of a table before a place in it, and how far behind it is, from 0 to 1.
type Place = (usize, f64);

/// Where the offsets of a table of one length are in a table of another.
fn places(from: usize, to: usize) -> Vec<Place> {
    // Offsets of the first table, in the unit of the second.
    let reach = from / 2;
    let (mut left, mut right) = (1.01, 1.5);
    let mut ratio = right;
    while right - left > 1e-6 {
        ratio = (left + right) / 2.0;
        let sum = (1.0 - f64::powi(ratio, reach as i32)) / (1.0 - ratio);
        if sum > (to / 2) as f64 {
            right = ratio;
        } else {
            left = ratio;
        }
    }
    let mut lengths = vec![0.0];
    let mut length = 1.0;
    for index in 0..reach {
        lengths.push(length);
        length += f64::powi(ratio, index as i32 + 1);
    }
    let before = lengths[1..].iter().rev().map(|length| -length);
    let points: Vec<f64> = before.chain(lengths.iter().copied()).collect();
    let end = (to / 2) as i64;
    (-end..=end)
        .map(|offset| {
            let offset = offset as f64;
            // What lies beyond the ends has their values.
            let next = points.partition_point(|point| *point < offset);
            match (next.checked_sub(1), points.get(next)) {
                (Some(before), Some(next)) => {
                    let step = next - points[before];
                    (before, (offset - points[before]) / step)
                }
                (None, _) => (0, 0.0),
                (Some(last), None) => (last, 0.0),
            }
        })
        .collect()
}

/// The columns of a matrix with so many of them as rows.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let column = |column| values.iter().skip(column).step_by(columns).copied();
    (0..columns).flat_map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 9, 81 and 25 rows could be those of 2 x 2, 5 x 5 and 3 x 3 windows.
    #[test]
    fn tables_that_look_square_are_known() {
        for (sides, expected) in [
            ([1, 5], true),
            ([2, 14], true),
            ([13, 1], true),
            ([7, 7], false),
            ([2, 3], false),
        ] {
            let table = |layout| PositionTable::new(String::new(), sides, layout);
            let found = table(TableLayout::Offsets).is_taken_for_square();
            assert_eq!(found, expected, "{sides:?}");
            assert!(!table(TableLayout::Grid).is_taken_for_square());
        }
    }
}
