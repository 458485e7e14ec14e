//! From values to places in a chart, and the values worth a label.

use super::format;

/// One axis of a chart: an interval of values.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

/// Values at most this far apart by a factor are drawn on a linear axis.
const LINEAR_UP_TO: f64 = 100.0;

impl Axis {
    /// An axis of exactly this interval.
    pub fn exact([low, high]: [f64; 2]) -> Self {
        let high = if low < high {
            high
        } else {
            low + low.abs().max(1.0)
        };
        Self {
            low,
            high,
            logarithmic: false,
        }
    }

    /// A linear axis on which all of the interval fits, and which ends at labels. `limits` are
    /// values beyond which nothing can be.
    pub fn linear([low, high]: [f64; 2], limits: [f64; 2]) -> Self {
        // What is larger cannot be told from infinity, after some arithmetic.
        let [mut low, mut high] = [low, high].map(|value: f64| value.clamp(-1e300, 1e300));
        // Equal values get some room; values so large that they have no neighbours do, too.
        let room = (low.abs().max(high.abs()) * 0.02).max(1e-3);
        if high - low <= room * 1e-3 {
            (low, high) = (low - room, high + room);
        }
        let step = round_step((high - low) / 5.0);
        let ends = [(low / step).floor() * step, (high / step).ceil() * step];
        Self::exact([ends[0].max(limits[0]), ends[1].min(limits[1])])
    }

    /// A logarithmic axis of positive values.
    pub fn logarithmic([low, high]: [f64; 2]) -> Self {
        // Some room at both ends, and at least half a decade.
        let (low, high) = (low.max(f64::MIN_POSITIVE).log10(), high.log10());
        let room = ((high - low) * 0.06).max(0.08);
        let room = room.max((0.5 - (high - low)) / 2.0);
        Self {
            logarithmic: true,
            ..Self::exact([low - room, high + room])
        }
    }

    /// Whether positive values are so far apart that a linear axis would show the large ones only.
    pub fn far_apart(low: f64, high: f64) -> bool {
        high / low > LINEAR_UP_TO
    }

    /// Logarithmic if the values are positive and far apart, linear otherwise.
    pub fn fitting([low, high]: [f64; 2], limits: [f64; 2]) -> Self {
        if low > 0.0 && Self::far_apart(low, high) {
            Self::logarithmic([low, high])
        } else {
            Self::linear([low, high], limits)
        }
    }

    /// The smallest and the largest value.
    pub fn interval(&self) -> [f64; 2] {
        let value = |end: f64| {
            if self.logarithmic {
                10f64.powf(end)
            } else {
                end
            }
        };
        [self.low, self.high].map(value)
    }

