//! A folder of labelled images, and tables that name them.
#![allow(dead_code)]

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

/// A folder of images of two classes, `cat/0.png` to `cat/5.png` and `dog/0.png` to `dog/5.png`,
/// whose path in messages becomes `DIR`.
pub struct Dir {
    pub path: PathBuf,
    _temporary: tempfile::TempDir,
}

pub const IMAGES: usize = 6;

impl Dir {
    pub fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let dir = Self {
            path: fs::canonicalize(temporary.path()).unwrap(),
            _temporary: temporary,
        };
        for (path, _) in images() {
            dir.image(&path);
        }
        dir
    }

    pub fn image(&self, path: &str) {
        let path = self.path.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut bytes = Cursor::new(Vec::new());
        let image = image::GrayImage::from_pixel(1, 1, image::Luma([7]));
        image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        fs::write(path, bytes.into_inner()).unwrap();
    }
}

/// Paths and labels.
pub fn images() -> impl Iterator<Item = (String, &'static str)> {
    ["cat", "dog"]
        .into_iter()
        .flat_map(|class| (0..IMAGES).map(move |image| (format!("{class}/{image}.png"), class)))
}

/// A file with this header, and a line for each image.
pub fn table(header: &str, line: impl Fn(&str, &str) -> String) -> String {
    let lines: String = images()
        .map(|(path, label)| line(&path, label) + "\n")
        .collect();
    if header.is_empty() {
        return lines;
    }
    format!("{header}\n{lines}")
}

pub fn comma(path: &str, label: &str) -> String {
    format!("{path},{label}")
}

pub fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text}: lacks {part}");
    }
}

pub fn first(path: &str) -> bool {
    path.ends_with("0.png")
}
