//! From values to places in a chart, and the values worth a label.

use super::text;

/// One axis of a chart: an interval of values and the pixels it covers.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    from: f64,
    to: f64,
}

/// Values at most this far apart by a factor are drawn on a linear axis.
const MOST_LINEAR: f64 = 100.0;

impl Axis {
    /// An axis of exactly this interval.
    pub fn exact([low, high]: [f64; 2], [from, to]: [f64; 2]) -> Self {
        let (low, high) = match low < high {
            true => (low, high),
            false => (low, low + low.abs().max(1.0)),
        };
        Self {
            low,
            high,
            logarithmic: false,
            from,
            to,
        }
    }

    /// A linear axis on which all of the interval fits, and which ends at labels. `limits` are
    /// values beyond which nothing can be.
    pub fn linear([low, high]: [f64; 2], limits: [f64; 2], pixels: [f64; 2]) -> Self {
        // What is larger cannot be told from infinity, after some arithmetic.
        let [low, high] = [low, high].map(|value: f64| value.clamp(-1e300, 1e300));
        // Equal values get some room; values so large that they have no neighbours do, too.
        let room = (low.abs().max(high.abs()) * 0.02).max(1e-3);
        let (low, high) = match high - low > room * 1e-3 {
            true => (low, high),
            false => (low - room, high + room),
        };
        let step = step((high - low) / 5.0);
        let [least, most] = limits;
        let ends = [(low / step).floor() * step, (high / step).ceil() * step];
        Self::exact([ends[0].max(least), ends[1].min(most)], pixels)
    }

    /// A logarithmic axis of positive values.
    pub fn logarithmic([low, high]: [f64; 2], pixels: [f64; 2]) -> Self {
        // Some room at both ends, and at least half a decade.
        let (low, high) = (low.max(f64::MIN_POSITIVE).log10(), high.log10());
        let room = ((high - low) * 0.06).max(0.08);
        let room = room.max((0.5 - (high - low)) / 2.0);
        Self {
            logarithmic: true,
            ..Self::exact([low - room, high + room], pixels)
        }
    }

    /// Whether positive values are so far apart that a linear axis would show the large ones only.
    pub fn far_apart(low: f64, high: f64) -> bool {
        high / low > MOST_LINEAR
    }

    /// Logarithmic if the values are positive and far apart, linear otherwise.
    pub fn fitting([low, high]: [f64; 2], limits: [f64; 2], pixels: [f64; 2]) -> Self {
        match low > 0.0 && Self::far_apart(low, high) {
            true => Self::logarithmic([low, high], pixels),
            false => Self::linear([low, high], limits, pixels),
        }
    }

    /// The smallest and the largest value.
    pub fn interval(&self) -> [f64; 2] {
        [self.low, self.high].map(|value| match self.logarithmic {
            true => 10f64.powf(value),
            false => value,
        })
    }

    pub fn is_logarithmic(&self) -> bool {
        self.logarithmic
    }

    /// The pixel of a value, somewhat outside the axis for a value outside its interval.
    pub fn at(&self, value: f64) -> f64 {
        let value = match self.logarithmic {
            true => value.max(f64::MIN_POSITIVE).log10(),
            false => value,
        };
        let share = (value - self.low) / (self.high - self.low);
        self.from + share.clamp(-9.0, 9.0) * (self.to - self.from)
    }

    /// About `wanted` values to label, ascending.
    pub fn ticks(&self, wanted: usize) -> Vec<f64> {
        match self.logarithmic {
            true => self.decades(wanted.max(2)),
            false => self.multiples(step((self.high - self.low) / wanted.max(1) as f64)),
        }
    }

    /// About `wanted` whole numbers; fractions only where there would be a single one.
    pub fn whole_ticks(&self, wanted: usize) -> Vec<f64> {
        let length = self.high - self.low;
        match length < 2.0 {
            true => self.multiples(step(length / wanted.clamp(1, 10) as f64)),
            false => self.multiples(step(length / wanted.max(1) as f64).max(1.0)),
        }
    }

    fn multiples(&self, step: f64) -> Vec<f64> {
        let first = (self.low / step - 1e-6).ceil();
        let last = (self.high / step + 1e-6).floor();
        // The bound holds off intervals too narrow for their numbers.
        let number = (last - first).clamp(0.0, 100.0) as usize;
        // Adding zero makes a negative zero positive.
        (0..=number)
            .map(|n| (first + n as f64) * step + 0.0)
            .collect()
    }

