//! Images that could not be read.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::data::image_data::ImageData;
use crate::error::Error;

/// An image that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenImage {
    /// Its place in the set, counted from 0.
    pub index: usize,
    /// Its [name](ImageData::name).
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

impl BrokenImage {
    /// What an error says of an image; `None` if it speaks of something else.
    pub(super) fn of(data: &dyn ImageData, index: usize, error: &Error) -> Option<Self> {
        let reason = match error {
            Error::Image { reason, .. } => format!("not a readable image: {reason}"),
            Error::Io { action, source, .. } => format!("cannot {action} it: {source}"),
            Error::Data {
                expected, found, ..
            } => format!("expected {expected}, found {found}"),
            _ => return None,
        };
        Some(Self {
            index,
            name: data.name(index),
            reason,
        })
    }
}

/// The images that could not be read so far, by their index, for all threads that read.
#[derive(Clone, Default)]
pub(super) struct BrokenImages(Arc<Mutex<BTreeMap<usize, BrokenImage>>>);

impl BrokenImages {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, BrokenImage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, image: BrokenImage) {
        self.lock().insert(image.index, image);
    }

    pub(super) fn at(&self, index: usize) -> Option<BrokenImage> {
        self.lock().get(&index).cloned()
    }

    /// All but those of these indices, in the data's own order.
    pub(super) fn without(&self, known: &HashSet<usize>) -> Vec<BrokenImage> {
        let broken = self.lock();
        let new = broken.values().filter(|b| !known.contains(&b.index));
        new.cloned().collect()
    }
}
