//! Losses and accuracies over the epochs.

use super::axis::Axis;
use super::contents::{EpochLine, Report};
use super::format::{self, isolated};
use super::line_chart::{Band, Line, LineChart, XTicks};
use super::picture::Picture;
use super::polyline::Point;
use crate::error::Result;

/// Width of a picture; two stand side by side on a page.
const WIDTH: f64 = 548.0;
/// Height of a plot.
const HEIGHT: f64 = 250.0;
/// Longer runs get no dots on their lines.
const MAX_DOTS: usize = 40;
/// More intervals than these to point at would be narrower than a pointer.
const MAX_BANDS: usize = 250;

/// One value of each epoch.
struct Series {
    name: &'static str,
    /// Epochs and values.
    points: Vec<Point>,
}

impl Series {
    /// `place` is where in its epoch a value is drawn, in 0..1.
    fn new(
        name: &'static str,
        place: f64,
        epochs: &[EpochLine],
        value: impl Fn(&EpochLine) -> f64,
    ) -> Self {
        let position = |line: &EpochLine| (line.epoch as f64 - 1.0 + place, value(line));
        Self {
            name,
            points: epochs.iter().map(position).collect(),
        }
    }

    fn finite(&self) -> impl Iterator<Item = f64> {
        let values = self.points.iter().map(|point| point.1);
        values.filter(|value| value.is_finite())
    }
}

/// A mean over an epoch belongs to its middle. Drawn at the end it would seem half an epoch behind
/// the validation.
const PLACES: &str = "Training values are means over an epoch, drawn at its middle; validation is \
                      measured at its end.";

/// Training and validation loss, and behind them the loss of single steps. None without any.
pub(super) fn loss(report: &Report) -> Result<Option<Picture>> {
    let epochs = &report.epochs;
    if epochs.is_empty() && report.steps.is_empty() {
        return Ok(None);
    }
    let series = [
        Series::new("training", 0.5, epochs, |line| line.train_loss),
        Series::new("validation", 1.0, epochs, |line| line.valid_loss),
    ];
    let steps: Vec<Point> = report.steps.iter().map(|s| (s.epoch, s.loss)).collect();
    let interval = loss_interval(&series, &steps);
    // Few losses are below zero; none of the others deserve an axis that goes there.
    let least = interval[0].min(0.0);
    let least = if least < 0.0 { f64::NEG_INFINITY } else { 0.0 };
    let axis = Axis::fitting(interval, [least, f64::INFINITY]);
    let mut caption = String::new();
    if !epochs.is_empty() {
        caption.push_str(PLACES);
    }
    if !steps.is_empty() {
        caption.push_str(&about_steps(&steps, axis.interval()));
    }
    let unit = axis.kind();
    let text = ["loss", "Loss", unit];
    draw(report, text, axis, &series, steps, format::loss, caption).map(Some)
}

/// How many steps cannot be seen.
fn about_steps(steps: &[Point], [lowest, highest]: [f64; 2]) -> String {
    let number = |unseen: fn(f64, f64) -> bool, limit: f64| {
        let losses = steps.iter().filter(|step| unseen(step.1, limit));
        losses.count()
    };
    let mut text = " The pale line is the loss of single steps".to_owned();
    for (number, what) in [
        (
            number(|a, b| a.is_finite() && a > b, highest),
            "above the chart",
        ),
        (
            number(|a, b| a.is_finite() && a < b, lowest),
            "below the chart",
        ),
        (
            number(|a, _| !a.is_finite(), 0.0),
            "no finite numbers, which leaves gaps",
        ),
    ] {
        if number > 0 {
            let (number, all) = (format::count(number), format::count(steps.len()));
            text.push_str(&format!("; {number} of {all} are {what}"));
        }
    }
    text + "."
}

