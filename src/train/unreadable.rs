//! Images that cannot be read, where the run goes on without them.

use std::collections::HashSet;

use super::epoch_record::SkippedImage;
use super::monitor::Monitor;
use super::state::RunState;
use crate::data::{BrokenImage, Loader, Shard};
use crate::error::Error;

/// The parts of the data, as [`SkippedImage::part`] has them.
const TRAIN: &str = "train";
pub(super) const VALID: &str = "valid";

/// Whether an error can be that of an image that cannot be read.
pub(super) fn is_unreadable_image(error: &Error) -> bool {
    matches!(
        error,
        Error::Image { .. } | Error::Io { .. } | Error::Data { .. }
    )
}

/// Which images the monitor was told of, by their indices in the whole set. [`RunState::skipped`] has
/// them in a list, which would be searched for each batch.
pub(super) struct ReportedImages {
    train: HashSet<usize>,
    valid: HashSet<usize>,
    /// Those that the other ranks were not told of.
    new: Vec<SkippedImage>,
}

/// The index in the whole set of an image of a rank's part of it: see [`Subset::every`].
fn in_whole(index: usize, part: Option<Shard>) -> usize {
    part.map_or(index, |part| index * part.size + part.rank)
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
            new: Vec::new(),
        }
    }

    /// Records the training images of a batch that could not be read, and reports the new ones. `part`
    /// says of which part of the set the loader's images are.
    pub fn in_batch(
        &mut self,
        loader: &Loader,
        part: Option<Shard>,
        mut indices: Vec<usize>,
        state: &mut RunState,
        monitor: &mut dyn Monitor,
    ) {
        indices.sort_unstable();
        let whole = indices.iter().map(|index| in_whole(*index, part));
        state.unreadable_in_epoch.extend(whole);
        let images = indices.into_iter().filter_map(|i| loader.broken_at(i));
        self.report(images, TRAIN, part, state, monitor);
    }

    /// The same for a validation that evaluated `images` of the loader's.
    pub fn in_validation(
        &mut self,
        loader: &Loader,
        part: Option<Shard>,
        images: usize,
        state: &mut RunState,
        monitor: &mut dyn Monitor,
    ) {
        if images < loader.num_images() {
            let broken = loader.broken_beside(&HashSet::new());
            self.report(broken, VALID, part, state, monitor);
        }
    }

    /// What is new since this was last asked.
    pub fn take_new(&mut self) -> Vec<SkippedImage> {
        std::mem::take(&mut self.new)
    }

    /// Reports what other ranks could not read.
    pub fn of_others(
        &mut self,
        skipped: Vec<SkippedImage>,
        state: &mut RunState,
        monitor: &mut dyn Monitor,
    ) {
        for SkippedImage { part, image } in skipped {
            let name = if part == VALID { VALID } else { TRAIN };
            self.report([image], name, None, state, monitor);
        }
        self.new.clear();
    }

    fn report(
        &mut self,
        images: impl IntoIterator<Item = BrokenImage>,
        name: &str,
        part: Option<Shard>,
        state: &mut RunState,
        monitor: &mut dyn Monitor,
    ) {
        let (known, what) = match name {
            VALID => (&mut self.valid, "validation"),
            _ => (&mut self.train, "training"),
        };
        for mut image in images {
            image.index = in_whole(image.index, part);
            if !known.insert(image.index) {
                continue;
            }
            let (path, reason) = (&image.name, &image.reason);
            monitor.notice(&format!("left out of {what}: {path}: {reason}"));
            let part = name.to_owned();
            let skipped = SkippedImage { part, image };
            self.new.push(skipped.clone());
            state.skipped.push(skipped);
        }
    }
}
