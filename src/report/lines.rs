//! The parts of a chart over the epochs of a run.

use super::FreezeMark;
use super::axis::{self, Axis};
use super::svg::{Px, add, look, name};
use super::text::{self, Escaped};
use super::thin::{self, Point};

/// Where the parts of a chart lie. Moments at which groups join are marked across its height, with
/// their labels in rows above it.
pub(super) struct Frame<'a> {
    /// Tells the charts of a page apart.
    pub id: &'static str,
    pub width: f64,
    pub top: f64,
    pub bottom: f64,
    /// Epochs that have passed.
    pub epochs: Axis,
    left: f64,
    right: f64,
    marks: Vec<Placed<'a>>,
}

/// A mark and where its label begins.
struct Placed<'a> {
    mark: &'a FreezeMark,
    x: f64,
    label: Option<(f64, usize)>,
}

/// A line's name at its end.
pub(super) struct Label {
    /// The end of the line.
    pub end: Point,
    /// The line's [`look`].
    pub number: usize,
    pub name: String,
    pub value: String,
}

/// An interval of epochs and what there is to say about it.
pub(super) struct Band {
    pub epochs: [f64; 2],
    pub text: String,
}

/// Room for the title.
const TITLE: f64 = 28.0;
/// Height of a row of the labels of marks.
const MARK_ROW: f64 = 14.0;
/// More rows than these would be more than the chart itself.
const MARK_ROWS: usize = 5;
/// Height of a label at a line's end.
const LABEL_ROW: f64 = 15.0;
/// From the plot to the labels of its lines.
const LEAD: f64 = 30.0;
/// The widest label of a line.
const WIDEST_LABEL: f64 = 170.0;

impl<'a> Frame<'a> {
    /// `left` and `right` are the margins beside the plot.
    pub fn new(
        id: &'static str,
        [width, height]: [f64; 2],
        [left, right]: [f64; 2],
        epochs: [f64; 2],
        marks: &'a [FreezeMark],
    ) -> Self {
        let right = width - right;
        let axis = Axis::exact(epochs, [left, right]);
        let inside = |mark: &&FreezeMark| (epochs[0]..=epochs[1]).contains(&mark.epoch);
        let mut marks: Vec<&FreezeMark> = marks.iter().filter(inside).collect();
        marks.sort_by(|a, b| a.epoch.total_cmp(&b.epoch));
        let mut ends = Vec::new();
        let marks: Vec<Placed> = marks
            .into_iter()
            .map(|mark| {
                let x = axis.at(mark.epoch);
                let label = place(&mut ends, x, text::width(&mark.text) * 11.0, width);
                Placed { mark, x, label }
            })
            .collect();
        let top = TITLE + ends.len() as f64 * MARK_ROW + 6.0;
        Self {
            id,
            width,
            top,
            bottom: top + height,
            epochs: axis,
            left,
            right,
            marks,
        }
    }

    /// The epochs at both ends of the plot.
    pub fn interval(&self) -> [f64; 2] {
        self.epochs.interval()
    }

    /// Where names right of the plot begin.
    pub fn label_start(&self) -> f64 {
        self.right + LEAD
    }

    /// The margin that the labels of an axis need on its left.
    pub fn left_for(labels: &[String]) -> f64 {
        let widths = labels.iter().map(|label| text::width(label) * 11.0);
        widths.fold(22.0, f64::max).ceil() + 10.0
    }

    /// The margin that names at the lines' ends need on the right.
    pub fn right_for(labels: impl Iterator<Item = (String, String)>) -> f64 {
        let widths = labels.map(|(name, value)| label_width(&name, &value));
        LEAD + widths.fold(30.0, f64::max).ceil() + 4.0
    }

