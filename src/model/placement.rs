//! A model cut over several devices.

use std::sync::Arc;

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::{Device, Tensor};

use super::backbone::Group;
use super::features::Features;
use crate::error::{Error, Result};

/// On which device each group of a model is, the head among them, if it is on several.
#[derive(Debug, Clone, Default)]
pub struct Placement {
    /// The part that each group is in and its device, without gradients, in the order of the groups.
    places: Option<Arc<Vec<(usize, Device)>>>,
}

impl Placement {
    /// The groups of some model, with the part that each is in and its device.
    pub(super) fn new(places: Vec<(usize, Device)>) -> Self {
        Self {
            places: Some(Arc::new(places)),
        }
    }

    /// The part and the device of each group, if there are several parts.
    pub(super) fn places(&self) -> Option<&[(usize, Device)]> {
        Some(self.places.as_ref()?)
    }

    /// Features where a group takes them.
    pub(super) fn at_group(&self, group: usize, x: Features) -> Features {
        match self.device(group) {
            Some(device) => x.on(device),
            None => x,
        }
    }

    /// What goes into the head, where it is.
    pub(super) fn at_head<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self.device(usize::MAX) {
            Some(device) => moved(x, device),
            None => x,
        }
    }

    /// What comes out, where the images went in.
    pub(super) fn at_start<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        match self.device(0) {
            Some(device) => moved(x, device),
            None => x,
        }
    }

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
