//! What a forward pass went through, for [`crate::summary`].
//!
//! Every layer reports its output while a trace is being taken on the same thread; otherwise a
//! report is one look at a thread-local flag. It takes the place of PyTorch's forward hooks.

use std::cell::RefCell;

use burn::module::ParamId;
use burn::tensor::Tensor;

/// One layer that ran.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// The layer's type, as PyTorch calls it.
    pub kind: &'static str,
    /// The id of the layer's weight, if it has one; the summary finds its name by it.
    pub weight: Option<ParamId>,
    /// Shape of the output, batch included.
    pub output: Vec<usize>,
    /// Multiply-accumulates, of the one sample that a trace is taken with.
    pub macs: usize,
}

thread_local! {
    static TRACE: RefCell<Option<Vec<Record>>> = const { RefCell::new(None) };
}

/// Whether a trace is being taken on this thread.
pub(crate) fn active() -> bool {
    TRACE.with_borrow(Option::is_some)
}

pub(crate) fn layer<const D: usize>(
    kind: &'static str,
    weight: ParamId,
    output: &Tensor<D>,
    macs: usize,
) {
    push(kind, Some(weight), output, macs);
}

pub(crate) fn pool<const D: usize>(kind: &'static str, output: &Tensor<D>) {
    push(kind, None, output, 0);
}

/// A product of two activations, as attention has them: it has no weight of its own.
pub(crate) fn product<const D: usize>(kind: &'static str, output: &Tensor<D>, macs: usize) {
    push(kind, None, output, macs);
}

fn push<const D: usize>(
    kind: &'static str,
    weight: Option<ParamId>,
    output: &Tensor<D>,
    macs: usize,
) {
    TRACE.with_borrow_mut(|trace| {
        if let Some(records) = trace {
            records.push(Record {
                kind,
                weight,
                output: output.dims().to_vec(),
                macs,
            });
        }
    });
}

/// The last layer's output is, for a reader, of this one's shape: the layer saw it in another order.
pub(crate) fn shape_of_last<const D: usize>(output: &Tensor<D>) {
    TRACE.with_borrow_mut(|trace| {
        if let Some(record) = trace.as_mut().and_then(|records| records.last_mut()) {
            record.output = output.dims().to_vec();
        }
    });
}

/// Runs `forward` and returns what it went through.
pub(crate) fn record<T>(forward: impl FnOnce() -> T) -> (T, Vec<Record>) {
    TRACE.set(Some(Vec::new()));
    let result = forward();
    (result, TRACE.take().unwrap_or_default())
}
