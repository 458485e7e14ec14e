//! What was trained of a model, by itself, in peft's format.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use burn::module::Module;
use safetensors::tensor::Dtype;
use serde_json::{Map, Value, json};

use super::WeightsFile;
use super::tensor_file::{self, StoredTensor, Values, pretty};
use crate::error::{Error, Result};
use crate::files::write_file;
use crate::model::low_rank::{Factor, adapted, factor, upstream_name};
use crate::model::params::ParamInfo;
use crate::model::{Adapt, Classifier, HostTensor, KeyTable, Lora, Outputs, freeze, params};
use crate::nn::is_buffer;

/// Name of the weights file of an adapter.
const WEIGHTS: &str = "adapter_model.safetensors";
/// Name of its configuration.
const CONFIG: &str = "adapter_config.json";
/// Both, in the order in which they are written.
pub(crate) const ADAPTER_FILES: [&str; 2] = [WEIGHTS, CONFIG];
/// What peft puts before the names of a model's tensors.
const PREFIX: &str = "base_model.model.";

/// What was trained of a model whose other weights stay as they are: adapters of low rank, or biases, or
/// normalisations, and the head. A file of it takes little room, and makes the tuned model from the one that
/// it started from: [`Classifier::with_adapter`](crate::Classifier::with_adapter).
///
/// Adapters of low rank are stored as peft stores them: `adapter_model.safetensors` with names such as
/// `base_model.model.blocks.0.attn.qkv.lora_A.weight`, and `adapter_config.json`. So
/// `PeftModel.from_pretrained(timm_model, DIR)` opens what is written here, and [`open`](Self::open) what
/// peft has saved of a timm model. peft has no form for biases alone; their files have the same names and a
/// type that it refuses.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// What was trained.
    pub adapt: Adapt,
    /// The architecture; empty if the file does not say.
    pub architecture: String,
    /// The classes' names, or nothing.
    pub classes: Vec<String>,
    /// What the head's outputs mean.
    pub outputs: Outputs,
    /// Values by upstream's names, and peft's of factors.
    pub tensors: BTreeMap<String, HostTensor>,
}

impl Adapter {
    /// What `adapt` says of a model, and its head: with adapters of low rank these, and whatever else
    /// trains; else biases or normalisations, and the running statistics that move with them.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for [`Adapt::None`], and for adapters that the model does not have;
    /// [`Error::Device`] if the device cannot hand the values over.
    pub fn of(model: &Classifier, adapt: Adapt) -> Result<Self> {
        let is_there = match adapt {
            Adapt::None => false,
            Adapt::Lora(lora) => model.lora() == Some(lora),
            _ => true,
        };
        if !is_there {
            let expected = "what the model has: its adapters, bias-only or norm-only";
            return Err(Error::argument("adapt", expected, adapt));
        }
        let model = model.valid();
        let list = params::list(&model);
        let mut wanted = paths_of(&model, &list, adapt);
        if let Adapt::Lora(_) = adapt {
            let training = params::training_state(&model);
            let trains = training.into_iter().filter(|(_, trains)| *trains);
            wanted.extend(trains.map(|(path, _)| path));
        }
        let names = &model.backbone.describe().key_table;
        let mut shapes = upstream_shapes(names, list.into_iter().map(|p| (p.path, p.shape)));
        let tensors = params::read_where(&model, &|path| wanted.contains(path))?;
        let tensors = tensors.into_iter().map(|(path, tensor)| {
            let shape = shapes.remove(&path).unwrap_or(tensor.shape);
            let data = tensor.data;
            (upstream_name(names, &path), HostTensor { shape, data })
        });
        Ok(Self {
            adapt,
            architecture: model.info.architecture.clone(),
            classes: model.info.classes.clone(),
            outputs: model.info.outputs.clone(),
            tensors: tensors.collect(),
        })
    }

