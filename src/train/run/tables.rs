//! The tables of a run folder: `log.csv` and `steps.csv`.

use std::io;
use std::path::Path;

use csv::{IntoInnerError, QuoteStyle, StringRecord, Writer, WriterBuilder};

use crate::error::{Error, Result};
use crate::files::write_file;
use crate::train::epoch_record::EpochRecord;
use crate::train::monitor::StepRecord;
use crate::train::plan::Plan;

/// The columns of `log.csv`.
const EPOCH_COLUMNS: [&str; 11] = [
    "epoch",
    "train_loss",
    "train_accuracy",
    "valid_loss",
    "valid_accuracy",
    "valid_top5_accuracy",
    "valid_balanced_accuracy",
    "learning_rate",
    "images_per_second",
    "seconds",
    "frozen",
];

/// The columns of `steps.csv` before the rates of the groups.
const STEP_COLUMNS: [&str; 5] = ["epoch", "step", "loss", "learning_rate", "gradient_norm"];

/// The columns of `steps.csv`.
pub(super) fn step_columns(plan: &Plan) -> StringRecord {
    let rates = plan.groups().map(|group| format!("rate {group}"));
    let mut columns = StringRecord::from(STEP_COLUMNS.to_vec());
    columns.extend(rates);
    columns
}

/// A row of `steps.csv`.
pub(super) fn step_row(step: &StepRecord) -> StringRecord {
    let epoch = (step.epoch - 1) as f64 + step.step as f64 / step.steps as f64;
    let norm = step.gradient_norm.map(|norm| format!("{norm:.6e}"));
    let mut row = StringRecord::from(vec![
        format!("{epoch:.5}"),
        step.global_step.to_string(),
        format!("{:.6}", step.loss),
        format!("{:.6e}", step.learning_rate),
        norm.unwrap_or_default(),
    ]);
    row.extend(step.rates.iter().map(|rate| format!("{rate:.6e}")));
    row
}

/// The rows of a `steps.csv` up to a step. A last line without its end was being written, and is
/// left out.
pub(super) fn step_rows_until(text: &str, last: usize) -> impl Iterator<Item = StringRecord> {
    let lines = text.split_inclusive('\n').filter(|l| l.ends_with('\n'));
    let rows = lines.map(|line| line.trim_end().split(',').collect::<StringRecord>());
    rows.filter(move |row| {
        let step = row.get(1).and_then(|step| step.parse::<usize>().ok());
        step.is_some_and(|step| step <= last)
    })
}

/// Writes `steps.csv`. A damaged row of an earlier log stays as it was.
pub(super) fn write_steps(path: &Path, rows: &[StringRecord]) -> Result<()> {
    write(path, rows, QuoteStyle::Never)
}

/// Writes `log.csv`.
pub(super) fn write_epochs(path: &Path, epochs: &[EpochRecord]) -> Result<()> {
    // Figures of another task stand behind the columns that all logs have.
    let first = epochs.iter().find(|epoch| !epoch.metrics.is_empty());
    let metrics: Vec<&String> = first.map_or_else(Vec::new, |e| e.metrics.keys().collect());
    let mut columns = StringRecord::from(EPOCH_COLUMNS.to_vec());
    columns.extend(metrics.iter().copied());
    let share = |value: f64| match value.is_nan() {
        true => String::new(),
        false => value.to_string(),
    };
    let rows = epochs.iter().map(|epoch| {
        let own = metrics.iter().map(|name| {
            let value = epoch.metrics.get(*name);
            value.map_or_else(String::new, f64::to_string)
        });
        let own: Vec<String> = own.collect();
        let row = vec![
            epoch.epoch.to_string(),
            epoch.train_loss.to_string(),
            share(epoch.train_accuracy),
            epoch.valid_loss.to_string(),
            share(epoch.valid_accuracy),
            share(epoch.valid_top5_accuracy),
            share(epoch.valid_balanced_accuracy),
            epoch.learning_rate.to_string(),
            format!("{:.2}", epoch.images_per_second),
            format!("{:.3}", epoch.seconds),
            epoch.frozen.clone(),
        ];
        StringRecord::from([row, own].concat())
    });
    let rows: Vec<StringRecord> = std::iter::once(columns).chain(rows).collect();
    write(path, &rows, QuoteStyle::NonNumeric)
}

/// Writes a table, the first of whose rows names the columns; `quotes` says which fields of the
/// others are in quotes.
fn write(path: &Path, rows: &[StringRecord], quotes: QuoteStyle) -> Result<()> {
    let bytes = || -> io::Result<Vec<u8>> {
        let (columns, rows) = rows.split_at(rows.len().min(1));
        let mut writer = Writer::from_writer(Vec::new());
        columns
            .iter()
            .try_for_each(|row| writer.write_record(row))?;
        let header = writer.into_inner().map_err(IntoInnerError::into_error)?;
        let mut writer = WriterBuilder::new()
            .quote_style(quotes)
            .flexible(true)
            .from_writer(header);
        rows.iter().try_for_each(|row| writer.write_record(row))?;
        writer.into_inner().map_err(IntoInnerError::into_error)
    };
    let bytes = bytes().map_err(Error::io("write", path))?;
    write_file(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_row_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("steps.csv");
        let kept = "0.5,1,2.0,1e-3,\n0.7,2,\"2\n1.0,3,2.0,1e-3,,7,8\n";
        let text = format!("epoch,step,loss,learning_rate,gradient_norm\n{kept}half\n9.0,9\n1.2,4");
        let columns = StringRecord::from(STEP_COLUMNS.to_vec());
        let rows = std::iter::once(columns).chain(step_rows_until(&text, 8));
        write_steps(&path, &rows.collect::<Vec<_>>()).unwrap();
        let header = STEP_COLUMNS.join(",");
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, format!("{header}\n{kept}"));
    }
}
