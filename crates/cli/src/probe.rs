//! `probe`.

use std::fmt::Display;
use std::time::Instant;

use anyhow::{Result, bail};
use burn_zoo::ImageSize;
use burn_zoo::data::Part;
use burn_zoo::manifest::Terms;
use burn_zoo::prelude::*;
use burn_zoo::probe::{LinearProbe, Strength, nearest_neighbors};
use clap::Args;
use serde_json::{Value, json};

use crate::features::{FeatureArgs, PartFeatures, never_random, of_one_class, positional};
use crate::flags::positive;
use crate::list::{align_right, short, table};
use crate::output::{Stopped, print, print_json};
use crate::source::TrainingImages;
use crate::{notice, progress};

#[derive(Args)]
#[command(
    mut_arg("data", positional),
    mut_arg("weights", never_random),
    mut_args(of_one_class),
    after_help = "Every image goes through each model once, and nothing of a model is trained. What \
    its features tell of the classes is measured in two ways on the images for validation, of FashionMNIST a \
    tenth of the training images: by a vote of the K nearest training images (cosine), and by a linear layer (logistic regression; the strength \
    of its penalty is chosen on a fifth of the training images that is held out). Best first, by the \
    linear layer."
)]
pub struct ProbeArgs {
    /// The models, with commas between them: architectures, arch.tag, hf-hub:OWNER/REPO,
    /// local-dir:DIR, or folders of runs
    #[arg(long, value_name = "A,B,..", value_delimiter = ',', required = true)]
    model: Vec<String>,
    #[command(flatten)]
    features: FeatureArgs,
    /// Neighbours that vote
    #[arg(long, value_name = "K,..", value_delimiter = ',', value_parser = positive,
        default_values_t = [1, 5, 20])]
    neighbors: Vec<usize>,
    /// Seed of the choice of the images that are held out
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What was found out about a model.
struct Probed {
    model: String,
    weights: String,
    licence: Option<String>,
    parameters: usize,
    features: usize,
    /// The size that images are brought to; `None` if they stay as they are.
    image_size: Option<ImageSize>,
    /// The share that was recognised with so many neighbours.
    by_neighbors: Vec<(usize, f64)>,
    by_layer: f64,
    layer: LinearProbe,
    tried: Vec<Strength>,
    /// In computing the features, and in judging them.
    seconds: [f64; 2],
    train_images: usize,
    test_images: usize,
}

impl ProbeArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        check_once("--model: expected each model", &self.model)?;
        check_once("--neighbors: expected each number", &self.neighbors)?;
        // Names that mean nothing show before anything is computed; what the hub does not give is one model's.
        let mut specs = Vec::new();
        for name in &self.model {
            let spec = self.features.spec(name);
            let of_hub = |error: &anyhow::Error| {
                matches!(error.downcast_ref(), Some(burn_zoo::Error::Hub { .. }))
            };
            specs.push(match spec {
                Err(error) if of_hub(&error) => Err(error),
                spec => Ok(spec?),
            });
        }
        let data = self.features.open()?;
        let ks = at_most(&self.neighbors, data.train.len());
        let mut probed = Vec::new();
        let mut failed = Vec::new();
        for (name, spec) in self.model.iter().zip(specs) {
            // What one model meets does not keep the others from being looked at.
            match spec.and_then(|spec| self.probe(name, spec, &data, &ks, device)) {
                Ok(found) => probed.push(found),
                Err(error) if self.model.len() == 1 || error.is::<Stopped>() => return Err(error),
                Err(error) => {
                    notice::say(format_args!("error: {name}: {error:#}"));
                    failed.push((name, format!("{error:#}")));
                }
            }
        }
        probed.sort_by(|a, b| {
            let by_accuracy = b.by_layer.total_cmp(&a.by_layer);
            by_accuracy.then(a.parameters.cmp(&b.parameters))
        });
        if self.json {
            let models = probed.iter().map(Probed::document);
            let failed = failed
                .iter()
                .map(|(model, error)| json!({ "model": model, "error": error }));
            print_json(&json!({
                "data": self.features.images.data.name(),
                "classes": data.train.classes(),
                "train_images": data.train.len(),
                "test_images": data.valid.len(),
                "part": data.valid_part.name(),
                "models": models.collect::<Vec<_>>(),
                "failed": failed.collect::<Vec<_>>(),
            }))?;
        } else {
            print_table(&probed, &ks, data.valid_part)?;
        }
        match failed.len() {
            0 => Ok(()),
            count => bail!("{count} of {} models could not be probed", self.model.len()),
        }
    }

    fn probe(
        &self,
        name: &str,
        spec: Spec,
        data: &TrainingImages,
        ks: &[usize],
        device: &Device,
    ) -> Result<Probed> {
        let model = self.features.model(spec, data, device)?;
        let size = self.features.image_size(&model, data)?;
        let started = Instant::now();
        let parts = self.features.parts(data);
        let found = self.features.embed(&model.fuse(), size, &parts)?;
        let of_features = started.elapsed().as_secs_f64();
        let [train, test] = &found[..] else {
            bail!("expected a training and a test part, found {}", found.len());
        };
        let started = Instant::now();
        let device = model.device();
        // Some images may have shown only now that they cannot be read.
        let ks = at_most(ks, train.features.len());
        let votes = nearest_neighbors(&train.features, &test.features, &ks, &device)?;
        let by_neighbors = ks.iter().zip(&votes);
        let by_neighbors = by_neighbors
            .map(|(k, votes)| (*k, right(votes, test)))
            .collect();
        let classes = data.train.classes().len();
        let (layer, tried) = progress::wait("fitting the linear layer", || {
            LinearProbe::search(&train.features, classes, self.seed, &device)
        })?;
        if tried.is_empty() {
            notice::tell(format!(
                "{name}: no class has two training images, so that none are held out: the linear \
                 layer has a penalty of strength 1"
            ));
        }
        if !layer.converged {
            notice::tell(format!(
                "{name}: the linear layer is not at its best yet after as many steps as it is given"
            ));
        }
        Ok(Probed {
            model: name.to_owned(),
            weights: model.info().origin.clone(),
            licence: model.info().licence.clone(),
            parameters: model.num_parameters(),
            features: train.features.length,
            image_size: size,
            by_neighbors,
            by_layer: right(&layer.predict(&test.features, &device)?, test),
            layer,
            tried,
            seconds: [of_features, started.elapsed().as_secs_f64()],
            train_images: train.features.len(),
            test_images: test.features.len(),
        })
    }
}

