//! Samplers and schedulers on a table of 500 runs: how far the best result is from that of the table
//! after so many epochs of training in all.
//!
//! `cargo bench --features tune --bench tune` prints a table and writes `docs/regret.svg`. The table of runs,
//! `benches/tune_table.csv`, is a grid that `burn-zoo tune --sampler grid` computed: the head of a small
//! network on 1000 images of FashionMNIST's sample, nine epochs of SGD, and the validation loss after each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

use burn_zoo::prelude::*;
use burn_zoo::tune::Distribution::{LogUniform, Uniform};
use burn_zoo::tune::{Decision, Search, Trial, choice};

const SEEDS: u64 = 10;
const EPOCHS: usize = 9;
/// Epochs of training that are compared.
const COST: usize = 720;
const SHOWN: [usize; 5] = [45, 90, 180, 360, 720];

const METHODS: [(&str, &str, &str); 6] = [
    ("random", "random", "none"),
    ("TPE", "tpe", "none"),
    (
        "TPE, each parameter apart",
        "tpe:multivariate=false",
        "none",
    ),
    ("random, ASHA", "random", "asha:max_t=9,eta=3"),
    ("TPE, ASHA", "tpe", "asha:max_t=9,eta=3"),
    ("BOHB, Hyperband", "bohb", "hyperband:max_t=9,eta=3"),
];

fn main() -> burn_zoo::Result<()> {
    let table = Table::read();
    let best = table.runs.iter().flat_map(|run| run.loss);
    let best = best.fold(f64::INFINITY, f64::min);
    println!("least loss of {} runs: {best:.4}\n", table.runs.len());
    let header = SHOWN.map(|cost| format!("{cost} epochs")).join(" | ");
    println!(
        "| regret after | {header} |\n|---|{}",
        "---:|".repeat(SHOWN.len())
    );
    let mut curves = Vec::new();
    for (name, sampler, scheduler) in METHODS {
        let mut mean = vec![0.0; COST + 1];
        for seed in 0..SEEDS {
            let found = incumbents(&table, sampler, scheduler, seed)?;
            for (sum, found) in mean.iter_mut().zip(found) {
                *sum += (found - best) / SEEDS as f64;
            }
        }
        let row = SHOWN.map(|cost| format!("{:.4}", mean[cost])).join(" | ");
        println!("| {name} | {row} |");
        curves.push((name, mean));
    }
    std::fs::write("docs/regret.svg", picture(&curves)).map_err(|source| burn_zoo::Error::Io {
        action: "write",
        path: "docs/regret.svg".into(),
        source,
    })
}

/// The best result after each number of epochs of a search.
fn incumbents(
    table: &Table,
    sampler: &str,
    scheduler: &str,
    seed: u64,
) -> burn_zoo::Result<Vec<f64>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Before anything is known: that of chance.
    let found = Mutex::new(vec![10.0f64.ln()]);
    let search = Search::new(Recipe::full().epochs(EPOCHS))
        .vary("learning_rate", LogUniform(1e-3..30.0))
        .vary_own("momentum", Uniform(0.0..0.98))
        .vary("batch_size", choice([16, 32, 64, 128, 256]))
        .vary("label_smoothing", Uniform(0.0..0.3))
        .metric("valid_loss", false)
        .sampler(sampler.parse()?)
        .scheduler(scheduler.parse()?)
        .trials(400)
        .seed(seed);
    search.run(folder.path().join("search"), |trial| {
        let run = table.nearest(trial)?;
        // A trial that waited goes on behind what it has reported.
        let done = run
            .done
            .lock()
            .expect("no panic")
            .get(&(seed, trial.number()))
            .copied();
        for epoch in done.unwrap_or(0) + 1..=EPOCHS {
            let loss = run.loss[epoch - 1];
            let mut found = found.lock().expect("no panic");
            let best = found.last().copied().unwrap_or_default();
            found.push(loss.min(best));
            drop(found);
            run.done
                .lock()
                .expect("no panic")
                .insert((seed, trial.number()), epoch);
            let metrics = BTreeMap::from([("valid_loss".to_owned(), loss)]);
            if trial.report(epoch, metrics)? != Decision::Continue {
                break;
            }
        }
        Ok(())
    })?;
    for run in &table.runs {
        run.done.lock().expect("no panic").clear();
    }
    let mut found = found.into_inner().expect("no panic");
    let last = found.last().copied().unwrap_or_default();
    found.resize(found.len().max(COST + 1), last);
    Ok(found)
}

