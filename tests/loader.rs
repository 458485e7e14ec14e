//! Batches: their order, their number, and their pixels.

mod common;

use std::sync::Arc;

#[cfg(feature = "dataset")]
use burn::data::dataloader::DataLoader;
use burn_zoo::data::{ImageSet, Loader, LoaderConfig};
use burn_zoo::prelude::*;
use burn_zoo::preprocess::Image;
use common::values;

/// Images of one pixel; the value is the index, and so is the label.
fn numbered(count: usize) -> ImageSet {
    let pixels = (0..count).map(|i| i as u8).collect();
    let classes = (0..count).map(|i| i.to_string()).collect();
    ImageSet::new(pixels, (0..count).collect(), (1, 1), 1, classes).unwrap()
}

fn plain(channels: usize) -> Normalization {
    Normalization::new(vec![0.0; channels], vec![1.0 / 255.0; channels]).unwrap()
}

fn loader(count: usize, config: LoaderConfig) -> Loader {
    let preprocess = Preprocess::new(None, plain(1));
    Loader::new(
        Arc::new(numbered(count)),
        preprocess,
        config,
        &Device::default(),
    )
    .unwrap()
}

fn epoch(loader: &Loader, epoch: u64) -> Vec<Vec<usize>> {
    loader
        .epoch(epoch)
        .map(|batch| batch.unwrap().targets.classes().unwrap().to_vec())
        .collect()
}

#[test]
fn every_image_comes_once_in_an_order_of_seed_and_epoch() {
    let config = |workers, seed| LoaderConfig {
        batch_size: 8,
        shuffle: Some(seed),
        workers,
        ..LoaderConfig::default()
    };
    let one = loader(50, config(1, 9));
    let order = epoch(&one, 0);
    assert_eq!(
        order.iter().map(Vec::len).collect::<Vec<_>>(),
        [8, 8, 8, 8, 8, 8, 2]
    );
    let mut all: Vec<usize> = order.concat();
    assert_ne!(all, (0..50).collect::<Vec<_>>());
    all.sort();
    assert_eq!(all, (0..50).collect::<Vec<_>>());
    for workers in [0, 2, 5, 100] {
        assert_eq!(
            epoch(&loader(50, config(workers, 9)), 0),
            order,
            "{workers} workers"
        );
    }
    assert_eq!(epoch(&one, 0), order);
    assert_ne!(epoch(&one, 1), order);
    assert_ne!(epoch(&loader(50, config(1, 10)), 0), order);
}

#[test]
fn images_and_labels_stay_together_and_the_last_batch_can_go() {
    let config = LoaderConfig {
        batch_size: 8,
        shuffle: Some(1),
        drop_last: true,
        workers: 2,
        ..LoaderConfig::default()
    };
    let loader = loader(50, config);
    assert_eq!((loader.num_batches(), loader.num_images()), (6, 50));
    let mut batches = 0;
    for batch in loader.epoch(0) {
        let batch = batch.unwrap();
        assert_eq!(batch.images.dims(), [8, 1, 1, 1]);
        let pixels: Vec<usize> = values(&batch.images)
            .iter()
            .map(|v| v.round() as usize)
            .collect();
        assert_eq!(pixels, batch.targets.classes().unwrap());
        batches += 1;
    }
    assert_eq!(batches, 6);
    // Leaving early does not hang.
    drop(loader.epoch(1).next());
}

#[test]
#[cfg(feature = "dataset")]
fn it_is_a_burn_data_loader() {
    let config = LoaderConfig {
        batch_size: 8,
        shuffle: Some(1),
        ..LoaderConfig::default()
    };
    let loader = loader(20, config);
    let first: Vec<_> = DataLoader::iter(&loader)
        .map(|b| b.unwrap().targets.classes().unwrap().to_vec())
        .collect();
    assert_eq!(first, epoch(&loader, 0));
    let mut second = DataLoader::iter(&loader);
    second.next();
    assert_eq!(
        (
            second.progress().items_processed,
            second.progress().items_total
        ),
        (8, 20)
    );
    assert_eq!(loader.slice(5, 12).num_items(), 7);
}

#[test]
fn pixels_are_normalised_and_channels_matched() {
    let grey = Image::new(1, 2, 1, vec![0, 255]).unwrap();
    let imagenet = Preprocess::new(None, Normalization::imagenet());
    let close = |found: Vec<f32>, expected: &[f32]| {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-6, "{found:?} {expected:?}");
        }
    };
    // torchvision: (0 - 0.485) / 0.229, (1 - 0.485) / 0.229, ..
    let expected = [
        -2.117_904,
        2.248_908_3,
        -2.035_714_3,
        2.428_571_5,
        -1.804_444_4,
        2.64,
    ];
    close(imagenet.apply(&grey), &expected);
    let red = Image::new(1, 1, 3, vec![255, 0, 0]).unwrap();
    // Pillow's luma of pure red is 76.
    close(Preprocess::new(None, plain(1)).apply(&red), &[76.0]);

    let one = Normalization::imagenet().for_channels(1);
    assert!((one.mean()[0] - 0.449).abs() < 1e-12 && (one.std()[0] - 0.226).abs() < 1e-12);
    assert_eq!(
        Normalization::imagenet().for_channels(4).mean(),
        [0.485, 0.456, 0.406, 0.485]
    );
}

