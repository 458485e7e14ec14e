use std::collections::BTreeMap;

use serde_json::Value;

use super::bohb::{Density, Kind};
use super::parzen::{Multivariate, Univariate};
use super::tpe::num_good;
use super::{Observation, Ranked, Sampler};
use crate::tune::space::{Distribution, Parameter, Params, Space, choice};

fn fixture() -> Value {
    serde_json::from_str(include_str!("../../../tests/fixtures/tune.json")).unwrap()
}

fn space() -> Space {
    let mut space = Space::default();
    space.insert("learning_rate", Distribution::LogUniform(1e-5..1e-1));
    space.insert("label_smoothing", Distribution::Uniform(0.0..0.3));
    space.insert("drop_rate", Distribution::QUniform(0.0..0.5, 0.1));
    space.insert("epochs", Distribution::RandInt(4..10));
    space.insert("batch_size", choice([32, 64, 128]));
    space.insert("weight_decay", Distribution::Normal(0.05, 0.02));
    space
}

/// The space that Optuna has distributions for.
fn bounded() -> Space {
    let mut bounded = Space::default();
    for (name, parameter) in space().iter().filter(|(name, _)| *name != "weight_decay") {
        bounded.insert(name, parameter.clone());
    }
    bounded
}

fn history(trials: &Value) -> Vec<Observation> {
    let trials = trials.as_array().unwrap().iter();
    let trial = trials.map(|trial| Observation {
        params: serde_json::from_value(trial[0].clone()).unwrap(),
        losses: BTreeMap::from([(9, trial[1].as_f64().unwrap())]),
        is_complete: true,
    });
    trial.collect()
}

