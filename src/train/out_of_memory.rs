//! Not enough memory: noticed where a backend lets it be, and answered with what would help.

use super::recipe::Recipe;
use crate::error::{Error, Result};
use crate::panics;

/// Runs a training step. A GPU's allocator reports too little memory by a panic, deep in the
/// backend; here it becomes an error. Any other panic goes on as it was. `least` is the smallest
/// batch that trains.
pub(super) fn catch_out_of_memory<T>(
    recipe: &Recipe,
    least: usize,
    step: impl FnOnce() -> Result<T>,
) -> Result<T> {
    match panics::quietly(speaks_of_memory, step) {
        Ok(result) => result,
        Err((Some(reason), _)) => Err(Error::OutOfMemory {
            batch_size: recipe.batch_size,
            accumulate: recipe.accumulate,
            least,
            reason,
        }),
        Err((None, panic)) => std::panic::resume_unwind(panic),
    }
}

/// Whether a panic is an allocator's. "Illegal memory access" is a fault of a kernel, after which
/// nothing on that device can be trusted.
fn speaks_of_memory(message: &str) -> bool {
    let message = message.to_lowercase();
    let out = ["out of memory", "outofmemory", "out_of_memory", "alloc"];
    !message.contains("illegal") && out.iter().any(|word| message.contains(word))
}
