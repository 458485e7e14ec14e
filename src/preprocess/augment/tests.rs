//! Random changes of images against torchvision on Pillow images, and mixing against timm. The
//! references are made by `fixtures/augment.py`.
//!
//! Shares of random draws are compared with shares of torchvision's draws or with exact ones. The
//! seeds are fixed, so a distribution that has passed passes again; the tolerance is five standard
//! deviations of the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use super::affine::Affine;
use super::color_jitter::ColorJitter;
use super::crop::{RandomCrop, RandomResizedCrop};
use super::erasing::{ErasingMode, RandomErasing};
use super::flip::{HorizontalFlip, VerticalFlip};
use super::mixing::Mixture;
use super::op::Op;
use super::padding::PaddingMode;
use super::rand_augment::{RandAugment, TrivialAugmentWide};
use super::spread::Spread;
use super::transform::Transform;
use super::{Augment, Mixing, Views, batch_rng, image_rng, soft_targets};
use crate::init::Rng;
use crate::preprocess::{CropMode, Image, ImageSize, Interpolation, Normalization, Preprocess};
use safetensors::SafeTensors;
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Reference {
    ops: Vec<Case>,
    magnitudes: Vec<Magnitudes>,
    draws: Vec<Draws>,
    fallback: Vec<Fallback>,
    beta: Vec<Beta>,
    cutmix: Vec<CutMix>,
    mix: Mixes,
    smooth: Vec<Smooth>,
    views: Vec<View>,
}

#[derive(Deserialize)]
struct Case {
    image: String,
    op: Op,
    height: usize,
    width: usize,
    offset: Option<usize>,
    sha256: Option<String>,
}

#[derive(Deserialize)]
struct Magnitudes {
    augmenter: String,
    bins: usize,
    height: usize,
    width: usize,
    table: BTreeMap<String, Magnitude>,
}

#[derive(Deserialize)]
struct Magnitude {
    signed: bool,
    values: Option<Vec<f64>>,
}

#[derive(Deserialize)]
struct Draws {
    transform: Transform,
    height: usize,
    width: usize,
    draws: usize,
    kept: usize,
    quantities: BTreeMap<String, Shares>,
}

#[derive(Deserialize)]
struct Shares {
    at: Vec<f64>,
    share: Vec<f64>,
}

