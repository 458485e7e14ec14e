//! Classes by a vote of the nearest images.

use burn::tensor::Device;

use super::embeddings::{Embeddings, tensor};
use crate::error::{Error, Result};
use crate::model::host_vec;

/// Similarities that are computed at once.
const AT_ONCE: usize = 16 << 20;

/// The class of each image by a vote of the `k` images of `known` that are nearest to it, for each of
/// these `k`: by the cosine between vectors, each neighbour with one vote. Of classes with as many
/// votes it is the first, and of images that are as near the first count.
///
/// # Errors
/// [`Error::InvalidArgument`] for a `k` that is 0 or above the images of `known`, and for vectors of
/// other lengths.
pub fn nearest_neighbors(
    known: &Embeddings,
    images: &Embeddings,
    ks: &[usize],
    device: &Device,
) -> Result<Vec<Vec<usize>>> {
    known.check_length(known.length)?;
    images.check_length(known.length)?;
    if let Some(k) = ks.iter().find(|k| !(1..=known.len()).contains(*k)) {
        let expected = format!("1 to {}, the images that are known", known.len());
        return Err(Error::argument("k", expected, k));
    }
    // Without one there is nothing to find, and there may be no image that is known.
    let Some(most) = ks.iter().copied().max() else {
        return Ok(Vec::new());
    };
    let classes = known.classes();
    let length = known.length;
    let device = device.clone().inner();
    let those = tensor(of_length_one(known), length, &device).transpose();
    let mut found = vec![Vec::with_capacity(images.len()); ks.len()];
    let rows = (AT_ONCE / known.len()).max(1);
    for part in of_length_one(images).chunks(rows * length) {
        let similarities = tensor(part.to_vec(), length, &device).matmul(those.clone());
        let similarities = host_vec(similarities.into_data())?;
        for row in similarities.chunks_exact(known.len()) {
            let nearest = nearest(row, most);
            for (k, found) in ks.iter().zip(&mut found) {
                let labels = nearest[..*k].iter().map(|place| known.labels[*place]);
                found.push(most_frequent(labels, classes));
            }
        }
    }
    Ok(found)
}

/// The vectors with a length of one each; a vector of zeros stays.
fn of_length_one(embeddings: &Embeddings) -> Vec<f32> {
    let scaled = embeddings.rows().flat_map(|row| {
        let squares = row.iter().map(|value| f64::from(*value).powi(2));
        let length = squares.sum::<f64>().sqrt();
        let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
        row.iter()
            .map(move |value| (f64::from(*value) * scale) as f32)
    });
    scaled.collect()
}

/// The places of the largest values, the largest first.
fn nearest(row: &[f32], count: usize) -> Vec<usize> {
    let mut best: Vec<usize> = Vec::with_capacity(count + 1);
    for (place, value) in row.iter().enumerate() {
        if best.len() == count && best.last().is_some_and(|last| *value <= row[*last]) {
            continue;
        }
        let rank = best.partition_point(|other| row[*other] >= *value);
        best.insert(rank, place);
        best.truncate(count);
    }
    best
}

fn most_frequent(labels: impl Iterator<Item = usize>, classes: usize) -> usize {
    let mut votes = vec![0; classes];
    for label in labels {
        votes[label] += 1;
    }
    let most = votes.iter().copied().max().unwrap_or(0);
    votes.iter().position(|count| *count == most).unwrap_or(0)
}
