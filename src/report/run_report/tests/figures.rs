//! The sections of images with any number of classes or with values.

use crate::Error;
use crate::infer::{MultiLabelMetrics, RegressionMetrics, best_thresholds};
use crate::report::run_report::multi_label::multi_label_sections;
use crate::report::run_report::regression::regression_sections;
use crate::report::run_report::section::Section;

use super::markup::Element;

/// Numbers in 0..1 that follow no order.
fn noise(number: usize) -> impl Iterator<Item = f32> {
    (0..number).map(|index| (index * 7919 % 1009) as f32 / 1009.0)
}

/// Sections of `images` images; the class of number `missing` has none.
fn labels(images: usize, names: &[&str], missing: usize) -> Vec<Section> {
    let classes = names.len();
    let scores: Vec<f32> = noise(images * classes).collect();
    let noise = noise(images * classes + 500).skip(500);
    let targets = scores.iter().zip(noise).enumerate();
    let targets = targets.map(|(index, (score, noise))| {
        // The later the class, the more of its images are not what their scores say.
        let class = index % classes;
        let is_odd = noise < 0.4 * class as f32 / classes as f32;
        class != missing && (*score > 0.5) != is_odd
    });
    let targets: Vec<bool> = targets.collect();
    let thresholds = best_thresholds(&scores, &targets, classes).unwrap();
    let metrics = MultiLabelMetrics::of(&scores, &targets, classes, &thresholds).unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    multi_label_sections(&metrics, &scores, &targets, &names).unwrap()
}

fn values(images: usize, names: &[&str]) -> Vec<Section> {
    let outputs = names.len();
    let targets: Vec<f32> = noise(images * outputs).map(|v| 100.0 * v - 50.0).collect();
    let errors = noise(images * outputs + 77).skip(77).enumerate();
    let errors = errors.map(|(index, error)| (index % outputs) as f32 * 30.0 * (error - 0.5));
    let predicted: Vec<f32> = targets.iter().zip(errors).map(|(a, b)| a + b).collect();
    let metrics = RegressionMetrics::of(&predicted, &targets, outputs).unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    regression_sections(&metrics, &predicted, &targets, &names).unwrap()
}

/// The markup of a section, after a look at what holds for each.
fn body(section: &Section) -> Element {
    assert!(!section.heading.is_empty());
    let body = Element::parse(&section.body);
    for svg in body.all("svg") {
        assert_eq!(svg.attribute("role"), "img");
        assert!(!svg.attribute("aria-label").is_empty());
    }
    for path in body.all("path") {
        let d = path.attribute("d");
        assert!(d.starts_with('M') || d.is_empty(), "{d}");
        assert!(!d.contains("NaN") && !d.contains("inf"), "{d}");
    }
    for table in body.all("table") {
        let columns = table.all("thead")[0].all("th").len();
        for row in table.all("tr") {
            assert_eq!(row.children().count(), columns);
        }
    }
    if let Some((name, picture)) = &section.picture {
        assert!(name.ends_with(".svg"));
        let file = Element::parse(&picture.file().unwrap());
        assert_eq!(file.all("path").len(), body.all("path").len());
    }
    body
}

fn rows(body: &Element, table: usize) -> Vec<Vec<String>> {
    let rows = body.all("table")[table].all("tbody")[0].all("tr");
    let cells = |row: &&Element| row.children().map(Element::text).collect();
    rows.iter().map(cells).collect()
}

/// The names of the plots, in order.
fn names(body: &Element) -> Vec<String> {
    let plots = body.all("svg")[0].children().filter(|e| e.name == "g");
    let name = |plot: &Element| plot.all("text")[0].text().trim().to_owned();
    plots.map(name).collect()
}

fn shapes<'a>(body: &'a Element, class: &str) -> Vec<&'a Element> {
    let plots = body.all("g").into_iter().flat_map(|plot| plot.all("path"));
    plots
        .filter(|path| path.attribute("class") == class)
        .collect()
}

#[test]
fn classes_have_a_curve_each_and_a_row() {
    let sections = labels(400, &["cat", "dog", "", "<b>&", "none"], 4);
    let ids: Vec<&str> = sections.iter().map(|section| section.id).collect();
    assert_eq!(ids, ["precision-recall", "classes"]);
    let curves = body(&sections[0]);
    // The weakest first, and none without images.
    assert_eq!(names(&curves), ["<b>&", "class 2", "dog", "cat"]);
    assert_eq!(shapes(&curves, "z-line z-c0").len(), 4);
    assert_eq!(shapes(&curves, "z-points z-large z-c1").len(), 4);
    assert!(curves.all("figcaption")[0].text().contains("no curve: 1."));

    let classes = body(&sections[1]);
    let rows = rows(&classes, 0);
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[0][0], "cat");
    // Its scores say what it is.
    assert_eq!(
        rows[0][2..],
        ["100.0", &rows[0][3], "100.0", "100.0", "100.0"]
    );
    assert_eq!(rows[3][0], "<b>& weak");
    assert_eq!(rows[4][1..4], ["0", "–", "0.500"]);
    assert_eq!(rows[4][5], "–");
    assert_eq!(classes.all("tfoot").len(), 1);
}

