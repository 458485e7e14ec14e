//! `tune`: a search for the best recipe. `trial`: one run of it.

mod arguments;
mod best;
mod child;
mod fields;
mod table;
mod trial;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use burn_zoo::prelude::*;
use burn_zoo::tune::{
    Distribution, Params, Sampler, Scheduler, Search, SearchResult, Space, TrialRecord,
    check_values, trial_folder,
};
use clap::{ArgMatches, Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use self::arguments::{is_given, refuse_beside_resume, refuse_flags_of, shared_arguments};
use self::best::write_best;
use self::child::ChildPlan;
use self::fields::Choice;
use self::table::Watch;
pub use self::trial::{TRIAL, TrialArgs};
use crate::flags::{count, device_name, positive};
use crate::model_folder::plain_name;
use crate::output::{Stopped, print, print_json};
use crate::progress::Stop;
use crate::recipe::RecipeArgs;
use crate::recommend::Budget;
use crate::task::{ImageArgs, StartArgs};
use crate::{notice, progress};

/// Flags that `tune` has beside those of `finetune`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct TuneArgs {
    #[command(subcommand)]
    command: Option<TuneCommand>,
    /// An architecture (see `burn-zoo list`), arch.tag, hf-hub:OWNER/REPO or local-dir:DIR
    #[arg(required_unless_present = "go_on")]
    model: Option<String>,
    /// Go on with the search in this folder; nothing else is needed. --trials N makes it longer,
    /// --time-budget and --jobs are for what is left
    #[arg(long = "resume", id = "go_on", value_name = "DIR")]
    resume: Option<PathBuf>,
    #[command(flatten)]
    images: ImageArgs,
    #[command(flatten)]
    start: StartArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// What is searched: a TOML file with a table [search], such as
    /// learning_rate = { loguniform = [1e-5, 1e-2] }
    #[arg(long, value_name = "FILE", required_unless_present = "go_on")]
    search: Option<PathBuf>,
    /// Trials, at most [default: 10; of a grid all of it]
    #[arg(long, value_name = "N", value_parser = positive)]
    trials: Option<usize>,
    /// How values are chosen: grid[:points=N], random, tpe[:multivariate=false] or bohb
    #[arg(
        long = "sampler",
        id = "search_sampler",
        value_name = "NAME",
        default_value_t
    )]
    search_sampler: Sampler,
    /// Which trials go on: none, asha:max_t=9,grace=1,eta=4, hyperband:max_t=9,eta=3 or
    /// median:grace=1,min_samples=3
    #[arg(long, value_name = "NAME", default_value_t)]
    scheduler: Scheduler,
    /// Trials at once, each with its share of the threads [default: 1, or one for each of --devices]
    #[arg(long, value_name = "N", value_parser = count::<1024>)]
    jobs: Option<usize>,
    /// A device for each job, such as cuda:0,cuda:1
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = device_name)]
    devices: Vec<String>,
    /// End after this time, such as 30m: no trial begins, and each that runs ends with its epoch
    #[arg(long, value_name = "TIME")]
    time_budget: Option<Budget>,
    /// The folder of the search [default: runs/tune-MODEL-1, or the next number that is free]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write no report.html at the end
    #[arg(long)]
    no_report: bool,
    /// End with one JSON document on standard output, and print nothing else there
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum TuneCommand {
    /// Write the page of a search, and show its trials
    Report {
        /// The folder of the search
        dir: PathBuf,
        /// Print one JSON document on standard output
        #[arg(long)]
        json: bool,
    },
}

/// The file of `--search`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchFile {
    search: Space,
}

