//! Labelled images of one size, held in memory.

use std::fmt;
use std::sync::Arc;

use super::image_data::{ImageData, no_image};
use super::label_split::for_validation;
use super::target::{Target, Targets, Task};
use super::valid_share;
use crate::error::{Error, Result};
use crate::init::Rng;
use crate::preprocess::Image;

/// Labelled images of one size, held in memory as bytes.
///
/// The images lie behind an [`Arc`], so that a clone and [`ImageSet::take_first`] copy no pixels.
#[derive(Clone)]
pub struct ImageSet {
    shared: Arc<Shared>,
    /// How many of the shared images this set has, from the first on.
    len: usize,
}

struct Shared {
    pixels: Vec<u8>,
    task: Task,
    targets: Targets,
    height: usize,
    width: usize,
    channels: usize,
    classes: Vec<String>,
}

impl ImageSet {
    /// A set of the images in `images`, one after the other, each of shape
    /// `[height, width, channels]` in row-major order with values from 0 to 255; `size` is
    /// `(height, width)` in pixels. `labels` has one index into `classes`, the names of the
    /// classes, for each image. A set of no images is allowed.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if the height, the width, the number of channels or the number
    /// of classes is 0, if `images` does not have `labels.len() * height * width * channels`
    /// bytes, or if a label is not below the number of classes.
    pub fn new(
        images: Vec<u8>,
        labels: Vec<usize>,
        size: (usize, usize),
        channels: usize,
        classes: Vec<String>,
    ) -> Result<Self> {
        let targets = Targets::Classes(labels);
        Self::with_targets(images, Task::SingleLabel, targets, size, channels, classes)
    }

