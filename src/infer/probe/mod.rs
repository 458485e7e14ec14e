//! What a backbone's features are worth, without training it.

mod embeddings;
mod lbfgs;
mod linear;
mod neighbors;

pub use embeddings::Embeddings;
pub use linear::{LinearProbe, Strength};
pub use neighbors::nearest_neighbors;
