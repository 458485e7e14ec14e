//! The command `burn-zoo`: it parses, calls the library, prints.

mod allocator;
mod batch_size;
mod bench;
mod commands;
#[cfg(feature = "tui")]
mod dashboard;
mod embed;
mod eval;
mod export;
mod features;
mod finetune;
mod flags;
mod fractals;
mod hub;
mod info;
mod list;
mod logits;
mod lr_find;
mod measure;
mod model;
mod model_folder;
mod notice;
mod output;
mod place;
mod predict;
mod probe;
mod progress;
mod push;
mod ranks;
mod recipe;
mod recommend;
mod report;
mod source;
mod task;
mod tune;

fn main() -> std::process::ExitCode {
    allocator::keep_blocks();
    commands::run()
}