#[test]
fn images_are_resized_and_cut_to_the_middle() {
    let wide = Image::new(2, 4, 1, vec![10, 20, 30, 40, 10, 20, 30, 40]).unwrap();
    let cut = Preprocess::new(Some(2.into()), plain(1)).apply(&wide);
    assert_eq!(
        cut.iter().map(|v| v.round()).collect::<Vec<_>>(),
        [20.0, 30.0, 20.0, 30.0]
    );
    let flat = Image::new(28, 28, 1, vec![77; 784]).unwrap();
    for size in [1, 7, 28, 64, 224] {
        let resized = Preprocess::new(Some(size.into()), plain(1)).apply(&flat);
        assert_eq!(resized.len(), size * size);
        assert!(resized.iter().all(|v| v.round() == 77.0), "{size}");
    }
}

#[test]
fn what_cannot_be_loaded_is_refused() {
    let new = |images, config| {
        let preprocess = Preprocess::new(None, plain(1));
        Loader::new(Arc::new(images), preprocess, config, &Device::default())
            .err()
            .unwrap()
            .to_string()
    };
    let config = LoaderConfig::default();
    let empty = numbered(1).take_first(0);
    assert_eq!(
        new(empty, config.clone()),
        "data: expected at least one image, found none"
    );
    let zero = LoaderConfig {
        batch_size: 0,
        ..config.clone()
    };
    assert_eq!(
        new(numbered(3), zero),
        "batch_size: expected 1 to 65536, found 0"
    );
    let error = Image::new(2, 2, 1, vec![0; 3]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "pixels: expected 2 x 2 x 1 values, no side zero, found 3 values"
    );
}

/// Images of which some cannot be read: a decoder says no, or panics.
struct Faulty {
    data: ImageSet,
    bad: Vec<usize>,
    panics: bool,
}

impl ImageData for Faulty {
    fn len(&self) -> usize {
        self.data.len()
    }
    fn get(&self, index: usize) -> burn_zoo::Result<(Image, burn_zoo::data::Target)> {
        if self.bad.contains(&index) {
            assert!(!self.panics, "index out of bounds in a decoder");
            return Err(burn_zoo::Error::Image {
                path: self.name(index).into(),
                reason: "cut short".to_owned(),
            });
        }
        ImageData::get(&self.data, index)
    }
    fn target(&self, index: usize) -> burn_zoo::Result<burn_zoo::data::Target> {
        ImageData::target(&self.data, index)
    }
    fn classes(&self) -> &[String] {
        self.data.classes()
    }
    fn name(&self, index: usize) -> String {
        format!("photo-{index}.jpg")
    }
}

fn faulty(bad: &[usize], panics: bool, workers: usize, skip_broken: bool) -> Loader {
    let data = Faulty {
        data: numbered(10),
        bad: bad.to_vec(),
        panics,
    };
    let config = LoaderConfig {
        batch_size: 4,
        workers,
        skip_broken,
        ..LoaderConfig::default()
    };
    let preprocess = Preprocess::new(None, plain(1));
    Loader::new(Arc::new(data), preprocess, config, &Device::default()).unwrap()
}

/// Left out, broken images make their batches smaller, and a batch without images is none. What
/// was left out can be asked for.
#[test]
fn broken_images_are_left_out_if_that_is_asked_for() {
    for workers in [0, 1, 3] {
        for panics in [false, true] {
            let loader = faulty(&[0, 4, 5, 6, 7], panics, workers, true);
            assert_eq!(epoch(&loader, 0), [vec![1, 2, 3], vec![8, 9]]);
            // Again, and counted once.
            assert_eq!(epoch(&loader, 1).len(), 2);
            let broken = loader.broken();
            let indices: Vec<usize> = broken.iter().map(|image| image.index).collect();
            assert_eq!(indices, [0, 4, 5, 6, 7]);
            assert_eq!(broken[1].name, "photo-4.jpg");
            let reason = if panics {
                "panicked: index out of"
            } else {
                "cut short"
            };
            assert!(broken[1].reason.contains(reason), "{}", broken[1].reason);
        }
    }
    let all: Vec<usize> = (0..10).collect();
    assert_eq!(epoch(&faulty(&all, false, 1, true), 0), [[0; 0]; 0]);
}

/// Else the first one is an error with its name, whatever thread met it.
#[test]
fn a_broken_image_is_named() {
    for workers in [0, 1, 3] {
        for panics in [false, true] {
            let loader = faulty(&[5], panics, workers, false);
            let results: Vec<_> = loader.epoch(0).collect();
            assert!(results[0].is_ok() && results[2].is_ok());
            let error = results[1].as_ref().unwrap_err().to_string();
            assert!(
                error.starts_with("photo-5.jpg: not a readable image: "),
                "{error}"
            );
        }
    }
}

#[test]
fn a_last_image_alone_can_go() {
    let config = LoaderConfig {
        batch_size: 4,
        drop_single: true,
        ..LoaderConfig::default()
    };
    let sizes = |count: usize| -> Vec<usize> {
        let loader = loader(count, config.clone());
        let sizes: Vec<usize> = epoch(&loader, 0).iter().map(Vec::len).collect();
        assert_eq!(sizes.len(), loader.num_batches());
        sizes
    };
    assert_eq!(sizes(9), [4, 4]);
    assert_eq!(sizes(10), [4, 4, 2]);
    assert_eq!(sizes(8), [4, 4]);
    let preprocess = Preprocess::new(None, plain(1));
    let data = Arc::new(numbered(1));
    let error = Loader::new(data, preprocess, config, &Device::default()).err();
    assert!(error.unwrap().to_string().starts_with("drop_single: "));
}
