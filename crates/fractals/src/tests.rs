//! Tests of whole sets.

use sha2::{Digest as _, Sha256};

use super::{Colour, FractalOptions, Fractals, Jitter};
use burn_zoo::data::ImageData as _;
use burn_zoo::preprocess::Image;

fn grey(categories: usize, atoms: f64) -> Fractals {
    let options = FractalOptions {
        categories,
        size: 28,
        colour: Colour::Grey,
        black: 1.0,
        atoms,
        ..Default::default()
    };
    Fractals::new(options).unwrap()
}

/// All images of the first instances, in the order of the indices.
fn bytes(options: &FractalOptions, images: usize) -> Vec<u8> {
    let data = Fractals::new(options.clone()).unwrap();
    let all = (0..images).flat_map(|i| data.get(i).unwrap().0.pixels().to_vec());
    all.collect()
}

fn small() -> FractalOptions {
    FractalOptions {
        categories: 12,
        per_category: 5,
        ..Default::default()
    }
}

#[test]
fn the_same_options_give_the_same_bytes_on_any_number_of_threads() {
    let pool = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap()
    };
    let one = pool(1).install(|| bytes(&small(), 60));
    let four = pool(4).install(|| bytes(&small(), 60));
    assert_eq!(one, four);
}

#[test]
fn pixels_are_the_ones_of_this_version() {
    let digest = |size, colour| {
        let options = FractalOptions {
            size,
            colour,
            ..small()
        };
        let hash = Sha256::digest(bytes(&options, 36));
        hash.iter()
            .take(8)
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    };
    // When these change, so must `VERSION`: a cache may have been filled from the old pixels.
    let found = [
        digest(28, Colour::Grey),
        digest(32, Colour::Mixed),
        digest(64, Colour::Rgb),
    ];
    assert_eq!(
        found.map(|value| format!("{value:016x}")),
        ["8595569df5fb24b3", "957eb956f24251c6", "fb3b8f7454a12087"]
    );
}

#[test]
fn another_seed_gives_other_categories_and_another_fingerprint() {
    let other = FractalOptions { seed: 1, ..small() };
    assert_ne!(bytes(&small(), 12), bytes(&other, 12));
    let print = |options| Fractals::new(options).unwrap().fingerprint().unwrap();
    assert_ne!(print(small()), print(other));
    assert_eq!(print(small()), print(small()));
}

#[test]
fn every_option_is_in_the_fingerprint() {
    type Change = fn(&mut FractalOptions);
    let changes: [Change; 16] = [
        |o| o.categories = 11,
        |o| o.per_category = 6,
        |o| o.size = 31,
        |o| o.seed = 9,
        |o| o.colour = Colour::Rgb,
        |o| o.atoms = 0.4,
        |o| o.black = 0.4,
        |o| o.instance.weights = 0.1,
        |o| o.instance.rotation = 10.0,
        |o| o.instance.stretch = 0.1,
        |o| o.instance.shear = 0.1,
        |o| o.instance.flip = 0.1,
        |o| o.instance.scale.0 = 0.5,
        |o| o.instance.scale.1 = 0.9,
        |o| o.instance.shift = 0.1,
        |o| o.instance.second = 0.1,
    ];
    let mut seen = vec![Fractals::new(small()).unwrap().fingerprint().unwrap()];
    for change in changes {
        let mut options = small();
        change(&mut options);
        let print = Fractals::new(options).unwrap().fingerprint().unwrap();
        assert!(!seen.contains(&print));
        seen.push(print);
    }
}

#[test]
fn instances_differ() {
    let data = grey(40, 0.5);
    for category in 0..40 {
        let images = [0, 1, 2, 3].map(|i| data.render(category, i).unwrap());
        for i in 0..4 {
            assert!(images[..i].iter().all(|other| *other != images[i]));
        }
    }
}

#[test]
fn no_image_is_empty_or_full() {
    let data = grey(200, 0.5);
    for category in 0..200 {
        for instance in 0..4 {
            let image = data.render(category, instance).unwrap();
            let lit = image.pixels().iter().filter(|value| **value > 25).count();
            let share = lit as f64 / 784.0;
            let name = &data.classes()[category];
            assert!((0.03..0.9).contains(&share), "{name} {instance}: {share}");
        }
    }
}

#[test]
fn shapes_stay_in_the_picture() {
    let data = grey(200, 0.5);
    let mut cut = 0;
    for category in 0..200 {
        let image = data.render(category, 0).unwrap();
        let edge = |i: usize| i == 0 || i == 27;
        let border = |i: usize| edge(i / 28) || edge(i % 28);
        let lit = (0..784).filter(|i| border(*i) && image.pixels()[*i] > 25);
        // A quarter of the border.
        cut += usize::from(lit.count() > 27);
    }
    assert!(cut < 10, "{cut}");
}

