//! What a backbone computes, and how it becomes one vector per image.

use burn::tensor::Tensor;

use super::host_tensor::host_vec;
use crate::error::{Error, Result};

/// What a backbone computes: a feature map or a row of tokens.
#[derive(Debug, Clone)]
pub enum Features {
    /// `[batch, channels, height, width]`, as convolutional networks have it.
    Map(Tensor<4>),
    /// `[batch, tokens, channels]`, as transformers have it.
    Tokens(Tensor<3>),
    /// Maps of the same images at several resolutions, finest first.
    Maps(Vec<Tensor<4>>),
}

impl Features {
    /// The shape, batch first; of several maps `[batch, values of all maps of an image]`.
    pub fn dims(&self) -> Vec<usize> {
        match self {
            Features::Map(x) => x.dims().to_vec(),
            Features::Tokens(x) => x.dims().to_vec(),
            Features::Maps(maps) => {
                let batch = maps.first().map_or(0, |map| map.dims()[0]);
                let of_image = |map: &Tensor<4>| map.dims()[1..].iter().product::<usize>();
                vec![batch, maps.iter().map(of_image).sum()]
            }
        }
    }

    /// The feature map.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for tokens.
    pub fn into_map(self) -> Result<Tensor<4>> {
        match self {
            Features::Map(map) => Ok(map),
            other => Err(other.are_not("a feature map")),
        }
    }

    /// The tokens.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a feature map.
    pub fn into_tokens(self) -> Result<Tensor<3>> {
        match self {
            Features::Tokens(tokens) => Ok(tokens),
            other => Err(other.are_not("tokens")),
        }
    }

    /// The maps.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a single map, or tokens.
    pub fn into_maps(self) -> Result<Vec<Tensor<4>>> {
        match self {
            Features::Maps(maps) => Ok(maps),
            other => Err(other.are_not("several feature maps")),
        }
    }

    fn are_not(&self, expected: &str) -> Error {
        let found = match self {
            Features::Map(_) => "a feature map",
            Features::Tokens(_) => "tokens",
            Features::Maps(_) => "several feature maps",
        };
        Error::argument("features", expected, found)
    }

    /// The values in row-major order; of several maps image by image, finest map first.
    ///
    /// # Errors
    /// [`Error::Device`] if the device cannot hand them over.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        let data = match self {
            Features::Map(x) => x.to_data(),
            Features::Tokens(x) => x.to_data(),
            Features::Maps(maps) => side_by_side(maps.iter().cloned()).to_data(),
        };
        host_vec(data)
    }
}

/// All values of each image's maps in one row, finest map first.
pub(super) fn side_by_side(maps: impl IntoIterator<Item = Tensor<4>>) -> Tensor<2> {
    let rows = maps.into_iter().map(|map| map.flatten(1, 3));
    Tensor::cat(rows.collect(), 1)
}

/// How the features of a model are pooled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pooling {
    pub(super) pool: Pool,
    /// The first token that is pooled.
    pub(super) first_token: usize,
}

impl Pooling {
    /// One vector for each image, that of several maps side by side. Pooling over positions leaves out
    /// the tokens before those of the patches, unless the backbone
    /// [pools them](super::Description::pools_prefix).
    ///
    /// # Shapes
    /// - output: `[batch, channels * pool.multiplier()]`; flattened with [`Pool::None`]
    pub fn vector(self, features: Features) -> Tensor<2> {
        match features {
            Features::Map(map) => self.map(map).flatten(1, 3),
            Features::Tokens(tokens) => self.tokens(tokens),
            Features::Maps(maps) => side_by_side(maps.into_iter().map(|map| self.map(map))),
        }
    }

    /// As [`vector`](Self::vector) of tokens, with a normalisation behind the pooling: of the one vector,
    /// or without a pooling of each token's.
    ///
    /// # Shapes
    /// - `norm`: `[batch, vectors, width]` to the same
    /// - output: as [`vector`](Self::vector)
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for features that are no tokens.
    pub fn normalized_vector(
        self,
        features: Features,
        norm: impl FnOnce(Tensor<3>) -> Tensor<3>,
    ) -> Result<Tensor<2>> {
        let tokens = features.into_tokens()?;
        let [batch, _, width] = tokens.dims();
        let vectors = self.tokens(tokens);
        let length = vectors.dims()[1];
        let vectors = vectors.reshape([batch, length / width, width]);
        Ok(norm(vectors).reshape([batch, length]))
    }

