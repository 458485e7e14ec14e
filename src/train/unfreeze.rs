//! How frozen parts join a run: [`Unfreeze`].

use serde::{Deserialize, Serialize};

use super::ranges::{positive, share};
use super::rates::BackboneRate;
use crate::error::{Error, Result};
use crate::model::Freeze;

/// How frozen parts join a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum Unfreeze {
    /// They do not.
    #[default]
    Never,
    /// The head trains first, then one group more from the top at each step.
    Gradual {
        /// Epochs between two steps, with a fraction; `None` spreads them evenly over the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        every: Option<f64>,
    },
    /// What is frozen from each of these epochs on; before the first, what the recipe freezes.
    At {
        /// In rising order.
        steps: Vec<FreezeAt>,
    },
    /// fastai's `fine_tune`: two one-cycle schedules, the first with a frozen backbone.
    FineTune {
        /// Epochs of the first.
        #[serde(default = "numbers::freeze_epochs")]
        freeze_epochs: usize,
        /// By how much the lowest rate of the second is below its highest.
        #[serde(default = "numbers::lr_mult")]
        lr_mult: f64,
        /// Which part of the second its rate rises.
        #[serde(default = "numbers::pct_start")]
        pct_start: f64,
        /// By how much the second starts below its highest rate.
        #[serde(default = "numbers::div")]
        div: f64,
    },
    /// Lightning's `BackboneFinetuning`: the backbone joins at an epoch, at a part of the head's
    /// rate, and grows to it.
    Backbone(BackboneRate),
}

/// fastai's defaults.
mod numbers {
    pub fn freeze_epochs() -> usize {
        1
    }
    pub fn lr_mult() -> f64 {
        100.0
    }
    pub fn pct_start() -> f64 {
        0.3
    }
    pub fn div() -> f64 {
        5.0
    }
}

/// What is frozen from an epoch on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeAt {
    /// Counted from 0, with a fraction.
    pub epoch: f64,
    /// What is frozen.
    #[serde(with = "as_text")]
    pub freeze: Freeze,
}

impl Unfreeze {
    /// fastai's `fine_tune` with its defaults.
    pub fn fine_tune() -> Self {
        Unfreeze::FineTune {
            freeze_epochs: numbers::freeze_epochs(),
            lr_mult: numbers::lr_mult(),
            pct_start: numbers::pct_start(),
            div: numbers::div(),
        }
    }

    /// Lightning's `BackboneFinetuning` with its defaults.
    pub fn backbone_finetuning() -> Self {
        Unfreeze::Backbone(BackboneRate::default())
    }

    /// A schedule of one's own: pairs of an epoch, counted from 0, and what is frozen from then on.
    pub fn at(steps: impl IntoIterator<Item = (f64, Freeze)>) -> Self {
        let steps = steps.into_iter();
        Unfreeze::At {
            steps: steps
                .map(|(epoch, freeze)| FreezeAt { epoch, freeze })
                .collect(),
        }
    }

    pub(crate) fn validate(&self, epochs: usize) -> Result<()> {
        let before_end = |name: &str, epoch: usize| {
            if epoch < epochs {
                return Ok(());
            }
            let expected = format!("less than the {epochs} epochs of the run");
            Err(Error::argument(name, expected, epoch))
        };
        match self {
            Unfreeze::Never | Unfreeze::Gradual { every: None } => Ok(()),
            Unfreeze::Gradual { every: Some(every) } => positive("unfreeze.every", *every),
            Unfreeze::At { steps } => {
                let mut last = -1.0;
                for step in steps {
                    if !(step.epoch.is_finite() && step.epoch >= 0.0 && step.epoch > last) {
                        return Err(Error::argument(
                            "unfreeze.steps",
                            "epochs of at least 0 in rising order",
                            step.epoch,
                        ));
                    }
                    last = step.epoch;
                }
                Ok(())
            }
            Unfreeze::FineTune {
                freeze_epochs,
                lr_mult,
                pct_start,
                div,
            } => {
                before_end("unfreeze.freeze_epochs", *freeze_epochs)?;
                positive("unfreeze.lr_mult", *lr_mult)?;
                positive("unfreeze.div", *div)?;
                share("unfreeze.pct_start", *pct_start)
            }
            Unfreeze::Backbone(rate) => {
                before_end("unfreeze.joins_at", rate.joins_at)?;
                rate.validate()
            }
        }
    }

    /// Its name in a recipe's file.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Unfreeze::Never => "never",
            Unfreeze::Gradual { .. } => "gradual",
            Unfreeze::At { .. } => "at",
            Unfreeze::FineTune { .. } => "fine_tune",
            Unfreeze::Backbone(_) => "backbone",
        }
    }
}

/// `never`, `gradual`, `gradual:EPOCHS`, `fine-tune`, `backbone`, `backbone:EPOCH`, or
/// `EPOCH=FREEZE;EPOCH=FREEZE..`.
impl std::str::FromStr for Unfreeze {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || {
            Error::argument(
                "unfreeze",
                "never, gradual, gradual:EPOCHS, fine-tune, backbone, backbone:EPOCH or \
                 EPOCH=FREEZE;..",
                format!("`{text}`"),
            )
        };
        Ok(match text {
            "never" => Unfreeze::Never,
            "gradual" => Unfreeze::Gradual { every: None },
            "fine-tune" => Unfreeze::fine_tune(),
            "backbone" => Unfreeze::backbone_finetuning(),
            _ if text.starts_with("backbone:") => Unfreeze::Backbone(BackboneRate {
                joins_at: text["backbone:".len()..].parse().map_err(|_| unknown())?,
                ..BackboneRate::default()
            }),
            _ => match text.strip_prefix("gradual:") {
                Some(every) => Unfreeze::Gradual {
                    every: Some(every.parse().map_err(|_| unknown())?),
                },
                None => {
                    let mut steps = Vec::new();
                    for step in text.split(';') {
                        let (epoch, freeze) = step.split_once('=').ok_or_else(unknown)?;
                        steps.push((epoch.parse().map_err(|_| unknown())?, freeze.parse()?));
                    }
                    Unfreeze::at(steps)
                }
            },
        })
    }
}

/// A value as the text a person would type.
pub(super) mod as_text {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::model::Freeze;

    pub fn serialize<S: Serializer>(value: &Freeze, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Freeze, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
