//! The quick check of images before training: what it finds, what it leaves to the decoder, and
//! what it remembers.

#![cfg(feature = "image")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use burn_zoo::data::{Broken, Check, CheckProgress, FolderOptions, ImageFolder, Splits};
use burn_zoo::preprocess::Image;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// All image files of the fixtures, odd ones among them.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["pixels", "odd"] {
        let entries = fs::read_dir(fixtures().join(folder)).unwrap();
        files.extend(entries.map(|entry| entry.unwrap().path()));
    }
    let other = ["json", "bin"].map(std::ffi::OsStr::new);
    files.retain(|file| !other.contains(&file.extension().unwrap()));
    files.sort();
    assert!(files.len() > 80);
    files
}

/// Two classes, the first of which has these files.
struct Set(tempfile::TempDir);

impl Set {
    fn of(files: &[(&str, &[u8])]) -> Self {
        let set = Self(tempfile::tempdir().unwrap());
        for class in ["a", "b"] {
            fs::create_dir_all(set.at(&format!("set/{class}"))).unwrap();
            for name in ["0.png", "1.png"] {
                let path = set.at(&format!("set/{class}/{name}"));
                image::GrayImage::new(3, 2).save(path).unwrap();
            }
        }
        for (name, bytes) in files {
            fs::write(set.at(&format!("set/a/{name}")), bytes).unwrap();
        }
        set
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn options(&self) -> FolderOptions {
        FolderOptions {
            broken: Broken::Skip,
            remember_in: Some(self.at("looks")),
            ..FolderOptions::default()
        }
    }

    /// With how far the look came at last.
    fn open(&self, options: &FolderOptions) -> (Splits, CheckProgress) {
        let mut last = None;
        let splits = ImageFolder::open_watched(self.at("set"), options, &mut |p| last = Some(p));
        (splits.unwrap(), last.unwrap())
    }

    fn skipped(&self, options: &FolderOptions) -> Vec<String> {
        let skipped = self.open(options).0.report.skipped;
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        skipped.iter().map(|s| name(&s.path)).collect()
    }
}

#[test]
fn by_default_exactly_what_cannot_be_decoded_is_left_out() {
    let files: Vec<_> = files()
        .iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            // Names do not matter.
            (format!("{name}.jpg"), fs::read(path).unwrap())
        })
        .collect();
    let names: Vec<_> = files.iter().map(|(n, b)| (n.as_str(), &b[..])).collect();
    let set = Set::of(&names);
    let decodes = |bytes: &[u8]| Image::decode(bytes, "").is_ok();
    let broken: Vec<String> = files
        .iter()
        .filter(|(_, bytes)| !decodes(bytes))
        .map(|(name, _)| name.clone())
        .collect();
    assert!(broken.len() > 10);
    let full = FolderOptions {
        check: Some(Check::Full),
        ..set.options()
    };
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(set.skipped(&full)), sorted(broken.clone()));
    // A look does not see into the data: `damaged_data.png` and the like have the right ends.
    let look = sorted(set.skipped(&set.options()));
    let expected: Vec<String> = sorted(broken)
        .into_iter()
        .filter(|name| !name.starts_with("damaged"))
        .collect();
    assert_eq!(look, expected);
}

