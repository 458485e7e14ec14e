//! What was tried, and what is tried next. It follows from the settings and the events so far, so that a
//! search that was interrupted goes on as if it had not been.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::sampler::{Observation, Sampler};
use super::scheduler::{Decider, Decision, Scheduler};
use super::space::{Params, Space};
use crate::error::{Error, Result};
use crate::train::Metric;

/// Failures one after the other, before any trial has reported anything, after which a search ends.
const FAILURES: usize = 5;

/// What a search does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Trials, at most.
    pub trials: usize,
    /// Epochs of a trial, unless they are searched.
    pub epochs: usize,
    /// How values are chosen.
    pub sampler: Sampler,
    /// Which trials go on.
    pub scheduler: Scheduler,
    /// The figure by which trials are compared.
    pub metric: String,
    /// Whether more of it is better.
    pub maximize: bool,
    /// Of everything random in the choice of values.
    pub seed: u64,
    /// What is searched.
    pub search: Space,
}

impl Settings {
    /// Of a search over these parameters: 10 trials of multivariate TPE, none stopped early, by
    /// validation accuracy.
    pub fn new(search: Space) -> Self {
        Self {
            trials: 10,
            epochs: 1,
            sampler: Sampler::default(),
            scheduler: Scheduler::default(),
            metric: Metric::default().to_string(),
            maximize: true,
            seed: 42,
            search,
        }
    }

    /// # Errors
    /// [`Error::InvalidArgument`] for a space or a number that cannot be.
    pub fn validate(&self) -> Result<()> {
        self.search.validate()?;
        self.scheduler.validate()?;
        if self.trials == 0 {
            return Err(Error::argument("trials", "at least 1", 0));
        }
        self.sampler.num_trials(&self.search).map(drop)
    }
}

/// Figures of an epoch, by name.
pub type Metrics = BTreeMap<String, f64>;

/// What a trial reported after an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Counted from 1.
    pub epoch: usize,
    /// Its figures.
    pub metrics: Metrics,
    /// What was decided.
    pub decision: Decision,
}

/// Where a trial stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialState {
    /// It runs, or was interrupted and is to go on.
    Running,
    /// It waits until others have come as far.
    Paused,
    /// It ran to its end.
    Completed,
    /// It ended before, because others did better or the time was over.
    Stopped,
    /// It ended with an error.
    Failed,
}

impl TrialState {
    /// As in files.
    pub fn name(self) -> &'static str {
        match self {
            TrialState::Running => "running",
            TrialState::Paused => "paused",
            TrialState::Completed => "completed",
            TrialState::Stopped => "stopped",
            TrialState::Failed => "failed",
        }
    }
}

/// A trial.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialRecord {
    /// Counted from 0, in the order of proposal.
    pub trial: usize,
    /// Its values.
    pub params: Params,
    /// What it has reported.
    pub reports: Vec<Report>,
    /// Where it stands.
    pub state: TrialState,
    /// Why it failed or was stopped, in words.
    pub cause: Option<String>,
    /// Seconds that it ran.
    pub seconds: f64,
}

impl TrialRecord {
    /// The best report by a metric, the earlier of equals.
    pub fn best(&self, settings: &Settings) -> Option<&Report> {
        let score = |report: &Report| settings.score(&report.metrics);
        let mut best: Option<&Report> = None;
        for report in &self.reports {
            if best.is_none_or(|best| score(report) > score(best)) {
                best = Some(report);
            }
        }
        best
    }
}

impl Settings {
    /// The figure that trials are compared by, better the larger it is.
    pub(super) fn score(&self, metrics: &Metrics) -> f64 {
        let value = metrics.get(&self.metric).copied().unwrap_or(f64::NAN);
        if self.maximize { value } else { -value }
    }
}

impl Settings {
    /// Epochs of the longest trial that there may be.
    pub fn most_epochs(&self) -> usize {
        let Some(searched) = self.search.get("epochs") else {
            return self.epochs;
        };
        let values = searched.distribution.samples(None);
        let values = values.iter().filter_map(serde_json::Value::as_f64);
        let own = (!searched.when.is_empty()).then_some(self.epochs);
        let all = values.map(|epochs| epochs as usize).chain(own);
        all.max().unwrap_or(self.epochs)
    }

    /// Whether the scheduler ends every trial at this epoch.
    fn is_end(&self, epoch: usize) -> bool {
        let last = self.scheduler.last_epoch(self.most_epochs());
        last.is_some_and(|last| epoch >= last)
    }
}

