//! Adapters of low rank on a model: fresh ones, and those of a file.

use std::collections::{BTreeSet, HashMap};

use super::spec::Spec;
use crate::error::{Error, LoadReport, Mismatch, Result};
use crate::init::{Init, Rng};
use crate::model::low_rank::{
    Factor, adapted, affine_weights, factor, factor_path, matrix, module_name, upstream_name,
};
use crate::model::params::ParamInfo;
use crate::model::{
    Adapt, Classifier, Freeze, FrozenNorm, HostTensor, Lora, Outputs, freeze, in_head, params,
};
use crate::weights::{Adapter, paths_of, upstream_shapes};

/// Layers that get adapters, and those that were meant and cannot have one.
pub(crate) struct LoraLayers {
    /// Paths of the weights.
    pub weights: Vec<String>,
    /// Upstream's names of the layers, and why not.
    pub skipped: Vec<(String, &'static str)>,
}

impl Classifier {
    /// Hangs fresh adapters at the layers whose name in timm matches a regular expression (unanchored):
    /// affine layers and convolutions without groups, which then compute with `W + scale · B·A`. `A` starts
    /// as peft's (U(±1/√in)), `B` at 0, so that the model computes what it did. Without a pattern it is all
    /// of them but those of the first group. The head, which trains as a whole, has none.
    ///
    /// The adapters and the head train, all else is frozen; [`freeze`](Self::freeze) freezes more.
    /// [`merge_adapters`](Self::merge_adapters) folds them into the weights and
    /// [`without_adapters`](Self::without_adapters) takes them away; [`export`](Self::export) writes the
    /// weights with them folded in, and beside these the adapter by itself. Clones share the tensors of what
    /// is frozen: several models with adapters of their own take the memory of one backbone.
    ///
    /// # Errors
    /// [`Error::Pattern`] for a pattern that is no regular expression, or matches no layer that can have an
    /// adapter, and [`Error::InvalidArgument`] for a rank or an alpha out of range, or where the model has
    /// adapters already.
    pub fn with_lora(self, lora: Lora, matching: Option<&str>, seed: u64) -> Result<Self> {
        lora.validate()?;
        self.refuse_adapters()?;
        let layers = self.lora_layers(matching)?;
        let ranks = layers.weights.into_iter().map(|path| (path, lora.rank));
        let model = self.attach(lora, &ranks.collect());
        let model = params::write(model, |path, shape| match factor(path) {
            Some((_, Factor::A)) => {
                let mut rng = Rng::new(seed, path);
                Init::PyTorch.weight(shape, &mut rng).map(Some)
            }
            _ => Ok(None),
        })?;
        model.freeze_for(&Freeze::Nothing, FrozenNorm::Frozen, Adapt::Lora(lora))
    }

    /// The model with an adapter from a file, and with its head and classes. A head with other classes takes
    /// the place of the model's. Further training trains the adapter and the head.
    ///
    /// An adapter of biases or normalisations replaces these.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the adapter is for another model, or the model has adapters already, and
    /// [`Error::WeightsMismatch`], which lists all tensors that are missing, left over or of another shape.
    pub fn with_adapter(self, adapter: &Adapter) -> Result<Self> {
        self.refuse_adapters()?;
        let architecture = &self.info.architecture;
        if !adapter.architecture.is_empty() && adapter.architecture != *architecture {
            let expected = format!("one for {architecture}");
            return Err(Error::argument("adapter", expected, &adapter.architecture));
        }
        adapter.adapt.validate()?;
        let mut model = self.with_head_of(adapter)?;
        let names = model.backbone.describe().key_table.clone();
        // Everything is compared before anything is written.
        let ranks = model.ranks_of(adapter)?;
        let report = model.compare(adapter, &ranks);
        if !report.is_clean() {
            return Err(Error::WeightsMismatch(Box::new(report)));
        }
        if let Adapt::Lora(lora) = adapter.adapt {
            model = model.attach(lora, &ranks);
        }
        let tensor = |name: &str| adapter.tensors.get(name);
        let mut model = params::write(model, |path, _| {
            let found = tensor(&upstream_name(&names, path));
            Ok(found.map(|tensor| tensor.data.clone()))
        })?;
        if !adapter.classes.is_empty() {
            model = model.with_classes(adapter.classes.clone())?;
        }
        if adapter.outputs != Outputs::default() {
            model = model.with_outputs(adapter.outputs.clone())?;
        }
        model.freeze_for(&Freeze::Nothing, FrozenNorm::Frozen, adapter.adapt)
    }

