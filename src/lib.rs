//! A transfer-learning model zoo for [burn](https://burn.dev).
//!
//! Take a backbone that somebody else trained, change its first and last layer to fit your images,
//! decide what stays frozen, fine-tune it, and take the tuned weights away in a file that timm and
//! torchvision read.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use burn_zoo::prelude::*;
//!
//! fn main() -> burn_zoo::Result<()> {
//!     let device = Device::default().autodiff();
//!
//!     // A spec is data: nothing is read or allocated yet.
//!     let spec = Zoo::resnet18()
//!         .weights(Weights::File("resnet18.safetensors".into()))
//!         .adapt(1, 10);
//!
//!     // Loaded strictly, first convolution folded to one channel, fresh head for ten classes.
//!     let model = spec.build(&device)?;
//!
//!     let data = FashionMnist::open_default()?;
//!     let (train, valid) = data.train().split(0.1, 42)?; // by the second everything is chosen
//!     let run = Recipe::feature_extraction() // the backbone is frozen, the head trains
//!         .epochs(3)
//!         .learning_rate(1e-3)
//!         .fit(model, train, valid, "runs/fashion")?;
//!     println!("{}", run.best());
//!     println!("{}", run.test(Arc::new(data.test()), false)?);
//!
//!     run.model().export("fashion-resnet18")?; // timm opens it
//!     Ok(())
//! }
//! ```
//!
//! # The life of a model
//!
//! A [`Spec`] says what to build. [`Spec::build`] fetches the weights it names ([`manifest`],
//! `weights::hub`), opens the file, compares every name,
//! shape and type with the model's ([`weights`]), adapts the first and the last layer ([`adapt`]),
//! and gives a [`Classifier`]: a [`Backbone`] made of named groups, and a [`Head`]. [`Freeze`] says
//! what trains, a [`Recipe`](train::Recipe) trains it, and [`Classifier::export`] writes a folder
//! that [`Classifier::open`], timm and torchvision read.
//!
//! # Features
//!
//! | feature | default | what for |
//! |---|---|---|
//! | `flex` | yes | burn's CPU backend |
//! | `cuda`, `wgpu`, `ndarray` | no | burn's other backends |
//! | `hub` | yes | fetching weights from the Hugging Face hub |
//! | `image` | yes | reading PNG, JPEG, WebP, GIF, BMP and TIFF files; folders of images |
//! | `download` | yes | fetching FashionMNIST from its official mirror |
//! | `dataset` | no | `Loader` as a burn `DataLoader` |
//! | `plots` | no | curves of a run and its report as pictures |
//! | `tensorboard` | no | TensorBoard's event files |
//! | `tune` | no | hyper-parameter search |
//! | `onnx` | no | models as ONNX files |
//! | `bundled-weights` | no | weights of a ResNet-18 inside the program, 23 MB |
//! | `fashion-mnist-mini` | no | a sample of FashionMNIST inside the program, 3 MB |
//!
//! The command `burn-zoo` is the package `burn-zoo-cli`; it has all of them but the other backends.

#![deny(missing_docs)]
// The alternatives of a layer differ in size, and a model holds a few hundred of them at most.
#![allow(clippy::large_enum_variant)]

#[cfg(test)]
extern crate self as burn_zoo;

pub mod adapt {
    //! How the first layer is adapted.

    pub use crate::builder::StemRule;
}
mod builder;
mod cache_folder;
pub mod data;
mod device;
pub mod error;
mod files;
#[cfg(any(feature = "hub", feature = "download"))]
mod http;
mod infer;
pub mod init;
mod memory;
mod model;
pub mod nn;
#[cfg(feature = "onnx")]
mod onnx;
mod panics;
pub mod preprocess;
#[cfg(any(feature = "tensorboard", feature = "onnx"))]
mod protobuf;
#[cfg(any(feature = "plots", feature = "tensorboard"))]
pub mod report;
mod text;
pub mod train;
#[cfg(feature = "tune")]
pub mod tune;
pub mod weights;
#[path = "../zoo/mod.rs"]
pub mod zoo;

pub use builder::{Spec, Zoo};
pub use device::{device, device_name, device_with};
pub use error::{Error, Result, shell_word};
pub use files::{path_text, write_file, write_together};
pub use infer::Fused;
pub use memory::Memory;
pub use model::{
    Adapt, AnyBackbone, Backbone, Classifier, Description, FeatureInfo, Features, FirstConv,
    Freeze, FrozenNorm, Group, Head, InputSize, Layer, Lora, MapLayer, ModelInfo, OtherNames,
    Outputs, Pool, Pooling, PosEmbed, PositionTable, Stages, StemOptions, StemShape, Summary,
    TableLayout, TargetScaling, freeze,
};
#[cfg(feature = "onnx")]
pub use onnx::OnnxSize;
pub use preprocess::ImageSize;
pub use weights::manifest;

pub mod metrics {
    //! How good predictions are, where an image has any number of classes or values of its own.
    //!
    //! Scores and targets are slices of a whole set, row-major, a row for each image. The figures
    //! are those of scikit-learn 1.9.

    pub use crate::infer::{
        ClassMetrics, MultiLabelMetrics, OutputMetrics, PrecisionRecall, RegressionMetrics,
        average_precision, best_threshold, best_thresholds, precision_recall,
    };
}

pub mod probe {
    //! What a backbone's features are worth, without training it.

    pub use crate::infer::{Embeddings, LinearProbe, Strength, nearest_neighbors};
}

/// What a program that uses this crate needs, to import at once.
pub mod prelude {
    pub use burn::tensor::{Device, Tensor};

    pub use crate::adapt::StemRule;
    #[cfg(feature = "image")]
    pub use crate::data::ImageFolder;
    pub use crate::data::{FashionMnist, ImageData, Loader, Target, Task};
    pub use crate::init::Init;
    pub use crate::preprocess::augment::Augment;
    pub use crate::preprocess::{Normalization, Preprocess};
    pub use crate::train::{Optimizer, Rates, Recipe, Run, Schedule, Unfreeze};
    pub use crate::weights::Weights;
    pub use crate::{Adapt, Backbone, Classifier, Features, Freeze, FrozenNorm, Pool, Spec, Zoo};
}

/// The programs in the documents compile.
#[cfg(all(doctest, feature = "bundled-weights", feature = "fashion-mnist-mini"))]
mod documents {
    #[doc = include_str!("../README.md")]
    struct Readme;

    #[doc = include_str!("../docs/your-own-loop.md")]
    struct YourOwnLoop;

    #[doc = include_str!("../docs/tasks.md")]
    struct Tasks;

    #[doc = include_str!("../docs/features.md")]
    struct Features;

    #[cfg(all(feature = "hub", feature = "plots"))]
    #[doc = include_str!("../docs/sharing.md")]
    struct Sharing;

    #[cfg(feature = "tune")]
    #[doc = include_str!("../docs/tuning.md")]
    struct Tuning;
}
