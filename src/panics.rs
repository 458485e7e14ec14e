//! Panics that become errors: those of a decoder, and of an allocator.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;

use crate::error::{Error, Result};

/// Which messages of a panic are not printed.
type Held = fn(&str) -> bool;

thread_local! {
    /// What the last panic on this thread said, if it was held back.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
    static WAITING: Cell<Option<Held>> = const { Cell::new(None) };
}

/// What a panic that was held back said (else nothing), and what it carried.
pub(crate) type Panic = (Option<String>, Box<dyn std::any::Any + Send>);

/// Runs something without those of its panics being printed that `held` names by their message.
pub(crate) fn quietly<T>(held: Held, run: impl FnOnce() -> T) -> std::result::Result<T, Panic> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.payload_as_str().unwrap_or_default().to_owned();
            match WAITING.get() {
                Some(held) if held(&text) => CAUGHT.set(Some(text)),
                _ => usual(info),
            }
        }));
    });
    let before = WAITING.replace(Some(held));
    let result = catch_unwind(AssertUnwindSafe(run));
    WAITING.set(before);
    result.map_err(|panic| (CAUGHT.take(), panic))
}

/// Reads an image. A decoder that panics has met an image that cannot be read.
pub(crate) fn of_decoder<T>(
    image: impl AsRef<Path>,
    read: impl FnOnce() -> Result<T>,
) -> Result<T> {
    quietly(|_| true, read).unwrap_or_else(|(message, _)| {
        Err(Error::Image {
            path: image.as_ref().to_path_buf(),
            reason: format!("its decoder panicked: {}", message.unwrap_or_default()),
        })
    })
}