/// Every file that lost its last bytes is found where a decoder finds it.
#[test]
fn files_that_were_cut_off_are_found() {
    let mut cut = Vec::new();
    for path in files() {
        let bytes = fs::read(&path).unwrap();
        for lost in [1, 2, 5, 13, 40, 200, bytes.len() / 2, bytes.len() * 9 / 10] {
            if lost < bytes.len() {
                let name = path.file_name().unwrap().to_str().unwrap();
                cut.push((
                    format!("{lost}_{name}.jpg"),
                    bytes[..bytes.len() - lost].to_vec(),
                ));
            }
        }
    }
    let names: Vec<_> = cut.iter().map(|(n, b)| (n.as_str(), &b[..])).collect();
    let set = Set::of(&names);
    let full = FolderOptions {
        check: Some(Check::Full),
        ..set.options()
    };
    let (look, full) = (set.skipped(&set.options()), set.skipped(&full));
    assert!(full.len() > 300, "{}", full.len());
    let missed: Vec<_> = full.iter().filter(|name| !look.contains(name)).collect();
    let wrong: Vec<_> = look.iter().filter(|name| !full.contains(name)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    // Cut behind the damage that it has, it still looks sound.
    assert!(
        missed.iter().all(|name| name.contains("damaged")),
        "{missed:?}"
    );
}

/// Of an animation or a file of several pages the first image is taken, which is told each time.
#[test]
fn images_of_several_frames_are_told() {
    let with_more = |path: &PathBuf| Image::has_more_frames(path);
    let found: Vec<PathBuf> = files().into_iter().filter(with_more).collect();
    let names = ["frames.gif", "frames.png", "frames.tiff", "frames.webp"];
    assert_eq!(
        found,
        names.map(|name| fixtures().join("pixels").join(name))
    );
    let bytes: Vec<Vec<u8>> = found.iter().map(|path| fs::read(path).unwrap()).collect();
    let files: Vec<_> = names
        .into_iter()
        .zip(bytes.iter().map(|b| &b[..]))
        .collect();
    let set = Set::of(&files);
    age(&set);
    for remembered in [0, 8] {
        let (splits, progress) = set.open(&set.options());
        let expected = format!(
            "warning: {}: several frames or pages, of which the first is taken; images of several: 4",
            set.at("set/a/frames.gif").display()
        );
        assert_eq!(splits.report.notices(), [expected]);
        assert_eq!(progress.remembered, remembered);
    }
}

/// Makes all files of the set old enough to be trusted.
#[cfg(not(unix))]
fn age(_: &Set) {}

#[cfg(unix)]
fn age(_: &Set) {
    // The system sets the time of a change of times itself.
    std::thread::sleep(Duration::from_millis(2_200));
}

#[test]
fn sound_images_are_not_opened_again_until_they_change() {
    let cut = fs::read(fixtures().join("odd/half.jpg")).unwrap();
    let trailing = fs::read(fixtures().join("odd/trailing.jpg")).unwrap();
    let set = Set::of(&[("cut.jpg", &cut), ("trailing.jpg", &trailing)]);
    let options = set.options();
    // Young files may change without showing it.
    assert_eq!(set.open(&options).1.remembered, 0);
    assert_eq!(set.open(&options).1.remembered, 0);
    age(&set);
    for remembered in [0, 5, 5] {
        let (splits, progress) = set.open(&options);
        assert_eq!((progress.checked, progress.total), (6, 6));
        assert_eq!(progress.remembered, remembered);
        assert_eq!(
            splits.report.skipped.len(),
            1,
            "a broken image is looked at again"
        );
    }
    // Decoding is more than looking: only what was decoded counts.
    let full = FolderOptions {
        check: Some(Check::Full),
        ..options.clone()
    };
    assert_eq!(set.open(&full).1.remembered, 1);
    assert_eq!(set.open(&full).1.remembered, 5);
    assert_eq!(set.open(&options).1.remembered, 5);
    // Another limit is another question.
    let mut small = options.clone();
    small.decode.max_pixels = 6;
    let (splits, progress) = set.open(&small);
    assert_eq!((progress.remembered, splits.report.skipped.len()), (0, 2));

    // As long as before and of the same time, but broken.
    let path = set.at("set/a/0.png");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    let length = fs::read(&path).unwrap().len();
    fs::write(&path, vec![b'x'; length]).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(before).unwrap();
    drop(file);
    if cfg!(unix) {
        let (splits, progress) = set.open(&options);
        assert_eq!((progress.remembered, splits.report.skipped.len()), (4, 2));
    }

    // Damaged or without a place, it costs time only.
    for entry in fs::read_dir(set.at("looks")).unwrap() {
        fs::write(entry.unwrap().path(), b"damaged").unwrap();
    }
    assert_eq!(set.open(&options).1.remembered, 0);
    fs::write(set.at("file"), b"").unwrap();
    for remember_in in [Some(set.at("file/looks")), None] {
        let options = FolderOptions {
            remember_in,
            ..options.clone()
        };
        for _ in 0..2 {
            assert_eq!(set.open(&options).1.remembered, 0);
        }
    }
}

#[test]
fn after_an_error_the_others_are_known() {
    let cut = fs::read(fixtures().join("odd/half.jpg")).unwrap();
    let set = Set::of(&[]);
    fs::write(set.at("set/b/cut.jpg"), cut).unwrap();
    age(&set);
    let options = FolderOptions {
        broken: Broken::Fail,
        ..set.options()
    };
    let error = ImageFolder::open_with(set.at("set"), &options).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("cut.jpg") && text.contains("ends before"),
        "{text}"
    );
    fs::remove_file(set.at("set/b/cut.jpg")).unwrap();
    assert_eq!(set.open(&options).1.remembered, 4);
}

#[test]
fn times_to_come_are_not_trusted() {
    let set = Set::of(&[]);
    let file = fs::File::options()
        .write(true)
        .open(set.at("set/a/0.png"))
        .unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(1_000))
        .unwrap();
    age(&set);
    set.open(&set.options());
    assert_eq!(set.open(&set.options()).1.remembered, 3);
}
