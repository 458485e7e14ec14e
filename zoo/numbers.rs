//! Numbers of every architecture that take a build, or a run, to find out: `numbers.csv`.
//!
//! `cargo test --release --test numbers -- --ignored` writes the file, and `--test numbers` compares
//! it with the models.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Architecture, OWN_LIBRARY};
use crate::error::{Error, Result};

/// What an architecture costs, with 3 channels, 1000 classes and images of upstream's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Numbers {
    /// Parameters, as timm counts them.
    pub parameters: usize,
    /// Length of the vector that the classifier gets.
    pub features: usize,
    /// Multiply-accumulates for one image.
    pub macs: usize,
    /// The smallest side of an image that it takes; `None` if it takes the size alone that it is
    /// built for.
    pub least_size: Option<usize>,
    /// Sides are multiples of this.
    pub size_step: usize,
}

/// A row of the file.
#[derive(serde::Deserialize)]
struct Row {
    name: String,
    parameters: usize,
    features: usize,
    macs: usize,
    least_size: Option<usize>,
    size_step: usize,
}

const FILE: &str = "zoo/numbers.csv";

type Table = HashMap<String, Numbers>;

static TABLE: LazyLock<Result<Table, String>> = LazyLock::new(|| {
    let mut table = csv::Reader::from_reader(include_str!("numbers.csv").as_bytes());
    let rows = table.deserialize().map(|row: Result<Row, csv::Error>| {
        let row = row.map_err(|error| error.to_string())?;
        let numbers = Numbers {
            parameters: row.parameters,
            features: row.features,
            macs: row.macs,
            least_size: row.least_size,
            size_step: row.size_step,
        };
        Ok((row.name, numbers))
    });
    rows.collect()
});

impl Architecture {
    /// What it costs, without a build.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for an architecture that was registered;
    /// [`Error::Folder`] if the crate was built with a table that lacks it.
    pub fn numbers(&self) -> Result<Numbers> {
        if self.library == OWN_LIBRARY {
            let expected = "one that comes with the crate: a registered one is measured by \
                            `Classifier::summary`";
            return Err(Error::argument("architecture", expected, self.name));
        }
        let bad = |reason: String| Error::Folder {
            path: FILE.into(),
            reason,
        };
        let table = TABLE.as_ref().map_err(|reason| bad(reason.clone()))?;
        table.get(self.name).copied().ok_or_else(|| {
            bad(format!(
                "expected a row for {}, found none; `cargo test --release --test numbers -- \
                 --ignored` writes it",
                self.name
            ))
        })
    }
}
