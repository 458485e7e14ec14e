//! `finetune`.

mod against;
mod for_resume;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use burn_zoo::prelude::*;
use burn_zoo::report::CurvesMonitor;
use burn_zoo::report::tensorboard::TensorBoardMonitor;
use burn_zoo::train::{
    Extension, FitOptions, MemoryUse, Monitor, Monitors, Place, Run, RunFiles, TestRecord,
    resume_rank,
};
use clap::Args;
use serde_json::json;

use self::against::side_by_side;
use self::for_resume::ForResume;
use crate::model::{WeightsArgs, names_weights, with_image_size};
use crate::model_folder::{for_path, plain_name};
use crate::output::{print, print_json};
use crate::place::PlaceArgs;
use crate::progress::{Stop, Watch};
use crate::ranks::{Ranks, RanksArgs};
use crate::recipe::{BatchSizeArg, RecipeArgs};
use crate::task::{ImageArgs, StartArgs, Task, task};
use crate::tune::TRIAL;
use crate::{batch_size, progress};

#[derive(Args)]
pub struct FinetuneArgs {
    // The first, since what is read is taken out of the arguments.
    #[command(flatten)]
    _checked: ForResume,
    /// An architecture (see `burn-zoo list`), arch.tag, hf-hub:OWNER/REPO or local-dir:DIR
    #[arg(required_unless_present = "resume")]
    model: Option<String>,
    /// Go on with the run in this folder, from its last whole checkpoint; nothing else is needed. A
    /// finished run trains on with --epochs N, N epochs in all, and with --schedule and --lr for
    /// those that are added. --data says where images are that were moved, --skip-broken leaves
    /// out those that cannot be read
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    #[command(flatten)]
    images: ImageArgs,
    /// Judge the chosen model by the test images, once, at the end. Everything is chosen by the images
    /// for validation, so that only this accuracy is an honest one
    #[arg(long)]
    test: bool,
    #[command(flatten)]
    start: StartArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    ranks: RanksArgs,
    #[command(flatten)]
    place: PlaceArgs,
    /// The run folder [default: runs/MODEL-DATA-1, or the next number that is free]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace an old run in the same folder
    #[arg(long, requires = "out")]
    overwrite: bool,
    /// Where TensorBoard's event files go: a folder, or off [default: in the run folder]
    #[arg(long, value_name = "DIR|off")]
    tensorboard: Option<String>,
    /// Memory that --batch-size auto may take, in GiB [default: four fifths of what is free]
    #[arg(long, value_name = "GIB")]
    memory_budget: Option<f64>,
    /// Show what training takes memory for before it begins, predicted from steps with small batches,
    /// and at the end with the most that was taken
    #[arg(long)]
    memory: bool,
    /// Show burn's dashboard in place of bars and a table
    #[cfg(feature = "tui")]
    #[arg(long, conflicts_with = "json")]
    tui: bool,
    /// Train once more from these weights, with the same recipe and seed, into OUT-against, and show
    /// both: what a backbone is worth. --weights-key and --weights-prefix do not count for these
    #[arg(long, value_name = "bundled|hub[:TAG]|random|FILE")]
    against: Option<String>,
    /// Write no report.html at the end
    #[arg(long)]
    no_report: bool,
    /// End with one JSON document on standard output, and print nothing else there
    #[arg(long)]
    json: bool,
}

impl FinetuneArgs {
    /// Refuses a `--device` beside `--devices`.
    pub fn check_device(&self, device: &str) -> Result<()> {
        self.ranks.check_device(device)
    }

    pub fn run(self, device: Device) -> Result<()> {
        let ranks = self.ranks.join(device)?;
        let result = self.train(&ranks);
        ranks.finish(result)
    }

