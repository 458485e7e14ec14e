//! What to build, as plain data.

use std::collections::HashSet;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;

use crate::adapt::{self, Shift, StemRule};
use crate::error::{Error, Result};
use crate::init::{Init, Rng};
use crate::model::{Classifier, HEAD, Head, ModelInfo, Pool};
use crate::params;
use crate::preprocess::Normalization;
use crate::weights::{HostTensor, LoadReport, Mismatch, Weights, WeightsFile};
use crate::zoo::{self, Architecture, BackboneOptions};

/// The models by name: `Zoo::resnet18()`, `Zoo::get("resnet18")`.
#[derive(Debug, Clone, Copy)]
pub struct Zoo;

impl Zoo {
    /// The architecture with this name.
    ///
    /// # Errors
    /// [`Error::UnknownModel`] with the closest names.
    pub fn get(name: &str) -> Result<Spec> {
        Ok(Spec::of(zoo::find(name)?.name))
    }

    /// The architectures whose name matches a pattern in which `*` stands for anything and `?` for
    /// one character.
    pub fn list(pattern: &str) -> Vec<&'static Architecture> {
        zoo::architectures()
            .filter(|a| wildcard(pattern, a.name))
            .collect()
    }
}

fn wildcard(pattern: &str, name: &str) -> bool {
    let escaped = regex::escape(pattern)
        .replace(r"\*", ".*")
        .replace(r"\?", ".");
    regex::Regex::new(&format!("^{escaped}$")).is_ok_and(|regex| regex.is_match(name))
}

/// What to build: an architecture, its weights, and how they are adapted. It holds no tensors, and
/// making one reads nothing.
///
/// ```
/// use burn_zoo::prelude::*;
///
/// # fn main() -> burn_zoo::Result<()> {
/// let spec = Zoo::resnet18().weights(Weights::Random(42)).adapt(1, 10);
/// let model = spec.build(&Device::default())?;
/// assert_eq!((model.in_channels(), model.num_classes()), (1, 10));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    architecture: &'static str,
    weights: Option<Weights>,
    /// Channels and classes of the weights, where something beside the file says so; the file must
    /// then agree.
    declared: Option<(usize, usize)>,
    in_channels: Option<usize>,
    num_classes: Option<usize>,
    image_size: Option<usize>,
    stem_rule: StemRule,
    head_init: Option<Init>,
    pool: Option<Pool>,
    drop_rate: f64,
    drop_path_rate: f64,
    normalization: Normalization,
    seed: u64,
}

/// Classes of an ImageNet model, which a random one has unless told otherwise.
const IMAGENET_CLASSES: usize = 1000;

impl Spec {
    pub(crate) fn of(architecture: &'static str) -> Self {
        Self {
            architecture,
            weights: None,
            declared: None,
            in_channels: None,
            num_classes: None,
            image_size: None,
            stem_rule: StemRule::Fold,
            head_init: None,
            pool: None,
            drop_rate: 0.0,
            drop_path_rate: 0.0,
            normalization: Normalization::imagenet(),
            seed: 0,
        }
    }

    /// A spec that builds a model of the same make, without its weights.
    pub(crate) fn like(model: &Classifier) -> Self {
        let info = &model.info;
        let mut spec =
            zoo::find(&info.architecture).map_or_else(|_| Self::of(""), |a| Self::of(a.name));
        spec.in_channels = Some(model.in_channels());
        spec.num_classes = Some(model.num_classes());
        spec.image_size = info.image_size;
        spec.pool = Some(model.head.pool());
        spec.drop_rate = info.drop_rate;
        spec.drop_path_rate = info.drop_path_rate;
        spec.normalization = info.normalization.clone();
        spec
    }

    /// The spec of a model in a folder that [`Classifier::export`] or timm's `save_for_hf` wrote:
    /// its architecture, weights, channels, classes, pooling and normalisation. It can be adapted
    /// like any other.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Folder`] for a configuration that is missing or cannot be used.
    pub fn of_folder(dir: impl AsRef<std::path::Path>) -> Result<Self> {
        Ok(crate::export::read_folder(dir.as_ref())?.0)
    }

    /// Weights of which something beside the file says how many channels and classes they have.
    pub(crate) fn declared_weights(
        mut self,
        weights: Weights,
        in_channels: usize,
        num_classes: usize,
    ) -> Self {
        self.weights = Some(weights);
        self.declared = Some((in_channels, num_classes));
        self
    }

