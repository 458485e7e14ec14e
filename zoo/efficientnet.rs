//! EfficientNet: Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
//! ICML 2019, <https://arxiv.org/abs/1905.11946>, with the variants for mobile processors (Lite) and for
//! the Edge TPU (`es`, `em`, `el`).
//!
//! Inverted residuals with squeeze-excite; width and depth grow together. The structure is timm's
//! `efficientnet.py`, and that of all networks of its builder: the files of the MobileNets and their kin
//! have the shapes and take the rest from here. `tf_` variants pad as TensorFlow does and have another
//! epsilon (1e-3); their parameters have the names and shapes of the others. Parameters are those of a
//! model for 1000 classes, accuracies those timm publishes at the size in the table.
//!
//! | variant | size | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|
//! | `efficientnet_b0` | 224 | 5 288 548 | 77.7 % (`ra_in1k`) |
//! | `efficientnet_b1` | 240 | 7 794 184 | 80.4 % (`ra4_e3600_r240_in1k`) |
//! | `efficientnet_b2` | 256 | 9 109 994 | 79.3 % (`ra_in1k`) |
//! | `efficientnet_b3` | 288 | 12 233 232 | 81.5 % (`ra2_in1k`) |
//! | `efficientnet_b4` | 320 | 19 341 616 | 82.7 % (`ra2_in1k`) |
//! | `efficientnet_es` | 224 | 5 438 392 | 78.1 % (`ra_in1k`) |
//! | `efficientnet_em` | 240 | 6 899 496 | 79.3 % (`ra2_in1k`) |
//! | `efficientnet_el` | 300 | 10 589 712 | 81.3 % (`ra_in1k`) |
//! | `efficientnet_lite0` | 224 | 4 652 008 | 75.5 % (`ra_in1k`) |
//! | `efficientnet_lite1` | 240 | 5 416 680 | |
//! | `efficientnet_lite2` | 260 | 6 092 072 | |
//! | `tf_efficientnet_b0` | 224 | 5 288 548 | 78.7 % (`ns_jft_in1k`) |
//! | `tf_efficientnet_b1` | 240 | 7 794 184 | 81.4 % (`ns_jft_in1k`) |
//! | `tf_efficientnet_b2` | 260 | 9 109 994 | 82.4 % (`ns_jft_in1k`) |
//! | `tf_efficientnet_b3` | 300 | 12 233 232 | 84.1 % (`ns_jft_in1k`) |
//! | `tf_efficientnet_b4` | 380 | 19 341 616 | 85.2 % (`ns_jft_in1k`) |
//! | `tf_efficientnet_b5` | 456 | 30 389 784 | 86.1 % (`ns_jft_in1k`) |
//! | `tf_efficientnet_es` | 224 | 5 438 392 | 76.6 % (`in1k`) |
//! | `tf_efficientnet_em` | 240 | 6 899 496 | 78.1 % (`in1k`) |
//! | `tf_efficientnet_el` | 300 | 10 589 712 | 80.2 % (`in1k`) |
//! | `tf_efficientnet_lite0` | 224 | 4 652 008 | 74.8 % (`in1k`) |
//! | `tf_efficientnet_lite1` | 240 | 5 416 680 | 76.7 % (`in1k`) |
//! | `tf_efficientnet_lite2` | 260 | 6 092 072 | 77.5 % (`in1k`) |
//! | `tf_efficientnet_lite3` | 300 | 8 197 096 | 79.8 % (`in1k`) |
//! | `tf_efficientnet_lite4` | 380 | 13 006 568 | 81.5 % (`in1k`) |
//! | `test_efficientnet` | 160 | 356 196 | 46.5 % (`r160_in1k`) |
//! | `test_efficientnet_gn` | 160 | 356 196 | 43.9 % (`r160_in1k`) |
//! | `test_efficientnet_ln` | 160 | 356 196 | 44.0 % (`r160_in1k`) |
//! | `test_efficientnet_evos` | 160 | 357 292 | 46.5 % (`r160_in1k`) |

use super::inverted::{Config, Depth, Head, InvertedNet, Words};
use crate::model::{OtherNames, Pool, key_table};
use crate::nn::{Act, NormKind, nearest_divisible_by_8};

type EfficientNet = InvertedNet;

