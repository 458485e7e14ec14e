//! Counting values into TensorFlow's buckets.

use std::sync::LazyLock;

use crate::protobuf::Message;

/// TensorFlow's limits: powers of 1.1 from 1e-12 to 1e20, the same below zero, and zero itself.
/// Buckets get wider with distance from zero, so that gradients of any size keep their shape.
struct Limits {
    /// The positive limits, ascending.
    limits: Vec<f64>,
    /// For each value of a magnitude's upper bits, how many limits are below the smallest
    /// magnitude with these bits. Four bits of mantissa make steps of at most 1/16, less than the
    /// distance of two limits, so the count for any magnitude is this or one more.
    below: Vec<u16>,
}

/// Lower bits of an `f32` that [`Limits::below`] does not look at.
const DROPPED: u32 = 19;

static LIMITS: LazyLock<Limits> = LazyLock::new(|| {
    let powers = std::iter::successors(Some(1e-12), |limit| Some(limit * 1.1));
    let limits: Vec<f64> = powers.take_while(|limit| *limit < 1e20).collect();
    let below = (0..=f32::INFINITY.to_bits() >> DROPPED)
        .map(|bits| {
            let magnitude = f64::from(f32::from_bits(bits << DROPPED));
            limits.partition_point(|limit| *limit < magnitude) as u16
        })
        .collect();
    Limits { limits, below }
});

/// How many values fell where.
pub struct Counts {
    /// Values from zero, by the number of limits below them.
    positive: Vec<u64>,
    /// Values below zero, by the number of limits below their magnitude.
    negative: Vec<u64>,
    min: f64,
    max: f64,
    sum: f64,
    sum_squares: f64,
    /// Values that were left out because they are NaN or infinite.
    pub skipped: u64,
}

impl Counts {
    pub fn of(values: impl IntoIterator<Item = f32>) -> Self {
        let Limits { limits, below } = &*LIMITS;
        let mut counts = Self {
            positive: vec![0; limits.len() + 1],
            negative: vec![0; limits.len() + 1],
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            sum: 0.0,
            sum_squares: 0.0,
            skipped: 0,
        };
        for value in values {
            if !value.is_finite() {
                counts.skipped += 1;
                continue;
            }
            let wide = f64::from(value);
            // No limit but zero is an `f32`, so a value is never at the end of a bucket.
            let least = usize::from(below[(value.abs().to_bits() >> DROPPED) as usize]);
            let more = limits.get(least).is_some_and(|limit| *limit < wide.abs());
            let side = if value < 0.0 {
                &mut counts.negative
            } else {
                &mut counts.positive
            };
            side[least + usize::from(more)] += 1;
            counts.min = counts.min.min(wide);
            counts.max = counts.max.max(wide);
            counts.sum += wide;
            counts.sum_squares += wide * wide;
        }
        counts
    }

    /// `HistogramProto`: the buckets from the first to the last that is not empty; empty ones side by side become
    /// one. None if there was no finite value.
    ///
    /// Only upper ends are stored: TensorBoard takes `min` for the lower end of the first bucket,
    /// and `max` for the upper end of the last. An empty bucket in front, as PyTorch writes it,
    /// would end before it begins.
    pub fn into_message(self) -> Option<Message> {
        let limits = &LIMITS.limits;
        let below_zero = limits.iter().rev().map(|limit| -limit).chain([0.0]);
        let from_zero = limits.iter().copied().chain([f64::MAX]);
        let counts = self.negative.iter().rev().chain(&self.positive);
        let buckets: Vec<(f64, u64)> = below_zero.chain(from_zero).zip(counts.copied()).collect();
        let first = buckets.iter().position(|(_, count)| *count > 0)?;
        let last = buckets.iter().rposition(|(_, count)| *count > 0)?;
        let number: u64 = buckets.iter().map(|(_, count)| *count).sum();
        let shown =
            (first..=last).filter(|index| buckets[*index].1 > 0 || buckets[index + 1].1 > 0);
        let (ends, counts): (Vec<f64>, Vec<f64>) = shown
            .map(|index| (buckets[index].0, buckets[index].1 as f64))
            .unzip();
        let numbers = [
            self.min,
            self.max,
            number as f64,
            self.sum,
            self.sum_squares,
        ];
        let numbers = (1..).zip(numbers);
        let message = numbers.fold(Message::default(), |message, (field, value)| {
            message.double(field, value)
        });
        Some(message.doubles(6, &ends).doubles(7, &counts))
    }
}
