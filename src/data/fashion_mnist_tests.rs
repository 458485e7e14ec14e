//! FashionMNIST: sound and damaged IDX files, the bundled sample, the download.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::data::{FashionMnist, ImageSet, Source};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

const NAMES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];
const DEBIAN: &str = "/usr/share/datasets/fashion-mnist";

/// SHA-256 of the pixels of the first 10 official images, which have these labels.
const FIRST_TRAIN: &str = "76572dc31d5577d692ce9c71a65528a8a5345f8a31aa15089a0585fd02758d1b";
const FIRST_TRAIN_LABELS: [usize; 10] = [9, 0, 0, 3, 0, 2, 7, 2, 5, 5];
const FIRST_TEST: &str = "c9665db176243f9f0706b99fc7cedd0367466d363943d966ae8d7c50825f681d";
const FIRST_TEST_LABELS: [usize; 10] = [9, 2, 1, 1, 6, 1, 4, 6, 5, 7];

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn header(magic: u32, extents: &[u32]) -> Vec<u8> {
    let mut bytes = magic.to_be_bytes().to_vec();
    for extent in extents {
        bytes.extend(extent.to_be_bytes());
    }
    bytes
}

fn images(count: u32, height: u32, width: u32) -> Vec<u8> {
    let mut bytes = header(0x803, &[count, height, width]);
    // A mixed pattern, so that gzip stores more than a run.
    bytes.extend((0..count * height * width).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8));
    bytes
}

fn labels(labels: &[u8]) -> Vec<u8> {
    let mut bytes = header(0x801, &[labels.len() as u32]);
    bytes.extend(labels);
    bytes
}

/// The contents of four sound files: 3 training and 2 test images.
fn sound() -> [Vec<u8>; 4] {
    [
        images(3, 28, 28),
        labels(&[9, 0, 4]),
        images(2, 28, 28),
        labels(&[1, 1]),
    ]
}

fn write_sound(dir: &Path) {
    for (name, bytes) in NAMES.iter().zip(sound()) {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

/// A folder of sound files but for one, and the error that opening it gives, in which the path of
/// that file is written as `FILE` and its folder as `DIR`.
fn damaged(name: &str, bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    write_sound(dir.path());
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    error_of(dir.path(), &path)
}

fn error_of(dir: &Path, file: &Path) -> String {
    FashionMnist::open(dir)
        .unwrap_err()
        .to_string()
        .replace(&file.display().to_string(), "FILE")
        .replace(&dir.display().to_string(), "DIR")
}

fn all_pixels(set: &ImageSet) -> Vec<u8> {
    (0..set.len())
        .flat_map(|i| set.pixels(i).unwrap().to_vec())
        .collect()
}

#[test]
fn reads_plain_and_gzip() {
    let dir = tempfile::tempdir().unwrap();
    write_sound(dir.path());
    // Two of the four as gzip, one of them without saying so in its name.
    fs::remove_file(dir.path().join(NAMES[0])).unwrap();
    fs::write(
        dir.path().join(format!("{}.gz", NAMES[0])),
        gzip(&sound()[0]),
    )
    .unwrap();
    fs::write(dir.path().join(NAMES[3]), gzip(&sound()[3])).unwrap();

    let data = FashionMnist::open(dir.path()).unwrap();
    assert_eq!(data.source(), &Source::Folder(dir.path().to_path_buf()));
    assert_eq!(data.source().to_string(), dir.path().display().to_string());
    let (train, test) = (data.train(), data.test());
    assert_eq!(train.labels(), [9, 0, 4]);
    assert_eq!(test.labels(), [1, 1]);
    assert_eq!((train.size(), train.channels()), ((28, 28), 1));
    // Other labels than FashionMNIST's begin.
    let numbers: Vec<String> = (0..10).map(|class| class.to_string()).collect();
    assert_eq!(train.classes(), numbers);
    assert_eq!(test.classes(), numbers);
    assert_eq!(all_pixels(&train), sound()[0][16..]);
    assert_eq!(all_pixels(&test), sound()[2][16..]);
}

#[test]
fn a_part_of_it_has_its_names() {
    let dir = tempfile::tempdir().unwrap();
    write_sound(dir.path());
    fs::write(dir.path().join(NAMES[1]), labels(&[9, 0, 0])).unwrap();
    let data = FashionMnist::open(dir.path()).unwrap();
    assert_eq!(data.train().classes(), FashionMnist::CLASSES);
    assert_eq!(data.test().classes(), FashionMnist::CLASSES);
}

#[test]
fn missing_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("gone");
    assert_eq!(
        error_of(&gone, &gone),
        "FILE: expected the four files of FashionMNIST, each as it is or with .gz after its name, \
         found no such folder"
    );
    write_sound(dir.path());
    for name in [NAMES[1], NAMES[2]] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    assert_eq!(
        error_of(dir.path(), &gone),
        "DIR: expected the four files of FashionMNIST, each as it is or with .gz after its name, \
         found no train-labels-idx1-ubyte, no t10k-images-idx3-ubyte"
    );
}

#[test]
fn a_folder_in_place_of_a_file_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    write_sound(dir.path());
    let path = dir.path().join(format!("{}.gz", NAMES[2]));
    fs::create_dir(&path).unwrap();
    assert!(error_of(dir.path(), &path).starts_with("cannot read FILE: "));
}

