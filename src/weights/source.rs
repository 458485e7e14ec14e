//! The weights that a model is built with, by name.

use std::path::{Path, PathBuf};

/// Where a model's values come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Weights {
    /// The architecture's default entry in the weights manifest, fetched from the hub, or from the
    /// address that it names, unless it is cached.
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
