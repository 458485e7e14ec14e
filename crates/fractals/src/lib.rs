//! Images that are drawn from formulas, to pretrain on without a photograph: the formula is the
//! label.
//!
//! Half of the categories, by default, are fractals: attractors of iterated function systems
//! (Kataoka et al., "Pre-training without Natural Images", ACCV 2020; systems are sampled as in
//! Anderson and Farrell, "Improving Fractal Pre-training", WACV 2022). The others are visual atoms:
//! contours of sine waves (Takashima et al., "Visual Atoms", CVPR 2023), here filled with a texture
//! as well as drawn as lines. Few instances a category suffice (Nakamura et al., "Pre-training
//! Vision Transformers with Very Limited Synthesized Images", ICCV 2023).
//!
//! Shape, texture and topology tell the category; colour, size, place and small turns do not.

mod atom;
mod chaos;
mod colour;
mod contour;
mod grid;
mod layer;
mod options;
mod place;
mod random;
mod render;
mod set;
mod shape;
mod system;
mod tables;
#[cfg(test)]
mod tests;
mod texture;

pub use options::{Colour, FractalOptions, Jitter};
pub use set::Fractals;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