/// What was found of each model; nothing if there is none.
fn print_table(probed: &[Probed], ks: &[usize], part: Part) -> Result<()> {
    let Some(first) = probed.first() else {
        return Ok(());
    };
    let mut header = vec!["model".to_owned(), "linear".to_owned()];
    header.extend(ks.iter().map(|k| format!("{k}-NN")));
    header.extend(["size", "seconds", "parameters"].map(str::to_owned));
    let columns = header.len();
    let mut lines = table(header);
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    for found in probed {
        let of_ks = ks.iter().map(|k| {
            let found = found.by_neighbors.iter().find(|(own, _)| own == k);
            found.map_or("-".to_owned(), |(_, share)| percent(*share))
        });
        let mut row = vec![found.model.clone(), percent(found.by_layer)];
        row.extend(of_ks);
        let size = found.image_size.as_ref();
        row.push(size.map_or("as is".to_owned(), ToString::to_string));
        row.push(format!("{:.1}", found.seconds.iter().sum::<f64>()));
        row.push(short(found.parameters));
        lines.add_row(row);
    }
    align_right(&mut lines, &Vec::from_iter(1..columns));
    print(lines)?;
    // Of the same images every model reads the same.
    print(format!(
        "accuracy on {} {part} images, after {} to learn from",
        first.test_images, first.train_images
    ))
}

/// Those of the neighbours asked for that there are.
fn at_most(neighbors: &[usize], known: usize) -> Vec<usize> {
    let (ks, too_many): (Vec<usize>, Vec<usize>) = neighbors.iter().partition(|k| **k <= known);
    for k in too_many {
        notice::tell(format!(
            "--neighbors {k}: left out, as there are {known} training images"
        ));
    }
    ks
}

/// Refuses what is given twice.
fn check_once<T: PartialEq + Display>(expected: &str, given: &[T]) -> Result<()> {
    for (place, value) in given.iter().enumerate() {
        if given[..place].contains(value) {
            bail!("{expected} once, found {value} twice");
        }
    }
    Ok(())
}

/// The share of the images whose class was recognised.
fn right(found: &[usize], of: &PartFeatures) -> f64 {
    let labels = &of.features.labels;
    let right = found
        .iter()
        .zip(labels)
        .filter(|(found, label)| found == label);
    right.count() as f64 / labels.len().max(1) as f64
}

impl Probed {
    fn document(&self) -> Value {
        let by_neighbors = self
            .by_neighbors
            .iter()
            .map(|(k, accuracy)| json!({ "neighbors": k, "accuracy": accuracy }));
        json!({
            "model": self.model,
            "weights": self.weights,
            "licence": self.licence,
            "terms": self.licence.as_deref().map(|licence| Terms::of(licence).name()),
            "parameters": self.parameters,
            "features": self.features,
            "image_size": self.image_size,
            "train_images": self.train_images,
            "test_images": self.test_images,
            "nearest_neighbors": by_neighbors.collect::<Vec<_>>(),
            "linear": {
                "accuracy": self.by_layer,
                "strength": self.layer.strength,
                "converged": self.layer.converged,
                "tried": self.tried,
            },
            "feature_seconds": self.seconds[0],
            "probe_seconds": self.seconds[1],
        })
    }
}
