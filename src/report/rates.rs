//! The learning rate of each group, and when each group trains.

use super::axis::Axis;
use super::curves::recorded;
use super::lines::{Frame, Label};
use super::svg::{Picture, Px, add, look, name};
use super::text::{self, Escaped, isolated};
use super::thin::Point;
use super::{RateLine, Report};

/// Width of the picture: that of a page.
const WIDTH: f64 = 1120.0;
/// Least height of the plot of rates.
const HEIGHT: f64 = 240.0;
/// Height of a group's row in the plot of who trains.
const ROW: f64 = 18.0;
/// The widest name of a group, in pixels.
const WIDEST_NAME: f64 = 150.0;

/// A line for each group on a logarithmic axis, and below a row for each group that is filled while
/// the group trains. None without groups.
pub(super) fn draw(report: &Report) -> Option<Picture> {
    if report.rates.is_empty() {
        return None;
    }
    let interval = interval(&report.rates);
    let scale = |pixels| interval.map(|interval| Axis::logarithmic(interval, pixels));
    let ticks = scale([1.0, 0.0]).map_or(Vec::new(), |axis| axis.ticks(6));
    let labels: Vec<String> = ticks.iter().map(|tick| text::rate(*tick)).collect();
    let names = report.rates.iter();
    let names = names.map(|line| (line.group.clone(), peak_text(line).unwrap_or_default()));
    // Names at the ends of the lines need as much height as there are groups.
    let height = match interval {
        Some(_) => HEIGHT.max(report.rates.len() as f64 * 16.0),
        None => 0.0,
    };
    let frame = Frame::new(
        "rates",
        [WIDTH, height],
        [Frame::left_for(&labels), Frame::right_for(names)],
        recorded(report),
        &report.freezes,
    );
    let rows = frame.bottom + if interval.is_some() { 20.0 } else { 0.0 };
    let bottom = rows + report.rates.len() as f64 * ROW;
    let mut body = String::new();
    let unit = if interval.is_some() {
        "logarithmic"
    } else {
        ""
    };
    frame.head(&mut body, "Learning rate of each group", unit, frame.bottom);
    if let Some(axis) = scale([frame.bottom, frame.top]) {
        frame.values(&mut body, &axis, &ticks, &labels);
        frame.clip(&mut body);
        let mut names = Vec::new();
        for (number, line) in report.rates.iter().enumerate() {
            let points: Vec<Point> = line.points.iter().map(|p| (p.0, positive(p.1))).collect();
            let class = format!("z-line {}", look(number));
            frame.line(&mut body, &class, &axis, &points, false);
            names.extend(late(line).map(|rate| Label {
                end: (frame.epochs.at(frame.interval()[1]), axis.at(rate)),
                number,
                name: line.group.clone(),
                value: peak_text(line).unwrap_or_default(),
            }));
        }
        body.push_str("</g>\n");
        frame.labels(&mut body, &names);
    }
    who_trains(&mut body, &frame, &report.rates, rows);
    frame.epochs(&mut body, bottom + 2.0);
    let groups = report.rates.iter().map(|line| {
        let trains = match first_trained(line) {
            Some(epoch) if epoch > 0.0 => format!("trains from epoch {} on", text::position(epoch)),
            Some(_) => "trains".to_owned(),
            None => "stays frozen".to_owned(),
        };
        format!(" {} {trains}.", isolated(&line.group))
    });
    Some(Picture {
        width: WIDTH,
        height: bottom + 28.0,
        title: "Learning rates",
        description: groups.collect::<String>().trim_start().to_owned(),
        caption: match scale([1.0, 0.0]) {
            Some(axis) => format!(
                "Above, the rate of each group with its highest value; below, when each group \
                 trains. The upper groups are nearer to the output.{}",
                below(&report.rates, axis.interval()[0])
            ),
            None => "No group trains.".to_owned(),
        },
        body,
    })
}

/// A row for each group, the last on top, filled while its rate is above zero.
fn who_trains(body: &mut String, frame: &Frame, rates: &[RateLine], top: f64) {
    let [start, end] = frame.interval();
    for (row, (number, line)) in rates.iter().enumerate().rev().enumerate() {
        let y = top + row as f64 * ROW;
        let rect = |body: &mut String, class: &str, from: f64, to: f64, words: &str| {
            let (from, to) = (frame.epochs.at(from), frame.epochs.at(to));
            let (x, width, height) = (Px(from), Px(to - from), Px(ROW - 5.0));
            add!(
                body,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"{height}\">\
                 <title>{}</title></rect>\n",
                Px(y + 2.0),
                Escaped(words),
            );
        };
        let group = isolated(&line.group);
        rect(body, "z-idle", start, end, &format!("{group}: frozen"));
        let class = format!("z-dot z-bar {}", look(number));
        for stretch in trained(&line.points, end) {
            let words = format!(
                "{group}: trains from {} to {} epochs, at most at {}",
                text::position(stretch.from),
                text::position(stretch.to),
                text::rate(stretch.peak),
            );
            rect(body, &class, stretch.from, stretch.to, &words);
        }
        let place = [frame.label_start(), y + ROW / 2.0 + 3.5];
        let class = if peak(line).is_some() { "" } else { "z-value" };
        name(body, class, place, &line.group, WIDEST_NAME);
    }
}

