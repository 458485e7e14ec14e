//! Where weights come from, and whether to believe them.
//!
//! A name is looked up in the [manifest](crate::manifest) and becomes a file through the [`hub`],
//! which checks it. A file is opened by [`WeightsFile`], which reads only its table of contents and
//! refuses what is damaged or hostile.
//!
//! [`Spec::build`](crate::Spec::build) then finds the model in it: under which key (`state_dict`,
//! `model`, .. or one that [`Spec::weights_key`](crate::Spec::weights_key) names), and behind which
//! prefix (`module.`, `model.`, `backbone.`, .. or one that
//! [`Spec::weights_prefix`](crate::Spec::weights_prefix) names). It compares every name, shape and
//! type with the model's, and only when all of them agree are values read. Left out are, beside what
//! is outside of the key and the prefix, the tensors of a head that the adaptation replaces.
//! [`LoadReport`] says what was taken, what was left out, and what differs.

pub(crate) mod bundled;
mod failure;
mod file;
mod format;
#[cfg(feature = "hub")]
pub mod hub;
mod key_table;
mod layout;
#[cfg(feature = "hub")]
mod original;
mod pickle;
mod pytorch;
mod report;
mod resolve;
mod safetensors;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

pub use file::{DType, TensorInfo, WeightsFile};
pub use key_table::KeyTable;
pub(crate) use layout::{COUNTER, Layout, is_head};
pub use report::{LoadReport, Mismatch};
pub use resolve::Progress;
pub(crate) use resolve::{bundled, entry, resolve, spec_of_repository};

/// Where a model's values come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Weights {
    /// The architecture's default entry in the weights manifest, fetched from the hub unless it is
    /// cached.
    #[default]
    Default,
    /// The architecture's entry with this tag in the weights manifest, such as `tv_in1k`.
    Tag(String),
    /// The file that upstream itself published, such as torchvision's `.pth`, of the entry with this
    /// tag (`None` is the default one): the same values from a second source, verified by the hash
    /// prefix in the file's name.
    Original(Option<String>),
    /// The architecture's weights that come with the crate: trained on images made of formulas, at
    /// hand without a network. Not every architecture has some.
    Bundled,
    /// A timm-style repository of the hub.
    Hub {
        /// `owner/name`.
        repository: String,
        /// A branch, a tag or a commit; `main` if it is `None`.
        revision: Option<String>,
    },
    /// A `.safetensors` file, or one that `torch.save` wrote (`.pth`, `.pt`, `.bin`, `.ckpt`): a
    /// state dict, or a checkpoint with one in it, as Lightning, timm's and torchvision's training
    /// scripts and many others write it. Its names are timm's (for a ResNet these are torchvision's,
    /// too, and the body of a fastai `Learner` is read), behind whatever prefix.
    File(PathBuf),
    /// Upstream's initialisation rules, drawn from this seed. The same seed gives the same values
    /// on every device.
    Random(u64),
}

impl std::fmt::Display for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Weights::Default => f.write_str("the default tag"),
            Weights::Tag(tag) => f.write_str(tag),
            Weights::Original(None) => f.write_str("the original of the default tag"),
            Weights::Original(Some(tag)) => write!(f, "the original of {tag}"),
            Weights::Bundled => f.write_str("bundled"),
            Weights::Hub {
                repository,
                revision,
            } => match revision {
                Some(revision) => write!(f, "hf-hub:{repository}@{revision}"),
                None => write!(f, "hf-hub:{repository}"),
            },
            Weights::File(path) => write!(f, "{}", path.display()),
            Weights::Random(seed) => write!(f, "random (seed {seed})"),
        }
    }
}

impl From<PathBuf> for Weights {
    fn from(path: PathBuf) -> Self {
        Weights::File(path)
    }
}

impl From<&Path> for Weights {
    fn from(path: &Path) -> Self {
        Weights::File(path.to_path_buf())
    }
}

/// A tag of the weights manifest.
impl From<&str> for Weights {
    fn from(tag: &str) -> Self {
        Weights::Tag(tag.to_owned())
    }
}

/// A tensor in host memory, row-major, in PyTorch's layout.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Length of each dimension.
    pub shape: Vec<usize>,
    /// The values; as many as the product of the shape.
    pub data: Vec<f32>,
}

/// The SHA-256 of a file.
pub(crate) fn file_sha256(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(Error::io("read", path))? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
