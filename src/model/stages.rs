//! The parts of a backbone that repeat.

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::{Device, Tensor};

use super::backbone::Group;
use super::features::Features;
use crate::error::{Error, Result};
use crate::nn::{
    Conv2d, ConvLayer, ConvNorm, ConvStem, Epilogue, MobileBlock, Norm, RepConv, SqueezeExcite,
};

/// A part of a convolutional network: a stem, a stage, a block.
pub trait MapLayer {
    /// From map to map.
    ///
    /// # Shapes
    /// - input: `[batch, channels, height, width]`
    /// - output: `[batch, channels', height', width']`
    fn forward(&self, x: Tensor<4>) -> Tensor<4>;
}

/// Blocks, one after the other.
impl<B: MapLayer> MapLayer for Vec<B> {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.iter().fold(x, |x, block| block.forward(x))
    }
}

/// What may not be there: the map goes on as it is.
impl<L: MapLayer> MapLayer for Option<L> {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Some(layer) => layer.forward(x),
            None => x,
        }
    }
}

/// Layers that have this function already.
macro_rules! map_layers {
    ($( $layer:ty ),+) => {
        $(
            impl MapLayer for $layer {
                fn forward(&self, x: Tensor<4>) -> Tensor<4> {
                    <$layer>::forward(self, x)
                }
            }
        )+
    };
}

map_layers!(
    Conv2d,
    ConvLayer,
    ConvNorm,
    ConvStem,
    MobileBlock,
    RepConv,
    SqueezeExcite
);

impl MapLayer for Norm {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.forward_with(x, Epilogue::default())
    }
}

/// A stage whose map may become smaller before its blocks.
#[derive(Module, Debug)]
pub struct Stage<D, B> {
    /// Makes the map smaller.
    pub downsample: Option<D>,
    /// One after the other.
    pub blocks: Vec<B>,
}

impl<D: MapLayer, B: MapLayer> MapLayer for Stage<D, B> {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.blocks.forward(self.downsample.forward(x))
    }
}

/// The stages of a convolutional network, which are its groups behind the stem: `stage1`, `stage2`
/// and so on, in the paths of parameters too, whatever field holds them.
///
/// `S` is a stage: a `Vec` of blocks, or a type with more than blocks.
#[derive(Debug, Clone)]
pub struct Stages<S>(Vec<S>);

impl<S> Stages<S> {
    /// From the stages, first to last.
    pub fn new(stages: Vec<S>) -> Self {
        Self(stages)
    }

    /// The groups of a network with a stem before the stages.
    pub fn groups_with_stem(&self) -> Vec<Group> {
        let stem = std::iter::once(Group::named("stem"));
        stem.chain(self.groups()).collect()
    }

    /// The stage with this index, counted from 0.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there are not as many.
    pub fn stage(&self, index: usize) -> Result<&S> {
        group(&self.0, index)
    }

    /// The groups.
    pub fn groups(&self) -> Vec<Group> {
        (0..self.0.len())
            .map(|index| Group::named(&name(index)))
            .collect()
    }
}

impl<S: MapLayer> Stages<S> {
    /// Runs one group of a network that consists of a stem and stages.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for tokens, or a group that there is not.
    pub fn forward_group(
        &self,
        stem: &impl MapLayer,
        index: usize,
        x: Features,
    ) -> Result<Features> {
        match index.checked_sub(1) {
            None => Ok(Features::Map(stem.forward(x.into_map()?))),
            Some(stage) => self.forward_stage(stage, x),
        }
    }

    /// Runs one stage, counted from 0.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for tokens, or a stage that there is not.
    pub fn forward_stage(&self, index: usize, x: Features) -> Result<Features> {
        Ok(Features::Map(self.stage(index)?.forward(x.into_map()?)))
    }
}

/// The stage or block with this index, counted from 0.
///
/// # Errors
/// [`Error::InvalidArgument`] if there are not as many.
pub(crate) fn group<T>(groups: &[T], index: usize) -> Result<&T> {
    groups
        .get(index)
        .ok_or_else(|| Error::argument("group", format!("one of {}", groups.len()), index))
}

fn name(index: usize) -> String {
    format!("stage{}", index + 1)
}

/// What the walk over parameters calls the level of the stages. Their names take the place of the
/// field's.
pub(super) const CONTAINER: &str = "Stages";

impl<S: Module> Stages<S> {
    fn each(self, change: impl FnMut(S) -> S) -> Self {
        Self(self.0.into_iter().map(change).collect())
    }
}

impl<S: Module> Module for Stages<S> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.0.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        self.each(|stage| stage.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        self.each(|stage| stage.to_device(device))
    }

    fn train(self) -> Self {
        self.each(Module::train)
    }

    fn valid(&self) -> Self {
        Self(self.0.iter().map(Module::valid).collect())
    }

    fn materialize(self) -> Self {
        self.each(Module::materialize)
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for (index, stage) in self.0.iter().enumerate() {
            visitor.enter_module(&name(index), CONTAINER);
            stage.visit(visitor);
            visitor.exit_module(&name(index), CONTAINER);
        }
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let mut index = 0;
        self.each(|stage| {
            let name = name(index);
            index += 1;
            mapper.enter_module(&name, CONTAINER);
            let stage = stage.map(mapper);
            mapper.exit_module(&name, CONTAINER);
            stage
        })
    }
}

impl<S: ModuleDisplay> ModuleDisplayDefault for Stages<S> {
    fn content(&self, content: Content) -> Option<Content> {
        let stages = self.0.iter().enumerate();
        stages
            .fold(content, |content, (index, stage)| {
                content.add(&name(index), stage)
            })
            .optional()
    }
}

impl<S: ModuleDisplay> ModuleDisplay for Stages<S> {}
