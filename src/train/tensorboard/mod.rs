//! Event files, which TensorBoard draws while a run goes on and afterwards.
//!
//! An [`EventWriter`] writes scalars, histograms, images, text, a model's structure and
//! hyperparameters to one file; `tensorboard --logdir FOLDER` reads it. The format is that of
//! PyTorch's `SummaryWriter`, so every reader of its files reads these as well, with or without
//! TensorFlow.
//!
//! # One run, one folder
//!
//! TensorBoard takes each folder for a run. Values of one run that belong into one picture, such as
//! the losses of training and validation, go into two folders under the same tag, or into one
//! folder under two tags (`loss/train`, `loss/valid`: what is before the slash is a section).
//!
//! Several writers can write into one folder, each to a file of its own. TensorBoard reads the
//! files in the order in which their writers were created. Only with its data server, which is in
//! use unless `--load_fast=false` is given, does it see what is added to a file later than to the
//! next one.
//!
//! Steps must not go back within a tag: TensorBoard's data server takes that for a restart, and
//! drops the points that are not earlier.
//!
//! # After a crash
//!
//! Records are handed to the system whole, at the latest some 5 seconds after they were made as
//! long as others follow, at [`flush`](EventWriter::flush) and when the writer is dropped. A run
//! that is killed loses no more than that. TensorBoard reads what is before a record that is not
//! complete.
//!
//! # How it is made
//!
//! The messages are 26 small structs with `prost`'s derive, without generated code or `protoc`. The
//! crate `tfrecord` writes most of them as well, but would add 31 crates, among them older versions
//! of `ureq`, `thiserror` and `itertools`, where `prost`, `crc32c` and `gethostname` add four.

mod graph;
mod histogram;
mod hparams;
mod proto;
mod record;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder as _};
use prost::Message as _;

pub use graph::GraphNode;
pub use hparams::{HParam, SessionStatus};

use crate::error::{Error, Result};
use crate::preprocess::Image;
use record::{RecordWriter, unix_time};

/// Writes one event file, `events.out.tfevents.SECONDS.HOST.PROCESS.COUNT`.
///
/// A tag holds one kind of value; each method refuses a tag that was used for another, because
/// TensorBoard would not show it, or fail to show the others. Methods nearly always write to
/// memory, but any of them can find that the file cannot be written.
#[derive(Debug)]
pub struct EventWriter {
    records: RecordWriter,
    kinds: HashMap<String, Kind>,
    /// Whether hyperparameters were written.
    has_session: bool,
}

/// What a tag is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Scalar,
    Histogram,
    Image,
    Text,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Scalar => "scalars",
            Kind::Histogram => "histograms",
            Kind::Image => "images",
            Kind::Text => "text",
        })
    }
}

impl EventWriter {
    /// Makes a file in a folder, and the folder if need be.
    ///
    /// For a run that goes on after a crash, `purge_step` is the first step that is written again:
    /// TensorBoard then drops what older files of the folder hold for this step and later ones, as
    /// with the `purge_step` of PyTorch's `SummaryWriter`. Its data server drops them tag by tag,
    /// once a point is written that is not later than they are.
    ///
    /// # Errors
    /// [`Error::Io`] if folder or file cannot be made or written.
    pub fn create(dir: &Path, purge_step: Option<i64>) -> Result<Self> {
        let mut writer = Self {
            records: RecordWriter::create(dir)?,
            kinds: HashMap::new(),
            has_session: false,
        };
        writer.write(proto::Event {
            file_version: Some("brain.Event:2".to_owned()),
            source_metadata: Some(proto::SourceMetadata {
                writer: concat!("burn-zoo ", env!("CARGO_PKG_VERSION")).to_owned(),
            }),
            step: purge_step.unwrap_or(0),
            ..Default::default()
        })?;
        if let Some(step) = purge_step {
            let start = || proto::Event {
                step,
                session_log: Some(proto::SessionLog {
                    status: proto::SESSION_START,
                }),
                ..Default::default()
            };
            // Without its data server TensorBoard takes the first start in a folder for the start
            // of the run, at which nothing is dropped; the second is the restart.
            writer.write(start())?;
            writer.write(start())?;
        }
        writer.flush()?;
        Ok(writer)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.records.path()
    }

    /// A point of a curve. It is stored in single precision, as `add_scalar` of PyTorch does.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a tag that is empty or of another kind; [`Error::Io`].
    pub fn scalar(&mut self, tag: &str, step: i64, value: f64) -> Result<()> {
        self.claim(tag, Kind::Scalar)?;
        self.value(
            step,
            proto::Value {
                tag: tag.to_owned(),
                simple_value: Some(value as f32),
                ..Default::default()
            },
        )
    }

    /// How values are distributed: counts in TensorFlow's buckets, which are 10 % wide, so that
    /// weights and gradients of any magnitude keep their shape.
    ///
    /// Values that are NaN or infinite are left out; how many is the result. If no others are
    /// there, nothing is written.
    ///
    /// # Errors
    /// As for [`scalar`](Self::scalar).
    pub fn histogram(
        &mut self,
        tag: &str,
        step: i64,
        values: impl IntoIterator<Item = f32>,
    ) -> Result<u64> {
        self.claim(tag, Kind::Histogram)?;
        let counts = histogram::Counts::of(values);
        let skipped = counts.skipped;
        if let Some(histogram) = counts.into_proto() {
            self.value(
                step,
                proto::Value {
                    tag: tag.to_owned(),
                    histo: Some(histogram),
                    ..Default::default()
                },
            )?;
        }
        Ok(skipped)
    }

