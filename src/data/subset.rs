//! Some of the images of a set.

#[cfg(feature = "plots")]
use std::collections::BTreeSet;
use std::sync::Arc;

use super::image_data::{ImageData, no_image};
use super::target::{Target, Task};
use crate::error::Result;
use crate::preprocess::Image;

/// Some of the images of a set.
pub(crate) struct Subset {
    data: Arc<dyn ImageData>,
    indices: Vec<usize>,
}

impl Subset {
    /// `data` without the images of these indices.
    #[cfg(feature = "plots")]
    pub fn without(data: Arc<dyn ImageData>, left_out: &BTreeSet<usize>) -> Self {
        let indices = (0..data.len()).filter(|index| !left_out.contains(index));
        Self {
            indices: indices.collect(),
            data,
        }
    }

    /// Every `size`-th image, from `rank` on.
    pub fn every(data: Arc<dyn ImageData>, rank: usize, size: usize) -> Self {
        Self {
            indices: (rank..data.len()).step_by(size).collect(),
            data,
        }
    }

    fn index(&self, index: usize) -> Result<usize> {
        let found = self.indices.get(index).copied();
        found.ok_or_else(|| no_image(index, self.indices.len()))
    }
}

impl ImageData for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn get(&self, index: usize) -> Result<(Image, Target)> {
        self.data.get(self.index(index)?)
    }

    fn target(&self, index: usize) -> Result<Target> {
        self.data.target(self.index(index)?)
    }

    fn task(&self) -> Task {
        self.data.task()
    }

    fn classes(&self) -> &[String] {
        self.data.classes()
    }

    fn name(&self, index: usize) -> String {
        match self.indices.get(index) {
            Some(index) => self.data.name(*index),
            None => String::new(),
        }
    }
}
