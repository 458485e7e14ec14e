//! Cutting a model over several devices.

use std::ops::Range;

use burn::module::{Module as _, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};

use super::backbone::Group;
use super::classifier::Classifier;
use super::features::Features;
use super::path::Path;
use super::placement::{Placement, by_group};
use crate::error::Result;

impl Classifier {
    /// Cuts the model over several devices: each part names a group, or the first and the last of several
    /// (`stem..stage2`), and the device that they go to. Each group is named once.
    ///
    /// In the forward pass activations go from device to device, in the backward pass gradients; an
    /// optimiser's state lies with its parameters. Images go in and scores come out on the first group's
    /// device. What was done on one device gives the same bits on two of one kind.
    ///
    /// ```no_run
    /// # use burn_zoo::prelude::*;
    /// # fn main() -> burn_zoo::Result<()> {
    /// let [first, second] = [burn_zoo::device("cuda:0")?, burn_zoo::device("cuda:1")?];
    /// let model = Zoo::resnet50().build(&first.clone().autodiff())?;
    /// let model = model.place(&[("stem..stage2", first), ("stage3..head", second)])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for a group that there is not, that is named twice, or left out; it lists
    /// the groups.
    pub fn place(self, parts: &[(&str, Device)]) -> Result<Self> {
        let groups = self.all_groups();
        let parts: Vec<(&str, (usize, Device))> = parts
            .iter()
            .enumerate()
            .map(|(part, (groups, device))| (*groups, (part, device.clone().without_autodiff())))
            .collect();
        let places = by_group(&self.info.architecture, &groups, &parts)?;
        let mut model = self.map(&mut Move {
            path: Path::default(),
            groups: &groups,
            places: &places,
        });
        model.placement = if parts.len() > 1 {
            Placement::new(places)
        } else {
            Placement::default()
        };
        Ok(model)
    }

    /// The parts from a group on, those of [`place`](Self::place): the groups of each, the head's among them.
    pub(crate) fn parts_from(&self, group: usize) -> Vec<Range<usize>> {
        let Some(places) = self.placement.places() else {
            return Vec::new();
        };
        let indexed: Vec<(usize, usize)> = places
            .iter()
            .enumerate()
            .map(|(index, (part, _))| (index, *part))
            .skip(group)
            .collect();
        indexed
            .chunk_by(|a, b| a.1 == b.1)
            .map(|chunk| chunk[0].0..chunk[chunk.len() - 1].0 + 1)
            .collect()
    }

    /// Runs the groups of a part. Of the last one the result is scores, as a map of one pixel.
    pub(crate) fn forward_part(&self, part: Range<usize>, x: Features) -> Result<Features> {
        let groups = self.backbone.describe().groups.len();
        let x = self.forward_groups(part.start.min(groups)..part.end.min(groups), x)?;
        if part.end < self.all_groups().len() {
            return Ok(x);
        }
        let scores = self.forward_head(x, false)?;
        let [batch, classes] = scores.dims();
        Ok(Features::Map(scores.reshape([batch, classes, 1, 1])))
    }

    /// Features where a group takes them.
    pub(crate) fn at_group(&self, group: usize, x: Features) -> Features {
        self.placement.at_group(group, x)
    }
}

/// Moves each parameter to its group's device.
struct Move<'a> {
    path: Path,
    groups: &'a [Group],
    places: &'a [(usize, Device)],
}

impl ModuleMapper for Move<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join();
        let mut groups = self.groups.iter();
        let Some(index) = groups.position(|group| path.starts_with(&group.prefix)) else {
            return param;
        };
        let (_, device) = &self.places[index];
        let (id, value, mapper) = param.consume();
        let own = value.device();
        if own.clone().without_autodiff() == *device {
            return Param::from_mapped_value(id, value, mapper);
        }
        let trains = value.is_require_grad();
        let mut value = value.without_autodiff().to_device(device);
        if own.is_autodiff() {
            // A leaf of the graph on its own device, and nothing that was made from one.
            value = value.autodiff();
            if let Some(strategy) = own.gradient_checkpointing_strategy() {
                value = value.with_gradient_checkpointing_strategy(strategy);
            }
        }
        Param::from_mapped_value(id, value.set_require_grad(trains), mapper)
    }
}
