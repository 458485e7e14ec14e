//! What a model's own `config.json` says, in timm's form.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::entry::DataConfig;
use super::fields::{
    AnyLine, Channels, Classes, Crop, CropPct, DropRate, Filter, Flag, InputSize, Line, Means,
    OneOrMore, Side, Stds,
};
use crate::data::Task;
use crate::error::{Error, Result};
use crate::model::{Outputs, StemOptions, TargetScaling};
use crate::preprocess::{CropMode, Interpolation};
use crate::weights::quote::clipped;
use crate::zoo;

/// Larger configurations are surely something else; the names of 20,000 classes take 1 MB.
const MAX_BYTES: usize = 16 << 20;

/// The keys of `model_args` that have a field of their own in [`HubModel`].
const ARGS: [&str; 6] = [
    "in_chans",
    "num_classes",
    "global_pool",
    "img_size",
    "drop_rate",
    "drop_path_rate",
];

/// A model as the `config.json` beside its weights describes it, on the hub or in a folder.
///
/// Values that are absent or `null` are timm's defaults.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HubModel {
    /// The architecture's name, timm's.
    pub architecture: String,
    /// The tag that the weights had where they come from.
    pub tag: Option<String>,
    /// Channels of the image.
    pub in_channels: usize,
    /// Classes of the last layer; 0 if there is none.
    pub num_classes: usize,
    /// Names of the classes, as many as there are, or none. A class without a name has its number.
    pub label_names: Vec<String>,
    /// What the outputs mean.
    pub outputs: Outputs,
    /// The images that the weights were trained on. Mean and standard deviation may be those of
    /// three channels, or a single value, in a model for another number of channels.
    pub data: DataConfig,
    /// Height and width that the model was built for, if the configuration says so.
    pub image_size: Option<[usize; 2]>,
    /// How features become one vector, by timm's name; `None` is the architecture's own way.
    pub global_pool: Option<String>,
    /// Dropout before the last layer.
    pub drop_rate: f64,
    /// Stochastic depth.
    pub drop_path_rate: f64,
    /// What was changed in the stem, which timm knows nothing of but the side of patches.
    pub stem: Option<StemOptions>,
    /// Upstream's names of the convolutions that see the image.
    pub first_conv: Vec<String>,
    /// Upstream's names of the last layer, or of the last layers where there are two classifiers.
    pub classifier: Vec<String>,
    /// The licence's identifier. `None` is unknown, not free.
    pub licence: Option<String>,
    /// Where that was read, if upstream does not state it for the weights that these started from.
    /// timm knows no such key.
    pub licence_source: Option<String>,
    /// Arguments of timm's constructor that no field above holds, each with its value as JSON.
    /// They may make another model of the architecture than ours.
    pub other_args: Vec<(String, String)>,
    /// What images and classes were taken to be where nothing is said about them, in words.
    pub assumed: Vec<String>,
}

impl HubModel {
    /// Reads a configuration: the form with `pretrained_cfg` in it, and the older flat one. Errors
    /// name it by `path`.
    ///
    /// # Errors
    /// [`Error::Folder`] for what is no JSON, no configuration of timm's, of an architecture that
    /// the zoo does not have, or holds a malformed value; it names the key.
    pub fn from_config(text: &str, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bad = |reason: String| Error::Folder {
            path: path.to_path_buf(),
            reason,
        };
        if text.len() > MAX_BYTES {
            return Err(bad("expected a configuration of at most 16 MiB".to_owned()));
        }
        let root: Value = serde_json::from_str(text)
            .map_err(|error| bad(format!("not a model configuration: {error}")))?;
        let Value::Object(map) = &root else {
            let found = shown(&root);
            return Err(bad(format!("expected a JSON object, found {found}")));
        };
        let nothing = Map::new();
        let root = Section {
            prefix: "",
            map,
            path,
        };
        // First, as the values of an architecture that we do not have may be of other kinds.
        let architecture = root.architecture()?;
        zoo::find(&architecture).map_err(|error| bad(error.to_string()))?;
        // Before `pretrained_cfg` was introduced its keys were among the others.
        let cfg = root.section("pretrained_cfg", "pretrained_cfg.")?;
        let cfg = cfg.unwrap_or(Section { ..root });
        let args = root.section("model_args", "model_args.")?;
        let args = args.unwrap_or(Section {
            map: &nothing,
            ..root
        });
        Self::read(architecture, &root, &cfg, &args)
    }

