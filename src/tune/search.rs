//! A search: [`Search::run`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::journal::{self, Journal, Kept};
use super::recipe::{check_values, with_values};
use super::sampler::Sampler;
use super::scheduler::{Decision, Scheduler};
use super::space::{Parameter, Params, Space};
use super::study::{Event, Metrics, Next, Settings, Study, TrialRecord, TrialState};
use crate::data::ImageData;
use crate::error::{Error, Result};
use crate::files::TEMPORARY;
use crate::model::Classifier;
use crate::train::{
    Control, EpochEnd, FitOptions, Monitor, Recipe, Run, RunFiles, has_checkpoint, resume,
};

/// A search for the best values of a recipe, or of a training function of one's own.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use burn_zoo::prelude::*;
/// use burn_zoo::tune::{Distribution::LogUniform, Scheduler, Search, choice};
///
/// fn main() -> burn_zoo::Result<()> {
///     let device = Device::default().autodiff();
///     let data = FashionMnist::open_default()?;
///     let (train, valid) = data.train().split(0.1, 42)?;
///     let (train, valid) = (Arc::new(train), Arc::new(valid));
///     let search = Search::new(Recipe::full().epochs(9))
///         .vary("learning_rate", LogUniform(1e-4..1e-1))
///         .vary("batch_size", choice([32, 64, 128]))
///         .scheduler("asha:max_t=9".parse()?)
///         .trials(10);
///     let found = search.run("runs/search", |trial| {
///         let model = Zoo::resnet18().adapt(1, 10).build(&device)?;
///         trial.fit(model, train.clone(), valid.clone())
///     })?;
///     println!("{:?}", found.best().map(|trial| &trial.params));
///     Ok(())
/// }
/// ```
///
/// What was tried, reported and decided is in the folder, in `tune.jsonl`. [`resume`](Self::resume)
/// goes on with a search that was interrupted, even by `kill -9`: no trial is lost, and with one job the
/// proposals are those of an uninterrupted search.
#[derive(Debug, Clone)]
pub struct Search {
    recipe: Option<Recipe>,
    settings: Settings,
    own: Vec<String>,
    jobs: usize,
    time_budget: Option<Duration>,
}

/// A trial's metric chooses its best epoch, and the search compares those.
const ONE_METRIC: &str = "the same for all trials, as they are compared by it";

impl Search {
    /// A search that changes fields of this recipe: ten trials of multivariate TPE, each to its end,
    /// compared by the recipe's metric.
    pub fn new(recipe: Recipe) -> Self {
        let mut settings = Settings::new(Space::default());
        settings.epochs = recipe.epochs;
        settings.metric = recipe.metric.to_string();
        settings.maximize = recipe.metric.larger_is_better();
        Self {
            recipe: Some(recipe),
            settings,
            own: Vec::new(),
            jobs: 1,
            time_budget: None,
        }
    }

    /// Searches a field of the recipe, by its name in TOML.
    #[must_use]
    pub fn vary(mut self, name: &str, parameter: impl Into<Parameter>) -> Self {
        self.settings.search.insert(name, parameter);
        self
    }

    /// Searches something that is no field of the recipe: the function finds it in
    /// [`Trial::params`].
    #[must_use]
    pub fn vary_own(mut self, name: &str, parameter: impl Into<Parameter>) -> Self {
        self.own.push(name.to_owned());
        self.vary(name, parameter)
    }

    /// Trials, at most. A grid ends with its last combination.
    #[must_use]
    pub fn trials(mut self, trials: usize) -> Self {
        self.settings.trials = trials;
        self
    }

    /// How values are chosen.
    #[must_use]
    pub fn sampler(mut self, sampler: Sampler) -> Self {
        self.settings.sampler = sampler;
        self
    }

    /// Which trials go on.
    #[must_use]
    pub fn scheduler(mut self, scheduler: Scheduler) -> Self {
        self.settings.scheduler = scheduler;
        self
    }

    /// Compares trials by this figure of what they report.
    #[must_use]
    pub fn metric(mut self, name: &str, maximize: bool) -> Self {
        self.settings.metric = name.to_owned();
        self.settings.maximize = maximize;
        self
    }

