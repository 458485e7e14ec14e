//! The strict comparison of a model with a weights file, and its values from there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;

use super::checks::{check_channels, check_classes};
use super::initial::fresh_head;
use super::skeleton::HEAD_WEIGHT;
use super::spec::{IMAGENET_CLASSES, Spec};
use super::stem::{AdaptedStem, StemRule};
use crate::error::{Error, LoadReport, Mismatch, Result};
use crate::model::{
    Classifier, FirstConv, HostTensor, KeyTable, OtherNames, Source, StemOptions, Trained, in_head,
    params,
};
use crate::weights::manifest::{HubModel, changed_stem};
use crate::weights::{CONFIG, COUNTER, DType, Layout, TensorInfo, WeightsFile, is_head};
use crate::zoo::{self, Architecture};

impl Spec {
    pub(super) fn build_from(&self, file: &WeightsFile, device: &Device) -> Result<Classifier> {
        let names = self.names(device)?;
        // Compare everything before anything is read.
        let fits = self.fits(file, &names, device)?;
        let clean: Vec<&Fit> = fits.iter().filter(|fit| fit.report.is_clean()).collect();
        match (&clean[..], fits.first()) {
            ([fit], _) => {
                self.check_stem(file, &fit.model)?;
                let twins = self.twins(file)?;
                self.read(file, fit, &names.upstream, twins)
            }
            ([], Some(fit)) => {
                let mut report = fit.report.clone();
                if let Some(hint) = self.head_hint(&report, &names.upstream) {
                    report.hints.push(hint);
                } else {
                    report.hints.extend(self.architecture_hint(file, device));
                }
                report
                    .hints
                    .extend(file.hints(&fit.layout, &names.backbone));
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

    /// The names of the model's tensors.
    fn names(&self, device: &Device) -> Result<Names> {
        let sketch = self.sketch(device)?;
        let description = sketch.backbone.describe();
        let upstream = description.key_table.clone();
        let backbone = params::list(&sketch)
            .iter()
            .filter(|slot| !in_head(&slot.path))
            .map(|slot| upstream.name(&slot.path))
            .collect();
        Ok(Names {
            upstream,
            backbone,
            others: description.other_names.clone(),
        })
    }

    /// The model beside each part of the file that may be its weights.
    fn fits(&self, file: &WeightsFile, names: &Names, device: &Device) -> Result<Vec<Fit>> {
        let layouts = file.layouts(&names.backbone, &names.others)?;
        let fits = layouts
            .into_iter()
            .map(|layout| self.fit(file, layout, &names.upstream, device));
        fits.collect()
    }

    /// What to do if nothing but the head keeps the file from fitting.
    fn head_hint(&self, report: &LoadReport, names: &KeyTable) -> Option<String> {
        let head = HEAD_PARAMETERS.map(|path| names.name(path));
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
        // Most are larger than the file, as a table says without a build. It may lack the classifiers, of which
        // there may be two, and channels of the first convolution, which is less than half of the rest.
        let elements = file.num_elements();
        let may_fit = |other: &Architecture| {
            other.numbers().map_or(true, |numbers| {
                let classifiers = 2 * 1001 * numbers.features;
                elements >= numbers.parameters.saturating_sub(classifiers) / 2
            })
        };
        let fits = |name: &'static str| -> Result<bool> {
            let spec = Spec::of(name).num_classes(1);
            let names = spec.names(device)?;
            let fits = spec.fits(file, &names, device)?;
            Ok(fits.iter().any(|fit| fit.report.is_clean()))
        };
        let others: Vec<&str> = zoo::architectures()
            .filter(|other| may_fit(other))
            .map(|other| other.name)
            .filter(|name| *name != self.architecture && fits(name).unwrap_or(false))
            .collect();
        (!others.is_empty()).then(|| format!("the file fits {}", others.join(", ")))
    }

    /// The architectures of which the file may be just as well, by names and shapes, and that compute
    /// otherwise; none if something says whose it is.
    fn twins(&self, file: &WeightsFile) -> Result<Vec<&'static str>> {
        let twins = zoo::twins(self.architecture);
        if twins.is_empty() || self.declared.is_some() {
            return Ok(Vec::new());
        }
        // A tag may stand behind the name. A name that is not the zoo's says nothing of whose it is.
        let known = |name: &String| Some(zoo::find(name.split('.').next()?).ok()?.name);
        let within = file.metadata().get("architecture").and_then(known);
        let beside = || architecture_beside(file.path()).as_ref().and_then(known);
        let stated = within.map(|name| (name, "its metadata"));
        let stated = stated.or_else(|| Some((beside()?, "the config.json beside it")));
        match stated {
            Some((other, by)) if twins.contains(&other) => Err(Error::WeightsFormat {
                path: file.path().to_path_buf(),
                reason: format!(
                    "by {by} these are weights of {other}, which has the tensors of {asked} and computes \
                     otherwise: build {other}",
                    asked = self.architecture
                ),
            }),
            Some(_) => Ok(Vec::new()),
            None => Ok(twins),
        }
    }

    /// Refuses weights that were trained behind another stem, by the configuration beside them: names and
    /// shapes are the same.
    fn check_stem(&self, file: &WeightsFile, model: &Classifier) -> Result<()> {
        let own = model.backbone.describe().stem.as_ref();
        let Some(own) = own.filter(|stem| self.declared.is_none() && !stem.is_patch()) else {
            return Ok(());
        };
        let bad = |reason: String| Error::WeightsFormat {
            path: file.path().to_path_buf(),
            reason: format!("by the config.json beside it {reason}"),
        };
        let Some(trained) = stem_beside(file.path()).map_err(bad)? else {
            return Ok(());
        };
        let trained = own.like(&trained);
        let trained = trained.map_err(|error| bad(format!("its stem cannot be: {error}")))?;
        if trained == *own {
            return Ok(());
        }
        Err(bad(format!(
            "these weights were trained behind a stem of {trained}, and the model has one of {own}: ask for \
             the same stem, or open the folder"
        )))
    }

    /// Compares the model with the tensors of a layout, but for what the spec replaces.
    fn fit(
        &self,
        file: &WeightsFile,
        layout: Layout,
        names: &KeyTable,
        device: &Device,
    ) -> Result<Fit> {
        let tensors = file.tensors_in(layout.section);
        let sketch = self.sketch(device)?;
        let first_convs = &sketch.backbone.describe().first_convs;
        let kernels: Vec<String> = first_convs.iter().map(FirstConv::weight).collect();
        let dim = |path: &str, dim: usize| {
            let (shape, _) = found_at(tensors, &layout.source(&names.name(path)))?;
            shape.get(dim).copied()
        };
        let (file_channels, file_classes) = match self.declared {
            Some((channels, classes)) => (Some(channels), Some(classes)),
            None => (
                kernels
                    .first()
                    .and_then(|first| dim(first, 1))
                    .filter(|c| check_channels(*c).is_ok()),
                dim(HEAD_WEIGHT, 0).filter(|c| *c > 0 && check_classes(*c).is_ok()),
            ),
        };
        let in_channels = self.in_channels.or(file_channels).unwrap_or(3);
        let num_classes = self
            .num_classes
            .or(file_classes)
            .unwrap_or(IMAGENET_CLASSES);

        let model = self.skeleton(in_channels, num_classes, device)?;
        let is_other = self.num_classes.is_some() && file_classes != Some(num_classes);
        let makes_head = is_other || self.head_init.is_some();
        let fresh = if makes_head && num_classes > 0 {
            Some(fresh_head(&model, &self.head_rule(&model), self.seed)?)
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
            naming: layout.naming.as_ref().map(|names| names.whose),
            ..LoadReport::default()
        };
        let trained = self.trained(file, &model);
        let mut expected: HashSet<String> = HashSet::new();
        for slot in &params::list(&model) {
            let upstream = names.name(&slot.path);
            let source = layout.source(&upstream);
            let own: Vec<String> = source.names().into_iter().map(str::to_owned).collect();
            if let [name] = &own[..]
                && let Some(norm) = name.strip_suffix("running_mean")
            {
                expected.insert(format!("{norm}num_batches_tracked"));
            }
            if makes_head && in_head(&slot.path) {
                continue;
            }
            let mut shape = names.shape(&slot.path, &slot.shape);
            if kernels.contains(&slot.path) {
                shape[1] = file_channels.unwrap_or(in_channels);
            }
            let mut found = found_at(tensors, &source);
            if let Some((other, _)) = &mut found
                && layout.reshapes(&upstream)
                && same_values(other, &shape)
            {
                other.clone_from(&shape);
            }
            compare(
                &model,
                &slot.path,
                &upstream,
                &shape,
                found,
                &trained,
                &mut report,
            );
            expected.extend(own);
        }
        let unread = model.backbone.describe().unread;
        let heads = HEAD_PARAMETERS.map(|path| layout.source(&names.name(path)));
        let is_its_head = |name: &str| heads.iter().any(|head| head.names().contains(&name));
        let is_left_out = |name: &str, rest: &str| {
            rest == COUNTER
                || layout.ignores(rest)
                || unread.iter().any(|start| rest.starts_with(start))
                || makes_head && (is_head(rest) || is_its_head(name))
        };
        for name in tensors.keys().filter(|name| !expected.contains(*name)) {
            match name.strip_prefix(&layout.prefix) {
                Some(rest) if is_left_out(name, rest) => report.left_out.push(name.clone()),
                Some(rest) => report.unused.push(rest.to_owned()),
                None => report.left_out.push(name.clone()),
            }
        }
        Ok(Fit {
            layout,
            model,
            fresh,
            file_channels,
            trained,
            report,
        })
    }

    /// Reads the values of a model that fits.
    fn read(
        &self,
        file: &WeightsFile,
        fit: &Fit,
        names: &KeyTable,
        twins: Vec<&'static str>,
    ) -> Result<Classifier> {
        let model = fit.model.clone();
        let (in_channels, num_classes) = (model.in_channels(), model.num_classes());
        let tensor = |path: &str| -> Result<HostTensor> {
            let source = fit.layout.source(&names.name(path));
            let section = fit.layout.section;
            let found = found_at(file.tensors_in(section), &source);
            let parts = source.names().into_iter();
            let parts: Result<Vec<_>> = parts.map(|name| file.read_in(section, name)).collect();
            Ok(HostTensor {
                shape: found.map(|(shape, _)| shape).unwrap_or_default(),
                data: source.values(parts?),
            })
        };

        let description = model.backbone.describe().clone();
        let trained = &fit.trained;
        let patch = description.stem.as_ref().filter(|stem| stem.is_patch());
        // Patches are brought to their side before their channels change.
        let first = |path: &str| -> Result<HostTensor> {
            let kernels = tensor(path)?;
            let mut shape = kernels.shape.clone();
            if let (Some(stem), [_, _, sides @ ..]) = (patch, &mut shape[..]) {
                sides.fill(stem.stride());
            }
            let data = description.resample(trained, path, kernels, &shape);
            Ok(HostTensor { shape, data })
        };
        let stem = match fit.file_channels {
            Some(from) if from != in_channels || matches!(self.stem_rule, StemRule::Init(_)) => {
                Some(AdaptedStem::new(
                    model.backbone.describe(),
                    in_channels,
                    &self.stem_rule,
                    &self.trained_normalization(),
                    self.seed,
                    first,
                )?)
            }
            _ => None,
        };
        let path = file.path().display();
        let mut origin = self.origin.clone().unwrap_or_else(|| path.to_string());
        if let Some(key) = &self.weights_key {
            origin += &format!("; key {key}");
        }
        if let Some(prefix) = &self.weights_prefix {
            origin += &format!("; prefix {prefix}");
        }
        if stem.is_some() {
            let from = fit.file_channels.unwrap_or(in_channels);
            let rule = &self.stem_rule;
            origin += &format!("; first convolution from {from} to {in_channels} channels: {rule}");
        }
        if fit.fresh.is_some() {
            let rule = self.head_rule(&model);
            origin += &format!(
                "; new head of {num_classes} classes: {rule} (seed {})",
                self.seed
            );
        }
        let mut model = model;
        let info = Arc::make_mut(&mut model.info);
        info.origin = origin;
        info.loaded = Some(Arc::new(LoadReport {
            twins,
            ..fit.report.clone()
        }));
        params::write(model, |path, shape| {
            if let Some(value) = fit.fresh.as_ref().and_then(|head| head.get(path)) {
                return Ok(Some(value.clone()));
            }
            if let Some(kernels) = stem.as_ref().and_then(|stem| stem.kernels(path)) {
                return Ok(Some(kernels));
            }
            let values = description.resample(trained, path, tensor(path)?, shape);
            Ok(Some(match &stem {
                Some(stem) => stem.shifted(path, values),
                None => values,
            }))
        })
    }

    /// What is known of the model that the weights were trained in: by what was declared, or by the
    /// configuration beside the file.
    fn trained(&self, file: &WeightsFile, model: &Classifier) -> Trained {
        let beside = || {
            let path = file.path().with_file_name(CONFIG);
            let text = std::fs::read_to_string(&path).ok()?;
            let model = HubModel::from_config(&text, &path).ok()?;
            let is_same = zoo::find(&model.architecture).ok()?.name == self.architecture;
            is_same.then_some(model)
        };
        let (image_size, stem) = match self.declared_size {
            Some(size) => (Some(size), self.declared_stem),
            // Another stem than the model's is refused, and not brought to it.
            None => {
                let size_of = |model: HubModel| {
                    let size = model.image_size;
                    size.unwrap_or(model.data.image_size().sides()).into()
                };
                (beside().map(size_of), None)
            }
        };
        // What windows images of another size have, a model for them tells.
        let has_tables = !model.backbone.describe().position_tables.is_empty();
        let other = image_size.filter(|size| has_tables && Some(*size) != self.image_size);
        let windows = other.and_then(|_| {
            let spec = Spec {
                image_size,
                stem: stem.unwrap_or_default(),
                ..self.clone()
            };
            let sketch = spec.sketch(&model.device()).ok()?;
            let tables = sketch.backbone.describe().position_tables.iter();
            let sides = tables.map(|table| (table.path.clone(), table.sides));
            Some(sides.collect())
        });
        Trained {
            image_size,
            stem_stride: stem.and_then(|stem| stem.stride),
            windows: windows.unwrap_or_default(),
        }
    }

    fn describe(&self, in_channels: usize, num_classes: usize) -> String {
        let name = self.architecture;
        format!("{name} with {in_channels} input channels and {num_classes} classes")
    }
}

/// What files may call the tensors of a model.
struct Names {
    /// From our paths to upstream's names.
    upstream: KeyTable,
    /// Upstream's names of the backbone's tensors.
    backbone: Vec<String>,
    others: Vec<OtherNames>,
}

/// A model beside the tensors that a layout of a file has for it.
struct Fit {
    layout: Layout,
    model: Classifier,
    /// The head, if the spec replaces that of the file.
    fresh: Option<HashMap<String, Vec<f32>>>,
    file_channels: Option<usize>,
    trained: Trained,
    report: LoadReport,
}

/// Shape and type of the values at a place of a file; `None` if a tensor is missing, or if several
/// do not go together.
fn found_at(
    tensors: &BTreeMap<String, TensorInfo>,
    source: &Source,
) -> Option<(Vec<usize>, DType)> {
    let names = source.names().into_iter();
    let infos: Option<Vec<&TensorInfo>> = names.map(|name| tensors.get(name)).collect();
    let infos = infos?;
    let shapes: Vec<&[usize]> = infos.iter().map(|info| &info.shape[..]).collect();
    // One that cannot be loaded is the one to name, and then one that is converted.
    let find =
        |wanted: fn(&DType) -> bool| infos.iter().map(|info| &info.dtype).find(|d| wanted(d));
    let dtype = find(|dtype| !dtype.is_loadable())
        .or_else(|| find(|dtype| *dtype != DType::F32))
        .or_else(|| find(|_| true))?
        .clone();
    Some((source.shape(&shapes)?, dtype))
}

/// Whether tensors of these shapes hold the same values in the same order: but for dimensions of
/// length one they are equal, or what is behind the first is one dimension in one of them.
fn same_values(one: &[usize], other: &[usize]) -> bool {
    let long =
        |shape: &[usize]| -> Vec<usize> { shape.iter().copied().filter(|n| *n != 1).collect() };
    let (one, other) = (long(one), long(other));
    let flattens = one.len() != other.len() && one.len().min(other.len()) == 2;
    one == other
        || flattens
            && one[0] == other[0]
            && one.iter().product::<usize>() == other.iter().product::<usize>()
}

/// Compares one tensor of the model with the file's, if it has one.
fn compare(
    model: &Classifier,
    path: &str,
    name: &str,
    shape: &[usize],
    found: Option<(Vec<usize>, DType)>,
    trained: &Trained,
    report: &mut LoadReport,
) {
    let Some((found, dtype)) = found else {
        report.missing.push(name.to_owned());
        return;
    };
    let mismatch = |expected: String, found: String| Mismatch {
        name: name.to_owned(),
        expected,
        found,
    };
    // A size that the family knows how to bring to the model's is what the spec asked for.
    let description = model.backbone.describe();
    let resampled = || description.resamples(trained, path, &found, shape);
    if !dtype.is_loadable() {
        let expected = "f32, f16, bf16 or f64".to_owned();
        report.types.push(mismatch(expected, dtype.to_string()));
    } else if found != shape && !resampled() {
        let shapes = mismatch(format!("{shape:?}"), format!("{found:?}"));
        report.shapes.push(shapes);
    } else {
        report.matched += 1;
        if resampled() {
            report.resampled.push(name.to_owned());
        }
        if dtype != DType::F32 {
            let type_name = dtype.to_string();
            *report.converted.entry(type_name).or_default() += 1;
        }
    }
}

/// The architecture that the configuration in a file's folder names, if there is one.
fn architecture_beside(weights: &Path) -> Option<String> {
    config_beside(weights)?["architecture"]
        .as_str()
        .map(str::to_owned)
}

/// The stem that this configuration describes, if it has been changed; what is wrong with it, if that
/// is no stem. One of an architecture that the zoo does not have is none of ours.
fn stem_beside(weights: &Path) -> Result<Option<StemOptions>, String> {
    let config = config_beside(weights).filter(|config| {
        let architecture = config["architecture"].as_str();
        architecture.is_some_and(|name| zoo::find(name).is_ok())
    });
    let stem = config.as_ref().map(|config| &config["stem"]);
    let stem = stem.filter(|stem| !stem.is_null());
    stem.map(changed_stem)
        .transpose()
        .map_err(|reason| format!("its stem cannot be read: {reason}"))
}

/// The configuration in a file's folder; what is no JSON says nothing.
fn config_beside(weights: &Path) -> Option<serde_json::Value> {
    let text = std::fs::read_to_string(weights.with_file_name(CONFIG)).ok()?;
    serde_json::from_str(&text).ok()
}

/// Paths of the last layers, those of a second classifier too, where there is one.
const HEAD_PARAMETERS: [&str; 4] = [
    HEAD_WEIGHT,
    "head.fc.bias",
    "head.fc2.weight",
    "head.fc2.bias",
];