    /// The tokens that pooling over positions takes.
    ///
    /// # Shapes
    /// - input: `[batch, length, width]`
    /// - output: the same, or shorter by the tokens before those of the patches
    pub fn pooled_tokens(self, tokens: Tensor<3>) -> Tensor<3> {
        let first = self.first_token;
        let length = tokens.dims()[1] - first;
        tokens.narrow(1, first, length)
    }

    /// A feature map pooled to one position, for layers that stand between pooling and classifier;
    /// as it is with [`Pool::None`].
    ///
    /// # Shapes
    /// - input: `[batch, channels, height, width]`
    /// - output: `[batch, channels * pool.multiplier(), 1, 1]`
    pub fn map(self, map: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = map.dims();
        let flat = map.clone().reshape([batch, channels, height * width]);
        let mean = || flat.clone().mean_dim(2);
        let max = || flat.clone().max_dim(2);
        let pooled = match self.pool {
            Pool::Avg => mean(),
            Pool::Max => max(),
            Pool::AvgMax => (mean() + max()) * 0.5,
            Pool::CatAvgMax => Tensor::cat(vec![mean(), max()], 1),
            Pool::Token | Pool::Map | Pool::None => return map,
        };
        pooled.reshape([batch, channels * self.pool.multiplier(), 1, 1])
    }

    fn tokens(self, tokens: Tensor<3>) -> Tensor<2> {
        let [batch, length, width] = tokens.dims();
        let patches = || self.pooled_tokens(tokens.clone());
        let mean = || patches().mean_dim(1).reshape([batch, width]);
        let max = || patches().max_dim(1).reshape([batch, width]);
        match self.pool {
            Pool::Avg => mean(),
            Pool::Max => max(),
            Pool::AvgMax => (mean() + max()) * 0.5,
            Pool::CatAvgMax => Tensor::cat(vec![mean(), max()], 1),
            Pool::Token => tokens
                .slice([0..batch, 0..1, 0..width])
                .reshape([batch, width]),
            Pool::Map | Pool::None => tokens.reshape([batch, length * width]),
        }
    }
}

/// How a backbone's features become one vector per image; timm's `global_pool`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// The mean over positions (over the patch tokens, in a transformer).
    Avg,
    /// The maximum over positions (over the patch tokens, in a transformer).
    Max,
    /// Half the sum of the mean and the maximum.
    AvgMax,
    /// The mean and the maximum side by side: twice the features.
    CatAvgMax,
    /// The class token. Transformers only.
    Token,
    /// Attention to all positions by a learnt query, a layer that some transformers have behind their
    /// last group.
    Map,
    /// Nothing: the features are flattened as they are. Only without a head.
    None,
}

impl Pool {
    /// Every pooling, in the order in which it is documented.
    pub const ALL: [Pool; 7] = [
        Pool::Avg,
        Pool::Max,
        Pool::AvgMax,
        Pool::CatAvgMax,
        Pool::Token,
        Pool::Map,
        Pool::None,
    ];

    /// timm's name for it; no pooling is the empty string.
    pub fn timm_name(self) -> &'static str {
        match self {
            Pool::Avg => "avg",
            Pool::Max => "max",
            Pool::AvgMax => "avgmax",
            Pool::CatAvgMax => "catavgmax",
            Pool::Token => "token",
            Pool::Map => "map",
            Pool::None => "",
        }
    }

    /// The pooling with this timm name; `none` stands for the empty string.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] that lists the names.
    pub fn from_timm_name(name: &str) -> Result<Pool> {
        Pool::ALL
            .into_iter()
            .find(|pool| pool.timm_name() == name || (*pool == Pool::None && name == "none"))
            .ok_or_else(|| {
                Error::argument(
                    "global_pool",
                    "avg, max, avgmax, catavgmax, token, map or none",
                    format!("`{name}`"),
                )
            })
    }

    /// How many times the backbone's features the pooled vector is long.
    pub fn multiplier(self) -> usize {
        if self == Pool::CatAvgMax { 2 } else { 1 }
    }
}