    /// The weights for which an adapter has a factor at least, and the rank that both should have.
    fn ranks_of(&self, adapter: &Adapter) -> Result<HashMap<String, usize>> {
        let Adapt::Lora(lora) = adapter.adapt else {
            return Ok(HashMap::new());
        };
        let names = &self.backbone.describe().key_table;
        let has = |module: &str, factor: &str| {
            let name = format!("{module}.{factor}.weight");
            adapter.tensors.contains_key(&name)
        };
        let weights = affine_weights(self).into_iter().filter(|weight| {
            let module = module_name(names, &weight.path);
            module.is_some_and(|module| has(&module, "lora_A") || has(&module, "lora_B"))
        });
        let ranks: HashMap<String, usize> = weights.map(|p| (p.path, lora.rank)).collect();
        if ranks.is_empty() {
            let expected = format!("factors for layers of {}", self.info.architecture);
            return Err(Error::argument("adapter", expected, "none"));
        }
        Ok(ranks)
    }

    /// How an adapter differs from what it has to be for this model, when factors of these ranks hang at the
    /// weights. Beside factors there may be any other tensor that trained.
    fn compare(&self, adapter: &Adapter, ranks: &HashMap<String, usize>) -> LoadReport {
        let names = &self.backbone.describe().key_table;
        let list = params::list(self);
        let mut required = paths_of(self, &list, adapter.adapt);
        let is_lora = matches!(adapter.adapt, Adapt::Lora(_));
        if is_lora {
            // peft's have a head if that was trained.
            let tensors = &adapter.tensors;
            let mut head = list.iter().filter(|p| in_head(&p.path));
            if !head.any(|p| tensors.contains_key(&names.name(&p.path))) {
                required.clear();
            }
        }
        let mut slots: Vec<(String, Vec<usize>)> = Vec::new();
        for ParamInfo { path, shape, .. } in list {
            if let Some(&rank) = ranks.get(&path) {
                let [outputs, inputs] = matrix(&shape);
                let factors = [("a", [rank, inputs]), ("b", [outputs, rank])];
                let factors = factors.map(|(end, shape)| (factor_path(&path, end), shape.to_vec()));
                required.extend(factors.iter().map(|(path, _)| path.clone()));
                slots.extend(factors);
            }
            if is_lora || required.contains(&path) {
                slots.push((path, shape));
            }
        }
        let mut report = LoadReport {
            path: "adapter".into(),
            model: self.info.architecture.clone(),
            ..LoadReport::default()
        };
        let mut left: BTreeSet<&str> = adapter.tensors.keys().map(String::as_str).collect();
        let mut shapes = upstream_shapes(names, slots.iter().cloned());
        for (path, _) in slots {
            let name = upstream_name(names, &path);
            let shape = shapes.remove(&path).unwrap_or_default();
            let Some(found) = adapter.tensors.get(&name) else {
                if required.contains(&path) {
                    report.missing.push(name);
                }
                continue;
            };
            left.remove(&*name);
            let count = found.data.len();
            if found.shape == shape && count == shape.iter().product::<usize>() {
                report.matched += 1;
            } else {
                report.shapes.push(Mismatch {
                    name,
                    expected: format!("{shape:?}"),
                    found: format!("{:?} with {count} values", found.shape),
                });
            }
        }
        report.unused = left.into_iter().map(str::to_owned).collect();
        report
    }

