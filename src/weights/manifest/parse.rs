//! From the text of a manifest file to its entries; whatever is wrong is named with its place.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use toml::Spanned;
use toml::de::DeTable;

use super::entry::{DataConfig, Entry, OriginalFile, Pin, Place, Published, Source};
use super::fields::{
    Architecture, BundledFile, Bytes, Classes, Crop, CropPct, FileName, FileUrl, Filter, Flag,
    InputSize, Line, Lines, Means, OneOrMore, Percentage, Repository, Revision, Sha256,
    Sha256Prefix, Side, Stds, Tag,
};
use crate::error::{Error, Result};
use crate::preprocess::CropMode;
use crate::weights::quote::clipped;
use crate::zoo;

/// `[architecture.tag]`, in a whole file.
type Entries = Table<BTreeMap<Spanned<Architecture>, Tags>>;
type Tags = Table<BTreeMap<Spanned<Tag>, Table<EntryTable>>>;

/// The keys of an entry, as `weights-manifest/README.md` describes them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryTable {
    default: Option<Flag>,
    bundled: Option<BundledFile>,
    repository: Option<Repository>,
    file: Option<FileName>,
    path: Option<Line>,
    revision: Option<Revision>,
    revision_hint: Option<Revision>,
    sha256: Option<Sha256>,
    sha256_hint: Option<Sha256>,
    bytes: Option<Bytes>,
    bytes_hint: Option<Bytes>,
    url: Option<FileUrl>,
    url_sha256_prefix: Option<Sha256Prefix>,
    origin: Option<Line>,
    licence: Option<Line>,
    licence_source: Option<Line>,
    papers: Option<Lines>,
    input_size: InputSize,
    test_input_size: Option<InputSize>,
    fixed_input_size: Option<Flag>,
    mean: Means,
    std: Stds,
    interpolation: Filter,
    crop_pct: CropPct,
    test_crop_pct: Option<CropPct>,
    crop_mode: Option<Crop>,
    num_classes: Classes,
    first_conv: Option<OneOrMore>,
    classifier: Option<OneOrMore>,
    #[serde(default)]
    results: Vec<Table<PublishedTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishedTable {
    size: Side,
    top1: Percentage,
    top5: Percentage,
    crop_pct: Option<CropPct>,
    interpolation: Option<Filter>,
}

impl From<PublishedTable> for Published {
    fn from(table: PublishedTable) -> Self {
        Published {
            size: table.size.into(),
            top1: table.top1.into(),
            top5: table.top5.into(),
            crop_pct: inner(table.crop_pct),
            interpolation: inner(table.interpolation),
        }
    }
}

/// The entries of a file, from top to bottom.
pub(super) fn entries(text: &str, path: &Path) -> Result<Vec<Entry>> {
    let document = Document::new(text, path);
    let parsed = toml::Deserializer::parse(text).map_err(|error| {
        let reason = format!("not TOML: {}", error.message());
        document.error(error.span().unwrap_or_default(), "", &reason)
    })?;
    let Table(architectures) =
        Entries::deserialize(parsed).map_err(|error| document.error_of_serde(error))?;
    let mut entries = Vec::new();
    for (architecture, Table(tags)) in architectures {
        let (at, Architecture(architecture)) = (architecture.span(), architecture.into_inner());
        zoo::find(&architecture).map_err(|error| document.error(at, "", &error.to_string()))?;
        for (tag, Table(table)) in tags {
            let (at, Tag(tag)) = (tag.span(), tag.into_inner());
            let name = format!("{architecture}.{tag}");
            let place = Place::new(path, document.line(at.start));
            let entry = table.into_entry(name.clone(), place).map_err(|mistake| {
                let key = mistake.key;
                match document.span_of([&architecture, &tag, key]) {
                    Some(span) => document.error(span, &format!("{name}.{key}"), &mistake.reason),
                    None => document.error(at, &name, &mistake.reason),
                }
            })?;
            entries.push(entry);
        }
    }
    entries.sort_by_key(|entry| entry.place.line);
    Ok(entries)
}