    /// [`new`](Self::new) for images of which something else is to be told: for
    /// [`Task::MultiLabel`] rows of 0 and 1, one for each of `classes`; for [`Task::Regression`] rows
    /// of as many numbers as `classes` names.
    ///
    /// ```
    /// use burn_zoo::data::{ImageSet, Targets, Task};
    ///
    /// # fn main() -> burn_zoo::Result<()> {
    /// // Three images of one pixel: a cat, a cat and a dog, and none of them.
    /// let targets = Targets::Rows { values: vec![1.0, 0.0, 1.0, 1.0, 0.0, 0.0], width: 2 };
    /// let names = vec!["cat".to_owned(), "dog".to_owned()];
    /// let images = ImageSet::with_targets(vec![0; 3], Task::MultiLabel, targets, (1, 1), 1, names)?;
    /// assert_eq!(images.len(), 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`Error::InvalidArgument`] for targets of another task, for rows of
    /// another length, and for values that are neither 0 nor 1 as a label and not finite as a number.
    pub fn with_targets(
        images: Vec<u8>,
        task: Task,
        targets: Targets,
        size: (usize, usize),
        channels: usize,
        classes: Vec<String>,
    ) -> Result<Self> {
        let (height, width) = size;
        if height == 0 || width == 0 {
            let expected = "a height and a width of at least 1 pixel";
            let found = format!("{height} × {width}");
            return Err(Error::argument("size", expected, found));
        }
        if channels == 0 {
            return Err(Error::argument("channels", "at least 1", channels));
        }
        if classes.is_empty() {
            return Err(Error::argument("classes", "at least one class", "none"));
        }
        check_targets(task, &targets, classes.len())?;
        let count = targets.len();
        let sides = [height, width, channels, count];
        let bytes = sides
            .iter()
            .try_fold(1_usize, |n, side| n.checked_mul(*side));
        if bytes != Some(images.len()) {
            let bytes = match bytes {
                Some(bytes) => format!("{bytes} bytes"),
                None => "more bytes than can be addressed".to_owned(),
            };
            let expected = format!(
                "{bytes} for {count} images of {height} × {width} pixels with {channels} channels"
            );
            let found = format!("{} bytes", images.len());
            return Err(Error::argument("images", expected, found));
        }
        if let Targets::Classes(labels) = &targets
            && let Some(index) = labels.iter().position(|label| *label >= classes.len())
        {
            let expected = format!("labels below {}, the number of classes", classes.len());
            let found = format!("label {} at index {index}", labels[index]);
            return Err(Error::argument("labels", expected, found));
        }
        Ok(ImageSet {
            shared: Arc::new(Shared {
                pixels: images,
                task,
                targets,
                height,
                width,
                channels,
                classes,
            }),
            len: count,
        })
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The height and the width of each image in pixels.
    pub fn size(&self) -> (usize, usize) {
        (self.shared.height, self.shared.width)
    }

    /// The number of channels of each image: 1 for grey, 3 for RGB.
    pub fn channels(&self) -> usize {
        self.shared.channels
    }

    /// The names of the classes, in the order of the labels.
    pub fn classes(&self) -> &[String] {
        &self.shared.classes
    }

    /// The labels of all images, each an index into [`ImageSet::classes`]; none where an image has
    /// several labels or numbers ([`ImageData::target`] has those).
    pub fn labels(&self) -> &[usize] {
        match &self.shared.targets {
            Targets::Classes(labels) => &labels[..self.len],
            Targets::Rows { .. } => &[],
        }
    }

    /// The label of image `index`, counted from 0, or `None` past the last image, and as for
    /// [`labels`](Self::labels).
    pub fn label(&self, index: usize) -> Option<usize> {
        self.labels().get(index).copied()
    }

    /// The bytes of image `index`, counted from 0, or `None` past the last image: shape
    /// `[height, width, channels]` in row-major order, values from 0 to 255.
    pub fn pixels(&self, index: usize) -> Option<&[u8]> {
        if index >= self.len {
            return None;
        }
        let shared = &self.shared;
        let bytes = shared.height * shared.width * shared.channels;
        shared.pixels.get(index * bytes..(index + 1) * bytes)
    }

    /// The first `n` images in order, or all of them if there are fewer. No pixels are copied.
    #[must_use]
    pub fn take_first(&self, n: usize) -> Self {
        ImageSet {
            shared: Arc::clone(&self.shared),
            len: self.len.min(n),
        }
    }
}

impl ImageSet {
    /// The images in two parts: those to train on, and those to validate on, by which everything is
    /// chosen, so that a test set is left for the model that was chosen at the end.
    ///
    /// Of each class the share `valid_share`, rounded, is for validation: at least one and not all of
    /// two or more, and none of one. Which, follows from the seed alone, the same on every machine.
    /// The images keep their order. The pixels are copied. Of several labels each is divided like this
    /// as far as those that come together allow it, by iterative stratification (Sechidis et al., ECML
    /// PKDD 2011); images with numbers are divided as if they were of one class.
    ///
    /// ```
    /// use burn_zoo::data::ImageSet;
    ///
    /// # fn main() -> burn_zoo::Result<()> {
    /// // 30 images of one pixel, 20 of the first class.
    /// let labels = [vec![0; 20], vec![1; 10]].concat();
    /// let classes = vec!["cat".to_owned(), "dog".to_owned()];
    /// let images = ImageSet::new(vec![0; 30], labels, (1, 1), 1, classes)?;
    /// let (train, valid) = images.split(0.1, 42)?;
    /// assert_eq!((train.len(), valid.labels()), (27, &[0, 0, 1][..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if `valid_share` is not above 0 and below 1, or if no class has two
    /// images.
    pub fn split(&self, valid_share: f64, seed: u64) -> Result<(Self, Self)> {
        valid_share::check(valid_share)?;
        let valid = if self.shared.task == Task::MultiLabel {
            self.stratify(valid_share, seed)
        } else {
            self.choose("split", seed, |images| {
                valid_share::count(images, valid_share)
            })
        };
        if valid.is_empty() {
            let expected = "a class of two images or more, to have some for validation";
            return Err(Error::argument("images", expected, "none"));
        }
        let train = (0..self.len).filter(|index| valid.binary_search(index).is_err());
        Ok((self.select(&Vec::from_iter(train)), self.select(&valid)))
    }

    /// `n` images of each class, or all of a class that has fewer; which, follows from the seed. They
    /// keep their order. The pixels are copied. An image with several labels may be chosen for each of
    /// them and comes once; images with numbers are of one class.
    #[must_use]
    pub fn per_class(&self, n: usize, seed: u64) -> Self {
        self.select(&self.choose("per_class", seed, |images| n.min(images)))
    }

