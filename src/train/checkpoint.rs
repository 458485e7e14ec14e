//! Checkpoints: everything that a run needs to go on as if it had never stopped.
//!
//! A checkpoint is a folder under `checkpoints/` that appears whole or not at all. It is an exported
//! model (timm and [`Classifier::open`] read it), beside which lie `state.json`, `optimizer.bpk`
//! and, with averaged weights, `ema/`. The state of the random numbers needs no file: every random
//! number of a run follows from its seed, the epoch, and the step or the image.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::{Bytes, Device};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::loss_scale::LossScale;
use super::stopping::Patience;
use super::{Checkpoints, Ema, EpochRecord, Metric, ModelOptimizer, PlateauState, SkippedImage};
use crate::error::{Error, Result};
use crate::files::hex;
use crate::files::write_file;
use crate::model::Classifier;
use crate::model::params;

/// Name of the folder of checkpoints in a run folder.
pub(super) const FOLDER: &str = "checkpoints";
const STATE: &str = "state.json";
const OPTIMIZER: &str = "optimizer.bpk";
const EMA: &str = "ema";
/// How a folder begins that is being written, or taken away.
const UNFINISHED: &str = ".unfinished-";
/// The form of `state.json`.
const VERSION: u32 = 1;

/// Where a run stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    /// Epochs that are complete.
    pub epoch: usize,
    /// Batches of the next epoch that are done.
    pub batches: usize,
    /// Steps of the optimiser that are done.
    pub steps: usize,
    /// `steps` as the next epoch began; `None` between epochs, and in checkpoints of before.
    #[serde(default)]
    pub began: Option<usize>,
    /// Where in the plan the last complete epoch ended. This is `steps` but for those that were not
    /// made for want of images that can be read. Checkpoints of before have none.
    #[serde(default)]
    pub ended: Option<usize>,
    /// What the batches of the next epoch gave so far.
    pub seen: Seen,
    /// What a monitor asked to be frozen, in place of what the plan says.
    pub freeze: Option<String>,
    pub plateau: PlateauState,
    pub patience: Patience,
    pub scale: LossScale,
    pub epochs: Vec<EpochRecord>,
    /// Index of the best of them.
    pub best: Option<usize>,
    /// Whether the run ended before its last epoch.
    pub stopped: bool,
    /// Steps that were left out because their gradients overflowed.
    #[serde(default)]
    pub overflowed: usize,
    /// How often the run was extended up to here.
    #[serde(default)]
    pub extended: usize,
    /// Training images of the next epoch that could not be read.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub left_out: BTreeSet<usize>,
    /// Images that were left out of the run because they could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<SkippedImage>,
    /// Where the weights came from, in words.
    origin: String,
    /// The id of each parameter, by which the optimiser knows it.
    ids: BTreeMap<String, u64>,
    /// The SHA-256 of the optimiser's state; burn leaves out what it cannot make sense of, and a run
    /// would go on otherwise than it would have. Checkpoints of before have none.
    #[serde(default)]
    optimizer_sha256: Option<String>,
}

impl State {
    /// Begins with epochs that were added: what was waited for is forgotten.
    pub fn extend(&mut self, times: usize) {
        self.extended = times;
        self.stopped = false;
        self.patience = Patience::default();
        self.plateau = PlateauState::default();
    }
}

/// What an epoch's training images gave.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub images: usize,
    pub right: usize,
    /// Sum over the images.
    pub loss: f64,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Seen {
    /// Not a number as long as there was no image.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.images as f64
    }

    /// Not a number as long as there was no image.
    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.images as f64
    }

    pub fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds.max(1e-9)
    }
}

/// A checkpoint, by its place in the run: names sort as the run went.
fn name(state: &State) -> String {
    match state.batches {
        0 => format!("epoch-{:04}", state.epoch),
        batches => format!("epoch-{:04}-batch-{batches:07}", state.epoch),
    }
}

/// Writes a checkpoint and takes away those that are no longer wanted.
pub(crate) fn write(
    run: &Path,
    mut state: State,
    model: &Classifier,
    optimizer: &ModelOptimizer,
    ema: Option<&Ema>,
    keep: Checkpoints,
    metric: Metric,
) -> Result<PathBuf> {
    let folder = run.join(FOLDER);
    let done = folder.join(name(&state));
    // A run that is stopped where it was resumed has nothing new to say.
    if done.is_dir() {
        return Ok(done);
    }
    state.version = VERSION;
    state.origin = model.info().origin.clone();
    let ids = params::list(model).into_iter();
    state.ids = ids.map(|p| (p.path, p.id.val())).collect();

    std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    let temporary = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempdir_in(&folder)
        .map_err(Error::io("create", &folder))?;
    let bytes = optimizer.to_bytes().map_err(|reason| Error::Folder {
        path: done.clone(),
        reason: format!("the optimiser's state cannot be written: {reason}"),
    })?;
    state.optimizer_sha256 = Some(hex(&Sha256::digest(&*bytes)));
    model.export(temporary.path())?;
    write_file(&temporary.path().join(OPTIMIZER), &bytes)?;
    if let Some(ema) = ema {
        ema.model().export(temporary.path().join(EMA))?;
    }
    let text = serde_json::to_string_pretty(&state)
        .map_err(|error| Error::argument("state", "values that JSON can hold", error))?;
    write_file(&temporary.path().join(STATE), text.as_bytes())?;
    flush(temporary.path())?;
    std::fs::rename(temporary.path(), &done).map_err(Error::io("write", &done))?;
    // Renamed away, there is nothing left to remove.
    let _ = temporary.keep();
    prune(&folder, &state, keep, metric)?;
    Ok(done)
}

