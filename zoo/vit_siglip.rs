//! The image towers of SigLIP: Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023,
//! <https://arxiv.org/abs/2303.15343>, and SigLIP 2: Tschannen et al., 2025,
//! <https://arxiv.org/abs/2502.14786>.
//!
//! Vision transformers without a class token; a learnt query attends to the patches and gives the
//! vector of an image. A variant with `gap` has the mean of the patches in its place. The weights have
//! no classifier; with another pooling than its own, a variant leaves their attention pooling out.
//! Parameters are those of a model for 1000 classes.
//!
//! | variant | width | blocks | heads | size | parameters |
//! |---|---|---|---|---|---|
//! | `vit_base_patch16_siglip_224` | 768 | 12 | 12 | 224 | 93 653 224 |
//! | `vit_base_patch16_siglip_256` | 768 | 12 | 12 | 256 | 93 699 304 |
//! | `vit_base_patch16_siglip_gap_224` | 768 | 12 | 12 | 224 | 86 566 120 |
//! | `vit_base_patch16_siglip_gap_256` | 768 | 12 | 12 | 256 | 86 612 200 |
//! | `vit_base_patch32_siglip_256` | 768 | 12 | 12 | 256 | 95 321 320 |

use super::transformer::{Config, End, VisionTransformer};
use crate::model::Pool;
use crate::nn::Act;

variants! {
    family: SigLipViT, manifest: "vit_siglip.toml", paper: "https://arxiv.org/abs/2303.15343",
    pool: Pool::Map;
    vit_base_patch16_siglip_224 (224): "12 blocks of width 768" => siglip(End::Attention);
    vit_base_patch16_siglip_256 (256): "12 blocks of width 768" => siglip(End::Attention).size(256);
    vit_base_patch16_siglip_gap_224 (224, Pool::Avg): "12 blocks of width 768, the mean of patches"
        => siglip(End::Norm);
    vit_base_patch16_siglip_gap_256 (256, Pool::Avg): "12 blocks of width 768, the mean of patches"
        => siglip(End::Norm).size(256);
    vit_base_patch32_siglip_256 (256): "12 blocks of width 768, patches of 32 pixels"
        => Config { act: Act::GeluTanh, ..siglip(End::Attention).patch(32).size(256) };
}

type SigLipViT = VisionTransformer;

fn siglip(end: End) -> Config {
    Config {
        has_class_token: false,
        end,
        unread: &["attn_pool."],
        ..Config::base()
    }
}
