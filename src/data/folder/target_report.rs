//! What images are labelled with, in numbers.

use super::part::Part;
use crate::data::message::first_few;

/// What the images of a part are labelled with; nothing where each has one class, whose counts say it
/// all.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TargetReport {
    /// Several labels for each image.
    Labels {
        /// Which images; all of them if there are no parts.
        part: Option<Part>,
        /// How many there are.
        images: usize,
        /// How many have no label.
        without: usize,
        /// The labels, and how many images have each.
        counts: Vec<(String, usize)>,
    },
    /// Numbers.
    Numbers {
        /// Which images; all of them if there are no parts.
        part: Option<Part>,
        /// How many there are.
        images: usize,
        /// The numbers by their names.
        ranges: Vec<NumberRange>,
    },
}

/// The values of a number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NumberRange {
    /// What it is called.
    pub name: String,
    /// The smallest.
    pub min: f32,
    /// The largest.
    pub max: f32,
    /// The mean over the images.
    pub mean: f64,
}

impl TargetReport {
    /// One line for a person.
    pub(super) fn notice(&self) -> String {
        let images = |part: &Option<Part>, images: &usize| match part {
            Some(part) => format!("{images} {part} images"),
            None => format!("{images} images"),
        };
        match self {
            TargetReport::Labels {
                part,
                images: number,
                without,
                counts,
            } => {
                let labels: usize = counts.iter().map(|(_, count)| count).sum();
                let mut counts: Vec<&(String, usize)> = counts.iter().collect();
                counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                let counts = counts
                    .iter()
                    .map(|(name, count)| format!("`{name}` {count}"));
                format!(
                    "{}: {:.2} labels each on average, without label: {without}; images of each \
                     label: {}",
                    images(part, number),
                    labels as f64 / (*number).max(1) as f64,
                    first_few(&Vec::from_iter(counts))
                )
            }
            TargetReport::Numbers {
                part,
                images: number,
                ranges,
            } => {
                let ranges = ranges.iter().map(|range| {
                    let NumberRange {
                        name,
                        min,
                        max,
                        mean,
                    } = range;
                    format!("`{name}` {min} to {max} (mean {})", rounded(*mean))
                });
                let ranges = first_few(&Vec::from_iter(ranges));
                format!("{}: {ranges}", images(part, number))
            }
        }
    }

    /// The numbers that are the same for all images.
    pub(super) fn constant_numbers(&self) -> impl Iterator<Item = &str> {
        let ranges = match self {
            TargetReport::Numbers { ranges, .. } => ranges.as_slice(),
            TargetReport::Labels { .. } => &[],
        };
        let constant = ranges.iter().filter(|range| range.min == range.max);
        constant.map(|range| range.name.as_str())
    }
}

/// Four digits that matter.
fn rounded(number: f64) -> f64 {
    format!("{number:.3e}").parse().unwrap_or(number)
}
