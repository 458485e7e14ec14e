//! Images per second on one core, from JPEG files to normalised values.
//!
//! `cargo bench --bench preprocess -- FOLDER [PASSES]` prints a table. `benches/preprocess.py`
//! makes a folder and runs this (with `--each`) in turn with Pillow and timm, which take the same
//! files to the same values.

use std::path::PathBuf;
use std::time::Instant;

use burn_zoo::preprocess::{Image, Interpolation, Normalization, Preprocess};

/// Seconds for decoding a file, reading included, and for the rest.
fn time(file: &PathBuf, preprocess: &Preprocess) -> burn_zoo::Result<[f64; 2]> {
    let start = Instant::now();
    let image = Image::open(file)?;
    let decode = start.elapsed();
    let start = Instant::now();
    std::hint::black_box(preprocess.apply(&image));
    Ok([decode.as_secs_f64(), start.elapsed().as_secs_f64()])
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (flags, mut arguments): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with("--"));
    let each = flags.iter().any(|flag| flag == "--each");
    if arguments.is_empty() {
        println!("no folder of JPEG files given; see benches/preprocess.py");
        return Ok(());
    }
    let folder = arguments.remove(0);
    let passes: usize = arguments.first().map_or(Ok(10), |n| n.parse())?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "jpg"));
    files.sort();
    if files.is_empty() {
        return Err(format!("{folder}: expected files that end in .jpg, found none").into());
    }

    if !each {
        println!("{} images/s, best pass of each file", " ".repeat(8));
        println!("{:<10}{:>8}{:>11}{:>8}", "", "decode", "transform", "both");
    }
    for (name, interpolation) in [
        ("bilinear", Interpolation::Bilinear),
        ("bicubic", Interpolation::Bicubic),
    ] {
        let preprocess = Preprocess::new(Some(224.into()), Normalization::imagenet())
            .interpolation(interpolation)
            .crop_pct(0.875);
        let mut best = vec![[f64::INFINITY; 2]; files.len()];
        for _ in 0..passes {
            for (file, best) in files.iter().zip(&mut best) {
                let seconds = time(file, &preprocess)?;
                *best = [best[0].min(seconds[0]), best[1].min(seconds[1])];
            }
        }
        if each {
            for [decode, transform] in &best {
                println!("{name} {decode} {transform}");
            }
            continue;
        }
        let sum = |step: usize| best.iter().map(|seconds| seconds[step]).sum::<f64>();
        let rate = |seconds: f64| files.len() as f64 / seconds;
        let (decode, transform) = (sum(0), sum(1));
        println!(
            "{name:<10}{:>8.0}{:>11.0}{:>8.0}",
            rate(decode),
            rate(transform),
            rate(decode + transform)
        );
    }
    Ok(())
}
