//! Where labelled images come from.

mod args;
mod evaluation;
mod kind;
mod notices;
mod training;

pub use args::DataArgs;
pub use evaluation::EvaluationImages;
pub use training::TrainingImages;