#[test]
fn damaged_images_are_named() {
    let cases: [(Vec<u8>, &str); 14] = [
        (
            vec![],
            "FILE: expected an IDX header of 16 bytes, found 0 bytes",
        ),
        (
            images(3, 28, 28)[..3].to_vec(),
            "FILE: expected an IDX header of 16 bytes, found 3 bytes",
        ),
        (
            images(3, 28, 28)[..15].to_vec(),
            "FILE: expected an IDX header of 16 bytes, found 15 bytes",
        ),
        (
            b"<html>Not Found</html>".to_vec(),
            "FILE: expected the IDX magic number 0x00000803, found 0x3c68746d",
        ),
        (
            labels(&[1]),
            "FILE: expected the IDX magic number 0x00000803, found 0x00000801",
        ),
        (
            images(3, 28, 28)[..16].to_vec(),
            "FILE: expected 2368 bytes (3 images of 28 × 28 pixels and the header), found 16 bytes",
        ),
        (
            images(3, 28, 28)[..2367].to_vec(),
            "FILE: expected 2368 bytes (3 images of 28 × 28 pixels and the header), \
             found 2367 bytes",
        ),
        (
            [images(3, 28, 28), vec![0]].concat(),
            "FILE: expected 2368 bytes, as the header announces, found more",
        ),
        (
            images(0, 28, 28),
            "FILE: expected at least one image, found 0 images",
        ),
        (
            images(3, 0, 28),
            "FILE: expected images of at least 1 × 1 pixels, found 0 × 28",
        ),
        (
            images(3, 14, 28),
            "FILE: expected images of 28 × 28 pixels, found 14 × 28",
        ),
        (
            header(0x803, &[u32::MAX, u32::MAX, u32::MAX]),
            "FILE: expected at most 1073741824 bytes, found a header that announces \
             4294967295 images of 4294967295 × 4294967295 pixels",
        ),
        (
            header(0x803, &[2_000_000, 28, 28]),
            "FILE: expected at most 1073741824 bytes, found a header that announces \
             2000000 images of 28 × 28 pixels",
        ),
        // Announces 784 MB and has none of them; were they allocated first, this would be slow.
        (
            header(0x803, &[1_000_000, 28, 28]),
            "FILE: expected 784000016 bytes (1000000 images of 28 × 28 pixels and the header), \
             found 16 bytes",
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(damaged(NAMES[0], &bytes), expected);
        assert_eq!(damaged(NAMES[0], &gzip(&bytes)), expected);
    }
}

#[test]
fn damaged_labels_are_named() {
    let cases: [(Vec<u8>, &str); 8] = [
        (
            labels(&[])[..7].to_vec(),
            "FILE: expected an IDX header of 8 bytes, found 7 bytes",
        ),
        (
            images(1, 28, 28),
            "FILE: expected the IDX magic number 0x00000801, found 0x00000803",
        ),
        (
            labels(&[]),
            "FILE: expected at least one label, found 0 labels",
        ),
        (
            labels(&[9, 0, 4])[..10].to_vec(),
            "FILE: expected 11 bytes (3 labels and the header), found 10 bytes",
        ),
        (
            [labels(&[9, 0, 4]), vec![7]].concat(),
            "FILE: expected 11 bytes, as the header announces, found more",
        ),
        (
            labels(&[9, 0, 10]),
            "FILE: expected labels below 10, found label 10 at index 2",
        ),
        (
            labels(&[9, 0]),
            "FILE: expected 3 labels, one for each image of DIR/train-images-idx3-ubyte, \
             found 2 labels",
        ),
        (
            header(0x801, &[u32::MAX]),
            "FILE: expected at most 1073741824 bytes, found a header that announces \
             4294967295 labels",
        ),
    ];
    for (bytes, expected) in cases {
        let expected = expected.replace('/', std::path::MAIN_SEPARATOR_STR);
        assert_eq!(damaged(NAMES[1], &bytes), expected);
        assert_eq!(damaged(NAMES[1], &gzip(&bytes)), expected);
    }
}

#[test]
fn damaged_gzip_is_named() {
    let whole = gzip(&images(3, 28, 28));
    assert_eq!(
        damaged(NAMES[0], &whole[..2]),
        "FILE: expected complete gzip data of at least 16 bytes, decompressed, \
         found gzip data cut off after 0 bytes"
    );
    let error = damaged(NAMES[0], &whole[..whole.len() / 2]);
    assert!(
        error.starts_with(
            "FILE: expected complete gzip data of at least 2368 bytes, decompressed, \
             found gzip data cut off after "
        ),
        "{error}"
    );
    // All pixels are there, and only their length and checksum are not.
    assert_eq!(
        damaged(NAMES[0], &whole[..whole.len() - 8]),
        "FILE: expected complete gzip data of at least 2368 bytes, decompressed, \
         found gzip data cut off after 2368 bytes"
    );
    let mut checksum = whole.clone();
    let at = whole.len() - 8;
    checksum[at] ^= 1;
    assert_eq!(
        damaged(NAMES[0], &checksum),
        "FILE: expected sound gzip data, found damage after 2368 decompressed bytes: \
         corrupt gzip stream does not have a matching checksum"
    );
    assert_eq!(
        damaged(NAMES[0], &[&whole[..], b"and garbage"].concat()),
        "FILE: expected sound gzip data, found damage after 2368 decompressed bytes: \
         invalid gzip header"
    );
    // Block type 3 does not exist.
    let mut block = whole.clone();
    block[10] |= 0b110;
    assert_eq!(
        damaged(NAMES[0], &block),
        "FILE: expected sound gzip data, found damage after 0 decompressed bytes: \
         corrupt deflate stream"
    );
}

#[test]
fn gzip_bomb_is_not_decompressed() {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    bomb.write_all(&header(0x803, &[3, 28, 28])).unwrap();
    let megabyte = vec![0; 1 << 20];
    for _ in 0..64 {
        bomb.write_all(&megabyte).unwrap();
    }
    assert_eq!(
        damaged(NAMES[0], &bomb.finish().unwrap()),
        "FILE: expected 2368 bytes, as the header announces, found more"
    );
}

#[test]
fn every_cut_and_every_flipped_byte_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    write_sound(dir.path());
    let path = dir.path().join(NAMES[1]);
    for whole in [sound()[1].clone(), gzip(&sound()[1])] {
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(FashionMnist::open(dir.path()).is_err(), "cut to {length}");
        }
        for index in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[index] ^= 1 << bit;
                fs::write(&path, &flipped).unwrap();
                // Some bits, as the date in the header of gzip, may have any value.
                let _ = FashionMnist::open(dir.path());
            }
        }
    }
}

