//! Mobile networks found by a search: FBNet-C (Wu et al., CVPR 2019,
//! <https://arxiv.org/abs/1812.03443>), FBNetV3 (Dai et al., CVPR 2021,
//! <https://arxiv.org/abs/2006.02049>), Single-Path NAS (Stamoulis et al., 2019,
//! <https://arxiv.org/abs/1904.02877>), MixNet (Tan & Le, BMVC 2019,
//! <https://arxiv.org/abs/1907.09595>) and TinyNet (Han et al., "Model Rubik's Cube", NeurIPS 2020,
//! <https://arxiv.org/abs/2010.14819>).
//!
//! Inverted residuals; MixNet's have kernels of several sides in one convolution, FBNetV3 the
//! convolution behind the pooling of MobileNetV3, and TinyNet is a small EfficientNet. The weights of
//! `fbnetc_100` want an epsilon of 1e-3, which timm takes with them and which it has here always.
//! Parameters are those of a model for 1000 classes, accuracies those timm publishes at the size in the
//! table.
//!
//! | variant | size | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|
//! | `fbnetc_100` | 224 | 5 572 200 | 75.1 % (`rmsp_in1k`) |
//! | `fbnetv3_b` | 224 | 8 598 464 | 78.2 % (`ra2_in1k`) |
//! | `fbnetv3_d` | 224 | 10 306 272 | 78.7 % (`ra2_in1k`) |
//! | `fbnetv3_g` | 240 | 16 623 888 | 81.2 % (`ra2_in1k`) |
//! | `spnasnet_100` | 224 | 4 421 616 | 74.1 % (`rmsp_in1k`) |
//! | `mixnet_s` | 224 | 4 134 606 | 76.0 % (`ft_in1k`) |
//! | `mixnet_m` | 224 | 5 014 382 | 77.3 % (`ft_in1k`) |
//! | `mixnet_l` | 224 | 7 329 252 | 79.0 % (`ft_in1k`) |
//! | `mixnet_xl` | 224 | 11 896 768 | 80.5 % (`ra_in1k`) |
//! | `tinynet_a` | 192 | 6 187 972 | 77.7 % (`in1k`) |
//! | `tinynet_b` | 188 | 3 730 562 | 74.9 % (`in1k`) |
//! | `tinynet_c` | 184 | 2 457 234 | 71.2 % (`in1k`) |
//! | `tinynet_d` | 152 | 2 338 446 | 66.9 % (`in1k`) |
//! | `tinynet_e` | 106 | 2 042 972 | 59.9 % (`in1k`) |

use super::efficientnet;
use super::inverted::{Config, Depth, Head, InvertedNet, Words};
use crate::model::Pool;
use crate::nn::{Act, Excite, NormKind, nearest_divisible_by_8};

type NasMobile = InvertedNet;

variants! {
    family: NasMobile, manifest: "nas_mobile.toml", paper: "https://arxiv.org/abs/1907.09595",
    pool: Pool::Avg;
    fbnetc_100 (224; "https://arxiv.org/abs/1812.03443"): "FBNet-C" => fbnet_c();
    fbnetv3_b (224; "https://arxiv.org/abs/2006.02049"): "FBNetV3-B" => fbnet_v3(FBNET_V3_B, 16);
    fbnetv3_d (224; "https://arxiv.org/abs/2006.02049"): "FBNetV3-D" => fbnet_v3(FBNET_V3_D, 24);
    fbnetv3_g (240; "https://arxiv.org/abs/2006.02049"): "FBNetV3-G" => fbnet_v3(FBNET_V3_G, 32);
    spnasnet_100 (224; "https://arxiv.org/abs/1904.02877"): "Single-Path NAS for a Pixel 1" => Config::new(SINGLE_PATH, 1.0, Act::Relu);
    mixnet_s (224): "small" => mixnet(MIXNET_S, 16, 1.0, 1.0);
    mixnet_m (224): "medium" => mixnet(MIXNET_M, 24, 1.0, 1.0);
    mixnet_l (224): "large" => mixnet(MIXNET_M, 24, 1.3, 1.0);
    mixnet_xl (224): "larger, timm's own" => mixnet(MIXNET_M, 24, 1.6, 1.2);
    tinynet_a (192; "https://arxiv.org/abs/2010.14819"): "width times 1.0, depth times 1.2" => tinynet(1.0, 1.2);
    tinynet_b (188; "https://arxiv.org/abs/2010.14819"): "width times 0.75, depth times 1.1" => tinynet(0.75, 1.1);
    tinynet_c (184; "https://arxiv.org/abs/2010.14819"): "width times 0.54, depth times 0.85" => tinynet(0.54, 0.85);
    tinynet_d (152; "https://arxiv.org/abs/2010.14819"): "width times 0.54, depth times 0.695" => tinynet(0.54, 0.695);
    tinynet_e (106; "https://arxiv.org/abs/2010.14819"): "width times 0.51, depth times 0.6" => tinynet(0.51, 0.6);
}