#[test]
fn index_label_class_and_length_belong_together() {
    let data = Fractals::new(small()).unwrap();
    assert_eq!(data.len(), 60);
    assert_eq!(data.classes().len(), 12);
    assert_eq!(data.classes()[..2], ["ifs-0000", "atom-0001"]);
    for index in [0, 11, 12, 37, 59] {
        let (image, label) = data.get(index).unwrap();
        let label = label.class().unwrap();
        assert_eq!(label, index % 12);
        assert_eq!(data.target(index).unwrap(), label.into());
        assert_eq!(image, data.render(label, index as u64 / 12).unwrap());
    }
    let error = data.get(60).unwrap_err().to_string();
    assert_eq!(error, "index: expected below 60, found 60");
    let error = data.render(12, 0).unwrap_err().to_string();
    assert_eq!(error, "category: expected below 12, found 12");
}

#[test]
fn images_have_the_channels_of_their_colour() {
    let made = |colour| {
        let options = FractalOptions { colour, ..small() };
        let data = Fractals::new(options).unwrap();
        let images: Vec<Image> = (0..60).map(|i| data.get(i).unwrap().0).collect();
        images
    };
    let is_grey = |image: &&Image| {
        let mut rgb = image.pixels().chunks(3);
        rgb.all(|rgb| rgb.iter().all(|value| *value == rgb[0]))
    };
    assert!(made(Colour::Grey).iter().all(|image| image.channels() == 1));
    assert!(made(Colour::Rgb).iter().all(|image| image.channels() == 3));
    assert_eq!(made(Colour::Rgb).iter().filter(is_grey).count(), 0);
    let mixed = made(Colour::Mixed);
    assert!((15..45).contains(&mixed.iter().filter(is_grey).count()));
}

#[test]
fn extreme_options_are_drawn() {
    for (weights, scale, shift) in [(0.5, (2.0, 2.0), 0.5), (0.0, (0.1, 0.1), 0.0)] {
        let instance = Jitter {
            weights,
            rotation: 180.0,
            stretch: 2.0,
            shear: 1.0,
            flip: 1.0,
            scale,
            shift,
            second: 1.0,
        };
        let options = FractalOptions {
            size: 8,
            instance,
            ..small()
        };
        assert_eq!(bytes(&options, 60).len(), 60 * 8 * 8 * 3);
    }
}

/// The image as a vector of length 1 without its mean, from means of 4 x 4 pixels.
fn seen(image: &Image) -> Vec<f64> {
    let mut cells = vec![0.0; 49];
    for (i, value) in image.pixels().iter().enumerate() {
        cells[i / 28 / 4 * 7 + i % 28 / 4] += f64::from(*value);
    }
    let mean = cells.iter().sum::<f64>() / 49.0;
    let length = cells
        .iter()
        .map(|v| (v - mean) * (v - mean))
        .sum::<f64>()
        .sqrt();
    cells.iter().map(|v| (v - mean) / length).collect()
}

/// The share of images of ten categories whose nearest other image has the same label.
fn neighbours(data: &Fractals) -> f64 {
    let all: Vec<(usize, Vec<f64>)> = (0..200)
        .map(|i| (i % 10, seen(&data.render(i % 10, i as u64 / 10).unwrap())))
        .collect();
    let right = (0..200).filter(|i| {
        let likeness = |j: &usize| {
            all[*i]
                .1
                .iter()
                .zip(&all[*j].1)
                .map(|(a, b)| a * b)
                .sum::<f64>()
        };
        let others = (0..200).filter(|j| j != i);
        let nearest = others.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        all[nearest.unwrap()].0 == all[*i].0
    });
    right.count() as f64 / 200.0
}

#[test]
fn the_label_is_in_the_image() {
    // Chance is 0.1.
    let (fractals, atoms) = (neighbours(&grey(10, 0.0)), neighbours(&grey(10, 1.0)));
    assert!(fractals > 0.5, "{fractals}");
    assert!(atoms > 0.5, "{atoms}");
}

#[test]
fn categories_are_the_same_at_every_size() {
    let at = |size| {
        let options = FractalOptions {
            size,
            colour: Colour::Grey,
            black: 1.0,
            ..small()
        };
        Fractals::new(options).unwrap()
    };
    let (small, large) = (at(28), at(56));
    for category in 0..12 {
        let fine = large.render(category, 0).unwrap();
        // The mean of 2 x 2 pixels.
        let mut halved = vec![0; 784];
        for (i, value) in fine.pixels().iter().enumerate() {
            halved[i / 112 * 28 + i % 56 / 2] += u32::from(*value);
        }
        let pixels = halved.iter().map(|sum| (sum / 4) as u8).collect();
        let fine = seen(&Image::new(28, 28, 1, pixels).unwrap());
        let coarse = seen(&small.render(category, 0).unwrap());
        let likeness: f64 = fine.iter().zip(&coarse).map(|(a, b)| a * b).sum();
        assert!(likeness > 0.8, "{category}: {likeness}");
    }
}
