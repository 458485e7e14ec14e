//! The models that may be recommended, and how fast they are.

use std::collections::HashMap;

use anyhow::Result;
use burn::tensor::Distribution;
use burn_zoo::manifest::{Entry, Manifest, Published, Terms};
use burn_zoo::prelude::*;
use burn_zoo::zoo::{Architecture, Numbers};

use crate::list::speaker;
use crate::measure;

/// A model with published weights.
pub struct Candidate {
    pub architecture: &'static Architecture,
    pub entry: Entry,
    pub result: Published,
    pub numbers: Numbers,
    /// The side of the images that it gets.
    pub size: usize,
}

/// Every architecture with weights of a known accuracy, `commercial` of a licence that allows such use,
/// by its default tag or else the first of the kind; the most accurate first.
pub fn candidates(manifest: &Manifest, size: usize, commercial: bool) -> Result<Vec<Candidate>> {
    let speaks = |entry: &Entry| {
        let allowed = !commercial || entry.terms() == Terms::Commercial;
        allowed && entry.best_result().is_some()
    };
    let mut found = Vec::new();
    for architecture in burn_zoo::zoo::architectures() {
        let entry = speaker(manifest, architecture, speaks);
        let Some((entry, result)) = entry.and_then(|e| Some((e, e.best_result()?))) else {
            continue;
        };
        let numbers = architecture.numbers()?;
        found.push(Candidate {
            architecture,
            entry: entry.clone(),
            result: result.clone(),
            numbers,
            size: numbers.least_size.map_or(architecture.image_size, |least| {
                size.max(least).next_multiple_of(numbers.size_step)
            }),
        });
    }
    found.sort_by(|a, b| {
        let by_accuracy = b.result.top1.total_cmp(&a.result.top1);
        by_accuracy.then(a.numbers.macs.cmp(&b.numbers.macs))
    });
    Ok(found)
}

impl Candidate {
    /// Multiply-accumulates for one image of the size that it gets.
    fn macs(&self) -> f64 {
        let side = self.size as f64 / self.architecture.image_size as f64;
        self.numbers.macs as f64 * side.powi(2)
    }
}

/// What is known of the machine's speed.
pub struct Speed {
    device: Device,
    trains: bool,
    classes: usize,
    /// Multiply-accumulates a second of what was measured, by family.
    by_family: HashMap<&'static str, f64>,
    /// Seconds for an image, by architecture.
    measured: HashMap<&'static str, f64>,
}

/// Before anything was measured.
const FIRST_GUESS: f64 = 20e9;

/// A step that is measured shall not take longer, in seconds, as far as it is known before.
const STEP: f64 = 0.5;

/// Images in it.
const MOST_IMAGES: f64 = 32.0;

/// Steps are measured until they have taken so long together, in seconds, after one that is not.
const ENOUGH: f64 = 1.0;

/// Or so many.
const MOST_STEPS: usize = 5;

impl Speed {
    pub fn new(device: Device, trains: bool, classes: usize) -> Self {
        Self {
            device: if trains { device.autodiff() } else { device },
            trains,
            classes,
            by_family: HashMap::new(),
            measured: HashMap::new(),
        }
    }

    /// Seconds for an image: measured, or by what its family, or others, needed.
    pub fn seconds(&self, candidate: &Candidate) -> f64 {
        let architecture = candidate.architecture;
        let guess = || {
            let own = self.by_family.get(architecture.family).copied();
            let rates = Vec::from_iter(self.by_family.values().copied());
            let others = || (!rates.is_empty()).then(|| measure::median(rates.clone()));
            candidate.macs() / own.or_else(others).unwrap_or(FIRST_GUESS)
        };
        let measured = self.measured.get(architecture.name).copied();
        measured.unwrap_or_else(guess)
    }

    pub fn is_measured(&self, candidate: &Candidate) -> bool {
        self.measured.contains_key(candidate.architecture.name)
    }

    /// How many were measured.
    pub fn count(&self) -> usize {
        self.measured.len()
    }

    /// Runs a model with initialised weights for a second or two.
    pub fn measure(&mut self, candidate: &Candidate) -> Result<f64> {
        let batch = (STEP / self.seconds(candidate)).clamp(1.0, MOST_IMAGES) as usize;
        let spec = Zoo::get(candidate.architecture.name)?.weights(Weights::Random(0));
        let model = spec.num_classes(self.classes).build(&self.device)?;
        let size = candidate.size;
        let shape = [batch, model.in_channels(), size, size];
        let images = Tensor::<4>::random(shape, Distribution::Default, &self.device);
        let mut step = if self.trains {
            measure::training(model, images, Optimizer::adam())?
        } else {
            measure::inference(&model, images)
        };
        step()?;
        let mut times = Vec::new();
        while times.len() < MOST_STEPS && times.iter().sum::<f64>() < ENOUGH {
            times.push(measure::seconds(&mut step)?);
        }
        let seconds = measure::median(times) / batch as f64;
        let architecture = candidate.architecture;
        self.measured.insert(architecture.name, seconds);
        let rate = candidate.macs() / seconds;
        self.by_family.insert(architecture.family, rate);
        Ok(seconds)
    }
}

#[cfg(test)]
mod tests {
    use burn_zoo::manifest::{Manifest, Terms};

    use super::candidates;

    #[test]
    fn every_architecture_of_known_accuracy_is_one() {
        let manifest = Manifest::bundled().unwrap();
        let all = candidates(&manifest, 100, false).unwrap();
        assert!(all.is_sorted_by(|a, b| a.result.top1 >= b.result.top1));
        let named = |name: &str| {
            let found = all.iter().find(|found| found.architecture.name == name);
            found.unwrap_or_else(|| panic!("{name}"))
        };
        // The default tag; where no accuracy of that is known, the first of which one is.
        assert_eq!(named("resnet18").entry.name, "resnet18.a1_in1k");
        let tag = "tiny_vit_5m_224.dist_in22k_ft_in1k";
        assert_eq!(named("tiny_vit_5m_224").entry.name, tag);
        // At the size that was asked for, at the next that fits, or at the only one.
        for (name, size) in [
            ("resnet18", 100),
            ("hrnet_w18", 128),
            ("vit_tiny_patch16_224", 224),
        ] {
            assert_eq!(named(name).size, size, "{name}");
        }
        let free = candidates(&manifest, 100, true).unwrap();
        assert!(free.len() < all.len());
        assert!(free.iter().all(|c| c.entry.terms() == Terms::Commercial));
    }
}
