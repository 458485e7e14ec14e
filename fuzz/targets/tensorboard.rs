//! What is written into an event file is read back: whole records with the right sums, and in them
//! the same steps, tags and numbers. A file cut anywhere gives the records before the cut.
#![no_main]

use burn_zoo::preprocess::Image;
use burn_zoo::report::tensorboard::EventWriter;
use burn_zoo_fuzz::{accepted, scratch, take};
use libfuzzer_sys::fuzz_target;

fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xA282_EAD8)
}

/// The whole records, and what is left after them.
fn records(mut bytes: &[u8]) -> (Vec<&[u8]>, usize) {
    let mut records = Vec::new();
    loop {
        let mut rest = bytes;
        if rest.len() < 12 {
            return (records, bytes.len());
        }
        let length: [u8; 8] = take(&mut rest);
        assert_eq!(u32::from_le_bytes(take(&mut rest)), masked(&length));
        let length = u64::from_le_bytes(length) as usize;
        if rest.len() < length + 4 {
            return (records, bytes.len());
        }
        let (record, mut rest) = rest.split_at(length);
        assert_eq!(u32::from_le_bytes(take(&mut rest)), masked(record));
        records.push(record);
        bytes = rest;
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = take(bytes);
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    panic!("a number of more than ten bytes");
}

/// The fields of a message: number, and the bytes of the value.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                let value = varint(&mut bytes).to_le_bytes();
                fields.push((key >> 3, value.to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = bytes.split_at(length);
        fields.push((key >> 3, value.to_vec()));
        bytes = rest;
    }
    fields
}

fn field(bytes: &[u8], number: u64) -> Option<Vec<u8>> {
    let found = fields(bytes).into_iter().find(|(n, _)| *n == number);
    found.map(|(_, value)| value)
}

/// A text from the input: its length, then its bytes.
fn text(data: &mut &[u8]) -> String {
    let [length] = take(data);
    let (head, rest) = data.split_at(usize::from(length).min(data.len()));
    *data = rest;
    String::from_utf8_lossy(head).into_owned()
}

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let dir = scratch().join("events");
    let mut writer = EventWriter::create(&dir, None).expect("a writer");
    let path = writer.path().to_path_buf();
    let mut scalars = Vec::new();
    while !data.is_empty() {
        let [what] = take(&mut data);
        let tag = text(&mut data);
        let step = i64::from_le_bytes(take(&mut data));
        match what % 4 {
            0 => {
                let value = f64::from_le_bytes(take(&mut data));
                if accepted(writer.scalar(&tag, step, value)).is_some() {
                    scalars.push((tag, step, value as f32));
                }
            }
            1 => {
                let count = usize::from(what / 4);
                let values = (0..count).map(|_| f32::from_le_bytes(take(&mut data)));
                let values: Vec<f32> = values.collect();
                let finite = values.iter().filter(|value| value.is_finite()).count();
                if let Some(skipped) = accepted(writer.histogram(&tag, step, values)) {
                    assert_eq!(skipped as usize, count - finite);
                }
            }
            2 => {
                let [height, width, channels] = take(&mut data);
                let sides = [height, width, channels % 5].map(|n| usize::from(n % 16));
                let pixels = vec![what; sides.iter().product()];
                if let Some(image) = accepted(Image::new(sides[0], sides[1], sides[2], pixels)) {
                    accepted(writer.image(&tag, step, &image));
                }
            }
            _ => drop(accepted(writer.text(&tag, step, &text(&mut data)))),
        }
    }
    accepted(writer.finish());

    let bytes = std::fs::read(&path).expect("the file that was written");
    std::fs::remove_file(&path).expect("the file that was written");
    let (whole, left) = records(&bytes);
    assert_eq!(left, 0);
    let mut found = Vec::new();
    for record in &whole {
        let number = |bytes: Vec<u8>| bytes.try_into().map_or(0, i64::from_le_bytes);
        let step = field(record, 2).map_or(0, number);
        let values = field(record, 5).unwrap_or_default();
        for (_, value) in fields(&values) {
            let tag = String::from_utf8(field(&value, 1).unwrap_or_default()).expect("UTF-8");
            if let Some(bits) = field(&value, 2) {
                let bits = bits.try_into().expect("four bytes");
                found.push((tag, step, f32::from_le_bytes(bits)));
            }
        }
    }
    assert_eq!(found.len(), scalars.len());
    for (found, written) in found.iter().zip(&scalars) {
        assert_eq!((&found.0, found.1), (&written.0, written.1));
        assert_eq!(found.2.to_bits(), written.2.to_bits());
    }
    let cut = bytes.len() / 2;
    let (before, _) = records(&bytes[..cut]);
    assert_eq!(before, &whole[..before.len()]);
});
