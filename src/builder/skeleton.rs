//! The structure of a model, without its values.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use burn::tensor::Device;

use super::checks::{check_channels, check_classes, check_pool};
use super::spec::{IMAGENET_CLASSES, Spec};
use crate::error::{Error, Result};
use crate::init::Init;
use crate::model::{
    Classifier, Group, HEAD, Head, ModelInfo, Outputs, Placement, Pool, StemShape, params,
};
use crate::nn::{ParamBuilder, Start};
use crate::preprocess::{ImageSize, Normalization, check_crop_pct};
use crate::zoo::{self, BackboneOptions, OWN_LIBRARY};

/// Path of the last layer's weight.
pub(super) const HEAD_WEIGHT: &str = "head.fc.weight";

impl Spec {
    /// A spec that builds a model of the same make, without its weights.
    pub(crate) fn like(model: &Classifier) -> Self {
        let info = &model.info;
        let mut spec =
            zoo::find(&info.architecture).map_or_else(|_| Self::of(""), |a| Self::of(a.name));
        spec.in_channels = Some(model.in_channels());
        spec.num_classes = Some(model.num_classes());
        spec.image_size = info.image_size;
        let stem = model.backbone.describe().changed_stem();
        spec.stem = stem.map(StemShape::options).unwrap_or_default();
        spec.pool = Some(model.head.pool());
        spec.drop_rate = info.drop_rate;
        spec.drop_path_rate = info.drop_path_rate;
        spec.normalization = Some(info.normalization.clone());
        spec.resizing = Some(info.resizing);
        spec
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

    pub(super) fn validate(&self) -> Result<()> {
        if let Some(channels) = self.in_channels {
            check_channels(channels)?;
        }
        if let Some(classes) = self.num_classes {
            check_classes(classes)?;
        }
        if let Some(size) = self.image_size {
            size.check()?;
        }
        if let Some(resizing) = self.resizing {
            check_crop_pct(resizing.crop_pct)?;
        }
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
    pub(super) fn skeleton(
        &self,
        in_channels: usize,
        num_classes: usize,
        device: &Device,
    ) -> Result<Classifier> {
        let params = ParamBuilder::new(device);
        self.skeleton_of(in_channels, num_classes, &params)
    }

    /// The same, and how each parameter starts, by path.
    pub(super) fn skeleton_with_starts(
        &self,
        in_channels: usize,
        num_classes: usize,
        device: &Device,
    ) -> Result<(Classifier, HashMap<String, Start>)> {
        let params = ParamBuilder::new(device);
        let model = self.skeleton_of(in_channels, num_classes, &params)?;
        let mut by_id = params.into_starts();
        let by_path = params::list(&model)
            .into_iter()
            .filter_map(|param| Some((param.path, by_id.remove(&param.id)?)))
            .collect();
        Ok((model, by_path))
    }

    /// The paths of the kernels of convolutions with groups.
    pub(super) fn grouped_kernels(&self, device: &Device) -> Result<HashSet<String>> {
        let params = ParamBuilder::new(device);
        let channels = self.in_channels.unwrap_or(3);
        let model = self.skeleton_of(channels, self.num_classes.unwrap_or(0), &params)?;
        let grouped = params.grouped();
        let all = params::list(&model).into_iter();
        let kernels = all.filter(|param| grouped.contains(&param.id));
        Ok(kernels.map(|param| param.path).collect())
    }

    fn skeleton_of(
        &self,
        in_channels: usize,
        num_classes: usize,
        params: &ParamBuilder,
    ) -> Result<Classifier> {
        let architecture = zoo::find(self.architecture)?;
        let options = BackboneOptions {
            in_channels,
            image_size: self.image_size.map(ImageSize::sides),
            stem: self.stem,
            drop_rate: self.drop_rate,
            drop_path_rate: self.drop_path_rate,
            pool: self.pool.unwrap_or(architecture.pool),
        };
        let backbone = (architecture.build)(&options, params)?;
        if let (None, Some((name, found))) = (&backbone.describe().stem, self.stem.first()) {
            let expected = format!(
                "nothing: {} has no stem that can be changed",
                self.architecture
            );
            return Err(Error::argument(name, expected, found));
        }
        let pool = options.pool;
        let pools = backbone.describe().pools;
        if !pools.contains(&pool) {
            let supported: Vec<&str> = pools
                .iter()
                .map(|pool| {
                    if *pool == Pool::None {
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
            backbone.describe(),
            num_classes,
            pool,
            self.drop_rate,
            params,
        );
        let model = Classifier {
            placement: Placement::default(),
            backbone,
            head,
            info: Arc::new(ModelInfo {
                architecture: self.architecture.to_owned(),
                image_size: self.image_size,
                normalization: self.trained_normalization().for_channels(in_channels),
                resizing: self.resizing.unwrap_or_default(),
                classes: Vec::new(),
                outputs: Outputs::default(),
                drop_rate: self.drop_rate,
                drop_path_rate: self.drop_path_rate,
                origin: self
                    .origin
                    .clone()
                    .unwrap_or_else(|| self.weights.to_string()),
                licence: self.licence.clone(),
                licence_source: self.licence_source.clone(),
                loaded: None,
                lora: None,
            }),
        };
        if architecture.library == OWN_LIBRARY {
            check_paths(&model)?;
        }
        Ok(model)
    }

    pub(super) fn trained_normalization(&self) -> Normalization {
        let asked = self.normalization.clone();
        asked.unwrap_or_else(Normalization::imagenet)
    }

    /// The rule of a fresh head: the one that was asked for, else upstream's.
    pub(super) fn head_rule(&self, model: &Classifier) -> Init {
        let asked = self.head_init.clone();
        asked.unwrap_or_else(|| model.backbone.describe().classifier_init.clone())
    }
}

/// Refuses what a program of somebody else's may have got wrong: two parameters of one path, groups that
/// are not those of all parameters, a first convolution that there is not.
fn check_paths(model: &Classifier) -> Result<()> {
    let architecture = &model.info.architecture;
    let mut paths = BTreeSet::new();
    let mut groups = model.backbone.describe().all_groups();
    groups.push(Group::named(HEAD));
    for param in params::list(model) {
        let path = param.path;
        let owners = groups
            .iter()
            .filter(|group| path.starts_with(&group.prefix));
        if owners.count() != 1 {
            let expected = "parameters whose paths begin with the prefix of exactly one group";
            return Err(Error::argument(architecture, expected, path));
        }
        if !paths.insert(path.clone()) {
            let expected = "a path of its own for each parameter";
            let found = format!("{path} twice");
            return Err(Error::argument(architecture, expected, found));
        }
    }
    let mut first = model.backbone.describe().first_convs.iter();
    match first.find(|first| !paths.contains(&first.weight())) {
        None => Ok(()),
        Some(missing) => {
            let expected = "the path of a convolution for each that sees the image";
            Err(Error::argument(architecture, expected, &missing.conv))
        }
    }
}
