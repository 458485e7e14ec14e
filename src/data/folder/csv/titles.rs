//! What columns are usually called.

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Path,
    Label,
    Split,
}

/// How the fields of a split column are meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// They name the part.
    Names,
    /// Yes is for validation, no for training: fastai's `is_valid`.
    Valid,
    /// Yes is for the test, no for training.
    Test,
    /// Yes is for training, no for validation.
    Train,
}

/// Titles of paths: the first group that a file has a column of decides.
const PATHS: [&[&str]; 3] = [
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
];

const LABELS: [&[&str]; 2] = [
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
];

/// Titles of columns that are a split whatever their fields are; a field that says something else
/// is an error.
const SPLITS: [(&str, Meaning); 9] = [
    ("split", Meaning::Names),
    ("isvalid", Meaning::Valid),
    ("isval", Meaning::Valid),
    ("isvalidation", Meaning::Valid),
    ("istest", Meaning::Test),
    ("istesting", Meaning::Test),
    ("istrain", Meaning::Train),
    ("istraining", Meaning::Train),
    ("istrainingimage", Meaning::Train),
];

/// Titles of columns that are a split if their fields are those of one.
const PERHAPS_SPLITS: [(&str, Meaning); 8] = [
    ("set", Meaning::Names),
    ("subset", Meaning::Names),
    ("partition", Meaning::Names),
    ("fold", Meaning::Names),
    ("phase", Meaning::Names),
    ("datasplit", Meaning::Names),
    ("valid", Meaning::Valid),
    ("validation", Meaning::Valid),
];

/// A title without what people differ in: `Image_Path` and `image path` are `imagepath`.
pub(super) fn plain(title: &str) -> String {
    let ignored = |c: &char| !matches!(c, '_' | '-' | ' ' | '.');
    title
        .chars()
        .filter(ignored)
        .collect::<String>()
        .to_lowercase()
}

/// The groups of titles of paths or labels.
pub(super) fn groups(role: Role) -> &'static [&'static [&'static str]] {
    match role {
        Role::Path => &PATHS,
        Role::Label => &LABELS,
        Role::Split => &[],
    }
}

/// How the fields of a column with this title are meant, and whether it is a split for sure.
pub(super) fn split(title: &str) -> Option<(Meaning, bool)> {
    let title = plain(title);
    let find = |list: &[(&str, Meaning)]| {
        let found = list.iter().find(|(name, _)| *name == title);
        found.map(|(_, meaning)| *meaning)
    };
    let sure = find(&SPLITS).map(|meaning| (meaning, true));
    sure.or_else(|| find(&PERHAPS_SPLITS).map(|meaning| (meaning, false)))
}

/// Whether a title says what its column holds.
pub(super) fn known(title: &str) -> bool {
    let name = plain(title);
    let mut groups = groups(Role::Path).iter().chain(groups(Role::Label));
    groups.any(|group| group.contains(&name.as_str())) || split(title).is_some()
}

/// Whether a column only counts the rows, as pandas writes it.
pub(super) fn is_index(title: &str) -> bool {
    let title = title.trim().to_lowercase();
    title.is_empty() || title == "index" || title.starts_with("unnamed: ")
}

impl Role {
    /// What messages call the fields.
    pub(super) fn fields(self) -> &'static str {
        match self {
            Role::Path => "paths",
            Role::Label => "labels",
            Role::Split => "the split",
        }
    }

    pub(super) fn flag(self) -> &'static str {
        match self {
            Role::Path => "--csv-path-column",
            Role::Label => "--csv-label-column",
            Role::Split => "--csv-split-column",
        }
    }
}
