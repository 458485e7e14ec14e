//! Fine-tuning: a recipe is data, and the loop (`epoch.rs`) reads from top to bottom.
//!
//! [`Recipe::fit`] is made of parts that serve a loop of your own as well: [`Recipe::optimizer`],
//! [`Recipe::plan`], [`Loss`], [`clip_gradients`], [`Ema`], [`Loader`](crate::data::Loader) and
//! [`Classifier::evaluate`](crate::Classifier::evaluate). `examples/own_loop.rs` is such a loop.

mod batch_norm_check;
mod batch_size;
mod cache;
mod checkpoint;
mod classes;
mod ema;
mod epoch;
mod epoch_record;
mod extend;
mod feature_cache;
mod finder;
mod fit;
mod gradients;
mod growth;
mod loss;
mod loss_function;
mod loss_scale;
mod memory_use;
mod model_optimizer;
mod monitor;
mod optimizer;
mod out_of_memory;
mod parallel;
mod pipeline;
mod place;
mod plan;
mod progress;
mod progressive;
mod ranges;
mod rates;
mod recipe;
mod recipe_checks;
mod recipe_toml;
mod resume;
mod run;
mod schedule;
mod segments;
mod setup;
mod state;
mod step;
mod stopping;
#[cfg(test)]
mod tests;
mod training;
mod unfreeze;
mod unreadable;
mod update_rules;
mod validation;

pub use crate::infer::{
    ClassScore, Evaluation, FilePrediction, FilePredictions, PredictOptions, Prediction,
};
pub use crate::nn::{Precision, binary_cross_entropy, cross_entropy};
pub use batch_size::{BatchSearch, Trial};
pub use ema::{Ema, EmaConfig};
pub use epoch_record::{EpochRecord, SkippedImage, metrics_in_words};
pub use extend::{AddedEpochs, Extension};
#[cfg(test)]
pub(crate) use feature_cache::CachePlace;
pub use feature_cache::FeatureCache;
pub use finder::{RateSweep, Suggestions, Sweep};
pub use fit::FitOptions;
pub use gradients::{Clip, clip_gradients, gradient_norm};
pub use loss::{ClassWeights, Loss};
pub use loss_function::LossFunction;
pub use memory_use::{GroupMemory, MemoryUse};
pub use model_optimizer::ModelOptimizer;
pub use monitor::{
    Backward, Control, EpochEnd, EpochStart, Monitor, Monitors, RunStart, StepRecord,
};
pub use optimizer::Optimizer;
#[cfg(feature = "mpi")]
pub use parallel::Mpi;
pub use parallel::{AllReduceTime, Communicator, Launched, Parallel, agree};
pub use place::Place;
pub use plan::{Plan, StepRates};
pub use progressive::ProgressiveSizes;
pub use rates::{BackboneRate, RateScaling, Rates};
pub use recipe::{Checkpoints, Recipe};
pub use resume::{has_checkpoint, resume, resume_rank};
pub use run::config::{RunConfig, RunData};
pub use run::files::{LoggedStep, RunFiles};
pub use run::finished::Run;
#[cfg(feature = "tune")]
pub(crate) use run::lock::FolderLock;
pub use run::tested::TestRecord;
pub use schedule::{Per, Plateau, Schedule, Threshold, Warmup, WarmupMode};
pub use stopping::{EarlyStopping, Metric};
pub use unfreeze::{FreezeAt, Unfreeze};
