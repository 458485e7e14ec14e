//! Ranks that are processes, started by `mpirun` or the like.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ferrompi::{Communicator as World, ReduceOp, ThreadLevel};

use super::communicator::Communicator;
use super::host_name;
use super::launched::Launched;
use crate::error::{Error, Result};

/// Bytes that are sent at once: MPI counts in 32 bits.
const CHUNK: usize = 1 << 28;
/// The tag of signs of life.
const SIGN: i32 = 7;

/// This process among those that `mpirun` started.
///
/// MPI does not notice that a process has stopped or that a link is down, and then waits for ever.
/// So each rank gives signs of life in a thread of its own, also while it reads images or validates,
/// and whoever misses them for too long is told.
pub struct Mpi {
    ranks: Arc<Ranks>,
    /// Its drop would wait for the others, who may be gone: only [`finish`](Self::finish) does that.
    mpi: std::mem::ManuallyDrop<ferrompi::Mpi>,
    threads: Vec<JoinHandle<()>>,
}

struct Ranks {
    rank: usize,
    size: usize,
    host: String,
    /// What ranks tell each other, and their gradients: the two may be under way at once.
    words: World,
    gradients: World,
    finished: AtomicBool,
}

impl Mpi {
    /// Joins the other processes. `on_silence` is called in a thread of its own when a rank has given no
    /// sign of life for `timeout`. It should end the process: whoever waits for that rank in MPI cannot be
    /// woken.
    ///
    /// # Errors
    /// [`Error::Device`] if MPI cannot be used: with threads, or because it is not the one of the
    /// launcher.
    pub fn init(timeout: Duration, on_silence: impl Fn(Error) + Send + 'static) -> Result<Self> {
        let bad = |reason: String| Error::Device {
            device: "MPI".to_owned(),
            reason,
        };
        let failed = |error: ferrompi::Error| bad(error.to_string());
        let launched = Launched::here();
        let mpi = ferrompi::Mpi::init_thread(ThreadLevel::Multiple).map_err(failed)?;
        let mpi = std::mem::ManuallyDrop::new(mpi);
        let level = mpi.thread_level();
        if level != ThreadLevel::Multiple {
            return Err(bad(format!(
                "expected an MPI that several threads may call at once (MPI_THREAD_MULTIPLE), found \
                 {level:?}"
            )));
        }
        let world = mpi.world();
        let size = usize::try_from(world.size()).unwrap_or(1);
        if let Some(launched) = launched
            && launched.size != size
        {
            let library = ferrompi::Mpi::library_version().unwrap_or_default();
            return Err(bad(format!(
                "the launcher started {} processes ({}), and MPI knows {size}: this program was built \
                 for another MPI than the launcher's; it uses {}",
                launched.size,
                launched.variable,
                library
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .trim_end_matches('\0')
            )));
        }
        let ranks = Arc::new(Ranks {
            rank: usize::try_from(world.rank()).unwrap_or(0),
            size,
            host: host_name(),
            words: world.duplicate().map_err(failed)?,
            gradients: world.duplicate().map_err(failed)?,
            finished: AtomicBool::new(false),
        });
        let signs = world.duplicate().map_err(failed)?;
        let mut threads = Vec::new();
        if size > 1 {
            let hosts = ranks.all_gather(ranks.host.as_bytes())?;
            let hosts = hosts
                .iter()
                .map(|host| String::from_utf8_lossy(host).into_owned());
            threads = watch(ranks.clone(), signs, hosts.collect(), timeout, on_silence)?;
        }
        Ok(Self {
            ranks,
            mpi,
            threads,
        })
    }

    /// This rank, for a run.
    pub fn communicator(&self) -> Arc<dyn Communicator> {
        self.ranks.clone()
    }

    /// Whether this process may use fewer cores than its share, in words for a person.
    pub fn pinned(&self) -> Option<String> {
        let here = std::thread::available_parallelism().map_or(1, usize::from);
        let cores = online_cores()?;
        let local = Launched::here().map_or(1, |launched| launched.local_size);
        (here * local < cores).then(|| {
            format!(
                "each process may use {here} of {cores} cores only: `mpirun --bind-to none`, or \
                 `--map-by slot:PE={}`, gives it its share",
                cores / local
            )
        })
    }

    /// Waits for the others and leaves MPI.
    pub fn finish(self) {
        // Whoever waits here is alive. If another is gone, the launcher or `on_silence` ends this process.
        let _ = self.ranks.words.barrier();
        self.ranks.finished.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        drop(std::mem::ManuallyDrop::into_inner(self.mpi));
    }

    /// Ends all processes at once.
    pub fn abort(&self, code: i32) -> ! {
        self.mpi.world().abort(code)
    }
}

