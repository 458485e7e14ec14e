//! How values of images were predicted: against the truth, what is left, and a table.

use super::axis::Axis;
use super::format;
use super::panels::{Key, PLOT, Panel, Panels, Shape};
use super::picture::Picture;
use super::polyline::Point;
use super::section::{Row, Section, Table, name};
use crate::error::{Error, Result};
use crate::infer::{OutputMetrics, RegressionMetrics};

/// As many outputs are drawn at most.
const MAX_OUTPUTS: usize = 12;
/// As many images are drawn at most.
const MAX_IMAGES: usize = 2000;
/// Bars of a histogram.
const MAX_BARS: usize = 30;
const FREE: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];

const IMAGES: &str = "z-points z-c0";
const BARS: &str = "z-bars z-c0";
const RIGHT: &str = "z-lead z-c4";

/// The sections `outputs`, `predicted` and `residuals`, in place of the confusion matrix and its
/// classes.
///
/// # Shapes
/// - predicted, targets: `[images, outputs]`, row-major, those of the metrics
///
/// # Errors
/// [`Error::InvalidArgument`] for values that are not those of the metrics.
pub(super) fn regression_sections(
    metrics: &RegressionMetrics,
    predicted: &[f32],
    targets: &[f32],
    names: &[String],
) -> Result<Vec<Section>> {
    let values = metrics.images.saturating_mul(metrics.per_output.len());
    for (argument, found) in [("predicted", predicted.len()), ("targets", targets.len())] {
        if found != values || values == 0 {
            let expected = format!("{values}, one for each image and output, and at least one");
            return Err(Error::argument(argument, expected, found));
        }
    }
    let outputs = metrics.per_output.len();
    let mut sorted: Vec<usize> = (0..outputs).collect();
    let r2 = |output: usize| metrics.per_output[output].r2;
    sorted.sort_by(|a, b| r2(*a).total_cmp(&r2(*b)));
    let shown = sorted.iter().take(MAX_OUTPUTS).map(|output| {
        let column = |values: &[f32]| -> Vec<f64> {
            let values = values.iter().skip(*output).step_by(outputs);
            values.map(|value| f64::from(*value)).collect()
        };
        Output {
            name: name(names, "output", *output),
            metrics: &metrics.per_output[*output],
            predicted: column(predicted),
            targets: column(targets),
        }
    });
    let shown: Vec<Output> = shown.collect();
    let left_out = if shown.len() < outputs {
        format!(
            " Of {} outputs, the {} of the lowest R² are shown.",
            format::count(outputs),
            shown.len()
        )
    } else {
        String::new()
    };
    let scatter = scatter(&shown, metrics.images, &left_out)?;
    let residuals = residuals(&shown, &left_out)?;
    let lead = lead(metrics);
    let table = table(metrics, names, &sorted);
    Ok(vec![
        Section::new("outputs", "Outputs", &lead, None, Some(&table))?,
        Section::new(
            "predicted",
            "Predicted and true",
            "",
            Some(("predicted.svg", scatter)),
            None,
        )?,
        Section::new(
            "residuals",
            "Residuals",
            "",
            Some(("residuals.svg", residuals)),
            None,
        )?,
    ])
}

/// One value of all images.
struct Output<'a> {
    name: String,
    metrics: &'a OutputMetrics,
    predicted: Vec<f64>,
    targets: Vec<f64>,
}

impl Output<'_> {
    fn residuals(&self) -> impl Iterator<Item = f64> + Clone {
        let pairs = self.predicted.iter().zip(&self.targets);
        pairs.map(|(predicted, target)| predicted - target)
    }
}

/// The predicted value over the true one, with the line on which both are the same.
fn scatter(outputs: &[Output], images: usize, left_out: &str) -> Result<Picture> {
    let panels = outputs.iter().map(|output| {
        let values = output.predicted.iter().chain(&output.targets).copied();
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        // Round ends would leave much of a square empty.
        let room = 0.04 * (high - low);
        let axis = if room > 0.0 {
            Axis::exact([low - room, high + room])
        } else {
            Axis::linear([low, high], FREE)
        };
        let [from, to] = axis.interval();
        Panel {
            name: output.name.clone(),
            value: format!("R² {}", format::number(output.metrics.r2)),
            x: axis.clone(),
            y: axis,
            counts: false,
            shapes: vec![
                Shape::Dots(IMAGES, thinned(output)),
                Shape::Line(RIGHT, vec![(from, from), (to, to)]),
            ],
        }
    });
    let grid = Panels {
        title: "Predicted and true",
        unit: "upwards: predicted, to the right: true",
        // Squares: the diagonal is one.
        height: PLOT,
        legend: vec![
            Key::Dot(IMAGES, "an image"),
            Key::Line(RIGHT, "where both are equal"),
        ],
        panels: panels.collect(),
    };
    let mut caption =
        "An image above the diagonal was predicted too high, one below it too low.".to_owned();
    if images > MAX_IMAGES {
        caption.push_str(&format!(
            " Of {} images, {} are drawn, spread evenly over the set; all of them count in the \
             figures, and the axes reach to all.",
            format::count(images),
            format::count(MAX_IMAGES)
        ));
    }
    caption.push_str(left_out);
    grid.draw(description("Points", outputs), caption)
}

