//! Tells by a file's first bytes which format it has, or what else it seems to be.

use super::quote::shown;

/// How many bytes of a file tell its format.
pub(super) const HEAD: u64 = 512;

/// The longest header of a safetensors file, by the format's definition.
const LONGEST_HEADER: u64 = 100_000_000;

const EXPECTED: &str = "expected a safetensors or PyTorch file";

/// The number that begins a PyTorch file of before 1.6, in the binary and in the text encoding.
const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const LEGACY_MAGIC_TEXT: &[u8] = b"119547037146038801333356";

#[derive(Debug)]
pub(super) enum Format {
    /// `header` is the length of the header, as the file states it.
    Safetensors {
        header: u64,
    },
    Zip,
    /// `count` pickles in a row, at the start of the file.
    Pickle {
        count: usize,
    },
}

impl Format {
    /// The format by the first bytes of a file, or what the file is instead.
    pub(super) fn of(head: &[u8]) -> Result<Format, String> {
        let header = head.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let brace = head.get(8) == Some(&b'{');
        // First, because the header's length can begin with the same bytes as another format; none
        // of them has the four zeros that follow here.
        if let (Some(header @ ..=LONGEST_HEADER), true) = (header, brace) {
            return Ok(Format::Safetensors { header });
        }
        if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            return Ok(Format::Zip);
        }
        if head.get(257..262) == Some(b"ustar") {
            return Err(format!(
                "{EXPECTED}, found a TAR archive, as PyTorch before 0.1.10 wrote them; load it \
                 with PyTorch and save it again"
            ));
        }
        let opening = &head[..head.len().min(64)];
        let contains = |magic: &[u8]| opening.windows(magic.len()).any(|bytes| bytes == magic);
        if contains(&LEGACY_MAGIC) || contains(LEGACY_MAGIC_TEXT) {
            // The magic number, the format's version, the machine, the object and the list of
            // storages, each by itself.
            return Ok(Format::Pickle { count: 5 });
        }
        if let Some(kind) = known_binary(head) {
            return Err(format!("{EXPECTED}, found {kind}"));
        }
        // A pickle may consist of printable characters only, so it comes before texts.
        if matches!(head, [0x80, 0..=5, ..] | [b'(' | b'c' | b'}' | b']', ..]) {
            return Ok(Format::Pickle { count: 1 });
        }
        if let Some(kind) = known_text(head) {
            return Err(format!("{EXPECTED}, found {kind}"));
        }
        if let (Some(header), true) = (header, brace) {
            return Err(format!(
                "its safetensors header is said to be {header} bytes long; the format allows \
                 {LONGEST_HEADER}"
            ));
        }
        Err(format!(
            "{EXPECTED}, but its first bytes are those of neither"
        ))
    }
}

/// What a file that holds no weights, or none in a format that is read here, seems to be.
fn known_binary(head: &[u8]) -> Option<&'static str> {
    const MAGICS: [(&[u8], &str); 13] = [
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"\xff\xd8\xff", "a JPEG image"),
        (b"GIF8", "a GIF image"),
        (b"RIFF", "a RIFF file, such as a WebP image"),
        (b"%PDF", "a PDF document"),
        (b"\x1f\x8b", "a gzip file; unpack it first"),
        (b"BZh", "a bzip2 file; unpack it first"),
        (b"\xfd7zXZ\0", "an xz file; unpack it first"),
        (b"\x28\xb5\x2f\xfd", "a Zstandard file; unpack it first"),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it first"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras weights"),
        (b"GGUF", "a GGUF file"),
        (b"\x93NUMPY", "a NumPy array"),
    ];
    if let Some((_, kind)) = MAGICS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(kind);
    }
    if head.get(4..8) == Some(b"TFL3") {
        return Some("a TensorFlow Lite model");
    }
    // Protocol buffers have no magic number; an ONNX model begins with its format's version, then
    // the name of the program that wrote it or the graph.
    if matches!(head, [0x08, 1..=32, 0x12 | 0x1a | 0x22 | 0x3a, ..]) {
        return Some("a protocol buffer, such as an ONNX model");
    }
    None
}

/// The same for a file that is a text.
fn known_text(head: &[u8]) -> Option<String> {
    // The head may end in the middle of a character.
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    if text.contains(|c: char| c.is_control() && !c.is_ascii_whitespace()) {
        return None;
    }
    let text = text.trim_start_matches('\u{feff}').trim();
    let begins = |prefix: &str| {
        (text.get(..prefix.len())).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let kind = if begins("version https://git-lfs") {
        "a Git LFS pointer; fetch the real file with `git lfs pull`"
    } else if begins("<!doctype html") || begins("<html") {
        "an HTML page, perhaps the error page of a failed download"
    } else if begins("<") {
        "an XML document, perhaps the error page of a failed download"
    } else if begins("{") && text.contains("\"weight_map\"") {
        "the index of a checkpoint in several parts, which is not supported; load the parts with \
         PyTorch or safetensors and save them as one file"
    } else if begins("{") || begins("[") {
        "a JSON text; a checkpoint in several parts is not supported"
    } else {
        let line: String = (text.lines().next().unwrap_or_default().chars())
            .take(60)
            .collect();
        return Some(format!("a text that begins with \"{}\"", shown(&line)));
    };
    Some(kind.to_owned())
}
