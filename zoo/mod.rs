//! The backbones, one file a family.
//!
//! A new family is a file beside this one, its line in `families!` and a parity fixture (see
//! `docs/adding-a-backbone.md`). Nothing else names a family.

pub(crate) mod bundled;
mod inverted;
mod numbers;
pub(crate) mod registered;
mod residual;
mod shifted_windows;
mod transformer;

#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::model::{AnyBackbone, Description, Pool, StemOptions};
use crate::nn::ParamBuilder;
use crate::preprocess::ImageSize;

pub use numbers::Numbers;

/// What a backbone is built from, beside its own configuration.
#[derive(Debug, Clone, Copy)]
pub struct BackboneOptions {
    /// Channels of the image.
    pub in_channels: usize,
    /// Height and width of the images, for families that fix them when they are built; `None` is
    /// upstream's.
    pub image_size: Option<[usize; 2]>,
    /// What is asked of the stem, for families in which it can be changed.
    pub stem: StemOptions,
    /// Dropout, for families that have it elsewhere than before the classifier.
    pub drop_rate: f64,
    /// Stochastic depth: the rate of the last block.
    pub drop_path_rate: f64,
    /// How the features are pooled, for families with layers behind the pooling.
    pub pool: Pool,
}

impl BackboneOptions {
    /// The image size of a family that fixes it, upstream's unless another is asked for. `fits` tells
    /// whether it can have a side, `expected` says which.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a size that does not fit.
    pub fn fixed_size(
        &self,
        upstream: usize,
        expected: impl Into<String>,
        fits: impl Fn(usize) -> bool,
    ) -> Result<[usize; 2]> {
        let sides = self.image_size.unwrap_or([upstream; 2]);
        if sides.into_iter().all(fits) {
            return Ok(sides);
        }
        let found = ImageSize::from(sides);
        Err(Error::argument("image_size", expected, found))
    }

    /// The image size of a vision transformer with patches of so many pixels, and the rows and columns
    /// of its patches.
    fn patch_grid(&self, upstream: usize, patch: usize) -> Result<[[usize; 2]; 2]> {
        let sides = patch..=MOST_PATCHES * patch;
        let expected = format!("{patch}, the side of a patch, to {}", sides.end());
        let image_size = self.fixed_size(upstream, expected, |side| sides.contains(&side))?;
        Ok([image_size, image_size.map(|side| side / patch)])
    }

    /// Refuses stochastic depth, for families that do not have it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a rate above 0.
    pub fn check_no_drop_path(&self) -> Result<()> {
        match self.drop_path_rate {
            0.0 => Ok(()),
            rate => {
                let expected = "0: the architecture has no stochastic depth";
                Err(Error::argument("drop_path_rate", expected, rate))
            }
        }
    }
}

/// Patches on a side of an image, at most: attention grows with their fourth power.
const MOST_PATCHES: usize = 256;

/// What a configuration makes: the modules and their description.
type Built<B> = Result<(B, Description)>;

/// One architecture of the zoo, or [one of your own](Self::new).
#[derive(Debug)]
#[non_exhaustive]
pub struct Architecture {
    /// Its name, timm's where timm has such a network.
    pub name: &'static str,
    /// One line about it.
    pub summary: &'static str,
    /// The family's name.
    pub family: &'static str,
    /// The paper.
    pub paper: &'static str,
    /// Whose structure and names it has: `timm`, where timm has no such network `torchvision`, and
    /// `burn-zoo` for a [registered](crate::Zoo::register) one that no other library has.
    pub library: &'static str,
    /// The pooling upstream uses.
    pub pool: Pool,
    /// The image size upstream trained at.
    pub image_size: usize,
    pub(crate) build: fn(&BackboneOptions, &ParamBuilder) -> Result<AnyBackbone>,
}

impl Architecture {
    /// A network that no other library has, to be [registered](crate::Zoo::register): images of any
    /// size, the mean over positions for a pooling, 28 pixels where nothing else is said.
    ///
    /// `build` makes the backbone from parameters of the [`ParamBuilder`]. It is called with any number
    /// of channels from 1 on, also to find out whether somebody else's file fits, and refuses what it
    /// does not have, such as [stochastic depth](BackboneOptions::check_no_drop_path), by an error.
    pub const fn new(
        name: &'static str,
        build: fn(&BackboneOptions, &ParamBuilder) -> Result<AnyBackbone>,
    ) -> Self {
        Self {
            name,
            summary: "",
            family: name,
            paper: "",
            library: OWN_LIBRARY,
            pool: Pool::Avg,
            image_size: 28,
            build,
        }
    }

    /// Sets the pooling that the architecture has unless another is asked for.
    pub const fn pool(mut self, pool: Pool) -> Self {
        self.pool = pool;
        self
    }

    /// Sets the size of the images that it is meant for.
    pub const fn image_size(mut self, side: usize) -> Self {
        self.image_size = side;
        self
    }
}

/// The variants of a family, and what is known of their published weights.
#[derive(Debug)]
struct Family {
    variants: &'static [Architecture],
    /// Where its weights manifest lies, and the text.
    manifest: (&'static str, &'static str),
}

