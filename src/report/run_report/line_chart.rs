//! A chart of lines: where its parts lie, and what they say.

use minijinja::context;
use minijinja::value::Value;

use super::axis::Axis;
use super::contents::FreezeMark;
use super::picture::Picture;
use super::polyline::{self, Point};
use super::templates::{pixels, render};
use super::text_width::width;
use crate::error::Result;

/// Lines over a horizontal axis, with their names at their ends. Marks cross the chart's height,
/// with their labels in rows above it.
pub(super) struct LineChart<'a> {
    /// Tells the charts of a page apart.
    pub id: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
    /// Width of the picture, height of the plot.
    pub size: [f64; 2],
    pub x: Axis,
    pub x_ticks: XTicks,
    pub x_name: &'static str,
    /// Without it there is no plot, only rows.
    pub y: Option<Axis>,
    pub y_ticks: usize,
    pub marks: &'a [FreezeMark],
    pub lines: Vec<Line>,
    pub rows: Vec<Row>,
    pub bands: Vec<Band>,
}

/// How the horizontal axis is labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum XTicks {
    Whole,
    Any,
}

/// A line with gaps where its values are not finite.
#[derive(Default)]
pub(super) struct Line {
    /// Colour and dashes, see [`style`].
    pub number: usize,
    pub points: Vec<Point>,
    /// Whether each value is a dot on the line.
    pub dots: bool,
    /// Name and value at the line's end; a line without a name is pale.
    pub label: Option<[String; 2]>,
    /// Where on the vertical axis the label belongs, if it is not the last point.
    pub label_at: Option<f64>,
}

/// A row below the plot.
pub(super) struct Row {
    pub number: usize,
    pub name: String,
    /// What is said of the parts without a bar.
    pub idle: String,
    pub bars: Vec<Band>,
}

/// An interval of the horizontal axis and what there is to say about it.
pub(super) struct Band {
    pub x: [f64; 2],
    pub text: String,
}

/// Room for the title.
const TITLE: f64 = 28.0;
/// Height of a row of the labels of marks.
const MARK_ROW: f64 = 14.0;
/// More rows than these would be more than the chart itself.
const MAX_MARK_ROWS: usize = 5;
/// Height of a label at a line's end.
const LABEL_ROW: f64 = 15.0;
/// From the plot to the labels of its lines.
const LEAD: f64 = 30.0;
/// The widest label of a line.
const MAX_LABEL: f64 = 170.0;
/// Height of a row below the plot.
const ROW: f64 = 18.0;
/// Colours in the charts' style.
const COLORS: usize = 7;

/// The classes of the line with this number: colours first, then other dashes.
pub(super) fn style(number: usize) -> String {
    let color = color(number);
    match number / COLORS {
        0 => color,
        round => format!("{color} z-dash{}", (round - 1) % 2 + 1),
    }
}

fn color(number: usize) -> String {
    format!("z-c{}", number % COLORS)
}

