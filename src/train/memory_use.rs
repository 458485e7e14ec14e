//! What a training step takes memory for.

use std::fmt;
use std::sync::Arc;

use burn::module::Module as _;
use serde::Serialize;

use super::batch_size::{Searched, where_most_trains};
use super::epoch_record::EpochRecord;
use super::feature_cache::CachePlace;
use super::optimizer::Optimizer;
use super::recipe::Recipe;
use super::setup::num_frozen_groups;
use crate::data::ImageData;
use crate::error::Result;
use crate::memory::{self, human};
use crate::model::{Classifier, Group, by_group, params};
use crate::preprocess::ImageSize;

/// Bytes that training takes, by use.
///
/// Parameters, gradients and what an optimiser remembers follow from the model and the recipe.
/// Activations are measured with two small batches and brought to the batch size along a line; so is what
/// kernels need while they work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryUse {
    /// The device.
    pub device: String,
    /// Images that go through the model at once.
    pub batch_size: usize,
    /// The program, the images, and what else was there before.
    pub program: Option<u64>,
    /// Parameters and running statistics.
    pub parameters: u64,
    /// Gradients of what trains.
    pub gradients: u64,
    /// What the optimiser remembers.
    pub optimizer: u64,
    /// An average of the weights, beside the peak.
    pub average: u64,
    /// What the forward pass keeps for the backward pass.
    pub activations: Option<u64>,
    /// Features of frozen layers that are kept from epoch to epoch, in memory or on the disk.
    pub features: u64,
    /// What is taken beside it while a step runs.
    pub working: Option<u64>,
    /// The most at once: all of it but the averaged weights and the features.
    pub predicted: Option<u64>,
    /// The most at once in two steps with this batch size, if they were made, or in a run.
    pub measured: Option<u64>,
}

impl Recipe {
    /// Tells what a run of this recipe would take memory for, by steps with small batches on a copy of the
    /// model; with `measure` also by two steps with the recipe's own batch size.
    ///
    /// `between` is called before each measurement: a program whose allocator keeps freed memory gives it
    /// back there.
    ///
    /// # Errors
    /// As [`find_batch_size`](Self::find_batch_size).
    pub fn memory_use(
        &self,
        model: &Classifier,
        train: Arc<dyn ImageData>,
        measure: bool,
        mut between: impl FnMut(),
    ) -> Result<MemoryUse> {
        self.validate()?;
        let model = &self.adapted(model.clone())?;
        let batch_size = self.batch_size.min(train.len());
        let searched = Searched {
            recipe: self,
            model,
            train: &train,
            skip_broken: true,
            budget: None,
        };
        let least = searched.min_batch()?;
        between();
        // The first steps of a process prepare what later ones find.
        searched.try_batch(least)?;
        between();
        // What a device holds beside the model is not known.
        let has_pool = model.device().memory_pool_usage().is_some();
        let before = memory::resident().filter(|_| !has_pool);
        let mut peak = |batch_size: usize| -> Result<Option<u64>> {
            between();
            let trial = searched.try_batch(batch_size)?;
            Ok(trial.peak.filter(|_| trial.fits))
        };
        let small = (batch_size / 8).max(least);
        let large = (batch_size / 2).max(small + 1).min(train.len());
        let peaks = (peak(small)?, peak(large)?);
        let line = match peaks {
            (Some(first), Some(second)) if large > small => {
                let slope = (second as f64 - first as f64) / (large - small) as f64;
                Some((slope.max(0.0), first as f64 - slope.max(0.0) * small as f64))
            }
            _ => None,
        };
        let measured = if measure { peak(batch_size)? } else { None };

        let frozen = self.frozen(model.clone(), &self.freeze)?;
        let numbers = |of: &dyn Fn(&params::ParamInfo) -> bool| -> u64 {
            let all = params::list(model).into_iter().filter(|param| of(param));
            all.map(|param| 4 * param.num_elements() as u64).sum()
        };
        let plan = self.plan(model, 1)?;
        let trains = where_most_trains(self, &plan, model.clone())?.trainable_parameters();
        let parameters = numbers(&|_| true);
        let gradients = numbers(&|param| trains.contains(&param.path));
        let optimizer = gradients / 4 * self.optimizer.states();
        let average = if self.ema.is_some() { parameters } else { 0 };
        let prefix = num_frozen_groups(&frozen);
        let features = match prefix {
            0 => 0,
            // They are not kept of images that grow, nor of those that are new in each epoch.
            _ if !self.progressive_sizes.is_none() || self.views_to_keep() == 0 => 0,
            _ if self.feature_cache.place == CachePlace::Off => 0,
            groups => {
                let loader = searched.prepare(least)?.1.train;
                let images = loader.first()?.images.without_autodiff();
                let [count, ..] = images.dims();
                let output = model.valid().forward_to(images, groups)?;
                let of_image = output.shape().length() / count.max(1);
                let numbers = of_image * self.views_to_keep() * train.len();
                numbers as u64 * if self.feature_cache.half { 2 } else { 4 }
            }
        };
        let activations = line.map(|(slope, _)| (slope * batch_size as f64) as u64);
        let predicted =
            line.map(|(slope, rest)| (rest + slope * batch_size as f64).max(0.0) as u64);
        // What was there before holds blocks that an allocator has not given back and the steps use
        // again: those count once.
        let rest = predicted
            .zip(activations)
            .map(|(all, kept)| all.saturating_sub(kept + parameters + gradients + optimizer));
        let program = before.map(|before| before.saturating_sub(parameters));
        let program = program.zip(rest).map(|(program, rest)| program.min(rest));
        let working = rest.map(|rest| rest - program.unwrap_or(0));
        Ok(MemoryUse {
            device: crate::device::device_name(&model.device().without_autodiff()),
            batch_size,
            program,
            parameters,
            gradients,
            optimizer,
            average,
            activations,
            features,
            working,
            predicted,
            measured,
        })
    }
}

