//! DINOv2: Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", TMLR 2024,
//! <https://arxiv.org/abs/2304.07193>, and with registers: Darcet et al., "Vision Transformers Need
//! Registers", ICLR 2024, <https://arxiv.org/abs/2309.16588>.
//!
//! Vision transformers with patches of 14 pixels and a layer scale, trained without labels: the weights
//! have no classifier. They are for images of 518 pixels, and serve smaller ones too. With registers, only
//! patches have positions; the authors' own files of those have them for the class token too and are
//! not read. Parameters are those of a model for 1000 classes.
//!
//! | variant | width | blocks | heads | registers | parameters |
//! |---|---|---|---|---|---|
//! | `vit_small_patch14_dinov2` | 384 | 12 | 6 | 0 | 22 441 192 |
//! | `vit_base_patch14_dinov2` | 768 | 12 | 12 | 0 | 87 348 712 |
//! | `vit_small_patch14_reg4_dinov2` | 384 | 12 | 6 | 4 | 22 442 344 |
//! | `vit_base_patch14_reg4_dinov2` | 768 | 12 | 12 | 4 | 87 351 016 |

use super::transformer::{Config, VisionTransformer};
use crate::model::{OtherNames, Pool, key_table};

variants! {
    family: DINOv2, manifest: "dinov2.toml", paper: "https://arxiv.org/abs/2304.07193",
    pool: Pool::Token;
    vit_small_patch14_dinov2 (518): "12 blocks of width 384" => dinov2(Config::small());
    vit_base_patch14_dinov2 (518): "12 blocks of width 768" => dinov2(Config::base());
    vit_small_patch14_reg4_dinov2 (518): "12 blocks of width 384, registers"
        => with_registers(Config::small());
    vit_base_patch14_reg4_dinov2 (518): "12 blocks of width 768, registers"
        => with_registers(Config::base());
}

type DINOv2 = VisionTransformer;

fn dinov2(config: Config) -> Config {
    Config {
        other_names: || vec![transformers_names()],
        // What stood for hidden patches in training.
        unread: &["mask_token"],
        ..config.patch(14).size(518).layer_scale(1e-5)
    }
}

fn with_registers(config: Config) -> Config {
    Config {
        registers: 4,
        embeds_prefix: false,
        other_names: Vec::new,
        ..dinov2(config)
    }
}

/// The names of transformers' `Dinov2Model`.
fn transformers_names() -> OtherNames {
    let table = key_table![
        "cls_token" => "embeddings.cls_token", "pos_embed" => "embeddings.position_embeddings",
        "patch_embed.proj" => "embeddings.patch_embeddings.projection",
        "blocks.*.norm1" => "encoder.layer.*.norm1",
        "blocks.*.attn.qkv" => "encoder.layer.*.attention.attention.{query,key,value}",
        "blocks.*.attn.proj" => "encoder.layer.*.attention.output.dense",
        "blocks.*.ls1.gamma" => "encoder.layer.*.layer_scale1.lambda1",
        "blocks.*.norm2" => "encoder.layer.*.norm2", "blocks.*.mlp" => "encoder.layer.*.mlp",
        "blocks.*.ls2.gamma" => "encoder.layer.*.layer_scale2.lambda1", "norm" => "layernorm",
    ];
    OtherNames::new("transformers' DINOv2", table).ignores(&["embeddings.mask_token"])
}
