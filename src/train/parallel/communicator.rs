//! What the loop knows of those who train together.

use crate::error::Result;

/// One of several ranks that train a model together, each with a replica and a share of the images.
///
/// Every rank makes the same calls in the same order. [`all_reduce_sum`](Self::all_reduce_sum) may be
/// called from another thread than the others, and while one of those is under way.
///
/// A call fails if another rank has ended, or cannot be reached.
pub trait Communicator: Send + Sync {
    /// This rank, counted from 0. Rank 0 writes, prints and decides.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// The machine that this rank runs on.
    fn host(&self) -> String;

    /// Replaces values by their sums over all ranks, the same bits on each. All give as many.
    ///
    /// # Errors
    /// [`Error::Rank`](crate::Error::Rank) if another rank is gone.
    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<()>;

    /// What each rank gives, in the order of ranks; their lengths may differ.
    ///
    /// # Errors
    /// [`Error::Rank`](crate::Error::Rank) if another rank is gone.
    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// What rank 0 gives; what the others give is not looked at.
    ///
    /// # Errors
    /// [`Error::Rank`](crate::Error::Rank) if another rank is gone.
    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>>;

    /// Called by a rank that has failed and told the others so, or cannot.
    fn give_up(&self) {}
}
