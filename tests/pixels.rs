//! Pixels against Pillow and timm: what a file decodes to, what the evaluation transforms make of
//! it, and what is refused. The references are made by `fixtures/pixels.py`.

#![cfg(feature = "image")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn_zoo::Error;
use burn_zoo::preprocess::{
    CropMode, DecodeOptions, Image, ImageSize, Interpolation, Normalization, Preprocess,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pixels")
}

fn json<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    serde_json::from_slice(&fs::read(fixtures().join(name)).unwrap()).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All bytes of a reference as a checksum, and some of them as they are.
#[derive(Deserialize)]
struct Reference {
    sha256: String,
    stride: usize,
    offset: usize,
    length: usize,
}

/// Zero if all bytes are right; else the largest difference in the sample, and at least 1.
fn difference(found: &[u8], reference: &Reference, samples: &[u8]) -> u8 {
    if sha256(found) == reference.sha256 {
        return 0;
    }
    let expected = &samples[reference.offset..][..reference.length];
    let found: Vec<u8> = found.iter().step_by(reference.stride).copied().collect();
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap().max(1)
}

#[derive(Deserialize)]
struct Decoded {
    file: String,
    height: usize,
    width: usize,
    channels: usize,
    #[serde(flatten)]
    pixels: Reference,
}

#[derive(Deserialize)]
struct Transformed {
    file: String,
    channels: usize,
    interpolation: Interpolation,
    size: ImageSize,
    crop_pct: f64,
    crop_mode: CropMode,
    pixels: Reference,
    values: String,
}

