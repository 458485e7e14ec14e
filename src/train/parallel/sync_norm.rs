//! Batch normalisation over the images of all ranks.

use std::sync::{Arc, Mutex, PoisonError};

use super::communicator::Communicator;
use crate::nn::StatisticsSync;

/// How a message of sums begins: no other one does.
const SUMS: u8 = 0;

/// Sums of a batch normalisation over all ranks.
pub(super) struct NormSync {
    communicator: Arc<dyn Communicator>,
    /// What a rank said that had no sums to give: why it ends.
    heard: Mutex<Option<(usize, Vec<u8>)>>,
}

impl NormSync {
    pub fn new(communicator: Arc<dyn Communicator>) -> Self {
        Self {
            communicator,
            heard: Mutex::new(None),
        }
    }

    /// The words of a rank that ended in the middle of a step, and the rank.
    pub fn heard(&self) -> Option<(usize, Vec<u8>)> {
        let heard = self.heard.lock();
        heard.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hear(&self, rank: usize, message: Vec<u8>) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get_or_insert((rank, message));
    }
}

impl std::fmt::Debug for NormSync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NormSync({} ranks)", self.communicator.size())
    }
}

impl StatisticsSync for NormSync {
    /// In the middle of a step there is no way to tell of an error: with this rank's own values the
    /// step comes to its end, whose exchange tells of it.
    fn all(&self, values: &[f64]) -> Vec<Vec<f64>> {
        let own = || vec![values.to_vec()];
        if self.heard().is_some() {
            return own();
        }
        let numbers = values.iter().flat_map(|value| value.to_le_bytes());
        let message: Vec<u8> = std::iter::once(SUMS).chain(numbers).collect();
        let all = match self.communicator.all_gather(&message) {
            Ok(all) => all,
            Err(error) => {
                self.hear(self.communicator.rank(), error.to_string().into_bytes());
                return own();
            }
        };
        let is_sums =
            |other: &Vec<u8>| other.first() == Some(&SUMS) && other.len() == message.len();
        if let Some(rank) = all.iter().position(|other| !is_sums(other)) {
            self.hear(rank, all[rank].clone());
            return own();
        }
        let number = |bytes: &[u8]| f64::from_le_bytes(bytes.try_into().unwrap_or_default());
        let numbers = |message: Vec<u8>| message[1..].chunks_exact(8).map(number).collect();
        all.into_iter().map(numbers).collect()
    }
}