    fn train(mut self, ranks: &Ranks) -> Result<()> {
        self.images.test = self.test;
        let started = Instant::now();
        if let Some(gib) = self.memory_budget
            && !(gib > 0.0 && gib.is_finite())
        {
            bail!("--memory-budget: expected a number above 0, found {gib}");
        }
        if self.memory_budget.is_some() && self.recipe.batch_size != Some(BatchSizeArg::Auto) {
            bail!("--memory-budget: only with --batch-size auto");
        }
        let mut options = FitOptions {
            overwrite: self.overwrite,
            skip_broken: self.images.data.skip_broken,
            parallel: ranks.parallel.clone(),
            ..FitOptions::default()
        };
        let mut against = None;
        let mut memory = None;
        let (tuned, valid) = match &self.resume {
            Some(dir) => match self.go_on(dir, ranks, options)? {
                Some(tuned) => tuned,
                None => return Ok(()),
            },
            None => {
                let prepared = ranks.agree(self.prepare(ranks))?;
                let Prepared {
                    task:
                        Task {
                            model,
                            data,
                            recipe,
                        },
                    test,
                    out,
                    other,
                    place,
                    memory: predicted,
                } = prepared;
                memory = predicted;
                options.place = place;
                options.data = data.source.clone();
                options.arguments = self.images.kept(&data.left_out)?;
                let mut monitors = self.monitors(self.tensorboard.as_deref(), ranks)?;
                let valid = data.valid.clone();
                let monitors = &mut monitors;
                let run = recipe
                    .fit_rank(model, data.train, data.valid, &out, options, monitors)
                    .map_err(with_image_size)?;
                // Rank 0 has it.
                let Some(run) = run else {
                    return Ok(());
                };
                let tuned = Tuned::judge(run, test, &self.images)?;
                against = match other {
                    Some(task) => Some(self.fit_against(task, &out, ranks)?),
                    None => None,
                };
                (tuned, valid)
            }
        };
        let Tuned { run, test } = &tuned;
        let report = if self.no_report {
            None
        } else {
            Some(progress::report(|| run.write_report(valid))?)
        };
        let memory = memory.map(|memory| memory.with_epochs(run.epochs()));
        let best = run.best();
        if self.json {
            return print_json(&json!({
                "run": run.dir(),
                "epochs": run.epochs().len(),
                "best_epoch": best.epoch,
                "valid_accuracy": best.valid_accuracy,
                "valid_loss": best.valid_loss,
                "metrics": best.metrics,
                "test_accuracy": test.as_ref().map(|test| test.test_accuracy),
                "test_loss": test.as_ref().map(|test| test.test_loss),
                "test_images": test.as_ref().map(|test| test.test_images),
                "test_metrics": test.as_ref().map(|test| &test.metrics),
                "skipped_images": run.skipped_images().len(),
                "seconds": started.elapsed().as_secs_f64(),
                "report": report,
                "memory": memory,
                "against": against.as_ref().map(|Tuned { run, test }| json!({
                    "run": run.dir(),
                    "weights": self.against,
                    "best_epoch": run.best().epoch,
                    "valid_accuracy": run.best().valid_accuracy,
                    "valid_loss": run.best().valid_loss,
                    "metrics": run.best().metrics,
                    "test_metrics": test.as_ref().map(|test| &test.metrics),
                    "test_accuracy": test.as_ref().map(|test| test.test_accuracy),
                    "test_loss": test.as_ref().map(|test| test.test_loss),
                    "test_images": test.as_ref().map(|test| test.test_images),
                })),
            }));
        }
        if let Some(other) = &against {
            let named = self.model.as_deref().filter(|model| names_weights(model));
            let own = self.start.weights.as_deref().or(named);
            let rows = [(own, &tuned), (self.against.as_deref(), other)];
            print(format!("\n{}", side_by_side(rows)))?;
        }
        if let Some(memory) = &memory {
            print(format!("\n{memory}"))?;
        }
        print(format!("\nbest: {best}"))?;
        if let Some(test) = test {
            print(test)?;
        }
        print(format!(
            "model: {}\ncurves and log: {}",
            run.dir().join("best").display(),
            run.dir().display()
        ))?;
        match report {
            Some(path) => print(format!("report: {}", path.display())),
            None => Ok(()),
        }
    }

