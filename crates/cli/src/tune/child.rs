//! A trial in a process of its own.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use burn_zoo::tune::{Decision, Metrics, Trial};
use burn_zoo::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::trial::{beside, epochs_of, wait_for_turn};

/// How the trials of a search are run; kept in its folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChildPlan {
    /// The arguments of `burn-zoo trial` that are the same for all.
    pub command: Vec<String>,
    /// The text of `--config` as the search began: all trials have the same, whatever becomes of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// The folder that they were given in.
    pub folder: PathBuf,
    /// Trials at once.
    pub jobs: usize,
    /// A device for each job.
    pub devices: Vec<String>,
    /// Threads of all trials together.
    pub threads: usize,
}

impl ChildPlan {
    /// Runs a trial, and reports its lines.
    ///
    /// # Errors
    /// What the trial's process said before it failed, and [`Error::Interrupted`] where it was
    /// stopped.
    pub fn run(&self, trial: &mut Trial<'_>) -> Result<()> {
        let dir = std::path::absolute(trial.dir()).map_err(io("find", trial.dir()))?;
        let log = beside(&dir, "log");
        if trial.has_begun() && self.has_decided(trial, &dir)? {
            return Ok(());
        }
        let said_before = log.metadata().map_or(0, |log| log.len());
        let mut child = Running(self.spawn(trial, &dir, &log)?);
        let mut input = child.0.stdin.take();
        let Some(output) = child.0.stdout.take() else {
            return Err(failed(
                &log,
                "its standard output cannot be read".to_owned(),
            ));
        };
        let lines = read_lines(output);
        let mut last = 0;
        let mut decision = Decision::Continue;
        loop {
            let line = lines.recv_timeout(ASKED_EVERY);
            if trial.should_stop() {
                // Without an input it writes a checkpoint and ends.
                input = None;
            }
            let line = match line {
                Ok(line) => line.map_err(io("read", &log))?,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let Some((epoch, metrics)) = read_line(&line) else {
                let expected = "expected a JSON object with a training_iteration";
                return Err(failed(&log, format!("{expected}, found `{line}`")));
            };
            // Epochs of a run that goes on, of which nobody may have heard.
            decision = match epoch > last + 1 {
                true => report_earlier(trial, &dir, epoch)?,
                false => Decision::Continue,
            };
            last = epoch;
            if decision == Decision::Continue {
                decision = trial.report(epoch, metrics)?;
            }
            let answer = match decision {
                Decision::Continue => "continue",
                Decision::Stop => "stop",
                Decision::Pause => "pause",
            };
            if let Some(input) = &mut input {
                // A process that has ended says why below.
                let _ = writeln!(input, "{answer}").and_then(|()| input.flush());
            }
        }
        drop(input);
        let status = child.0.wait().map_err(io("wait for", &log))?;
        if status.success() {
            return Ok(());
        }
        if trial.should_stop() && decision != Decision::Pause {
            return Err(Error::Interrupted {
                checkpoint: None,
                run: dir,
            });
        }
        Err(failed(&log, cause(status, &log, said_before)))
    }

    /// Whether a trial that had begun is not to go on: the answer to its last epoch may have been lost
    /// with the search.
    fn has_decided(&self, trial: &mut Trial<'_>, dir: &Path) -> Result<bool> {
        let Some(turn) = wait_for_turn(dir, || trial.should_stop())? else {
            return Err(Error::Interrupted {
                checkpoint: None,
                run: dir.to_path_buf(),
            });
        };
        let decision = report_earlier(trial, dir, usize::MAX)?;
        drop(turn);
        Ok(decision != Decision::Continue)
    }

    fn spawn(&self, trial: &Trial<'_>, dir: &Path, log: &Path) -> Result<Child> {
        let params = beside(dir, "json");
        let text = serde_json::to_string_pretty(trial.params())
            .map_err(|error| failed(&params, error.to_string()))?;
        burn_zoo::write_file(&params, text.as_bytes())?;
        // A trial that goes on appends.
        let errors = std::fs::File::options().create(true).append(true).open(log);
        let errors = errors.map_err(io("write", log))?;
        let features = std::path::absolute(trial.feature_folder());
        let features = features.map_err(io("find", trial.feature_folder()))?;
        let program = std::env::current_exe().map_err(io("find", Path::new("burn-zoo")))?;
        let device = &self.devices[trial.job() % self.devices.len()];
        let flags: [(&str, OsString); 6] = [
            ("--params-json", params.into()),
            ("--trial-id", trial.number().to_string().into()),
            ("--dir", dir.into()),
            ("--feature-folder", features.into()),
            ("--device", device.into()),
            (
                "--threads",
                (self.threads / self.jobs).max(1).to_string().into(),
            ),
        ];
        let mut command = Command::new(&program);
        command
            .arg("trial")
            .args(&self.command)
            .arg("--wait-for-answer");
        if let Some(text) = &self.config {
            let config = beside(dir, "toml");
            burn_zoo::write_file(&config, text.as_bytes())?;
            command.arg("--config").arg(config);
        }
        for (flag, value) in flags {
            command.arg(flag).arg(value);
        }
        // What a search that was killed had begun without a checkpoint begins anew.
        command.arg("--resume");
        command
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors);
        command.spawn().map_err(io("start", &program))
    }
}

/// How often it is asked whether the search is to end.
const ASKED_EVERY: Duration = Duration::from_millis(200);

/// A process that does not outlive the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// The lines of an output, as they come.
fn read_lines(output: ChildStdout) -> Receiver<std::io::Result<String>> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// Reports the epochs before one that a run folder tells of; what was decided of the last of them.
fn report_earlier(trial: &mut Trial<'_>, dir: &Path, epoch: usize) -> Result<Decision> {
    let mut decision = Decision::Continue;
    for record in epochs_of(dir)?.iter().filter(|record| record.epoch < epoch) {
        decision = trial.report(record.epoch, record.figures())?;
    }
    Ok(decision)
}

/// The epoch and the figures of a line.
fn read_line(line: &str) -> Option<(usize, Metrics)> {
    let Ok(Value::Object(values)) = serde_json::from_str(line) else {
        return None;
    };
    let epoch = values.get("training_iteration")?.as_u64()? as usize;
    let numbers = values
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_f64()?)));
    Some((
        epoch,
        numbers
            .filter(|(name, _)| name != "training_iteration")
            .collect(),
    ))
}

/// Why a process failed, in words; what is in the log before a place was said by another.
fn cause(status: ExitStatus, log: &Path, said_before: u64) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return match signal {
            9 => "killed by signal 9, as the system does when memory is short".to_owned(),
            signal => format!("killed by signal {signal}"),
        };
    }
    let text = std::fs::read(log).unwrap_or_default();
    let own = text.get(said_before as usize..).unwrap_or_default();
    let own = String::from_utf8_lossy(own);
    let lines: Vec<&str> = own.lines().collect();
    let said = (0..lines.len()).rev().find_map(|index| {
        let line = lines[index];
        if line.contains("panicked at") {
            // What it said stands in the next line.
            let text = lines.get(index + 1).copied().unwrap_or_default();
            return Some(format!("{line} {text}"));
        }
        line.strip_prefix("error: ").map(str::to_owned)
    });
    said.unwrap_or_else(|| status.to_string())
}

fn failed(path: &Path, reason: String) -> Error {
    Error::Folder {
        path: path.to_path_buf(),
        reason,
    }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io {
        action,
        path,
        source,
    }
}
