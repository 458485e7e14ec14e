//! Images with labels, and batches of them.

#[cfg(feature = "download")]
mod download;
mod fashion_mnist;
#[cfg(feature = "image")]
mod folder;
mod fractals;
mod idx;
mod image_set;
mod loader;
#[cfg(feature = "fashion-mnist-mini")]
mod mini;
mod mirror;
mod places;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::preprocess::Image;

pub use fashion_mnist::{FashionMnist, Source};
#[cfg(feature = "image")]
pub use folder::{
    Broken, Check, CheckProgress, ClassCount, Division, FolderOptions, FolderReport, FolderWarning,
    ImageFolder, Part, Skipped, Splits,
};
pub use fractals::{Colour, FractalOptions, Fractals, Jitter};
pub use image_set::ImageSet;
pub use loader::{Batch, Batches, Loader, LoaderConfig, Sampler};
pub(crate) use loader::{check_loading, labels};
pub use mirror::{Mirror, Progress, RemoteFile};
#[cfg(any(feature = "hub", feature = "image"))]
pub(crate) use places::cache_root;

/// A set of labelled images that can be read in any order from any thread.
pub trait ImageData: Send + Sync {
    /// How many images there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An image and its label, which is an index into [`classes`](Self::classes).
    ///
    /// # Errors
    /// Whatever reading it meets. `index` is below [`len`](Self::len).
    fn get(&self, index: usize) -> Result<(Image, usize)>;

    /// The label of an image; a set that knows it without reading the image says it here.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn label(&self, index: usize) -> Result<usize> {
        self.get(index).map(|(_, label)| label)
    }

    /// The classes' names.
    fn classes(&self) -> &[String];

    /// A number that is another one for other images, by which something that was computed from
    /// them is known to be theirs. By default every image is read for it; a set that can tell
    /// faster says it here.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn fingerprint(&self) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        for index in 0..self.len() {
            let (image, label) = self.get(index)?;
            let sides = [image.height(), image.width(), image.channels(), label];
            for side in sides {
                hash.update((side as u64).to_le_bytes());
            }
            hash.update(image.pixels());
        }
        Ok(hash.finalize().into())
    }
}

impl ImageData for ImageSet {
    fn len(&self) -> usize {
        ImageSet::len(self)
    }

    fn get(&self, index: usize) -> Result<(Image, usize)> {
        let (Some(pixels), Some(label)) = (self.pixels(index), self.label(index)) else {
            let expected = format!("below {}", ImageSet::len(self));
            return Err(Error::argument("index", expected, index));
        };
        let (height, width) = self.size();
        let image = Image::new(height, width, self.channels(), pixels.to_vec())?;
        Ok((image, label))
    }

    fn label(&self, index: usize) -> Result<usize> {
        ImageSet::label(self, index).ok_or_else(|| {
            let expected = format!("below {}", ImageSet::len(self));
            Error::argument("index", expected, index)
        })
    }

    fn classes(&self) -> &[String] {
        ImageSet::classes(self)
    }
}