/// Brings the files of a folder to the disk, so that no power cut leaves them empty under their
/// final name.
fn flush(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let path = entry.map_err(Error::io("read", dir))?.path();
        if path.is_dir() {
            flush(&path)?;
        } else {
            let file = std::fs::File::open(&path).map_err(Error::io("read", &path))?;
            file.sync_all().map_err(Error::io("write", &path))?;
        }
    }
    Ok(())
}

/// Takes away all but the newest and those of the best epochs.
fn prune(folder: &Path, state: &State, keep: Checkpoints, metric: Metric) -> Result<()> {
    let mut order: Vec<&EpochRecord> = state.epochs.iter().collect();
    // A stable sort: of equals the earlier one is the better.
    order.sort_by(|a, b| {
        let (a, b) = (metric.of(a), metric.of(b));
        match metric.larger_is_better() {
            true => b.total_cmp(&a),
            false => a.total_cmp(&b),
        }
    });
    let best: Vec<String> = order
        .iter()
        .take(keep.best)
        .map(|epoch| format!("epoch-{:04}", epoch.epoch))
        .collect();
    let all = list(folder)?;
    let old = all.len().saturating_sub(keep.last.max(1));
    for path in &all[..old] {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !best.iter().any(|best| *best == name) {
            remove(path)?;
        }
    }
    Ok(())
}

/// Takes a folder away: what is left of it after a sudden end is no checkpoint.
fn remove(path: &Path) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!("{UNFINISHED}{name}"));
    std::fs::rename(path, &aside).map_err(Error::io("remove", path))?;
    std::fs::remove_dir_all(&aside).map_err(Error::io("remove", &aside))
}

/// The whole checkpoints, the newest last.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", folder)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("read", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("epoch-") && path.join(STATE).is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The newest checkpoint of a run.
pub(crate) fn newest(run: &Path) -> Result<Option<PathBuf>> {
    Ok(list(&run.join(FOLDER))?.pop())
}

/// What a sudden end left behind.
pub(crate) fn sweep(run: &Path) -> Result<()> {
    let folder = run.join(FOLDER);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let path = entry.path();
            std::fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// A checkpoint that was read.
pub(crate) struct Loaded {
    pub state: State,
    pub model: Classifier,
    pub ema: Option<Classifier>,
    optimizer: Vec<u8>,
    path: PathBuf,
}

/// Reads a checkpoint. The model is on an autodiff device, with the ids that its optimiser knows.
pub(crate) fn read(path: &Path, device: &Device) -> Result<Loaded> {
    let file = path.join(STATE);
    let text = std::fs::read_to_string(&file).map_err(Error::io("read", &file))?;
    let bad = |reason: String| Error::Folder {
        path: file.clone(),
        reason,
    };
    let state: State = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    if state.version != VERSION {
        return Err(bad(format!(
            "expected a checkpoint of form {VERSION}, found form {}",
            state.version
        )));
    }
    let open = |dir: &Path| -> Result<Classifier> {
        let mut model = Classifier::open(dir, device)?;
        model.set_origin(state.origin.clone());
        params::with_ids(model, |path| state.ids.get(path).copied().map(Into::into))
            .ok_or_else(|| bad("the parameters are not those of the model".to_owned()))
    };
    let model = open(path)?;
    let averaged = path.join(EMA);
    let ema = match averaged.is_dir() {
        true => Some(open(&averaged)?),
        false => None,
    };
    let file = path.join(OPTIMIZER);
    let optimizer = std::fs::read(&file).map_err(Error::io("read", &file))?;
    let found = hex(&Sha256::digest(&optimizer));
    match &state.optimizer_sha256 {
        Some(expected) if *expected != found => Err(Error::Data {
            path: file,
            expected: format!("the content that was written, of SHA-256 {expected}"),
            found: format!("SHA-256 {found}; the file is damaged"),
        }),
        _ => Ok(Loaded {
            model,
            ema,
            optimizer,
            path: file,
            state,
        }),
    }
}

impl Loaded {
    /// Gives an optimiser the state that was saved.
    pub fn restore(&mut self, optimizer: &mut ModelOptimizer) -> Result<()> {
        let bytes = std::mem::take(&mut self.optimizer);
        optimizer
            .load(Bytes::from_bytes_vec(bytes))
            .map_err(|reason| Error::Folder {
                path: self.path.clone(),
                reason: format!("not a usable optimiser's state: {reason}"),
            })
    }
}
