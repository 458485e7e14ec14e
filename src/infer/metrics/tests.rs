use serde_json::Value;

use super::*;

fn fixture(part: &str) -> Vec<Value> {
    let text = include_str!("../../../tests/fixtures/metrics.json");
    let mut fixture: Value = serde_json::from_str(text).unwrap();
    serde_json::from_value(fixture[part].take()).unwrap()
}

fn list<T: serde::de::DeserializeOwned>(case: &Value, name: &str) -> Vec<T> {
    serde_json::from_value(case[name].clone()).expect(name)
}

fn near(found: f64, expected: &Value) {
    let expected = expected.as_f64().unwrap();
    let tolerance = 1e-12 * expected.abs().max(1.0);
    assert!(
        (found - expected).abs() <= tolerance,
        "{found} for {expected}"
    );
}

/// The largest F1 of all thresholds is reached by `threshold`.
fn f1(scores: &[f32], positive: &[bool], threshold: f32) -> f64 {
    let metrics = MultiLabelMetrics::of(scores, positive, 1, &[threshold]).unwrap();
    metrics.per_class[0].f1
}

#[test]
fn curves_are_scikit_learns() {
    let cases = fixture("curves");
    assert_eq!(cases.len(), 11);
    for case in cases {
        let scores: Vec<f32> = list(&case, "scores");
        let positive: Vec<bool> = list(&case, "positive");
        let curve = precision_recall(&scores, &positive).unwrap();
        assert_eq!(curve.precision, list::<f64>(&case, "precision"));
        assert_eq!(curve.recall, list::<f64>(&case, "recall"));
        assert_eq!(curve.thresholds, list::<f32>(&case, "thresholds"));
        let threshold = best_threshold(&scores, &positive).unwrap();
        match average_precision(&scores, &positive).unwrap() {
            Some(average) => {
                near(average, &case["average_precision"]);
                near(f1(&scores, &positive, threshold), &case["best_f1"]);
                // The highest of those that are as good, and not above the lowest score it takes.
                let above = case["above"].as_f64().unwrap() as f32;
                let below = scores.iter().filter(|score| **score < above);
                assert!(threshold <= above, "{threshold} {above}");
                assert!(below.into_iter().all(|score| *score < threshold));
            }
            None => {
                assert!(case["average_precision"].is_null());
                assert_eq!(threshold, 0.5);
            }
        }
    }
}

#[test]
fn thresholds_lie_between_scores() {
    let of = |scores: &[f32], positive: &[bool]| best_threshold(scores, positive).unwrap();
    assert_eq!(of(&[0.25, 0.75], &[false, true]), 0.5);
    assert_eq!(of(&[0.25, 0.5], &[true, true]), 0.125);
    assert_eq!(of(&[0.0, 0.5], &[true, true]), 0.0);
    // Neighbours: nothing lies between them.
    let next = 0.5f32.next_up();
    assert_eq!(of(&[0.5, next], &[false, true]), next);
    let next = next.next_up();
    assert_eq!(of(&[0.5f32.next_up(), next], &[false, true]), next);
    let scores = [0.25, 0.9, 0.75, 0.1];
    let targets = [false, false, true, false];
    assert_eq!(best_thresholds(&scores, &targets, 2).unwrap(), [0.5, 0.5]);
}

#[test]
fn figures_of_many_classes_are_scikit_learns() {
    let cases = fixture("multi_label");
    assert_eq!(cases.len(), 3);
    for case in cases {
        let scores: Vec<f32> = list(&case, "scores");
        let targets: Vec<bool> = list(&case, "targets");
        let thresholds: Vec<f32> = list(&case, "thresholds");
        let classes = thresholds.len();
        let metrics = MultiLabelMetrics::of(&scores, &targets, classes, &thresholds).unwrap();
        assert_eq!(metrics.images, 30);
        let missing = metrics
            .per_class
            .iter()
            .filter(|class| class.positives == 0);
        assert_eq!(metrics.classes_without_images, missing.count());
        near(
            metrics.mean_average_precision,
            &case["mean_average_precision"],
        );
        near(metrics.micro_f1, &case["micro_f1"]);
        near(metrics.macro_f1, &case["macro_f1"]);
        near(metrics.subset_accuracy, &case["subset_accuracy"]);
        assert_eq!(metrics.per_class.len(), classes);
        let expected = case["per_class"].as_array().unwrap();
        for (class, expected) in metrics.per_class.iter().zip(expected) {
            assert_eq!(class.positives as u64, expected[0].as_u64().unwrap());
            match class.average_precision {
                Some(average) => near(average, &expected[1]),
                None => assert!(expected[1].is_null()),
            }
            near(class.precision, &expected[2]);
            near(class.recall, &expected[3]);
            near(class.f1, &expected[4]);
        }
        let text = serde_json::to_string(&metrics).unwrap();
        assert_eq!(
            serde_json::from_str::<MultiLabelMetrics>(&text).unwrap(),
            metrics
        );
    }
}

