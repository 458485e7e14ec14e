//! Architectures that a program adds to the zoo.

use std::sync::{PoisonError, RwLock};

use super::{Architecture, FAMILIES};
use crate::builder::{Spec, Zoo};
use crate::error::{Error, Result};

static REGISTERED: RwLock<Vec<&'static Architecture>> = RwLock::new(Vec::new());

/// The registered architectures, first to last.
pub(super) fn all() -> Vec<&'static Architecture> {
    REGISTERED
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

impl Zoo {
    /// Adds an architecture of your own to the zoo, as timm's `register_model` does. From then on
    /// this program finds it by its name, like any other: [`Zoo::get`] builds it, recipes train it,
    /// and [`Classifier::open`](crate::Classifier::open) opens what was exported of it.
    ///
    /// There are no published weights of it: choose random ones or a file. An architecture is registered
    /// once, before it is used. The command `burn-zoo` is another program: it does not know it, and
    /// opens neither its runs nor what was exported of it.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a name that the zoo has already, or that has anything but
    /// letters, digits and `_`.
    pub fn register(architecture: Architecture) -> Result<Spec> {
        let name = architecture.name;
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(fits) {
            let expected = "a name of letters, digits and `_`";
            return Err(Error::argument(
                "architecture",
                expected,
                format!("{name:?}"),
            ));
        }
        let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
        let mut known = FAMILIES.iter().flat_map(|family| family.variants);
        if known.any(|known| known.name == name)
            || registered.iter().any(|known| known.name == name)
        {
            let expected = "a name that the zoo does not have yet";
            return Err(Error::argument("architecture", expected, name));
        }
        registered.push(Box::leak(Box::new(architecture)));
        Ok(Spec::of(name))
    }
}
