//! BOHB's model (Falkner et al., ICML 2018, <https://arxiv.org/abs/1807.01774>), by the rules of the
//! authors' HpBandSter: kernel densities of the good and the other trials at the largest budget that
//! enough of them have reached.

use std::f64::consts::PI;

use super::Observation;
use super::parzen::pick;
use crate::init::Rng;
use crate::tune::space::{Axis, Distribution, Params, Space};

/// Share of trials that are good.
const GOOD_PERCENT: usize = 15;
/// Candidates for each proposal.
const CANDIDATES: usize = 64;
/// Share of proposals that are sampled at random.
const RANDOM: f64 = 1.0 / 3.0;
/// Candidates spread so many times as wide as the kernels.
const SPREAD: f64 = 3.0;
const LEAST_WIDTH: f64 = 1e-3;
/// Ratios of densities are taken of no less.
const LEAST_DENSITY: f64 = 1e-32;

/// Values for a trial.
pub(super) fn propose(space: &Space, history: &[Observation], trial: usize, seed: u64) -> Params {
    let mut rng = Rng::new(seed, &format!("trial {trial}"));
    let model = Model::fit(space, history, &mut rng);
    match model {
        Some(model) if rng.uniform(0.0, 1.0) >= RANDOM => model.propose(space, &mut rng),
        _ => space.sample(seed, trial),
    }
}

/// A parameter on the way from 0 to 1, or its categories.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Continuous,
    Categories(usize),
}

impl Kind {
    fn of(distribution: &Distribution) -> Self {
        match distribution.num_choices() {
            Some(count) => Kind::Categories(count),
            None => Kind::Continuous,
        }
    }
}

struct Model {
    kinds: Vec<Kind>,
    good: Density,
    bad: Density,
}

impl Model {
    /// `None` as long as no budget has trials enough.
    fn fit(space: &Space, history: &[Observation], rng: &mut Rng) -> Option<Self> {
        let least = space.len() + 1;
        let mut budgets: Vec<usize> = history.iter().flat_map(Observation::budgets).collect();
        budgets.sort_unstable();
        budgets.dedup();
        let reached = |budget: usize| -> Vec<(f64, &Observation)> {
            let at = |trial| Some((Observation::loss_at(trial, budget)?, trial));
            history.iter().filter_map(at).collect()
        };
        let mut trials = budgets
            .into_iter()
            .rev()
            .map(reached)
            .find(|trials| trials.len() >= 2 * least)?;
        trials.sort_by(|a, b| a.0.total_cmp(&b.0));
        let count = trials.len();
        let good = least.max(GOOD_PERCENT * count / 100);
        let bad = least
            .max((100 - GOOD_PERCENT) * count / 100)
            .min(count - good);
        let distributions: Vec<&Distribution> = space
            .iter()
            .map(|(_, parameter)| &parameter.distribution)
            .collect();
        let kinds: Vec<Kind> = distributions.iter().map(|d| Kind::of(d)).collect();
        let rows = |trials: &[(f64, &Observation)], rng: &mut Rng| {
            let row = |(_, trial): &(f64, &Observation)| -> Vec<Option<f64>> {
                let values = space.iter();
                values
                    .map(|(name, parameter)| {
                        let value = trial.params.get(name)?;
                        unit(
                            &parameter.distribution,
                            parameter.distribution.place(value)?,
                        )
                    })
                    .collect()
            };
            impute(trials.iter().map(row).collect(), &kinds, rng)
        };
        let density = |rows| Density::new(rows, &kinds);
        let good_rows = rows(&trials[..good], rng);
        let bad_rows = rows(&trials[good..good + bad], rng);
        let (good, bad) = (density(good_rows), density(bad_rows));
        Some(Self { kinds, good, bad })
    }

    fn propose(&self, space: &Space, rng: &mut Rng) -> Params {
        let mut best = (f64::INFINITY, Vec::new());
        for _ in 0..CANDIDATES {
            let place = self.good.near_one(&self.kinds, rng);
            let ratio =
                self.bad.at(&place).max(LEAST_DENSITY) / self.good.at(&place).max(LEAST_DENSITY);
            if ratio < best.0 {
                best = (ratio, place);
            }
        }
        let values = space.iter().zip(&best.1).map(|((name, parameter), place)| {
            let distribution = &parameter.distribution;
            (
                name.to_owned(),
                distribution.value_at(from_unit(distribution, *place)),
            )
        });
        space.active(values.collect())
    }
}

