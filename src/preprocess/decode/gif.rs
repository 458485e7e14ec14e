//! GIF files: whether they are complete.

use std::io::{self, Read, Seek};

use super::file_window::FileWindow;

/// A size, and the trailer at the end.
pub(super) fn looks_sound<R: Read + Seek>(file: &mut FileWindow<R>) -> io::Result<bool> {
    let [a, b, c, d] = file.get(6)?;
    let [width, height] = [[a, b], [c, d]].map(u16::from_le_bytes);
    Ok(file.fits(width.into(), height.into(), 4) && file.last()? == *b";")
}
