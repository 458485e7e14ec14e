//! How images with any number of classes were recognised: curves and a table.

use super::axis::Axis;
use super::format;
use super::panels::{Key, Panel, Panels, Shape};
use super::picture::Picture;
use super::polyline::Point;
use super::section::{NOTHING, Row, Section, Table, name};
use crate::error::{Error, Result};
use crate::infer::{ClassMetrics, MultiLabelMetrics, PrecisionRecall, precision_recall};

/// As many curves are shown at most.
const MAX_CURVES: usize = 24;
/// Height of a curve's plot.
const HEIGHT: f64 = 150.0;

const CURVE: &str = "z-line z-c0";
const DOT: &str = "z-points z-large z-c1";
const CHANCE: &str = "z-mark";

/// The sections `precision-recall` and `classes`, in place of the confusion matrix and its classes.
///
/// # Shapes
/// - scores, targets: `[images, classes]`, row-major, those of the metrics
///
/// # Errors
/// [`Error::InvalidArgument`] for scores and targets that are not those of the metrics.
pub(super) fn multi_label_sections(
    metrics: &MultiLabelMetrics,
    scores: &[f32],
    targets: &[bool],
    names: &[String],
) -> Result<Vec<Section>> {
    let values = metrics.images.saturating_mul(metrics.per_class.len());
    for (argument, found) in [("scores", scores.len()), ("targets", targets.len())] {
        if found != values {
            let expected = format!("{values}, one for each image and class");
            return Err(Error::argument(argument, expected, found));
        }
    }
    let sorted = by_average_precision(&metrics.per_class);
    let picture = curves(metrics, scores, targets, names, &sorted)?;
    let lead = match &picture {
        Some(_) => "",
        None => "No image has any of the classes.",
    };
    let picture = picture.map(|picture| ("precision_recall.svg", picture));
    let curves = Section::new(
        "precision-recall",
        "Precision and recall",
        lead,
        picture,
        None,
    )?;
    let classes = Section::new(
        "classes",
        "Classes",
        &lead_of_classes(metrics),
        None,
        Some(&table(metrics, names, &sorted)),
    )?;
    Ok(vec![curves, classes])
}

/// The classes that have images and their average precisions, the lowest first.
fn by_average_precision(classes: &[ClassMetrics]) -> Vec<(usize, f64)> {
    let classes = classes.iter().enumerate();
    let mut sorted: Vec<(usize, f64)> = classes
        .filter_map(|(class, metrics)| Some((class, metrics.average_precision?)))
        .collect();
    sorted.sort_by(|a, b| a.1.total_cmp(&b.1));
    sorted
}

/// A plot for each class, the weakest first. None without images of any class.
fn curves(
    metrics: &MultiLabelMetrics,
    scores: &[f32],
    targets: &[bool],
    names: &[String],
    sorted: &[(usize, f64)],
) -> Result<Option<Picture>> {
    let (Some(worst), Some(best)) = (sorted.first(), sorted.last()) else {
        return Ok(None);
    };
    let classes = metrics.per_class.len();
    let shown = &sorted[..sorted.len().min(MAX_CURVES)];
    let panels = shown.iter().map(|(class, average)| {
        let scores = scores.iter().skip(*class).step_by(classes).copied();
        let targets = targets.iter().skip(*class).step_by(classes).copied();
        let scores: Vec<f32> = scores.collect();
        let curve = precision_recall(&scores, &targets.collect::<Vec<_>>())?;
        let class_metrics = &metrics.per_class[*class];
        let chance = class_metrics.positives as f64 / metrics.images as f64;
        let mut shapes = vec![
            Shape::Line(CHANCE, vec![(0.0, chance), (1.0, chance)]),
            Shape::Line(CURVE, steps(&curve)),
        ];
        // Without predictions there is no precision.
        if class_metrics.predicted > 0 {
            let at = (class_metrics.recall, class_metrics.precision);
            shapes.push(Shape::Dots(DOT, vec![at]));
        }
        Ok(Panel {
            name: name(names, "class", *class),
            value: format!("AP {}", format::percent(*average, 1)),
            x: Axis::exact([0.0, 1.0]),
            y: Axis::exact([0.0, 1.0]),
            counts: false,
            shapes,
        })
    });
    let grid = Panels {
        title: "Precision and recall",
        unit: "upwards: precision, to the right: recall",
        height: HEIGHT,
        legend: vec![
            Key::Line(CURVE, "at every threshold"),
            Key::Dot(DOT, "at the threshold of the class"),
            Key::Line(CHANCE, "share of images that have the class"),
        ],
        panels: panels.collect::<Result<_>>()?,
    };
    let description = format!(
        "Curves of {} classes, from an average precision of {} to {}.",
        shown.len(),
        format::percent(worst.1, 1),
        format::percent(shown.last().unwrap_or(best).1, 1),
    );
    let mut caption = "The area below a curve is the average precision (AP) of the class; the \
                       lowest come first. A model that guesses stays on the dotted line."
        .to_owned();
    if shown.len() < sorted.len() {
        caption.push_str(&format!(
            " Of {} classes, the {} of the lowest average precision are shown.",
            format::count(sorted.len()),
            shown.len()
        ));
    }
    if metrics.classes_without_images > 0 {
        let missing = format::count(metrics.classes_without_images);
        caption.push_str(&format!(
            " Classes without images, which have no curve: {missing}."
        ));
    }
    grid.draw(description, caption).map(Some)
}

