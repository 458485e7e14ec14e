//! What a person sees of a search.

use std::collections::BTreeMap;
use std::io::Write as _;

use burn_zoo::tune::{Params, SearchWatch, Settings, TrialRecord, TrialState};
use comfy_table::Table;
use indicatif::ProgressBar;
use serde_json::Value;

use crate::notice;
use crate::progress::Stop;

/// Rows of the live table.
const ROWS: usize = 12;

/// A table that changes on a terminal, and a line for each trial that ends.
pub struct Watch {
    stop: Stop,
    bar: ProgressBar,
    lines: bool,
    /// The states that were shown.
    shown: BTreeMap<usize, TrialState>,
}

impl Watch {
    /// `known` are trials of which nothing new is to be said.
    pub fn new(stop: Stop, lines: bool, known: &[TrialRecord]) -> Self {
        let bar = ProgressBar::new_spinner();
        Self {
            stop,
            bar,
            lines,
            shown: known
                .iter()
                .map(|trial| (trial.trial, trial.state))
                .collect(),
        }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&mut self, settings: &Settings, trial: &TrialRecord) {
        let best = trial
            .best(settings)
            .map_or("nothing reported".to_owned(), |best| {
                format!(
                    "{} {} at epoch {}",
                    settings.metric,
                    value(best.metrics.get(&settings.metric)),
                    best.epoch
                )
            });
        let cause = trial
            .cause
            .as_ref()
            .map_or(String::new(), |cause| format!(": {cause}"));
        let text = format!(
            "trial {}: {}{cause}; {best}; {}; {:.0} s",
            trial.trial,
            trial.state.name(),
            params(&trial.params),
            trial.seconds
        );
        let printed = self.bar.suspend(|| {
            if !self.lines {
                notice::say(text);
                return Ok(());
            }
            writeln!(std::io::stdout(), "{}", notice::plain(text))
        });
        if let Err(error) = printed {
            // A search is worth more than its table.
            self.lines = false;
            self.bar.suspend(|| {
                notice::tell(format!(
                    "standard output takes no more ({error}); the search goes on"
                ));
            });
        }
    }
}

impl SearchWatch for Watch {
    fn changed(&mut self, settings: &Settings, trials: &[TrialRecord]) {
        for trial in trials {
            let has_ended = !matches!(trial.state, TrialState::Running | TrialState::Paused);
            let before = self.shown.insert(trial.trial, trial.state);
            if has_ended && before != Some(trial.state) {
                self.line(settings, trial);
            }
        }
        if self.bar.is_hidden() {
            return;
        }
        let text = format!(
            "{}\n{}",
            live_table(settings, trials),
            summary(settings, trials)
        );
        self.bar.set_message(notice::plain(text));
        self.bar.tick();
    }

    fn should_stop(&mut self) -> bool {
        self.stop.asked()
    }
}

/// The best, then those that run; how many more there are.
fn live_table(settings: &Settings, trials: &[TrialRecord]) -> String {
    let mut best: Vec<&TrialRecord> = trials.iter().collect();
    sort(settings, &mut best);
    let (running, rest): (Vec<&TrialRecord>, Vec<&TrialRecord>) = best
        .into_iter()
        .partition(|trial| trial.state == TrialState::Running);
    let places = ROWS.saturating_sub(running.len()).max(1);
    let more = rest.len().saturating_sub(places);
    let rows = rest.into_iter().take(places).chain(running);
    let mut text = table(settings, rows).to_string();
    if more > 0 {
        text.push_str(&format!("\n and {more} more"));
    }
    text
}

/// The best first; those without a figure last.
pub fn sort(settings: &Settings, trials: &mut [&TrialRecord]) {
    let score = |trial: &TrialRecord| {
        let best = trial
            .best(settings)
            .and_then(|best| best.metrics.get(&settings.metric));
        best.map_or(
            f64::NEG_INFINITY,
            |v| if settings.maximize { *v } else { -*v },
        )
    };
    trials.sort_by(|a, b| score(b).total_cmp(&score(a)).then(a.trial.cmp(&b.trial)));
}

/// A row for each trial.
pub fn table<'a>(settings: &Settings, trials: impl Iterator<Item = &'a TrialRecord>) -> Table {
    let names: Vec<&str> = settings.search.iter().map(|(name, _)| name).collect();
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let header = ["trial", "state", "epoch", settings.metric.as_str()].into_iter();
    table.set_header(header.chain(names.iter().copied()).chain(["seconds"]));
    for trial in trials {
        let best = trial.best(settings);
        let last = trial.reports.last().map_or(0, |report| report.epoch);
        let mut row = vec![
            trial.trial.to_string(),
            trial.state.name().to_owned(),
            last.to_string(),
            value(best.and_then(|best| best.metrics.get(&settings.metric))),
        ];
        row.extend(
            names
                .iter()
                .map(|name| trial.params.get(*name).map_or("-".to_owned(), short)),
        );
        row.push(format!("{:.0}", trial.seconds));
        table.add_row(row);
    }
    table
}

pub fn summary(settings: &Settings, trials: &[TrialRecord]) -> String {
    let count = |state: TrialState| trials.iter().filter(|trial| trial.state == state).count();
    let states = [
        TrialState::Running,
        TrialState::Paused,
        TrialState::Completed,
        TrialState::Stopped,
        TrialState::Failed,
    ];
    let counts: Vec<String> = states
        .into_iter()
        .filter(|state| count(*state) > 0)
        .map(|state| format!("{} {}", count(state), state.name()))
        .collect();
    format!(
        "{} of {} trials: {}",
        trials.len(),
        settings.trials,
        counts.join(", ")
    )
}

pub fn value(value: Option<&f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.4}"))
}

/// A value for a table.
pub fn short(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap_or_default();
            match number.abs() {
                0.001..1e5 => format!("{number:.4}"),
                0.0 => "0".to_owned(),
                _ => format!("{number:.2e}"),
            }
        }
        other => other.to_string(),
    }
}

pub fn params(params: &Params) -> String {
    let values = params
        .iter()
        .map(|(name, value)| format!("{name} {}", short(value)));
    values.collect::<Vec<_>>().join(", ")
}
