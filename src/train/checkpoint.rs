//! Checkpoints: everything that a run needs to go on as if it had never stopped.
//!
//! A checkpoint is a folder under `checkpoints/` that appears whole or not at all. It is an exported
//! model (timm and [`Classifier::open`] read it), beside which lie `state.json`, `optimizer.bpk`
//! and, with averaged weights, `ema/`. Of a model with adapters, whose exported weights have them folded in,
//! there are also the weights without them. The state of the random numbers needs no file: every random
//! number of a run follows from its seed, the epoch, and the step or the image.

use std::path::{Path, PathBuf};

use burn::tensor::{Bytes, Device};
use sha2::{Digest as _, Sha256};

use super::epoch_record::EpochRecord;
use super::model_optimizer::ModelOptimizer;
use super::progress::Progress;
use super::recipe::{Checkpoints, Recipe};
use super::state::RunState;
use super::stopping::Metric;
use crate::error::{Error, Result};
use crate::files::hex;
use crate::files::write_file;
use crate::model::low_rank::factor;
use crate::model::{Classifier, params};
use crate::weights::{Adapter, read_bases, write_bases};

/// Name of the folder of checkpoints in a run folder.
pub(super) const FOLDER: &str = "checkpoints";
const STATE: &str = "state.json";
const OPTIMIZER: &str = "optimizer.bpk";
const EMA: &str = "ema";
/// The weights beside which adapters stand: `model.safetensors` has them with the adapters folded in.
const BASES: &str = "adapter_base.safetensors";
/// How the name of a folder begins that is being written, or removed.
const UNFINISHED: &str = ".unfinished-";
/// The form of `state.json`.
const VERSION: u32 = 1;

/// The name of a checkpoint after a complete epoch.
fn epoch_name(epoch: usize) -> String {
    format!("epoch-{epoch:04}")
}

/// The name of a checkpoint: batches are those of all ranks, of which there may be more or fewer when the
/// run goes on.
fn name(state: &RunState) -> String {
    match state.batches * state.ranks.max(1) {
        0 => epoch_name(state.epoch),
        batches => format!("{}-batch-{batches:07}", epoch_name(state.epoch)),
    }
}

/// Writes a checkpoint and removes those that are no longer wanted.
pub(super) fn write(run: &Path, progress: &Progress, recipe: &Recipe) -> Result<PathBuf> {
    let Progress {
        model,
        optimizer,
        ema,
        state,
    } = progress;
    let folder = run.join(FOLDER);
    let path = folder.join(name(state));
    // A run that is stopped where it was resumed has nothing new to say.
    if path.join(STATE).is_file() {
        return Ok(path);
    }
    // What lies there without a state is no checkpoint.
    if path.is_dir() {
        remove(&path)?;
    }
    std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    let temporary = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempdir_in(&folder)
        .map_err(Error::io("create", &folder))?;
    let bytes = optimizer.to_bytes().map_err(|reason| Error::Folder {
        path: path.clone(),
        reason: format!("the optimiser's state cannot be written: {reason}"),
    })?;
    let ids = params::list(model).into_iter();
    let state = RunState {
        version: VERSION,
        origin: model.info().origin.clone(),
        ids: ids.map(|p| (p.path, p.id.val())).collect(),
        optimizer_sha256: Some(hex(&Sha256::digest(&*bytes))),
        ..state.clone()
    };
    model.export(temporary.path())?;
    if model.lora().is_some() {
        write_bases(model, &temporary.path().join(BASES))?;
    }
    write_file(&temporary.path().join(OPTIMIZER), &bytes)?;
    if let Some(ema) = ema {
        ema.model().export(temporary.path().join(EMA))?;
    }
    let text = serde_json::to_string_pretty(&state)
        .map_err(|error| Error::argument("state", "values that JSON can hold", error))?;
    write_file(&temporary.path().join(STATE), text.as_bytes())?;
    sync(temporary.path())?;
    std::fs::rename(temporary.path(), &path).map_err(Error::io("write", &path))?;
    // Renamed, there is nothing left to remove.
    let _ = temporary.keep();
    prune(&folder, &state, recipe.checkpoints, recipe.metric)?;
    Ok(path)
}

/// Where in a checkpoint the model lies that the run has for a result.
pub(super) fn result(checkpoint: &Path, progress: &Progress) -> PathBuf {
    match progress.ema {
        Some(_) => checkpoint.join(EMA),
        None => checkpoint.to_path_buf(),
    }
}

/// Brings the files of a folder to the disk, so that no power cut leaves them empty under their
/// final name.
fn sync(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let path = entry.map_err(Error::io("read", dir))?.path();
        if path.is_dir() {
            sync(&path)?;
        } else {
            let file = std::fs::File::open(&path).map_err(Error::io("read", &path))?;
            file.sync_all().map_err(Error::io("write", &path))?;
        }
    }
    Ok(())
}

