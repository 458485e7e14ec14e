use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::error::Error;
use crate::train::Recipe;

fn search() -> Search {
    Search::new(Recipe::full().epochs(4))
        .vary("learning_rate", Distribution::LogUniform(1e-4..1e-1))
        .vary("batch_size", choice([32, 64, 128]))
        .trials(12)
}

fn accuracy(value: f64) -> Metrics {
    BTreeMap::from([("valid_accuracy".to_owned(), value)])
}

/// A training that learns best at a rate of 0.01.
fn train(trial: &mut Trial<'_>) -> crate::Result<()> {
    let rate = trial.number_of("learning_rate")?;
    let good = 0.9 - 0.1 * (rate.log10() + 2.0).abs();
    for epoch in 1..=trial.recipe()?.epochs {
        let value = good * (1.0 - 0.5f64.powi(epoch as i32));
        if trial.report(epoch, accuracy(value))? != Decision::Continue {
            break;
        }
    }
    Ok(())
}

#[test]
fn a_search_finds_records_and_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("search");
    let found = search()
        .scheduler("asha:max_t=4,eta=2".parse().unwrap())
        .run(&dir, train)
        .unwrap();
    assert_eq!(found.trials().len(), 12);
    let states = |state| found.trials().iter().filter(|t| t.state == state).count();
    let (completed, stopped) = (states(TrialState::Completed), states(TrialState::Stopped));
    assert!(completed > 0 && stopped > 0 && completed + stopped == 12);
    for trial in found.trials() {
        let last = trial.reports.last().unwrap();
        assert_eq!(trial.state == TrialState::Completed, last.epoch == 4);
        assert_eq!(
            trial.state == TrialState::Stopped,
            last.decision == Decision::Stop
        );
    }
    let best = found.best().unwrap();
    let value =
        |trial: &TrialRecord| trial.best(found.settings()).unwrap().metrics["valid_accuracy"];
    assert!(
        found
            .trials()
            .iter()
            .all(|trial| value(trial) <= value(best))
    );
    let again = SearchResult::open(&dir).unwrap();
    assert_eq!(again.trials(), found.trials());
    // The folder has a search: another is none.
    assert!(matches!(
        search().run(&dir, train),
        Err(Error::Exists { .. })
    ));
    // More trials go on from there, another search does not.
    let more = search()
        .scheduler("asha:max_t=4,eta=2".parse().unwrap())
        .trials(14);
    let found = more.resume(&dir, &mut (), train).unwrap();
    assert_eq!(found.trials().len(), 14);
    assert_eq!(&found.trials()[..12], again.trials());
    let other = search().seed(7).resume(&dir, &mut (), train);
    assert!(matches!(other, Err(Error::InvalidArgument { .. })));
}

/// Reports, decisions and ends, without seconds.
fn told(found: &SearchResult) -> Vec<(Params, Vec<Report>, TrialState)> {
    let trials = found.trials().iter().cloned();
    trials
        .map(|trial| (trial.params, trial.reports, trial.state))
        .collect()
}

#[test]
fn a_search_cut_off_anywhere_goes_on_as_if_it_had_not_been() {
    for scheduler in [
        "none",
        "asha:max_t=4,eta=2",
        "hyperband:max_t=4,eta=2",
        "median",
    ] {
        let scheduler: Scheduler = scheduler.parse().unwrap();
        let search = search().scheduler(scheduler).trials(26);
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole");
        let expected = search.run(&whole, train).unwrap();
        let text = std::fs::read_to_string(whole.join("tune.jsonl")).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for kept in (0..lines.len()).step_by(7) {
            let dir = folder.path().join(format!("cut-{kept}"));
            std::fs::create_dir(&dir).unwrap();
            std::fs::copy(whole.join("search.toml"), dir.join("search.toml")).unwrap();
            let mut part = lines[..kept].join("\n");
            if kept > 0 {
                part.push('\n');
            }
            // The next line was being written.
            part.push_str(&lines[kept][..lines[kept].len() / 2]);
            std::fs::write(dir.join("tune.jsonl"), part).unwrap();
            let found = search.resume(&dir, &mut (), train).unwrap();
            assert!(told(&found) == told(&expected), "{scheduler}, {kept} lines");
            let again = std::fs::read_to_string(dir.join("tune.jsonl")).unwrap();
            assert_eq!(again.lines().count(), lines.len());
        }
    }
}

