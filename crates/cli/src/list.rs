//! `list`.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use burn_zoo::manifest::{Entry, Manifest, Terms};
use burn_zoo::prelude::*;
use burn_zoo::zoo::{Architecture, Numbers};
use clap::{Args, ValueEnum};
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::flags::Bounds;
use crate::notice;
use crate::output::{print, print_json};

#[derive(Args)]
#[command(
    after_help = "Accuracy and licence are those of the architecture's default tag; where --license \
    rules that out, or --top1 as no accuracy of it is published, of the first tag that is left, which is \
    then named. MACs are multiply-accumulates for one image of the input size, M are millions and G thousands of \
    millions. A licence with ~ is one that upstream states for a group of weights, not for these; \
    those with `no commercial use` and `its own terms` are to be read before the weights are used."
)]
pub struct ListArgs {
    /// Names to list; * stands for anything, ? for one character. A name with a dot lists weights by
    /// tag: 'resnet18.*'
    #[arg(default_value = "*")]
    pattern: String,
    /// List weights by tag: published accuracy, what is known of the file, licence
    #[arg(long)]
    tags: bool,
    /// Of this family alone, such as resnet; case, - and _ do not count
    #[arg(long, value_name = "NAME")]
    family: Option<String>,
    /// With so many parameters: '<6M', '>=1M,<6M'
    #[arg(long, value_name = "BOUNDS", value_parser = Bounds::of_count)]
    params: Option<Bounds>,
    /// With so many multiply-accumulates for an image: '<1G'
    #[arg(long, value_name = "BOUNDS", value_parser = Bounds::of_count)]
    macs: Option<Bounds>,
    /// With such a published top-1 accuracy on ImageNet, in per cent: '>80'
    #[arg(long, value_name = "BOUNDS", value_parser = Bounds::of_percentage)]
    top1: Option<Bounds>,
    /// With weights of this licence, such as apache-2.0, or of any that is known to allow
    /// commercial use
    #[arg(long, value_name = "commercial|ID")]
    license: Option<String>,
    /// The order: fewest parameters, fewest MACs or best accuracy first, or by name [default: by
    /// family]
    #[arg(long, value_enum)]
    sort: Option<Sort>,
    /// Check the weights manifest, the user's own entries included; nothing else goes with it
    #[arg(long, conflicts_with_all = ["pattern", "tags", "family", "params", "macs", "top1",
        "license", "sort", "json"])]
    check: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Sort {
    Params,
    Macs,
    Top1,
    Name,
}

/// An architecture with the weights that speak for it.
struct Row<'a> {
    architecture: &'static Architecture,
    numbers: Numbers,
    /// `None` if no weights are known.
    entry: Option<&'a Entry>,
    /// Tags of the architecture.
    tags: usize,
}

impl Row<'_> {
    fn top1(&self) -> Option<f64> {
        self.entry?.best_result().map(|result| result.top1)
    }

    /// The architecture's name, with the tag if that is not the default one.
    fn name(&self) -> &str {
        match self.entry {
            Some(entry) if !entry.default => &entry.name,
            _ => self.architecture.name,
        }
    }

    /// What architectures and tags have in common in a JSON document.
    fn document(&self) -> Value {
        let result = self.entry.and_then(Entry::best_result);
        json!({
            "family": self.architecture.family,
            "parameters": self.numbers.parameters,
            "macs": self.numbers.macs,
            "top1": result.map(|result| result.top1),
            "top1_size": result.map(|result| result.size),
            "licence": self.entry.and_then(|entry| entry.licence.as_ref()),
            "licence_source": self.entry.and_then(|entry| entry.licence_source.as_ref()),
            "terms": self.entry.map(|entry| entry.terms().name()),
        })
    }
}

impl ListArgs {
    pub fn run(self) -> Result<()> {
        let manifest = Manifest::with_user_files()?;
        if self.check {
            return print(format!("{} entries, all sound", manifest.entries().count()));
        }
        self.check_family()?;
        self.check_license(&manifest)?;
        let by_tag = self.tags || self.pattern.contains('.');
        let mut rows = if by_tag {
            self.tags(&manifest)?
        } else {
            self.architectures(&manifest)?
        };
        self.filter(&mut rows, by_tag)?;
        self.sort(&mut rows, by_tag);
        match (by_tag, self.json) {
            (false, false) => {
                print(architectures(&rows))?;
                print(INHERITED)
            }
            (false, true) => print_json(&documents(&rows)),
            (true, false) => {
                print(tags(&rows))?;
                print(format!("* is the architecture's default tag; {INHERITED}"))
            }
            (true, true) => print_json(&documents_of_tags(&rows)),
        }
    }

