//! MobileNet: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
//! Applications", 2017, <https://arxiv.org/abs/1704.04861>.
//!
//! Depthwise convolutions, each followed by one of 1x1. Parameters are those of a model for 1000
//! classes, accuracies those timm publishes at the size in the table.
//!
//! | variant | size | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|
//! | `mobilenetv1_100` | 224 | 4 231 976 | 75.4 % (`ra4_e3600_r224_in1k`) |
//! | `mobilenetv1_100h` | 224 | 5 282 600 | 75.7 % (`ra4_e3600_r224_in1k`) |
//! | `mobilenetv1_125` | 224 | 6 270 840 | 76.9 % (`ra4_e3600_r224_in1k`) |

use super::inverted::{Config, Head, InvertedNet, Words};
use crate::model::Pool;
use crate::nn::Act;

type MobileNetV1 = InvertedNet;

variants! {
    family: MobileNetV1, manifest: "mobilenet_v1.toml", paper: "https://arxiv.org/abs/1704.04861",
    pool: Pool::Avg;
    mobilenetv1_100 (224): "the plain one" => config(1.0, Head::None);
    mobilenetv1_100h (224): "with a last convolution" => config(1.0, Head::Conv(1024));
    mobilenetv1_125 (224): "width times 1.25" => config(1.25, Head::None);
}

const STAGES: Words = &[
    &["dsa_r1_k3_s1_c64"],
    &["dsa_r2_k3_s2_c128"],
    &["dsa_r2_k3_s2_c256"],
    &["dsa_r6_k3_s2_c512"],
    &["dsa_r2_k3_s2_c1024"],
];

fn config(width: f64, head: Head) -> Config {
    Config {
        head,
        ..Config::new(STAGES, width, Act::Relu6)
    }
}
