//! A run folder with a checkpoint in which one file is damaged: in place of the file the input, or
//! the file with a few bytes changed, inserted, taken out or cut off.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use burn_zoo::prelude::*;
use burn_zoo::train::{FitOptions, Monitor, RunConfig, resume};
use burn_zoo_fuzz::{LIMIT, accepted, images, run, scratch, take};
use libfuzzer_sys::fuzz_target;

const FILES: [&str; 8] = [
    "checkpoints/epoch-0002/state.json",
    "checkpoints/epoch-0002/optimizer.bpk",
    "checkpoints/epoch-0002/config.json",
    "checkpoints/epoch-0002/model.safetensors",
    "checkpoints/epoch-0002/ema/config.json",
    "checkpoints/epoch-0002/ema/model.safetensors",
    "config.toml",
    "best/config.json",
];

/// Ends a run that would train on.
struct Stop;

impl Monitor for Stop {
    fn should_stop(&mut self) -> bool {
        true
    }
}

/// The file with the changes that the input asks for.
fn changed(mut bytes: Vec<u8>, mut data: &[u8]) -> Vec<u8> {
    while !data.is_empty() && !bytes.is_empty() {
        let [what, length] = take(&mut data);
        let at = u32::from_le_bytes(take(&mut data)) as usize % bytes.len();
        let count = usize::from(length).min(data.len()).min(bytes.len() - at);
        match what % 4 {
            0 => {
                bytes[at..at + count].copy_from_slice(&data[..count]);
                data = &data[count..];
            }
            1 => {
                bytes.splice(at..at, data[..count].iter().copied());
                data = &data[count..];
            }
            2 => drop(bytes.drain(at..(at + usize::from(length)).min(bytes.len()))),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

fuzz_target!(|data: &[u8]| {
    static WHOLE: OnceLock<PathBuf> = OnceLock::new();
    let whole = WHOLE.get_or_init(|| {
        LIMIT.store(1 << 30, Ordering::Relaxed);
        let dir = scratch().join("whole");
        run(&dir);
        copy(&dir, &scratch().join("run"));
        dir
    });
    let mut data = data;
    let [form] = take(&mut data);
    let file = FILES[usize::from(form) % FILES.len()];
    let dir = scratch().join("run");
    let bytes = if form & 128 == 0 {
        data.to_vec()
    } else {
        changed(std::fs::read(whole.join(file)).expect("a run's file"), data)
    };
    std::fs::write(dir.join(file), bytes).expect("a temporary file");

    if let Some(path) = accepted(RunConfig::newest_checkpoint(&dir)).flatten() {
        accepted(Classifier::open(&path, &Device::default()));
    }
    let options = FitOptions::default();
    let images = Arc::new(images());
    let device = Device::default().autodiff();
    accepted(resume(
        &dir,
        &device,
        images.clone(),
        images,
        options,
        &mut Stop,
    ));

    // A run that went on left other files behind.
    std::fs::remove_dir_all(&dir).expect("a temporary folder");
    copy(whole, &dir);
});
