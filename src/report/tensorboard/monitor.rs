//! A monitor that writes what it sees into TensorBoard's event files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::Tensor;

use super::event_writer::EventWriter;
use super::graph::GraphNode;
use super::hparams::HParam;
use crate::error::{Error, Result};
use crate::infer::best;
use crate::model::Classifier;
use crate::model::host_vec;
use crate::preprocess::{Image, Normalization};
use crate::report::image_grid::{Caption, Grid};
use crate::train::{
    Backward, Control, EpochEnd, EpochRecord, Metric, Monitor, RunStart, StepRecord,
};

/// Writes loss, accuracies, rates, the norm of the gradients, speed and memory, histograms of
/// weights and gradients by group, pictures of the input and of predictions, the model's structure,
/// and the recipe with its results. By default they go into `tensorboard/` in the run folder.
#[derive(Default)]
pub struct TensorBoardMonitor {
    folder: Option<PathBuf>,
    with_figures: bool,
    /// What a search varies.
    parameters: Option<BTreeMap<String, serde_json::Value>>,
    writer: Option<EventWriter>,
    groups: Vec<String>,
    metric: Metric,
    /// The groups of the model and the prefixes of their parameters.
    prefixes: Vec<(String, String)>,
    /// Images on which predictions are shown, and their labels.
    shown: Option<(Tensor<4>, Vec<usize>)>,
}

/// Of so many steps one is written.
const EVERY: usize = 10;
/// What the table of recipes compares beside the usual figure of the task.
const RESULT_LOSS: &str = "hparam/loss";
/// Colours for what was recognised and for what was not; green and vermillion differ for
/// colour-blind people too.
const RIGHT_COLOR: [u8; 3] = [0, 125, 90];
const WRONG_COLOR: [u8; 3] = [200, 70, 0];
/// Smaller images are enlarged.
const MIN_SIDE: usize = 128;
/// Browsers and image viewers show no longer side.
const MAX_WIDTH: usize = 16_384;

impl TensorBoardMonitor {
    /// Writes into this folder in place of the run folder's.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: Some(folder.into()),
            ..Self::default()
        }
    }

    /// Writes the figures of each epoch by their own names too, such as `valid_accuracy`, and as
    /// TensorFlow 2 writes scalars: what searches look for.
    pub fn with_figures(self) -> Self {
        Self {
            with_figures: true,
            ..self
        }
    }

    /// For a trial of a search: these are among the hyperparameters, which TensorBoard then collects from all
    /// runs that it shows, as trials may have different ones.
    pub fn with_parameters(self, parameters: BTreeMap<String, serde_json::Value>) -> Self {
        Self {
            parameters: Some(parameters),
            ..self
        }
    }

    /// Histograms of values by group.
    fn histograms(
        &mut self,
        what: &str,
        step: i64,
        tensors: Vec<(String, Vec<f32>)>,
    ) -> Result<()> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        for (group, prefix) in &self.prefixes {
            let mine = tensors
                .iter()
                .filter(|(path, _)| path.starts_with(prefix) && !crate::nn::is_buffer(path));
            let mut values = mine.flat_map(|(_, v)| v.iter().copied()).peekable();
            if values.peek().is_some() {
                let left_out = writer.histogram(&format!("{what}/{group}"), step, values)?;
                // A histogram has no place for them.
                if left_out > 0 {
                    let tag = format!("not_finite/{what}/{group}");
                    writer.scalar(&tag, step, left_out as f64)?;
                }
            }
        }
        Ok(())
    }
}

impl Monitor for TensorBoardMonitor {
    fn run_started(&mut self, run: &RunStart<'_>) -> Result<()> {
        let purge = (run.steps_done > 0).then_some(run.steps_done as i64 + 1);
        let folder = self.folder.clone();
        let folder = folder.unwrap_or_else(|| run.dir.join("tensorboard"));
        let mut writer = EventWriter::create(&folder, purge)?;
        self.groups = run.plan.groups().map(str::to_owned).collect();
        self.prefixes = run
            .model
            .all_groups()
            .into_iter()
            .map(|group| (group.name, group.prefix))
            .collect();
        // A picture of predictions says one class of each image.
        let labels = run.valid_targets.classes().ok();
        self.shown = labels.map(|labels| (run.valid_images.clone(), labels.to_vec()));
        // Each file that ends a session has to have begun it.
        let unwritable =
            |error: toml::ser::Error| Error::argument("recipe", "values that TOML can hold", error);
        let table = toml::Table::try_from(run.recipe).map_err(unwritable)?;
        let mut hparams = BTreeMap::new();
        flatten("", &toml::Value::Table(table), &mut hparams);
        let name = run.model.info().architecture.clone();
        hparams.insert("architecture".to_owned(), HParam::Text(name));
        if let Some(parameters) = &self.parameters {
            let parameters = toml::Value::try_from(parameters).map_err(unwritable)?;
            flatten("", &parameters, &mut hparams);
        }
        let hparams: Vec<(String, HParam)> = hparams.into_iter().collect();
        self.metric = Metric::of_task(run.recipe.task);
        let metrics = [&*result(self.metric), RESULT_LOSS];
        writer.hparams(&hparams, self.parameters.is_none().then_some(&metrics))?;
        if run.steps_done == 0 {
            let recipe = run.recipe.to_toml()?;
            writer.text("recipe", 0, &format!("```toml\n{recipe}\n```"))?;
            writer.graph(&graph(run.model, run.images)?)?;
        }
        let normalization = &run.model.info().normalization;
        let grid = grid(&pictures(run.images, normalization)?, &[])?;
        writer.image("images/input", run.steps_done as i64, &grid)?;
        writer.flush()?;
        self.writer = Some(writer);
        Ok(())
    }

