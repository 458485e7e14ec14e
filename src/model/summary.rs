//! A table of a model's layers, as torchinfo prints it.

use std::collections::HashMap;
use std::fmt;

use burn::module::Module;
use burn::tensor::Tensor;

use super::backbone::InputSize;
use super::classifier::Classifier;
use super::low_rank::factor;
use super::params;
use super::stem::StemShape;
use crate::error::{Error, Result};
use crate::nn::trace;
use crate::preprocess::ImageSize;
use crate::zoo;

/// One layer of a [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Layer {
    /// The layer's path; empty for one without parameters.
    pub name: String,
    /// Its type, as PyTorch calls it.
    pub kind: String,
    /// Shape of its output for one image.
    pub output: Vec<usize>,
    /// Its parameters; running statistics are not among them, as in PyTorch.
    pub parameters: usize,
    /// Those of them that train.
    pub trainable: usize,
    /// Multiply-accumulate operations for one image.
    pub macs: usize,
}

/// The layers of a model in the order in which an image passes them, and totals.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// The architecture.
    pub architecture: String,
    /// Shape of the image, `[channels, height, width]`.
    pub input: Vec<usize>,
    /// How the stem differs from upstream's, in words, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stem: Option<String>,
    /// The layers.
    pub layers: Vec<Layer>,
    /// All parameters, as timm counts them.
    pub parameters: usize,
    /// The parameters that train.
    pub trainable: usize,
    /// Multiply-accumulate operations for one image, in convolutions, affine layers and attention.
    pub macs: usize,
}

impl Classifier {
    /// Describes the model for images of this size (upstream's, if `None`). It runs the model once,
    /// on an image of zeros.
    ///
    /// # Errors
    /// [`Error::InputShape`] if the model does not take that size, [`Error::InvalidArgument`] if
    /// running it would take very much memory.
    pub fn summary(&self, image_size: Option<ImageSize>) -> Result<Summary> {
        let size = match (image_size, self.backbone.describe().input_size) {
            (Some(size), _) => size,
            (None, InputSize::Exactly(size)) => size.into(),
            (None, _) => zoo::find(&self.info.architecture)?.image_size.into(),
        };
        let most = match self.backbone.describe().input_size {
            InputSize::Exactly(_) => 1024,
            _ => 2048,
        };
        if size.height.max(size.width) > most {
            let expected = format!("at most {most} pixels: the summary runs the model once");
            return Err(Error::argument("image_size", expected, size));
        }
        self.summary_at(size)
    }

