//! A search as one page.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::files::write_file;
use crate::tune::{Distribution, SearchResult, TrialRecord, TrialState};

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const STYLE: &str = include_str!("../run_report/templates/page.css");

impl SearchResult {
    /// Writes `report.html` into the search's folder: parallel coordinates, in which ranges can be
    /// chosen, each parameter against the result, curves, how many trials came how far, importance,
    /// and all trials. The page needs nothing but itself; its content policy forbids every request.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn write_report(&self) -> Result<PathBuf> {
        let path = self.dir().join("report.html");
        write_file(&path, self.report()?.as_bytes())?;
        Ok(path)
    }

    /// The page.
    fn report(&self) -> Result<String> {
        let data = serde_json::to_string(&self.data())
            .map_err(|error| Error::argument("report.html", "values that JSON can hold", error))?;
        // Nothing in the data ends the script or begins a comment in it.
        let data = data.replace('<', "\\u003c");
        Ok(PAGE
            .replace("/*STYLE*/", STYLE)
            .replace("/*SCRIPT*/", SCRIPT)
            .replace("/*DATA*/", &data))
    }

    fn data(&self) -> Value {
        let settings = self.settings();
        let metric = &settings.metric;
        let trials = self.trials().iter().map(|trial| {
            let best = trial.best(settings);
            let curve = trial
                .reports
                .iter()
                .map(|report| (report.epoch, report.metrics.get(metric)));
            json!({
                "trial": trial.trial,
                "state": trial.state.name(),
                "cause": trial.cause,
                "params": trial.params,
                "best": best.and_then(|best| best.metrics.get(metric)),
                "epoch": best.map(|best| best.epoch),
                "curve": curve.collect::<Vec<_>>(),
                "seconds": trial.seconds,
            })
        });
        let params = settings.search.iter().map(|(name, parameter)| {
            let (kind, low, high, values) = match &parameter.distribution {
                Distribution::Choice(values) => ("choice", None, None, Some(values.clone())),
                Distribution::LogUniform(range) => {
                    ("log", Some(range.start), Some(range.end), None)
                }
                Distribution::Uniform(range) | Distribution::QUniform(range, _) => {
                    ("linear", Some(range.start), Some(range.end), None)
                }
                Distribution::RandInt(range) => (
                    "linear",
                    Some(range.start as f64),
                    Some((range.end - 1) as f64),
                    None,
                ),
                Distribution::Normal(mean, deviation) => (
                    "linear",
                    Some(mean - 3.0 * deviation),
                    Some(mean + 3.0 * deviation),
                    None,
                ),
            };
            json!({ "name": name, "kind": kind, "low": low, "high": high, "values": values })
        });
        let count = |state: TrialState| {
            let is = |trial: &&TrialRecord| trial.state == state;
            self.trials().iter().filter(is).count()
        };
        json!({
            "metric": metric,
            "maximize": settings.maximize,
            "sampler": settings.sampler.to_string(),
            "scheduler": settings.scheduler.to_string(),
            "seed": settings.seed,
            "planned": settings.trials,
            "folder": self.dir().display().to_string(),
            "best": self.best().map(|trial| trial.trial),
            "stopped": count(TrialState::Stopped),
            "failed": count(TrialState::Failed),
            "rungs": settings.scheduler.rungs(settings.most_epochs()),
            "importance": self.importance(),
            "params": params.collect::<Vec<_>>(),
            "trials": trials.collect::<Vec<_>>(),
        })
    }
}