#[derive(Deserialize)]
struct Fallback {
    height: usize,
    width: usize,
    scale: [f64; 2],
    ratio: [f64; 2],
    part: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
struct Beta {
    alpha: f64,
    #[serde(flatten)]
    shares: Shares,
}

#[derive(Deserialize)]
struct CutMix {
    height: usize,
    width: usize,
    alpha: f64,
    draws: usize,
    lam: Shares,
}

#[derive(Deserialize)]
struct Mixes {
    classes: usize,
    smoothing: f64,
    labels: Vec<usize>,
    cases: Vec<MixCase>,
}

#[derive(Deserialize)]
struct MixCase {
    lam: f64,
    center: Option<[usize; 2]>,
    corrected: f64,
}

#[derive(Deserialize)]
struct Smooth {
    classes: usize,
    smoothing: f64,
    labels: Vec<usize>,
    loss: f64,
}

#[derive(Deserialize)]
struct View {
    size: usize,
    crop_pct: f64,
    crop_mode: CropMode,
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read(folder.join(name)).unwrap()
}

static REFERENCE: LazyLock<Reference> =
    LazyLock::new(|| serde_json::from_slice(&fixture("augment.json")).unwrap());
static TENSORS: LazyLock<Vec<u8>> = LazyLock::new(|| fixture("augment.safetensors"));

/// Shape and bytes of a tensor.
fn tensor(name: &str) -> (Vec<usize>, Vec<u8>) {
    let file = SafeTensors::deserialize(&TENSORS).unwrap();
    let view = file.tensor(name).unwrap();
    (view.shape().to_vec(), view.data().to_vec())
}

fn floats(name: &str) -> Vec<f32> {
    let (_, bytes) = tensor(name);
    let chunks = bytes.as_chunks::<4>().0.iter();
    chunks.map(|b| f32::from_le_bytes(*b)).collect()
}

fn picture(name: &str) -> Image {
    if name == "cube" {
        let pixel = |i: usize| [i % 52, i / 52 % 52, i / 2704].map(|level| 5 * level as u8);
        let pixels = (0..416 * 338).flat_map(pixel).collect();
        return Image::new(416, 338, 3, pixels).unwrap();
    }
    let (shape, bytes) = tensor(&format!("image.{name}"));
    Image::new(
        shape[0],
        shape[1],
        shape.get(2).copied().unwrap_or(1),
        bytes,
    )
    .unwrap()
}

fn rng(name: &str) -> Rng {
    Rng::new(7, name)
}

#[test]
fn operations_give_torchvisions_bytes() {
    let (_, results) = tensor("ops");
    let mut wrong = Vec::new();
    let mut seen = BTreeMap::new();
    for case in &REFERENCE.ops {
        let image = picture(&case.image);
        let found = case.op.apply(&image);
        assert_eq!((found.height(), found.width()), (case.height, case.width));
        assert_eq!(found.channels(), image.channels());
        let right = match (&case.sha256, case.offset) {
            (Some(sha256), _) => {
                let digest = Sha256::digest(found.pixels());
                let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                digest == *sha256
            }
            (None, offset) => {
                results[offset.unwrap()..].starts_with(found.pixels()) && !found.pixels().is_empty()
            }
        };
        let name = format!("{:?}", case.op);
        let name = name.split(['(', ' ']).next().unwrap().to_owned();
        *seen.entry(name).or_insert(0) += 1;
        if !right {
            wrong.push(format!("{} {:?}", case.image, case.op));
        }
    }
    println!("{seen:?}");
    assert_eq!(seen.len(), 16, "an operation has no case");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Images with a channel more than RGB, or one less, are changed channel by channel.
#[test]
fn other_channels_are_taken_one_by_one() {
    let grey = picture("grey");
    let doubled = grey.pixels().iter().flat_map(|v| [*v, 255 - *v]).collect();
    let doubled = Image::new(grey.height(), grey.width(), 2, doubled).unwrap();
    let inverted = Op::Invert.apply(&grey);
    let mut compared = 0;
    for case in REFERENCE.ops.iter().filter(|case| case.image == "grey") {
        // The mean that contrast is about is over all channels.
        if matches!(case.op, Op::Contrast(_)) {
            continue;
        }
        let found = case.op.apply(&doubled);
        for (channel, image) in [&grey, &inverted].into_iter().enumerate() {
            let expected = case.op.apply(image);
            let plane = found.pixels().iter().skip(channel).step_by(2);
            assert!(plane.eq(expected.pixels()), "{:?}", case.op);
            compared += 1;
        }
    }
    assert!(compared > 100);
}

/// The value that an operation of the augmenters has, and what torchvision calls the operation.
fn strength(op: &Op) -> (&'static str, f64) {
    match *op {
        Op::Affine {
            translate,
            shear,
            center,
            ..
        } => match (translate, shear, center) {
            ([0.0, 0.0], [0.0, 0.0], Some(_)) => ("Shear", 0.0),
            ([0.0, 0.0], [x, 0.0], Some([0.0, 0.0])) => ("ShearX", x),
            ([0.0, 0.0], [0.0, y], Some([0.0, 0.0])) => ("ShearY", y),
            ([0.0, 0.0], [0.0, 0.0], None) => ("Translate", 0.0),
            ([x, 0.0], [0.0, 0.0], None) => ("TranslateX", x),
            ([0.0, y], [0.0, 0.0], None) => ("TranslateY", y),
            _ => panic!("{op:?}"),
        },
        Op::Rotate { angle, .. } => ("Rotate", angle),
        Op::Brightness(factor) => ("Brightness", factor),
        Op::Saturation(factor) => ("Color", factor),
        Op::Contrast(factor) => ("Contrast", factor),
        Op::Sharpness(factor) => ("Sharpness", factor),
        Op::Posterize(bits) => ("Posterize", f64::from(bits)),
        Op::Solarize(threshold) => ("Solarize", threshold),
        Op::AutoContrast => ("AutoContrast", 0.0),
        Op::Equalize => ("Equalize", 0.0),
        _ => panic!("{op:?}"),
    }
}

/// What torchvision hands to an operation for a value of its table.
fn handed(name: &str, value: f64) -> f64 {
    match name {
        "ShearX" | "ShearY" => value.atan().to_degrees(),
        "TranslateX" | "TranslateY" => value.trunc(),
        "Brightness" | "Color" | "Contrast" | "Sharpness" => 1.0 + value,
        "Solarize" => 255.0 * value,
        _ => value,
    }
}

/// Bits of a number, without the sign of zero.
fn bits(value: f64) -> u64 {
    (value + 0.0).to_bits()
}

#[test]
fn augmenters_have_torchvisions_magnitudes() {
    for case in &REFERENCE.magnitudes {
        let size = [case.height, case.width];
        let mut rng = rng(&format!("{} {}", case.augmenter, case.bins));
        // What is drawn at each step; TrivialAugment draws the step as well.
        let mut found: Vec<BTreeMap<&str, BTreeSet<u64>>> = Vec::new();
        if case.augmenter == "rand_augment" {
            for magnitude in 0..case.bins {
                let augment = RandAugment {
                    num_ops: 600,
                    magnitude,
                    num_magnitude_bins: case.bins,
                    ..Default::default()
                };
                let mut values: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
                for op in augment.draw(size, &mut rng) {
                    let (name, value) = strength(&op);
                    values.entry(name).or_default().insert(bits(value));
                }
                found.push(values);
            }
        } else {
            let augment = TrivialAugmentWide {
                num_magnitude_bins: case.bins,
                ..Default::default()
            };
            let mut values: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
            for _ in 0..20_000 {
                if let Some(op) = augment.draw(&mut rng) {
                    let (name, value) = strength(&op);
                    values.entry(name).or_default().insert(bits(value));
                }
            }
            found.push(values);
        }

        for (step, found) in found.iter().enumerate() {
            let mut expected: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
            for (name, magnitude) in &case.table {
                let all = magnitude.values.as_deref();
                let values = match (all, case.augmenter.as_str()) {
                    (None, _) if name == "Identity" => continue,
                    (None, _) => &[0.0][..],
                    (Some(all), "rand_augment") => &all[step..=step],
                    (Some(all), _) => all,
                };
                for value in values {
                    let signs = if magnitude.signed {
                        &[1.0, -1.0][..]
                    } else {
                        &[1.0]
                    };
                    for sign in signs {
                        let value = handed(name, sign * value);
                        // An affine operation that does nothing does not show its direction.
                        let name = match (name.as_str(), value == 0.0) {
                            ("ShearX" | "ShearY", true) => "Shear",
                            ("TranslateX" | "TranslateY", true) => "Translate",
                            (name, _) => name,
                        };
                        expected.entry(name).or_default().insert(bits(value));
                    }
                }
            }
            assert_eq!(*found, expected, "{} of {}", case.augmenter, case.bins);
        }
    }
}

#[test]
fn augmenters_draw_all_operations_and_signs_alike() {
    let augment = RandAugment {
        num_ops: 1,
        ..Default::default()
    };
    let (mut counts, mut negative, mut signed) = (BTreeMap::new(), 0, 0);
    let (draws, mut rng) = (28_000, rng("alike"));
    for _ in 0..draws {
        let ops = augment.draw([50, 50], &mut rng);
        let (name, value) = ops.first().map_or(("Identity", 0.0), strength);
        *counts.entry(name).or_insert(0) += 1;
        if matches!(name, "Rotate" | "TranslateX" | "ShearY") {
            signed += 1;
            negative += usize::from(value < 0.0);
        }
    }
    assert_eq!(counts.len(), 14);
    let deviation = (f64::from(draws) / 14.0 * 13.0 / 14.0).sqrt();
    for (name, count) in counts {
        let off = (f64::from(count) - f64::from(draws) / 14.0) / deviation;
        assert!(off.abs() < 5.0, "{name}: {off} standard deviations");
    }
    let share = negative as f64 / signed as f64;
    assert!((share - 0.5).abs() < 5.0 * 0.5 / (signed as f64).sqrt());

    assert_eq!(
        RandAugment {
            num_ops: 0,
            ..augment
        }
        .draw([9, 9], &mut rng),
        []
    );
}

/// Five standard deviations of the difference of two shares around `share`.
fn tolerance(share: f64, draws: [f64; 2]) -> f64 {
    let variance = share * (1.0 - share) * (1.0 / draws[0] + 1.0 / draws[1]);
    5.0 * variance.sqrt() + 1e-9
}

/// The largest difference of shares, in units of the tolerance. `drawn` is infinite for an exact
/// reference.
fn compare(what: &str, values: &[f64], shares: &Shares, drawn: f64) -> f64 {
    let mut worst: f64 = 0.0;
    for (at, share) in shares.at.iter().zip(&shares.share) {
        let below = values.iter().filter(|value| *value <= at).count();
        let found = below as f64 / values.len() as f64;
        let off = (found - share).abs() / tolerance(*share, [values.len() as f64, drawn]);
        assert!(
            off <= 1.0,
            "{what}: {found} of the values are at most {at}, expected {share}"
        );
        worst = worst.max(off);
    }
    worst
}

/// What one draw of a transform is made of; nothing if it does nothing.
fn quantities(transform: &Transform, size: [usize; 2], rng: &mut Rng) -> Vec<(&'static str, f64)> {
    let [rows, columns] = size.map(|side| side as f64);
    let part = |top: usize, left: usize, height: usize, width: usize| {
        let [top, left, height, width] = [top, left, height, width].map(|n| n as f64);
        vec![
            ("area", height * width / (rows * columns)),
            ("log_ratio", (width / height).ln()),
            ("top", top / (rows - height).max(1.0)),
            ("left", left / (columns - width).max(1.0)),
        ]
    };
    if let Transform::RandomErasing(erasing) = transform {
        let rectangle = erasing.draw(size, rng);
        return rectangle.map_or_else(Vec::new, |r| part(r.top, r.left, r.height, r.width));
    }
    let quantities = transform
        .draw(size, Some(32.into()), rng)
        .into_iter()
        .map(|op| match op {
            Op::ResizedCrop {
                top,
                left,
                height,
                width,
                to: [32, 32],
                ..
            } => part(top, left, height, width),
            Op::Crop { top, left, .. } => vec![("top", top as f64), ("left", left as f64)],
            Op::Affine {
                angle,
                translate: [x, y],
                scale,
                shear: [shear_x, shear_y],
                ..
            } => vec![
                ("angle", angle),
                ("x", x),
                ("y", y),
                ("scale", scale),
                ("shear_x", shear_x),
                ("shear_y", shear_y),
            ],
            Op::Brightness(factor) => vec![("brightness", factor)],
            Op::Contrast(factor) => vec![("contrast", factor)],
            Op::Saturation(factor) => vec![("saturation", factor)],
            Op::Hue(turn) => vec![("hue", turn)],
            other => panic!("{other:?}"),
        });
    quantities.flatten().collect()
}

#[test]
fn parameters_are_distributed_as_torchvisions() {
    const DRAWS: usize = 20_000;
    for case in &REFERENCE.draws {
        case.transform.check().unwrap();
        let size = [case.height, case.width];
        let mut found: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let mut rng = rng(&format!("{:?}", case.transform));
        let mut kept = 0;
        for _ in 0..DRAWS {
            let drawn = quantities(&case.transform, size, &mut rng);
            kept += usize::from(!drawn.is_empty());
            for (name, value) in drawn {
                found.entry(name).or_default().push(value);
            }
        }
        let share = case.kept as f64 / case.draws as f64;
        let found_share = kept as f64 / DRAWS as f64;
        let most = tolerance(share, [DRAWS as f64, case.draws as f64]);
        assert!((found_share - share).abs() <= most, "{found_share} {share}");

        assert!(found.keys().eq(case.quantities.keys()));
        for (name, shares) in &case.quantities {
            let what = format!("{} {name}", case.transform);
            let worst = compare(&what, &found[name.as_str()], shares, case.kept as f64);
            println!("{what}: {worst:.2} of the tolerance");
        }
    }
}

#[test]
fn crops_fall_back_as_torchvisions() {
    for case in &REFERENCE.fallback {
        let crop = RandomResizedCrop {
            scale: case.scale,
            ratio: case.ratio,
            ..Default::default()
        };
        for draw in 0..20 {
            let mut rng = rng(&format!("fallback {draw}"));
            let op = crop.draw([case.height, case.width], [8, 8], &mut rng);
            let Op::ResizedCrop {
                top,
                left,
                height,
                width,
                ..
            } = op
            else {
                panic!("{op:?}");
            };
            let found = [
                ("top", top),
                ("left", left),
                ("height", height),
                ("width", width),
            ];
            let found = found.map(|(name, value)| (name.to_owned(), value));
            assert_eq!(BTreeMap::from(found), case.part);
        }
    }
}

/// How often something happens in 20,000 draws must be within five standard deviations of `p`.
fn assert_frequency(what: &str, p: f64, mut happens: impl FnMut(&mut Rng) -> bool) {
    let (draws, mut rng) = (20_000, rng(what));
    let times = (0..draws).filter(|_| happens(&mut rng)).count();
    let found = times as f64 / f64::from(draws);
    let most = tolerance(p, [f64::from(draws), f64::INFINITY]);
    assert!((found - p).abs() <= most, "{what}: {found} instead of {p}");
}

#[test]
fn flips_and_erasing_happen_as_often_as_asked() {
    for p in [0.0, 0.2, 0.5, 1.0] {
        assert_frequency("horizontal", p, |rng| {
            HorizontalFlip { p }.draw(rng).is_some()
        });
        assert_frequency("vertical", p, |rng| VerticalFlip { p }.draw(rng).is_some());
        let erasing = RandomErasing {
            p,
            ..Default::default()
        };
        assert_frequency("erasing", p, |rng| erasing.draw([64, 64], rng).is_some());
    }
    let flips = [
        HorizontalFlip { p: 1.0 }.draw(&mut rng("")),
        VerticalFlip { p: 1.0 }.draw(&mut rng("")),
    ];
    assert_eq!(flips, [Some(Op::HorizontalFlip), Some(Op::VerticalFlip)]);
}

#[test]
fn jitter_takes_all_orders_alike() {
    let jitter = ColorJitter {
        brightness: 0.4.into(),
        contrast: 0.4.into(),
        saturation: 0.4.into(),
        hue: 0.1.into(),
    };
    let mut orders: BTreeMap<Vec<&str>, u32> = BTreeMap::new();
    let (draws, mut rng) = (24_000, rng("orders"));
    for _ in 0..draws {
        let names = jitter.draw(&mut rng).into_iter().map(|op| match op {
            Op::Hue(_) => "Hue",
            op => strength(&op).0,
        });
        *orders.entry(names.collect()).or_default() += 1;
    }
    assert_eq!(orders.len(), 24);
    let deviation = (1000.0_f64 * 23.0 / 24.0).sqrt();
    for (order, count) in orders {
        let off = (f64::from(count) - 1000.0) / deviation;
        assert!(off.abs() < 5.0, "{order:?}: {count}");
    }
    let only = ColorJitter {
        contrast: [0.5, 0.5].into(),
        ..Default::default()
    };
    assert_eq!(only.draw(&mut rng), [Op::Contrast(0.5)]);
    assert_eq!(ColorJitter::default().draw(&mut rng), []);
}

#[test]
fn erasing_overwrites_one_rectangle() {
    let shape = [3, 40, 30];
    let image = vec![7.5_f32; 3 * 40 * 30];
    for mode in [ErasingMode::Const, ErasingMode::Rand, ErasingMode::Pixel] {
        let erasing = RandomErasing {
            p: 1.0,
            mode,
            ..Default::default()
        };
        let augment = Augment::none().with(erasing.clone());
        let (mut noise, mut colours) = (Vec::new(), BTreeSet::new());
        for index in 0..60 {
            let mut values = image.clone();
            augment
                .apply_values(&mut values, shape, &mut image_rng(1, 0, index))
                .unwrap();
            let part = erasing.draw([40, 30], &mut image_rng(1, 0, index)).unwrap();
            for (i, value) in values.iter().enumerate() {
                let (plane, row, column) = (i / 1200, i / 30 % 40, i % 30);
                let inside = (part.top..part.top + part.height).contains(&row)
                    && (part.left..part.left + part.width).contains(&column);
                match (inside, mode) {
                    (false, _) => assert_eq!(*value, 7.5),
                    (true, ErasingMode::Const) => assert_eq!(*value, 0.0),
                    (true, ErasingMode::Rand) => {
                        let first = (plane * 40 + part.top) * 30 + part.left;
                        assert_eq!(*value, values[first]);
                        colours.insert(value.to_bits());
                    }
                    (true, ErasingMode::Pixel) => noise.push(f64::from(*value)),
                }
            }
        }
        match mode {
            ErasingMode::Const => {}
            ErasingMode::Rand => assert_eq!(colours.len(), 180),
            ErasingMode::Pixel => {
                // The distribution function of N(0, 1).
                let normal = Shares {
                    at: vec![-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0],
                    share: vec![
                        0.001_349_898,
                        0.022_750_132,
                        0.158_655_254,
                        0.308_537_539,
                        0.5,
                        0.691_462_461,
                        0.841_344_746,
                        0.977_249_868,
                        0.998_650_102,
                    ],
                };
                assert!(noise.len() > 10_000);
                compare("noise", &noise, &normal, f64::INFINITY);
                // Neighbours come from one pair of numbers, and must have nothing to do with each
                // other.
                let products = noise.windows(2).map(|w| w[0] * w[1]).sum::<f64>();
                let correlation = products / noise.len() as f64;
                assert!(correlation.abs() < 5.0 / (noise.len() as f64).sqrt());
            }
        }
    }
    let error = Augment::none().apply_values(&mut [0.0; 5], [1, 2, 3], &mut rng(""));
    assert_eq!(
        error.unwrap_err().to_string(),
        "values: expected as many as [1, 2, 3] has, found 5"
    );
}

#[test]
fn an_image_depends_on_seed_epoch_and_index_alone() {
    let augment: Augment = "trivial,random-erasing:mode=pixel".parse().unwrap();
    let preprocess = Preprocess::new(Some(24.into()), Normalization::imagenet());
    let images: Vec<Image> = ["rgb", "square", "small"].map(picture).into();
    let one = |seed, epoch, index: usize| {
        let image = &images[index % images.len()];
        augment.apply(image, &preprocess, &mut image_rng(seed, epoch, index))
    };
    let forwards: Vec<_> = (0..9).map(|index| one(5, 2, index)).collect();
    let mut backwards: Vec<_> = (0..9).rev().map(|index| one(5, 2, index)).collect();
    backwards.reverse();
    assert_eq!(forwards, backwards);
    let threads: Vec<_> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..9).map(|i| scope.spawn(move || i)).collect();
        handles
            .into_iter()
            .map(|h| one(5, 2, h.join().unwrap()))
            .collect()
    });
    assert_eq!(forwards, threads);

    let keys = [(5, 2, 0), (5, 2, 3), (5, 3, 0), (6, 2, 0), (5, 0, 2)];
    let mut first = keys.map(|(s, e, i)| image_rng(s, e, i).uniform(0.0, 1.0).to_bits());
    first.sort_unstable();
    assert!(first.windows(2).all(|w| w[0] != w[1]));
    assert_ne!(
        image_rng(5, 2, 3).uniform(0.0, 1.0),
        batch_rng(5, 2, 3).uniform(0.0, 1.0)
    );
    // The streams are part of the interface: a run can be repeated with a later version.
    assert_eq!(
        image_rng(5, 2, 3).uniform(0.0, 1.0),
        Rng::new(5, "augment 2 3").uniform(0.0, 1.0)
    );
}

