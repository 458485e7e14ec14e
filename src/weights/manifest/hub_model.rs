//! What a model's own `config.json` says, in timm's form.

use std::path::Path;

use serde_json::{Map, Value};

use super::entry::{DataConfig, non_commercial};
use super::rules::{self, Checked, Raw};
use crate::error::{Error, Result};
use crate::preprocess::{CropMode, Interpolation};
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
#[non_exhaustive]
pub struct HubModel {
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
    /// Upstream's name of the convolution that sees the image.
    pub first_conv: Option<String>,
    /// Upstream's name of the last layer.
    pub classifier: Option<String>,
    /// The licence's identifier. `None` is unknown, not free.
    pub licence: Option<String>,
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
        let root = match &root {
            Value::Object(map) => Section::new("", map, path),
            other => {
                let found = shown(other);
                return Err(bad(format!("expected a JSON object, found {found}")));
            }
        };
        // First, as the values of an architecture that we do not have may be of other kinds.
        let architecture = root.architecture()?;
        zoo::find(&architecture).map_err(|error| bad(error.to_string()))?;
        let nothing = Map::new();
        // Before `pretrained_cfg` was introduced its keys were among the others.
        let cfg = match root.section("pretrained_cfg")? {
            Some(cfg) => cfg,
            None => Section::new("", root.map, path),
        };
        let args = root.section("model_args")?;
        let args = args.unwrap_or(Section::new("model_args.", &nothing, path));
        Self::read(architecture, &root, &cfg, &args)
    }

    /// Whether the licence is known to forbid commercial use; see [`non_commercial`].
    pub fn non_commercial(&self) -> bool {
        self.licence.as_deref().is_some_and(non_commercial)
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
        let image_size = args.get("img_size", image_size)?;
        let fixed = cfg.get("fixed_input_size", rules::flag)? == Some(true)
            && args.get("dynamic_img_size", rules::flag)? != Some(true);
        let input_size = cfg.get("input_size", rules::input_size)?;
        assume(
            input_size.is_none() && image_size.is_none(),
            "input_size is not given: images of 224 x 224 pixels",
        );
        let mut input_size = input_size.unwrap_or([3, 224, 224]);
        let in_channels = args
            .get("in_chans", rules::channels)?
            .unwrap_or(input_size[0]);
        if let Some([height, width]) = image_size.filter(|_| fixed) {
            input_size = [in_channels, height, width];
        }
        input_size[0] = in_channels;
        let test_input_size = cfg.get("test_input_size", rules::input_size)?;

        let num_classes = first([
            args.get("num_classes", rules::classes)?,
            root.get("num_classes", rules::classes)?,
            cfg.get("num_classes", rules::classes)?,
        ]);
        assume(num_classes.is_none(), "num_classes is not given: 1000");
        let num_classes = num_classes.unwrap_or(1000);
        let names = |value: &Value| label_names(value, num_classes);
        let label_names = first([
            root.get("label_names", names)?,
            cfg.get("label_names", names)?,
            root.get("labels", names)?,
        ])
        .unwrap_or_default();

        // One value for all channels, one for each, or those of the RGB model that it came from.
        let per_channel = |list: Vec<f64>| match list.len() {
            1 | 3 => Ok(list),
            n if n == in_channels => Ok(list),
            _ => Err(format!("{in_channels} numbers, one a channel").into()),
        };
        let mean = cfg.get("mean", |value| per_channel(rules::means(value)?))?;
        assume(mean.is_none(), "mean is not given: ImageNet's");
        let mean = mean.unwrap_or(vec![0.485, 0.456, 0.406]);
        let std = cfg.get("std", |value| {
            let list = per_channel(rules::stds(value)?)?;
            let expected = || format!("{} numbers, as many as in mean", mean.len());
            (list.len() == mean.len())
                .then_some(list)
                .ok_or_else(|| expected().into())
        })?;
        assume(
            std.is_none() && mean.len() == 3,
            "std is not given: ImageNet's",
        );
        let std = match (std, mean.len()) {
            (Some(std), _) => std,
            (None, 3) => vec![0.229, 0.224, 0.225],
            (None, _) => {
                let expected = "as many numbers as in mean";
                return Err(cfg.wrong("std", expected, "none".to_owned()));
            }
        };
        let interpolation = cfg.get("interpolation", rules::interpolation)?;
        assume(
            interpolation.is_none(),
            "interpolation is not given: bicubic",
        );
        let crop_pct = cfg.get("crop_pct", rules::crop_pct)?;
        assume(crop_pct.is_none(), "crop_pct is not given: 0.875");
        Ok(Self {
            architecture,
            tag: cfg.get("tag", tag)?.flatten(),
            in_channels,
            num_classes,
            label_names,
            data: DataConfig {
                input_size,
                test_input_size: test_input_size.map(|[_, h, w]| [in_channels, h, w]),
                fixed_input_size: fixed,
                mean,
                std,
                interpolation: interpolation.unwrap_or(Interpolation::Bicubic),
                crop_pct: crop_pct.unwrap_or(0.875),
                test_crop_pct: cfg.get("test_crop_pct", rules::crop_pct)?,
                crop_mode: cfg
                    .get("crop_mode", rules::crop_mode)?
                    .unwrap_or(CropMode::Center),
            },
            image_size,
            global_pool: match args.get("global_pool", any_text)? {
                Some(pool) => Some(pool),
                None => root.get("global_pool", any_text)?.filter(|p| !p.is_empty()),
            },
            drop_rate: args.get("drop_rate", rules::rate)?.unwrap_or(0.0),
            drop_path_rate: args.get("drop_path_rate", rules::rate)?.unwrap_or(0.0),
            first_conv: cfg.get("first_conv", rules::text)?,
            classifier: cfg.get("classifier", rules::text)?,
            licence: cfg.get("license", rules::text)?,
            other_args: args.others(),
            assumed,
        })
    }
}

