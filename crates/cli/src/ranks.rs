//! `finetune` on several devices, or in several processes that `mpirun` started.

use std::fmt::Display;
use std::path::Path;
#[cfg(feature = "mpi")]
use std::time::Duration;

use anyhow::{Result, bail};
use burn_zoo::prelude::Device;
#[cfg(feature = "mpi")]
use burn_zoo::train::Mpi;
use burn_zoo::train::{Launched, Parallel, RunConfig};
use clap::Args;

use crate::flags::{count, device_name};
#[cfg(feature = "mpi")]
use crate::notice;

#[derive(Args)]
pub struct RanksArgs {
    /// Train on these devices together, each with a replica of the model and a share of the images:
    /// cuda:0,cuda:1; or cpu:2 for two replicas on the CPU, each with half the threads. --batch-size is that of
    /// each. Of processes that mpirun started, each takes one
    #[arg(long, value_name = "DEVICE,..", value_delimiter = ',', value_parser = replicas)]
    devices: Vec<Replicas>,
    /// Seconds without a sign of life after which a process of another rank counts as gone [default: 20]
    #[arg(long, value_name = "SECONDS", value_parser = count::<86_400>)]
    parallel_timeout: Option<usize>,
    /// MiB of gradients that are summed at once
    #[arg(long, value_name = "MIB", default_value_t = 8, value_parser = count::<1024>, hide = true)]
    bucket: usize,
    /// Sum gradients only when all are there
    #[arg(long, hide = true)]
    no_overlap: bool,
}

/// A device, as often as it is to have a replica.
#[derive(Debug, Clone)]
struct Replicas {
    device: String,
    count: usize,
}

fn replicas(text: &str) -> Result<Replicas, String> {
    let on_cpu = |device: &str, number: &str| {
        let count = count::<256>(number);
        let count = count.map_err(|error| format!("replicas on the CPU: {error}"))?;
        Ok(Replicas {
            device: device.to_owned(),
            count,
        })
    };
    match text.split_once(':') {
        Some((device @ ("cpu" | "ndarray"), number)) => on_cpu(device, number),
        _ => device_name(text)
            .map(|device| Replicas { device, count: 1 })
            .map_err(|_| "expected cpu, cpu:N for N replicas, cuda:N, wgpu or ndarray".to_owned()),
    }
}

impl RanksArgs {
    /// Refuses a device that would not be used.
    pub fn check_device(&self, device: &str) -> Result<()> {
        if device != "auto" && !self.devices.is_empty() {
            bail!("--device {device}: expected only one of it and --devices");
        }
        Ok(())
    }

    /// Joins the other processes, if there are any, and looks the devices up. `device` is the one of
    /// `--device`.
    pub fn join(&self, device: Device) -> Result<Ranks> {
        let devices: Vec<&str> = self
            .devices
            .iter()
            .flat_map(|replicas| std::iter::repeat_n(&*replicas.device, replicas.count))
            .collect();
        let launched = Launched::here().filter(|launched| launched.size > 1);
        if let Some(launched) = launched {
            return self.join_processes(launched, &devices, device);
        }
        if self.parallel_timeout.is_some() {
            bail!("--parallel-timeout: only for processes that mpirun started");
        }
        let devices = devices
            .into_iter()
            .map(burn_zoo::device)
            .collect::<Result<Vec<Device>, _>>()?;
        Ok(Ranks {
            device: devices.first().cloned().unwrap_or(device),
            parallel: Parallel {
                devices,
                ..self.parallel()
            },
            #[cfg(feature = "mpi")]
            mpi: None,
        })
    }

    fn parallel(&self) -> Parallel {
        Parallel {
            bucket_bytes: self.bucket << 20,
            overlap: !self.no_overlap,
            ..Parallel::default()
        }
    }

    #[cfg(not(feature = "mpi"))]
    fn join_processes(&self, launched: Launched, _: &[&str], _: Device) -> Result<Ranks> {
        bail!(
            "{}: this is one of {} processes that a launcher started, and this build has no MPI: each \
             would train a run of its own; build with `--features mpi`",
            launched.variable,
            launched.size
        );
    }

