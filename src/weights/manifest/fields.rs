//! What a value of the manifest, or of a model's configuration, may be.
//!
//! Each rule gives the value, or says what it would have accepted; who calls it knows the place.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::DeValue;

use crate::preprocess::{CropMode, Interpolation};
use crate::zoo::bundled::NAMES;

/// A value, or what was expected instead.
pub(super) type Checked<T> = Result<T, Cow<'static, str>>;

/// A value as TOML or JSON has it.
pub(super) trait Raw: Sized {
    fn as_text(&self) -> Option<&str>;
    fn as_flag(&self) -> Option<bool>;
    fn as_whole(&self) -> Option<u64>;
    fn as_number(&self) -> Option<f64>;
    fn as_list(&self) -> Option<&[Self]>;
}

impl Raw for Spanned<DeValue<'_>> {
    fn as_text(&self) -> Option<&str> {
        self.get_ref().as_str()
    }

    fn as_flag(&self) -> Option<bool> {
        self.get_ref().as_bool()
    }

    fn as_whole(&self) -> Option<u64> {
        let value = self.get_ref().as_integer()?;
        u64::from_str_radix(value.as_str(), value.radix()).ok()
    }

    fn as_number(&self) -> Option<f64> {
        match self.get_ref() {
            DeValue::Float(value) => value.as_str().parse().ok(),
            DeValue::Integer(value) => i64::from_str_radix(value.as_str(), value.radix())
                .ok()
                .map(|n| n as f64),
            _ => None,
        }
    }

    fn as_list(&self) -> Option<&[Self]> {
        self.get_ref().as_array().map(|list| &**list)
    }
}

impl Raw for serde_json::Value {
    fn as_text(&self) -> Option<&str> {
        self.as_str()
    }

    fn as_flag(&self) -> Option<bool> {
        self.as_bool()
    }

    fn as_whole(&self) -> Option<u64> {
        self.as_u64()
    }

    fn as_number(&self) -> Option<f64> {
        self.as_f64()
    }

    fn as_list(&self) -> Option<&[Self]> {
        self.as_array().map(Vec::as_slice)
    }
}

pub(super) fn flag(value: &impl Raw) -> Checked<bool> {
    value.as_flag().ok_or("true or false".into())
}

/// Text that can be shown on a terminal.
pub(super) fn text(value: &impl Raw) -> Checked<String> {
    value
        .as_text()
        .filter(|s| !s.trim().is_empty() && s.len() <= 1000 && !s.contains(char::is_control))
        .map(str::to_owned)
        .ok_or("a line of text".into())
}

pub(super) fn texts(value: &impl Raw) -> Checked<Vec<String>> {
    let list = value.as_list().unwrap_or_default();
    let texts: Option<Vec<String>> = list.iter().map(|item| text(item).ok()).collect();
    texts
        .filter(|texts| !texts.is_empty())
        .ok_or("a list of lines of text".into())
}

/// `owner/name` as the hub allows it; nothing that a file system or an address would read otherwise.
pub(super) fn repository(value: &impl Raw) -> Checked<String> {
    let part = |part: &str| {
        is_file_name(part)
            && part.len() <= 96
            && !part.ends_with(['-', '.'])
            && !part.contains("--")
    };
    value
        .as_text()
        .filter(|s| {
            s.split_once('/')
                .is_some_and(|(owner, name)| part(owner) && part(name))
        })
        .map(str::to_owned)
        .ok_or("a repository of the hub, as in \"owner/name\"".into())
}

pub(super) fn file_name(value: &impl Raw) -> Checked<String> {
    value
        .as_text()
        .filter(|s| is_file_name(s))
        .map(str::to_owned)
        .ok_or("a file name of letters, digits, `.`, `_` and `-`, without folders".into())
}

/// A file that comes with the crate.
pub(super) fn bundled(value: &impl Raw) -> Checked<String> {
    value
        .as_text()
        .filter(|name| NAMES.contains(name))
        .map(str::to_owned)
        .ok_or_else(|| format!("a file that comes with the crate ({})", NAMES.join(", ")).into())
}

fn is_file_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=200).contains(&name.len())
        && name.chars().all(allowed)
        && !name.starts_with(['.', '-'])
        && !name.contains("..")
}

/// The name of an architecture, or a tag.
pub(super) fn is_name(name: &str) -> bool {
    is_file_name(name) && !name.contains('.')
}

pub(super) fn revision(value: &impl Raw) -> Checked<String> {
    digits(value, 40..=40).ok_or("a commit of 40 lowercase hex digits".into())
}

pub(super) fn sha256(value: &impl Raw) -> Checked<String> {
    digits(value, 64..=64).ok_or("64 lowercase hex digits".into())
}

pub(super) fn sha256_prefix(value: &impl Raw) -> Checked<String> {
    digits(value, 8..=64).ok_or("8 to 64 lowercase hex digits".into())
}

