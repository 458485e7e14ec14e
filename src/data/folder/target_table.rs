//! What the labels of samples stand for.

use std::collections::HashMap;

use super::sample::Sample;
use crate::data::target::{Target, Task};

/// What the labels of samples stand for. A sample has a number only, so that a long list of images
/// takes little memory.
#[derive(Clone, Default)]
pub(super) enum TargetTable {
    /// A label is the index of a class.
    #[default]
    Classes,
    /// It is the index of one of these sets of classes, each of them ascending.
    Sets(Vec<Box<[u32]>>),
    /// It is the index of a row of so many numbers.
    Rows { values: Vec<f32>, width: usize },
}

impl TargetTable {
    pub(super) fn task(&self) -> Task {
        match self {
            TargetTable::Classes => Task::SingleLabel,
            TargetTable::Sets(_) => Task::MultiLabel,
            TargetTable::Rows { .. } => Task::Regression,
        }
    }

    /// The classes of a sample; none of one with numbers.
    pub(super) fn classes_of<'a>(&'a self, sample: &'a Sample) -> &'a [u32] {
        match self {
            TargetTable::Classes => std::slice::from_ref(&sample.label),
            TargetTable::Sets(sets) => &sets[sample.label as usize],
            TargetTable::Rows { .. } => &[],
        }
    }

    /// The numbers of a sample; none of one with classes.
    pub(super) fn values_of(&self, sample: &Sample) -> &[f32] {
        match self {
            TargetTable::Classes | TargetTable::Sets(_) => &[],
            TargetTable::Rows { values, width } => {
                &values[sample.label as usize * width..][..*width]
            }
        }
    }

    pub(super) fn target(&self, sample: &Sample) -> Target {
        let classes = self.classes_of(sample).iter().map(|class| *class as usize);
        match self {
            TargetTable::Classes => Target::Class(sample.label as usize),
            TargetTable::Sets(_) => Target::Classes(classes.collect()),
            TargetTable::Rows { .. } => Target::Values(self.values_of(sample).to_vec()),
        }
    }

    /// How many samples have each class.
    pub(super) fn count_by_class(&self, samples: &[Sample], num_classes: usize) -> Vec<usize> {
        let mut counts = vec![0; num_classes];
        for class in samples.iter().flat_map(|sample| self.classes_of(sample)) {
            counts[*class as usize] += 1;
        }
        counts
    }

    /// Makes several classes and numbers follow the order that `labels` gives, of `classes` in all;
    /// those without a place in it are taken away. A single class is the sample's own affair.
    pub(super) fn follow(&mut self, labels: &[Option<usize>], classes: usize) {
        match self {
            TargetTable::Classes => {}
            TargetTable::Sets(sets) => {
                for set in sets {
                    let labels = set.iter().filter_map(|class| labels[*class as usize]);
                    let mut followed: Vec<u32> = labels.map(|label| label as u32).collect();
                    followed.sort_unstable();
                    *set = followed.into();
                }
            }
            TargetTable::Rows { values, width } => {
                let mut followed = vec![0.0; values.len() / (*width).max(1) * classes];
                let rows = followed.chunks_exact_mut(classes.max(1));
                for (row, own) in rows.zip(values.chunks_exact((*width).max(1))) {
                    for (value, label) in own.iter().zip(labels) {
                        if let Some(label) = label {
                            row[*label] = *value;
                        }
                    }
                }
                (*values, *width) = (followed, classes);
            }
        }
    }
}

/// Collects sets of classes, each once.
#[derive(Default)]
pub(super) struct SetsOfClasses {
    sets: Vec<Box<[u32]>>,
    labels: HashMap<Box<[u32]>, u32>,
}

impl SetsOfClasses {
    /// The label of a set, whose classes are ascending.
    pub(super) fn label(&mut self, set: &[u32]) -> u32 {
        if let Some(label) = self.labels.get(set) {
            return *label;
        }
        let label = self.sets.len() as u32;
        self.sets.push(set.into());
        self.labels.insert(set.into(), label);
        label
    }

    pub(super) fn into_table(self) -> TargetTable {
        TargetTable::Sets(self.sets)
    }
}
