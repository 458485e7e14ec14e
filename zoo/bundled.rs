//! The weights that come with the crate.

/// Their manifest: where it lies, and its text.
pub(crate) const MANIFEST: (&str, &str) = (
    "weights-manifest/bundled.toml",
    include_str!("../weights-manifest/bundled.toml"),
);

/// The names that a manifest may give, whether or not this build has the files.
pub(crate) const NAMES: [&str; 1] = ["resnet18.fractal.safetensors"];

/// The files of this build, by name.
#[cfg(feature = "bundled-weights")]
pub(crate) use burn_zoo_bundled_weights::FILES;

#[cfg(not(feature = "bundled-weights"))]
pub(crate) const FILES: &[(&str, &[u8])] = &[];
