//! Training on several devices or machines at once: each rank has a replica of the model and a share of
//! the images, and the gradients are averaged.

mod broadcast;
mod communicator;
mod gradients;
mod group;
mod launched;
#[cfg(feature = "mpi")]
mod mpi;
mod options;
mod reducer;
mod relay;
mod replicas;
mod sync_norm;
mod threads;

pub use communicator::Communicator;
pub(super) use gradients::{Reduction, with_gradient};
pub(super) use group::{Group, LocalStep, StepReport};
pub use launched::Launched;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub use options::Parallel;
pub use reducer::AllReduceTime;
pub(super) use relay::Relay;
pub(super) use replicas::run_replicas;

use crate::error::{Error, Result};

/// The name of this machine.
fn host_name() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// What all ranks come to before they train, such as the images and the model: an error of one is the error
/// of all, so that nobody waits for it.
///
/// # Errors
/// The rank's own error, or [`Error::Rank`] with that of another.
pub fn agree<T, E>(communicator: &dyn Communicator, own: Result<T, E>) -> Result<Result<T, E>>
where
    E: std::fmt::Display,
{
    let word = own
        .as_ref()
        .err()
        .map(ToString::to_string)
        .unwrap_or_default();
    let words = communicator.all_gather(word.as_bytes())?;
    let hosts = communicator.all_gather(communicator.host().as_bytes())?;
    let failed = words.iter().position(|word| !word.is_empty());
    match failed.filter(|_| own.is_ok()) {
        Some(rank) => Err(Error::Rank {
            rank,
            host: String::from_utf8_lossy(&hosts[rank]).into_owned(),
            reason: String::from_utf8_lossy(&words[rank]).into_owned(),
        }),
        None => Ok(own),
    }
}