impl TuneArgs {
    pub fn run(
        self,
        device_name: &str,
        threads: Option<usize>,
        device: Device,
        given: &ArgMatches,
    ) -> Result<()> {
        if let Some(TuneCommand::Report { dir, json }) = &self.command {
            return report(dir, *json);
        }
        let started = Instant::now();
        let budget = self.budget()?;
        let (search, dir, plan, is_new) = match &self.resume {
            Some(dir) => {
                refuse_beside_resume(given)?;
                let (search, plan) = self.go_on(dir)?;
                (search, dir.clone(), plan, false)
            }
            None => {
                let config = self.recipe.config.as_ref().map(|path| {
                    let text = std::fs::read_to_string(path);
                    text.with_context(|| format!("--config {}", path.display()))
                });
                let plan = ChildPlan {
                    command: shared_arguments(given)?,
                    config: config.transpose()?,
                    folder: std::env::current_dir().context("the current folder")?,
                    jobs: self.devices.len().max(1),
                    devices: vec![device_name.to_owned()],
                    threads: std::thread::available_parallelism().map_or(1, usize::from),
                };
                (self.new_search(&device, given)?, self.folder(), plan, true)
            }
        };
        drop(device);
        let device = is_given(given, "device").then_some(device_name);
        let plan = self.divide(plan, device, threads)?;
        let mut search = search.jobs(plan.jobs);
        if let Some(budget) = budget {
            search = search.time_budget(budget);
        }
        let known = match is_new {
            true => Vec::new(),
            false => SearchResult::open(&dir)?.trials().to_vec(),
        };
        let mut watch = Watch::new(Stop::on_signal()?, !self.json, &known);
        let run = |trial: &mut burn_zoo::tune::Trial<'_>| plan.run(trial);
        let found = if is_new {
            let arguments = toml::Table::try_from(&plan)?;
            search.run_with(&dir, arguments, &mut watch, run)
        } else {
            search.resume(&dir, &mut watch, run)
        };
        watch.finish();
        let found = match found {
            Err(burn_zoo::Error::Interrupted { .. }) => {
                let dir = burn_zoo::shell_word(&dir.display().to_string());
                return Err(
                    Stopped(format!("interrupted; burn-zoo tune --resume {dir} goes on")).into(),
                );
            }
            found => found?,
        };
        let files = write_best(&found, &plan)?;
        let page = match self.no_report {
            true => None,
            false => Some(progress::report(|| found.write_report())?),
        };
        if self.json {
            let mut document = document(&found);
            document["search"] = json!(found.dir());
            document["seconds"] = json!(started.elapsed().as_secs_f64());
            document["report"] = json!(page);
            document["recipe"] = json!(files.as_ref().map(|files| &files.recipe));
            document["model"] = json!(files.as_ref().map(|files| &files.model));
            print_json(&document)?;
            return check_result(&found);
        }
        show(&found)?;
        if let Some(files) = files {
            print(format!(
                "recipe: {}\nmodel: {}\nonce more: {}",
                files.recipe.display(),
                files.model.display(),
                files.command
            ))?;
        }
        if let Some(page) = page {
            print(format!("report: {}", page.display()))?;
        }
        check_result(&found)
    }

    fn budget(&self) -> Result<Option<Duration>> {
        let Some(budget) = self.time_budget else {
            return Ok(None);
        };
        if budget.cores.is_some() {
            bail!(
                "--time-budget: expected a time alone, such as 30m; --threads says how many cores"
            );
        }
        let duration = Duration::try_from_secs_f64(budget.seconds);
        let duration = duration.map_err(|error| anyhow!("--time-budget: {error}"))?;
        Ok(Some(duration))
    }

    /// The search that the flags ask for. Values of each parameter are tried on the recipe and on the model.
    fn new_search(&self, device: &Device, given: &ArgMatches) -> Result<Search> {
        let model = self.model.as_deref().unwrap_or_default();
        let path = self.search.as_deref().unwrap_or(Path::new(""));
        let named = || format!("--search {}", path.display());
        let text = std::fs::read_to_string(path).with_context(named)?;
        let file: SearchFile = toml::from_str(&text)
            .map_err(|error| anyhow!("{}: {}", named(), error.to_string().trim_end()))?;
        file.search.validate().with_context(named)?;
        if file.search.iter().any(|(name, _)| name == "metric") {
            // It chooses a trial's best epoch, and the search compares those.
            bail!(
                "{}: metric: expected --metric NAME, as all trials are compared by the same, found a parameter",
                named()
            );
        }
        refuse_flags_of(&file.search, given).with_context(named)?;
        let task = self.images.data.task;
        let choose = |values: &Params| Choice::new(model, &self.start, &self.recipe, task, values);
        let base = choose(&Params::new())?;
        base.spec()?.build_zeros(device)?;
        // Images that are not there are found before the first trial, too.
        let classes = self
            .images
            .open_for(base.recipe.task)?
            .train
            .classes()
            .len();
        let mut models: BTreeMap<String, Classifier> = BTreeMap::new();
        check_values(&file.search, &self.search_sampler, |name, values| {
            let wrong = |error: anyhow::Error| burn_zoo::Error::InvalidArgument {
                argument: format!("{}: {name}", named()),
                expected: "values that model and recipe take".to_owned(),
                found: format!("{}: {error:#}", values.get(name).unwrap_or(&Value::Null)),
            };
            let choice = choose(values).map_err(wrong)?;
            let spec = choice.spec().map_err(wrong)?;
            let mut check = || -> burn_zoo::Result<()> {
                // Building a model takes a moment: once for each.
                let model = match models.entry(model_key(values)) {
                    Entry::Occupied(model) => model.into_mut(),
                    Entry::Vacant(place) => place.insert(spec.build_zeros(device)?),
                };
                let recipe = &choice.recipe;
                recipe.plan(&recipe.adapted(model.clone())?, 1)?;
                if recipe.task == Task::SingleLabel {
                    recipe.class_weights.of(&[], classes)?;
                }
                Ok(())
            };
            check().map_err(|error| wrong(error.into()))
        })?;
        let recipe = base.recipe;
        let mut search = file
            .search
            .iter()
            .fold(Search::new(recipe.clone()), |search, (name, parameter)| {
                search.vary_own(name, parameter.clone())
            })
            .sampler(self.search_sampler)
            .scheduler(self.scheduler)
            .seed(self.recipe.seed.unwrap_or(recipe.seed));
        let of_grid = search.grid_size()?;
        search = search.trials(self.trials.or(of_grid).unwrap_or(10));
        self.tell(&search, of_grid);
        Ok(search)
    }

