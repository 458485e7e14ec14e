//! What a set of labelled images is.

use sha2::{Digest as _, Sha256};

use super::target::{Target, Task};
use crate::error::{Error, Result};
use crate::preprocess::Image;

/// A set of labelled images that can be read in any order from any thread.
pub trait ImageData: Send + Sync {
    /// How many images there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An image and what is to be told of it: classes are indices into [`classes`](Self::classes),
    /// numbers as many as it names.
    ///
    /// # Errors
    /// Whatever reading it meets. `index` is below [`len`](Self::len).
    fn get(&self, index: usize) -> Result<(Image, Target)>;

    /// What is to be told of an image; a set that knows it without reading the image says it here.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn target(&self, index: usize) -> Result<Target> {
        self.get(index).map(|(_, target)| target)
    }

    /// The classes' names, or those of the numbers.
    fn classes(&self) -> &[String];

    /// Of which kind the targets are.
    fn task(&self) -> Task {
        Task::SingleLabel
    }

    /// What a person calls an image: its file, where it has one.
    fn name(&self, index: usize) -> String {
        format!("image {index} (counted from 0)")
    }

    /// A number that is another one for other images, by which something that was computed from
    /// them is known to be theirs. By default every image is read for it; a set that can tell
    /// faster says it here.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn fingerprint(&self) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        for index in 0..self.len() {
            let (image, target) = self.get(index)?;
            let sides = [image.height(), image.width(), image.channels()];
            for side in sides {
                hash.update((side as u64).to_le_bytes());
            }
            hash.update(target.bytes());
            hash.update(image.pixels());
        }
        Ok(hash.finalize().into())
    }
}

/// The error for the image behind the last one.
pub(super) fn no_image(index: usize, images: usize) -> Error {
    Error::argument("index", format!("below {images}"), index)
}
