//! `--against`: two runs side by side.

use std::collections::BTreeMap;

use burn_zoo::train::metrics_in_words;
use comfy_table::{Table, presets};

use super::Tuned;

/// The accuracy, or what there is in its place where images have not one class.
fn figures(accuracy: f64, metrics: &BTreeMap<String, f64>) -> Vec<(&'static str, f64)> {
    match metrics.is_empty() {
        true => vec![("accuracy", accuracy)],
        false => metrics_in_words(metrics).collect(),
    }
}

fn of_validation(tuned: &Tuned) -> Vec<(&'static str, f64)> {
    let best = tuned.run.best();
    figures(best.valid_accuracy, &best.metrics)
}

fn of_test(tuned: &Tuned) -> Vec<(&'static str, f64)> {
    let test = tuned.test.as_ref();
    test.map_or_else(Vec::new, |test| figures(test.test_accuracy, &test.metrics))
}

/// A table of two runs, with the weights that each began with, and what the first has gained.
pub fn side_by_side(rows: [(Option<&str>, &Tuned); 2]) -> Table {
    let is_tested = rows.iter().all(|(_, tuned)| tuned.test.is_some());
    let tested = |tuned: &Tuned| {
        if is_tested {
            of_test(tuned)
        } else {
            Vec::new()
        }
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let [(_, first), (_, second)] = rows;
    let mut header = vec!["weights".to_owned()];
    header.extend(
        of_validation(first)
            .iter()
            .map(|(name, _)| format!("validation {name}")),
    );
    header.extend(["loss", "best epoch"].map(str::to_owned));
    header.extend(tested(first).iter().map(|(name, _)| format!("test {name}")));
    table.set_header(header);
    let shown = |(name, value): &(&str, f64)| match *name {
        "accuracy" => format!("{:.1} %", 100.0 * value),
        _ => format!("{value:.4}"),
    };
    for (weights, tuned) in rows {
        let best = tuned.run.best();
        let mut row = vec![weights.unwrap_or("random").to_owned()];
        row.extend(of_validation(tuned).iter().map(shown));
        row.extend([format!("{:.3}", best.valid_loss), best.epoch.to_string()]);
        row.extend(tested(tuned).iter().map(shown));
        table.add_row(row);
    }
    let gains = |figures: &dyn Fn(&Tuned) -> Vec<(&'static str, f64)>| -> Vec<String> {
        let pairs = figures(first).into_iter().zip(figures(second));
        let gain = |((name, own), (_, other)): ((&str, f64), (&str, f64))| match name {
            "accuracy" => format!("{:+.1} points", 100.0 * (own - other)),
            _ => format!("{:+.4}", own - other),
        };
        pairs.map(gain).collect()
    };
    let mut row = vec!["gain".to_owned()];
    row.extend(gains(&of_validation));
    if is_tested {
        row.extend([String::new(), String::new()]);
        row.extend(gains(&of_test));
    }
    table.add_row(row);
    table
}
