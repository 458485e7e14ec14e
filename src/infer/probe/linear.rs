//! Classes by a linear layer on standardised features: multinomial logistic regression.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};

use super::embeddings::{Embeddings, tensor};
use super::lbfgs::minimize;
use crate::error::{Error, Result};
use crate::infer::evaluate::best;
use crate::init::Rng;
use crate::model::host_vec;

/// A linear layer that was fitted to the features of images: logistic regression with an L2 penalty
/// on its weights, on features of which each has mean 0 and deviation 1 over the images.
///
/// It minimises what scikit-learn's `LogisticRegression(C=strength)` behind a `StandardScaler`
/// minimises, with softmax for two classes, too: the sum of the cross-entropies, times `strength`, plus
/// half the squares of the weights.
#[derive(Debug, Clone)]
pub struct LinearProbe {
    /// scikit-learn's `C`: the larger, the weaker the penalty.
    pub strength: f64,
    /// Whether the minimum was found, as far as 32 bits show it.
    pub converged: bool,
    mean: Vec<f64>,
    /// One over the deviation.
    scale: Vec<f64>,
    /// `[length, classes]`, then the bias of each class.
    values: Vec<f64>,
    classes: usize,
}

/// A strength that was tried.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Strength {
    /// See [`LinearProbe::strength`].
    pub strength: f64,
    /// Share of the images held out that were recognised.
    pub accuracy: f64,
    /// Their mean cross-entropy.
    pub loss: f64,
}

/// What [`LinearProbe::search`] tries, from the strongest penalty on.
const STRENGTHS: [f64; 7] = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0];

/// Share of each class that a search holds out.
const HELD_OUT: f64 = 0.2;

/// A search for the minimum goes on to the first, and has found it below the second, which is
/// scikit-learn's.
const SLOPES: [f64; 2] = [1e-6, 1e-4];

/// Steps of a search for the minimum.
const MOST_STEPS: usize = 1000;

impl LinearProbe {
    /// Fits the layer to images of classes below `classes`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a strength that is no number above 0, no images, or labels that
    /// are no class.
    pub fn fit(
        images: &Embeddings,
        classes: usize,
        strength: f64,
        device: &Device,
    ) -> Result<Self> {
        let fit = Fit::new(images, classes, device)?;
        fit.at(strength, None)
    }

    /// Fits the layer with the strength that is best for a fifth of the images of each class, which are
    /// held out and chosen by `seed`; of equally many recognised by the lower loss. The layer is then
    /// fitted to all images. With no class of two images nothing can be held out: the strength is
    /// then 1, and nothing was tried.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn search(
        images: &Embeddings,
        classes: usize,
        seed: u64,
        device: &Device,
    ) -> Result<(Self, Vec<Strength>)> {
        let all = Fit::new(images, classes, device)?;
        let [kept, held_out] = divide(&images.labels, classes, seed);
        if held_out.is_empty() {
            return Ok((all.at(1.0, None)?, Vec::new()));
        }
        let held_out = images.at(&held_out);
        let some = Fit::new(&images.at(&kept), classes, device)?;
        let mut tried: Vec<Strength> = Vec::new();
        let mut last: Option<Self> = None;
        for strength in STRENGTHS {
            // Where the stronger penalty left off is a good place to begin.
            let probe = some.at(strength, last.as_ref())?;
            let scores = probe.log_probabilities(&held_out, device)?;
            let rows = || scores.chunks_exact(classes).zip(&held_out.labels);
            let right = rows().filter(|(row, label)| best(row) == **label).count();
            let loss: f64 = rows().map(|(row, label)| -f64::from(row[*label])).sum();
            tried.push(Strength {
                strength,
                accuracy: right as f64 / held_out.len() as f64,
                loss: loss / held_out.len() as f64,
            });
            last = Some(probe);
        }
        let better = |a: &&Strength, b: &&Strength| {
            let by_loss = b.loss.total_cmp(&a.loss);
            a.accuracy.total_cmp(&b.accuracy).then(by_loss)
        };
        let chosen = tried
            .iter()
            .max_by(better)
            .map_or(1.0, |best| best.strength);
        Ok((all.at(chosen, None)?, tried))
    }

    /// The class of each image.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for vectors of another length.
    pub fn predict(&self, images: &Embeddings, device: &Device) -> Result<Vec<usize>> {
        let scores = self.log_probabilities(images, device)?;
        Ok(scores.chunks_exact(self.classes).map(best).collect())
    }

    /// The logarithm of the probability of each class, a row for each image.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for vectors of another length.
    pub fn log_probabilities(&self, images: &Embeddings, device: &Device) -> Result<Vec<f32>> {
        images.check_length(self.mean.len())?;
        let device = device.clone().inner();
        let values = standardised(images, &self.mean, &self.scale);
        let features = tensor(values, images.length, &device);
        host_vec(log_softmax(scores(&features, &self.values, self.classes), 1).into_data())
    }
}

