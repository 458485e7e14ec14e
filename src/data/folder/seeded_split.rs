//! The seeded, stratified split.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::sample::Sample;
use super::target_table::TargetTable;
use crate::data::label_split::{for_validation, rarest_labels};
use crate::data::valid_share;

/// Training and validation images, each in the order of `samples`: of each class, and of all images
/// with numbers, `share` of the images, rounded, with the lowest hashes, are for validation; at least
/// one and not all of two or more, and none of one. Samples of the same file are one image. Images with
/// several labels are divided by [`for_validation`].
pub(super) fn divide(
    samples: Vec<Sample>,
    targets: &TargetTable,
    classes: usize,
    share: f64,
    seed: u64,
) -> (Vec<Sample>, Vec<Sample>) {
    let is_valid = if let TargetTable::Sets(_) = targets {
        let order = order(&samples, seed);
        for_validation(&labels(&samples, targets), classes, &order, share)
    } else {
        let groups = groups(&samples, targets, classes);
        let (ranks, counts) = ranks(&samples, &groups, seed, true);
        let ranks = ranks.into_iter().zip(groups);
        ranks
            .map(|(rank, group)| rank < valid_share::count(counts[group], share))
            .collect()
    };
    let (mut train, mut valid) = (Vec::new(), Vec::new());
    for (sample, is_valid) in samples.into_iter().zip(is_valid) {
        if is_valid {
            valid.push(sample);
        } else {
            train.push(sample);
        }
    }
    (train, valid)
}

fn labels<'a>(samples: &'a [Sample], targets: &'a TargetTable) -> Vec<&'a [u32]> {
    let labels = samples.iter().map(|sample| targets.classes_of(sample));
    labels.collect()
}

/// What each sample is counted among: its class, the rarest of its labels, or all.
fn groups(samples: &[Sample], targets: &TargetTable, classes: usize) -> Vec<usize> {
    match targets {
        TargetTable::Classes => samples.iter().map(|s| s.label as usize).collect(),
        TargetTable::Sets(_) => rarest_labels(&labels(samples, targets), classes),
        TargetTable::Rows { .. } => vec![0; samples.len()],
    }
}

/// The indices of `count` samples, ascending, of each class its share. Images with several labels
/// count for the rarest.
pub(super) fn stratified_subset(
    samples: &[Sample],
    targets: &TargetTable,
    classes: usize,
    count: usize,
    seed: u64,
) -> Vec<usize> {
    let groups = groups(samples, targets, classes);
    let (ranks, counts) = ranks(samples, &groups, seed, false);
    // Each class's images are spread evenly over 0..1, so that any beginning has all shares.
    let place = |index: usize| {
        let images = counts[groups[index]];
        (ranks[index] as f64 + 0.5) / images as f64
    };
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.sort_by(|a, b| place(*a).total_cmp(&place(*b)));
    order.truncate(count);
    order.sort_unstable();
    order
}

/// The rank of each sample in its group, by the hash of seed and path, and how many each group has.
/// With `by_image`, samples of the same file count once; they are in the same group.
fn ranks(
    samples: &[Sample],
    groups: &[usize],
    seed: u64,
    by_image: bool,
) -> (Vec<usize>, Vec<usize>) {
    let mut counts = vec![0; groups.iter().max().map_or(0, |last| last + 1)];
    let mut ranks = vec![0; samples.len()];
    let mut last: Option<usize> = None;
    for index in order(samples, seed) {
        let is_same = |last: usize| {
            groups[last] == groups[index] && samples[last].path == samples[index].path
        };
        let count = &mut counts[groups[index]];
        if !(by_image && last.is_some_and(is_same)) {
            *count += 1;
        }
        ranks[index] = *count - 1;
        last = Some(index);
    }
    (ranks, counts)
}

/// The samples by the hash of seed and path.
fn order(samples: &[Sample], seed: u64) -> Vec<usize> {
    let mut order: Vec<(u64, usize)> = samples
        .iter()
        .enumerate()
        .map(|(index, sample)| (hash(seed, &sample.path), index))
        .collect();
    // The path decides between equal hashes, so that the order of the samples never does.
    order.sort_by(|a, b| {
        let path = |index: usize| &samples[index].path;
        a.0.cmp(&b.0).then_with(|| path(a.1).cmp(path(b.1)))
    });
    order.into_iter().map(|(_, index)| index).collect()
}

/// The same on every machine: SHA-256 is fixed, unlike the standard library's hasher, and the
/// path's parts are joined in the same way everywhere.
fn hash(seed: u64, path: &Path) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    for part in path.components() {
        hasher.update(b"/");
        hasher.update(part.as_os_str().as_encoded_bytes());
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