const FBNET_C: Words = &[
    &["ir_r1_k3_s1_e1_c16"],
    &["ir_r1_k3_s2_e6_c24", "ir_r2_k3_s1_e1_c24"],
    &[
        "ir_r1_k5_s2_e6_c32",
        "ir_r1_k5_s1_e3_c32",
        "ir_r1_k5_s1_e6_c32",
        "ir_r1_k3_s1_e6_c32",
    ],
    &[
        "ir_r1_k5_s2_e6_c64",
        "ir_r1_k5_s1_e3_c64",
        "ir_r2_k5_s1_e6_c64",
    ],
    &["ir_r3_k5_s1_e6_c112", "ir_r1_k5_s1_e3_c112"],
    &["ir_r4_k5_s2_e6_c184"],
    &["ir_r1_k3_s1_e6_c352"],
];

const FBNET_V3_B: Words = &[
    &["ds_r2_k3_s1_e1_c16"],
    &["ir_r1_k5_s2_e4_c24", "ir_r3_k5_s1_e2_c24"],
    &["ir_r1_k5_s2_e5_c40_se0.25", "ir_r4_k5_s1_e3_c40_se0.25"],
    &["ir_r1_k5_s2_e5_c72", "ir_r4_k3_s1_e3_c72"],
    &["ir_r1_k3_s1_e5_c120_se0.25", "ir_r5_k5_s1_e3_c120_se0.25"],
    &[
        "ir_r1_k3_s2_e6_c184_se0.25",
        "ir_r5_k5_s1_e4_c184_se0.25",
        "ir_r1_k5_s1_e6_c224_se0.25",
    ],
    &["cn_r1_k1_s1_c1344"],
];

const FBNET_V3_D: Words = &[
    &["ds_r2_k3_s1_e1_c16"],
    &["ir_r1_k3_s2_e5_c24", "ir_r5_k3_s1_e2_c24"],
    &["ir_r1_k5_s2_e4_c40_se0.25", "ir_r4_k3_s1_e3_c40_se0.25"],
    &["ir_r1_k3_s2_e5_c72", "ir_r4_k3_s1_e3_c72"],
    &["ir_r1_k3_s1_e5_c128_se0.25", "ir_r6_k5_s1_e3_c128_se0.25"],
    &[
        "ir_r1_k3_s2_e6_c208_se0.25",
        "ir_r5_k5_s1_e5_c208_se0.25",
        "ir_r1_k5_s1_e6_c240_se0.25",
    ],
    &["cn_r1_k1_s1_c1440"],
];

const FBNET_V3_G: Words = &[
    &["ds_r3_k3_s1_e1_c24"],
    &["ir_r1_k5_s2_e4_c40", "ir_r4_k5_s1_e2_c40"],
    &["ir_r1_k5_s2_e4_c56_se0.25", "ir_r4_k5_s1_e3_c56_se0.25"],
    &["ir_r1_k5_s2_e5_c104", "ir_r4_k3_s1_e3_c104"],
    &["ir_r1_k3_s1_e5_c160_se0.25", "ir_r8_k5_s1_e3_c160_se0.25"],
    &[
        "ir_r1_k3_s2_e6_c264_se0.25",
        "ir_r6_k5_s1_e5_c264_se0.25",
        "ir_r2_k5_s1_e6_c288_se0.25",
    ],
    &["cn_r1_k1_s1_c1728"],
];

