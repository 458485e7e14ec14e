//! Tuned weights out, and back in.
//!
//! An exported folder is what timm's `save_for_hf` writes: `model.safetensors` with upstream's names
//! and shapes, `config.json`, and a model card. timm opens it with
//! `timm.create_model("local-dir:DIR", pretrained=True)`, [`Classifier::open`] opens it exactly.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::path::Path;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use safetensors::tensor::{Dtype, View};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::adapt;
use crate::build::{Names, check_classes};
use crate::error::{Error, Result};
use crate::features::Pool;
use crate::manifest::HubModel;
use crate::model::{Classifier, InputSize};
use crate::params;
use crate::preprocess::Normalization;
use crate::spec::Spec;
use crate::weights::{HostTensor, Weights};
use crate::zoo;

/// Name of the weights file in an exported folder.
pub(crate) const WEIGHTS: &str = "model.safetensors";
/// How every model card of ours begins.
const FRONT_MATTER: &str =
    "---\ntags:\n- image-classification\n- timm\n- burn\nlibrary_name: timm\n---\n";
/// Name of the configuration in an exported folder.
pub(crate) const CONFIG: &str = "config.json";

impl Classifier {
    /// Writes the model into a folder: `model.safetensors`, `config.json` and a model card. Each
    /// file appears whole or not at all; files of these names are replaced, but for a model card
    /// that is not ours.
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
        model.write_weights(&dir.join(WEIGHTS), matrices)?;
        // Somebody else's README stays.
        let card = dir.join("README.md");
        let old = std::fs::read_to_string(&card);
        if !card.exists() || old.is_ok_and(|text| text.starts_with(FRONT_MATTER)) {
            write_file(&card, model.card().as_bytes())?;
        }
        // Last, so that a folder whose weights are of another make than its configuration is one
        // that was interrupted; opening it is an error then.
        let config = pretty(&model.timm_config())?;
        write_file(&dir.join(CONFIG), config.as_bytes())
    }

    /// Opens a folder that [`export`](Self::export) or timm's `save_for_hf` wrote.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Folder`] for a configuration that is missing or cannot be used,
    /// and whatever [`Spec::build`] finds.
    pub fn open(dir: impl AsRef<Path>, device: &Device) -> Result<Self> {
        read_folder(dir.as_ref())?.build(device)
    }

    /// Every parameter and every running statistic, by upstream's name.
    ///
    /// # Errors
    /// [`Error::Device`] if the device cannot hand the values over.
    pub fn state_dict(&self) -> Result<BTreeMap<String, HostTensor>> {
        let names = Names::of(self);
        let tensors = params::read(&self.valid())?;
        Ok(tensors
            .into_iter()
            .map(|(path, tensor)| (names.upstream(&path), tensor))
            .collect())
    }

    /// The gradients that a backward pass left, by upstream's name; frozen parameters have none.
    ///
    /// # Errors
    /// [`Error::Device`] if the device cannot hand the values over.
    pub fn gradient_dict(
        &self,
        gradients: &GradientsParams,
    ) -> Result<BTreeMap<String, HostTensor>> {
        let names = Names::of(self);
        let tensors = params::gradients(self, gradients)?;
        Ok(tensors
            .into_iter()
            .map(|(path, tensor)| (names.upstream(&path), tensor))
            .collect())
    }

    /// Upstream's name and the shape of every parameter and running statistic, without reading
    /// any.
    pub fn state_shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let names = Names::of(self);
        params::list(self)
            .into_iter()
            .map(|p| (names.upstream(&p.path), p.shape))
            .collect()
    }

    /// Replaces values: `value` gets upstream's name and the shape in PyTorch's layout, and answers
    /// with the new values, row-major, or with `None` to keep the old ones.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there are more or fewer values than the shape says.
    pub fn map_state_dict(
        self,
        mut value: impl FnMut(&str, &[usize]) -> Option<Vec<f32>>,
    ) -> Result<Self> {
        let names = Names::of(&self);
        params::write(self, |path, shape| {
            let name = names.upstream(path);
            let Some(values) = value(&name, shape) else {
                return Ok(None);
            };
            if values.len() != shape.iter().product::<usize>() {
                let expected = format!("values for {shape:?}");
                return Err(Error::argument(name, expected, values.len()));
            }
            Ok(Some(values))
        })
    }

    fn write_weights(&self, path: &Path, matrices: Dtype) -> Result<()> {
        let names = Names::of(self);
        let mut tensors: Vec<(String, Bytes)> = Vec::new();
        for (path, tensor) in params::read(self)? {
            let name = names.upstream(&path);
            if let Some(layer) = name.strip_suffix("running_mean") {
                let count = Bytes {
                    dtype: Dtype::I64,
                    shape: Vec::new(),
                    bytes: vec![0; 8],
                };
                tensors.push((format!("{layer}num_batches_tracked"), count));
            }
            let dtype = match tensor.shape.len() {
                0 | 1 => Dtype::F32,
                _ => matrices,
            };
            let bytes = match dtype {
                Dtype::F16 => halves(&name, &tensor.data)?,
                _ => tensor.data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            };
            let shape = tensor.shape;
            tensors.push((
                name,
                Bytes {
                    dtype,
                    shape,
                    bytes,
                },
            ));
        }
        // Python's readers refuse a file that does not say it is PyTorch's.
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|error| {
            Error::WeightsFormat {
                path: path.to_path_buf(),
                reason: format!("cannot be written: {error}"),
            }
        })?;
        write_file(path, &bytes)
    }

    /// The configuration in the form of timm's `save_for_hf`.
    fn timm_config(&self) -> Value {
        let info = &self.info;
        let pool = self.head.pool();
        let names = Names::of(self);
        let first = self.backbone.first_conv().conv;
        let upstream_size = zoo::find(&info.architecture).map_or(224, |a| a.image_size);
        let (size, fixed) = match self.backbone.input_size() {
            InputSize::Exactly(size) => (size, true),
            InputSize::AtLeast(_) => (info.image_size.unwrap_or(upstream_size), false),
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
            "num_features": self.backbone.num_features(),
            "global_pool": pool.timm_name(),
            "model_args": args,
            "pretrained_cfg": {
                "custom_load": false,
                "input_size": [self.in_channels(), size, size],
                "fixed_input_size": fixed,
                "interpolation": info.resizing.interpolation,
                "crop_pct": info.resizing.crop_pct,
                "crop_mode": info.resizing.crop_mode,
                "mean": info.normalization.mean(),
                "std": info.normalization.std(),
                "num_classes": self.num_classes(),
                "classifier": names.upstream("head.fc"),
            },
        });
        // timm would adapt the layer it names to other channels than three, once more.
        if self.in_channels() == 3 {
            config["pretrained_cfg"]["first_conv"] = json!(names.upstream(&first));
        }
        if !info.classes.is_empty() {
            config["label_names"] = json!(info.classes);
        }
        config
    }

    /// A model card, the README of a repository on the hub.
    fn card(&self) -> String {
        let info = &self.info;
        let classes = match info.classes.as_slice() {
            [] => format!("{} classes", self.num_classes()),
            names => format!("{} classes: {}", names.len(), names.join(", ")),
        };
        format!(
            "{FRONT_MATTER}# {architecture}\n\n\
             {architecture} with {channels} input channel(s) and {classes}.\n\n\
             - parameters: {parameters}\n\
             - pixel values in 0..1 are normalised with mean {mean:?} and standard deviation {std:?}\n\
             - started from: {origin}\n\n\
             ```python\n\
             import timm\n\
             model = timm.create_model(\"local-dir:PATH\", pretrained=True)\n\
             ```\n\n\
             ```rust\n\
             let model = burn_zoo::Classifier::open(\"PATH\", &device)?;\n\
             ```\n",
            architecture = info.architecture,
            channels = self.in_channels(),
            parameters = self.num_parameters(),
            mean = info.normalization.mean(),
            std = info.normalization.std(),
            origin = info.origin,
        )
    }
}

