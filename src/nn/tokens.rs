//! Tokens: the positions of a map in a row, and learnt ones before them.

use burn::module::Param;
use burn::tensor::Tensor;

/// The positions of a map, row by row.
///
/// # Shapes
/// - input: `[batch, channels, height, width]`
/// - output: `[batch, height * width, channels]`
pub fn tokens_of_map(map: Tensor<4>) -> Tensor<3> {
    map.flatten::<3>(2, 3).swap_dims(1, 2)
}

/// The map of so many rows and columns whose positions [`tokens_of_map`] put in a row.
///
/// # Shapes
/// - input: `[batch, height * width, channels]`
/// - output: `[batch, channels, height, width]`
pub fn map_of_tokens(tokens: Tensor<3>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [batch, _, channels] = tokens.dims();
    let channels_first = tokens.swap_dims(1, 2);
    channels_first.reshape([batch, channels, height, width])
}

/// Learnt tokens, one after the other, and those of each image behind them, in the type of these.
///
/// # Shapes
/// - each of the learnt: `[1, count, channels]`
/// - tokens: `[batch, length, channels]`
/// - output: `[batch, all counts + length, channels]`
pub fn prepend_tokens<'a>(
    learnt: impl IntoIterator<Item = &'a Param<Tensor<3>>>,
    tokens: Tensor<3>,
) -> Tensor<3> {
    let [batch, _, channels] = tokens.dims();
    let (dtype, device) = (tokens.dtype(), tokens.device());
    let learnt = learnt.into_iter().map(|token| {
        let mut token = token.val().cast(dtype);
        // A model may be cut between a token and what it goes before.
        if token.device() != device {
            token = token.to_device(&device);
        }
        let count = token.dims()[1];
        token.expand([batch, count, channels])
    });
    Tensor::cat(learnt.chain([tokens]).collect(), 1)
}