    /// `args` describes the model that was saved, so it goes before what `cfg` says of the weights
    /// it came from.
    fn read(architecture: String, root: &Section, cfg: &Section, args: &Section) -> Result<Self> {
        let mut assumed = Vec::new();
        let mut assume = |missing: bool, what: &str| {
            if missing {
                assumed.push(what.to_owned());
            }
        };
        let image_size = args.read("img_size", image_size)?;
        let fixed_input_size = cfg
            .get("fixed_input_size")?
            .is_some_and(|Flag(fixed)| fixed)
            && !args
                .get("dynamic_img_size")?
                .is_some_and(|Flag(dynamic)| dynamic);
        let input_size: Option<InputSize> = cfg.get("input_size")?;
        assume(
            input_size.is_none() && image_size.is_none(),
            "input_size is not given: images of 224 x 224 pixels",
        );
        let mut input_size = input_size.map_or([3, 224, 224], |InputSize(size)| size);
        let in_channels = args.get("in_chans")?.map_or(input_size[0], |Channels(n)| n);
        if let Some([height, width]) = image_size.filter(|_| fixed_input_size) {
            input_size = [in_channels, height, width];
        }
        input_size[0] = in_channels;
        let test_input_size: Option<InputSize> = cfg.get("test_input_size")?;

        let patch_size = args.get("patch_size")?.map(|Side(side)| StemOptions {
            stride: Some(side),
            ..StemOptions::default()
        });
        let num_classes: Option<Classes> = first([
            args.get("num_classes")?,
            root.get("num_classes")?,
            cfg.get("num_classes")?,
        ]);
        assume(num_classes.is_none(), "num_classes is not given: 1000");
        let num_classes = num_classes.map_or(1000, |Classes(n)| n);
        let names = |value| label_names(value, num_classes);
        let label_names = first([
            root.read("label_names", names)?,
            cfg.read("label_names", names)?,
            root.read("labels", names)?,
        ]);

        let numbers = |value: &Value| -> Result<Vec<f32>, String> {
            let numbers: Vec<f32> = parsed(value)?;
            match numbers.len() == num_classes && numbers.iter().all(|number| number.is_finite()) {
                true => Ok(numbers),
                false => Err(format!(
                    "expected {num_classes} numbers, one for each output"
                )),
            }
        };
        let task = root.read("problem_type", |value| {
            let known = value.as_str().and_then(Task::of_problem_type);
            known.ok_or_else(|| {
                let known = [Task::SingleLabel, Task::MultiLabel, Task::Regression];
                format!("expected {}", known.map(Task::problem_type).join(", "))
            })
        })?;
        let mean = root.read("target_mean", numbers)?;
        let std = root.read("target_std", numbers)?;
        let scaling = match (mean, std) {
            (Some(mean), Some(std)) if std.iter().all(|std| *std > 0.0) => {
                Some(TargetScaling { mean, std })
            }
            (Some(_), Some(_)) => {
                return Err(root.wrong("target_std", "expected numbers above 0", "others"));
            }
            (None, None) => None,
            (Some(_), None) => {
                return Err(root.wrong("target_std", "expected it beside target_mean", "none"));
            }
            (None, Some(_)) => {
                return Err(root.wrong("target_mean", "expected it beside target_std", "none"));
            }
        };
        let outputs = Outputs {
            task: task.unwrap_or_default(),
            thresholds: root.read("thresholds", numbers)?.unwrap_or_default(),
            scaling,
        };

        // One value for all channels, one for each, or those of the RGB model that it came from.
        let mean = cfg.read("mean", |value| {
            let Means(list) = parsed(value)?;
            per_channel(list, in_channels)
        })?;
        assume(mean.is_none(), "mean is not given: ImageNet's");
        let mean = mean.unwrap_or(vec![0.485, 0.456, 0.406]);
        let std = cfg.read("std", |value| {
            let Stds(list) = parsed(value)?;
            let list = per_channel(list, in_channels)?;
            if list.len() != mean.len() {
                return Err(format!(
                    "expected {} numbers, as many as in mean",
                    mean.len()
                ));
            }
            Ok(list)
        })?;
        assume(
            std.is_none() && mean.len() == 3,
            "std is not given: ImageNet's",
        );
        let std = match std {
            Some(std) => std,
            None if mean.len() == 3 => vec![0.229, 0.224, 0.225],
            None => return Err(cfg.wrong("std", "expected as many numbers as in mean", "none")),
        };
        let interpolation = cfg.get("interpolation")?;
        assume(
            interpolation.is_none(),
            "interpolation is not given: bicubic",
        );
        let crop_pct = cfg.get("crop_pct")?;
        assume(crop_pct.is_none(), "crop_pct is not given: 0.875");
        let given = |AnyLine(text): AnyLine| Some(text).filter(|text| !text.is_empty());
        let rate = |key| -> Result<f64> { Ok(args.get(key)?.map_or(0.0, |DropRate(rate)| rate)) };
        let layers = |key| -> Result<Vec<String>> {
            Ok(cfg
                .get(key)?
                .map_or_else(Vec::new, |OneOrMore(names)| names))
        };
        Ok(Self {
            architecture,
            tag: cfg.get("tag")?.and_then(given),
            in_channels,
            num_classes,
            label_names: label_names.unwrap_or_default(),
            outputs,
            data: DataConfig {
                input_size,
                test_input_size: test_input_size
                    .map(|InputSize([_, height, width])| [in_channels, height, width]),
                fixed_input_size,
                mean,
                std,
                interpolation: interpolation
                    .map_or(Interpolation::Bicubic, |Filter(filter)| filter),
                crop_pct: crop_pct.map_or(0.875, |CropPct(share)| share),
                test_crop_pct: cfg.get("test_crop_pct")?.map(|CropPct(share)| share),
                crop_mode: cfg
                    .get("crop_mode")?
                    .map_or(CropMode::Center, |Crop(mode)| mode),
            },
            image_size,
            global_pool: match args.get("global_pool")? {
                Some(AnyLine(pool)) => Some(pool),
                None => root.get("global_pool")?.and_then(given),
            },
            drop_rate: rate("drop_rate")?,
            drop_path_rate: rate("drop_path_rate")?,
            stem: root.read("stem", changed_stem)?.or(patch_size),
            first_conv: layers("first_conv")?,
            classifier: layers("classifier")?,
            licence: cfg.get("license")?.map(|Line(text)| text),
            licence_source: root.get("license_source")?.map(|Line(text)| text),
            other_args: args.others(),
            assumed,
        })
    }
}