variants! {
    family: EfficientNet, manifest: "efficientnet.toml", paper: "https://arxiv.org/abs/1905.11946",
    pool: Pool::Avg;
    efficientnet_b0 (224): "width times 1.0, depth times 1.0"
        => efficientnet(1.0, 1.0).named_as(torchvision_names());
    efficientnet_b1 (240): "width times 1.0, depth times 1.1"
        => efficientnet(1.0, 1.1).named_as(torchvision_names());
    efficientnet_b2 (256): "width times 1.1, depth times 1.2"
        => efficientnet(1.1, 1.2).named_as(torchvision_names());
    efficientnet_b3 (288): "width times 1.2, depth times 1.4"
        => efficientnet(1.2, 1.4).named_as(torchvision_names());
    efficientnet_b4 (320): "width times 1.4, depth times 1.8"
        => efficientnet(1.4, 1.8).named_as(torchvision_names());
    efficientnet_es (224): "for the Edge TPU, width times 1.0, depth times 1.0" => edge(1.0, 1.0);
    efficientnet_em (240): "for the Edge TPU, width times 1.0, depth times 1.1" => edge(1.0, 1.1);
    efficientnet_el (300): "for the Edge TPU, width times 1.2, depth times 1.4" => edge(1.2, 1.4);
    efficientnet_lite0 (224): "Lite, width times 1.0, depth times 1.0" => lite(1.0, 1.0);
    efficientnet_lite1 (240): "Lite, width times 1.0, depth times 1.1" => lite(1.0, 1.1);
    efficientnet_lite2 (260): "Lite, width times 1.1, depth times 1.2" => lite(1.1, 1.2);
    tf_efficientnet_b0 (224): "width times 1.0, depth times 1.0, as in TensorFlow"
        => efficientnet(1.0, 1.0).tf();
    tf_efficientnet_b1 (240): "width times 1.0, depth times 1.1, as in TensorFlow"
        => efficientnet(1.0, 1.1).tf();
    tf_efficientnet_b2 (260): "width times 1.1, depth times 1.2, as in TensorFlow"
        => efficientnet(1.1, 1.2).tf();
    tf_efficientnet_b3 (300): "width times 1.2, depth times 1.4, as in TensorFlow"
        => efficientnet(1.2, 1.4).tf();
    tf_efficientnet_b4 (380): "width times 1.4, depth times 1.8, as in TensorFlow"
        => efficientnet(1.4, 1.8).tf();
    tf_efficientnet_b5 (456): "width times 1.6, depth times 2.2, as in TensorFlow"
        => efficientnet(1.6, 2.2).tf();
    tf_efficientnet_es (224): "for the Edge TPU, width times 1.0, depth times 1.0, as in TensorFlow"
        => edge(1.0, 1.0).tf();
    tf_efficientnet_em (240): "for the Edge TPU, width times 1.0, depth times 1.1, as in TensorFlow"
        => edge(1.0, 1.1).tf();
    tf_efficientnet_el (300): "for the Edge TPU, width times 1.2, depth times 1.4, as in TensorFlow"
        => edge(1.2, 1.4).tf();
    tf_efficientnet_lite0 (224): "Lite, width times 1.0, depth times 1.0, as in TensorFlow"
        => lite(1.0, 1.0).tf();
    tf_efficientnet_lite1 (240): "Lite, width times 1.0, depth times 1.1, as in TensorFlow"
        => lite(1.0, 1.1).tf();
    tf_efficientnet_lite2 (260): "Lite, width times 1.1, depth times 1.2, as in TensorFlow"
        => lite(1.1, 1.2).tf();
    tf_efficientnet_lite3 (300): "Lite, width times 1.2, depth times 1.4, as in TensorFlow"
        => lite(1.2, 1.4).tf();
    tf_efficientnet_lite4 (380): "Lite, width times 1.4, depth times 1.8, as in TensorFlow"
        => lite(1.4, 1.8).tf();
    test_efficientnet (160): "a tiny one like V2, for tests" => test();
    test_efficientnet_gn (160): "the tiny one with group normalisation, for tests"
        => test().norm(NormKind::Group(8));
    test_efficientnet_ln (160): "the tiny one with layer normalisation, for tests"
        => test().norm(NormKind::Layer);
    test_efficientnet_evos (160): "the tiny one with evolved normalisation, for tests"
        => test().norm(NormKind::Evo(8));
}

