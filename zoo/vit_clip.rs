//! The image towers of CLIP: Radford et al., "Learning Transferable Visual Models From Natural Language
//! Supervision", ICML 2021, <https://arxiv.org/abs/2103.00020>, and of its kin (OpenCLIP, TinyCLIP,
//! MetaCLIP).
//!
//! Vision transformers that normalise their tokens before the blocks, too. Weights as CLIP was trained
//! have for a classifier its projection to 512 features, the vector that is compared with that of a
//! text. A variant with `quickgelu` has x σ(1.702 x) for an activation: the weights of OpenAI and of
//! MetaCLIP were trained so, others with GELU. Those of MetaCLIP are for non-commercial use (CC BY-NC
//! 4.0), and `dfn2b` has a licence of Apple's. Parameters are those of a model for 1000 classes.
//!
//! | variant | width | blocks | heads | size | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|---|---|
//! | `vit_xsmall_patch16_clip_224` | 256 | 10 | 4 | 224 | 8 402 920 | |
//! | `vit_medium_patch16_clip_224` | 512 | 12 | 8 | 224 | 38 838 248 | |
//! | `vit_medium_patch32_clip_224` | 512 | 12 | 8 | 224 | 39 942 632 | |
//! | `vit_betwixt_patch32_clip_224` | 640 | 12 | 10 | 224 | 61 724 520 | |
//! | `vit_base_patch32_clip_224` | 768 | 12 | 12 | 224 | 88 225 000 | 83.3 % (`laion2b_ft_in12k_in1k`) |
//! | `vit_base_patch32_clip_256` | 768 | 12 | 12 | 256 | 88 236 520 | |
//! | `vit_base_patch16_clip_224` | 768 | 12 | 12 | 224 | 86 568 424 | 86.2 % (`laion2b_ft_in12k_in1k`) |
//! | `vit_base_patch32_clip_quickgelu_224` | 768 | 12 | 12 | 224 | 88 225 000 | |
//! | `vit_base_patch16_clip_quickgelu_224` | 768 | 12 | 12 | 224 | 86 568 424 | |

use super::transformer::{Config, VisionTransformer};
use crate::model::{OtherNames, Pool, key_table};
use crate::nn::Act;

variants! {
    family: ClipViT, manifest: "vit_clip.toml", paper: "https://arxiv.org/abs/2103.00020",
    pool: Pool::Token;
    vit_xsmall_patch16_clip_224 (224): "10 blocks of width 256" => clip(Config::new(256, 10, 4));
    vit_medium_patch16_clip_224 (224): "12 blocks of width 512" => clip(Config::new(512, 12, 8));
    vit_medium_patch32_clip_224 (224): "12 blocks of width 512, patches of 32 pixels"
        => clip(Config::new(512, 12, 8)).patch(32);
    vit_betwixt_patch32_clip_224 (224): "12 blocks of width 640, patches of 32 pixels"
        => clip(Config::new(640, 12, 10)).patch(32);
    vit_base_patch32_clip_224 (224): "12 blocks of width 768, patches of 32 pixels"
        => clip(Config::base()).patch(32);
    vit_base_patch32_clip_256 (256): "12 blocks of width 768, patches of 32 pixels"
        => clip(Config::base()).patch(32).size(256);
    vit_base_patch16_clip_224 (224): "12 blocks of width 768" => clip(Config::base());
    vit_base_patch32_clip_quickgelu_224 (224): "12 blocks of width 768, patches of 32 pixels, quick GELU"
        => quick(clip(Config::base()).patch(32));
    vit_base_patch16_clip_quickgelu_224 (224): "12 blocks of width 768, quick GELU"
        => quick(clip(Config::base()));
}

type ClipViT = VisionTransformer;

fn clip(config: Config) -> Config {
    Config {
        norm_pre: true,
        epsilon: 1e-5,
        other_names: || vec![transformers_names(), openai_names()],
        ..config
    }
}

fn quick(config: Config) -> Config {
    Config {
        act: Act::QuickGelu,
        ..config
    }
}

/// Tensors that have fewer dimensions in other libraries.
const FLAT: &[&str] = &["cls_token", "pos_embed"];

/// The names of transformers' `CLIPVisionModel`, with or without its projection.
fn transformers_names() -> OtherNames {
    let table = key_table![
        "cls_token" => "vision_model.embeddings.class_embedding",
        "pos_embed" => "vision_model.embeddings.position_embedding.weight",
        "patch_embed.proj" => "vision_model.embeddings.patch_embedding",
        "norm_pre" => "vision_model.pre_layrnorm",
        "blocks.*.norm1" => "vision_model.encoder.layers.*.layer_norm1",
        "blocks.*.attn.qkv" => "vision_model.encoder.layers.*.self_attn.{q_proj,k_proj,v_proj}",
        "blocks.*.attn.proj" => "vision_model.encoder.layers.*.self_attn.out_proj",
        "blocks.*.norm2" => "vision_model.encoder.layers.*.layer_norm2",
        "blocks.*.mlp" => "vision_model.encoder.layers.*.mlp",
        "norm" => "vision_model.post_layernorm",
    ];
    let names = OtherNames::new("transformers' CLIP", table).reshapes(FLAT);
    names.ignores(&["position_ids", "visual_projection.weight"])
}

/// The names of OpenAI's and OpenCLIP's image towers, which their files have behind `visual.`.
fn openai_names() -> OtherNames {
    let table = key_table![
        "cls_token" => "class_embedding", "pos_embed" => "positional_embedding",
        "patch_embed.proj" => "conv1", "norm_pre" => "ln_pre",
        "blocks.*.norm1" => "transformer.resblocks.*.ln_1",
        "blocks.*.attn.qkv.weight" => "transformer.resblocks.*.attn.in_proj_weight",
        "blocks.*.attn.qkv.bias" => "transformer.resblocks.*.attn.in_proj_bias",
        "blocks.*.attn.proj" => "transformer.resblocks.*.attn.out_proj",
        "blocks.*.norm2" => "transformer.resblocks.*.ln_2",
        "blocks.*.mlp.fc1" => "transformer.resblocks.*.mlp.c_fc",
        "blocks.*.mlp.fc2" => "transformer.resblocks.*.mlp.c_proj", "norm" => "ln_post",
    ];
    let names = OtherNames::new("OpenAI's CLIP", table).reshapes(FLAT);
    // The projection, which is transposed there.
    names.ignores(&["proj"])
}