fn classes() -> Vec<String> {
    vec!["cat".to_owned(), "dog".to_owned()]
}

#[test]
fn image_set_gives_what_it_was_made_of() {
    let set = ImageSet::new((0..36).collect(), vec![0, 1, 1], (2, 2), 3, classes()).unwrap();
    assert_eq!((set.len(), set.is_empty()), (3, false));
    assert_eq!((set.size(), set.channels()), ((2, 2), 3));
    assert_eq!(set.classes(), classes());
    assert_eq!(
        (set.label(0), set.label(2), set.label(3)),
        (Some(0), Some(1), None)
    );
    assert_eq!(set.pixels(1), Some(&(12..24).collect::<Vec<u8>>()[..]));
    assert_eq!(set.pixels(3), None);
    assert_eq!(set.pixels(usize::MAX), None);
    assert_eq!(
        format!("{set:?}"),
        "ImageSet { images: 3, size: (2, 2), channels: 3, classes: 2 }"
    );

    let first = set.take_first(2);
    assert_eq!((first.len(), first.labels()), (2, &[0, 1][..]));
    assert_eq!((first.label(2), first.pixels(2)), (None, None));
    // The same memory, not a copy.
    assert_eq!(
        first.pixels(1).map(<[u8]>::as_ptr),
        set.pixels(1).map(<[u8]>::as_ptr)
    );
    assert_eq!(set.take_first(9).len(), 3);
    assert_eq!(first.take_first(9).len(), 2);
    assert!(set.take_first(0).is_empty());

    let empty = ImageSet::new(vec![], vec![], (2, 2), 3, classes()).unwrap();
    assert!(empty.is_empty());
    assert_eq!(empty.pixels(0), None);
}