    /// Everything that comes before training, so that a mistake in it shows at once.
    fn prepare(&self, ranks: &Ranks) -> Result<Prepared> {
        let device = &ranks.device;
        let name = self.model.as_deref().unwrap_or_default();
        let (size, kind) = (self.start.options.image_size, self.images.data.task);
        let recipe = self.recipe.recipe(size, kind)?;
        if self.place.is_given() && self.against.is_some() {
            bail!("--against: not with --place");
        }
        if ranks.has_processes() && self.against.is_some() {
            bail!("--against: only in one process");
        }
        let is_auto = self.recipe.batch_size == Some(BatchSizeArg::Auto);
        if self.place.is_given() && is_auto {
            bail!(
                "--batch-size: expected a number beside --place, as the search measures a whole model, \
                 found auto"
            );
        }
        if (ranks.has_processes() || ranks.has_replicas()) && is_auto {
            bail!(
                "--batch-size: expected a number where several replicas train together, found auto"
            );
        }
        let folders = self.out.as_deref().map(|out| {
            let other = self.against.as_ref().map(|_| Self::folder_against(out));
            std::iter::once(out.to_path_buf()).chain(other)
        });
        for out in folders.into_iter().flatten().filter(|_| ranks.leads()) {
            // The library speaks of choosing; here that has a flag.
            Run::check_folder(&out, self.overwrite).map_err(|error| match error {
                burn_zoo::Error::Exists { path, .. } if !self.overwrite => anyhow!(
                    "{} exists already; choose another folder with --out, or replace an \
                     old run with --overwrite",
                    path.display()
                ),
                error => error.into(),
            })?;
        }
        let weights = self.start.weights.as_deref();
        let choice = &self.start.choice;
        let mut task = self.task(name, weights, choice, recipe, device.clone())?;
        let test = self.images.to_test(&task.data)?;
        if is_auto {
            self.find_batch_size(&mut task)?;
        }
        let memory_use = || {
            let (model, train) = (&task.model, task.data.train.clone());
            let between = crate::allocator::give_back;
            progress::wait("measuring", || {
                task.recipe.memory_use(model, train, false, between)
            })
        };
        let is_shown = self.memory && ranks.leads();
        let memory = is_shown.then(memory_use).transpose()?;
        if let (Some(memory), false) = (&memory, self.json) {
            print(format!("{memory}\n"))?;
        }
        let place = self.place.place(|| {
            let whole = memory_use()?;
            let size = task.recipe.image_size;
            Ok(task.recipe.memory_by_group(&task.model, size, &whole)?)
        })?;
        let out = self.out.clone();
        let out = out.unwrap_or_else(|| self.default_folder(name));
        let other = match &self.against {
            Some(weights) => Some(self.task_against(&task, weights, device.clone())?),
            None => None,
        };
        Ok(Prepared {
            task,
            test,
            out,
            other,
            place,
            memory,
        })
    }

    fn task(
        &self,
        name: &str,
        weights: Option<&str>,
        choice: &WeightsArgs,
        recipe: Recipe,
        device: Device,
    ) -> Result<Task> {
        task(
            name,
            &self.images,
            &self.start.options,
            weights,
            choice,
            recipe,
            device,
        )
    }

    /// The folder of the run from the other weights.
    fn folder_against(out: &Path) -> PathBuf {
        let mut name = out.as_os_str().to_owned();
        name.push("-against");
        name.into()
    }

    /// The same architecture with other weights, everything else being equal: also what was found for the
    /// first, as its batch size and its stem.
    fn task_against(&self, first: &Task, weights: &str, device: Device) -> Result<Task> {
        let mut options = self.start.options.clone();
        if let Some(stem) = first.model.backbone.describe().changed_stem() {
            options.small_images = false;
            options.stem_stride = Some(stem.stride());
            options.no_stem_pool = stem.pools() == Some(false);
        }
        options.image_size = options.image_size.or(first.model.info().image_size);
        options.pool = Some(first.model.head.pool());
        task(
            &first.model.info().architecture,
            &self.images,
            &options,
            Some(weights),
            // The key and the prefix were chosen for the first file.
            &WeightsArgs::default(),
            first.recipe.clone(),
            device,
        )
    }

    fn fit_against(&self, task: Task, out: &Path, ranks: &Ranks) -> Result<Tuned> {
        if let (Some(weights), false) = (&self.against, self.json) {
            print(format!("\nThe same from weights: {weights}"))?;
        }
        let (model, data) = (task.model, task.data);
        let options = FitOptions {
            overwrite: self.overwrite,
            data: data.source.clone(),
            arguments: self.images.kept(&data.left_out)?,
            skip_broken: self.images.data.skip_broken,
            parallel: ranks.parallel.clone(),
            ..FitOptions::default()
        };
        let out = Self::folder_against(out);
        let mut monitors = self.monitors(Some("off"), ranks)?;
        let monitors = &mut monitors;
        let run = task
            .recipe
            .fit_with(model, data.train, data.valid, &out, options, monitors)
            .map_err(with_image_size)?;
        let test = data.test.filter(|_| self.images.test);
        Tuned::judge(run, test, &self.images)
    }