    /// The architecture's name.
    pub fn architecture(&self) -> &'static str {
        self.architecture
    }

    /// Chooses the weights.
    pub fn weights(mut self, weights: impl Into<Weights>) -> Self {
        self.weights = Some(weights.into());
        self.declared = None;
        self
    }

    /// Asks for this many input channels and classes; see [`in_channels`](Self::in_channels) and
    /// [`num_classes`](Self::num_classes).
    pub fn adapt(self, in_channels: usize, num_classes: usize) -> Self {
        self.in_channels(in_channels).num_classes(num_classes)
    }

    /// Asks for this many input channels; unasked, a model has those of its weights (3, if they are
    /// random). The first convolution is adapted by [`stem_rule`](Self::stem_rule).
    pub fn in_channels(mut self, channels: usize) -> Self {
        self.in_channels = Some(channels);
        self
    }

    /// Asks for this many classes, 0 for no head; unasked, a model has those of its weights (1000,
    /// if they are random). If the weights have another number the head is made afresh by
    /// [`head_init`](Self::head_init); if they have the same it is kept.
    pub fn num_classes(mut self, classes: usize) -> Self {
        self.num_classes = Some(classes);
        self
    }

    /// The image size to build for. Convolutional families take any size and ignore it; a
    /// transformer's position embeddings are resampled to it. Unasked, it is upstream's.
    pub fn image_size(mut self, size: usize) -> Self {
        self.image_size = Some(size);
        self
    }

    /// How the first convolution is brought to other input channels; [`StemRule::Fold`] by default.
    pub fn stem_rule(mut self, rule: StemRule) -> Self {
        self.stem_rule = rule;
        self
    }

    /// How a fresh head starts; by upstream's rule by default ([`Init::PyTorch`] in a ResNet).
    pub fn head_init(mut self, init: Init) -> Self {
        self.head_init = Some(init);
        self
    }

    /// How features become one vector; upstream's way by default.
    pub fn pool(mut self, pool: Pool) -> Self {
        self.pool = Some(pool);
        self
    }

    /// Dropout before the last layer, in `[0, 1)`; 0 by default.
    pub fn drop_rate(mut self, rate: f64) -> Self {
        self.drop_rate = rate;
        self
    }

    /// Stochastic depth: the rate of the last block, in `[0, 1)`; 0 by default.
    pub fn drop_path_rate(mut self, rate: f64) -> Self {
        self.drop_path_rate = rate;
        self
    }

    /// Mean and standard deviation of the images that the weights were trained on; ImageNet's by
    /// default.
    pub fn normalization(mut self, normalization: Normalization) -> Self {
        self.normalization = normalization;
        self
    }

    /// The seed of everything that is made afresh (a new head, a new first convolution); 0 by
    /// default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Builds the model on a device. On one with autodiff it is ready to train.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a parameter out of range or weights that were not chosen;
    /// [`Error::Io`], [`Error::WeightsFormat`], [`Error::NonFinite`] for a file that cannot be
    /// used; [`Error::WeightsMismatch`] if any tensor is missing, left over, or of another shape or
    /// type, but for the first convolution and the head where the spec asks for others.
    pub fn build(&self, device: &Device) -> Result<Classifier> {
        self.validate()?;
        match &self.weights {
            None => Err(Error::argument(
                "weights",
                "Weights::File(path) or Weights::Random(seed)",
                "none chosen",
            )),
            Some(Weights::Random(seed)) => self.build_random(*seed, device),
            Some(Weights::File(path)) => self.build_from(&WeightsFile::open(path)?, device),
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
                normalization: self.normalization.for_channels(in_channels),
                classes: Vec::new(),
                drop_rate: self.drop_rate,
                drop_path_rate: self.drop_path_rate,
                origin: self
                    .weights
                    .as_ref()
                    .map_or(String::new(), Weights::to_string),
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
                    &self.normalization,
                    &mut rng,
                )?)
            }
            _ => None,
        };
        let shift = adapted.as_ref().map(|adapted| Shift::of(&first, adapted));
        let mut origin = file.path().display().to_string();
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
    /// The device the model is on; with autodiff if it is ready to train.
    pub fn device(&self) -> Device {
        self.devices().into_iter().next().unwrap_or_default()
    }
}