    /// The seed of the choice of values.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Trials at once, each in a thread of its own.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs;
        self
    }

    /// After this time no trial begins, and each that runs ends with its epoch.
    #[must_use]
    pub fn time_budget(mut self, budget: Duration) -> Self {
        self.time_budget = Some(budget);
        self
    }

    /// The search that a folder keeps, to go on with it by a function that takes its values from
    /// [`Trial::params`]: it has no recipe.
    pub fn of_settings(settings: Settings) -> Self {
        Self {
            recipe: None,
            own: settings
                .search
                .iter()
                .map(|(name, _)| name.to_owned())
                .collect(),
            settings,
            jobs: 1,
            time_budget: None,
        }
    }

    /// How many combinations the grid has, where the sampler is one.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a parameter that has no list of values.
    pub fn grid_size(&self) -> Result<Option<usize>> {
        self.settings.sampler.num_trials(&self.settings.search)
    }

    /// What it does, as its folder keeps it.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// # Errors
    /// [`Error::InvalidArgument`] that names the parameter, the field or the setting.
    pub fn validate(&self) -> Result<()> {
        self.settings.validate()?;
        if self.jobs == 0 {
            return Err(Error::argument("jobs", "at least 1", 0));
        }
        if self.recipe.is_none() {
            return Ok(());
        }
        let Settings {
            search, sampler, ..
        } = &self.settings;
        check_values(search, sampler, |name, values| {
            if name == "metric" && !self.own.contains(&name.to_owned()) {
                return Err(Error::argument(name, ONE_METRIC, "a parameter"));
            }
            self.recipe(values).map(drop)
        })
    }

    /// The recipe with the values of a trial.
    fn recipe(&self, params: &Params) -> Result<Recipe> {
        let mut fields = params.clone();
        fields.retain(|name, _| !self.own.contains(name));
        let Some(recipe) = &self.recipe else {
            let found = "the settings of a folder, which have none";
            return Err(Error::argument("search", "one with a recipe", found));
        };
        with_values(recipe, &fields)
    }

    /// Runs `function` for each trial, in the caller's process, in a new folder. It reports each epoch
    /// with [`Trial::report`] or lets [`Trial::fit`] do so.
    ///
    /// A trial that returns an error or panics has failed, and the search goes on.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for mistakes in the search, before the first trial;
    /// [`Error::Exists`] if the folder is not empty; [`Error::Search`] if five trials fail before any
    /// has reported anything; [`Error::Interrupted`] if a trial was.
    pub fn run(
        &self,
        dir: impl AsRef<Path>,
        function: impl Fn(&mut Trial<'_>) -> Result<()> + Sync,
    ) -> Result<SearchResult> {
        self.run_with(dir, toml::Table::new(), &mut (), function)
    }

    /// [`run`](Self::run) for somebody who watches. `arguments` are kept in the folder, for whoever
    /// goes on.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with(
        &self,
        dir: impl AsRef<Path>,
        arguments: toml::Table,
        watch: &mut dyn SearchWatch,
        function: impl Fn(&mut Trial<'_>) -> Result<()> + Sync,
    ) -> Result<SearchResult> {
        self.validate()?;
        let kept = Kept {
            burn_zoo: env!("CARGO_PKG_VERSION").to_owned(),
            arguments,
            recipe: self.recipe.clone(),
            settings: self.settings.clone(),
        };
        let journal = Journal::create(dir.as_ref(), &kept)?;
        self.drive(journal, Study::new(self.settings.clone()), watch, function)
    }

    /// Goes on with a search in a folder that [`run`](Self::run) made. Trials that had begun go on,
    /// with [`Trial::fit`] from their last checkpoint.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`Error::InvalidArgument`] if this search is another one than that of
    /// the folder, or has another recipe; more trials are none, as a search may be extended.
    pub fn resume(
        &self,
        dir: impl AsRef<Path>,
        watch: &mut dyn SearchWatch,
        function: impl Fn(&mut Trial<'_>) -> Result<()> + Sync,
    ) -> Result<SearchResult> {
        self.validate()?;
        let (journal, mut kept, mut study) = Journal::resume(dir.as_ref())?;
        let trials_before = study.settings().trials;
        study.set_trials(self.settings.trials);
        if *study.settings() != self.settings {
            let show = |settings: &Settings| toml::to_string(settings).unwrap_or_default();
            let expected = format!("the search of the folder:\n{}", show(study.settings()));
            return Err(Error::argument("search", expected, show(&self.settings)));
        }
        // One of the settings alone has no recipe, nor had folders of before.
        if let (Some(kept), Some(own)) = (&kept.recipe, &self.recipe)
            && kept != own
        {
            let expected = format!("the recipe of the folder:\n{}", kept.to_toml()?);
            return Err(Error::argument("search", expected, own.to_toml()?));
        }
        if self.settings.trials != trials_before {
            kept.settings = self.settings.clone();
            journal.keep(&kept)?;
        }
        self.drive(journal, study, watch, function)
    }

    fn drive(
        &self,
        journal: Journal,
        study: Study,
        watch: &mut dyn SearchWatch,
        function: impl Fn(&mut Trial<'_>) -> Result<()> + Sync,
    ) -> Result<SearchResult> {
        let dir = journal.dir().to_path_buf();
        remove_temporary_files(&dir.join("features"));
        let shared = Shared {
            inner: Mutex::new(Inner {
                journal,
                study,
                watch,
                error: None,
            }),
            changed: Condvar::new(),
            deadline: self
                .time_budget
                .and_then(|budget| Instant::now().checked_add(budget)),
        };
        std::thread::scope(|scope| {
            for job in 0..self.jobs {
                let (shared, function, dir) = (&shared, &function, &dir);
                scope.spawn(move || {
                    let _end = EndOnPanic(shared);
                    while let Some((trial, params, begun)) = shared.next() {
                        let mut trial = Trial {
                            search: self,
                            number: trial,
                            params,
                            begun,
                            job,
                            started: Instant::now(),
                            dir: trial_folder(dir, trial),
                            features: dir.join("features"),
                            shared,
                        };
                        shared.run(&mut trial, function);
                    }
                });
            }
        });
        let mut inner = shared.lock();
        match inner.error.take() {
            Some(error) => Err(error),
            None => Ok(SearchResult {
                settings: inner.study.settings().clone(),
                trials: inner.study.trials().to_vec(),
                dir,
            }),
        }
    }
}

/// How often somebody who watches is asked whether to stop, while jobs wait.
const ASKED_EVERY: Duration = Duration::from_millis(200);

/// The run folder of a trial in that of its search.
pub fn trial_folder(search: &Path, trial: usize) -> PathBuf {
    search.join(format!("trial-{trial:04}"))
}

/// What the threads of a search share.
struct Shared<'a> {
    inner: Mutex<Inner<'a>>,
    changed: Condvar,
    deadline: Option<Instant>,
}

struct Inner<'a> {
    journal: Journal,
    study: Study,
    watch: &'a mut dyn SearchWatch,
    /// What ends the search.
    error: Option<Error>,
}

