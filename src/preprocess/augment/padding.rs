//! What lies beyond the edges of an image.

use serde::{Deserialize, Serialize};

/// What lies beyond the edges of an image, by torchvision's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PaddingMode {
    /// One value for all pixels.
    #[default]
    Constant,
    /// The pixel at the edge.
    Edge,
    /// The image mirrored about the pixel at the edge, which is not repeated.
    Reflect,
    /// The image mirrored about its edge, so that the pixel there is repeated.
    Symmetric,
}

impl PaddingMode {
    /// Which of `length` pixels is seen at a position that may be beyond them; `None` if none is.
    pub(super) fn position(self, at: i64, length: usize) -> Option<usize> {
        let length = length as i64;
        if (0..length).contains(&at) {
            return Some(at as usize);
        }
        let inside = match self {
            PaddingMode::Constant => return None,
            PaddingMode::Edge => at.clamp(0, length - 1),
            PaddingMode::Reflect if length == 1 => 0,
            PaddingMode::Reflect => {
                let period = 2 * (length - 1);
                let at = at.rem_euclid(period);
                at.min(period - at)
            }
            PaddingMode::Symmetric => {
                let period = 2 * length;
                let at = at.rem_euclid(period);
                at.min(period - 1 - at)
            }
        };
        Some(inside as usize)
    }
}
