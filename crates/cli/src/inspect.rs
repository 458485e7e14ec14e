//! `list` and `info`.

use anyhow::{Result, bail};
use burn_zoo::manifest::{Entry, Manifest};
use burn_zoo::prelude::*;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::json;

use crate::model::{ModelArgs, chosen, warn_of_licence};
use crate::model_folder;
use crate::output::{print, print_json};

#[derive(Args)]
pub struct ListArgs {
    /// Names to list; * stands for anything, ? for one character
    #[arg(default_value = "*")]
    pattern: String,
    /// List weights by tag: licence, published accuracy, what is known of the file
    #[arg(long)]
    tags: bool,
    /// Check the weights manifest, the user's own entries included; nothing else goes with it
    #[arg(long, conflicts_with_all = ["pattern", "tags", "json"])]
    check: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    family: &'static str,
    parameters: usize,
    image_size: usize,
    num_features: usize,
    groups: Vec<String>,
    summary: &'static str,
    paper: &'static str,
}

impl ListArgs {
    pub fn run(self) -> Result<()> {
        if self.check {
            let manifest = Manifest::with_user_files()?;
            return print(format!("{} entries, all sound", manifest.entries().count()));
        }
        if self.tags || self.pattern.contains('.') {
            return self.tags();
        }
        // Nothing is computed, so any device serves.
        let device = burn_zoo::device("cpu").or_else(|_| burn_zoo::device("auto"))?;
        let mut rows = Vec::new();
        for architecture in Zoo::list(&self.pattern) {
            let model = Zoo::get(architecture.name)?.build_zeros(&device)?;
            rows.push(Row {
                name: architecture.name,
                family: architecture.family,
                parameters: model.num_parameters(),
                image_size: architecture.image_size,
                num_features: model.num_features(),
                groups: model.groups(),
                summary: architecture.summary,
                paper: architecture.paper,
            });
        }
        if rows.is_empty() {
            bail!(
                "no model matches `{}`; `burn-zoo list` names them all",
                self.pattern
            );
        }
        if self.json {
            return print_json(&rows);
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header(["name", "parameters", "features", "image size", "what it is"]);
        for row in &rows {
            table.add_row([
                row.name.to_owned(),
                format!("{:.1} M", row.parameters as f64 / 1e6),
                row.num_features.to_string(),
                row.image_size.to_string(),
                format!("{}: {}", row.family, row.summary),
            ]);
        }
        for index in 1..4 {
            if let Some(column) = table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        print(table)
    }
}

impl ListArgs {
    fn tags(&self) -> Result<()> {
        let manifest = Manifest::with_user_files()?;
        let entries = manifest.find(&self.pattern);
        if entries.is_empty() {
            bail!(
                "no weights match `{}`; `burn-zoo list --tags` names them all",
                self.pattern
            );
        }
        let licence = |entry: &Entry| match (&entry.licence, entry.non_commercial()) {
            (None, _) => "unknown".to_owned(),
            (Some(licence), true) => format!("{licence} (no commercial use)"),
            (Some(licence), false) => licence.clone(),
        };
        if self.json {
            let rows: Vec<_> = entries
                .iter()
                .map(|entry| {
                    json!({
                        "name": entry.name,
                        "default": entry.default,
                        "licence": entry.licence,
                        "non_commercial": entry.non_commercial(),
                        "mean": entry.data.mean,
                        "std": entry.data.std,
                        "interpolation": entry.data.interpolation,
                        "crop_pct": entry.data.crop_pct,
                        "input_size": entry.data.input_size,
                        "num_classes": entry.num_classes,
                        "results": entry.results.iter().map(|r| json!({
                            "size": r.size, "top1": r.top1, "top5": r.top5,
                        })).collect::<Vec<_>>(),
                    })
                })
                .collect();
            return print_json(&rows);
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header(["weights", "top-1", "checksum", "licence"]);
        for entry in entries {
            let best = entry
                .results
                .iter()
                .max_by(|a, b| a.top1.total_cmp(&b.top1));
            table.add_row([
                if entry.default {
                    format!("{} *", entry.name)
                } else {
                    entry.name.clone()
                },
                best.map_or(String::new(), |r| format!("{:.1} % at {}", r.top1, r.size)),
                match entry.sha256() {
                    Some(_) if entry.is_sha256_confirmed() => "known".to_owned(),
                    Some(_) => "hint".to_owned(),
                    None => "the hub's".to_owned(),
                },
                licence(entry),
            ]);
        }
        print(table)?;
        print("* is the architecture's default tag")
    }
}

/// The spec with the channels and classes that its weights' entry says, so that a model which is
/// only looked at has the shapes of the one that would be fetched. An architecture of which no weights
/// are known is shown as upstream builds it.
fn as_trained(spec: Spec) -> Spec {
    match spec.entry().ok().flatten() {
        Some(entry) => spec.adapt(entry.data.input_size[0], entry.num_classes),
        None => spec,
    }
}

#[derive(Args)]
pub struct InfoArgs {
    /// An architecture, hf-hub:OWNER/REPO, local-dir:DIR, or the folder of a run
    model: String,
    #[command(flatten)]
    options: ModelArgs,
    /// What is frozen: nothing, backbone, up-to:GROUP, only:GROUP,.. or matching:REGEX
    #[arg(long, default_value_t)]
    freeze: Freeze,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl InfoArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        let model = if let Some(dir) = model_folder::folder_of(&self.model) {
            let spec = model_folder::spec_of(dir)?;
            self.options.adapt(spec)?.build_zeros(device)?
        } else {
            let spec = chosen(&self.model, Some("hub"), 0)?;
            warn_of_licence(&spec);
            self.options.adapt(as_trained(spec))?.build_zeros(device)?
        };
        let size = self.options.image_size.or(model.info().image_size);
        let summary = model.freeze(&self.freeze)?.summary(size)?;
        if self.json {
            return print_json(&summary);
        }
        print(summary.to_string().trim_end())
    }
}
