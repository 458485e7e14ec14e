//! A trial in a process of its own.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use burn_zoo::tune::{Decision, Metrics, Trial, figures};
use burn_zoo::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::trial::epochs_of;

/// How the trials of a search are run; kept in its folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChildPlan {
    /// The arguments of `burn-zoo trial` that are the same for all.
    pub command: Vec<String>,
    /// The folder that they were given in.
    pub folder: PathBuf,
    /// A device for each job.
    pub devices: Vec<String>,
    /// Threads of each trial.
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
        let log = dir.with_extension("log");
        let mut child = self.spawn(trial, &dir, &log)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(mut input), Some(output)) = (input, output) else {
            return Err(failed(
                &log,
                "its standard input and output cannot be used".to_owned(),
            ));
        };
        let mut last = 0;
        let mut decision = Decision::Continue;
        for line in BufReader::new(output).lines() {
            let line = line.map_err(io("read", &log))?;
            let Some((epoch, metrics)) = read_line(&line) else {
                let reason =
                    format!("expected a JSON object with a training_iteration, found `{line}`");
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(&log, reason));
            };
            if epoch > last + 1 {
                // Epochs of a run that goes on, of which nobody may have heard.
                report_earlier(trial, &dir, epoch)?;
            }
            last = epoch;
            decision = trial.report(epoch, metrics)?;
            let answer = match decision {
                Decision::Continue => "continue",
                Decision::Stop => "stop",
                Decision::Pause => "pause",
            };
            // A process that has ended says why below.
            let _ = writeln!(input, "{answer}").and_then(|()| input.flush());
        }
        drop(input);
        let status = child.wait().map_err(io("wait for", &log))?;
        if status.success() {
            return Ok(());
        }
        if trial.should_stop() && decision != Decision::Pause {
            return Err(Error::Interrupted {
                checkpoint: None,
                run: dir,
            });
        }
        Err(failed(&log, cause(status, &log)))
    }

    fn spawn(&self, trial: &Trial<'_>, dir: &Path, log: &Path) -> Result<Child> {
        let params = dir.with_extension("json");
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
            ("--threads", self.threads.to_string().into()),
        ];
        let mut command = Command::new(&program);
        command
            .arg("trial")
            .args(&self.command)
            .arg("--wait-for-answer");
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

fn report_earlier(trial: &mut Trial<'_>, dir: &Path, epoch: usize) -> Result<()> {
    for record in epochs_of(dir).iter().filter(|record| record.epoch < epoch) {
        trial.report(record.epoch, figures(record))?;
    }
    Ok(())
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

/// Why a process failed, in words.
fn cause(status: ExitStatus, log: &Path) -> String {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return match signal {
            9 => "killed by signal 9, as the system does when memory is short".to_owned(),
            signal => format!("killed by signal {signal}"),
        };
    }
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let said = text.lines().rev().find_map(|line| {
        let panicked = line.contains("panicked at").then_some(line);
        line.strip_prefix("error: ").or(panicked)
    });
    said.map_or_else(|| status.to_string(), str::to_owned)
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