/// What happens in a search: a line of `tune.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    Proposed {
        trial: usize,
        params: Params,
    },
    Reported {
        trial: usize,
        /// How long the trial had run.
        #[serde(default)]
        seconds: f64,
        #[serde(flatten)]
        report: Report,
    },
    /// Trials that waited were compared. One event, so that it is recorded whole.
    Compared {
        /// Those that go on.
        continued: Vec<usize>,
        /// Those that end.
        stopped: Vec<usize>,
        cause: String,
    },
    Ended {
        trial: usize,
        state: TrialState,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
        #[serde(default)]
        seconds: f64,
    },
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// To run a trial, or to go on with it.
    Run(usize),
    /// To wait until a trial that runs reports or ends.
    Wait,
    /// Nothing.
    Done,
}

/// The state of a search.
#[derive(Debug)]
pub(super) struct Study {
    settings: Settings,
    trials: Vec<TrialRecord>,
    decider: Decider,
    /// Trials to go on with.
    pending: VecDeque<usize>,
    /// Trials whose function has not returned.
    busy: BTreeSet<usize>,
    /// Trials that were told to stop because the time was over.
    timed_out: BTreeSet<usize>,
    /// Whether the sampler has no more values.
    is_exhausted: bool,
    /// Whether no more trials are proposed.
    is_closed: bool,
    /// Whether a trial has reported anything.
    has_reports: bool,
    /// Failures since the search began or went on.
    failures: usize,
}

