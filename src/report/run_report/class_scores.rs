//! What a confusion matrix says about each class.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How well a class is recognised. A share of nothing is `None`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Score {
    /// Images of the class.
    pub images: usize,
    /// Images that were taken for the class.
    pub predicted: usize,
    /// Images of the class that were recognised.
    pub right: usize,
    /// The other class that its images are most often taken for, and how often; the first of
    /// equals.
    pub taken_for: Option<(usize, usize)>,
}

impl Score {
    /// Share of its images that were recognised.
    pub fn recall(&self) -> Option<f64> {
        share(self.right, self.images)
    }

    /// Share of what was taken for it that is.
    pub fn precision(&self) -> Option<f64> {
        share(self.right, self.predicted)
    }

    /// The harmonic mean of both.
    pub fn f1(&self) -> Option<f64> {
        let both = self.images as f64 + self.predicted as f64;
        (both > 0.0).then(|| 2.0 * self.right as f64 / both)
    }
}

/// A part of a whole, if there is one.
pub(super) fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The sum of counts; one that no image set reaches does not overflow.
fn sum(counts: impl Iterator<Item = usize>) -> usize {
    counts.fold(0, usize::saturating_add)
}

/// Images of each class.
pub(super) fn images(confusion: &[Vec<usize>]) -> Vec<usize> {
    let rows = confusion.iter();
    rows.map(|row| sum(row.iter().copied())).collect()
}

/// The scores of each class of a square matrix, whose rows are the truth.
pub(super) fn of(confusion: &[Vec<usize>]) -> Vec<Score> {
    let mut predicted = vec![0_usize; confusion.len()];
    for row in confusion {
        for (all, count) in predicted.iter_mut().zip(row) {
            *all = all.saturating_add(*count);
        }
    }
    let rows = confusion.iter().zip(images(confusion)).zip(predicted);
    rows.enumerate()
        .map(|(class, ((row, images), predicted))| {
            let others = row.iter().copied().enumerate();
            let others = others.filter(|(other, count)| *other != class && *count > 0);
            Score {
                images,
                predicted,
                right: row.get(class).copied().unwrap_or(0),
                taken_for: others.max_by_key(|(other, count)| (*count, Reverse(*other))),
            }
        })
        .collect()
}

/// Share of all images that were recognised.
pub(super) fn accuracy(scores: &[Score]) -> Option<f64> {
    let right = sum(scores.iter().map(|score| score.right));
    share(right, sum(scores.iter().map(|score| score.images)))
}

/// The mean of a score over the classes that have one.
pub(super) fn mean(scores: &[Score], score: impl Fn(&Score) -> Option<f64>) -> Option<f64> {
    let values: Vec<f64> = scores.iter().filter_map(score).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The classes of the lowest F1, the lowest first: a fifth of all, at least one and at most ten.
/// Perfect ones are never among them.
pub(super) fn weakest(scores: &[Score]) -> Vec<usize> {
    let classes = scores.iter().enumerate();
    let mut classes: Vec<(usize, f64)> = classes
        .filter_map(|(class, score)| score.f1().map(|f1| (class, f1)))
        .collect();
    let most = (classes.len() / 5).clamp(1, 10);
    classes.sort_by(|a, b| a.1.total_cmp(&b.1));
    let imperfect = classes.into_iter().filter(|(_, f1)| *f1 < 1.0);
    imperfect.take(most).map(|(class, _)| class).collect()
}

/// Images that were taken for another class.
pub(super) fn mistakes(confusion: &[Vec<usize>]) -> usize {
    let scores = of(confusion);
    sum(scores.iter().map(|score| score.images - score.right))
}

/// Kinds of mistakes that were made.
pub(super) fn kinds(confusion: &[Vec<usize>]) -> usize {
    let rows = confusion.iter().enumerate();
    let wrong = |(truth, row): (usize, &Vec<usize>)| {
        let others = row.iter().enumerate().filter(|(other, _)| *other != truth);
        others.filter(|(_, count)| **count > 0).count()
    };
    rows.map(wrong).sum()
}

/// A kind of mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Confusion {
    pub truth: usize,
    pub predicted: usize,
    pub images: usize,
}

/// The most frequent mistakes, the most frequent first; equals in the order of the classes.
pub(super) fn frequent(confusion: &[Vec<usize>], most: usize) -> Vec<Confusion> {
    // The rarest of those kept so far comes out of the heap first.
    let mut heap = BinaryHeap::new();
    for (truth, row) in confusion.iter().enumerate() {
        for (predicted, images) in row.iter().enumerate() {
            if truth != predicted && *images > 0 {
                heap.push((Reverse(*images), truth, predicted));
                if heap.len() > most {
                    heap.pop();
                }
            }
        }
    }
    let sorted = heap.into_sorted_vec().into_iter();
    sorted
        .map(|(Reverse(images), truth, predicted)| Confusion {
            truth,
            predicted,
            images,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_a_small_matrix() {
        let scores = of(&[vec![8, 2, 0], vec![1, 3, 0], vec![0, 0, 0]]);
        assert_eq!(scores[0].recall(), Some(0.8));
        assert_eq!(scores[0].precision(), Some(8.0 / 9.0));
        assert_eq!(scores[0].f1(), Some(16.0 / 19.0));
        assert_eq!(scores[0].taken_for, Some((1, 2)));
        assert_eq!(scores[1].taken_for, Some((0, 1)));
        assert_eq!((scores[2].recall(), scores[2].precision()), (None, None));
        assert_eq!((scores[2].f1(), scores[2].taken_for), (None, None));
        assert_eq!(accuracy(&scores), Some(11.0 / 14.0));
        assert_eq!(mean(&scores, Score::recall), Some((0.8 + 0.75) / 2.0));
        assert_eq!(weakest(&scores), [1]);
        assert!(weakest(&of(&[vec![3, 0], vec![0, 3]])).is_empty());
        assert_eq!((accuracy(&[]), weakest(&[])), (None, vec![]));
    }

    #[test]
    fn frequent_mistakes_come_first() {
        let matrix = [vec![9, 5, 1], vec![5, 9, 7], vec![0, 2, 9]];
        let found: Vec<[usize; 3]> = frequent(&matrix, 4)
            .into_iter()
            .map(|c| [c.truth, c.predicted, c.images])
            .collect();
        assert_eq!(found, [[1, 2, 7], [0, 1, 5], [1, 0, 5], [2, 1, 2]]);
        assert_eq!(frequent(&matrix, 99).len(), 5);
        assert_eq!(frequent(&matrix, 0), []);
        assert_eq!((kinds(&matrix), mistakes(&matrix)), (5, 20));
        assert_eq!((kinds(&[]), mistakes(&[])), (0, 0));
    }

    #[test]
    fn huge_counts_do_not_overflow() {
        let scores = of(&[vec![usize::MAX; 2], vec![usize::MAX; 2]]);
        assert!(scores[0].f1().is_some_and(f64::is_finite));
        assert_eq!(scores[0].images, usize::MAX);
    }
}