#[test]
fn seconds_of_a_killed_trial_count() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, dir) = (folder.path().join("whole"), folder.path().join("cut"));
    search().run(&whole, train).unwrap();
    let text = std::fs::read_to_string(whole.join("tune.jsonl")).unwrap();
    let mut kept: Vec<serde_json::Value> = Vec::new();
    for line in text.lines() {
        kept.push(serde_json::from_str(line).unwrap());
        let last = kept.last_mut().unwrap();
        if last["event"] == "reported" {
            last["seconds"] = 100.0.into();
            break;
        }
    }
    let trial = kept.last().unwrap()["trial"].as_u64().unwrap() as usize;
    let kept: String = kept.iter().map(|event| format!("{event}\n")).collect();
    std::fs::create_dir(&dir).unwrap();
    std::fs::copy(whole.join("search.toml"), dir.join("search.toml")).unwrap();
    std::fs::write(dir.join("tune.jsonl"), kept).unwrap();
    let found = search().resume(&dir, &mut (), train).unwrap();
    assert!((100.0..110.0).contains(&found.trials()[trial].seconds));
}

#[test]
fn the_longest_trial_is_one_of_the_search() {
    let most = |search: Search| search.settings().most_epochs();
    assert_eq!(most(search()), 4);
    let epochs = Distribution::RandInt(2..9);
    assert_eq!(most(search().vary("epochs", epochs.clone())), 8);
    let short = Parameter::from(choice([1, 2])).when("batch_size", [16]);
    let search = search().vary("batch_size", choice([16, 32]));
    assert_eq!(most(search.clone().vary("epochs", short)), 4);
    // Without a limit of its own Hyperband lets it end.
    let folder = tempfile::tempdir().unwrap();
    let found = search
        .vary("epochs", choice([6]))
        .scheduler("hyperband:eta=2".parse().unwrap())
        .trials(4)
        .run(folder.path().join("search"), train)
        .unwrap();
    assert_eq!(found.best().unwrap().reports.len(), 6);
}

/// Both ends of a range may be whole numbers, and nothing between.
#[test]
fn a_range_of_numbers_is_none_of_whole_ones() {
    let of = |sampler: &str| {
        let search = search().vary("batch_size", Distribution::Uniform(16.0..64.0));
        let search = search.sampler(sampler.parse().unwrap());
        search.validate()
    };
    let error = of("random").unwrap_err().to_string();
    assert!(
        error.contains("batch_size: expected a whole number"),
        "{error}"
    );
    of("grid:points=4").unwrap();
}

#[test]
fn hyperband_pauses_trials_and_goes_on_with_the_best() {
    let folder = tempfile::tempdir().unwrap();
    let begun = Mutex::new(Vec::new());
    let found = search()
        .scheduler("hyperband:eta=2".parse().unwrap())
        .trials(4)
        .run(folder.path().join("search"), |trial| {
            begun
                .lock()
                .unwrap()
                .push((trial.number(), trial.has_begun()));
            train(trial)
        })
        .unwrap();
    let epochs: Vec<usize> = found.trials().iter().map(|t| t.reports.len()).collect();
    let mut sorted = epochs.clone();
    sorted.sort_unstable();
    // Four trials at one epoch, two at two, one at four.
    assert_eq!(sorted, [1, 1, 2, 4], "{epochs:?}");
    let best = found.best().unwrap();
    assert_eq!((best.reports.len(), best.state), (4, TrialState::Completed));
    assert!(begun.lock().unwrap().contains(&(best.trial, true)));
}

#[test]
fn failures_are_recorded_and_the_search_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let found = search()
        .run(folder.path().join("search"), |trial| match trial.number() {
            1 => Err(Error::argument("learning_rate", "less", "too much")),
            2 => panic!("out of luck"),
            3 => Ok(()),
            4 => trial.report(1, accuracy(f64::NAN)).map(drop),
            5 => trial.report(1, Metrics::new()).map(drop),
            _ => train(trial),
        })
        .unwrap();
    let cause = |trial: usize| found.trials()[trial].cause.clone().unwrap_or_default();
    assert!(cause(1).contains("learning_rate") && cause(2).contains("out of luck"));
    assert!(cause(3).contains("reported nothing") && cause(4).contains("NaN"));
    assert!(cause(5).contains("valid_accuracy"));
    assert!((1..6).all(|trial| found.trials()[trial].state == TrialState::Failed));
    assert!(
        found.trials()[6..]
            .iter()
            .all(|t| t.state == TrialState::Completed)
    );
}

