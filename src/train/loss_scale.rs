//! The factor of the loss in half precision.

use serde::{Deserialize, Serialize};

/// The factor of the loss in half precision: PyTorch's `GradScaler` with its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct LossScale {
    scale: f64,
    good_steps: u32,
}

impl Default for LossScale {
    fn default() -> Self {
        Self {
            scale: 65_536.0,
            good_steps: 0,
        }
    }
}

impl LossScale {
    /// The factor of the moment.
    pub fn factor(&self) -> f64 {
        self.scale
    }

    /// Learns from a step: halved after gradients that overflowed, doubled after 2000 that did
    /// not. Whether the step may be taken.
    pub fn update(&mut self, finite: bool) -> bool {
        if !finite {
            self.scale *= 0.5;
            self.good_steps = 0;
            return false;
        }
        self.good_steps += 1;
        if self.good_steps == 2000 {
            self.scale *= 2.0;
            self.good_steps = 0;
        }
        true
    }
}
