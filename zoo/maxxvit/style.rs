//! How the variants of MaxViT and CoAtNet differ beside their sizes.

use crate::init::Init;
use crate::model::{KeyTable, PositionTable, TableLayout};
use crate::nn::{
    Act, BatchNorm2dConfig, Conv2dConfig, Dropout, LayerNorm, LinearConfig, Norm, OffsetMlp,
    ParamBuilder, PositionBias, Windows, fan_out_normal,
};

/// Features of a head.
pub(super) const HEAD: usize = 32;
pub(super) const XAVIER: Init = Init::xavier_uniform();
/// Of the biases of MLPs.
pub(super) const TINY: Init = Init::normal(1e-6);

/// How the variants differ beside their sizes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// Whether every block is that of a MaxViT; else the stages are those of a CoAtNet.
    pub(super) is_max: bool,
    /// Whether it is as the authors of MaxViT have it, in TensorFlow.
    pub(super) is_tf: bool,
    /// Whether inverted residuals end with a bias.
    pub(super) output_bias: bool,
    /// Whether they make a map half the size by a pooling, and not by the stride of a convolution.
    pub(super) pools: bool,
    /// Whether they begin with an activation, and have the squeeze-excite before one.
    pub(super) is_early: bool,
    /// Channels of the squeeze-excite, as a part of those within a block; with `is_tf` of its width.
    pub(super) se: f64,
    /// Features of the network that computes the biases of attention; else there is a table.
    pub(super) rmlp: Option<usize>,
    /// Whether normalisations around attention are batch normalisations, too.
    pub(super) batch_norm: bool,
}

pub(super) const MAX: Style = Style {
    is_max: true,
    is_tf: false,
    output_bias: false,
    pools: false,
    is_early: false,
    se: 1.0 / 16.0,
    rmlp: None,
    batch_norm: false,
};
pub(super) const TF: Style = Style {
    is_tf: true,
    output_bias: true,
    se: 0.25,
    ..MAX
};
pub(super) const COAT: Style = Style {
    is_max: false,
    output_bias: true,
    pools: true,
    se: 0.25,
    ..MAX
};
pub(super) const COAT_0: Style = Style {
    output_bias: false,
    is_early: true,
    ..COAT
};

impl Style {
    pub(super) fn rmlp(self, hidden: usize) -> Self {
        let rmlp = Some(hidden);
        Self { rmlp, ..self }
    }

    /// The activation of inverted residuals.
    pub(super) fn conv_act(&self) -> Act {
        if self.is_tf { Act::GeluTanh } else { Act::Silu }
    }

    pub(super) fn mlp_act(&self) -> Act {
        if self.is_tf { Act::GeluTanh } else { Act::Gelu }
    }

    /// A convolution of an inverted residual.
    pub(super) fn conv(
        &self,
        from: usize,
        to: usize,
        kernel: usize,
        groups: usize,
    ) -> Conv2dConfig {
        let conv = Conv2dConfig::new(from, to, kernel).groups(groups);
        let conv = conv.weights(fan_out_normal(kernel * kernel * to / groups));
        if self.is_tf {
            conv.same()
        } else {
            conv.padding(kernel / 2)
        }
    }

    pub(super) fn conv_norm(&self, channels: usize) -> BatchNorm2dConfig {
        BatchNorm2dConfig::new(channels).epsilon(if self.is_tf { 1e-3 } else { 1e-5 })
    }

    /// A normalisation around attention.
    pub(super) fn norm(&self, width: usize, params: &ParamBuilder) -> Norm {
        let epsilon = if self.is_tf { 1e-5 } else { 1e-6 };
        if self.batch_norm {
            let norm = BatchNorm2dConfig::new(width).epsilon(epsilon);
            Norm::Batch(norm.init(params))
        } else {
            Norm::Layer(LayerNorm::new(width, epsilon, params))
        }
    }

    pub(super) fn position_bias(
        &self,
        windows: &Windows,
        heads: usize,
        params: &ParamBuilder,
    ) -> PositionBias {
        let linear = |from, to| LinearConfig::new(from, to).weights(XAVIER).biases(TINY);
        match self.rmlp {
            Some(hidden) => PositionBias::Mlp(OffsetMlp {
                fc1: linear(2, hidden).init(params),
                dropout: Dropout::new(0.125),
                fc2: linear(hidden, heads).init(params),
            }),
            None if self.is_tf => PositionBias::grid(windows, heads, &Init::normal(0.02), params),
            None => PositionBias::offsets(windows, heads, &Init::trunc_normal(0.02), params),
        }
    }

    /// The tables of biases at these paths, for windows of these sides, and the paths of all that
    /// decides on biases.
    pub(super) fn position_tables(
        &self,
        positions: Vec<(String, [usize; 2])>,
    ) -> (Vec<PositionTable>, Vec<String>) {
        let paths = positions.iter().map(|(path, _)| path);
        if self.rmlp.is_some() {
            let weights = |path: &String| ["fc1", "fc2"].map(|fc| format!("{path}.{fc}.weight"));
            return (Vec::new(), paths.flat_map(weights).collect());
        }
        let layout = if self.is_tf {
            TableLayout::Grid
        } else {
            TableLayout::Offsets
        };
        let paths = paths.cloned().collect();
        let table = |(path, sides)| PositionTable::new(path, sides, layout);
        (positions.into_iter().map(table).collect(), paths)
    }

    /// timm's names for the parts of blocks.
    pub(super) fn name_parts(&self, table: &mut KeyTable) {
        let se = if self.is_early {
            ["se_early.fc1", "se_early.fc2"]
        } else {
            ["se.fc1", "se.fc2"]
        };
        for (ours, theirs) in [
            ("stage*.*", "stages.*-1.blocks.*"),
            ("stage*.*.conv", "stages.*-1.blocks.*.conv"),
        ] {
            for (part, name) in [
                ("conv1", "conv1_1x1"),
                ("bn1", "norm1"),
                ("conv2", "conv2_kxk"),
                ("bn2", "norm2"),
                ("conv3", "conv3_1x1"),
                ("se.reduce", se[0]),
                ("se.expand", se[1]),
            ] {
                table.push(&format!("{ours}.{part}"), &format!("{theirs}.{name}"));
            }
        }
        let rel_pos = match self.rmlp {
            Some(_) => "attn.rel_pos.mlp",
            None => "attn.rel_pos.relative_position_bias_table",
        };
        for part in ["", ".attn_block", ".attn_grid"] {
            let ours = format!("stage*.*{part}.attn.rel_pos");
            table.push(&ours, &format!("stages.*-1.blocks.*{part}.{rel_pos}"));
        }
        table.push("stage*.*", "stages.*-1.blocks.*");
    }
}