    /// The title and the marks, which reach down to `bottom`.
    pub fn head(&self, body: &mut String, title: &str, unit: &str, bottom: f64) {
        add!(body, "<text class=\"z-title\" x=\"2\" y=\"16\">{title}");
        add!(
            body,
            "<tspan class=\"z-soft\" dx=\"8\">{unit}</tspan></text>\n"
        );
        // The lines first: they pass behind the labels of their neighbours.
        for Placed { mark, x, label } in &self.marks {
            let top = label.map_or(self.top, |(_, row)| TITLE + row as f64 * MARK_ROW + 11.0);
            add!(
                body,
                "<path class=\"z-mark\" d=\"M{},{}V{}\"><title>{}</title></path>\n",
                Px(*x),
                Px(top),
                Px(bottom),
                Escaped(&mark.text)
            );
        }
        for Placed { mark, label, .. } in &self.marks {
            if let Some((start, row)) = label {
                let y = TITLE + *row as f64 * MARK_ROW + 8.0;
                let room = self.width - start;
                name(body, "z-soft z-halo", [*start, y], &mark.text, room);
            }
        }
    }

    /// The labelled values of the vertical axis and lines at them.
    pub fn values(&self, body: &mut String, axis: &Axis, ticks: &[f64], labels: &[String]) {
        for (tick, label) in ticks.iter().zip(labels) {
            let y = axis.at(*tick);
            add!(
                body,
                "<path class=\"z-grid\" d=\"M{},{y}H{}\"/>\
                 <text class=\"z-soft z-end\" x=\"{}\" y=\"{}\">{label}</text>\n",
                Px(self.left),
                Px(self.right),
                Px(self.left - 7.0),
                Px(y + 4.0),
                y = Px(y),
            );
        }
    }

    /// The base line at a height, and the labelled epochs below it.
    pub fn epochs(&self, body: &mut String, y: f64) {
        let (left, right) = (Px(self.left), Px(self.right));
        add!(
            body,
            "<path class=\"z-base\" d=\"M{left},{}H{right}\"/>\n",
            Px(y)
        );
        let room = (self.right - self.left) / 36.0;
        let ticks = self.epochs.whole_ticks((room as usize).min(20));
        let mut end = self.right;
        for (tick, label) in ticks.iter().zip(axis::labels(&ticks)) {
            let x = self.epochs.at(*tick);
            end = end.max(x + text::width(&label) * 5.5);
            add!(
                body,
                "<path class=\"z-base\" d=\"M{x},{}v4\"/>\
                 <text class=\"z-soft z-mid\" x=\"{x}\" y=\"{}\">{label}</text>\n",
                Px(y),
                Px(y + 17.0),
                x = Px(x),
            );
        }
        let (x, y) = (Px(end + 6.0), Px(y + 17.0));
        add!(
            body,
            "<text class=\"z-soft\" x=\"{x}\" y=\"{y}\">epochs</text>\n"
        );
    }

    /// A part of the chart outside which nothing is drawn, to be closed by `</g>`.
    pub fn clip(&self, body: &mut String) {
        let id = self.id;
        add!(
            body,
            "<clipPath id=\"z-{id}-plot\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\
             </clipPath>\n<g clip-path=\"url(#z-{id}-plot)\">\n",
            Px(self.left - 5.0),
            Px(self.top - 5.0),
            Px(self.right - self.left + 10.0),
            Px(self.bottom - self.top + 10.0),
        );
    }

    /// A line through values, with gaps where they are not finite, and with dots if asked for.
    /// Gives the end of the line.
    pub fn line(
        &self,
        body: &mut String,
        class: &str,
        axis: &Axis,
        points: &[Point],
        dots: bool,
    ) -> Option<Point> {
        let pixel = |&(epoch, value): &Point| {
            value
                .is_finite()
                .then(|| (self.epochs.at(epoch), axis.at(value)))
        };
        let stretches = thin::stretches(points.iter().map(pixel));
        for stretch in &stretches {
            if stretch.len() > 1 {
                add!(body, "<path class=\"{class}\" d=\"");
                for (index, (x, y)) in thin::thinned(stretch).into_iter().enumerate() {
                    let command = if index == 0 { 'M' } else { 'L' };
                    add!(body, "{command}{},{}", Px(x), Px(y));
                }
                body.push_str("\"/>\n");
            }
            // A single value between gaps would not be seen as a line.
            if dots || stretch.len() == 1 {
                let color = class.split(' ').find(|class| class.starts_with("z-c"));
                let color = color.unwrap_or_default();
                for (x, y) in stretch {
                    let (x, y) = (Px(*x), Px(*y));
                    add!(
                        body,
                        "<circle class=\"z-dot {color}\" cx=\"{x}\" cy=\"{y}\" r=\"3\"/>\n"
                    );
                }
            }
        }
        stretches.last().and_then(|stretch| stretch.last().copied())
    }

