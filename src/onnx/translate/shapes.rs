//! Operations whose arguments are shapes. A side that is the same in all runs is written as it is; others
//! have to be found by ONNX Runtime from the input.

use burn::backend::ir::{FlipOpIr, ShapeOpIr, SliceOpIr, TensorIr};
use burn::tensor::Slice;

use super::super::graph::Attribute::Int;
use super::super::impossible;
use super::super::recording::Side;
use super::{INPUT, Translation, axis};
use crate::error::{Error, Result};

/// A side of a shape for the operator `Reshape`: the input's side at the same place.
const SAME: i64 = 0;
/// What is left of the number of elements.
const REST: i64 = -1;

impl Translation {
    pub(super) fn reshape(&mut self, op: &ShapeOpIr) -> Result<()> {
        let (from, to) = (
            self.recording.sides(&op.input),
            self.recording.sides(&op.out),
        );
        if from == to {
            let name = self.name(&op.input)?;
            self.is(&op.out, name);
            return Ok(());
        }
        let open = to.iter().filter(|side| side.fixed().is_none()).count();
        let shape: Vec<i64> = to
            .iter()
            .enumerate()
            .map(|(dim, side)| match side.fixed() {
                Some(length) => length as i64,
                // With one alone the rest is right whatever stands before it.
                None if open > 1 && from.get(dim) == Some(side) => SAME,
                None => REST,
            })
            .collect();
        if shape.iter().filter(|side| **side == REST).count() > 1 {
            return Err(open_shape("a reshape", from, to));
        }
        let inputs = [self.name(&op.input)?, self.graph.ints(&shape)];
        self.put("Reshape", &inputs, &[], &op.out);
        Ok(())
    }

    pub(super) fn expand(&mut self, op: &ShapeOpIr) -> Result<()> {
        let from = self.recording.sides(&op.input).to_vec();
        let to = self.recording.sides(&op.out).to_vec();
        if from == to {
            let name = self.name(&op.input)?;
            self.is(&op.out, name);
            return Ok(());
        }
        let first = to.len().saturating_sub(from.len());
        // Where the sides are the same already, 1 leaves them so.
        let one = Side::of_one(&to);
        let target: Vec<Side> = to
            .iter()
            .enumerate()
            .map(|(dim, side)| match dim.checked_sub(first) {
                Some(dim) if from.get(dim) == Some(side) => one.clone(),
                _ => side.clone(),
            })
            .collect();
        let shape = self.shape(&target)?;
        let inputs = [self.name(&op.input)?, shape];
        self.put("Expand", &inputs, &[], &op.out);
        Ok(())
    }

    /// A tensor in which each element is the same.
    pub(super) fn filled(&mut self, out: &TensorIr, value: f64) -> Result<()> {
        if !out.dtype.is_float() {
            return Err(impossible(
                "tensors of real numbers",
                format!("{:?}", out.dtype),
            ));
        }
        let sides = self.recording.sides(out).to_vec();
        let inputs = [self.graph.scalar(value), self.shape(&sides)?];
        self.put("Expand", &inputs, &[], out);
        Ok(())
    }

    /// The name of a shape: a constant, or one that is put together from the number of images.
    fn shape(&mut self, sides: &[Side]) -> Result<String> {
        let mut parts = Vec::new();
        let mut fixed = Vec::new();
        for side in sides {
            if let Some(length) = side.fixed() {
                fixed.push(length as i64);
                continue;
            }
            let Some(times) = side.per_image() else {
                return Err(open_shape("a shape", sides, sides));
            };
            if !fixed.is_empty() {
                parts.push(self.graph.ints(&fixed));
                fixed.clear();
            }
            parts.push(self.images_times(times));
        }
        if !fixed.is_empty() || parts.is_empty() {
            parts.push(self.graph.ints(&fixed));
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Ok(match parts[..] {
            [one] => one.to_owned(),
            _ => self.graph.node("Concat", &parts, &axis(0)),
        })
    }

    fn images_times(&mut self, times: usize) -> String {
        if let Some(name) = self.batch.get(&times) {
            return name.clone();
        }
        let name = if times == 1 {
            let first = [("start", Int(0)), ("end", Int(1))];
            self.graph.node("Shape", &[INPUT], &first)
        } else {
            let images = self.images_times(1);
            let times = self.graph.ints(&[times as i64]);
            self.graph.node("Mul", &[&images, &times], &[])
        };
        self.batch.insert(times, name.clone());
        name
    }

    pub(super) fn slice(&mut self, op: &SliceOpIr) -> Result<()> {
        let sides = self.recording.sides(&op.tensor);
        let runs = self.recording.ranges(op);
        let mut args: [Vec<i64>; 4] = Default::default();
        for (dim, (side, range)) in sides.iter().zip(&op.ranges).enumerate() {
            let in_runs = || runs.iter().map(|ranges| ranges[dim]);
            if side.is_all(in_runs()) {
                continue;
            }
            if side.fixed().is_none() || in_runs().any(|other| other != *range) {
                return Err(open_shape("a slice", sides, self.recording.sides(&op.out)));
            }
            let (start, end) = bounds(*range, side.recorded());
            let values = [start, end, dim as i64, range.step as i64];
            args.iter_mut()
                .zip(values)
                .for_each(|(list, it)| list.push(it));
        }
        self.sliced(&op.tensor, &args, &op.out)
    }

    pub(super) fn flip(&mut self, op: &FlipOpIr) -> Result<()> {
        let axes: Vec<i64> = op.axes.iter().map(|axis| *axis as i64).collect();
        let all = |value| vec![value; axes.len()];
        let args = [all(-1), all(i64::MIN), axes.clone(), all(-1)];
        self.sliced(&op.input, &args, &op.out)
    }

    /// `args`: where to start, where to end, which dimensions, in what steps.
    fn sliced(&mut self, input: &TensorIr, args: &[Vec<i64>; 4], out: &TensorIr) -> Result<()> {
        let mut inputs = vec![self.name(input)?];
        if args[0].is_empty() {
            let name = inputs.remove(0);
            self.is(out, name);
            return Ok(());
        }
        inputs.extend(args.iter().map(|values| self.graph.ints(values)));
        self.put("Slice", &inputs, &[], out);
        Ok(())
    }
}

/// The bounds of a range as ONNX counts them. A negative step goes through the same elements from the last.
fn bounds(range: Slice, side: usize) -> (i64, i64) {
    let (start, end) = (
        range.start as i64,
        range.end.map_or(side as i64, |it| it as i64),
    );
    if range.step > 0 {
        return (start, end);
    }
    let before = if start == 0 { i64::MIN } else { start - 1 };
    (end - 1, before)
}

fn open_shape(what: &str, from: &[Side], to: &[Side]) -> Error {
    impossible(
        "shapes that follow from the number of images alone",
        format!("{what} from {from:?} to {to:?} in several runs; a fixed image size may help"),
    )
}
