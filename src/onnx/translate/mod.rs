//! From burn's operations to ONNX's.

mod layers;
mod shapes;

use std::collections::HashMap;

use burn::backend::capture::TensorId;
use burn::backend::ir::{
    BaseOperationIr, FloatOperationIr, NumericOperationIr, OperationIr, PadModeIr, ReduceDimOpIr,
    ScalarIr, TensorIr,
};

use burn::tensor::TensorData;

use super::constants::Constants;
use super::graph::Attribute::{Int, Ints, Text};
use super::graph::{Attribute, Graph, element_type};
use super::impossible;
use super::recording::{Recording, name_of};
use crate::error::Result;

/// The name of the input.
pub const INPUT: &str = "images";

/// The graph of a recorded network, without its inputs and outputs.
///
/// # Errors
/// [`Error::InvalidArgument`](crate::Error::InvalidArgument) names an operation that has no counterpart, or a
/// shape that cannot be written down for all batches and sizes.
pub fn translate(mut recording: Recording) -> Result<Graph> {
    let constants = Constants::of(&mut recording)?;
    let operations = std::mem::take(&mut recording.operations);
    let mut translation = Translation {
        names: HashMap::from([(recording.input, INPUT.to_owned())]),
        recording,
        constants,
        graph: Graph::default(),
        batch: HashMap::new(),
    };
    for operation in &operations {
        translation.operation(operation)?;
    }
    let output = translation.recording.output;
    let name = translation.name_of_id(output)?;
    translation.graph.ends_with(name);
    Ok(translation.graph)
}

struct Translation {
    recording: Recording,
    constants: Constants,
    graph: Graph,
    names: HashMap<TensorId, String>,
    /// The number of images times something, as a tensor of one element.
    batch: HashMap<usize, String>,
}

impl Translation {
    /// The name of a tensor that has been computed, or is a constant.
    fn name(&mut self, tensor: &TensorIr) -> Result<String> {
        self.name_of_id(tensor.id)
    }

    fn name_of_id(&mut self, id: TensorId) -> Result<String> {
        if let Some(name) = self.names.get(&id) {
            return Ok(name.clone());
        }
        let Some(values) = self.constants.take(id) else {
            return Err(impossible("tensors that something computes", id));
        };
        let name = self.graph.constant(values);
        self.names.insert(id, name.clone());
        Ok(name)
    }