/// The whole way is the sum of its steps.
#[test]
fn apply_is_pixels_then_preprocess_then_values() {
    let image = picture("views");
    let preprocess = Preprocess::new(Some(20.into()), Normalization::imagenet()).crop_pct(0.8);
    let key = || image_rng(3, 1, 4);

    let augment: Augment = "flip-crop,color-jitter:hue=0.2".parse().unwrap();
    assert!(!augment.resizes());
    let changed = augment.apply_pixels(&image, Some(20.into()), &mut key());
    assert_eq!((changed.height(), changed.width()), (45, 61));
    assert_ne!(*changed, image);
    assert_eq!(
        augment.apply(&image, &preprocess, &mut key()),
        preprocess.apply(&changed)
    );

    // A part of random size is brought to the size at once, and nothing is cut off afterwards.
    let augment = Augment::imagenet();
    assert!(augment.resizes());
    let changed = augment.apply_pixels(&image, Some(20.into()), &mut key());
    assert_eq!((changed.height(), changed.width()), (20, 20));
    let whole = preprocess.clone().crop_pct(1.0);
    assert_eq!(
        augment.apply(&image, &preprocess, &mut key()),
        whole.apply(&changed)
    );
    // Without a size, to the image's own.
    let changed = augment.apply_pixels(&image, None, &mut key());
    assert_eq!((changed.height(), changed.width()), (45, 61));
    let own = Preprocess::new(None, Normalization::imagenet());
    assert_eq!(augment.apply(&image, &own, &mut key()).len(), 3 * 45 * 61);

    // Grey stays grey until the end, and nothing at all is a copy of nothing.
    let grey = picture("grey");
    let changed = Augment::rand().apply_pixels(&grey, Some(9.into()), &mut key());
    assert_eq!(changed.channels(), 1);
    let same = Augment::none().apply_pixels(&grey, Some(9.into()), &mut key());
    assert!(matches!(same, std::borrow::Cow::Borrowed(_)));
}

