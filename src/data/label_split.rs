//! The split of images with several labels.

use super::valid_share;

/// Which images are for validation, by iterative stratification (Sechidis, Tsoumakas and Vlahavas: On
/// the Stratification of Multi-Label Data, ECML PKDD 2011): the images of the rarest label that is left
/// go, one by one, to the part that lacks this label more. Images without label are divided as if that
/// were a label.
///
/// Of each label `share` is wanted for validation, rounded; at least one and not all of two or more.
/// Labels that come together can keep a split from having that. `labels` are those of each image, below
/// `classes` and each once; `order` has every image, and the first ones are placed first.
pub(super) fn for_validation(
    labels: &[&[u32]],
    classes: usize,
    order: &[usize],
    share: f64,
) -> Vec<bool> {
    let none = [classes as u32];
    let labels_of = |image: usize| match labels[image] {
        [] => none.as_slice(),
        labels => labels,
    };
    let mut images_of: Vec<Vec<usize>> = vec![Vec::new(); classes + 1];
    for image in order {
        for label in labels_of(*image) {
            images_of[*label as usize].push(*image);
        }
    }
    // What training and validation still want.
    let wanted = |images: usize| {
        let valid = valid_share::count(images, share);
        [images - valid, valid].map(|count| count as i64)
    };
    let mut wanted_of: Vec<[i64; 2]> = images_of.iter().map(|i| wanted(i.len())).collect();
    let mut wanted_in_all = wanted(order.len());
    let mut left: Vec<usize> = images_of.iter().map(Vec::len).collect();
    let mut is_placed = vec![false; labels.len()];
    let mut is_valid = vec![false; labels.len()];
    let rarest = |left: &[usize]| {
        let with_images = (0..left.len()).filter(|label| left[*label] > 0);
        with_images.min_by_key(|label| left[*label])
    };
    while let Some(label) = rarest(&left) {
        for image in &images_of[label] {
            if is_placed[*image] {
                continue;
            }
            let lack = |[train, valid]: [i64; 2]| valid - train;
            let valid = match lack(wanted_of[label]) {
                0 => lack(wanted_in_all) > 0,
                lack => lack > 0,
            };
            (is_placed[*image], is_valid[*image]) = (true, valid);
            wanted_in_all[usize::from(valid)] -= 1;
            for label in labels_of(*image) {
                wanted_of[*label as usize][usize::from(valid)] -= 1;
                left[*label as usize] -= 1;
            }
        }
    }
    is_valid
}

/// The rarest label of each image, by which it is grouped where one label has to do; `classes` for an
/// image without label.
#[cfg(feature = "image")]
pub(super) fn rarest_labels(labels: &[&[u32]], classes: usize) -> Vec<usize> {
    let mut counts = vec![0_usize; classes];
    for label in labels.iter().copied().flatten() {
        counts[*label as usize] += 1;
    }
    let rarest = |labels: &&[u32]| {
        let rarest = labels.iter().min_by_key(|label| counts[**label as usize]);
        rarest.map_or(classes, |label| *label as usize)
    };
    labels.iter().map(rarest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(labels: &[&[u32]], classes: usize, share: f64) -> Vec<[usize; 2]> {
        let order: Vec<usize> = (0..labels.len()).collect();
        let is_valid = for_validation(labels, classes, &order, share);
        let mut counts = vec![[0; 2]; classes + 1];
        for (labels, valid) in labels.iter().zip(is_valid) {
            let last = [classes as u32];
            for label in if labels.is_empty() { &last } else { *labels } {
                counts[*label as usize][usize::from(valid)] += 1;
            }
        }
        counts
    }

    #[test]
    fn each_label_is_in_both_parts() {
        // Label 0 is frequent; label 2 has two images, which have label 0 as well.
        let mut labels: Vec<&[u32]> = vec![&[0]; 80];
        labels.extend([[0, 1].as_slice(); 10]);
        labels.extend([[0, 2].as_slice(); 2]);
        labels.extend([[].as_slice(); 8]);
        let counts = counts(&labels, 3, 0.2);
        assert_eq!(counts, [[74, 18], [8, 2], [1, 1], [6, 2]]);
    }

    #[test]
    fn a_single_image_is_for_training() {
        assert_eq!(counts(&[&[0], &[1], &[1]], 2, 0.9)[..2], [[1, 0], [1, 1]]);
        assert_eq!(counts(&[&[]], 0, 0.5), [[1, 0]]);
        assert_eq!(counts(&[], 2, 0.5), [[0, 0]; 3]);
    }

    #[test]
    fn the_rarest_label_groups() {
        let labels: [&[u32]; 4] = [&[0], &[0, 1], &[], &[0]];
        assert_eq!(rarest_labels(&labels, 2), [0, 1, 2, 0]);
    }
}
