//! Small plots of one kind in a grid.

use minijinja::context;
use minijinja::value::Value;

use super::axis::Axis;
use super::line_chart::path;
use super::picture::Picture;
use super::polyline::Point;
use super::templates::{pixels, render};
use super::text_width::width;
use crate::error::Result;

/// A grid of plots, row by row.
pub(super) struct Panels {
    pub title: &'static str,
    /// What the axes are.
    pub unit: &'static str,
    /// Height of a plot; it is [`PLOT`] wide.
    pub height: f64,
    pub legend: Vec<Key>,
    pub panels: Vec<Panel>,
}

/// One plot.
pub(super) struct Panel {
    pub name: String,
    /// What stands beside the name.
    pub value: String,
    pub x: Axis,
    pub y: Axis,
    /// Whether the vertical axis counts.
    pub counts: bool,
    pub shapes: Vec<Shape>,
}

/// What a plot shows, in values of its axes, with the classes of its style.
pub(super) enum Shape {
    Line(&'static str, Vec<Point>),
    Dots(&'static str, Vec<Point>),
    /// Intervals of the horizontal axis, and how far each rises.
    Bars(&'static str, Vec<([f64; 2], f64)>),
}

/// What a style stands for.
pub(super) enum Key {
    Line(&'static str, &'static str),
    Dot(&'static str, &'static str),
}

/// Width of a plot.
pub(super) const PLOT: f64 = 222.0;
/// Plots beside each other.
const COLUMNS: usize = 4;
/// Width of a plot with its labels, four of which are as wide as a page.
const CELL: f64 = 280.0;
/// Room for title and legend.
const TOP: f64 = 44.0;
/// Room for the name of a plot, and for the labels below it.
const ABOVE: f64 = 22.0;
const BELOW: f64 = 30.0;

impl Panels {
    /// Draws it; `description` and `caption` are the picture's.
    pub fn draw(self, description: String, caption: String) -> Result<Picture> {
        let cell_height = ABOVE + self.height + BELOW;
        let columns = self.panels.len().clamp(1, COLUMNS);
        let rows = self.panels.len().div_ceil(COLUMNS);
        let panels = self.panels.iter().enumerate().map(|(index, panel)| {
            let left = (index % COLUMNS) as f64 * CELL + CELL - PLOT - 10.0;
            let top = TOP + (index / COLUMNS) as f64 * cell_height + ABOVE;
            panel.place(left, top, self.height)
        });
        // A line of 16 pixels or a dot, its text, and a gap.
        let mut at = 2.0;
        let legend = self.legend.iter().map(|key| {
            let (class, text, sample) = match key {
                Key::Line(class, text) => (class, text, "h16"),
                Key::Dot(class, text) => (class, text, "m8,0h0"),
            };
            let x = at;
            at += 22.0 + width(text) * 11.0 * 1.12 + 18.0;
            context! { class => *class, text => *text, sample, x }
        });
        let legend: Vec<Value> = legend.collect();
        let values = context! {
            title => self.title,
            unit => self.unit,
            legend,
            panels => panels.collect::<Vec<_>>(),
        };
        let heading = (width(self.title) * 13.0 + width(self.unit) * 11.0) * 1.12 + 12.0;
        Ok(Picture {
            width: (columns as f64 * CELL).max(at).max(heading).ceil(),
            height: TOP + rows as f64 * cell_height,
            title: self.title,
            description,
            caption,
            body: render("panels.svg", values)?,
        })
    }
}

impl Panel {
    fn place(&self, left: f64, top: f64, height: f64) -> Value {
        let (right, bottom) = (left + PLOT, top + height);
        let x = |value: f64| left + self.x.share(value) * PLOT;
        let y = |value: f64| bottom - self.y.share(value) * height;
        let place = |points: &[Point]| -> Vec<Point> {
            let points = points.iter();
            points.map(|point| (x(point.0), y(point.1))).collect()
        };
        let shapes = self.shapes.iter().map(|shape| {
            let (class, d) = match shape {
                Shape::Line(class, points) => (class, path(&place(points))),
                Shape::Dots(class, points) => (class, dots(&place(points))),
                Shape::Bars(class, bars) => {
                    let bars = bars.iter().filter(|(_, rise)| *rise > 0.0);
                    let bars = bars.map(|([from, to], rise)| {
                        let [from, to] = [x(*from) + 0.5, x(*to) - 0.5].map(pixels);
                        let [base, rise] = [bottom, y(*rise)].map(pixels);
                        format!("M{from},{base}V{rise}H{to}V{base}z")
                    });
                    (class, bars.collect())
                }
            };
            context! { class => *class, d }
        });
        let (x_ticks, y_ticks) = (
            self.x.ticks(4),
            if self.counts {
                self.y.whole_ticks(4)
            } else {
                self.y.ticks(4)
            },
        );
        let x_labels = x_ticks.iter().zip(self.x.labels(&x_ticks));
        let y_labels = y_ticks.iter().zip(self.y.labels(&y_ticks));
        context! {
            name => &self.name,
            value => &self.value,
            // The value is never cut.
            room => PLOT - width(&self.value) * 11.0 * 1.12 - 10.0,
            left, top, right, bottom,
            x_ticks => x_labels.map(|(tick, label)| context! { x => x(*tick), label }).collect::<Vec<_>>(),
            y_ticks => y_labels.map(|(tick, label)| context! { y => y(*tick), label }).collect::<Vec<_>>(),
            shapes => shapes.collect::<Vec<_>>(),
        }
    }
}

/// Lines of no length, whose round ends are dots: a few bytes for each of thousands. Dots on the
/// same tenth of a pixel are one.
fn dots(points: &[Point]) -> String {
    let points = points.iter().map(|(x, y)| [*x, *y].map(pixels));
    let mut points: Vec<[String; 2]> = points.collect();
    points.sort_unstable();
    points.dedup();
    let dots = points.iter().map(|[x, y]| format!("M{x},{y}h0"));
    dots.collect()
}