/// Training and validation accuracy, and that of averaged weights. None without epochs.
pub(super) fn accuracy(report: &Report) -> Result<Option<Picture>> {
    let epochs = &report.epochs;
    if epochs.is_empty() {
        return Ok(None);
    }
    if let Some(first) = epochs.iter().find(|line| !line.figures.is_empty()) {
        return figures(report, &first.figures).map(Some);
    }
    let mut series = vec![
        Series::new("training", 0.5, epochs, |line| 100.0 * line.train_accuracy),
        Series::new("validation", 1.0, epochs, |line| {
            100.0 * line.valid_accuracy
        }),
    ];
    let mut caption = PLACES.to_owned();
    if epochs.iter().any(|line| line.ema_accuracy.is_some()) {
        series.push(Series::new("averaged", 1.0, epochs, |line| {
            line.ema_accuracy.map_or(f64::NAN, |share| 100.0 * share)
        }));
        caption.push_str(
            " \u{201c}Averaged\u{201d} is the validation of the weights' moving average.",
        );
    }
    let interval = spread(series.iter().flat_map(Series::finite)).unwrap_or([0.0, 100.0]);
    let axis = Axis::linear(interval, [0.0, 100.0]);
    let value = |percent| format::percent(percent / 100.0, 1);
    let text = ["accuracy", "Accuracy", "in %"];
    draw(report, text, axis, &series, Vec::new(), value, caption).map(Some)
}

