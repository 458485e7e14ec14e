//! MobileNetV3: Howard et al., "Searching for MobileNetV3", ICCV 2019,
//! <https://arxiv.org/abs/1905.02244>.
//!
//! Inverted residuals with squeeze-excite and hard-swish, and a convolution behind the pooling. The
//! structure is timm's `mobilenetv3.py`. `tf_` variants pad as TensorFlow does and have another epsilon
//! (1e-3). torchvision's networks have the same parameters and that epsilon, but pad as the others do, so
//! its files would compute something else here and are not read. Parameters are those of a model for
//! 1000 classes, accuracies those timm publishes at the size in the table.
//!
//! | variant | size | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|
//! | `mobilenetv3_small_050` | 224 | 1 593 224 | 57.9 % (`lamb_in1k`) |
//! | `mobilenetv3_small_075` | 224 | 2 041 872 | 65.3 % (`lamb_in1k`) |
//! | `mobilenetv3_small_100` | 224 | 2 542 856 | 67.6 % (`lamb_in1k`) |
//! | `mobilenetv3_large_075` | 224 | 3 993 528 | |
//! | `mobilenetv3_large_100` | 224 | 5 483 032 | 75.8 % (`ra_in1k`) |
//! | `mobilenetv3_large_150d` | 256 | 14 622 320 | 81.0 % (`ra4_e3600_r256_in1k`) |
//! | `mobilenetv3_rw` | 224 | 5 479 918 | 75.6 % (`rmsp_in1k`) |
//! | `tf_mobilenetv3_small_075` | 224 | 2 041 872 | 65.7 % (`in1k`) |
//! | `tf_mobilenetv3_small_100` | 224 | 2 542 856 | 67.9 % (`in1k`) |
//! | `tf_mobilenetv3_small_minimal_100` | 224 | 2 044 736 | 62.9 % (`in1k`) |
//! | `tf_mobilenetv3_large_075` | 224 | 3 993 528 | 73.4 % (`in1k`) |
//! | `tf_mobilenetv3_large_100` | 224 | 5 483 032 | 75.5 % (`in1k`) |
//! | `tf_mobilenetv3_large_minimal_100` | 224 | 3 924 288 | 72.3 % (`in1k`) |

use super::inverted::{Config, Depth, Head, InvertedNet, Words};
use crate::model::Pool;
use crate::nn::{Act, Excite, NormKind, divisible_by_8};

type MobileNetV3 = InvertedNet;

variants! {
    family: MobileNetV3, manifest: "mobilenet_v3.toml", paper: "https://arxiv.org/abs/1905.02244",
    pool: Pool::Avg;
    mobilenetv3_small_050 (224): "small, half as wide" => small(0.5);
    mobilenetv3_small_075 (224): "small, three quarters as wide" => small(0.75);
    mobilenetv3_small_100 (224): "small" => small(1.0);
    mobilenetv3_large_075 (224): "large, three quarters as wide" => large(0.75);
    mobilenetv3_large_100 (224): "large" => large(1.0);
    mobilenetv3_large_150d (256): "large, width times 1.5, depth times 1.2"
        => Config { depth: Depth::Up(1.2), ..large(1.5) };
    mobilenetv3_rw (224): "large, from before the authors' code" => rw();
    tf_mobilenetv3_small_075 (224): "small, three quarters as wide, as in TensorFlow"
        => small(0.75).tf();
    tf_mobilenetv3_small_100 (224): "small, as in TensorFlow" => small(1.0).tf();
    tf_mobilenetv3_small_minimal_100 (224): "small, 3x3 kernels and ReLU, as in TensorFlow"
        => config(SMALL_MINIMAL, 1.0, 1024).act(Act::Relu).tf();
    tf_mobilenetv3_large_075 (224): "large, three quarters as wide, as in TensorFlow"
        => large(0.75).tf();
    tf_mobilenetv3_large_100 (224): "large, as in TensorFlow" => large(1.0).tf();
    tf_mobilenetv3_large_minimal_100 (224): "large, 3x3 kernels and ReLU, as in TensorFlow"
        => config(LARGE_MINIMAL, 1.0, 1280).act(Act::Relu).tf();
}

const SMALL: Words = &[
    &["ds_r1_k3_s2_e1_c16_se0.25_nre"],
    &["ir_r1_k3_s2_e4.5_c24_nre", "ir_r1_k3_s1_e3.67_c24_nre"],
    &["ir_r1_k5_s2_e4_c40_se0.25", "ir_r2_k5_s1_e6_c40_se0.25"],
    &["ir_r2_k5_s1_e3_c48_se0.25"],
    &["ir_r3_k5_s2_e6_c96_se0.25"],
    &["cn_r1_k1_s1_c576"],
];

const SMALL_MINIMAL: Words = &[
    &["ds_r1_k3_s2_e1_c16"],
    &["ir_r1_k3_s2_e4.5_c24", "ir_r1_k3_s1_e3.67_c24"],
    &["ir_r1_k3_s2_e4_c40", "ir_r2_k3_s1_e6_c40"],
    &["ir_r2_k3_s1_e3_c48"],
    &["ir_r3_k3_s2_e6_c96"],
    &["cn_r1_k1_s1_c576"],
];

const LARGE: Words = &[
    &["ds_r1_k3_s1_e1_c16_nre"],
    &["ir_r1_k3_s2_e4_c24_nre", "ir_r1_k3_s1_e3_c24_nre"],
    &["ir_r3_k5_s2_e3_c40_se0.25_nre"],
    &[
        "ir_r1_k3_s2_e6_c80",
        "ir_r1_k3_s1_e2.5_c80",
        "ir_r2_k3_s1_e2.3_c80",
    ],
    &["ir_r2_k3_s1_e6_c112_se0.25"],
    &["ir_r3_k5_s2_e6_c160_se0.25"],
    &["cn_r1_k1_s1_c960"],
];

const LARGE_MINIMAL: Words = &[
    &["ds_r1_k3_s1_e1_c16"],
    &["ir_r1_k3_s2_e4_c24", "ir_r1_k3_s1_e3_c24"],
    &["ir_r3_k3_s2_e3_c40"],
    LARGE[3],
    &["ir_r2_k3_s1_e6_c112"],
    &["ir_r3_k3_s2_e6_c160"],
    LARGE[6],
];

const RW: Words = &[
    &["ds_r1_k3_s1_e1_c16_nre_noskip"],
    LARGE[1],
    LARGE[2],
    LARGE[3],
    LARGE[4],
    LARGE[5],
    LARGE[6],
];

fn config(stages: Words, width: f64, head: usize) -> Config {
    let excite = Excite::Squeeze {
        act: Some(Act::Relu),
        gate: Act::HardSigmoid,
        of_inner: true,
        round: divisible_by_8,
    };
    Config {
        stem: 16,
        is_stem_fixed: width < 0.75,
        head: Head::Pooled {
            channels: head,
            has_bias: true,
        },
        ..Config::new(stages, width, Act::HardSwish).excite(excite)
    }
}

fn small(width: f64) -> Config {
    config(SMALL, width, 1024)
}

fn large(width: f64) -> Config {
    config(LARGE, width, 1280)
}

fn rw() -> Config {
    let excite = Excite::Squeeze {
        act: None,
        gate: Act::HardSigmoid,
        of_inner: true,
        round: |channels| channels.round_ties_even() as usize,
    };
    let norm = NormKind::Batch { epsilon: 1e-3 };
    Config {
        head: Head::Pooled {
            channels: 1280,
            has_bias: false,
        },
        ..config(RW, 1.0, 1280).excite(excite).norm(norm)
    }
}