    /// Names at the ends of lines, moved apart where they would overlap.
    pub fn labels(&self, body: &mut String, labels: &[Label]) {
        let inside = |y: f64| y.clamp(self.top, self.bottom);
        let wanted: Vec<f64> = labels.iter().map(|label| inside(label.end.1)).collect();
        let heights = apart(&wanted, [self.top, self.bottom], LABEL_ROW);
        for ((label, y), from) in labels.iter().zip(heights).zip(wanted) {
            let class = look(label.number);
            let (swatch, text) = (self.right + 10.0, self.right + LEAD);
            add!(
                body,
                "<path class=\"z-lead {}\" d=\"M{},{}L{},{y}\"/>\
                 <path class=\"z-line {class}\" d=\"M{},{y}h15\"/>",
                class.split(' ').next().unwrap_or_default(),
                Px(label.end.0),
                Px(from),
                Px(swatch),
                Px(swatch),
                y = Px(y),
            );
            let value = text::width(&label.value) * 12.0;
            let room = (WIDEST_LABEL - value - 6.0).max(40.0);
            let short = text::shortened(&label.name, room / 12.0);
            add!(body, "<text x=\"{}\" y=\"{}\">", Px(text), Px(y + 4.0));
            if short != label.name {
                add!(body, "<title>{}</title>", Escaped(&label.name));
            }
            let (short, value) = (Escaped(&short), Escaped(&label.value));
            add!(
                body,
                "{short}<tspan class=\"z-value\" dx=\"6\">{value}</tspan></text>\n"
            );
        }
    }

    /// What is said about intervals of epochs when they are pointed at.
    pub fn bands(&self, body: &mut String, bands: &[Band]) {
        for Band { epochs, text } in bands {
            let [from, to] = epochs.map(|epoch| self.epochs.at(epoch));
            add!(
                body,
                "<rect class=\"z-band\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\">\
                 <title>{}</title></rect>\n",
                Px(from),
                Px(self.top),
                Px(to - from),
                Px(self.bottom - self.top),
                Escaped(text)
            );
        }
    }
}

fn label_width(name: &str, value: &str) -> f64 {
    ((text::width(name) + text::width(value)) * 12.0 + 6.0).min(WIDEST_LABEL)
}

/// Finds a row in which a label fits, right of its mark or left of it at the picture's edge.
/// `ends` are where the rows are free from.
fn place(ends: &mut Vec<f64>, x: f64, width: f64, edge: f64) -> Option<(f64, usize)> {
    let width = width.min(edge / 2.0);
    let start = (x - 3.0).min(edge - width);
    let row = ends
        .iter()
        .position(|end| *end <= start)
        .unwrap_or(ends.len());
    if row == MARK_ROWS {
        return None;
    }
    if row == ends.len() {
        ends.push(0.0);
    }
    ends[row] = start + width + 10.0;
    Some((start, row))
}

/// Heights as near to the wanted ones as possible and at least `gap` apart, inside the interval if
/// there is room for all.
fn apart(wanted: &[f64], [top, bottom]: [f64; 2], gap: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    // Neighbours that would overlap form a block, which lies around the mean of what they want.
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    let start = |(mean, length): (f64, usize)| {
        let span = (length - 1) as f64 * gap;
        (mean - span / 2.0).min(bottom - span).max(top)
    };
    for index in &order {
        let mut block = (wanted[*index], 1);
        while let Some(above) = blocks.last().copied() {
            if start(above) + above.1 as f64 * gap <= start(block) {
                break;
            }
            blocks.pop();
            let length = above.1 + block.1;
            let sum = above.0 * above.1 as f64 + block.0 * block.1 as f64;
            block = (sum / length as f64, length);
        }
        blocks.push(block);
    }
    let mut heights = vec![0.0; wanted.len()];
    let places = blocks
        .into_iter()
        .flat_map(|block| (0..block.1).map(move |place| start(block) + place as f64 * gap));
    for (index, height) in order.into_iter().zip(places) {
        heights[index] = height;
    }
    heights
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
        assert_eq!(ends.len(), MARK_ROWS);
        assert_eq!(place(&mut ends, 495.0, 50.0, 500.0), None);
    }
}
