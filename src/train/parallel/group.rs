//! A rank among those that train with it: what it tells them, and what they decide together.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::module::ParamId;
use burn::optim::GradientsParams;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::communicator::Communicator;
use super::gradients::{Order, Reduction, with_gradient};
use super::options::Parallel;
use super::reducer::{AllReduceTime, Reducer};
use super::sync_norm::NormSync;
use crate::data::Shard;
use crate::error::{Error, Result};
use crate::infer::{Answers, Counts};
use crate::model::Classifier;
use crate::nn::StatisticsSync;
use crate::train::monitor::Monitor;
use crate::train::recipe::Recipe;
use crate::train::run::config::RunData;
use crate::train::state::TrainTotals;

/// Those who train together; alone, everything it does is nothing.
#[derive(Default)]
pub(in crate::train) struct Group {
    pub(super) ranks: Option<Ranks>,
}

pub(super) struct Ranks {
    pub(super) communicator: Arc<dyn Communicator>,
    hosts: Vec<String>,
    sync_norm: Arc<NormSync>,
    reducer: Mutex<Reducer>,
    bucket_bytes: usize,
    overlap: bool,
    /// What a person was told.
    told: Mutex<HashSet<String>>,
    /// What this rank has to tell, and rank 0 does not know yet.
    untold: Mutex<Vec<String>>,
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
                told: Mutex::default(),
                untold: Mutex::default(),
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

    /// Whether all ranks have the same model and recipe, and as many images of the same classes.
    pub fn check_alike(&self, model: &Classifier, recipe: &Recipe, data: &RunData) -> Result<()> {
        let Some(ranks) = &self.ranks else {
            return Ok(());
        };
        let classes = data.classes.join("\n");
        let own = [
            ("model", model.info().architecture.clone()),
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

    /// Tells a person something: on rank 0 if nobody has said it yet, elsewhere when rank 0 hears of it.
    pub fn tell(&self, text: &str, monitor: &mut dyn Monitor) {
        match &self.ranks {
            None => monitor.notice(text),
            Some(ranks) if self.leads() => {
                if lock(&ranks.told).insert(text.to_owned()) {
                    monitor.notice(text);
                }
            }
            Some(ranks) => lock(&ranks.untold).push(text.to_owned()),
        }
    }

    /// What this rank has to tell since this was last asked.
    pub fn take_untold(&self) -> Vec<String> {
        let ranks = self.ranks.as_ref();
        ranks.map_or_else(Vec::new, |ranks| std::mem::take(&mut lock(&ranks.untold)))
    }

    /// Rank 0 tells what another one has to tell; what all say is said once.
    pub fn tell_of(&self, rank: usize, texts: Vec<String>, monitor: &mut dyn Monitor) {
        let Some(ranks) = self.ranks.as_ref().filter(|_| self.leads()) else {
            return;
        };
        for text in texts {
            if lock(&ranks.told).insert(text.clone()) {
                monitor.notice(&format!("rank {rank} on {}: {text}", ranks.hosts[rank]));
            }
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

    /// Whether gradients are handed over while the backward pass goes on.
    pub fn overlaps(&self) -> bool {
        self.ranks.as_ref().is_some_and(|ranks| ranks.overlap)
    }

    /// What summing the gradients of a step took since this was last asked.
    pub fn take_all_reduce_time(&self) -> Option<AllReduceTime> {
        lock(&self.ranks.as_ref()?.reducer).take_time()
    }

    /// Begins to sum gradients. All ranks hand over the same parameters in the same order.
    pub fn reduction(&self) -> Option<Reduction<'_>> {
        let ranks = self.ranks.as_ref()?;
        Some(Reduction::new(lock(&ranks.reducer), ranks.bucket_bytes))
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Ranks {
    pub(super) fn error(&self, rank: usize, reason: String) -> Error {
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
        // As bits: a score may be no number, for which JSON has nothing.
        let bits = |values: &[f32]| -> Vec<u32> { values.iter().map(|v| v.to_bits()).collect() };
        let answers = [&self.answers.scores, &self.answers.targets].map(|values| bits(values));
        let own = (self.images, self.loss.to_bits(), self.top5, pairs, answers);
        let mut all = Self::default();
        for (images, loss, top5, pairs, answers) in group.exchange("validation", own)? {
            let [scores, targets] =
                answers.map(|bits| bits.into_iter().map(f32::from_bits).collect());
            all.add(&Self {
                images,
                loss: f64::from_bits(loss),
                top5,
                taken_for: pairs.into_iter().collect(),
                answers: Answers { scores, targets },
            });
        }
        Ok(all)
    }
}
