//! Random mirror images.

use serde::{Deserialize, Serialize};

use super::checks::check_probability;
use super::op::Op;
use super::random::happens;
use crate::error::Result;
use crate::init::Rng;

macro_rules! flip {
    ($(#[$doc:meta])* $kind:ident, $setting:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct $kind {
            /// How likely it is, 0 to 1; default 0.5.
            pub p: f64,
        }

        impl Default for $kind {
            fn default() -> Self {
                Self { p: 0.5 }
            }
        }

        impl $kind {
            /// Draws whether the image is flipped.
            pub fn draw(&self, rng: &mut Rng) -> Option<Op> {
                happens(rng, self.p).then_some(Op::$kind)
            }

            pub(super) fn check(&self) -> Result<()> {
                check_probability($setting, self.p)
            }
        }
    };
}

flip!(
    /// Left and right exchanged: torchvision's `RandomHorizontalFlip`. Not for images whose sides
    /// mean something, such as digits.
    HorizontalFlip,
    "horizontal-flip p"
);
flip!(
    /// Top and bottom exchanged: torchvision's `RandomVerticalFlip`. For images without an up and a
    /// down, such as those from above or through a microscope.
    VerticalFlip,
    "vertical-flip p"
);
