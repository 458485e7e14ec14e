//! Vision transformer: Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image
//! Recognition at Scale", ICLR 2021, <https://arxiv.org/abs/2010.11929>.
//!
//! Patches become tokens with learnt position embeddings, pre-norm blocks mix them. Before them may stand
//! a class token, a distillation token and registers (Darcet et al., ICLR 2024,
//! <https://arxiv.org/abs/2309.16588>); blocks may have a layer scale. The structure is timm's
//! `vision_transformer.py`. Parameters are those of a model for 1000 classes at the size in the table.
//!
//! | variant | width | blocks | heads | size | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|---|---|---|
//! | `vit_tiny_patch16_224` | 192 | 12 | 3 | 224 | 5 717 416 | 75.5 % (`augreg_in21k_ft_in1k`) |
//! | `vit_tiny_patch16_384` | 192 | 12 | 3 | 384 | 5 790 376 | 78.4 % (`augreg_in21k_ft_in1k`) |
//! | `vit_small_patch32_224` | 384 | 12 | 6 | 224 | 22 878 952 | 76.0 % (`augreg_in21k_ft_in1k`) |
//! | `vit_small_patch32_384` | 384 | 12 | 6 | 384 | 22 915 432 | 80.5 % (`augreg_in21k_ft_in1k`) |
//! | `vit_small_patch16_224` | 384 | 12 | 6 | 224 | 22 050 664 | 81.4 % (`augreg_in21k_ft_in1k`) |
//! | `vit_small_patch16_384` | 384 | 12 | 6 | 384 | 22 196 584 | 83.8 % (`augreg_in21k_ft_in1k`) |
//! | `vit_small_patch8_224` | 384 | 12 | 6 | 224 | 22 055 272 | |
//! | `vit_base_patch32_224` | 768 | 12 | 12 | 224 | 88 224 232 | 80.7 % (`augreg_in21k_ft_in1k`) |
//! | `vit_base_patch32_384` | 768 | 12 | 12 | 384 | 88 297 192 | 83.4 % (`augreg_in21k_ft_in1k`) |
//! | `vit_base_patch16_224` | 768 | 12 | 12 | 224 | 86 567 656 | 85.1 % (`augreg2_in21k_ft_in1k`) |
//! | `vit_base_patch16_384` | 768 | 12 | 12 | 384 | 86 859 496 | 86.0 % (`augreg_in21k_ft_in1k`) |
//! | `vit_base_patch8_224` | 768 | 12 | 12 | 224 | 86 576 872 | 86.3 % (`augreg2_in21k_ft_in1k`) |
//! | `vit_base_patch16_224_miil` | 768 | 12 | 12 | 224 | 86 540 008 | 84.3 % (`in21k_ft_in1k`) |
//! | `vit_wee_patch16_reg1_gap_256` | 256 | 14 | 4 | 256 | 13 422 568 | 80.3 % (`sbb_in1k`) |
//! | `vit_little_patch16_reg4_gap_256` | 320 | 14 | 5 | 256 | 22 516 008 | 82.5 % (`sbb_in1k`) |
//! | `vit_medium_patch16_reg4_gap_256` | 512 | 12 | 8 | 256 | 38 881 768 | 85.0 % (`sbb_in12k_ft_in1k`) |
//! | `vit_mediumd_patch16_reg4_gap_256` | 512 | 20 | 8 | 256 | 64 109 032 | 86.6 % (`sbb2_e200_in12k_ft_in1k`) |
//! | `vit_betwixt_patch16_reg4_gap_256` | 640 | 12 | 10 | 256 | 60 398 440 | 85.7 % (`sbb2_e200_in12k_ft_in1k`) |
//! | `vit_base_patch16_reg4_gap_256` | 768 | 12 | 12 | 256 | 86 615 272 | |
//! | `test_vit` | 64 | 6 | 2 | 160 | 371 240 | 41.0 % (`r160_in1k`) |
//! | `test_vit2` | 64 | 8 | 2 | 160 | 455 720 | 42.3 % (`r160_in1k`) |
//! | `test_vit3` | 96 | 9 | 3 | 160 | 930 280 | 56.9 % (`r160_in1k`) |
//! | `test_vit4` | 96 | 9 | 3 | 160 | 1 020 520 | |

use super::transformer::{Config, End, VisionTransformer};
use crate::model::{OtherNames, Pool, key_table};