#[test]
fn files_decode_to_pillows_pixels() {
    let samples = fs::read(fixtures().join("samples.bin")).unwrap();
    let mut wrong = Vec::new();
    for case in json::<Vec<Decoded>>("decode.json") {
        let image = Image::open(fixtures().join(&case.file)).unwrap();
        assert_eq!(
            (image.height(), image.width(), image.channels()),
            (case.height, case.width, case.channels),
            "{}",
            case.file
        );
        let found = difference(image.pixels(), &case.pixels, &samples);
        // Decoders of lossy formats may round differently; all others have one right answer.
        let allowed = match case.file.as_str() {
            "lossy.webp" => 2,
            name if name.ends_with(".jpg") => 3,
            _ => 0,
        };
        println!("{:<24} {found:>3} (at most {allowed})", case.file);
        if found > allowed {
            wrong.push(case.file);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn transforms_give_timms_bytes_and_values() {
    let samples = fs::read(fixtures().join("samples.bin")).unwrap();
    let mut table: BTreeMap<String, (usize, u8, usize)> = BTreeMap::new();
    let mut images: BTreeMap<String, Image> = BTreeMap::new();
    for case in json::<Vec<Transformed>>("transform.json") {
        let open = || Image::open(fixtures().join(&case.file)).unwrap();
        let image = images.entry(case.file.clone()).or_insert_with(open);
        let normalization = Normalization::imagenet().for_channels(case.channels);
        let preprocess = Preprocess::new(Some(case.size), normalization.clone())
            .interpolation(case.interpolation)
            .crop_pct(case.crop_pct)
            .crop_mode(case.crop_mode);
        let values = preprocess.apply(image);
        assert_eq!(
            values.len(),
            case.channels * case.size.height * case.size.width
        );

        // Back to the bytes before scaling, `[height, width, channels]`.
        let area = case.size.height * case.size.width;
        let byte = |i: usize| {
            let channel = i % case.channels;
            let (mean, std) = (normalization.mean()[channel], normalization.std()[channel]);
            let value = f64::from(values[channel * area + i / case.channels]);
            ((value * std + mean) * 255.0).round() as u8
        };
        let bytes: Vec<u8> = (0..values.len()).map(byte).collect();
        let found = difference(&bytes, &case.pixels, &samples);
        let little_endian: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let name = format!(
            "{} {:?} {:?}",
            case.file, case.interpolation, case.crop_mode
        );
        let row = table.entry(name).or_default();
        row.0 += 1;
        row.1 = row.1.max(found);
        row.2 += usize::from(sha256(&little_endian) != case.values);
    }
    println!("{:<36} cases  bytes off by  values differ in", "");
    let right = |(name, row): (&String, &(usize, u8, usize))| match name.contains(".jpg") {
        // libjpeg rounds the colour planes differently when it enlarges them.
        true => row.1 <= 3,
        false => (row.1, row.2) == (0, 0),
    };
    for (name, (cases, bytes, values)) in &table {
        println!("{name:<36} {cases:>5} {bytes:>13} {values:>16}");
    }
    let wrong: Vec<_> = table.iter().filter(|row| !right(*row)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The file names of `decode.json` and what is in them.
fn sources() -> Vec<(String, Vec<u8>)> {
    let read = |case: Decoded| {
        let bytes = fs::read(fixtures().join(&case.file)).unwrap();
        (case.file, bytes)
    };
    let cases = json::<Vec<Decoded>>("decode.json");
    cases.into_iter().map(read).collect()
}

#[test]
fn the_content_decides_and_not_the_name() {
    for (name, bytes) in sources() {
        let from_bytes = Image::decode(&bytes, "picture.txt").unwrap();
        assert_eq!(from_bytes, Image::open(fixtures().join(name)).unwrap());
    }
}

#[test]
fn orientation_is_applied_or_left() {
    let upright = Image::open(fixtures().join("orientation_1.jpg")).unwrap();
    assert_eq!((upright.height(), upright.width()), (16, 24));
    let options = DecodeOptions {
        orient: false,
        ..DecodeOptions::default()
    };
    for orientation in 1..=8 {
        let path = fixtures().join(format!("orientation_{orientation}.jpg"));
        let turned = Image::open(&path).unwrap();
        let size = if orientation < 5 { (16, 24) } else { (24, 16) };
        assert_eq!((turned.height(), turned.width()), size);
        assert_eq!(Image::open_with(&path, &options).unwrap(), upright);
    }
    for name in ["orientation_8.png", "orientation_8.webp", "turned.tiff"] {
        let turned = Image::open(fixtures().join(name)).unwrap();
        let left = Image::open_with(fixtures().join(name), &options).unwrap();
        assert!(turned.height() > turned.width() && left.height() < left.width());
    }
}

fn reason(bytes: &[u8], options: &DecodeOptions) -> String {
    match Image::decode_with(bytes, "folder/picture", options).unwrap_err() {
        Error::Image { path, reason } => {
            assert_eq!(path, Path::new("folder/picture"));
            reason
        }
        other => panic!("{other}"),
    }
}

/// A PNG that claims a size and holds nothing.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes());
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut crc = flate2::Crc::new();
    crc.update(&header);
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bytes.extend(header);
    bytes.extend(crc.sum().to_be_bytes());
    bytes.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
    bytes
}

#[test]
fn bombs_are_refused_by_their_header() {
    let with = |max_pixels, max_bytes| DecodeOptions {
        max_pixels,
        max_bytes,
        ..DecodeOptions::default()
    };
    let bomb = png_header(60_000, 60_000);
    assert_eq!(
        Image::decode(&bomb, "bomb.png").unwrap_err().to_string(),
        "bomb.png: not a readable image: 60000 x 60000 are 3600000000 pixels, the limit \
         (max_pixels, --max-pixels) is 178956970"
    );
    assert_eq!(
        reason(&bomb, &with(u64::MAX, 1 << 30)),
        "60000 x 60000 pixels take 10800000000 bytes, the limit (max_bytes) is 1073741824"
    );
    let largest = png_header(u32::MAX >> 1, u32::MAX >> 1);
    let text = reason(&largest, &DecodeOptions::default());
    assert!(text.contains("4611686014132420609 pixels"), "{text}");
    assert!(Image::decode(&png_header(0, 5), "x").is_err());

    let photo = fs::read(fixtures().join("photo.png")).unwrap();
    let area = 150 * 112;
    let small = reason(&photo, &with(area - 1, 1 << 30));
    assert_eq!(
        small,
        "150 x 112 are 16800 pixels, the limit (max_pixels, --max-pixels) is 16799"
    );
    assert!(Image::decode_with(&photo, "x", &with(area, 3 * area)).is_ok());
    assert_eq!(
        reason(&photo, &with(area, 3 * area - 1)),
        "150 x 112 pixels take 50400 bytes, the limit (max_bytes) is 50399"
    );
    let file = with(area, 1_000);
    assert_eq!(
        reason(&photo, &file),
        format!(
            "the file has {} bytes or more, the limit (max_bytes) is 1000",
            photo.len()
        )
    );
    let error = Image::open_with(fixtures().join("photo.png"), &file).unwrap_err();
    assert!(error.to_string().contains("photo.png: not a readable"));
    // A JPEG's size is two bytes each.
    let mut jpeg = fs::read(fixtures().join("photo.jpg")).unwrap();
    let frame = jpeg.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].fill(0xFF);
    assert!(reason(&jpeg, &DecodeOptions::default()).contains("65535 x 65535 are 4294836225"));
}

#[test]
fn what_is_no_image_says_so() {
    let default = DecodeOptions::default();
    assert_eq!(reason(b"", &default), "the file is empty");
    let none = "its content is neither PNG, JPEG, WebP, GIF, BMP nor TIFF";
    assert_eq!(reason(b"any text", &default), none);
    assert!(reason(b"<!DOCTYPE html>", &default).contains("an HTML page"));
    let icon = reason(b"\0\0\x01\0\x01\0\x10\x10", &default);
    assert!(icon.contains("ICO") && icon.contains("convert"), "{icon}");
    let folder = tempfile::tempdir().unwrap();
    let missing = Image::open(folder.path().join("a.png")).unwrap_err();
    assert!(
        matches!(missing, Error::Io { action: "read", .. }),
        "{missing}"
    );
    let directory = Image::open(folder.path()).unwrap_err();
    assert!(matches!(directory, Error::Io { .. }), "{directory}");
    let text = folder.path().join("b.png");
    fs::write(&text, "not a picture").unwrap();
    assert_eq!(
        Image::open(&text).unwrap_err().to_string(),
        format!("{}: not a readable image: {none}", text.display())
    );
}

#[test]
fn files_that_end_early_are_errors() {
    for (name, bytes) in sources() {
        if name.starts_with("frames.") {
            continue; // Only its first frame is read.
        }
        // What follows the pixels may be missing: Pillow reads such files too.
        let tail = match name.rsplit('.').next() {
            Some("png") => 24,
            Some("gif" | "bmp") => 4,
            Some("jpg") if !name.contains("progressive") => 2,
            _ => 0,
        };
        let all = bytes.len() - tail;
        for length in [1, 10, all / 4, all / 2, all * 3 / 4, all.saturating_sub(2)] {
            let result = Image::decode(&bytes[..length], &name);
            assert!(result.is_err(), "{name}: {length} of {}", bytes.len());
        }
    }
}

/// Pillow's pixels of a file, in hexadecimal.
#[derive(Deserialize)]
struct Odd {
    width: usize,
    height: usize,
    pixels: String,
}

fn odd_fixtures() -> (PathBuf, BTreeMap<String, Option<Odd>>) {
    let folder = fixtures().with_file_name("odd");
    let text = fs::read(folder.join("odd.json")).unwrap();
    (folder, serde_json::from_slice(&text).unwrap())
}

/// Pillow reads these with decoders that this crate does not have.
fn is_foreign(name: &str) -> bool {
    ["avif", "jp2", "ico", "ppm", "tga"]
        .iter()
        .any(|e| name.ends_with(e))
}

/// The references are made by `fixtures/odd.py`.
#[test]
fn odd_files_are_read_and_refused_as_by_pillow() {
    let (folder, files) = odd_fixtures();
    let mut wrong = Vec::new();
    for (name, expected) in files {
        let result = Image::open(folder.join(&name));
        let (image, expected) = match (result, expected) {
            (Err(error), Some(_)) if is_foreign(&name) => {
                let text = error.to_string();
                assert!(text.contains("not read; convert it to PNG"), "{text}");
                continue;
            }
            (Err(_), None) => continue,
            // All its pixels are there, and Pillow only misses the marker.
            (Ok(image), None) if name == "no_end.jpg" => {
                let whole = Image::open(folder.join("trailing.jpg")).unwrap();
                assert_eq!(image, whole);
                continue;
            }
            (Ok(image), Some(expected)) => (image, expected),
            (result, _) => {
                wrong.push(format!("{name}: {result:?}"));
                continue;
            }
        };
        assert_eq!(
            (image.width(), image.height()),
            (expected.width, expected.height),
            "{name}"
        );
        let pairs = expected.pixels.as_bytes().as_chunks::<2>().0;
        let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        let pixels: Vec<u8> = pairs.iter().map(byte).collect();
        assert_eq!(pixels.len(), image.pixels().len(), "{name}");
        let pairs = pixels.iter().zip(image.pixels());
        let difference = pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        if difference > if name.ends_with("jpg") { 3 } else { 0 } {
            wrong.push(format!("{name}: {difference}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is said of damage is for those who have the file, and not for those who write decoders.
#[test]
fn errors_are_plain_sentences() {
    let (folder, files) = odd_fixtures();
    let mut damaged: Vec<(String, Vec<u8>)> = sources();
    damaged.extend(files.into_keys().map(|name| {
        let bytes = fs::read(folder.join(&name)).unwrap();
        (name, bytes)
    }));
    for (name, bytes) in damaged {
        for at in (8..bytes.len()).step_by(1 + bytes.len() / 60) {
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 0xFF;
            for bytes in [&spoilt, &bytes[..at]] {
                let Err(error) = Image::decode(bytes, "x") else {
                    continue;
                };
                let text = error.to_string();
                let odd = [
                    "{", "}", "\"", "::", "Some", "Unknown", "Error", "error", "format",
                ];
                let found = odd.iter().find(|mark| text.contains(**mark));
                assert_eq!(found, None, "{name}: {text}");
            }
        }
    }
}

#[test]
fn damaged_bytes_never_panic() {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let options = DecodeOptions {
        max_pixels: 1 << 20,
        max_bytes: 1 << 23,
        ..DecodeOptions::default()
    };
    let preprocess = Preprocess::new(Some(8.into()), Normalization::imagenet());
    let (mut read, mut refused) = (0, 0);
    for (name, bytes) in sources() {
        if bytes.len() > 20_000 {
            continue;
        }
        for round in 0..rounds() {
            let mut damaged = bytes.clone();
            for _ in 0..1 + random(4) {
                // Headers matter most.
                let reach = if round % 2 == 0 { 200 } else { bytes.len() };
                let at = random(reach.min(bytes.len()));
                damaged[at] = random(256) as u8;
            }
            if round % 5 == 0 {
                damaged.truncate(1 + random(bytes.len()));
            }
            match Image::decode_with(&damaged, &name, &options) {
                Ok(image) => {
                    assert_eq!(preprocess.apply(&image).len(), 3 * 8 * 8);
                    read += 1;
                }
                Err(error) => {
                    assert!(matches!(error, Error::Image { .. }), "{error}");
                    refused += 1;
                }
            }
        }
    }
    println!("{read} read, {refused} refused");
    assert!(read > 100 && refused > 100);
}

/// How often each file is damaged; `PIXELS_ROUNDS` asks for more.
fn rounds() -> usize {
    let asked = std::env::var("PIXELS_ROUNDS").ok();
    asked.and_then(|rounds| rounds.parse().ok()).unwrap_or(40)
}

#[test]
fn any_sides_and_channels_give_the_announced_shape() {
    let filters = [
        Interpolation::Nearest,
        Interpolation::Box,
        Interpolation::Bilinear,
        Interpolation::Hamming,
        Interpolation::Bicubic,
        Interpolation::Lanczos,
    ];
    for (height, width) in [(1, 1), (1, 999), (999, 1), (2, 3), (17, 5), (64, 64)] {
        for channels in 1..=4 {
            let flat = Image::new(height, width, channels, vec![77; height * width * channels]);
            let flat = flat.unwrap();
            for filter in filters {
                for mode in [CropMode::Center, CropMode::Squash, CropMode::Border] {
                    for (size, wanted) in [(1, 3), (7, 1), (40, 5)] {
                        // Zero becomes -0.5, so that every colour of a border is told apart.
                        let parts = [vec![0.5; wanted], vec![1.0; wanted]];
                        let [mean, std] = parts;
                        let plain = Normalization::new(mean, std).unwrap();
                        let values = Preprocess::new(Some(size.into()), plain)
                            .interpolation(filter)
                            .crop_mode(mode)
                            .apply(&flat);
                        assert_eq!(values.len(), wanted * size * size);
                        let (inside, border) = (77.0 / 255.0 - 0.5, 128.0 / 255.0 - 0.5);
                        let close = |a: f32, b: f32| (a - b).abs() < 1e-6;
                        let filled = mode == CropMode::Border && height != width;
                        assert!(
                            values
                                .iter()
                                .all(|v| { close(*v, inside) || (filled && close(*v, border)) })
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn steps_that_cannot_be_taken_are_refused() {
    let base = Preprocess::new(Some(224.into()), Normalization::imagenet());
    let error = |preprocess: Preprocess| preprocess.check().unwrap_err().to_string();
    assert!(base.clone().crop_pct(0.875).check().is_ok());
    assert!(base.clone().crop_pct(1.15).check().is_ok());
    assert_eq!(
        error(base.clone().crop_pct(f64::NAN)),
        "crop_pct: expected 0.1 to 10, found NaN"
    );
    assert_eq!(
        error(base.crop_pct(0.0)),
        "crop_pct: expected 0.1 to 10, found 0"
    );
    let tiny = Preprocess::new(Some(2.into()), Normalization::imagenet()).crop_pct(3.0);
    assert_eq!(
        error(tiny),
        "crop_pct: expected at most the image size, 2, found 3"
    );
    let huge = Preprocess::new(Some(20_000.into()), Normalization::imagenet());
    assert_eq!(
        error(huge),
        "image_size: expected 1 to 16384 pixels, found 20000"
    );
    // Unchecked, they still do not panic.
    let image = Image::new(3, 2, 3, vec![9; 18]).unwrap();
    for crop_pct in [f64::NAN, 0.0, -1.0, 1e-300, 1e300, f64::INFINITY] {
        for mode in [CropMode::Center, CropMode::Squash, CropMode::Border] {
            let preprocess = Preprocess::new(Some(4.into()), Normalization::imagenet())
                .crop_pct(crop_pct)
                .crop_mode(mode);
            assert_eq!(preprocess.apply(&image).len(), 48);
        }
    }
    let nothing = Preprocess::new(Some(0.into()), Normalization::imagenet());
    assert!(nothing.apply(&image).is_empty());
}

#[test]
fn names_are_timms() {
    for (name, filter) in [
        ("nearest", Interpolation::Nearest),
        ("box", Interpolation::Box),
        ("bilinear", Interpolation::Bilinear),
        ("hamming", Interpolation::Hamming),
        ("bicubic", Interpolation::Bicubic),
        ("lanczos", Interpolation::Lanczos),
    ] {
        let text = format!("\"{name}\"");
        assert_eq!(serde_json::to_string(&filter).unwrap(), text);
        assert_eq!(
            serde_json::from_str::<Interpolation>(&text).unwrap(),
            filter
        );
    }
    for (name, mode) in [
        ("center", CropMode::Center),
        ("squash", CropMode::Squash),
        ("border", CropMode::Border),
    ] {
        let text = format!("\"{name}\"");
        assert_eq!(serde_json::to_string(&mode).unwrap(), text);
        assert_eq!(serde_json::from_str::<CropMode>(&text).unwrap(), mode);
    }
    let limits: DecodeOptions = serde_json::from_str("{\"max_pixels\": 5}").unwrap();
    assert_eq!((limits.max_pixels, limits.max_bytes), (5, 1 << 30));
}