#[test]
fn image_set_refuses_what_does_not_fit() {
    let refused = |bytes: usize, labels: &[usize], size, channels, classes: Vec<String>| {
        ImageSet::new(vec![0; bytes], labels.to_vec(), size, channels, classes)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused(0, &[], (2, 0), 1, classes()),
        "size: expected a height and a width of at least 1 pixel, found 2 × 0"
    );
    assert_eq!(
        refused(0, &[], (2, 2), 0, classes()),
        "channels: expected at least 1, found 0"
    );
    assert_eq!(
        refused(0, &[], (2, 2), 1, vec![]),
        "classes: expected at least one class, found none"
    );
    assert_eq!(
        refused(9, &[0, 1], (2, 2), 1, classes()),
        "images: expected 8 bytes for 2 images of 2 × 2 pixels with 1 channels, found 9 bytes"
    );
    assert_eq!(
        refused(9, &[0], (usize::MAX, 2), 1, classes()),
        format!(
            "images: expected more bytes than can be addressed for 1 images of {} × 2 pixels \
             with 1 channels, found 9 bytes",
            usize::MAX
        )
    );
    assert_eq!(
        refused(8, &[0, 2], (2, 2), 1, classes()),
        "labels: expected labels below 2, the number of classes, found label 2 at index 1"
    );
}

/// Sets of one pixel, whose value is the image's place in the whole set.
fn numbered(labels: Vec<usize>) -> ImageSet {
    let pixels = (0..labels.len()).map(|index| index as u8).collect();
    ImageSet::new(pixels, labels, (1, 1), 1, classes()).unwrap()
}

/// The indices are those that the rule gives in Python (`tests/fixtures/init.py` has the generator), so
/// that they are the same on every machine.
#[test]
fn a_split_is_stratified_seeded_and_the_same_everywhere() {
    let set = numbered((0..40).map(|index| index % 2).collect());
    let expected: [(u64, [u8; 10]); 2] = [
        (42, [1, 15, 17, 19, 20, 24, 34, 36, 37, 38]),
        (43, [2, 5, 8, 19, 22, 25, 29, 32, 35, 36]),
    ];
    for (seed, expected) in expected {
        let (train, valid) = set.split(0.25, seed).unwrap();
        assert_eq!(all_pixels(&valid), expected);
        let rest = (0..40).filter(|index| !expected.contains(index));
        assert_eq!(all_pixels(&train), Vec::from_iter(rest));
        for part in [&train, &valid] {
            let places = all_pixels(part).into_iter();
            let labels = places.map(|place| usize::from(place) % 2);
            assert_eq!(part.labels(), Vec::from_iter(labels));
            assert_eq!((part.size(), part.classes()), ((1, 1), set.classes()));
        }
    }
    // A beginning of a set is a set of its own.
    let (train, valid) = set.take_first(4).split(0.5, 42).unwrap();
    let mut both = [all_pixels(&train), all_pixels(&valid)].concat();
    both.sort_unstable();
    assert_eq!((train.len(), valid.len(), both), (2, 2, vec![0, 1, 2, 3]));
}

