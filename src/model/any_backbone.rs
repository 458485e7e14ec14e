//! A backbone of any family.
//!
//! burn's `Module` walks over parameters by generic methods, which a trait object cannot have. Here
//! one visitor and one mapper that are not generic stand between, so that a family's walk is compiled
//! once, and not for each of the walks that the crate has.

use std::any::Any;
use std::sync::Arc;

use burn::module::{
    Content, Devices, Flag, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper,
    ModuleVisitor, Param,
};
use burn::tensor::{Device, Tensor};

use super::backbone::{Backbone, Description, InputSize};
use super::features::Pool;
use super::path::norm_of;
use super::stem::StemShape;
use crate::preprocess::ImageSize;

/// A backbone of any family, and its [`Description`]; it derefs to [`Backbone`].
#[derive(Debug)]
pub struct AnyBackbone {
    module: Box<dyn Erased>,
    description: Arc<Description>,
}

impl AnyBackbone {
    /// The modules of a backbone, and what is known of them.
    ///
    /// Parameters have ranks 1 to 5, as [`ParamBuilder`](crate::nn::ParamBuilder) makes them, and their
    /// paths are the names of the fields; a struct of your own is not called `ConvNorm` or `Stages`, whose
    /// [paths](crate::nn::ConvNorm) are shorter.
    pub fn new(
        module: impl Backbone + Module + ModuleDisplayDefault + 'static,
        mut description: Description,
    ) -> Self {
        let classifier = description.classifier;
        description.key_table.push("head.fc", classifier);
        if let Some(second) = description.second_classifier {
            description.key_table.push("head.fc2", second);
        }
        for first in &mut description.first_convs {
            first.norm = norm_of(&module, &first.conv);
        }
        Self {
            module: Box::new(module),
            description: Arc::new(description),
        }
    }

    /// What is known of it beside its parameters.
    pub fn describe(&self) -> &Description {
        &self.description
    }

    /// What timm's constructor must be told to build the same model: what the family
    /// [says](Backbone::timm_args), the size of the images where it is fixed, and a stem that was
    /// changed, where timm has an argument for it.
    pub fn timm_args(&self, pool: Pool) -> serde_json::Map<String, serde_json::Value> {
        let mut args = (**self).timm_args(pool);
        if let InputSize::Exactly(size) = self.description.input_size {
            args.insert("img_size".to_owned(), ImageSize::from(size).timm_arg());
        }
        let changed = self.description.changed_stem();
        if let Some((name, stride)) = changed.and_then(StemShape::in_timm) {
            args.insert(name.to_owned(), stride.into());
        }
        args
    }

    fn with(self, change: impl FnOnce(Box<dyn Erased>) -> Box<dyn Erased>) -> Self {
        Self {
            module: change(self.module),
            description: self.description,
        }
    }
}

impl Clone for AnyBackbone {
    fn clone(&self) -> Self {
        Self {
            module: self.module.clone_box(),
            description: self.description.clone(),
        }
    }
}

impl std::ops::Deref for AnyBackbone {
    type Target = dyn Backbone;

    fn deref(&self) -> &(dyn Backbone + 'static) {
        self.module.backbone()
    }
}