fn first<T, const N: usize>(values: [Option<T>; N]) -> Option<T> {
    values.into_iter().flatten().next()
}

fn per_channel(list: Vec<f64>, in_channels: usize) -> Result<Vec<f64>, String> {
    if [1, 3, in_channels].contains(&list.len()) {
        return Ok(list);
    }
    Err(format!("expected {in_channels} numbers, one a channel"))
}

/// What was changed in a stem, as [`Classifier::export`](crate::Classifier::export) writes it.
pub(crate) fn changed_stem(value: &Value) -> Result<StemOptions, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Changed {
        stride: Option<Side>,
        pool: Option<bool>,
    }
    if !value.is_object() {
        return Err("expected an object of `stride` and `pool`".to_owned());
    }
    let Changed { stride, pool } = parsed(value)?;
    Ok(StemOptions {
        small_images: false,
        stride: stride.map(|Side(side)| side),
        pool,
    })
}

/// A side, or height and width.
fn image_size(value: &Value) -> Result<[usize; 2], String> {
    if let Ok(Side(side)) = parsed(value) {
        return Ok([side; 2]);
    }
    let size: Result<[Side; 2], _> = parsed(value);
    size.map(|size| size.map(|Side(side)| side))
        .map_err(|_| "expected 1 to 16384 pixels, or [height, width]".to_owned())
}

