//! In which numbers a network computes.

use burn::tensor::{Device, FloatDType};
use serde::{Deserialize, Serialize};

use crate::device::device_name;
use crate::error::{Error, Result};
use crate::text::text_choice;

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
            device: device_name(device),
            reason: format!("it does not compute in {self}; use precision f32"),
        })
    }
}

text_choice!(Precision, "precision");
