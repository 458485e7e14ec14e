//! Densities made of a kernel for each observation and one for what was believed before.

use std::f64::consts::{PI, SQRT_2};

use serde_json::Value;

use crate::init::Rng;
use crate::tune::space::{Axis, Distribution};

/// Observations that keep their whole weight, as in HyperOpt and Optuna.
const RECENT: usize = 25;

/// The weights of so many observations in the order in which they were made: the newest 25 weigh 1,
/// the older ones less and less.
pub(super) fn forgetting(count: usize) -> Vec<f64> {
    let old = count.saturating_sub(RECENT);
    let first = 1.0 / count.max(1) as f64;
    let ramp = (0..old).map(|index| match old {
        1 => first,
        _ => first + (1.0 - first) * index as f64 / (old - 1) as f64,
    });
    ramp.chain(std::iter::repeat_n(1.0, count - old)).collect()
}

/// Widths stay below the prior's, and above this share of it.
fn clip(width: f64, prior: f64, kernels: usize) -> f64 {
    width.clamp(prior / (1.0 + kernels as f64).min(100.0), prior)
}

/// P(low < x < high) of a standard normal x.
fn mass(low: f64, high: f64) -> f64 {
    let tail = |x: f64| 0.5 * libm::erfc(x / SQRT_2);
    // The difference of what is small is exact.
    if low > 0.0 {
        tail(low) - tail(high)
    } else {
        tail(-high) - tail(-low)
    }
}

pub(super) fn log_mass(low: f64, high: f64) -> f64 {
    mass(low, high).max(f64::MIN_POSITIVE).ln()
}

fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + values.map(|value| (value - most).exp()).sum::<f64>().ln()
}

/// An index, each as likely as its weight.
pub(super) fn pick(weights: &[f64], rng: &mut Rng) -> usize {
    let mut rest = rng.uniform(0.0, weights.iter().sum());
    for (index, weight) in weights.iter().enumerate() {
        if rest < *weight {
            return index;
        }
        rest -= weight;
    }
    weights.len().saturating_sub(1)
}

/// HyperOpt's estimate for one parameter (`adaptive_parzen_normal`, `GMM1_lpdf`, and
/// `ap_categorical_sampler`; Bergstra et al., 2011): the prior stands among the observations as one
/// more, and each kernel is as wide as the larger gap to its neighbours.
pub(super) enum Univariate {
    Kernels {
        axis: Axis,
        /// Weight, middle and width of each kernel, by their middles.
        kernels: Vec<[f64; 3]>,
    },
    Categories {
        /// The first category, for whole numbers.
        first: f64,
        weights: Vec<f64>,
    },
}

impl Univariate {
    /// From places on the distribution's axis, in the order in which they were observed.
    pub fn new(distribution: &Distribution, places: &[f64]) -> Self {
        let categories = match distribution {
            Distribution::Choice(values) => Some((0.0, values.len())),
            Distribution::RandInt(range) => {
                Some((range.start as f64, (range.end - range.start) as usize))
            }
            _ => None,
        };
        if let Some((first, count)) = categories {
            let mut weights = vec![1.0; count];
            for (place, weight) in places.iter().zip(forgetting(places.len())) {
                // Values that another space had are none of this one's.
                if let Some(sum) = weights.get_mut((place - first) as usize) {
                    *sum += weight;
                }
            }
            return Univariate::Categories { first, weights };
        }
        let axis = Axis::of(distribution);
        let [middle, width] = axis.prior;
        let weights = forgetting(places.len());
        let observed = places.iter().zip(weights);
        let mut kernels: Vec<[f64; 3]> = observed.map(|(p, weight)| [weight, *p, 0.0]).collect();
        kernels.sort_by(|a, b| a[1].total_cmp(&b[1]));
        let prior = kernels.partition_point(|kernel| kernel[1] < middle);
        kernels.insert(prior, [1.0, middle, 0.0]);
        let count = kernels.len();
        let gap = |a: usize, b: usize| kernels[b][1] - kernels[a][1];
        let widths: Vec<f64> = (0..count)
            .map(|index| match (index, count) {
                (_, 1) => width,
                // HyperOpt's rule for a single observation.
                (_, 2) => 0.5 * width,
                (0, _) => gap(0, 1),
                (index, _) if index == count - 1 => gap(index - 1, index),
                (index, _) => gap(index - 1, index).max(gap(index, index + 1)),
            })
            .collect();
        let total: f64 = kernels.iter().map(|kernel| kernel[0]).sum();
        for (index, kernel) in kernels.iter_mut().enumerate() {
            kernel[0] /= total;
            kernel[2] = match index == prior {
                true => width,
                false => clip(widths[index], width, count),
            };
        }
        Univariate::Kernels { axis, kernels }
    }