/// Ends the search if its thread panics, as somebody who watches may, so that no other job waits for
/// what that thread had begun. The panic itself goes on in the caller.
struct EndOnPanic<'a, 'b>(&'a Shared<'b>);

impl Drop for EndOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut inner = self.0.lock();
            let run = inner.journal.dir().to_path_buf();
            let checkpoint = None;
            let ended = Error::Interrupted { checkpoint, run };
            inner.error.get_or_insert(ended);
            self.0.changed.notify_all();
        }
    }
}

impl Inner<'_> {
    fn record(&mut self, events: impl IntoIterator<Item = Event>) -> Result<()> {
        for event in events {
            self.journal.record(&event)?;
        }
        self.watch
            .changed(self.study.settings(), self.study.trials());
        Ok(())
    }
}

impl<'a> Shared<'a> {
    fn lock(&self) -> MutexGuard<'_, Inner<'a>> {
        // What is in it is whole after each call.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next trial, and whether it had begun before; `None` if there is none.
    fn next(&self) -> Option<(usize, Params, bool)> {
        let mut inner = self.lock();
        loop {
            if inner.watch.should_stop() && inner.error.is_none() {
                let run = inner.journal.dir().to_path_buf();
                let checkpoint = None;
                inner.error = Some(Error::Interrupted { checkpoint, run });
            }
            if inner.error.is_some() {
                self.changed.notify_all();
                return None;
            }
            if self
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline)
            {
                inner.study.close();
            }
            let next = inner.study.next().and_then(|(next, events)| {
                let is_new = events
                    .iter()
                    .any(|event| matches!(event, Event::Proposed { .. }));
                inner.record(events)?;
                Ok((next, is_new))
            });
            match next {
                Ok((Next::Run(trial), is_new)) => {
                    // There may be more to do.
                    self.changed.notify_all();
                    let params = inner.study.trials()[trial].params.clone();
                    return Some((trial, params, !is_new));
                }
                Ok((Next::Done, _)) => {
                    self.changed.notify_all();
                    return None;
                }
                Ok((Next::Wait, _)) => {
                    let waited = self.changed.wait_timeout(inner, ASKED_EVERY);
                    inner = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                Err(error) => {
                    inner.error = Some(error);
                    self.changed.notify_all();
                    return None;
                }
            }
        }
    }

    fn run(&self, trial: &mut Trial<'_>, function: &impl Fn(&mut Trial<'_>) -> Result<()>) {
        // A trial that panics is one that failed, and nothing of it is used again.
        let result = catch_unwind(AssertUnwindSafe(|| function(trial)));
        let seconds = trial.started.elapsed().as_secs_f64();
        let failure = match result {
            Ok(Ok(())) => None,
            Ok(Err(error @ Error::Interrupted { .. })) => {
                let mut inner = self.lock();
                let is_paused = inner.study.trials()[trial.number].state == TrialState::Paused;
                if !is_paused {
                    // Nothing is recorded: the trial is to go on.
                    inner.error.get_or_insert(error);
                    self.changed.notify_all();
                    return;
                }
                None
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => Some(panicked(&*panic)),
        };
        let mut inner = self.lock();
        let event = inner.study.returned(trial.number, failure, seconds);
        if let Err(error) = inner.record(event) {
            inner.error.get_or_insert(error);
        }
        self.changed.notify_all();
    }
}

/// Removes what trials were writing when they were killed. It costs room and nothing else if it stays.
fn remove_temporary_files(features: &Path) {
    for entry in features.read_dir().into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_default())
}