    fn tell(&self, search: &Search, of_grid: Option<usize>) {
        let settings = search.settings();
        if let (Some(all), Some(asked)) = (of_grid, self.trials) {
            match asked.cmp(&all) {
                std::cmp::Ordering::Less => notice::tell(format!(
                    "--trials {asked}: the first of {all} combinations of the grid"
                )),
                std::cmp::Ordering::Greater => {
                    notice::tell(format!("--trials {asked}: the grid has {all} combinations"))
                }
                std::cmp::Ordering::Equal => {}
            }
        }
        let startup = match settings.sampler {
            Sampler::Tpe { .. } => Some(("TPE", 20)),
            // As many as both densities need.
            Sampler::Bohb => Some(("BOHB", 2 * (settings.search.len() + 1))),
            _ => None,
        };
        if let Some((name, startup)) = startup.filter(|(_, startup)| settings.trials <= *startup) {
            notice::tell(format!(
                "--trials {}: all are random, as {name} begins after {startup}",
                settings.trials
            ));
        }
        let epochs = settings.most_epochs();
        let last = settings.scheduler.last_epoch(epochs);
        let last = last.filter(|last| *last < epochs);
        if let Scheduler::Hyperband {
            max_t: Some(max_t), ..
        } = settings.scheduler
            && max_t > epochs
        {
            notice::tell(format!(
                "--scheduler {}: trials end after {epochs} epochs at the latest, before the last comparison",
                settings.scheduler
            ));
        }
        if let Some(last) = last {
            notice::tell(format!(
                "--scheduler {}: no trial comes further than epoch {last} of {epochs}",
                settings.scheduler
            ));
        }
        let model = self.model.as_deref().unwrap_or_default();
        if let Some(searched) = settings.search.get("model")
            && searched.when.is_empty()
            && let Distribution::Choice(values) = &searched.distribution
            && !values.contains(&Value::from(model))
        {
            notice::tell(format!(
                "{model}: no trial takes it, as the search varies model"
            ));
        }
    }

    /// The search of a folder, and how it runs its trials.
    fn go_on(&self, dir: &Path) -> Result<(Search, ChildPlan)> {
        let (mut settings, arguments) = SearchResult::settings_of(dir)?;
        let plan: ChildPlan = arguments
            .try_into()
            .with_context(|| format!("{}: it is the search of another program", dir.display()))?;
        if !plan.folder.is_dir() {
            bail!(
                "--resume {}: the search began in the folder {}, from which its trials find their images and \
                 weights, and which is not there any more; begin another search, or put the folder back",
                dir.display(),
                plan.folder.display()
            );
        }
        if let Some(trials) = self.trials {
            if trials < settings.trials {
                bail!(
                    "--trials: expected at least the {} of the search, found {trials}",
                    settings.trials
                );
            }
            settings.trials = trials;
        }
        Ok((Search::of_settings(settings), plan))
    }

