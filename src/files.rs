//! Files that appear complete or not at all, and their checksums.

use std::fs::File;
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
    write_file_with(path, |file| file.write_all(bytes))
}

/// The same of a file that `write` writes piece by piece.
pub(crate) fn write_file_with(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<()> {
    // A link stays a link: the file behind it is replaced.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    // A pipe or a device cannot be renamed over.
    if path.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        let written = File::create(path).and_then(|mut file| write(&mut file));
        return written.map_err(Error::io("write", path));
    }
    let folder = folder_of(path);
    let mut file = temporary_in(folder).map_err(Error::io("write into", folder))?;
    write(file.as_file_mut())
        .and_then(|()| rename_into(file, path))
        .map_err(Error::io("write", path))
}

/// Gives a file a second name, in a folder where there is none of it; where the file system has no hard
/// links, the second is a copy. As files are replaced by [`write_file`] and never written over, neither
/// name sees what becomes of the other.
///
/// # Errors
/// [`Error::Io`] if the one cannot be read or the other cannot be written.
pub(crate) fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    if std::fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    let bytes = std::fs::read(from).map_err(Error::io("read", from))?;
    write_file(to, &bytes)
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
    let mut file = File::open(path)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stays_when_that_of_its_second_name_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        write_file(&one, b"old").unwrap();
        link_or_copy(&one, &two).unwrap();
        assert_eq!(std::fs::read(&two).unwrap(), b"old");
        write_file(&two, b"new").unwrap();
        assert_eq!(std::fs::read(&one).unwrap(), b"old");
        assert_eq!(std::fs::read(&two).unwrap(), b"new");
        // Where there can be no link, as with a file that is there, it is a copy.
        link_or_copy(&one, &two).unwrap();
        assert_eq!(std::fs::read(&two).unwrap(), b"old");
        assert!(link_or_copy(&dir.path().join("none"), &two).is_err());
    }
}
