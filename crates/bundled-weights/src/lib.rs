#![doc = include_str!("../README.md")]
#![no_std]

/// The weights files: name and content, safetensors.
pub const FILES: &[(&str, &[u8])] = &[(
    "resnet18.fractal.safetensors",
    include_bytes!("../resnet18.fractal.safetensors"),
)];
