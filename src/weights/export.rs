//! Tuned weights as a folder.
//!
//! An exported folder is what timm's `save_for_hf` writes: `model.safetensors` with upstream's names
//! and shapes, `config.json`, and a model card. timm opens it with
//! `timm.create_model("local-dir:DIR", pretrained=True)`, if it has such a network;
//! [`Classifier::open`](crate::Classifier::open) opens it exactly.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;

use burn::module::Module;
use safetensors::tensor::Dtype;
use serde_json::{Map, Value, json};

use super::adapter::{ADAPTER_FILES, Adapter};
use super::tensor_file::{self, StoredTensor, Values, halves, pretty};
use crate::data::Task;
use crate::error::{Error, Result};
use crate::files::{Unnamed, remove_if_there, write_file};
use crate::model::{Adapt, Classifier, InputSize, Outputs, StemOptions, params};
use crate::preprocess::ImageSize;
use crate::weights::card::{
    CardFacts, RUST_FOLDER, SEAL, TIMM_FOLDER, TORCH_FILE, TORCH_IMPORT, public, sealed, unsealed,
};
use crate::weights::manifest::{licence_in_words, licence_source_in_words};
use crate::zoo::{self, LIBRARIES, OWN_LIBRARY};

/// Name of the weights file in an exported folder.
pub(crate) const WEIGHTS: &str = "model.safetensors";
/// Name of the weights in a folder of timm's or transformers', where they are no safetensors.
pub(crate) const PICKLED: &str = "pytorch_model.bin";
/// Name of the configuration in an exported folder.
pub(crate) const CONFIG: &str = "config.json";
/// Name of the model card in an exported folder.
pub(crate) const CARD: &str = "README.md";

/// The tag of models that tell classes.
const CLASSIFICATION: &str = "image-classification";

/// How every model card of ours begins, by what the model is for and whose the network is.
fn front_matter(tag: &str, library: &str) -> String {
    format!("---\ntags:\n- {tag}\n- {library}\n- burn\nlibrary_name: {library}\n")
}

impl Classifier {
    /// Writes the model into a folder: `model.safetensors`, `config.json` and a model card. Each
    /// file appears whole or not at all; files of these names are replaced, but for a model card
    /// that is not ours.
    ///
    /// [Adapters](Self::with_lora) are folded into the weights, and stand beside them by themselves, as an
    /// [`Adapter`](crate::weights::Adapter).
    ///
    /// Running statistics are the newest. `num_batches_tracked`, which only a momentum of `None`
    /// uses in PyTorch, is written as 0.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be written.
    pub fn export(&self, dir: impl AsRef<Path>) -> Result<()> {
        self.export_in(dir.as_ref(), Dtype::F32)
    }

    /// [`export`](Self::export) in half the room: kernels and matrices as 16-bit numbers (IEEE 754
    /// half precision, to the nearest), vectors such as running statistics in 32 bits as before. timm,
    /// torchvision and this crate read such files as any other.
    ///
    /// # Errors
    /// As [`export`](Self::export), and [`Error::InvalidArgument`] for a value above 65504, which has
    /// no such number.
    pub fn export_half(&self, dir: impl AsRef<Path>) -> Result<()> {
        self.export_in(dir.as_ref(), Dtype::F16)
    }

