//! Training images that grow over a run.

use super::recipe::Recipe;
use crate::error::{Error, Result};
use crate::model::Classifier;
use crate::preprocess::ImageSize;

/// The size of training images in an epoch, counted from 0, of so many. Each size has an equal share of the
/// epochs.
pub(super) fn size_at(sizes: &[ImageSize], epoch: usize, epochs: usize) -> Option<ImageSize> {
    let last = sizes.len().checked_sub(1)?;
    Some(sizes[(epoch * sizes.len() / epochs.max(1)).min(last)])
}

impl Recipe {
    /// Whether training images change their size.
    pub(super) fn grows(&self) -> bool {
        !self.progressive_sizes.is_empty()
    }

    pub(super) fn check_progressive_sizes(&self) -> Result<()> {
        let sizes = &self.progressive_sizes;
        for size in sizes {
            size.check()?;
        }
        if sizes.len() > self.epochs {
            let expected = format!("at most {}, one for each epoch", self.epochs);
            let found = format!("{} sizes", sizes.len());
            return Err(Error::argument("progressive_sizes", expected, found));
        }
        Ok(())
    }

    /// Refuses sizes that a model does not take, and a last one other than that of the images.
    pub(super) fn check_sizes_of(&self, model: &Classifier, images: [usize; 2]) -> Result<()> {
        let own = ImageSize::from(images);
        if let Some(last) = self.progressive_sizes.last()
            && *last != own
        {
            let expected = format!("{own}, the size of the model's images, as the last one");
            return Err(Error::argument("progressive_sizes", expected, last));
        }
        for size in &self.progressive_sizes {
            if let Err(Error::InputShape { expected, .. }) = model.check_size(*size) {
                let expected =
                    format!("sizes that {} takes: {expected}", model.info().architecture);
                return Err(Error::argument("progressive_sizes", expected, size));
            }
        }
        Ok(())
    }

    /// The smallest images that are trained on, where they change their size.
    pub(super) fn smallest_size(&self) -> Option<[usize; 2]> {
        let sides = self.progressive_sizes.iter().map(|size| size.sides());
        sides.min_by_key(|[height, width]| height * width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_has_an_equal_share_of_the_epochs() {
        let sizes = [20, 24, 28].map(ImageSize::from);
        let of = |epochs| -> Vec<usize> {
            (0..epochs)
                .map(|epoch| size_at(&sizes, epoch, epochs).unwrap().height)
                .collect()
        };
        assert_eq!(of(9), [20, 20, 20, 24, 24, 24, 28, 28, 28]);
        assert_eq!(of(4), [20, 20, 24, 28]);
        assert_eq!(of(3), [20, 24, 28]);
        assert_eq!(size_at(&sizes, 12, 9), Some(28.into()));
        assert_eq!(size_at(&[], 0, 9), None);
    }
}
