//! The learning-rate finder (Smith, 2017, <https://arxiv.org/abs/1506.01186>), as fastai's `lr_find`.

mod suggest;

#[cfg(feature = "plots")]
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

pub use suggest::{Smoothed, Suggestions, Sweep};

use super::Recipe;
use super::fit::{prepare, single_step};
use crate::data::{BrokenImage, ImageData};
use crate::error::{Error, Result};
use crate::model::Classifier;

/// What a sweep over learning rates found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RateSweep {
    /// The rates of the head that were tried, in rising order.
    pub rates: Vec<f64>,
    /// The loss of the batch at each.
    pub losses: Vec<f64>,
    /// The running average of the losses.
    pub smoothed: Vec<f64>,
    /// Good rates.
    pub suggestions: Suggestions,
    /// Images that were left out because they could not be read.
    pub skipped: Vec<BrokenImage>,
}

impl Recipe {
    /// Tries learning rates on a copy of the model, from very small to very large, one for each
    /// step of the optimiser, until the loss runs away. The model that is passed does not change.
    ///
    /// What is frozen is what this recipe freezes at its start; rates that differ between groups
    /// keep their ratios.
    ///
    /// `watch` is told how many steps are done, and says whether to go on.
    ///
    /// # Errors
    /// As [`Recipe::fit`], also where no batch of an epoch gives a step; [`Error::Interrupted`] if
    /// `watch` says no.
    pub fn find_learning_rate(
        &self,
        model: &Classifier,
        train: Arc<dyn ImageData>,
        sweep: Sweep,
        mut watch: impl FnMut(usize) -> bool,
    ) -> Result<RateSweep> {
        self.validate()?;
        sweep.validate()?;
        let data = (train.clone(), train);
        let (model, setup) = prepare(self, model.clone(), data.0, data.1, sweep.skip_broken)?;
        let mut model = model.freeze_with(setup.plan.freeze_at(0), self.frozen_norm)?;
        let mut optimizer = self.optimizer(&model)?;
        let scales = setup.plan.scales();
        let mut smoothed = Smoothed::default();
        let mut found = RateSweep {
            rates: Vec::new(),
            losses: Vec::new(),
            smoothed: Vec::new(),
            suggestions: Suggestions::default(),
            skipped: Vec::new(),
        };
        'sweep: for epoch in 0.. {
            let before = found.rates.len();
            for batch in setup.train.epoch(epoch) {
                let step = found.rates.len();
                if step == sweep.steps || smoothed.diverged() {
                    break 'sweep;
                }
                let batch = batch?;
                // It can have lost others that could not be read.
                if batch.targets.len() < setup.least {
                    continue;
                }
                let rate = sweep.rate(step);
                let rates = setup.plan.learning_rate(&super::StepRates {
                    rates: scales.iter().map(|scale| rate * scale).collect(),
                    momentum: None,
                });
                let (loss, next) = single_step(&setup, model, &mut optimizer, rates, batch)?;
                model = next;
                found.rates.push(rate);
                found.losses.push(loss);
                found.smoothed.push(smoothed.push(loss));
                if !watch(step + 1) {
                    return Err(Error::Interrupted {
                        checkpoint: None,
                        run: Default::default(),
                    });
                }
            }
            if found.rates.len() == before {
                let expected = "batches that a step can be made with";
                let count = setup.train.broken().len();
                let unread = format!("none, with {count} images that cannot be read");
                return Err(Error::argument("training data", expected, unread));
            }
        }
        found.skipped = setup.train.broken();
        found.suggestions = Suggestions::of(&found.rates, &found.smoothed, sweep.steps);
        Ok(found)
    }
}

impl RateSweep {
    /// Draws the curve with its suggestions as an SVG picture.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    #[cfg(feature = "plots")]
    pub fn write_plot(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut svg = String::new();
        draw(self, &mut svg).map_err(|reason| Error::Folder {
            path: path.to_path_buf(),
            reason: format!("the curve could not be drawn: {reason}"),
        })?;
        crate::files::write_file(path, svg.as_bytes())
    }
}

/// The smoothed loss over the logarithm of the rate.
#[cfg(feature = "plots")]
fn draw(sweep: &RateSweep, svg: &mut String) -> std::result::Result<(), String> {
    use plotters::prelude::*;

    const CURVE: RGBColor = RGBColor(0, 114, 178);
    const MARKS: [RGBColor; 4] = [
        RGBColor(213, 94, 0),
        RGBColor(0, 158, 115),
        RGBColor(204, 121, 167),
        RGBColor(120, 120, 120),
    ];
    let text = |error: DrawingAreaErrorKind<_>| -> String {
        let error: DrawingAreaErrorKind<std::io::Error> = error;
        error.to_string()
    };
    let points: Vec<(f64, f64)> = sweep
        .rates
        .iter()
        .copied()
        .zip(sweep.smoothed.iter().copied())
        .filter(|(_, loss)| loss.is_finite())
        .collect();
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Err("there is no point".to_owned());
    };
    let low = points.iter().map(|p| p.1).fold(f64::MAX, f64::min);
    let start = first.1;
    // What runs away would flatten all the rest.
    let high = points
        .iter()
        .map(|p| p.1)
        .fold(start, f64::max)
        .min(start + 1.5 * (start - low).max(0.05));
    let margin = ((high - low) * 0.05).max(1e-3);
    let root = SVGBackend::with_string(svg, (720, 400)).into_drawing_area();
    root.fill(&WHITE).map_err(text)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(12)
        .caption("loss over the learning rate", ("sans-serif", 18))
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(
            (first.0..last.0.max(first.0 * 1.01)).log_scale(),
            low - margin..high + margin,
        )
        .map_err(text)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_label_formatter(&|x| format!("{x:.0e}"))
        .x_desc("learning rate")
        .label_style(("sans-serif", 13))
        .draw()
        .map_err(text)?;
    let shown = points.iter().take_while(|p| p.1 <= high + margin).copied();
    chart
        .draw_series(LineSeries::new(shown, CURVE.stroke_width(2)))
        .map_err(text)?;
    let suggestions = [
        ("valley", sweep.suggestions.valley),
        ("steepest", sweep.suggestions.steepest),
        ("minimum / 10", sweep.suggestions.minimum),
        ("slide", sweep.suggestions.slide),
    ];
    for ((name, rate), color) in suggestions.into_iter().zip(MARKS) {
        let Some(rate) = rate else { continue };
        let loss = points
            .iter()
            .min_by(|a, b| (a.0 / rate).ln().abs().total_cmp(&(b.0 / rate).ln().abs()))
            .map_or(low, |p| p.1);
        chart
            .draw_series([Circle::new((rate, loss), 5, color.filled())])
            .map_err(text)?
            .label(format!("{name}: {rate:.1e}"))
            .legend(move |(x, y)| Circle::new((x + 9, y), 5, color.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(WHITE)
        .label_font(("sans-serif", 13))
        .draw()
        .map_err(text)?;
    root.present().map_err(text)
}
