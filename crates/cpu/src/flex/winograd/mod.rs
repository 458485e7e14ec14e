//! Winograd's minimal filtering for 3x3 kernels of stride 1: Lavin & Gray, "Fast Algorithms for
//! Convolutional Neural Networks", CVPR 2016, <https://arxiv.org/abs/1509.09308>.
//!
//! A tile of 2x2 outputs takes 16 products in place of 36, one of 4x4 takes 36 in place of 144; the
//! transforms around them are additions. Each place of a transformed tile is one matrix product over
//! all tiles.

mod filter;
mod forward;
mod gradient;
mod tiles;
mod transformed;

pub use forward::forward;
pub use gradient::kernel_gradient;
pub use tiles::TILES_AT_ONCE;
pub use transformed::{Purpose, Transformed};
