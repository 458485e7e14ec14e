//! What features are worth: scikit-learn's answers, and features of a model.

mod common;

use std::sync::Arc;

use burn_zoo::data::{ImageData, ImageSet, LoaderConfig};
use burn_zoo::prelude::*;
use burn_zoo::preprocess::Image;
use burn_zoo::preprocess::augment::Views;
use burn_zoo::probe::{Embeddings, LinearProbe, nearest_neighbors};
use common::{Fixture, relative_error, rule_model, values};

const CLASSES: usize = 4;

fn device() -> Device {
    burn_zoo::device("cpu").unwrap()
}

fn embeddings(fixture: &Fixture, part: &str) -> Embeddings {
    let labels = fixture.get(&format!("{part}_labels"));
    Embeddings {
        values: fixture.get(part).to_vec(),
        length: fixture.tensors[part].0[1],
        labels: labels.iter().map(|label| *label as usize).collect(),
        indices: (0..labels.len()).collect(),
    }
}

#[test]
fn neighbors_vote_as_in_scikit_learn() {
    let fixture = Fixture::open("probe.safetensors");
    let [train, test] = ["train", "test"].map(|part| embeddings(&fixture, part));
    let ks = [1, 5, 20];
    let votes = nearest_neighbors(&train, &test, &ks, &device()).unwrap();
    for (k, votes) in ks.iter().zip(votes) {
        let votes: Vec<f32> = votes.into_iter().map(|label| label as f32).collect();
        assert_eq!(votes, fixture.get(&format!("neighbors.{k}")), "{k}");
    }
    for k in [0, train.len() + 1] {
        let error = nearest_neighbors(&train, &test, &[5, k], &device()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("k: expected 1 to 160, the images that are known, found {k}")
        );
    }
}

/// Numbers that do not belong together are refused, and nothing is asked of nothing.
#[test]
fn embeddings_are_checked() {
    let none = Embeddings {
        values: Vec::new(),
        length: 0,
        labels: Vec::new(),
        indices: Vec::new(),
    };
    let found = nearest_neighbors(&none, &none, &[], &device()).unwrap();
    assert!(found.is_empty());
    assert!(nearest_neighbors(&none, &none, &[1], &device()).is_err());
    for wrong in [
        (vec![1.0; 4], 2, vec![0, 1], vec![0]),
        (vec![1.0; 3], 2, vec![0, 1], vec![0, 1]),
        (Vec::new(), 0, vec![0, 1], vec![0, 1]),
    ] {
        let (values, length, labels, indices) = wrong;
        let wrong = Embeddings {
            values,
            length,
            labels,
            indices,
        };
        let error = nearest_neighbors(&wrong, &wrong, &[1], &device()).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("embeddings: expected 2 vectors of length")
        );
        assert!(LinearProbe::search(&wrong, 2, 0, &device()).is_err());
    }
}

/// As many votes and as near: the first counts. A vector of zeros is as far from all.
#[test]
fn ties_are_broken_in_order() {
    let set = |values: &[f32], labels: &[usize]| Embeddings {
        values: values.to_vec(),
        length: 2,
        labels: labels.to_vec(),
        indices: (0..labels.len()).collect(),
    };
    let known = set(&[2.0, 0.0, 0.0, 1.0, 5.0, 0.0, 0.0, 3.0], &[2, 1, 0, 1]);
    let images = set(&[1.0, 0.0, 0.0, 0.0], &[0, 0]);
    let votes = nearest_neighbors(&known, &images, &[1, 2, 4], &device()).unwrap();
    assert_eq!(votes, [[2, 2], [0, 1], [1, 1]]);
}

#[test]
fn a_layer_is_fitted_as_in_scikit_learn() {
    let fixture = Fixture::open("probe.safetensors");
    let [train, test] = ["train", "test"].map(|part| embeddings(&fixture, part));
    let device = device();
    for strength in ["0.001", "0.1", "1.0", "10.0"] {
        let expected = fixture.get(&format!("linear.{strength}"));
        let strength: f64 = strength.parse().unwrap();
        let probe = LinearProbe::fit(&train, CLASSES, strength, &device).unwrap();
        assert!(probe.converged, "{strength}");
        let found = probe.log_probabilities(&test, &device).unwrap();
        let apart = found
            .iter()
            .zip(expected)
            .map(|(a, b)| (a.exp() - b.exp()).abs());
        let apart = apart.fold(0.0, f32::max);
        println!("C {strength}: probabilities differ by {apart:.1e}");
        assert!(apart < 1e-3, "{strength}: {apart:e}");
        let best = |scores: &[f32]| -> Vec<usize> {
            let rows = scores.chunks_exact(CLASSES);
            let best = rows.map(|row| (0..CLASSES).max_by(|a, b| row[*a].total_cmp(&row[*b])));
            best.map(Option::unwrap).collect()
        };
        assert_eq!(
            probe.predict(&test, &device).unwrap(),
            best(expected),
            "{strength}"
        );
    }
    for strength in [0.0, -1.0, f64::NAN] {
        assert!(LinearProbe::fit(&train, CLASSES, strength, &device).is_err());
    }
    let error = LinearProbe::fit(&train, 3, 1.0, &device).unwrap_err();
    assert_eq!(
        error.to_string(),
        "labels: expected labels below 3, the number of classes, found label 3"
    );
}

