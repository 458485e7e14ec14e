//! Files that appear complete or not at all, and their checksums.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

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
    // A pipe or a device cannot be renamed over.
    if path.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir()) {
        let written = File::create(path).and_then(|mut file| file.write_all(bytes));
        return written.map_err(Error::io("write", path));
    }
    Unnamed::write(path, |file| file.write_all(bytes))?.name()
}

/// A file that is written and has no name yet.
pub(crate) struct Unnamed {
    file: NamedTempFile,
    path: PathBuf,
}

impl Unnamed {
    /// A file for this path, which `write` writes.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder or the file cannot be written.
    pub(crate) fn write(
        path: &Path,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<Self> {
        // A link stays a link: the file behind it is replaced.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let folder = folder_of(&path);
        let mut file = temporary_in(folder).map_err(Error::io("write into", folder))?;
        let written = write(file.as_file_mut()).and_then(|()| file.as_file().sync_all());
        written.map_err(Error::io("write", &path))?;
        Ok(Self { file, path })
    }

    /// Gives it its name, in place of an old file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot have it.
    pub(crate) fn name(self) -> Result<()> {
        let named = self.file.persist(&self.path).map(drop);
        named.map_err(|error| Error::io("write", &self.path)(error.error))
    }

    /// Gives two files that belong together their names. An old file of the second name is removed before, so
    /// that it is never beside another than its own.
    ///
    /// # Errors
    /// [`Error::Io`] if one cannot have its name.
    pub(crate) fn name_both(first: Self, second: Self) -> Result<()> {
        remove_if_there(&second.path)?;
        first.name()?;
        second.name()
    }
}

/// Writes two files that belong together. Both are written before the first gets its name, and an old file of
/// the second name is removed before that, so that it is never beside another than its own.
///
/// # Errors
/// [`Error::Io`] as for [`write_file`]; if a file cannot be written, the old ones are as they were.
pub fn write_together(files: [(&Path, &[u8]); 2]) -> Result<()> {
    let [first, second] =
        files.map(|(path, bytes)| Unnamed::write(path, |file| file.write_all(bytes)));
    Unnamed::name_both(first?, second?)
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

/// A path as text. Bytes that are not UTF-8 are written as in `"a\xFF.png"`, so that two such paths stay apart.
pub fn path_text(path: &Path) -> String {
    let text = path.to_str().map(str::to_owned);
    text.unwrap_or_else(|| format!("{path:?}"))
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
    fn files_that_belong_together_are_replaced_together() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        write_together([(&one, b"1"), (&two, b"2")]).unwrap();
        let read = || [&one, &two].map(|path| std::fs::read(path).ok());
        assert_eq!(read(), [Some(b"1".to_vec()), Some(b"2".to_vec())]);
        // One that cannot be written leaves both as they were.
        let none = dir.path().join("none/two");
        assert!(write_together([(&one, b"3"), (&none, b"4")]).is_err());
        assert_eq!(read(), [Some(b"1".to_vec()), Some(b"2".to_vec())]);
        // What cannot get its name, a folder being there, leaves no last file beside others than its own.
        std::fs::remove_file(&one).unwrap();
        std::fs::create_dir(&one).unwrap();
        assert!(write_together([(&one, b"5"), (&two, b"6")]).is_err());
        assert_eq!(read(), [None, None]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn two_paths_are_two_texts() {
        use std::os::unix::ffi::OsStrExt as _;
        let texts = [&b"a b.png"[..], b"\xfe.png", b"\xff.png"]
            .map(|path| path_text(Path::new(std::ffi::OsStr::from_bytes(path))));
        assert_eq!(texts, ["a b.png", r#""\xFE.png""#, r#""\xFF.png""#]);
    }

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
