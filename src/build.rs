//! From a spec to a model: skeleton, strict comparison, values.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use burn::module::{Module, ParamId};
use burn::tensor::Device;

use crate::adapt::{self, FreshHead, Shift, StemRule};
use crate::error::{Error, Result};
use crate::features::Pool;
use crate::init::{Init, Rng};
use crate::model::{Classifier, HEAD, Head, InputSize, ModelInfo};
use crate::params;
use crate::preprocess::Normalization;
use crate::spec::{IMAGENET_CLASSES, Spec};
use crate::weights::{
    self, COUNTER, DType, HostTensor, Layout, LoadReport, Mismatch, TensorInfo, Weights,
    WeightsFile, is_head,
};
use crate::zoo::{self, BackboneOptions};

impl Spec {
    /// Builds the model on a device. On one with autodiff it is ready to train.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a parameter out of range or weights that were not chosen;
    /// [`Error::Io`], [`Error::WeightsFormat`], [`Error::NonFinite`] for a file that cannot be
    /// used; [`Error::WeightsMismatch`] if any tensor is missing, left over, or of another shape or
    /// type, but for the first convolution and the head where the spec asks for others, and for
    /// what is outside of the key and the prefix under which the model is found. What was taken and
    /// what was left out is in the model's [`load_report`](Classifier::load_report).
    pub fn build(&self, device: &Device) -> Result<Classifier> {
        self.validate()?;
        let spec = weights::resolve(self, &mut |_| {})?;
        let model = match &spec.weights {
            Weights::Random(seed) => spec.build_random(*seed, device)?,
            Weights::File(path) => {
                let (key, prefix) = (self.weights_key.as_deref(), self.weights_prefix.as_deref());
                spec.build_from(&WeightsFile::open_at(path, key, prefix)?, device)?
            }
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
                loaded: None,
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
        let (names, backbone) = self.backbone_names(device)?;
        // Compare everything before anything is read.
        let fits = self.fits(file, &names, &backbone, device)?;
        let clean: Vec<&Fit> = fits.iter().filter(|fit| fit.report.is_clean()).collect();
        match (&clean[..], fits.first()) {
            ([fit], _) => self.read(file, fit, &names),
            ([], Some(fit)) => {
                let mut report = fit.report.clone();
                if let Some(hint) = self.head_hint(&report, &names) {
                    report.hints.push(hint);
                } else {
                    report.hints.extend(self.architecture_hint(file, device));
                }
                report.hints.extend(file.hints(&fit.layout, &backbone));
                Err(Error::WeightsMismatch(Box::new(report)))
            }
            _ => {
                let layouts: Vec<_> = clean.iter().map(|fit| &fit.layout).collect();
                Err(file.ambiguous_key(&layouts))
            }
        }
    }

    /// A model with made-up channels and classes, which tells what the layers are called.
    fn sketch(&self, device: &Device) -> Result<Classifier> {
        self.skeleton(3, 1, device)
            .or_else(|_| self.skeleton(3, 0, device))
    }

    /// Upstream's names, and those of the backbone's tensors.
    fn backbone_names(&self, device: &Device) -> Result<(Names, Vec<String>)> {
        let sketch = self.sketch(device)?;
        let names = Names::of(&sketch);
        let backbone = params::list(&sketch)
            .iter()
            .filter(|slot| !slot.path.starts_with(HEAD))
            .map(|slot| names.upstream(&slot.path))
            .collect();
        Ok((names, backbone))
    }

    /// The model beside each part of the file that may be its weights.
    fn fits(
        &self,
        file: &WeightsFile,
        names: &Names,
        backbone: &[String],
        device: &Device,
    ) -> Result<Vec<Fit>> {
        let layouts = file.layouts(backbone)?;
        let fits = layouts
            .into_iter()
            .map(|layout| self.fit(file, layout, names, device));
        fits.collect()
    }

    /// What to do if nothing but the head keeps the file from fitting.
    fn head_hint(&self, report: &LoadReport, names: &Names) -> Option<String> {
        let head = [HEAD_WEIGHT, HEAD_BIAS].map(|path| names.upstream(path));
        let only_head = report.missing.contains(&head[0])
            && report.missing.iter().all(|name| head.contains(name))
            && report.unused.iter().all(|name| is_head(name))
            && report.shapes.is_empty()
            && report.types.is_empty();
        only_head.then(|| {
            format!(
                "only the head is missing or built otherwise; num_classes(N) (--num-classes N) \
                 makes a new `{}` of N classes",
                head[0].trim_end_matches(".weight")
            )
        })
    }

    /// Other architectures of the zoo that the file fits.
    fn architecture_hint(&self, file: &WeightsFile, device: &Device) -> Option<String> {
        let fits = |name: &'static str| -> Result<bool> {
            let spec = Spec::of(name).num_classes(1);
            let (names, backbone) = spec.backbone_names(device)?;
            let fits = spec.fits(file, &names, &backbone, device)?;
            Ok(fits.iter().any(|fit| fit.report.is_clean()))
        };
        let others: Vec<&str> = zoo::architectures()
            .map(|other| other.name)
            .filter(|name| *name != self.architecture && fits(name).unwrap_or(false))
            .collect();
        (!others.is_empty()).then(|| format!("the file fits {}", others.join(", ")))
    }

