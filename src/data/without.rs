//! A set but for some of its images.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ImageData;
use crate::error::{Error, Result};
use crate::preprocess::Image;

/// A set but for some of its images: those that could not be read, say.
pub(crate) struct Without {
    data: Arc<dyn ImageData>,
    kept: Vec<usize>,
}

impl Without {
    /// `data` but for the images of these indices.
    pub fn new(data: Arc<dyn ImageData>, left_out: &BTreeSet<usize>) -> Self {
        let kept = (0..data.len()).filter(|index| !left_out.contains(index));
        Self {
            kept: kept.collect(),
            data,
        }
    }

    fn index(&self, index: usize) -> Result<usize> {
        let kept = self.kept.get(index).copied();
        kept.ok_or_else(|| Error::argument("index", format!("below {}", self.kept.len()), index))
    }
}

impl ImageData for Without {
    fn len(&self) -> usize {
        self.kept.len()
    }

    fn get(&self, index: usize) -> Result<(Image, usize)> {
        self.data.get(self.index(index)?)
    }

    fn label(&self, index: usize) -> Result<usize> {
        self.data.label(self.index(index)?)
    }

    fn classes(&self) -> &[String] {
        self.data.classes()
    }

    fn name(&self, index: usize) -> String {
        match self.kept.get(index) {
            Some(index) => self.data.name(*index),
            None => String::new(),
        }
    }
}
