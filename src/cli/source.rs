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
}

/// Opens `fashion-mnist`, `fashion-mnist-mini`, or a folder with FashionMNIST's four files.
pub fn open(
    name: &str,
    limit_train: Option<usize>,
    limit_test: Option<usize>,
) -> Result<Data> {
    let data = match name {
        "fashion-mnist" => progress::download(FashionMnist::open_default_with)?,
        #[cfg(feature = "fashion-mnist-mini")]
        "fashion-mnist-mini" => FashionMnist::bundled()?,
        dir if Path::new(dir).is_dir() => FashionMnist::open(dir)?,
        _ => bail!(
            "--data: expected fashion-mnist, fashion-mnist-mini or a folder, found `{name}`"
        ),
    };
    let limit = |flag: &str, set: ImageSet, limit: Option<usize>| match limit {
        Some(0) => bail!("{flag}: expected at least 1, found 0"),
        Some(n) => Ok(set.take_first(n)),
        None => Ok(set),
    };
    let train = limit("--limit-train", data.train(), limit_train)?;
    let test = limit("--limit-test", data.test(), limit_test)?;
    Ok(Data {
        channels: train.channels(),
        train: Arc::new(train),
        test: Arc::new(test),
    })
}
