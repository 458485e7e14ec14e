//! What a person sees while something takes long. All of it goes to standard error.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn_zoo::data::{CheckProgress, Progress};
use burn_zoo::train::{EpochRecord, Observer, StepRecord};
use burn_zoo::weights;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

const BAR: &str = "{prefix} {bar:30} {pos}/{len} {wide_msg} {eta}";
const BYTES: &str = "downloading {wide_msg} {bar:30} {bytes}/{total_bytes} {eta}";

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Shows a bar while `open` downloads.
pub fn download<T>(open: impl FnOnce(&mut dyn FnMut(Progress)) -> T) -> T {
    let bar = ProgressBar::new(0).with_style(style(BYTES));
    let result = open(&mut |progress: Progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.received);
        bar.set_message(progress.file);
    });
    bar.finish_and_clear();
    result
}

/// Shows a bar while weights are fetched, and what holds it up.
pub fn fetch<T>(fetch: impl FnOnce(&mut dyn FnMut(weights::Progress)) -> T) -> T {
    let bar = ProgressBar::new(0).with_style(style(BYTES));
    let result = fetch(&mut |progress| show(&bar, progress));
    bar.finish_and_clear();
    result
}

#[cfg(feature = "hub")]
fn show(bar: &ProgressBar, progress: weights::Progress) {
    match progress {
        weights::Progress::Received { received, total } => {
            bar.set_length(total.unwrap_or(received));
            bar.set_position(received);
            bar.set_message("weights");
        }
        weights::Progress::Locked => bar.set_message("another process fetches them; waiting"),
        weights::Progress::Retrying { wait, reason } => {
            bar.set_message(format!("trying again in {} s: {reason}", wait.as_secs()));
        }
        _ => {}
    }
}

#[cfg(not(feature = "hub"))]
fn show(_: &ProgressBar, progress: weights::Progress) {
    match progress {}
}

/// Shows a bar while `open` looks at images.
pub fn check<T>(open: impl FnOnce(&mut dyn FnMut(CheckProgress)) -> T) -> T {
    let bar = bar(0, "looking at images");
    let result = open(&mut |progress: CheckProgress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.checked as u64);
    });
    bar.finish_and_clear();
    result
}

/// A bar over a known number of steps.
pub fn bar(steps: usize, what: &str) -> ProgressBar {
    ProgressBar::new(steps as u64)
        .with_style(style(BAR))
        .with_prefix(what.to_owned())
}

/// Set by Ctrl-C.
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on the first Ctrl-C asks for a stop, the second one leaves at once.
    pub fn on_ctrl_c() -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            eprintln!("\nstopping after this step; press Ctrl-C again to leave at once");
        })?;
        Ok(Self(stop))
    }
}

/// Shows epochs and batches as bars, and a finished epoch as a line.
pub struct Watch {
    stop: Stop,
    bars: MultiProgress,
    run: Option<ProgressBar>,
    batches: Option<ProgressBar>,
    /// Whether finished epochs are printed on standard output.
    lines: bool,
}

impl Watch {
    pub fn new(stop: Stop, lines: bool) -> Self {
        Self {
            stop,
            bars: MultiProgress::new(),
            run: None,
            batches: None,
            lines,
        }
    }

    fn show(&mut self, what: &str, steps: usize) {
        if let Some(bar) = self.batches.take() {
            bar.finish_and_clear();
        }
        self.batches = Some(self.bars.add(bar(steps, what)));
    }

    fn print(&self, line: &str) {
        // The bars step aside while a line is written.
        self.bars.suspend(|| println!("{line}"));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for bar in self.run.iter().chain(&self.batches) {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Watch {
    fn epoch_started(&mut self, epoch: usize, epochs: usize, steps: usize) {
        let run = self
            .run
            .get_or_insert_with(|| self.bars.add(bar(epochs, "epochs    ")));
        run.set_position(epoch as u64 - 1);
        self.show("training  ", steps);
    }

    fn step(&mut self, step: &StepRecord) {
        if let Some(bar) = &self.batches {
            bar.set_message(format!(
                "loss {:.3} lr {:.2e}",
                step.loss, step.learning_rate
            ));
            bar.set_position(step.step as u64);
        }
    }

    fn validated(&mut self, batch: usize, batches: usize) {
        if batch == 1 {
            self.show("validation", batches);
        }
        if let Some(bar) = &self.batches {
            bar.set_position(batch as u64);
        }
    }

    fn epoch_finished(&mut self, record: &EpochRecord) {
        if let Some(run) = &self.run {
            run.set_position(record.epoch as u64);
        }
        if !self.lines {
            return;
        }
        if record.epoch == 1 {
            self.print("epoch  train loss  train acc  valid loss  valid acc    top-5  seconds");
        }
        self.print(&format!(
            "{:>5}  {:>10.4}  {:>7.2} %  {:>10.4}  {:>7.2} %  {:>5.1} %  {:>7.1}",
            record.epoch,
            record.train_loss,
            100.0 * record.train_accuracy,
            record.valid_loss,
            100.0 * record.valid_accuracy,
            100.0 * record.valid_top5_accuracy,
            record.seconds,
        ));
    }

    fn should_stop(&mut self) -> bool {
        self.stop.0.load(Ordering::Relaxed)
    }
}