/// The libraries that an architecture can be of.
pub(crate) const LIBRARIES: [&str; 3] = ["timm", "torchvision", OWN_LIBRARY];

/// The library of an architecture that no other has.
pub(crate) const OWN_LIBRARY: &str = "burn-zoo";

/// Every architecture, family by family, and those that were [registered](crate::Zoo::register), of
/// which [`numbers`](Architecture::numbers) are not known.
pub fn architectures() -> impl Iterator<Item = &'static Architecture> {
    let registered = registered::all();
    let families = FAMILIES.iter().flat_map(|family| family.variants);
    families.chain(registered)
}

/// The weights manifests that come with the crate: where each lies, and its text.
pub(crate) fn manifests() -> impl Iterator<Item = (&'static str, &'static str)> {
    let manifests = FAMILIES.iter().map(|family| family.manifest);
    manifests.chain([bundled::MANIFEST])
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

/// The architectures that have the names and shapes of this one's tensors and compute something else.
pub(crate) fn twins(name: &str) -> Vec<&'static str> {
    // Each line is of one set of names and shapes; `=` stands between those that compute the same.
    let lines = include_str!("twins.txt")
        .lines()
        .filter(|line| !line.starts_with('#'));
    for line in lines {
        let kinds: Vec<Vec<&'static str>> = line
            .split_whitespace()
            .map(|kind| kind.split('=').collect())
            .collect();
        if let Some(own) = kinds.iter().position(|kind| kind.contains(&name)) {
            let others = kinds.into_iter().enumerate().filter(|(i, _)| *i != own);
            return others.flat_map(|(_, kind)| kind).collect();
        }
    }
    Vec::new()
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

/// The first of one or two.
macro_rules! first {
    ($first:literal $(, $second:literal)?) => {
        $first
    };
}

/// Declares a family: its rows in the table of architectures, its weights manifest, and a
/// constructor on [`Zoo`](crate::Zoo) for each variant.
///
/// `init` of a variant's configuration makes the modules and their description. A variant may have
/// another pooling than its family, and another paper: `name (224, Pool::Avg; "https://.."): ..`. The library is timm unless it is said.
macro_rules! variants {
    (@or $default:expr) => { $default };
    (@or $default:expr, $own:expr) => { $own };
    (
        family: $family:ident, manifest: $manifest:literal, paper: $paper:literal, pool: $pool:expr
        $(, library: $library:literal)?;
        $(
            $name:ident ($size:literal $(, $own:expr)? $(; $own_paper:literal)?): $summary:literal
                => $config:expr;
        )+
    ) => {
        const LIBRARY: &str = variants!(@or "timm" $(, $library)?);

        pub(super) const FAMILY: $crate::zoo::Family = $crate::zoo::Family {
            variants: &[$(
                $crate::zoo::Architecture {
                    name: stringify!($name),
                    summary: $summary,
                    family: stringify!($family),
                    paper: first!($($own_paper,)? $paper),
                    pool: variants!(@or $pool $(, $own)?),
                    library: LIBRARY,
                    image_size: $size,
                    build: |options, params| {
                        let built: $crate::zoo::Built<$family> = $config.init(options, params);
                        let (backbone, description) = built?;
                        Ok($crate::AnyBackbone::new(backbone, description))
                    },
                },
            )+],
            manifest: (
                concat!("weights-manifest/", $manifest),
                include_str!(concat!("../weights-manifest/", $manifest)),
            ),
        };

        impl $crate::Zoo {
            $(
                #[doc = concat!(
                    "`", stringify!($name), "`: ", $summary,
                    " (<", first!($($own_paper,)? $paper), ">)."
                )]
                pub fn $name() -> $crate::Spec {
                    $crate::Spec::of(stringify!($name))
                }
            )+
        }
    };
}

/// Declares the files of families, and the table of them all.
macro_rules! families {
    ($( $file:ident; )+) => {
        $( mod $file; )+

        const FAMILIES: &[Family] = &[$( $file::FAMILY ),+];
    };
}

families! {
    resnet;
    mobilenet_v3;
    convnext;
    vgg;
    vision_transformer;
    dinov2;
    vit_clip;
    deit;
    vit_siglip;
    beit;
    swin;
    repvgg;
    mobileone;
    gernet;
    ghostnet;
    repghost;
    mobilevit;
    mobilevit_v2;
    fastvit;
    repvit;
    resnet_attention;
    resnet_ts;
    resnet_v2;
    nfnet;
    hrnet;
    res2net;
    regnet;
    densenet;
    shufflenet_v2;
    alexnet;
    squeezenet;
    googlenet;
    inception;
    xception;
    efficientnet;
    efficientnet_v2;
    mobilenet_v1;
    mobilenet_v2;
    mobilenet_v4;
    mnasnet;
    lcnet;
    nas_mobile;
    eva02;
    dinov3;
    metaformer;
    edgenext;
    xcit;
    swin_v2;
    tiny_vit;
    efficientvit_mit;
    maxxvit;
    efficientvit_msra;
    swin_v2_cr;
}