#[test]
fn five_failures_at_the_start_end_a_search() {
    let folder = tempfile::tempdir().unwrap();
    let runs = AtomicUsize::new(0);
    let error = search()
        .run(folder.path().join("search"), |_| {
            runs.fetch_add(1, Ordering::Relaxed);
            Err(Error::argument("data", "images", "none"))
        })
        .unwrap_err();
    assert!(
        matches!(error, Error::Search { failures: 5, .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("data: expected images"),
        "{error}"
    );
    assert_eq!(runs.load(Ordering::Relaxed), 5);
}

#[test]
fn mistakes_are_found_before_the_first_trial() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("search");
    let run = |search: Search| {
        let never = |_: &mut Trial<'_>| panic!("a trial began");
        let error = search.run(&dir, never).unwrap_err().to_string();
        assert!(!dir.exists());
        error
    };
    for (search, named) in [
        (
            search().vary("learnin_rate", Distribution::Uniform(0.0..1.0)),
            "learnin_rate",
        ),
        (search().vary("epochs", choice([0])), "epochs"),
        (
            search().vary("optimizer", choice(["adam", "adams"])),
            "adams",
        ),
        (search().vary("momentum", choice([0.9])), "momentum"),
        (
            search().vary("metric", choice(["accuracy", "loss"])),
            "the same for all trials",
        ),
        (search().trials(0), "trials"),
        (search().jobs(0), "jobs"),
        (
            search().sampler(Sampler::Grid { points: None }),
            "learning_rate",
        ),
    ] {
        let error = run(search);
        assert!(error.contains(named), "{named}: {error}");
    }
    let own = search().vary_own("momentum", choice([0.9]));
    assert!(own.validate().is_ok());
}

#[test]
fn a_search_goes_on_with_its_own_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("search");
    let with = |epochs| {
        let search = Search::new(Recipe::default().epochs(4).batch_size(epochs));
        search.vary("learning_rate", Distribution::Uniform(0.0..1.0))
    };
    with(16).trials(2).run(&dir, train).unwrap();
    let other = with(32).trials(3).resume(&dir, &mut (), train).unwrap_err();
    assert!(other.to_string().contains("batch_size = 16"), "{other}");
    let found = with(16).trials(3).resume(&dir, &mut (), train).unwrap();
    assert_eq!(found.trials().len(), 3);
}

#[test]
fn a_watcher_that_panics_ends_the_search() {
    struct Panics;
    impl SearchWatch for Panics {
        fn changed(&mut self, _: &Settings, trials: &[TrialRecord]) {
            assert!(trials.len() < 4, "a watcher's own fault");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    // While one proposes the last trial, the other is to wait for it.
    let search = search().jobs(2).trials(4);
    let (dir, arguments) = (folder.path().join("search"), toml::Table::new());
    let result = std::panic::catch_unwind(|| search.run_with(dir, arguments, &mut Panics, train));
    assert!(result.is_err());
}

#[test]
fn a_time_budget_ends_trials_with_their_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let found = search()
        .time_budget(Duration::from_millis(30))
        .run(folder.path().join("search"), |trial| {
            for epoch in 1..=4 {
                std::thread::sleep(Duration::from_millis(20));
                if trial.report(epoch, accuracy(0.5))? != Decision::Continue {
                    break;
                }
            }
            Ok(())
        })
        .unwrap();
    assert!(found.trials().len() < 12);
    let last = found.trials().last().unwrap();
    assert_eq!(last.state, TrialState::Stopped);
    assert!(
        last.cause.as_ref().unwrap().contains("time"),
        "{:?}",
        last.cause
    );
}

#[test]
fn jobs_share_the_trials() {
    let folder = tempfile::tempdir().unwrap();
    let jobs = Mutex::new(Vec::new());
    let found = search()
        .jobs(3)
        .scheduler("hyperband:eta=2".parse().unwrap())
        .trials(22)
        .run(folder.path().join("search"), |trial| {
            jobs.lock().unwrap().push(trial.job());
            std::thread::sleep(Duration::from_millis(2));
            train(trial)
        })
        .unwrap();
    let jobs = jobs.into_inner().unwrap();
    assert!((0..3).all(|job| jobs.contains(&job)));
    let is_done = |t: &TrialRecord| matches!(t.state, TrialState::Completed | TrialState::Stopped);
    assert!(found.trials().len() == 22 && found.trials().iter().all(is_done));
}

#[test]
fn damaged_files_are_errors_that_name_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("search");
    search().run(&dir, train).unwrap();
    let events = dir.join("tune.jsonl");
    let whole = std::fs::read_to_string(&events).unwrap();
    for (damage, named) in [
        (whole.replacen("reported", "retorted", 1), "line 2"),
        (format!("{{}}\n{whole}"), "line 1"),
        (
            whole.lines().skip(1).collect::<Vec<_>>().join("\n") + "\n",
            "line 1",
        ),
    ] {
        std::fs::write(&events, damage).unwrap();
        let error = SearchResult::open(&dir).unwrap_err().to_string();
        assert!(
            error.contains(named) && error.contains("tune.jsonl"),
            "{error}"
        );
    }
    std::fs::write(&events, &whole).unwrap();
    std::fs::write(dir.join("search.toml"), "trials = 3\n").unwrap();
    let error = SearchResult::open(&dir).unwrap_err().to_string();
    assert!(error.contains("search.toml"), "{error}");
    let error = SearchResult::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("found no search.toml"), "{error}");
}
