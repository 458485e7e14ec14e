//! The model that a command works on: its flags, its weights, how it is built.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use burn_zoo::manifest::{Terms, licence_source_in_words};
use burn_zoo::prelude::*;
use burn_zoo::weights::LoadReport;
use burn_zoo::{Error, ImageSize};
use clap::Args;

use crate::{model_folder, notice, progress};

/// How a model is built from an architecture's name.
#[derive(Args, Clone)]
pub struct ModelArgs {
    /// Channels of the images [default: those of the weights]
    #[arg(long, value_name = "N")]
    pub in_channels: Option<usize>,
    /// Classes; 0 for no head [default: those of the weights]
    #[arg(long, value_name = "N")]
    pub num_classes: Option<usize>,
    /// The images in pixels: a side, or height and width as 96x64
    #[arg(long, value_name = "N|HxW")]
    pub image_size: Option<ImageSize>,
    /// Global pooling: avg, max, avgmax, catavgmax, token, map or none
    #[arg(long, value_parser = Pool::from_timm_name)]
    pub pool: Option<Pool>,
    /// How the first convolution is brought to other channels: fold, sum, repeat, or an
    /// initialisation such as xavier_uniform
    #[arg(long, value_name = "RULE", default_value_t)]
    pub stem: StemRule,
    /// The finest stem, for images of some 32 pixels: convolutions of stride 1 without a pooling,
    /// patches of a quarter of their side
    #[arg(long)]
    pub small_images: bool,
    /// Pixels for each position that the stem's convolutions give: the product of their strides, or the
    /// side of a patch [default: upstream's]
    #[arg(long, value_name = "N")]
    pub stem_stride: Option<usize>,
    /// Take the pooling away that ends the stem
    #[arg(long)]
    pub no_stem_pool: bool,
    /// How a new head starts: pytorch, course, xavier_uniform, kaiming_normal, .. [default:
    /// upstream's rule]
    #[arg(long, value_name = "INIT")]
    pub head_init: Option<Init>,
    /// Mean of the images that the weights were trained on, one number a channel
    #[arg(long, value_delimiter = ',', requires = "std", value_name = "M,..")]
    pub mean: Option<Vec<f64>>,
    /// Standard deviation of the images that the weights were trained on
    #[arg(long, value_delimiter = ',', requires = "mean", value_name = "S,..")]
    pub std: Option<Vec<f64>>,
}

impl ModelArgs {
    /// What a model's name and `--weights` stand for, adapted as asked.
    pub fn spec(&self, model: &str, weights: Option<&str>, seed: u64) -> Result<Spec> {
        self.adapt(chosen(model, weights, seed)?)
    }

    pub fn adapt(&self, spec: Spec) -> Result<Spec> {
        let mut spec = spec.stem_rule(self.stem.clone());
        if self.small_images {
            spec = spec.small_images();
        }
        if let Some(stride) = self.stem_stride {
            spec = spec.stem_stride(stride);
        }
        if self.no_stem_pool {
            spec = spec.stem_pool(false);
        }
        if let Some(init) = &self.head_init {
            spec = spec.head_init(init.clone());
        }
        if let Some(channels) = self.in_channels {
            spec = spec.in_channels(channels);
        }
        if let Some(classes) = self.num_classes {
            spec = spec.num_classes(classes);
        }
        if let Some(size) = self.image_size {
            spec = spec.image_size(size);
        }
        if let Some(pool) = self.pool {
            spec = spec.pool(pool);
        }
        if let (Some(mean), Some(std)) = (&self.mean, &self.std) {
            spec = spec.normalization(Normalization::new(mean.clone(), std.clone())?);
        }
        Ok(spec)
    }
}

/// Which tensors of a weights file are the model's.
#[derive(Args, Clone, Default)]
pub struct WeightsArgs {
    /// The key of the weights file that is taken, such as state_dict_ema [default: found]
    #[arg(long, value_name = "KEY")]
    pub weights_key: Option<String>,
    /// What the names in the weights file begin with, such as backbone. [default: found]
    #[arg(long, value_name = "PREFIX")]
    pub weights_prefix: Option<String>,
}

impl WeightsArgs {
    pub fn choose(&self, spec: Spec) -> Spec {
        let mut spec = spec;
        if let Some(key) = &self.weights_key {
            spec = spec.weights_key(key);
        }
        if let Some(prefix) = &self.weights_prefix {
            spec = spec.weights_prefix(prefix);
        }
        spec
    }

    pub fn is_empty(&self) -> bool {
        self.weights_key.is_none() && self.weights_prefix.is_none()
    }
}

/// Whether a model's name says by itself where its weights come from.
pub fn names_weights(model: &str) -> bool {
    model_folder::folder_of(model).is_some() || model.starts_with("hf-hub:") || model.contains('.')
}

