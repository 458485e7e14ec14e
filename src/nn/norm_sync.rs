//! Batch normalisations that normalise by the images of several replicas, under a training run's
//! control.

use std::cell::RefCell;
use std::sync::Arc;

use burn_zoo_cpu::StatisticsSync;

thread_local! {
    static SYNC: RefCell<Option<Arc<dyn StatisticsSync>>> = const { RefCell::new(None) };
}

/// Runs something in which batch normalisations that train share their statistics by `sync`.
pub(crate) fn with<T>(sync: Option<Arc<dyn StatisticsSync>>, run: impl FnOnce() -> T) -> T {
    /// Ends the sharing, also when a panic goes by.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            SYNC.set(None);
        }
    }
    SYNC.set(sync);
    let _end = End;
    run()
}

/// How they share them, if they do.
pub(super) fn current() -> Option<Arc<dyn StatisticsSync>> {
    SYNC.with_borrow(Option::clone)
}