    /// Goes on with a run; of several processes rank 0 alone has what came of it.
    fn go_on(
        &self,
        dir: &Path,
        ranks: &Ranks,
        mut options: FitOptions,
    ) -> Result<Option<(Tuned, Arc<dyn ImageData>)>> {
        let config = ranks.run_config(dir);
        let opened = || -> Result<_> {
            let config = config?;
            let mut images = ImageArgs::to_go_on(dir, &config, &self.images)?;
            images.test |= self.test;
            let data = images.open_again(&config)?;
            let test = images.to_test(&data)?;
            let trial = config.data.arguments.get(TRIAL).cloned();
            Ok((images, data, test, trial))
        };
        let (images, data, test, trial) = ranks.agree(opened())?;
        options.arguments = images.kept(&[])?;
        options
            .arguments
            .extend(trial.map(|trial| (TRIAL.to_owned(), trial)));
        options.skip_broken = images.data.skip_broken;
        options.extend = self.recipe.epochs.map(|epochs| Extension {
            epochs,
            schedule: self.recipe.schedule.clone(),
            learning_rate: self.recipe.lr,
        });
        options.place = self.place.place(|| {
            bail!("--place auto: expected the groups and devices of the cut where a run goes on")
        })?;
        let mut monitors = self.monitors(self.tensorboard.as_deref(), ranks)?;
        let valid = data.valid.clone();
        let monitors = &mut monitors;
        let device = &ranks.device;
        let run = resume_rank(dir, device, data.train, data.valid, options, monitors)?;
        let Some(run) = run else {
            return Ok(None);
        };
        // A finished run starts no monitor, and its picture may lack the last epoch.
        run.write_curves()?;
        Ok(Some((Tuned::judge(run, test, &images)?, valid)))
    }

    /// Those who watch a run: event files into a folder (by default the run's own, `off` for none),
    /// curves, and what a person sees.
    fn monitors(&self, tensorboard: Option<&str>, ranks: &Ranks) -> Result<Monitors<'static>> {
        if !ranks.leads() {
            let stop = Stop::on_signal()?;
            return Ok(Monitors(vec![Box::new(Watch::new(stop, false))]));
        }
        let mut monitors: Vec<Box<dyn Monitor>> = Vec::new();
        match tensorboard {
            None => monitors.push(Box::new(TensorBoardMonitor::default())),
            Some("off") => {}
            Some(folder) => monitors.push(Box::new(TensorBoardMonitor::new(folder))),
        }
        monitors.push(Box::new(CurvesMonitor::default()));
        monitors.push(self.watch()?);
        Ok(Monitors(monitors))
    }

    /// What a person sees meanwhile.
    fn watch(&self) -> Result<Box<dyn Monitor>> {
        let stop = Stop::on_signal()?;
        #[cfg(feature = "tui")]
        if self.tui {
            return Ok(Box::new(crate::dashboard::Dashboard::new(stop)?));
        }
        Ok(Box::new(Watch::new(stop, !self.json)))
    }

    fn find_batch_size(&self, task: &mut Task) -> Result<()> {
        batch_size::find(task, self.memory_budget, self.images.data.skip_broken)
    }

    /// The first free one of `runs/MODEL-DATA-1`, `-2`, ..
    fn default_folder(&self, model: &str) -> PathBuf {
        let data = Path::new(self.images.data.name())
            .file_name()
            .unwrap_or_default();
        let data = for_path(&data.to_string_lossy());
        let name = format!("{}-{data}", plain_name(model));
        (1usize..)
            .map(|number| Path::new("runs").join(format!("{name}-{number}")))
            .find(|dir| !dir.exists() && !Self::folder_against(dir).exists())
            .unwrap_or_default()
    }
}

/// What is there before training begins.
struct Prepared {
    task: Task,
    test: Option<Arc<dyn ImageData>>,
    /// The run folder.
    out: PathBuf,
    /// The same with other weights.
    other: Option<Task>,
    place: Place,
    memory: Option<MemoryUse>,
}

/// A run, and how its model does on the test images, if that was asked for.
struct Tuned {
    run: Run,
    test: Option<TestRecord>,
}

impl Tuned {
    /// Judges the model by the test images, if there are any, and if it was not: a run that is resumed
    /// after its end is not judged again.
    fn judge(run: Run, images: Option<Arc<dyn ImageData>>, args: &ImageArgs) -> Result<Self> {
        let known = RunFiles::open(run.dir())?.test;
        let test = match (known, images) {
            (None, Some(images)) => {
                let skip_broken = args.data.skip_broken;
                let judged =
                    progress::wait("judging the test images", || run.test(images, skip_broken));
                Some(judged.map_err(|error| match error {
                    burn_zoo::Error::Image { .. } => args.data.with_skip_broken(error),
                    error => error.into(),
                })?)
            }
            (known, _) => known,
        };
        Ok(Self { run, test })
    }
}
