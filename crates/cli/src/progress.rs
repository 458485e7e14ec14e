//! What a person sees while something takes long. All of it goes to standard error.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use burn_zoo::data::{CheckProgress, Progress};
use burn_zoo::train::{
    Control, EpochEnd, EpochStart, Monitor, RunStart, StepRecord, metrics_in_words,
};
use burn_zoo::weights;
use burn_zoo::weights::hub::PushProgress;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::notice;

const BAR: &str = "{prefix} {bar:30} {pos}/{len} {wide_msg} {eta}";
const SENT: &str = "{wide_msg} {bar:30} {bytes}/{total_bytes} {eta}";
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
        weights::Progress::Replaced {
            path,
            expected,
            found,
        } => bar.suspend(|| {
            notice::tell(format!(
                "weights: the cached file was altered (expected {}, found {}); it was moved to {} \
                 and is fetched anew",
                expected,
                found,
                path.display()
            ));
        }),
        _ => {}
    }
}

/// Shows a bar while `push` sends files, and what holds it up.
pub fn push<T>(push: impl FnOnce(&mut dyn FnMut(PushProgress)) -> T) -> T {
    let bar = ProgressBar::new(0).with_style(style(SENT));
    let result = push(&mut |progress| match progress {
        PushProgress::Step(step) => bar.set_message(step),
        PushProgress::Sent { sent, total } => {
            bar.set_length(total);
            bar.set_position(sent);
        }
        PushProgress::Retrying { wait, reason } => {
            bar.set_message(format!("trying again in {} s: {reason}", wait.as_secs()));
        }
        _ => {}
    });
    bar.finish_and_clear();
    result
}

/// Shows a bar while `open` looks at images.
pub fn check<T>(open: impl FnOnce(&mut dyn FnMut(CheckProgress)) -> T) -> T {
    let bar = bar(0, "looking at images");
    let result = open(&mut |progress: CheckProgress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.checked as u64);
        if progress.remembered > 0 {
            bar.set_message(format!("{} known from before", progress.remembered));
        }
    });
    bar.finish_and_clear();
    result
}

/// Threads that read images ahead: half the machine reads while the other half computes.
pub fn workers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, 8)
}

/// A bar over a known number of steps.
pub fn bar(steps: usize, what: &str) -> ProgressBar {
    ProgressBar::new(steps as u64)
        .with_style(style(BAR))
        .with_prefix(what.to_owned())
}

/// What asks for a stop: Ctrl-C, or SIGTERM, by which schedulers and containers end a program.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    pressed: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
}

/// There is one for the whole command: who asks again is told what was asked before.
static STOP: OnceLock<Stop> = OnceLock::new();

/// The shell's convention for programs ended by Ctrl-C and by SIGTERM.
pub const PRESSED: u8 = 130;
pub const TERMINATED: u8 = 143;

impl Stop {
    /// From now on the first Ctrl-C or SIGTERM asks for a stop, the second one leaves at once.
    pub fn on_signal() -> anyhow::Result<Self> {
        if let Some(stop) = STOP.get() {
            return Ok(stop.clone());
        }
        let stop = STOP.get_or_init(Self::default).clone();
        #[cfg(unix)]
        {
            use signal_hook::{consts::SIGTERM, flag};
            let terminated = &stop.terminated;
            // In this order: only a flag that was set before ends the program.
            flag::register_conditional_shutdown(SIGTERM, TERMINATED.into(), terminated.clone())?;
            flag::register(SIGTERM, terminated.clone())?;
        }
        let pressed = stop.pressed.clone();
        ctrlc::set_handler(move || {
            if pressed.swap(true, Ordering::Relaxed) {
                std::process::exit(PRESSED.into());
            }
            notice::say("\nstopping after this step; press Ctrl-C again to leave at once");
        })?;
        Ok(stop)
    }

    /// Whether there was one.
    pub fn asked(&self) -> bool {
        self.pressed.load(Ordering::Relaxed) || self.terminated.load(Ordering::Relaxed)
    }

    /// The exit code of a command that was stopped.
    pub fn exit_code() -> u8 {
        match STOP.get() {
            Some(stop) if stop.terminated.load(Ordering::Relaxed) => TERMINATED,
            _ => PRESSED,
        }
    }
}

/// Says that something takes a while.
pub fn report<T>(write: impl FnOnce() -> T) -> T {
    wait("writing the report", write)
}

/// Says what takes a while.
pub fn wait<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
    let spinner = ProgressBar::new_spinner().with_message(what);
    spinner.enable_steady_tick(std::time::Duration::from_millis(200));
    let result = work();
    spinner.finish_and_clear();
    result
}

const RUN: &str = "{prefix} {bar:30} {pos}/{len} {elapsed} {wide_msg}";

/// Shows the run and the epoch as bars, and a finished epoch as a line of a table.
pub struct Watch {
    stop: Stop,
    bars: MultiProgress,
    run: Option<ProgressBar>,
    batches: Option<ProgressBar>,
    /// Whether finished epochs are printed on standard output.
    lines: bool,
    /// Whether the table has its heading.
    heading: bool,
    frozen: String,
    began: Instant,
    /// Steps of the whole run, and those that were done before it was resumed.
    steps: [usize; 2],
    /// Steps of the epoch.
    of_epoch: usize,
}

impl Watch {
    pub fn new(stop: Stop, lines: bool) -> Self {
        Self {
            stop,
            bars: MultiProgress::new(),
            run: None,
            batches: None,
            lines,
            heading: false,
            frozen: String::new(),
            began: Instant::now(),
            steps: [0; 2],
            of_epoch: 0,
        }
    }

