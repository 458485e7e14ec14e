//! Folders of images: their layouts, their order, their split, and everything that can be wrong
//! with them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::data::{
    Broken, Check, Division, FolderOptions, FolderReport, ImageData, ImageFolder, Splits,
};
use proptest::prelude::*;

const IMAGES: &str = "images (.bmp, .gif, .jfif, .jpe, .jpeg, .jpg, .png, .tif, .tiff, .webp)";

/// A folder that vanishes, and whose path in messages becomes `DIR`.
struct Dir {
    path: PathBuf,
    _temporary: tempfile::TempDir,
}

impl Dir {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        Self {
            path: fs::canonicalize(temporary.path()).unwrap(),
            _temporary: temporary,
        }
    }

    /// A folder with these files, all of them images of one pixel.
    fn of(files: &[&str]) -> Self {
        let dir = Self::new();
        for file in files {
            dir.write(file, &png(7));
        }
        dir
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.join(path)
    }

    fn write(&self, file: impl AsRef<Path>, content: &[u8]) {
        let path = self.at(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn folder(&self, path: impl AsRef<Path>) {
        fs::create_dir_all(self.at(path)).unwrap();
    }

    #[cfg(unix)]
    fn link(&self, target: impl AsRef<Path>, link: impl AsRef<Path>) {
        let link = self.at(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, link).unwrap();
    }

    fn clean(&self, text: &str) -> String {
        text.replace(&self.path.display().to_string(), "DIR")
    }

    fn open(&self, options: &FolderOptions) -> Splits {
        ImageFolder::open_with(&self.path, options).unwrap_or_else(|error| panic!("{error}"))
    }

    fn error(&self, options: &FolderOptions) -> String {
        let error = ImageFolder::open_with(&self.path, options).unwrap_err();
        self.clean(&error.to_string())
    }

    /// What is wrong with a CSV file of this content.
    fn csv_error(&self, content: impl AsRef<[u8]>, options: &FolderOptions) -> String {
        self.write("labels.csv", content.as_ref());
        let error = ImageFolder::from_csv(self.at("labels.csv"), options).unwrap_err();
        self.clean(&error.to_string())
    }

    fn csv(&self, content: impl AsRef<[u8]>, options: &FolderOptions) -> Splits {
        self.write("labels.csv", content.as_ref());
        let splits = ImageFolder::from_csv(self.at("labels.csv"), options);
        splits.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Each image's path below this folder and its label.
    fn items(&self, images: &ImageFolder) -> Vec<(String, usize)> {
        let item = |index| {
            let path = images.path(index).unwrap();
            let path = path.strip_prefix(&self.path).unwrap().to_owned();
            let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
            (parts.join("/"), images.label(index).unwrap())
        };
        (0..images.len()).map(item).collect()
    }

    fn names(&self, images: &ImageFolder) -> Vec<String> {
        self.items(images)
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    }

    /// All images of both parts, sorted.
    fn all(&self, splits: &Splits) -> Vec<String> {
        let mut all = self.names(&splits.train);
        all.extend(self.names(&splits.valid));
        all.sort();
        all
    }
}

/// An image of one grey pixel.
fn png(value: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image = image::GrayImage::from_pixel(1, 1, image::Luma([value]));
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A photograph-like JPEG of 64 x 48 pixels.
fn jpeg() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let pixel = |x: u32, y: u32| image::Rgb([(x * 37 + y * 11) as u8, (x * y) as u8, y as u8]);
    let image = image::RgbImage::from_fn(64, 48, pixel);
    image
        .write_to(&mut bytes, image::ImageFormat::Jpeg)
        .unwrap();
    bytes.into_inner()
}

fn plain() -> FolderOptions {
    FolderOptions::default()
}

/// Nothing is looked at: the files may be empty.
fn unchecked() -> FolderOptions {
    FolderOptions {
        check: Some(Check::No),
        ..plain()
    }
}

fn skipping() -> FolderOptions {
    FolderOptions {
        broken: Broken::Skip,
        ..plain()
    }
}

fn lines<T: ToString>(dir: &Dir, items: &[T]) -> Vec<String> {
    items.iter().map(|i| dir.clean(&i.to_string())).collect()
}

fn warnings(dir: &Dir, report: &FolderReport) -> Vec<String> {
    lines(dir, &report.warnings)
}

fn skipped(dir: &Dir, report: &FolderReport) -> Vec<String> {
    lines(dir, &report.skipped)
}

#[test]
fn classes_are_in_the_order_of_their_bytes_and_labels_count_them() {
    let dir = Dir::new();
    for class in ["rose", "Daisy", "10", "9", "é", "z"] {
        for image in 0..5 {
            dir.write(format!("{class}/{image}.png"), &png(image));
        }
    }
    let splits = dir.open(&plain());
    let classes = ["10", "9", "Daisy", "rose", "z", "é"];
    assert_eq!(splits.train.classes(), classes);
    assert_eq!(splits.valid.classes(), classes);
    assert!(splits.test.is_none());
    for images in [&splits.train, &splits.valid] {
        for (index, (name, label)) in dir.items(images).into_iter().enumerate() {
            assert!(name.starts_with(&format!("{}/", classes[label])), "{name}");
            let (image, same) = images.get(index).unwrap();
            assert_eq!(same, label.into());
            let value = name.split(['/', '.']).nth(1).unwrap();
            assert_eq!(image.pixels(), [value.parse::<u8>().unwrap()]);
        }
    }
    assert_eq!((splits.train.len(), splits.valid.len()), (24, 6));
    assert_eq!(
        splits.report.to_string(),
        "6 classes, 24 training and 6 validation images, 20 % for validation by seed 42"
    );
    assert_eq!(
        splits.report.division,
        Division::Seeded {
            share: 0.2,
            seed: 42
        }
    );
    let data: Arc<dyn ImageData> = Arc::new(splits.train.clone());
    assert_eq!(
        data.get(24).unwrap_err().to_string(),
        "index: expected below 24, found 24"
    );
    assert_eq!(
        (splits.train.path(24), splits.train.label(24)),
        (None, None)
    );
    assert_eq!(
        dir.clean(&format!("{:?}", splits.train)),
        "ImageFolder { base: \"DIR\", images: 24, classes: 6 }"
    );
}

#[test]
fn nested_folders_count_for_the_class_in_torchvisions_order() {
    // `sorted(os.walk(class))` sorts the folders' paths as text, in which `-` comes before `/`.
    let train = [
        "train/a/z.png",
        "train/a/b/2.PNG",
        "train/a/b-c/1.png",
        "train/a/b.jpg/4.png",
        "train/a/b/c/3.jpeg",
        "train/b/1.png",
    ];
    let valid = ["val/a/1.png", "val/b/deep/er/1.png"];
    let dir = Dir::of(&[&train[..], &valid].concat());
    let splits = dir.open(&plain());
    assert_eq!(dir.names(&splits.train), train);
    assert_eq!(
        dir.items(&splits.valid),
        [
            ("val/a/1.png".to_owned(), 0),
            ("val/b/deep/er/1.png".to_owned(), 1)
        ]
    );
    assert_eq!(splits.report.division, Division::Folders);
}

#[test]
fn hidden_and_other_files_are_left_out_and_counted() {
    let dir = Dir::of(&[
        "a/1.png",
        "a/2.png",
        "a/.hidden.png",
        "a/._2.png",
        "a/.git/x.png",
        "b/1.png",
        "b/2.png",
        ".cache/1.png",
        "stray.png",
    ]);
    for file in ["a/notes.txt", "b/x.txt", "b/x.HEIC", "README", "b/x.txt.gz"] {
        dir.write(file, b"");
    }
    let report = dir.open(&plain()).report;
    assert_eq!(report.left_out.hidden, 2);
    let junk: Vec<_> = report
        .left_out
        .junk
        .iter()
        .map(|(n, c)| (n.as_str(), *c))
        .collect();
    assert_eq!(junk, [("._*", 1), (".git", 1)]);
    assert_eq!(
        report.to_string(),
        "2 classes, 2 training and 2 validation images, 20 % for validation by seed 42; \
         other files: 2 .txt, 1 without extension, 1 .gz, 1 .heic (HEIC is not read); \
         of systems and tools: 2; hidden: 2"
    );
    assert_eq!(
        report.left_out.lines(),
        [
            "warning: images left out: 1 .heic (HEIC is not read); convert them to JPEG or PNG",
            "other files left out: 2 .txt, 1 without extension, 1 .gz",
            "hidden files and folders left out: 2",
            "left out, of the system or of tools: 1 ._*, 1 .git",
        ]
    );
    assert_eq!(
        warnings(&dir, &report),
        ["DIR: images in no class's folder, which are left out: 1"]
    );
    let counts: Vec<_> = report
        .classes
        .iter()
        .map(|c| (c.images.train, c.images.valid))
        .collect();
    assert_eq!(counts, [(1, 1), (1, 1)]);

    let options = FolderOptions {
        extensions: vec![".HEIC".to_owned(), "txt".to_owned()],
        check: Some(Check::No),
        allow_empty: true,
        ..plain()
    };
    assert_eq!(
        dir.all(&dir.open(&options)),
        ["a/notes.txt", "b/x.HEIC", "b/x.txt"]
    );
}

#[test]
fn parts_in_folders_of_their_own() {
    for (train, valid) in [
        ("train", "val"),
        ("train", "valid"),
        ("train", "validation"),
        ("train", "test"),
        ("Training", "Testing"),
        ("train_images", "val_images"),
        ("training-set", "test_set"),
    ] {
        let path = |part: &str, file: &str| format!("{part}/{file}");
        let files = [
            path(train, "a/1.png"),
            path(train, "b/1.png"),
            path(valid, "a/2.png"),
            path(valid, "b/2.png"),
        ];
        let dir = Dir::of(&files.each_ref().map(String::as_str));
        let splits = dir.open(&plain());
        assert_eq!(dir.names(&splits.train), files[..2]);
        assert_eq!(dir.names(&splits.valid), files[2..]);
        assert!(splits.test.is_none());
        assert_eq!(
            splits.report.to_string(),
            "2 classes, 2 training and 2 validation images, in folders of their own"
        );
    }

    let dir = Dir::of(&[
        "train/a/1.png",
        "train/b/1.png",
        "val/a/2.png",
        "val/b/2.png",
        "test/b/3.png",
        "extra/c/4.png",
        "train/loose.png",
    ]);
    let splits = dir.open(&plain());
    assert_eq!(
        dir.items(&splits.test.unwrap()),
        [("test/b/3.png".to_owned(), 1)]
    );
    assert_eq!(
        splits.report.to_string(),
        "2 classes, 2 training, 2 validation and 1 test images, in folders of their own"
    );
    assert_eq!(
        warnings(&dir, &splits.report),
        [
            "DIR/extra: not `train`, `val` or `test`, so it is left out",
            "DIR/train: images in no class's folder, which are left out: 1",
            "there are no test images of class `a`",
        ]
    );
}

#[test]
fn folders_without_a_partner() {
    // Alone, `train` is split; what lies beside it is no class.
    let dir = Dir::of(&[
        "train/a/1.png",
        "train/a/2.png",
        "train/b/1.png",
        "more/x.png",
    ]);
    let splits = dir.open(&plain());
    assert_eq!(splits.train.classes(), ["a", "b"]);
    assert_eq!((splits.train.len(), splits.valid.len()), (2, 1));
    assert_eq!(
        warnings(&dir, &splits.report),
        [
            "DIR/more: not `train`, `val` or `test`, so it is left out",
            "there are no validation images of class `b`",
        ]
    );

    // The test images of a competition have no labels.
    let dir = Dir::of(&[
        "train/a/1.png",
        "train/a/2.png",
        "train/b/1.png",
        "test/1.png",
    ]);
    let splits = dir.open(&plain());
    assert_eq!((splits.train.len(), splits.valid.len()), (2, 1));
    assert!(splits.test.is_none());
    assert_eq!(
        warnings(&dir, &splits.report)[0],
        "DIR/test: no folders of classes, so it is left out"
    );

    // Trains, cars and buses; valid and broken ones.
    for classes in [["car", "train"], ["broken", "valid"]] {
        let dir = Dir::new();
        for class in classes {
            dir.write(format!("{class}/1.png"), &png(1));
            dir.write(format!("{class}/2.png"), &png(1));
        }
        assert_eq!(dir.open(&plain()).train.classes(), classes);
    }

    let dir = Dir::of(&["val/a/1.png", "test/a/1.png"]);
    assert_eq!(
        dir.error(&plain()),
        "DIR: expected a folder `train`, found `val`, `test` alone"
    );
    let dir = Dir::of(&["train/a/1.png", "val/a/1.png", "valid/a/1.png"]);
    assert_eq!(
        dir.error(&plain()),
        "DIR: expected one folder of validation images, found `val`, `valid`"
    );
}

#[test]
fn validation_images_have_the_training_images_classes() {
    let files = [
        "train/a/1.png",
        "train/b/1.png",
        "train/c/1.png",
        "val/c/1.png",
    ];
    let dir = Dir::of(&files);
    dir.folder("val/a");
    let splits = dir.open(&plain());
    // A class that is missing does not move the labels of the others.
    assert_eq!(dir.items(&splits.valid), [("val/c/1.png".to_owned(), 2)]);
    assert_eq!(splits.valid.classes(), ["a", "b", "c"]);
    assert_eq!(
        warnings(&dir, &splits.report),
        [
            "there are no validation images of class `a`",
            "there are no validation images of class `b`"
        ]
    );

    dir.write("val/d/1.png", &png(1));
    dir.folder("val/D2");
    let text = dir.error(&plain());
    let start = "DIR/val: expected the classes of DIR/train alone, found `d`; ";
    assert!(text.starts_with(start), "{text}");
    // An empty folder takes a class's images from nobody.
    fs::remove_dir_all(dir.at("val/d")).unwrap();
    assert_eq!(
        warnings(&dir, &dir.open(&plain()).report)[0],
        "DIR/val/D2: no images in it, so it is no class and left out"
    );

    let dir = Dir::of(&["train/a/1.png", "train/b/1.png", "val/1.png", "val/2.png"]);
    let text = dir.error(&plain());
    let start = "DIR/val: expected a folder for each class, found none, but 2 images; ";
    assert!(text.starts_with(start), "{text}");
    let dir = Dir::of(&["train/a/1.png", "train/b/1.png", "val/a/x.txt"]);
    assert_eq!(
        dir.error(&plain()),
        format!("DIR/val: expected validation {IMAGES}, found none")
    );
}

#[test]
fn folders_that_are_no_data_set() {
    let dir = Dir::new();
    let error = ImageFolder::open(dir.at("nowhere")).unwrap_err();
    assert_eq!(
        dir.clean(&error.to_string()),
        "DIR/nowhere: expected a folder of images, found no such folder"
    );
    assert_eq!(
        dir.error(&plain()),
        "DIR: expected a folder for each class, found none"
    );
    dir.write("1.png", &png(1));
    let text = dir.error(&plain());
    let start = "DIR: expected a folder for each class, found none, but an image; ";
    assert!(text.starts_with(start), "{text}");
    let error = ImageFolder::open(dir.at("1.png")).unwrap_err();
    assert_eq!(
        dir.clean(&error.to_string()),
        "DIR/1.png: expected a folder of images, found a file"
    );
    dir.write("cat/1.png", &png(1));
    assert_eq!(
        dir.error(&plain()),
        "DIR: expected at least two classes, found one, `cat`"
    );
    dir.write("dog/1.png", &png(1));
    let text = dir.error(&plain());
    let start = "DIR: expected a class of two images or more, to have some for validation, \
                 found one of each; ";
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn empty_classes_are_errors_unless_they_are_allowed() {
    let dir = Dir::of(&["a/1.png", "a/2.png", "b/x.txt", "b/y.heic", "b/z.heic"]);
    dir.folder("c/nested");
    // What was meant to be a class is none that can be left out.
    let text = dir.error(&plain());
    let start = format!(
        "DIR: expected {IMAGES} of every class, found none of `b` (2 .heic (HEIC is not read), \
         1 .txt); "
    );
    assert!(text.starts_with(&start), "{text}");
    let allowed = FolderOptions {
        allow_empty: true,
        ..plain()
    };
    let splits = dir.open(&allowed);
    assert_eq!(splits.train.classes(), ["a", "b", "c"]);
    assert_eq!(
        warnings(&dir, &splits.report),
        [
            "there are no training images of class `b`",
            "there are no validation images of class `b`",
            "there are no training images of class `c`",
            "there are no validation images of class `c`"
        ]
    );
    fs::remove_dir_all(dir.at("a")).unwrap();
    assert_eq!(
        dir.error(&allowed),
        format!("DIR: expected training {IMAGES}, found none")
    );

    let dir = Dir::of(&["a/1.png"]);
    for class in 10..22 {
        dir.folder(format!("{class}"));
    }
    assert_eq!(
        dir.error(&plain()),
        "DIR: expected at least two classes, found one, `a`; without images: `10`, `11`, `12`, \
         `13`, `14`, `15`, `16`, `17` and 4 more"
    );
}

#[test]
fn folders_without_images_are_no_classes_in_any_layout() {
    for part in ["", "train/"] {
        let dir = Dir::new();
        for (class, count) in [("a", 3), ("b", 3)] {
            for image in 0..count {
                dir.write(format!("{part}{class}/{image}.png"), &png(image));
            }
        }
        dir.folder(format!("{part}c/nested"));
        dir.write(format!("{part}docs/readme.md"), b"");
        dir.write(format!("{part}__MACOSX/a/._0.png"), b"");
        dir.write(format!("{part}__pycache__/x.pyc"), b"");
        dir.write(format!("{part}Thumbs.db"), b"");
        let splits = dir.open(&plain());
        assert_eq!(splits.train.classes(), ["a", "b"]);
        assert_eq!(splits.train.len() + splits.valid.len(), 6);
        let end = "so it is no class and left out";
        assert_eq!(
            warnings(&dir, &splits.report),
            [
                format!("DIR/{part}c: no images in it, {end}"),
                format!("DIR/{part}docs: no images in it (1 .md), {end}"),
            ]
        );
        let junk: Vec<_> = splits
            .report
            .left_out
            .junk
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(junk, ["Thumbs.db", "__MACOSX", "__pycache__"]);
    }
    // Its validation images would have no label.
    let dir = Dir::of(&[
        "train/a/1.png",
        "train/b/1.png",
        "val/a/1.png",
        "val/c/1.png",
    ]);
    dir.folder("train/c");
    let text = dir.error(&plain());
    assert!(
        text.starts_with("DIR/val: expected the classes of DIR/train alone, found `c`, which has no training images"),
        "{text}"
    );
}

#[test]
fn parts_of_other_names_are_no_classes() {
    let dir = Dir::of(&[
        "images_val/cat/1.png",
        "images_val/dog/1.png",
        "images_train/cat/1.png",
        "images_train/dog/1.png",
    ]);
    let text = dir.error(&plain());
    let expected = "DIR: expected a folder for each class, found `images_train`, `images_val`, which all hold the \
                    folders `cat`, `dog`; if `images_train` is a part of the images and no class, call the parts";
    assert!(text.starts_with(expected), "{text}");
    // Where each class has folders of the same names, these may be what they are.
    let dir = Dir::of(&[
        "cat/indoor/1.png",
        "cat/outdoor/1.png",
        "dog/indoor/1.png",
        "dog/outdoor/1.png",
    ]);
    let splits = dir.open(&plain());
    assert_eq!(splits.train.classes(), ["cat", "dog"]);
    let told = dir.clean(&splits.report.notices().join("\n"));
    let expected =
        "DIR: the classes `cat`, `dog` all hold the folders `indoor`, `outdoor`; if these";
    assert!(told.contains(expected), "{told}");
}

#[test]
fn a_folder_too_high_names_the_one_that_is_meant() {
    for (files, meant) in [
        (
            vec!["x/train/a/1.png", "x/val/a/1.png", "x/train/b/1.png"],
            "x",
        ),
        (vec!["x/a/1.png", "x/b/1.png"], "x"),
        (vec!["x/y/a/1.png", "x/y/b/1.png"], "x/y"),
    ] {
        let dir = Dir::of(&files);
        dir.write("__MACOSX/x/._1.png", b"");
        let text = dir.error(&plain());
        let end = format!("give DIR/{meant} if that is the data set");
        assert!(
            text.starts_with("DIR: expected a folder for each class, found one folder, `x`")
                && text.ends_with(&end),
            "{text}"
        );
        let part = ImageFolder::open_part(&dir.path, &plain(), &[], None, &mut |_| {});
        let text = dir.clean(&part.unwrap_err().to_string());
        assert!(text.ends_with(&end), "{text}");
    }
    // Training and test images would become one class.
    let dir = Dir::of(&[
        "a/train/1.png",
        "a/test/1.png",
        "b/train/1.png",
        "b/test/1.png",
    ]);
    let text = dir.error(&plain());
    assert!(
        text.starts_with(
            "DIR/a: expected the images of one class, found the parts `test`, `train`; "
        ),
        "{text}"
    );
}

#[test]
fn jpegs_by_any_name_are_images() {
    let dir = Dir::new();
    for (class, name) in [
        ("a", "1.jfif"),
        ("a", "2.JPE"),
        ("b", "1.jpg"),
        ("b", "2.Jfif"),
    ] {
        dir.write(format!("{class}/{name}"), &jpeg());
    }
    let splits = dir.open(&plain());
    assert_eq!(splits.train.len() + splits.valid.len(), 4);
    assert!(splits.report.left_out.lines().is_empty());
}

#[test]
fn grey_images_have_one_channel() {
    use image::{DynamicImage, ImageFormat};
    let encoded = |image: DynamicImage, format: ImageFormat| {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    let dir = Dir::new();
    let grey = [
        (DynamicImage::new_luma8(3, 2), ImageFormat::Png),
        (DynamicImage::new_luma16(3, 2), ImageFormat::Tiff),
        (DynamicImage::new_luma_a8(3, 2), ImageFormat::Png),
        (DynamicImage::new_luma8(3, 2), ImageFormat::Jpeg),
    ];
    for (index, (image, format)) in grey.into_iter().enumerate() {
        let bytes = encoded(image, format);
        for class in ["a", "b"] {
            dir.write(format!("train/{class}/{index}.png"), &bytes);
            dir.write(format!("val/{class}/{index}.png"), &bytes);
        }
    }
    let splits = dir.open(&plain());
    assert_eq!(splits.train.channels(), 1);
    // As they are decoded.
    for index in 0..splits.train.len() {
        assert_eq!(splits.train.get(index).unwrap().0.channels(), 1);
    }
    // One that is coloured, however grey it looks, makes three.
    let colour = encoded(DynamicImage::new_rgb8(3, 2), ImageFormat::Jpeg);
    dir.write("train/b/z.jpg", &colour);
    let splits = dir.open(&plain());
    assert_eq!((splits.train.channels(), splits.valid.channels()), (3, 1));
}

mod whole {
    use super::*;
    use crate::data::{EvaluationSet, Part};

    fn open(
        dir: &Dir,
        path: &str,
        classes: &[&str],
        part: Option<Part>,
    ) -> Result<EvaluationSet, String> {
        let classes: Vec<String> = classes.iter().map(|c| (*c).to_owned()).collect();
        let whole = ImageFolder::open_part(dir.at(path), &plain(), &classes, part, &mut |_| {});
        whole.map_err(|error| dir.clean(&error.to_string()))
    }

    #[test]
    fn nothing_is_split_and_labels_are_by_name() {
        let dir = Dir::of(&["a/1.png", "a/2.png", "c/1.png", "c/in/2.png", "c/3.png"]);
        let whole = open(&dir, "", &["c", "b", "a"], None).unwrap();
        let found = dir.items(&whole.images);
        let expected = [
            ("a/1.png", 2),
            ("a/2.png", 2),
            ("c/1.png", 0),
            ("c/3.png", 0),
            ("c/in/2.png", 0),
        ];
        assert_eq!(
            found,
            expected.map(|(name, label)| (name.to_owned(), label))
        );
        assert_eq!(whole.images.classes(), ["c", "b", "a"]);
        assert_eq!((whole.missing, whole.part), (vec!["b".to_owned()], None));
        assert_eq!(whole.report.to_string(), "3 classes, 5 images, undivided");
        // A set of its own, and one of a single class.
        let whole = open(&dir, "", &[], None).unwrap();
        assert_eq!(whole.images.classes(), ["a", "c"]);
        fs::remove_dir_all(dir.at("c")).unwrap();
        assert_eq!(open(&dir, "", &["a", "b"], None).unwrap().images.len(), 2);

        let error = open(&dir, "", &["b", "c"], None).unwrap_err();
        assert!(
            error.starts_with("DIR/: expected the model's classes alone (`b`, `c`), found `a`; "),
            "{error}"
        );
        let error = open(&dir, "", &["a", "b"], Some(Part::Test)).unwrap_err();
        assert!(
            error.contains("expected labelled images of the part `test`, found no parts"),
            "{error}"
        );
        let error = open(&dir, "a", &["a", "b"], None).unwrap_err();
        assert!(
            error.contains("none, but 2 images") && error.contains("`predict`"),
            "{error}"
        );
    }

    #[test]
    fn parts_are_chosen() {
        let files = [
            "train/a/1.png",
            "train/b/1.png",
            "train/b/2.png",
            "val/a/1.png",
            "test/b/1.png",
        ];
        let dir = Dir::of(&files);
        let names = |part| dir.names(&open(&dir, "", &["a", "b"], part).unwrap().images);
        assert_eq!(names(Some(Part::Train)), files[..3]);
        assert_eq!(names(Some(Part::Valid)), files[3..4]);
        assert_eq!(names(Some(Part::Test)), files[4..]);
        let whole = open(&dir, "", &["a", "b"], None).unwrap();
        assert_eq!(dir.names(&whole.images), files[4..]);
        assert_eq!(whole.part, Some(Part::Test));
        assert_eq!(whole.others, [(Part::Train, 3), (Part::Valid, 1)]);
        assert_eq!(whole.missing, ["a"]);
        let counts = whole
            .report
            .classes
            .iter()
            .map(|c| (c.images.train, c.images.valid, c.images.test));
        assert_eq!(counts.collect::<Vec<_>>(), [(1, 1, 0), (2, 0, 1)]);
        // The folder of a part is a set of its own.
        let whole = open(&dir, "train", &["a", "b"], None).unwrap();
        assert_eq!((whole.images.len(), whole.part), (3, None));
        // Parts without training images are a set, too.
        fs::remove_dir_all(dir.at("train")).unwrap();
        fs::remove_dir_all(dir.at("test")).unwrap();
        dir.folder("test");
        let whole = open(&dir, "", &["a", "b"], None).unwrap();
        assert_eq!(whole.part, Some(Part::Valid));
        assert_eq!(
            warnings(&dir, &whole.report),
            ["DIR/test: no folders of classes, so it is left out"]
        );
        let error = open(&dir, "", &["a", "b"], Some(Part::Train)).unwrap_err();
        assert!(
            error.ends_with("of the part `train`, found `val` alone"),
            "{error}"
        );
    }

    #[test]
    fn a_csv_is_taken_whole() {
        let dir = Dir::of(&["1.png", "2.png", "3.png", "4.png"]);
        dir.write(
            "all.csv",
            b"path,label\n1.png,b\n2.png,a\n3.png,b\n4.png,b\n",
        );
        let whole = open(&dir, "all.csv", &["a", "b", "c"], None).unwrap();
        let labels: Vec<_> = (0..4).map(|index| whole.images.label(index)).collect();
        assert_eq!(labels, [Some(1), Some(0), Some(1), Some(1)]);
        assert_eq!(whole.missing, ["c"]);
        dir.write(
            "parts.csv",
            b"path,label,split\n1.png,b,val\n2.png,a,test\n3.png,b,test\n",
        );
        let whole = open(&dir, "parts.csv", &["a", "b"], None).unwrap();
        assert_eq!((whole.images.len(), whole.part), (2, Some(Part::Test)));
        assert_eq!(whole.others, [(Part::Valid, 1)]);
        let whole = open(&dir, "parts.csv", &["a", "b"], Some(Part::Valid)).unwrap();
        assert_eq!(dir.names(&whole.images), ["1.png"]);
        assert!(
            open(&dir, "parts.csv", &["a"], None)
                .unwrap_err()
                .contains("found `b`")
        );
    }
}

#[test]
fn options_out_of_range() {
    let dir = Dir::of(&["a/1.png", "a/2.png", "b/1.png"]);
    for share in [0.0, 1.0, -0.1, 1.5, f64::NAN, f64::INFINITY] {
        let options = FolderOptions {
            valid_share: share,
            ..plain()
        };
        let text = format!("valid_share: expected a number above 0 and below 1, found {share}");
        assert_eq!(dir.error(&options), text);
        assert_eq!(dir.csv_error("path,label", &options), text);
    }
    for (extensions, found) in [
        (vec![], "extensions: expected at least one, found none"),
        (
            vec!["."],
            "extensions: expected extensions such as `png`, found ``",
        ),
        (
            vec!["tar.GZ"],
            "extensions: expected extensions such as `png`, found `tar.gz`",
        ),
    ] {
        let options = FolderOptions {
            extensions: extensions.into_iter().map(str::to_owned).collect(),
            ..plain()
        };
        assert_eq!(dir.error(&options), found);
    }
}

/// What the decoders say is theirs; that they are asked, and the file named, is ours.
fn names_image(text: &str, file: &str) {
    let start = format!("DIR/{file}: not a readable image: ");
    assert!(
        text.starts_with(&start) && text.len() > start.len(),
        "{text}"
    );
}

#[test]
fn broken_images_are_named_or_skipped() {
    let files = ["a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png"];
    let dir = Dir::of(&files);
    dir.write("a/empty.png", b"");
    dir.write("b/text.jpg", b"<html>404</html>");
    // Its beginning is sound, and more than the end marker is missing.
    let whole = png(9);
    dir.write("b/cut.png", &whole[..whole.len() - 26]);

    names_image(&dir.error(&plain()), "a/empty.png");
    let with = |broken, check| FolderOptions {
        broken,
        check: Some(check),
        ..plain()
    };
    names_image(&dir.error(&with(Broken::Fail, Check::Full)), "a/empty.png");

    let splits = dir.open(&skipping());
    assert_eq!(dir.all(&splits), files);
    assert_eq!(
        splits.report.to_string(),
        "2 classes, 3 training and 2 validation images, 20 % for validation by seed 42; \
         broken and skipped: 3"
    );
    let skipped: Vec<_> = splits.report.skipped.iter().map(|s| &s.path).collect();
    let expected = ["a/empty.png", "b/cut.png", "b/text.jpg"].map(|f| dir.at(f));
    assert_eq!(skipped, expected.each_ref());
    assert!(splits.report.skipped.iter().all(|s| !s.reason.is_empty()));

    // The same images make the same set when nothing is looked at.
    let again = dir.open(&FolderOptions {
        left_out: skipped.into_iter().cloned().collect(),
        ..with(Broken::Fail, Check::No)
    });
    assert_eq!(again.report.left_out_before, 3);
    let paths = |images: &ImageFolder| (0..).map_while(|i| images.path(i)).collect::<Vec<_>>();
    assert_eq!(paths(&again.train), paths(&splits.train));
    assert_eq!(paths(&again.valid), paths(&splits.valid));

    let splits = dir.open(&with(Broken::Skip, Check::Full));
    assert_eq!(splits.report.skipped.len(), 3);
    fs::remove_file(dir.at("a/empty.png")).unwrap();
    fs::remove_file(dir.at("b/text.jpg")).unwrap();
    names_image(&dir.error(&plain()), "b/cut.png");
    names_image(&dir.error(&with(Broken::Fail, Check::Full)), "b/cut.png");

    // Unchecked, it is found when it is read, and no other image takes its place.
    let splits = dir.open(&with(Broken::Skip, Check::No));
    assert_eq!(splits.report.skipped, []);
    let of_all = [&splits.train, &splits.valid].map(|images| {
        let errors = (0..images.len()).filter_map(|index| images.get(index).err());
        errors
            .map(|e| dir.clean(&e.to_string()))
            .collect::<Vec<_>>()
    });
    let errors = of_all.concat();
    assert_eq!(errors.len(), 1);
    names_image(&errors[0], "b/cut.png");
}

#[test]
fn a_class_of_broken_images_is_empty() {
    let dir = Dir::of(&["a/1.png", "a/2.png", "val/1.png"]);
    for image in 0..3 {
        dir.write(format!("b/{image}.png"), b"no image");
    }
    dir.write("b/note.txt", b"");
    let text = dir.error(&skipping());
    let start =
        format!("DIR: expected {IMAGES} of every class, found none of `b` (1 .txt, 3 broken); ");
    assert!(text.starts_with(&start), "{text}");
    let dir = Dir::of(&["train/a/1.png", "train/b/1.png"]);
    dir.write("val/a/1.png", b"no image");
    assert_eq!(
        dir.error(&skipping()),
        format!("DIR/val: expected validation {IMAGES}, found none")
    );
}

#[test]
fn the_first_broken_image_is_named_whatever_the_threads_do() {
    let dir = Dir::new();
    for image in 0..400 {
        let content = if image % 3 == 2 { vec![] } else { png(1) };
        dir.write(format!("a/{image:03}.png"), &content);
        dir.write(format!("b/{image:03}.png"), &content);
    }
    for _ in 0..20 {
        names_image(&dir.error(&plain()), "a/002.png");
    }
    let mut seen = Vec::new();
    let splits = ImageFolder::open_watched(&dir.path, &skipping(), &mut |progress| {
        assert_eq!(progress.total, 800);
        seen.push(progress.checked);
    });
    assert_eq!(seen, (1..=800).collect::<Vec<_>>());
    let report = splits.unwrap().report;
    assert_eq!(report.skipped.len(), 266);
    assert!(report.skipped.is_sorted_by_key(|s| s.path.clone()));
}

#[test]
fn large_headers_and_wrong_extensions_pass_the_check() {
    let mut large = jpeg();
    // Six segments of comments, 384 KiB, before the size of the image is told.
    for _ in 0..6 {
        let comment = [&[0xff, 0xfe, 0xff, 0xff][..], &[b'x'; 65_533]].concat();
        large.splice(2..2, comment);
    }
    let mut grey = Cursor::new(Vec::new());
    image::GrayImage::new(300, 600)
        .write_to(&mut grey, image::ImageFormat::Jpeg)
        .unwrap();
    let dir = Dir::of(&["a/1.png", "b/1.png"]);
    dir.write("a/2.jpg", &large);
    dir.write("b/2.jpeg", &grey.into_inner());
    // The content counts, not the extension.
    dir.write("b/3.png", &jpeg());
    for check in [Check::Quick, Check::Full] {
        let options = FolderOptions {
            check: Some(check),
            ..plain()
        };
        let splits = dir.open(&options);
        assert_eq!(splits.train.len() + splits.valid.len(), 5);
    }
    let splits = dir.open(&plain());
    for images in [&splits.train, &splits.valid] {
        for index in 0..images.len() {
            images.get(index).unwrap();
        }
    }
}

#[cfg(unix)]
mod links {
    use super::*;

    #[test]
    fn links_are_followed() {
        let dir = Dir::of(&[
            "pool/x/1.png",
            "pool/x/2.png",
            "pool/y/3.png",
            "pool/z/5.png",
            "root/a/4.png",
        ]);
        dir.link("../../pool/z/5.png", "root/b/one.png");
        dir.link(dir.at("pool/y"), "root/b/y");
        dir.link("../pool/x", "root/c");
        let splits = ImageFolder::open(dir.at("root")).unwrap();
        assert_eq!(splits.train.classes(), ["a", "b", "c"]);
        assert_eq!(
            dir.all(&splits),
            [
                "root/a/4.png",
                "root/b/one.png",
                "root/b/y/3.png",
                "root/c/1.png",
                "root/c/2.png"
            ]
        );
    }

    #[test]
    fn an_image_has_one_class_and_one_part() {
        let dir = Dir::of(&["a/1.png", "a/2.png", "b/3.png", "b/4.png"]);
        dir.link("../a/1.png", "b/one.png");
        assert_eq!(
            dir.error(&plain()),
            "DIR/b/one.png: expected an image of one class, found the same image as DIR/a/1.png; with --task \
             multi-label an image has several"
        );
        fs::remove_file(dir.at("b/one.png")).unwrap();
        fs::hard_link(dir.at("b/3.png"), dir.at("b/again.png")).unwrap();
        // Within a class an image may count twice.
        assert_eq!(dir.all(&dir.open(&plain())).len(), 5);
        let dir = Dir::of(&["train/a/1.png", "train/b/2.png", "val/b/3.png"]);
        dir.link("../../train/a/1.png", "val/a/9.png");
        let splits = dir.open(&plain());
        assert_eq!((splits.train.len(), splits.valid.len()), (2, 2));
        let told = dir.clean(&splits.report.notices().join("\n"));
        let expected = "DIR/val/a/9.png: the same image as DIR/train/a/1.png, in another part; images that are in \
                        two parts: 1";
        assert!(told.contains(expected), "{told}");
    }

    #[test]
    fn loops_are_named() {
        for (target, found) in [
            (".", "DIR/data/b/deep"),
            ("..", "DIR/data/b"),
            ("../..", "DIR/data"),
            ("../../..", "DIR"),
        ] {
            let dir = Dir::of(&["data/a/1.png", "data/b/1.png", "data/b/deep/1.png"]);
            dir.link(target, "data/b/deep/again");
            let error = ImageFolder::open_with(dir.at("data"), &skipping()).unwrap_err();
            assert_eq!(
                dir.clean(&error.to_string()),
                format!(
                    "DIR/data/b/deep/again: expected a folder, \
                     found a link back to {found}, which holds it: a loop"
                )
            );
        }
        // A part that is another one says too much good of a model.
        let dir = Dir::of(&["train/a/1.png", "train/b/1.png"]);
        dir.link("train", "val");
        let report = ImageFolder::open(dir.at("")).unwrap().report;
        let told: Vec<String> = report
            .warnings
            .iter()
            .map(|w| dir.clean(&w.to_string()))
            .collect();
        assert_eq!(
            told,
            [
                "DIR/val/a/1.png: the same image as DIR/train/a/1.png, in another part; images that are in two \
                 parts: 2"
            ]
        );
        // Through a folder that lies elsewhere.
        let dir = Dir::of(&["data/a/1.png", "elsewhere/1.png"]);
        dir.link("../elsewhere", "data/b");
        dir.link("../data", "elsewhere/back");
        let error = ImageFolder::open(dir.at("data")).unwrap_err();
        assert_eq!(
            dir.clean(&error.to_string()),
            "DIR/data/b/back: expected a folder, \
             found a link back to DIR/data, which holds it: a loop"
        );
        // A link to itself is what the system refuses.
        let dir = Dir::of(&["a/1.png", "b/1.png"]);
        dir.link("x.png", "a/x.png");
        let text = dir.error(&plain());
        assert!(text.starts_with("cannot read DIR/a/x.png: "), "{text}");
    }

    #[test]
    fn a_folder_is_of_one_class_and_taken_once() {
        let dir = Dir::of(&["a/1.png", "a/2.png", "b/1.png"]);
        dir.link("../a", "b/more");
        assert_eq!(
            dir.error(&plain()),
            "DIR/b/more: expected a folder of one class, found the same folder as DIR/a"
        );

        // Without this, a handful of links would make millions of images.
        let dir = Dir::of(&["a/1.png", "b/1.png", "pool/30/1.png", "pool/30/2.png"]);
        for level in 0..30 {
            let next = format!("../{}", level + 1);
            dir.link(&next, format!("pool/{level}/l"));
            dir.link(&next, format!("pool/{level}/r"));
        }
        fs::create_dir(dir.at("data")).unwrap();
        fs::rename(dir.at("a"), dir.at("data/a")).unwrap();
        fs::rename(dir.at("b"), dir.at("data/b")).unwrap();
        dir.link("../../pool/0", "data/b/zero");
        let splits = ImageFolder::open(dir.at("data")).unwrap();
        assert_eq!(dir.all(&splits).len(), 4);
        let warnings = warnings(&dir, &splits.report);
        assert_eq!(warnings.len(), 31, "{warnings:?}");
        assert!(
            warnings.contains(
                &"DIR/data/b/zero/r: links lead here twice; the images are taken once".to_owned()
            ),
            "{warnings:?}"
        );
    }

    #[test]
    fn links_to_nothing_are_broken_images() {
        let dir = Dir::of(&["a/1.png", "a/2.png", "b/1.png", "b/2.png"]);
        dir.link("gone.png", "b/x.jpg");
        let found = "expected a file or a folder, found a link to gone.png, which is not there";
        assert_eq!(dir.error(&unchecked()), format!("DIR/b/x.jpg: {found}"));
        let report = dir.open(&skipping()).report;
        assert_eq!(skipped(&dir, &report), [format!("DIR/b/x.jpg: {found}")]);
        // What was a class, perhaps.
        dir.link("/nowhere/at/all", "c");
        let found =
            "expected a file or a folder, found a link to /nowhere/at/all, which is not there";
        assert_eq!(dir.error(&plain()), format!("DIR/c: {found}"));
        let report = dir.open(&skipping()).report;
        assert_eq!(skipped(&dir, &report)[0], format!("DIR/c: {found}"));
    }

    #[test]
    fn pipes_and_sockets_are_not_waited_for() {
        let dir = Dir::of(&["a/1.png", "a/2.png", "b/1.png", "b/2.png"]);
        let _socket = std::os::unix::net::UnixListener::bind(dir.at("b/s.png")).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(dir.at("b/s.sock")).unwrap();
        let found = "DIR/b/s.png: expected an image, found no regular file";
        assert_eq!(dir.error(&unchecked()), found);
        assert_eq!(skipped(&dir, &dir.open(&skipping()).report), [found]);
        let text = dir.csv_error("path,label\na/1.png,a\nb/s.png,b\n", &plain());
        assert_eq!(
            text,
            "DIR/b/s.png: expected an image, as line 3 of DIR/labels.csv says, \
             found no regular file"
        );
    }

    #[test]
    fn folders_and_files_that_may_not_be_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = Dir::of(&["a/1.png", "a/2.png", "b/1.png", "b/2.png", "b/in/1.png"]);
        let mode = |path: &str, mode| {
            fs::set_permissions(dir.at(path), fs::Permissions::from_mode(mode)).unwrap();
        };
        mode("b/2.png", 0o000);
        if fs::File::open(dir.at("b/2.png")).is_ok() {
            return; // Nothing is refused to the superuser.
        }
        let text = dir.error(&plain());
        assert_eq!(
            text,
            "cannot read DIR/b/2.png: Permission denied (os error 13)"
        );
        assert_eq!(
            skipped(&dir, &dir.open(&skipping()).report),
            ["DIR/b/2.png: Permission denied (os error 13)"]
        );
        mode("b/in", 0o000);
        let text = dir.error(&skipping());
        mode("b/in", 0o700);
        assert_eq!(
            text,
            "cannot read DIR/b/in: Permission denied (os error 13)"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf_8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));

    let dir = Dir::of(&["a/1.png", "b/1.png"]);
    dir.write(path(b"a/\xff\xfe.png"), &png(3));
    dir.write(path(b"b/\xe9t\xe9/\xe0.PNG"), &png(4));
    dir.write(path(b"b/x.\xff"), b"");
    let splits = dir.open(&plain());
    assert_eq!(splits.train.len() + splits.valid.len(), 4);
    let mut values = Vec::new();
    for images in [&splits.train, &splits.valid] {
        for index in 0..images.len() {
            values.extend_from_slice(images.get(index).unwrap().0.pixels());
        }
    }
    values.sort();
    assert_eq!(values, [3, 4, 7, 7]);
    assert_eq!(splits.report.left_out.others.len(), 1);

    // A class needs a name that can be written down.
    dir.write(path(b"caf\xe9/1.png"), &png(1));
    assert_eq!(
        dir.error(&plain()),
        "DIR/caf\u{fffd}: expected a class's name in UTF-8, found other bytes"
    );
    let dir = Dir::of(&["a/1.png", "b\nc/1.png"]);
    assert_eq!(
        dir.error(&plain()),
        "DIR/b\nc: expected a class's name on one line, found \"b\\nc\""
    );
}

#[test]
fn a_hundred_thousand_files_are_listed_quickly() {
    let dir = Dir::new();
    for class in 0..20 {
        for nested in 0..5 {
            let folder = format!("{class:02}/{nested}");
            dir.write(format!("{folder}/0.png"), &png(1));
            // Names of one file are faster to make than files; a listing cannot tell.
            for image in 1..1000 {
                let name = dir.at(format!("{folder}/{image}.png"));
                fs::hard_link(dir.at(format!("{folder}/0.png")), name).unwrap();
            }
        }
    }
    let started = Instant::now();
    let splits = dir.open(&unchecked());
    let took = started.elapsed();
    println!("100,000 files listed and split in {took:.2?}");
    assert_eq!((splits.train.len(), splits.valid.len()), (80_000, 20_000));
    assert!(took.as_secs() < 60, "{took:?}");

    let started = Instant::now();
    dir.open(&plain());
    println!("and their headers read in {:.2?}", started.elapsed());
}

// Elsewhere paths are not allowed to be that long.
#[cfg(target_os = "linux")]
#[test]
fn a_deep_folder_is_walked() {
    let dir = Dir::of(&["a/1.png", "a/2.png"]);
    let deep = format!("b/{}1.png", "d/".repeat(1500));
    dir.write(deep, &png(1));
    let splits = dir.open(&plain());
    assert_eq!(splits.train.len() + splits.valid.len(), 3);
}

mod csv {
    use super::*;

    #[test]
    fn paths_and_labels() {
        let dir = Dir::of(&["i/1.png", "i/2.png", "i/3,x.png", "4.weird", "up/5.png"]);
        let absolute = dir.at("up/5.png");
        let text = format!(
            "\u{feff}id,Label, path ,note\r\n\
             1,rose,i/1.png,\r\n\
             2, Tulip ,./i/2.png,\"two\nlines\"\r\n\
             \r\n\
             3,\"rose\",\"i/3,x.png\",\"a \"\"quote\"\"\"\r\n\
             4,Tulip,i/../4.weird,x\r\n\
             5,Tulip,{},x\r\n",
            absolute.display()
        );
        let splits = dir.csv(text, &plain());
        assert_eq!(splits.train.classes(), ["Tulip", "rose"]);
        assert_eq!((splits.train.len(), splits.valid.len()), (3, 2));
        let mut all = dir.items(&splits.train);
        all.extend(dir.items(&splits.valid));
        all.sort();
        let all: Vec<_> = all.iter().map(|(n, l)| (n.as_str(), *l)).collect();
        assert_eq!(
            all,
            [
                ("i/../4.weird", 0),
                ("i/1.png", 1),
                ("i/2.png", 0),
                ("i/3,x.png", 1),
                ("up/5.png", 0)
            ]
        );
        splits.valid.get(1).unwrap();
        assert_eq!(
            splits.report.to_string(),
            "2 classes, 3 training and 2 validation images, 20 % for validation by seed 42"
        );
    }

    #[test]
    fn a_column_says_which_part() {
        let dir = Dir::of(&["1.png", "2.png", "3.png", "4.png", "5.png"]);
        let text = "path,label,split\n1.png,b,train\n2.png,a,TRAIN\n3.png,b,val\n";
        let splits = dir.csv(text, &plain());
        assert_eq!(
            dir.items(&splits.train),
            [("1.png".to_owned(), 1), ("2.png".to_owned(), 0)]
        );
        assert_eq!(dir.names(&splits.valid), ["3.png"]);
        assert_eq!(
            splits.report.to_string(),
            "2 classes, 2 training and 1 validation images, as the column `split` says"
        );
        assert_eq!(
            warnings(&dir, &splits.report),
            ["there are no validation images of class `a`"]
        );

        let splits = dir.csv(format!("{text}4.png,a,test\n"), &plain());
        assert_eq!(dir.names(&splits.test.unwrap()), ["4.png"]);
        let text = "path,label,split\n1.png,b,train\n2.png,a,train\n3.png,b,test\n";
        let splits = dir.csv(text, &plain());
        assert_eq!(dir.names(&splits.valid), ["3.png"]);
        assert!(splits.test.is_none());
        let text = "path,label,split\n1.png,b,train\n2.png,a,train\n3.png,b,train\n";
        let splits = dir.csv(text, &plain());
        assert_eq!((splits.train.len(), splits.valid.len()), (2, 1));

        assert_eq!(
            dir.csv_error("path,label,split\n1.png,a,train\n2.png,b,dev\n", &plain()),
            "DIR/labels.csv: expected `train`, `val` or `test` in line 3, found \"dev\""
        );
        let text = "path,label,split\n1.png,a,train\n2.png,b,train\n3.png,c,val\n";
        assert_eq!(
            dir.csv_error(text, &plain()),
            "DIR/labels.csv: expected a class that has training images in line 4, found \"c\""
        );
        // The first such line of the file is told, whichever part it belongs to.
        let text = "path,label,split\n1.png,a,train\n2.png,b,train\n3.png,d,test\n4.png,c,val\n";
        assert_eq!(
            dir.csv_error(text, &plain()),
            "DIR/labels.csv: expected a class that has training images in line 4, found \"d\""
        );
        assert_eq!(
            dir.csv_error("path,label,split\n1.png,a,val\n2.png,b,val\n", &plain()),
            "DIR/labels.csv: expected training images, found none in 2 lines"
        );
    }

    #[test]
    fn faults_are_named_with_their_line() {
        let dir = Dir::of(&["1.png", "2.png"]);
        let long = "x".repeat(200);
        let unclosed = format!("path,label\n1.png,a\n\"2.png,b\n{long}\n");
        for (content, expected) in [
            (
                "",
                "a header such as `path,label`, and lines of images, found nothing",
            ),
            (
                "path:label\n1.png:a\n",
                "a column of paths, such as `path`, found \"path:label\"; --csv-path-column names \
                 it, and --csv-delimiter says what is between columns",
            ),
            (
                "path,label,Path\n1.png,a,b\n",
                "one column of paths, found \"path\", \"Path\"; --csv-path-column names it",
            ),
            ("path,label\n", "training images, found a header alone"),
            (
                "path,label\n1.png,a\n",
                "at least two classes, found one, `a`",
            ),
            (
                "path,label\n1.png,a\n\n2.png\n",
                "2 fields in line 4, as in the header, found 1",
            ),
            (
                "path,label\n1.png,a\n2.png,b,c\n",
                "2 fields in line 3, as in the header, found 3",
            ),
            (
                "path,label\n1.png,a\n ,b\n",
                "a path in line 3, found an empty field",
            ),
            (
                "path,label\n1.png,a\n2.png,\n",
                "a label in line 3, found an empty field",
            ),
            (
                "path,label\n1.png,a\n2.png,b\n./1.png,b\n",
                "the label \"a\" for \"1.png\" in line 4, as in line 2, found \"b\"",
            ),
            (
                "path,label\n1.png,\"a\nb\"\n",
                "a label on one line in line 2, found \"a\\nb\"",
            ),
            (
                &unclosed,
                "a CSV file, found a quote in line 3 that is never closed",
            ),
            (
                "path,label\n\"1\n.png\",a\n",
                "a path on one line in line 2, found \"1\\n.png\"",
            ),
            (
                "path,label\n1\0.png,a\n",
                "a path on one line in line 2, found \"1\\0.png\"",
            ),
        ] {
            assert_eq!(
                dir.csv_error(content, &plain()),
                format!("DIR/labels.csv: expected {expected}"),
                "{content}"
            );
        }
        assert_eq!(
            dir.csv_error(b"path,label\n1.png,a\n\n2.png,caf\xe9\n", &plain()),
            "DIR/labels.csv: expected text in UTF-8 in line 4, found other bytes; save the file as UTF-8"
        );
        assert_eq!(
            dir.csv_error(b"path,label,\xff\n1.png,a,b\n", &plain()),
            "DIR/labels.csv: expected text in UTF-8 in line 1, found other bytes; save the file as UTF-8"
        );
        // What is shown of a long field is short.
        let text = format!("path,label,split\n1.png,a,{long}\n");
        assert_eq!(
            dir.csv_error(text, &plain()),
            format!(
                "DIR/labels.csv: expected `train`, `val` or `test` in line 2, found \"{}\"..",
                &long[..80]
            )
        );
    }

    #[test]
    fn files_that_are_not_there() {
        let dir = Dir::of(&["1.png", "2.png", "3.png"]);
        let error = ImageFolder::from_csv(dir.at("no.csv"), &plain()).unwrap_err();
        assert_eq!(
            dir.clean(&error.to_string()),
            "DIR/no.csv: expected a CSV file, found no such file"
        );
        let error = ImageFolder::from_csv(&dir.path, &plain()).unwrap_err();
        assert_eq!(
            dir.clean(&error.to_string()),
            "DIR: expected a CSV file, found a folder"
        );

        dir.folder("folder.png");
        let text = "path,label\n1.png,a\n2.png,b\n\nno.png,a\nfolder.png,b\n";
        let found = [
            "DIR/no.png: expected an image, as line 5 of DIR/labels.csv says, found no such file",
            "DIR/folder.png: expected an image, as line 6 of DIR/labels.csv says, found a folder",
        ];
        assert_eq!(dir.csv_error(text, &plain()), found[0]);
        let allowed = FolderOptions {
            valid_share: 0.5,
            ..skipping()
        };
        dir.folder("x");
        let text = format!("{text}x/../3.png,a\n");
        let report = dir.csv(&text, &allowed).report;
        assert_eq!(skipped(&dir, &report), found);
        // Unchecked, nothing but the file itself is opened.
        let splits = dir.csv(&text, &unchecked());
        assert_eq!(splits.train.len() + splits.valid.len(), 5);

        dir.write("2.png", b"");
        let text = dir.csv_error("path,label\n1.png,a\n2.png,b\n", &skipping());
        let start =
            "DIR/labels.csv: expected images of every class, found none of `b` (1 broken); ";
        assert!(text.starts_with(start), "{text}");
    }

    #[test]
    fn a_hundred_thousand_lines_are_read_quickly() {
        let dir = Dir::new();
        let mut text = "path,label\n".to_owned();
        for line in 0..100_000 {
            writeln!(text, "images/{line}.jpg,class {}", line % 100).unwrap();
        }
        let started = Instant::now();
        let splits = dir.csv(text, &unchecked());
        println!("100,000 lines read in {:.2?}", started.elapsed());
        assert_eq!((splits.train.len(), splits.valid.len()), (80_000, 20_000));
    }
}

mod split {
    use super::*;

    /// A CSV file of so many images of each class, in an order of its own; none of them exists.
    fn table(counts: &[usize], turned: bool) -> String {
        let rows = counts.iter().enumerate().flat_map(|(class, count)| {
            (0..*count).map(move |image| format!("{class}/{image}.png,class {class:03}\n"))
        });
        let mut rows: Vec<String> = rows.collect();
        if turned {
            rows.reverse();
        }
        format!("path,label\n{}", rows.concat())
    }

    fn options(share: f64, seed: u64) -> FolderOptions {
        FolderOptions {
            valid_share: share,
            seed,
            ..unchecked()
        }
    }

    fn set(dir: &Dir, images: &ImageFolder) -> BTreeSet<String> {
        dir.names(images).into_iter().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn each_class_is_divided_by_its_share(
            counts in prop::collection::vec(1usize..40, 2..8),
            share in 0.01f64..0.99,
            seed: u64,
        ) {
            prop_assume!(counts.iter().any(|n| *n > 1));
            let dir = Dir::new();
            let splits = dir.csv(table(&counts, false), &options(share, seed));
            let (train, valid) = (set(&dir, &splits.train), set(&dir, &splits.valid));
            prop_assert!(train.is_disjoint(&valid));
            prop_assert_eq!(train.len(), splits.train.len());
            prop_assert_eq!(valid.len(), splits.valid.len());
            prop_assert_eq!(train.len() + valid.len(), counts.iter().sum::<usize>());
            for (class, count) in counts.iter().enumerate() {
                let of_class = |images: &ImageFolder| {
                    (0..images.len()).filter(|i| images.label(*i) == Some(class)).count()
                };
                let (train, valid) = (of_class(&splits.train), of_class(&splits.valid));
                prop_assert_eq!(train + valid, *count);
                prop_assert_eq!(splits.report.classes[class].images.train, train);
                prop_assert_eq!(splits.report.classes[class].images.valid, valid);
                if *count == 1 {
                    prop_assert_eq!(valid, 0);
                } else {
                    let exact = share * *count as f64;
                    let near = (valid as f64 - exact).abs() <= 0.5;
                    prop_assert!(near || valid == 1 || train == 1, "{} of {}", valid, count);
                    prop_assert!(valid >= 1 && train >= 1);
                }
            }
            // The order in which images are found does not matter.
            let again = dir.csv(table(&counts, true), &options(share, seed));
            prop_assert_eq!(&set(&dir, &again.train), &train);
            prop_assert_eq!(&set(&dir, &again.valid), &valid);
        }

        #[test]
        fn a_new_image_moves_at_most_one_other(
            counts in prop::collection::vec(2usize..40, 2..5),
            share in 0.05f64..0.95,
            seed: u64,
        ) {
            let dir = Dir::new();
            let text = table(&counts, false);
            let before = dir.csv(&text, &options(share, seed));
            let after = dir.csv(format!("{text}0/new.png,class 000\n"), &options(share, seed));
            let (before, mut after) = (set(&dir, &before.valid), set(&dir, &after.valid));
            after.remove("0/new.png");
            prop_assert!(before.symmetric_difference(&after).count() <= 1);
        }

        #[test]
        fn subsets_have_the_shares_of_the_whole(
            counts in prop::collection::vec(2usize..60, 2..6),
            part in 0.0f64..1.2,
            seed: u64,
        ) {
            let dir = Dir::new();
            let images = dir.csv(table(&counts, false), &options(0.3, 1)).train;
            let count = (part * images.len() as f64) as usize;
            let subset = images.subset(count, seed);
            prop_assert_eq!(subset.len(), count.min(images.len()));
            prop_assert_eq!(subset.classes(), images.classes());
            let (all, some) = (dir.items(&images), dir.items(&subset));
            // In the order of the whole.
            let mut rest = all.iter();
            prop_assert!(some.iter().all(|item| rest.any(|other| other == item)));
            for class in 0..counts.len() {
                let of = |items: &[(String, usize)]| {
                    items.iter().filter(|(_, label)| *label == class).count() as f64
                };
                let exact = of(&all) * subset.len() as f64 / images.len() as f64;
                prop_assert!((of(&some) - exact).abs() <= 0.5 * counts.len() as f64 + 1.0);
            }
        }
    }

    #[test]
    fn the_seed_decides_on_every_machine_alike() {
        let dir = Dir::new();
        let text = table(&[10, 10], false);
        let valid = |seed| dir.names(&dir.csv(&text, &options(0.3, seed)).valid);
        assert_eq!(valid(42), VALID_OF_SEED_42);
        assert_eq!(valid(42), valid(42));
        assert_ne!(valid(42), valid(43));

        // A folder of the same files is split in the same way.
        for class in 0..2 {
            for image in (0..10).rev() {
                dir.write(format!("data/{class}/{image}.png"), b"");
            }
        }
        let splits = ImageFolder::open_with(dir.at("data"), &options(0.3, 42)).unwrap();
        let expected = VALID_OF_SEED_42.map(|name| format!("data/{name}"));
        assert_eq!(dir.names(&splits.valid), expected);
        // And so it is after it moved.
        fs::rename(dir.at("data"), dir.at("moved")).unwrap();
        let splits = ImageFolder::open_with(dir.at("moved"), &options(0.3, 42)).unwrap();
        let expected = VALID_OF_SEED_42.map(|name| format!("moved/{name}"));
        assert_eq!(dir.names(&splits.valid), expected);
    }

    /// Computed apart, by Python: the three of each class with the lowest SHA-256 of the seed in
    /// eight bytes, the lowest first, and `/0/0.png`.
    const VALID_OF_SEED_42: [&str; 6] = [
        "0/2.png", "0/4.png", "0/8.png", "1/3.png", "1/4.png", "1/8.png",
    ];
}

/// The limit on the size of an image holds in folders, too.
#[test]
fn an_image_over_the_limit_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for (class, side) in [("a", 4), ("a", 5), ("b", 4), ("b", 9)] {
        let folder = dir.path().join(class);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("{side}.png"));
        image::GrayImage::new(side, side).save(path).unwrap();
    }
    let mut options = FolderOptions {
        check: Some(Check::Full),
        ..FolderOptions::default()
    };
    options.decode.max_pixels = 80;
    let error = ImageFolder::open_with(dir.path(), &options).unwrap_err();
    let text = error.to_string();
    let big = dir.path().join("b").join("9.png");
    assert!(
        text.starts_with(&big.display().to_string()) && text.contains("80"),
        "{text}"
    );
    options.broken = Broken::Skip;
    let splits = ImageFolder::open_with(dir.path(), &options).unwrap();
    assert_eq!(splits.train.len() + splits.valid.len(), 3);
    assert_eq!(splits.report.skipped.len(), 1);
}
