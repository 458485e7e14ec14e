//! Hyper-parameter search: which values are tried, which trials go on, and what was found.
//!
//! A [`Search`] proposes values by a [`Sampler`] from a [`Space`], runs a function for each, and lets a
//! [`Scheduler`] end those early that others leave behind. Everything that happens is a line of
//! `tune.jsonl` in the search's folder, and all that it does follows from these lines and its seed.
//!
//! It stands above [`train`](crate::train), which does not know it: a trial is an ordinary run.

mod importance;
mod journal;
mod recipe;
mod sampler;
mod scheduler;
mod search;
mod space;
mod study;
#[cfg(test)]
mod tests;

pub use recipe::{check_values, with_values};
pub use sampler::Sampler;
pub use scheduler::{Decision, Scheduler};
pub use search::{Search, SearchResult, SearchWatch, Trial, trial_folder};
pub use space::{Distribution, Parameter, Params, Space, choice};
pub use study::{Metrics, Report, Settings, TrialRecord, TrialState};
