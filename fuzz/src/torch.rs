//! The containers that `torch.save` writes, so that an input can be the pickle alone.

/// A ZIP archive of stored entries.
pub fn zip_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let offset = bytes.len() as u32;
        let size = content.len() as u32;
        let mut header = vec![0x14, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        header.extend(crc32fast::hash(content).to_le_bytes());
        header.extend(size.to_le_bytes());
        header.extend(size.to_le_bytes());
        header.extend((name.len() as u16).to_le_bytes());
        header.extend([0, 0]);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&header);
        bytes.extend(name.as_bytes());
        bytes.extend(*content);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&header);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let offset = bytes.len() as u32;
    let count = (entries.len() as u16).to_le_bytes();
    let size = (directory.len() as u32).to_le_bytes();
    bytes.extend(directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend([count, count].concat());
    bytes.extend([size, offset.to_le_bytes()].concat());
    bytes.extend([0, 0]);
    bytes
}

/// A file of before PyTorch 1.6: magic number, version and machine, then what the input holds.
pub fn legacy_checkpoint(rest: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    bytes.extend(b"\x80\x02M\xe9\x03.");
    bytes.extend(b"\x80\x02}q\x00(X\x10\x00\x00\x00protocol_versionq\x01M\xe9\x03");
    bytes.extend(b"X\x0d\x00\x00\x00little_endianq\x02\x88u.");
    bytes.extend(rest);
    bytes
}