/// Images that a layer is fitted to.
struct Fit {
    mean: Vec<f64>,
    scale: Vec<f64>,
    /// `[images, length]`, standardised.
    features: Tensor<2>,
    /// `[images, classes]`: 1 at the label.
    targets: Tensor<2>,
    labels: Vec<usize>,
    classes: usize,
}

impl Fit {
    fn new(images: &Embeddings, classes: usize, device: &Device) -> Result<Self> {
        images.check_length(images.length)?;
        if images.is_empty() {
            return Err(Error::argument("images", "at least one", "none"));
        }
        if classes < images.classes() {
            let expected = format!("labels below {classes}, the number of classes");
            let found = format!("label {}", images.classes() - 1);
            return Err(Error::argument("labels", expected, found));
        }
        let device = device.clone().inner();
        let (mean, scale) = moments(images);
        let values = standardised(images, &mean, &scale);
        let mut targets = vec![0.0; images.len() * classes];
        for (row, label) in targets.chunks_exact_mut(classes).zip(&images.labels) {
            row[*label] = 1.0;
        }
        Ok(Self {
            features: tensor(values, images.length, &device),
            targets: tensor(targets, classes, &device),
            labels: images.labels.clone(),
            classes,
            mean,
            scale,
        })
    }

    fn at(&self, strength: f64, start: Option<&LinearProbe>) -> Result<LinearProbe> {
        if !(strength > 0.0 && strength.is_finite()) {
            return Err(Error::argument("strength", "a number above 0", strength));
        }
        let (length, classes) = (self.mean.len(), self.classes);
        let start = start.map_or_else(
            || vec![0.0; (length + 1) * classes],
            |probe| probe.values.clone(),
        );
        let penalty = 1.0 / (strength * self.labels.len() as f64);
        let found = minimize(start, SLOPES[0], MOST_STEPS, |values| {
            self.loss(values, penalty)
        })?;
        Ok(LinearProbe {
            strength,
            converged: found.slope <= SLOPES[1],
            mean: self.mean.clone(),
            scale: self.scale.clone(),
            values: found.place,
            classes,
        })
    }

    /// Mean cross-entropy and penalty, and their derivatives.
    fn loss(&self, values: &[f64], penalty: f64) -> Result<(f64, Vec<f64>)> {
        let (images, classes) = (self.labels.len() as f64, self.classes);
        let weights = self.mean.len() * classes;
        let logarithms = log_softmax(scores(&self.features, values, classes), 1);
        let off = logarithms.clone().exp() - self.targets.clone();
        let of_weights = self.features.clone().transpose().matmul(off.clone());
        let logarithms = host_vec(logarithms.into_data())?;
        let of_weights = host_vec(of_weights.into_data())?;
        let of_bias = host_vec(off.sum_dim(0).into_data())?;

        let rows = logarithms.chunks_exact(classes).zip(&self.labels);
        let losses: f64 = rows.map(|(row, label)| -f64::from(row[*label])).sum();
        let squares: f64 = values[..weights].iter().map(|value| value * value).sum();
        let slopes = of_weights.into_iter().chain(of_bias);
        let slopes = slopes.map(|slope| f64::from(slope) / images);
        let slopes = slopes
            .zip(values)
            .enumerate()
            .map(|(place, (slope, value))| {
                // The bias is free.
                slope
                    + if place < weights {
                        penalty * value
                    } else {
                        0.0
                    }
            });
        Ok((losses / images + penalty / 2.0 * squares, slopes.collect()))
    }
}