    /// Numbers in it.
    pub fn num_parameters(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.data.len()).sum()
    }

    /// Writes it into a folder: `adapter_model.safetensors` and `adapter_config.json`.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be written.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<()> {
        let dir = dir.as_ref();
        std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let named = self.tensors.iter();
        let named = named.map(|(name, tensor)| (format!("{PREFIX}{name}"), tensor));
        let metadata = HashMap::from([
            ("architecture".to_owned(), self.architecture.clone()),
            ("classes".to_owned(), json!(self.classes).to_string()),
            ("outputs".to_owned(), json!(self.outputs).to_string()),
        ]);
        write_tensors(&dir.join(WEIGHTS), named, metadata)?;
        write_file(&dir.join(CONFIG), pretty(&self.config())?.as_bytes())
    }

    /// The configuration as peft writes it.
    fn config(&self) -> Value {
        let lora = match self.adapt {
            Adapt::Lora(lora) => lora,
            other => {
                let kind = other.to_string().replace('-', "_").to_uppercase();
                return json!({
                    "peft_type": kind,
                    "base_model_name_or_path": self.architecture,
                });
            }
        };
        let names = self.tensors.keys();
        let modules: Vec<String> = names
            .filter_map(|name| name.strip_suffix(".lora_A.weight"))
            .map(regex::escape)
            .collect();
        let names = self.tensors.keys();
        let names = names.filter(|name| !name.contains(".lora_"));
        let mut saved: Vec<&str> = names
            .filter_map(|name| name.rsplit_once('.').map(|(module, _)| module))
            .collect();
        saved.dedup();
        json!({
            "peft_type": "LORA",
            "task_type": null,
            "base_model_name_or_path": self.architecture,
            "inference_mode": true,
            "r": lora.rank,
            "lora_alpha": lora.alpha_or_default(),
            "use_rslora": lora.rslora,
            "lora_dropout": 0.0,
            // A list would also take modules whose names end so: `layer1.0.conv1` for `conv1`.
            "target_modules": modules.join("|"),
            "modules_to_save": saved,
            "bias": "none",
            "fan_in_fan_out": false,
            "init_lora_weights": true,
            "rank_pattern": {},
            "alpha_pattern": {},
        })
    }

    /// Opens a folder that [`save`](Self::save) or peft's `save_pretrained` wrote.
    ///
    /// # Errors
    /// [`Error::Folder`] for a configuration that asks for something that adapters have not here, such as
    /// DoRA or a rank for each layer, and whatever reading the files meets.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let path = dir.join(CONFIG);
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let bad = |reason: String| Error::Folder {
            path: path.clone(),
            reason,
        };
        let config: Map<String, Value> =
            serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        let adapt = adapt_of(&config).map_err(bad)?;

        let file = WeightsFile::open(dir.join(WEIGHTS))?;
        let mut tensors = BTreeMap::new();
        for (name, info) in file.tensors() {
            let data = file.read_f32(name)?;
            let plain = name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
            let shape = info.shape.clone();
            tensors.insert(plain, HostTensor { shape, data });
        }
        let metadata = file.metadata();
        let bad = |name: &str, error: serde_json::Error| Error::Folder {
            path: dir.join(WEIGHTS),
            reason: format!("{name}: {error}"),
        };
        let classes = metadata.get("classes").map(String::as_str);
        let classes = classes.map_or(Ok(Vec::new()), serde_json::from_str);
        let outputs = metadata.get("outputs").map(String::as_str);
        let outputs = outputs.map_or(Ok(Outputs::default()), serde_json::from_str);
        Ok(Self {
            adapt,
            architecture: metadata.get("architecture").cloned().unwrap_or_default(),
            classes: classes.map_err(|error| bad("classes", error))?,
            outputs: outputs.map_err(|error| bad("outputs", error))?,
            tensors,
        })
    }

    /// Whether a folder holds one.
    pub fn is_in(dir: impl AsRef<Path>) -> bool {
        dir.as_ref().join(CONFIG).is_file()
    }
}

/// What `adapt` says of a model, the head, and the running statistics of normalisations that train.
pub(crate) fn paths_of(model: &Classifier, list: &[ParamInfo], adapt: Adapt) -> BTreeSet<String> {
    let of_kind = freeze::of_kind(model, list, adapt).into_iter();
    let mut paths: BTreeSet<String> = of_kind.map(|p| p.path.clone()).collect();
    if !matches!(adapt, Adapt::Lora(_)) {
        let layer = |path: &str| path.rsplit_once('.').map(|(layer, _)| layer.to_owned());
        let layers: BTreeSet<String> = paths.iter().filter_map(|path| layer(path)).collect();
        let moves = |path: &str| layer(path).is_some_and(|layer| layers.contains(&layer));
        let statistics = list.iter().map(|p| &p.path);
        let statistics = statistics.filter(|path| is_buffer(path) && moves(path));
        paths.extend(statistics.cloned());
    }
    paths
}

/// Upstream's shapes of parameters, and peft's of factors, by path. Of factors the weights have to be there.
pub(crate) fn upstream_shapes(
    names: &KeyTable,
    params: impl Iterator<Item = (String, Vec<usize>)>,
) -> HashMap<String, Vec<usize>> {
    let own: HashMap<String, Vec<usize>> = params.collect();
    let shapes = own.iter().map(|(path, shape)| {
        let shape = match factor(path).map(|(weight, factor)| (weight, own.get(weight), factor)) {
            Some((weight, Some(full), factor)) => {
                factor_shape(&names.shape(weight, full), factor, shape)
            }
            _ => names.shape(path, shape),
        };
        (path.clone(), shape)
    });
    shapes.collect()
}

