//! A rank among those that train with it: what it tells them, and what they decide together.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::ParamId;
use burn::optim::GradientsParams;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::communicator::Communicator;
use super::gradients::{Order, Reduction, with_gradient};
use super::options::Parallel;
use super::reducer::Reducer;
use super::sync_norm::NormSync;
use crate::data::Shard;
use crate::error::{Error, Result};
use crate::files::{folder_of, write_file};
use crate::infer::Counts;
use crate::model::{Classifier, params};
use crate::nn::StatisticsSync;
use crate::train::recipe::Recipe;
use crate::train::run::config::RunData;
use crate::train::state::TrainTotals;

/// Those who train together; alone, everything it does is nothing.
#[derive(Default)]
pub(in crate::train) struct Group {
    ranks: Option<Ranks>,
}

struct Ranks {
    communicator: Arc<dyn Communicator>,
    hosts: Vec<String>,
    sync_norm: Arc<NormSync>,
    reducer: Mutex<Reducer>,
    bucket_bytes: usize,
    overlap: bool,
    /// Whether the ranks no longer listen to each other.
    ended: AtomicBool,
}

/// What ranks tell each other, whatever it is about: so an error of one finds the others
/// wherever they are.
#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    /// What it is about: ranks that do not do the same must not take each other's words for an answer.
    about: String,
    /// Why the rank ends.
    error: Option<String>,
    /// One value, if there is no error. (`null` would be a value as well.)
    value: Vec<T>,
}

/// What a rank has of a step before the gradients are summed.
#[derive(Serialize, Deserialize)]
pub(in crate::train) struct StepReport {
    pub epoch: usize,
    pub batches: usize,
    pub steps: usize,
    /// Of the step.
    pub images: usize,
    pub correct: usize,
    /// The bits of sums: JSON has no NaN.
    pub loss_sum: u64,
    /// The bits of the step's own loss.
    pub loss: u64,
    /// Which parameters have a gradient.
    pub present: Vec<bool>,
    /// Numbers of each parameter that trains.
    pub lengths: Vec<usize>,
}

impl Group {
    /// The ranks of a communicator, if there are several.
    pub fn new(communicator: Arc<dyn Communicator>, options: &Parallel) -> Result<Self> {
        if communicator.size() < 2 {
            return Ok(Self::default());
        }
        let host = communicator.host();
        let own = format!("{} {}\n{host}", options.bucket_bytes, options.overlap);
        let all = communicator.all_gather(own.as_bytes())?;
        let all = all
            .iter()
            .map(|words| String::from_utf8_lossy(words).into_owned());
        let split = |words: String| match words.split_once('\n') {
            Some((buckets, host)) => (buckets.to_owned(), host.to_owned()),
            None => (words, String::new()),
        };
        let (buckets, hosts): (Vec<String>, Vec<String>) = all.map(split).unzip();
        if let Some(rank) = buckets.iter().position(|other| *other != buckets[0]) {
            let (own, first) = (&buckets[rank], &buckets[0]);
            return Err(Error::Rank {
                rank,
                host: hosts[rank].clone(),
                reason: format!("buckets and overlap of `{own}`, and on rank 0 of `{first}`"),
            });
        }
        Ok(Self {
            ranks: Some(Ranks {
                reducer: Mutex::new(Reducer::new(communicator.clone(), options.overlap)?),
                bucket_bytes: options.bucket_bytes,
                overlap: options.overlap,
                ended: AtomicBool::new(false),
                sync_norm: Arc::new(NormSync::new(communicator.clone())),
                communicator,
                hosts,
            }),
        })
    }

    pub fn is_alone(&self) -> bool {
        self.ranks.is_none()
    }

    pub fn rank(&self) -> usize {
        self.ranks.as_ref().map_or(0, |r| r.communicator.rank())
    }

    pub fn size(&self) -> usize {
        self.ranks.as_ref().map_or(1, |r| r.communicator.size())
    }

    /// Whether this rank writes, prints and decides.
    pub fn leads(&self) -> bool {
        self.rank() == 0
    }

