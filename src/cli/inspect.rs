//! `list` and `info`.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use burn_zoo::prelude::*;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::{ModelArgs, model_folder, print, print_json, weights};

#[derive(Args)]
pub struct ListArgs {
    /// Names to list; * stands for anything, ? for one character
    #[arg(default_value = "*")]
    pattern: String,
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

#[derive(Args)]
pub struct InfoArgs {
    /// An architecture, or the folder of a run or an exported model
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
        let dir = Path::new(&self.model);
        let model = if Zoo::get(&self.model).is_err() && dir.is_dir() {
            let spec = Spec::of_folder(model_folder(dir))
                .with_context(|| format!("{} is no run and no exported model", dir.display()))?;
            self.options.adapt(spec)?.build_zeros(device)?
        } else {
            self.options
                .spec(&self.model, weights("random", 0))?
                .build_zeros(device)?
        };
        let size = self.options.image_size.or(model.info().image_size);
        let summary = model.freeze(&self.freeze)?.summary(size)?;
        if self.json {
            return print_json(&summary);
        }
        print(summary.to_string().trim_end())
    }
}