impl LineChart<'_> {
    /// Draws it; `description` and `caption` are the picture's.
    pub fn draw(self, description: String, caption: String) -> Result<Picture> {
        let [picture_width, height] = self.size;
        let y_ticks = self
            .y
            .as_ref()
            .map_or(Vec::new(), |y| y.ticks(self.y_ticks));
        let y_labels = self.y.as_ref().map_or(Vec::new(), |y| y.labels(&y_ticks));
        let widths = y_labels.iter().map(|label| width(label) * 11.0);
        let left = widths.fold(22.0, f64::max).ceil() + 10.0;
        let labels = self.lines.iter().filter_map(|line| line.label.as_ref());
        let widths = labels.map(|[name, value]| label_width(name, value));
        let rows = self.rows.iter().map(|row| label_width(&row.name, ""));
        let names = widths.chain(rows).fold(30.0, f64::max).ceil();
        let right = picture_width - LEAD - names - 4.0;
        let x = |value: f64| left + self.x.share(value) * (right - left);
        let (marks, mark_rows) = self.marks(picture_width, x);
        let top = TITLE + mark_rows as f64 * MARK_ROW + 6.0;
        let bottom = top + if self.y.is_some() { height } else { 0.0 };
        let y = |value: f64| {
            let share = self.y.as_ref().map_or(0.0, |axis| axis.share(value));
            bottom - share * (bottom - top)
        };
        let mut base = bottom;
        let mut rows_at = bottom;
        if !self.rows.is_empty() {
            rows_at += if self.y.is_some() { 20.0 } else { 0.0 };
            base = rows_at + self.rows.len() as f64 * ROW + 2.0;
        }

        let ticks = y_ticks.iter().zip(y_labels);
        let ticks = ticks.map(|(tick, label)| context! { y => y(*tick), label });
        let (x_ticks, x_name_at) = self.x_ticks(right, x);
        let [lines, labels] = self.lines(x, y, [top, bottom]);
        let interval = self.x.interval();
        let rows = self.rows.iter().enumerate().map(|(index, row)| {
            let bar = |class: String, x: [f64; 2], text: &str| bar(class, x, text);
            let idle = bar("z-idle".to_owned(), interval.map(x), &row.idle);
            let class = format!("z-dot z-bar {}", style(row.number));
            let bars = row.bars.iter();
            let bars = bars.map(|band| bar(class.clone(), band.x.map(x), &band.text));
            context! {
                name => &row.name,
                y => rows_at + index as f64 * ROW,
                height => ROW - 5.0,
                class => if row.bars.is_empty() { "z-value" } else { "" },
                bars => std::iter::once(idle).chain(bars).collect::<Vec<_>>(),
            }
        });
        let bands = self.bands.iter();
        let bands = bands.map(|band| bar(String::new(), band.x.map(x), &band.text));
        let values = context! {
            id => self.id,
            title => self.title,
            unit => self.unit,
            left, right, top, bottom, base, marks, x_ticks, lines, labels, x_name_at,
            x_name => self.x_name,
            names_at => right + LEAD,
            y_ticks => ticks.collect::<Vec<_>>(),
            rows => rows.collect::<Vec<_>>(),
            bands => bands.collect::<Vec<_>>(),
        };
        Ok(Picture {
            width: picture_width,
            height: base + 26.0,
            title: self.title,
            description,
            caption,
            body: render("line_chart.svg", values)?,
        })
    }

    /// The marks inside the plot, and how many rows their labels take.
    fn marks(&self, edge: f64, x: impl Fn(f64) -> f64) -> (Vec<Value>, usize) {
        let [start, end] = self.x.interval();
        let inside = self.marks.iter();
        let inside = inside.filter(|mark| (start..=end).contains(&mark.epoch));
        let mut inside: Vec<&FreezeMark> = inside.collect();
        inside.sort_by(|a, b| a.epoch.total_cmp(&b.epoch));
        let mut row_ends = Vec::new();
        let places: Vec<Option<(f64, usize)>> = inside
            .iter()
            .map(|mark| place(&mut row_ends, x(mark.epoch), width(&mark.text) * 11.0, edge))
            .collect();
        let top = TITLE + row_ends.len() as f64 * MARK_ROW + 6.0;
        let marks = inside.iter().zip(places).map(|(mark, place)| {
            context! {
                x => x(mark.epoch),
                text => &mark.text,
                top => place.map_or(top, |(_, row)| TITLE + row as f64 * MARK_ROW + 11.0),
                label_x => place.map(|(start, _)| start),
                room => place.map(|(start, _)| edge - start),
            }
        });
        (marks.collect(), row_ends.len())
    }

    /// The labels of the horizontal axis, and where its name begins.
    fn x_ticks(&self, right: f64, x: impl Fn(f64) -> f64) -> (Vec<Value>, f64) {
        let [start, end] = self.x.interval().map(&x);
        let room = ((end - start) / 36.0) as usize;
        let ticks = match self.x_ticks {
            XTicks::Whole => self.x.whole_ticks(room.min(20)),
            XTicks::Any => self.x.ticks(room.min(10)),
        };
        let mut name_at = right;
        let labels = ticks
            .iter()
            .zip(self.x.labels(&ticks))
            .map(|(tick, label)| {
                let x = x(*tick);
                name_at = name_at.max(x + width(&label) * 5.5);
                context! { x, label }
            });
        (labels.collect(), name_at + 6.0)
    }

    /// The lines, and the labels at their ends, moved apart where they would overlap.
    fn lines(
        &self,
        x: impl Fn(f64) -> f64,
        y: impl Fn(f64) -> f64,
        [top, bottom]: [f64; 2],
    ) -> [Vec<Value>; 2] {
        let mut lines = Vec::new();
        let mut labels = Vec::new();
        for line in &self.lines {
            let points = line.points.iter();
            let points = points.map(|(at, value)| value.is_finite().then(|| (x(*at), y(*value))));
            let stretches = polyline::stretches(points);
            let dots = stretches.iter();
            // A single value between gaps would not be seen as a line.
            let dots = dots.filter(|stretch| line.dots || stretch.len() == 1);
            let long = stretches.iter().filter(|stretch| stretch.len() > 1);
            let class = if line.label.is_some() {
                "z-line"
            } else {
                "z-faint"
            };
            lines.push(context! {
                class => format!("{class} {}", style(line.number)),
                color => color(line.number),
                paths => long.map(|stretch| path(stretch)).collect::<Vec<_>>(),
                dots => dots.flatten().copied().collect::<Vec<_>>(),
            });
            let end = match line.label_at {
                Some(value) => Some((x(self.x.interval()[1]), y(value))),
                None => stretches.last().and_then(|stretch| stretch.last().copied()),
            };
            labels.extend(
                end.zip(line.label.as_ref())
                    .map(|(end, label)| (line, end, label)),
            );
        }
        let heights: Vec<f64> = labels
            .iter()
            .map(|(_, end, _)| end.1.clamp(top, bottom))
            .collect();
        let apart = apart(&heights, [top, bottom], LABEL_ROW);
        let labels = labels.iter().zip(heights.iter().zip(apart));
        let labels = labels.map(|((line, end, [name, value]), (from, y))| {
            context! {
                style => style(line.number),
                color => color(line.number),
                x => end.0,
                from => *from,
                y => y,
                name => name,
                value => value,
                room => (MAX_LABEL - width(value) * 12.0 - 6.0).max(40.0),
            }
        });
        [lines, labels.collect()]
    }
}