    fn backward(&mut self, step: &Backward<'_>) -> Result<()> {
        if !step.last {
            return Ok(());
        }
        let at = step.global_step as i64 + 1;
        self.histograms("gradients", at, step.gradients()?)?;
        self.histograms("weights", at, step.weights()?)
    }

    fn step(&mut self, step: &StepRecord, _control: &mut Control) -> Result<()> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        if !step.global_step.is_multiple_of(EVERY) && step.step != step.steps {
            return Ok(());
        }
        let at = step.global_step as i64;
        writer.scalar("loss/step", at, step.loss)?;
        for (group, rate) in self.groups.iter().zip(&step.rates) {
            writer.scalar(&format!("rate/{group}"), at, *rate)?;
        }
        if let Some(norm) = step.gradient_norm {
            writer.scalar("gradient_norm", at, norm)?;
        }
        writer.scalar("speed/images_per_second", at, step.images_per_second)
    }

    fn epoch_finished(&mut self, epoch: &EpochEnd<'_>, _control: &mut Control) -> Result<()> {
        let at = epoch.global_step as i64;
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        let record = epoch.record;
        let memory = &record.memory;
        let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
        for (tag, value) in [
            ("loss/train", Some(record.train_loss)),
            ("loss/valid", Some(record.valid_loss)),
            ("accuracy/train", Some(record.train_accuracy)),
            ("accuracy/valid", Some(record.valid_accuracy)),
            ("accuracy/valid_top5", Some(record.valid_top5_accuracy)),
            (
                "accuracy/valid_balanced",
                Some(record.valid_balanced_accuracy),
            ),
            ("accuracy/valid_not_averaged", record.raw_valid_accuracy),
            ("speed/epoch_seconds", Some(record.seconds)),
            ("epoch", Some(record.epoch as f64)),
            ("memory/resident_bytes", bytes(memory.resident)),
            ("memory/peak_bytes", bytes(memory.peak)),
            (
                "memory/device_allocated_bytes",
                bytes(memory.device_allocated),
            ),
            (
                "memory/device_reserved_bytes",
                bytes(memory.device_reserved),
            ),
            (
                "device/utilization_percent",
                memory.device_utilization.map(f64::from),
            ),
        ] {
            if let Some(value) = value.filter(|value| !value.is_nan() || tag.starts_with("loss")) {
                writer.scalar(tag, at, value)?;
            }
        }
        for (name, value) in &record.metrics {
            let name = name.trim_start_matches("valid_");
            writer.scalar(&format!("{name}/valid"), at, *value)?;
        }
        if self.with_figures {
            for (name, value) in record.figures() {
                writer.tensor_scalar(&name, at, value)?;
            }
        }
        if epoch.best {
            writer.scalar(&result(self.metric), at, self.metric.of(record))?;
            writer.scalar(RESULT_LOSS, at, record.valid_loss)?;
        }
        if let Some((images, labels)) = &self.shown {
            let grid = predictions(epoch.model, images, labels)?;
            writer.image("images/predictions", at, &grid)?;
        }
        writer.flush()
    }

    fn run_finished(&mut self, _best: &EpochRecord) -> Result<()> {
        match self.writer.take() {
            Some(writer) => writer.finish(),
            None => Ok(()),
        }
    }
}

/// The tag of a result.
fn result(metric: Metric) -> String {
    format!("hparam/{}", metric.to_string().trim_start_matches("valid_"))
}

/// A table of tables as one of names with dots.
fn flatten(name: &str, value: &toml::Value, into: &mut BTreeMap<String, HParam>) {
    let value = match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let dot = if name.is_empty() { "" } else { "." };
                flatten(&format!("{name}{dot}{key}"), value, into);
            }
            return;
        }
        toml::Value::Integer(number) => HParam::Number(*number as f64),
        toml::Value::Float(number) if number.is_finite() => HParam::Number(*number),
        toml::Value::Boolean(flag) => HParam::Flag(*flag),
        toml::Value::String(text) => HParam::Text(text.clone()),
        other => HParam::Text(other.to_string()),
    };
    into.insert(name.to_owned(), value);
}

