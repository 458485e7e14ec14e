//! What a stem makes of the size of its images, and how that is changed for small ones.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::preprocess::ImageSize;

/// What is asked of a stem; nothing leaves it as upstream's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StemOptions {
    /// The finest that makes sense: convolutions of stride 1 and no pooling, or patches of a quarter of
    /// upstream's side, of two pixels at least.
    pub small_images: bool,
    /// Pixels, down and across, for each position that the stem's convolutions give: the product of
    /// their strides, or the side of a patch.
    pub stride: Option<usize>,
    /// Whether the stem pools behind its convolutions.
    pub pool: Option<bool>,
}

impl StemOptions {
    /// What was asked for first, as users write it.
    pub(crate) fn first(&self) -> Option<(&'static str, String)> {
        let stride = self
            .stride
            .map(|stride| ("stem_stride", stride.to_string()));
        let pool = self.pool.map(|pool| ("stem_pool", pool.to_string()));
        let small = self
            .small_images
            .then(|| ("small_images", "true".to_owned()));
        stride.or(pool).or(small)
    }

    /// A stem of convolutions with these strides upstream, and of a pooling of stride 2 behind them if
    /// it `has_pool`. Those in front keep their strides first.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a stride that such convolutions cannot have, or a pooling that
    /// there is not.
    pub fn convolutions(&self, upstream: &[usize], has_pool: bool) -> Result<StemShape> {
        let all: usize = upstream.iter().product();
        let stride = self
            .stride
            .unwrap_or(if self.small_images { 1 } else { all });
        let mut rest = stride;
        let mut strides = Vec::with_capacity(upstream.len());
        for &stride in upstream {
            let own = (1..=stride)
                .rev()
                .find(|own| stride.is_multiple_of(*own) && rest.is_multiple_of(*own));
            strides.push(own.unwrap_or(1));
            rest /= own.unwrap_or(1);
        }
        if rest != 1 {
            let possible: Vec<String> = (1..=all)
                .filter(|stride| all.is_multiple_of(*stride))
                .map(|stride| stride.to_string())
                .collect();
            let expected = format!("one that the stem can have: {}", possible.join(", "));
            return Err(Error::argument("stem_stride", expected, stride));
        }
        if let (Some(pool), false) = (self.pool, has_pool) {
            let expected = "nothing: the stem of this architecture has no pooling";
            return Err(Error::argument("stem_pool", expected, pool));
        }
        let pools = has_pool.then(|| self.pool.unwrap_or(!self.small_images));
        Ok(StemShape {
            strides,
            pools,
            upstream: upstream.to_vec(),
            is_patch: false,
            timm_arg: None,
        })
    }

    /// A stem that cuts patches, upstream of this side: kernels of the side, with its stride.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a patch of no pixels or of more than upstream's, or a pooling.
    pub fn patches(&self, upstream: usize) -> Result<StemShape> {
        let small = upstream.div_ceil(4).max(2).min(upstream);
        let side = self
            .stride
            .unwrap_or(if self.small_images { small } else { upstream });
        if !(1..=upstream).contains(&side) {
            let expected = format!("1 to {upstream}, the side of a patch");
            return Err(Error::argument("stem_stride", expected, side));
        }
        if let Some(pool) = self.pool {
            let expected = "nothing: patches are not pooled";
            return Err(Error::argument("stem_pool", expected, pool));
        }
        Ok(StemShape {
            strides: vec![side],
            pools: None,
            upstream: vec![upstream],
            is_patch: true,
            timm_arg: None,
        })
    }
}

/// What a stem is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StemShape {
    strides: Vec<usize>,
    upstream: Vec<usize>,
    pools: Option<bool>,
    is_patch: bool,
    timm_arg: Option<&'static str>,
}

impl StemShape {
    /// Names the argument of timm's constructor that takes the stride.
    pub fn timm_arg(mut self, name: &'static str) -> Self {
        self.timm_arg = Some(name);
        self
    }

    /// The strides of the convolutions, in order; of patches their side.
    pub fn strides(&self) -> &[usize] {
        &self.strides
    }

    /// Pixels for each position that the convolutions give, down and across.
    pub fn stride(&self) -> usize {
        self.strides.iter().product()
    }

    /// The same upstream.
    pub fn upstream_stride(&self) -> usize {
        self.upstream.iter().product()
    }

    /// Whether the stem pools, once or more; `None` if upstream's does not.
    pub fn pools(&self) -> Option<bool> {
        self.pools
    }

    /// Whether it cuts patches.
    pub fn is_patch(&self) -> bool {
        self.is_patch
    }

    /// Whether it is another than upstream's.
    pub fn is_changed(&self) -> bool {
        self.stride() != self.upstream_stride() || self.pools == Some(false)
    }

    /// So many pixels of upstream's stem, in the proportion of the total strides, rounded up. A least size
    /// that follows from convolutions or poolings without padding is not in proportion.
    pub fn scale(&self, pixels: usize) -> usize {
        let pool = if self.pools == Some(false) { 2 } else { 1 };
        (pixels * self.stride())
            .div_ceil(self.upstream_stride() * pool)
            .max(1)
    }

    /// What must be asked for to have it.
    pub(crate) fn options(&self) -> StemOptions {
        StemOptions {
            small_images: false,
            stride: Some(self.stride()).filter(|stride| *stride != self.upstream_stride()),
            pool: self.pools.filter(|pools| !pools),
        }
    }

    /// The same stem with this asked of it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for what it cannot have.
    pub(crate) fn like(&self, options: &StemOptions) -> Result<Self> {
        if self.is_patch {
            return options.patches(self.upstream_stride());
        }
        options.convolutions(&self.upstream, self.pools.is_some())
    }

    /// The argument that makes timm build it, if it has one.
    pub(crate) fn in_timm(&self) -> Option<(&'static str, usize)> {
        Some((self.timm_arg?, self.stride()))
    }
}

/// What is known of a model that a file's weights were trained in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trained {
    pub image_size: Option<ImageSize>,
    /// See [`StemShape::stride`]; upstream's, if it is not said.
    pub stem_stride: Option<usize>,
    /// The sides of its windows, by the paths of their tables, where that size is another than the model's.
    pub windows: HashMap<String, [usize; 2]>,
}

/// As in "stride 1, no pooling".
impl std::fmt::Display for StemShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stride = self.stride();
        if self.is_patch {
            return write!(f, "patches of {stride} pixels");
        }
        let pooling = match self.pools {
            Some(true) => ", pooling",
            Some(false) => ", no pooling",
            None => "",
        };
        write!(f, "stride {stride}{pooling}")
    }
}
