//! What is kept of a weight from one call to the next.

/// A weight in the forms that kernels multiply with: packed in panels, or transformed for Winograd's
/// products. Each form is made when it is first needed, and kept.
///
/// A cache belongs to one weight of one layer, which no longer changes: whoever changes the weight
/// takes a new cache.
#[derive(Debug, Default)]
pub struct WeightCache {
    #[cfg(feature = "flex")]
    pub(crate) forms: crate::flex::weight_forms::WeightForms,
}