    fn show(&mut self, what: &str, steps: usize) {
        if let Some(bar) = self.batches.take() {
            bar.finish_and_clear();
        }
        self.batches = Some(self.bars.add(bar(steps, what)));
    }

    fn print(&mut self, line: &str) {
        // The bars step aside while a line is written.
        let written = self.bars.suspend(|| writeln!(std::io::stdout(), "{line}"));
        if let Err(error) = written {
            // A run is worth more than its table: `| head` has seen enough, a full disk has not.
            self.lines = false;
            self.bars.suspend(|| {
                notice::tell(format!(
                    "standard output takes no more ({error}); the run goes on"
                ));
            });
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for bar in self.run.iter().chain(&self.batches) {
            bar.finish_and_clear();
        }
    }
}

/// A time as a person says it.
pub fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

impl Monitor for Watch {
    fn run_started(&mut self, run: &RunStart<'_>) -> burn_zoo::Result<()> {
        self.began = Instant::now();
        self.steps = [run.recipe.epochs * run.steps, run.steps_done];
        let style = style(RUN);
        let bar = ProgressBar::new(run.recipe.epochs as u64)
            .with_style(style)
            .with_prefix("run       ");
        let bar = self.bars.add(bar);
        bar.set_position(run.epochs_done as u64);
        self.run = Some(bar);
        if run.steps_done > 0 {
            self.bars.suspend(|| {
                notice::say(format_args!(
                    "going on after epoch {} and {} steps",
                    run.epochs_done, run.steps_done
                ));
            });
        }
        Ok(())
    }

    fn epoch_started(&mut self, epoch: &EpochStart<'_>, _: &mut Control) -> burn_zoo::Result<()> {
        self.of_epoch = epoch.steps;
        self.show("training  ", epoch.steps);
        if let Some(bar) = &self.batches {
            bar.set_position(epoch.steps_done as u64);
        }
        Ok(())
    }

    fn step(&mut self, step: &StepRecord, _: &mut Control) -> burn_zoo::Result<()> {
        if let Some(bar) = &self.batches {
            let accuracy = match step.accuracy.is_nan() {
                true => String::new(),
                false => format!("acc {:.1} %  ", 100.0 * step.accuracy),
            };
            bar.set_message(format!(
                "loss {:.3}  {accuracy}{:.0} img/s  lr {:.1e}",
                step.loss, step.images_per_second, step.learning_rate
            ));
            bar.set_position(step.step as u64);
        }
        let [all, before] = self.steps;
        let done = step.global_step - before;
        if let Some(run) = &self.run
            && done > 0
        {
            let each = self.began.elapsed().as_secs_f64() / done as f64;
            let left = all.saturating_sub(step.global_step) as f64 * each;
            run.set_message(format!("{} left", clock(left)));
        }
        Ok(())
    }

    fn validated(&mut self, batch: usize, batches: usize) {
        if batch == 1 {
            self.show("validation", batches);
        }
        if let Some(bar) = &self.batches {
            bar.set_position(batch as u64);
        }
    }

    fn features(&mut self, batch: usize, batches: usize) {
        if batch == 1 {
            self.show("features  ", batches);
        }
        if let Some(bar) = &self.batches {
            bar.set_position(batch as u64);
        }
        if batch == batches {
            // The epoch's own bar comes back.
            self.show("training  ", self.of_epoch);
        }
    }

    fn epoch_finished(&mut self, epoch: &EpochEnd<'_>, _: &mut Control) -> burn_zoo::Result<()> {
        let record = epoch.record;
        if let Some(run) = &self.run {
            run.set_position(record.epoch as u64);
        }
        if !self.lines {
            return Ok(());
        }
        if !self.heading {
            self.heading = true;
            let heading = if record.metrics.is_empty() {
                "train acc  valid loss  valid acc    top-5".to_owned()
            } else {
                let names = metrics_in_words(&record.metrics);
                let names = names.map(|(name, _)| format!("  {name:>9}"));
                format!("valid loss{}", names.collect::<String>())
            };
            self.print(&format!("epoch  train loss  {heading}  img/s  seconds"));
        }
        if record.frozen != self.frozen {
            let first = self.frozen.is_empty();
            self.frozen = record.frozen.clone();
            // That nothing is frozen is news only where something was.
            if !(first && self.frozen == "nothing") {
                self.print(&format!("       frozen: {}", self.frozen));
            }
        }
        let figures = if record.metrics.is_empty() {
            format!(
                "{:>7.2} %  {:>10.4}  {:>7.2} %  {:>5.1} %",
                100.0 * record.train_accuracy,
                record.valid_loss,
                100.0 * record.valid_accuracy,
                100.0 * record.valid_top5_accuracy,
            )
        } else {
            let own = metrics_in_words(&record.metrics);
            let own = own.map(|(_, value)| format!("  {value:>9.4}"));
            format!("{:>10.4}{}", record.valid_loss, own.collect::<String>())
        };
        self.print(&format!(
            "{:>5}  {:>10.4}  {figures}  {:>5.0}  {:>7.1}{}",
            record.epoch,
            record.train_loss,
            record.images_per_second,
            record.seconds,
            if epoch.best { "  best" } else { "" },
        ));
        Ok(())
    }

    fn notice(&mut self, text: &str) {
        self.bars.suspend(|| notice::tell(text));
    }

    fn should_stop(&mut self) -> bool {
        self.stop.asked()
    }
}