    /// The same of a size, however large, that the model is run at anyway.
    ///
    /// # Errors
    /// [`Error::InputShape`] if the model does not take that size.
    pub(crate) fn summary_at(&self, size: ImageSize) -> Result<Summary> {
        let input = [1, self.in_channels(), size.height, size.width];
        let model = self.valid();
        let image = Tensor::zeros(input, &model.device());
        let (output, records) = trace::record(|| model.forward(image));
        output?;

        let training = params::training_state(self);
        let all = params::list(self);
        let by_id: HashMap<_, _> = all
            .iter()
            .filter_map(|p| Some((p.id, p.path.rsplit_once('.')?.0)))
            .collect();
        let mut counted: Vec<&str> = Vec::new();
        let mut count = |layer: &str| -> (usize, usize) {
            let prefix = format!("{layer}.");
            let of_layer = all.iter().filter(|p| {
                // An adapter is its weight's layer's.
                let own = factor(&p.path).map_or(&*p.path, |(weight, _)| weight);
                own.strip_prefix(&prefix)
                    .is_some_and(|rest| !rest.contains('.'))
                    && !p.is_buffer()
                    && !counted.contains(&p.path.as_str())
            });
            let of_layer: Vec<_> = of_layer.collect();
            counted.extend(of_layer.iter().map(|p| p.path.as_str()));
            let total = of_layer.iter().map(|p| p.num_elements()).sum();
            let trains = of_layer
                .iter()
                .filter(|p| training.get(&p.path) == Some(&true));
            (total, trains.map(|p| p.num_elements()).sum())
        };
        let mut layers: Vec<Layer> = records
            .into_iter()
            .map(|record| {
                let name = record.weight.and_then(|id| by_id.get(&id).copied());
                let (parameters, trainable) = name.map_or((0, 0), &mut count);
                Layer {
                    name: name.unwrap_or_default().to_owned(),
                    kind: record.kind.to_owned(),
                    // Attention within windows has more rows than the one image.
                    output: record.output[usize::from(record.output[0] == 1)..].to_vec(),
                    parameters,
                    trainable,
                    macs: record.macs,
                }
            })
            .collect();
        // Parameters that belong to no layer of their own, such as position embeddings.
        for param in all.iter().filter(|p| !p.is_buffer()) {
            if !counted.contains(&param.path.as_str()) {
                let trains = training.get(&param.path) == Some(&true);
                layers.push(Layer {
                    name: param.path.clone(),
                    kind: "Parameter".to_owned(),
                    output: param.shape[1..].to_vec(),
                    parameters: param.num_elements(),
                    trainable: if trains { param.num_elements() } else { 0 },
                    macs: 0,
                });
            }
        }
        Ok(Summary {
            architecture: self.info.architecture.clone(),
            input: input[1..].to_vec(),
            stem: self
                .backbone
                .describe()
                .changed_stem()
                .map(StemShape::to_string),
            parameters: layers.iter().map(|l| l.parameters).sum(),
            trainable: layers.iter().map(|l| l.trainable).sum(),
            macs: layers.iter().map(|l| l.macs).sum(),
            layers,
        })
    }

    /// Parameters, running statistics not counted, as timm and PyTorch count them.
    pub fn num_parameters(&self) -> usize {
        let all = params::list(self);
        let counted = all.iter().filter(|p| !p.is_buffer());
        counted.map(params::ParamInfo::num_elements).sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = |layer: &Layer| match (layer.parameters, layer.trainable) {
            (0, _) => "",
            (_, 0) => "frozen",
            (all, trains) if all == trains => "trains",
            _ => "partly",
        };
        let rows: Vec<[String; 6]> = self
            .layers
            .iter()
            .map(|layer| {
                let number = |n: usize| if n == 0 { String::new() } else { thousands(n) };
                [
                    layer.name.clone(),
                    layer.kind.clone(),
                    format!("{:?}", layer.output),
                    number(layer.parameters),
                    state(layer).to_owned(),
                    number(layer.macs),
                ]
            })
            .collect();
        let header = ["layer", "type", "output", "parameters", "state", "MACs"].map(str::to_owned);
        let mut widths = [0; 6];
        for row in rows.iter().chain([&header]) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.len());
            }
        }
        let line = |f: &mut fmt::Formatter<'_>, row: &[String; 6]| {
            let [name, kind, output, parameters, state, macs] = row;
            let [a, b, c, d, e, g] = widths;
            let text = format!(
                "{name:a$}  {kind:b$}  {output:c$}  {parameters:>d$}  {state:e$}  {macs:>g$}"
            );
            writeln!(f, "{}", text.trim_end())
        };
        write!(f, "{} for an image of {:?}", self.architecture, self.input)?;
        if let Some(stem) = &self.stem {
            write!(f, "; stem: {stem}")?;
        }
        writeln!(f)?;
        line(f, &header)?;
        let width = widths.iter().sum::<usize>() + 2 * (widths.len() - 1);
        writeln!(f, "{}", "-".repeat(width))?;
        for row in &rows {
            line(f, row)?;
        }
        writeln!(f, "{}", "-".repeat(width))?;
        writeln!(
            f,
            "parameters {} (trainable {}, frozen {}), multiply-accumulates {}",
            thousands(self.parameters),
            thousands(self.trainable),
            thousands(self.parameters - self.trainable),
            thousands(self.macs)
        )
    }
}

/// A number with a space between each three digits.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
