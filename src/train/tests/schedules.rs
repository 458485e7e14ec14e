//! Learning rates over whole runs, step by step, against those that PyTorch, timm, fastai and
//! Lightning really used.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::params;
use crate::prelude::*;
use crate::train::finder::Smoothed;
use crate::train::rates::ema_decay;
use crate::train::schedule::{PlateauState, Position};
use crate::train::{
    BackboneRate, Per, Plateau, RateScaling, Suggestions, Sweep, Warmup, WarmupMode,
};
use crate::zoo;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Numbers, of which JSON has some as text.
type Numbers = Vec<f64>;

fn cases(section: &str) -> Vec<Value> {
    let text = std::fs::read_to_string("tests/fixtures/schedules.json").unwrap();
    let fixture: Value = serde_json::from_str(&text).unwrap();
    let cases = fixture[section].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    cases
}

fn read<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some(text) => text.parse().unwrap(),
        None => value.as_f64().unwrap(),
    }
}

fn numbers(value: &Value) -> Numbers {
    value.as_array().unwrap().iter().map(number).collect()
}

/// Equal to one part in a million, and beyond that to `slack`.
#[track_caller]
fn close(found: f64, expected: f64, slack: f64, place: &str) {
    let same = found == expected || found.is_nan() && expected.is_nan();
    let near = (found - expected).abs() <= 1e-6 * expected.abs() + slack;
    assert!(same || near, "{place}: {found:e} for {expected:e}");
}

/// fastai computes the position in a run in single precision. It shows in a cycle's last steps,
/// where the rate is a thousandth of the full one and less.
const FASTAI: f64 = 1e-7;

#[test]
fn curves_are_those_of_the_libraries() {
    let mut steps = 0;
    for case in cases("curves") {
        let source = case["source"].as_str().unwrap();
        let schedule: Schedule = read(&case["schedule"]);
        let warmup: Warmup = read(&case["warmup"]);
        let per: Per = read(&case["per"]);
        let rate = number(&case["rate"]);
        let epochs = number(&case["epochs"]);
        let steps_per_epoch: usize = read(&case["steps_per_epoch"]);
        schedule.validate().unwrap();
        warmup.validate(&schedule, epochs).unwrap();
        let slack = if source.starts_with("fastai") {
            FASTAI
        } else {
            0.0
        };
        let rates = numbers(&case["rates"]);
        let momentum = case.get("momentum").map(numbers);
        let total = epochs as usize * steps_per_epoch;
        assert_eq!(
            rates.len(),
            if per == Per::Step {
                total
            } else {
                epochs as usize
            }
        );
        for step in 0..total {
            let position = Position {
                step,
                steps_per_epoch,
                epochs,
            };
            let point = schedule.at(position, &warmup, per);
            let index = match per {
                Per::Step => step,
                Per::Epoch => step / steps_per_epoch,
            };
            let place = format!("{source} {schedule} by {per:?}, step {step}");
            // PyTorch computes each rate from the one before; errors add up.
            let slack = slack * rate + 1e-15;
            close(rate * point.factor, rates[index], slack, &place);
            let expected = momentum.as_ref().map(|m| m[index]);
            assert_eq!(point.momentum.is_some(), expected.is_some(), "{place}");
            if let (Some(found), Some(expected)) = (point.momentum, expected) {
                close(found, expected, 0.0, &place);
            }
            steps += 1;
        }
    }
    assert!(steps > 1500, "{steps}");
}