    /// The indices, ascending, of as many images of each class as `count` says of the number that it
    /// has. Which, follows from the seed and the name.
    fn choose(&self, name: &str, seed: u64, count: impl Fn(usize) -> usize) -> Vec<usize> {
        let mut of_class = vec![Vec::new(); self.classes().len()];
        for index in 0..self.len {
            match self.shared.targets.get(self.shared.task, index) {
                Some(Target::Class(label)) => of_class[label].push(index),
                Some(Target::Classes(labels)) => {
                    for label in labels {
                        of_class[label].push(index);
                    }
                }
                Some(Target::Values(_)) => of_class[0].push(index),
                None => {}
            }
        }
        let mut chosen = Vec::new();
        for (class, mut indices) in of_class.into_iter().enumerate() {
            let mut rng = Rng::new(seed, &format!("{name}.{class}"));
            // The first steps of Fisher and Yates.
            for place in 0..count(indices.len()) {
                let left = (indices.len() - place) as f64;
                let other =
                    place + (rng.uniform(0.0, left) as usize).min(indices.len() - place - 1);
                indices.swap(place, other);
                chosen.push(indices[place]);
            }
        }
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    /// The indices, ascending, of images with several labels that are for validation.
    fn stratify(&self, valid_share: f64, seed: u64) -> Vec<usize> {
        let labels = |index| match self.shared.targets.get(self.shared.task, index) {
            Some(Target::Classes(labels)) => labels.into_iter().map(|l| l as u32).collect(),
            _ => Vec::new(),
        };
        let labels: Vec<Vec<u32>> = (0..self.len).map(labels).collect();
        let labels: Vec<&[u32]> = labels.iter().map(Vec::as_slice).collect();
        let mut rng = Rng::new(seed, "split");
        let mut order: Vec<(f64, usize)> = (0..self.len)
            .map(|index| (rng.uniform(0.0, 1.0), index))
            .collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let order: Vec<usize> = order.into_iter().map(|(_, index)| index).collect();
        let is_valid = for_validation(&labels, self.classes().len(), &order, valid_share);
        (0..self.len).filter(|index| is_valid[*index]).collect()
    }

    /// The images of these indices.
    fn select(&self, chosen: &[usize]) -> Self {
        let pixels = chosen.iter().filter_map(|index| self.pixels(*index));
        let shared = Shared {
            pixels: pixels.flatten().copied().collect(),
            task: self.shared.task,
            targets: self.shared.targets.select(chosen),
            height: self.shared.height,
            width: self.shared.width,
            channels: self.shared.channels,
            classes: self.shared.classes.clone(),
        };
        ImageSet {
            shared: Arc::new(shared),
            len: chosen.len(),
        }
    }
}

impl fmt::Debug for ImageSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Counts only: the bytes of a data set would fill pages.
        f.debug_struct("ImageSet")
            .field("images", &self.len)
            .field("size", &self.size())
            .field("channels", &self.channels())
            .field("classes", &self.classes().len())
            .finish()
    }
}

impl ImageData for ImageSet {
    fn len(&self) -> usize {
        ImageSet::len(self)
    }

    fn get(&self, index: usize) -> Result<(Image, Target)> {
        let target = self.target(index)?;
        let pixels = self.pixels(index).unwrap_or_default();
        let (height, width) = self.size();
        let image = Image::new(height, width, self.channels(), pixels.to_vec())?;
        Ok((image, target))
    }

    fn target(&self, index: usize) -> Result<Target> {
        let shared = &self.shared;
        let target = (index < self.len).then(|| shared.targets.get(shared.task, index));
        target.flatten().ok_or_else(|| no_image(index, self.len))
    }

    fn task(&self) -> Task {
        self.shared.task
    }

    fn classes(&self) -> &[String] {
        ImageSet::classes(self)
    }
}

