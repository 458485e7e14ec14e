//! The parts of a run against those of PyTorch, timm, fastai and Lightning.

mod schedules;
mod task_losses;
mod training_parts;