impl MemoryUse {
    /// With the most that a run took by its own log: of a device, or of the process.
    #[must_use]
    pub fn with_epochs(self, epochs: &[EpochRecord]) -> Self {
        let taken = epochs.iter().map(|epoch| &epoch.memory);
        let measured = taken.filter_map(|memory| memory.device_reserved.or(memory.peak));
        Self {
            measured: measured.max(),
            ..self
        }
    }
}

/// Bytes of one group of a model: what [`MemoryUse`] is of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupMemory {
    /// The group, or `first..last` of several.
    pub group: String,
    /// Its parameters and running statistics.
    pub parameters: u64,
    /// Gradients of what trains of it.
    pub gradients: u64,
    /// What the optimiser remembers of it.
    pub optimizer: u64,
    /// Its share of what the forward pass keeps.
    pub activations: u64,
}

impl GroupMemory {
    /// All of it.
    pub fn sum(&self) -> u64 {
        self.parameters + self.gradients + self.optimizer + self.activations
    }

    /// Several neighbours as one.
    pub fn join(groups: &[Self]) -> Option<Self> {
        let (first, last) = (groups.first()?, groups.last()?);
        let sum = |of: fn(&Self) -> u64| groups.iter().map(of).sum();
        Some(Self {
            group: match groups.len() {
                1 => first.group.clone(),
                _ => format!("{}..{}", first.group, last.group),
            },
            parameters: sum(|group| group.parameters),
            gradients: sum(|group| group.gradients),
            optimizer: sum(|group| group.optimizer),
            activations: sum(|group| group.activations),
        })
    }

    /// What each part of a cut needs, with what the part goes to: see [`Classifier::place`].
    ///
    /// # Errors
    /// As [`Classifier::place`].
    pub fn of_parts<T: Clone>(
        model: &Classifier,
        groups: &[Self],
        parts: &[(&str, T)],
    ) -> Result<Vec<(T, Self)>> {
        let architecture = &model.info().architecture;
        let numbered: Vec<(&str, usize)> = parts
            .iter()
            .enumerate()
            .map(|(part, (names, _))| (*names, part))
            .collect();
        let places = by_group(architecture, &model.all_groups(), &numbered)?;
        let indexed: Vec<(usize, usize)> = places.into_iter().enumerate().collect();
        let of = |chunk: &[(usize, usize)]| {
            let (first, part) = *chunk.first()?;
            let own = Self::join(groups.get(first..first + chunk.len())?)?;
            Some((parts[part].1.clone(), own))
        };
        Ok(indexed.chunk_by(|a, b| a.1 == b.1).filter_map(of).collect())
    }

