//! The maps of features that a backbone has to offer, for heads of other tasks: detection,
//! segmentation.

use burn::module::Module;
use burn::tensor::Tensor;

use super::backbone::InputSize;
use super::classifier::Classifier;
use super::features::Features;
use crate::error::{Error, Result};
use crate::nn::map_of_tokens;

/// What a group gives, seen as a map; timm's `feature_info`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FeatureInfo {
    /// The name of the group.
    pub group: String,
    /// Channels of the map.
    pub channels: usize,
    /// Pixels of the image, down and across, for each position of the map.
    pub stride: usize,
}

impl Classifier {
    /// The maps of the groups, from the input on. The model runs once or twice on a small image
    /// of zeros.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a group whose output is no map.
    pub fn feature_info(&self) -> Result<Vec<FeatureInfo>> {
        let description = self.backbone.describe();
        let names: Vec<&str> = description.groups.iter().map(|g| g.name.as_str()).collect();
        let model = self.valid();
        let maps = |[height, width]: [usize; 2]| {
            let image = Tensor::zeros([1, self.in_channels(), height, width], &model.device());
            model.forward_maps(image, &names)
        };
        // Where the size is free, the difference between two sizes tells the stride whatever the
        // padding is.
        const MORE: usize = 64;
        let (found, strides): (_, Vec<usize>) = match description.input_size {
            InputSize::Exactly(size) => {
                let found = maps(size)?;
                // From one map to the next, as a side that is no multiple is rounded.
                let (mut rows, mut stride) = (size[0], 1);
                let strides = found.iter().map(|(_, map)| {
                    let now = map.dims()[2];
                    stride *= (rows + now / 2) / now;
                    rows = now;
                    stride.max(1)
                });
                let strides = strides.collect();
                (found, strides)
            }
            InputSize::AtLeast(least) | InputSize::MultipleOf(least) => {
                let side = least.max(MORE);
                let (found, larger) = (maps([side; 2])?, maps([side + MORE; 2])?);
                let pairs = found.iter().zip(&larger);
                let more = pairs
                    .map(|((_, map), (_, larger))| larger.dims()[2].saturating_sub(map.dims()[2]));
                let strides = more.map(|rows| MORE / rows.max(1)).collect();
                (found, strides)
            }
        };
        let info = found.into_iter().zip(strides);
        Ok(info
            .map(|((group, map), stride)| FeatureInfo {
                group,
                channels: map.dims()[1],
                stride,
            })
            .collect())
    }

    /// The outputs of the named groups as maps, in the order of the network, whatever the backbone
    /// is: the tokens of patches are put into their rows and columns, and those before them left out.
    /// A group that gives several maps is there as often.
    ///
    /// # Shapes
    /// - images: `[batch, in_channels, height, width]`, normalised
    /// - each map: `[batch, channels, rows, columns]`
    ///
    /// # Errors
    /// As [`forward_intermediates`](Self::forward_intermediates), and [`Error::InvalidArgument`] for a
    /// group whose output is no map.
    pub fn forward_maps(
        &self,
        images: Tensor<4>,
        groups: &[&str],
    ) -> Result<Vec<(String, Tensor<4>)>> {
        let [_, _, height, width] = images.dims();
        let prefix = self.backbone.describe().prefix_tokens;
        let mut maps = Vec::new();
        for (group, features) in self.forward_intermediates(images, groups)? {
            match features {
                Features::Map(map) => maps.push((group, map)),
                Features::Maps(several) => {
                    maps.extend(several.into_iter().map(|map| (group.clone(), map)));
                }
                Features::Tokens(tokens) => {
                    let map = map_of_patches(tokens, prefix, [height, width]);
                    let no_grid = || Error::argument(&group, "a map", "tokens that are no grid");
                    maps.push((group.clone(), map.ok_or_else(no_grid)?));
                }
            }
        }
        Ok(maps)
    }
}

/// The tokens of square patches as a map.
fn map_of_patches(tokens: Tensor<3>, prefix: usize, image: [usize; 2]) -> Option<Tensor<4>> {
    let patches = tokens.dims()[1].checked_sub(prefix)?;
    let grid = grid_of(patches, image)?;
    Some(map_of_tokens(tokens.narrow(1, prefix, patches), grid))
}

/// Rows and columns of so many square patches of an image. Patches that are cut out leave the rest of the image; convolutions
/// with padding go over its edge.
fn grid_of(patches: usize, image: [usize; 2]) -> Option<[usize; 2]> {
    let sides = || 1..=image[0].max(image[1]);
    let cut_out = sides().map(|side| image.map(|length| length / side));
    let padded = sides().map(|side| image.map(|length| length.div_ceil(side)));
    cut_out
        .chain(padded)
        .find(|[rows, columns]| rows * columns == patches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_are_found_by_their_patches() {
        for (patches, image, grid) in [
            (196, [224, 224], [14, 14]),
            (10, [32, 80], [2, 5]),
            (12, [50, 70], [3, 4]),
            // XCiT with patches of 16 pixels.
            (2, [17, 16], [2, 1]),
            (21, [33, 100], [3, 7]),
        ] {
            assert_eq!(grid_of(patches, image), Some(grid), "{image:?}");
        }
        assert_eq!(grid_of(7, [224, 224]), None);
    }
}
