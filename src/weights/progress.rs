//! What happens while weights are fetched.

#[cfg(feature = "hub")]
pub use super::hub::Progress;

/// Without the feature `hub` nothing is fetched, and nothing happens.
#[cfg(not(feature = "hub"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {}