#[test]
fn a_strength_is_chosen_on_images_held_out() {
    let fixture = Fixture::open("probe.safetensors");
    let [train, test] = ["train", "test"].map(|part| embeddings(&fixture, part));
    let device = device();
    let (probe, tried) = LinearProbe::search(&train, CLASSES, 42, &device).unwrap();
    let most = tried.iter().map(|t| t.accuracy).fold(0.0, f64::max);
    let chosen = tried.iter().find(|t| t.strength == probe.strength).unwrap();
    assert_eq!(chosen.accuracy, most);
    assert!(
        tried
            .iter()
            .all(|t| t.accuracy < most || t.loss >= chosen.loss)
    );
    // It is fitted to all images in the end.
    let again = LinearProbe::fit(&train, CLASSES, probe.strength, &device).unwrap();
    let scores = |probe: &LinearProbe| probe.log_probabilities(&test, &device).unwrap();
    assert!(relative_error(&scores(&probe), &scores(&again)) < 1e-3);
    let (same, _) = LinearProbe::search(&train, CLASSES, 42, &device).unwrap();
    assert_eq!(scores(&probe), scores(&same));

    // One image of a class leaves none to be held out.
    let few = Embeddings {
        values: train.values[..2 * train.length].to_vec(),
        length: train.length,
        labels: vec![0, 1],
        indices: vec![0, 1],
    };
    let (probe, tried) = LinearProbe::search(&few, 2, 42, &device).unwrap();
    assert!(tried.is_empty() && probe.strength == 1.0);
    assert_eq!(probe.predict(&few, &device).unwrap(), [0, 1]);
}

/// Images of which one cannot be read.
struct Broken(ImageSet);

impl ImageData for Broken {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, index: usize) -> burn_zoo::Result<(Image, burn_zoo::data::Target)> {
        if index == 3 {
            return Err(burn_zoo::Error::Image {
                path: "3.png".into(),
                reason: "cut off".to_owned(),
            });
        }
        ImageData::get(&self.0, index)
    }

    fn classes(&self) -> &[String] {
        self.0.classes()
    }
}

#[test]
fn features_of_all_images_are_those_of_each() {
    let device = device();
    let model = rule_model(Zoo::test_resnet().num_classes(0), &device);
    let bytes: Vec<u8> = (0..7 * 24 * 24 * 3)
        .map(|i: usize| (i * 37 % 251) as u8)
        .collect();
    let labels = vec![0, 1, 0, 1, 0, 1, 1];
    let classes = vec!["a".to_owned(), "b".to_owned()];
    let set = ImageSet::new(bytes, labels.clone(), (24, 24), 3, classes).unwrap();
    let config = LoaderConfig {
        batch_size: 3,
        shuffle: Some(1),
        ..LoaderConfig::default()
    };
    let loader = |data: Arc<dyn ImageData>, config: LoaderConfig| {
        Loader::new(data, model.preprocess(None), config, &device).unwrap()
    };
    let whole = loader(Arc::new(set.clone()), config.clone());
    let fused = model.fuse();
    let mut batches = Vec::new();
    let found = fused.embed_all(&whole, |done| {
        batches.push(done);
        true
    });
    let found = found.unwrap().unwrap();
    assert_eq!((batches, found.len()), (vec![1, 2, 3], 7));
    assert_eq!(
        (&found.labels, found.length),
        (&labels, model.num_features())
    );
    let one = LoaderConfig {
        batch_size: 7,
        ..LoaderConfig::default()
    };
    let batch = loader(Arc::new(set.clone()), one)
        .epoch(0)
        .next()
        .unwrap()
        .unwrap();
    let expected = values(&model.forward(batch.images).unwrap());
    assert!(relative_error(&found.values, &expected) < 1e-5);

    // What cannot be read is left out if that is asked for, and the others keep their places.
    let broken: Arc<dyn ImageData> = Arc::new(Broken(set));
    assert!(
        fused
            .embed_all(&loader(broken.clone(), config.clone()), |_| true)
            .is_err()
    );
    let skipping = LoaderConfig {
        skip_broken: true,
        ..config.clone()
    };
    let skipping = loader(broken, skipping);
    let some = fused.embed_all(&skipping, |_| true).unwrap().unwrap();
    assert_eq!(some.indices, [0, 1, 2, 4, 5, 6]);
    assert_eq!(some.labels, [0, 1, 0, 0, 1, 1]);
    assert_eq!(skipping.broken()[0].index, 3);

    assert!(fused.embed_all(&whole, |done| done < 2).unwrap().is_none());
    let two = LoaderConfig {
        views: Views::Flip,
        ..LoaderConfig::default()
    };
    let classes = vec!["a".to_owned()];
    let small = ImageSet::new(vec![0; 27], vec![0], (3, 3), 3, classes).unwrap();
    let two = loader(Arc::new(small), two);
    assert!(fused.embed_all(&two, |_| true).is_err());
}