    fn names<'a>(
        &mut self,
        tensors: impl IntoIterator<Item = &'a TensorIr>,
    ) -> Result<Vec<String>> {
        tensors
            .into_iter()
            .map(|tensor| self.name(tensor))
            .collect()
    }

    /// The tensor has this name from now on.
    fn is(&mut self, tensor: &TensorIr, name: String) {
        self.names.insert(tensor.id, name);
    }

    /// One ONNX operation for one of burn's, of these inputs.
    fn node<'a>(
        &mut self,
        operator: &'static str,
        inputs: impl IntoIterator<Item = &'a TensorIr>,
        attributes: &[(&'static str, Attribute)],
        out: &TensorIr,
    ) -> Result<()> {
        let inputs = self.names(inputs)?;
        self.put(operator, &inputs, attributes, out);
        Ok(())
    }

    fn put(
        &mut self,
        operator: &'static str,
        inputs: &[String],
        attributes: &[(&'static str, Attribute)],
        out: &TensorIr,
    ) {
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let name = self.graph.node(operator, &inputs, attributes);
        self.is(out, name);
    }

    /// An operation of a tensor and a number.
    fn with_scalar(
        &mut self,
        operator: &'static str,
        tensor: &TensorIr,
        scalar: ScalarIr,
        out: &TensorIr,
    ) -> Result<()> {
        let inputs = [self.name(tensor)?, self.graph.scalar(scalar.elem())];
        self.put(operator, &inputs, &[], out);
        Ok(())
    }

    /// A reduction over one dimension.
    fn reduce(&mut self, operator: &'static str, reduce: &ReduceDimOpIr) -> Result<()> {
        self.reduce_dims(operator, &reduce.input, &[reduce.axis], &reduce.out)
    }

    fn reduce_dims(
        &mut self,
        operator: &'static str,
        input: &TensorIr,
        dims: &[usize],
        out: &TensorIr,
    ) -> Result<()> {
        let dims: Vec<i64> = dims.iter().map(|dim| *dim as i64).collect();
        let inputs = [self.name(input)?, self.graph.ints(&dims)];
        let keeps = i64::from(input.shape.num_dims() == out.shape.num_dims());
        self.put(operator, &inputs, &[("keepdims", Int(keeps))], out);
        Ok(())
    }

    fn operation(&mut self, operation: &OperationIr) -> Result<()> {
        let is_known = match operation {
            OperationIr::BaseFloat(base)
            | OperationIr::BaseInt(base)
            | OperationIr::BaseBool(base) => self.base(base)?,
            OperationIr::NumericFloat(_, numeric) => self.numeric(numeric)?,
            OperationIr::Float(_, float) => self.float(float)?,
            OperationIr::Activation(activation) => self.activation(activation)?,
            OperationIr::Module(module) => self.module(module)?,
            _ => false,
        };
        if is_known {
            return Ok(());
        }
        Err(impossible(
            "operations that have a translation",
            name_of(operation),
        ))
    }

    fn base(&mut self, operation: &BaseOperationIr) -> Result<bool> {
        use BaseOperationIr as Op;
        match operation {
            Op::Reshape(op) => self.reshape(op)?,
            Op::Expand(op) => self.expand(op)?,
            Op::Slice(op) => self.slice(op)?,
            Op::SwapDims(op) => {
                let mut axes: Vec<usize> = (0..op.input.shape.num_dims()).collect();
                axes.swap(op.dim1, op.dim2);
                self.transpose(&op.input, &axes, &op.out)?;
            }
            Op::Permute(op) => self.transpose(&op.input, &op.axes, &op.out)?,
            Op::Flip(op) => self.flip(op)?,
            Op::Cat(op) => self.node("Concat", &op.tensors, &axis(op.dim), &op.out)?,
            Op::Select(op) => {
                self.node("Gather", [&op.tensor, &op.indices], &axis(op.dim), &op.out)?;
            }
            Op::Gather(op) => {
                let inputs = [&op.tensor, &op.indices];
                self.node("GatherElements", inputs, &axis(op.dim), &op.out)?;
            }
            Op::RepeatDim(op) => {
                let mut times = vec![1; op.tensor.shape.num_dims()];
                times[op.dim] = op.times as i64;
                let inputs = [self.name(&op.tensor)?, self.graph.ints(&times)];
                self.put("Tile", &inputs, &[], &op.out);
            }
            Op::MaskWhere(op) => {
                self.node("Where", [&op.mask, &op.value, &op.tensor], &[], &op.out)?;
            }
            Op::EqualElem(op) if op.lhs.dtype.is_float() => {
                self.with_scalar("Equal", &op.lhs, op.rhs, &op.out)?;
            }
            Op::MaskFill(op) if op.tensor.dtype.is_float() => {
                let inputs = [
                    self.name(&op.mask)?,
                    self.graph.scalar(op.value.elem()),
                    self.name(&op.tensor)?,
                ];
                self.put("Where", &inputs, &[], &op.out);
            }
            Op::Cast(op) if op.input.dtype == op.out.dtype => {
                let name = self.name(&op.input)?;
                self.is(&op.out, name);
            }
            Op::Cast(op) => {
                let to = Int(element_type(op.out.dtype)?);
                self.node("Cast", [&op.input], &[("to", to)], &op.out)?;
            }
            Op::Zeros(op) => self.filled(&op.out, 0.0)?,
            Op::Ones(op) => self.filled(&op.out, 1.0)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn transpose(&mut self, input: &TensorIr, axes: &[usize], out: &TensorIr) -> Result<()> {
        let axes = axes.iter().map(|axis| *axis as i64).collect();
        self.node("Transpose", [input], &[("perm", Ints(axes))], out)
    }

    fn numeric(&mut self, operation: &NumericOperationIr) -> Result<bool> {
        use NumericOperationIr as Op;
        match operation {
            Op::Add(op) => self.node("Add", [&op.lhs, &op.rhs], &[], &op.out)?,
            Op::Sub(op) => self.node("Sub", [&op.lhs, &op.rhs], &[], &op.out)?,
            Op::Mul(op) => self.node("Mul", [&op.lhs, &op.rhs], &[], &op.out)?,
            Op::Div(op) => self.node("Div", [&op.lhs, &op.rhs], &[], &op.out)?,
            Op::AddScalar(op) => self.with_scalar("Add", &op.lhs, op.rhs, &op.out)?,
            Op::SubScalar(op) => self.with_scalar("Sub", &op.lhs, op.rhs, &op.out)?,
            Op::MulScalar(op) => self.with_scalar("Mul", &op.lhs, op.rhs, &op.out)?,
            Op::DivScalar(op) => self.with_scalar("Div", &op.lhs, op.rhs, &op.out)?,
            Op::PowiScalar(op) => self.with_scalar("Pow", &op.lhs, op.rhs, &op.out)?,
            // Of two arguments the larger, and the smaller.
            Op::ClampMin(op) => self.with_scalar("Max", &op.lhs, op.rhs, &op.out)?,
            Op::ClampMax(op) => self.with_scalar("Min", &op.lhs, op.rhs, &op.out)?,
            Op::Clamp(op) => {
                let inputs = [
                    self.name(&op.tensor)?,
                    self.graph.scalar(op.min.elem()),
                    self.graph.scalar(op.max.elem()),
                ];
                self.put("Clip", &inputs, &[], &op.out);
            }
            Op::Abs(op) => self.node("Abs", [&op.input], &[], &op.out)?,
            Op::Neg(op) => self.node("Neg", [&op.input], &[], &op.out)?,
            Op::Sign(op) => self.node("Sign", [&op.input], &[], &op.out)?,
            Op::MeanDim(op) => self.reduce("ReduceMean", op)?,
            Op::SumDim(op) => self.reduce("ReduceSum", op)?,
            Op::MaxDim(op) => self.reduce("ReduceMax", op)?,
            Op::MinDim(op) => self.reduce("ReduceMin", op)?,
            Op::SumDims(op) => self.reduce_dims("ReduceSum", &op.input, &op.axes, &op.out)?,
            Op::Full(op) if op.out.dtype.is_float() => self.filled(&op.out, op.value.elem())?,
            Op::Pad(op) => {
                let before = op.padding.iter().map(|(before, _)| *before as i64);
                let after = op.padding.iter().map(|(_, after)| *after as i64);
                let pads: Vec<i64> = before.chain(after).collect();
                let mut inputs = vec![self.name(&op.input)?, self.graph.ints(&pads)];
                let mode = match op.mode {
                    PadModeIr::Constant(value) => {
                        inputs.push(self.graph.scalar(value.elem()));
                        "constant"
                    }
                    PadModeIr::Reflect => "reflect",
                    PadModeIr::Edge => "edge",
                };
                self.put("Pad", &inputs, &[("mode", Text(mode))], &op.out);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A constant matrix without dimensions of length 1 before it: as such runtimes prepare it once.
    fn flatten_weight(&mut self, weight: &TensorIr) {
        let Some(values) = self.constants.take(weight.id) else {
            return;
        };
        let (bytes, shape, dtype) = values.into_parts();
        let batch = shape.num_dims().saturating_sub(2);
        let is_matrix = shape.iter().take(batch).all(|side| *side == 1);
        let skipped = if is_matrix { batch } else { 0 };
        let sides: Vec<usize> = shape.iter().skip(skipped).copied().collect();
        let values = TensorData::from_bytes(bytes, sides, dtype);
        let name = self.graph.constant(values);
        self.is(weight, name);
    }

    fn float(&mut self, operation: &FloatOperationIr) -> Result<bool> {
        use FloatOperationIr as Op;
        match operation {
            Op::Matmul(op) => {
                self.flatten_weight(&op.rhs);
                self.node("MatMul", [&op.lhs, &op.rhs], &[], &op.out)?;
            }
            Op::PowfScalar(op) => self.with_scalar("Pow", &op.lhs, op.rhs, &op.out)?,
            Op::Powf(op) => self.node("Pow", [&op.lhs, &op.rhs], &[], &op.out)?,
            Op::Exp(op) => self.node("Exp", [&op.input], &[], &op.out)?,
            Op::Log(op) => self.node("Log", [&op.input], &[], &op.out)?,
            Op::Sqrt(op) => self.node("Sqrt", [&op.input], &[], &op.out)?,
            Op::Erf(op) => self.node("Erf", [&op.input], &[], &op.out)?,
            Op::Cos(op) => self.node("Cos", [&op.input], &[], &op.out)?,
            Op::Sin(op) => self.node("Sin", [&op.input], &[], &op.out)?,
            Op::Tanh(op) => self.node("Tanh", [&op.input], &[], &op.out)?,
            Op::Floor(op) => self.node("Floor", [&op.input], &[], &op.out)?,
            Op::Ceil(op) => self.node("Ceil", [&op.input], &[], &op.out)?,
            Op::Recip(op) => self.node("Reciprocal", [&op.input], &[], &op.out)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn axis(dim: usize) -> [(&'static str, Attribute); 1] {
    [("axis", Int(dim as i64))]
}