    /// Compares the model with the tensors of a layout, but for what the spec replaces.
    fn fit(
        &self,
        file: &WeightsFile,
        layout: Layout,
        names: &Names,
        device: &Device,
    ) -> Result<Fit> {
        let tensors = file.tensors_in(layout.section);
        let sketch = self.sketch(device)?;
        let conv = format!("{}.weight", sketch.backbone.first_conv().conv);
        let dim = |path: &str, dim: usize| {
            let shape = &tensors.get(&layout.name(&names.upstream(path)))?.shape;
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
        let makes_head = self.num_classes.is_some() && file_classes != Some(num_classes);
        let fresh = if makes_head && num_classes > 0 {
            Some(adapt::fresh_head(
                num_classes,
                model.num_features(),
                &self.head_rule(&model, &[num_classes, model.num_features()]),
                self.seed,
            )?)
        } else {
            None
        };

        let key = file.key_of(layout.section);
        let mut report = LoadReport {
            path: file.path().to_path_buf(),
            model: self.describe(in_channels, num_classes),
            key: key.map(str::to_owned),
            other_keys: file.keys_but(key).into_iter().map(str::to_owned).collect(),
            prefix: layout.prefix.clone(),
            naming: layout.naming.in_words(),
            ..LoadReport::default()
        };
        let mut expected: HashSet<String> = HashSet::new();
        for slot in &params::list(&model) {
            let upstream = names.upstream(&slot.path);
            let name = layout.name(&upstream);
            if let Some(norm) = name.strip_suffix("running_mean") {
                expected.insert(format!("{norm}num_batches_tracked"));
            }
            if makes_head && slot.path.starts_with(HEAD) {
                continue;
            }
            let mut shape = slot.shape.clone();
            if slot.path == conv {
                shape[1] = file_channels.unwrap_or(in_channels);
            }
            compare(
                &model,
                &slot.path,
                &upstream,
                &shape,
                tensors.get(&name),
                &mut report,
            );
            expected.insert(name);
        }
        for name in tensors.keys().filter(|name| !expected.contains(*name)) {
            match name.strip_prefix(&layout.prefix) {
                Some(rest) if rest == COUNTER || (makes_head && is_head(rest)) => {
                    report.left_out.push(name.clone());
                }
                Some(rest) => report.unused.push(rest.to_owned()),
                None => report.left_out.push(name.clone()),
            }
        }
        Ok(Fit {
            layout,
            model,
            fresh,
            file_channels,
            report,
        })
    }

    /// Reads the values of a model that fits.
    fn read(&self, file: &WeightsFile, fit: &Fit, names: &Names) -> Result<Classifier> {
        let model = fit.model.clone();
        let first = model.backbone.first_conv();
        let conv = format!("{}.weight", first.conv);
        let (in_channels, num_classes) = (model.in_channels(), model.num_classes());
        let tensor = |path: &str| -> Result<HostTensor> {
            let name = fit.layout.name(&names.upstream(path));
            let info = file.tensors_in(fit.layout.section).get(&name);
            Ok(HostTensor {
                shape: info.map(|info| info.shape.clone()).unwrap_or_default(),
                data: file.read_in(fit.layout.section, &name)?,
            })
        };

        let adapted = match fit.file_channels {
            Some(from) if from != in_channels || matches!(self.stem_rule, StemRule::Init(_)) => {
                let mut rng = Rng::new(self.seed, &conv);
                Some(adapt::adapt_conv(
                    &tensor(&conv)?,
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
        if let Some(key) = &self.weights_key {
            origin += &format!("; key {key}");
        }
        if let Some(prefix) = &self.weights_prefix {
            origin += &format!("; prefix {prefix}");
        }
        if adapted.is_some() {
            let from = fit.file_channels.unwrap_or(in_channels);
            let rule = &self.stem_rule;
            origin += &format!("; first convolution from {from} to {in_channels} channels: {rule}");
        }
        if fit.fresh.is_some() {
            let rule = self.head_rule(&model, &[num_classes, model.num_features()]);
            origin += &format!(
                "; new head of {num_classes} classes: {rule} (seed {})",
                self.seed
            );
        }
        let mut model = model;
        let info = Arc::make_mut(&mut model.info);
        info.origin = origin;
        info.loaded = Some(Arc::new(fit.report.clone()));
        let rules = model.clone();
        params::write(model, |path, shape| {
            if let Some(value) = fit.fresh.as_ref().and_then(|head| head.get(path)) {
                return Ok(Some(value));
            }
            if let Some(adapted) = &adapted
                && path == conv
            {
                return Ok(Some(adapted.weight.data.clone()));
            }
            let mut tensor = tensor(path)?;
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

    /// The rule of a fresh head: the one that was asked for, else upstream's.
    fn head_rule(&self, model: &Classifier, shape: &[usize]) -> Init {
        let asked = self.head_init.clone();
        asked.unwrap_or_else(|| model.backbone.init_rule(HEAD_WEIGHT, shape))
    }

    fn describe(&self, in_channels: usize, num_classes: usize) -> String {
        let name = self.architecture;
        format!("{name} with {in_channels} input channels and {num_classes} classes")
    }
}

/// A model beside the tensors that a layout of a file has for it.
struct Fit {
    layout: Layout,
    model: Classifier,
    /// The head, if the spec replaces that of the file.
    fresh: Option<FreshHead>,
    file_channels: Option<usize>,
    report: LoadReport,
}

/// Compares one tensor of the model with the file's, if it has one.
fn compare(
    model: &Classifier,
    path: &str,
    name: &str,
    shape: &[usize],
    found: Option<&TensorInfo>,
    report: &mut LoadReport,
) {
    let Some(info) = found else {
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
            "f32, f16, bf16 or f64".to_owned(),
            info.dtype.to_string(),
        ));
    } else if info.shape != shape && !resampled() {
        report
            .shapes
            .push(mismatch(format!("{shape:?}"), format!("{:?}", info.shape)));
    } else {
        report.matched += 1;
        if info.dtype != DType::F32 {
            let type_name = info.dtype.to_string();
            *report.converted.entry(type_name).or_default() += 1;
        }
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
const HEAD_BIAS: &str = "head.fc.bias";

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

    /// What was taken from the weights file that the model was built from, and what was left out of
    /// it; `None` if there was no file.
    pub fn load_report(&self) -> Option<&LoadReport> {
        self.info.loaded.as_deref()
    }

    /// The device the model is on; with autodiff if it is ready to train.
    pub fn device(&self) -> Device {
        self.devices().into_iter().next().unwrap_or_default()
    }
}
