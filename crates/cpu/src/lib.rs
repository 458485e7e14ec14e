//! Fast operations for [burn](https://burn.dev)'s Flex backend: convolution, normalisation, pooling,
//! affine layers, attention, and steps of optimisers, forward and backward, in 32 bits.
//!
//! An operation borrows its tensors in a struct ([`Conv2d`], [`Linear`], ..), takes an [`Epilogue`]
//! (the addition of a residual, then an activation), and returns `Option`: `None` says that burn has
//! to compute, which a program does with its own operations. That is so on another backend than
//! Flex, for other numbers than 32-bit ones, for shapes that do not fit together or into any memory,
//! and for empty tensors. Gradients flow through all of them.
//!
//! ```
//! use burn::tensor::module::conv2d as burn_conv2d;
//! use burn::tensor::ops::ConvOptions;
//! use burn::tensor::{Device, Tensor};
//! use burn_zoo_cpu::{Act, Conv2d, Epilogue, conv2d};
//!
//! # #[cfg(feature = "flex")]
//! # let device = Device::flex();
//! # #[cfg(not(feature = "flex"))]
//! # let device = Device::default();
//! let x = Tensor::<4>::ones([2, 3, 8, 8], &device);
//! let weight = Tensor::<4>::ones([16, 3, 3, 3], &device);
//! let residual = Tensor::<4>::ones([2, 16, 8, 8], &device);
//!
//! // A convolution, an addition and a ReLU in one pass over the output.
//! let conv = Conv2d { padding: 1, ..Conv2d::new(&weight) };
//! let epilogue = Epilogue { residual: Some(&residual), act: Act::Relu };
//! let y = conv2d(&x, conv, epilogue).unwrap_or_else(|| {
//!     // On every other backend.
//!     let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
//!     epilogue.apply(burn_conv2d(x, weight, None, options))
//! });
//! assert_eq!(y.dims(), [2, 16, 8, 8]);
//! assert_eq!(y.max().into_scalar::<f32>(), 28.0);
//! ```
//!
//! Images lie in memory as `[height][width][batch][channels]`, whatever they lay as before; to a
//! program they are ordinary tensors `[batch, channels, height, width]` with strides of their own. A
//! chain of these operations keeps the layout. Work is divided by shapes alone, so that results do
//! not depend on the number of threads; rayon's global pool computes.
//!
//! # Features
//!
//! - `flex` (default): the operations. Without it all of them return `None`, so that a program that
//!   offers several backends needs no `cfg` of its own.

#![deny(missing_docs)]

mod epilogue;
#[cfg(feature = "flex")]
mod flex;
mod layers;
mod weight_cache;
#[cfg(not(feature = "flex"))]
mod without_flex;

pub use epilogue::{Act, Epilogue};
pub use layers::{
    Adam, Attention, BatchNorm, BatchNormTrain, BatchNormTrainOutput, Conv2d, LayerNorm, Linear,
    MaxPool2d, Muon, Sgd, StatisticsSync,
};
pub use weight_cache::WeightCache;

#[cfg(feature = "flex")]
pub use flex::operations::*;
#[cfg(not(feature = "flex"))]
pub use without_flex::*;

#[cfg(all(doctest, feature = "flex"))]
#[doc = include_str!("../README.md")]
struct Readme;
