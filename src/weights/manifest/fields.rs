//! Types for the values of a manifest and of a model's configuration.
//!
//! Each checks itself as serde reads it. Its error says what was expected; the reader of the file
//! adds where, and what was found.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;

use serde::de::{Deserialize, Deserializer, Error as _, IntoDeserializer as _, Visitor};

use crate::preprocess::{CROP_PCT, CropMode, Interpolation};
use crate::zoo::bundled::NAMES;

/// Declares types: what each holds, what an error says was expected, and the check.
macro_rules! checked {
    ($($(#[$attribute:meta])* $name:ident($inner:ty): $expected:expr, $check:expr;)*) => {$(
        $(#[$attribute])*
        #[derive(Debug)]
        pub(super) struct $name(pub(super) $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let check = |value: $inner| {
                    let holds: fn(&$inner) -> bool = $check;
                    holds(&value).then_some(Self(value))
                };
                let expected = $expected;
                deserializer.deserialize_newtype_struct("", CheckedVisitor { expected, check })
            }
        }

        impl From<$name> for $inner {
            fn from($name(value): $name) -> Self {
                value
            }
        }
    )*};
}

checked! {
    Flag(bool): "true or false", |_| true;

    /// Text without control characters, as those may change a terminal.
    AnyLine(String): "a line of text", |s| !s.contains(char::is_control);

    Line(String): "a line of text", |s| is_line(s);
    Lines(Vec<String>): "a list of lines of text",
        |list| !list.is_empty() && list.iter().all(|s| is_line(s));

    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    Architecture(String): "an architecture, as in [resnet18.my_tag] without quotes",
        |s| is_file_name(s) && !s.contains('.');

    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    Tag(String): "a tag of letters, digits, `_` and `-`",
        |s| is_file_name(s) && !s.contains('.');

    /// `owner/name` as the hub allows it; nothing that a file system or an address would read otherwise.
    Repository(String): "a repository of the hub, as in \"owner/name\"", |s| {
        s.split_once('/').is_some_and(|parts| {
            [parts.0, parts.1].iter().all(|part| {
                is_file_name(part)
                    && part.len() <= 96
                    && !part.ends_with(['-', '.'])
                    && !part.contains("--")
            })
        })
    };

    FileName(String): "a file name of letters, digits, `.`, `_` and `-`, without folders",
        |s| is_file_name(s);

    /// A file that comes with the crate.
    BundledFile(String): format!("a file that comes with the crate ({})", NAMES.join(", ")),
        |s| NAMES.contains(&s.as_str());

    Revision(String): "a commit of 40 lowercase hex digits", |s| is_hex(s, 40..=40);
    Sha256(String): "64 lowercase hex digits", |s| is_hex(s, 64..=64);
    Sha256Prefix(String): "8 to 64 lowercase hex digits", |s| is_hex(s, 8..=64);
    Bytes(u64): "a number of bytes above 0", |n| *n > 0;

    /// An address that ends in a plain file name. Only this machine is spoken to without encryption.
    FileUrl(String): "an https address that ends in a file name", |s| {
        let servers = ["https://", "http://127.0.0.1:", "http://localhost:"];
        servers.iter().any(|server| s.starts_with(server))
            && s.len() <= 1000
            && s.bytes().all(|b| b.is_ascii_graphic())
            && s.split_once("://")
                .and_then(|(_, rest)| rest.rsplit_once('/'))
                .is_some_and(|(server, file)| !server.is_empty() && is_file_name(file))
    };

    Classes(usize): "0 to 200000 classes", |n| *n <= 200_000;
    Channels(usize): "1 to 1024 channels", |n| (1..=1024).contains(n);

    /// The side of a square image.
    Side(usize): "1 to 16384 pixels", |n| (1..=16_384).contains(n);

    Means(Vec<f64>): "a list of numbers", |list| {
        (1..=1024).contains(&list.len()) && list.iter().all(|n| n.is_finite())
    };
    Stds(Vec<f64>): "a list of numbers above 0", |list| {
        (1..=1024).contains(&list.len()) && list.iter().all(|n| n.is_finite() && *n > 0.0)
    };

    /// How much of the shorter side the crop takes.
    CropPct(f64): "a number from 0.1 to 10", |n| CROP_PCT.contains(n);
    Percentage(f64): "a percentage, 0 to 100", |n| (0.0..=100.0).contains(n);

    /// A probability that something is dropped.
    DropRate(f64): "a number from 0 to below 1", |n| (0.0..1.0).contains(n);

    Filter(Interpolation): "one of nearest, bilinear, bicubic, box, hamming, lanczos", |_| true;
    Crop(CropMode): "one of center, squash, border", |_| true;
}

/// A line of text, or a list of them.
#[derive(Debug)]
pub(super) struct OneOrMore(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Either {
            One(Line),
            More(Lines),
        }
        let expected = "a line of text or a list of them";
        let check = |either| match either {
            Either::One(Line(line)) => Some(Self(vec![line])),
            Either::More(Lines(lines)) => Some(Self(lines)),
        };
        deserializer.deserialize_newtype_struct("", CheckedVisitor { expected, check })
    }
}

impl From<OneOrMore> for Vec<String> {
    fn from(OneOrMore(lines): OneOrMore) -> Self {
        lines
    }
}

/// Channels, height and width.
#[derive(Debug, Clone, Copy)]
pub(super) struct InputSize(pub(super) [usize; 3]);

impl<'de> Deserialize<'de> for InputSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "[channels, height, width], at most [1024, 16384, 16384]";
        // As a list first: of more than three numbers an array takes the first three.
        let check = |size: Vec<usize>| match size[..] {
            [c @ 1..=1024, height @ 1..=16_384, width @ 1..=16_384] => {
                Some(Self([c, height, width]))
            }
            _ => None,
        };
        deserializer.deserialize_newtype_struct("", CheckedVisitor { expected, check })
    }
}

impl From<InputSize> for [usize; 3] {
    fn from(InputSize(size): InputSize) -> Self {
        size
    }
}

/// Reads a `T` and makes a `U` of it, if the check agrees.
struct CheckedVisitor<E, T, U> {
    expected: E,
    check: fn(T) -> Option<U>,
}

// As a newtype, since what serde says of a missing field is not for the check to replace.
impl<'de, E: Display, T: Deserialize<'de>, U> Visitor<'de> for CheckedVisitor<E, T, U> {
    type Value = U;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.expected)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<U, D::Error> {
        let checked = T::deserialize(value).ok().and_then(self.check);
        checked.ok_or_else(|| D::Error::custom(format_args!("expected {}", self.expected)))
    }

    /// A key with its place is text alone.
    fn visit_str<F: serde::de::Error>(self, key: &str) -> Result<U, F> {
        self.visit_newtype_struct(key.into_deserializer())
    }
}

/// Text that says something, and not too much of it.
fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= 1000 && !text.contains(char::is_control)
}

fn is_file_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=200).contains(&name.len())
        && name.chars().all(allowed)
        && !name.starts_with(['.', '-'])
        && !name.contains("..")
}

fn is_hex(text: &str, count: RangeInclusive<usize>) -> bool {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    count.contains(&text.len()) && text.bytes().all(digit)
}
