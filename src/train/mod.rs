//! Fine-tuning: a recipe is data, the loop is one function that reads from top to bottom.
//!
//! [`Recipe::fit`] is made of parts that serve a loop of your own as well: [`Recipe::optimizer`],
//! [`Schedule::factor`], [`cross_entropy`], [`Loader`](crate::data::Loader) and
//! [`Classifier::evaluate`](crate::Classifier::evaluate). `examples/own_loop.rs` is such a loop.

#[cfg(feature = "plots")]
mod curves;
mod evaluate;
mod fit;
mod optimizer;
mod recipe;
mod run;
mod schedule;

pub use evaluate::{ClassScore, Evaluation, Prediction, cross_entropy};
pub use fit::{FitOptions, Observer, Silent, StepRecord};
pub use optimizer::Optimizer;
pub use recipe::Recipe;
pub use run::{EpochRecord, Run};
pub use schedule::Schedule;