    /// A place; a rounded one where the distribution has steps.
    pub fn sample(&self, distribution: &Distribution, rng: &mut Rng) -> f64 {
        match self {
            Univariate::Categories { first, weights } => first + pick(weights, rng) as f64,
            Univariate::Kernels { axis, kernels } => {
                let weights: Vec<f64> = kernels.iter().map(|kernel| kernel[0]).collect();
                // What lies outside is drawn again, kernel and all. Half of the widest kernel in the
                // middle lies within.
                loop {
                    let [_, middle, width] = kernels[pick(&weights, rng)];
                    let place = middle + width * rng.normal();
                    if (axis.low..axis.high).contains(&place) {
                        let value = distribution.value_at(place);
                        return distribution.place(&value).unwrap_or(place);
                    }
                }
            }
        }
    }

    /// The logarithm of the density, or of the probability where there are steps.
    pub fn log_density(&self, place: f64) -> f64 {
        let (axis, kernels) = match self {
            Univariate::Categories { first, weights } => {
                let total: f64 = weights.iter().sum();
                let index = (place - first) as usize;
                return weights
                    .get(index)
                    .map_or(f64::NEG_INFINITY, |w| (w / total).ln());
            }
            Univariate::Kernels { axis, kernels } => (axis, kernels),
        };
        let within = |low: f64, high: f64| {
            let part = |[weight, middle, width]: &[f64; 3]| {
                weight * mass((low - middle) / width, (high - middle) / width)
            };
            kernels.iter().map(part).sum::<f64>()
        };
        let all = within(axis.low, axis.high).ln();
        if axis.step > 0.0 {
            let half = axis.step / 2.0;
            let low = (place - half).max(axis.low);
            return within(low, (place + half).min(axis.high))
                .max(f64::MIN_POSITIVE)
                .ln()
                - all;
        }
        let part = |[weight, middle, width]: &[f64; 3]| {
            let z = (place - middle) / width;
            weight.ln() - 0.5 * z * z - (width * (2.0 * PI).sqrt()).ln()
        };
        log_sum(kernels.iter().map(part)) - all
    }
}

/// Optuna's estimate for all parameters together (`_ParzenEstimator` of its multivariate
/// `TPESampler`; Falkner et al., 2018): each kernel is a product over the parameters.
///
/// An observation without a parameter, whose conditions it did not meet, has the prior in its place.
pub(super) struct Multivariate {
    /// Of each kernel, the prior's last.
    weights: Vec<f64>,
    parameters: Vec<Kernels>,
}

enum Kernels {
    /// Middle and width of each.
    Normal { axis: Axis, kernels: Vec<[f64; 2]> },
    /// The probability of each value.
    Categories(Vec<Vec<f64>>),
}