/// A share is rounded; at least one image and not all of two or more are for validation, and none of one.
#[test]
fn a_split_leaves_images_in_either_part() {
    for (images, share, expected) in [
        (2, 0.01, 1),
        (2, 0.99, 1),
        (10, 0.14, 1),
        (10, 0.16, 2),
        (10, 0.99, 9),
    ] {
        let labels = [vec![0; images], vec![1]].concat();
        let (train, valid) = numbered(labels).split(share, 1).unwrap();
        assert_eq!(valid.labels(), vec![0; expected], "{images} {share}");
        assert_eq!(train.labels().iter().sum::<usize>(), 1);
        assert_eq!(train.len() + valid.len(), images + 1);
    }
    for share in [0.0, 1.0, -0.1, 1.5, f64::NAN] {
        let error = numbered(vec![0, 0, 1, 1]).split(share, 1).unwrap_err();
        let expected = format!("valid_share: expected a number above 0 and below 1, found {share}");
        assert_eq!(error.to_string(), expected);
    }
    for labels in [vec![], vec![1], vec![0, 1]] {
        let error = numbered(labels).split(0.5, 1).unwrap_err().to_string();
        assert!(error.contains("a class of two images or more"), "{error}");
    }
}

fn check_first(train: &ImageSet, test: &ImageSet) {
    assert_eq!(train.take_first(10).labels(), FIRST_TRAIN_LABELS);
    assert_eq!(sha256(&all_pixels(&train.take_first(10))), FIRST_TRAIN);
    assert_eq!(test.take_first(10).labels(), FIRST_TEST_LABELS);
    assert_eq!(sha256(&all_pixels(&test.take_first(10))), FIRST_TEST);
}

fn counts(set: &ImageSet) -> [usize; 10] {
    let mut counts = [0; 10];
    for &label in set.labels() {
        counts[label] += 1;
    }
    counts
}

#[cfg(feature = "fashion-mnist-mini")]
#[test]
fn bundled_sample_is_the_official_beginning_of_each_class() {
    let data = FashionMnist::bundled().unwrap();
    assert_eq!(data.source(), &Source::Bundled);
    assert_eq!(data.source().to_string(), "the bundled sample");
    let (train, test) = (data.train(), data.test());
    assert_eq!((counts(&train), counts(&test)), ([600; 10], [100; 10]));
    assert_eq!((train.size(), train.channels()), ((28, 28), 1));
    assert_eq!(train.classes(), FashionMnist::CLASSES);
    check_first(&train, &test);

    // As printed by tests/fixtures/fashion_mnist_mini.py.
    let bytes = |set: &ImageSet| -> Vec<u8> { set.labels().iter().map(|&l| l as u8).collect() };
    assert_eq!(
        sha256(&all_pixels(&train)),
        "2b17438af55637db62c122a92490b5b4275bed5719a838b5b0486ea2193a98a4"
    );
    assert_eq!(
        sha256(&bytes(&train)),
        "f16e201ddc15b401c509545575d23793b230f5735ae378c1ced3a6156cb72251"
    );
    assert_eq!(
        sha256(&all_pixels(&test)),
        "3d7f6d64869a3f2d1afe64ae33ffb9b20670a91b31e3bbf0657e3999ec7b35cf"
    );
    assert_eq!(
        sha256(&bytes(&test)),
        "6b25654537ff83dd6c40fe0a122c7778d8219b2a88ff02c36dbdd21152fdb075"
    );

    let (train, valid) = train.split(0.1, 42).unwrap();
    assert_eq!((counts(&train), counts(&valid)), ([540; 10], [60; 10]));
}

/// Where Debian's package is not installed, the hashes of the other tests have to do.
#[test]
fn debian_package_is_read_and_agrees_with_the_sample() {
    if !Path::new(DEBIAN).is_dir() {
        return;
    }
    let data = FashionMnist::open(DEBIAN).unwrap();
    let (train, test) = (data.train(), data.test());
    assert_eq!((counts(&train), counts(&test)), ([6000; 10], [1000; 10]));
    check_first(&train, &test);
    #[cfg(feature = "fashion-mnist-mini")]
    {
        let sample = FashionMnist::bundled().unwrap();
        for (full, sample, share) in [(train, sample.train(), 600), (test, sample.test(), 100)] {
            let mut taken = [0; 10];
            let mut next = 0;
            for (index, &label) in full.labels().iter().enumerate() {
                if taken[label] < share {
                    taken[label] += 1;
                    assert_eq!(sample.label(next), Some(label));
                    assert_eq!(sample.pixels(next), full.pixels(index));
                    next += 1;
                }
            }
            assert_eq!(next, sample.len());
        }
    }
}

