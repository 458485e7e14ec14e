//! From the text of a manifest file to its entries; whatever is wrong is named with its line.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::entry::{DataConfig, Entry, OriginalFile, Pin, Place, Published, Source};
use super::rules::{self, Checked, Raw};
use crate::error::{Error, Result};
use crate::preprocess::CropMode;
use crate::zoo;

/// Every key of an entry.
const KEYS: [&str; 30] = [
    "default",
    "bundled",
    "repository",
    "file",
    "path",
    "revision",
    "revision_hint",
    "sha256",
    "sha256_hint",
    "bytes",
    "bytes_hint",
    "url",
    "url_sha256_prefix",
    "origin",
    "licence",
    "licence_source",
    "papers",
    "input_size",
    "test_input_size",
    "fixed_input_size",
    "mean",
    "std",
    "interpolation",
    "crop_pct",
    "test_crop_pct",
    "crop_mode",
    "num_classes",
    "first_conv",
    "classifier",
    RESULTS,
];
/// The key of an entry that holds tables.
const RESULTS: &str = "results";
/// Every key of a published result.
const RESULT_KEYS: [&str; 5] = ["size", "top1", "top5", "crop_pct", "interpolation"];

type Value<'a> = Spanned<DeValue<'a>>;

/// The entries of a file, from top to bottom.
pub(super) fn entries(text: &str, path: &Path) -> Result<Vec<Entry>> {
    let document = Document::new(text, path);
    let root = DeTable::parse(text).map_err(|error| {
        let line = document.line(error.span().map_or(0, |span| span.start));
        document.error(line, format!("not TOML: {}", error.message()))
    })?;
    let mut entries = Vec::new();
    for (architecture, line, tags) in document.rows(root.get_ref()) {
        if !rules::is_name(architecture) {
            let expected = "an architecture, as in [resnet18.my_tag] without quotes";
            let reason = format!("expected {expected}, found `{}`", shorten(architecture));
            return Err(document.error(line, reason));
        }
        zoo::find(architecture).map_err(|error| document.error(line, error.to_string()))?;
        let tags = document.table(
            architecture,
            line,
            tags,
            &format!("[{architecture}.my_tag]"),
        )?;
        for (tag, line, values) in document.rows(tags) {
            let name = format!("{architecture}.{tag}");
            if !rules::is_name(tag) {
                let expected = "a tag of letters, digits, `_` and `-`";
                let reason = format!(
                    "{architecture}: expected {expected}, found `{}`",
                    shorten(tag)
                );
                return Err(document.error(line, reason));
            }
            let table = document.table(&name, line, values, &format!("[{name}]"))?;
            let reader = Reader {
                document: &document,
                table,
                name,
                line,
            };
            entries.push(reader.entry()?);
        }
    }
    entries.sort_by_key(|entry| entry.place.line);
    Ok(entries)
}

/// A text, and where its lines begin.
struct Document<'a> {
    path: &'a Path,
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Document<'a> {
    fn new(text: &'a str, path: &'a Path) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            path,
            text,
            starts: std::iter::once(0).chain(starts).collect(),
        }
    }

    /// The line of a byte, counted from 1.
    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    fn error(&self, line: usize, reason: String) -> Error {
        Error::Folder {
            path: self.path.to_path_buf(),
            reason: format!("line {line}: {reason}"),
        }
    }

    /// What is written at a place, in short.
    fn quote(&self, span: Range<usize>) -> String {
        let found = self.text.get(span).unwrap_or_default();
        match found.split_once('\n') {
            Some((first, _)) => shorten(first) + " ..",
            None => shorten(found),
        }
    }

    /// Keys, their lines and their values, in the order of the text.
    fn rows<'t>(&self, table: &'t DeTable<'a>) -> Vec<(&'t str, usize, &'t Value<'a>)> {
        let mut rows: Vec<_> = table
            .iter()
            .map(|(key, value)| (&**key.get_ref(), self.line(key.span().start), value))
            .collect();
        rows.sort_by_key(|(_, line, _)| *line);
        rows
    }

    fn table<'t>(
        &self,
        name: &str,
        line: usize,
        value: &'t Value<'a>,
        header: &str,
    ) -> Result<&'t DeTable<'a>> {
        value.get_ref().as_table().ok_or_else(|| {
            let found = self.quote(value.span());
            self.error(
                line,
                format!("{name}: expected a table, as in {header}, found {found}"),
            )
        })
    }
}

