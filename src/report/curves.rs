//! Losses and accuracies over the epochs.

use super::axis::{self, Axis};
use super::lines::{Band, Frame, Label};
use super::svg::{Picture, look};
use super::text::{self, isolated};
use super::thin::Point;
use super::{EpochLine, Report};

/// Width of a picture; two stand side by side on a page.
const WIDTH: f64 = 548.0;
/// Height of a plot.
const HEIGHT: f64 = 250.0;
/// Longer runs get no dots on their lines.
const MOST_DOTS: usize = 40;
/// More intervals than these to point at would be narrower than a pointer.
const MOST_BANDS: usize = 250;

/// One value of each epoch.
struct Series {
    name: &'static str,
    /// Its [`look`].
    number: usize,
    /// Epochs and values.
    points: Vec<Point>,
}

/// What tells one of these charts from another.
struct Chart<'a> {
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    axis: &'a dyn Fn([f64; 2]) -> Axis,
    /// How the values of the axis are written.
    labels: fn(&Axis, &[f64]) -> Vec<String>,
    /// How a value is written.
    value: fn(f64) -> String,
    caption: String,
}

impl Series {
    /// `place` is where in its epoch a value is drawn, in 0..1.
    fn new(
        name: &'static str,
        number: usize,
        place: f64,
        epochs: &[EpochLine],
        value: impl Fn(&EpochLine) -> f64,
    ) -> Self {
        let position = |line: &EpochLine| (line.epoch as f64 - 1.0 + place, value(line));
        Self {
            name,
            number,
            points: epochs.iter().map(position).collect(),
        }
    }

    /// Values that cannot be drawn.
    fn gaps(&self) -> usize {
        self.points.len() - self.finite().count()
    }

    fn finite(&self) -> impl Iterator<Item = f64> {
        let values = self.points.iter().map(|point| point.1);
        values.filter(|value| value.is_finite())
    }
}

/// Training and validation loss, and behind them the loss of single steps. None without any.
pub(super) fn loss(report: &Report) -> Option<Picture> {
    let epochs = &report.epochs;
    if epochs.is_empty() && report.steps.is_empty() {
        return None;
    }
    let series = [
        Series::new("training", 0, 0.5, epochs, |line| line.train_loss),
        Series::new("validation", 1, 1.0, epochs, |line| line.valid_loss),
    ];
    let steps: Vec<Point> = report.steps.iter().map(|s| (s.epoch, s.loss)).collect();
    let interval = loss_interval(&series, &steps);
    // Few losses are below zero; none of the others deserve an axis that goes there.
    let least = if interval[0] < 0.0 {
        f64::NEG_INFINITY
    } else {
        0.0
    };
    let axis = |pixels| Axis::fitting(interval, [least, f64::INFINITY], pixels);
    let scale = axis([0.0, 1.0]);
    let mut caption = String::new();
    if !epochs.is_empty() {
        caption.push_str(PLACES);
    }
    if !steps.is_empty() {
        let above = steps
            .iter()
            .filter(|step| step.1.is_finite() && step.1 > scale.interval()[1])
            .count();
        let below = steps
            .iter()
            .filter(|step| step.1.is_finite() && step.1 < scale.interval()[0])
            .count();
        let gaps = steps.iter().filter(|step| !step.1.is_finite()).count();
        caption.push_str(" The pale line is the loss of single steps");
        for (number, what) in [
            (above, "above the chart"),
            (below, "below the chart"),
            (gaps, "no finite numbers, which leaves gaps"),
        ] {
            if number > 0 {
                let (number, all) = (text::count(number), text::count(steps.len()));
                caption.push_str(&format!("; {number} of {all} are {what}"));
            }
        }
        caption.push('.');
    }
    caption.push_str(&limits(epochs, &series));
    let chart = Chart {
        id: "loss",
        title: "Loss",
        unit: if scale.is_logarithmic() {
            "logarithmic"
        } else {
            ""
        },
        axis: &axis,
        labels: |axis, ticks| match axis.is_logarithmic() {
            true => ticks.iter().map(|tick| text::rate(*tick)).collect(),
            false => axis::labels(ticks),
        },
        value: text::loss,
        caption,
    };
    Some(draw(report, chart, &series, &steps))
}

/// A mean over an epoch belongs to its middle. Drawn at the end it would seem half an epoch behind
/// the validation.
const PLACES: &str = "Training values are means over an epoch, drawn at its middle; validation is \
                      measured at its end.";

/// Training and validation accuracy, and that of averaged weights. None without epochs.
pub(super) fn accuracy(report: &Report) -> Option<Picture> {
    let epochs = &report.epochs;
    if epochs.is_empty() {
        return None;
    }
    let mut series = vec![
        Series::new("training", 0, 0.5, epochs, |line| line.train_accuracy),
        Series::new("validation", 1, 1.0, epochs, |line| line.valid_accuracy),
    ];
    if epochs.iter().any(|line| line.ema_accuracy.is_some()) {
        series.push(Series::new("averaged", 2, 1.0, epochs, |line| {
            line.ema_accuracy.unwrap_or(f64::NAN)
        }));
    }
    let interval = spread(series.iter().flat_map(Series::finite)).unwrap_or([0.0, 1.0]);
    let mut caption = PLACES.to_owned();
    if series.len() > 2 {
        caption.push_str(
            " \u{201c}Averaged\u{201d} is the validation of the weights' moving average.",
        );
    }
    caption.push_str(&limits(epochs, &series));
    let chart = Chart {
        id: "accuracy",
        title: "Accuracy",
        unit: "in %",
        axis: &|pixels| Axis::linear(interval, [0.0, 1.0], pixels),
        labels: |_, ticks| {
            let percent: Vec<f64> = ticks.iter().map(|tick| 100.0 * tick).collect();
            axis::labels(&percent)
        },
        value: |share| text::percent(share, 1),
        caption,
    };
    Some(draw(report, chart, &series, &[]))
}

