//! The learning rate of each group, and when each group trains.

use super::axis::Axis;
use super::contents::{RateLine, Report};
use super::epoch_charts::recorded;
use super::format::{self, isolated};
use super::line_chart::{Band, Line, LineChart, Row, XTicks};
use super::picture::Picture;
use super::polyline::Point;
use crate::error::Result;

/// Width of the picture: that of a page.
const WIDTH: f64 = 1120.0;
/// Least height of the plot of rates.
const HEIGHT: f64 = 240.0;

/// A line for each group on a logarithmic axis, and below a row for each group, the last on top,
/// that is filled while the group trains. None without groups.
pub(super) fn draw(report: &Report) -> Result<Option<Picture>> {
    let rates = &report.rates;
    if rates.is_empty() {
        return Ok(None);
    }
    let axis = interval(rates).map(Axis::logarithmic);
    let epochs = recorded(report);
    let caption = match &axis {
        Some(axis) => format!(
            "Above, the rate of each group with its highest value; below, when each group trains. \
             The upper groups are nearer to the output.{}",
            below(rates, axis.interval()[0])
        ),
        None => "No group trains.".to_owned(),
    };
    let numbered = rates.iter().enumerate();
    let lines = numbered.clone().filter_map(|(number, line)| {
        let peak = trained_rates(line).reduce(f64::max)?;
        let points = line.points.iter().map(|p| (p.0, positive(p.1)));
        Some(Line {
            number,
            points: points.collect(),
            dots: false,
            label: Some([line.group.clone(), format!("to {}", format::rate(peak))]),
            label_at: late(line),
        })
    });
    let end = epochs.interval()[1];
    let rows = numbered.rev().map(|(number, line)| {
        let group = isolated(&line.group);
        let bars = trained(&line.points, end).into_iter().map(|stretch| {
            let [from, to] = [stretch.from, stretch.to];
            let text = format!(
                "{group}: trains from {} to {} epochs, at most at {}",
                format::position(from),
                format::position(to),
                format::rate(stretch.peak),
            );
            Band {
                x: [from, to],
                text,
            }
        });
        Row {
            number,
            name: line.group.clone(),
            idle: format!("{group}: frozen"),
            bars: bars.collect(),
        }
    });
    let chart = LineChart {
        id: "rates",
        title: "Learning rate of each group",
        unit: axis.as_ref().map_or("", Axis::kind),
        // Names at the ends of the lines need as much height as there are groups.
        size: [WIDTH, HEIGHT.max(rates.len() as f64 * 16.0)],
        x: epochs.clone(),
        x_ticks: XTicks::Whole,
        x_name: "epochs",
        y: axis,
        y_ticks: 6,
        marks: &report.freezes,
        lines: lines.collect(),
        rows: rows.collect(),
        bands: Vec::new(),
    };
    let description: Vec<String> = rates.iter().map(in_words).collect();
    chart.draw(description.join(" "), caption).map(Some)
}

/// When a group trains.
fn in_words(line: &RateLine) -> String {
    let mut points = line.points.iter();
    let trains = match points.find(|point| point.1 > 0.0) {
        Some((epoch, _)) if *epoch > 0.0 => {
            format!("trains from epoch {} on", format::position(*epoch))
        }
        Some(_) => "trains".to_owned(),
        None => "stays frozen".to_owned(),
    };
    format!("{} {trains}.", isolated(&line.group))
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
            format::count(number),
            format::count(all)
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
