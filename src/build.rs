//! From a spec to a model: skeleton, strict comparison, values.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use burn::module::{Module, ParamId};
use burn::tensor::Device;

use crate::adapt::{self, Shift, StemRule};
use crate::error::{Error, Result};
use crate::features::Pool;
use crate::init::{Init, Rng};
use crate::model::{Classifier, HEAD, Head, InputSize, ModelInfo};
use crate::params;
use crate::preprocess::Normalization;
use crate::spec::{IMAGENET_CLASSES, Spec};
use crate::weights::{self, HostTensor, LoadReport, Mismatch, Weights, WeightsFile};
use crate::zoo::{self, BackboneOptions};

impl Spec {
    /// Builds the model on a device. On one with autodiff it is ready to train.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a parameter out of range or weights that were not chosen;
    /// [`Error::Io`], [`Error::WeightsFormat`], [`Error::NonFinite`] for a file that cannot be
    /// used; [`Error::WeightsMismatch`] if any tensor is missing, left over, or of another shape or
    /// type, but for the first convolution and the head where the spec asks for others.
    pub fn build(&self, device: &Device) -> Result<Classifier> {
        self.validate()?;
        let spec = weights::resolve(self, &mut |_| {})?;
        let model = match &spec.weights {
            Weights::Random(seed) => spec.build_random(*seed, device)?,
            Weights::File(path) => spec.build_from(&WeightsFile::open(path)?, device)?,
            Weights::Bundled => spec.build_from(&weights::bundled(spec.architecture)?, device)?,
            other => {
                let expected = "weights that are a file";
                return Err(Error::argument("weights", expected, other));
            }
        };
        // The names belong to the classes of the weights; a new head has another number of them.
        match spec.classes.len() == model.num_classes() {
            true => model.with_classes(spec.classes),
            false => Ok(model),
        }
    }

    /// Builds the model with zeros for all its values, whatever the weights: for a caller who sets
    /// them himself ([`Classifier::map_state_dict`]) or wants to see the shapes. The zeros take no
    /// memory until somebody looks at them.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a parameter out of range.
    pub fn build_zeros(&self, device: &Device) -> Result<Classifier> {
        self.validate()?;
        let (channels, classes) = self.declared.unwrap_or((3, IMAGENET_CLASSES));
        let channels = self.in_channels.unwrap_or(channels);
        self.skeleton(channels, self.num_classes.unwrap_or(classes), device)
    }

    fn validate(&self) -> Result<()> {
        if let Some(channels) = self.in_channels {
            adapt::check_channels(channels)?;
        }
        if let Some(classes) = self.num_classes {
            check_classes(classes)?;
        }
        crate::preprocess::check_size(self.image_size)?;
        for (name, rate) in [
            ("drop_rate", self.drop_rate),
            ("drop_path_rate", self.drop_path_rate),
        ] {
            if !(0.0..1.0).contains(&rate) {
                return Err(Error::argument(
                    name,
                    "a probability of at least 0 and below 1",
                    rate,
                ));
            }
        }
        Ok(())
    }

    /// The model with lazy zeros for parameters.
    pub(crate) fn skeleton(
        &self,
        in_channels: usize,
        num_classes: usize,
        device: &Device,
    ) -> Result<Classifier> {
        let architecture = zoo::find(self.architecture)?;
        let options = BackboneOptions {
            in_channels,
            image_size: self.image_size,
            drop_path_rate: self.drop_path_rate,
        };
        let backbone = (architecture.build)(&options, device)?;
        let pool = self.pool.unwrap_or(architecture.pool);
        if !backbone.supports(pool) {
            let supported: Vec<&str> = Pool::ALL
                .into_iter()
                .filter(|pool| backbone.supports(*pool))
                .map(|pool| {
                    if pool == Pool::None {
                        "none"
                    } else {
                        pool.timm_name()
                    }
                })
                .collect();
            return Err(Error::argument(
                "pool",
                format!(
                    "one that {} has: {}",
                    self.architecture,
                    supported.join(", ")
                ),
                pool.timm_name(),
            ));
        }
        check_pool(pool, num_classes)?;
        let head = Head::new(
            backbone.num_features(),
            num_classes,
            pool,
            self.drop_rate,
            device,
        );
        Ok(Classifier {
            backbone,
            head,
            info: Arc::new(ModelInfo {
                architecture: self.architecture.to_owned(),
                image_size: self.image_size,
                normalization: self.trained_normalization().for_channels(in_channels),
                resizing: self.resizing.unwrap_or_default(),
                classes: Vec::new(),
                drop_rate: self.drop_rate,
                drop_path_rate: self.drop_path_rate,
                origin: self
                    .origin
                    .clone()
                    .unwrap_or_else(|| self.weights.to_string()),
            }),
        })
    }

