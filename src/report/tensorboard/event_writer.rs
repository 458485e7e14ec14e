//! One event file and what it holds.

use std::collections::HashMap;
use std::path::Path;

use image::codecs::png::CompressionType;

use super::graph::{self, GraphNode};
use super::histogram;
use super::hparams::{self, HParam};
use super::message::{plugin_metadata, tensor_shape};
use super::record::{RecordWriter, unix_time};
use crate::error::{Error, Result};
use crate::preprocess::Image;
use crate::protobuf::Message;

/// Writes one event file, `events.out.tfevents.SECONDS.HOST.PROCESS.COUNT`.
///
/// A tag holds one kind of value; each method refuses a tag that was used for another, because
/// TensorBoard would not show it, or fail to show the others. Methods nearly always write to
/// memory, but any of them can find that the file cannot be written.
#[derive(Debug)]
pub struct EventWriter {
    records: RecordWriter,
    /// What each tag is used for.
    kinds: HashMap<String, &'static str>,
    /// Whether hyperparameters were written.
    has_session: bool,
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
        let source = concat!("burn-zoo ", env!("CARGO_PKG_VERSION"));
        writer.write(purge_step.unwrap_or(0), |event| {
            let source = Message::default().text(1, source);
            event.text(3, "brain.Event:2").push(10, &source)
        })?;
        if let Some(step) = purge_step {
            let session_start = Message::default().int(1, 1);
            // Without its data server TensorBoard takes the first start in a folder for the start
            // of the run, at which nothing is dropped; the second is the restart.
            for _ in 0..2 {
                writer.write(step, |event| event.push(7, &session_start))?;
            }
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
        self.claim(tag, "scalars")?;
        self.value(tag, step, |point| point.push_float(2, value as f32))
    }

    /// A point of a curve as TensorFlow 2 writes it, for programs that read no other, such as Katib's
    /// collector: `new_style` of PyTorch's `add_scalar`.
    ///
    /// # Errors
    /// As for [`scalar`](Self::scalar).
    pub fn tensor_scalar(&mut self, tag: &str, step: i64, value: f64) -> Result<()> {
        self.claim(tag, "scalars")?;
        let number = Message::default().int(1, 1);
        let number = number.bytes(5, &(value as f32).to_le_bytes());
        let metadata = plugin_metadata("scalars", &[]);
        self.value(tag, step, |point| point.push(8, &number).push(9, &metadata))
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
        self.claim(tag, "histograms")?;
        let counts = histogram::Counts::of(values);
        let skipped = counts.skipped;
        if let Some(histogram) = counts.into_message() {
            self.value(tag, step, |value| value.push(5, &histogram))?;
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
        let channels = image.channels();
        if ![1, 3].contains(&channels) {
            return Err(Error::argument("image", "1 or 3 channels", channels));
        }
        let encoded = Message::default()
            .int(1, side(image.height())?)
            .int(2, side(image.width())?)
            .int(3, channels as i64)
            .bytes(4, &image.encode_png(CompressionType::Fast)?);
        self.claim(tag, "images")?;
        self.value(tag, step, |value| value.push(4, &encoded))
    }

    /// A text in Markdown.
    ///
    /// # Errors
    /// As for [`scalar`](Self::scalar).
    pub fn text(&mut self, tag: &str, step: i64, markdown: &str) -> Result<()> {
        self.claim(tag, "text")?;
        let strings = Message::default().int(1, 7).push(2, &tensor_shape(&[]));
        let strings = strings.push_text(8, markdown);
        let metadata = plugin_metadata("text", &[]);
        self.value(tag, step, |value| {
            value.push(8, &strings).push(9, &metadata)
        })
    }

    /// The model's structure, once a run: TensorBoard shows the newest.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a node without a name or with another's, or an input that is
    /// no node; [`Error::Io`].
    pub(crate) fn graph(&mut self, nodes: &[GraphNode]) -> Result<()> {
        let graph = graph::graph_def(nodes)?;
        self.write(0, |event| event.push(4, &graph))
    }

    /// The hyperparameters of this run, and the tags of the scalars by which runs are compared. The
    /// values of these metrics are the last points under the tags, in the same folder.
    ///
    /// TensorBoard takes the columns of its table from one of the runs below the folder that it
    /// shows, so runs to be compared should have the same names; without `metrics` from all runs, with every
    /// scalar for a metric. It keeps what a run says first: after a restart, hyperparameters that differ are
    /// not seen.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a name that is empty or there twice, for a number that is NaN
    /// or infinite, and for an empty metric; [`Error::Io`].
    pub(crate) fn hparams(
        &mut self,
        hparams: &[(String, HParam)],
        metrics: Option<&[&str]>,
    ) -> Result<()> {
        let time = unix_time();
        let experiment = hparams::experiment(hparams, metrics.unwrap_or_default(), time)?;
        if metrics.is_some() {
            self.summary(0, experiment)?;
        }
        self.summary(0, hparams::session_start(hparams, time))?;
        self.has_session = true;
        Ok(())
    }

    /// Ends the file, and the run whose hyperparameters were written, as one that succeeded. TensorBoard keeps the first
    /// end that it sees: a run that may go on later is better just dropped.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn finish(mut self) -> Result<()> {
        if self.has_session {
            self.summary(0, hparams::session_end(unix_time()))?;
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
    fn claim(&mut self, tag: &str, kind: &'static str) -> Result<()> {
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

    /// A `Summary` with one `Summary.Value`.
    fn value(&mut self, tag: &str, step: i64, fill: impl FnOnce(Message) -> Message) -> Result<()> {
        self.summary(step, fill(Message::default().text(1, tag)))
    }

    fn summary(&mut self, step: i64, value: Message) -> Result<()> {
        let summary = Message::default().push(1, &value);
        self.write(step, |event| event.push(5, &summary))
    }

    /// An `Event`.
    fn write(&mut self, step: i64, fill: impl FnOnce(Message) -> Message) -> Result<()> {
        let event = Message::default().double(1, unix_time()).int(2, step);
        self.records.push(fill(event).as_bytes())
    }
}

/// A side of an image, which is a number of 32 bits.
fn side(pixels: usize) -> Result<i64> {
    let side = i32::try_from(pixels).map(i64::from);
    side.map_err(|_| Error::argument("image", format!("sides up to {}", i32::MAX), pixels))
}
