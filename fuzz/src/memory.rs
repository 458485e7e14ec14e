//! An allocator that ends the process where an input asks for more memory than it is worth.
//!
//! libFuzzer's `-rss_limit_mb` looks once a second and sees only pages that were touched, and its
//! `-malloc_limit_mb` needs a sanitizer.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most bytes that may be held at once. A target that trains a model raises it. The crate `tiff`
/// reserves up to 256 MiB for the values that a tag claims to have, before it reads the first.
pub static LIMIT: AtomicUsize = AtomicUsize::new(288 << 20);
static HELD: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator within [`LIMIT`].
pub struct Limited;

fn take(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed);
    if held.saturating_add(bytes) > LIMIT.load(Ordering::Relaxed) {
        // Nothing may be allocated here.
        let _ = std::io::stderr().write_all(b"== more memory than an input is worth\n");
        std::process::abort();
    }
}

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        take(size);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Limited = Limited;
