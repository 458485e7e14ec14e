//! From a file to its text.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};

/// The text of a file in UTF-8, or in UTF-16 with a byte order mark.
pub(super) fn read(file: &Path) -> Result<String> {
    let text = decode(file, bytes(file)?)?;
    // Of the line ends, a lone `\r` is the one that nothing counts.
    if text.contains('\r') && !text.contains('\n') {
        return Ok(text.replace('\r', "\n"));
    }
    Ok(text)
}

fn bytes(file: &Path) -> Result<Vec<u8>> {
    let wrong = |found: &str| Err(Error::data(file, "a CSV file", found));
    match fs::metadata(file) {
        Ok(metadata) if metadata.is_file() => fs::read(file).map_err(Error::io("read", file)),
        Ok(metadata) if metadata.is_dir() => wrong("a folder"),
        // Opening anything but a file may wait for ever.
        Ok(_) => wrong("no regular file"),
        Err(error) if error.kind() == ErrorKind::NotFound => wrong("no such file"),
        Err(error) => Err(Error::io("read", file)(error)),
    }
}

fn decode(file: &Path, mut bytes: Vec<u8>) -> Result<String> {
    if let Some(units) = bytes.strip_prefix(b"\xff\xfe") {
        return utf16(file, units, u16::from_le_bytes);
    }
    if let Some(units) = bytes.strip_prefix(b"\xfe\xff") {
        return utf16(file, units, u16::from_be_bytes);
    }
    if bytes.starts_with(b"PK\x03\x04") {
        let found = "a ZIP archive, as Excel's own format is; save it as CSV";
        return Err(Error::data(file, "a CSV file", found));
    }
    if bytes.starts_with("\u{feff}".as_bytes()) {
        bytes.drain(..'\u{feff}'.len_utf8());
    }
    String::from_utf8(bytes).map_err(|error| {
        let sound = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..sound).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let found = "other bytes; save the file as UTF-8";
        Error::data(file, format!("text in UTF-8 in line {line}"), found)
    })
}

fn utf16(file: &Path, bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units = pairs.iter().map(|pair| unit(*pair));
    let mut text = String::with_capacity(bytes.len());
    for character in char::decode_utf16(units) {
        match character {
            Ok(character) => text.push(character),
            Err(_) => return Err(bad_utf16(file, &text)),
        }
    }
    if rest.is_empty() {
        return Ok(text);
    }
    Err(bad_utf16(file, &text))
}

fn bad_utf16(file: &Path, before: &str) -> Error {
    let line = before.matches('\n').count() + 1;
    let expected = format!("text in UTF-16, as the byte order mark says, in line {line}");
    Error::data(file, expected, "other bytes; save the file as UTF-8")
}