    /// An image, grey or RGB, as PNG. TensorBoard shows ten images of a tag, the last among them,
    /// unless it is started with `--samples_per_plugin images=100`.
    ///
    /// # Errors
    /// As for [`scalar`](Self::scalar), and [`Error::InvalidArgument`] for an image that has
    /// neither one nor three channels.
    pub fn image(&mut self, tag: &str, step: i64, image: &Image) -> Result<()> {
        let encoded = encode(image)?;
        self.claim(tag, Kind::Image)?;
        self.value(
            step,
            proto::Value {
                tag: tag.to_owned(),
                image: Some(encoded),
                ..Default::default()
            },
        )
    }

    /// A text in Markdown.
    ///
    /// # Errors
    /// As for [`scalar`](Self::scalar).
    pub fn text(&mut self, tag: &str, step: i64, markdown: &str) -> Result<()> {
        self.claim(tag, Kind::Text)?;
        self.value(
            step,
            proto::Value {
                tag: tag.to_owned(),
                tensor: Some(proto::Tensor {
                    dtype: proto::DT_STRING,
                    tensor_shape: Some(proto::TensorShape::default()),
                    string_val: vec![markdown.as_bytes().to_vec()],
                }),
                metadata: Some(proto::SummaryMetadata {
                    plugin_data: Some(proto::PluginData {
                        plugin_name: "text".to_owned(),
                        content: Vec::new(),
                    }),
                }),
                ..Default::default()
            },
        )
    }

    /// The model's structure, once a run: TensorBoard shows the newest.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a node without a name or with another's, or an input that is
    /// no node; [`Error::Io`].
    pub fn graph(&mut self, nodes: &[GraphNode]) -> Result<()> {
        let graph = graph::graph_def(nodes)?;
        self.write(proto::Event {
            graph_def: Some(graph.encode_to_vec()),
            ..Default::default()
        })
    }

    /// The hyperparameters of this run, and the tags of the scalars by which runs are compared. The
    /// values of these metrics are the last points under the tags, in the same folder.
    ///
    /// TensorBoard takes the columns of its table from one of the runs below the folder that it
    /// shows, so runs to be compared should have the same names. It keeps what a run says first:
    /// after a restart, hyperparameters that differ are not seen.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a name that is empty or there twice, for a number that is NaN
    /// or infinite, and for an empty metric; [`Error::Io`].
    pub fn hparams(&mut self, hparams: &[(String, HParam)], metrics: &[&str]) -> Result<()> {
        let time = unix_time();
        self.value(0, hparams::experiment(hparams, metrics, time)?)?;
        self.value(0, hparams::session_start(hparams, time))?;
        self.has_session = true;
        Ok(())
    }

    /// Ends the run whose hyperparameters were written, and the file. TensorBoard keeps the first
    /// end that it sees: a run that may go on later is better just dropped.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn finish(mut self, status: SessionStatus) -> Result<()> {
        if self.has_session {
            self.value(0, hparams::session_end(status, unix_time()))?;
        }
        self.flush()
    }

    /// Hands everything to the system, so that TensorBoard sees it and a crash cannot take it.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written. The file then ends where it ended before, and
    /// what is missing is tried again with the next flush.
    pub fn flush(&mut self) -> Result<()> {
        self.records.flush()
    }

    /// Takes a tag for one kind of value.
    fn claim(&mut self, tag: &str, kind: Kind) -> Result<()> {
        match self.kinds.get(tag) {
            Some(claimed) if *claimed == kind => Ok(()),
            Some(claimed) => Err(Error::argument(
                format!("tag {tag}"),
                format!("a tag of its own for {kind}"),
                format!("one that holds {claimed}"),
            )),
            None if tag.is_empty() => Err(Error::argument("tag", "a name", "an empty one")),
            None => {
                self.kinds.insert(tag.to_owned(), kind);
                Ok(())
            }
        }
    }

    fn value(&mut self, step: i64, value: proto::Value) -> Result<()> {
        self.write(proto::Event {
            step,
            summary: Some(proto::Summary { value: vec![value] }),
            ..Default::default()
        })
    }

    fn write(&mut self, mut event: proto::Event) -> Result<()> {
        event.wall_time = unix_time();
        self.records.push(&event.encode_to_vec())
    }
}

/// A PNG of an image.
fn encode(image: &Image) -> Result<proto::EncodedImage> {
    let color = match image.channels() {
        1 => ExtendedColorType::L8,
        3 => ExtendedColorType::Rgb8,
        other => return Err(Error::argument("image", "1 or 3 channels", other)),
    };
    let side = |pixels: usize| {
        i32::try_from(pixels)
            .map_err(|_| Error::argument("image", format!("sides up to {}", i32::MAX), pixels))
    };
    let (height, width) = (side(image.height())?, side(image.width())?);
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive)
        .write_image(image.pixels(), width as u32, height as u32, color)
        .map_err(|error| Error::argument("image", "an image that PNG can hold", error))?;
    Ok(proto::EncodedImage {
        height,
        width,
        colorspace: image.channels() as i32,
        encoded_image_string: png,
    })
}
