//! Architectures that a program adds to the zoo.

use std::sync::{PoisonError, RwLock};

use super::{Architecture, FAMILIES};
use crate::error::{Error, Result};

static REGISTERED: RwLock<Vec<&'static Architecture>> = RwLock::new(Vec::new());

/// The registered architectures, first to last.
pub(super) fn all() -> Vec<&'static Architecture> {
    REGISTERED
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// Adds one; its name.
pub(crate) fn add(architecture: Architecture) -> Result<&'static str> {
    let name = architecture.name;
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(fits) {
        let expected = "a name of letters, digits and `_`";
        let found = format!("{name:?}");
        return Err(Error::argument("architecture", expected, found));
    }
    let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    let own = registered.iter().copied();
    let mut known = FAMILIES
        .iter()
        .flat_map(|family| family.variants)
        .chain(own);
    if known.any(|known| known.name == name) {
        let expected = "a name that the zoo does not have yet";
        return Err(Error::argument("architecture", expected, name));
    }
    registered.push(Box::leak(Box::new(architecture)));
    Ok(name)
}
