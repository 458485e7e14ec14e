//! What is printed on standard output, and the error of a command that was stopped.

use std::io::Write as _;

use anyhow::{Context as _, Result};

use crate::notice;

/// Prints on standard output. A reader that has seen enough (`| head`) ends the program quietly.
pub fn print(text: impl std::fmt::Display) -> Result<()> {
    if notice::is_quiet() {
        return Ok(());
    }
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result.context("standard output"),
    }
}

/// Prints a JSON document, the only thing on standard output. An object gets a field `warnings` with
/// what was [told](notice::tell).
pub fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let mut value = serde_json::to_value(value)?;
    if let Some(object) = value.as_object_mut() {
        object.insert("warnings".to_owned(), notice::told().into());
    }
    print(serde_json::to_string_pretty(&value)?)
}

/// Ctrl-C or SIGTERM ended a command before its work was done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Stopped(pub String);
