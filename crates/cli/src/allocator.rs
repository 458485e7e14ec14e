//! The command's memory.

use mimalloc::MiMalloc;

/// Training asks for the same large blocks again and again; the system's allocator gives each back
/// and has it cleared anew.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// mimalloc's number for the milliseconds after which it gives back what is not used (10 by
/// default). The crate leaves out the name; the number is the same in its versions 2 and 3.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Keeps blocks until the end: a step takes longer than mimalloc waits, and the system would clear
/// hundreds of megabytes anew in each. The variable of mimalloc's own has precedence.
pub fn keep_blocks() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: sets a number.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    }
}

/// Gives back what is not used now.
pub fn give_back() {
    // SAFETY: may be called at any time.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