/// Any image, however small or odd, comes through every transform.
#[test]
fn every_transform_takes_every_image() {
    let lists = [
        "imagenet,vertical-flip,random-erasing",
        "random-crop:padding=9:padding_mode=reflect,random-erasing:mode=rand",
        "random-crop:padding=3:padding_mode=symmetric,rand-augment:num_ops=9:magnitude=30",
        "random-crop:padding_mode=edge,trivial-augment-wide:interpolation=bicubic",
        "affine:degrees=180:translate=1..1:scale=0.01..100:shear_x=89:shear_y=-89..89",
        "affine:degrees=30:interpolation=bilinear,color-jitter:brightness=9:contrast=9:hue=0.5",
        "random-resized-crop:scale=0.0001..1:ratio=0.001..1000:interpolation=lanczos,trivial",
    ];
    let sizes = [(1, 1), (1, 9), (9, 1), (2, 3), (3, 3), (40, 2)];
    for list in lists {
        let augment: Augment = list.parse().unwrap();
        for (height, width) in sizes {
            for channels in [1, 2, 3, 4] {
                let pixels = (0..height * width * channels).map(|i| (i * 37) as u8);
                let image = Image::new(height, width, channels, pixels.collect()).unwrap();
                for index in 0..40 {
                    for size in [None, Some(1), Some(5)].map(|size| size.map(ImageSize::from)) {
                        let mut rng = image_rng(0, 0, index);
                        let changed = augment.apply_pixels(&image, size, &mut rng);
                        assert_eq!(changed.channels(), channels);
                        let mut values = vec![0.0; height * width * channels];
                        augment
                            .apply_values(&mut values, [channels, height, width], &mut rng)
                            .unwrap();
                    }
                }
            }
        }
    }
}

