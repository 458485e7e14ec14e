//! What is kept of a weight from one call to the next.

/// A weight in the forms that kernels multiply with: packed in panels, or transformed for Winograd's
/// products. Each form is made when it is first needed, and kept.
///
/// A cache belongs to one layer, whose weight no longer changes: whoever changes the weight takes a new
/// cache. A layer of another shape makes no use of it.
#[derive(Debug, Default)]
pub struct WeightCache {
    #[cfg(feature = "flex")]
    pub(crate) forms: crate::flex::weight_forms::WeightForms,
}
