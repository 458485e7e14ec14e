//! Fast operations for burn's Flex backend: convolution, normalisation, pooling, attention and
//! optimiser steps.

#[cfg(feature = "flex")]
mod flex;

#[cfg(feature = "flex")]
pub use flex::*;
