//! The command `burn-zoo`: it parses, calls the library, prints.

mod allocator;
mod bench;
mod commands;
#[cfg(feature = "tui")]
mod dashboard;
mod eval;
mod export;
mod finetune;
mod flags;
mod fractals;
mod hub;
mod inspect;
mod logits;
mod lr_find;
mod model;
mod model_folder;
mod notice;
mod output;
mod predict;
mod progress;
mod recipe;
mod report;
mod source;
mod task;

fn main() -> std::process::ExitCode {
    allocator::keep_blocks();
    commands::run()
}