impl Module for AnyBackbone {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.module.devices_of(devices)
    }

    fn fork(self, device: &Device) -> Self {
        self.with(|module| module.forked(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.with(|module| module.moved(device))
    }

    fn train(self) -> Self {
        self.with(|module| module.training())
    }

    fn valid(&self) -> Self {
        Self {
            module: self.module.validating(),
            description: self.description.clone(),
        }
    }

    fn materialize(self) -> Self {
        self.with(|module| module.materialized())
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.module.visit_all(&mut Visitor(visitor));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        self.with(|module| module.map_all(&mut Mapper(mapper)))
    }
}

impl ModuleDisplayDefault for AnyBackbone {
    fn content(&self, content: Content) -> Option<Content> {
        self.module.content_of(content)
    }
}

impl ModuleDisplay for AnyBackbone {}

/// [`Module`] without generic methods.
trait Erased: std::fmt::Debug + Send + Sync {
    fn backbone(&self) -> &(dyn Backbone + 'static);
    fn clone_box(&self) -> Box<dyn Erased>;
    fn devices_of(&self, devices: Devices) -> Devices;
    fn forked(self: Box<Self>, device: &Device) -> Box<dyn Erased>;
    fn moved(self: Box<Self>, device: &Device) -> Box<dyn Erased>;
    fn training(self: Box<Self>) -> Box<dyn Erased>;
    fn validating(&self) -> Box<dyn Erased>;
    fn materialized(self: Box<Self>) -> Box<dyn Erased>;
    fn visit_all(&self, visitor: &mut dyn Visit);
    fn map_all(self: Box<Self>, mapper: &mut dyn Map) -> Box<dyn Erased>;
    fn content_of(&self, content: Content) -> Option<Content>;
}

impl<T: Backbone + Module + ModuleDisplayDefault + 'static> Erased for T {
    fn backbone(&self) -> &(dyn Backbone + 'static) {
        self
    }

    fn clone_box(&self) -> Box<dyn Erased> {
        Box::new(self.clone())
    }

    fn devices_of(&self, devices: Devices) -> Devices {
        self.collect_devices(devices)
    }

    fn forked(self: Box<Self>, device: &Device) -> Box<dyn Erased> {
        Box::new((*self).fork(device))
    }

    fn moved(self: Box<Self>, device: &Device) -> Box<dyn Erased> {
        Box::new((*self).to_device(device))
    }

    fn training(self: Box<Self>) -> Box<dyn Erased> {
        Box::new((*self).train())
    }

    fn validating(&self) -> Box<dyn Erased> {
        Box::new(self.valid())
    }

    fn materialized(self: Box<Self>) -> Box<dyn Erased> {
        Box::new((*self).materialize())
    }

    fn visit_all(&self, mut visitor: &mut dyn Visit) {
        self.visit(&mut visitor);
    }

    fn map_all(self: Box<Self>, mut mapper: &mut dyn Map) -> Box<dyn Erased> {
        Box::new((*self).map(&mut mapper))
    }

    fn content_of(&self, content: Content) -> Option<Content> {
        self.content(content)
    }
}

/// A visitor of float parameters and flags, which is all that a backbone has.
trait Visit {
    fn enter(&mut self, name: &str, container: &str);
    fn exit(&mut self, name: &str, container: &str);
    /// `param` is a `Param<Tensor<rank>>`.
    fn float(&mut self, rank: usize, param: &dyn Any);
    fn flag(&mut self, flag: &Param<Flag>);
}

/// A mapper of float parameters and flags.
trait Map {
    fn enter(&mut self, name: &str, container: &str);
    fn exit(&mut self, name: &str, container: &str);
    /// `param` is a `Param<Tensor<rank>>`, and so is what comes back.
    fn float(&mut self, rank: usize, param: Box<dyn Any>) -> Box<dyn Any>;
    fn flag(&mut self, flag: Param<Flag>) -> Param<Flag>;
}

/// From the backbone's side.
impl ModuleVisitor for &mut dyn Visit {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.enter(name, container_type);
    }

    fn exit_module(&mut self, name: &str, container_type: &str) {
        self.exit(name, container_type);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.float(D, param);
    }

    fn visit_flag(&mut self, flag: &Param<Flag>) {
        self.flag(flag);
    }
}

impl ModuleMapper for &mut dyn Map {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.enter(name, container_type);
    }

    fn exit_module(&mut self, name: &str, container_type: &str) {
        self.exit(name, container_type);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        unboxed(self.float(D, Box::new(param)))
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        self.flag(flag)
    }
}

/// From the walk's side.
struct Visitor<'a, V>(&'a mut V);

impl<V: ModuleVisitor> Visit for Visitor<'_, V> {
    fn enter(&mut self, name: &str, container: &str) {
        self.0.enter_module(name, container);
    }

    fn exit(&mut self, name: &str, container: &str) {
        self.0.exit_module(name, container);
    }

    fn float(&mut self, rank: usize, param: &dyn Any) {
        fn visit<const D: usize>(visitor: &mut impl ModuleVisitor, param: &dyn Any) {
            if let Some(param) = param.downcast_ref::<Param<Tensor<D>>>() {
                visitor.visit_float(param);
            }
        }
        match rank {
            1 => visit::<1>(self.0, param),
            2 => visit::<2>(self.0, param),
            3 => visit::<3>(self.0, param),
            4 => visit::<4>(self.0, param),
            _ => visit::<5>(self.0, param),
        }
    }

    fn flag(&mut self, flag: &Param<Flag>) {
        self.0.visit_flag(flag);
    }
}

struct Mapper<'a, M>(&'a mut M);

impl<M: ModuleMapper> Map for Mapper<'_, M> {
    fn enter(&mut self, name: &str, container: &str) {
        self.0.enter_module(name, container);
    }

    fn exit(&mut self, name: &str, container: &str) {
        self.0.exit_module(name, container);
    }

    fn float(&mut self, rank: usize, param: Box<dyn Any>) -> Box<dyn Any> {
        fn map<const D: usize>(
            mapper: &mut impl ModuleMapper,
            param: Box<dyn Any>,
        ) -> Box<dyn Any> {
            Box::new(mapper.map_float(unboxed::<D>(param)))
        }
        match rank {
            1 => map::<1>(self.0, param),
            2 => map::<2>(self.0, param),
            3 => map::<3>(self.0, param),
            4 => map::<4>(self.0, param),
            _ => map::<5>(self.0, param),
        }
    }

    fn flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        self.0.map_flag(flag)
    }
}

/// The parameter that a walk handed over by its rank. [`ParamBuilder`](crate::nn::ParamBuilder) makes
/// none of any other rank than 1 to 5.
fn unboxed<const D: usize>(param: Box<dyn Any>) -> Param<Tensor<D>> {
    match param.downcast() {
        Ok(param) => *param,
        Err(_) => unreachable!("a parameter of rank {D}"),
    }
}
