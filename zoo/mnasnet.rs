//! MnasNet: Tan et al., "MnasNet: Platform-Aware Neural Architecture Search for Mobile", CVPR 2019,
//! <https://arxiv.org/abs/1807.11626>.
//!
//! Inverted residuals with kernels and widths found by a search; the `se` variants have
//! squeeze-excites. torchvision's networks are the same as those without. Parameters are those of a
//! model for 1000 classes, accuracies those timm publishes at the size in the table.
//!
//! | variant | size | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|
//! | `mnasnet_050` | 224 | 2 218 512 | |
//! | `mnasnet_075` | 224 | 3 170 208 | |
//! | `mnasnet_100` | 224 | 4 383 312 | 74.7 % (`rmsp_in1k`) |
//! | `mnasnet_140` | 224 | 7 115 728 | |
//! | `mnasnet_small` | 224 | 2 030 264 | 66.2 % (`lamb_in1k`) |
//! | `semnasnet_075` | 224 | 2 912 278 | 73.0 % (`rmsp_in1k`) |
//! | `semnasnet_100` | 224 | 3 887 038 | 75.5 % (`rmsp_in1k`) |

use super::inverted::{Config, InvertedNet, Words};
use crate::model::{OtherNames, Pool, key_table};
use crate::nn::Act;

type MnasNet = InvertedNet;

variants! {
    family: MnasNet, manifest: "mnasnet.toml", paper: "https://arxiv.org/abs/1807.11626",
    pool: Pool::Avg;
    mnasnet_050 (224): "B1, half as wide" => b1(0.5);
    mnasnet_075 (224): "B1, three quarters as wide" => b1(0.75);
    mnasnet_100 (224): "B1" => b1(1.0);
    mnasnet_140 (224): "B1, width times 1.4" => b1(1.4);
    mnasnet_small (224): "small" => Config { stem: 8, ..Config::new(SMALL, 1.0, Act::Relu) };
    semnasnet_075 (224): "A1, three quarters as wide" => a1(0.75);
    semnasnet_100 (224): "A1" => a1(1.0);
}

const B1: Words = &[
    &["ds_r1_k3_s1_c16_noskip"],
    &["ir_r3_k3_s2_e3_c24"],
    &["ir_r3_k5_s2_e3_c40"],
    &["ir_r3_k5_s2_e6_c80"],
    &["ir_r2_k3_s1_e6_c96"],
    &["ir_r4_k5_s2_e6_c192"],
    &["ir_r1_k3_s1_e6_c320_noskip"],
];

const A1: Words = &[
    &["ds_r1_k3_s1_e1_c16_noskip"],
    &["ir_r2_k3_s2_e6_c24"],
    &["ir_r3_k5_s2_e3_c40_se0.25"],
    &["ir_r4_k3_s2_e6_c80"],
    &["ir_r2_k3_s1_e6_c112_se0.25"],
    &["ir_r3_k5_s2_e6_c160_se0.25"],
    &["ir_r1_k3_s1_e6_c320"],
];

const SMALL: Words = &[
    &["ds_r1_k3_s1_c8"],
    &["ir_r1_k3_s2_e3_c16"],
    &["ir_r2_k3_s2_e6_c16"],
    &["ir_r4_k5_s2_e6_c32_se0.25"],
    &["ir_r3_k3_s1_e6_c32_se0.25"],
    &["ir_r3_k5_s2_e6_c88_se0.25"],
    &["ir_r1_k3_s1_e6_c144"],
];

fn b1(width: f64) -> Config {
    Config::new(B1, width, Act::Relu).named_as(torchvision_names())
}

fn a1(width: f64) -> Config {
    Config::new(A1, width, Act::Relu)
}

/// torchvision's names.
fn torchvision_names() -> OtherNames {
    let table = key_table![
        "conv_stem" => "layers.0", "bn1" => "layers.1",
        "blocks.0.0.conv_dw" => "layers.3", "blocks.0.0.bn1" => "layers.4",
        "blocks.0.0.conv_pw" => "layers.6", "blocks.0.0.bn2" => "layers.7",
        "blocks.*.*.conv_pw" => "layers.*+7.*.layers.0", "blocks.*.*.bn1" => "layers.*+7.*.layers.1",
        "blocks.*.*.conv_dw" => "layers.*+7.*.layers.3", "blocks.*.*.bn2" => "layers.*+7.*.layers.4",
        "blocks.*.*.conv_pwl" => "layers.*+7.*.layers.6", "blocks.*.*.bn3" => "layers.*+7.*.layers.7",
        "conv_head" => "layers.14", "bn2" => "layers.15", "classifier" => "classifier.1",
    ];
    OtherNames::new("torchvision's MNASNet", table)
}
