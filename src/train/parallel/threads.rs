//! Ranks that are threads of one process.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::communicator::Communicator;
use crate::error::{Error, Result};

/// Where all ranks meet: each brings a value, and goes with those of all.
struct Meeting<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    brought: Vec<Option<T>>,
    /// Of the last meeting that was complete.
    all: Arc<Vec<T>>,
    meetings: u64,
    /// The rank that will not come any more.
    gone: Option<usize>,
}

impl<T> Meeting<T> {
    fn new(size: usize) -> Self {
        let state = State {
            brought: (0..size).map(|_| None).collect(),
            all: Arc::new(Vec::new()),
            meetings: 0,
            gone: None,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all have come. An error if one of them is gone.
    fn meet(&self, rank: usize, value: T) -> Result<Arc<Vec<T>>> {
        let mut state = self.lock();
        let meeting = state.meetings;
        state.brought[rank] = Some(value);
        if state.brought.iter().all(Option::is_some) {
            let all = state.brought.iter_mut().filter_map(Option::take).collect();
            state.all = Arc::new(all);
            state.meetings += 1;
            self.changed.notify_all();
        }
        while state.meetings == meeting {
            if let Some(gone) = state.gone {
                return Err(is_gone(gone));
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        Ok(state.all.clone())
    }

    fn leave(&self, rank: usize) {
        self.lock().gone.get_or_insert(rank);
        self.changed.notify_all();
    }
}

fn is_gone(rank: usize) -> Error {
    Error::Rank {
        rank,
        host: super::host_name(),
        reason: "its thread has ended".to_owned(),
    }
}

struct Meetings {
    values: Meeting<Arc<Vec<f32>>>,
    bytes: Meeting<Vec<u8>>,
}

/// A rank that is a thread.
pub(super) struct ThreadRank {
    rank: usize,
    size: usize,
    meetings: Arc<Meetings>,
}

impl ThreadRank {
    /// So many ranks that know each other.
    pub fn ranks(size: usize) -> Vec<Self> {
        let meetings = Arc::new(Meetings {
            values: Meeting::new(size),
            bytes: Meeting::new(size),
        });
        let rank = |rank| Self {
            rank,
            size,
            meetings: meetings.clone(),
        };
        (0..size).map(rank).collect()
    }

    /// The numbers of which a rank makes the sums.
    fn part(&self, rank: usize, len: usize) -> std::ops::Range<usize> {
        len * rank / self.size..len * (rank + 1) / self.size
    }
}

impl Communicator for ThreadRank {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn host(&self) -> String {
        super::host_name()
    }

    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<()> {
        let meeting = &self.meetings.values;
        let all = meeting.meet(self.rank, Arc::new(values.to_vec()))?;
        if let Some(rank) = all.iter().position(|other| other.len() != values.len()) {
            return Err(Error::Rank {
                rank,
                host: super::host_name(),
                reason: format!("{} gradients, and here {}", all[rank].len(), values.len()),
            });
        }
        // Each rank sums a part of the numbers, in the order of ranks, so that all get the same.
        let part = self.part(self.rank, values.len());
        let mut sums = all[0][part.clone()].to_vec();
        for other in &all[1..] {
            for (sum, value) in sums.iter_mut().zip(&other[part.clone()]) {
                *sum += value;
            }
        }
        let parts = meeting.meet(self.rank, Arc::new(sums))?;
        for (rank, sums) in parts.iter().enumerate() {
            let part = self.part(rank, values.len());
            values[part].copy_from_slice(sums);
        }
        Ok(())
    }

    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let all = self.meetings.bytes.meet(self.rank, bytes.to_vec())?;
        Ok(all.to_vec())
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let own = if self.rank == 0 { bytes } else { Vec::new() };
        let all = self.meetings.bytes.meet(self.rank, own)?;
        Ok(all[0].clone())
    }

    fn give_up(&self) {
        self.meetings.values.leave(self.rank);
        self.meetings.bytes.leave(self.rank);
    }
}