/// A place of an axis between 0 and 1; of a normal distribution its quantile.
fn unit(distribution: &Distribution, place: f64) -> Option<f64> {
    let Axis {
        low, high, prior, ..
    } = Axis::of(distribution);
    Some(match distribution {
        Distribution::Choice(_) => place,
        Distribution::Normal(..) => {
            0.5 * libm::erfc((prior[0] - place) / prior[1] / std::f64::consts::SQRT_2)
        }
        _ => (place - low) / (high - low),
    })
}

fn from_unit(distribution: &Distribution, unit: f64) -> f64 {
    let Axis {
        low, high, prior, ..
    } = Axis::of(distribution);
    match distribution {
        Distribution::Choice(_) => unit,
        Distribution::Normal(..) => prior[0] + prior[1] * normal_quantile(unit),
        _ => low + unit * (high - low),
    }
}

/// The standard normal number below which this share lies, by bisection.
fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-38.0, 38.0);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if 0.5 * libm::erfc(-middle / std::f64::consts::SQRT_2) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// What a trial has no value for is taken from another one that has; at random if none has.
fn impute(rows: Vec<Vec<Option<f64>>>, kinds: &[Kind], rng: &mut Rng) -> Vec<Vec<f64>> {
    let columns: Vec<Vec<f64>> = (0..kinds.len())
        .map(|index| rows.iter().filter_map(|row| row[index]).collect())
        .collect();
    let mut fill = |index: usize| match (columns[index].as_slice(), kinds[index]) {
        ([], Kind::Continuous) => rng.uniform(0.0, 1.0),
        ([], Kind::Categories(count)) => pick(&vec![1.0; count], rng) as f64,
        (known, _) => known[pick(&vec![1.0; known.len()], rng)],
    };
    rows.into_iter()
        .map(|row| {
            let values = row.into_iter().enumerate();
            values
                .map(|(index, value)| value.unwrap_or_else(|| fill(index)))
                .collect()
        })
        .collect()
}

/// statsmodels' `KDEMultivariate` with `bw='normal_reference'`: a product of Gaussian kernels and of
/// Aitchison and Aitken's.
pub(super) struct Density {
    rows: Vec<Vec<f64>>,
    kinds: Vec<Kind>,
    widths: Vec<f64>,
}

impl Density {
    pub fn new(rows: Vec<Vec<f64>>, kinds: &[Kind]) -> Self {
        let count = rows.len() as f64;
        let width = |index: usize| {
            let mean = rows.iter().map(|row| row[index]).sum::<f64>() / count;
            let squares = rows.iter().map(|row| (row[index] - mean).powi(2));
            let deviation = (squares.sum::<f64>() / count).sqrt();
            (1.06 * deviation * count.powf(-1.0 / (4.0 + kinds.len() as f64))).max(LEAST_WIDTH)
        };
        let widths = (0..kinds.len()).map(width).collect();
        let kinds = kinds.to_vec();
        Self {
            rows,
            kinds,
            widths,
        }
    }

    pub fn at(&self, place: &[f64]) -> f64 {
        let kernel = |row: &Vec<f64>| -> f64 {
            let parameters = row
                .iter()
                .zip(place)
                .zip(self.kinds.iter().zip(&self.widths));
            parameters
                .map(|((middle, place), (kind, width))| match kind {
                    Kind::Continuous => {
                        let z = (place - middle) / width;
                        (-0.5 * z * z).exp() / (width * (2.0 * PI).sqrt())
                    }
                    // A single value is always the same.
                    Kind::Categories(1) => 1.0,
                    Kind::Categories(_) if middle == place => 1.0 - width.min(1.0),
                    Kind::Categories(count) => width.min(1.0) / (*count - 1) as f64,
                })
                .product()
        };
        self.rows.iter().map(kernel).sum::<f64>() / self.rows.len() as f64
    }

    /// A place near one of the rows.
    fn near_one(&self, kinds: &[Kind], rng: &mut Rng) -> Vec<f64> {
        let row = &self.rows[pick(&vec![1.0; self.rows.len()], rng)];
        let parameters = row.iter().zip(kinds).zip(&self.widths);
        parameters
            .map(|((middle, kind), width)| match kind {
                Kind::Continuous => {
                    let width = SPREAD * width;
                    let (low, high) = (-middle / width, (1.0 - middle) / width);
                    (middle + width * rng.truncated_normal(low, high)).clamp(0.0, 1.0)
                }
                Kind::Categories(count) if rng.uniform(0.0, 1.0) < *width => {
                    pick(&vec![1.0; *count], rng) as f64
                }
                Kind::Categories(_) => *middle,
            })
            .collect()
    }
}
