//! Training images that grow over a run: [`ProgressiveSizes`].

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use crate::error::{Error, Result};
use crate::preprocess::ImageSize;

/// Sizes of the training images over a run, none of them smaller than the one before.
///
/// Each size has an equal share of the epochs; epochs that are left over go to the first ones. As text it is
/// `20,24,28`, or `none`:
///
/// ```
/// use burn_zoo::train::ProgressiveSizes;
///
/// let sizes: ProgressiveSizes = "20,24,28".parse()?;
/// assert_eq!(sizes, ProgressiveSizes::from([20, 24, 28]));
/// # Ok::<(), burn_zoo::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProgressiveSizes(Vec<ImageSize>);

impl ProgressiveSizes {
    /// One size for all epochs.
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }

    /// The last one, which is the size of the model's images.
    pub fn last(&self) -> Option<ImageSize> {
        self.0.last().copied()
    }

    /// All of them.
    pub fn sizes(&self) -> &[ImageSize] {
        &self.0
    }

    /// The size in an epoch, counted from 0, of so many.
    pub(super) fn at(&self, epoch: usize, epochs: usize) -> Option<ImageSize> {
        let last = self.0.len().checked_sub(1)?;
        Some(self.0[(epoch * self.0.len() / epochs.max(1)).min(last)])
    }

    pub(super) fn wrong(expected: impl Into<String>, found: impl fmt::Display) -> Error {
        Error::argument("progressive_sizes", expected, found)
    }
}

impl<S: Into<ImageSize>, const N: usize> From<[S; N]> for ProgressiveSizes {
    fn from(sizes: [S; N]) -> Self {
        Self(sizes.map(Into::into).to_vec())
    }
}

impl fmt::Display for ProgressiveSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("none");
        }
        let sizes: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&sizes.join(","))
    }
}

impl FromStr for ProgressiveSizes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "none" {
            return Ok(Self::default());
        }
        let sizes = text.split(',').map(|size| size.trim().parse().ok());
        sizes.collect::<Option<_>>().map(Self).ok_or_else(|| {
            let expected = "none, or sizes in pixels such as 20,24,28 or 96x64,192x128";
            Self::wrong(expected, format!("`{text}`"))
        })
    }
}

impl Serialize for ProgressiveSizes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ProgressiveSizes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sizes;

        impl<'de> Visitor<'de> for Sizes {
            type Value = ProgressiveSizes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of sizes in pixels, or a text such as \"20,24,28\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ProgressiveSizes, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut from: A,
            ) -> Result<ProgressiveSizes, A::Error> {
                let mut sizes = Vec::new();
                while let Some(size) = from.next_element()? {
                    sizes.push(size);
                }
                Ok(ProgressiveSizes(sizes))
            }
        }
        deserializer.deserialize_any(Sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_has_an_equal_share_of_the_epochs() {
        let sizes = ProgressiveSizes::from([20, 24, 28]);
        let of = |epochs| -> Vec<usize> {
            (0..epochs)
                .map(|epoch| sizes.at(epoch, epochs).unwrap().height)
                .collect()
        };
        assert_eq!(of(9), [20, 20, 20, 24, 24, 24, 28, 28, 28]);
        assert_eq!(of(4), [20, 20, 24, 28]);
        assert_eq!(of(3), [20, 24, 28]);
        assert_eq!(sizes.at(12, 9), Some(28.into()));
        assert_eq!(ProgressiveSizes::default().at(0, 9), None);
    }
}
