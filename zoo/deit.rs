//! DeiT: Touvron et al., "Training data-efficient image transformers & distillation through
//! attention", ICML 2021, <https://arxiv.org/abs/2012.12877>, and DeiT III: Touvron et al., "DeiT III:
//! Revenge of the ViT", ECCV 2022, <https://arxiv.org/abs/2204.07118>.
//!
//! DeiT is a vision transformer that was trained on ImageNet alone. A distilled one has a second token,
//! which learnt from a teacher, with a classifier of its own; the mean of both scores counts, in
//! training too. DeiT III has a layer scale, and positions for patches only. The structure is timm's
//! `deit.py`. Parameters are those of a model for 1000 classes.
//!
//! | variant | width | blocks | heads | size | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|---|---|
//! | `deit_tiny_patch16_224` | 192 | 12 | 3 | 224 | 5 717 416 | 72.2 % (`fb_in1k`) |
//! | `deit_small_patch16_224` | 384 | 12 | 6 | 224 | 22 050 664 | 79.9 % (`fb_in1k`) |
//! | `deit_base_patch16_224` | 768 | 12 | 12 | 224 | 86 567 656 | 82.0 % (`fb_in1k`) |
//! | `deit_tiny_distilled_patch16_224` | 192 | 12 | 3 | 224 | 5 910 800 | 74.5 % (`fb_in1k`) |
//! | `deit_small_distilled_patch16_224` | 384 | 12 | 6 | 224 | 22 436 432 | 81.2 % (`fb_in1k`) |
//! | `deit_base_distilled_patch16_224` | 768 | 12 | 12 | 224 | 87 338 192 | 83.4 % (`fb_in1k`) |
//! | `deit3_small_patch16_224` | 384 | 12 | 6 | 224 | 22 059 496 | 81.4 % (`fb_in1k`) |
//! | `deit3_small_patch16_384` | 384 | 12 | 6 | 384 | 22 205 416 | 83.4 % (`fb_in1k`) |
//! | `deit3_medium_patch16_224` | 512 | 12 | 8 | 224 | 38 849 512 | 83.1 % (`fb_in1k`) |
//! | `deit3_base_patch16_224` | 768 | 12 | 12 | 224 | 86 585 320 | 83.8 % (`fb_in1k`) |
//! | `deit3_base_patch16_384` | 768 | 12 | 12 | 384 | 86 877 160 | 85.1 % (`fb_in1k`) |

use super::transformer::{Config, VisionTransformer};
use super::vision_transformer::transformers_names;
use crate::model::{OtherNames, Pool, key_table};

variants! {
    family: DeiT, manifest: "deit.toml", paper: "https://arxiv.org/abs/2012.12877",
    pool: Pool::Token;
    deit_tiny_patch16_224 (224): "12 blocks of width 192" => plain(Config::tiny());
    deit_small_patch16_224 (224): "12 blocks of width 384" => plain(Config::small());
    deit_base_patch16_224 (224): "12 blocks of width 768" => plain(Config::base());
    deit_tiny_distilled_patch16_224 (224): "12 blocks of width 192, two classifiers"
        => distilled(Config::tiny());
    deit_small_distilled_patch16_224 (224): "12 blocks of width 384, two classifiers"
        => distilled(Config::small());
    deit_base_distilled_patch16_224 (224): "12 blocks of width 768, two classifiers"
        => distilled(Config::base());
    deit3_small_patch16_224 (224): "III, 12 blocks of width 384" => third(Config::small());
    deit3_small_patch16_384 (384): "III, 12 blocks of width 384" => third(Config::small().size(384));
    deit3_medium_patch16_224 (224): "III, 12 blocks of width 512" => third(Config::new(512, 12, 8));
    deit3_base_patch16_224 (224): "III, 12 blocks of width 768" => third(Config::base());
    deit3_base_patch16_384 (384): "III, 12 blocks of width 768" => third(Config::base().size(384));
}

type DeiT = VisionTransformer;

fn plain(config: Config) -> Config {
    Config {
        other_names: || vec![transformers_names()],
        ..config
    }
}

fn distilled(config: Config) -> Config {
    Config {
        is_distilled: true,
        other_names: || vec![distilled_names()],
        ..config
    }
}

fn third(config: Config) -> Config {
    Config {
        embeds_prefix: false,
        other_names: || vec![facebook_names()],
        ..config.layer_scale(1e-6)
    }
}

/// The names of transformers' `DeiTForImageClassificationWithTeacher`.
fn distilled_names() -> OtherNames {
    let table = key_table![
        "cls_token" => "deit.embeddings.cls_token",
        "dist_token" => "deit.embeddings.distillation_token",
        "pos_embed" => "deit.embeddings.position_embeddings",
        "patch_embed.proj" => "deit.embeddings.patch_embeddings.projection",
        "blocks.*.norm1" => "deit.encoder.layer.*.layernorm_before",
        "blocks.*.attn.qkv" => "deit.encoder.layer.*.attention.attention.{query,key,value}",
        "blocks.*.attn.proj" => "deit.encoder.layer.*.attention.output.dense",
        "blocks.*.norm2" => "deit.encoder.layer.*.layernorm_after",
        "blocks.*.mlp.fc1" => "deit.encoder.layer.*.intermediate.dense",
        "blocks.*.mlp.fc2" => "deit.encoder.layer.*.output.dense",
        "norm" => "deit.layernorm", "head" => "cls_classifier",
        "head_dist" => "distillation_classifier",
    ];
    OtherNames::new("transformers' DeiT", table)
}

/// The names of the authors' own files of DeiT III.
fn facebook_names() -> OtherNames {
    let table = key_table![
        "blocks.*.ls1.gamma" => "blocks.*.gamma_1", "blocks.*.ls2.gamma" => "blocks.*.gamma_2",
    ];
    OtherNames::new("the authors' DeiT III", table)
}