    fn check_family(&self) -> Result<()> {
        let Some(name) = &self.family else {
            return Ok(());
        };
        let families: BTreeSet<&str> = burn_zoo::zoo::architectures().map(|a| a.family).collect();
        if !families.iter().any(|family| is_alike(family, name)) {
            let families = Vec::from_iter(families).join(", ");
            bail!("--family: expected one of {families}, found `{name}`");
        }
        Ok(())
    }

    fn check_license(&self, manifest: &Manifest) -> Result<()> {
        let Some(id) = &self.license else {
            return Ok(());
        };
        let known: BTreeSet<&str> = manifest.entries().map(licence_id).collect();
        let is_id = |known: &&str| known.eq_ignore_ascii_case(id);
        if !is_id(&COMMERCIAL) && !known.iter().any(is_id) {
            let known = Vec::from_iter(known).join(", ");
            bail!("--license: expected {COMMERCIAL} or one of {known}, found `{id}`");
        }
        Ok(())
    }

    fn architectures<'a>(&self, manifest: &'a Manifest) -> Result<Vec<Row<'a>>> {
        let speaks = |entry: &Entry| {
            self.may_be_used(entry) && (self.top1.is_none() || entry.best_result().is_some())
        };
        let mut rows = Vec::new();
        for architecture in Zoo::list(&self.pattern) {
            rows.push(Row {
                architecture,
                numbers: architecture.numbers()?,
                entry: speaker(manifest, architecture, speaks),
                tags: manifest.tags(architecture.name).count(),
            });
        }
        if rows.is_empty() {
            bail!(
                "no model matches `{}`; `burn-zoo list` names them all",
                self.pattern
            );
        }
        Ok(rows)
    }

    fn tags<'a>(&self, manifest: &'a Manifest) -> Result<Vec<Row<'a>>> {
        let entries = manifest.find(&self.pattern);
        if entries.is_empty() {
            bail!(
                "no weights match `{}`; `burn-zoo list --tags` names them all",
                self.pattern
            );
        }
        let rows = entries.into_iter().map(|entry| {
            let architecture = burn_zoo::zoo::find(entry.architecture())?;
            Ok(Row {
                architecture,
                numbers: architecture.numbers()?,
                entry: Some(entry),
                tags: 1,
            })
        });
        rows.collect()
    }

    fn may_be_used(&self, entry: &Entry) -> bool {
        match self.license.as_deref() {
            None => true,
            Some(id) if id.eq_ignore_ascii_case(COMMERCIAL) => entry.terms() == Terms::Commercial,
            Some(id) => licence_id(entry).eq_ignore_ascii_case(id),
        }
    }

    /// Leaves what was asked for, and says what cannot be judged.
    fn filter(&self, rows: &mut Vec<Row>, by_tag: bool) -> Result<()> {
        let of = rows.len();
        rows.retain(|row| {
            let numbers = row.numbers;
            let within = |bounds: &Option<Bounds>, value: usize| {
                bounds.as_ref().is_none_or(|b| b.hold(value as f64))
            };
            let family = self.family.as_deref();
            family.is_none_or(|name| is_alike(row.architecture.family, name))
                && within(&self.params, numbers.parameters)
                && within(&self.macs, numbers.macs)
                && (self.license.is_none() || row.entry.is_some_and(|e| self.may_be_used(e)))
        });
        let what = if by_tag { "weights" } else { "models" };
        if let Some(bounds) = &self.top1 {
            let known = rows.iter().filter(|row| row.top1().is_some()).count();
            let unknown = rows.len() - known;
            if unknown > 0 {
                notice::tell(format!(
                    "{unknown} {what} without a published accuracy are left out"
                ));
            }
            rows.retain(|row| row.top1().is_some_and(|top1| bounds.hold(top1)));
        }
        if rows.is_empty() {
            let flags = [
                ("--family", self.family.clone()),
                ("--params", self.params.as_ref().map(ToString::to_string)),
                ("--macs", self.macs.as_ref().map(ToString::to_string)),
                ("--top1", self.top1.as_ref().map(ToString::to_string)),
                ("--license", self.license.clone()),
            ];
            let given = flags.into_iter().filter_map(|(flag, value)| {
                let value = value?;
                Some(format!("{flag} '{value}'"))
            });
            let given = Vec::from_iter(given).join(" ");
            bail!("{given}: expected some of {of} {what}, found none; leave one out, or widen it");
        }
        Ok(())
    }

    fn sort(&self, rows: &mut [Row], by_tag: bool) {
        match self.sort {
            None => {}
            Some(Sort::Params) => rows.sort_by_key(|row| row.numbers.parameters),
            Some(Sort::Macs) => rows.sort_by_key(|row| row.numbers.macs),
            Some(Sort::Top1) => rows.sort_by(|a, b| {
                let top1 = |row: &Row| row.top1().unwrap_or(f64::NEG_INFINITY);
                top1(b).total_cmp(&top1(a))
            }),
            Some(Sort::Name) if by_tag => {
                rows.sort_by_key(|row| row.entry.map(|entry| entry.name.clone()));
            }
            Some(Sort::Name) => rows.sort_by(|a, b| a.name().cmp(b.name())),
        }
    }
}