    fn build_random(&self, seed: u64, device: &Device) -> Result<Classifier> {
        let in_channels = self.in_channels.unwrap_or(3);
        let num_classes = self.num_classes.unwrap_or(IMAGENET_CLASSES);
        let model = self.skeleton(in_channels, num_classes, device)?;
        let all = params::list(&model);
        let first = format!("{}.weight", model.backbone.first_conv().conv);
        let rules = model.clone();
        let rule = |path: &str, shape: &[usize]| match &self.stem_rule {
            StemRule::Init(init) if path == first => init.clone(),
            _ if path.starts_with(HEAD) => self.head_rule(&rules, shape),
            _ => rules.backbone.init_rule(path, shape),
        };
        params::write(model, |path, shape| {
            adapt::initial_value(path, shape, &all, rule, seed).map(Some)
        })
    }

    fn build_from(&self, file: &WeightsFile, device: &Device) -> Result<Classifier> {
        // A first look, with made-up channels and classes, tells what the layers are called.
        let sketch = self
            .skeleton(3, 1, device)
            .or_else(|_| self.skeleton(3, 0, device))?;
        let names = Names::of(&sketch);
        let first = sketch.backbone.first_conv();
        let conv = format!("{}.weight", first.conv);
        let dim = |path: &str, dim: usize| {
            let shape = &file.tensors().get(&names.upstream(path))?.shape;
            shape.get(dim).copied()
        };
        let (file_channels, file_classes) = match self.declared {
            Some((channels, classes)) => (Some(channels), Some(classes)),
            None => (
                dim(&conv, 1).filter(|c| adapt::check_channels(*c).is_ok()),
                dim(HEAD_WEIGHT, 0).filter(|c| *c > 0 && check_classes(*c).is_ok()),
            ),
        };
        let in_channels = self.in_channels.or(file_channels).unwrap_or(3);
        let num_classes = self
            .num_classes
            .or(file_classes)
            .unwrap_or(IMAGENET_CLASSES);

        let model = self.skeleton(in_channels, num_classes, device)?;
        let fresh = self.num_classes.is_some() && file_classes != Some(num_classes);
        let fresh = match fresh && num_classes > 0 {
            true => Some(adapt::fresh_head(
                num_classes,
                model.num_features(),
                &self.head_rule(&model, &[num_classes, model.num_features()]),
                self.seed,
            )?),
            false => None,
        };
        let drops_head = self.num_classes == Some(0) && file_classes != Some(0);

        // Compare everything before anything is read.
        let mut report = LoadReport {
            path: file.path().to_path_buf(),
            model: self.describe(in_channels, num_classes),
            ..LoadReport::default()
        };
        let mut expected: HashSet<String> = HashSet::new();
        let slots = params::list(&model);
        for slot in &slots {
            let name = names.upstream(&slot.path);
            if let Some(prefix) = name.strip_suffix("running_mean") {
                expected.insert(format!("{prefix}num_batches_tracked"));
            }
            expected.insert(name.clone());
            if fresh
                .as_ref()
                .is_some_and(|head| head.get(&slot.path).is_some())
            {
                continue;
            }
            let mut shape = slot.shape.clone();
            if slot.path == conv {
                shape[1] = file_channels.unwrap_or(in_channels);
            }
            self.compare(&model, &slot.path, &name, &shape, file, &mut report);
        }
        if drops_head {
            expected.extend([names.upstream(HEAD_WEIGHT), names.upstream("head.fc.bias")]);
        }
        report.unused = file
            .tensors()
            .keys()
            .filter(|name| !expected.contains(*name))
            .cloned()
            .collect();
        if !report.is_clean() {
            return Err(Error::WeightsMismatch(Box::new(report)));
        }

        let adapted = match file_channels {
            Some(from) if from != in_channels || matches!(self.stem_rule, StemRule::Init(_)) => {
                let weight = self.tensor(file, &names.upstream(&conv))?;
                let mut rng = Rng::new(self.seed, &conv);
                Some(adapt::adapt_conv(
                    &weight,
                    in_channels,
                    &self.stem_rule,
                    &self.trained_normalization(),
                    &mut rng,
                )?)
            }
            _ => None,
        };
        let shift = adapted.as_ref().map(|adapted| Shift::of(&first, adapted));
        let path = file.path().display();
        let mut origin = self.origin.clone().unwrap_or_else(|| path.to_string());
        if adapted.is_some() {
            let from = file_channels.unwrap_or(in_channels);
            let rule = &self.stem_rule;
            origin += &format!("; first convolution from {from} to {in_channels} channels: {rule}");
        }
        if fresh.is_some() {
            let rule = self.head_rule(&model, &[num_classes, model.num_features()]);
            origin += &format!(
                "; new head of {num_classes} classes: {rule} (seed {})",
                self.seed
            );
        }
        let mut model = model;
        Arc::make_mut(&mut model.info).origin = origin;
        let rules = model.clone();
        params::write(model, |path, shape| {
            if let Some(value) = fresh.as_ref().and_then(|head| head.get(path)) {
                return Ok(Some(value));
            }
            if let Some(adapted) = &adapted
                && path == conv
            {
                return Ok(Some(adapted.weight.data.clone()));
            }
            let mut tensor = self.tensor(file, &names.upstream(path))?;
            if tensor.shape != shape {
                tensor.data = rules.backbone.resample(path, &tensor, shape);
            }
            Ok(Some(match &shift {
                Some(shift) => shift.apply(path, tensor.data),
                None => tensor.data,
            }))
        })
    }

