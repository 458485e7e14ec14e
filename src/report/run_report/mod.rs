//! A training run as one page and a few pictures.

mod axis;
mod class_scores;
mod confusion_chart;
mod contents;
mod curves_monitor;
mod epoch_charts;
mod format;
mod from_run;
mod line_chart;
mod mistake_images;
mod multi_label;
mod page;
mod panels;
mod picture;
mod polyline;
mod rate_chart;
mod rate_sweep_chart;
mod regression;
mod section;
mod templates;
#[cfg(all(test, feature = "image"))]
mod tests;
mod text_width;
mod write;

pub use contents::Report;
pub use curves_monitor::CurvesMonitor;
pub(super) use from_run::data_name;
