//! What licences say about commercial use.

/// What a licence says about commercial use, as far as its identifier tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terms {
    /// It is known to allow it, as `apache-2.0` does.
    Commercial,
    /// It forbids it, as `cc-by-nc-4.0` does.
    NonCommercial,
    /// It has terms of its own, as `dinov3-license` has, or nobody knows which: somebody must read
    /// them.
    Own,
}

/// Licences that allow commercial use. One that is not here has terms to be read.
const COMMERCIAL: [&str; 15] = [
    "0bsd",
    "apache-2.0",
    "bsd-2-clause",
    "bsd-3-clause",
    "bsl-1.0",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "cc0-1.0",
    "isc",
    "mit",
    "mit-0",
    "ncsa",
    "unlicense",
    "zlib",
];

impl Terms {
    /// Those of a licence, by its identifier. Of several with `or` between them one is enough.
    pub fn of(licence: &str) -> Self {
        let licence = licence.to_ascii_lowercase();
        let is_free = |id: &str| COMMERCIAL.contains(&id.trim());
        if non_commercial(&licence) {
            Self::NonCommercial
        } else if licence.split(" or ").any(is_free) {
            Self::Commercial
        } else {
            Self::Own
        }
    }

    /// `commercial`, `non_commercial` or `own`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Commercial => "commercial",
            Self::NonCommercial => "non_commercial",
            Self::Own => "own",
        }
    }
}

/// Whether a licence's identifier says that it forbids commercial use, as `cc-by-nc-4.0` does; of
/// several with `or` between them all must.
///
/// `false` is no permission: see [`Terms`].
pub fn non_commercial(licence: &str) -> bool {
    let forbids = |licence: &str| {
        let has = |word: &str| licence.split(['-', '_', ' ', '.']).any(|part| part == word);
        // `apple-amlr` and the `research` licences allow research only.
        ["nc", "noncommercial", "research", "amlr"]
            .into_iter()
            .any(has)
            || licence.contains("non-commercial")
    };
    licence.to_ascii_lowercase().split(" or ").all(forbids)
}

/// A licence as a person reads it, with a mark if it does not plainly allow commercial use.
pub fn licence_in_words(licence: Option<&str>) -> String {
    match licence {
        None | Some("unknown") => "unknown".to_owned(),
        Some(licence) => match Terms::of(licence) {
            Terms::Commercial => licence.to_owned(),
            Terms::NonCommercial => format!("{licence}, no commercial use"),
            Terms::Own => format!("{licence}, its own terms"),
        },
    }
}

/// What stands behind a licence that upstream does not state for the weights themselves, and where it
/// was read: see [`Entry::licence_source`](super::Entry::licence_source). Nothing if it does.
pub fn licence_source_in_words(source: Option<&str>) -> String {
    source.map_or_else(String::new, |source| {
        format!(" ({source}; upstream does not state it for these weights themselves)")
    })
}
