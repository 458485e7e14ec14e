//! What `eval` shows of an evaluation.

use std::sync::Arc;

use anyhow::Result;
use burn_zoo::data::{ImageData, Part};
use burn_zoo::train::{Evaluation, metrics_in_words};
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::notice;
use crate::output::print;
use crate::source::EvaluationImages;

/// The evaluation, and what it is about.
pub fn document(
    result: &Evaluation,
    chosen: &EvaluationImages,
    missing: &[String],
) -> Result<Value> {
    let mut value = serde_json::to_value(result)?;
    // A class without images has no accuracy.
    let classes = value.get_mut("per_class").and_then(Value::as_array_mut);
    for class in classes.into_iter().flatten() {
        if class["images"] == 0 {
            class["accuracy"] = Value::Null;
        }
    }
    for list in ["/multi_label/per_class", "/regression/per_output"] {
        let entries = value.pointer_mut(list).and_then(Value::as_array_mut);
        let entries = entries.into_iter().flatten();
        for (entry, name) in entries.zip(chosen.images.classes()) {
            entry["name"] = json!(name);
        }
    }
    if let Some(object) = value.as_object_mut() {
        let more = [
            ("of", json!(chosen.of)),
            ("part", json!(chosen.part.map(Part::name))),
            ("data", json!(chosen.data)),
            ("missing_classes", json!(missing)),
        ];
        object.extend(more.map(|(key, value)| (key.to_owned(), value)));
        let metrics = result.metrics();
        if metrics.is_empty() {
            let balanced = json!(result.balanced_accuracy());
            object.insert("balanced_accuracy".to_owned(), balanced);
        }
        object.extend(
            metrics
                .into_iter()
                .map(|(name, value)| (name, json!(value))),
        );
    }
    Ok(value)
}

/// The figures of each label or number.
fn figures_table(result: &Evaluation, images: &Arc<dyn ImageData>) -> Option<Table> {
    let name = |index: usize| {
        let name = images.classes().get(index).cloned();
        name.unwrap_or_else(|| index.to_string())
    };
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    let share = |share: f64| right(format!("{:.1} %", 100.0 * share));
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    if let Some(labels) = &result.multi_label {
        let columns = [
            "label",
            "images",
            "AP",
            "threshold",
            "precision",
            "recall",
            "F1",
        ];
        table.set_header(columns);
        for (index, own) in labels.per_class.iter().enumerate() {
            let average = own.average_precision;
            table.add_row([
                Cell::new(notice::plain(name(index))),
                right(own.positives.to_string()),
                average.map_or_else(|| right("-".to_owned()), share),
                right(format!("{:.3}", own.threshold)),
                share(own.precision),
                share(own.recall),
                share(own.f1),
            ]);
        }
        return Some(table);
    }
    let numbers = result.regression.as_ref()?;
    table.set_header(["number", "MAE", "RMSE", "R²", "mean", "deviation"]);
    for (index, own) in numbers.per_output.iter().enumerate() {
        let figures = [
            own.mae,
            own.rmse,
            own.r2,
            own.mean_target,
            own.deviation_target,
        ];
        let figures = figures.map(|figure| right(format!("{figure:.4}")));
        let name = Cell::new(notice::plain(name(index)));
        table.add_row(std::iter::once(name).chain(figures));
    }
    Some(table)
}

pub fn print_evaluation(result: &Evaluation, chosen: &EvaluationImages) -> Result<()> {
    let metrics = result.metrics();
    if !metrics.is_empty() {
        let words = metrics_in_words(&metrics);
        let words: Vec<String> = words
            .map(|(name, value)| format!("{name} {value:.4}"))
            .collect();
        let (loss, images) = (result.loss, result.images);
        let words = words.join(", ");
        print(format!("{words}, loss {loss:.4} over {images} images"))?;
    } else {
        print(format!(
            "accuracy {:.2} %, balanced {:.2} %, top-5 {:.2} %, loss {:.4} over {} images",
            100.0 * result.accuracy,
            100.0 * result.balanced_accuracy(),
            100.0 * result.top5_accuracy,
            result.loss,
            result.images
        ))?;
    }
    let share = if result.images == chosen.of {
        format!("all {}", chosen.of)
    } else {
        format!("{} of {}", result.images, chosen.of)
    };
    print(notice::plain(format_args!(
        "images: {}: {share}\n",
        chosen.description
    )))?;
    if let Some(table) = figures_table(result, &chosen.images) {
        return print(table);
    }
    if result.confusion.is_empty() {
        return Ok(());
    }
    print("Rows are the true classes, columns what the model said.")?;
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let numbers = (0..result.per_class.len()).map(|class| class.to_string());
    let header = ["class".to_owned(), "accuracy".to_owned()];
    table.set_header(header.into_iter().chain(numbers));
    for (index, (class, row)) in result.per_class.iter().zip(&result.confusion).enumerate() {
        let counts = row.iter().map(|n| match n {
            0 => String::new(),
            n => n.to_string(),
        });
        let share = match class.images {
            0 => "-".to_owned(),
            _ => format!("{:.1} %", 100.0 * class.accuracy),
        };
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let cells = [share].into_iter().chain(counts).map(right);
        table.add_row(
            [Cell::new(notice::plain(format_args!(
                "{index} {}",
                class.name
            )))]
            .into_iter()
            .chain(cells),
        );
    }
    print(table)
}