    /// Cuts groups into so many neighbouring parts whose largest is as small as can be.
    pub fn even(groups: &[Self], parts: usize) -> Vec<Self> {
        let parts = parts.clamp(1, groups.len().max(1));
        // Whether no part needs more than so much.
        let cut = |most: u64| -> Vec<std::ops::Range<usize>> {
            let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
            let mut held = 0;
            for (index, group) in groups.iter().enumerate() {
                match ranges.last_mut() {
                    Some(range) if held + group.sum() <= most => {
                        range.end = index + 1;
                        held += group.sum();
                    }
                    _ => {
                        ranges.push(index..index + 1);
                        held = group.sum();
                    }
                }
            }
            ranges
        };
        let mut low = groups.iter().map(Self::sum).max().unwrap_or(0);
        let mut high = groups.iter().map(Self::sum).sum::<u64>();
        while low < high {
            let middle = low + (high - low) / 2;
            if cut(middle).len() <= parts {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let mut ranges = cut(low);
        // A part for each device, where the largest group alone needs the most.
        while ranges.len() < parts {
            let Some(index) = ranges.iter().position(|range| range.len() > 1) else {
                break;
            };
            let range = ranges[index].clone();
            ranges[index] = range.start..range.end - 1;
            ranges.insert(index + 1, range.end - 1..range.end);
        }
        ranges
            .into_iter()
            .filter_map(|range| Self::join(&groups[range]))
            .collect()
    }
}

impl Recipe {
    /// What each group of a model takes of what the whole takes, in the order of the groups. Activations
    /// are shared out by the sizes of the layers' outputs.
    ///
    /// # Errors
    /// As [`Classifier::summary`].
    pub fn memory_by_group(
        &self,
        model: &Classifier,
        image_size: Option<ImageSize>,
        whole: &MemoryUse,
    ) -> Result<Vec<GroupMemory>> {
        let model = &self.adapted(model.clone())?;
        let summary = model.summary(image_size)?;
        let groups = model.all_groups();
        let plan = self.plan(model, 1)?;
        let trains = where_most_trains(self, &plan, model.clone())?.trainable_parameters();
        let params = params::list(model);
        let mut outputs = vec![0u64; groups.len()];
        let mut at = 0;
        for layer in summary
            .layers
            .iter()
            .filter(|layer| layer.kind != "Parameter")
        {
            // A layer without a name, such as a pooling, is where the one before it is.
            let path = format!("{}.", layer.name);
            let found = groups
                .iter()
                .position(|group| path.starts_with(&group.prefix));
            at = found.unwrap_or(at);
            outputs[at] += layer.output.iter().product::<usize>() as u64;
        }
        // Below what trains nothing is kept for a backward pass.
        let trains_in = |group: &Group| trains.iter().any(|path| path.starts_with(&group.prefix));
        let frozen = groups.iter().position(trains_in).unwrap_or(0);
        outputs[..frozen].fill(0);
        let all = outputs.iter().sum::<u64>().max(1);
        let kept = whole
            .activations
            .unwrap_or(4 * all * whole.batch_size as u64);
        let of = |(group, output): (&Group, &u64)| {
            let own = || {
                params
                    .iter()
                    .filter(|param| param.path.starts_with(&group.prefix))
            };
            let parameters = own().map(|param| 4 * param.num_elements() as u64).sum();
            let training = own().filter(|param| trains.contains(&param.path));
            let gradients: u64 = training.map(|param| 4 * param.num_elements() as u64).sum();
            GroupMemory {
                group: group.name.clone(),
                parameters,
                gradients,
                optimizer: gradients / 4 * self.optimizer.states(),
                activations: (u128::from(kept) * u128::from(*output) / u128::from(all)) as u64,
            }
        };
        Ok(groups.iter().zip(&outputs).map(of).collect())
    }
}

impl Optimizer {
    /// Bytes that it remembers of each number that trains.
    fn states(self) -> u64 {
        let numbers = match self {
            Optimizer::Sgd { momentum, .. } => u64::from(momentum > 0.0),
            Optimizer::RmsProp {
                momentum, centered, ..
            } => 1 + u64::from(momentum > 0.0) + u64::from(centered),
            Optimizer::Adam { .. } | Optimizer::AdamW { .. } | Optimizer::Lamb { .. } => 2,
            Optimizer::Lion { .. } | Optimizer::Muon { .. } | Optimizer::AdaGrad => 1,
            Optimizer::Adan => 4,
            // Rows and columns in place of matrices.
            Optimizer::Adafactor => 0,
        };
        4 * numbers
    }
}

impl fmt::Display for MemoryUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "memory of {} with batches of {}",
            self.device, self.batch_size
        )?;
        let rows = [
            ("program, images", self.program),
            ("parameters", Some(self.parameters)),
            ("gradients", Some(self.gradients)),
            ("optimiser", Some(self.optimizer)),
            ("activations", self.activations),
            ("working memory", self.working),
            ("predicted peak", self.predicted),
            ("measured peak", self.measured),
            (
                "averaged weights",
                (self.average > 0).then_some(self.average),
            ),
            (
                "features kept",
                (self.features > 0).then_some(self.features),
            ),
        ];
        let rows = rows
            .iter()
            .filter_map(|(name, bytes)| Some((name, (*bytes)?)));
        let lines: Vec<String> = rows
            .map(|(name, bytes)| format!("  {name:<17}{:>10}", human(bytes)))
            .collect();
        write!(f, "{}", lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::GroupMemory;

    #[test]
    fn parts_are_as_even_as_groups_allow() {
        let groups = |sizes: &[u64]| -> Vec<GroupMemory> {
            let group = |(index, size): (usize, &u64)| GroupMemory {
                group: format!("g{index}"),
                parameters: *size,
                gradients: 0,
                optimizer: 0,
                activations: 0,
            };
            sizes.iter().enumerate().map(group).collect()
        };
        let cut = |sizes: &[u64], parts| -> Vec<String> {
            let even = GroupMemory::even(&groups(sizes), parts);
            even.into_iter().map(|part| part.group).collect()
        };
        assert_eq!(cut(&[5, 5, 5, 5], 2), ["g0..g1", "g2..g3"]);
        assert_eq!(cut(&[1, 1, 1, 9], 2), ["g0..g2", "g3"]);
        assert_eq!(cut(&[9, 1, 1, 1], 3), ["g0", "g1..g2", "g3"]);
        assert_eq!(cut(&[1, 2], 5), ["g0", "g1"]);
        assert_eq!(cut(&[3], 1), ["g0"]);
    }
}
