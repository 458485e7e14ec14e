//! Images with labels, and batches of them.

#[cfg(feature = "download")]
mod download;
mod fashion_mnist;
#[cfg(feature = "image")]
mod folder;
mod idx;
mod image_set;
mod loader;
#[cfg(feature = "fashion-mnist-mini")]
mod mini;
mod mirror;
mod places;
#[cfg(feature = "plots")]
mod without;

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::preprocess::Image;

pub use fashion_mnist::{FashionMnist, Source};
#[cfg(feature = "image")]
pub use folder::{
    Broken, Check, CheckProgress, ClassCount, CsvOptions, CsvReport, CsvSplit, CsvWarning,
    Division, FolderOptions, FolderReport, FolderWarning, ImageFiles, ImageFolder, Part, Skipped,
    Splits, Whole,
};
pub use image_set::ImageSet;
pub use loader::{Batch, Batches, BrokenImage, Loader, LoaderConfig, Sampler};
pub(crate) use loader::{Part as LoaderPart, check_loading, labels};
pub use mirror::{Mirror, Progress, RemoteFile};
#[cfg(any(feature = "hub", feature = "image"))]
pub(crate) use places::cache_root;
#[cfg(feature = "plots")]
pub(crate) use without::Without;

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

/// Names in a message, at most.
const NAMED: usize = 5;

/// Where two lists of classes differ, in words: what was expected and what was found.
#[cfg_attr(not(feature = "plots"), allow(dead_code))] // the report compares classes
pub(crate) fn class_difference(expected: &[String], found: &[String]) -> Option<(String, String)> {
    if expected == found {
        return None;
    }
    let missing = only_in(expected, found);
    let added = only_in(found, expected);
    if missing.is_empty() && added.is_empty() && expected.len() == found.len() {
        // The same names in another order.
        let mut pairs = expected.iter().zip(found).enumerate();
        let (place, (a, b)) = pairs.find(|(_, (a, b))| a != b)?;
        return Some((format!("class {place} to be `{a}`"), format!("`{b}`")));
    }
    let describe = |classes: &[String], own: &[&String]| {
        let count = match classes.len() {
            1 => "1 class".to_owned(),
            number => format!("{number} classes"),
        };
        let named: Vec<String> = own.iter().take(NAMED).map(|n| format!("`{n}`")).collect();
        match (own.len(), own.len().saturating_sub(NAMED)) {
            (0, _) => count,
            (_, 0) => format!("{count} with {}", named.join(", ")),
            (_, more) => format!("{count} with {} and {more} more", named.join(", ")),
        }
    };
    Some((describe(expected, &missing), describe(found, &added)))
}

fn only_in<'a>(some: &'a [String], others: &[String]) -> Vec<&'a String> {
    let others: HashSet<&String> = others.iter().collect();
    some.iter().filter(|name| !others.contains(name)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_differ_are_named() {
        let list = |names: &str| -> Vec<String> { names.chars().map(String::from).collect() };
        let difference = |a: &str, b: &str| class_difference(&list(a), &list(b));
        let words = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(difference("abc", "abc"), None);
        assert_eq!(
            difference("abc", "abd"),
            words("3 classes with `c`", "3 classes with `d`")
        );
        assert_eq!(
            difference("abc", "a"),
            words("3 classes with `b`, `c`", "1 class")
        );
        assert_eq!(difference("abc", "bac"), words("class 0 to be `a`", "`b`"));
        assert_eq!(difference("aab", "ab"), words("3 classes", "2 classes"));
        assert_eq!(
            difference("", "abcdefg"),
            words(
                "0 classes",
                "7 classes with `a`, `b`, `c`, `d`, `e` and 2 more"
            )
        );
    }
}
