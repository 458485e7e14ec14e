//! The text files of a run folder, of which one is the input.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use burn_zoo::train::{RunConfig, RunFiles};
use burn_zoo_fuzz::{accepted, run, scratch, take};
use libfuzzer_sys::fuzz_target;

const FILES: [&str; 3] = ["config.toml", "log.jsonl", "steps.csv"];

fn folder() -> PathBuf {
    let dir = scratch().join("run");
    run(&dir);
    dir
}

fuzz_target!(|data: &[u8]| {
    static FOLDER: OnceLock<(PathBuf, [Vec<u8>; 3])> = OnceLock::new();
    let (dir, whole) = FOLDER.get_or_init(|| {
        let dir = folder();
        let whole = FILES.map(|name| std::fs::read(dir.join(name)).expect("a run's file"));
        (dir, whole)
    });
    let mut data = data;
    let [form] = take(&mut data);
    let index = usize::from(form) % FILES.len();
    let path = dir.join(FILES[index]);
    std::fs::write(&path, data).expect("a temporary file");
    accepted(RunConfig::open(dir));
    if let Some(files) = accepted(RunFiles::open(dir)) {
        for step in &files.steps {
            assert_eq!(step.rates.len(), files.groups.len());
        }
    }
    std::fs::write(&path, &whole[index]).expect("a temporary file");
});
