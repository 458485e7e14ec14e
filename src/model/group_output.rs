//! The output of a model's groups.

use burn::tensor::{Device, Tensor, TensorData};

use super::features::{Features, side_by_side};

/// The output of a model's first groups, which the next group or the last layer gets.
#[derive(Debug, Clone)]
pub(crate) enum GroupOutput {
    /// Not of all groups; of none, the images.
    Features(Features),
    /// Of all but the head, `[batch, num_features]`.
    Vector(Tensor<2>),
}

/// What the output is for one image: the shape of each tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutputShape(Vec<Vec<usize>>);

impl OutputShape {
    /// Values of one image.
    pub fn length(&self) -> usize {
        self.0
            .iter()
            .map(|shape| shape.iter().product::<usize>())
            .sum()
    }
}

impl GroupOutput {
    /// Applies the same to each tensor, whatever its rank.
    pub fn map(self, function: &impl TensorFn) -> Self {
        match self {
            Self::Features(Features::Map(x)) => Self::Features(Features::Map(function.apply(x))),
            Self::Features(Features::Tokens(x)) => {
                Self::Features(Features::Tokens(function.apply(x)))
            }
            Self::Features(Features::Maps(maps)) => {
                let maps = maps.into_iter().map(|x| function.apply(x));
                Self::Features(Features::Maps(maps.collect()))
            }
            Self::Vector(x) => Self::Vector(function.apply(x)),
        }
    }

    /// What it is for one image.
    pub fn shape(&self) -> OutputShape {
        let shapes = match self {
            Self::Features(Features::Maps(maps)) => {
                maps.iter().map(|map| map.dims()[1..].to_vec()).collect()
            }
            Self::Features(features) => vec![features.dims()[1..].to_vec()],
            Self::Vector(x) => vec![x.dims()[1..].to_vec()],
        };
        OutputShape(shapes)
    }

    /// The values in row-major order, image by image.
    pub fn into_data(self) -> TensorData {
        match self {
            Self::Features(Features::Map(x)) => x.into_data(),
            Self::Features(Features::Tokens(x)) => x.into_data(),
            Self::Features(Features::Maps(maps)) => side_by_side(maps).into_data(),
            Self::Vector(x) => x.into_data(),
        }
    }

    /// From what [`into_data`](Self::into_data) gave for so many images.
    pub fn from_values(
        values: Vec<f32>,
        images: usize,
        OutputShape(shapes): &OutputShape,
        device: &Device,
    ) -> Self {
        let [shape] = &shapes[..] else {
            let length = values.len() / images.max(1);
            let rows = Tensor::<2>::from_data(TensorData::new(values, [images, length]), device);
            let mut start = 0;
            let maps = shapes.iter().map(|shape| {
                let length = shape.iter().product();
                let map = rows.clone().narrow(1, start, length);
                start += length;
                map.reshape([images, shape[0], shape[1], shape[2]])
            });
            return Self::Features(Features::Maps(maps.collect()));
        };
        let data = TensorData::new(values, [&[images], &shape[..]].concat());
        match shape.len() {
            1 => Self::Vector(Tensor::from_data(data, device)),
            2 => Self::Features(Features::Tokens(Tensor::from_data(data, device))),
            _ => Self::Features(Features::Map(Tensor::from_data(data, device))),
        }
    }
}

/// A function of tensors of any rank.
pub(crate) trait TensorFn {
    fn apply<const D: usize>(&self, tensor: Tensor<D>) -> Tensor<D>;
}
