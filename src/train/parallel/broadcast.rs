//! What rank 0 gives to all: a run to go on with, weights, statistics.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::group::Group;
use crate::error::{Error, Result};
use crate::files::{folder_of, write_file};
use crate::model::{Classifier, params};
use crate::nn::is_buffer;
use crate::train::run::scratch::Scratch;

impl Group {
    /// Gives all ranks what rank 0 has of a run: its configuration and its newest checkpoint, in a run
    /// folder of their own.
    pub fn broadcast_run(&self, dir: &Path, checkpoint: Option<&Path>) -> Result<Option<Scratch>> {
        let Some(ranks) = &self.ranks else {
            return Ok(None);
        };
        let mut files = Vec::new();
        if self.leads() {
            files.push(PathBuf::from("config.toml"));
            let folders: Vec<PathBuf> = checkpoint.into_iter().map(Path::to_path_buf).collect();
            list_files(dir, folders, &mut files)?;
        }
        let mut packed = Vec::new();
        for name in &files {
            let path = dir.join(name);
            let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
            let name = name.to_string_lossy().into_owned();
            packed.extend((name.len() as u64).to_le_bytes());
            packed.extend(name.as_bytes());
            packed.extend((bytes.len() as u64).to_le_bytes());
            packed.extend(bytes);
        }
        // All that can fail on rank 0 lies before this.
        self.exchange("run", ())?;
        let packed = ranks.communicator.broadcast(packed)?;
        if self.leads() {
            return Ok(None);
        }
        let copy = Scratch::new()?;
        let mut rest = &packed[..];
        let damaged = || ranks.error(0, "it sent a run that cannot be read".to_owned());
        while !rest.is_empty() {
            let name = take(&mut rest).ok_or_else(damaged)?;
            let bytes = take(&mut rest).ok_or_else(damaged)?;
            let path = copy.path().join(String::from_utf8_lossy(name).as_ref());
            let folder = folder_of(&path);
            std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
            write_file(&path, bytes)?;
        }
        Ok(Some(copy))
    }

    /// A model with rank 0's weights, and the ids by which its optimiser knows them.
    pub fn broadcast_model(&self, model: Classifier) -> Result<Classifier> {
        if self.is_alone() {
            return Ok(model);
        }
        let model = self.broadcast_values("weights", model, |_| true)?;
        let ids = params::list(&model).into_iter();
        let ids: Vec<(String, u64)> = ids.map(|p| (p.path, p.id.val())).collect();
        let ids = self.follow("ids", ids)?;
        let ids: HashMap<String, u64> = ids.into_iter().collect();
        params::with_ids(model, |path| ids.get(path).copied().map(Into::into)).ok_or_else(|| {
            let expected = "the same architecture on every rank";
            Error::argument("model", expected, "parameters of other names")
        })
    }

    /// A model with rank 0's running statistics.
    pub fn broadcast_statistics(&self, model: Classifier) -> Result<Classifier> {
        self.broadcast_values("statistics", model, is_buffer)
    }

    /// Gives parameters, and running statistics, of which `which` says so, rank 0's values.
    fn broadcast_values(
        &self,
        about: &str,
        model: Classifier,
        which: impl Fn(&str) -> bool,
    ) -> Result<Classifier> {
        let Some(ranks) = &self.ranks else {
            return Ok(model);
        };
        let leads = self.leads();
        let mut bytes = Vec::new();
        if leads {
            for (_, tensor) in params::read_where(&model, &which)? {
                bytes.extend(tensor.data.iter().flat_map(|value| value.to_le_bytes()));
            }
        }
        let own = params::list(&model)
            .into_iter()
            .filter(|param| which(&param.path));
        let own: usize = own.map(|param| param.num_elements()).sum();
        // All that can fail lies before this.
        let numbers = self.exchange(about, own)?;
        if let Some(rank) = numbers.iter().position(|other| *other != numbers[0]) {
            let reason = format!(
                "{about} of {} numbers, and on rank 0 {}",
                numbers[rank], numbers[0]
            );
            return Err(ranks.error(rank, reason));
        }
        let bytes = ranks.communicator.broadcast(bytes)?;
        if leads {
            return Ok(model);
        }
        let mut values = bytes
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        params::write(model, |path, shape| {
            Ok(which(path).then(|| values.by_ref().take(shape.iter().product()).collect()))
        })
    }
}

/// The next part of what was packed: its length, and then itself.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (part, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(part)
}

/// The files of some folders below `dir`, by their paths in it.
fn list_files(dir: &Path, mut folders: Vec<PathBuf>, files: &mut Vec<PathBuf>) -> Result<()> {
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
            let path = entry.map_err(Error::io("read", &folder))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(name) = path.strip_prefix(dir) {
                files.push(name.to_path_buf());
            }
        }
    }
    Ok(())
}