fn pretty(value: &impl Serialize) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::argument("config", "values that JSON can hold", error))?;
    text.push('\n');
    Ok(text)
}

/// The spec of the model in a folder.
pub(crate) fn read_folder(dir: &Path) -> Result<Spec> {
    read_config(&dir.join(CONFIG), Weights::File(dir.join(WEIGHTS)))
}

/// The spec that a configuration in timm's form describes.
pub(crate) fn read_config(path: &Path, weights: Weights) -> Result<Spec> {
    let bad = |error: Error| Error::Folder {
        path: path.to_path_buf(),
        reason: error.to_string(),
    };
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let model = HubModel::from_config(&text, path, zoo::known)?;
    adapt::check_channels(model.in_channels).map_err(bad)?;
    check_classes(model.num_classes).map_err(bad)?;

    let data = &model.data;
    let [height, width] = model
        .image_size
        .unwrap_or([data.input_size[1], data.input_size[2]]);
    if height != width {
        let expected = "a height and a width that are the same, as images are made square";
        let found = format!("{height} x {width}");
        return Err(bad(Error::argument("input size", expected, found)));
    }
    let normalization = Normalization::new(data.mean.clone(), data.std.clone()).map_err(bad)?;
    let mut spec = Spec::of(zoo::find(&model.architecture)?.name)
        .declared_weights(weights, model.in_channels, model.num_classes)
        .normalization(normalization.for_channels(model.in_channels))
        .resizing(data.resizing())
        .image_size(height)
        .drop_rate(model.drop_rate)
        .drop_path_rate(model.drop_path_rate);
    spec.licence = model.licence.clone();
    if let Some(pool) = &model.global_pool {
        spec = spec.pool(Pool::from_timm_name(pool).map_err(bad)?);
    }
    if !model.other_args.is_empty() {
        // Arguments that we would write ourselves say nothing new; any other may make another model.
        let sketch = spec.build_zeros(&crate::device("cpu")?).map_err(bad)?;
        let ours = sketch.backbone.timm_args(sketch.head.pool());
        let same = |(key, value): &&(String, String)| {
            serde_json::from_str(value).is_ok_and(|value: Value| ours.get(key) == Some(&value))
        };
        if let Some((key, value)) = model.other_args.iter().find(|arg| !same(arg)) {
            return Err(bad(Error::argument(
                format!("model_args.{key}"),
                "no argument that changes the architecture",
                value,
            )));
        }
    }
    spec.classes = model.label_names;
    let named = |text: &String| format!("{}: {text}", path.display());
    spec.assumed = model.assumed.iter().map(named).collect();
    Ok(spec)
}

