//! The ranks of this process.

use std::panic::resume_unwind;
use std::sync::Arc;

use burn::module::Module as _;

use super::communicator::Communicator as _;
use super::group::Group;
use super::options::Parallel;
use super::threads::ThreadRank;
use crate::device::device_name;
use crate::error::{Error, Result};
use crate::model::Classifier;
use crate::train::monitor::Monitor;

impl Parallel {
    /// A replica of a model for each rank of this process, on its device.
    pub(in crate::train) fn models(&self, model: &Classifier) -> Vec<Classifier> {
        match &self.devices[..] {
            [] => vec![model.clone()],
            devices => devices
                .iter()
                .map(|device| {
                    let device = device.clone().autodiff();
                    if device == model.device() {
                        model.clone()
                    } else {
                        model.clone().fork(&device)
                    }
                })
                .collect(),
        }
    }

    /// Whether other processes are ranks of the same run.
    pub(in crate::train) fn has_processes(&self) -> bool {
        self.communicator.as_ref().is_some_and(|c| c.size() > 1)
    }

    fn check(&self, is_placed: bool) -> Result<()> {
        if is_placed && (self.has_processes() || !self.devices.is_empty()) {
            let expected =
                "a model as a whole on each device or in each process, or one that is cut";
            return Err(Error::argument("place", expected, "both"));
        }
        if self.bucket_bytes < 4 {
            return Err(Error::argument(
                "bucket_bytes",
                "at least 4",
                self.bucket_bytes,
            ));
        }
        if self.has_processes() && self.devices.len() > 1 {
            let expected = "one device for each process of several";
            return Err(Error::argument("devices", expected, self.devices.len()));
        }
        Ok(())
    }
}

/// Runs the ranks of this process, each with its own of `parts`: rank 0 on this thread and with the
/// monitor, the others on threads of their own. On the CPU each has a share of the threads. What rank 0 gives
/// is the result; where rank 0 is another process, there is none.
pub(in crate::train) fn run_replicas<P: Send, T: Send>(
    options: &Parallel,
    parts: Vec<P>,
    is_placed: bool,
    monitor: &mut dyn Monitor,
    run: impl Fn(Group, P, &mut dyn Monitor) -> Result<Option<T>> + Sync,
) -> Result<Option<T>> {
    let checked = options.check(is_placed);
    let mut parts = parts.into_iter();
    let (Some(first), others) = (parts.next(), parts) else {
        return Ok(None);
    };
    if others.len() == 0 {
        let group = match &options.communicator {
            Some(communicator) => Group::new(communicator.clone(), options)?,
            None => Group::default(),
        };
        checked.inspect_err(|error| group.fail(error))?;
        return run(group, first, monitor);
    }
    checked?;
    let mut ranks = ThreadRank::ranks(1 + others.len()).into_iter();
    let pools = pools(options)?;
    let run_rank = |rank: ThreadRank, part: P, monitor: &mut dyn Monitor| {
        let rank = Arc::new(rank);
        let pool = &pools[rank.rank()];
        let run = || {
            // Whatever ends this thread, nobody waits for it.
            let _ends = GiveUp(rank.clone());
            run(Group::new(rank.clone(), options)?, part, monitor)
        };
        match pool {
            Some(pool) => pool.install(run),
            None => run(),
        }
    };
    let Some(leader) = ranks.next() else {
        return Ok(None);
    };
    let run_rank = &run_rank;
    std::thread::scope(|scope| {
        let threads: Vec<_> = ranks
            .zip(others)
            .map(|(rank, part)| scope.spawn(move || run_rank(rank, part, &mut ())))
            .collect();
        let led = run_rank(leader, first, monitor);
        let mut failed = None;
        for thread in threads {
            match thread.join() {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    failed.get_or_insert(error);
                }
                Err(panic) => resume_unwind(panic),
            }
        }
        match (led, failed) {
            (Ok(_), Some(error)) => Err(error),
            (led, _) => led,
        }
    })
}

/// Gives a rank up when it is dropped, as by a panic.
struct GiveUp(Arc<ThreadRank>);

impl Drop for GiveUp {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// The threads of each rank: those of the process, shared by the ranks on the CPU.
fn pools(options: &Parallel) -> Result<Vec<Option<rayon::ThreadPool>>> {
    let is_cpu = |device| matches!(&*device_name(device), "cpu" | "ndarray");
    let on_cpu = options
        .devices
        .iter()
        .filter(|device| is_cpu(device))
        .count();
    let share = (rayon::current_num_threads() / on_cpu.max(1)).max(1);
    let pool = |device| {
        if !is_cpu(device) {
            return Ok(None);
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(share);
        pool.build().map(Some).map_err(|error| Error::Device {
            device: device_name(device),
            reason: format!("its {share} threads cannot be started: {error}"),
        })
    };
    options.devices.iter().map(pool).collect()
}