    /// What the jobs get: what is asked for now, else what they had.
    fn divide(
        &self,
        mut plan: ChildPlan,
        device: Option<&str>,
        threads: Option<usize>,
    ) -> Result<ChildPlan> {
        match (device, self.devices.as_slice()) {
            (Some(_), [_, ..]) => bail!("--device: expected only one of it and --devices"),
            (Some(device), []) => plan.devices = vec![device.to_owned()],
            (None, []) => {}
            (None, devices) => {
                plan.devices = devices.to_vec();
                plan.jobs = devices.len();
            }
        }
        plan.jobs = self.jobs.unwrap_or(plan.jobs);
        plan.threads = threads.unwrap_or(plan.threads);
        if plan.jobs > plan.threads && plan.devices.len() == 1 {
            notice::tell(format!(
                "--jobs {}: more than the {} threads that there are",
                plan.jobs, plan.threads
            ));
        }
        Ok(plan)
    }

    fn folder(&self) -> PathBuf {
        if let Some(out) = &self.out {
            return out.clone();
        }
        let name = plain_name(self.model.as_deref().unwrap_or_default());
        (1usize..)
            .map(|number| Path::new("runs").join(format!("tune-{name}-{number}")))
            .find(|dir| !dir.exists())
            .unwrap_or_default()
    }
}

/// The values that say which model is built.
fn model_key(values: &Params) -> String {
    let of_model = [
        "model",
        "small_images",
        "stem_stride",
        "stem_pool",
        "pool",
        "in_channels",
    ];
    let values = values
        .iter()
        .filter(|(name, _)| of_model.contains(&name.as_str()));
    values
        .map(|(name, value)| format!("{name}={value} "))
        .collect()
}

/// `{"best": .., "trials": [..]}`.
fn document(found: &SearchResult) -> Value {
    let settings = found.settings();
    let metric = settings.metric.as_str();
    let figure = |trial: &TrialRecord, name: &str| {
        trial
            .best(settings)
            .and_then(|best| best.metrics.get(name).copied())
    };
    let best = found.best().map(|trial| {
        let mut best = json!({
            "trial": trial.trial,
            "epoch": trial.best(settings).map(|best| best.epoch),
            "valid_accuracy": figure(trial, "valid_accuracy"),
            "params": trial.params,
            "run": trial_folder(found.dir(), trial.trial),
        });
        best[metric] = json!(figure(trial, metric));
        best
    });
    let trials = found.trials().iter().map(|trial| {
        let mut row = json!({
            "trial": trial.trial,
            "state": trial.state.name(),
            "epochs": trial.reports.len(),
            "valid_accuracy": figure(trial, "valid_accuracy"),
            "params": trial.params,
            "seconds": trial.seconds,
            "cause": trial.cause,
        });
        row[metric] = json!(figure(trial, metric));
        row
    });
    json!({ "best": best, "trials": trials.collect::<Vec<_>>() })
}

/// The trials as a table, the best first.
fn show(found: &SearchResult) -> Result<()> {
    let settings = found.settings();
    let mut trials: Vec<&TrialRecord> = found.trials().iter().collect();
    table::sort(settings, &mut trials);
    print(format!("\n{}", table::table(settings, trials.into_iter())))?;
    print(format!("\n{}", table::summary(settings, found.trials())))?;
    let importance = found.importance();
    if !importance.is_empty() {
        let shares = importance
            .iter()
            .map(|(name, share)| format!("{name} {:.0} %", 100.0 * share));
        print(format!(
            "importance (fANOVA): {}",
            shares.collect::<Vec<_>>().join(", ")
        ))?;
    }
    match found.best() {
        Some(best) => print(format!(
            "best: trial {}, {} {}: {}",
            best.trial,
            settings.metric,
            table::value(
                best.best(settings)
                    .and_then(|b| b.metrics.get(&settings.metric))
            ),
            table::params(&best.params)
        )),
        None => print("no trial has a result"),
    }
}

/// A search without any result has failed.
fn check_result(found: &SearchResult) -> Result<()> {
    match found.best() {
        Some(_) => Ok(()),
        None => bail!(
            "no trial has a result; {} says what became of each",
            found.dir().join("tune.jsonl").display()
        ),
    }
}

fn report(dir: &Path, json: bool) -> Result<()> {
    let found = SearchResult::open(dir)?;
    let page = progress::report(|| found.write_report())?;
    if json {
        let mut document = document(&found);
        document["report"] = json!(page);
        return print_json(&document);
    }
    show(&found)?;
    print(format!("report: {}", page.display()))
}