#[test]
fn fine_tuning_is_fastais() {
    let case = &cases("fine_tune")[0];
    let base = number(&case["base_rate"]);
    let steps_per_epoch: usize = read(&case["steps_per_epoch"]);
    let Schedule::OneCycle {
        div_final,
        momentum,
        ..
    } = Schedule::one_cycle()
    else {
        panic!();
    };
    let cycle = |pct_start, div| Schedule::OneCycle {
        pct_start,
        div,
        div_final,
        momentum,
    };
    // The head alone, then all of it at half the rate, the input's group at a hundredth of that.
    let phases = [
        (
            &case["freeze_epochs"],
            base,
            cycle(0.99, 25.0),
            Rates::Slice,
        ),
        (
            &case["epochs"],
            base / 2.0,
            cycle(0.3, 5.0),
            Rates::Geometric { lowest: 0.01 },
        ),
    ];
    for (phase, (epochs, rate, schedule, rates)) in phases.into_iter().enumerate() {
        let found = &case["phases"][phase];
        let epochs = number(epochs);
        let scales = rates.scales(3);
        let expected: Vec<Numbers> = read(&found["rates"]);
        let momentum = numbers(&found["momentum"]);
        assert_eq!(expected.len(), epochs as usize * steps_per_epoch);
        for (step, expected) in expected.iter().enumerate() {
            let position = Position {
                step,
                steps_per_epoch,
                epochs,
            };
            let point = schedule.at(position, &Warmup::default(), Per::Step);
            let place = format!("phase {phase}, step {step}");
            for (scale, expected) in scales.iter().zip(expected) {
                let rate = rate * scale;
                close(rate * point.factor, *expected, 0.0, &place);
            }
            close(point.momentum.unwrap(), momentum[step], 0.0, &place);
        }
    }
    // The normalisations of frozen groups train as well.
    let trains: Vec<String> = read(&case["phases"][0]["trains"]);
    assert!(trains.contains(&"stem.1.weight".to_owned()));
    assert!(!trains.contains(&"stem.0.weight".to_owned()));
}

#[test]
fn rates_of_groups_are_fastais() {
    for case in cases("slices") {
        let groups: usize = read(&case["groups"]);
        let stop = number(&case["stop"]);
        let rates = match case["start"].as_f64() {
            None => Rates::Slice,
            Some(start) => Rates::Geometric {
                lowest: start / stop,
            },
        };
        let expected = numbers(&case["rates"]);
        for rates in [Some(rates), ulmfit(&case)].into_iter().flatten() {
            let scales = rates.scales(groups);
            assert_eq!(scales.len(), expected.len());
            for (scale, expected) in scales.iter().zip(&expected) {
                close(
                    stop * scale,
                    *expected,
                    0.0,
                    &format!("{rates} of {groups}"),
                );
            }
        }
    }
    assert_eq!(Rates::Same.scales(3), [1.0; 3]);
    assert_eq!(Rates::Slice.scales(0), [0.0; 0]);
}

/// The case that spreads powers of 2.6 over the groups.
fn ulmfit(case: &Value) -> Option<Rates> {
    let groups: i32 = read(&case["groups"]);
    let start = case["start"].as_f64()?;
    let lowest = number(&case["stop"]) / 2.6f64.powi(groups - 1);
    ((start - lowest).abs() < 1e-12).then_some(Rates::Factor { divide: 2.6 })
}

#[test]
fn layer_decay_is_timms() {
    for case in cases("layer_decay") {
        let name = case["model"].as_str().unwrap();
        let (decay, min_scale) = (number(&case["decay"]), number(&case["min_scale"]));
        let rates = Rates::LayerDecay { decay, min_scale };
        let expected: BTreeMap<String, f64> = read(&case["scales"]);
        let spec = Zoo::get(name).unwrap().num_classes(read(&case["classes"]));
        let model = spec.build_zeros(&Device::default().autodiff()).unwrap();
        let recipe = Recipe::full().learning_rate(1.0).rates(rates);
        let plan = recipe
            .schedule(Schedule::Constant)
            .plan(&model, 10)
            .unwrap();
        let mut paths: BTreeMap<_, _> = (params::list(&model).into_iter())
            .map(|param| (param.id, param.path))
            .collect();
        let groups = plan.rate_groups().iter().zip(plan.at(0).rates);
        let mut found = BTreeMap::new();
        for (group, rate) in groups {
            found.extend(group.ids.iter().map(|id| (paths.remove(id).unwrap(), rate)));
        }
        assert_eq!(found, expected, "{name}");
        assert!(paths.values().all(|path| path.contains(".running_")));

        // The same by the paths alone, where upstream counts blocks.
        if model.backbone.describe().layer_of.is_none() {
            let prefixes: Vec<String> = read(&case["prefixes"]);
            let (paths, scales): (Vec<&String>, Vec<f64>) = expected.iter().unzip();
            assert_eq!(rates.parameter_scales(&paths, &prefixes), scales, "{name}");
        }
    }
}