/// At most 80 characters, in a form that does nothing to a terminal.
pub(super) fn shorten(text: &str) -> String {
    let mut short = String::new();
    for (index, c) in text.trim_end().chars().enumerate() {
        match c {
            _ if index == 80 => return short + "..",
            c if c.is_control() => short.extend(c.escape_default()),
            c => short.push(c),
        }
    }
    short
}

/// Reads the values of one table.
struct Reader<'d, 'a> {
    document: &'d Document<'a>,
    table: &'d DeTable<'a>,
    /// How errors name the table.
    name: String,
    /// Where it begins.
    line: usize,
}

impl<'d, 'a> Reader<'d, 'a> {
    fn entry(&self) -> Result<Entry> {
        self.no_other_keys(&KEYS)?;
        let source = self.source()?;
        let sha256 = self.pin("sha256", rules::sha256)?;
        let bytes = self.pin("bytes", rules::bytes)?;
        let original = self.optional("url", rules::file_url)?;
        self.goes_with("url_sha256_prefix", "url")?;
        let sha256_prefix = self.optional("url_sha256_prefix", rules::sha256_prefix)?;
        self.goes_with("licence_source", "licence")?;
        Ok(Entry {
            name: self.name.clone(),
            default: self.optional("default", rules::flag)?.unwrap_or(false),
            source,
            sha256,
            bytes,
            original: original.map(|url| OriginalFile { url, sha256_prefix }),
            origin: self.optional("origin", rules::text)?,
            licence: self.optional("licence", rules::text)?,
            licence_source: self.optional("licence_source", rules::text)?,
            papers: self.optional("papers", rules::texts)?.unwrap_or_default(),
            data: self.data()?,
            num_classes: self.required("num_classes", rules::classes)?,
            first_conv: self.optional("first_conv", rules::text)?,
            classifier: self.optional("classifier", rules::text)?,
            results: self.results()?,
            place: Place::new(self.document.path, self.line),
        })
    }

    fn source(&self) -> Result<Source> {
        let repository = self.optional("repository", rules::repository)?;
        let path = self.optional("path", rules::text)?;
        let bundled = self.optional("bundled", rules::bundled)?;
        if let (Some(name), None, None) = (&bundled, &repository, &path) {
            for key in ["file", "revision", "revision_hint"] {
                self.goes_with(key, "repository")?;
            }
            return Ok(Source::Bundled(name.clone()));
        }
        if bundled.is_some() {
            let expected = "one of the keys `bundled`, `repository` and `path`";
            return Err(self.missing(expected, "more"));
        }
        match (repository, path) {
            (Some(repository), None) => {
                // A checksum or a size says nothing unless it is known of which file.
                for key in ["sha256", "sha256_hint", "bytes", "bytes_hint"] {
                    self.goes_with(key, "file")?;
                }
                Ok(Source::Hub {
                    repository,
                    file: self.optional("file", rules::file_name)?,
                    revision: self.pin("revision", rules::revision)?,
                })
            }
            (None, Some(path)) => {
                for key in ["file", "revision", "revision_hint"] {
                    self.goes_with(key, "repository")?;
                }
                let folder = self.document.path.parent().unwrap_or(Path::new(""));
                Ok(Source::File(folder.join(path)))
            }
            (repository, _) => Err(self.missing(
                "the key `repository` (on the hub) or `path` (a file of yours)",
                repository.map_or("neither", |_| "both"),
            )),
        }
    }