    fn export_in(&self, dir: &Path, matrices: Dtype) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let model = self.valid();
        let model = model.merge_adapters();
        let weights = model.write_weights(&dir.join(WEIGHTS), matrices)?;
        let config = pretty(&model.timm_config())?;
        let config = Unnamed::write(&dir.join(CONFIG), |file| file.write_all(config.as_bytes()))?;
        if let Some(lora) = self.lora() {
            Adapter::of(self, Adapt::Lora(lora))?.save(dir)?;
        } else {
            // Those of a model that was here before.
            for name in ADAPTER_FILES {
                remove_if_there(&dir.join(name))?;
            }
        }
        // Somebody else's README stays.
        let card = dir.join(CARD);
        let old = std::fs::read_to_string(&card);
        if !card.exists() || old.is_ok_and(|text| is_ours(&text)) {
            let facts = CardFacts {
                task: self.info.outputs.task,
                ..CardFacts::default()
            };
            write_file(&card, model.card(&facts).as_bytes())?;
        }
        // A folder whose weights are of another make than its configuration is never there: one that was
        // interrupted has none, and cannot be opened.
        Unnamed::name_both(weights, config)
    }

    fn write_weights(&self, path: &Path, matrices: Dtype) -> Result<Unnamed> {
        let names = &self.backbone.describe().key_table;
        let mut tensors: Vec<(String, StoredTensor<'_>)> = Vec::new();
        let values = params::read(self)?;
        for (path, tensor) in &values {
            let name = names.name(path);
            if let Some(layer) = name.strip_suffix("running_mean") {
                let count = StoredTensor {
                    dtype: Dtype::I64,
                    shape: Vec::new(),
                    values: Values::Bytes(vec![0; 8]),
                };
                tensors.push((format!("{layer}num_batches_tracked"), count));
            }
            let shape = names.shape(path, &tensor.shape);
            let dtype = match shape.len() {
                0 | 1 => Dtype::F32,
                _ => matrices,
            };
            let values = match dtype {
                Dtype::F16 => Values::Bytes(halves(&name, &tensor.data)?),
                _ => Values::F32(&tensor.data),
            };
            let tensor = StoredTensor {
                dtype,
                shape,
                values,
            };
            tensors.push((name, tensor));
        }
        tensor_file::unnamed(path, tensors, HashMap::new())
    }

    /// The configuration in the form of timm's `save_for_hf`.
    pub(crate) fn timm_config(&self) -> Value {
        let info = &self.info;
        let pool = self.head.pool();
        let names = &self.backbone.describe().key_table;
        let classifier = names.name("head.fc");
        let classifier = match self.backbone.describe().second_classifier {
            Some(second) => json!([classifier, second]),
            None => json!(classifier),
        };
        let upstream_size = zoo::find(&info.architecture).map_or([224; 2], |a| [a.image_size; 2]);
        let (size, fixed) = match self.backbone.describe().input_size {
            InputSize::Exactly(size) => (size, true),
            _ => (
                info.image_size.map_or(upstream_size, ImageSize::sides),
                false,
            ),
        };
        let mut args = Map::new();
        args.insert("in_chans".to_owned(), json!(self.in_channels()));
        args.insert("num_classes".to_owned(), json!(self.num_classes()));
        args.insert("global_pool".to_owned(), json!(pool.timm_name()));
        args.extend(self.backbone.timm_args(pool));
        for (name, rate) in [
            ("drop_rate", info.drop_rate),
            ("drop_path_rate", info.drop_path_rate),
        ] {
            if rate > 0.0 {
                args.insert(name.to_owned(), json!(rate));
            }
        }
        let mut config = json!({
            "architecture": info.architecture,
            "num_classes": self.num_classes(),
            "num_features": self.backbone.describe().num_features,
            "global_pool": pool.timm_name(),
            "model_args": args,
            "pretrained_cfg": {
                "custom_load": false,
                "input_size": [self.in_channels(), size[0], size[1]],
                "fixed_input_size": fixed,
                "interpolation": info.resizing.interpolation,
                "crop_pct": info.resizing.crop_pct,
                "crop_mode": info.resizing.crop_mode,
                "mean": info.normalization.mean(),
                "std": info.normalization.std(),
                "num_classes": self.num_classes(),
                "classifier": classifier,
            },
        });
        // Beside them, as timm has no such argument but for patches.
        if let Some(stem) = self.backbone.describe().changed_stem() {
            let StemOptions { stride, pool, .. } = stem.options();
            let mut changed = Map::new();
            changed.extend(stride.map(|stride| ("stride".to_owned(), json!(stride))));
            changed.extend(pool.map(|pool| ("pool".to_owned(), json!(pool))));
            config["stem"] = json!(changed);
        }
        // timm would adapt the layers it names to other channels than three, once more.
        if self.in_channels() == 3 {
            let first_convs = self.backbone.describe().first_convs.iter();
            let first_convs: Vec<_> = first_convs.map(|first| names.name(&first.conv)).collect();
            config["pretrained_cfg"]["first_conv"] = match &first_convs[..] {
                [one] => json!(one),
                several => json!(several),
            };
        }
        // As timm keeps it: the weights are derived from those.
        if let Some(licence) = &info.licence {
            config["pretrained_cfg"]["license"] = json!(licence);
        }
        // Beside it, as timm refuses keys in there that it does not know.
        if let Some(source) = &info.licence_source {
            config["license_source"] = json!(source);
        }
        if !info.classes.is_empty() {
            config["label_names"] = json!(info.classes);
        }
        let Outputs {
            task,
            thresholds,
            scaling,
        } = &info.outputs;
        // As transformers calls it; what is not there is one label.
        if *task != Task::SingleLabel {
            config["problem_type"] = json!(task.problem_type());
        }
        if !thresholds.is_empty() {
            config["thresholds"] = json!(thresholds);
        }
        if let Some(scaling) = scaling {
            config["target_mean"] = json!(scaling.mean);
            config["target_std"] = json!(scaling.std);
        }
        config
    }

    /// What other libraries do not know of the model, or would compute otherwise from its weights: an
    /// architecture that they do not have, or a stem that was changed, where timm has no argument for it.
    pub fn unknown_to_timm(&self) -> Option<String> {
        let architecture = &self.info.architecture;
        let library = self.library();
        if library == OWN_LIBRARY {
            return Some(format!(
                "no other library has the architecture {architecture}"
            ));
        }
        let description = self.backbone.describe();
        let stem = description.changed_stem();
        let stem = stem.filter(|stem| stem.in_timm().is_none());
        let mut tables = description.position_tables.iter();
        if let Some(table) = tables.find(|table| table.is_taken_for_square()) {
            let [height, width] = table.sides;
            return Some(format!(
                "timm takes the table of positions in {height} x {width} windows for one of square windows as it loads \
                 it, and does not compute the same"
            ));
        }
        let pool = self.head.pool();
        let has_pool = library == "timm" || zoo::find(architecture).is_ok_and(|a| a.pool == pool);
        let change = match (stem, has_pool) {
            (Some(stem), _) => format!("the stem was changed to {stem}"),
            (None, false) => format!("the pooling was changed to {}", pool.timm_name()),
            // torchvision's constructors know no other channels, and no models without classes.
            (None, true) if library != "timm" && self.in_channels() != 3 => {
                format!("it has {} input channels", self.in_channels())
            }
            (None, true) if library != "timm" && self.num_classes() == 0 => {
                "it has no classes".to_owned()
            }
            (None, true) if self.num_classes() == 0 && description.pre_logits_for_classes => {
                "it has no classes, but the layers before the classifier".to_owned()
            }
            (None, true) => return None,
        };
        Some(format!(
            "{change}: {library} has no argument for that, and does not compute the same from these weights"
        ))
    }

    /// The library that builds the architecture in Python.
    pub fn library(&self) -> &'static str {
        zoo::find(&self.info.architecture).map_or("timm", |a| a.library)
    }

    /// How Python opens the folder: a line each, or nothing where it cannot.
    fn in_python(&self) -> String {
        let info = &self.info;
        if let Some(difference) = self.unknown_to_timm() {
            return format!("**{difference}.** burn-zoo opens it:\n\n");
        }
        let lines = if self.library() == "timm" {
            format!("import timm\nmodel = timm.create_model({TIMM_FOLDER}, pretrained=True)")
        } else {
            let args = self.backbone.timm_args(self.head.pool());
            let args = args.iter().map(|(name, value)| match value {
                Value::Bool(true) => format!(", {name}=True"),
                Value::Bool(false) => format!(", {name}=False"),
                other => format!(", {name}={other}"),
            });
            let args: String = args.collect();
            format!(
                "import torchvision\n{TORCH_IMPORT}\
                 model = torchvision.models.get_model(\"{}\", num_classes={}{args})\n\
                 model.load_state_dict(load_file({TORCH_FILE}))",
                info.architecture,
                self.num_classes(),
            )
        };
        format!("```python\n{lines}\n```\n\n")
    }

    /// A model card, the README of a repository on the hub.
    pub(crate) fn card(&self, facts: &CardFacts) -> String {
        let info = &self.info;
        let library = self.library();
        let (what, tag) = match facts.task {
            Task::SingleLabel | Task::MultiLabel => ("classes", CLASSIFICATION),
            Task::Regression => ("number(s)", "image-regression"),
        };
        let classes = match info.classes.as_slice() {
            [] => format!("{} {what}", self.num_classes()),
            names => format!(
                "{} {what}: {}",
                names.len(),
                names
                    .iter()
                    .map(|name| markdown(name))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        };
        let licence = info.licence.as_deref().map_or_else(String::new, |licence| {
            let licence = licence_in_words(Some(licence));
            let source = licence_source_in_words(info.licence_source.as_deref());
            format!("- licence of the weights that it started from: {licence}{source}\n")
        });
        let stem = self.backbone.describe().changed_stem();
        sealed(format!(
            "{front_matter}{metadata}---\n# {architecture}\n\n\
             {architecture} with {channels} input channel(s) and {classes}.\n\n\
             - parameters: {parameters}\n\
             {stem}\
             - pixel values in 0..1 are normalised with mean {mean:?} and standard deviation {std:?}\n\
             - started from: {origin}\n\
             {licence}\n\
             {sections}\
             {python}\
             ```rust\n\
             let model = {RUST_FOLDER};\n\
             ```\n",
            front_matter = front_matter(tag, library),
            metadata = facts.metadata(info.licence.as_deref()),
            sections = facts.sections,
            architecture = info.architecture,
            channels = self.in_channels(),
            parameters = self.num_parameters(),
            stem = stem.map_or_else(String::new, |stem| format!("- stem: {stem}\n")),
            mean = info.normalization.mean(),
            std = info.normalization.std(),
            origin = public(facts.origin.as_deref().unwrap_or(&info.origin)),
            python = self.in_python(),
        ))
    }
}

/// A name within a line of Markdown, which reads as it is.
fn markdown(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        // Those that turn the direction of a line do not show.
        let is_hidden =
            c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if is_hidden {
            text.extend(c.escape_unicode());
            continue;
        }
        if matches!(
            c,
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '~' | '&'
        ) {
            text.push('\\');
        }
        text.push(c);
    }
    // Else it reads as two.
    if name.contains(',') {
        return format!("\"{text}\"");
    }
    text
}

/// The files of an exported model.
pub(crate) const EXPORTED: [&str; 3] = [WEIGHTS, CARD, CONFIG];

/// Whether a model card is one of ours, which nobody has changed.
pub(crate) fn is_ours(card: &str) -> bool {
    // Earlier versions wrote these lines and no others.
    let is_old = || {
        let starts = LIBRARIES.map(|library| front_matter(CLASSIFICATION, library) + "---\n");
        !card.contains(SEAL) && starts.iter().any(|start| card.starts_with(start))
    };
    unsealed(card).is_some() || is_old()
}