/// Refuses targets of another task, and rows that do not fit the names.
fn check_targets(task: Task, targets: &Targets, names: usize) -> Result<()> {
    let (values, width) = match (task, targets) {
        (Task::SingleLabel, Targets::Classes(_)) => return Ok(()),
        (Task::MultiLabel | Task::Regression, Targets::Rows { values, width }) => (values, *width),
        (Task::SingleLabel, Targets::Rows { .. }) => {
            let expected = "a class for each image";
            return Err(Error::argument("targets", expected, "rows"));
        }
        (Task::MultiLabel | Task::Regression, Targets::Classes(_)) => {
            let expected = format!("rows of {names} values, for {task}");
            return Err(Error::argument("targets", expected, "a class for each"));
        }
    };
    if width != names || !values.len().is_multiple_of(names) {
        let expected = format!("rows of {names} values, as many as there are names");
        let found = format!("{} values in rows of {width}", values.len());
        return Err(Error::argument("targets", expected, found));
    }
    let (expected, fits): (_, fn(&f32) -> bool) = match task {
        Task::Regression => ("finite numbers", |value| value.is_finite()),
        _ => ("0 and 1", |value| [0.0, 1.0].contains(value)),
    };
    match values.iter().position(|value| !fits(value)) {
        None => Ok(()),
        Some(place) => {
            let found = format!("{} for image {}", values[place], place / names);
            Err(Error::argument("targets", expected, found))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of one pixel, whose value is their place.
    fn set(task: Task, values: Vec<f32>, width: usize) -> Result<ImageSet> {
        let pixels = (0..values.len() / width).map(|image| image as u8).collect();
        let names = (0..width).map(|name| name.to_string()).collect();
        let targets = Targets::Rows { values, width };
        ImageSet::with_targets(pixels, task, targets, (1, 1), 1, names)
    }

    fn targets(set: &ImageSet) -> Vec<Target> {
        let targets = (0..set.len()).map(|index| set.get(index).unwrap().1);
        targets.collect()
    }

    #[test]
    fn several_labels_and_numbers_are_held() {
        let labels = set(Task::MultiLabel, vec![1.0, 0.0, 0.0, 0.0, 1.0, 1.0], 2).unwrap();
        let expected = [vec![0], vec![], vec![0, 1]].map(Target::Classes);
        assert_eq!(
            (targets(&labels), labels.task()),
            (expected.to_vec(), Task::MultiLabel)
        );
        assert_eq!((labels.labels(), labels.label(0)), (&[][..], None));
        let first = labels.take_first(1);
        assert_eq!(targets(&first), expected[..1]);
        assert!(first.target(1).is_err());
        let numbers = set(Task::Regression, vec![0.5, -2.0], 1).unwrap();
        let expected = [[0.5], [-2.0]].map(|value| Target::Values(value.to_vec()));
        assert_eq!(
            (targets(&numbers), numbers.task()),
            (expected.to_vec(), Task::Regression)
        );
        assert_ne!(
            labels.fingerprint().unwrap(),
            numbers.fingerprint().unwrap()
        );
    }

    #[test]
    fn several_labels_and_numbers_are_divided() {
        // Every fourth image has the second label alone, two have the third as well.
        let row = |image: usize| match image {
            0 | 5 => [1.0, 0.0, 1.0],
            image if image.is_multiple_of(4) => [0.0, 1.0, 0.0],
            _ => [1.0, 0.0, 0.0],
        };
        let labels = set(Task::MultiLabel, (0..40).flat_map(row).collect(), 3).unwrap();
        let (train, valid) = labels.split(0.25, 1).unwrap();
        assert_eq!((train.len(), valid.len()), (30, 10));
        let with = |set: &ImageSet, label: usize| {
            let has = |target: &Target| matches!(target, Target::Classes(l) if l.contains(&label));
            targets(set).iter().filter(|target| has(target)).count()
        };
        assert_eq!((with(&train, 2), with(&valid, 2)), (1, 1));
        assert_eq!((with(&train, 1), with(&valid, 1)), (7, 2));
        let some = labels.per_class(2, 1);
        assert!((0..3).all(|label| with(&some, label) >= 2));
        let numbers = set(Task::Regression, (0..10).map(|n| n as f32).collect(), 1).unwrap();
        let (train, valid) = numbers.split(0.25, 1).unwrap();
        assert_eq!((train.len(), valid.len()), (7, 3));
        let pixels = |index| f32::from(valid.pixels(index).unwrap()[0]);
        assert!((0..3).all(|i| valid.target(i).unwrap() == Target::Values(vec![pixels(i)])));
    }

    #[test]
    fn targets_that_do_not_fit_are_refused() {
        for (task, values, width, expected) in [
            (Task::MultiLabel, vec![0.5, 1.0], 2, "expected 0 and 1"),
            (Task::Regression, vec![f32::NAN, 1.0], 2, "finite"),
            (Task::SingleLabel, vec![0.0, 1.0], 2, "a class for each"),
            (Task::MultiLabel, vec![0.0, 1.0, 0.0], 2, "rows of 2"),
        ] {
            let error = set(task, values, width).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let classes = Targets::Classes(vec![0]);
        let names = vec!["a".to_owned()];
        let task = Task::Regression;
        assert!(ImageSet::with_targets(vec![0], task, classes, (1, 1), 1, names).is_err());
    }
}
