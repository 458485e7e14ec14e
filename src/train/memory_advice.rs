//! Not enough memory: noticed where a backend lets it be, and answered with what would help.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::Recipe;
use crate::error::{Error, Result};

thread_local! {
    /// What the last panic on this thread said, while one is being waited for.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
    static WAITING: RefCell<bool> = const { RefCell::new(false) };
}

/// Runs a training step. A GPU's allocator reports too little memory by a panic, deep in the
/// backend; here it becomes an error. Any other panic goes on as it was.
pub(super) fn catch_out_of_memory<T>(
    recipe: &Recipe,
    step: impl FnOnce() -> Result<T>,
) -> Result<T> {
    match quietly(step) {
        Ok(result) => result,
        Err((message, _)) if speaks_of_memory(&message) => Err(Error::OutOfMemory {
            batch_size: recipe.batch_size,
            accumulate: recipe.accumulate,
            reason: message,
        }),
        Err((_, panic)) => std::panic::resume_unwind(panic),
    }
}

type Panic = (String, Box<dyn std::any::Any + Send>);

/// Runs something without its panic being printed.
fn quietly<T>(run: impl FnOnce() -> T) -> std::result::Result<T, Panic> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.payload_as_str().unwrap_or_default().to_owned();
            let held = WAITING.with_borrow(|waiting| *waiting) && speaks_of_memory(&text);
            match held {
                true => CAUGHT.set(Some(text)),
                false => usual(info),
            }
        }));
    });
    WAITING.set(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    WAITING.set(false);
    result.map_err(|panic| (CAUGHT.take().unwrap_or_default(), panic))
}

/// Whether a panic is an allocator's. "Illegal memory access" is a fault of a kernel, after which
/// nothing on that device can be trusted.
fn speaks_of_memory(message: &str) -> bool {
    let message = message.to_lowercase();
    let out = ["out of memory", "outofmemory", "out_of_memory", "alloc"];
    !message.contains("illegal") && out.iter().any(|word| message.contains(word))
}
