//! The features of all images of a set.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};

use super::store::{Store, Writer, width};
use super::{CachePlace, FeatureCache};
use crate::data::Loader;
use crate::error::{Error, Result};
use crate::memory;
use crate::model::GroupOutput;
use crate::model::{Features, host_vec};

/// What the first groups of a model make of each image of a set.
pub(in crate::train) struct Kept {
    store: Store,
    labels: Vec<usize>,
    /// Of one image.
    shape: Vec<usize>,
    /// Views of each image, whose features follow those of all images in the view before.
    views: usize,
    device: Device,
    /// Images that could not be read; what stands in their rows means nothing.
    missing: BTreeSet<usize>,
}

/// Where features go, and what is known about them.
pub(super) struct Request<'a> {
    pub cache: FeatureCache,
    /// The images in the data's own order.
    pub loader: &'a Loader,
    /// Views of each.
    pub views: usize,
    /// Where they are computed.
    pub device: &'a Device,
    /// The run folder, whose disk files would be on.
    pub dir: &'a Path,
    /// The file, should it be one. Every image and weight is read for its name.
    pub path: &'a dyn Fn() -> Result<PathBuf>,
}

/// What came of it.
pub(super) enum Filled {
    Kept(Kept),
    /// They cannot be kept, for this reason.
    Not(String),
    /// Somebody asked for a stop.
    Stopped,
}

impl Kept {
    /// Runs `forward` over all images and keeps what it gives. `watch` is told the batches that are
    /// done, and may ask for a stop.
    pub fn fill(
        request: &Request<'_>,
        mut forward: impl FnMut(Tensor<4>) -> Result<GroupOutput>,
        mut watch: impl FnMut(usize) -> bool,
    ) -> Result<Filled> {
        let (half, loader) = (request.cache.half, request.loader);
        let rows = loader.num_images() * request.views;
        let kept = |store, shape, labels, missing| Kept {
            store,
            labels,
            shape,
            missing,
            views: request.views,
            device: request.device.clone(),
        };
        let mut open: Option<(Writer, Vec<usize>)> = None;
        let mut labels = Vec::with_capacity(loader.num_images());
        let mut missing = BTreeSet::new();
        // Rows of images that could not be read before there was one that could.
        let mut ahead = 0;
        let mut done = 0;
        for view in 1..=request.views {
            let mut batches = loader.epoch(view as u64);
            let mut next = 0;
            while let Some(part) = batches.next_with_skipped() {
                let part = part?;
                let indices = next..(next + loader.config().batch_size).min(loader.num_images());
                next = indices.end;
                missing.extend(&part.skipped);
                let here = |index: &usize| !part.skipped.contains(index);
                if view == 1 {
                    let targets = part.batch.iter().flat_map(|batch| &batch.targets);
                    let mut targets = targets.copied();
                    let labels_here = indices.clone().map(|index| match here(&index) {
                        true => targets.next().unwrap_or_default(),
                        false => 0,
                    });
                    labels.extend(labels_here);
                }
                done += 1;
                let Some(batch) = part.batch else {
                    match &mut open {
                        Some((writer, _)) => writer.push_empty(indices.len())?,
                        None => ahead += indices.len(),
                    }
                    if !watch(done) {
                        return Ok(Filled::Stopped);
                    }
                    continue;
                };
                let features = forward(batch.images)?;
                let of_one = features.shape()[1..].to_vec();
                let (writer, _) = match &mut open {
                    // Images of several sizes: their features are no rows of one length.
                    Some((_, shape)) if of_one != *shape => {
                        return Ok(Filled::Not("images differ in size".to_owned()));
                    }
                    Some(open) => open,
                    None => {
                        let row: usize = of_one.iter().product();
                        let bytes = rows as u64 * row as u64 * width(half);
                        let mut writer = match place(request.cache.place, bytes, request.dir) {
                            CachePlace::Memory => Writer::memory(rows, row, half),
                            CachePlace::Disk => {
                                let path = match (request.path)() {
                                    Ok(path) => path,
                                    // The name follows from all images.
                                    Err(error) if loader.config().skip_broken => {
                                        return Ok(Filled::Not(error.to_string()));
                                    }
                                    Err(error) => return Err(error),
                                };
                                if let Some(store) = Store::open(path.clone(), rows, row, half)? {
                                    // From before an interruption: its name says what made it, and
                                    // that no image was missing.
                                    let labels = loader.labels()?;
                                    let missing = BTreeSet::new();
                                    return Ok(Filled::Kept(kept(store, of_one, labels, missing)));
                                }
                                Writer::file(path, rows, row, half)?
                            }
                            CachePlace::Auto | CachePlace::Off => {
                                return Ok(Filled::Not(format!(
                                    "they would take {}; --feature-cache disk or memory keeps \
                                     them all the same",
                                    memory::human(bytes)
                                )));
                            }
                        };
                        writer.push_empty(ahead)?;
                        open.insert((writer, of_one))
                    }
                };
                let values = host_vec(features.into_data())?;
                if part.skipped.is_empty() {
                    writer.push(&values)?;
                } else {
                    let mut rows = values.chunks_exact(writer.row().max(1));
                    for index in indices {
                        if !here(&index) {
                            writer.push_empty(1)?;
                        } else if let Some(row) = rows.next() {
                            writer.push(row)?;
                        }
                    }
                }
                if !watch(done) {
                    return Ok(Filled::Stopped);
                }
            }
        }
        match open {
            Some((mut writer, shape)) => {
                if !missing.is_empty() {
                    writer.incomplete();
                }
                Ok(Filled::Kept(kept(writer.finish()?, shape, labels, missing)))
            }
            None => Err(Error::argument(
                "data",
                "at least one image that can be read",
                "none",
            )),
        }
    }