impl Ranks {
    fn error(&self, error: &ferrompi::Error) -> Error {
        Error::Rank {
            rank: self.rank,
            host: self.host.clone(),
            reason: format!("MPI: {error}"),
        }
    }
}

impl Communicator for Ranks {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn host(&self) -> String {
        self.host.clone()
    }

    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<()> {
        let sum = self.gradients.allreduce_inplace(values, ReduceOp::Sum);
        sum.map_err(|error| self.error(&error))
    }

    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let own = i32::try_from(bytes.len());
        let own = own.map_err(|_| Error::argument("all_gather", "below 2 GiB", bytes.len()))?;
        let mut lengths = vec![0i32; self.size];
        let error = |error| self.error(&error);
        self.words.allgather(&[own], &mut lengths).map_err(error)?;
        let places = lengths.iter().scan(0i32, |next, length| {
            let place = *next;
            *next = next.checked_add(*length)?;
            Some(place)
        });
        let places: Vec<i32> = places.collect();
        let total: usize = lengths.iter().map(|length| *length as usize).sum();
        if places.len() != self.size || i32::try_from(total).is_err() {
            return Err(Error::argument("all_gather", "below 2 GiB", total));
        }
        let mut all = vec![0u8; total];
        let gathered = self.words.allgatherv(bytes, &mut all, &lengths, &places);
        gathered.map_err(error)?;
        let part = |(place, length): (&i32, &i32)| {
            let place = *place as usize;
            all[place..place + *length as usize].to_vec()
        };
        Ok(places.iter().zip(&lengths).map(part).collect())
    }

    fn broadcast(&self, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
        let error = |error| self.error(&error);
        let mut length = [bytes.len() as u64];
        self.words.broadcast(&mut length, 0).map_err(error)?;
        bytes.resize(length[0] as usize, 0);
        for chunk in bytes.chunks_mut(CHUNK) {
            self.words.broadcast(chunk, 0).map_err(error)?;
        }
        Ok(bytes)
    }
}

/// Gives signs of life and looks for those of the others: rank 0 for those of all, the others for rank
/// 0's. One thread speaks to MPI and one only looks at the clock, since MPI may never come back.
fn watch(
    ranks: Arc<Ranks>,
    signs: World,
    hosts: Vec<String>,
    timeout: Duration,
    on_silence: impl Fn(Error) + Send + 'static,
) -> Result<Vec<JoinHandle<()>>> {
    let interval = (timeout / 10).min(Duration::from_secs(1));
    let others: Vec<usize> = match ranks.rank {
        0 => (1..ranks.size).collect(),
        _ => vec![0],
    };
    let start = Instant::now();
    let seen: Arc<Vec<AtomicU64>> = Arc::new(others.iter().map(|_| AtomicU64::new(0)).collect());
    let (speaker, speaks) = (ranks.clone(), seen.clone());
    let to: Vec<i32> = others.iter().map(|rank| *rank as i32).collect();
    let speak = move || {
        while !speaker.finished.load(Ordering::Relaxed) {
            for (other, seen) in to.iter().zip(speaks.iter()) {
                let mut sign = [0u8];
                // A link that is down shows by silence.
                let _ = signs.send(&sign, *other, SIGN);
                while let Ok(Some(_)) = signs.iprobe::<u8>(*other, SIGN) {
                    if signs.recv(&mut sign, *other, SIGN).is_err() {
                        break;
                    }
                    seen.store(start.elapsed().as_millis() as u64, Ordering::Relaxed);
                }
            }
            std::thread::sleep(interval);
        }
        // `finish` leaves MPI: nothing of it is dropped after that.
        std::mem::forget(signs);
    };
    let look = move || {
        while !ranks.finished.load(Ordering::Relaxed) {
            std::thread::sleep(interval);
            let now = start.elapsed();
            for (other, seen) in others.iter().zip(seen.iter()) {
                let silence =
                    now.saturating_sub(Duration::from_millis(seen.load(Ordering::Relaxed)));
                if silence > timeout && !ranks.finished.load(Ordering::Relaxed) {
                    on_silence(Error::Rank {
                        rank: *other,
                        host: hosts[*other].clone(),
                        reason: format!("no sign of life for {:.0} s", silence.as_secs_f64()),
                    });
                    return;
                }
            }
        }
    };
    let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn(run).map_err(|error| Error::Device {
            device: "MPI".to_owned(),
            reason: format!("no thread can be started: {error}"),
        })
    };
    Ok(vec![
        start("signs-of-life", Box::new(speak))?,
        start("watch", Box::new(look))?,
    ])
}

/// The cores of this machine, whatever this process may use of them.
fn online_cores() -> Option<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
    let cores = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        Some(last.checked_sub(first)? + 1)
    };
    text.trim().split(',').map(cores).sum()
}