fn bar(class: String, [from, to]: [f64; 2], text: &str) -> Value {
    context! { class, x => from, width => to - from, text }
}

/// The commands that draw a line.
pub(super) fn path(points: &[Point]) -> String {
    let points = polyline::simplified(points);
    let points = points
        .iter()
        .map(|(x, y)| format!("{},{}", pixels(*x), pixels(*y)));
    format!("M{}", points.collect::<Vec<_>>().join("L"))
}

fn label_width(name: &str, value: &str) -> f64 {
    // Some room for fonts that are wider than they are taken for.
    ((width(name) + width(value)) * 12.0 * 1.12 + 6.0).min(MAX_LABEL)
}

/// Finds a row in which a label fits, right of its mark or left of it at the picture's edge.
/// `row_ends` are where the rows are free from.
fn place(row_ends: &mut Vec<f64>, x: f64, width: f64, edge: f64) -> Option<(f64, usize)> {
    let width = width.min(edge / 2.0);
    let start = (x - 3.0).min(edge - width);
    let free = row_ends.iter().position(|end| *end <= start);
    let row = free.unwrap_or(row_ends.len());
    if row == MAX_MARK_ROWS {
        return None;
    }
    if row == row_ends.len() {
        row_ends.push(0.0);
    }
    row_ends[row] = start + width + 10.0;
    Some((start, row))
}

/// Heights as near to the given ones as possible and at least `gap` apart, inside the interval if
/// there is room for all.
fn apart(heights: &[f64], [top, bottom]: [f64; 2], gap: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|a, b| heights[*a].total_cmp(&heights[*b]));
    // Neighbours that would overlap form a block of a length, which lies around the mean of its
    // heights.
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    let start = |(mean, length): (f64, usize)| {
        let span = (length - 1) as f64 * gap;
        (mean - span / 2.0).min(bottom - span).max(top)
    };
    for index in &order {
        let mut block = (heights[*index], 1);
        while let Some(above) =
            blocks.pop_if(|above| start(*above) + above.1 as f64 * gap > start(block))
        {
            let length = above.1 + block.1;
            let sum = above.0 * above.1 as f64 + block.0 * block.1 as f64;
            block = (sum / length as f64, length);
        }
        blocks.push(block);
    }
    let places = blocks.into_iter();
    let places =
        places.flat_map(|block| (0..block.1).map(move |row| start(block) + row as f64 * gap));
    let mut apart = vec![0.0; heights.len()];
    for (index, height) in order.into_iter().zip(places) {
        apart[index] = height;
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_overlap() {
        assert_eq!(apart(&[50.0, 20.0], [0.0, 100.0], 10.0), [50.0, 20.0]);
        assert_eq!(apart(&[50.0, 50.0], [0.0, 100.0], 10.0), [45.0, 55.0]);
        assert_eq!(
            apart(&[100.0, 99.0, 98.0], [0.0, 100.0], 10.0),
            [100.0, 90.0, 80.0]
        );
        assert_eq!(apart(&[0.0; 3], [0.0, 100.0], 10.0), [0.0, 10.0, 20.0]);
        assert!(apart(&[], [0.0, 100.0], 10.0).is_empty());
        let many: Vec<f64> = (0..8).map(|i| f64::from(i * 37 % 100)).collect();
        let mut heights = apart(&many, [0.0, 100.0], 14.0);
        heights.sort_by(f64::total_cmp);
        assert!(
            heights.windows(2).all(|pair| pair[1] - pair[0] > 13.99),
            "{heights:?}"
        );
        assert!(heights[0] >= 0.0 && heights[7] <= 100.0);
    }

    #[test]
    fn marks_that_are_close_get_rows_of_their_own() {
        let mut ends = Vec::new();
        assert_eq!(place(&mut ends, 10.0, 50.0, 500.0), Some((7.0, 0)));
        assert_eq!(place(&mut ends, 30.0, 50.0, 500.0), Some((27.0, 1)));
        assert_eq!(place(&mut ends, 100.0, 50.0, 500.0), Some((97.0, 0)));
        assert_eq!(place(&mut ends, 495.0, 50.0, 500.0), Some((450.0, 0)));
        for _ in 0..9 {
            place(&mut ends, 495.0, 50.0, 500.0);
        }
        assert_eq!(ends.len(), MAX_MARK_ROWS);
        assert_eq!(place(&mut ends, 495.0, 50.0, 500.0), None);
    }
}