/// The figures of validation where images have not one class. What is of another unit than the first is in
/// the table alone.
fn figures(report: &Report, named: &[(&'static str, f64)]) -> Result<Picture> {
    let epochs = &report.epochs;
    let drawn = named.iter().filter(|(name, _)| *name != "R²");
    let series: Vec<Series> = drawn
        .map(|(name, _)| {
            Series::new(name, 1.0, epochs, |line| {
                let own = line.figures.iter().find(|(own, _)| own == name);
                own.map_or(f64::NAN, |own| own.1)
            })
        })
        .collect();
    let interval = spread(series.iter().flat_map(Series::finite)).unwrap_or([0.0, 1.0]);
    let axis = Axis::fitting(interval, [0.0, f64::INFINITY]);
    let caption = "Measured on the validation images at the end of each epoch.".to_owned();
    let unit = axis.kind();
    let text = ["accuracy", "Validation", unit];
    draw(
        report,
        text,
        axis,
        &series,
        Vec::new(),
        format::loss,
        caption,
    )
}

/// Loss and accuracy side by side. None without epochs.
pub(super) fn both(report: &Report) -> Result<Option<Picture>> {
    let (Some(loss), Some(accuracy)) = (loss(report)?, accuracy(report)?) else {
        return Ok(None);
    };
    Ok(Some(Picture {
        width: 2.0 * WIDTH + 24.0,
        height: loss.height.max(accuracy.height),
        title: "Loss and accuracy",
        description: format!(
            "Loss: {} Accuracy: {}",
            loss.description, accuracy.description
        ),
        caption: String::new(),
        body: format!(
            "{}<g transform=\"translate({})\">\n{}</g>\n",
            loss.body,
            WIDTH + 24.0,
            accuracy.body
        ),
    }))
}

/// The smallest and the largest of some values.
fn spread(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    let intervals = values.map(|value| [value; 2]);
    intervals.reduce(|all, one| [all[0].min(one[0]), all[1].max(one[1])])
}

/// All epochs, and all but the most extreme steps: those of a first, untrained moment would push
/// everything else to the floor.
fn loss_interval(series: &[Series], steps: &[Point]) -> [f64; 2] {
    let epochs = spread(series.iter().flat_map(Series::finite));
    let losses = steps.iter().map(|step| step.1);
    let mut losses: Vec<f64> = losses.filter(|loss| loss.is_finite()).collect();
    losses.sort_by(f64::total_cmp);
    let part = |hundredths: usize| losses[(losses.len() - 1) * hundredths / 100];
    match (epochs, losses.is_empty()) {
        (None, true) => [0.0, 1.0],
        (Some(epochs), true) => epochs,
        (None, false) => [part(1), part(99)],
        (Some([low, high]), false) => {
            let (least, high) = (low.min(part(1)), high.max(part(99)));
            // Single steps can come very close to zero, which a logarithmic axis need not follow.
            let far = least > 0.0 && Axis::far_apart(least, high);
            [if far { least.max(low / 4.0) } else { least }, high]
        }
    }
}

/// The part of the run that was recorded, in epochs.
pub(super) fn recorded(report: &Report) -> Axis {
    let epochs = report.epochs.iter().map(|line| line.epoch as f64);
    let starts = epochs.clone().map(|end| end - 1.0);
    let steps = report.steps.iter().map(|step| step.epoch);
    let rates = report.rates.iter().flat_map(|line| &line.points);
    let positions = starts.chain(epochs).chain(steps).chain(rates.map(|p| p.0));
    let [first, last] = spread(positions).unwrap_or([0.0, 1.0]);
    // The last step begins a little before the end of its epoch.
    let (first, whole) = (first.floor(), last.ceil());
    Axis::exact([first, if whole - last < 0.1 { whole } else { last }])
}

fn draw(
    report: &Report,
    [id, title, unit]: [&'static str; 3],
    axis: Axis,
    series: &[Series],
    steps: Vec<Point>,
    value: fn(f64) -> String,
    caption: String,
) -> Result<Picture> {
    let mut lines = vec![Line {
        points: steps,
        ..Line::default()
    }];
    let mut description = "Lines over the epochs.".to_owned();
    for (number, series) in series.iter().enumerate() {
        let Some(last) = series.finite().last().map(value) else {
            continue;
        };
        let first = series.points.first().map_or(f64::NAN, |point| point.1);
        let first = value(first);
        description.push_str(&format!(" {}: from {first} to {last}.", series.name));
        lines.push(Line {
            number,
            points: series.points.clone(),
            dots: report.epochs.len() <= MAX_DOTS,
            label: Some([series.name.to_owned(), last]),
            label_at: None,
        });
    }
    let chart = LineChart {
        id,
        title,
        unit,
        size: [WIDTH, HEIGHT],
        x: recorded(report),
        x_ticks: XTicks::Whole,
        x_name: "epochs",
        y: Some(axis),
        y_ticks: 5,
        marks: &report.freezes,
        lines,
        rows: Vec::new(),
        bands: bands(&report.epochs, series, value),
    };
    chart.draw(description, caption + &limits(&report.epochs, series))
}

/// Epochs that share one place to point at.
fn epochs_per_band(epochs: &[EpochLine]) -> usize {
    epochs.len().div_ceil(MAX_BANDS).max(1)
}

/// What is said of gaps in the lines, and of fewer places to point at than epochs.
fn limits(epochs: &[EpochLine], series: &[Series]) -> String {
    let mut text = String::new();
    let gaps = series.iter();
    let gaps = gaps.map(|series| series.points.len() - series.finite().count());
    let gaps: usize = gaps.sum();
    if gaps > 0 {
        let gaps = format::count(gaps);
        text.push_str(&format!(
            " Values that are missing or no finite numbers ({gaps}) leave gaps."
        ));
    }
    let every = epochs_per_band(epochs);
    if every > 1 {
        text.push_str(&format!(
            " Pointing at the chart shows one epoch in {every}; the table below has all."
        ));
    }
    text
}

/// All values of an epoch in words.
fn bands(epochs: &[EpochLine], series: &[Series], value: fn(f64) -> String) -> Vec<Band> {
    let every = epochs_per_band(epochs);
    let chosen = epochs.iter().enumerate().step_by(every);
    let band = |(index, line): (usize, &EpochLine)| {
        let start = line.epoch as f64 - 1.0;
        let mut text = format!("Epoch {}", line.epoch);
        for series in series {
            let value = value(series.points[index].1);
            text.push_str(&format!("\n{}: {value}", series.name));
        }
        if let Some(note) = &line.note {
            text.push_str(&format!("\n{}", isolated(note)));
        }
        Band {
            x: [start, start + every as f64],
            text,
        }
    };
    chosen.map(band).collect()
}