/// The tag that speaks for an architecture: of those that may, the default one, else the first.
pub fn speaker<'a>(
    manifest: &'a Manifest,
    architecture: &Architecture,
    may: impl Fn(&Entry) -> bool,
) -> Option<&'a Entry> {
    let tags = manifest.tags(architecture.name).filter(|entry| may(entry));
    tags.min_by_key(|entry| !entry.default)
}

/// The value of `--license` that stands for all licences that allow commercial use.
const COMMERCIAL: &str = "commercial";

/// The identifier of a licence.
fn licence_id(entry: &Entry) -> &str {
    entry.licence.as_deref().unwrap_or("unknown")
}

/// Whether two names differ in case, `-` and `_` at most.
fn is_alike(a: &str, b: &str) -> bool {
    let letters = |name: &str| -> String {
        let kept = name.chars().filter(|c| !matches!(c, '-' | '_' | ' '));
        kept.flat_map(char::to_lowercase).collect()
    };
    letters(a) == letters(b)
}

/// What the mark of a licence means.
pub const INHERITED: &str = "~ is a licence that upstream states for a group of weights";

/// The licence as a person reads it, marked if it is inherited.
pub fn licence(entry: &Entry) -> String {
    let inherited = if entry.licence_source.is_some() {
        " ~"
    } else {
        ""
    };
    format!("{}{inherited}", entry.licence_in_words())
}

/// The best accuracy, and where it was measured.
pub fn top1(entry: &Entry) -> String {
    let best = entry.best_result();
    best.map_or(String::new(), |r| format!("{:.1} % at {}", r.top1, r.size))
}

/// Millions, or from a thousand of them on thousands of millions.
pub fn short(count: usize) -> String {
    match count as f64 / 1e6 {
        millions if millions < 9.995 => format!("{millions:.2} M"),
        millions if millions < 999.95 => format!("{millions:.1} M"),
        millions => format!("{:.1} G", millions / 1e3),
    }
}

fn architectures(rows: &[Row]) -> Table {
    let mut table = table([
        "name",
        "parameters",
        "MACs",
        "input",
        "top-1",
        "licence",
        "tags",
    ]);
    for row in rows {
        table.add_row([
            row.name().to_owned(),
            short(row.numbers.parameters),
            short(row.numbers.macs),
            row.architecture.image_size.to_string(),
            row.entry.map_or(String::new(), top1),
            row.entry.map_or("no weights".to_owned(), licence),
            row.tags.to_string(),
        ]);
    }
    align_right(&mut table, &[1, 2, 3, 4, 6]);
    table
}

fn tags(rows: &[Row]) -> Table {
    let mut table = table([
        "weights",
        "parameters",
        "MACs",
        "top-1",
        "checksum",
        "licence",
    ]);
    for row in rows {
        let Some(entry) = row.entry else { continue };
        table.add_row([
            if entry.default {
                format!("{} *", entry.name)
            } else {
                entry.name.clone()
            },
            short(row.numbers.parameters),
            short(row.numbers.macs),
            top1(entry),
            match entry.sha256() {
                Some(_) if entry.is_sha256_confirmed() => "known".to_owned(),
                Some(_) => "hint".to_owned(),
                None => "the hub's".to_owned(),
            },
            licence(entry),
        ]);
    }
    align_right(&mut table, &[1, 2, 3]);
    table
}

fn documents(rows: &[Row]) -> Vec<Value> {
    let document = |row: &Row| {
        let mut document = row.document();
        extend(
            &mut document,
            json!({
                "name": row.architecture.name,
                "image_size": row.architecture.image_size,
                "num_features": row.numbers.features,
                "least_size": row.numbers.least_size,
                "weights": row.entry.map(|entry| &entry.name),
                "tags": row.tags,
                "summary": row.architecture.summary,
                "paper": row.architecture.paper,
            }),
        );
        document
    };
    rows.iter().map(document).collect()
}

fn documents_of_tags(rows: &[Row]) -> Vec<Value> {
    let document = |row: &Row| {
        let entry = row.entry?;
        let mut document = row.document();
        extend(
            &mut document,
            json!({
                "name": entry.name,
                "default": entry.default,
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
            }),
        );
        Some(document)
    };
    rows.iter().filter_map(document).collect()
}

/// Adds the fields of one JSON object to another.
pub fn extend(document: &mut Value, more: Value) {
    if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
        document.extend(more);
    }
}

/// A table with these headings.
pub fn table(header: impl IntoIterator<Item = impl Into<Cell>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(header);
    table
}

/// Puts the figures of these columns below each other.
pub fn align_right(table: &mut Table, columns: &[usize]) {
    for index in columns {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
