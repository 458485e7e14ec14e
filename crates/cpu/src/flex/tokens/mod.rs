//! The operations of a transformer: affine layers with GELU or an addition behind them, layer
//! normalisation, attention. Tokens are rows of numbers, `[batch, length, width]`.

pub mod attention;
pub mod layer_norm;
pub mod linear;
pub mod math;
pub mod rows;