/// A model by name, with the weights that `--weights` asks for: `bundled`, `random`, `hub`, `hub:TAG`,
/// `original`, `original:TAG` or a file; unasked, those that the name says, else random ones. A folder
/// has weights of its own.
pub fn chosen(model: &str, weights: Option<&str>, seed: u64) -> Result<Spec> {
    model_folder::tell_of_namesake(model);
    let spec = match model_folder::folder_of(model) {
        Some(dir) => of_folder(dir, weights)?,
        None => Zoo::get(model).map_err(|error| model_folder::or_folder(error, model))?,
    };
    if let Some(text) = weights.filter(|text| !["hub", "original"].contains(text))
        && names_weights(model)
    {
        notice::tell(format!(
            "--weights {text}: in place of those that {model} names"
        ));
    }
    Ok(match weights {
        None if names_weights(model) => spec,
        None | Some("random") => spec.weights(Weights::Random(seed)),
        Some("bundled") => spec.weights(Weights::Bundled),
        Some("hub") => spec,
        Some("original") => spec.original(),
        Some(text) => match text.split_once(':') {
            Some(("hub", tag)) => spec.weights(tag),
            Some(("original", tag)) => spec.weights(tag).original(),
            // A word that is no path is a misspelt one rather than a file that is missing.
            _ if !text.contains(['.', '/', '\\']) && !Path::new(text).exists() => bail!(
                "--weights: expected bundled, hub, hub:TAG, original, original:TAG, random or a file \
                 that exists, found `{text}`"
            ),
            _ => spec.weights(Weights::File(text.into())),
        },
    })
}

/// The model in a folder, unless other weights are asked for: then its architecture is what counts.
pub fn of_folder(dir: &Path, weights: Option<&str>) -> Result<Spec> {
    let spec = model_folder::spec_of(dir)?;
    let shown = dir.display();
    let named = |text: &str| {
        let kind = text.split(':').next().unwrap_or_default();
        kind == "hub" || kind == "original"
    };
    match weights {
        None => notice::tell(format!("weights: those of the model in {shown}")),
        Some(text) if named(text) => bail!(
            "--weights {text}: {shown} has weights of its own; leave --weights out, or name the \
             architecture, {}",
            spec.architecture()
        ),
        Some(_) => {}
    }
    Ok(spec)
}

/// Fetches what a spec names, with a bar, and says before it does if its licence does not plainly
/// allow commercial use.
pub fn fetch(spec: &Spec) -> Result<Spec> {
    warn_of_licence(spec);
    spec.assumed().iter().for_each(notice::tell);
    Ok(progress::fetch(|watch| spec.fetch(watch))?)
}

/// Builds a model, with its weights fetched, and tells what was taken from their file.
pub fn build(spec: &Spec, device: &Device) -> Result<Classifier> {
    let model = fetch(spec)?.build(device)?;
    if let Some(summary) = model.load_report().and_then(LoadReport::summary) {
        notice::tell(summary);
    }
    warn_of_unseen_edge(&model);
    Ok(model)
}

/// Says so if a model's patches do not cover its images.
pub fn warn_of_unseen_edge(model: &Classifier) {
    let [rows, columns] = model.backbone.describe().unseen_edge;
    if rows + columns > 0 {
        notice::tell(format!(
            "warning: {}: {rows} rows at the lower edge and {columns} columns at the right edge of an \
             image are not seen: they are no whole patch; another --image-size leaves none over",
            model.info().architecture
        ));
    }
}

/// The size that a model was trained at; its architecture's, if nothing says it.
pub fn trained_size(model: &Classifier) -> Result<ImageSize> {
    let info = model.info();
    let upstream = burn_zoo::zoo::find(&info.architecture)?.image_size;
    Ok(info.image_size.unwrap_or(upstream.into()))
}

/// Says what to do about images of a size that a model does not take.
pub fn with_image_size(error: Error) -> anyhow::Error {
    match error {
        Error::InputShape { .. } => anyhow!("{error}; --image-size N brings images to N pixels"),
        error => error.into(),
    }
}

/// Says so if the licence of what a spec names does not plainly allow commercial use.
pub fn warn_of_licence(spec: &Spec) {
    // Of an entry of the manifest somebody should know it.
    let unknown = || {
        let entry = spec.entry().ok().flatten();
        entry.map(|_| "unknown".to_owned())
    };
    if let Some(licence) = spec.licence().or_else(unknown) {
        let weights = format!("{}, {}", spec.architecture(), spec.weights_in_words());
        warn_of(&licence, spec.licence_source().as_deref(), &weights);
    }
}

/// The same of weights that are in a model already.
pub fn warn_of(licence: &str, source: Option<&str>, weights: &str) {
    let terms = match Terms::of(licence) {
        Terms::Commercial => return,
        Terms::NonCommercial => "which forbids commercial use",
        Terms::Own if licence == "unknown" => "so that nobody knows what they may be used for",
        Terms::Own => "which has terms of its own: read them before you use the weights",
    };
    let source = licence_source_in_words(source);
    notice::tell(format!("{weights}: licence {licence}, {terms}{source}"));
}
