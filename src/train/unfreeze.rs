//! How frozen parts join a run: [`Unfreeze`].

use serde::{Deserialize, Serialize};

use super::ranges::{positive, share};
use super::rates::BackboneRate;
use crate::error::{Error, Result};
use crate::model::Freeze;
use crate::text::{self, Form, Style, no_fields};

/// How frozen parts join a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum Unfreeze {
    /// They do not.
    #[default]
    #[serde(deserialize_with = "no_fields")]
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
    pub(super) fn kind(&self) -> String {
        text::kind(self)
    }
}

const FORM: Form = Form::new(
    "unfreeze",
    Style::Colons,
    &[("gradual", 1), ("backbone", 1)],
)
.only(&[
    "never",
    "gradual",
    "gradual:EPOCHS",
    "fine-tune",
    "backbone",
    "backbone:EPOCH",
    "EPOCH=FREEZE;..",
]);

/// `never`, `gradual`, `gradual:EPOCHS`, `fine-tune`, `backbone`, `backbone:EPOCH`, or
/// `EPOCH=FREEZE;EPOCH=FREEZE..`.
impl std::str::FromStr for Unfreeze {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let step = |step: &str| {
            let (epoch, freeze) = step.split_once('=')?;
            Some((epoch.parse::<f64>().ok()?, freeze.parse::<Freeze>()))
        };
        match text.split(';').map(step).collect::<Option<Vec<_>>>() {
            Some(steps) => {
                let steps = steps
                    .into_iter()
                    .map(|(epoch, freeze)| Ok((epoch, freeze?)));
                Ok(Unfreeze::at(steps.collect::<Result<Vec<_>>>()?))
            }
            None => text::parse(&FORM, text),
        }
    }
}

impl std::fmt::Display for Unfreeze {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Unfreeze::At { steps } = self else {
            return f.write_str(&text::write(&FORM, self));
        };
        let steps = steps
            .iter()
            .map(|step| format!("{}={}", step.epoch, step.freeze));
        f.write_str(&steps.collect::<Vec<_>>().join(";"))
    }
}
