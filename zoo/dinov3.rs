//! DINOv3: Siméoni et al., "DINOv3", 2025, <https://arxiv.org/abs/2508.10104>.
//!
//! Vision transformers that learnt from images without labels, with four registers (tokens that hold
//! nothing of the image) and rotary position embeddings; [EVA-02](super::eva02) with other parts. The
//! structure is timm's `eva.py`. Upstream's files have no classifier: a new one begins by the family's
//! rule. In variants without `qkvb` queries and values have no bias, as it is zero in Meta's weights.
//!
//! Meta's code reads the periods of the rotary embeddings from its files, rounded to bfloat16; here they
//! have 32 bits, as in timm.
//!
//! The weights of Meta (`lvd1689m`) are under the DINOv3 License (`dinov3-license`), to be read before
//! they are used; those of EUPE (`eupe_lvd1689m`) are for non-commercial research only. Parameters are
//! those of a model for 1000 classes.
//!
//! | variant | width | MLP | parameters | weights |
//! |---|---|---|---|---|
//! | `vit_tiny_patch16_dinov3_qkvb` | 192 | GELU | 5 682 664 | `eupe_lvd1689m` |
//! | `vit_small_patch16_dinov3` | 384 | GELU | 21 971 944 | `lvd1689m` |
//! | `vit_small_patch16_dinov3_qkvb` | 384 | GELU | 21 981 160 | `lvd1689m`, `eupe_lvd1689m` |
//! | `vit_small_plus_patch16_dinov3` | 384 | gated | 29 068 264 | `lvd1689m` |
//! | `vit_base_patch16_dinov3` | 768 | GELU | 86 410 216 | `lvd1689m` |
//! | `vit_base_patch16_dinov3_qkvb` | 768 | GELU | 86 428 648 | `lvd1689m`, `eupe_lvd1689m` |

use super::eva02::{Config, Eva, MlpKind};
use crate::model::{OtherNames, Pool, key_table};
use crate::nn::{QkvKind, RotaryKind};

type DinoV3 = Eva;

variants! {
    family: DinoV3, manifest: "dinov3.toml", paper: "https://arxiv.org/abs/2508.10104",
    pool: Pool::Avg;
    vit_tiny_patch16_dinov3_qkvb (256): "12 blocks of width 192; non-commercial weights"
        => config(192, true, MlpKind::Plain);
    vit_small_patch16_dinov3 (256): "12 blocks of width 384; DINOv3 License"
        => config(384, false, MlpKind::Plain);
    vit_small_patch16_dinov3_qkvb (256): "12 blocks of width 384, with biases; DINOv3 License"
        => config(384, true, MlpKind::Plain);
    vit_small_plus_patch16_dinov3 (256): "12 blocks of width 384, gated MLPs; DINOv3 License"
        => config(384, false, GATED);
    vit_base_patch16_dinov3 (256): "12 blocks of width 768; DINOv3 License"
        => config(768, false, MlpKind::Plain);
    vit_base_patch16_dinov3_qkvb (256): "12 blocks of width 768, with biases; DINOv3 License"
        => config(768, true, MlpKind::Plain);
}

const GATED: MlpKind = MlpKind::Gated {
    is_normalized: false,
};

fn config(width: usize, is_biased: bool, mlp: MlpKind) -> Config {
    Config {
        width,
        patch: 16,
        image_size: 256,
        registers: 4,
        has_pos_embed: false,
        rotary: RotaryKind::Centred,
        qkv: QkvKind::Fused { is_biased },
        normalizes_attention: false,
        mlp,
        hidden: 4 * width,
        layer_scale: Some(1e-5),
        pools_first: false,
        epsilon: 1e-5,
        other_names: vec![meta_names(is_biased, mlp), transformers_names(is_biased)],
    }
}

/// The names of Meta's own files.
fn meta_names(is_biased: bool, mlp: MlpKind) -> OtherNames {
    let mut table = key_table![
        "reg_token" => "storage_tokens",
        "blocks.*.attn.q_bias" => "blocks.*.attn.qkv[0/3].bias",
        "blocks.*.attn.v_bias" => "blocks.*.attn.qkv[2/3].bias",
        "blocks.*.gamma_1" => "blocks.*.ls1.gamma", "blocks.*.gamma_2" => "blocks.*.ls2.gamma",
        "blocks.*.mlp.fc1_g" => "blocks.*.mlp.w1", "blocks.*.mlp.fc1_x" => "blocks.*.mlp.w2",
    ];
    if mlp == GATED {
        table.push("blocks.*.mlp.fc2", "blocks.*.mlp.w3");
    }
    OtherNames::new("Meta's DINOv3", table).ignores(if is_biased {
        &["mask_token", ".periods", ".bias_mask"]
    } else {
        &["mask_token", ".periods", ".bias_mask", ".qkv.bias"]
    })
}

/// The names of transformers' `DINOv3ViTModel`, as in the files of Meta's repositories.
fn transformers_names(is_biased: bool) -> OtherNames {
    let table = key_table![
        "cls_token" => "embeddings.cls_token", "reg_token" => "embeddings.register_tokens",
        "patch_embed.proj" => "embeddings.patch_embeddings",
        "blocks.*.attn.qkv" => "layer.*.attention.{q_proj,k_proj,v_proj}",
        "blocks.*.attn.q_bias" => "layer.*.attention.q_proj.bias",
        "blocks.*.attn.v_bias" => "layer.*.attention.v_proj.bias",
        "blocks.*.attn.proj" => "layer.*.attention.o_proj",
        "blocks.*.gamma_1" => "layer.*.layer_scale1.lambda1",
        "blocks.*.gamma_2" => "layer.*.layer_scale2.lambda1",
        "blocks.*.mlp.fc1" => "layer.*.mlp.up_proj", "blocks.*.mlp.fc1_g" => "layer.*.mlp.gate_proj",
        "blocks.*.mlp.fc1_x" => "layer.*.mlp.up_proj", "blocks.*.mlp.fc2" => "layer.*.mlp.down_proj",
        "blocks.*" => "layer.*",
    ];
    OtherNames::new("transformers' DINOv3ViT", table).ignores(if is_biased {
        &["mask_token"]
    } else {
        &["mask_token", ".q_proj.bias", ".v_proj.bias"]
    })
}
