//! Labelled images in files.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::channels::channels_of_all;
use super::sample::Sample;
use super::seeded_split::stratified_subset;
use super::target_table::TargetTable;
use crate::data::image_data::{ImageData, no_image};
use crate::data::target::{Target, Task};
use crate::error::{Error, Result};
use crate::files::path_text;
use crate::preprocess::{DecodeOptions, Image};

/// Labelled images in files, decoded when they are asked for.
///
/// The list of files lies behind an [`Arc`], so that a clone copies nothing.
///
/// ```no_run
/// use burn_zoo::data::ImageFolder;
/// use burn_zoo::prelude::*;
///
/// # fn main() -> burn_zoo::Result<()> {
/// let data = ImageFolder::open("flowers")?; // flowers/daisy/1.jpg, flowers/rose/2.png, ..
/// println!("{}", data.report);
/// assert_eq!(data.train.classes(), data.valid.classes());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ImageFolder {
    shared: Arc<Shared>,
}

struct Shared {
    /// What relative paths start from.
    base: PathBuf,
    samples: Vec<Sample>,
    targets: Arc<TargetTable>,
    classes: Arc<[String]>,
    decode: DecodeOptions,
}

impl ImageFolder {
    /// The channels that all images have: 1 if every one is grey, else 3. The beginnings of the
    /// files are looked at, and no more of them than it takes to find a coloured one. What cannot
    /// be read counts as coloured.
    ///
    /// ```
    /// # fn main() -> burn_zoo::Result<()> {
    /// # use burn_zoo::data::{ImageFolder, FolderOptions};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # for class in ["a", "b"] {
    /// #     std::fs::create_dir(dir.path().join(class)).unwrap();
    /// #     for name in ["1.png", "2.png"] {
    /// #         image::GrayImage::new(2, 2).save(dir.path().join(class).join(name)).unwrap();
    /// #     }
    /// # }
    /// # let path = dir.path();
    /// let images = ImageFolder::open(path)?; // grey ones
    /// assert_eq!(images.train.channels(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn channels(&self) -> usize {
        let shared = &*self.shared;
        channels_of_all(&shared.base, &shared.samples, &shared.decode)
    }

    pub(super) fn new(
        base: PathBuf,
        samples: Vec<Sample>,
        targets: Arc<TargetTable>,
        classes: Arc<[String]>,
        decode: DecodeOptions,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                base,
                samples,
                targets,
                classes,
                decode,
            }),
        }
    }

    /// The file of image `index`, counted from 0, or `None` past the last image.
    pub fn path(&self, index: usize) -> Option<PathBuf> {
        let sample = self.shared.samples.get(index)?;
        Some(self.shared.base.join(&sample.path))
    }

    /// The label of image `index`, counted from 0, or `None` past the last image, and where images
    /// have several labels or numbers ([`ImageData::target`] has those). Nothing is decoded.
    pub fn label(&self, index: usize) -> Option<usize> {
        let sample = self.shared.samples.get(index)?;
        self.shared.targets.target(sample).class().ok()
    }

    /// `count` of the images, or all of them if there are fewer, in their order: of each class as
    /// many as its share of the whole says, chosen by `seed`. The first `count` would be images of
    /// the first class. Images with several labels count for the rarest; of images with numbers any
    /// are chosen.
    #[must_use]
    pub fn subset(&self, count: usize, seed: u64) -> Self {
        let shared = &*self.shared;
        if count >= shared.samples.len() {
            return self.clone();
        }
        let (samples, targets) = (&shared.samples, &shared.targets);
        let chosen = stratified_subset(samples, targets, shared.classes.len(), count, seed);
        let samples = chosen.iter().map(|i| samples[*i].clone()).collect();
        Self::new(
            shared.base.clone(),
            samples,
            targets.clone(),
            shared.classes.clone(),
            shared.decode,
        )
    }
}

impl ImageData for ImageFolder {
    fn len(&self) -> usize {
        self.shared.samples.len()
    }

    fn get(&self, index: usize) -> Result<(Image, Target)> {
        let target = self.target(index)?;
        let path = self.path(index).unwrap_or_default();
        Ok((Image::open_with(path, &self.shared.decode)?, target))
    }

    fn target(&self, index: usize) -> Result<Target> {
        let sample = self.shared.samples.get(index);
        let sample = sample.ok_or_else(|| no_image(index, self.len()))?;
        Ok(self.shared.targets.target(sample))
    }

    fn task(&self) -> Task {
        self.shared.targets.task()
    }

    fn classes(&self) -> &[String] {
        &self.shared.classes
    }

    fn name(&self, index: usize) -> String {
        let path = self.path(index);
        path.map_or_else(String::new, |path| path_text(&path))
    }

    /// From the files' names, sizes and times of change, as make and git do, and from what is to be
    /// told of them.
    fn fingerprint(&self) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        hash.update(format!("{:?}", self.shared.decode));
        let task = self.task();
        for sample in &self.shared.samples {
            let path = self.shared.base.join(&sample.path);
            let found = fs::metadata(&path).map_err(Error::io("read", &path))?;
            let changed = found.modified().map_err(Error::io("read", &path))?;
            // Of other tasks the label only says where the target is.
            let label = if task == Task::SingleLabel {
                sample.label.to_string()
            } else {
                hash.update(self.shared.targets.target(sample).bytes());
                task.to_string()
            };
            hash.update(format!(
                "{}\0{label}\0{}\0{changed:?}\n",
                path.display(),
                found.len()
            ));
        }
        Ok(hash.finalize().into())
    }
}

impl fmt::Debug for ImageFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Counts only: the paths of a data set would fill pages.
        f.debug_struct("ImageFolder")
            .field("base", &self.shared.base)
            .field("images", &self.len())
            .field("classes", &self.shared.classes.len())
            .finish()
    }
}
