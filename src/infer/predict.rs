//! What a model says about images: one, or any number of files.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use burn::module::Module;
use burn::tensor::activation::{log_softmax, sigmoid};
use burn::tensor::{Tensor, TensorData};
use serde::Serialize;

use super::evaluate::{is_nan, over_views};
use crate::data::{Task, check_loading};
use crate::error::{Error, Result};
use crate::model::{Classifier, Outputs, host_vec};
use crate::nn::fused::{self, Prepared};
use crate::panics;
use crate::preprocess::augment::Views;
use crate::preprocess::{DecodeOptions, Image, ImageSize, Preprocess};

/// What a model says of an image: a class that it may show, or a number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// Index of the class, or of the number.
    pub class: usize,
    /// Its name; the index, if the model does not name its classes.
    pub name: String,
    /// How probable the class is, in 0..1; NaN, and not in JSON, for a number.
    #[serde(skip_serializing_if = "is_nan")]
    pub probability: f64,
    /// The number, in its own unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

/// How [`Classifier::predict_files`] works.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictOptions {
    /// The size that images are brought to; `None` leaves each at its own.
    pub image_size: Option<ImageSize>,
    /// How many classes of each image, the best first. Of several labels all that an image has are told,
    /// and of numbers each.
    pub top_k: usize,
    /// Which views of an image are averaged over.
    pub views: Views,
    /// Images that go through the model at once: those of one size, and fewer where that many would
    /// take more than 128 MiB.
    pub batch_size: usize,
    /// Threads that read and prepare images ahead of the model; 0 does it in the calling thread. The
    /// result does not depend on it.
    pub workers: usize,
    /// The largest image that is accepted, and whether it is turned as its EXIF data say.
    pub decode: DecodeOptions,
}

impl Default for PredictOptions {
    /// The best five classes of images as they are, in batches of 32, read by one worker.
    fn default() -> Self {
        Self {
            image_size: None,
            top_k: 5,
            views: Views::One,
            batch_size: 32,
            workers: 1,
            decode: DecodeOptions::default(),
        }
    }
}

/// What a model says about an image file, or why it cannot.
#[derive(Debug)]
pub struct FilePrediction {
    /// The file.
    pub path: PathBuf,
    /// The most probable classes, the best first; of several labels those above the model's
    /// [thresholds](crate::Outputs), of numbers all in their order. [`Error::Io`] or [`Error::Image`] for a file that
    /// is no image or that the model does not take.
    pub result: Result<Vec<Prediction>>,
}

impl Classifier {
    /// The `top_k` most probable classes of an image, the best first; of several labels those above the
    /// model's [thresholds](crate::Outputs), of numbers all in their order.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a model without classes, [`Error::InputShape`] if the image,
    /// brought to `image_size`, does not fit the model.
    pub fn predict(
        &self,
        image: &Image,
        image_size: Option<ImageSize>,
        top_k: usize,
    ) -> Result<Vec<Prediction>> {
        self.predict_views(image, image_size, top_k, Views::One)
    }

