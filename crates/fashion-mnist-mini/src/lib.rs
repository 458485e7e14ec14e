#![doc = include_str!("../README.md")]
#![no_std]

/// The sample: images and labels of the training part, then of the test part, as IDX files one after
/// the other, compressed with gzip. Pixels are differences to their Paeth predictor (PNG's filter
/// type 4), which compress better.
pub const SAMPLE: &[u8] = include_bytes!("../fashion_mnist_mini.bin.gz");
