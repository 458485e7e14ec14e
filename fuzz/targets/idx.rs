//! The four files of FashionMNIST, of which one is the input: plain, compressed as it stands, or
//! compressed here so that changes of the content get past the checksum.
#![no_main]

use std::io::Write as _;
use std::sync::Once;

use burn_zoo::prelude::*;
use burn_zoo_fuzz::{accepted, file, scratch, take};
use flate2::{Compression, write::GzEncoder};
use libfuzzer_sys::fuzz_target;

const FILES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

fn images() -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28];
    bytes.extend([7; 784]);
    bytes
}

const LABELS: [u8; 9] = [0, 0, 8, 1, 0, 0, 0, 1, 3];

/// Four folders; in each another file is left to the input.
fn folders() {
    for (index, _) in FILES.iter().enumerate() {
        for (other, name) in FILES
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
        {
            let content = if other % 2 == 0 {
                images()
            } else {
                LABELS.to_vec()
            };
            file(&format!("idx-{index}/{name}"), &content);
        }
    }
}

fuzz_target!(|data: &[u8]| {
    static FOLDERS: Once = Once::new();
    FOLDERS.call_once(folders);
    let mut data = data;
    let [form] = take(&mut data);
    let bytes = if form & 4 == 0 {
        data.to_vec()
    } else {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(data).expect("memory");
        encoder.finish().expect("memory")
    };
    let index = usize::from(form & 3);
    file(&format!("idx-{index}/{}", FILES[index]), &bytes);
    if let Some(set) = accepted(FashionMnist::open(scratch().join(format!("idx-{index}")))) {
        for part in [set.train(), set.test()] {
            assert!(part.len() > 0);
            accepted(ImageData::get(&part, part.len() - 1));
        }
    }
});