    /// [`predict`](Self::predict) by the mean of the probabilities over several views of the image:
    /// test-time augmentation.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn predict_views(
        &self,
        image: &Image,
        image_size: Option<ImageSize>,
        top_k: usize,
        views: Views,
    ) -> Result<Vec<Prediction>> {
        self.check_classes()?;
        let preprocess = self.preprocess(image_size);
        preprocess.check()?;
        let size = preprocess.output_size(image.height(), image.width());
        let values = views.views(&preprocess, image).concat();
        let scores = self.valid().scores(values, 1, size, views)?;
        self.best_classes(&scores, top_k)
    }

    /// What the model says about each of these files, in their order. They are read as the iterator
    /// is asked for more, so there may be any number of them; one that cannot be read is a result
    /// like the others.
    ///
    /// ```no_run
    /// use burn_zoo::prelude::*;
    /// use burn_zoo::train::PredictOptions;
    ///
    /// # fn main() -> burn_zoo::Result<()> {
    /// let model = Classifier::open("runs/first/best", &Device::default())?;
    /// let options = PredictOptions {
    ///     image_size: model.info().image_size,
    ///     ..PredictOptions::default()
    /// };
    /// for file in model.predict_files(vec!["a.jpg".into(), "b.png".into()], options)? {
    ///     match file.result {
    ///         Ok(classes) => println!("{}: {}", file.path.display(), classes[0].name),
    ///         Err(error) => println!("{error}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a model without classes and for options out of range, and
    /// [`Error::InputShape`] for a size that the model does not take.
    pub fn predict_files(
        &self,
        files: Vec<PathBuf>,
        options: PredictOptions,
    ) -> Result<FilePredictions> {
        self.check_classes()?;
        check_loading(options.batch_size, options.workers)?;
        let preprocess = self.preprocess(options.image_size);
        preprocess.check()?;
        if let Some(size) = options.image_size {
            self.check_image_size(size)?;
        }
        let fuse = files.len() >= WORTH_FUSING;
        let reader = Arc::new(Reader {
            files,
            preprocess,
            views: options.views,
            batch_size: options.batch_size,
            decode: options.decode,
        });
        Ok(FilePredictions {
            model: self.valid(),
            prepared: fuse.then(Arc::default),
            top_k: options.top_k,
            receivers: reader.start(options.workers),
            reader,
            read: 0,
            ready: VecDeque::new(),
        })
    }

    fn check_classes(&self) -> Result<()> {
        if self.num_classes() > 0 {
            return Ok(());
        }
        let expected = "one with classes";
        Err(Error::argument("model", expected, "one without a head"))
    }

    /// Logarithms of the classes' probabilities, a row for each image; of several labels the
    /// probabilities, of numbers these.
    fn scores(
        &self,
        values: Vec<f32>,
        images: usize,
        (height, width): (usize, usize),
        views: Views,
    ) -> Result<Vec<f32>> {
        let shape = [images * views.count(), self.in_channels(), height, width];
        let values = TensorData::new(values, shape);
        let logits = self.forward(Tensor::from_data(values, &self.device()))?;
        let Outputs { task, scaling, .. } = &self.info.outputs;
        let logits = over_views(logits, views.count(), *task);
        match task {
            Task::SingleLabel => host_vec(log_softmax(logits, 1).into_data()),
            Task::MultiLabel => {
                let raw = host_vec(logits.clone().into_data())?;
                let mut scores = host_vec(sigmoid(logits).into_data())?;
                // An infinite one would look like certainty.
                for (score, raw) in scores.iter_mut().zip(raw) {
                    if !raw.is_finite() {
                        *score = f32::NAN;
                    }
                }
                Ok(scores)
            }
            Task::Regression => {
                let mut values = host_vec(logits.into_data())?;
                if let Some(scaling) = scaling {
                    scaling.restore(&mut values);
                }
                Ok(values)
            }
        }
    }

    /// What one row of scores says; of equals the first comes first.
    fn best_classes(&self, scores: &[f32], top_k: usize) -> Result<Vec<Prediction>> {
        if scores.iter().any(|score| !score.is_finite()) {
            return Err(super::no_numbers("scores"));
        }
        let outputs = &self.info.outputs;
        let mut order: Vec<usize> = (0..scores.len()).collect();
        if outputs.task != Task::Regression {
            order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
        }
        match outputs.task {
            Task::SingleLabel => order.truncate(top_k),
            Task::MultiLabel => order.retain(|class| scores[*class] >= outputs.threshold(*class)),
            Task::Regression => {}
        }
        let prediction = |class: usize| {
            let score = f64::from(scores[class]);
            let (probability, value) = match outputs.task {
                Task::SingleLabel => (score.exp(), None),
                Task::MultiLabel => (score, None),
                Task::Regression => (f64::NAN, Some(score)),
            };
            Prediction {
                class,
                name: self.class_name(class),
                probability,
                value,
            }
        };
        Ok(order.into_iter().map(prediction).collect())
    }
}

/// From this many images on, preparing a model for inference saves more than it takes.
const WORTH_FUSING: usize = 8;

/// Values of the images of one batch, in f32 of 4 bytes.
const MOST_VALUES: usize = 32 << 20;

/// Batches that each worker has ready while it makes the next.
const AHEAD: usize = 1;

/// What [`Classifier::predict_files`] gives.
pub struct FilePredictions {
    model: Classifier,
    /// Where there are images enough for it.
    prepared: Option<Arc<Prepared>>,
    top_k: usize,
    reader: Arc<Reader>,
    receivers: Vec<Receiver<ImageBatch>>,
    /// Files that were taken from the readers.
    read: usize,
    ready: VecDeque<FilePrediction>,
}

impl Iterator for FilePredictions {
    type Item = FilePrediction;

    fn next(&mut self) -> Option<FilePrediction> {
        if self.ready.is_empty() && self.read < self.reader.files.len() {
            let batch = self.next_batch();
            let first = self.read;
            self.read += batch.files;
            self.score(first, batch);
        }
        self.ready.pop_front()
    }
}

impl FilePredictions {
    /// The next files' images.
    fn next_batch(&self) -> ImageBatch {
        let batch = self.read / self.reader.batch_size;
        match self.receivers.get(batch % self.receivers.len().max(1)) {
            // Where a thread could not be had, this one does its work.
            Some(receiver) => receiver
                .recv()
                .unwrap_or_else(|_| self.reader.read(self.read)),
            None => self.reader.read(self.read),
        }
    }

