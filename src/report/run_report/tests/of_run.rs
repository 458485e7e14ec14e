//! The report of a run folder.

use std::sync::Arc;

use crate::prelude::*;
use crate::report::Report;
use crate::train::FitOptions;

/// The page says what the run's files say.
#[test]
fn a_report_shows_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = Recipe::gradual()
        .epochs(3)
        .batch_size(32)
        .learning_rate(3e-3);
    let spec = Zoo::test_resnet().weights(Weights::Random(7)).adapt(1, 10);
    let model = spec.build(&Device::default().autodiff()).unwrap();
    let data = FashionMnist::bundled().unwrap();
    let train = Arc::new(data.train().take_first(320));
    let valid = Arc::new(data.test().take_first(100));
    let run = recipe.fit_with(
        model,
        train,
        valid.clone(),
        dir.path().join("run"),
        FitOptions::default(),
        &mut (),
    );
    let run = run.unwrap();
    let report = Report::of_run(run.dir(), run.model(), valid.clone()).unwrap();
    assert_eq!(report.epochs.len(), 3);
    assert_eq!(report.confusion.iter().flatten().sum::<usize>(), 100);
    let right: usize = (0..10).map(|class| report.confusion[class][class]).sum();
    assert_eq!(right as f64 / 100.0, run.best().valid_accuracy);
    let wrong = 100 - right;
    assert_eq!(report.mistakes.len(), wrong.min(Report::MOST_MISTAKES));
    assert!(
        report
            .mistakes
            .is_sorted_by(|a, b| a.probability >= b.probability)
    );
    for mistake in &report.mistakes {
        assert_ne!(mistake.truth, mistake.predicted);
        let found = run
            .model()
            .predict(&mistake.image, Some(28.into()), 1)
            .unwrap();
        assert_eq!(found[0].name, mistake.predicted);
        assert!((found[0].probability - mistake.probability).abs() < 1e-5);
    }
    // Six groups, of which five join, one every half epoch.
    assert_eq!(report.rates.len(), 6);
    let marks: Vec<(f64, &str)> = report
        .freezes
        .iter()
        .map(|m| (m.epoch, m.text.as_str()))
        .collect();
    let names = ["stage4", "stage3", "stage2", "stage1", "stem"];
    assert_eq!(marks.len(), 5, "{marks:?}");
    for ((epoch, text), (index, name)) in marks.iter().zip(names.iter().enumerate()) {
        assert_eq!(*text, format!("{name} joins"));
        let due = 0.5 * (index + 1) as f64;
        assert!((epoch - due).abs() < 1e-3, "{text}: {epoch}, due {due}");
    }
    let page = run.write_report(valid.clone()).unwrap();
    let html = std::fs::read_to_string(page).unwrap();
    assert!(
        html.contains("Ankle boot")
            && html.contains("<svg")
            && !html.contains("http-equiv=\"refresh\"")
    );
    for name in [
        "loss.svg",
        "accuracy.svg",
        "rates.svg",
        "confusion.svg",
        "mistakes.png",
    ] {
        assert!(run.dir().join("report").join(name).is_file(), "{name}");
    }
    // What is no run has no report.
    let error = Report::of_run(dir.path(), run.model(), valid)
        .unwrap_err()
        .to_string();
    assert!(error.contains("expected a run folder"), "{error}");
}
