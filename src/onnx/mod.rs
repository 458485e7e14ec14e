//! Models as ONNX files.
//!
//! A network is run twice on burn's capture device, which records operations in place of computing
//! them, with batches of two sizes ([`recording`]): a dimension that differs follows the batch. What follows
//! from the weights alone is computed once on the CPU ([`constants`]), so that normalisations are in the
//! kernels of the convolutions before them, as in a fused model. Each of the other operations becomes one or a few
//! of ONNX's ([`translate`]), and [`graph`] writes them down.
//!
//! Nothing here knows a family. An operation that has no translation is an error with its name, and so is a network
//! that computes another graph for another batch or size.
//!
//! burn-onnx 0.22.0 records in the same way, but its translation knows half of the operations of this
//! zoo (no layer normalisation, softmax, GELU, mean, clamp, transposition or broadcast), refuses every slice of
//! a tensor with a dynamic batch, and has no metadata.

mod constants;
mod graph;
mod recording;
mod translate;

use std::path::Path;

use burn::module::Module as _;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::files::write_file;
use crate::model::{Classifier, InputSize};
use crate::preprocess::ImageSize;
use crate::weights::public;
use crate::zoo;
use graph::Axis;
use recording::Recording;

/// Which images the network in an ONNX file takes. A batch has any number of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnnxSize {
    /// Those of the size that the model was built for; without one, of the size that its architecture was
    /// trained with.
    #[default]
    Own,
    /// Those of this size.
    Fixed(ImageSize),
    /// Those of any size that the model takes, if its graph is the same for all: of a convolutional network whose
    /// padding does not depend on the size.
    Any,
}

impl Classifier {
    /// Writes the model as an ONNX file (opset 18), ready for inference: from images `[batch, in_channels, height,
    /// width]`, named `images` and normalised, to `logits`, `[batch, num_classes]`, or without classes to `features`.
    /// The batch is dynamic. Normalisations are folded into convolutions, as by [`fuse`](Self::fuse).
    ///
    /// The metadata says what [`export`](Self::export) writes into `config.json`: `architecture`, `mean`, `std`,
    /// `input_size`, `interpolation`, `crop_pct`, `crop_mode`, `license`, `label_names` and others, lists as JSON. The
    /// file appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::InputShape`] for a size that the model does not take; [`Error::InvalidArgument`] for
    /// [`OnnxSize::Any`] where the graph follows from the size, and for what ONNX cannot hold: an
    /// operation without a counterpart, more than 2 GiB. [`Error::Io`] if the file cannot be written.
    pub fn export_onnx(&self, path: impl AsRef<Path>, size: OnnxSize) -> Result<()> {
        let bytes = self.onnx(size)?;
        write_file(path.as_ref(), &bytes)
    }

    fn onnx(&self, size: OnnxSize) -> Result<Vec<u8>> {
        let own = self.own_size();
        let (sides, others) = match size {
            OnnxSize::Own => (own, Vec::new()),
            OnnxSize::Fixed(size) => (size.sides(), Vec::new()),
            OnnxSize::Any => (own, self.other_sizes(own)?),
        };
        let recording = Recording::new(&self.valid(), sides, &others)?;
        let mut graph = translate::translate(recording)?;
        let channels = self.in_channels();
        let is_fixed = others.is_empty();
        let side = |side: usize, name| {
            if is_fixed {
                Axis::Fixed(side)
            } else {
                Axis::Named(name)
            }
        };
        let image = [
            Axis::Named("batch"),
            Axis::Fixed(channels),
            side(sides[0], "height"),
            side(sides[1], "width"),
        ];
        graph.input(translate::INPUT, &image);
        let (output, length) = match self.num_classes() {
            0 => ("features", self.num_features()),
            classes => ("logits", classes),
        };
        graph.output(output, &[Axis::Named("batch"), Axis::Fixed(length)]);
        graph.encode(
            &self.info().architecture,
            self.onnx_metadata(sides, is_fixed),
        )
    }

    /// Height and width that the model was built for, or that its architecture was trained with.
    fn own_size(&self) -> [usize; 2] {
        match self.backbone.describe().input_size {
            InputSize::Exactly(size) => size,
            _ => match self.info().image_size {
                Some(size) => size.sides(),
                None => {
                    zoo::find(&self.info().architecture).map_or([224; 2], |a| [a.image_size; 2])
                }
            },
        }
    }

    /// Sizes that differ in whatever a network may depend on: larger and smaller, even and odd, not square.
    fn other_sizes(&self, [height, width]: [usize; 2]) -> Result<Vec<[usize; 2]>> {
        match self.backbone.describe().input_size {
            InputSize::AtLeast(least) => {
                let smaller =
                    |side: usize, less: usize| (side * 2 / 3).saturating_sub(less).max(least);
                let smaller = [smaller(height, 0), smaller(width, 3)];
                Ok(vec![[height + 37, width + 50], smaller])
            }
            InputSize::MultipleOf(side) => {
                let smaller = |sides: usize| (sides * 2 / 3 / side).max(1) * side;
                let smaller = [smaller(height), smaller(width)];
                Ok(vec![[height + side, width + 2 * side], smaller])
            }
            InputSize::Exactly([height, width]) => Err(Error::argument(
                "size",
                format!(
                    "{height} x {width} pixels, as {} was built for images of this size alone",
                    self.info().architecture
                ),
                "any size",
            )),
        }
    }

    /// Names and values of the file's properties: those of timm's configuration.
    fn onnx_metadata(&self, sides: [usize; 2], is_fixed: bool) -> Vec<(String, String)> {
        let config = self.timm_config();
        let preprocessing = &config["pretrained_cfg"];
        let mut properties = vec![
            ("architecture", json!(self.info().architecture)),
            ("origin", json!(public(&self.info().origin))),
            (
                "input_size",
                json!([self.in_channels(), sides[0], sides[1]]),
            ),
            ("fixed_input_size", json!(is_fixed)),
        ];
        for name in [
            "num_classes",
            "mean",
            "std",
            "interpolation",
            "crop_pct",
            "crop_mode",
            "license",
        ] {
            properties.push((name, preprocessing[name].clone()));
        }
        for name in [
            "global_pool",
            "license_source",
            "label_names",
            "problem_type",
            "thresholds",
            "target_mean",
            "target_std",
        ] {
            properties.push((name, config[name].clone()));
        }
        let texts = properties.into_iter().filter_map(|(name, value)| {
            let text = match value {
                Value::Null => return None,
                Value::String(text) => text,
                value => value.to_string(),
            };
            Some((name.to_owned(), text))
        });
        texts.collect()
    }
}

/// What stands in the way of a file, by the argument that would have to be another.
fn impossible(expected: impl Into<String>, found: impl std::fmt::Display) -> Error {
    Error::argument("onnx", expected, found)
}