/// A trial that runs.
pub struct Trial<'a> {
    search: &'a Search,
    number: usize,
    params: Params,
    begun: bool,
    job: usize,
    started: Instant,
    dir: PathBuf,
    features: PathBuf,
    shared: &'a Shared<'a>,
}

impl Trial<'_> {
    /// Counted from 0, in the order of proposal.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Its values.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// A number among its values.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there is no number of this name.
    pub fn number_of(&self, name: &str) -> Result<f64> {
        let value = self.params.get(name);
        value.and_then(serde_json::Value::as_f64).ok_or_else(|| {
            let found = value.map_or("nothing".to_owned(), ToString::to_string);
            Error::argument(name, "a number among the trial's values", found)
        })
    }

    /// Which of the search's jobs runs it, counted from 0, for one that has a device of its own.
    pub fn job(&self) -> usize {
        self.job
    }

    /// The folder for what it writes.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder in which all trials of the search keep features of frozen layers.
    pub fn feature_folder(&self) -> &Path {
        &self.features
    }

    /// Whether it had begun before, and is to go on with what is in its folder.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// The search's recipe with its values.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for values that do not fit each other.
    pub fn recipe(&self) -> Result<Recipe> {
        self.search.recipe(&self.params)
    }

    /// Reports the figures of an epoch, counted from 1. Epochs that were reported before an
    /// interruption are known.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] without the figure that the search compares, or if that is NaN.
    pub fn report(&mut self, epoch: usize, metrics: Metrics) -> Result<Decision> {
        let mut inner = self.shared.lock();
        if self
            .shared
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            inner.study.close();
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let (decision, event) = inner.study.report(self.number, epoch, metrics, seconds)?;
        if let Err(error) = inner.record(event) {
            let reason = error.to_string();
            inner.error.get_or_insert(error);
            let path = self.dir.clone();
            return Err(Error::Folder { path, reason });
        }
        Ok(decision)
    }

    /// Whether the search is to end at once, with checkpoints.
    pub fn should_stop(&self) -> bool {
        let mut inner = self.shared.lock();
        inner.error.is_some() || inner.watch.should_stop()
    }

    /// Fine-tunes a model with [`recipe`](Self::recipe) into the trial's folder, reports each epoch,
    /// and stops when the search says so; a trial that had begun goes on from its last checkpoint.
    ///
    /// # Errors
    /// As [`Recipe::fit`].
    pub fn fit(
        &mut self,
        model: Classifier,
        train: Arc<dyn ImageData>,
        valid: Arc<dyn ImageData>,
    ) -> Result<()> {
        let dir = self.dir.clone();
        let options = FitOptions {
            overwrite: true,
            feature_folder: Some(self.features.clone()),
            ..FitOptions::default()
        };
        let recipe = self.recipe()?;
        let mut monitor = Reporter {
            trial: self,
            decision: Decision::Continue,
        };
        let goes_on = monitor.trial.begun && has_checkpoint(&dir);
        if goes_on {
            // What was decided of the last epoch may have been lost with the search.
            for record in RunFiles::open(&dir)?.epochs {
                monitor.decision = monitor.trial.report(record.epoch, record.figures())?;
            }
            if monitor.decision != Decision::Continue {
                return Ok(());
            }
        }
        let run = if goes_on {
            let device = model.device();
            drop(model);
            resume(&dir, &device, train, valid, options, &mut monitor)
        } else {
            recipe.fit_with(model, train, valid, &dir, options, &mut monitor)
        };
        let run = match (run, monitor.decision) {
            // It waits.
            (Err(Error::Interrupted { .. }), Decision::Pause) => return Ok(()),
            (run, _) => run?,
        };
        self.report_all(&run)
    }

    /// Reports what a run had done before the search heard of it.
    fn report_all(&mut self, run: &Run) -> Result<()> {
        for record in run.epochs() {
            self.report(record.epoch, record.figures())?;
        }
        Ok(())
    }
}