variants! {
    family: VisionTransformer, manifest: "vision_transformer.toml",
    paper: "https://arxiv.org/abs/2010.11929", pool: Pool::Token;
    vit_tiny_patch16_224 (224): "12 blocks of width 192" => plain(Config::tiny());
    vit_tiny_patch16_384 (384): "12 blocks of width 192" => plain(Config::tiny().size(384));
    vit_small_patch32_224 (224): "12 blocks of width 384, patches of 32 pixels"
        => plain(Config::small().patch(32));
    vit_small_patch32_384 (384): "12 blocks of width 384, patches of 32 pixels"
        => plain(Config::small().patch(32).size(384));
    vit_small_patch16_224 (224): "12 blocks of width 384" => plain(Config::small());
    vit_small_patch16_384 (384): "12 blocks of width 384" => plain(Config::small().size(384));
    vit_small_patch8_224 (224): "12 blocks of width 384, patches of 8 pixels"
        => plain(Config::small().patch(8));
    vit_base_patch32_224 (224): "12 blocks of width 768, patches of 32 pixels"
        => plain(Config::base().patch(32));
    vit_base_patch32_384 (384): "12 blocks of width 768, patches of 32 pixels"
        => plain(Config::base().patch(32).size(384));
    vit_base_patch16_224 (224): "12 blocks of width 768" => plain(Config::base());
    vit_base_patch16_384 (384): "12 blocks of width 768" => plain(Config::base().size(384));
    vit_base_patch8_224 (224): "12 blocks of width 768, patches of 8 pixels"
        => plain(Config::base().patch(8));
    vit_base_patch16_224_miil (224): "12 blocks of width 768, queries, keys and values without bias"
        => Config { qkv_bias: false, ..Config::base() };
    vit_wee_patch16_reg1_gap_256 (256, Pool::Avg): "14 blocks of width 256, a register"
        => Config::new(256, 14, 4).mlp_ratio(5.0).layer_scale(1e-5).registers(1);
    vit_little_patch16_reg4_gap_256 (256, Pool::Avg): "14 blocks of width 320, registers"
        => Config::new(320, 14, 5).mlp_ratio(5.6).layer_scale(1e-5).registers(4);
    vit_medium_patch16_reg4_gap_256 (256, Pool::Avg): "12 blocks of width 512, registers"
        => Config::new(512, 12, 8).layer_scale(1e-5).registers(4);
    vit_mediumd_patch16_reg4_gap_256 (256, Pool::Avg): "20 blocks of width 512, registers"
        => Config::new(512, 20, 8).layer_scale(1e-5).registers(4);
    vit_betwixt_patch16_reg4_gap_256 (256, Pool::Avg): "12 blocks of width 640, registers"
        => Config::new(640, 12, 10).layer_scale(1e-5).registers(4);
    vit_base_patch16_reg4_gap_256 (256, Pool::Avg): "12 blocks of width 768, registers"
        => Config::base().registers(4);
    test_vit (160): "a tiny one, for tests"
        => plain(Config::new(64, 6, 2).mlp_ratio(3.0).size(160));
    test_vit2 (160, Pool::Avg): "a tiny one with a register, for tests"
        => test(Config::new(64, 8, 2).mlp_ratio(3.0));
    test_vit3 (160, Pool::Map): "a tiny one with attention pooling, for tests"
        => Config { end: End::Attention, pools_prefix: true, ..test(Config::new(96, 9, 3).mlp_ratio(2.0)) };
    test_vit4 (160, Pool::Avg): "a tiny one with RMS normalisation, for tests"
        => Config { is_rms: true, ..test(Config::new(96, 9, 3).mlp_ratio(3.0)) };
}

/// Of the structure that other libraries have too.
fn plain(config: Config) -> Config {
    let other_names = || vec![torchvision_names(), transformers_names()];
    Config {
        other_names,
        ..config
    }
}

/// A register that has a position, as the networks for tests have it.
fn test(config: Config) -> Config {
    Config {
        embeds_prefix: true,
        ..config.layer_scale(1e-5).registers(1).size(160)
    }
}

/// The names of torchvision's `vit_b_16` and its kin.
fn torchvision_names() -> OtherNames {
    let table = key_table![
        "cls_token" => "class_token", "pos_embed" => "encoder.pos_embedding",
        "patch_embed.proj" => "conv_proj",
        "blocks.*.norm1" => "encoder.layers.encoder_layer_*.ln_1",
        "blocks.*.attn.qkv.weight"
            => "encoder.layers.encoder_layer_*.self_attention.in_proj_weight",
        "blocks.*.attn.qkv.bias" => "encoder.layers.encoder_layer_*.self_attention.in_proj_bias",
        "blocks.*.attn.proj" => "encoder.layers.encoder_layer_*.self_attention.out_proj",
        "blocks.*.norm2" => "encoder.layers.encoder_layer_*.ln_2",
        "blocks.*.mlp.fc1" => "encoder.layers.encoder_layer_*.mlp.0",
        "blocks.*.mlp.fc2" => "encoder.layers.encoder_layer_*.mlp.3",
        "norm" => "encoder.ln", "head" => "heads.head",
    ];
    OtherNames::new("torchvision's VisionTransformer", table)
}

/// The names of transformers' `ViTForImageClassification`.
pub(super) fn transformers_names() -> OtherNames {
    let table = key_table![
        "cls_token" => "vit.embeddings.cls_token",
        "pos_embed" => "vit.embeddings.position_embeddings",
        "patch_embed.proj" => "vit.embeddings.patch_embeddings.projection",
        "blocks.*.norm1" => "vit.encoder.layer.*.layernorm_before",
        "blocks.*.attn.qkv" => "vit.encoder.layer.*.attention.attention.{query,key,value}",
        "blocks.*.attn.proj" => "vit.encoder.layer.*.attention.output.dense",
        "blocks.*.norm2" => "vit.encoder.layer.*.layernorm_after",
        "blocks.*.mlp.fc1" => "vit.encoder.layer.*.intermediate.dense",
        "blocks.*.mlp.fc2" => "vit.encoder.layer.*.output.dense",
        "norm" => "vit.layernorm", "head" => "classifier",
    ];
    OtherNames::new("transformers' ViT", table)
}
