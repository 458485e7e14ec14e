//! In which numbers a network computes.

use burn::tensor::{Device, FloatDType};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// In which numbers a network computes.
///
/// In 16 bits only the arithmetic is: weights, running statistics, gradients and the optimiser's
/// state are kept in 32 bits, as are normalisations and the loss (Micikevicius et al., "Mixed
/// Precision Training", 2018, <https://arxiv.org/abs/1710.03740>; what PyTorch's autocast does).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits throughout.
    #[default]
    F32,
    /// bfloat16: the range of f32, 8 bits of precision.
    Bf16,
    /// IEEE half precision; the loss is scaled up so that small gradients do not become zero, and
    /// steps whose gradients overflow are left out, as PyTorch's `GradScaler` does.
    F16,
}

impl Precision {
    /// The type of activations.
    pub fn dtype(self) -> FloatDType {
        match self {
            Precision::F32 => FloatDType::F32,
            Precision::Bf16 => FloatDType::BF16,
            Precision::F16 => FloatDType::F16,
        }
    }

    /// Whether a device can compute in it.
    ///
    /// # Errors
    /// [`Error::Device`] if it cannot.
    pub fn check(self, device: &Device) -> Result<()> {
        if self == Precision::F32 || device.supports_dtype(self.dtype()) {
            return Ok(());
        }
        Err(Error::Device {
            device: crate::device::device_name(device),
            reason: format!("it does not compute in {self}; use precision f32"),
        })
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::F16 => "f16",
        })
    }
}

/// `f32`, `bf16` or `f16`.
impl std::str::FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" => Ok(Precision::F32),
            "bf16" => Ok(Precision::Bf16),
            "f16" => Ok(Precision::F16),
            _ => Err(Error::argument(
                "precision",
                "f32, bf16 or f16",
                format!("`{text}`"),
            )),
        }
    }
}

/// The factor of the loss in half precision: PyTorch's `GradScaler` with its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
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
