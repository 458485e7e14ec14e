//! Files written whole or not at all, and their SHA-256.

use std::io::{Read as _, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// How the name of a file begins that is being written.
pub(crate) const TEMPORARY: &str = ".burn-zoo-";

/// Writes a file so that it appears whole or not at all: into a temporary file beside it, which is
/// then renamed.
///
/// # Errors
/// [`Error::Io`] if the folder or the file cannot be written; an old file is then as it was.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    // A link stays a link: the file behind it is replaced.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    // A pipe or a device cannot be renamed over.
    if path.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        return std::fs::write(path, bytes).map_err(Error::io("write", path));
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    // Temporary files are private by default; what a user finds in a folder should not be.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut file = builder
        .tempfile_in(dir)
        .map_err(Error::io("write into", dir))?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    file.as_file()
        .sync_all()
        .map_err(Error::io("write", path))?;
    file.persist(path)
        .map_err(|error| Error::io("write", path)(error.error))?;
    Ok(())
}

/// The SHA-256 of a file.
pub(crate) fn file_sha256(path: &Path) -> Result<String> {
    let mut file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(Error::io("read", path))? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
