//! From an image to the tensor that a model was trained on.

mod normalize;
pub(crate) mod resample;
mod transform;

pub use normalize::Normalization;
pub use resample::Interpolation;
pub(crate) use transform::check_size;
pub use transform::{Image, Preprocess};