#[test]
fn text_and_tables_say_the_same() {
    let list = "random-resized-crop:ratio=1..1:scale=0.35..1,random-crop:fill=9:padding=2:\
                padding_mode=reflect,horizontal-flip:p=0.25,vertical-flip,affine:degrees=-5..10:\
                translate=0.1..0.2,color-jitter:brightness=0.4:hue=-0.1..0.05,\
                rand-augment:magnitude=7,trivial-augment-wide:interpolation=bilinear,\
                random-erasing:mode=pixel:p=0.1";
    let augment = Augment::none()
        .with(RandomResizedCrop {
            scale: [0.35, 1.0],
            ratio: [1.0, 1.0],
            ..Default::default()
        })
        .with(RandomCrop {
            padding: 2,
            padding_mode: PaddingMode::Reflect,
            fill: 9,
        })
        .with(HorizontalFlip { p: 0.25 })
        .with(VerticalFlip::default())
        .with(Affine {
            degrees: [-5.0, 10.0].into(),
            translate: [0.1, 0.2],
            ..Default::default()
        })
        .with(ColorJitter {
            brightness: Spread::Around(0.4),
            hue: Spread::Between([-0.1, 0.05]),
            ..Default::default()
        })
        .with(RandAugment {
            magnitude: 7,
            ..Default::default()
        })
        .with(TrivialAugmentWide {
            interpolation: Interpolation::Bilinear,
            ..Default::default()
        })
        .with(RandomErasing {
            p: 0.1,
            mode: ErasingMode::Pixel,
            ..Default::default()
        });
    assert_eq!(list.parse::<Augment>().unwrap(), augment);
    assert_eq!(augment.to_string(), list);

    #[derive(Debug, PartialEq, serde::Serialize, Deserialize)]
    struct Config {
        augment: Augment,
    }
    let config = Config { augment };
    let written = toml::to_string(&config).unwrap();
    assert_eq!(toml::from_str::<Config>(&written).unwrap(), config);
    let written = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&written).unwrap(), config);

    let tables =
        r#"augment = [{ kind = "random_crop", padding = 2 }, { kind = "horizontal_flip" }]"#;
    let config: Config = toml::from_str(tables).unwrap();
    assert_eq!(
        config.augment.to_string(),
        "random-crop:padding=2,horizontal-flip"
    );
    let config: Config = toml::from_str(r#"augment = "flip-crop, random-erasing""#).unwrap();
    assert_eq!(
        config.augment,
        Augment::flip_crop().with(RandomErasing::default())
    );
}

