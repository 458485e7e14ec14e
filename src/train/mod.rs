//! Fine-tuning: a recipe is data, the loop is one function that reads from top to bottom.
//!
//! [`Recipe::fit`] is made of parts that serve a loop of your own as well: [`Recipe::optimizer`],
//! [`Recipe::plan`], [`Loss`], [`clip_gradients`], [`Ema`], [`Loader`](crate::data::Loader) and
//! [`Classifier::evaluate`](crate::Classifier::evaluate). `examples/own_loop.rs` is such a loop.

mod batch_size;
mod cache;
mod checkpoint;
mod ema;
mod evaluate_inputs;
mod extend;
mod finder;
mod fit;
mod gradients;
mod loss;
mod loss_scale;
mod memory_advice;
mod monitor;
mod optimizer;
mod plan;
mod rates;
mod recipe;
mod run;
mod schedule;
mod single_value;
mod stopping;

pub use crate::infer::{
    ClassScore, Evaluation, FilePrediction, FilePredictions, PredictOptions, Prediction,
};
pub use crate::nn::{Precision, cross_entropy};
pub use batch_size::{BatchSearch, BatchSize, Trial};
pub use cache::{CachePlace, FeatureCache};
pub use ema::{Ema, EmaConfig};
pub use extend::{Extended, Extension};
pub use finder::{RateSweep, Smoothed, Suggestions, Sweep};
pub use fit::{FitOptions, resume};
pub use gradients::{Clip, clip_gradients, gradient_norm};
pub use loss::{ClassWeights, Loss, Targets};
pub use loss_scale::LossScale;
pub use monitor::{
    Backward, Control, EpochEnd, EpochStart, Monitor, Monitors, RunStart, Silent, StepRecord,
};
pub use optimizer::{ModelOptimizer, Optimizer};
pub use plan::{FreezeAt, Plan, RateGroup, StepRates, Unfreeze};
pub use rates::{BackboneRate, RateScaling, Rates, ema_decay, layer_ids};
pub use recipe::{Checkpoints, Recipe};
pub use run::{EpochRecord, LoggedStep, Run, RunConfig, RunData, RunFiles, SkippedImage};
pub use schedule::{
    Per, Plateau, PlateauState, Point, Position, Schedule, Threshold, Warmup, WarmupMode,
};
pub use stopping::{EarlyStopping, Metric};