/// True and predicted value of each image; of more than [`MAX_IMAGES`] some, at even distances.
fn thinned(output: &Output) -> Vec<Point> {
    let all = output.targets.len();
    let number = all.min(MAX_IMAGES);
    let places = (0..number).map(|place| place * all / number);
    places
        .map(|place| (output.targets[place], output.predicted[place]))
        .collect()
}

/// How many images are off by how much.
fn residuals(outputs: &[Output], left_out: &str) -> Result<Picture> {
    let panels = outputs.iter().map(|output| {
        let most = output.residuals().map(f64::abs).fold(0.0, f64::max);
        // As far to both sides: what is too high and what is too low show as they are.
        let x = Axis::linear([-most, most], FREE);
        let bars = bars(output.residuals(), x.interval(), output.targets.len());
        let highest = bars.iter().map(|(_, count)| *count).fold(1.0, f64::max);
        let y = Axis::linear([0.0, highest], [0.0, f64::INFINITY]);
        let top = y.interval()[1];
        Panel {
            name: output.name.clone(),
            value: format!("RMSE {}", format::number(output.metrics.rmse)),
            x,
            y,
            counts: true,
            shapes: vec![
                Shape::Bars(BARS, bars),
                Shape::Line(RIGHT, vec![(0.0, 0.0), (0.0, top)]),
            ],
        }
    });
    let grid = Panels {
        title: "Residuals",
        unit: "upwards: images, to the right: predicted minus true",
        height: 150.0,
        legend: Vec::new(),
        panels: panels.collect(),
    };
    let caption = format!(
        "Right of the line at 0 are the images that were predicted too high, left of it those \
         that were predicted too low.{left_out}"
    );
    grid.draw(description("Histograms", outputs), caption)
}

/// A histogram of an interval around 0, which is the end of a bar.
fn bars(
    values: impl Iterator<Item = f64>,
    [low, high]: [f64; 2],
    number: usize,
) -> Vec<([f64; 2], f64)> {
    let half = ((number as f64).sqrt() as usize).clamp(6, MAX_BARS) / 2;
    let step = (high - low) / (2 * half) as f64;
    let end = |bar: usize| low + bar as f64 * step;
    let mut bars: Vec<([f64; 2], f64)> = (0..2 * half)
        .map(|bar| ([end(bar), end(bar + 1)], 0.0))
        .collect();
    let last = bars.len() - 1;
    for value in values {
        let bar = ((value - low) / step).max(0.0) as usize;
        bars[bar.min(last)].1 += 1.0;
    }
    bars
}

fn description(what: &str, outputs: &[Output]) -> String {
    let r2 = |output: Option<&Output>| {
        let r2 = output.map_or(f64::NAN, |output| output.metrics.r2);
        format::number(r2)
    };
    format!(
        "{what} of {} outputs, from an R² of {} to {}.",
        outputs.len(),
        r2(outputs.first()),
        r2(outputs.last())
    )
}

fn lead(metrics: &RegressionMetrics) -> String {
    let [r2, rmse, mae] = [metrics.r2, metrics.rmse, metrics.mae].map(format::number);
    let means = match metrics.per_output.len() {
        1 => "",
        _ => ", as means over the outputs",
    };
    let images = format::count(metrics.images);
    format!("R² {r2}, RMSE {rmse}, MAE {mae} on {images} images{means}.")
}

fn table(metrics: &RegressionMetrics, names: &[String], sorted: &[usize]) -> Table {
    let outputs = &metrics.per_output;
    let rows = outputs.iter().enumerate().map(|(output, metrics)| {
        let cells = [
            metrics.mean_target,
            metrics.deviation_target,
            metrics.mae,
            metrics.rmse,
            metrics.r2,
        ];
        Row {
            name: name(names, "output", output),
            cells: cells.map(format::number).to_vec(),
            bar: Some(metrics.r2.clamp(0.0, 1.0)),
        }
    });
    let imperfect = sorted.iter().copied();
    let imperfect = imperfect.filter(|output| outputs[*output].r2 < 1.0);
    Table {
        of: "outputs",
        columns: &[
            "Output",
            "Mean of targets",
            "Deviation of targets",
            "MAE",
            "RMSE",
            "R²",
        ],
        rows: rows.collect(),
        // None is the weak one of a few.
        weakest: imperfect.take((outputs.len() / 5).min(10)).collect(),
        means: Vec::new(),
        note: "MAE: mean absolute error. RMSE: root of the mean squared error; predicting the \
               targets' mean for every image has their deviation for one. R²: 1 where every \
               prediction is right, 0 where they are as good as that mean, negative where they are \
               worse.",
    }
}
