//! The backbones, one file a family.
//!
//! A new family is a file beside this one, its line in `families!` and a parity fixture (see
//! `docs/adding-a-backbone.md`). Nothing else names a family.

pub(crate) mod bundled;

use burn::module::Module;
use burn::tensor::Device;

use crate::error::{Error, Result};
use crate::model::{Backbone, Pool};

/// What a backbone is built from, beside its own configuration.
#[derive(Debug, Clone, Copy)]
pub struct BackboneOptions {
    /// Channels of the image.
    pub in_channels: usize,
    /// Image size, for families that fix it when they are built; `None` is upstream's.
    pub image_size: Option<usize>,
    /// Stochastic depth: the rate of the last block.
    pub drop_path_rate: f64,
}

/// One architecture of the zoo.
#[derive(Debug)]
pub struct Architecture {
    /// Its name, timm's.
    pub name: &'static str,
    /// One line about it.
    pub summary: &'static str,
    /// The family's name.
    pub family: &'static str,
    /// The paper.
    pub paper: &'static str,
    /// The pooling upstream uses.
    pub pool: Pool,
    /// The image size upstream trained at.
    pub image_size: usize,
    pub(crate) build: fn(&BackboneOptions, &Device) -> Result<AnyBackbone>,
}

/// Every architecture, family by family.
pub fn architectures() -> impl Iterator<Item = &'static Architecture> {
    ALL.iter().copied().flatten()
}

/// The weights manifests that come with the crate, a family's under the name of its file: where
/// each lies, and its text.
pub(crate) fn manifests() -> impl Iterator<Item = (&'static str, &'static str)> {
    MANIFESTS.iter().copied().chain([bundled::MANIFEST])
}

/// Looks an architecture up by its name.
///
/// # Errors
/// [`Error::UnknownModel`] with the closest names.
pub fn find(name: &str) -> Result<&'static Architecture> {
    architectures().find(|a| a.name == name).ok_or_else(|| {
        let mut close: Vec<(usize, &str)> = architectures()
            .map(|a| (edit_distance(name, a.name), a.name))
            .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
            .collect();
        close.sort();
        Error::UnknownModel {
            name: name.to_owned(),
            suggestions: close
                .into_iter()
                .take(3)
                .map(|(_, n)| n.to_owned())
                .collect(),
        }
    })
}

/// Levenshtein's distance, for suggestions.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Declares a family's variants: its rows in the table of architectures, and a constructor on
/// [`Zoo`](crate::Zoo) for each.
macro_rules! variants {
    (
        family: $family:ident, paper: $paper:literal, pool: $pool:expr;
        $( $name:ident ($size:literal): $summary:literal => $config:expr; )+
    ) => {
        pub(super) const VARIANTS: &[$crate::zoo::Architecture] = &[$(
            $crate::zoo::Architecture {
                name: stringify!($name),
                summary: $summary,
                family: stringify!($family),
                paper: $paper,
                pool: $pool,
                image_size: $size,
                build: |options, device| {
                    let backbone = $config.init(options, device)?;
                    Ok($crate::zoo::AnyBackbone::$family(backbone))
                },
            },
        )+];

        impl $crate::Zoo {
            $(
                #[doc = concat!("`", stringify!($name), "`: ", $summary, " (<", $paper, ">).")]
                pub fn $name() -> $crate::Spec {
                    $crate::Spec::of(stringify!($name))
                }
            )+
        }
    };
}

/// Declares the families: the table of all architectures and the type that holds any of them.
macro_rules! families {
    ($( $(#[$doc:meta])* $file:ident :: $family:ident; )+) => {
        $(pub mod $file;)+

        const ALL: &[&[Architecture]] = &[$($file::VARIANTS),+];

        const MANIFESTS: &[(&str, &str)] = &[$((
            concat!("weights-manifest/", stringify!($file), ".toml"),
            include_str!(concat!("../weights-manifest/", stringify!($file), ".toml")),
        )),+];

        /// A backbone of any family; it derefs to [`Backbone`].
        // A model has one of them, and its tensors outweigh any difference.
        #[allow(clippy::large_enum_variant)]
        #[derive(Module, Debug)]
        pub enum AnyBackbone {
            $( $(#[$doc])* $family($file::$family), )+
        }

        impl std::ops::Deref for AnyBackbone {
            type Target = dyn Backbone;

            fn deref(&self) -> &Self::Target {
                match self { $( AnyBackbone::$family(backbone) => backbone, )+ }
            }
        }
    };
}

families! {
    /// A ResNet.
    resnet::ResNet;
    /// A vision transformer.
    vision_transformer::VisionTransformer;
}