/// A list of names, or a map from a class's number to its name that may have gaps.
fn label_names(value: &Value, num_classes: usize) -> Result<Vec<String>, String> {
    if value.is_object() {
        let named: BTreeMap<usize, Line> = parsed(value)
            .ok()
            .filter(|named: &BTreeMap<usize, Line>| named.keys().all(|class| *class < num_classes))
            .ok_or_else(|| format!("expected names of the classes 0 to below {num_classes}"))?;
        // An empty map names nothing.
        if named.is_empty() {
            return Ok(Vec::new());
        }
        let mut names: Vec<String> = (0..num_classes).map(|class| class.to_string()).collect();
        for (class, Line(name)) in named {
            names[class] = name;
        }
        return Ok(names);
    }
    // Any text: what a folder or a label is called is its owner's business.
    match parsed(value) {
        Ok::<Vec<String>, _>(names) if names.is_empty() || names.len() == num_classes => Ok(names),
        _ => Err(format!("expected a list of {num_classes} names")),
    }
}

/// A value as a type that checks itself.
fn parsed<'de, T: Deserialize<'de>>(value: &'de Value) -> Result<T, String> {
    T::deserialize(value).map_err(|error| error.to_string())
}

/// A JSON object of the configuration.
struct Section<'a> {
    /// What errors put before a key.
    prefix: &'static str,
    map: &'a Map<String, Value>,
    path: &'a Path,
}

impl<'a> Section<'a> {
    /// A value as a type that checks itself, if it is there and not null.
    fn get<T: Deserialize<'a>>(&self, key: &str) -> Result<Option<T>> {
        self.read(key, parsed)
    }

    /// The same by a rule, which says what it expected.
    fn read<T>(
        &self,
        key: &str,
        rule: impl FnOnce(&'a Value) -> Result<T, String>,
    ) -> Result<Option<T>> {
        let value = self.map.get(key).filter(|value| !value.is_null());
        value
            .map(|value| rule(value).map_err(|reason| self.wrong(key, &reason, &shown(value))))
            .transpose()
    }

    fn section(&self, key: &str, prefix: &'static str) -> Result<Option<Section<'a>>> {
        let map = self.read(key, |value| {
            value.as_object().ok_or("expected a JSON object".to_owned())
        })?;
        Ok(map.map(|map| Section {
            prefix,
            map,
            ..*self
        }))
    }

    /// What is not in [`ARGS`].
    fn others(&self) -> Vec<(String, String)> {
        self.map
            .iter()
            .filter(|(key, value)| !ARGS.contains(&key.as_str()) && !value.is_null())
            .map(|(key, value)| (key.escape_debug().to_string(), value.to_string()))
            .collect()
    }

    fn wrong(&self, key: &str, reason: &str, found: &str) -> Error {
        Error::Folder {
            path: self.path.to_path_buf(),
            reason: format!("{}{key}: {reason}, found {found}", self.prefix),
        }
    }

    fn architecture(&self) -> Result<String> {
        if let Some(Line(name)) = self.get("architecture")? {
            return Ok(name);
        }
        let found = match self
            .map
            .get("architectures")
            .filter(|value| !value.is_null())
        {
            None => "none".to_owned(),
            Some(other) => format!("`architectures` of another library: {}", shown(other)),
        };
        let expected = "expected the name that timm has for it";
        Err(self.wrong("architecture", expected, &found))
    }
}

/// A value as JSON, in short.
fn shown(value: &Value) -> String {
    clipped(&value.to_string(), 80)
}
