//! What a user must be told beside the result: what was left out, cut, chosen for them or overruled.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Says it on standard error, and keeps it for the field `warnings` of a JSON document.
pub fn tell(text: impl Display) {
    let text = text.to_string();
    eprintln!("{text}");
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    told.push(text);
}

/// All that was told so far, in order.
pub fn told() -> Vec<String> {
    TOLD.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
