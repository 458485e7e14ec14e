//! Images that cannot be read, where the run goes on without them.

use std::collections::HashSet;

use super::epoch_record::SkippedImage;
use super::monitor::Monitor;
use super::state::RunState;
use crate::data::{BrokenImage, Loader};
use crate::error::Error;

/// The parts of the data, as [`SkippedImage::part`] has them.
const TRAIN: &str = "train";
const VALID: &str = "valid";

/// Whether an error can be that of an image that cannot be read.
pub(super) fn is_unreadable_image(error: &Error) -> bool {
    matches!(
        error,
        Error::Image { .. } | Error::Io { .. } | Error::Data { .. }
    )
}

/// The indices of those images that the monitor was told of. [`RunState::skipped`] has them in a
/// list, which would be searched for each batch.
pub(super) struct ReportedImages {
    train: HashSet<usize>,
    valid: HashSet<usize>,
}

impl ReportedImages {
    pub fn of(state: &RunState) -> Self {
        let of = |part: &str| {
            let skipped = state.skipped.iter().filter(|skipped| skipped.part == part);
            skipped.map(|skipped| skipped.image.index).collect()
        };
        Self {
            train: of(TRAIN),
            valid: of(VALID),
        }
    }

    /// Records the training images of a batch that could not be read, and reports the new ones.
    pub fn in_batch(
        &mut self,
        loader: &Loader,
        mut indices: Vec<usize>,
        state: &mut RunState,
        monitor: &mut dyn Monitor,
    ) {
        state.unreadable_in_epoch.extend(&indices);
        indices.sort_unstable();
        indices.retain(|index| self.train.insert(*index));
        let images = indices.into_iter().filter_map(|i| loader.broken_at(i));
        report(images, TRAIN, "training", state, monitor);
    }

    /// The same for a validation that evaluated `images` of the loader's.
    pub fn in_validation(
        &mut self,
        loader: &Loader,
        images: usize,
        state: &mut RunState,
        monitor: &mut dyn Monitor,
    ) {
        if images >= loader.num_images() {
            return;
        }
        let new = loader.broken_beside(&self.valid);
        if new.is_empty() {
            return;
        }
        self.valid.extend(new.iter().map(|image| image.index));
        report(new, VALID, "validation", state, monitor);
        let all = loader.num_images();
        monitor.notice(&format!("validation looks at {images} of {all} images"));
    }
}

fn report(
    images: impl IntoIterator<Item = BrokenImage>,
    part: &str,
    what: &str,
    state: &mut RunState,
    monitor: &mut dyn Monitor,
) {
    for image in images {
        let (name, reason) = (&image.name, &image.reason);
        monitor.notice(&format!("left out of {what}: {name}: {reason}"));
        let part = part.to_owned();
        state.skipped.push(SkippedImage { part, image });
    }
}
