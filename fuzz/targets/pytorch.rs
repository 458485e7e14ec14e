//! A file that `torch.save` could have written: as it is, or a pickle that is put into the
//! containers of today and of before PyTorch 1.6.
#![no_main]

use burn_zoo::weights::WeightsFile;
use burn_zoo_fuzz::{accepted, file, legacy_checkpoint, take, zip_of};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let [form] = take(&mut data);
    let storage = [0_u8; 96];
    let bytes = match form % 4 {
        0 => data.to_vec(),
        1 => legacy_checkpoint(data),
        _ => zip_of(&[
            ("a/data.pkl", data),
            ("a/byteorder", b"little"),
            ("a/data/0", &storage),
            ("a/data/1", &storage[..24]),
            ("a/data/2", &storage[..4]),
            ("a/version", b"3\n"),
        ]),
    };
    let path = file("model.pth", &bytes);
    let Some(open) = accepted(WeightsFile::open(&path)) else {
        return;
    };
    for (name, info) in open.tensors() {
        if let Some(values) = accepted(open.read_f32(name)) {
            assert_eq!(values.len(), info.shape.iter().product::<usize>());
            assert!(values.iter().all(|value| value.is_finite()));
        }
    }
});
