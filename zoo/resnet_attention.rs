//! ResNets whose blocks end with an attention over channels: squeeze-and-excitation (Hu et al., 2018,
//! <https://arxiv.org/abs/1709.01507>), efficient channel attention (Wang et al., 2020,
//! <https://arxiv.org/abs/1910.03151>), and ResNet-RS, which has the first and a stem without a
//! pooling (Bello et al., 2021, <https://arxiv.org/abs/2103.07579>).
//!
//! The structure is timm's `resnet.py`, and the code `resnet.rs`. Parameters are those of a model for
//! 1000 classes; accuracies are those timm publishes, at 224 pixels unless said.
//!
//! | variant | blocks | parameters | ImageNet top-1 (weights) |
//! |---|---|---|---|
//! | `seresnet18` | 2 2 2 2 | 11 779 624 | |
//! | `seresnet34` | 3 4 6 3 | 21 960 416 | |
//! | `seresnet50` | 3 4 6 3 | 28 088 024 | 80.0 % (`a1_in1k`) |
//! | `seresnet50t` | 3 4 6 3 | 28 104 720 | |
//! | `seresnext26d_32x4d` | 2 2 2 2 | 16 809 512 | 77.6 % (`bt_in1k`) |
//! | `seresnext26t_32x4d` | 2 2 2 2 | 16 806 976 | 78.0 % (`bt_in1k`) |
//! | `seresnext50_32x4d` | 3 4 6 3 | 27 559 896 | 81.3 % (`racm_in1k`) |
//! | `ecaresnet26t` | 2 2 2 2 | 16 011 916 | 78.9 % (`ra2_in1k`, 256 px) |
//! | `ecaresnet50d` | 3 4 6 3 | 25 576 350 | 80.6 % (`miil_in1k`) |
//! | `ecaresnet50t` | 3 4 6 3 | 25 573 814 | 81.5 % (`ra2_in1k`, 256 px) |
//! | `ecaresnetlight` | 1 1 11 3 | 30 162 046 | 80.5 % (`miil_in1k`) |
//! | `ecaresnext26t_32x4d` | 2 2 2 2 | 15 406 220 | |
//! | `resnetrs50` | 3 4 6 3 | 35 691 912 | 77.9 % (`tf_in1k`, 160 px) |

use super::residual::Kind::{self, Basic, Bottleneck};
use super::residual::{Attention, Config};
use super::resnet::ResNet;
use crate::model::Pool;

/// The same structure, as a family of its own.
type ResNetAttention = ResNet;

variants! {
    family: ResNetAttention, manifest: "resnet_attention.toml",
    paper: "https://arxiv.org/abs/1709.01507", pool: Pool::Avg;
    seresnet18 (224): "squeeze-excite" => squeeze(Basic, [2, 2, 2, 2]);
    seresnet34 (224): "squeeze-excite" => squeeze(Basic, [3, 4, 6, 3]);
    seresnet50 (224): "squeeze-excite" => squeeze(Bottleneck, [3, 4, 6, 3]);
    seresnet50t (224): "squeeze-excite, tiered stem"
        => squeeze(Bottleneck, [3, 4, 6, 3]).deep([24, 32]);
    seresnext26d_32x4d (224): "squeeze-excite, 32 groups of width 4, deep stem"
        => squeeze(Bottleneck, [2, 2, 2, 2]).groups(32, 4).deep([32, 32]);
    seresnext26t_32x4d (224): "squeeze-excite, 32 groups of width 4, tiered stem"
        => squeeze(Bottleneck, [2, 2, 2, 2]).groups(32, 4).deep([24, 32]);
    seresnext50_32x4d (224): "squeeze-excite, 32 groups of width 4"
        => squeeze(Bottleneck, [3, 4, 6, 3]).groups(32, 4);
    ecaresnet26t (256): "efficient attention, tiered stem"
        => efficient([2, 2, 2, 2]).deep([24, 32]);
    ecaresnet50d (224): "efficient attention, deep stem"
        => efficient([3, 4, 6, 3]).deep([32, 32]);
    ecaresnet50t (256): "efficient attention, tiered stem"
        => efficient([3, 4, 6, 3]).deep([24, 32]);
    ecaresnetlight (224): "efficient attention, most blocks in the third stage"
        => Config { pools_shortcut: true, ..efficient([1, 1, 11, 3]) };
    ecaresnext26t_32x4d (224): "efficient attention, 32 groups of width 4, tiered stem"
        => efficient([2, 2, 2, 2]).groups(32, 4).deep([24, 32]);
    resnetrs50 (160): "RS: squeeze-excite, deep stem without a pooling"
        => Config {
            attention: Some(Attention::Squeeze(0.25)),
            strided_stem: true,
            ..Config::new(Bottleneck, [3, 4, 6, 3]).deep([32, 32])
        };
}

fn squeeze(block: Kind, depths: [usize; 4]) -> Config {
    Config {
        attention: Some(Attention::Squeeze(1.0 / 16.0)),
        ..Config::new(block, depths)
    }
}

fn efficient(depths: [usize; 4]) -> Config {
    Config {
        attention: Some(Attention::Efficient),
        ..Config::new(Bottleneck, depths)
    }
}