/// The curve as steps: precision over recall. The area below them is the average precision.
fn steps(curve: &PrecisionRecall) -> Vec<Point> {
    let points = curve.recall.iter().zip(&curve.precision).rev();
    let mut steps = Vec::new();
    let mut before = 0.0;
    for (recall, precision) in points.filter(|(recall, _)| **recall > 0.0) {
        if *recall > before {
            steps.extend([(before, *precision), (*recall, *precision)]);
            before = *recall;
        }
    }
    steps
}

fn lead_of_classes(metrics: &MultiLabelMetrics) -> String {
    let percent = |share| format::percent(share, 2);
    format!(
        "Mean average precision: {}. F1 of all decisions: {}, mean of the classes: {}. All classes \
         of an image were right for {} of {} images. Decisions are by the thresholds of the table, which \
         were chosen on these images; the log's are by 0.5.",
        percent(metrics.mean_average_precision),
        percent(metrics.micro_f1),
        percent(metrics.macro_f1),
        percent(metrics.subset_accuracy),
        format::count(metrics.images),
    )
}

fn table(metrics: &MultiLabelMetrics, names: &[String], sorted: &[(usize, f64)]) -> Table {
    let classes = &metrics.per_class;
    let share = |share: f64| {
        let text = format::percent(share, 1);
        text.trim_end_matches(" %").to_owned()
    };
    // A share of nothing is 0 among the figures, and nothing here.
    let part = |value: f64, of: usize| match of {
        0 => NOTHING.to_owned(),
        _ => share(value),
    };
    let rows = classes.iter().enumerate().map(|(class, metrics)| {
        let ClassMetrics {
            positives,
            predicted,
            ..
        } = *metrics;
        Row {
            name: name(names, "class", class),
            cells: vec![
                format::count(positives),
                metrics.average_precision.map_or(NOTHING.to_owned(), share),
                format!("{:.3}", metrics.threshold),
                part(metrics.precision, predicted),
                part(metrics.recall, positives),
                part(metrics.f1, positives + predicted),
            ],
            bar: Some(metrics.f1),
        }
    });
    let mean = |figure: fn(&ClassMetrics) -> f64| {
        let sum: f64 = classes.iter().map(figure).sum();
        share(sum / classes.len().max(1) as f64)
    };
    let average = match sorted {
        [] => NOTHING.to_owned(),
        _ => share(metrics.mean_average_precision),
    };
    let most = (sorted.len() / 5).clamp(1, 10);
    let imperfect = sorted.iter().filter(|(_, average)| *average < 1.0);
    Table {
        of: "classes",
        columns: &[
            "Class",
            "Images",
            "AP, %",
            "Threshold",
            "Precision, %",
            "Recall, %",
            "F1, %",
        ],
        rows: rows.collect(),
        weakest: imperfect.take(most).map(|(class, _)| *class).collect(),
        means: vec![
            format::count(metrics.images),
            average,
            NOTHING.to_owned(),
            mean(|class| class.precision),
            mean(|class| class.recall),
            share(metrics.macro_f1),
        ],
        note: "AP: average precision, over all thresholds. Precision: of the images whose score \
               reaches the threshold, the part that has the class. Recall: of the images that have \
               the class, the part whose score does. F1: their harmonic mean. In the means a share \
               of nothing counts as 0; only that of AP leaves out classes without images. The \
               classes of the lowest AP are marked as weak.",
    }
}
