//! One image of a listing.

use std::path::Path;

/// One image.
#[derive(Clone)]
pub(super) struct Sample {
    /// Relative to the base, or absolute.
    pub(super) path: Box<Path>,
    /// What a [`TargetTable`](super::target_table::TargetTable) has for it.
    pub(super) label: u32,
    /// The line of a CSV file that names it; 0 if none does.
    pub(super) line: u32,
}
