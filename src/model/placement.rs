//! A model cut over several devices.

use std::ops::Range;
use std::sync::Arc;

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param,
};
use burn::tensor::{Device, Tensor};

use super::backbone::Group;
use super::classifier::Classifier;
use super::features::Features;
use super::path::Path;
use crate::error::{Error, Result};

/// On which device each group of a model is, the head among them, if it is on several.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    /// The part that each group is in and its device, without gradients, in the order of the groups.
    places: Option<Arc<Vec<(usize, Device)>>>,
}

impl Placement {
    /// The device of a group; of an index behind the last, that of the head.
    fn device(&self, group: usize) -> Option<&Device> {
        let places = self.places.as_ref()?;
        let (_, device) = places.get(group).or(places.last())?;
        Some(device)
    }
}

/// It has no parameters; a model that goes to one device is no longer on several.
impl Module for Placement {
    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn fork(self, _: &Device) -> Self {
        Self::default()
    }

    fn to_device(self, _: &Device) -> Self {
        Self::default()
    }

    fn train(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        self.clone()
    }

    fn materialize(self) -> Self {
        self
    }

    fn visit<V: ModuleVisitor>(&self, _: &mut V) {}

    fn map<M: ModuleMapper>(self, _: &mut M) -> Self {
        self
    }
}

impl ModuleDisplayDefault for Placement {
    fn content(&self, content: Content) -> Option<Content> {
        Some(content)
    }
}

impl ModuleDisplay for Placement {}

/// A tensor on another device, in its graph if it has one: the way back moves the gradient.
fn moved<const D: usize>(tensor: Tensor<D>, device: &Device) -> Tensor<D> {
    let own = tensor.device();
    if own.clone().without_autodiff() == *device {
        return tensor;
    }
    if own.is_autodiff() {
        tensor.to_device(&device.clone().autodiff())
    } else {
        tensor.to_device(device)
    }
}

impl Features {
    pub(crate) fn on(self, device: &Device) -> Self {
        match self {
            Features::Map(map) => Features::Map(moved(map, device)),
            Features::Tokens(tokens) => Features::Tokens(moved(tokens, device)),
            Features::Maps(maps) => {
                Features::Maps(maps.into_iter().map(|map| moved(map, device)).collect())
            }
        }
    }
}

/// A range of groups, `stem..stage2` (the last one included) or `head`, and what they go to.
type Part<'a, T> = (&'a str, T);

/// What each group goes to, in their order.
pub(crate) fn by_group<T: Clone>(
    model: &str,
    groups: &[Group],
    parts: &[Part<'_, T>],
) -> Result<Vec<T>> {
    let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    let wrong = |found: String| {
        let expected = format!("each group of {model} once: {}", names.join(", "));
        Error::argument("place", expected, found)
    };
    let mut places: Vec<Option<T>> = vec![None; names.len()];
    for (text, place) in parts {
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        let index = |name: &str| {
            let found = names.iter().position(|group| *group == name.trim());
            found.ok_or_else(|| wrong(format!("`{}` in `{text}`", name.trim())))
        };
        let (first, last) = (index(first)?, index(last)?);
        if first > last {
            return Err(wrong(format!(
                "`{text}`, whose groups are in another order"
            )));
        }
        for group in first..=last {
            if places[group].replace(place.clone()).is_some() {
                return Err(wrong(format!("`{}` twice", names[group])));
            }
        }
    }
    let missing: Vec<&str> = names
        .iter()
        .zip(&places)
        .filter_map(|(name, place)| place.is_none().then_some(*name))
        .collect();
    if !missing.is_empty() {
        return Err(wrong(format!("nothing for {}", missing.join(", "))));
    }
    Ok(places.into_iter().flatten().collect())
}

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
    /// [`Error::InvalidArgument`] for a group that there is not, that is named twice, or left out; it lists
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
        model.placement = Placement {
            places: (parts.len() > 1).then(|| Arc::new(places)),
        };
        Ok(model)
    }

    /// Features where a group takes them.
    pub(crate) fn at_group(&self, group: usize, x: Features) -> Features {
        match self.placement.device(group) {
            Some(device) => x.on(device),
            None => x,
        }
    }

    /// What goes into the head, where it is.
    pub(super) fn at_head<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self.placement.device(usize::MAX) {
            Some(device) => moved(x, device),
            None => x,
        }
    }

    /// What comes out, where the images went in.
    pub(super) fn at_start<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self.placement.device(0) {
            Some(device) => moved(x, device),
            None => x,
        }
    }

    /// The parts from a group on, those of [`place`](Self::place): the groups of each, the head's among them.
    pub(crate) fn parts_from(&self, group: usize) -> Vec<Range<usize>> {
        let Some(places) = &self.placement.places else {
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
