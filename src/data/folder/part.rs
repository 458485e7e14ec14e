//! The parts of a data set, and what they are called.

use std::fmt;

use crate::data::message::quoted;
use crate::error::{Error, Result};

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The images to train on.
    Train,
    /// The images to choose the best epoch by.
    Valid,
    /// The images of a third part.
    Test,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Part::Train, Part::Valid, Part::Test];

    /// The part that goes by this name, as that of a folder or in a CSV file.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Part::Train),
            "val" | "valid" | "validation" => Some(Part::Valid),
            "test" | "testing" => Some(Part::Test),
            _ => None,
        }
    }

    /// The part that a folder's name says: `train`, and what people call it besides, such as
    /// `train_images` or `training-set`.
    pub(super) fn of_folder(name: &str) -> Option<Self> {
        const ENDINGS: [&str; 7] = ["images", "image", "imgs", "img", "data", "set", "split"];
        let name = name.to_ascii_lowercase();
        let start = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending));
        let start = start.unwrap_or(&name).trim_end_matches(['_', '-', ' ']);
        Self::named(start)
    }

    /// `train`, `val` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Valid => "val",
            Part::Test => "test",
        }
    }
}

/// `train`, `val` or `test`, and what else folders are called: `training`, `valid`, `validation`,
/// `testing`.
impl std::str::FromStr for Part {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::named(text)
            .ok_or_else(|| Error::argument("part", "`train`, `val` or `test`", quoted(text)))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Train => "training",
            Part::Valid => "validation",
            Part::Test => "test",
        })
    }
}