    #[cfg(feature = "mpi")]
    fn join_processes(
        &self,
        launched: Launched,
        devices: &[&str],
        device: Device,
    ) -> Result<Ranks> {
        // Whoever panics while others wait for it ends at once: MPI would wait for ever.
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            usual(info);
            std::process::exit(101);
        }));
        let timeout = Duration::from_secs(self.parallel_timeout.unwrap_or(20) as u64);
        let mpi = Mpi::init(timeout, |error| {
            notice::be_loud();
            notice::say(format_args!(
                "error: {error}; the newest checkpoint is whole, and --resume goes on from there"
            ));
            std::process::exit(1);
        })?;
        let ranks = mpi.communicator();
        let device = match devices {
            [] => Ok(device),
            devices => burn_zoo::device(devices[launched.local_rank % devices.len()]),
        };
        let device = device.map_err(|error| of_rank(error.into(), ranks.rank(), &ranks.host()))?;
        if ranks.rank() > 0 {
            notice::be_quiet();
        }
        if let Some(text) = mpi.pinned() {
            notice::tell(text);
        }
        Ok(Ranks {
            device,
            parallel: Parallel {
                communicator: Some(ranks),
                ..self.parallel()
            },
            mpi: Some(mpi),
        })
    }
}

/// The ranks of a run.
pub struct Ranks {
    /// The device of this process, or the first of them.
    pub device: Device,
    pub parallel: Parallel,
    #[cfg(feature = "mpi")]
    mpi: Option<Mpi>,
}

impl Ranks {
    /// Whether this process writes and prints.
    pub fn leads(&self) -> bool {
        self.communicator_rank() == 0
    }

    fn communicator_rank(&self) -> usize {
        self.parallel
            .communicator
            .as_ref()
            .map_or(0, |ranks| ranks.rank())
    }

    /// Whether other processes belong to the run.
    pub fn has_processes(&self) -> bool {
        self.parallel.communicator.is_some()
    }

    /// Whether several devices of this process train together.
    pub fn has_replicas(&self) -> bool {
        self.parallel.devices.len() > 1
    }

    /// The configuration of a run, whose folder only rank 0 needs to have.
    pub fn run_config(&self, dir: &Path) -> Result<RunConfig> {
        let Some(ranks) = &self.parallel.communicator else {
            return Ok(RunConfig::open(dir)?);
        };
        const CONFIG: &str = "config.toml";
        let text = if self.leads() {
            std::fs::read(dir.join(CONFIG)).unwrap_or_default()
        } else {
            Vec::new()
        };
        let text = ranks.broadcast(text)?;
        if self.leads() || text.is_empty() {
            return Ok(RunConfig::open(dir)?);
        }
        let copy = tempfile::tempdir()?;
        std::fs::write(copy.path().join(CONFIG), text)?;
        Ok(RunConfig::open(copy.path())?)
    }

    /// What all processes come to before they train: an error of one is the error of all.
    pub fn agree<T>(&self, own: Result<T>) -> Result<T> {
        match &self.parallel.communicator {
            None => own,
            Some(ranks) => burn_zoo::train::agree(ranks.as_ref(), own.map_err(InWords))?
                .map_err(|InWords(error)| error),
        }
    }

    /// Leaves the other processes. An error of this one ends them all; rank 0 says it.
    pub fn finish(self, result: Result<()>) -> Result<()> {
        let result = match &self.parallel.communicator {
            Some(ranks) => result.map_err(|error| of_rank(error, ranks.rank(), &ranks.host())),
            None => result,
        };
        #[cfg(feature = "mpi")]
        if let Some(mpi) = self.mpi {
            match &result {
                Ok(()) => mpi.finish(),
                Err(_) if mpi.communicator().rank() > 0 => {
                    // Rank 0 knows of it, says it and ends, and with it this process.
                    std::thread::sleep(Duration::from_secs(3));
                    notice::be_loud();
                }
                Err(_) => {}
            }
        }
        result
    }
}

/// An error with the rank and the machine that it is of.
fn of_rank(error: anyhow::Error, rank: usize, host: &str) -> anyhow::Error {
    match error.downcast_ref() {
        Some(burn_zoo::Error::Rank { .. }) => error,
        _ => error.context(format!("rank {rank} on {host}")),
    }
}

/// An error with its causes.
struct InWords(anyhow::Error);

impl Display for InWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#}", self.0)
    }
}