    /// The model with a head of as many classes as an adapter's.
    fn with_head_of(self, adapter: &Adapter) -> Result<Self> {
        let names = &self.backbone.describe().key_table;
        let weight = adapter.tensors.get(&names.name("head.fc.weight"));
        match weight.and_then(|weight| weight.shape.first()) {
            Some(&classes) if classes != self.num_classes() => {
                self.reset_head(classes, &Init::Zeros, 0)
            }
            _ => Ok(self),
        }
    }

    /// A model as it was exported, with the adapter that is folded into its weights beside them again. The
    /// weights from before have upstream's names.
    pub(crate) fn unmerged(
        self,
        adapter: &Adapter,
        bases: &HashMap<String, HostTensor>,
    ) -> Result<Self> {
        let names = self.backbone.describe().key_table.clone();
        let model = self.with_adapter(adapter)?;
        let weights: BTreeSet<String> = adapted(&model).into_iter().map(|p| p.path).collect();
        let count = bases.len();
        if count != weights.len() {
            let expected = format!("weights of {} layers", weights.len());
            return Err(Error::argument("adapter", expected, count));
        }
        params::write(model, |path, shape| {
            if !weights.contains(path) {
                return Ok(None);
            }
            let base = bases.get(&names.name(path));
            let base = base.filter(|base| base.shape == shape);
            let base = base.ok_or_else(|| {
                let expected = format!("values for {shape:?} from before the adapter");
                Error::argument(names.name(path), expected, "others or none")
            })?;
            Ok(Some(base.data.clone()))
        })
    }

    pub(super) fn refuse_adapters(&self) -> Result<()> {
        if self.lora().is_none() {
            return Ok(());
        }
        let expected = "one without adapters: merge_adapters() folds them into the weights, \
                        without_adapters() takes them away";
        Err(Error::argument("model", expected, "one with adapters"))
    }

    /// The layers that [`with_lora`](Self::with_lora) gives adapters.
    pub(crate) fn lora_layers(&self, matching: Option<&str>) -> Result<LoraLayers> {
        let regex = matching.map(freeze::compile).transpose()?;
        let names = &self.backbone.describe().key_table;
        let groups = self.all_groups();
        let first = groups.first().map_or("", |group| &group.prefix);
        let grouped = Spec::like(self).grouped_kernels(&crate::device("cpu")?)?;
        let mut layers = LoraLayers {
            weights: Vec::new(),
            skipped: Vec::new(),
        };
        let mut others = Vec::new();
        for weight in affine_weights(self) {
            let path = weight.path;
            let module = module_name(names, &path);
            let shown = module.clone().unwrap_or_else(|| names.name(&path));
            let is_meant = match &regex {
                Some(regex) => regex.is_match(&shown),
                None => !path.starts_with(first) && !in_head(&path),
            };
            let reason = if in_head(&path) {
                Some("the head trains as a whole")
            } else if grouped.contains(&path) {
                Some("a convolution with groups")
            } else if module.is_none() {
                Some("upstream has no weight of its own for it")
            } else if matrix(&weight.shape).contains(&0) {
                Some("it has no values")
            } else {
                None
            };
            match (is_meant, reason) {
                (true, None) => layers.weights.push(path),
                (true, Some(reason)) => layers.skipped.push((shown, reason)),
                (false, None) => others.push(shown),
                (false, Some(_)) => {}
            }
        }
        if !layers.weights.is_empty() {
            return Ok(layers);
        }
        let skipped = layers.skipped.first().map_or(String::new(), |(name, why)| {
            format!("; `{name}` can have none: {why}")
        });
        let shown: Vec<String> = others.iter().take(4).map(|n| format!("`{n}`")).collect();
        Err(Error::Pattern {
            pattern: matching.unwrap_or_default().to_owned(),
            reason: format!(
                "matches none of the {} layers that can have an adapter, such as {}{skipped}",
                others.len(),
                shown.join(", ")
            ),
        })
    }
}
