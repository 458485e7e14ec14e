//! Layers and activations.

use burn::backend::ir::{
    ActivationOperationIr, AdaptiveAvgPool2dOpIr, AvgPool2dOpIr, Conv2dOpIr, MaxPool2dOpIr,
    ModuleOperationIr, TensorIr,
};
use burn::tensor::TensorData;

use super::super::graph::Attribute::{self, Float, Int, Ints};
use super::super::impossible;
use super::{Translation, axis};
use crate::error::Result;

type Attributes = Vec<(&'static str, Attribute)>;

impl Translation {
    pub(super) fn activation(&mut self, operation: &ActivationOperationIr) -> Result<bool> {
        use ActivationOperationIr as Op;
        match operation {
            Op::Relu(op) => self.node("Relu", [&op.input], &[], &op.out)?,
            Op::Sigmoid(op) => self.node("Sigmoid", [&op.input], &[], &op.out)?,
            Op::Softmax(op) => self.node("Softmax", [&op.input], &axis(op.axis), &op.out)?,
            Op::LogSoftmax(op) => self.node("LogSoftmax", [&op.input], &axis(op.axis), &op.out)?,
            Op::LeakyRelu(op) => {
                let alpha = [("alpha", Float(op.rhs.elem()))];
                self.node("LeakyRelu", [&op.lhs], &alpha, &op.out)?;
            }
            Op::HardSigmoid(op) => {
                let line = [
                    ("alpha", Float(op.alpha.elem())),
                    ("beta", Float(op.beta.elem())),
                ];
                self.node("HardSigmoid", [&op.tensor], &line, &op.out)?;
            }
            Op::Gelu(op) => self.gelu(&op.input, &op.out)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// x (1 + erf(x / √2)) / 2: opset 18 has no GELU, and runtimes know this form of it.
    fn gelu(&mut self, input: &TensorIr, out: &TensorIr) -> Result<()> {
        let x = self.name(input)?;
        let [root, one, half] = [2f64.sqrt(), 1.0, 0.5].map(|value| self.graph.scalar(value));
        let scaled = self.graph.node("Div", &[&x, &root], &[]);
        let erf = self.graph.node("Erf", &[&scaled], &[]);
        let sum = self.graph.node("Add", &[&erf, &one], &[]);
        let product = self.graph.node("Mul", &[&x, &sum], &[]);
        self.put("Mul", &[product, half], &[], out);
        Ok(())
    }

    pub(super) fn module(&mut self, operation: &ModuleOperationIr) -> Result<bool> {
        use ModuleOperationIr as Op;
        match operation {
            Op::Conv2d(op) => self.conv2d(op)?,
            Op::Conv1d(op) => {
                let [(before, after)] = op.options.padding;
                let attributes = [
                    ("kernel_shape", ints([op.weight.shape[2]])),
                    ("strides", ints(op.options.stride)),
                    ("pads", ints([before, after])),
                    ("dilations", ints(op.options.dilation)),
                    ("group", Int(op.options.groups as i64)),
                ];
                let inputs = [&op.x, &op.weight].into_iter().chain(&op.bias);
                self.node("Conv", inputs, &attributes, &op.out)?;
            }
            Op::Linear(op) => {
                let product = self.names([&op.x, &op.weight])?;
                let Some(bias) = &op.bias else {
                    self.put("MatMul", &product, &[], &op.out);
                    return Ok(true);
                };
                let product: Vec<&str> = product.iter().map(String::as_str).collect();
                let product = self.graph.node("MatMul", &product, &[]);
                let inputs = [product, self.name(bias)?];
                self.put("Add", &inputs, &[], &op.out);
            }
            Op::BatchNorm(op) => {
                let inputs = [&op.x, &op.gamma, &op.beta, &op.mean, &op.variance];
                let epsilon = [("epsilon", Float(op.epsilon.elem()))];
                self.node("BatchNormalization", inputs, &epsilon, &op.out)?;
            }
            Op::LayerNorm(op) => {
                let inputs = [&op.input, &op.gamma].into_iter().chain(&op.beta);
                let attributes = [("axis", Int(-1)), ("epsilon", Float(op.epsilon.elem()))];
                self.node("LayerNormalization", inputs, &attributes, &op.out)?;
            }
            Op::MaxPool2d(op) => self.max_pool2d(op)?,
            Op::AvgPool2d(op) => self.avg_pool2d(op)?,
            Op::AdaptiveAvgPool2d(op) => self.adaptive_avg_pool2d(op)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn conv2d(&mut self, op: &Conv2dOpIr) -> Result<()> {
        let [(top, bottom), (left, right)] = op.options.padding;
        let kernel = [op.weight.shape[2], op.weight.shape[3]];
        let attributes = [
            ("kernel_shape", ints(kernel)),
            ("strides", ints(op.options.stride)),
            ("pads", ints([top, left, bottom, right])),
            ("dilations", ints(op.options.dilation)),
            ("group", Int(op.options.groups as i64)),
        ];
        let inputs = [&op.x, &op.weight].into_iter().chain(&op.bias);
        self.node("Conv", inputs, &attributes, &op.out)
    }

    fn max_pool2d(&mut self, op: &MaxPool2dOpIr) -> Result<()> {
        let window = Window {
            kernel: op.kernel_size,
            stride: op.stride,
            padding: op.padding,
            dilation: op.dilation,
            ceil: op.ceil_mode,
        };
        let mut attributes = self.pool(window, &op.x, &op.out);
        attributes.push(("dilations", ints(op.dilation)));
        self.node("MaxPool", [&op.x], &attributes, &op.out)
    }

    fn avg_pool2d(&mut self, op: &AvgPool2dOpIr) -> Result<()> {
        // Zeros that count are those of the padding, and not what lies behind it.
        if op.ceil_mode && op.count_include_pad && op.padding != [0; 2] {
            return Err(impossible(
                "average pooling with either zeros that count or windows over the edge",
                "both",
            ));
        }
        let window = Window {
            kernel: op.kernel_size,
            stride: op.stride,
            padding: op.padding,
            dilation: [1; 2],
            ceil: op.ceil_mode,
        };
        let mut attributes = self.pool(window, &op.x, &op.out);
        let counts = op.count_include_pad && !op.ceil_mode;
        attributes.push(("count_include_pad", Int(counts.into())));
        self.node("AveragePool", [&op.x], &attributes, &op.out)
    }

    /// The attributes of a pooling. Where windows hang over the edge, what they reach beyond it is written as
    /// padding: runtimes have not always agreed on `ceil_mode`.
    fn pool(&self, window: Window, input: &TensorIr, output: &TensorIr) -> Attributes {
        let sides = |tensor| {
            let sides = self.recording.sides(tensor);
            [2, 3].map(|dim| sides.get(dim).and_then(|side| side.fixed()))
        };
        let (from, to) = (sides(input), sides(output));
        let mut end = window.padding;
        let mut ceil = false;
        for dim in [0, 1] {
            match (from[dim], to[dim]) {
                _ if !window.ceil => {}
                (Some(from), Some(to)) => end[dim] = window.end_padding(dim, from, to),
                _ => ceil = true,
            }
        }
        let [top, left] = window.padding;
        let mut attributes = vec![
            ("kernel_shape", ints(window.kernel)),
            ("strides", ints(window.stride)),
            ("pads", ints([top, left, end[0], end[1]])),
        ];
        if ceil {
            attributes.push(("ceil_mode", Int(1)));
        }
        attributes
    }

    fn adaptive_avg_pool2d(&mut self, op: &AdaptiveAvgPool2dOpIr) -> Result<()> {
        if op.output_size == [1, 1] {
            return self.node("GlobalAveragePool", [&op.x], &[], &op.out);
        }
        let sides = self.recording.sides(&op.x);
        let [Some(height), Some(width)] = [2, 3].map(|dim| sides.get(dim).and_then(|s| s.fixed()))
        else {
            let found = "a pooling to some windows, which follows from it";
            return Err(impossible(
                "a network that does not see the image size",
                found,
            ));
        };
        let [rows, columns] = op.output_size;
        let mut name = self.name(&op.x)?;
        if width != columns {
            let matrix = means(width, columns);
            let matrix = transposed(&matrix, width, columns);
            let matrix = self
                .graph
                .constant(TensorData::new(matrix, [width, columns]));
            name = self.graph.node("MatMul", &[&name, &matrix], &[]);
        }
        if height != rows {
            let matrix = TensorData::new(means(height, rows), [rows, height]);
            let matrix = self.graph.constant(matrix);
            name = self.graph.node("MatMul", &[&matrix, &name], &[]);
        }
        self.is(&op.out, name);
        Ok(())
    }
}

/// The windows of a pooling.
#[derive(Clone, Copy)]
struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
    ceil: bool,
}

impl Window {
    /// What the last of `to` windows reaches behind a side.
    fn end_padding(&self, dim: usize, side: usize, to: usize) -> usize {
        let last = to.saturating_sub(1) * self.stride[dim];
        let reach = last + self.dilation[dim] * (self.kernel[dim] - 1) + 1;
        reach.saturating_sub(side + self.padding[dim])
    }
}

/// What each of `to` windows takes of `from` positions, `[to, from]`: PyTorch's adaptive pooling.
fn means(from: usize, to: usize) -> Vec<f32> {
    let mut matrix = vec![0.0; to * from];
    for (window, row) in matrix.chunks_exact_mut(from).enumerate() {
        let start = window * from / to;
        let end = ((window + 1) * from).div_ceil(to);
        row[start..end].fill(1.0 / (end - start) as f32);
    }
    matrix
}

/// `[rows, columns]` of `[columns, rows]`.
fn transposed(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let at = |index: usize| matrix[index % columns * rows + index / columns];
    (0..rows * columns).map(at).collect()
}

fn ints<const N: usize>(values: [usize; N]) -> Attribute {
    Ints(values.map(|value| value as i64).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adaptive_windows_are_pytorchs() {
        // torch.nn.AdaptiveAvgPool1d(3) of five positions: 0..2, 1..4, 3..5.
        let (half, third) = (0.5, 1.0 / 3.0);
        let rows = [
            [half, half, 0.0, 0.0, 0.0],
            [0.0, third, third, third, 0.0],
            [0.0, 0.0, 0.0, half, half],
        ];
        assert_eq!(means(5, 3), rows.concat());
        assert_eq!(
            transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, 2),
            [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
        );
    }

    #[test]
    fn windows_over_the_edge_become_padding() {
        let window = Window {
            kernel: [3; 2],
            stride: [2; 2],
            padding: [0; 2],
            dilation: [1; 2],
            ceil: true,
        };
        assert_eq!(window.end_padding(0, 8, 4), 1);
        assert_eq!(window.end_padding(0, 7, 3), 0);
    }
}
