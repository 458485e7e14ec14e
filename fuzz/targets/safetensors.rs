//! A safetensors file: as it is, or with the header's length put right so that changes of the
//! header get past it.
#![no_main]

use burn_zoo::weights::WeightsFile;
use burn_zoo_fuzz::{accepted, file, take};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let [form] = take(&mut data);
    let bytes = match form % 4 {
        0 => data.to_vec(),
        // The header ends at the first zero, the values follow.
        _ => {
            let end = data
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(data.len());
            let (header, values) = data.split_at(end);
            let length = (header.len() as u64).to_le_bytes();
            [&length, header, values.get(1..).unwrap_or_default()].concat()
        }
    };
    let path = file("model.safetensors", &bytes);
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