/// Does nothing unless [`in_child`] runs it: the environment belongs to the whole process.
#[test]
fn child() {
    if std::env::var_os("FASHION_MNIST_TEST_CHILD").is_none() {
        return;
    }
    match FashionMnist::open_default() {
        Ok(data) => println!("<<{} from {}>>", data.train().len(), data.source()),
        Err(error) => println!("<<{error}>>"),
    }
    println!("[[{:?}]]", FashionMnist::cache_dir());
}

/// What `child` prints with this environment: the outcome of `open_default` and the cache folder.
fn in_child(environment: &[(&str, &Path)]) -> (String, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["data::fashion_mnist_tests::child", "--exact", "--nocapture"])
        .env("FASHION_MNIST_TEST_CHILD", "1")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let between = |open: &str, close: &str| {
        let (_, rest) = text.split_once(open).unwrap();
        rest.split_once(close).unwrap().0.to_owned()
    };
    (between("<<", ">>"), between("[[", "]]"))
}

#[test]
fn environment_variables_choose_the_folders() {
    let dir = tempfile::tempdir().unwrap();
    write_sound(dir.path());
    let (data, cache) = in_child(&[
        ("FASHION_MNIST_DIR", dir.path()),
        ("BURN_ZOO_CACHE", dir.path()),
    ]);
    assert_eq!(data, format!("3 from {}", dir.path().display()));
    assert_eq!(
        cache,
        format!("{:?}", Some(dir.path().join("fashion-mnist")))
    );

    // A folder that was chosen and does not have the files is an error, whatever others have.
    let gone: PathBuf = dir.path().join("gone");
    let (data, _) = in_child(&[("FASHION_MNIST_DIR", &gone)]);
    assert_eq!(
        data,
        format!(
            "{}: expected the four files of FashionMNIST, each as it is or with .gz after its \
             name, found no such folder",
            gone.display()
        )
    );
}

