//! The features of all images of a set.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use super::store::{Row, Store, Writer};
use crate::data::{EpochBatch, Loader, Targets};
use crate::error::{Error, Result};
use crate::memory;
use crate::model::{GroupOutput, OutputShape, host_vec};
use crate::train::feature_cache::{CachePlace, FeatureCache};

/// What the first groups of a model make of each image of a set.
pub(super) struct CachedFeatures {
    store: Store,
    targets: Targets,
    /// Of the features of one image.
    shape: OutputShape,
    /// Views of each image, whose features follow those of all images in the view before.
    views: usize,
    device: Device,
    /// Images that could not be read; what stands in their rows means nothing.
    missing: BTreeSet<usize>,
}

/// Which features are computed, and where they go.
pub(super) struct CacheRequest<'a> {
    pub cache: FeatureCache,
    /// Whether other runs are to find them, which is what a file is for.
    pub is_shared: bool,
    /// The images in the data's own order.
    pub loader: &'a Loader,
    /// Views of each.
    pub views: usize,
    /// Where they are computed.
    pub device: &'a Device,
    /// Ranks that may want as much, on the same machine for all that is known.
    pub ranks: usize,
    /// The run folder, on whose disk files would be.
    pub dir: &'a Path,
    /// The file, should it be one. Every image and weight is read for its name.
    pub path: &'a dyn Fn() -> Result<PathBuf>,
}

/// What came of a request.
pub(super) enum Outcome {
    Cached(Arc<CachedFeatures>),
    /// They cannot be kept, for this reason.
    NotCached(String),
    /// Somebody asked for a stop.
    Stopped,
}

impl CachedFeatures {
    /// Runs `forward` over all images and keeps what it gives. `watch` is told the batches that are
    /// done, and may ask for a stop.
    pub fn compute(
        request: &CacheRequest<'_>,
        mut forward: impl FnMut(Tensor<4>) -> Result<GroupOutput>,
        mut watch: impl FnMut(usize) -> bool,
    ) -> Result<Outcome> {
        let loader = request.loader;
        let mut rows = Rows::default();
        let data = loader.data();
        let mut targets = Targets::none(data.task(), data.classes().len());
        let mut missing = BTreeSet::new();
        let mut done = 0;
        for view in 1..=request.views {
            let mut batches = loader.epoch(view as u64);
            let mut first = 0;
            while let Some(part) = batches.next_with_skipped() {
                let part = part?;
                let end = (first + loader.config().batch_size).min(loader.num_images());
                let indices = first..end;
                first = end;
                missing.extend(&part.skipped);
                if view == 1 {
                    push_targets(&mut targets, indices.clone(), &part);
                }
                let EpochBatch { batch, skipped } = part;
                if let Some(batch) = batch {
                    let features = forward(batch.images)?;
                    let shape = features.shape();
                    match rows.open(request, shape)? {
                        Opened::ForWriting => {}
                        // From before an interruption: its name says what made it, and that no
                        // image was missing.
                        Opened::Existing(store, shape) => {
                            let (targets, missing) = (loader.targets()?, BTreeSet::new());
                            let found = Self::new(request, store, shape, targets, missing);
                            return Ok(Outcome::Cached(Arc::new(found)));
                        }
                        Opened::Impossible(reason) => return Ok(Outcome::NotCached(reason)),
                    }
                    rows.push(indices, &skipped, features)?;
                } else {
                    rows.push_empty(indices.len())?;
                }
                done += 1;
                if !watch(done) {
                    return Ok(Outcome::Stopped);
                }
            }
        }
        let Some((mut writer, shape)) = rows.open else {
            let expected = "at least one image that can be read";
            return Err(Error::argument("data", expected, "none"));
        };
        if !missing.is_empty() {
            writer.mark_incomplete();
        }
        let features = Self::new(request, writer.finish()?, shape, targets, missing);
        Ok(Outcome::Cached(Arc::new(features)))
    }

    fn new(
        request: &CacheRequest<'_>,
        store: Store,
        shape: OutputShape,
        targets: Targets,
        missing: BTreeSet<usize>,
    ) -> Self {
        Self {
            store,
            targets,
            shape,
            views: request.views,
            device: request.device.clone(),
            missing,
        }
    }

    /// Whether the image could not be read.
    pub fn lacks(&self, index: usize) -> bool {
        self.missing.contains(&index)
    }

    /// Bytes that they take.
    pub fn size(&self) -> u64 {
        self.store.size()
    }

    /// Their file, if they are not in memory.
    pub fn path(&self) -> Option<&Path> {
        self.store.path()
    }

