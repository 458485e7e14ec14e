//! The operations against burn's own, forward and backward.

#![cfg(feature = "flex")]

mod activations;
mod common;
mod epilogues;
mod images;
mod optimizers;
mod tokens;