/// Keys that do not go together.
struct Mistake {
    /// The key whose value it is about; none if it is the entry itself.
    key: &'static str,
    reason: String,
}

fn mistake<T>(key: &'static str, reason: impl Into<String>) -> Result<T, Mistake> {
    let reason = reason.into();
    Err(Mistake { key, reason })
}

impl EntryTable {
    fn into_entry(self, name: String, place: Place) -> Result<Entry, Mistake> {
        self.check_sources()?;
        self.check_neighbours()?;
        self.check_channels()?;
        let source = match (self.repository, self.path, self.bundled) {
            (Some(repository), ..) => Source::Hub {
                repository: repository.into(),
                file: inner(self.file),
                revision: pin("revision", self.revision, self.revision_hint)?,
            },
            (_, Some(Line(path)), _) => {
                Source::File(place.path.parent().unwrap_or(Path::new("")).join(path))
            }
            (.., Some(bundled)) => Source::Bundled(bundled.into()),
            _ => Source::Original,
        };
        let sha256_prefix = inner(self.url_sha256_prefix);
        let original = |FileUrl(url)| OriginalFile { url, sha256_prefix };
        let results = self.results.into_iter().map(|Table(result)| result.into());
        Ok(Entry {
            name,
            default: inner(self.default).unwrap_or(false),
            source,
            sha256: pin("sha256", self.sha256, self.sha256_hint)?,
            bytes: pin("bytes", self.bytes, self.bytes_hint)?,
            original: self.url.map(original),
            origin: inner(self.origin),
            licence: inner(self.licence),
            licence_source: inner(self.licence_source),
            papers: inner(self.papers).unwrap_or_default(),
            data: DataConfig {
                input_size: self.input_size.into(),
                test_input_size: inner(self.test_input_size),
                fixed_input_size: inner(self.fixed_input_size).unwrap_or(false),
                mean: self.mean.into(),
                std: self.std.into(),
                interpolation: self.interpolation.into(),
                crop_pct: self.crop_pct.into(),
                test_crop_pct: inner(self.test_crop_pct),
                crop_mode: inner(self.crop_mode).unwrap_or(CropMode::Center),
            },
            num_classes: self.num_classes.into(),
            first_conv: inner(self.first_conv).unwrap_or_default(),
            classifier: inner(self.classifier).unwrap_or_default(),
            results: results.collect(),
            place,
        })
    }

    /// The file is in one place.
    fn check_sources(&self) -> Result<(), Mistake> {
        let given = [
            self.repository.is_some(),
            self.path.is_some(),
            self.bundled.is_some(),
        ];
        mistake(
            "",
            match given.into_iter().filter(|given| *given).count() {
                0 if self.url.is_none() => {
                    "needs the key `repository` (on the hub), `path` (a file of yours) or `url` (a file \
                     at an address), has none"
                }
                0 if self.url_sha256_prefix.is_none() => {
                    "needs `url_sha256_prefix` beside a `url` alone, to verify the file"
                }
                0 | 1 => return Ok(()),
                _ => "needs one of the keys `bundled`, `repository` and `path`, has more",
            },
        )
    }

    /// Keys that mean nothing without another.
    fn check_neighbours(&self) -> Result<(), Mistake> {
        let hub = self.repository.is_some();
        // A checksum or a size says nothing unless it is known of which file.
        let file = self.file.is_some() || !hub;
        needs("file", &self.file, "repository", hub)?;
        needs("revision", &self.revision, "repository", hub)?;
        needs("revision_hint", &self.revision_hint, "repository", hub)?;
        needs("sha256", &self.sha256, "file", file)?;
        needs("sha256_hint", &self.sha256_hint, "file", file)?;
        needs("bytes", &self.bytes, "file", file)?;
        needs("bytes_hint", &self.bytes_hint, "file", file)?;
        needs(
            "url_sha256_prefix",
            &self.url_sha256_prefix,
            "url",
            self.url.is_some(),
        )?;
        needs(
            "licence_source",
            &self.licence_source,
            "licence",
            self.licence.is_some(),
        )
    }