impl Multivariate {
    /// From places on the axes of the distributions, one row for each observation in the order in
    /// which they were made.
    pub fn new(distributions: &[&Distribution], observations: &[Vec<Option<f64>>]) -> Self {
        let mut weights = forgetting(observations.len());
        weights.push(1.0);
        let total: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= total);
        let parameters = distributions
            .iter()
            .enumerate()
            .map(|(index, distribution)| {
                let places = observations.iter().map(|row| row[index]);
                match distribution {
                    Distribution::Choice(values) => categories(places, values.len()),
                    _ => normal(places, Axis::with_half_steps(distribution)),
                }
            });
        Self {
            weights,
            parameters: parameters.collect(),
        }
    }

    /// A place for each parameter.
    pub fn sample(&self, distributions: &[&Distribution], rng: &mut Rng) -> Vec<f64> {
        let kernel = pick(&self.weights, rng);
        let parameters = self.parameters.iter().zip(distributions);
        let sample = parameters.map(|(parameter, distribution)| match parameter {
            Kernels::Categories(weights) => pick(&weights[kernel], rng) as f64,
            Kernels::Normal { axis, kernels } => {
                let [middle, width] = kernels[kernel];
                let (low, high) = ((axis.low - middle) / width, (axis.high - middle) / width);
                let place = middle + width * rng.truncated_normal(low, high);
                let value = distribution.value_at(place);
                distribution.place(&value).unwrap_or(place)
            }
        });
        sample.collect()
    }

    /// The logarithm of the density of the parameters that are there.
    pub fn log_density(&self, places: &[Option<f64>]) -> f64 {
        let mut logs: Vec<f64> = self.weights.iter().map(|weight| weight.ln()).collect();
        for (parameter, place) in self.parameters.iter().zip(places) {
            let Some(place) = *place else { continue };
            for (index, log) in logs.iter_mut().enumerate() {
                *log += match parameter {
                    Kernels::Categories(weights) => weights[index][place as usize].ln(),
                    Kernels::Normal { axis, kernels } => log_normal(axis, kernels[index], place),
                };
            }
        }
        log_sum(logs.iter().copied())
    }
}

/// The logarithm of a truncated normal density, or of the probability of a step of it.
fn log_normal(axis: &Axis, [middle, width]: [f64; 2], place: f64) -> f64 {
    let z = |x: f64| (x - middle) / width;
    let all = log_mass(z(axis.low), z(axis.high));
    if axis.step > 0.0 {
        let half = axis.step / 2.0;
        return log_mass(z(place - half), z(place + half)) - all;
    }
    -0.5 * z(place) * z(place) - (width * (2.0 * PI).sqrt()).ln() - all
}

fn categories(places: impl Iterator<Item = Option<f64>>, count: usize) -> Kernels {
    let places: Vec<Option<f64>> = places.collect();
    let even = vec![1.0 / count as f64; count];
    // The prior's own kernel is one more.
    let share = 1.0 / (places.len() + 1) as f64;
    let weights = places.into_iter().chain([None]).map(|place| match place {
        None => even.clone(),
        Some(place) => {
            let total = 1.0 + share * count as f64;
            let mut weights = vec![share / total; count];
            weights[place as usize] += 1.0 / total;
            weights
        }
    });
    Kernels::Categories(weights.collect())
}

fn normal(places: impl Iterator<Item = Option<f64>>, axis: Axis) -> Kernels {
    let places: Vec<Option<f64>> = places.collect();
    let mut sorted: Vec<f64> = places.iter().flatten().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let prior = axis.prior;
    let width = |place: f64, first: usize| {
        let below = (first > 0).then(|| place - sorted[first - 1]);
        let above = sorted.get(first + 1).map(|next| next - place);
        // A single observation has the ends for neighbours.
        let gap = match (below, above) {
            (None, None) => (place - axis.low).max(axis.high - place),
            (below, above) => below.unwrap_or(0.0).max(above.unwrap_or(0.0)),
        };
        clip(gap, prior[1], places.len() + 1)
    };
    // Equal observations take the places of their rank one after the other.
    let mut taken = vec![false; sorted.len()];
    let kernels = places.iter().chain([&None]).map(|place| match place {
        None => prior,
        Some(place) => {
            let mut rank = sorted.partition_point(|other| other < place);
            while taken[rank] {
                rank += 1;
            }
            taken[rank] = true;
            [*place, width(*place, rank)]
        }
    });
    let kernels = kernels.collect();
    Kernels::Normal { axis, kernels }
}

/// The place of a value on the axis of its distribution.
pub(super) fn place(distribution: &Distribution, value: Option<&Value>) -> Option<f64> {
    distribution.place(value?)
}
