//! What other libraries' files call a ConvNeXt's parameters.

use crate::model::{KeyTable, OtherNames, key_table};

/// torchvision's names. Its layer scale has two more dimensions, of length one.
pub(super) fn torchvision_names() -> OtherNames {
    let table = key_table![
        "stem" => "features.0", "stages.*.downsample" => "features.*x2",
        "stages.*.blocks.*.conv_dw" => "features.*x2+1.*.block.0",
        "stages.*.blocks.*.norm" => "features.*x2+1.*.block.2",
        "stages.*.blocks.*.mlp.fc1" => "features.*x2+1.*.block.3",
        "stages.*.blocks.*.mlp.fc2" => "features.*x2+1.*.block.5",
        "stages.*.blocks.*.gamma" => "features.*x2+1.*.layer_scale",
        "head.norm" => "classifier.0", "head.fc" => "classifier.2",
    ];
    OtherNames::new("torchvision's ConvNeXt", table).reshapes(&["stages."])
}

/// The names of the authors' own files, where every layer of an MLP is affine.
pub(super) fn facebook_names() -> OtherNames {
    let table = key_table![
        "stem" => "downsample_layers.0", "stages.*.downsample" => "downsample_layers.*",
        "stages.*.blocks.*.conv_dw" => "stages.*.*.dwconv",
        "stages.*.blocks.*.mlp.fc1" => "stages.*.*.pwconv1",
        "stages.*.blocks.*.mlp.fc2" => "stages.*.*.pwconv2",
        "stages.*.blocks.*.mlp.grn.weight" => "stages.*.*.grn.gamma",
        "stages.*.blocks.*.mlp.grn.bias" => "stages.*.*.grn.beta",
        "stages.*.blocks.*" => "stages.*.*", "head.norm" => "norm", "head.fc" => "head",
    ];
    OtherNames::new("the authors' ConvNeXt", table).reshapes(&["stages."])
}

/// The names of transformers' `ConvNextForImageClassification`, or of V2's.
pub(super) fn transformers_names(network: &str) -> OtherNames {
    let blocks = format!("{network}.encoder.stages.*.layers.*");
    let mut table = KeyTable::new(&[]);
    for (ours, theirs) in [
        ("stem.0", format!("{network}.embeddings.patch_embeddings")),
        ("stem.1", format!("{network}.embeddings.layernorm")),
        (
            "stages.*.downsample",
            format!("{network}.encoder.stages.*.downsampling_layer"),
        ),
        ("stages.*.blocks.*.conv_dw", format!("{blocks}.dwconv")),
        ("stages.*.blocks.*.norm", format!("{blocks}.layernorm")),
        ("stages.*.blocks.*.mlp.fc1", format!("{blocks}.pwconv1")),
        ("stages.*.blocks.*.mlp.fc2", format!("{blocks}.pwconv2")),
        ("stages.*.blocks.*.mlp.grn", format!("{blocks}.grn")),
        (
            "stages.*.blocks.*.gamma",
            format!("{blocks}.layer_scale_parameter"),
        ),
        ("head.norm", format!("{network}.layernorm")),
        ("head.fc", "classifier".to_owned()),
    ] {
        table.push(ours, &theirs);
    }
    OtherNames::new("transformers' ConvNeXt", table).reshapes(&["stages."])
}
