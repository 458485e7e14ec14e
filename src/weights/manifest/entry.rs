//! What the manifest says about one file of weights.

use std::fmt;
use std::path::{Path, PathBuf};

use super::terms::{Terms, licence_in_words, non_commercial};
use crate::preprocess::{CropMode, ImageSize, Interpolation, Resizing};

/// Published weights of an architecture: where they are, what they may be used for, and what
/// images they expect.
///
/// What is not known is `None`; nothing is guessed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// `architecture.tag`, such as `resnet18.a1_in1k`.
    pub name: String,
    /// Whether the architecture's name alone means these weights.
    pub default: bool,
    /// Where the file is.
    pub(crate) source: Source,
    /// SHA-256 of the file: 64 lowercase hex digits.
    pub(crate) sha256: Option<Pin<String>>,
    /// Size of the file.
    pub(crate) bytes: Option<Pin<u64>>,
    /// The file that upstream published first: a second source, or the only one.
    pub(crate) original: Option<OriginalFile>,
    /// The project that trained the weights, as an address.
    pub origin: Option<String>,
    /// The licence's identifier. `None` is unknown, not free.
    pub licence: Option<String>,
    /// Where the licence was read, if upstream does not state it for these weights: weak evidence.
    pub licence_source: Option<String>,
    /// The papers that describe the training, such as `arXiv:2110.00476`.
    pub papers: Vec<String>,
    /// The images that the weights were trained on.
    pub data: DataConfig,
    /// Classes of the last layer; 0 if there is none.
    pub num_classes: usize,
    /// Upstream's names of the convolutions that see the image; none if they are not known.
    pub first_conv: Vec<String>,
    /// Upstream's names of the last layer, or of the last layers where there are two classifiers.
    pub classifier: Vec<String>,
    /// Published accuracies on ImageNet's validation images.
    pub results: Vec<Published>,
    /// Where the entry is written.
    pub(crate) place: Place,
}

impl Entry {
    /// The part of the name before the dot.
    pub fn architecture(&self) -> &str {
        self.name.split_once('.').map_or(&self.name, |(a, _)| a)
    }

    /// The part of the name after the dot.
    pub fn tag(&self) -> &str {
        self.name.split_once('.').map_or("", |(_, tag)| tag)
    }

    /// The repository of the Hugging Face hub that has the file, `owner/name`.
    pub fn repository(&self) -> Option<&str> {
        match &self.source {
            Source::Hub { repository, .. } => Some(repository),
            Source::Original | Source::File(_) | Source::Bundled(_) => None,
        }
    }

    /// The address of the file that upstream published, such as torchvision's `.pth`.
    pub fn original(&self) -> Option<&str> {
        self.original.as_ref().map(|original| original.url.as_str())
    }

    /// The name of the file, if it is part of the crate.
    pub fn bundled(&self) -> Option<&str> {
        match &self.source {
            Source::Bundled(name) => Some(name),
            Source::Hub { .. } | Source::Original | Source::File(_) => None,
        }
    }

    /// The SHA-256 that the manifest states, in lower-case hexadecimal digits. One that is not
    /// [confirmed](Self::is_sha256_confirmed) verifies nothing by itself.
    pub fn sha256(&self) -> Option<&str> {
        self.sha256.as_ref().map(|pin| pin.value().as_str())
    }

    /// Whether independent records agree on the SHA-256, or the user stated it, so that another
    /// file is refused.
    pub fn is_sha256_confirmed(&self) -> bool {
        matches!(self.sha256, Some(Pin::Confirmed(_)))
    }

    /// The size of the file, if it is confirmed.
    pub fn bytes(&self) -> Option<u64> {
        self.bytes.as_ref()?.confirmed().copied()
    }

    /// Whether the licence is known to forbid commercial use; see [`non_commercial`].
    pub fn non_commercial(&self) -> bool {
        self.licence.as_deref().is_some_and(non_commercial)
    }

    /// What the licence says about commercial use; a licence that is not known has terms of its own.
    pub fn terms(&self) -> Terms {
        self.licence.as_deref().map_or(Terms::Own, Terms::of)
    }

    /// The licence as a person reads it; see [`licence_in_words`].
    pub fn licence_in_words(&self) -> String {
        licence_in_words(self.licence.as_deref())
    }

    /// The best published accuracy, and the size it was measured at.
    pub fn best_result(&self) -> Option<&Published> {
        let results = self.results.iter();
        results.max_by(|a, b| a.top1.total_cmp(&b.top1))
    }
}

