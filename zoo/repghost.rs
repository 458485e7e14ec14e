//! RepGhost: Chen et al., "RepGhost: A Hardware-Efficient Ghost Module via Re-parameterization", 2022,
//! <https://arxiv.org/abs/2211.06088>.
//!
//! A [GhostNet](super::ghostnet) that adds where the other puts side by side: what a depthwise
//! convolution gives, and a normalisation of what it sees, which
//! [`Classifier::fuse`](crate::Classifier::fuse) makes one convolution. The structure is timm's
//! `repghost.py` in the form for training, in which the weights are published. There is no stochastic
//! depth. Parameters are those of a model for 1000 classes; accuracies are those timm publishes at 224
//! pixels for the tag `in1k`.
//!
//! | variant | parameters | ImageNet top-1 |
//! |---|---|---|
//! | `repghostnet_050` | 2 313 968 | 67.0 % |
//! | `repghostnet_100` | 4 073 604 | 74.2 % |
//! | `repghostnet_200` | 9 796 124 | 78.8 % |

use super::ghostnet::{Config, GhostNet};
use crate::model::Pool;
use crate::nn::GhostKind::Added;

type RepGhostNet = GhostNet;

variants! {
    family: RepGhostNet, manifest: "repghost.toml", paper: "https://arxiv.org/abs/2211.06088",
    pool: Pool::Avg;
    repghostnet_050 (224): "half as wide" => Config::new(Added, 0.5);
    repghostnet_100 (224): "16 blocks" => Config::new(Added, 1.0);
    repghostnet_200 (224): "twice as wide" => Config::new(Added, 2.0);
}
