//! What follows from weights that no longer change, computed once: while a model runs inside
//! [`with`], a layer finds here what it prepared when it ran before.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use burn::module::ParamId;
use burn::tensor::Tensor;
use burn_zoo_cpu::WeightCache;

use super::trace;

/// What is known of the layers of one model, by the kernels' id.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    folded: Mutex<HashMap<ParamId, Folded>>,
    kernels: Mutex<HashMap<ParamId, Tensor<4>>>,
    weight_caches: Mutex<HashMap<ParamId, Arc<WeightCache>>>,
    biases: Mutex<HashMap<ParamId, Tensor<4>>>,
}

/// Kernels times the scale of the normalisation behind them, and what is added.
pub(crate) type Folded = (Tensor<4>, Tensor<1>);

impl Prepared {
    /// The folded kernels, made when they are first asked for.
    pub(crate) fn folded(&self, kernels: ParamId, make: impl FnOnce() -> Folded) -> Folded {
        // What a thread that died was about to put in is made by the next.
        let mut known = self.folded.lock().unwrap_or_else(|held| held.into_inner());
        known.entry(kernels).or_insert_with(make).clone()
    }

    /// The kernels that a weight becomes, made when they are first asked for.
    pub(super) fn kernels(&self, weight: ParamId, make: impl FnOnce() -> Tensor<4>) -> Tensor<4> {
        let mut known = self.kernels.lock().unwrap_or_else(|held| held.into_inner());
        known.entry(weight).or_insert_with(make).clone()
    }

    /// The cache of a weight, for the operations on a CPU.
    pub(super) fn weight_cache(&self, weight: ParamId) -> Arc<WeightCache> {
        let mut caches = self
            .weight_caches
            .lock()
            .unwrap_or_else(|held| held.into_inner());
        caches.entry(weight).or_default().clone()
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Prepared>>> = const { RefCell::new(None) };
}

/// Runs something with what is prepared for one model.
pub(crate) fn with<T>(prepared: &Arc<Prepared>, run: impl FnOnce() -> T) -> T {
    /// Puts back what was there before, also when a panic goes by.
    struct Back(Option<Arc<Prepared>>);
    impl Drop for Back {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _back = Back(CURRENT.replace(Some(prepared.clone())));
    run()
}

/// What is prepared for the model that runs on this thread, where layers that are folded together
/// take it: not while a trace is taken, which is of each layer by itself, and not where something
/// may be learnt.
pub(crate) fn for_input<const D: usize>(input: &Tensor<D>) -> Option<Arc<Prepared>> {
    current().filter(|_| !trace::active() && !input.device().is_autodiff())
}

/// What is added to the scores of an attention and follows from a parameter alone: made once for a
/// model that is prepared, and else each time.
pub(crate) fn bias(follows_from: ParamId, make: impl FnOnce() -> Tensor<4>) -> Tensor<4> {
    let Some(prepared) = current() else {
        return make();
    };
    let known = || {
        prepared
            .biases
            .lock()
            .unwrap_or_else(|held| held.into_inner())
    };
    if let Some(bias) = known().get(&follows_from) {
        return bias.clone();
    }
    let bias = make();
    known().insert(follows_from, bias.clone());
    bias
}

/// What is prepared for the model that runs on this thread.
pub(crate) fn current() -> Option<Arc<Prepared>> {
    CURRENT.with_borrow(Clone::clone)
}