const SINGLE_PATH: Words = &[
    &["ds_r1_k3_s1_c16_noskip"],
    &["ir_r3_k3_s2_e3_c24"],
    &["ir_r1_k5_s2_e6_c40", "ir_r3_k3_s1_e3_c40"],
    &["ir_r1_k5_s2_e6_c80", "ir_r3_k3_s1_e3_c80"],
    &["ir_r1_k5_s1_e6_c96", "ir_r3_k5_s1_e3_c96"],
    &["ir_r4_k5_s2_e6_c192"],
    &["ir_r1_k3_s1_e6_c320_noskip"],
];

const MIXNET_S: Words = &[
    &["ds_r1_k3_s1_e1_c16"],
    &[
        "ir_r1_k3_a1.1_p1.1_s2_e6_c24",
        "ir_r1_k3_a1.1_p1.1_s1_e3_c24",
    ],
    &[
        "ir_r1_k3.5.7_s2_e6_c40_se0.5_nsw",
        "ir_r3_k3.5_a1.1_p1.1_s1_e6_c40_se0.5_nsw",
    ],
    &[
        "ir_r1_k3.5.7_p1.1_s2_e6_c80_se0.25_nsw",
        "ir_r2_k3.5_p1.1_s1_e6_c80_se0.25_nsw",
    ],
    &[
        "ir_r1_k3.5.7_a1.1_p1.1_s1_e6_c120_se0.5_nsw",
        "ir_r2_k3.5.7.9_a1.1_p1.1_s1_e3_c120_se0.5_nsw",
    ],
    &[
        "ir_r1_k3.5.7.9.11_s2_e6_c200_se0.5_nsw",
        "ir_r2_k3.5.7.9_p1.1_s1_e6_c200_se0.5_nsw",
    ],
];

const MIXNET_M: Words = &[
    &["ds_r1_k3_s1_e1_c24"],
    &[
        "ir_r1_k3.5.7_a1.1_p1.1_s2_e6_c32",
        "ir_r1_k3_a1.1_p1.1_s1_e3_c32",
    ],
    &[
        "ir_r1_k3.5.7.9_s2_e6_c40_se0.5_nsw",
        "ir_r3_k3.5_a1.1_p1.1_s1_e6_c40_se0.5_nsw",
    ],
    &[
        "ir_r1_k3.5.7_s2_e6_c80_se0.25_nsw",
        "ir_r3_k3.5.7.9_a1.1_p1.1_s1_e6_c80_se0.25_nsw",
    ],
    &[
        "ir_r1_k3_s1_e6_c120_se0.5_nsw",
        "ir_r3_k3.5.7.9_a1.1_p1.1_s1_e3_c120_se0.5_nsw",
    ],
    &[
        "ir_r1_k3.5.7.9_s2_e6_c200_se0.5_nsw",
        "ir_r3_k3.5.7.9_p1.1_s1_e6_c200_se0.5_nsw",
    ],
];

fn fbnet_c() -> Config {
    let epsilon = 1e-3;
    let norm = NormKind::Batch { epsilon };
    Config {
        stem: 16,
        head: Head::Conv(1984),
        named_epsilon: Some(epsilon),
        ..Config::new(FBNET_C, 1.0, Act::Relu).norm(norm)
    }
}

fn fbnet_v3(stages: Words, stem: usize) -> Config {
    let excite = Excite::Squeeze {
        act: None,
        gate: Act::HardSigmoid,
        of_inner: false,
        round: |channels| nearest_divisible_by_8(channels, 0.95),
    };
    Config {
        stem,
        least_width: 0.95,
        head: Head::Pooled {
            channels: 1984,
            has_bias: false,
        },
        ..Config::new(stages, 1.0, Act::HardSwish).excite(excite)
    }
}

fn mixnet(stages: Words, stem: usize, width: f64, depth: f64) -> Config {
    Config {
        stem,
        depth: Depth::Nearest(depth),
        head: Head::Conv(1536),
        ..Config::new(stages, width, Act::Relu)
    }
}

fn tinynet(width: f64, depth: f64) -> Config {
    Config {
        depth: Depth::Nearest(depth),
        is_stem_fixed: true,
        ..Config::new(efficientnet::STAGES, width, Act::Silu)
    }
}