    /// Images are square, and all keys speak of the same number of channels.
    fn check_channels(&self) -> Result<(), Mistake> {
        let InputSize([channels, height, width]) = self.input_size;
        // A width of its own would be overruled.
        if height != width {
            let expected = "expected [channels, side, side], as images are made square";
            return mistake("input_size", expected);
        }
        if let Some(InputSize([other, ..])) = self.test_input_size
            && other != channels
        {
            let expected = format!("expected {channels} channels, as in input_size");
            return mistake("test_input_size", expected);
        }
        for (key, list) in [("mean", &self.mean.0), ("std", &self.std.0)] {
            if list.len() != channels {
                let expected = format!("expected {channels} numbers, one a channel of input_size");
                return mistake(key, expected);
            }
        }
        Ok(())
    }
}

/// A key that means nothing without another.
fn needs<T>(
    key: &'static str,
    value: &Option<T>,
    other: &str,
    is_given: bool,
) -> Result<(), Mistake> {
    if value.is_none() || is_given {
        return Ok(());
    }
    mistake(key, format!("needs `{other}` beside it"))
}

/// A key and the same with `_hint` behind it, of which one may be given.
fn pin<T: From<C>, C>(
    key: &str,
    confirmed: Option<C>,
    hint: Option<C>,
) -> Result<Option<Pin<T>>, Mistake> {
    match (inner(confirmed), inner(hint)) {
        (Some(_), Some(_)) => mistake(
            "",
            format!("needs either the key `{key}` or `{key}_hint`, has both"),
        ),
        (Some(value), None) => Ok(Some(Pin::Confirmed(value))),
        (None, hint) => Ok(hint.map(Pin::Hint)),
    }
}

/// What a checked value holds.
fn inner<C, T: From<C>>(checked: Option<C>) -> Option<T> {
    checked.map(T::from)
}

/// A table and nothing else: by itself serde takes a list of values for a struct, too.
struct Table<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TableVisitor(PhantomData))
    }
}

struct TableVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TableVisitor<T> {
    type Value = Table<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table, as in [resnet18.my_tag] or { size = 224 }")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Table<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Table)
    }
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
        let starts = std::iter::once(0).chain(starts).collect();
        Self { path, text, starts }
    }

    /// The line of a byte, counted from 1.
    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    /// Where the value of a key of an entry is written.
    fn span_of(&self, [architecture, tag, key]: [&str; 3]) -> Option<Range<usize>> {
        let root = DeTable::parse(self.text).ok()?;
        let tags = root.get_ref().get(architecture)?.get_ref().as_table()?;
        let table = tags.get(tag)?.get_ref().as_table()?;
        table.get(key).map(Spanned::span)
    }

    fn error_of_serde(&self, mut error: toml::de::Error) -> Error {
        // Without the text the error shows the path of the key, which nothing else gives.
        error.set_input(None);
        let shown = error.to_string();
        let key = shown
            .strip_prefix(error.message())
            .and_then(|rest| rest.trim().strip_prefix("in `")?.strip_suffix('`'));
        let span = error.span().unwrap_or_default();
        self.error(span, key.unwrap_or_default(), error.message())
    }

    /// `key` may be empty. A reason that says what was expected is followed by what is there.
    fn error(&self, span: Range<usize>, key: &str, reason: &str) -> Error {
        let line = self.line(span.start);
        let before = self.text.get(self.starts[line - 1]..span.start);
        let column = before.map_or(0, |before| before.chars().count()) + 1;
        let key = if key.is_empty() {
            String::new()
        } else {
            format!("{key}: ")
        };
        let found = self.text.get(span).unwrap_or_default();
        let found = match found.split_once('\n') {
            _ if !reason.starts_with("expected ") => String::new(),
            Some((first, _)) => format!(", found {} ..", clipped(first.trim_end(), 80)),
            None => format!(", found {}", clipped(found, 80)),
        };
        let reason = clipped(reason, 600);
        Error::Folder {
            path: self.path.to_path_buf(),
            reason: format!("line {line}, column {column}: {key}{reason}{found}"),
        }
    }
}
