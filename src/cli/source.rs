//! Where labelled images come from.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use burn_zoo::data::{FashionMnist, ImageData, ImageSet};

use super::progress;

/// Training and test images.
pub struct Data {
    pub train: Arc<dyn ImageData>,
    pub test: Arc<dyn ImageData>,
    /// Channels of an image.
    pub channels: usize,
    /// Where they come from, in words.
    pub source: String,
}

const NAMES: &str = "expected fashion-mnist, fashion-mnist-mini or a folder that exists";

/// What `--data` takes.
pub fn name(text: &str) -> Result<String, String> {
    let bundled = cfg!(feature = "fashion-mnist-mini") && text == "fashion-mnist-mini";
    match bundled || text == "fashion-mnist" || Path::new(text).is_dir() {
        true => Ok(text.to_owned()),
        false => Err(NAMES.to_owned()),
    }
}

/// Opens `fashion-mnist`, `fashion-mnist-mini`, or a folder with FashionMNIST's four files.
pub fn open(name: &str, limit_train: Option<usize>, limit_test: Option<usize>) -> Result<Data> {
    let data = match name {
        "fashion-mnist" => progress::download(FashionMnist::open_default_with)?,
        #[cfg(feature = "fashion-mnist-mini")]
        "fashion-mnist-mini" => FashionMnist::bundled()?,
        dir if Path::new(dir).is_dir() => FashionMnist::open(dir)?,
        _ => bail!("--data: {NAMES}, found `{name}`"),
    };
    let limit = |set: ImageSet, limit: Option<usize>| match limit {
        Some(n) => set.take_first(n),
        None => set,
    };
    let train = limit(data.train(), limit_train);
    let test = limit(data.test(), limit_test);
    Ok(Data {
        channels: train.channels(),
        source: format!(
            "{name}: the first {} training and {} test images of {}",
            train.len(),
            test.len(),
            data.source()
        ),
        train: Arc::new(train),
        test: Arc::new(test),
    })
}