/// Removes all but the newest and those of the best epochs.
fn prune(folder: &Path, state: &RunState, keep: Checkpoints, metric: Metric) -> Result<()> {
    let mut order: Vec<&EpochRecord> = state.epochs.iter().collect();
    // A stable sort: of equals the earlier one is the better.
    order.sort_by(|a, b| {
        let order = metric.of(a).total_cmp(&metric.of(b));
        if metric.larger_is_better() {
            order.reverse()
        } else {
            order
        }
    });
    let best = order.iter().take(keep.best);
    let best: Vec<String> = best.map(|epoch| epoch_name(epoch.epoch)).collect();
    let all = list(folder)?;
    let old = all.len().saturating_sub(keep.last.max(1));
    for path in &all[..old] {
        if !best.contains(&file_name(path)) {
            remove(path)?;
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Removes a folder: what is left of it after a sudden end is no checkpoint.
fn remove(path: &Path) -> Result<()> {
    let aside = path.with_file_name(format!("{UNFINISHED}{}", file_name(path)));
    std::fs::rename(path, &aside).map_err(Error::io("remove", path))?;
    std::fs::remove_dir_all(&aside).map_err(Error::io("remove", &aside))
}

/// The complete checkpoints, the newest last.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", folder)(error)),
    };
    let mut checkpoints = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("read", folder))?.path();
        if file_name(&path).starts_with("epoch-") && path.join(STATE).is_file() {
            checkpoints.push(path);
        }
    }
    checkpoints.sort_by_key(|path| place(&file_name(path)));
    Ok(checkpoints)
}

/// Epochs and batches that a checkpoint of this name has behind it: as text, epoch 10000 would come
/// before 9999.
fn place(name: &str) -> (usize, usize) {
    let mut numbers = name.split('-').filter_map(|part| part.parse().ok());
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next())
}

/// The newest checkpoint of a run.
pub(super) fn newest(run: &Path) -> Result<Option<PathBuf>> {
    Ok(list(&run.join(FOLDER))?.pop())
}

/// Removes what a sudden end left behind.
pub(super) fn remove_unfinished(run: &Path) -> Result<()> {
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
pub(super) struct Checkpoint {
    pub state: RunState,
    pub model: Classifier,
    pub ema: Option<Classifier>,
    optimizer: Vec<u8>,
    path: PathBuf,
}

/// Reads a checkpoint. The model is on an autodiff device, with the ids that its optimiser knows.
pub(super) fn read(path: &Path, device: &Device) -> Result<Checkpoint> {
    let state = read_state(&path.join(STATE))?;
    let base_file = path.join(BASES);
    let has_factors = state.ids.keys().any(|path| factor(path).is_some());
    if has_factors && !base_file.is_file() {
        let reason = "expected the weights from before the adapters, found no file".to_owned();
        return Err(Error::Folder {
            path: base_file,
            reason,
        });
    }
    let bases = has_factors.then(|| read_bases(&base_file)).transpose()?;
    let open = |dir: &Path| -> Result<Classifier> {
        let mut model = Classifier::open(dir, device)?;
        if let Some(bases) = &bases {
            let unmerged = model.unmerged(&Adapter::open(dir)?, bases);
            model = unmerged.map_err(|error| Error::Folder {
                path: base_file.clone(),
                reason: error.to_string(),
            })?;
        }
        model.set_origin(state.origin.clone());
        params::with_ids(model, |path| state.ids.get(path).copied().map(Into::into)).ok_or_else(
            || Error::Folder {
                path: path.join(STATE),
                reason: "the parameters are not those of the model".to_owned(),
            },
        )
    };
    let model = open(path)?;
    let average = path.join(EMA);
    let ema = average.is_dir().then(|| open(&average)).transpose()?;
    let optimizer = read_optimizer(&path.join(OPTIMIZER), state.optimizer_sha256.as_deref())?;
    Ok(Checkpoint {
        state,
        model,
        ema,
        optimizer,
        path: path.join(OPTIMIZER),
    })
}

fn read_state(path: &Path) -> Result<RunState> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let bad = |reason: String| Error::Folder {
        path: path.to_path_buf(),
        reason,
    };
    let state: RunState = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    if state.version != VERSION {
        return Err(bad(format!(
            "expected a checkpoint of form {VERSION}, found form {}",
            state.version
        )));
    }
    Ok(state)
}

fn read_optimizer(path: &Path, sha256: Option<&str>) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let found = hex(&Sha256::digest(&bytes));
    if let Some(expected) = sha256
        && expected != found
    {
        return Err(Error::Data {
            path: path.to_path_buf(),
            expected: format!("the content that was written, of SHA-256 {expected}"),
            found: format!("SHA-256 {found}; the file is damaged"),
        });
    }
    Ok(bytes)
}

impl Checkpoint {
    /// Gives an optimiser the state that was saved.
    pub fn restore_optimizer(&self, optimizer: &mut ModelOptimizer) -> Result<()> {
        let bytes = Bytes::from_bytes_vec(self.optimizer.clone());
        optimizer.load(bytes).map_err(|reason| Error::Folder {
            path: self.path.clone(),
            reason: format!("not a usable optimiser's state: {reason}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_in_the_order_of_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            "epoch-9999",
            "epoch-10000",
            "epoch-10000-batch-0000007",
            "epoch-10001",
        ];
        for name in names.iter().rev() {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join(STATE), "").unwrap();
        }
        // What has no state is none.
        std::fs::create_dir(dir.path().join("epoch-10002")).unwrap();
        let found = list(dir.path()).unwrap();
        assert_eq!(
            found.iter().map(|path| file_name(path)).collect::<Vec<_>>(),
            names
        );
    }
}