    /// Images whose features are here.
    pub fn num_images(&self) -> usize {
        self.targets.len() - self.missing.len()
    }

    /// The features of these images in their view of this epoch, counted from 1, and the targets.
    pub fn batch(&self, indices: &[usize], epoch: u64) -> Result<(GroupOutput, Targets)> {
        let images = self.targets.len();
        let first = (epoch.saturating_sub(1) as usize % self.views) * images;
        let values = self.store.rows(indices.iter().map(|index| first + index))?;
        let features = GroupOutput::from_values(values, indices.len(), &self.shape, &self.device);
        Ok((features, self.targets.select(indices)))
    }
}

/// Appends the targets of a batch, empty ones for images that could not be read.
fn push_targets(targets: &mut Targets, indices: Range<usize>, part: &EpochBatch) {
    let mut read = 0;
    for index in indices {
        match &part.batch {
            Some(batch) if !part.skipped.contains(&index) => {
                targets.push_from(&batch.targets, read);
                read += 1;
            }
            _ => targets.push_empty(),
        }
    }
}

/// The rows that are being written: the place for them is known once there are features.
#[derive(Default)]
struct Rows {
    open: Option<(Writer, OutputShape)>,
    /// Rows of images that could not be read before there was one that could.
    empty: usize,
}

enum Opened {
    ForWriting,
    /// A file that is complete already, and the shape of its rows.
    Existing(Store, OutputShape),
    Impossible(String),
}

impl Rows {
    /// Opens a place for features of this shape, unless one is open.
    fn open(&mut self, request: &CacheRequest<'_>, shape: OutputShape) -> Result<Opened> {
        if let Some((_, first)) = &self.open {
            // Features of images of several sizes are no rows of one length.
            return Ok(if *first == shape {
                Opened::ForWriting
            } else {
                Opened::Impossible("images differ in size".to_owned())
            });
        }
        let loader = request.loader;
        let rows = loader.num_images() * request.views;
        let row = Row {
            length: shape.length(),
            half: request.cache.half,
        };
        let bytes = (rows * row.size()) as u64;
        let mut writer = match choose_place(request, bytes) {
            CachePlace::Memory => Writer::memory(rows, row),
            CachePlace::Disk => {
                let path = match (request.path)() {
                    Ok(path) => path,
                    // The name follows from all images.
                    Err(error) if loader.config().skip_broken => {
                        return Ok(Opened::Impossible(error.to_string()));
                    }
                    Err(error) => return Err(error),
                };
                if let Some(store) = Store::open(path.clone(), rows, row)? {
                    return Ok(Opened::Existing(store, shape));
                }
                Writer::file(path, rows, row)?
            }
            CachePlace::Auto | CachePlace::Off => {
                return Ok(Opened::Impossible(format!(
                    "they would take {}; --feature-cache disk or memory keeps them all the same",
                    memory::human(bytes)
                )));
            }
        };
        writer.push_empty(self.empty)?;
        self.open = Some((writer, shape));
        Ok(Opened::ForWriting)
    }

    fn push_empty(&mut self, rows: usize) -> Result<()> {
        match &mut self.open {
            Some((writer, _)) => writer.push_empty(rows),
            None => {
                self.empty += rows;
                Ok(())
            }
        }
    }

    /// Appends a row for each index, empty for those that are `skipped`.
    fn push(
        &mut self,
        indices: Range<usize>,
        skipped: &[usize],
        features: GroupOutput,
    ) -> Result<()> {
        let Some((writer, shape)) = &mut self.open else {
            return Ok(());
        };
        let values = host_vec(features.into_data())?;
        let mut rows = values.chunks_exact(shape.length().max(1));
        for index in indices {
            if skipped.contains(&index) {
                writer.push_empty(1)?;
            } else if let Some(row) = rows.next() {
                writer.push(row)?;
            }
        }
        Ok(())
    }
}

/// Where so many bytes go; `Auto` if there is no room for them.
fn choose_place(request: &CacheRequest<'_>, bytes: u64) -> CachePlace {
    let place = request.cache.place;
    if place != CachePlace::Auto {
        return place;
    }
    let free = memory::available().unwrap_or(4 << 30);
    let disk = fs4::available_space(request.dir).ok();
    let fits_disk = disk.is_some_and(|disk| bytes <= disk / 2);
    if bytes <= free / 4 / request.ranks as u64 && !(request.is_shared && fits_disk) {
        CachePlace::Memory
    } else if fits_disk {
        CachePlace::Disk
    } else {
        CachePlace::Auto
    }
}
