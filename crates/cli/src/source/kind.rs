//! What `--data` can name.

use std::ffi::OsStr;
use std::path::Path;

use burn_zoo_fractals::FractalOptions;

/// A data set that `--data` names.
#[derive(Clone, Copy)]
pub(super) enum DataKind<'a> {
    /// The official FashionMNIST.
    FashionMnist,
    /// The sample of it in the library.
    FashionMnistMini,
    /// A folder with FashionMNIST's files.
    FashionMnistFolder(&'a Path),
    /// Drawn images, by the text of their options.
    Fractals(&'a str),
    /// A folder of images.
    Folder(&'a Path),
    /// A CSV file of paths and labels.
    Csv(&'a Path),
}

const EXPECTED: &str = "expected fashion-mnist, fashion-mnist-mini, fractals[:KEY=VALUE,..], a \
     folder, or a .csv or .tsv file that exists";

impl<'a> DataKind<'a> {
    /// What a name stands for; `None` if there is no such data set.
    pub(super) fn of(name: &'a str) -> Option<Self> {
        let path = Path::new(name);
        match name.split_once(':').unwrap_or((name, "")) {
            ("fractals", options) => return Some(DataKind::Fractals(options)),
            _ if name == "fashion-mnist" => return Some(DataKind::FashionMnist),
            _ if name == "fashion-mnist-mini" => return Some(DataKind::FashionMnistMini),
            _ => {}
        }
        if path.is_dir() {
            return Some(if has_fashion_mnist(path) {
                DataKind::FashionMnistFolder(path)
            } else {
                DataKind::Folder(path)
            });
        }
        is_csv(path).then_some(DataKind::Csv(path))
    }
}

/// What `--data` takes.
pub(super) fn check_name(text: &str) -> Result<String, String> {
    match DataKind::of(text) {
        Some(DataKind::Fractals(options)) => {
            let options = options.parse::<FractalOptions>();
            options.map_err(|error| error.to_string())?;
        }
        Some(_) => {}
        None => return Err(no_data_set(text)),
    }
    Ok(text.to_owned())
}

/// What was expected, and what is wrong with a name that is no data set.
pub(super) fn no_data_set(name: &str) -> String {
    let path = Path::new(name);
    if path.is_file() {
        return format!("{EXPECTED}; this is a file; single images are for `predict`");
    }
    let from = match std::env::current_dir() {
        Ok(folder) if path.is_relative() => format!(" (looked for from {} on)", folder.display()),
        _ => String::new(),
    };
    format!("{EXPECTED}; there is no such file or folder{from}")
}

pub(super) fn is_csv(path: &Path) -> bool {
    let is_one = |e: &OsStr| e.eq_ignore_ascii_case("csv") || e.eq_ignore_ascii_case("tsv");
    path.is_file() && path.extension().is_some_and(is_one)
}

/// Whether a folder is meant to be FashionMNIST's: it has at least one of its files.
fn has_fashion_mnist(dir: &Path) -> bool {
    let parts = [
        "train-images-idx3",
        "train-labels-idx1",
        "t10k-images-idx3",
        "t10k-labels-idx1",
    ];
    parts.iter().any(|part| {
        let file = dir.join(format!("{part}-ubyte"));
        file.exists() || file.with_extension("gz").exists()
    })
}
