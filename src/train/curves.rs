//! A run as a picture.

use std::path::Path;

use plotters::prelude::*;

use super::EpochRecord;
use crate::error::{Error, Result};
use crate::files::write_file;

/// Losses on the left, accuracies on the right, over the epochs.
pub(super) fn write(path: &Path, epochs: &[EpochRecord]) -> Result<()> {
    let mut svg = String::new();
    draw(&mut svg, epochs).map_err(|reason| Error::Folder {
        path: path.to_path_buf(),
        reason: format!("the curves could not be drawn: {reason}"),
    })?;
    write_file(path, svg.as_bytes())
}

const TRAIN: RGBColor = RGBColor(31, 119, 180);
const VALID: RGBColor = RGBColor(214, 89, 14);

/// One value of an epoch.
type Value = fn(&EpochRecord) -> f64;

fn draw(svg: &mut String, epochs: &[EpochRecord]) -> std::result::Result<(), String> {
    let text = |error: DrawingAreaErrorKind<_>| -> String {
        let error: DrawingAreaErrorKind<std::io::Error> = error;
        error.to_string()
    };
    let root = SVGBackend::with_string(svg, (900, 360)).into_drawing_area();
    root.fill(&WHITE).map_err(text)?;
    let (left, right) = root.split_horizontally(450);
    let loss: [(&str, RGBColor, Value); 2] = [
        ("training", TRAIN, |e| e.train_loss),
        ("validation", VALID, |e| e.valid_loss),
    ];
    let accuracy: [(&str, RGBColor, Value); 2] = [
        ("training", TRAIN, |e| 100.0 * e.train_accuracy),
        ("validation", VALID, |e| 100.0 * e.valid_accuracy),
    ];
    for (area, title, lines) in [(left, "loss", loss), (right, "accuracy in %", accuracy)] {
        // Losses are finite, or the run would have ended.
        let values = lines
            .iter()
            .flat_map(|(_, _, value)| epochs.iter().map(value));
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        let margin = ((high - low) * 0.05).max(1e-3);
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .caption(title, ("sans-serif", 18))
            .x_label_area_size(32)
            .y_label_area_size(48)
            .build_cartesian_2d(0.5..epochs.len() as f64 + 0.5, low - margin..high + margin)
            .map_err(text)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .bold_line_style(RGBColor(225, 225, 225))
            .x_labels(epochs.len().min(10))
            .x_label_formatter(&|x| format!("{x:.0}"))
            .x_desc("epoch")
            .label_style(("sans-serif", 13))
            .draw()
            .map_err(text)?;
        for (name, color, value) in lines {
            let points: Vec<(f64, f64)> =
                epochs.iter().map(|e| (e.epoch as f64, value(e))).collect();
            let circles = points.iter().map(|p| Circle::new(*p, 3, color.filled()));
            chart.draw_series(circles).map_err(text)?;
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))
                .map_err(text)?
                .label(name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2))
                });
        }
        chart
            .configure_series_labels()
            .background_style(WHITE)
            .label_font(("sans-serif", 13))
            .draw()
            .map_err(text)?;
    }
    root.present().map_err(text)
}
