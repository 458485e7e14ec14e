//! A CSV file that names images, beside a few images.
#![no_main]

use std::sync::Once;

use burn_zoo::data::{Broken, Check, FolderOptions, Target, Task};
use burn_zoo::prelude::*;
use burn_zoo_fuzz::{accepted, file, take};
use libfuzzer_sys::fuzz_target;

/// A grey image of one pixel, as PNG.
const PIXEL: &[u8] = include_bytes!("../../tests/fixtures/pixels/1x1.png");

fuzz_target!(|data: &[u8]| {
    static IMAGES: Once = Once::new();
    IMAGES.call_once(|| {
        for name in ["a.png", "b.png", "c.png", "d.png", "e.png", "sub/a.png"] {
            file(&format!("csv/{name}"), PIXEL);
        }
        file("csv/broken.png", &PIXEL[..20]);
    });
    let mut data = data;
    let [form] = take(&mut data);
    let options = FolderOptions {
        check: [None, Some(Check::No), Some(Check::Quick), Some(Check::Full)]
            [usize::from(form & 3)],
        broken: if form & 4 == 0 {
            Broken::Fail
        } else {
            Broken::Skip
        },
        allow_empty: form & 8 != 0,
        task: [Task::SingleLabel, Task::MultiLabel, Task::Regression][usize::from(form >> 4) % 3],
        ..FolderOptions::default()
    };
    let path = file("csv/images.csv", data);
    let Some(found) = accepted(ImageFolder::from_csv(&path, &options)) else {
        return;
    };
    let _ = found.report.to_string();
    assert_eq!(found.train.classes(), found.valid.classes());
    for part in [Some(&found.train), Some(&found.valid), found.test.as_ref()] {
        let Some(part) = part else { continue };
        for index in 0..part.len().min(3) {
            if let Some((_, target)) = accepted(part.get(index)) {
                let count = part.classes().len();
                assert!(match target {
                    Target::Class(class) => class < count,
                    Target::Classes(classes) => classes.iter().all(|class| *class < count),
                    Target::Values(values) => {
                        values.len() == count && values.iter().all(|value| value.is_finite())
                    }
                });
            }
        }
    }
});