impl Study {
    pub fn new(settings: Settings) -> Self {
        let decider = settings.scheduler.start(settings.most_epochs());
        Self {
            settings,
            trials: Vec::new(),
            decider,
            pending: VecDeque::new(),
            busy: BTreeSet::new(),
            timed_out: BTreeSet::new(),
            is_exhausted: false,
            is_closed: false,
            has_reports: false,
            failures: 0,
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A search may get more trials than it had.
    pub fn set_trials(&mut self, trials: usize) {
        self.settings.trials = trials;
    }

    pub fn trials(&self) -> &[TrialRecord] {
        &self.trials
    }

    /// Takes what was recorded, decisions included.
    pub fn replay(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Proposed { trial, params } if trial == self.trials.len() => {
                self.add(params);
            }
            Event::Reported {
                trial,
                seconds,
                report,
            } if trial < self.trials.len() => {
                self.trials[trial].seconds = seconds;
                // The scheduler takes it as it did; what was decided may have had another reason.
                let decided = self.decide(trial, report.epoch, &report.metrics);
                self.push_report(trial, decided, report);
            }
            Event::Compared {
                continued,
                stopped,
                cause,
            } if continued
                .iter()
                .chain(&stopped)
                .all(|t| *t < self.trials.len()) =>
            {
                continued
                    .iter()
                    .for_each(|trial| self.decider.resumed(*trial));
                self.compared(&continued, &stopped, &cause);
            }
            Event::Ended {
                trial,
                state,
                cause,
                seconds,
            } if trial < self.trials.len() => self.set_ended(trial, state, cause, seconds),
            other => {
                let found = format!("{other:?} after {} trials", self.trials.len());
                return Err(Error::argument(
                    "tune.jsonl",
                    "events in their order",
                    found,
                ));
            }
        }
        Ok(())
    }

    /// After all was taken that was recorded: trials that ran are to go on.
    pub fn reopen(&mut self) {
        let running = self
            .trials
            .iter()
            .filter(|t| t.state == TrialState::Running);
        self.pending = running.map(|trial| trial.trial).collect();
        // What made trials fail may have been mended.
        self.failures = 0;
    }

    /// No trial is proposed from now on, and none that waits goes on.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    /// What is to be done next, and what happened with that.
    ///
    /// # Errors
    /// [`Error::Search`] after failures only.
    pub fn next(&mut self) -> Result<(Next, Vec<Event>)> {
        let mut events = Vec::new();
        self.check_failures()?;
        let next = self.choose(&mut events)?;
        if let Next::Run(trial) = next {
            self.busy.insert(trial);
        }
        Ok((next, events))
    }

    fn choose(&mut self, events: &mut Vec<Event>) -> Result<Next> {
        if self.pending.is_empty() {
            self.compare(events);
        }
        if let Some(trial) = self.pending.pop_front() {
            return Ok(Next::Run(trial));
        }
        if !self.is_full() {
            if let Some(params) = self.propose()? {
                let trial = self.add(params.clone());
                events.push(Event::Proposed { trial, params });
                return Ok(Next::Run(trial));
            }
            // Those that wait for trials to come wait no longer.
            self.is_exhausted = true;
            return self.choose(events);
        }
        let is_open =
            |trial: &TrialRecord| matches!(trial.state, TrialState::Running | TrialState::Paused);
        Ok(match self.trials.iter().any(is_open) {
            true => Next::Wait,
            false => Next::Done,
        })
    }

    /// Whether no trial will be added.
    fn is_full(&self) -> bool {
        self.is_closed || self.is_exhausted || self.trials.len() >= self.settings.trials
    }

    /// Compares the trials that wait.
    fn compare(&mut self, events: &mut Vec<Event>) {
        // A trial may still be writing the checkpoint from which it would go on.
        let mut busy = self.busy.iter();
        if busy.any(|trial| self.trials[*trial].state == TrialState::Paused) {
            return;
        }
        let decisions = self.decider.waiting(self.trials.len(), self.is_full());
        if !decisions.is_empty() {
            let goes_on = |(_, decision): &(usize, Decision)| {
                *decision == Decision::Continue && !self.is_closed
            };
            let (continued, stopped): (Vec<_>, Vec<_>) = decisions.into_iter().partition(goes_on);
            let numbers = |decisions: Vec<(usize, Decision)>| -> Vec<usize> {
                decisions.into_iter().map(|(trial, _)| trial).collect()
            };
            let (continued, stopped) = (numbers(continued), numbers(stopped));
            let cause = match self.is_closed {
                true => "the time was over",
                false => "others of its bracket did better",
            };
            self.compared(&continued, &stopped, cause);
            self.pending.extend(&continued);
            let cause = cause.to_owned();
            events.push(Event::Compared {
                continued,
                stopped,
                cause,
            });
        }
    }

    fn compared(&mut self, continued: &[usize], stopped: &[usize], cause: &str) {
        for trial in continued {
            self.trials[*trial].state = TrialState::Running;
        }
        for trial in stopped {
            let seconds = self.trials[*trial].seconds;
            let cause = Some(cause.to_owned());
            self.set_ended(*trial, TrialState::Stopped, cause, seconds);
        }
    }

    fn check_failures(&self) -> Result<()> {
        if self.has_reports || self.failures < FAILURES {
            return Ok(());
        }
        let causes = self
            .trials
            .iter()
            .rev()
            .filter_map(|trial| trial.cause.clone());
        Err(Error::Search {
            failures: self.failures,
            cause: causes.into_iter().next().unwrap_or_default(),
        })
    }

    fn propose(&self) -> Result<Option<Params>> {
        let settings = &self.settings;
        let history: Vec<Observation> = self
            .trials
            .iter()
            .filter(|trial| !matches!(trial.state, TrialState::Failed | TrialState::Running))
            .map(|trial| self.observation(trial))
            .collect();
        let trial = self.trials.len();
        settings
            .sampler
            .propose(&settings.search, &history, trial, settings.seed)
    }

    fn observation(&self, trial: &TrialRecord) -> Observation {
        let reports = trial
            .reports
            .iter()
            .map(|report| (report.epoch, -self.settings.score(&report.metrics)));
        Observation {
            params: trial.params.clone(),
            losses: reports.filter(|(_, loss)| !loss.is_nan()).collect(),
            is_complete: trial.state == TrialState::Completed,
        }
    }

    fn add(&mut self, params: Params) -> usize {
        let trial = self.trials.len();
        self.trials.push(TrialRecord {
            trial,
            params,
            reports: Vec::new(),
            state: TrialState::Running,
            cause: None,
            seconds: 0.0,
        });
        trial
    }

    /// Takes what a trial reports, so many seconds after it began or went on. What it has reported before an interruption is decided already.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] without the figure that trials are compared by.
    pub fn report(
        &mut self,
        trial: usize,
        epoch: usize,
        metrics: Metrics,
        seconds: f64,
    ) -> Result<(Decision, Option<Event>)> {
        let argument = || format!("report of trial {trial}");
        if !metrics.contains_key(&self.settings.metric) {
            let names: Vec<&str> = metrics.keys().map(String::as_str).collect();
            let expected = format!(
                "the figure that trials are compared by, {}",
                self.settings.metric
            );
            let found = format!("only {}", names.join(", "));
            return Err(Error::argument(argument(), expected, found));
        }
        if let Some((name, value)) = metrics.iter().find(|(_, value)| !value.is_finite()) {
            let found = format!("{name} {value}");
            return Err(Error::argument(argument(), "finite figures", found));
        }
        let reports = &self.trials[trial].reports;
        if let Some(known) = reports.iter().rev().find(|report| report.epoch == epoch) {
            // What waited goes on now.
            let decision = match known.decision {
                Decision::Pause => Decision::Continue,
                decision => decision,
            };
            return Ok((decision, None));
        }
        if let Some(last) = reports.last()
            && last.epoch > epoch
        {
            return Ok((Decision::Continue, None));
        }
        let decided = self.decide(trial, epoch, &metrics);
        let decision = match decided {
            // What waits would wait for nothing.
            Decision::Continue | Decision::Pause
                if self.is_closed && !self.is_last(trial, epoch) =>
            {
                Decision::Stop
            }
            decided => decided,
        };
        let report = Report {
            epoch,
            metrics,
            decision,
        };
        self.push_report(trial, decided, report.clone());
        let seconds = self.trials[trial].seconds + seconds;
        let event = Event::Reported {
            trial,
            seconds,
            report,
        };
        Ok((decision, Some(event)))
    }

    /// Whether a trial ends at this epoch by itself.
    fn is_last(&self, trial: usize, epoch: usize) -> bool {
        let own = self.trials[trial].params.get("epochs");
        // A step of a range is a number with a point.
        let own = own.and_then(serde_json::Value::as_f64);
        epoch >= own.map_or(self.settings.epochs, |epochs| epochs as usize)
    }

    /// What the scheduler says. Of a trial's last epoch it takes notice, as Ray's do, and decides
    /// nothing.
    fn decide(&mut self, trial: usize, epoch: usize, metrics: &Metrics) -> Decision {
        let score = self.settings.score(metrics);
        let decision = self.decider.report(trial, epoch, score);
        if self.is_last(trial, epoch) {
            return Decision::Continue;
        }
        decision
    }

    fn push_report(&mut self, trial: usize, decided: Decision, report: Report) {
        let record = &mut self.trials[trial];
        if report.decision == Decision::Pause {
            record.state = TrialState::Paused;
        } else {
            self.decider.withdraw(trial);
        }
        if report.decision == Decision::Stop && decided != Decision::Stop {
            self.timed_out.insert(trial);
        }
        record.reports.push(report);
        self.has_reports = true;
    }

    /// A trial's function has returned: by itself, or as it was told to. One that waits has not
    /// ended.
    pub fn returned(
        &mut self,
        trial: usize,
        failure: Option<String>,
        seconds: f64,
    ) -> Option<Event> {
        self.busy.remove(&trial);
        let record = &mut self.trials[trial];
        if failure.is_none() && record.state == TrialState::Paused {
            record.seconds += seconds;
            return None;
        }
        let seconds = record.seconds + seconds;
        let last = record.reports.last();
        let decided = last.map(|report| (report.epoch, report.decision));
        let (state, cause) = match (failure, decided) {
            (Some(failure), _) => (TrialState::Failed, Some(failure)),
            (None, Some((epoch, Decision::Stop))) if !self.settings.is_end(epoch) => {
                let cause = match self.timed_out.contains(&trial) {
                    true => "the time was over",
                    false => "others did better",
                };
                (TrialState::Stopped, Some(cause.to_owned()))
            }
            (None, Some(_)) => (TrialState::Completed, None),
            (None, None) => {
                let cause = "it reported nothing".to_owned();
                (TrialState::Failed, Some(cause))
            }
        };
        self.set_ended(trial, state, cause.clone(), seconds);
        Some(Event::Ended {
            trial,
            state,
            cause,
            seconds,
        })
    }

    fn set_ended(&mut self, trial: usize, state: TrialState, cause: Option<String>, seconds: f64) {
        self.decider.ended(trial);
        self.failures += usize::from(state == TrialState::Failed);
        let record = &mut self.trials[trial];
        record.state = state;
        record.cause = cause;
        record.seconds = seconds;
    }
}

/// The best of some trials, the earlier of equals.
pub(super) fn best<'a>(trials: &'a [TrialRecord], settings: &Settings) -> Option<&'a TrialRecord> {
    let score = |trial: &TrialRecord| {
        let best = trial.best(settings)?;
        Some(settings.score(&best.metrics))
    };
    let mut best: Option<(&TrialRecord, f64)> = None;
    for trial in trials
        .iter()
        .filter(|trial| trial.state != TrialState::Failed)
    {
        if let Some(value) = score(trial)
            && best.is_none_or(|(_, most)| value > most)
        {
            best = Some((trial, value));
        }
    }
    best.map(|(trial, _)| trial)
}
