//! The command's memory.

use mimalloc::MiMalloc;

/// Training asks for the same large blocks again and again; the system's allocator gives each back
/// and has it cleared anew.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// mimalloc's number for the milliseconds after which it gives back what is not used (10 by
/// default). The crate leaves out the name; the number is the same in its versions 2 and 3.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// More than a day. With no end at all (-1) mimalloc would not know later what it may give back.
const LONG: std::ffi::c_long = 100_000_000;

/// Keeps blocks until [`give_back`]: a step takes longer than mimalloc waits, and the system would clear
/// hundreds of megabytes anew in each. The variable of mimalloc's own has precedence.
pub fn keep_blocks() {
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        // SAFETY: sets a number.
        unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, LONG) };
    }
}

/// Gives back what is not used now.
pub fn give_back() {
    // SAFETY: may be called at any time.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn kept_blocks_are_given_back() {
        let resident = || {
            let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
            let pages: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
            pages / 256
        };
        keep_blocks();
        let before = resident();
        // Of the sizes that tensors have, smaller and larger than a segment.
        let blocks: Vec<Vec<u8>> = [96, 64, 24, 24, 3, 3, 3]
            .map(|mib| vec![1; mib << 20])
            .into();
        let with = resident();
        assert!(with > before + 200, "{before} to {with} MiB");
        drop(blocks);
        give_back();
        let after = resident();
        assert!(after + 150 < with, "{before} to {with} to {after} MiB");
    }
}