    /// This rank's share of a set of images.
    pub fn shard(&self) -> Option<Shard> {
        let (rank, size) = (self.rank(), self.size());
        self.ranks.as_ref().map(|_| Shard { rank, size })
    }

    /// The ranks in words.
    pub fn in_words(&self) -> Option<String> {
        let ranks = self.ranks.as_ref()?;
        let mut hosts = ranks.hosts.clone();
        hosts.sort();
        hosts.dedup();
        Some(format!(
            "{} ranks on {}",
            ranks.hosts.len(),
            hosts.join(", ")
        ))
    }

    /// By what batch normalisations can share their statistics.
    pub fn statistics_sync(&self) -> Option<Arc<dyn StatisticsSync>> {
        Some(self.ranks.as_ref()?.sync_norm.clone())
    }

    /// Whether all ranks have the same recipe and as many images of the same classes.
    pub fn check_alike(&self, recipe: &Recipe, data: &RunData) -> Result<()> {
        let Some(ranks) = &self.ranks else {
            return Ok(());
        };
        let classes = data.classes.join("\n");
        let own = [
            ("recipe", recipe.to_toml()?),
            ("training images", data.train_images.to_string()),
            ("validation images", data.valid_images.to_string()),
            ("classes", classes),
        ];
        let names = own.each_ref().map(|(name, _)| *name);
        let all = self.exchange("start", own.map(|(_, value)| value))?;
        for (rank, other) in all.iter().enumerate() {
            for (name, (first, other)) in names.iter().zip(all[0].iter().zip(other)) {
                if first != other {
                    let differ = first.lines().zip(other.lines()).find(|(a, b)| a != b);
                    let (first, other) = differ.unwrap_or((first, other));
                    return Err(ranks.error(
                        rank,
                        format!(
                            "{name}: `{other}`, and on rank 0 `{first}`: start all ranks with the \
                             same arguments and data"
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Gives all ranks what rank 0 has of a run: its configuration and its newest checkpoint, in a run
    /// folder of their own.
    pub fn broadcast_run(&self, dir: &Path, checkpoint: Option<&Path>) -> Result<Option<TempDir>> {
        let Some(ranks) = &self.ranks else {
            return Ok(None);
        };
        let mut files = Vec::new();
        if self.leads() {
            files.push(PathBuf::from("config.toml"));
            let folders: Vec<PathBuf> = checkpoint.into_iter().map(Path::to_path_buf).collect();
            list_files(dir, folders, &mut files)?;
        }
        let mut packed = Vec::new();
        for name in &files {
            let path = dir.join(name);
            let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
            let name = name.to_string_lossy().into_owned();
            packed.extend((name.len() as u64).to_le_bytes());
            packed.extend(name.as_bytes());
            packed.extend((bytes.len() as u64).to_le_bytes());
            packed.extend(bytes);
        }
        // All that can fail on rank 0 lies before this.
        self.exchange("run", ())?;
        let packed = ranks.communicator.broadcast(packed)?;
        if self.leads() {
            return Ok(None);
        }
        let place = std::env::temp_dir();
        let copy = TempDir::with_prefix("burn-zoo-rank-");
        let copy = copy.map_err(Error::io("create a folder in", &place))?;
        let mut rest = &packed[..];
        let damaged = || ranks.error(0, "it sent a run that cannot be read".to_owned());
        while !rest.is_empty() {
            let name = take(&mut rest).ok_or_else(damaged)?;
            let bytes = take(&mut rest).ok_or_else(damaged)?;
            let path = copy.path().join(String::from_utf8_lossy(name).as_ref());
            let folder = folder_of(&path);
            std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
            write_file(&path, bytes)?;
        }
        Ok(Some(copy))
    }

    /// What each rank says about something, in the order of ranks. An error of another rank is this
    /// one's.
    pub fn exchange<T: Serialize + DeserializeOwned>(
        &self,
        about: &str,
        value: T,
    ) -> Result<Vec<T>> {
        let Some(ranks) = &self.ranks else {
            return Ok(vec![value]);
        };
        let envelope = Envelope {
            about: about.to_owned(),
            error: None,
            value: vec![value],
        };
        let answers = ranks.send(&envelope)?;
        let mut values = Vec::with_capacity(answers.len());
        for (rank, answer) in answers.iter().enumerate() {
            let mut envelope: Envelope<T> = ranks.open(rank, about, answer)?;
            match envelope.value.pop() {
                Some(value) => values.push(value),
                None => return Err(ranks.error(rank, "it said nothing".to_owned())),
            }
        }
        Ok(values)
    }

    /// What rank 0 says about something.
    pub fn follow<T: Serialize + DeserializeOwned>(&self, about: &str, value: T) -> Result<T> {
        let mut values = self.exchange(about, self.leads().then_some(value))?;
        match values.swap_remove(0) {
            Some(value) => Ok(value),
            // `value` of rank 0 is always there.
            None => Err(Error::argument(about, "an answer of rank 0", "none")),
        }
    }

    /// The end of what ranks do together: what rank 0 does after it, it does alone.
    pub fn end(&self) -> Result<()> {
        self.exchange("end", ())?;
        if let Some(ranks) = &self.ranks {
            ranks.ended.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Tells the others why this rank ends, unless they know.
    pub fn fail(&self, error: &Error) {
        let Some(ranks) = &self.ranks else {
            return;
        };
        if !ranks.ended.load(Ordering::Relaxed) {
            let envelope = Envelope::<()> {
                about: String::new(),
                error: Some(error.to_string()),
                value: Vec::new(),
            };
            // Whether they hear it or not, this rank has ended.
            let _ = ranks.send(&envelope);
        }
        ranks.ended.store(true, Ordering::Relaxed);
        ranks.communicator.give_up();
    }

    /// A model with rank 0's weights, and the ids by which its optimiser knows them.
    pub fn broadcast_model(&self, model: Classifier) -> Result<Classifier> {
        let Some(ranks) = &self.ranks else {
            return Ok(model);
        };
        let architectures = self.exchange("model", model.info().architecture.clone())?;
        if let Some(rank) = architectures
            .iter()
            .position(|name| *name != architectures[0])
        {
            let reason = format!(
                "it trains {}, and rank 0 {}",
                architectures[rank], architectures[0]
            );
            return Err(ranks.error(rank, reason));
        }
        let model = self.broadcast_values("weights", model, |_| true)?;
        let ids = params::list(&model).into_iter();
        let ids: Vec<(String, u64)> = ids.map(|p| (p.path, p.id.val())).collect();
        let ids = self.follow("ids", ids)?;
        let ids: std::collections::HashMap<String, u64> = ids.into_iter().collect();
        params::with_ids(model, |path| ids.get(path).copied().map(Into::into)).ok_or_else(|| {
            let expected = "the same architecture on every rank";
            Error::argument("model", expected, "parameters of other names")
        })
    }

    /// A model with rank 0's running statistics.
    pub fn broadcast_statistics(&self, model: Classifier) -> Result<Classifier> {
        match &self.ranks {
            None => Ok(model),
            Some(_) => self.broadcast_values("statistics", model, crate::nn::is_buffer),
        }
    }

    /// Gives parameters, and running statistics, of which `which` says so, rank 0's values.
    fn broadcast_values(
        &self,
        about: &str,
        model: Classifier,
        which: impl Fn(&str) -> bool,
    ) -> Result<Classifier> {
        let Some(ranks) = &self.ranks else {
            return Ok(model);
        };
        let leads = self.leads();
        let mut bytes = Vec::new();
        if leads {
            for (path, tensor) in params::read(&model)? {
                if which(&path) {
                    bytes.extend(tensor.data.iter().flat_map(|value| value.to_le_bytes()));
                }
            }
        }
        let own = params::list(&model)
            .into_iter()
            .filter(|param| which(&param.path));
        let own: usize = own.map(|param| param.num_elements()).sum();
        // All that can fail lies before this.
        let numbers = self.exchange(about, own)?;
        if let Some(rank) = numbers.iter().position(|other| *other != numbers[0]) {
            let reason = format!(
                "{about} of {} numbers, and on rank 0 {}",
                numbers[rank], numbers[0]
            );
            return Err(ranks.error(rank, reason));
        }
        let bytes = ranks.communicator.broadcast(bytes)?;
        if leads {
            return Ok(model);
        }
        let mut values = bytes
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        params::write(model, |path, shape| {
            Ok(which(path).then(|| values.by_ref().take(shape.iter().product()).collect()))
        })
    }

    /// Whether gradients are handed over while the backward pass goes on.
    pub fn overlaps(&self) -> bool {
        self.ranks.as_ref().is_some_and(|ranks| ranks.overlap)
    }

    /// Begins to sum gradients. All ranks hand over the same parameters in the same order.
    pub fn reduction(&self) -> Option<Reduction<'_>> {
        let ranks = self.ranks.as_ref()?;
        let reducer = ranks.reducer.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Reduction::new(reducer, ranks.bucket_bytes))
    }

    /// Averages the gradients of a step over the images of all ranks, and adds up what they counted: the
    /// mean loss, and the gradients. `totals` are those before the step, and then those after it.
    pub fn average(
        &self,
        model: &Classifier,
        report: StepReport,
        local: LocalStep<'_>,
        totals: &mut TrainTotals,
    ) -> Result<(f64, GradientsParams)> {
        let Some(ranks) = &self.ranks else {
            return Ok((f64::from_bits(report.loss), local.gradients));
        };
        let order = Order::of(model);
        let own = report.images;
        let present = match local.handed_over {
            Some(_) => local.present,
            None => with_gradient(model, &local.gradients),
        };
        let report = StepReport {
            present: order.present(&present),
            lengths: order.lengths(),
            ..report
        };
        // Nothing fails between this and the last sum; and who is still to hand something over has said
        // here that it does.
        let reports = self.exchange("step", report)?;
        for (rank, other) in reports.iter().enumerate() {
            ranks.compare(rank, &reports[0], other)?;
        }
        let images: usize = reports.iter().map(|report| report.images).sum();
        let mean = |report: &StepReport| {
            if report.images == 0 {
                0.0
            } else {
                f64::from_bits(report.loss) * report.images as f64 / images as f64
            }
        };
        let loss: f64 = reports.iter().map(mean).sum();
        for report in &reports {
            totals.images += report.images;
            totals.correct += report.correct;
            totals.loss += f64::from_bits(report.loss_sum);
        }
        let any = |param: usize| reports.iter().any(|report| report.present[param]);
        let wanted = order.chosen(any);
        let reduction = match local.handed_over {
            Some(reduction) => reduction,
            None if images == 0 || !loss.is_finite() => return Ok((loss, local.gradients)),
            None => {
                let weight = if local.is_weighted {
                    1.0 / reports.len() as f64
                } else {
                    own as f64 / images as f64
                };
                let Some(mut reduction) = self.reduction() else {
                    return Ok((loss, local.gradients));
                };
                reduction.add(model, order.chosen(|_| true), local.gradients, weight)?;
                reduction
            }
        };
        Ok((loss, reduction.finish(model, &wanted)?))
    }
}

/// This rank's gradients of a step.
pub(in crate::train) struct LocalStep<'a> {
    /// Those that are still to be handed over.
    pub gradients: GradientsParams,
    /// Those that were, while the backward pass went on.
    pub handed_over: Option<Reduction<'a>>,
    /// The parameters of which they are.
    pub present: HashSet<ParamId>,
    /// Whether the loss has the weight of this rank's images already.
    pub is_weighted: bool,
}

/// The next part of what was packed: its length, and then itself.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (part, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(part)
}

/// The files of some folders below `dir`, by their paths in it.
fn list_files(dir: &Path, mut folders: Vec<PathBuf>, files: &mut Vec<PathBuf>) -> Result<()> {
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
            let path = entry.map_err(Error::io("read", &folder))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(name) = path.strip_prefix(dir) {
                files.push(name.to_path_buf());
            }
        }
    }
    Ok(())
}

impl Ranks {
    fn error(&self, rank: usize, reason: String) -> Error {
        Error::Rank {
            rank,
            host: self.hosts[rank].clone(),
            reason,
        }
    }

    fn send<T: Serialize>(&self, envelope: &Envelope<T>) -> Result<Vec<Vec<u8>>> {
        let bytes = serde_json::to_vec(envelope)
            .map_err(|error| Error::argument("ranks", "values that JSON can hold", error))?;
        // Who ended in the middle of the step is not there for this exchange.
        if let Some((rank, message)) = self.sync_norm.heard() {
            self.ended.store(true, Ordering::Relaxed);
            let envelope = serde_json::from_slice::<Envelope<serde_json::Value>>(&message);
            let reason = match envelope {
                Ok(Envelope {
                    error: Some(error), ..
                }) => error,
                Ok(Envelope { about, .. }) => format!("it is at `{about}` in the middle of a step"),
                Err(_) => String::from_utf8_lossy(&message).into_owned(),
            };
            return Err(self.error(rank, reason));
        }
        let answers = self.communicator.all_gather(&bytes);
        answers.inspect_err(|_| self.ended.store(true, Ordering::Relaxed))
    }

    /// What a rank said about something.
    fn open<T: DeserializeOwned>(
        &self,
        rank: usize,
        about: &str,
        answer: &[u8],
    ) -> Result<Envelope<T>> {
        // The head first: what else is in it depends on what it is about.
        let head: Envelope<serde_json::Value> = serde_json::from_slice(answer)
            .map_err(|error| self.error(rank, format!("it sent what cannot be read: {error}")))?;
        if let Some(error) = head.error {
            self.ended.store(true, Ordering::Relaxed);
            return Err(self.error(rank, error));
        }
        if head.about != about {
            return Err(self.error(
                rank,
                format!("it is at `{}`, and another rank at `{about}`", head.about),
            ));
        }
        serde_json::from_slice(answer)
            .map_err(|error| self.error(rank, format!("it sent what cannot be read: {error}")))
    }

    /// Whether a rank is where the first one is, and trains the same.
    fn compare(&self, rank: usize, first: &StepReport, other: &StepReport) -> Result<()> {
        let place = |r: &StepReport| (r.epoch, r.batches, r.steps);
        if place(first) != place(other) {
            let (epoch, batch, step) = place(other);
            let (epoch0, batch0, step0) = place(first);
            return Err(self.error(
                rank,
                format!(
                    "it is at epoch {epoch}, batch {batch}, step {step}, and rank 0 at epoch \
                     {epoch0}, batch {batch0}, step {step0}: start all with the same arguments and data"
                ),
            ));
        }
        if first.lengths != other.lengths {
            let sum = |r: &StepReport| r.lengths.iter().sum::<usize>();
            return Err(self.error(
                rank,
                format!(
                    "it trains {} numbers in {} tensors, and rank 0 {} in {}: start all with the \
                     same model and recipe",
                    sum(other),
                    other.lengths.len(),
                    sum(first),
                    first.lengths.len()
                ),
            ));
        }
        Ok(())
    }
}

impl Counts {
    /// Those of all ranks.
    pub(in crate::train) fn over_ranks(self, group: &Group) -> Result<Self> {
        if group.is_alone() {
            return Ok(self);
        }
        let pairs: Vec<_> = self
            .taken_for
            .iter()
            .map(|(p, count)| (*p, *count))
            .collect();
        let own = (self.images, self.loss.to_bits(), self.top5, pairs);
        let mut all = Self::default();
        for (images, loss, top5, pairs) in group.exchange("validation", own)? {
            all.add(&Self {
                images,
                loss: f64::from_bits(loss),
                top5,
                taken_for: pairs.into_iter().collect(),
            });
        }
        Ok(all)
    }
}
