//! MobileNetV4: Qin et al., "MobileNetV4: Universal Models for the Mobile Ecosystem", ECCV 2024,
//! <https://arxiv.org/abs/2404.10518>.
//!
//! Inverted residuals with up to two depthwise convolutions, before and within; the hybrids have
//! attention whose heads share keys and values, too. In the `aa` and `blur` variants, which have the names
//! and shapes of the others, a pooling strides behind each convolution that would. Parameters are those
//! of a model for 1000 classes, accuracies those timm publishes at the size in the table.
//!
//! | variant | size | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|
//! | `mobilenetv4_conv_small_035` | 224 | 1 905 384 | |
//! | `mobilenetv4_conv_small_050` | 224 | 2 238 952 | 64.8 % (`e3000_r224_in1k`) |
//! | `mobilenetv4_conv_small` | 224 | 3 774 024 | 73.8 % (`e2400_r224_in1k`) |
//! | `mobilenetv4_conv_medium` | 256 | 9 715 512 | 79.9 % (`e500_r256_in1k`) |
//! | `mobilenetv4_conv_large` | 384 | 32 590 864 | 83.0 % (`e600_r384_in1k`) |
//! | `mobilenetv4_conv_aa_medium` | 256 | 9 715 512 | |
//! | `mobilenetv4_conv_blur_medium` | 224 | 9 715 512 | 79.4 % (`e500_r224_in1k`) |
//! | `mobilenetv4_conv_aa_large` | 448 | 32 590 864 | 84.7 % (`e230_r448_in12k_ft_in1k`) |
//! | `mobilenetv4_hybrid_medium_075` | 224 | 7 313 528 | |
//! | `mobilenetv4_hybrid_medium` | 256 | 11 074 648 | 82.4 % (`e200_r256_in12k_ft_in1k`) |
//! | `mobilenetv4_hybrid_large` | 384 | 37 764 624 | 84.0 % (`ix_e600_r384_in1k`) |

use super::inverted::{Config, Head, InvertedNet, Words};
use crate::model::Pool;
use crate::nn::{Act, StridedPool};

type MobileNetV4 = InvertedNet;

variants! {
    family: MobileNetV4, manifest: "mobilenet_v4.toml", paper: "https://arxiv.org/abs/2404.10518",
    pool: Pool::Avg;
    mobilenetv4_conv_small_035 (224): "small, width times 0.35" => config(SMALL, 0.35, 32);
    mobilenetv4_conv_small_050 (224): "small, half as wide" => config(SMALL, 0.5, 32);
    mobilenetv4_conv_small (224): "small" => config(SMALL, 1.0, 32);
    mobilenetv4_conv_medium (256): "medium" => config(MEDIUM, 1.0, 32);
    mobilenetv4_conv_large (384): "large" => config(LARGE, 1.0, 24);
    mobilenetv4_conv_aa_medium (256): "medium, average poolings stride" => averaged(MEDIUM, 32);
    mobilenetv4_conv_blur_medium (224): "medium, blurring poolings stride"
        => config(MEDIUM, 1.0, 32).pool(StridedPool::Blur);
    mobilenetv4_conv_aa_large (448): "large, average poolings stride" => averaged(LARGE, 24);
    mobilenetv4_hybrid_medium_075 (224): "medium with attention, three quarters as wide"
        => hybrid(HYBRID_MEDIUM, 0.75, 32);
    mobilenetv4_hybrid_medium (256): "medium with attention" => hybrid(HYBRID_MEDIUM, 1.0, 32);
    mobilenetv4_hybrid_large (384): "large with attention"
        => hybrid(HYBRID_LARGE, 1.0, 24).act(Act::Gelu);
}

const SMALL: Words = &[
    &["cn_r1_k3_s2_e1_c32", "cn_r1_k1_s1_e1_c32"],
    &["cn_r1_k3_s2_e1_c96", "cn_r1_k1_s1_e1_c64"],
    &[
        "uir_r1_a5_k5_s2_e3_c96",
        "uir_r4_a0_k3_s1_e2_c96",
        "uir_r1_a3_k0_s1_e4_c96",
    ],
    &[
        "uir_r1_a3_k3_s2_e6_c128",
        "uir_r1_a5_k5_s1_e4_c128",
        "uir_r1_a0_k5_s1_e4_c128",
        "uir_r1_a0_k5_s1_e3_c128",
        "uir_r2_a0_k3_s1_e4_c128",
    ],
    &["cn_r1_k1_s1_c960"],
];

const MEDIUM: Words = &[
    &["er_r1_k3_s2_e4_c48"],
    &["uir_r1_a3_k5_s2_e4_c80", "uir_r1_a3_k3_s1_e2_c80"],
    &[
        "uir_r1_a3_k5_s2_e6_c160",
        "uir_r2_a3_k3_s1_e4_c160",
        "uir_r1_a3_k5_s1_e4_c160",
        "uir_r1_a3_k3_s1_e4_c160",
        "uir_r1_a3_k0_s1_e4_c160",
        "uir_r1_a0_k0_s1_e2_c160",
        "uir_r1_a3_k0_s1_e4_c160",
    ],
    &[
        "uir_r1_a5_k5_s2_e6_c256",
        "uir_r1_a5_k5_s1_e4_c256",
        "uir_r2_a3_k5_s1_e4_c256",
        "uir_r1_a0_k0_s1_e4_c256",
        "uir_r1_a3_k0_s1_e4_c256",
        "uir_r1_a3_k5_s1_e2_c256",
        "uir_r1_a5_k5_s1_e4_c256",
        "uir_r2_a0_k0_s1_e4_c256",
        "uir_r1_a5_k0_s1_e2_c256",
    ],
    &["cn_r1_k1_s1_c960"],
];