    /// Powers of ten; with 2 and 5 times them where there are few, only some of many.
    fn decades(&self, wanted: usize) -> Vec<f64> {
        let first = self.low.floor() as i32;
        let last = self.high.ceil() as i32;
        let span = self.high - self.low;
        let digits: &[f64] = match span {
            _ if span < 1.2 => &[1.0, 2.0, 5.0],
            _ if span < 2.2 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let every = (span / wanted as f64).ceil().max(1.0) as i32;
        (first..=last)
            .filter(|decade| decade.rem_euclid(every) == 0)
            .flat_map(|decade| digits.iter().map(move |digit| (decade, digit)))
            .filter(|(decade, digit)| {
                let exponent = f64::from(*decade) + digit.log10();
                (self.low..=self.high).contains(&exponent)
            })
            .map(|(decade, digit)| digit * 10f64.powi(decade))
            .collect()
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below a length.
fn step(length: f64) -> f64 {
    let length = length.max(f64::MIN_POSITIVE * 1e16);
    let power = 10f64.powf(length.log10().floor());
    let digits = [1.0, 2.0, 5.0, 10.0];
    let digit = digits.into_iter().find(|d| d * power >= length * 0.999);
    digit.unwrap_or(10.0) * power
}

/// Labels of values, with as many digits as tell neighbours apart.
pub(super) fn labels(values: &[f64]) -> Vec<String> {
    let largest = values.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
    let gap = values.windows(2).map(|pair| pair[1] - pair[0]);
    let gap = gap.fold(f64::INFINITY, f64::min);
    let plain = |value: &f64| {
        let digits = match gap.is_finite() && gap > 0.0 {
            true => (-(gap * 1.001).log10().floor()).clamp(0.0, 9.0) as usize,
            false => 2,
        };
        format!("{value:.digits$}")
    };
    let few = largest < 1e6 && (gap >= 1e-6 || largest == 0.0);
    values
        .iter()
        .map(|value| match few {
            true => plain(value),
            false => text::rate(*value),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];

    #[test]
    fn ticks_are_round_numbers() {
        let axis = Axis::linear([0.213, 0.987], FREE, [100.0, 0.0]);
        let ticks = axis.ticks(5);
        assert_eq!(labels(&ticks), ["0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert!((axis.at(0.2) - 100.0).abs() < 1e-9 && axis.at(1.0).abs() < 1e-9);

        let axis = Axis::exact([0.0, 9.0], [0.0, 90.0]);
        assert_eq!(axis.whole_ticks(10).len(), 10);
        let axis = Axis::exact([0.0, 1000.0], [0.0, 90.0]);
        assert_eq!(
            labels(&axis.whole_ticks(6)),
            ["0", "200", "400", "600", "800", "1000"]
        );
        let axis = Axis::exact([0.0, 1.0], [0.0, 90.0]);
        assert_eq!(
            labels(&axis.whole_ticks(5)),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );

        let axis = Axis::logarithmic([1e-6, 1e-3], [0.0, 1.0]);
        let labels: Vec<String> = axis.ticks(6).into_iter().map(text::rate).collect();
        assert_eq!(labels, ["1e-6", "1e-5", "1e-4", "1e-3"]);
    }

    #[test]
    fn odd_intervals_have_finite_places_and_few_ticks() {
        let values = [
            0.0,
            1.0,
            -3.5,
            1e-300,
            1e300,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
        ];
        for low in values {
            for high in values.into_iter().filter(|high| *high >= low) {
                let mut axes = vec![Axis::linear([low, high], FREE, [0.0, 100.0])];
                if low > 0.0 {
                    axes.push(Axis::logarithmic([low, high], [0.0, 100.0]));
                    axes.push(Axis::fitting([low, high], FREE, [0.0, 100.0]));
                }
                for axis in axes {
                    for value in [low, high] {
                        assert!(axis.at(value).is_finite(), "{axis:?}");
                    }
                    let ticks = axis.ticks(5);
                    assert!(
                        ticks.len() <= 101 && !ticks.is_empty(),
                        "{axis:?} {ticks:?}"
                    );
                    assert_eq!(labels(&ticks).len(), ticks.len());
                }
            }
        }
    }
}
