//! Hyperband with its brackets one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::Decision;

/// Successive halving of some trials.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bracket {
    /// Trials that begin.
    pub trials: usize,
    /// The epochs at which they are compared; the last ones that go on end at the last of them.
    pub epochs: Vec<usize>,
}

/// The brackets of Algorithm 1, from the one with most trials to the one that stops none.
pub(super) fn brackets(max_t: usize, eta: usize) -> Vec<Bracket> {
    // The largest s with eta^s <= max_t, in whole numbers.
    let mut most = 0u32;
    while eta
        .checked_pow(most + 1)
        .is_some_and(|power| power <= max_t)
    {
        most += 1;
    }
    let bracket = |s: u32| {
        let trials = ((most as usize + 1) * eta.pow(s)).div_ceil(s as usize + 1);
        let epochs = |rung: u32| max_t as f64 / (eta as f64).powi((s - rung) as i32);
        let epochs = (0..=s).map(|rung| (epochs(rung).round() as usize).max(1));
        Bracket {
            trials,
            epochs: epochs.collect(),
        }
    };
    (0..=most).rev().map(bracket).collect()
}

#[derive(Debug)]
pub(in crate::tune) struct Hyperband {
    eta: usize,
    brackets: Vec<Bracket>,
    /// The rung that each trial goes to or waits at.
    rung: BTreeMap<usize, usize>,
    /// What trials reported that wait.
    waiting: BTreeMap<usize, f64>,
    /// Trials that have ended.
    ended: BTreeSet<usize>,
}

impl Hyperband {
    pub fn new(max_t: usize, eta: usize) -> Self {
        Self {
            eta,
            brackets: brackets(max_t, eta),
            rung: BTreeMap::new(),
            waiting: BTreeMap::new(),
            ended: BTreeSet::new(),
        }
    }

    /// The bracket of a trial, and the numbers of the trials in it. The brackets begin again after the
    /// last one.
    fn bracket(&self, trial: usize) -> (&Bracket, Range<usize>) {
        let ends: Vec<usize> = self
            .brackets
            .iter()
            .scan(0, |end, bracket| {
                *end += bracket.trials;
                Some(*end)
            })
            .collect();
        let round = ends.last().copied().unwrap_or(1);
        let place = trial % round;
        // There are brackets, and the last one ends the round.
        let index = ends.partition_point(|end| *end <= place);
        let bracket = &self.brackets[index];
        let end = trial - place + ends[index];
        (bracket, end - bracket.trials..end)
    }

    pub fn report(&mut self, trial: usize, epoch: usize, score: f64) -> Decision {
        let rung = self.rung.get(&trial).copied().unwrap_or_default();
        let (bracket, _) = self.bracket(trial);
        let last = rung + 1 >= bracket.epochs.len();
        if epoch < bracket.epochs[rung.min(bracket.epochs.len() - 1)] {
            return Decision::Continue;
        }
        if last {
            return Decision::Stop;
        }
        self.waiting.insert(trial, score);
        Decision::Pause
    }

    pub fn withdraw(&mut self, trial: usize) {
        self.waiting.remove(&trial);
    }

    pub fn ended(&mut self, trial: usize) {
        self.waiting.remove(&trial);
        self.ended.insert(trial);
    }

    /// A trial goes on to its next rung.
    pub fn resumed(&mut self, trial: usize) {
        self.waiting.remove(&trial);
        *self.rung.entry(trial).or_default() += 1;
    }

    /// Of the trials that wait at a rung where nobody is missing, the best go on.
    pub fn waiting(&mut self, trials: usize, all: bool) -> Vec<(usize, Decision)> {
        let mut decisions = Vec::new();
        let mut seen = 0;
        while let Some((&trial, _)) = self.waiting.range(seen..).next() {
            let (_, range) = self.bracket(trial);
            seen = range.end;
            let is_filled = range.end <= trials || all;
            let members = range.start..range.end.min(trials);
            let alive = members.filter(|member| !self.ended.contains(member));
            let alive: Vec<usize> = alive.collect();
            let rung = |member: &usize| self.rung.get(member).copied().unwrap_or_default();
            let lowest = alive.iter().map(rung).min().unwrap_or_default();
            let here: Vec<usize> = alive.into_iter().filter(|m| rung(m) == lowest).collect();
            if !is_filled || here.iter().any(|member| !self.waiting.contains_key(member)) {
                continue;
            }
            let mut ranked: Vec<(usize, f64)> = here
                .iter()
                .map(|member| (*member, self.waiting[member]))
                .collect();
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let best = (ranked.len() / self.eta).max(1);
            for (index, (member, _)) in ranked.into_iter().enumerate() {
                if index < best {
                    self.resumed(member);
                    decisions.push((member, Decision::Continue));
                } else {
                    self.ended(member);
                    decisions.push((member, Decision::Stop));
                }
            }
        }
        decisions
    }
}
