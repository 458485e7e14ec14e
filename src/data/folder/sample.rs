//! One image of a listing.

use std::path::Path;

/// One image.
#[derive(Clone)]
pub(super) struct Sample {
    /// Relative to the base, or absolute.
    pub(super) path: Box<Path>,
    pub(super) label: u32,
    /// The line of a CSV file that names it; 0 if none does.
    pub(super) line: u32,
}

/// How many images each class has.
pub(super) fn count_by_class(samples: &[Sample], num_classes: usize) -> Vec<usize> {
    let mut counts = vec![0; num_classes];
    for sample in samples {
        counts[sample.label as usize] += 1;
    }
    counts
}
