//! Files that appear complete or not at all, and their checksums.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// How the name of a file begins that is being written.
pub(crate) const TEMPORARY: &str = ".burn-zoo-";

/// A new file in `folder`, which is deleted when it is dropped before [`rename_into`].
pub(crate) fn temporary_in(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    // As for any new file, less the umask: temporary files are private unless told, and the folder
    // may be shared.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Writes `file`, which lies in the folder of `path`, to the disk and gives it that name.
pub(crate) fn rename_into(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The folder of a path; `.` for a bare file name.
pub(crate) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Writes a file so that it appears complete or not at all: into a temporary file beside it, which
/// is then renamed.
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
    let folder = folder_of(path);
    let mut file = temporary_in(folder).map_err(Error::io("write into", folder))?;
    file.write_all(bytes)
        .and_then(|()| rename_into(file, path))
        .map_err(Error::io("write", path))
}

/// Removes a file, if it is there.
///
/// # Errors
/// [`Error::Io`] if it is there and cannot be removed.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of a file.
pub(crate) fn sha256_of(path: &Path) -> io::Result<String> {
    let mut state = Sha256::new();
    read_in_pieces(path, |piece| state.update(piece))?;
    Ok(hex(&state.finalize()))
}

/// Hands the content of a file to `each`, piece by piece.
pub(crate) fn read_in_pieces(path: &Path, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let mut file = std::fs::File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => each(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
