//! EfficientNetV2: Tan & Le, "EfficientNetV2: Smaller Models and Faster Training", ICML 2021,
//! <https://arxiv.org/abs/2104.00298>.
//!
//! EfficientNet whose first stages widen by a full convolution. `rw` variants are timm's own, `gc` with
//! a global context in place of the squeeze-excite. `tf_` variants pad as TensorFlow does and have
//! another epsilon (1e-3). torchvision's networks do the second but not the first, so its files would
//! compute something else here and are not read. Parameters are those of a model for 1000 classes,
//! accuracies those timm publishes at the size in the table.
//!
//! | variant | size | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|
//! | `efficientnetv2_rw_t` | 224 | 13 649 388 | 81.4 % (`ra2_in1k`) |
//! | `efficientnetv2_rw_s` | 288 | 23 941 296 | 82.9 % (`ra2_in1k`) |
//! | `efficientnetv2_rw_m` | 320 | 53 236 442 | 84.3 % (`agc_in1k`) |
//! | `gc_efficientnetv2_rw_t` | 224 | 13 677 713 | 81.3 % (`agc_in1k`) |
//! | `efficientnetv2_s` | 288 | 21 458 488 | |
//! | `tf_efficientnetv2_b0` | 192 | 7 139 704 | 76.9 % (`in1k`) |
//! | `tf_efficientnetv2_b1` | 192 | 8 141 052 | 77.9 % (`in1k`) |
//! | `tf_efficientnetv2_b2` | 208 | 10 096 086 | 79.2 % (`in1k`) |
//! | `tf_efficientnetv2_b3` | 240 | 14 358 406 | 81.1 % (`in21k_ft_in1k`) |
//! | `tf_efficientnetv2_s` | 300 | 21 458 488 | 83.3 % (`in21k_ft_in1k`) |
//! | `tf_efficientnetv2_m` | 384 | 54 139 356 | 84.8 % (`in21k_ft_in1k`) |

use super::inverted::{Config, Depth, Head, InvertedNet, Words};
use crate::model::Pool;
use crate::nn::{Act, Excite, nearest_divisible_by_8};

type EfficientNetV2 = InvertedNet;

variants! {
    family: EfficientNetV2, manifest: "efficientnet_v2.toml",
    paper: "https://arxiv.org/abs/2104.00298", pool: Pool::Avg;
    efficientnetv2_rw_t (224): "tiny, timm's own" => tiny();
    efficientnetv2_rw_s (288): "small, timm's own" => Config { head: Head::Conv(1792), ..of(RW) };
    efficientnetv2_rw_m (320): "medium, timm's own"
        => Config { width: 1.2, depth: Depth::Late([1.2, 1.6]), head: Head::Conv(2152), ..of(RW) };
    gc_efficientnetv2_rw_t (224): "tiny with global context, timm's own"
        => tiny().excite(Excite::Context);
    efficientnetv2_s (288): "small" => of(SMALL);
    tf_efficientnetv2_b0 (192): "width times 1.0, depth times 1.0, as in TensorFlow"
        => base(1.0, 1.0).tf();
    tf_efficientnetv2_b1 (192): "width times 1.0, depth times 1.1, as in TensorFlow"
        => base(1.0, 1.1).tf();
    tf_efficientnetv2_b2 (208): "width times 1.1, depth times 1.2, as in TensorFlow"
        => base(1.1, 1.2).tf();
    tf_efficientnetv2_b3 (240): "width times 1.2, depth times 1.4, as in TensorFlow"
        => base(1.2, 1.4).tf();
    tf_efficientnetv2_s (300): "small, as in TensorFlow" => of(SMALL).tf();
    tf_efficientnetv2_m (384): "medium, as in TensorFlow" => of(MEDIUM).tf();
}

const BASE: Words = &[
    &["cn_r1_k3_s1_e1_c16_skip"],
    &["er_r2_k3_s2_e4_c32"],
    &["er_r2_k3_s2_e4_c48"],
    &["ir_r3_k3_s2_e4_c96_se0.25"],
    &["ir_r5_k3_s1_e6_c112_se0.25"],
    &["ir_r8_k3_s2_e6_c192_se0.25"],
];

const SMALL: Words = &[
    &["cn_r2_k3_s1_e1_c24_skip"],
    &["er_r4_k3_s2_e4_c48"],
    &["er_r4_k3_s2_e4_c64"],
    &["ir_r6_k3_s2_e4_c128_se0.25"],
    &["ir_r9_k3_s1_e6_c160_se0.25"],
    &["ir_r15_k3_s2_e6_c256_se0.25"],
];

const RW: Words = &[
    &["er_r2_k3_s1_e1_c24"],
    SMALL[1],
    SMALL[2],
    SMALL[3],
    SMALL[4],
    &["ir_r15_k3_s2_e6_c272_se0.25"],
];

const MEDIUM: Words = &[
    &["cn_r3_k3_s1_e1_c24_skip"],
    &["er_r5_k3_s2_e4_c48"],
    &["er_r5_k3_s2_e4_c80"],
    &["ir_r7_k3_s2_e4_c160_se0.25"],
    &["ir_r14_k3_s1_e6_c176_se0.25"],
    &["ir_r18_k3_s2_e6_c304_se0.25"],
    &["ir_r5_k3_s1_e6_c512_se0.25"],
];

fn base(width: f64, depth: f64) -> Config {
    Config {
        least_width: 0.0,
        depth: Depth::Up(depth),
        head: Head::Conv(nearest_divisible_by_8(1280.0 * width, 0.0)),
        ..Config::new(BASE, width, Act::Silu)
    }
}

fn of(stages: Words) -> Config {
    Config {
        stem: 24,
        ..Config::new(stages, 1.0, Act::Silu)
    }
}

fn tiny() -> Config {
    Config {
        width: 0.8,
        depth: Depth::Up(0.9),
        head: Head::Conv(1024),
        ..of(SMALL)
    }
}