#[cfg(feature = "download")]
mod download {
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Barrier, Mutex};

    use crate::data::Progress;
    use crate::data::mirror::{Mirror, RemoteFile};

    use super::*;

    /// An HTTP server on this machine, which runs until the test process ends.
    struct Server {
        url: String,
        /// The paths asked for so far.
        requests: Arc<Mutex<Vec<String>>>,
    }

    /// Answers each request with the bytes that `respond` gives for its path, headers and all.
    fn serve(respond: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, respond) = (Arc::clone(&requests), Arc::new(respond));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, respond) = (Arc::clone(&log), Arc::clone(&respond));
                std::thread::spawn(move || answer(stream, &log, &*respond));
            }
        });
        Server { url, requests }
    }

    fn answer(mut stream: TcpStream, log: &Mutex<Vec<String>>, respond: &dyn Fn(&str) -> Vec<u8>) {
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let head: Vec<String> = lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        let path = head[0].split(' ').nth(1).unwrap().to_owned();
        log.lock().unwrap().push(path.clone());
        // A client that has seen enough hangs up.
        let _ = stream.write_all(&respond(&path));
    }

    fn ok(announced: Option<usize>, body: &[u8]) -> Vec<u8> {
        let length = announced.map_or(String::new(), |n| format!("Content-Length: {n}\r\n"));
        let mut response =
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{length}\r\n").into_bytes();
        response.extend(body);
        response
    }

    fn not_found() -> Vec<u8> {
        b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnone".to_vec()
    }

    /// The compressed bytes of a file that a mirror has, by its path.
    fn file(path: &str) -> Option<Vec<u8>> {
        let index = NAMES
            .iter()
            .position(|name| path == format!("/{name}.gz"))?;
        Some(gzip(&sound()[index]))
    }

    fn sound_server() -> Server {
        serve(|path| match file(path) {
            Some(bytes) => ok(Some(bytes.len()), &bytes),
            None => not_found(),
        })
    }

    /// A server that answers the request for the first file with `first`.
    fn server_with_first(first: Vec<u8>) -> Server {
        serve(move |_| first.clone())
    }

    /// The size, the SHA-256 and the SHA-256 of the content of each file.
    fn table() -> [(u64, String, String); 4] {
        sound().map(|content| {
            let bytes = gzip(&content);
            (bytes.len() as u64, sha256(&bytes), sha256(&content))
        })
    }

    fn fetch_with(
        url: &str,
        dir: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<FashionMnist, String> {
        let table = table();
        let mirror = Mirror {
            base_url: url,
            files: table.each_ref().map(|(bytes, sha256, content)| RemoteFile {
                bytes: *bytes,
                sha256,
                content_sha256: content,
            }),
        };
        FashionMnist::download_from(&mirror, dir, progress).map_err(|error| error.to_string())
    }

    fn fetch(url: &str, dir: &Path) -> Result<FashionMnist, String> {
        fetch_with(url, dir, &mut |_| {})
    }

    /// The error of fetching from a server that answers with `first`, after which the folder
    /// must be empty. The address is written as `URL`.
    fn refused(first: Vec<u8>) -> String {
        let dir = tempfile::tempdir().unwrap();
        let server = server_with_first(first);
        let error = fetch(&server.url, dir.path()).unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{error}");
        assert_eq!(server.requests.lock().unwrap().len(), 1, "{error}");
        error.replace(&server.url, "URL")
    }

    fn names_in(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn all_names() -> Vec<String> {
        let mut names: Vec<String> = NAMES.iter().map(|name| format!("{name}.gz")).collect();
        names.sort();
        names
    }

    #[test]
    fn fetches_verifies_and_keeps() {
        let server = sound_server();
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("new").join("cache");
        let mut seen = Vec::new();
        // With a slash at the end of the address, which must not be doubled.
        let url = format!("{}/", server.url);
        let data = fetch_with(&url, &cache, &mut |progress| seen.push(progress)).unwrap();
        assert_eq!(data.train().labels(), [9, 0, 4]);
        assert_eq!(all_pixels(&data.test()), sound()[2][16..]);
        assert_eq!(data.source(), &Source::Folder(cache.clone()));
        assert_eq!(names_in(&cache), all_names());

        let total: u64 = table().iter().map(|(bytes, ..)| bytes).sum();
        assert!(seen.iter().all(|progress| progress.total == total));
        assert!(seen.windows(2).all(|two| two[0].received < two[1].received));
        assert_eq!(seen.last().map(|progress| progress.received), Some(total));
        let mut files: Vec<&str> = seen.iter().map(|progress| progress.file).collect();
        files.dedup();
        assert_eq!(files, NAMES);

        // Nothing is fetched twice, and only what is damaged is fetched anew.
        fetch(&server.url, &cache).unwrap();
        assert_eq!(server.requests.lock().unwrap().len(), 4);
        let path = cache.join(format!("{}.gz", NAMES[3]));
        fs::write(&path, gzip(&labels(&[1, 2]))).unwrap();
        let data = fetch(&server.url, &cache).unwrap();
        assert_eq!(data.test().labels(), [1, 1]);
        assert_eq!(
            server.requests.lock().unwrap()[4..],
            [format!("/{}.gz", NAMES[3])]
        );
    }

    #[cfg(unix)]
    #[test]
    fn fetched_files_have_the_usual_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        fetch(&sound_server().url, dir.path()).unwrap();
        let usual = dir.path().join("usual");
        fs::write(&usual, "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(
            mode(&dir.path().join(format!("{}.gz", NAMES[0]))),
            mode(&usual)
        );
    }

    #[test]
    fn wrong_bytes_are_refused() {
        let mut wrong = file(&format!("/{}.gz", NAMES[0])).unwrap();
        wrong[100] ^= 1;
        let (_, expected, _) = &table()[0];
        assert_eq!(
            refused(ok(Some(wrong.len()), &wrong)),
            format!(
                "cannot download URL/train-images-idx3-ubyte.gz: expected SHA-256 {expected}, \
                 found {}",
                sha256(&wrong)
            )
        );
    }

    #[test]
    fn the_decompressed_content_is_verified_too() {
        let table = table();
        let mut files = table.each_ref().map(|(bytes, sha256, content)| RemoteFile {
            bytes: *bytes,
            sha256,
            content_sha256: content,
        });
        let other = sha256(b"other");
        files[2].content_sha256 = &other;
        let server = sound_server();
        let dir = tempfile::tempdir().unwrap();
        let mirror = Mirror {
            base_url: &server.url,
            files,
        };
        let error = FashionMnist::download_from(&mirror, dir.path(), &mut |_| {}).unwrap_err();
        let path = dir.path().join(format!("{}.gz", NAMES[2]));
        assert_eq!(
            error.to_string(),
            format!(
                "{}: expected content with SHA-256 {other}, found SHA-256 {}",
                path.display(),
                table[2].2
            )
        );
    }

    #[test]
    fn truncated_files_are_refused() {
        let bytes = file(&format!("/{}.gz", NAMES[0])).unwrap();
        let (wanted, half) = (bytes.len(), bytes.len() / 2);
        let error = refused(ok(Some(wanted), &bytes[..half]));
        let expected = format!(
            "cannot download URL/train-images-idx3-ubyte.gz: broken off after {half} of \
             {wanted} bytes: "
        );
        assert!(error.starts_with(&expected), "{error}");
        assert_eq!(
            refused(ok(Some(half), &bytes[..half])),
            format!(
                "cannot download URL/train-images-idx3-ubyte.gz: expected {wanted} bytes, \
                 the server announces {half}"
            )
        );
        assert_eq!(
            refused(ok(None, &bytes[..half])),
            format!(
                "cannot download URL/train-images-idx3-ubyte.gz: expected {wanted} bytes, \
                 found {half}"
            )
        );
    }

    #[test]
    fn longer_files_are_refused() {
        let mut bytes = file(&format!("/{}.gz", NAMES[0])).unwrap();
        let wanted = bytes.len();
        bytes.extend(vec![0; 1 << 20]);
        assert_eq!(
            refused(ok(Some(bytes.len()), &bytes)),
            format!(
                "cannot download URL/train-images-idx3-ubyte.gz: expected {wanted} bytes, \
                 the server announces {}",
                bytes.len()
            )
        );
        assert_eq!(
            refused(ok(None, &bytes)),
            format!(
                "cannot download URL/train-images-idx3-ubyte.gz: expected {wanted} bytes, \
                 the server sends more"
            )
        );
    }

    #[test]
    fn a_missing_file_is_refused() {
        assert_eq!(
            refused(not_found()),
            "cannot download URL/train-images-idx3-ubyte.gz: the server answered 404 Not Found"
        );
    }

    #[test]
    fn an_unreachable_server_is_an_error() {
        // A port that was free a moment ago.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let dir = tempfile::tempdir().unwrap();
        let error = fetch(&url, dir.path()).unwrap_err();
        assert!(
            error.starts_with(&format!("cannot download {url}/train-images")),
            "{error}"
        );
        assert!(fetch("no address", dir.path()).is_err());
        assert_eq!(names_in(dir.path()), [""; 0]);
    }

    /// Debian's files are compressed in another way, and are kept for what is in them. Where the
    /// package is not installed, nothing can be checked without the network.
    #[test]
    fn official_content_is_not_fetched_again() {
        if !Path::new(DEBIAN).is_dir() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        for name in all_names() {
            fs::copy(Path::new(DEBIAN).join(&name), dir.path().join(&name)).unwrap();
        }
        let data = FashionMnist::download(dir.path(), &mut |_| panic!("fetches")).unwrap();
        assert_eq!((data.train().len(), data.test().len()), (60_000, 10_000));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = fetch(&sound_server().url, &file).unwrap_err();
        let expected = format!("cannot create {}: ", file.display());
        assert!(error.starts_with(&expected), "{error}");
    }

    #[test]
    fn two_at_once_both_succeed() {
        // The server holds the first file back until both have asked for it.
        let both = Barrier::new(2);
        let server = serve(move |path| {
            if path.contains(NAMES[0]) {
                both.wait();
            }
            let bytes = file(path).unwrap();
            ok(Some(bytes.len()), &bytes)
        });
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let one = scope.spawn(|| fetch(&server.url, dir.path()));
            let other = scope.spawn(|| fetch(&server.url, dir.path()));
            for thread in [one, other] {
                assert_eq!(thread.join().unwrap().unwrap().train().len(), 3);
            }
        });
        assert_eq!(server.requests.lock().unwrap().len(), 8);
        assert_eq!(names_in(dir.path()), all_names());
    }
}
