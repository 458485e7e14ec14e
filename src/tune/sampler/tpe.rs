//! TPE: values that are likely among good trials and unlikely among the others.

use super::parzen::{Multivariate, Univariate, place};
use super::{Observation, Ranked};
use crate::init::Rng;
use crate::tune::space::{Distribution, Params, Space};

/// Trials that are sampled at random at first.
const STARTUP: usize = 20;
/// Candidates for each proposal.
const CANDIDATES: usize = 24;

/// How many of so many trials are good, by HyperOpt's rule.
pub(super) fn num_good(trials: usize) -> usize {
    let count = (0.25 * (trials as f64).sqrt()).ceil() as usize;
    count.min(25)
}

/// Values for a trial.
pub(super) fn propose(
    space: &Space,
    history: &[Observation],
    trial: usize,
    seed: u64,
    multivariate: bool,
) -> Params {
    let ranked = Ranked::new(history);
    if ranked.len() < STARTUP {
        return space.sample(seed, trial);
    }
    let count = num_good(ranked.len());
    let (good, bad) = ranked.split(count);
    if multivariate {
        together(space, &good, &bad, trial, seed)
    } else {
        apart(space, &good, &bad, trial, seed)
    }
}

/// Each parameter by itself.
fn apart(space: &Space, good: &[&Params], bad: &[&Params], trial: usize, seed: u64) -> Params {
    let places = |name: &str, distribution: &Distribution, trials: &[&Params]| -> Vec<f64> {
        let values = trials.iter().map(|params| params.get(name));
        values
            .filter_map(|value| place(distribution, value))
            .collect()
    };
    let best = |(name, parameter): (&str, &crate::tune::Parameter)| {
        let distribution = &parameter.distribution;
        let good = Univariate::new(distribution, &places(name, distribution, good));
        let bad = Univariate::new(distribution, &places(name, distribution, bad));
        let mut rng = Rng::new(seed, &format!("trial {trial} {name}"));
        let place = choose(
            || good.sample(distribution, &mut rng),
            |place| good.log_density(*place) - bad.log_density(*place),
        );
        (name.to_owned(), distribution.value_at(place))
    };
    space.active(space.iter().map(best).collect())
}

/// All parameters together.
fn together(space: &Space, good: &[&Params], bad: &[&Params], trial: usize, seed: u64) -> Params {
    let names: Vec<&str> = space.iter().map(|(name, _)| name).collect();
    let distributions: Vec<&Distribution> = space
        .iter()
        .map(|(_, parameter)| &parameter.distribution)
        .collect();
    let row = |params: &Params| -> Vec<Option<f64>> {
        let values = names.iter().zip(&distributions);
        values
            .map(|(name, distribution)| place(distribution, params.get(*name)))
            .collect()
    };
    let rows = |trials: &[&Params]| -> Vec<Vec<Option<f64>>> {
        trials.iter().map(|params| row(params)).collect()
    };
    let good = Multivariate::new(&distributions, &rows(good));
    let bad = Multivariate::new(&distributions, &rows(bad));
    let mut rng = Rng::new(seed, &format!("trial {trial}"));
    let params = |places: Vec<f64>| {
        let values = names.iter().zip(&distributions).zip(places);
        let values = values.map(|((name, distribution), place)| {
            ((*name).to_owned(), distribution.value_at(place))
        });
        // A parameter whose conditions are not met is none.
        space.active(values.collect())
    };
    choose(
        || params(good.sample(&distributions, &mut rng)),
        |params| {
            let places = row(params);
            good.log_density(&places) - bad.log_density(&places)
        },
    )
}

/// The best of the candidates.
fn choose<T>(mut candidate: impl FnMut() -> T, score: impl Fn(&T) -> f64) -> T {
    let mut best = candidate();
    let mut most = score(&best);
    for _ in 1..CANDIDATES {
        let next = candidate();
        let value = score(&next);
        if value > most {
            (best, most) = (next, value);
        }
    }
    best
}
