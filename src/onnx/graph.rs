//! An ONNX file in the making: nodes, constants, inputs and outputs. Numbers of fields are those of
//! [`onnx.proto`](https://github.com/onnx/onnx/blob/v1.18.0/onnx/onnx.proto).

use std::collections::HashSet;

use burn::tensor::{DType, TensorData};

use super::impossible;
use crate::error::Result;
use crate::protobuf::Message;

/// Of the operators: that of ONNX 1.13 (2022), the first in which all reductions take their axes as an input.
const OPSET: i64 = 18;
/// Of the file's format, as in ONNX 1.13.
const IR_VERSION: i64 = 8;
/// What protobuf can read back.
const MOST_BYTES: usize = i32::MAX as usize;

/// The length of a dimension of an input or an output.
#[derive(Debug, Clone, Copy)]
pub enum Axis {
    Fixed(usize),
    /// Any length; the same wherever the name is.
    Named(&'static str),
}

/// The value of an attribute.
#[derive(Debug)]
pub enum Attribute {
    Float(f64),
    Int(i64),
    Ints(Vec<i64>),
    Text(&'static str),
}

/// The graph of a network.
#[derive(Default)]
pub struct Graph {
    nodes: Vec<Message>,
    constants: Vec<(String, TensorData)>,
    small: HashSet<String>,
    inputs: Vec<Message>,
    outputs: Vec<Message>,
    last: String,
}

impl Graph {
    /// An operation with one output, whose name it gives.
    pub fn node(
        &mut self,
        operator: &'static str,
        inputs: &[&str],
        attributes: &[(&'static str, Attribute)],
    ) -> String {
        let output = format!("{operator}_{}", self.nodes.len());
        self.push(operator, inputs, attributes, &output);
        self.last.clone_from(&output);
        output
    }

    fn push(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: &[(&'static str, Attribute)],
        output: &str,
    ) {
        let name = format!("node_{}", self.nodes.len());
        let message = inputs.iter().fold(Message::default(), |message, input| {
            message.push_text(1, input)
        });
        let message = message
            .push_text(2, output)
            .text(3, &name)
            .text(4, operator);
        let attributes = attributes.iter().map(|(name, value)| value.encode(name));
        self.nodes.push(message.push_all(5, attributes));
    }

    /// A constant.
    pub fn constant(&mut self, values: TensorData) -> String {
        let name = format!("constant_{}", self.constants.len());
        self.constants.push((name.clone(), values));
        name
    }

    /// Whole numbers, one constant for all places that ask for the same.
    pub fn ints(&mut self, values: &[i64]) -> String {
        let words: Vec<String> = values.iter().map(i64::to_string).collect();
        let name = format!("ints_{}", words.join("_"));
        if self.small.insert(name.clone()) {
            let values = TensorData::new(values.to_vec(), [values.len()]);
            self.constants.push((name.clone(), values));
        }
        name
    }

    /// A number as a tensor without dimensions.
    pub fn scalar(&mut self, value: f64) -> String {
        let name = format!("scalar_{value}");
        if self.small.insert(name.clone()) {
            let values = TensorData::new(vec![value as f32], Vec::<usize>::new());
            self.constants.push((name.clone(), values));
        }
        name
    }

    /// Declares the input of this name.
    pub fn input(&mut self, name: &str, axes: &[Axis]) {
        self.inputs.push(value_info(name, axes));
    }

    /// Declares what the last operation gives as the output, under this name.
    pub fn output(&mut self, name: &str, axes: &[Axis]) {
        let last = self.last.clone();
        self.push("Identity", &[&last], &[], name);
        self.outputs.push(value_info(name, axes));
    }

    /// What the output is.
    pub fn ends_with(&mut self, name: String) {
        self.last = name;
    }

    /// The file.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) if protobuf cannot hold it, or ONNX not one of its
    /// constants.
    pub fn encode(self, name: &str, properties: Vec<(String, String)>) -> Result<Vec<u8>> {
        let bytes: usize = self.constants.iter().map(|(_, it)| it.bytes().len()).sum();
        if bytes > MOST_BYTES {
            let found = format!("{bytes} bytes of weights");
            return Err(impossible("at most 2 GiB, which ONNX files hold", found));
        }
        let mut graph = Message::default().push_all(1, self.nodes).text(2, name);
        for (name, values) in self.constants {
            graph = graph.push(5, &tensor(&name, &values)?);
        }
        let graph = graph.push_all(11, self.inputs).push_all(12, self.outputs);
        let properties = properties
            .into_iter()
            .map(|(key, value)| Message::default().text(1, &key).text(2, &value));
        let model = Message::default()
            .int(1, IR_VERSION)
            .text(2, env!("CARGO_PKG_NAME"))
            .text(3, env!("CARGO_PKG_VERSION"))
            .push(7, &graph)
            .push(8, &Message::default().int(2, OPSET))
            .push_all(14, properties);
        let bytes = model.into_bytes();
        if bytes.len() > MOST_BYTES {
            let found = format!("{} bytes", bytes.len());
            return Err(impossible("at most 2 GiB, which ONNX files hold", found));
        }
        Ok(bytes)
    }
}

impl Attribute {
    fn encode(&self, name: &str) -> Message {
        let message = Message::default().text(1, name);
        match self {
            Self::Float(value) => message.push_float(2, *value as f32).int(20, 1),
            Self::Int(value) => message.push_int(3, *value).int(20, 2),
            Self::Text(value) => message.push_text(4, value).int(20, 3),
            Self::Ints(values) => {
                let values = values.iter();
                let message = values.fold(message, |message, value| message.push_int(8, *value));
                message.int(20, 7)
            }
        }
    }
}

/// `TensorProto`.
fn tensor(name: &str, values: &TensorData) -> Result<Message> {
    let dims = values.shape().iter();
    let message = dims.fold(Message::default(), |message, side| {
        message.push_int(1, *side as i64)
    });
    let kind = element_type(values.dtype())?;
    let message = message.int(2, kind).text(8, name);
    Ok(message.push_bytes(9, values.as_bytes()))
}

/// The number of a type in `TensorProto.DataType`.
pub fn element_type(dtype: DType) -> Result<i64> {
    Ok(match dtype {
        DType::F32 => 1,
        DType::U8 => 2,
        DType::I32 => 6,
        DType::I64 => 7,
        DType::Bool(_) => 9,
        other => return Err(impossible("values in 32 bits", format!("{other:?}"))),
    })
}

/// `ValueInfoProto` of a tensor of 32-bit numbers.
fn value_info(name: &str, axes: &[Axis]) -> Message {
    let axes = axes.iter().map(|axis| match axis {
        Axis::Fixed(length) => Message::default().push_int(1, *length as i64),
        Axis::Named(name) => Message::default().push_text(2, name),
    });
    let shape = Message::default().push_all(1, axes);
    let tensor = Message::default().int(1, 1).push(2, &shape);
    let kind = Message::default().push(1, &tensor);
    Message::default().text(1, name).push(2, &kind)
}
