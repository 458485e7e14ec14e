//! Several views of an image, to average a prediction over.

use serde::{Deserialize, Serialize};

use super::padding::PaddingMode;
use crate::preprocess::image::Image;
use crate::preprocess::transform::{Cut, Plan, Preprocess};
use crate::text::text_choice;

/// Which views of an image a prediction is made from: test-time augmentation. The outputs of the
/// model, or better their probabilities, are averaged over the views.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Views {
    /// The image as [`Preprocess`] makes it.
    #[default]
    One,
    /// That, and its mirror image.
    Flip,
    /// The image, the same moved by one pixel up and left, moved by one down and right, and the mirror
    /// images of these three. They are the views of the speed runs on CIFAR-10 (Jordan, 2024,
    /// <https://arxiv.org/abs/2404.00498>); there the two that are not moved have half of the weight, here
    /// all have the same. For images of 28 or 32 pixels; what comes in at an edge is the image mirrored
    /// about it.
    FlipShift,
    /// The four corners and the middle of the resized image: torchvision's `FiveCrop`.
    FiveCrop,
    /// Those, and the same of the mirror image: torchvision's `TenCrop`.
    TenCrop,
}

/// What a crop takes where nothing is left to cut off.
const CROP_PCT: f64 = 0.875;

impl Views {
    /// How many views there are of each image.
    pub fn count(self) -> usize {
        match self {
            Views::One => 1,
            Views::Flip => 2,
            Views::FlipShift => 6,
            Views::FiveCrop => 5,
            Views::TenCrop => 10,
        }
    }

    /// The views of an image, each as [`Preprocess::apply`] would give it.
    ///
    /// The crops are the upper left, upper right, lower left and lower right corner and the middle,
    /// all of the input's size, of the image that [`Preprocess`] takes its middle of: brought to
    /// the size divided by `crop_pct`. Where that is 1 or more, nothing is left to choose from, and
    /// it is taken for 0.875: at 224 pixels, the crops are of an image of 256. Without an image
    /// size, images are enlarged by as much, and the crops have the image's own size.
    ///
    /// # Shapes
    /// - output: [`count`](Self::count) times `[channels, height, width]`, row-major
    pub fn views(self, preprocess: &Preprocess, image: &Image) -> Vec<Vec<f32>> {
        let (height, width) = preprocess.output_size(image.height(), image.width());
        match self {
            Views::One => vec![preprocess.apply(image)],
            Views::Flip => {
                let one = preprocess.apply(image);
                let mirrored = mirrored(one.clone(), width);
                vec![one, mirrored]
            }
            Views::FlipShift => {
                let one = preprocess.apply(image);
                let shifts = [0, 1, -1].map(|by| shifted(&one, [height, width], by));
                let mirrored = shifts.clone().map(|values| mirrored(values, width));
                shifts.into_iter().chain(mirrored).collect()
            }
            Views::FiveCrop | Views::TenCrop => {
                let (preprocess, resized) = resized(preprocess, image);
                let crop = |rows: &Cut, columns: Cut| {
                    let plan = Plan {
                        resized,
                        rows: rows.clone(),
                        columns,
                    };
                    preprocess.apply_plan(image, [height, width], Some(&plan))
                };
                let rows = Cut::all(resized[0], height as u64);
                let columns = Cut::all(resized[1], width as u64);
                // Start, middle and end of each axis.
                let order = [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)];
                let mut views: Vec<_> = order
                    .iter()
                    .map(|(row, column)| crop(&rows[*row], columns[*column].clone()))
                    .collect();
                if self == Views::TenCrop {
                    // A part of the mirror image is the mirror image of a part.
                    views.extend(order.iter().map(|(row, column)| {
                        let columns = columns[*column].mirrored(resized[1], width);
                        mirrored(crop(&rows[*row], columns), width)
                    }));
                }
                views
            }
        }
    }
}

/// The steps that leave something to cut off, and the size that they bring an image to.
fn resized(preprocess: &Preprocess, image: &Image) -> (Preprocess, [u64; 2]) {
    let (height, width) = (image.height(), image.width());
    match preprocess.image_size {
        Some(size) => {
            let crop_pct = if preprocess.crop_pct < 1.0 {
                preprocess.crop_pct
            } else {
                CROP_PCT
            };
            let preprocess = preprocess.clone().crop_pct(crop_pct);
            let resized = preprocess.plan(height, width, size).resized;
            (preprocess, resized)
        }
        None => {
            let resized = [height, width].map(|side| (side as f64 / CROP_PCT) as u64);
            (preprocess.clone(), resized)
        }
    }
}

impl Cut {
    /// `size` from the start, the middle and the end of `side`; the middle three times if there are
    /// not so many.
    fn all(side: u64, size: u64) -> [Cut; 3] {
        let middle = Cut::middle(side, size);
        let Some(last) = side.checked_sub(size) else {
            return [middle.clone(), middle.clone(), middle];
        };
        let from = |start| Cut {
            taken: start..start + size,
            before: 0,
        };
        [from(0), middle, from(last)]
    }

    /// The same part seen from the other end of `side`, in an output of `size`.
    fn mirrored(&self, side: u64, size: usize) -> Cut {
        let taken = side - self.taken.end..side - self.taken.start;
        let length = (taken.end - taken.start) as usize;
        Cut {
            before: size.saturating_sub(self.before + length),
            taken,
        }
    }
}

/// Every position has what is so many rows below and columns to the right of it.
fn shifted(values: &[f32], sides: [usize; 2], by: i64) -> Vec<f32> {
    let moved = |side: usize| {
        (0..side).filter_map(move |at| PaddingMode::Reflect.position(at as i64 + by, side))
    };
    let [height, width] = sides;
    let maps = values.chunks_exact((height * width).max(1));
    maps.flat_map(|map| {
        moved(height).flat_map(move |row| moved(width).map(move |column| map[row * width + column]))
    })
    .collect()
}

fn mirrored(mut values: Vec<f32>, width: usize) -> Vec<f32> {
    for row in values.chunks_exact_mut(width.max(1)) {
        row.reverse();
    }
    values
}

text_choice!(Views, "views");