    fn trained_normalization(&self) -> Normalization {
        let asked = self.normalization.clone();
        asked.unwrap_or_else(Normalization::imagenet)
    }

    fn compare(
        &self,
        model: &Classifier,
        path: &str,
        name: &str,
        shape: &[usize],
        file: &WeightsFile,
        report: &mut LoadReport,
    ) {
        let Some(info) = file.tensors().get(name) else {
            report.missing.push(name.to_owned());
            return;
        };
        let mismatch = |expected: String, found: String| Mismatch {
            name: name.to_owned(),
            expected,
            found,
        };
        // A size that the family knows how to bring to the model's is what the spec asked for.
        let resampled = || model.backbone.resamples(path, &info.shape, shape);
        if !info.dtype.is_loadable() {
            report.types.push(mismatch(
                "f32, f16 or bf16".to_owned(),
                info.dtype.to_string(),
            ));
        } else if info.shape != shape && !resampled() {
            report
                .shapes
                .push(mismatch(format!("{shape:?}"), format!("{:?}", info.shape)));
        } else {
            report.matched += 1;
        }
    }

    /// The rule of a fresh head: the one that was asked for, else upstream's.
    fn head_rule(&self, model: &Classifier, shape: &[usize]) -> Init {
        let asked = self.head_init.clone();
        asked.unwrap_or_else(|| model.backbone.init_rule(HEAD_WEIGHT, shape))
    }

    fn tensor(&self, file: &WeightsFile, name: &str) -> Result<HostTensor> {
        let shape = file.tensors().get(name).map(|info| info.shape.clone());
        Ok(HostTensor {
            shape: shape.unwrap_or_default(),
            data: file.read_f32(name)?,
        })
    }

    fn describe(&self, in_channels: usize, num_classes: usize) -> String {
        let name = self.architecture;
        format!("{name} with {in_channels} input channels and {num_classes} classes")
    }
}

/// A head needs one vector per image.
pub(crate) fn check_pool(pool: Pool, num_classes: usize) -> Result<()> {
    if pool != Pool::None || num_classes == 0 {
        return Ok(());
    }
    Err(Error::argument(
        "pool",
        "a pooling, or num_classes 0: a head needs one vector per image",
        format!("none with {num_classes} classes"),
    ))
}

/// More classes than any data set has are surely a mistake, and would ask for a very large head.
pub(crate) fn check_classes(classes: usize) -> Result<()> {
    match classes {
        0..=100_000 => Ok(()),
        _ => Err(Error::argument("num_classes", "0 to 100000", classes)),
    }
}

const HEAD_WEIGHT: &str = "head.fc.weight";

/// Upstream's names for a model's parameters.
pub(crate) struct Names(crate::weights::KeyTable);

impl Names {
    pub fn of(model: &Classifier) -> Self {
        Self(model.backbone.key_table())
    }

    /// Upstream's name; our own where the table is silent, so that a gap in a table shows as a
    /// missing tensor and not as a wrong one.
    pub fn upstream(&self, path: &str) -> String {
        self.0.upstream(path).unwrap_or_else(|| path.to_owned())
    }
}

impl Classifier {
    /// The same model with other rates of dropout (before the head) and of stochastic depth (at the
    /// last block), both at least 0 and below 1.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a rate out of range.
    pub fn with_drop_rates(self, drop_rate: f64, drop_path_rate: f64) -> Result<Self> {
        let architecture = zoo::find(&self.info.architecture)?;
        let mut spec = Spec::of(architecture.name)
            .pool(self.head.pool())
            .drop_rate(drop_rate)
            .drop_path_rate(drop_path_rate);
        spec.image_size = match self.backbone.input_size() {
            InputSize::Exactly(size) => Some(size),
            InputSize::AtLeast(_) => self.info.image_size,
        };
        spec.validate()?;
        // The rates are part of the structure, so the values move into another one.
        let device = self.device();
        let mut model = spec.skeleton(self.in_channels(), self.num_classes(), &device)?;
        let mut values: HashMap<String, HostTensor> =
            params::read(&self.valid())?.into_iter().collect();
        model = params::write(model, |path, _| {
            Ok(values.remove(path).map(|tensor| tensor.data))
        })?;
        let info = ModelInfo {
            drop_rate,
            drop_path_rate,
            ..ModelInfo::clone(&self.info)
        };
        model.info = Arc::new(info);
        let ids: HashMap<String, ParamId> = params::list(&self)
            .into_iter()
            .map(|p| (p.path, p.id))
            .collect();
        params::with_ids(model, |path| ids.get(path).copied())
            .ok_or_else(|| Error::argument("model", "the same parameters", "others"))
    }

    /// The device the model is on; with autodiff if it is ready to train.
    pub fn device(&self) -> Device {
        self.devices().into_iter().next().unwrap_or_default()
    }
}
