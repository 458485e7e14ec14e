//! burn's own dashboard, for `--tui`.

use std::io::IsTerminal as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::{Result, bail};
use burn::train::Interrupter;
use burn::train::logger::TrainingProgressLogger as _;
use burn::train::metric::{
    MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry, SerializedEntry,
};
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::renderer::{MetricState, MetricsRenderer as _, MetricsRendererTraining as _};
use burn_zoo::train::{Control, EpochEnd, EpochRecord, EpochStart, Monitor, RunStart, StepRecord};

use crate::notice;
use crate::progress::Stop;

/// Shows loss, accuracy, rate and speed as curves over the whole terminal.
pub struct Dashboard {
    stop: Stop,
    interrupter: Interrupter,
    screen: Option<TuiMetricsRendererWrapper>,
    /// What was told; the screen takes it away when it closes.
    told: Vec<String>,
}

/// A curve: its name, its unit, and whether more is better.
const CURVES: [(&str, Option<&str>, bool); 4] = [
    ("Loss", None, false),
    ("Accuracy", Some("%"), true),
    ("Learning rate", None, true),
    ("Images per second", None, true),
];

impl Dashboard {
    pub fn new(stop: Stop) -> Result<Self> {
        if !std::io::stdout().is_terminal() {
            bail!("--tui: expected a terminal, found standard output going elsewhere");
        }
        Ok(Self {
            stop,
            interrupter: Interrupter::new(),
            screen: None,
            told: Vec::new(),
        })
    }

    /// Does something on the screen. A person who asks it to end at once makes it panic.
    fn on_screen(&mut self, act: impl FnOnce(&mut TuiMetricsRendererWrapper)) {
        let Some(screen) = &mut self.screen else {
            return;
        };
        if catch_unwind(AssertUnwindSafe(|| act(screen))).is_err() {
            std::process::exit(130);
        }
    }

    fn point(curve: usize, value: f64) -> MetricState {
        let id = MetricId::new(Arc::new(CURVES[curve].0.to_owned()));
        let text = SerializedEntry::new(format!("{value:.4}"), value.to_string());
        let entry = MetricEntry::new(id, text);
        MetricState::Numeric(entry, Some(NumericEntry::Value(value)))
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        // The terminal is the shell's again before anything is printed.
        drop(self.screen.take());
        self.told.iter().for_each(notice::tell);
    }
}

impl Monitor for Dashboard {
    fn run_started(&mut self, run: &RunStart<'_>) -> burn_zoo::Result<()> {
        let resumed = (run.epochs_done > 0).then_some(run.epochs_done);
        let mut screen = TuiMetricsRendererWrapper::new(self.interrupter.clone(), resumed);
        screen.start(run.recipe.epochs, run.epochs_done + 1, None, None);
        self.screen = Some(screen);
        self.on_screen(|screen| {
            for (name, unit, higher_is_better) in CURVES {
                screen.register_metric(MetricDefinition {
                    metric_id: MetricId::new(Arc::new(name.to_owned())),
                    name: Arc::new(name.to_owned()),
                    description: None,
                    attributes: NumericAttributes {
                        unit: unit.map(str::to_owned),
                        higher_is_better,
                    }
                    .into(),
                });
            }
        });
        Ok(())
    }

    fn epoch_started(&mut self, epoch: &EpochStart<'_>, _: &mut Control) -> burn_zoo::Result<()> {
        let steps = epoch.steps;
        self.on_screen(|screen| screen.start_split("train", steps));
        Ok(())
    }

    fn step(&mut self, step: &StepRecord, _: &mut Control) -> burn_zoo::Result<()> {
        let step = step.clone();
        self.on_screen(|screen| {
            screen.update_train(Self::point(0, step.loss));
            if !step.accuracy.is_nan() {
                screen.update_train(Self::point(1, 100.0 * step.accuracy));
            }
            screen.update_train(Self::point(2, step.learning_rate));
            screen.update_train(Self::point(3, step.images_per_second));
            screen.update_split(step.step);
            if step.step == step.steps {
                screen.end_split();
            }
        });
        Ok(())
    }

    fn validated(&mut self, batch: usize, batches: usize) {
        self.on_screen(|screen| {
            if batch == 1 {
                screen.start_split("valid", batches);
            }
            screen.update_split(batch);
            if batch == batches {
                screen.end_split();
            }
        });
    }

    fn epoch_finished(&mut self, epoch: &EpochEnd<'_>, _: &mut Control) -> burn_zoo::Result<()> {
        let record: EpochRecord = epoch.record.clone();
        self.on_screen(|screen| {
            screen.update_valid(Self::point(0, record.valid_loss));
            if !record.valid_accuracy.is_nan() {
                screen.update_valid(Self::point(1, 100.0 * record.valid_accuracy));
            }
            screen.update_epoch(record.epoch);
        });
        Ok(())
    }

    fn run_finished(&mut self, _: &EpochRecord) -> burn_zoo::Result<()> {
        // What comes next is printed, or is a run with a screen of its own.
        drop(self.screen.take());
        Ok(())
    }

    fn notice(&mut self, text: &str) {
        let text = text.to_owned();
        self.told.push(text.clone());
        self.on_screen(|screen| screen.log_event_training(text));
    }

    fn should_stop(&mut self) -> bool {
        self.stop.asked() || self.interrupter.should_stop()
    }
}