/// The output of a layer whose weights and bias are `values`.
fn scores(features: &Tensor<2>, values: &[f64], classes: usize) -> Tensor<2> {
    let [_, length] = features.dims();
    let device = features.device();
    let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    let (weights, bias) = values.split_at(length * classes);
    let weights = TensorData::new(weights.to_vec(), [length, classes]);
    let bias = TensorData::new(bias.to_vec(), [1, classes]);
    let bias = Tensor::<2>::from_data(bias, &device);
    features.clone().matmul(Tensor::from_data(weights, &device)) + bias
}

/// The mean of each feature, and one over its deviation; 1 for one that is the same in all images.
fn moments(images: &Embeddings) -> (Vec<f64>, Vec<f64>) {
    let count = images.len() as f64;
    let mut mean = vec![0.0; images.length];
    for row in images.rows() {
        let both = mean.iter_mut().zip(row);
        both.for_each(|(sum, value)| *sum += f64::from(*value));
    }
    mean.iter_mut().for_each(|sum| *sum /= count);
    let mut variance = vec![0.0; images.length];
    for row in images.rows() {
        let all = variance.iter_mut().zip(row).zip(&mean);
        all.for_each(|((sum, value), mean)| *sum += (f64::from(*value) - mean).powi(2));
    }
    let scale = variance.iter().zip(&mean).map(|(sum, mean)| {
        let deviation = (sum / count).sqrt();
        // What is left of rounding is no deviation.
        let is_constant = deviation <= 1e-7 * mean.abs();
        if is_constant { 1.0 } else { 1.0 / deviation }
    });
    let scale = scale.collect();
    (mean, scale)
}

fn standardised(images: &Embeddings, mean: &[f64], scale: &[f64]) -> Vec<f32> {
    let rows = images.rows().flat_map(|row| {
        let all = row.iter().zip(mean).zip(scale);
        all.map(|((value, mean), scale)| ((f64::from(*value) - mean) * scale) as f32)
    });
    rows.collect()
}

/// The places of the images that are kept, and of a fifth of each class that is held out: at least one
/// of a class of two and more.
fn divide(labels: &[usize], classes: usize, seed: u64) -> [Vec<usize>; 2] {
    let mut of_class = vec![Vec::new(); classes];
    for (place, label) in labels.iter().enumerate() {
        of_class[*label].push(place);
    }
    let (mut kept, mut held_out) = (Vec::new(), Vec::new());
    for (class, mut places) in of_class.into_iter().enumerate() {
        let mut rng = Rng::new(seed, &format!("probe.{class}"));
        let count = places.len();
        let out = match count {
            0 | 1 => 0,
            _ => ((count as f64 * HELD_OUT).round() as usize).max(1),
        };
        // The first steps of Fisher and Yates.
        for first in 0..out {
            let other = rng.uniform(first as f64, count as f64) as usize;
            places.swap(first, other.min(count - 1));
        }
        held_out.extend(&places[..out]);
        kept.extend(&places[out..]);
    }
    kept.sort_unstable();
    held_out.sort_unstable();
    [kept, held_out]
}

#[cfg(test)]
mod tests {
    use super::divide;

    #[test]
    fn a_fifth_of_each_class_is_held_out() {
        let labels: Vec<usize> = (0..26).map(|i| [0, 0, 1, 1, 2][i % 5]).chain([3]).collect();
        let [kept, held_out] = divide(&labels, 5, 7);
        let count =
            |places: &[usize], class| places.iter().filter(|p| labels[**p] == class).count();
        assert_eq!(
            [0, 1, 2, 3].map(|class| count(&held_out, class)),
            [2, 2, 1, 0]
        );
        let mut all = [kept.clone(), held_out.clone()].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..27));
        assert_eq!(divide(&labels, 5, 7), [kept, held_out.clone()]);
        assert_ne!(divide(&labels, 5, 8)[1], held_out);
    }
}
