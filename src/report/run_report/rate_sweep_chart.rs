//! The losses of a sweep over learning rates as a picture.

use std::path::Path;

use super::axis::Axis;
use super::format;
use super::line_chart::{Line, LineChart, XTicks};
use super::picture::Picture;
use super::polyline::Point;
use crate::error::{Error, Result};
use crate::train::RateSweep;
use crate::write_file;

impl RateSweep {
    /// Draws the smoothed loss over the rates, with the suggestions, as an SVG picture.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if no loss is finite, [`Error::Io`] if the file cannot be
    /// written.
    pub fn write_plot(&self, path: impl AsRef<Path>) -> Result<()> {
        write_file(path.as_ref(), draw(self)?.file()?.as_bytes())
    }
}

fn draw(sweep: &RateSweep) -> Result<Picture> {
    let points = sweep
        .rates
        .iter()
        .copied()
        .zip(sweep.smoothed.iter().copied());
    let mut points: Vec<Point> = points.filter(|(_, loss)| loss.is_finite()).collect();
    let losses = points.iter().map(|point| point.1);
    let (Some(first), Some(lowest)) = (points.first(), losses.clone().reduce(f64::min)) else {
        let expected = "losses that can be drawn";
        return Err(Error::argument("sweep", expected, "no finite number"));
    };
    // What runs away would flatten all the rest.
    let limit = first.1 + 1.5 * (first.1 - lowest).max(0.05);
    let highest = losses.fold(first.1, f64::max).min(limit);
    let axis = Axis::linear([lowest, highest], [f64::NEG_INFINITY, f64::INFINITY]);
    let nearest = |rate: f64| {
        let distance = |point: &Point| (point.0 / rate).ln().abs();
        points
            .iter()
            .copied()
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
    };
    let suggestions = &sweep.suggestions;
    let suggestions = [
        ("valley", suggestions.valley),
        ("steepest", suggestions.steepest),
        ("minimum / 10", suggestions.minimum),
        ("slide", suggestions.slide),
    ];
    let mut description = "A line of the smoothed loss over the learning rate.".to_owned();
    let mut dots = Vec::new();
    for (number, (name, rate)) in suggestions.into_iter().enumerate() {
        let Some((rate, (_, loss))) = rate.and_then(|rate| Some((rate, nearest(rate)?))) else {
            continue;
        };
        let value = format::rate(rate);
        description.push_str(&format!(" {name}: {value}."));
        dots.push(Line {
            number: number + 1,
            points: vec![(rate, loss)],
            label: Some([name.to_owned(), value]),
            ..Line::default()
        });
    }
    let last = points.last().map_or(first.0, |point| point.0);
    let x = Axis::logarithmic([first.0, last]);
    let seen = points.iter().position(|point| point.1 > axis.interval()[1]);
    points.truncate(seen.unwrap_or(points.len()));
    let curve = Line {
        points,
        label: Some(["smoothed loss".to_owned(), String::new()]),
        ..Line::default()
    };
    let chart = LineChart {
        id: "sweep",
        title: "Loss over the learning rate",
        unit: "",
        size: [760.0, 320.0],
        x,
        x_ticks: XTicks::Any,
        x_name: "learning rate",
        y: Some(axis),
        y_ticks: 5,
        marks: &[],
        lines: std::iter::once(curve).chain(dots).collect(),
        rows: Vec::new(),
        bands: Vec::new(),
    };
    chart.draw(description, String::new())
}