    fn data(&self) -> Result<DataConfig> {
        // Images are made square: a width of its own would be overruled.
        let square = |value: &Value<'a>| match rules::input_size(value)? {
            size if size[1] == size[2] => Ok(size),
            _ => Err("[channels, side, side], as images are made square".into()),
        };
        let input_size = self.required("input_size", square)?;
        let channels = input_size[0];
        let one_each = |list: Vec<f64>| {
            if list.len() == channels {
                Ok(list)
            } else {
                Err(format!("{channels} numbers, one a channel of input_size").into())
            }
        };
        let test_input_size =
            self.optional("test_input_size", |value| match rules::input_size(value)? {
                size if size[0] == channels => Ok(size),
                _ => Err(format!("{channels} channels, as in input_size").into()),
            })?;
        Ok(DataConfig {
            input_size,
            test_input_size,
            fixed_input_size: self
                .optional("fixed_input_size", rules::flag)?
                .unwrap_or(false),
            mean: self.required("mean", |value| one_each(rules::means(value)?))?,
            std: self.required("std", |value| one_each(rules::stds(value)?))?,
            interpolation: self.required("interpolation", rules::interpolation)?,
            crop_pct: self.required("crop_pct", rules::crop_pct)?,
            test_crop_pct: self.optional("test_crop_pct", rules::crop_pct)?,
            crop_mode: self
                .optional("crop_mode", rules::crop_mode)?
                .unwrap_or(CropMode::Center),
        })
    }

    fn results(&self) -> Result<Vec<Published>> {
        let Some(value) = self.table.get(RESULTS) else {
            return Ok(Vec::new());
        };
        let list = value
            .as_list()
            .ok_or_else(|| self.wrong(RESULTS, value, "a list of tables { size, top1, top5 }"))?;
        let result = |(index, item): (usize, &'d Value<'a>)| {
            let key = format!("{RESULTS}[{index}]");
            let table = item
                .get_ref()
                .as_table()
                .ok_or_else(|| self.wrong(&key, item, "a table { size, top1, top5 }"))?;
            let reader = Reader {
                document: self.document,
                table,
                name: format!("{}: {key}", self.name),
                line: self.document.line(item.span().start),
            };
            reader.no_other_keys(&RESULT_KEYS)?;
            Ok(Published {
                size: reader.required("size", rules::side)?,
                top1: reader.required("top1", rules::percentage)?,
                top5: reader.required("top5", rules::percentage)?,
                crop_pct: reader.optional("crop_pct", rules::crop_pct)?,
                interpolation: reader.optional("interpolation", rules::interpolation)?,
            })
        };
        list.iter().enumerate().map(result).collect()
    }

    fn optional<T>(
        &self,
        key: &str,
        rule: impl FnOnce(&Value<'a>) -> Checked<T>,
    ) -> Result<Option<T>> {
        self.table
            .get(key)
            .map(|value| rule(value).map_err(|expected| self.wrong(key, value, &expected)))
            .transpose()
    }

    fn required<T>(&self, key: &str, rule: impl FnOnce(&Value<'a>) -> Checked<T>) -> Result<T> {
        self.optional(key, rule)?
            .ok_or_else(|| self.missing(&format!("the key `{key}`"), "none"))
    }

    /// A key that may be written with `_hint` behind it.
    fn pin<T>(&self, key: &str, rule: impl Fn(&Value<'a>) -> Checked<T>) -> Result<Option<Pin<T>>> {
        let hint = format!("{key}_hint");
        match (self.optional(key, &rule)?, self.optional(&hint, &rule)?) {
            (Some(_), Some(_)) => {
                let expected = format!("either the key `{key}` or `{hint}`");
                Err(self.missing(&expected, "both"))
            }
            (value, hint) => Ok(value.map(Pin::Confirmed).or(hint.map(Pin::Hint))),
        }
    }

    /// A key that means nothing without another.
    fn goes_with(&self, key: &str, other: &str) -> Result<()> {
        match self.table.get_key_value(key) {
            Some((place, _)) if !self.table.contains_key(other) => {
                let line = self.document.line(place.span().start);
                let reason = format!(
                    "{}: {key}: expected `{other}` beside it, found none",
                    self.name
                );
                Err(self.document.error(line, reason))
            }
            _ => Ok(()),
        }
    }

    fn no_other_keys(&self, keys: &[&str]) -> Result<()> {
        let rows = self.document.rows(self.table);
        match rows.iter().find(|(key, ..)| !keys.contains(key)) {
            None => Ok(()),
            Some((key, line, _)) => {
                let (key, keys) = (shorten(key), keys.join(", "));
                let reason = format!("{}: unknown key `{key}`; the keys are {keys}", self.name);
                Err(self.document.error(*line, reason))
            }
        }
    }

    fn wrong(&self, key: &str, value: &Value<'a>, expected: &str) -> Error {
        let line = self.document.line(value.span().start);
        let found = self.document.quote(value.span());
        let reason = format!("{}: {key}: expected {expected}, found {found}", self.name);
        self.document.error(line, reason)
    }

    fn missing(&self, expected: &str, found: &str) -> Error {
        let reason = format!("{}: expected {expected}, found {found}", self.name);
        self.document.error(self.line, reason)
    }
}