#[test]
fn presets_stand_for_lists() {
    for (name, augment, list) in [
        ("none", Augment::none(), "none"),
        (
            "flip-crop",
            Augment::flip_crop(),
            "random-crop,horizontal-flip",
        ),
        (
            "imagenet",
            Augment::imagenet(),
            "random-resized-crop,horizontal-flip",
        ),
        (
            "trivial",
            Augment::trivial(),
            "random-resized-crop,horizontal-flip,trivial-augment-wide",
        ),
        (
            "rand",
            Augment::rand(),
            "random-resized-crop,horizontal-flip,rand-augment",
        ),
    ] {
        assert_eq!(name.parse::<Augment>().unwrap(), augment);
        assert_eq!(augment.to_string(), list);
        assert_eq!(list.parse::<Augment>().unwrap(), augment);
        augment.check().unwrap();
    }
    assert!("none".parse::<Augment>().unwrap().is_none());
}

/// The message has these parts, with ` .. ` between them, in this order.
#[track_caller]
fn assert_names(message: &str, parts: &str) {
    let mut rest = message;
    for part in parts.split(" .. ") {
        let at = rest.find(part);
        let at = at.unwrap_or_else(|| panic!("`{message}` does not name `{part}`"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn nonsense_is_refused() {
    for (text, expected) in [
        (
            "flip",
            "augment: expected none, flip-crop, imagenet, trivial, rand .. random-resized-crop, \
             random-crop, horizontal-flip, vertical-flip, affine, color-jitter, rand-augment, \
             trivial-augment-wide .. random-erasing, found `flip`",
        ),
        (
            "none,horizontal-flip",
            "augment: expected `none` alone, or random changes without it, found \
             `none,horizontal-flip`",
        ),
        (
            "random-crop:padding=2:fill=3:padding=4",
            "augment random-crop .. one value .. padding .. two",
        ),
        (
            "horizontal-flip:q=1",
            "augment horizontal-flip: expected p .. `q=1`",
        ),
        (
            "horizontal-flip:kind=affine",
            "augment horizontal-flip: expected p .. `kind=affine`",
        ),
        (
            "horizontal-flip:p=often",
            "augment horizontal-flip p: .. number .. `often`",
        ),
        (
            "random-resized-crop:scale=0.5",
            "augment random-resized-crop scale: .. 2 .. `0.5`",
        ),
        (
            "random-crop:padding=-1",
            "augment random-crop padding: .. whole number of at least 0 .. `-1`",
        ),
        (
            "random-crop:fill=256",
            "augment random-crop fill: .. whole number from 0 to 255 .. `256`",
        ),
        (
            "horizontal-flip:p=1.5",
            "horizontal-flip p: expected 0 to 1, found 1.5",
        ),
        (
            "horizontal-flip:p=nan",
            "augment horizontal-flip p: .. number .. `nan`",
        ),
        (
            "random-resized-crop:scale=0.5..0.2",
            "random-resized-crop scale: expected above 0 and up to 1, the lower one first, \
             found 0.5..0.2",
        ),
        (
            "random-resized-crop:scale=0..1",
            "random-resized-crop scale: expected above 0 and up to 1, the lower one first, \
             found 0..1",
        ),
        (
            "random-erasing:ratio=0..1",
            "random-erasing ratio: expected 0.001 to 1000, the lower one first, found 0..1",
        ),
        (
            "color-jitter:hue=0.6",
            "color-jitter hue: expected 0 to 0.5, found 0.6",
        ),
        (
            "color-jitter:brightness=-0.1..1",
            "color-jitter brightness: expected 0 to 100, the lower one first, found -0.1..1",
        ),
        (
            "affine:degrees=-3",
            "affine degrees: expected 0 to 360, found -3",
        ),
        (
            "affine:translate=0..1.5",
            "affine translate: expected 0 to 1, found 1.5",
        ),
        (
            "affine:interpolation=box",
            "affine interpolation: expected nearest, bilinear or bicubic, found box",
        ),
        (
            "rand-augment:magnitude=31",
            "rand-augment magnitude: expected below num_magnitude_bins, 31, found 31",
        ),
        (
            "trivial-augment-wide:num_magnitude_bins=1",
            "trivial-augment-wide num_magnitude_bins: expected 2 to 1000, found 1",
        ),
        (
            "random-erasing,horizontal-flip",
            "augment: expected random-erasing after all transforms of pixels, \
             found horizontal-flip after it",
        ),
    ] {
        let error = text.parse::<Augment>().unwrap_err().to_string();
        assert_names(&error, expected);
    }
    for (table, expected) in [
        (r#"{ kind = "flip" }"#, "unknown variant `flip`"),
        (
            r#"{ kind = "horizontal_flip", q = 1 }"#,
            "unknown field `q`",
        ),
        (
            r#"{ kind = "horizontal_flip", p = 2.0 }"#,
            "expected 0 to 1, found 2",
        ),
        (r#"{ kind = "affine", degrees = "3" }"#, "a number or two"),
    ] {
        #[derive(Debug, Deserialize)]
        struct Config {
            #[expect(dead_code)]
            augment: Augment,
        }
        let text = format!("augment = [{table}]");
        let error = toml::from_str::<Config>(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn mixed_batches_are_timms() {
    let mixes = &REFERENCE.mix;
    let shape = [4, 3, 6, 5];
    let images = floats("mix.images");
    let targets = soft_targets(&mixes.labels, mixes.classes, mixes.smoothing).unwrap();
    for (n, case) in mixes.cases.iter().enumerate() {
        let mix = match case.center {
            None => Mixture::Mixup { lam: case.lam },
            Some(center) => Mixture::cutmix([6, 5], center, case.lam),
        };
        assert_eq!(mix.lam(), case.corrected);
        let (mut images, mut targets) = (images.clone(), targets.clone());
        mix.apply(&mut images, shape, &mut targets).unwrap();
        assert_eq!(images, floats(&format!("mix.{n}.images")), "case {n}");
        assert_eq!(targets, floats(&format!("mix.{n}.targets")), "case {n}");
    }

    // The one in the middle of an odd batch is its own partner.
    let (mut odd, mut targets) = (vec![1.0, 2.0, 4.0], vec![1.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
    let half = Mixture::Mixup { lam: 0.75 };
    half.apply(&mut odd, [3, 1, 1, 1], &mut targets).unwrap();
    assert_eq!(odd, [1.75, 2.0, 3.25]);
    assert_eq!(targets, [0.75, 0.25, 0.0, 1.0, 0.25, 0.75]);
    half.apply(&mut [], [0, 1, 1, 1], &mut []).unwrap();

    let error = half
        .apply(&mut odd, [3, 1, 1, 2], &mut targets)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "images: expected as many as [3, 1, 1, 2] has, found 3"
    );
    let error = half
        .apply(&mut odd, [3, 1, 1, 1], &mut [0.0; 7])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "targets: expected as many as [3, 2] has, found 7"
    );
    let part = Mixture::cutmix([9, 9], [8, 8], 0.5);
    let error = part
        .apply(&mut odd, [3, 1, 1, 1], &mut targets)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cutmix: expected a part of 1 x 1 pixels, found 4 x 4 from row 5 and column 5"
    );
}

#[test]
fn lambda_is_distributed_as_beta() {
    for case in &REFERENCE.beta {
        let mixing = Mixing {
            mixup_alpha: case.alpha,
            ..Default::default()
        };
        mixing.check().unwrap();
        let mut rng = rng(&format!("beta {}", case.alpha));
        let draw = |_| mixing.draw([8, 8], &mut rng).lam();
        let values: Vec<f64> = (0..20_000).map(draw).collect();
        assert!(values.iter().all(|lam| (0.0..=1.0).contains(lam)));
        let what = format!("beta {}", case.alpha);
        let worst = compare(&what, &values, &case.shares, f64::INFINITY);
        // Var = 1 / (4 (2 alpha + 1)).
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - 0.5) * (v - 0.5)).sum::<f64>() / n;
        let expected = 0.25 / (2.0 * case.alpha + 1.0);
        println!("{what}: {worst:.2} of the tolerance, mean {mean}, variance {variance}");
        assert!((mean - 0.5).abs() < 5.0 * (expected / n).sqrt());
        assert!((variance - expected).abs() < 0.05 * expected);
    }
    for case in &REFERENCE.cutmix {
        let mixing = Mixing {
            cutmix_alpha: case.alpha,
            ..Default::default()
        };
        let mut rng = rng(&format!("cutmix {}", case.alpha));
        let draw = |_| mixing.draw([case.height, case.width], &mut rng).lam();
        let values: Vec<f64> = (0..20_000).map(draw).collect();
        let worst = compare("cutmix", &values, &case.lam, case.draws as f64);
        println!("cutmix {}: {worst:.2} of the tolerance", case.alpha);
    }
}

#[test]
fn batches_are_mixed_as_often_as_asked() {
    let both = Mixing {
        mixup_alpha: 0.2,
        cutmix_alpha: 1.0,
        prob: 0.7,
        switch_prob: 0.3,
    };
    let kind = |mix: Mixture| match mix {
        Mixture::Nothing => "nothing",
        Mixture::Mixup { .. } => "mixup",
        Mixture::CutMix { .. } => "cutmix",
    };
    for (name, p) in [("nothing", 0.3), ("mixup", 0.49), ("cutmix", 0.21)] {
        assert_frequency(name, p, |rng| kind(both.draw([8, 8], rng)) == name);
    }
    assert!(both.is_active());
    for off in [Mixing::default(), Mixing { prob: 0.0, ..both }] {
        assert!(!off.is_active());
        assert_frequency("off", 1.0, |rng| off.draw([8, 8], rng) == Mixture::Nothing);
    }
    let (images, targets) = (floats("mix.images"), vec![0.5; 8]);
    let (mut same, mut shape) = (images.clone(), [4, 3, 6, 5]);
    let mut rng = batch_rng(0, 0, 0);
    Mixing::default()
        .apply(&mut same, shape, &mut targets.clone(), &mut rng)
        .unwrap();
    assert_eq!(same, images);
    shape[0] = 5;
    assert!(
        both.apply(&mut same, shape, &mut targets.clone(), &mut rng)
            .is_err()
    );

    let config: Mixing = toml::from_str("mixup_alpha = 0.2").unwrap();
    assert_eq!(
        config,
        Mixing {
            mixup_alpha: 0.2,
            ..Default::default()
        }
    );
    assert!(toml::from_str::<Mixing>("alpha = 0.2").is_err());
    for (mixing, expected) in [
        (
            Mixing {
                mixup_alpha: -0.1,
                ..both
            },
            "mixup_alpha: expected 0 to 1000, found -0.1",
        ),
        (
            Mixing {
                cutmix_alpha: f64::NAN,
                ..both
            },
            "cutmix_alpha: expected 0 to 1000, found NaN",
        ),
        (
            Mixing { prob: 1.1, ..both },
            "prob: expected 0 to 1, found 1.1",
        ),
    ] {
        assert_eq!(mixing.check().unwrap_err().to_string(), expected);
    }
}

#[test]
fn soft_targets_are_timms_and_give_pytorchs_loss() {
    for (n, case) in REFERENCE.smooth.iter().enumerate() {
        let targets = soft_targets(&case.labels, case.classes, case.smoothing).unwrap();
        assert_eq!(targets, floats(&format!("smooth.{n}")));
        let loss = targets
            .chunks(case.classes)
            .enumerate()
            .map(|(image, target)| {
                let logits = |class: usize| ((7 * image + 3 * class) % 11) as f64 / 4.0;
                let sum: f64 = (0..case.classes).map(|class| logits(class).exp()).sum();
                let terms = target.iter().enumerate();
                terms
                    .map(|(class, t)| f64::from(*t) * (sum.ln() - logits(class)))
                    .sum::<f64>()
            });
        let loss = loss.sum::<f64>() / case.labels.len() as f64;
        assert!((loss - case.loss).abs() < 1e-6, "{loss} {}", case.loss);
    }
    let error = soft_targets(&[1, 3], 3, 0.1).unwrap_err();
    assert_eq!(error.to_string(), "label: expected below 3, found 3");
    let error = soft_targets(&[1], 3, 1.1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "label smoothing: expected 0 to 1, found 1.1"
    );
    assert!(soft_targets(&[], 0, 0.1).unwrap().is_empty());
}

fn flipped(values: &[f32], width: usize) -> Vec<f32> {
    let rows = values.chunks(width);
    rows.flat_map(|row| row.iter().rev().copied()).collect()
}

#[test]
fn views_are_torchvisions_crops() {
    let image = picture("views");
    for (n, case) in REFERENCE.views.iter().enumerate() {
        // Values are then bytes over 255.
        let plain = Normalization::new([0.0; 3], [1.0; 3]).unwrap();
        let preprocess = Preprocess::new(Some(case.size.into()), plain)
            .crop_pct(case.crop_pct)
            .crop_mode(case.crop_mode);
        let (shape, bytes) = tensor(&format!("views.{n}"));
        assert_eq!(shape, [10, case.size, case.size, 3]);
        let area = case.size * case.size;
        let expected: Vec<Vec<f32>> = bytes
            .chunks(3 * area)
            .map(|view| {
                let value = |i: usize| f32::from(view[i % area * 3 + i / area]) / 255.0;
                (0..3 * area).map(value).collect()
            })
            .collect();
        let ten = Views::TenCrop.views(&preprocess, &image);
        assert_eq!(ten, expected, "case {n}");
        assert_eq!(Views::FiveCrop.views(&preprocess, &image), expected[..5]);

        let one = preprocess.apply(&image);
        if case.crop_pct < 1.0 {
            assert_eq!(ten[4], one);
        }
        let mirror = flipped(&one, case.size);
        let both = [one, mirror];
        assert_eq!(Views::One.views(&preprocess, &image), both[..1]);
        assert_eq!(Views::Flip.views(&preprocess, &image), both);
    }
}

#[test]
fn views_of_other_kinds_have_their_middle() {
    let image = picture("views");
    // Filled up where the image is too narrow, above and below.
    let preprocess = Preprocess::new(Some(20.into()), Normalization::imagenet())
        .crop_pct(0.8)
        .crop_mode(CropMode::Border);
    let ten = Views::TenCrop.views(&preprocess, &image);
    assert_eq!(ten[4], preprocess.apply(&image));
    assert_eq!(ten[0], ten[2]);
    assert_ne!(ten[0], ten[1]);
    assert_eq!(flipped(&ten[6], 20), ten[0]);
    assert_eq!(flipped(&ten[5], 20), ten[1]);

    // An image that is not resampled, in a frame that is an odd number of columns wider: the views
    // of its mirror image are its own mirrored views.
    let pixels = (0..20 * 7 * 3).map(|i| (i * 91 % 251) as u8).collect();
    let narrow = Image::new(20, 7, 3, pixels).unwrap();
    let framed = Preprocess::new(Some(16.into()), Normalization::imagenet())
        .crop_pct(0.8)
        .crop_mode(CropMode::Border);
    let ten = Views::TenCrop.views(&framed, &narrow);
    let mirror = Op::HorizontalFlip.apply(&narrow);
    assert_eq!(Views::FiveCrop.views(&framed, &mirror), ten[5..]);
    assert_ne!(flipped(&ten[4], 16), ten[9]);

    // Without a size, crops of the image's own size; all views differ.
    let own = Preprocess::new(None, Normalization::imagenet().for_channels(1));
    let grey = picture("grey");
    let ten = Views::TenCrop.views(&own, &grey);
    assert_eq!(ten.len(), Views::TenCrop.count());
    for (i, view) in ten.iter().enumerate() {
        assert_eq!(view.len(), 20 * 17);
        assert!(ten[..i].iter().all(|other| other != view));
    }
    let dot = Image::new(1, 1, 1, vec![3]).unwrap();
    assert_eq!(Views::FiveCrop.views(&own, &dot).len(), 5);
    assert_eq!(Views::FlipShift.views(&own, &dot).len(), 6);

    // Two channels of three rows and four columns, moved by one pixel with mirrored edges.
    let pixels = (0..12).flat_map(|i| [i, 100 + i]).collect();
    let image = Image::new(3, 4, 2, pixels).unwrap();
    let as_bytes = Preprocess::new(
        None,
        Normalization::new(vec![0.0; 2], vec![1.0 / 255.0; 2]).unwrap(),
    );
    let six = Views::FlipShift.views(&as_bytes, &image);
    let first_channel = |view: &[f32]| {
        view[..12]
            .iter()
            .map(|v| v.round() as u8)
            .collect::<Vec<_>>()
    };
    assert_eq!(first_channel(&six[0]), (0..12).collect::<Vec<_>>());
    assert_eq!(
        first_channel(&six[1]),
        [5, 6, 7, 6, 9, 10, 11, 10, 5, 6, 7, 6]
    );
    assert_eq!(first_channel(&six[2]), [5, 4, 5, 6, 1, 0, 1, 2, 5, 4, 5, 6]);
    for i in 0..3 {
        let second: Vec<f32> = six[i][..12].iter().map(|v| v + 100.0).collect();
        assert!(
            second
                .iter()
                .zip(&six[i][12..])
                .all(|(a, b)| (a - b).abs() < 1e-3)
        );
        assert_eq!(flipped(&six[i], 4), six[i + 3]);
    }

    for (text, views) in [
        ("one", Views::One),
        ("flip", Views::Flip),
        ("flip-shift", Views::FlipShift),
        ("five-crop", Views::FiveCrop),
        ("ten-crop", Views::TenCrop),
    ] {
        assert_eq!(text.parse::<Views>().unwrap(), views);
        assert_eq!(views.to_string(), text);
        assert_eq!(serde_json::to_value(views).unwrap(), text);
        let made = views.views(&own, &grey);
        assert_eq!(made.len(), views.count());
    }
    let error = "two".parse::<Views>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "views: expected one, flip, flip-shift, five-crop or ten-crop, found `two`"
    );
}