fn first<T, const N: usize>(values: [Option<T>; N]) -> Option<T> {
    values.into_iter().flatten().next()
}

/// A side, or height and width.
fn image_size(value: &Value) -> Checked<[usize; 2]> {
    let size = || match value.as_list() {
        Some([height, width]) => Some([rules::side(height).ok()?, rules::side(width).ok()?]),
        Some(_) => None,
        None => rules::side(value).ok().map(|side| [side; 2]),
    };
    size().ok_or("1 to 16384 pixels, or [height, width]".into())
}

fn any_text(value: &Value) -> Checked<String> {
    let text = value.as_text().filter(|s| !s.contains(char::is_control));
    text.map(str::to_owned).ok_or("a line of text".into())
}

/// An empty tag is none.
fn tag(value: &Value) -> Checked<Option<String>> {
    any_text(value).map(|tag| Some(tag).filter(|tag| !tag.is_empty()))
}

/// A list of names, or a map from a class's number to its name that may have gaps.
fn label_names(value: &Value, num_classes: usize) -> Checked<Vec<String>> {
    if let Value::Object(map) = value {
        let mut names: Vec<String> = (0..num_classes).map(|class| class.to_string()).collect();
        for (key, name) in map {
            let class = key.parse().ok().and_then(|n: usize| names.get_mut(n));
            let (Some(class), Ok(name)) = (class, rules::text(name)) else {
                let expected = format!("names of the classes 0 to below {num_classes}");
                return Err(expected.into());
            };
            *class = name;
        }
        // An empty map names nothing.
        return Ok(if map.is_empty() { Vec::new() } else { names });
    }
    // Any text: what a folder or a label is called is its owner's business.
    let names = value.as_list().unwrap_or_default().iter();
    let names: Option<Vec<String>> = names.map(|n| n.as_text().map(str::to_owned)).collect();
    match names {
        Some(names) if !names.is_empty() && names.len() == num_classes => Ok(names),
        _ if value.as_list().is_some_and(<[Value]>::is_empty) => Ok(Vec::new()),
        _ => Err(format!("a list of {num_classes} names").into()),
    }
}

/// A JSON object of the configuration.
struct Section<'a> {
    /// What errors put before a key.
    prefix: &'static str,
    map: &'a Map<String, Value>,
    path: &'a Path,
}

impl<'a> Section<'a> {
    fn new(prefix: &'static str, map: &'a Map<String, Value>, path: &'a Path) -> Self {
        Self { prefix, map, path }
    }

    /// A value, if it is there and not null.
    fn value(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn get<T>(&self, key: &str, rule: impl FnOnce(&Value) -> Checked<T>) -> Result<Option<T>> {
        self.value(key)
            .map(|value| rule(value).map_err(|expected| self.wrong(key, &expected, shown(value))))
            .transpose()
    }

    fn section(&self, key: &'static str) -> Result<Option<Section<'a>>> {
        let prefix = match key {
            "model_args" => "model_args.",
            _ => "pretrained_cfg.",
        };
        match self.value(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Section::new(prefix, map, self.path))),
            Some(other) => Err(self.wrong(key, "a JSON object", shown(other))),
        }
    }

    /// What is not in [`ARGS`].
    fn others(&self) -> Vec<(String, String)> {
        self.map
            .iter()
            .filter(|(key, value)| !ARGS.contains(&key.as_str()) && !value.is_null())
            .map(|(key, value)| (key.escape_debug().to_string(), value.to_string()))
            .collect()
    }

    fn wrong(&self, key: &str, expected: &str, found: String) -> Error {
        Error::Folder {
            path: self.path.to_path_buf(),
            reason: format!("{}{key}: expected {expected}, found {found}", self.prefix),
        }
    }

    fn architecture(&self) -> Result<String> {
        let key = "architecture";
        self.get(key, rules::text)?.ok_or_else(|| {
            let found = match self.value("architectures") {
                None => "none".to_owned(),
                Some(other) => format!("`architectures` of another library: {}", shown(other)),
            };
            self.wrong(key, "the name that timm has for it", found)
        })
    }
}

/// A value as JSON, in short.
fn shown(value: &Value) -> String {
    super::parse::shorten(&value.to_string())
}
