//! `--place`: a model cut over devices.

use anyhow::Result;
use burn_zoo::prelude::*;
use burn_zoo::train::{GroupMemory, Place};
use clap::Args;
use comfy_table::Table;

use crate::flags::{count, device_name};
use crate::list::{align_right, table};

/// A cut as it is written.
#[derive(Debug, Clone)]
pub enum Cut {
    /// Into so many parts that need about as much memory each.
    Auto(usize),
    /// Groups and the devices that they go to.
    Parts(Vec<(String, String)>),
}

/// Reads `stem..stage2=cuda:0,stage3..head=cuda:1` or `auto:2`.
pub fn cut(text: &str) -> Result<Cut, String> {
    if let Some(number) = text.strip_prefix("auto:") {
        return count::<64>(number).map(Cut::Auto);
    }
    let part = |part: &str| {
        let (groups, device) = part.split_once('=').ok_or_else(|| {
            format!("expected GROUPS=DEVICE such as stem..stage2=cuda:0, or auto:N, found `{part}`")
        })?;
        Ok((groups.trim().to_owned(), device_name(device.trim())?))
    };
    let parts: Result<Vec<_>, String> = text.split(',').map(part).collect();
    parts.map(Cut::Parts)
}

#[derive(Args)]
pub struct PlaceArgs {
    /// Cut the model over devices: stem..stage2=cuda:0,stage3..head=cuda:1, each group once; or auto:N,
    /// over the first N GPUs by what the groups need. `info --place` shows what each part needs
    #[arg(long, value_name = "GROUPS=DEVICE,..", value_parser = cut)]
    place: Option<Cut>,
    /// Parts of a batch that go through these devices one after the other, so that none waits for the
    /// whole batch (GPipe) [default: 1]
    #[arg(long, value_name = "N", value_parser = count::<1024>, requires = "place")]
    micro_batches: Option<usize>,
}

impl PlaceArgs {
    pub fn is_given(&self) -> bool {
        self.place.is_some()
    }

    /// The cut with its devices. `groups` says what each group needs, where that decides.
    pub fn place(&self, groups: impl FnOnce() -> Result<Vec<GroupMemory>>) -> Result<Place> {
        let Some(cut) = &self.place else {
            return Ok(Place::default());
        };
        let named = match cut {
            Cut::Parts(parts) => parts.clone(),
            Cut::Auto(number) => {
                let parts = GroupMemory::even(&groups()?, *number);
                let on_gpu =
                    |(index, part): (usize, GroupMemory)| (part.group, format!("cuda:{index}"));
                parts.into_iter().enumerate().map(on_gpu).collect()
            }
        };
        let parts = named.into_iter().map(|(groups, device)| {
            let found = burn_zoo::device(&device)?;
            Ok((groups, found))
        });
        Ok(Place {
            parts: parts.collect::<Result<_>>()?,
            micro_batches: self.micro_batches.unwrap_or(1),
        })
    }
}

/// What each part of a cut needs: groups, the device, bytes by use.
pub fn parts(
    cut: &Cut,
    model: &Classifier,
    groups: &[GroupMemory],
) -> Result<Vec<(String, GroupMemory)>> {
    match cut {
        Cut::Auto(number) => {
            let parts = GroupMemory::even(groups, *number).into_iter().enumerate();
            Ok(parts
                .map(|(index, part)| (format!("device {index}"), part))
                .collect())
        }
        Cut::Parts(parts) => {
            let named: Vec<(&str, String)> = parts
                .iter()
                .map(|(groups, device)| (groups.as_str(), device.clone()))
                .collect();
            Ok(GroupMemory::of_parts(model, groups, &named)?)
        }
    }
}

/// The parts as a table.
pub fn part_table(parts: &[(String, GroupMemory)]) -> Table {
    let mut rows = table([
        "device",
        "groups",
        "parameters",
        "gradients",
        "optimiser",
        "activations",
        "sum",
    ]);
    for (device, part) in parts {
        let bytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        rows.add_row([
            device.clone(),
            part.group.clone(),
            bytes(part.parameters),
            bytes(part.gradients),
            bytes(part.optimizer),
            bytes(part.activations),
            bytes(part.sum()),
        ]);
    }
    align_right(&mut rows, &[2, 3, 4, 5, 6]);
    rows
}
