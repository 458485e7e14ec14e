//! PP-LCNet: Cui et al., "PP-LCNet: A Lightweight CPU Convolutional Neural Network", 2021,
//! <https://arxiv.org/abs/2109.15099>.
//!
//! MobileNet's blocks with hard-swish, larger kernels and squeeze-excite in the last stages, and the
//! convolution behind the pooling of MobileNetV3. Parameters are those of a model for 1000 classes,
//! accuracies those timm publishes at the size in the table.
//!
//! | variant | size | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|
//! | `lcnet_035` | 224 | 1 644 370 | |
//! | `lcnet_050` | 224 | 1 880 856 | 63.1 % (`ra2_in1k`) |
//! | `lcnet_075` | 224 | 2 358 288 | 68.8 % (`ra2_in1k`) |
//! | `lcnet_100` | 224 | 2 953 800 | 72.1 % (`ra2_in1k`) |
//! | `lcnet_150` | 224 | 4 501 112 | |

use super::inverted::{Config, Head, InvertedNet, Words};
use crate::model::Pool;
use crate::nn::{Act, Excite};

type LcNet = InvertedNet;

variants! {
    family: LcNet, manifest: "lcnet.toml", paper: "https://arxiv.org/abs/2109.15099", pool: Pool::Avg;
    lcnet_035 (224): "width times 0.35" => config(0.35);
    lcnet_050 (224): "width times 0.5" => config(0.5);
    lcnet_075 (224): "width times 0.75" => config(0.75);
    lcnet_100 (224): "the plain one" => config(1.0);
    lcnet_150 (224): "width times 1.5" => config(1.5);
}

const STAGES: Words = &[
    &["dsa_r1_k3_s1_c32"],
    &["dsa_r2_k3_s2_c64"],
    &["dsa_r2_k3_s2_c128"],
    &["dsa_r1_k3_s2_c256", "dsa_r1_k5_s1_c256"],
    &["dsa_r4_k5_s1_c256"],
    &["dsa_r2_k5_s2_c512_se0.25"],
];

fn config(width: f64) -> Config {
    let excite = Excite::Squeeze {
        act: Some(Act::Relu),
        gate: Act::HardSigmoid,
        of_inner: true,
        round: |channels| channels.round_ties_even() as usize,
    };
    Config {
        stem: 16,
        head: Head::Pooled {
            channels: 1280,
            has_bias: true,
        },
        ..Config::new(STAGES, width, Act::HardSwish).excite(excite)
    }
}