fn digits(value: &impl Raw, count: std::ops::RangeInclusive<usize>) -> Option<String> {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    value
        .as_text()
        .filter(|s| count.contains(&s.len()) && s.bytes().all(digit))
        .map(str::to_owned)
}

pub(super) fn bytes(value: &impl Raw) -> Checked<u64> {
    value
        .as_whole()
        .filter(|n| *n > 0)
        .ok_or("a number of bytes above 0".into())
}

/// An address that ends in a plain file name. Only this machine is spoken to without encryption.
pub(super) fn file_url(value: &impl Raw) -> Checked<String> {
    let secure = |s: &str| {
        ["https://", "http://127.0.0.1:", "http://localhost:"]
            .iter()
            .any(|start| s.starts_with(start))
    };
    let printable = |s: &str| s.len() <= 1000 && s.bytes().all(|b| b.is_ascii_graphic());
    value
        .as_text()
        .filter(|s| secure(s) && printable(s))
        .filter(|s| {
            s.split_once("://")
                .and_then(|(_, rest)| rest.rsplit_once('/'))
                .is_some_and(|(server, file)| !server.is_empty() && is_file_name(file))
        })
        .map(str::to_owned)
        .ok_or("an https address that ends in a file name".into())
}

pub(super) fn classes(value: &impl Raw) -> Checked<usize> {
    whole(value, 0..=100_000).ok_or("0 to 100000 classes".into())
}

pub(super) fn channels(value: &impl Raw) -> Checked<usize> {
    whole(value, 1..=1024).ok_or("1 to 1024 channels".into())
}

/// The side of a square image.
pub(super) fn side(value: &impl Raw) -> Checked<usize> {
    whole(value, 1..=16_384).ok_or("1 to 16384 pixels".into())
}

/// `[channels, height, width]`.
pub(super) fn input_size(value: &impl Raw) -> Checked<[usize; 3]> {
    let size = || match value.as_list()? {
        [c, height, width] => Some([channels(c).ok()?, side(height).ok()?, side(width).ok()?]),
        _ => None,
    };
    size().ok_or("[channels, height, width], at most [1024, 16384, 16384]".into())
}

fn whole(value: &impl Raw, range: std::ops::RangeInclusive<u64>) -> Option<usize> {
    value
        .as_whole()
        .filter(|n| range.contains(n))
        .and_then(|n| usize::try_from(n).ok())
}

pub(super) fn means(value: &impl Raw) -> Checked<Vec<f64>> {
    numbers(value, |_| true).ok_or("a list of numbers".into())
}

pub(super) fn stds(value: &impl Raw) -> Checked<Vec<f64>> {
    numbers(value, |n| n > 0.0).ok_or("a list of numbers above 0".into())
}

fn numbers(value: &impl Raw, accept: impl Fn(f64) -> bool) -> Option<Vec<f64>> {
    let number = |item: &_| Raw::as_number(item).filter(|n| n.is_finite() && accept(*n));
    let numbers: Option<Vec<f64>> = value.as_list()?.iter().map(number).collect();
    numbers.filter(|numbers| (1..=1024).contains(&numbers.len()))
}

/// How much of the shorter side the crop takes.
pub(super) fn crop_pct(value: &impl Raw) -> Checked<f64> {
    value
        .as_number()
        .filter(|n| *n > 0.0 && *n <= 1.0)
        .ok_or("a number above 0 and at most 1".into())
}

pub(super) fn percentage(value: &impl Raw) -> Checked<f64> {
    value
        .as_number()
        .filter(|n| (0.0..=100.0).contains(n))
        .ok_or("a percentage, 0 to 100".into())
}

/// A probability that something is dropped.
pub(super) fn rate(value: &impl Raw) -> Checked<f64> {
    value
        .as_number()
        .filter(|n| (0.0..1.0).contains(n))
        .ok_or("a number from 0 to below 1".into())
}

/// Filters by Pillow's and timm's names.
pub(super) fn interpolation(value: &impl Raw) -> Checked<Interpolation> {
    let names = [
        ("nearest", Interpolation::Nearest),
        ("bilinear", Interpolation::Bilinear),
        ("bicubic", Interpolation::Bicubic),
        ("box", Interpolation::Box),
        ("hamming", Interpolation::Hamming),
        ("lanczos", Interpolation::Lanczos),
    ];
    one_of(value, &names)
}

pub(super) fn crop_mode(value: &impl Raw) -> Checked<CropMode> {
    let names = [
        ("center", CropMode::Center),
        ("squash", CropMode::Squash),
        ("border", CropMode::Border),
    ];
    one_of(value, &names)
}

fn one_of<T: Copy>(value: &impl Raw, names: &[(&str, T)]) -> Checked<T> {
    let found = value.as_text();
    let named = names.iter().find(|(name, _)| found == Some(*name));
    named.map(|(_, item)| *item).ok_or_else(|| {
        let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        format!("one of {}", names.join(", ")).into()
    })
}