/// peft's shape of a factor, by that of the weight.
fn factor_shape(weight: &[usize], factor: Factor, matrix: &[usize]) -> Vec<usize> {
    let mut shape = match factor {
        Factor::A => vec![matrix[0]],
        Factor::B => matrix.to_vec(),
    };
    match factor {
        Factor::A => shape.extend(weight.iter().skip(1)),
        Factor::B => shape.resize(weight.len().max(2), 1),
    }
    shape
}

/// What a configuration of peft's says, or why that cannot be.
fn adapt_of(config: &Map<String, Value>) -> std::result::Result<Adapt, String> {
    let text = |name: &str| config.get(name).and_then(Value::as_str);
    match text("peft_type") {
        Some("LORA") => {}
        Some("BIAS_ONLY") => return Ok(Adapt::BiasOnly),
        Some("NORM_ONLY") => return Ok(Adapt::NormOnly),
        other => {
            let found = other.unwrap_or("nothing");
            return Err(format!("peft_type: expected LORA, found {found}"));
        }
    }
    // What would make the layers compute something else.
    let is_set = |name: &&&str| match config.get(**name) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::String(text)) => text != "none",
        Some(_) => true,
    };
    let unknown = [
        "bias",
        "fan_in_fan_out",
        "rank_pattern",
        "alpha_pattern",
        "use_dora",
        "use_qalora",
        "lora_bias",
        "alora_invocation_tokens",
        "target_parameters",
        "trainable_token_indices",
        "layer_replication",
        "use_bdlora",
        "kasa_config",
        "velora_config",
        "monteclora_config",
    ];
    if let Some(name) = unknown.iter().find(is_set) {
        return Err(format!("{name}: such adapters are not supported"));
    }
    // Others begin with factors that are taken off the weights.
    let leaves_weights = match config.get("init_lora_weights") {
        None | Some(Value::Null | Value::Bool(_)) => true,
        Some(Value::String(kind)) => ["gaussian", "eva", "orthogonal"].contains(&&**kind),
        Some(_) => false,
    };
    if !leaves_weights {
        let reason = "init_lora_weights: such adapters change the weights beside them";
        return Err(reason.to_owned());
    }
    let rank = config.get("r").and_then(Value::as_u64);
    let alpha = config.get("lora_alpha").and_then(Value::as_f64);
    let (Some(rank), Some(alpha)) = (rank, alpha) else {
        return Err("expected r and lora_alpha".to_owned());
    };
    let is_rslora = config.get("use_rslora").and_then(Value::as_bool);
    let lora = Lora {
        rank: usize::try_from(rank).unwrap_or(usize::MAX),
        alpha: Some(alpha),
        rslora: is_rslora.unwrap_or(false),
    };
    lora.validate().map_err(|error| error.to_string())?;
    Ok(Adapt::Lora(lora))
}

/// Writes tensors in 32 bits.
fn write_tensors<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (String, &'a HostTensor)>,
    metadata: HashMap<String, String>,
) -> Result<()> {
    let tensors = tensors.map(|(name, tensor)| {
        let tensor = StoredTensor {
            dtype: Dtype::F32,
            shape: tensor.shape.clone(),
            values: Values::F32(&tensor.data),
        };
        (name, tensor)
    });
    tensor_file::write(path, tensors.collect(), metadata)
}

/// Writes the weights beside which the adapters of a model stand.
pub(crate) fn write_bases(model: &Classifier, path: &Path) -> Result<()> {
    let weights: Vec<String> = adapted(model).into_iter().map(|p| p.path).collect();
    let names = &model.backbone.describe().key_table;
    let bases = params::read_where(&model.valid(), &|path| weights.iter().any(|w| w == path))?;
    let named = bases
        .iter()
        .map(|(path, tensor)| (names.name(path), tensor));
    write_tensors(path, named, HashMap::new())
}

/// What [`write_bases`] wrote, by upstream's names.
pub(crate) fn read_bases(path: &Path) -> Result<HashMap<String, HostTensor>> {
    let file = WeightsFile::open(path)?;
    let tensors = file.tensors().iter().map(|(name, info)| {
        let shape = info.shape.clone();
        let data = file.read_f32(name)?;
        Ok((
            format!("{}{name}", file.prefix()),
            HostTensor { shape, data },
        ))
    });
    tensors.collect()
}
