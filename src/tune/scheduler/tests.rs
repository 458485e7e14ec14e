use proptest::prelude::*;
use serde_json::Value;

use super::hyperband::{Bracket, brackets};
use super::{Decision, Scheduler, percentile};

#[test]
fn decisions_are_rays() {
    let fixture: Value =
        serde_json::from_str(include_str!("../../../tests/fixtures/tune.json")).unwrap();
    let mut stopped = 0;
    for case in fixture["schedulers"].as_array().unwrap() {
        let name = case["scheduler"].as_str().unwrap();
        let epochs = case["epochs"].as_u64().unwrap() as usize;
        let mut decider = name.parse::<Scheduler>().unwrap().start(epochs);
        for event in case["events"].as_array().unwrap() {
            let number = |index: usize| event[index].as_u64().unwrap() as usize;
            let (trial, epoch) = (number(0), number(1));
            let found = decider.report(trial, epoch, event[2].as_f64().unwrap());
            // Of the last epoch of a trial nothing is decided.
            if epoch < epochs {
                let expected = event[3].as_bool().unwrap();
                stopped += usize::from(expected);
                assert_eq!(found == Decision::Stop, expected, "{name}: {event}");
            }
        }
    }
    assert!(stopped > 50, "{stopped}");
}

#[test]
fn brackets_are_those_of_the_paper() {
    let bracket = |trials, epochs: &[usize]| Bracket {
        trials,
        epochs: epochs.to_vec(),
    };
    // Table 1 of the JMLR paper.
    assert_eq!(
        brackets(81, 3),
        [
            bracket(81, &[1, 3, 9, 27, 81]),
            bracket(34, &[3, 9, 27, 81]),
            bracket(15, &[9, 27, 81]),
            bracket(8, &[27, 81]),
            bracket(5, &[81]),
        ]
    );
    assert_eq!(brackets(1, 3), [bracket(1, &[1])]);
}

#[test]
fn a_bracket_waits_for_all_and_lets_the_best_go_on() {
    let mut decider = "hyperband:max_t=9".parse::<Scheduler>().unwrap().start(9);
    // Nine trials at one epoch, of which three go on to three, and one to nine.
    for trial in 0..9 {
        assert!(decider.waiting(trial, false).is_empty());
        let score = f64::from((trial * 4 % 9) as u32);
        assert_eq!(decider.report(trial, 1, score), Decision::Pause);
    }
    let decisions = decider.waiting(9, false);
    let on = |decisions: &[(usize, Decision)]| -> Vec<usize> {
        let on = decisions
            .iter()
            .filter(|(_, decision)| *decision == Decision::Continue);
        on.map(|(trial, _)| *trial).collect()
    };
    // 4·2 mod 9 = 8, 4·4 = 7, 4·6 = 6.
    assert_eq!((decisions.len(), on(&decisions)), (9, vec![2, 4, 6]));
    for (trial, score) in [(2, 0.1), (6, 0.3)] {
        assert_eq!(decider.report(trial, 2, 0.0), Decision::Continue);
        assert_eq!(decider.report(trial, 3, score), Decision::Pause);
    }
    assert!(decider.waiting(9, false).is_empty());
    decider.ended(4); // It failed: nobody waits for it.
    assert_eq!(on(&decider.waiting(9, false)), [6]);
    assert_eq!(decider.report(6, 9, 0.5), Decision::Stop);
    decider.ended(6);
    // The next bracket: of a search that ends within it, those that there are.
    for trial in 9..12 {
        assert_eq!(
            decider.report(trial, 3, f64::from(trial as u32)),
            Decision::Pause
        );
    }
    assert!(decider.waiting(12, false).is_empty());
    assert_eq!(on(&decider.waiting(12, true)), [11]);
}

#[test]
fn texts_are_read_and_written() {
    let parse = |text: &str| text.parse::<Scheduler>().map(|s| s.to_string());
    assert_eq!(parse("asha:max_t=9,grace=1,eta=4").unwrap(), "asha:max_t=9");
    assert_eq!(parse("asha").unwrap(), "asha");
    assert_eq!(
        parse("hyperband:eta=2,max_t=8").unwrap(),
        "hyperband:max_t=8:eta=2"
    );
    assert_eq!(parse("median:grace=2").unwrap(), "median:grace=2");
    assert_eq!(parse("none").unwrap(), "none");
    for (text, named) in [
        ("ahsa", "asha"),
        ("asha:max=9", "max_t"),
        ("asha:max_t=0", "max_t"),
        ("asha:grace=9,max_t=3", "grace"),
        ("asha:eta=1", "eta"),
        ("asha:eta=nan", "eta"),
        ("hyperband:eta=1", "eta"),
        ("median:min_samples=0", "min_samples"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(named), "{text}: {error}");
    }
    let rungs = |text: &str, epochs| text.parse::<Scheduler>().unwrap().rungs(epochs);
    assert_eq!(rungs("asha:max_t=9,eta=4", 9), [1, 4, 9]);
    assert_eq!(rungs("hyperband", 9), [1, 3, 9]);
}

proptest! {
    #[test]
    fn percentiles_are_between_values(mut values in prop::collection::vec(-1e3..1e3f64, 1..20), share in 0.0..=1.0f64) {
        let found = percentile(&values, share).unwrap();
        values.sort_by(f64::total_cmp);
        prop_assert!(values[0] <= found && found <= values[values.len() - 1]);
        let least = percentile(&values, 0.0);
        prop_assert_eq!(least, Some(values[0]));
    }

    /// Whatever is reported in whatever order, a bracket comes to an end.
    #[test]
    fn hyperband_ends(scores in prop::collection::vec(0.0..1.0f64, 22 * 9), fails in prop::collection::vec(0..8u8, 22)) {
        let mut decider = "hyperband:max_t=9".parse::<Scheduler>().unwrap().start(9);
        let mut open: Vec<(usize, usize)> = Vec::new();
        let (mut added, mut ended) = (0, 0);
        for _ in 0..10_000 {
            for (trial, decision) in decider.waiting(added, added == 22) {
                let place = open.iter().position(|(other, _)| *other == trial).unwrap();
                if decision == Decision::Stop {
                    open.remove(place);
                    ended += 1;
                } else {
                    open[place].1 |= 1 << 16;
                }
            }
            let next = open.iter().position(|(_, epoch)| epoch >> 16 == 1);
            let place = match next {
                Some(place) => place,
                None if added < 22 => {
                    open.push((added, 1 << 16));
                    added += 1;
                    open.len() - 1
                }
                None => break,
            };
            let (trial, epoch) = open[place];
            let epoch = (epoch & 0xffff) + 1;
            if fails[trial] == 0 {
                decider.ended(trial);
                open.remove(place);
                ended += 1;
                continue;
            }
            match decider.report(trial, epoch, scores[trial * 9 + epoch - 1]) {
                Decision::Continue => open[place].1 = epoch | 1 << 16,
                Decision::Pause => open[place].1 = epoch,
                Decision::Stop => {
                    decider.ended(trial);
                    open.remove(place);
                    ended += 1;
                }
            }
        }
        prop_assert_eq!((added, ended), (22, 22));
    }
}