/// The smallest and the largest of some values.
fn spread(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    values.fold(None, |interval, value| {
        let [low, high] = interval.unwrap_or([value; 2]);
        Some([low.min(value), high.max(value)])
    })
}

/// All epochs, and all but the most extreme steps: those of a first, untrained moment would push
/// everything else to the floor.
fn loss_interval(series: &[Series], steps: &[Point]) -> [f64; 2] {
    let epochs = spread(series.iter().flat_map(Series::finite));
    let mut losses: Vec<f64> = steps
        .iter()
        .map(|step| step.1)
        .filter(|loss| loss.is_finite())
        .collect();
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
pub(super) fn recorded(report: &Report) -> [f64; 2] {
    let epochs = report.epochs.iter().map(|line| line.epoch as f64);
    let starts = epochs.clone().map(|end| end - 1.0);
    let steps = report.steps.iter().map(|step| step.epoch);
    let rates = report.rates.iter().flat_map(|line| &line.points);
    let positions = starts.chain(epochs).chain(steps).chain(rates.map(|p| p.0));
    let [first, last] = spread(positions).unwrap_or([0.0, 1.0]);
    // The last step begins a little before the end of its epoch.
    let (first, whole) = (first.floor(), last.ceil());
    [first, if whole - last < 0.1 { whole } else { last }]
}

fn draw(report: &Report, chart: Chart, series: &[Series], steps: &[Point]) -> Picture {
    let shown = |series: &&Series| series.finite().next().is_some();
    let shown: Vec<&Series> = series.iter().filter(shown).collect();
    let last = |series: &Series| series.finite().last().map_or(String::new(), chart.value);
    let scale = (chart.axis)([1.0, 0.0]);
    let ticks = scale.ticks(5);
    let labels = (chart.labels)(&scale, &ticks);
    let names = shown
        .iter()
        .map(|series| (series.name.to_owned(), last(series)));
    let frame = Frame::new(
        chart.id,
        [WIDTH, HEIGHT],
        [Frame::left_for(&labels), Frame::right_for(names)],
        recorded(report),
        &report.freezes,
    );
    let axis = (chart.axis)([frame.bottom, frame.top]);
    let mut body = String::new();
    frame.head(&mut body, chart.title, chart.unit, frame.bottom);
    frame.values(&mut body, &axis, &ticks, &labels);
    frame.epochs(&mut body, frame.bottom);
    frame.clip(&mut body);
    frame.line(&mut body, "z-faint z-c0", &axis, steps, false);
    let dots = report.epochs.len() <= MOST_DOTS;
    let mut names = Vec::new();
    for series in &shown {
        let class = format!("z-line {}", look(series.number));
        let end = frame.line(&mut body, &class, &axis, &series.points, dots);
        names.extend(end.map(|end| Label {
            end,
            number: series.number,
            name: series.name.to_owned(),
            value: last(series),
        }));
    }
    body.push_str("</g>\n");
    frame.labels(&mut body, &names);
    frame.bands(&mut body, &bands(&report.epochs, series, chart.value));
    let ends = shown.iter().map(|series| match series.points.first() {
        Some((_, first)) => {
            format!(
                " {}: from {} to {}.",
                series.name,
                (chart.value)(*first),
                last(series)
            )
        }
        None => String::new(),
    });
    Picture {
        width: WIDTH,
        height: frame.bottom + 26.0,
        title: chart.title,
        description: format!("Lines over the epochs.{}", ends.collect::<String>()),
        caption: chart.caption,
        body,
    }
}

/// Epochs that share one place to point at.
fn band_epochs(epochs: &[EpochLine]) -> usize {
    epochs.len().div_ceil(MOST_BANDS).max(1)
}

/// What is said of a chart that has fewer places to point at than epochs, and of gaps in its lines.
fn limits(epochs: &[EpochLine], series: &[Series]) -> String {
    let mut text = String::new();
    let gaps: usize = series.iter().map(Series::gaps).sum();
    if gaps > 0 {
        text.push_str(&format!(
            " Values that are missing or no finite numbers ({}) leave gaps.",
            text::count(gaps)
        ));
    }
    if band_epochs(epochs) > 1 {
        text.push_str(&format!(
            " Pointing at the chart shows one epoch in {}; the table below has all.",
            band_epochs(epochs)
        ));
    }
    text
}

/// All values of an epoch in words.
fn bands(epochs: &[EpochLine], series: &[Series], value: fn(f64) -> String) -> Vec<Band> {
    let every = band_epochs(epochs);
    let chosen = epochs.iter().enumerate().step_by(every);
    chosen
        .map(|(index, line)| {
            let start = line.epoch as f64 - 1.0;
            let mut words = format!("Epoch {}", line.epoch);
            for series in series {
                let value = value(series.points[index].1);
                words.push_str(&format!("\n{}: {value}", series.name));
            }
            if let Some(note) = &line.note {
                words.push_str(&format!("\n{}", isolated(note)));
            }
            Band {
                epochs: [start, start + every as f64],
                text: words,
            }
        })
        .collect()
}