/// The 16-bit numbers next to these.
fn halves(name: &str, values: &[f32]) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(2 * values.len());
    for value in values {
        let half = half::f16::from_f32(*value);
        if value.is_finite() && !half.is_finite() {
            let expected = format!("at most {}, the largest 16-bit number", half::f16::MAX);
            return Err(Error::argument(name, expected, value));
        }
        bytes.extend_from_slice(&half.to_le_bytes());
    }
    Ok(bytes)
}

/// A tensor's bytes, as the safetensors crate wants them.
struct Bytes {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for Bytes {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.bytes.as_slice().into()
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// How the name of a file begins that is being written.
pub(crate) const TEMPORARY: &str = ".burn-zoo-";

/// Writes a file so that it appears whole or not at all: into a temporary file beside it, which is
/// then renamed.
///
/// # Errors
/// [`Error::Io`] if the folder or the file cannot be written; an old file is then as it was.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    // A link stays a link: the file behind it is replaced.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    // A pipe or a device cannot be renamed over.
    if path.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        return std::fs::write(path, bytes).map_err(Error::io("write", path));
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    // Temporary files are private by default; what a user finds in a folder should not be.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut file = builder
        .tempfile_in(dir)
        .map_err(Error::io("write into", dir))?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    file.as_file()
        .sync_all()
        .map_err(Error::io("write", path))?;
    file.persist(path)
        .map_err(|error| Error::io("write", path)(error.error))?;
    Ok(())
}
