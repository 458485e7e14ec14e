//! MobileNetV2: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018,
//! <https://arxiv.org/abs/1801.04381>.
//!
//! Blocks that widen, look around by a depthwise convolution and narrow again, with the shortcut
//! between the narrow ends. The `d` variants are deeper too. torchvision's network is the same.
//! Parameters are those of a model for 1000 classes, accuracies those timm publishes at the size in the
//! table.
//!
//! | variant | size | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|
//! | `mobilenetv2_035` | 224 | 1 677 128 | |
//! | `mobilenetv2_050` | 224 | 1 968 680 | 65.9 % (`lamb_in1k`) |
//! | `mobilenetv2_075` | 224 | 2 636 424 | |
//! | `mobilenetv2_100` | 224 | 3 504 872 | 72.9 % (`ra_in1k`) |
//! | `mobilenetv2_110d` | 224 | 4 516 520 | 75.1 % (`ra_in1k`) |
//! | `mobilenetv2_120d` | 224 | 5 831 144 | 77.3 % (`ra_in1k`) |
//! | `mobilenetv2_140` | 224 | 6 108 776 | 76.5 % (`ra_in1k`) |

use super::inverted::{Config, Depth, Head, InvertedNet, Words};
use crate::model::{OtherNames, Pool, key_table};
use crate::nn::{Act, divisible_by_8};

type MobileNetV2 = InvertedNet;

variants! {
    family: MobileNetV2, manifest: "mobilenet_v2.toml", paper: "https://arxiv.org/abs/1801.04381",
    pool: Pool::Avg;
    mobilenetv2_035 (224): "width times 0.35" => config(0.35);
    mobilenetv2_050 (224): "width times 0.5" => config(0.5);
    mobilenetv2_075 (224): "width times 0.75" => config(0.75);
    mobilenetv2_100 (224): "the plain one" => config(1.0);
    mobilenetv2_110d (224): "width times 1.1, depth times 1.2" => deep(1.1, 1.2);
    mobilenetv2_120d (224): "width times 1.2, depth times 1.4" => deep(1.2, 1.4);
    mobilenetv2_140 (224): "width times 1.4" => config(1.4);
}

const STAGES: Words = &[
    &["ds_r1_k3_s1_c16"],
    &["ir_r2_k3_s2_e6_c24"],
    &["ir_r3_k3_s2_e6_c32"],
    &["ir_r4_k3_s2_e6_c64"],
    &["ir_r3_k3_s1_e6_c96"],
    &["ir_r3_k3_s2_e6_c160"],
    &["ir_r1_k3_s1_e6_c320"],
];

fn config(width: f64) -> Config {
    Config {
        head: Head::Conv(divisible_by_8(1280.0 * width.max(1.0))),
        ..Config::new(STAGES, width, Act::Relu6).named_as(torchvision_names())
    }
}

fn deep(width: f64, depth: f64) -> Config {
    Config {
        depth: Depth::Inner(depth),
        is_stem_fixed: true,
        ..Config::new(STAGES, width, Act::Relu6)
    }
}

/// torchvision's names, which number the blocks through.
fn torchvision_names() -> OtherNames {
    let mut table = key_table![
        "conv_stem" => "features.0.0", "bn1" => "features.0.1",
        "blocks.0.0.conv_dw" => "features.1.conv.0.0", "blocks.0.0.bn1" => "features.1.conv.0.1",
        "blocks.0.0.conv_pw" => "features.1.conv.1", "blocks.0.0.bn2" => "features.1.conv.2",
        "conv_head" => "features.18.0", "bn2" => "features.18.1", "classifier" => "classifier.1",
    ];
    let parts = [
        ("conv_pw", "0.0"),
        ("bn1", "0.1"),
        ("conv_dw", "1.0"),
        ("bn2", "1.1"),
        ("conv_pwl", "2"),
        ("bn3", "3"),
    ];
    let mut number = 2;
    for (stage, blocks) in (1..).zip([2, 3, 4, 3, 3, 1]) {
        for block in 0..blocks {
            for (ours, theirs) in parts {
                let ours = format!("blocks.{stage}.{block}.{ours}");
                table.push(&ours, &format!("features.{number}.conv.{theirs}"));
            }
            number += 1;
        }
    }
    OtherNames::new("torchvision's MobileNetV2", table)
}