pub(super) const STAGES: Words = &[
    &["ds_r1_k3_s1_e1_c16_se0.25"],
    &["ir_r2_k3_s2_e6_c24_se0.25"],
    &["ir_r2_k5_s2_e6_c40_se0.25"],
    &["ir_r3_k3_s2_e6_c80_se0.25"],
    &["ir_r3_k5_s1_e6_c112_se0.25"],
    &["ir_r4_k5_s2_e6_c192_se0.25"],
    &["ir_r1_k3_s1_e6_c320_se0.25"],
];

const LITE: Words = &[
    &["ds_r1_k3_s1_e1_c16"],
    &["ir_r2_k3_s2_e6_c24"],
    &["ir_r2_k5_s2_e6_c40"],
    &["ir_r3_k3_s2_e6_c80"],
    &["ir_r3_k5_s1_e6_c112"],
    &["ir_r4_k5_s2_e6_c192"],
    &["ir_r1_k3_s1_e6_c320"],
];

const EDGE: Words = &[
    &["er_r1_k3_s1_e4_c24_fc24_noskip"],
    &["er_r2_k3_s2_e8_c32"],
    &["er_r4_k3_s2_e8_c48"],
    &["ir_r5_k5_s2_e8_c96"],
    &["ir_r4_k5_s1_e8_c144"],
    &["ir_r2_k5_s2_e8_c192"],
];

const TEST: Words = &[
    &["cn_r1_k3_s1_e1_c16_skip"],
    &["er_r1_k3_s2_e4_c24"],
    &["er_r1_k3_s2_e4_c32"],
    &["ir_r1_k3_s2_e4_c48_se0.25"],
    &["ir_r1_k3_s2_e4_c64_se0.25"],
];

fn efficientnet(width: f64, depth: f64) -> Config {
    Config {
        depth: Depth::Up(depth),
        head: Head::Conv(nearest_divisible_by_8(1280.0 * width, 0.9)),
        ..Config::new(STAGES, width, Act::Silu)
    }
}

fn lite(width: f64, depth: f64) -> Config {
    Config {
        depth: Depth::Inner(depth),
        is_stem_fixed: true,
        ..Config::new(LITE, width, Act::Relu6)
    }
}

fn edge(width: f64, depth: f64) -> Config {
    Config {
        stages: EDGE,
        ..efficientnet(width, depth).act(Act::Relu)
    }
}

fn test() -> Config {
    Config {
        stem: 24,
        least_width: 0.0,
        head: Head::Conv(256),
        ..Config::new(TEST, 1.0, Act::Silu)
    }
}

/// torchvision's names.
fn torchvision_names() -> OtherNames {
    let table = key_table![
        "conv_stem" => "features.0.0", "bn1" => "features.0.1",
        "blocks.0.*.conv_dw" => "features.1.*.block.0.0",
        "blocks.0.*.bn1" => "features.1.*.block.0.1",
        "blocks.0.*.se.conv_reduce" => "features.1.*.block.1.fc1",
        "blocks.0.*.se.conv_expand" => "features.1.*.block.1.fc2",
        "blocks.0.*.conv_pw" => "features.1.*.block.2.0",
        "blocks.0.*.bn2" => "features.1.*.block.2.1",
        "blocks.*.*.conv_pw" => "features.*+1.*.block.0.0",
        "blocks.*.*.bn1" => "features.*+1.*.block.0.1",
        "blocks.*.*.conv_dw" => "features.*+1.*.block.1.0",
        "blocks.*.*.bn2" => "features.*+1.*.block.1.1",
        "blocks.*.*.se.conv_reduce" => "features.*+1.*.block.2.fc1",
        "blocks.*.*.se.conv_expand" => "features.*+1.*.block.2.fc2",
        "blocks.*.*.conv_pwl" => "features.*+1.*.block.3.0",
        "blocks.*.*.bn3" => "features.*+1.*.block.3.1",
        "conv_head" => "features.8.0", "bn2" => "features.8.1", "classifier" => "classifier.1",
    ];
    OtherNames::new("torchvision's EfficientNet", table)
}
