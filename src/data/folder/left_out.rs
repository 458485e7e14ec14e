//! Files and folders that are left out because of their names.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use crate::data::message::first_few;

/// What is left out because of its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// How many files and folders have names that begin with a dot, those in
    /// [`junk`](Self::junk) aside.
    pub hidden: usize,
    /// How many files and folders are what systems and tools leave behind, such as `.DS_Store`,
    /// `__MACOSX`, `Thumbs.db` or `__pycache__`, by their names.
    pub junk: BTreeMap<String, usize>,
    /// How many files have the extension of no image, by it, in lower case without the dot. Images
    /// of formats that are not read, such as HEIC, are among them.
    pub others: BTreeMap<String, usize>,
}

/// What systems and tools leave in folders, in lower case.
const JUNK: [&str; 20] = [
    "$recycle.bin",
    ".appledouble",
    ".directory",
    ".ds_store",
    ".fseventsd",
    ".git",
    ".gitattributes",
    ".gitignore",
    ".gitkeep",
    ".ipynb_checkpoints",
    ".localized",
    ".spotlight-v100",
    ".trashes",
    "@eadir",
    "__macosx",
    "__pycache__",
    "desktop.ini",
    "lost+found",
    "system volume information",
    "thumbs.db",
];

/// The start of the names of files in which macOS keeps what other file systems have no place for.
const APPLE_DOUBLE: &str = "._";

/// The image formats that are not read, by the extensions of their files.
const UNREAD_FORMATS: [(&str, &[&str]); 13] = [
    ("HEIC", &["heic", "heif", "hif"]),
    ("AVIF", &["avif", "avifs"]),
    ("JPEG XL", &["jxl"]),
    ("JPEG 2000", &["jp2", "j2k", "jpf", "jpx", "jpc"]),
    ("PNM", &["ppm", "pgm", "pbm", "pnm", "pam"]),
    ("TGA", &["tga"]),
    ("ICO", &["ico"]),
    ("SVG", &["svg", "svgz"]),
    ("Photoshop", &["psd"]),
    ("OpenEXR", &["exr"]),
    ("DDS", &["dds"]),
    ("DICOM", &["dcm"]),
    (
        "camera raw",
        &["arw", "cr2", "cr3", "dng", "nef", "orf", "raf", "rw2"],
    ),
];

impl LeftOut {
    /// Counts a file or folder that is hidden or junk; `false` if it is neither.
    pub(super) fn takes(&mut self, name: &OsStr) -> bool {
        let text = name.to_string_lossy();
        if text.starts_with(APPLE_DOUBLE) {
            *self.junk.entry(format!("{APPLE_DOUBLE}*")).or_default() += 1;
        } else if JUNK.contains(&text.to_lowercase().as_str()) {
            *self.junk.entry(text.into_owned()).or_default() += 1;
        } else if text.starts_with('.') {
            self.hidden += 1;
        } else {
            return false;
        }
        true
    }

    /// What was left out, in lines for a person: images of formats that are not read, other files,
    /// hidden ones, and what systems and tools leave behind.
    pub fn lines(&self) -> Vec<String> {
        let others = self.others.iter().map(|(e, count)| (e.clone(), *count));
        let (images, files): (BTreeMap<_, _>, BTreeMap<_, _>) =
            others.partition(|(extension, _)| unread_format(extension).is_some());
        let mut lines = Vec::new();
        if !images.is_empty() {
            let images = by_extension(&images).join(", ");
            let advice = "convert them to JPEG or PNG";
            lines.push(format!("warning: images left out: {images}; {advice}"));
        }
        if !files.is_empty() {
            let files = first_few(&by_extension(&files));
            lines.push(format!("other files left out: {files}"));
        }
        if self.hidden > 0 {
            lines.push(format!(
                "hidden files and folders left out: {}",
                self.hidden
            ));
        }
        if !self.junk.is_empty() {
            let count = |(name, count): (&String, &usize)| format!("{count} {name}");
            let junk: Vec<String> = self.junk.iter().map(count).collect();
            let junk = first_few(&junk);
            lines.push(format!("left out, of the system or of tools: {junk}"));
        }
        lines
    }
}

/// Counts a file by its extension.
pub(super) fn count(counts: &mut BTreeMap<String, usize>, name: &OsStr) {
    let extension = Path::new(name).extension().unwrap_or_default();
    let extension = extension.to_string_lossy().to_lowercase();
    *counts.entry(extension).or_default() += 1;
}

/// The name of an image format that is not read, by the extension of its files.
pub(super) fn unread_format(extension: &str) -> Option<&'static str> {
    let mut formats = UNREAD_FORMATS.iter();
    let format = formats.find(|(_, extensions)| extensions.contains(&extension));
    format.map(|(name, _)| *name)
}

/// `2 .txt`, for each extension, the most frequent first; `1 .heic (HEIC is not read)`.
pub(super) fn by_extension(counts: &BTreeMap<String, usize>) -> Vec<String> {
    let mut counts: Vec<(&String, &usize)> = counts.iter().collect();
    counts.sort_by_key(|(_, count)| Reverse(**count));
    let line = |(extension, count): (&String, &usize)| match unread_format(extension) {
        _ if extension.is_empty() => format!("{count} without extension"),
        Some(format) => format!("{count} .{extension} ({format} is not read)"),
        None => format!("{count} .{extension}"),
    };
    counts.into_iter().map(line).collect()
}