#[test]
fn figures_of_values_are_scikit_learns() {
    let cases = fixture("regression");
    assert_eq!(cases.len(), 3);
    for case in cases {
        let predicted: Vec<f32> = list(&case, "predicted");
        let targets: Vec<f32> = list(&case, "targets");
        let outputs = case["outputs"].as_u64().unwrap() as usize;
        let metrics = RegressionMetrics::of(&predicted, &targets, outputs).unwrap();
        assert_eq!(metrics.images, targets.len() / outputs);
        near(metrics.mae, &case["mae"]);
        near(metrics.rmse, &case["rmse"]);
        near(metrics.r2, &case["r2"]);
        let expected = case["per_output"].as_array().unwrap();
        assert_eq!(metrics.per_output.len(), expected.len());
        for (output, expected) in metrics.per_output.iter().zip(expected) {
            near(output.mae, &expected[0]);
            near(output.rmse, &expected[1]);
            near(output.r2, &expected[2]);
        }
    }
    let metrics = RegressionMetrics::of(&[2.0, 2.0], &[1.0, 3.0], 1).unwrap();
    let [output] = metrics.per_output.as_slice() else {
        panic!("one output");
    };
    assert_eq!((output.mean_target, output.deviation_target), (2.0, 1.0));
    assert_eq!((output.rmse, output.r2), (1.0, 0.0));
    // scikit-learn has no R² of a single image.
    let of_one = |predicted| RegressionMetrics::of(&[predicted], &[1.0], 1).unwrap().r2;
    assert_eq!([of_one(1.0), of_one(1.5)], [1.0, 0.0]);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let names = |result: Result<f64>, expected: &str| match result {
        Err(Error::InvalidArgument { argument, .. }) => assert_eq!(argument, expected),
        other => panic!("{other:?}"),
    };
    let area = |scores: &[f32], positive: &[bool]| {
        average_precision(scores, positive).map(|area| area.unwrap_or(0.0))
    };
    names(area(&[], &[]), "scores");
    names(area(&[0.5], &[]), "targets");
    names(area(&[0.5, f32::NAN], &[true, false]), "scores");
    names(area(&[f32::INFINITY], &[true]), "scores");
    let labels = |scores: &[f32], targets: &[bool], classes, thresholds: &[f32]| {
        MultiLabelMetrics::of(scores, targets, classes, thresholds).map(|m| m.micro_f1)
    };
    names(labels(&[0.5; 4], &[true; 4], 0, &[]), "classes");
    names(labels(&[], &[], 2, &[0.5; 2]), "scores");
    names(labels(&[0.5; 3], &[true; 3], 2, &[0.5; 2]), "scores");
    names(labels(&[0.5; 4], &[true; 2], 2, &[0.5; 2]), "targets");
    names(labels(&[0.5; 4], &[true; 4], 2, &[0.5]), "thresholds");
    names(labels(&[0.5; 2], &[true; 2], 1, &[f32::NAN]), "thresholds");
    names(labels(&[f32::NAN; 2], &[true; 2], 1, &[0.5]), "scores");
    names(
        best_thresholds(&[f32::NAN], &[true], 1).map(|_| 0.0),
        "scores",
    );
    let values = |predicted: &[f32], targets: &[f32], outputs| {
        RegressionMetrics::of(predicted, targets, outputs).map(|m| m.r2)
    };
    names(values(&[1.0], &[1.0], 0), "outputs");
    names(values(&[], &[], 1), "predicted");
    names(values(&[1.0; 3], &[1.0; 3], 2), "predicted");
    names(values(&[1.0; 4], &[1.0; 2], 2), "targets");
    names(values(&[f32::NAN], &[1.0], 1), "predicted");
    names(values(&[1.0], &[f32::NEG_INFINITY], 1), "targets");
}
