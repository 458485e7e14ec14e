//! The seeded, stratified split.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::sample::Sample;
use crate::data::valid_share;

/// Training and validation images, each in the order of `samples`: of each class, `share` of the
/// images, rounded, with the lowest hashes, are for validation; at least one and not all of two or
/// more, and none of one. Samples of the same file are one image.
pub(super) fn divide(
    samples: Vec<Sample>,
    classes: usize,
    share: f64,
    seed: u64,
) -> (Vec<Sample>, Vec<Sample>) {
    let (ranks, counts) = ranks(&samples, classes, seed, true);
    let (mut train, mut valid) = (Vec::new(), Vec::new());
    for (sample, rank) in samples.into_iter().zip(ranks) {
        if rank < valid_share::count(counts[sample.label as usize], share) {
            valid.push(sample);
        } else {
            train.push(sample);
        }
    }
    (train, valid)
}

/// The indices of `count` samples, ascending, of each class its share.
pub(super) fn stratified_subset(
    samples: &[Sample],
    classes: usize,
    count: usize,
    seed: u64,
) -> Vec<usize> {
    let (ranks, counts) = ranks(samples, classes, seed, false);
    // Each class's images are spread evenly over 0..1, so that any beginning has all shares.
    let place = |index: usize| {
        let images = counts[samples[index].label as usize];
        (ranks[index] as f64 + 0.5) / images as f64
    };
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.sort_by(|a, b| place(*a).total_cmp(&place(*b)));
    order.truncate(count);
    order.sort_unstable();
    order
}

/// The rank of each sample among those of its class, by the hash of seed and path, and how many each
/// class has. With `by_image`, samples of the same file count once.
fn ranks(
    samples: &[Sample],
    classes: usize,
    seed: u64,
    by_image: bool,
) -> (Vec<usize>, Vec<usize>) {
    let mut counts = vec![0; classes];
    let mut ranks = vec![0; samples.len()];
    let mut last: Option<&Sample> = None;
    for index in order(samples, seed) {
        let sample = &samples[index];
        let is_last = |last: &Sample| last.label == sample.label && last.path == sample.path;
        let count = &mut counts[sample.label as usize];
        if !(by_image && last.is_some_and(is_last)) {
            *count += 1;
        }
        ranks[index] = *count - 1;
        last = Some(sample);
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
