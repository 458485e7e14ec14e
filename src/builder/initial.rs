//! The values with which a new head starts.

use std::collections::HashMap;

use crate::error::Result;
use crate::init::{Init, Rng};
use crate::model::{Classifier, in_head, params};

/// Values for the classifiers of a model, by path.
pub(crate) fn fresh_head(
    model: &Classifier,
    init: &Init,
    seed: u64,
) -> Result<HashMap<String, Vec<f32>>> {
    let shape = [model.num_classes(), model.num_features()];
    let slots = params::list(model).into_iter();
    let slots = slots.filter(|slot| in_head(&slot.path));
    slots
        .map(|slot| {
            let mut rng = Rng::new(seed, &slot.path);
            let values = match slot.shape.len() {
                1 => init.bias(&shape, slot.num_elements(), &mut rng)?,
                _ => init.weight(&shape, &mut rng)?,
            };
            Ok((slot.path, values))
        })
        .collect()
}