struct Run {
    /// Logarithm of the rate, momentum, logarithm of the batch size, label smoothing.
    place: [f64; 4],
    loss: [f64; EPOCHS],
    /// Epochs that a trial of a seed has reported.
    done: Mutex<BTreeMap<(u64, usize), usize>>,
}

struct Table {
    runs: Vec<Run>,
}

impl Table {
    fn read() -> Self {
        let mut lines = include_str!("tune_table.csv").lines();
        let _header = lines.next();
        let run = |line: &str| {
            let numbers: Vec<f64> = line
                .split(',')
                .map(|number| number.parse().expect("a number"))
                .collect();
            Run {
                place: [numbers[0].ln(), numbers[1], numbers[2].ln(), numbers[3]],
                loss: std::array::from_fn(|epoch| numbers[4 + epoch]),
                done: Mutex::default(),
            }
        };
        Self {
            runs: lines.map(run).collect(),
        }
    }

    /// The run whose values are closest.
    fn nearest(&self, trial: &Trial<'_>) -> burn_zoo::Result<&Run> {
        let place = [
            trial.number_of("learning_rate")?.ln(),
            trial.number_of("momentum")?,
            trial.number_of("batch_size")?.ln(),
            trial.number_of("label_smoothing")?,
        ];
        let width = [10.3, 0.98, 2.77, 0.3];
        let distance = |run: &&Run| -> f64 {
            let parts = place.iter().zip(run.place).zip(width);
            parts.map(|((a, b), width)| ((a - b) / width).powi(2)).sum()
        };
        let nearest = self
            .runs
            .iter()
            .min_by(|a, b| distance(a).total_cmp(&distance(b)));
        Ok(nearest.expect("the table has runs"))
    }
}

/// Regret against epochs, on logarithmic axes.
fn picture(curves: &[(&str, Vec<f64>)]) -> String {
    let colors = [
        "#57606a", "#0072b2", "#56b4e9", "#e69f00", "#d55e00", "#009e73",
    ];
    let (width, height, left, top) = (640.0, 340.0, 52.0, 14.0);
    let least = 0.0005f64;
    let x = |cost: f64| left + (width - left - 10.0) * (cost / 9.0).ln() / (COST as f64 / 9.0).ln();
    let most = 0.5f64;
    let y = |regret: f64| {
        let share = (regret.clamp(least, most) / least).ln() / (most / least).ln();
        top + (height - top - 44.0) * (1.0 - share)
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"12\"><title>Regret of searches</title>\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>"
    );
    for regret in [0.001, 0.003, 0.01, 0.03, 0.1, 0.3] {
        let at = y(regret);
        let _ = write!(
            svg,
            "<path d=\"M{left} {at:.1}H{:.1}\" stroke=\"#e4e8ec\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#57606a\">{regret}</text>",
            width - 10.0,
            left - 6.0,
            at + 4.0
        );
    }
    for cost in [9, 45, 90, 180, 360, 720] {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#57606a\">{cost}</text>",
            x(f64::from(cost)),
            height - 28.0
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#1c2127\">epochs of training in all</text>\
         <text x=\"{left}\" y=\"{:.1}\" fill=\"#1c2127\">loss above the least of the table, mean of {SEEDS} seeds</text>",
        0.5 * (left + width),
        height - 8.0,
        top - 2.0
    );
    for (index, ((name, mean), color)) in curves.iter().zip(colors).enumerate() {
        let points: String = (9..=COST)
            .map(|cost| format!("{:.1},{:.1} ", x(cost as f64), y(mean[cost])))
            .collect();
        let place = height - 150.0 + 16.0 * index as f64;
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>\
             <path d=\"M{} {:.1}h18\" stroke=\"{color}\" stroke-width=\"3\"/>\
             <text x=\"{}\" y=\"{place:.1}\" fill=\"#1c2127\">{name}</text>",
            points.trim_end(),
            left + 12.0,
            place - 4.0,
            left + 36.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}