    /// What a reader has to know of the axis.
    pub fn kind(&self) -> &'static str {
        if self.logarithmic { "logarithmic" } else { "" }
    }

    /// Where a value is: 0 at the beginning of the axis, 1 at its end, somewhat outside for a value
    /// outside its interval.
    pub fn share(&self, value: f64) -> f64 {
        let value = if self.logarithmic {
            value.max(f64::MIN_POSITIVE).log10()
        } else {
            value
        };
        ((value - self.low) / (self.high - self.low)).clamp(-9.0, 9.0)
    }

    /// About `number` values to label, ascending.
    pub fn ticks(&self, number: usize) -> Vec<f64> {
        if self.logarithmic {
            self.decades(number.max(2))
        } else {
            self.multiples(round_step((self.high - self.low) / number.max(1) as f64))
        }
    }

    /// About `number` whole numbers; fractions only where there would be a single one.
    pub fn whole_ticks(&self, number: usize) -> Vec<f64> {
        let length = self.high - self.low;
        if length < 2.0 {
            self.multiples(round_step(length / number.clamp(1, 10) as f64))
        } else {
            self.multiples(round_step(length / number.max(1) as f64).max(1.0))
        }
    }

    fn multiples(&self, step: f64) -> Vec<f64> {
        let first = (self.low / step - 1e-6).ceil();
        let last = (self.high / step + 1e-6).floor();
        // The bound holds off intervals too narrow for their numbers.
        let number = (last - first).clamp(0.0, 100.0) as usize;
        // Adding zero makes a negative zero positive.
        let multiples = (0..=number).map(|n| (first + n as f64) * step + 0.0);
        multiples.collect()
    }

    /// Powers of ten; with 2 and 5 times them where there are few, only some of many.
    fn decades(&self, number: usize) -> Vec<f64> {
        let span = self.high - self.low;
        let digits: &[f64] = match span {
            _ if span < 1.2 => &[1.0, 2.0, 5.0],
            _ if span < 2.2 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let every = (span / number as f64).ceil().max(1.0) as i32;
        (self.low.floor() as i32..=self.high.ceil() as i32)
            .filter(|decade| decade.rem_euclid(every) == 0)
            .flat_map(|decade| digits.iter().map(move |digit| (decade, digit)))
            .filter(|(decade, digit)| {
                let exponent = f64::from(*decade) + digit.log10();
                (self.low..=self.high).contains(&exponent)
            })
            .map(|(decade, digit)| digit * 10f64.powi(decade))
            .collect()
    }

    /// Labels of values, with as many digits as tell neighbours apart.
    pub fn labels(&self, values: &[f64]) -> Vec<String> {
        let largest = values.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        let gaps = values.windows(2).map(|pair| pair[1] - pair[0]);
        let gap = gaps.fold(f64::INFINITY, f64::min);
        if self.logarithmic || largest >= 1e6 || (gap < 1e-6 && largest > 0.0) {
            return values.iter().map(|value| format::rate(*value)).collect();
        }
        let digits = if gap.is_finite() && gap > 0.0 {
            (-(gap * 1.001).log10().floor()).clamp(0.0, 9.0) as usize
        } else {
            2
        };
        let labels = values.iter().map(|value| format!("{value:.digits$}"));
        labels.collect()
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below a length.
fn round_step(length: f64) -> f64 {
    let length = length.max(f64::MIN_POSITIVE * 1e16);
    let power = 10f64.powf(length.log10().floor());
    let digits = [1.0, 2.0, 5.0, 10.0];
    let digit = digits.into_iter().find(|d| d * power >= length * 0.999);
    digit.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];

    #[test]
    fn ticks_are_round_numbers() {
        let labels = |axis: &Axis, ticks: Vec<f64>| axis.labels(&ticks).join(" ");
        let axis = Axis::linear([0.213, 0.987], FREE);
        assert_eq!(labels(&axis, axis.ticks(5)), "0.2 0.4 0.6 0.8 1.0");
        assert!(axis.share(0.2).abs() < 1e-9 && (axis.share(1.0) - 1.0).abs() < 1e-9);
        assert_eq!(Axis::exact([0.0, 9.0]).whole_ticks(10).len(), 10);
        let axis = Axis::exact([0.0, 1000.0]);
        let thousand = labels(&axis, axis.whole_ticks(6));
        assert_eq!(thousand, "0 200 400 600 800 1000");
        let axis = Axis::exact([0.0, 1.0]);
        let one = labels(&axis, axis.whole_ticks(5));
        assert_eq!(one, "0.0 0.2 0.4 0.6 0.8 1.0");
        let axis = Axis::logarithmic([1e-6, 1e-3]);
        assert_eq!(labels(&axis, axis.ticks(6)), "1e-6 1e-5 1e-4 1e-3");
    }

    #[test]
    fn odd_intervals_have_finite_places_and_few_ticks() {
        let tiny = [0.0, 1.0, -3.5, 1e-300, f64::MIN_POSITIVE, 5e-324];
        let values = [tiny.as_slice(), &[1e300, f64::MAX]].concat();
        for low in values.iter().copied() {
            for high in values.iter().copied().filter(|high| *high >= low) {
                let mut axes = vec![Axis::linear([low, high], FREE)];
                if low > 0.0 {
                    axes.push(Axis::logarithmic([low, high]));
                    axes.push(Axis::fitting([low, high], FREE));
                }
                for axis in axes {
                    for value in [low, high] {
                        assert!(axis.share(value).is_finite(), "{axis:?}");
                    }
                    let ticks = axis.ticks(5);
                    assert!((1..=101).contains(&ticks.len()), "{axis:?} {ticks:?}");
                    assert_eq!(axis.labels(&ticks).len(), ticks.len());
                }
            }
        }
    }
}