fn numbers(values: &Value) -> Vec<f64> {
    values
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

fn assert_close(found: f64, expected: f64, what: &str) {
    let error = (found - expected).abs();
    assert!(
        error < 1e-8 * expected.abs().max(1.0),
        "{what}: {found}, expected {expected}"
    );
}

#[test]
fn densities_of_one_parameter_are_hyperopts() {
    let fixture = fixture();
    for case in fixture["histories"].as_array().unwrap() {
        let history = history(&case["trials"]);
        let ranked = Ranked::new(&history);
        let count = num_good(ranked.len());
        let (good, bad) = ranked.split(count);
        for (name, parameter) in space().iter() {
            let distribution = &parameter.distribution;
            for (part, trials) in [("good", &good), ("bad", &bad)] {
                let places: Vec<f64> = trials
                    .iter()
                    .map(|params| distribution.place(&params[name]).unwrap())
                    .collect();
                let density = Univariate::new(distribution, &places);
                let expected = numbers(&case["hyperopt"][name][part]);
                let points = fixture["points"][name].as_array().unwrap();
                for (point, expected) in points.iter().zip(expected) {
                    let found = density.log_density(distribution.place(point).unwrap());
                    assert_close(found, expected, &format!("{name} {part} {point}"));
                }
            }
        }
    }
}

#[test]
fn densities_of_all_parameters_are_optunas() {
    let fixture = fixture();
    let space = bounded();
    let names: Vec<&str> = space.iter().map(|(name, _)| name).collect();
    let distributions: Vec<&Distribution> = space.iter().map(|(_, p)| &p.distribution).collect();
    let row = |params: &Params| -> Vec<Option<f64>> {
        let values = names.iter().zip(&distributions);
        values
            .map(|(name, distribution)| distribution.place(&params[*name]))
            .collect()
    };
    for case in fixture["histories"].as_array().unwrap() {
        let history = history(&case["trials"]);
        let ranked = Ranked::new(&history);
        let count = num_good(ranked.len());
        let (good, bad) = ranked.split(count);
        for (part, trials) in [("good", good), ("bad", bad)] {
            let rows: Vec<_> = trials.into_iter().map(row).collect();
            let density = Multivariate::new(&distributions, &rows);
            let expected = numbers(&case["optuna"][part]);
            let points = case["optuna_points"].as_array().unwrap();
            for (point, expected) in points.iter().zip(expected) {
                let point: Params = serde_json::from_value(point.clone()).unwrap();
                assert_close(
                    density.log_density(&row(&point)),
                    expected,
                    &format!("{part} {point:?}"),
                );
            }
        }
    }
}

#[test]
fn the_density_of_bohb_is_hpbandsters() {
    let fixture = &fixture()["kernels"];
    let rows = |name: &str| -> Vec<Vec<f64>> {
        fixture[name]
            .as_array()
            .unwrap()
            .iter()
            .map(numbers)
            .collect()
    };
    let kinds = [Kind::Continuous, Kind::Continuous, Kind::Categories(4)];
    let density = Density::new(rows("rows"), &kinds);
    for (point, expected) in rows("points").iter().zip(numbers(&fixture["density"])) {
        assert_close(density.at(point), expected, &format!("{point:?}"));
    }
}

/// The largest distance between the share of proposals below each of the reference's twentieths.
fn distance(sampler: Sampler, space: &Space, trials: &[Observation], quantiles: &[f64]) -> f64 {
    let count = 600;
    let rates: Vec<f64> = (0..count)
        .map(|seed| {
            let params = sampler
                .propose(space, trials, trials.len(), seed)
                .unwrap()
                .unwrap();
            params["learning_rate"].as_f64().unwrap().ln()
        })
        .collect();
    let shares = quantiles.iter().enumerate().map(|(index, quantile)| {
        let below = rates.iter().filter(|rate| *rate < quantile).count() as f64 / count as f64;
        (below - 0.05 * (index + 1) as f64).abs()
    });
    shares.fold(0.0, f64::max)
}

#[test]
fn proposals_are_distributed_as_the_references() {
    let fixture = fixture();
    let many = history(&fixture["histories"][1]["trials"]);
    // Two samples of 600 from one distribution are 0.08 apart once in fifty times.
    let hyperopt = numbers(&fixture["hyperopt_quantiles"]);
    let mut alone = Space::default();
    alone.insert("learning_rate", Distribution::LogUniform(1e-5..1e-1));
    let found = distance(
        Sampler::Tpe {
            multivariate: false,
        },
        &alone,
        &many,
        &hyperopt,
    );
    assert!(found < 0.08, "hyperopt: {found}");
    let optuna = numbers(&fixture["optuna_quantiles"]);
    let found = distance(Sampler::default(), &bounded(), &many, &optuna);
    assert!(found < 0.08, "optuna: {found}");
    // It tells them from what is sampled at random.
    let found = distance(Sampler::Random, &bounded(), &many, &optuna);
    assert!(found > 0.2, "random: {found}");
}

#[test]
fn proposals_follow_from_seed_number_and_history() {
    let fixture = fixture();
    let many = history(&fixture["histories"][1]["trials"]);
    for sampler in ["random", "tpe", "tpe:multivariate=false", "bohb"] {
        let sampler: Sampler = sampler.parse().unwrap();
        let propose = |trial, seed| {
            sampler
                .propose(&space(), &many, trial, seed)
                .unwrap()
                .unwrap()
        };
        assert_eq!(propose(60, 1), propose(60, 1));
        assert_ne!(propose(60, 1), propose(61, 1));
        assert_ne!(propose(60, 1), propose(60, 2));
    }
}

#[test]
fn models_find_a_valley() {
    let space = bounded();
    let loss = |params: &Params| {
        let rate = params["learning_rate"].as_f64().unwrap().log10();
        (rate + 3.0).powi(2) + if params["batch_size"] == 64 { 0.0 } else { 0.3 }
    };
    let best_of = |sampler: &str, seed: u64| {
        let sampler: Sampler = sampler.parse().unwrap();
        let mut history = Vec::new();
        for trial in 0..60 {
            let params = sampler
                .propose(&space, &history, trial, seed)
                .unwrap()
                .unwrap();
            let losses = BTreeMap::from([(1, loss(&params))]);
            history.push(Observation {
                params,
                losses,
                is_complete: true,
            });
        }
        let last = history[30..].iter().map(|trial| trial.losses[&1]);
        last.sum::<f64>() / 30.0
    };
    let mean = |sampler: &str| (0..8).map(|seed| best_of(sampler, seed)).sum::<f64>() / 8.0;
    let random = mean("random");
    for sampler in ["tpe", "tpe:multivariate=false", "bohb"] {
        let found = mean(sampler);
        assert!(found < 0.85 * random, "{sampler}: {found}, random {random}");
    }
}

#[test]
fn conditions_hold_in_proposals_of_models() {
    let mut space = bounded();
    let inner = Parameter::from(Distribution::Uniform(0.5..0.99)).when("batch_size", [64]);
    space.insert("momentum", inner);
    for sampler in ["tpe", "tpe:multivariate=false", "bohb", "random"] {
        let sampler: Sampler = sampler.parse().unwrap();
        let mut history = Vec::new();
        for trial in 0..50 {
            let params = sampler
                .propose(&space, &history, trial, 3)
                .unwrap()
                .unwrap();
            assert_eq!(params.contains_key("momentum"), params["batch_size"] == 64);
            let loss = params.get("momentum").map_or(1.0, |m| m.as_f64().unwrap());
            let losses = BTreeMap::from([(1, loss)]);
            history.push(Observation {
                params,
                losses,
                is_complete: true,
            });
        }
    }
}

#[test]
fn a_grid_has_every_combination_once() {
    let mut space = Space::default();
    space.insert("a", choice(["x", "y"]));
    space.insert(
        "b",
        Parameter::from(Distribution::RandInt(0..3)).when("a", ["y"]),
    );
    let all = |sampler: &str, space: &Space| -> Vec<String> {
        let sampler: Sampler = sampler.parse().unwrap();
        let proposals = (0..).map_while(|trial| sampler.propose(space, &[], trial, 1).unwrap());
        proposals
            .map(|params| serde_json::to_string(&params).unwrap())
            .collect()
    };
    let expected = [
        r#"{"a":"x"}"#,
        r#"{"a":"y","b":0}"#,
        r#"{"a":"y","b":1}"#,
        r#"{"a":"y","b":2}"#,
    ];
    assert_eq!(all("grid", &space), expected);
    space.insert("c", Distribution::LogUniform(1.0..100.0));
    let error = Sampler::Grid { points: None }
        .propose(&space, &[], 0, 1)
        .unwrap_err();
    assert!(error.to_string().contains("c: expected"), "{error}");
    assert_eq!(all("grid:points=3", &space).len(), 12);
    assert!("grid:points=1".parse::<Sampler>().is_err());
}

#[test]
fn trials_that_were_stopped_rank_behind_complete_ones() {
    let trial = |losses: &[(usize, f64)], is_complete| Observation {
        params: Params::new(),
        losses: losses.iter().copied().collect(),
        is_complete,
    };
    let history = [
        trial(&[(1, 0.1)], false),
        trial(&[(1, 0.9), (2, 0.8)], false),
        trial(&[(1, 0.5), (2, 0.7)], true),
        trial(&[(1, 0.9), (2, 0.6)], true),
        trial(&[], false),
    ];
    let ranked = Ranked::new(&history);
    let order: Vec<usize> = ranked.0.iter().map(|(index, _)| *index).collect();
    assert_eq!(order, [2, 3, 1, 0]);
}
