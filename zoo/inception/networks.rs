//! What the three networks consist of, in the words of [`BlockConfig`].

use super::Config;
use super::blocks::{BlockConfig, block};
use crate::init::Init;
use crate::nn::Act;

impl Config {
    pub(super) fn v3() -> Self {
        let a = |name, pool: usize| {
            let words = "branch1x1 64 1; branch5x5_1 48 1, branch5x5_2 64 5; \
                         branch3x3dbl_1 64 1, branch3x3dbl_2 96 3, branch3x3dbl_3 96 3; \
                         padded_means, branch_pool";
            block(name, format!("{words} {pool} 1"))
        };
        let to_c = "branch3x3 384 3s; \
                    branch3x3dbl_1 64 1, branch3x3dbl_2 96 3, branch3x3dbl_3 96 3s; max";
        let c = |name, width: usize| {
            let words = format!(
                "branch1x1 192 1; \
                 branch7x7_1 {width} 1, branch7x7_2 {width} 1x7, branch7x7_3 192 7x1; \
                 branch7x7dbl_1 {width} 1, branch7x7dbl_2 {width} 7x1, branch7x7dbl_3 {width} 1x7, \
                 branch7x7dbl_4 {width} 7x1, branch7x7dbl_5 192 1x7; \
                 padded_means, branch_pool 192 1"
            );
            block(name, words)
        };
        let to_e = "branch3x3_1 192 1, branch3x3_2 320 3s; branch7x7x3_1 192 1, \
                    branch7x7x3_2 192 1x7, branch7x7x3_3 192 7x1, branch7x7x3_4 192 3s; max";
        let e = "branch1x1 320 1; branch3x3_1 384 1 | branch3x3_2a 384 1x3, branch3x3_2b 384 3x1; \
                 branch3x3dbl_1 448 1, branch3x3dbl_2 384 3 \
                 | branch3x3dbl_3a 384 1x3, branch3x3dbl_3b 384 3x1; \
                 padded_means, branch_pool 192 1";
        let stem = [
            "Conv2d_1a_3x3",
            "Conv2d_2a_3x3",
            "Conv2d_2b_3x3",
            "Conv2d_3b_1x1",
            "Conv2d_4a_3x3",
        ];
        Self {
            stem: stem_of(stem),
            stages: [
                vec![a("Mixed_5b", 32), a("Mixed_5c", 64), a("Mixed_5d", 64)],
                vec![
                    block("Mixed_6a", to_c),
                    c("Mixed_6b", 128),
                    c("Mixed_6c", 160),
                    c("Mixed_6d", 160),
                    c("Mixed_6e", 192),
                ],
                vec![
                    block("Mixed_7a", to_e),
                    block("Mixed_7b", e),
                    block("Mixed_7c", e),
                ],
            ],
            weights: Init::trunc_normal(0.1),
            classifier: "fc",
        }
    }

    pub(super) fn v4() -> Self {
        let stem = [
            "- 32 3s",
            "- 32 3v",
            "- 64 3",
            "max; conv 96 3s",
            "branch0.0 64 1, branch0.1 96 3v; \
             branch1.0 64 1, branch1.1 64 1x7, branch1.2 64 7x1, branch1.3 96 3v",
            "conv 192 3s; max",
        ];
        let a = "branch0 96 1; branch1.0 64 1, branch1.1 96 3; \
                 branch2.0 64 1, branch2.1 96 3, branch2.2 96 3; means, branch3.1 96 1";
        let to_b = "branch0 384 3s; branch1.0 192 1, branch1.1 224 3, branch1.2 256 3s; max";
        let b = "branch0 384 1; branch1.0 192 1, branch1.1 224 1x7, branch1.2 256 7x1; \
                 branch2.0 192 1, branch2.1 192 7x1, branch2.2 224 1x7, branch2.3 224 7x1, \
                 branch2.4 256 1x7; means, branch3.1 128 1";
        let to_c = "branch0.0 192 1, branch0.1 192 3s; \
                    branch1.0 256 1, branch1.1 256 1x7, branch1.2 320 7x1, branch1.3 320 3s; max";
        let c = "branch0 256 1; branch1_0 384 1 | branch1_1a 256 1x3, branch1_1b 256 3x1; \
                 branch2_0 384 1, branch2_1 448 3x1, branch2_2 512 1x3 \
                 | branch2_3a 256 1x3, branch2_3b 256 3x1; means, branch3.1 256 1";
        // Upstream numbers all of them.
        let mut number = 0;
        let mut next = |words: &str| {
            number += 1;
            block(format!("features.{}", number - 1), words)
        };
        Self {
            stem: stem.map(&mut next).to_vec(),
            stages: [
                [a; 4].map(&mut next).to_vec(),
                [to_b, b, b, b, b, b, b, b].map(&mut next).to_vec(),
                [to_c, c, c, c].map(&mut next).to_vec(),
            ],
            weights: Init::PyTorch,
            classifier: "last_linear",
        }
    }

    pub(super) fn resnet_v2() -> Self {
        let first = "branch0 96 1; branch1.0 48 1, branch1.1 64 5; \
                     branch2.0 64 1, branch2.1 96 3, branch2.2 96 3; means, branch3.1 64 1";
        let a = "branch0 32 1; branch1.0 32 1, branch1.1 32 3; \
                 branch2.0 32 1, branch2.1 48 3, branch2.2 64 3";
        let to_b = "branch0 384 3s; branch1.0 256 1, branch1.1 256 3, branch1.2 384 3s; max";
        let b = "branch0 192 1; branch1.0 128 1, branch1.1 160 1x7, branch1.2 192 7x1";
        let to_c = "branch0.0 256 1, branch0.1 384 3s; branch1.0 256 1, branch1.1 288 3s; \
                    branch2.0 256 1, branch2.1 288 3, branch2.2 320 3s; max";
        let c = "branch0 192 1; branch1.0 192 1, branch1.1 224 1x3, branch1.2 256 3x1";
        let residual = |name: String, words, factor, act| BlockConfig {
            residual: Some((factor, act)),
            ..block(name, words)
        };
        let stage = |first, name, words, count: usize, factor| {
            let repeat = |index| residual(format!("{name}.{index}"), words, factor, Act::Relu);
            std::iter::once(first)
                .chain((0..count).map(repeat))
                .collect()
        };
        let mut last: Vec<_> = stage(block("mixed_7a", to_c), "repeat_2", c, 9, 0.2);
        last.push(residual("block8".to_owned(), c, 1.0, Act::None));
        last.push(block("conv2d_7b", "- 1536 1"));
        Self {
            stem: stem_of([
                "conv2d_1a",
                "conv2d_2a",
                "conv2d_2b",
                "conv2d_3b",
                "conv2d_4a",
            ]),
            stages: [
                stage(block("mixed_5b", first), "repeat", a, 10, 0.17),
                stage(block("mixed_6a", to_b), "repeat_1", b, 20, 0.1),
                last,
            ],
            weights: Init::PyTorch,
            classifier: "classif",
        }
    }
}

/// The stem of V3 and of Inception-ResNet, whose convolutions have other names in each.
fn stem_of([first, second, third, fourth, fifth]: [&'static str; 5]) -> Vec<BlockConfig> {
    vec![
        block(first, "- 32 3s"),
        block(second, "- 32 3v"),
        block(third, "- 64 3"),
        block("pool", "max"),
        block(fourth, "- 80 1"),
        block(fifth, "- 192 3v"),
        block("pool", "max"),
    ]
}
