//! Height and width of a model's images.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

use crate::error::{Error, Result};

/// Height and width of the images that a model gets, in pixels.
///
/// As text it is `224`, which is a square, or `96x64`, height first as in timm. Where one is asked
/// for, a number and an array `[height, width]` will do:
///
/// ```
/// use burn_zoo::ImageSize;
///
/// assert_eq!(ImageSize::from(224), ImageSize::from([224, 224]));
/// assert_eq!("96x64".parse::<ImageSize>()?, ImageSize::from([96, 64]));
/// # Ok::<(), burn_zoo::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageSize {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl ImageSize {
    /// Larger images than these are surely a mistake, and would ask for all of a machine's memory.
    const MOST: usize = 16_384;

    /// Height and width.
    pub fn sides(self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// What timm's constructors call `img_size`: a side, or both.
    pub(crate) fn timm_arg(self) -> serde_json::Value {
        match self.sides() {
            [height, width] if height == width => height.into(),
            sides => sides.to_vec().into(),
        }
    }

    /// # Errors
    /// [`Error::InvalidArgument`] for a side out of range.
    pub(crate) fn check(self) -> Result<()> {
        if self
            .sides()
            .iter()
            .all(|side| (1..=Self::MOST).contains(side))
        {
            return Ok(());
        }
        let expected = format!("1 to {} pixels", Self::MOST);
        Err(Error::argument("image_size", expected, self))
    }
}

impl From<usize> for ImageSize {
    fn from(side: usize) -> Self {
        Self::from([side, side])
    }
}

impl From<[usize; 2]> for ImageSize {
    fn from([height, width]: [usize; 2]) -> Self {
        Self { height, width }
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.height == self.width {
            write!(f, "{}", self.height)
        } else {
            write!(f, "{}x{}", self.height, self.width)
        }
    }
}

impl FromStr for ImageSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |side: &str| {
            let digits = !side.is_empty() && side.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| side.parse::<usize>().ok()).flatten()
        };
        let sides = match text.split_once('x') {
            Some((height, width)) => number(height).zip(number(width)),
            None => number(text).map(|side| (side, side)),
        };
        let (height, width) = sides.ok_or_else(|| {
            let expected = "pixels: a side such as 224, or HEIGHTxWIDTH such as 96x64";
            Error::argument("image_size", expected, format!("`{text}`"))
        })?;
        let size = Self { height, width };
        size.check()?;
        Ok(size)
    }
}

impl Serialize for ImageSize {
    /// A number for a square, text otherwise.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.height == self.width {
            serializer.serialize_u64(self.height as u64)
        } else {
            serializer.collect_str(self)
        }
    }
}

impl<'de> Deserialize<'de> for ImageSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Size;

        impl Visitor<'_> for Size {
            type Value = ImageSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a side in pixels, or \"HEIGHTxWIDTH\"")
            }

            fn visit_u64<E: de::Error>(self, side: u64) -> Result<ImageSize, E> {
                let side = usize::try_from(side).map_err(E::custom)?;
                Ok(ImageSize::from(side))
            }

            fn visit_i64<E: de::Error>(self, side: i64) -> Result<ImageSize, E> {
                let side = usize::try_from(side).map_err(E::custom)?;
                Ok(ImageSize::from(side))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ImageSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Size)
    }
}