/// Reports the epochs of a run.
struct Reporter<'a, 'b> {
    trial: &'a mut Trial<'b>,
    decision: Decision,
}

impl Monitor for Reporter<'_, '_> {
    fn epoch_finished(&mut self, epoch: &EpochEnd<'_>, control: &mut Control) -> Result<()> {
        self.decision = self
            .trial
            .report(epoch.record.epoch, epoch.record.figures())?;
        if self.decision == Decision::Stop {
            control.stop();
        }
        Ok(())
    }

    fn should_stop(&mut self) -> bool {
        self.decision == Decision::Pause || self.trial.should_stop()
    }
}

/// Watches a search.
pub trait SearchWatch: Send {
    /// Something happened.
    fn changed(&mut self, settings: &Settings, trials: &[TrialRecord]) {
        let _ = (settings, trials);
    }

    /// Whether the search is to end at once: trials that [`Trial::fit`] runs write a checkpoint, a function
    /// of one's own asks [`Trial::should_stop`], and [`Search::resume`] goes on.
    fn should_stop(&mut self) -> bool {
        false
    }
}

/// Watches nothing.
impl SearchWatch for () {}

/// A search that has ended, or one that is looked at.
#[derive(Debug, Clone)]
pub struct SearchResult {
    dir: PathBuf,
    settings: Settings,
    trials: Vec<TrialRecord>,
}

impl SearchResult {
    /// Reads what was recorded in the folder of a search.
    ///
    /// # Errors
    /// [`Error::Folder`] for one that is no search's, or whose files were damaged.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let study = journal::read(dir)?;
        Ok(Self {
            dir: dir.to_path_buf(),
            settings: study.settings().clone(),
            trials: study.trials().to_vec(),
        })
    }

    /// The settings of a search's folder, and what its program kept there.
    ///
    /// # Errors
    /// [`Error::Folder`] for a folder that is no search's.
    pub fn settings_of(dir: impl AsRef<Path>) -> Result<(Settings, toml::Table)> {
        let kept = journal::read_settings(dir.as_ref())?;
        Ok((kept.settings, kept.arguments))
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it did.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The trials, in the order of proposal.
    pub fn trials(&self) -> &[TrialRecord] {
        &self.trials
    }

    /// The best trial, the earlier of equals; `None` if all failed.
    pub fn best(&self) -> Option<&TrialRecord> {
        super::study::best(&self.trials, &self.settings)
    }
}
