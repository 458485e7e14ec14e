//! The operations on burn's Flex backend.

mod activation;
mod autodiff;
mod batch_norm;
mod conv;
mod epilogue;
mod feature_map;
mod group_blocks;
mod kernels;
mod matmul;
mod max_pool;
mod muon;
pub mod operations;
mod ops;
mod optimizer;
mod packed;
mod parallel_product;
mod simd;
mod tokens;
pub mod weight_forms;
mod window;
mod winograd;