const LARGE: Words = &[
    &["er_r1_k3_s2_e4_c48"],
    &["uir_r1_a3_k5_s2_e4_c96", "uir_r1_a3_k3_s1_e4_c96"],
    &[
        "uir_r1_a3_k5_s2_e4_c192",
        "uir_r3_a3_k3_s1_e4_c192",
        "uir_r1_a3_k5_s1_e4_c192",
        "uir_r5_a5_k3_s1_e4_c192",
        "uir_r1_a3_k0_s1_e4_c192",
    ],
    &[
        "uir_r4_a5_k5_s2_e4_c512",
        "uir_r1_a5_k0_s1_e4_c512",
        "uir_r1_a5_k3_s1_e4_c512",
        "uir_r2_a5_k0_s1_e4_c512",
        "uir_r1_a5_k3_s1_e4_c512",
        "uir_r1_a5_k5_s1_e4_c512",
        "uir_r3_a5_k0_s1_e4_c512",
    ],
    &["cn_r1_k1_s1_c960"],
];

const HYBRID_MEDIUM: Words = &[
    &["er_r1_k3_s2_e4_c48"],
    &["uir_r1_a3_k5_s2_e4_c80", "uir_r1_a3_k3_s1_e2_c80"],
    &[
        "uir_r1_a3_k5_s2_e6_c160",
        "uir_r1_a0_k0_s1_e2_c160",
        "uir_r1_a3_k3_s1_e4_c160",
        "uir_r1_a3_k5_s1_e4_c160",
        "mqa_r1_k3_h4_s1_v2_d64_c160",
        "uir_r1_a3_k3_s1_e4_c160",
        "mqa_r1_k3_h4_s1_v2_d64_c160",
        "uir_r1_a3_k0_s1_e4_c160",
        "mqa_r1_k3_h4_s1_v2_d64_c160",
        "uir_r1_a3_k3_s1_e4_c160",
        "mqa_r1_k3_h4_s1_v2_d64_c160",
        "uir_r1_a3_k0_s1_e4_c160",
    ],
    &[
        "uir_r1_a5_k5_s2_e6_c256",
        "uir_r1_a5_k5_s1_e4_c256",
        "uir_r2_a3_k5_s1_e4_c256",
        "uir_r1_a0_k0_s1_e2_c256",
        "uir_r1_a3_k5_s1_e2_c256",
        "uir_r1_a0_k0_s1_e2_c256",
        "uir_r1_a0_k0_s1_e4_c256",
        "mqa_r1_k3_h4_s1_d64_c256",
        "uir_r1_a3_k0_s1_e4_c256",
        "mqa_r1_k3_h4_s1_d64_c256",
        "uir_r1_a5_k5_s1_e4_c256",
        "mqa_r1_k3_h4_s1_d64_c256",
        "uir_r1_a5_k0_s1_e4_c256",
        "mqa_r1_k3_h4_s1_d64_c256",
        "uir_r1_a5_k0_s1_e4_c256",
    ],
    &["cn_r1_k1_s1_c960"],
];

const HYBRID_LARGE: Words = &[
    &["er_r1_k3_s2_e4_c48"],
    &["uir_r1_a3_k5_s2_e4_c96", "uir_r1_a3_k3_s1_e4_c96"],
    &[
        "uir_r1_a3_k5_s2_e4_c192",
        "uir_r3_a3_k3_s1_e4_c192",
        "uir_r1_a3_k5_s1_e4_c192",
        "uir_r2_a5_k3_s1_e4_c192",
        "mqa_r1_k3_h8_s1_v2_d48_c192",
        "uir_r1_a5_k3_s1_e4_c192",
        "mqa_r1_k3_h8_s1_v2_d48_c192",
        "uir_r1_a5_k3_s1_e4_c192",
        "mqa_r1_k3_h8_s1_v2_d48_c192",
        "uir_r1_a5_k3_s1_e4_c192",
        "mqa_r1_k3_h8_s1_v2_d48_c192",
        "uir_r1_a3_k0_s1_e4_c192",
    ],
    &[
        "uir_r4_a5_k5_s2_e4_c512",
        "uir_r1_a5_k0_s1_e4_c512",
        "uir_r1_a5_k3_s1_e4_c512",
        "uir_r2_a5_k0_s1_e4_c512",
        "uir_r1_a5_k3_s1_e4_c512",
        "uir_r1_a5_k5_s1_e4_c512",
        "mqa_r1_k3_h8_s1_d64_c512",
        "uir_r1_a5_k0_s1_e4_c512",
        "mqa_r1_k3_h8_s1_d64_c512",
        "uir_r1_a5_k0_s1_e4_c512",
        "mqa_r1_k3_h8_s1_d64_c512",
        "uir_r1_a5_k0_s1_e4_c512",
        "mqa_r1_k3_h8_s1_d64_c512",
        "uir_r1_a5_k0_s1_e4_c512",
    ],
    &["cn_r1_k1_s1_c960"],
];

fn config(stages: Words, width: f64, stem: usize) -> Config {
    Config {
        stem,
        is_stem_fixed: width < 1.0,
        head: Head::PooledNorm(1280),
        ..Config::new(stages, width, Act::Relu)
    }
}

fn hybrid(stages: Words, width: f64, stem: usize) -> Config {
    let mut config = config(stages, width, stem);
    config.style.layer_scale = Some(1e-5);
    config
}

/// Average poolings need two positions on a side.
fn averaged(stages: Words, stem: usize) -> Config {
    Config {
        least_size: 31,
        ..config(stages, 1.0, stem).pool(StridedPool::Average)
    }
}
