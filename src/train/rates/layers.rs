//! Which layer a parameter belongs to.

use std::collections::BTreeSet;

use crate::model::PRE_LOGITS;

/// The group of a parameter; one that fits none counts to the head.
pub(in crate::train) fn group_of(path: &str, prefixes: &[impl AsRef<str>]) -> usize {
    prefixes
        .iter()
        .position(|prefix| path.starts_with(prefix.as_ref()))
        .unwrap_or(prefixes.len().saturating_sub(1))
}

/// The layer of each parameter, counted from 0 at the input, as timm's `group_parameters` counts
/// them for models with a `group_matcher`.
///
/// `prefixes` are those of the groups, from the input to the head.
///
/// - The first group is one layer, and so is the last, the head, with the layers before it that are
///   the group `pre_logits`. A parameter that fits no group counts to the head.
/// - In a group between them every block is a layer. The block is the first whole number in the
///   path behind the prefix (`stage1.0.conv1.weight`), or the group itself where its prefix ends
///   with one (`blocks.0.`).
/// - What stands beside the blocks of a group counts to its first block.
/// - A group between them without a number, such as the last normalisation of a transformer
///   (`norm.`), counts to the layer before it.
///
/// Only layers with parameters are counted: without a head, the last block is the last layer.
pub(crate) fn layer_ids(paths: &[impl AsRef<str>], prefixes: &[impl AsRef<str>]) -> Vec<usize> {
    let head = prefixes.len().saturating_sub(1);
    // Group and block of each parameter; no block for what has no number.
    let places: Vec<(usize, Option<usize>)> = paths
        .iter()
        .map(|path| {
            let path = path.as_ref();
            let group = match group_of(path, prefixes) {
                group if path.starts_with(PRE_LOGITS) && group + 1 == head => head,
                group => group,
            };
            let is_one_layer = group == 0 || group == head;
            let prefix = prefixes.get(group).map_or("", |p| p.as_ref());
            let block = if is_one_layer || is_number(prefix) {
                Some(0)
            } else {
                let mut parts = path[prefix.len()..].split('.');
                parts.find_map(|part| part.parse().ok())
            };
            (group, block)
        })
        .collect();
    let layers: BTreeSet<(usize, usize)> = places
        .iter()
        .filter_map(|&(group, block)| Some((group, block?)))
        .collect();
    places
        .into_iter()
        .map(|(group, block)| match block {
            Some(block) => layers.range(..(group, block)).count(),
            None => {
                let before = layers.range(..(group, 0)).count();
                let blocks = layers.range((group, 0)..(group + 1, 0)).count();
                match blocks {
                    0 => before.saturating_sub(1),
                    _ => before,
                }
            }
        })
        .collect()
}

/// Whether the last part of a prefix is a number.
fn is_number(prefix: &str) -> bool {
    let last = prefix.trim_end_matches('.').rsplit('.').next();
    last.is_some_and(|part| part.parse::<usize>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_counted_whatever_the_naming() {
        let ids = |paths: &[&str], prefixes: &[&str]| layer_ids(paths, prefixes);
        let stages = ["stem.", "stage1.", "stage2.", "norm.", "head."];
        // A group with something beside its blocks, numbers deeper inside, a late normalisation.
        assert_eq!(
            ids(
                &[
                    "stem.0.weight",
                    "stem.3.weight",
                    "stage1.0.mlp.1.weight",
                    "stage1.blocks.1.mlp.0.weight",
                    "stage2.downsample.weight",
                    "stage2.blocks.0.weight",
                    "stage2.blocks.10.weight",
                    "stage2.blocks.2.weight",
                    "norm.weight",
                    "head.fc.1.weight",
                    "elsewhere",
                ],
                &stages
            ),
            [0, 0, 1, 2, 3, 3, 5, 4, 5, 6, 6]
        );
        // Layers before the classifier are of its layer.
        let prefixes = ["stage1.", "pre_logits.", "head."];
        let paths = [
            "stage1.0.weight",
            "stage1.1.weight",
            "pre_logits.conv.weight",
            "head.fc.bias",
        ];
        assert_eq!(ids(&paths, &prefixes), [0, 0, 1, 1]);
        // Without a head, and without anything before a group that joins the layer before.
        assert_eq!(ids(&["stem.a", "stage1.0.a", "norm.a"], &stages), [0, 1, 1]);
        assert_eq!(ids(&["norm.a", "head.a"], &stages), [0, 0]);
        assert_eq!(ids(&["a", "b.0"], &[]), [0, 0]);
        assert_eq!(ids(&[], &stages), [0; 0]);
    }
}