/// The layers in the order in which they run, in scopes by their names.
fn graph(model: &Classifier, images: &Tensor<4>) -> Result<Vec<GraphNode>> {
    let [_, _, height, width] = images.dims();
    let summary = model.summary_at([height, width].into())?;
    let mut nodes = vec![GraphNode {
        name: "input".to_owned(),
        op: "Input".to_owned(),
        ..GraphNode::default()
    }];
    for (index, layer) in summary.layers.into_iter().enumerate() {
        let name = match layer.name.as_str() {
            // What has no parameters has no name.
            "" => {
                let letters = layer.kind.chars();
                let kind: String = letters.filter(char::is_ascii_alphanumeric).collect();
                format!("{kind}_{index}")
            }
            name => name.replace('.', "/"),
        };
        // A layer that runs twice has one box.
        if nodes.iter().any(|node| node.name == name) {
            continue;
        }
        let before = nodes.last().map(|node| node.name.clone());
        let shape = layer.output.iter().skip(1).map(|side| *side as i64);
        nodes.push(GraphNode {
            name,
            op: layer.kind.to_owned(),
            inputs: before.into_iter().collect(),
            attributes: vec![("parameters".to_owned(), layer.parameters.to_string())],
            output_shape: std::iter::once(-1).chain(shape).collect(),
        });
    }
    Ok(nodes)
}

/// Images as they looked before they were normalised.
fn pictures(images: &Tensor<4>, normalization: &Normalization) -> Result<Vec<Image>> {
    let [_, channels, height, width] = images.dims();
    let values = host_vec(images.clone().into_data())?;
    // A picture has one channel or three; of any other number the first is shown.
    let shown = if channels == 3 { 3 } else { 1 };
    let area = height * width;
    values
        .chunks_exact((channels * area).max(1))
        .map(|image| {
            let mut pixels = vec![0; shown * area];
            for channel in 0..shown {
                let (mean, std) = (normalization.mean()[channel], normalization.std()[channel]);
                for (place, value) in image[channel * area..][..area].iter().enumerate() {
                    let value = 255.0 * (f64::from(*value) * std + mean);
                    pixels[place * shown + channel] = value.round().clamp(0.0, 255.0) as u8;
                }
            }
            Image::new(height, width, shown, pixels)
        })
        .collect()
}

/// Images with what they were taken for, in green where that is right, else in red with the truth.
fn predictions(model: &Classifier, images: &Tensor<4>, labels: &[usize]) -> Result<Image> {
    use burn::module::Module as _;
    let model = model.valid();
    let inputs = images.clone().without_autodiff().to_device(&model.device());
    let scores = host_vec(model.forward(inputs)?.into_data())?;
    let rows = scores.chunks_exact(model.num_classes().max(1));
    let captions = rows.zip(labels).map(|(row, label)| {
        let predicted = best(row);
        let name = model.class_name(predicted);
        if predicted == *label {
            let color = RIGHT_COLOR;
            return Caption { text: name, color };
        }
        Caption {
            text: format!("{name} / {}", model.class_name(*label)),
            color: WRONG_COLOR,
        }
    });
    let pictures = pictures(images, &model.info().normalization)?;
    grid(&pictures, &captions.collect::<Vec<_>>())
}

/// Images of one size side by side.
fn grid(images: &[Image], captions: &[Caption]) -> Result<Image> {
    let images: Vec<&Image> = images.iter().collect();
    let sides = images
        .first()
        .map_or([1; 2], |image| [image.height(), image.width()]);
    let factor = MIN_SIDE.div_ceil(sides[0].max(sides[1]));
    let cell = sides.map(|side| side * factor);
    let grid = Grid {
        columns: (MAX_WIDTH / cell[1]).clamp(1, 8),
        cell,
        gap: 4,
        ground: [255; 3],
    };
    grid.draw(&images, captions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::{Device, Weights, Zoo};

    /// Higher than wide, and larger than what a summary is made of for a person.
    #[test]
    fn a_graph_is_of_the_images_that_the_run_has() {
        let device = Device::default();
        for (spec, [height, width]) in
            [(Zoo::test_vit(), [48, 32]), (Zoo::test_resnet(), [8, 2064])]
        {
            let spec = spec.weights(Weights::Random(0)).image_size([height, width]);
            let model = spec.build(&device).unwrap();
            let images = Tensor::zeros([1, 3, height, width], &device);
            let nodes = graph(&model, &images).unwrap();
            assert!(nodes.iter().any(|node| node.name.starts_with("stem/")));
        }
    }

    #[test]
    fn values_without_a_place_in_a_histogram_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut monitor = TensorBoardMonitor::default();
        let writer = EventWriter::create(folder.path(), None).unwrap();
        let path = writer.path().to_path_buf();
        monitor.writer = Some(writer);
        monitor.prefixes = ["stem", "head"]
            .map(|group| (group.to_owned(), format!("{group}.")))
            .to_vec();
        let tensors = vec![
            ("stem.conv".to_owned(), vec![1.0, 2.0]),
            ("head.fc".to_owned(), vec![1.0, f32::NAN, f32::INFINITY]),
        ];
        monitor.histograms("gradients", 1, tensors).unwrap();
        drop(monitor);
        let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        assert!(text.contains("not_finite/gradients/head"), "{text}");
        assert!(!text.contains("not_finite/gradients/stem"), "{text}");
    }
}