/// `layer_decay.json`: the layer of each parameter, for two architectures of every family that timm has.
#[test]
fn layers_are_counted_as_in_timm() {
    let text = std::fs::read_to_string("tests/fixtures/layer_decay.json").unwrap();
    let fixture: BTreeMap<String, Option<String>> = serde_json::from_str(&text).unwrap();
    let mut families = BTreeSet::new();
    let mut differ = Vec::new();
    for (name, layers) in &fixture {
        // timm cuts the parameters of MetaFormers into equal parts.
        let family = zoo::find(name).unwrap().family;
        let Some(layers) = layers else {
            assert_eq!(family, "MetaFormer", "{name}");
            continue;
        };
        families.insert(family);
        let runs = layers.split(' ').map(|run| run.split_once('x').unwrap());
        let expected: Vec<usize> = runs
            .flat_map(|(layer, count)| vec![layer.parse().unwrap(); count.parse().unwrap()])
            .collect();
        let spec = Zoo::get(name).unwrap().num_classes(10);
        let model = spec.build_zeros(&Device::default().autodiff()).unwrap();
        let recipe = Recipe::full().rates("layer_decay:0.5".parse().unwrap());
        let plan = recipe.plan(&model, 10).unwrap();
        let names = &model.backbone.describe().key_table;
        let params = params::list(&model).into_iter();
        let mut paths: BTreeMap<_, _> = params.map(|param| (param.id, param.path)).collect();
        let mut found = BTreeMap::new();
        for (layer, group) in plan.rate_groups().iter().enumerate() {
            let of_group = group.ids.iter().map(|id| paths.remove(id).unwrap());
            found.extend(of_group.map(|path| (names.name(&path), layer)));
        }
        assert_eq!(found.len(), expected.len(), "{name}");
        let mut pairs = found.iter().zip(expected);
        if let Some(((path, found), expected)) = pairs.find(|((_, found), layer)| *found != layer) {
            differ.push(format!("{name}: {path}: layer {found}, timm's {expected}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(families.len() > 40, "{families:?}");
}

#[test]
fn group_rates_reach_every_parameter() {
    let prefixes = ["stem.", "stage1.", "head."];
    let paths = ["stem.conv.weight", "stage1.0.weight", "head.fc.bias", "odd"];
    let rates = Rates::Geometric { lowest: 0.01 };
    let scales = rates.parameter_scales(&paths, &prefixes);
    for (scale, expected) in scales.iter().zip([0.01, 0.1, 1.0, 1.0]) {
        close(*scale, expected, 0.0, "geometric");
    }
    assert_eq!(Rates::Same.parameter_scales(&paths, &prefixes), [1.0; 4]);
}

#[test]
fn a_backbone_joins_as_in_lightning() {
    for case in cases("backbone") {
        let settings: BackboneRate = read(&case["settings"]);
        settings.validate().unwrap();
        let head = numbers(&case["head"]);
        for (epoch, expected) in case["backbone"].as_array().unwrap().iter().enumerate() {
            let found = settings.at(epoch, |epoch| head[epoch]);
            assert_eq!(found.is_some(), !expected.is_null(), "epoch {epoch}");
            if let Some(found) = found {
                close(found, number(expected), 0.0, &format!("epoch {epoch}"));
            }
        }
    }
}

#[test]
fn plateaus_are_pytorchs_and_survive_a_checkpoint() {
    let mut reductions = 0;
    for case in cases("plateau") {
        let plateau: Plateau = read(&case["settings"]);
        Schedule::Plateau(plateau).validate().unwrap();
        let larger = case["mode"] == "max";
        let mut state = PlateauState::default();
        let values = numbers(&case["values"]);
        for (epoch, expected) in numbers(&case["factors"]).into_iter().enumerate() {
            let before = state.factor;
            let factor = state.update(&plateau, values[epoch], larger);
            let place = format!("{plateau:?}, epoch {epoch}");
            // PyTorch lowers no rate by less than 1e-8.
            close(factor, expected, 1e-8 / 0.4, &place);
            reductions += usize::from(factor < before);
            // As a checkpoint does.
            let kept = serde_json::to_string(&state).unwrap();
            let read: PlateauState = serde_json::from_str(&kept).unwrap();
            assert_eq!(read, state, "{kept}");
            state = read;
        }
        assert!(values.len() < 40 || state.best.is_some());
    }
    assert!(reductions > 10, "{reductions}");
}

#[test]
fn averages_forget_as_in_timm() {
    for case in cases("ema") {
        let warmup: bool = read(&case["warmup"]);
        let decay = number(&case["decay"]);
        for (index, expected) in numbers(&case["decays"]).into_iter().enumerate() {
            let found = ema_decay(decay, warmup, index + 1);
            close(found, expected, 0.0, &format!("step {}", index + 1));
        }
    }
}

#[test]
fn rates_follow_the_images_in_a_step() {
    let linear = RateScaling::Linear { base: 256 };
    assert_eq!(RateScaling::None.factor(64), 1.0);
    assert_eq!(linear.factor(64), 0.25);
    assert_eq!(RateScaling::Sqrt { base: 256 }.factor(64), 0.5);
    assert_eq!("linear".parse::<RateScaling>().unwrap(), linear);
    assert_eq!(linear.to_string(), "linear:256");
    assert_eq!(
        "sqrt:0".parse::<RateScaling>().unwrap_err().to_string(),
        "rate scaling base: expected at least 1, found 0"
    );
}

fn sweep(case: &Value) -> Sweep {
    Sweep {
        start: number(&case["start"]),
        end: number(&case["end"]),
        steps: read(&case["steps"]),
        ..Sweep::default()
    }
}

fn same_suggestions(found: Suggestions, case: &Value) {
    let all = [
        ("valley", found.valley),
        ("steepest", found.steepest),
        ("minimum", found.minimum),
        ("slide", found.slide),
    ];
    for (name, found) in all {
        let expected = number(&case[name]);
        close(found.unwrap_or(f64::NAN), expected, 0.0, name);
    }
}

#[test]
fn sweeps_end_and_suggest_as_fastais() {
    for case in cases("finder") {
        let sweep = sweep(&case);
        sweep.validate().unwrap();
        let losses = numbers(&case["losses"]);
        let rates = numbers(&case["rates"]);
        let mut smoothed = Smoothed::default();
        assert!(smoothed.value().is_nan() && !smoothed.diverged());
        let mut found = (Vec::new(), Vec::new());
        for (step, raw) in numbers(&case["raw"]).into_iter().enumerate() {
            close(sweep.rate(step), rates[step], 0.0, "rate");
            let loss = smoothed.push(raw);
            // fastai's weight of a new loss is 0.02 in single precision: off by one in a million.
            let slack = 1e-6 * losses[step].abs();
            close(loss, losses[step], slack, &format!("step {step}"));
            found.0.push(sweep.rate(step));
            found.1.push(loss);
            if smoothed.diverged() && case["stops"] == true {
                break;
            }
        }
        assert_eq!(found.1.len(), losses.len(), "stopped elsewhere");
        assert!(found.1.len() == sweep.steps || smoothed.diverged());
        same_suggestions(Suggestions::of(&found.0, &found.1, sweep.steps), &case);

        // To stop at the first NaN changes nothing.
        if let Some(first) = found.1.iter().position(|loss| loss.is_nan()) {
            let (rates, losses) = (&found.0[..=first], &found.1[..=first]);
            assert!(first + 1 < sweep.steps);
            same_suggestions(Suggestions::of(rates, losses, sweep.steps), &case);
        }
    }
}

#[test]
fn suggestions_are_fastais_on_any_curve() {
    for case in cases("suggestions") {
        // What a sweep of 100 steps leaves out at either end.
        let frame = |values: &[f64], fill: f64| [&[fill; 10][..], values, &[fill; 5][..]].concat();
        let rates = frame(&numbers(&case["rates"]), 1.0);
        let losses = frame(&numbers(&case["losses"]), -99.0);
        same_suggestions(Suggestions::of(&rates, &losses, 100), &case);
    }
}

#[test]
fn a_sweep_ends_at_four_times_its_best() {
    // The average after a loss of 1 and another is 0.495 + 0.505 times the other, nearly.
    let ends = |second: f64| {
        let mut smoothed = Smoothed::default();
        smoothed.push(1.0);
        assert!(!smoothed.diverged());
        smoothed.push(second);
        smoothed.diverged()
    };
    assert!(!ends(6.9));
    assert!(ends(7.0));
    assert!(ends(f64::NAN) && ends(f64::INFINITY));
}

#[test]
fn what_ends_in_nan_counts_up_to_it() {
    let sweep = Sweep::default();
    let (rates, mut losses): (Vec<f64>, Vec<f64>) = (0..sweep.steps)
        .map(|i| (sweep.rate(i), 3.0 - i as f64 / 50.0))
        .unzip();
    losses[39..].fill(f64::NAN);
    let whole = Suggestions::of(&rates, &losses, sweep.steps);
    assert_eq!(whole.minimum, Some(rates[38] / 10.0));
    let stopped = Suggestions::of(&rates[..40], &losses[..40], sweep.steps);
    assert_eq!(stopped, whole);
}

#[test]
fn a_short_curve_suggests_nothing() {
    let curve = |points: usize| -> (Vec<f64>, Vec<f64>) {
        let sweep = Sweep::default();
        (0..points)
            .map(|i| (sweep.rate(i), 3.0 - i as f64 / 50.0))
            .unzip()
    };
    for points in 0..18 {
        let (rates, losses) = curve(points);
        let none = Suggestions::default();
        assert_eq!(Suggestions::of(&rates, &losses, 100), none, "{points}");
    }
    let (rates, losses) = curve(18);
    let found = Suggestions::of(&rates, &losses, 100);
    assert!(found.valley.is_some() && found.minimum.is_some() && found.steepest.is_some());
    // Sixteen points are needed.
    assert_eq!(found.slide, None);

    let nothing = Suggestions::of(&rates, &[f64::NAN; 18], 100);
    assert_eq!(nothing, Suggestions::default());
    // Two points of a valley have no middle.
    let mut losses = vec![5.0; 40];
    losses[11] = 4.0;
    let (rates, _) = curve(40);
    assert_eq!(Suggestions::of(&rates, &losses, 100).valley, None);
}

#[test]
fn a_sweep_is_checked() {
    let bad = [
        (
            0.0,
            1.0,
            100,
            "sweep start: expected a number above 0, found 0",
        ),
        (
            1.0,
            0.5,
            100,
            "sweep end: expected a number above the start, 1, found 0.5",
        ),
        (1e-7, 1.0, 5, "sweep steps: expected at least 6, found 5"),
    ];
    for (start, end, steps, message) in bad {
        let sweep = Sweep {
            start,
            end,
            steps,
            ..Sweep::default()
        };
        assert_eq!(sweep.validate().unwrap_err().to_string(), message);
    }
}

#[test]
fn schedules_are_plain_text_in_a_recipe() {
    #[derive(Debug, serde::Deserialize)]
    struct Recipe {
        schedule: Schedule,
    }
    let recipe = |text: &str| toml::from_str::<Recipe>(text).map(|recipe| recipe.schedule);

    assert_eq!(
        recipe(r#"schedule = { kind = "cosine" }"#).unwrap(),
        Schedule::cosine()
    );
    assert_eq!(
        recipe(r#"schedule = { kind = "plateau", patience = 3 }"#).unwrap(),
        Schedule::Plateau(Plateau {
            patience: 3,
            ..Plateau::default()
        })
    );
    for (text, message) in [
        (
            r#"schedule = { kind = "cosine", ends = 1 }"#,
            "unknown field `ends`, expected one of `end`, `cycles`, `cycle_mul`, `cycle_decay`",
        ),
        (
            r#"schedule = { kind = "constant", gamma = 1 }"#,
            "unknown field `gamma`",
        ),
        (
            r#"schedule = { kind = "plateau", gamma = 1 }"#,
            "unknown field `gamma`, expected one of `factor`",
        ),
        (
            r#"schedule = { kind = "cosin" }"#,
            "unknown variant `cosin`, expected one of `constant`, `step`, `multi_step`",
        ),
    ] {
        let error = recipe(text).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn text_round_trips() {
    for (text, shown) in [
        ("constant", "constant"),
        ("step:3:0.5", "step:3:0.5"),
        ("step", "step:30:0.1"),
        ("step:gamma=0.5", "step:30:0.5"),
        ("multi-step:30", "multi_step:30:0.1"),
        ("multi_step:2,5:0.2", "multi_step:2,5:0.2"),
        ("exponential", "exponential:0.95"),
        ("linear:end=1e-3", "linear:end=0.001"),
        ("polynomial:2:end=0.5", "polynomial:2:end=0.5"),
        ("cosine", "cosine"),
        ("cosine:end=0:cycles=3", "cosine:cycles=3"),
        ("one-cycle:div-final=100000", "one_cycle"),
        (
            "one_cycle:momentum=0.9,0.9,0.9:pct_start=1",
            "one_cycle:pct_start=1:momentum=0.9,0.9,0.9",
        ),
        (
            "plateau:threshold_mode=abs:patience=2",
            "plateau:patience=2:threshold_mode=abs",
        ),
    ] {
        let schedule: Schedule = text.parse().unwrap();
        assert_eq!(schedule.to_string(), shown);
        assert_eq!(shown.parse::<Schedule>().unwrap(), schedule);
        let json = serde_json::to_string(&schedule).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
        let toml = toml::to_string(&schedule).unwrap();
        assert_eq!(toml::from_str::<Schedule>(&toml).unwrap(), schedule);
    }
    for (text, shown) in [
        ("same", "same"),
        ("geometric", "geometric:0.01"),
        ("factor:2.6", "factor:2.6"),
        ("slice", "slice"),
        ("layer-decay:0.65", "layer_decay:0.65"),
        (
            "layer_decay:0.65:min_scale=0.1",
            "layer_decay:0.65:min_scale=0.1",
        ),
    ] {
        let rates: Rates = text.parse().unwrap();
        assert_eq!(rates.to_string(), shown);
        assert_eq!(shown.parse::<Rates>().unwrap(), rates);
        let toml = toml::to_string(&rates).unwrap();
        assert_eq!(toml::from_str::<Rates>(&toml).unwrap(), rates);
    }
}

/// The message has these parts, with ` .. ` between them, in this order.
#[track_caller]
fn assert_names(message: &str, parts: &str) {
    let mut rest = message;
    for part in parts.split(" .. ") {
        let at = rest.find(part);
        let at = at.unwrap_or_else(|| panic!("`{message}` does not name `{part}`"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn nonsense_is_refused() {
    let schedules = [
        (
            "linea",
            "schedule: expected constant, step:EPOCHS:GAMMA, multi_step: .. :GAMMA, \
             exponential:GAMMA, linear, polynomial:POWER, cosine, one_cycle or plateau, found `linea`",
        ),
        (
            "constant:1",
            "schedule constant: expected nothing after it, found `1`",
        ),
        (
            "cosine:0.1",
            "schedule cosine: expected end, cycles, cycle_mul or cycle_decay, each once, found `0.1`",
        ),
        (
            "linear:start=1",
            "schedule linear: expected end, once, found `start=1`",
        ),
        (
            "cosine:cycles=1.5",
            "schedule cosine cycles: expected a whole number of at least 0, found `1.5`",
        ),
        (
            "cosine:end=nan",
            "schedule cosine end: expected a number, found `nan`",
        ),
        (
            "cosine:end=0:end=1",
            "schedule cosine: expected one value of end, found two",
        ),
        (
            "multi_step:3,x",
            "schedule multi_step milestones: .. numbers with commas between them, found `3,x`",
        ),
        (
            "one_cycle:momentum=0.9",
            "schedule one_cycle momentum: .. 3 .. `0.9`",
        ),
        (
            "plateau:threshold_mode=x",
            "schedule plateau threshold_mode: .. rel .. abs .. `x`",
        ),
        (
            "step:0:0.5",
            "schedule step: expected at least one epoch, found 0",
        ),
        (
            "step:1:-1",
            "schedule gamma: expected a positive number, found -1",
        ),
        (
            "multi_step:0,3",
            "schedule milestones: expected one epoch or more, counted from 0, none of them the \
             first, found 0, 3",
        ),
        (
            "cosine:cycles=0",
            "schedule cycles: expected 1 to 1000, found 0",
        ),
        (
            "cosine:cycles=100:cycle_mul=2",
            "schedule cycle_mul: expected cycles that differ in length by a factor of at most a \
             million, found 2",
        ),
        (
            "one_cycle:pct_start=2",
            "schedule pct_start: expected 0 to 1, found 2",
        ),
        (
            "one_cycle:momentum=0.9,1,0.9",
            "schedule momentum: expected at least 0 and below 1, found 1",
        ),
        (
            "plateau:factor=1",
            "schedule factor: expected above 0 and below 1, found 1",
        ),
    ];
    for (text, message) in schedules {
        let error = text.parse::<Schedule>().unwrap_err();
        assert_names(&error.to_string(), message);
    }
    let rates = [
        (
            "geometric:0",
            "rates lowest: expected above 0 and up to 1, found 0",
        ),
        (
            "factor:0.5",
            "rates divide: expected a number of at least 1, found 0.5",
        ),
        (
            "layer_decay:1.5",
            "rates decay: expected above 0 and up to 1, found 1.5",
        ),
        (
            "layer_decay:min_scale=2",
            "rates min_scale: expected 0 to 1, found 2",
        ),
        (
            "slice:1",
            "rates slice: expected nothing after it, found `1`",
        ),
        (
            "half",
            "rates: expected same, geometric:LOWEST, factor:DIVIDE, slice or layer_decay:DECAY, \
             found `half`",
        ),
    ];
    for (text, message) in rates {
        let error = text.parse::<Rates>().unwrap_err();
        assert_names(&error.to_string(), message);
    }
}

#[test]
fn warm_ups_fit_their_run() {
    let check = |warmup: Warmup, schedule: &Schedule| {
        warmup.validate(schedule, 2.0).map_err(|e| e.to_string())
    };
    let constant = Schedule::Constant;
    assert_eq!(check(Warmup::new(2.0), &constant), Ok(()));
    assert_eq!(
        check(Warmup::new(3.0), &constant).unwrap_err(),
        "warmup_epochs: expected at most the 2 epochs of the run, found 3"
    );
    assert_eq!(
        check(Warmup::new(f64::NAN), &constant).unwrap_err(),
        "warmup_epochs: expected a number of at least 0, found NaN"
    );
    let steep = Warmup {
        start: 1.5,
        ..Warmup::new(1.0)
    };
    assert_eq!(
        check(steep, &constant).unwrap_err(),
        "warmup start: expected 0 to 1, found 1.5"
    );
    assert_eq!(
        check(Warmup::new(1.0), &Schedule::one_cycle()).unwrap_err(),
        "warmup_epochs: expected 0 with one_cycle, which begins with its own, found 1"
    );
    assert_eq!(check(Warmup::default(), &Schedule::one_cycle()), Ok(()));
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn schedules() -> impl Strategy<Value = Schedule> {
        let part = 0.0..1.0f64;
        prop_oneof![
            Just(Schedule::Constant),
            (1..9usize, 0.01..1.0f64).prop_map(|(epochs, gamma)| Schedule::Step { epochs, gamma }),
            (prop::collection::vec(1..40usize, 1..5), 0.01..1.0f64)
                .prop_map(|(milestones, gamma)| Schedule::MultiStep { milestones, gamma }),
            (0.5..1.0f64).prop_map(|gamma| Schedule::Exponential { gamma }),
            part.clone().prop_map(|end| Schedule::Linear { end }),
            (0.1..4.0f64, part.clone())
                .prop_map(|(power, end)| Schedule::Polynomial { power, end }),
            (part.clone(), 1..6usize, 0.3..3.0f64, 0.3..1.0f64).prop_map(
                |(end, cycles, cycle_mul, cycle_decay)| Schedule::Cosine {
                    end,
                    cycles,
                    cycle_mul,
                    cycle_decay,
                }
            ),
            (0.0..=1.0f64, 1.0..99.0f64, 1.0..1e6f64).prop_map(|(pct_start, div, div_final)| {
                Schedule::OneCycle {
                    pct_start,
                    div,
                    div_final,
                    momentum: [0.95, 0.85, 0.95],
                }
            }),
        ]
    }

    proptest! {
        #[test]
        fn no_rate_is_above_the_full_one_or_below_zero(
            schedule in schedules(),
            warmup in 0.0..5.0f64,
            start in 0.0..=1.0f64,
            overlay: bool,
            steps_per_epoch in 0..20usize,
            step in 0..2000usize,
            by_epoch: bool,
        ) {
            prop_assert!(schedule.validate().is_ok());
            let mode = if overlay { WarmupMode::Overlay } else { WarmupMode::Prefix };
            let warmup = Warmup { epochs: warmup, start, mode };
            let per = if by_epoch { Per::Epoch } else { Per::Step };
            let position = Position { step, steps_per_epoch, epochs: 12.0 };
            let point = schedule.at(position, &warmup, per);
            prop_assert!((0.0..=1.0 + 1e-12).contains(&point.factor), "{schedule}: {point:?}");
            if let Some(momentum) = point.momentum {
                prop_assert!((0.85 - 1e-12..=0.95 + 1e-12).contains(&momentum));
            }
            // Text holds all of it.
            prop_assert_eq!(schedule.to_string().parse::<Schedule>().unwrap(), schedule);
        }
    }
}