/// A rate a group trains at, or not a number.
fn positive(rate: f64) -> f64 {
    if rate > 0.0 { rate } else { f64::NAN }
}

/// The rates a group trains at.
fn trained_rates(line: &RateLine) -> impl Iterator<Item = f64> {
    let rates = line.points.iter().map(|point| point.1);
    rates.filter(|rate| *rate > 0.0 && rate.is_finite())
}

fn peak(line: &RateLine) -> Option<f64> {
    trained_rates(line).reduce(f64::max)
}

fn peak_text(line: &RateLine) -> Option<String> {
    peak(line).map(|rate| format!("to {}", text::rate(rate)))
}

fn first_trained(line: &RateLine) -> Option<f64> {
    let mut points = line.points.iter();
    points.find(|point| point.1 > 0.0).map(|point| point.0)
}

/// A rate from the last tenth of the time a group trains. Schedules that end at zero bring all
/// lines together at the very end; a little before, they still lie in the order of their names.
fn late(line: &RateLine) -> Option<f64> {
    let rates: Vec<f64> = trained_rates(line).collect();
    rates.get(rates.len() * 9 / 10).copied()
}

/// The interval of rates worth showing. Schedules that end at zero come arbitrarily close to it;
/// the lowest twentieth of a line's rates does not stretch the axis. None if no group trains.
fn interval(rates: &[RateLine]) -> Option<[f64; 2]> {
    let intervals = rates.iter().filter_map(|line| {
        let mut rates: Vec<f64> = trained_rates(line).collect();
        rates.sort_by(f64::total_cmp);
        Some([*rates.get(rates.len() / 20)?, *rates.last()?])
    });
    intervals.reduce(|a, b| [a[0].min(b[0]), a[1].max(b[1])])
}

/// What is said of rates too small for the chart.
fn below(rates: &[RateLine], lowest: f64) -> String {
    let all: usize = rates.iter().map(|line| trained_rates(line).count()).sum();
    let small = |line: &RateLine| trained_rates(line).filter(|rate| *rate < lowest).count();
    match rates.iter().map(small).sum::<usize>() {
        0 => String::new(),
        number => format!(
            " {} of {} rates are below the chart.",
            text::count(number),
            text::count(all)
        ),
    }
}

/// A time in which a group trains.
#[derive(Debug, PartialEq)]
struct Stretch {
    from: f64,
    to: f64,
    peak: f64,
}

/// The times with a rate above zero; a rate holds until the next one.
fn trained(points: &[Point], end: f64) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let nexts = points.iter().skip(1).map(|point| point.0);
    for ((from, rate), to) in points.iter().zip(nexts.chain([end])) {
        if positive(*rate).is_nan() {
            continue;
        }
        match stretches.last_mut().filter(|last| last.to == *from) {
            Some(last) => {
                last.to = to;
                last.peak = last.peak.max(*rate);
            }
            None => stretches.push(Stretch {
                from: *from,
                to,
                peak: *rate,
            }),
        }
    }
    stretches.retain(|stretch| stretch.to > stretch.from);
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_trains_while_its_rate_is_above_zero() {
        let points = [(0.0, 0.0), (1.0, 0.1), (2.0, 0.3), (3.0, 0.0), (4.0, 0.2)];
        let stretch = |from, to, peak| Stretch { from, to, peak };
        assert_eq!(
            trained(&points, 6.0),
            [stretch(1.0, 3.0, 0.3), stretch(4.0, 6.0, 0.2)]
        );
        // A sudden change: two rates at one position.
        assert_eq!(
            trained(&[(0.0, 0.0), (1.0, 0.0), (1.0, 0.5)], 2.0),
            [stretch(1.0, 2.0, 0.5)]
        );
        assert_eq!(trained(&[(0.0, 0.0), (1.0, f64::NAN)], 2.0), []);
        assert_eq!(trained(&[], 2.0), []);
    }

    #[test]
    fn a_schedule_that_ends_at_zero_does_not_stretch_the_axis() {
        let points = (0..1000).map(|step| {
            let angle = std::f64::consts::PI * f64::from(step) / 1000.0;
            (f64::from(step) / 100.0, 1e-3 * 0.5 * (1.0 + angle.cos()))
        });
        let line = RateLine {
            group: "head".to_owned(),
            points: points.collect(),
        };
        let [low, high] = interval(&[line]).unwrap();
        assert!(high == 1e-3 && low > 3e-6, "{low}");
        let odd = RateLine {
            points: [f64::INFINITY, f64::NAN, 0.0, -1.0, 0.5]
                .map(|rate| (0.0, rate))
                .to_vec(),
            ..RateLine::default()
        };
        assert_eq!(interval(&[odd]), Some([0.5, 0.5]));
        assert_eq!(interval(&[RateLine::default()]), None);
    }

    #[test]
    fn rates_below_the_chart_are_counted() {
        let line = RateLine {
            group: "head".to_owned(),
            points: [1e-3, 1e-7, 0.0, f64::NAN, 1e-9]
                .map(|rate| (0.0, rate))
                .to_vec(),
        };
        let rates = [line];
        assert_eq!(below(&rates, 1e-6), " 2 of 3 rates are below the chart.");
        assert_eq!(below(&rates, 1e-9), "");
    }
}
