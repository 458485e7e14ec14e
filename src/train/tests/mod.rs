//! The parts of a run against those of PyTorch, timm, fastai and Lightning.

mod schedules;
mod training_parts;