    /// Whether the image could not be read.
    pub fn lacks(&self, index: usize) -> bool {
        self.missing.contains(&index)
    }

    /// Bytes that it takes, and whether they lie in memory.
    pub fn size(&self) -> (u64, bool) {
        self.store.size()
    }

    /// Their file, if they lie in one.
    pub fn path(&self) -> Option<&Path> {
        self.store.path()
    }

    /// Where the features go when they are used.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Images whose features are here.
    pub fn num_images(&self) -> usize {
        self.labels.len() - self.missing.len()
    }

    /// The features of these images in their view of this epoch, counted from 1, and the labels.
    pub fn batch(&self, indices: &[usize], epoch: u64) -> Result<(GroupOutput, Vec<usize>)> {
        let images = self.labels.len();
        let first = (epoch.saturating_sub(1) as usize % self.views) * images;
        let values = self.store.rows(indices.iter().map(|index| first + index))?;
        let mut shape = vec![indices.len()];
        shape.extend(&self.shape);
        let data = TensorData::new(values, shape);
        let device = &self.device;
        let output = match self.shape.len() {
            1 => GroupOutput::Pooled(Tensor::from_data(data, device)),
            2 => GroupOutput::Features(Features::Tokens(Tensor::from_data(data, device))),
            _ => GroupOutput::Features(Features::Map(Tensor::from_data(data, device))),
        };
        let labels = indices.iter().map(|index| self.labels[*index]).collect();
        Ok((output, labels))
    }
}

/// Where so many bytes go.
fn place(wanted: CachePlace, bytes: u64, dir: &Path) -> CachePlace {
    match wanted {
        CachePlace::Auto => {
            let free = memory::available().unwrap_or(4 << 30);
            let disk = fs4::available_space(dir).ok();
            if bytes <= free / 4 {
                CachePlace::Memory
            } else if disk.is_some_and(|disk| bytes <= disk / 2) {
                CachePlace::Disk
            } else {
                CachePlace::Auto
            }
        }
        own => own,
    }
}