#[test]
fn a_perfect_curve_is_a_corner() {
    let scores = [0.9, 0.8, 0.2, 0.1];
    let targets = [true, true, false, false];
    let metrics = MultiLabelMetrics::of(&scores, &targets, 1, &[0.5]).unwrap();
    let sections = multi_label_sections(&metrics, &scores, &targets, &[]).unwrap();
    let curves = body(&sections[0]);
    let [line] = shapes(&curves, "z-line z-c0")[..] else {
        panic!("one curve");
    };
    // Along the top of the plot, from side to side.
    assert_eq!(line.attribute("d"), "M48,66L270,66");
    let [dot] = shapes(&curves, "z-points z-large z-c1")[..] else {
        panic!("one dot");
    };
    assert_eq!(dot.attribute("d"), "M270,66h0");
}

#[test]
fn many_classes_are_cut_down_and_folded() {
    let all: Vec<String> = (0..60).map(|class| format!("n{class}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let sections = labels(300, &all, 60);
    let curves = body(&sections[0]);
    assert_eq!(names(&curves).len(), 24);
    assert!(
        curves.all("figcaption")[0]
            .text()
            .contains("Of 60 classes, the 24")
    );
    assert!(
        sections[0].body.len() < 200_000,
        "{}",
        sections[0].body.len()
    );
    let classes = body(&sections[1]);
    assert_eq!((rows(&classes, 0).len(), rows(&classes, 1).len()), (10, 60));
    assert_eq!(
        rows(&classes, 0)[0][0].trim_end_matches(" weak"),
        names(&curves)[0]
    );
}

#[test]
fn sets_without_any_class_are_told() {
    let targets = [false; 4];
    let metrics = MultiLabelMetrics::of(&[0.5; 4], &targets, 2, &[0.5; 2]).unwrap();
    let sections = multi_label_sections(&metrics, &[0.5; 4], &targets, &[]).unwrap();
    assert_eq!(body(&sections[0]).all("p")[0].attribute("class"), "nothing");
    assert_eq!(rows(&body(&sections[1]), 0)[1][2], "–");
}

#[test]
fn outputs_have_plots_and_a_row() {
    let sections = values(300, &["width", "height <m>"]);
    let ids: Vec<&str> = sections.iter().map(|section| section.id).collect();
    assert_eq!(ids, ["outputs", "predicted", "residuals"]);
    let table = rows(&body(&sections[0]), 0);
    assert_eq!(table[0][0], "width");
    assert_eq!(table[0][3..], ["0", "0", "1.000"]);
    let points = body(&sections[1]);
    assert_eq!(names(&points), ["height <m>", "width"]);
    assert!(!points.all("figcaption")[0].text().contains("drawn"));
    let residuals = body(&sections[2]);
    assert_eq!(names(&residuals), ["height <m>", "width"]);
    // No error: one bar.
    let bars = shapes(&residuals, "z-bars z-c0");
    assert_eq!(bars[1].attribute("d").matches('M').count(), 1);
    assert!(bars[0].attribute("d").matches('M').count() > 5);
}

#[test]
fn many_images_and_outputs_are_thinned_and_that_is_said() {
    let all: Vec<String> = (0..15).map(|output| format!("o{output}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let sections = values(2500, &all);
    let points = body(&sections[1]);
    let caption = points.all("figcaption")[0].text();
    assert!(
        caption.contains("Of 2,500 images, 2,000 are drawn"),
        "{caption}"
    );
    assert!(caption.contains("Of 15 outputs, the 12"), "{caption}");
    for dots in shapes(&points, "z-points z-c0") {
        let number = dots.attribute("d").matches('M').count();
        assert!((1..=2000).contains(&number), "{number}");
    }
}

#[test]
fn extreme_values_can_be_drawn() {
    for values in [[0.0, 0.0], [f32::MAX, f32::MIN], [1e-40, 2e-40], [7.0, 7.0]] {
        let metrics = RegressionMetrics::of(&values, &[0.0, 1.0], 1).unwrap();
        let sections = regression_sections(&metrics, &values, &[0.0, 1.0], &[]).unwrap();
        sections.iter().for_each(|section| drop(body(section)));
    }
}

#[test]
fn values_of_other_metrics_are_an_error() {
    let metrics = MultiLabelMetrics::of(&[0.5; 4], &[true; 4], 2, &[0.5; 2]).unwrap();
    let labels = |scores: &[f32], targets: &[bool]| {
        multi_label_sections(&metrics, scores, targets, &[]).unwrap_err()
    };
    let metrics = RegressionMetrics::of(&[0.5; 4], &[1.0; 4], 2).unwrap();
    let values = |predicted: &[f32], targets: &[f32]| {
        regression_sections(&metrics, predicted, targets, &[]).unwrap_err()
    };
    for (error, expected) in [
        (labels(&[0.5; 3], &[true; 4]), "scores"),
        (labels(&[0.5; 4], &[true; 2]), "targets"),
        (values(&[0.5; 3], &[1.0; 4]), "predicted"),
        (values(&[0.5; 4], &[1.0; 6]), "targets"),
    ] {
        assert!(matches!(error, Error::InvalidArgument { argument, .. } if argument == expected));
    }
}