    /// Asks the model, and puts the results in the files' order.
    fn score(&mut self, first: usize, batch: ImageBatch) {
        let mut results = batch.failed;
        let of_file = |file: usize, error: &Error| Error::Image {
            path: self.reader.files[file].clone(),
            reason: error.to_string(),
        };
        for group in batch.groups {
            let count = group.files.len();
            let run = || {
                let views = self.reader.views;
                self.model.scores(group.values, count, group.size, views)
            };
            let scores = match &self.prepared {
                Some(prepared) => fused::with(prepared, run),
                None => run(),
            };
            match scores {
                Ok(scores) => {
                    let rows = scores.chunks_exact(self.model.num_classes());
                    results.extend(group.files.into_iter().zip(rows).map(|(file, row)| {
                        let row = self.model.best_classes(row, self.top_k);
                        (file, row.map_err(|error| of_file(file, &error)))
                    }));
                }
                // What one image of a size meets, all of them meet.
                Err(error) => {
                    let files = group.files.into_iter();
                    results.extend(files.map(|file| (file, Err(of_file(file, &error)))));
                }
            }
        }
        results.sort_by_key(|(file, _)| *file);
        debug_assert!(results.iter().map(|(file, _)| *file).eq(first..self.read));
        self.ready
            .extend(results.into_iter().map(|(file, result)| FilePrediction {
                path: self.reader.files[file].clone(),
                result,
            }));
    }
}

/// The images of some files in a row, by their size.
struct ImageBatch {
    /// How many files.
    files: usize,
    groups: Vec<SameSize>,
    /// Files that cannot be read.
    failed: Vec<(usize, Result<Vec<Prediction>>)>,
}

/// The views of one image, and their height and width.
struct ImageViews {
    size: (usize, usize),
    views: Vec<Vec<f32>>,
}

/// Images of one size.
struct SameSize {
    size: (usize, usize),
    files: Vec<usize>,
    /// Their views, one after the other.
    values: Vec<f32>,
}

/// Turns files into what the model sees.
struct Reader {
    files: Vec<PathBuf>,
    preprocess: Preprocess,
    views: Views,
    batch_size: usize,
    decode: DecodeOptions,
}

impl Reader {
    /// Starts threads that read batches in turn: worker w those with the numbers w, w + workers, ..
    /// Reading the channels in the same turn restores the order. A thread ends when its channel is
    /// dropped.
    fn start(self: &Arc<Self>, workers: usize) -> Vec<Receiver<ImageBatch>> {
        let batches = self.files.len().div_ceil(self.batch_size);
        let workers = workers.min(batches);
        let start = |worker: usize| {
            let (sender, receiver) = sync_channel(AHEAD);
            let reader = self.clone();
            let run = move || {
                for batch in (worker..batches).step_by(workers) {
                    let mut next = batch * reader.batch_size;
                    let end = reader.end_of_batch(next);
                    while next < end {
                        let images = reader.read(next);
                        next += images.files;
                        if sender.send(images).is_err() {
                            return;
                        }
                    }
                }
            };
            let name = format!("predict-{worker}");
            drop(std::thread::Builder::new().name(name).spawn(run));
            receiver
        };
        (0..workers).map(start).collect()
    }

    /// The end of the batch that a file is in.
    fn end_of_batch(&self, file: usize) -> usize {
        let end = (file / self.batch_size + 1) * self.batch_size;
        end.min(self.files.len())
    }

    /// Reads from this file on: to the end of its batch, or less where images are large.
    fn read(&self, first: usize) -> ImageBatch {
        let mut batch = ImageBatch {
            files: 0,
            groups: Vec::new(),
            failed: Vec::new(),
        };
        let mut values = 0;
        for file in first..self.end_of_batch(first) {
            batch.files += 1;
            match self.image(&self.files[file]) {
                Err(error) => batch.failed.push((file, Err(error))),
                Ok(ImageViews { size, views }) => {
                    values += views.iter().map(Vec::len).sum::<usize>();
                    batch.add(file, size, &views);
                }
            }
            if values >= MOST_VALUES {
                break;
            }
        }
        batch
    }

    /// The views of one image.
    fn image(&self, path: &Path) -> Result<ImageViews> {
        panics::of_decoder(path, || {
            let image = Image::open_with(path, &self.decode)?;
            Ok(ImageViews {
                size: self.preprocess.output_size(image.height(), image.width()),
                views: self.views.views(&self.preprocess, &image),
            })
        })
    }
}

impl ImageBatch {
    fn add(&mut self, file: usize, size: (usize, usize), views: &[Vec<f32>]) {
        let index = self.groups.iter().position(|group| group.size == size);
        let index = index.unwrap_or_else(|| {
            self.groups.push(SameSize {
                size,
                files: Vec::new(),
                values: Vec::new(),
            });
            self.groups.len() - 1
        });
        let group = &mut self.groups[index];
        group.files.push(file);
        for view in views {
            group.values.extend_from_slice(view);
        }
    }
}