/// Where a file of weights is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// In a repository of the Hugging Face hub.
    Hub {
        /// `owner/name`.
        repository: String,
        /// The file in it; see [`file_names`](Self::file_names).
        file: Option<String>,
        /// The commit, 40 lowercase hex digits. A [`Pin::Hint`] may be asked for, as a wrong one
        /// does no harm beyond not being found.
        revision: Option<Pin<String>>,
    },
    /// At the address of the [`original`](Entry::original) alone, which no repository holds.
    Original,
    /// On this machine.
    File(PathBuf),
    /// In the crate itself, under this name.
    Bundled(String),
}

impl Source {
    /// The names under which a repository may hold the file, in the order to try them: the one
    /// that the manifest states, else those that timm looks for. None for a file that is at hand.
    #[cfg(any(feature = "hub", test))]
    pub fn file_names(&self) -> Vec<&str> {
        match self {
            Source::Hub {
                file: Some(file), ..
            } => vec![file],
            Source::Hub { file: None, .. } => vec!["model.safetensors", "pytorch_model.bin"],
            Source::Original | Source::File(_) | Source::Bundled(_) => Vec::new(),
        }
    }
}

/// A recorded fact, and how far it may be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pin<T> {
    /// Independent records agree, or the user stated it: what differs from it is refused.
    Confirmed(T),
    /// A single record, written as a key that ends in `_hint`. It verifies nothing by itself, but
    /// is good if the server announces the same.
    Hint(T),
}

impl<T> Pin<T> {
    /// The value, if a file may be refused or accepted by it alone.
    pub fn confirmed(&self) -> Option<&T> {
        match self {
            Pin::Confirmed(value) => Some(value),
            Pin::Hint(_) => None,
        }
    }

    /// The value, whatever it is worth.
    pub fn value(&self) -> &T {
        match self {
            Pin::Confirmed(value) | Pin::Hint(value) => value,
        }
    }
}

/// The PyTorch state dict that upstream published, such as torchvision's own `.pth` file. Where a
/// repository has a file too, it is another one with the same values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OriginalFile {
    /// Its address.
    pub url: String,
    /// The first digits of its SHA-256, which torch.hub's convention puts into the file name.
    /// Without them nothing is known to verify it with.
    pub sha256_prefix: Option<String>,
}

impl OriginalFile {
    /// The last part of the address; it names no folder.
    #[cfg(any(feature = "hub", test))]
    pub fn file_name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }
}

/// The images that weights were trained on; timm's `data_config`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DataConfig {
    /// Channels, height and width in training.
    pub input_size: [usize; 3],
    /// Channels, height and width in upstream's evaluation, if they differ.
    pub test_input_size: Option<[usize; 3]>,
    /// Whether the model takes no other size without being rebuilt.
    pub fixed_input_size: bool,
    /// Mean of each channel, for pixel values in 0..1.
    pub mean: Vec<f64>,
    /// Standard deviation of each channel.
    pub std: Vec<f64>,
    /// The filter that resizes an image.
    pub interpolation: Interpolation,
    /// How much of the resized image's side is kept, 0.1 to 10.
    pub crop_pct: f64,
    /// The same in upstream's evaluation at `test_input_size`, if it differs.
    pub test_crop_pct: Option<f64>,
    /// How an image that is not square is brought to a square.
    pub crop_mode: CropMode,
}

impl DataConfig {
    /// Height and width in training.
    pub fn image_size(&self) -> ImageSize {
        let [_, height, width] = self.input_size;
        ImageSize { height, width }
    }

    /// How images are brought to their size.
    pub fn resizing(&self) -> Resizing {
        Resizing {
            interpolation: self.interpolation,
            crop_pct: self.crop_pct,
            crop_mode: self.crop_mode,
        }
    }

    /// The images of upstream's evaluation: those of training but for the size and the crop that
    /// upstream evaluates with.
    pub fn at_test_size(&self) -> Self {
        Self {
            input_size: self.test_input_size.unwrap_or(self.input_size),
            crop_pct: self.test_crop_pct.unwrap_or(self.crop_pct),
            ..self.clone()
        }
    }
}

/// A published accuracy.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Published {
    /// Side of the images.
    pub size: usize,
    /// How many per cent of the images have the right class first.
    pub top1: f64,
    /// How many per cent have it among the first five.
    pub top5: f64,
    /// The crop it was measured with, if stated.
    pub crop_pct: Option<f64>,
    /// The filter it was measured with, if stated.
    pub interpolation: Option<Interpolation>,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl Place {
    pub(super) fn new(path: &Path, line: usize) -> Self {
        Self {
            path: path.to_path_buf(),
            line,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.path.display(), self.line)
    }
}
