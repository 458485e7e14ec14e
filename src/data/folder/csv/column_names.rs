//! What columns are usually called.

use crate::data::folder::part::Part;

/// What a column holds.
pub(super) struct Role {
    /// What messages call the fields.
    pub(super) holds: &'static str,
    /// The flag that names the column.
    pub(super) flag: &'static str,
    /// The title that messages suggest.
    pub(super) example: &'static str,
    /// Usual titles, [normalised](normalised): the first group that a file has a column of decides.
    pub(super) titles: &'static [&'static [&'static str]],
}

pub(super) const PATH: Role = Role {
    holds: "paths",
    flag: "--csv-path-column",
    example: "path",
    titles: &[
        &["path"],
        &[
            "file",
            "filepath",
            "filename",
            "files",
            "filenames",
            "fname",
            "fnames",
            "fn",
            "image",
            "images",
            "imagepath",
            "imagename",
            "imagefile",
            "imagefilename",
            "img",
            "imgpath",
            "imgname",
            "imgfile",
            "paths",
            "photo",
            "picture",
        ],
        &["id", "imageid", "imgid", "name"],
    ],
};

pub(super) const LABEL: Role = Role {
    holds: "labels",
    flag: "--csv-label-column",
    example: "label",
    titles: &[
        &["label"],
        &[
            "labels",
            "labelname",
            "class",
            "classes",
            "classname",
            "classlabel",
            "category",
            "target",
            "targets",
            "breed",
            "species",
            "y",
        ],
    ],
};

/// The columns of several labels or numbers.
pub(super) const LABELS: Role = Role {
    holds: "labels",
    flag: "--csv-label-columns",
    example: "label",
    titles: &[],
};

/// The column of a number. `y` may be one of two coordinates.
pub(super) const NUMBER: Role = Role {
    holds: "numbers",
    flag: LABEL.flag,
    example: "value",
    titles: &[
        &["value"],
        &["values", "target", "targets", "label", "labels", "score"],
    ],
};

pub(super) const SPLIT: Role = Role {
    holds: "the split",
    flag: "--csv-split-column",
    example: "split",
    titles: &[],
};

/// How the fields of a split column are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SplitMeaning {
    /// They name the part.
    Names,
    /// Yes is for validation, no for training: fastai's `is_valid`.
    Valid,
    /// Yes is for the test, no for training.
    Test,
    /// Yes is for training, no for validation.
    Train,
}

/// Titles of splits, what their fields mean, and whether the column is a split whatever its fields
/// are: then a field that says something else is an error.
const SPLITS: [(&str, SplitMeaning, bool); 18] = {
    use SplitMeaning::{Names, Test, Train, Valid};
    [
        ("split", Names, true),
        ("isvalid", Valid, true),
        ("isval", Valid, true),
        ("isvalidation", Valid, true),
        ("istest", Test, true),
        ("istesting", Test, true),
        ("istrain", Train, true),
        ("istraining", Train, true),
        ("istrainingimage", Train, true),
        ("set", Names, false),
        ("subset", Names, false),
        ("part", Names, false),
        ("partition", Names, false),
        ("fold", Names, false),
        ("phase", Names, false),
        ("datasplit", Names, false),
        ("valid", Valid, false),
        ("validation", Valid, false),
    ]
};

/// A title without what people differ in: `Image_Path` and `image path` are `imagepath`.
pub(super) fn normalised(title: &str) -> String {
    title.replace(['_', '-', ' ', '.'], "").to_lowercase()
}

/// How the fields of a column with this title are meant, and whether it is a split for sure.
pub(super) fn split_meaning(title: &str) -> Option<(SplitMeaning, bool)> {
    let title = normalised(title);
    let split = SPLITS.iter().find(|(name, ..)| *name == title);
    split.map(|(_, meaning, is_sure)| (*meaning, *is_sure))
}

/// Whether a title says what its column holds.
pub(super) fn is_usual(title: &str) -> bool {
    let name = normalised(title);
    let mut groups = PATH.titles.iter().chain(LABEL.titles);
    groups.any(|group| group.contains(&name.as_str())) || split_meaning(title).is_some()
}

/// Whether a column only counts the rows, as pandas writes it.
pub(super) fn is_index(title: &str) -> bool {
    let title = title.trim().to_lowercase();
    title.is_empty() || title == "index" || title.starts_with("unnamed: ")
}

/// What a field says that is true or false.
pub(super) fn truth(field: &str) -> Option<bool> {
    match field.to_ascii_lowercase().as_str() {
        "true" | "yes" | "t" | "y" | "1" | "1.0" => Some(true),
        "false" | "no" | "f" | "n" | "0" | "0.0" => Some(false),
        _ => None,
    }
}

impl SplitMeaning {
    /// The part that a field says.
    pub(super) fn part(self, field: &str) -> Option<Part> {
        let [yes, no] = match self {
            SplitMeaning::Names => return Part::named(field),
            SplitMeaning::Valid => [Part::Valid, Part::Train],
            SplitMeaning::Test => [Part::Test, Part::Train],
            SplitMeaning::Train => [Part::Train, Part::Valid],
        };
        match truth(field) {
            Some(true) => Some(yes),
            Some(false) => Some(no),
            None => Part::named(field),
        }
    }

    /// What messages expect.
    pub(super) fn expected(self) -> &'static str {
        if self == SplitMeaning::Names {
            "`train`, `val` or `test`"
        } else {
            "`True` or `False`"
        }
    }
}
