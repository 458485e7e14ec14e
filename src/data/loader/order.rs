//! The order in which an epoch sees the images.

use std::collections::BTreeMap;
use std::ops::Range;

use super::config::Sampler;
use crate::init::Rng;

/// The images of `range` in the order of an epoch. `labels` has the label of every image, which
/// [`Sampler::Balanced`] needs.
pub(super) fn shuffled(
    range: Range<usize>,
    labels: &[usize],
    sampler: Sampler,
    seed: u64,
    epoch: u64,
) -> Vec<usize> {
    let mut rng = Rng::new(seed, &format!("shuffle {epoch}"));
    // One of so many, each as likely.
    let mut draw = |count: usize| (rng.uniform(0.0, count as f64) as usize).min(count - 1);
    let mut order: Vec<usize> = range.clone().collect();
    match sampler {
        Sampler::Shuffle => {
            // Fisher and Yates, from the end.
            for last in (1..order.len()).rev() {
                order.swap(last, draw(last + 1));
            }
        }
        Sampler::Balanced => {
            // One class first, each as likely as the others, then one of its images: the same
            // distribution as weighing each image by one over its class's count.
            let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for index in range {
                members.entry(labels[index]).or_default().push(index);
            }
            let classes: Vec<Vec<usize>> = members.into_values().collect();
            for place in &mut order {
                let class = &classes[draw(classes.len())];
                *place = class[draw(class.len())];
            }
        }
    }
    order
}
