//! The page of a report: what the template is filled with.

use minijinja::context;
use minijinja::value::{Value, merge_maps};

use super::class_scores::{self as scores, Score};
use super::confusion_chart::MAX_NUMBERS;
use super::contents::{EpochLine, Report};
use super::format::{self, isolated};
use super::mistake_images::Shown;
use super::picture::Picture;
use super::section::Section;
use super::templates::render;
use super::text_width::width;
use crate::error::Result;
use crate::infer::LARGEST_CONFUSION;

/// Longer tables are folded.
const MAX_ROWS: usize = 40;
/// Rows of the table of confusions.
const MAX_CONFUSIONS: usize = 20;
/// Stands for a share of nothing.
const NOTHING: &str = "\u{2013}";

/// The whole page, which is also well-formed XML. `charts` are loss, accuracy, rates and confusion.
pub(super) fn html(
    report: &Report,
    charts: &[Option<Picture>; 4],
    shown: &[Shown],
    sections: &[Section],
) -> Result<String> {
    let [loss, accuracy, rates, matrix] = charts
        .each_ref()
        .map(|chart| chart.as_ref().map(Picture::value));
    let title = match report.title.trim() {
        "" => "Training report",
        title => title,
    };
    let summary = report.summary.iter();
    // Long values would not fit at the size of figures.
    let summary = summary.map(|(name, value)| (name.clone(), value.clone(), width(value) > 9.0));
    let configuration = report.configuration.trim().lines().map(toml_line);
    let page = context! {
        title, loss, accuracy, rates, matrix,
        subtitle => &report.subtitle,
        summary => summary.collect::<Vec<_>>(),
        configuration => configuration.collect::<Vec<_>>(),
        environment => &report.environment,
        max_rows => MAX_ROWS,
        max_numbers => MAX_NUMBERS,
        no_matrix => no_matrix(report),
        version => env!("CARGO_PKG_VERSION"),
        curves_heading => match sections {
            [] => "Loss and accuracy",
            _ => "Loss and figures",
        },
        judged => sections.iter().map(|own| [own.id, own.heading]).collect::<Vec<_>>(),
        bodies => Value::from_iter(
            sections.iter().map(|own| (own.id, Value::from_safe_string(own.body.clone()))),
        ),
    };
    let mistakes = mistakes(report, shown)?;
    let parts = [
        page,
        epochs(report),
        classes(report),
        confusions(report),
        mistakes,
    ];
    render("page.html", merge_maps(parts))
}

/// The epoch with the best validation accuracy, the earlier of equals.
fn best(epochs: &[EpochLine]) -> Option<&EpochLine> {
    let finite = epochs.iter().filter(|line| line.valid_accuracy.is_finite());
    finite.reduce(|best, line| {
        if line.valid_accuracy > best.valid_accuracy {
            line
        } else {
            best
        }
    })
}

fn epochs(report: &Report) -> Value {
    let lines = &report.epochs;
    let best = best(lines);
    let averaged = lines.iter().any(|line| line.ema_accuracy.is_some());
    let first = lines.iter().find(|line| !line.figures.is_empty());
    let figures: Vec<&str> = first.map_or_else(Vec::new, |line| {
        line.figures.iter().map(|(name, _)| *name).collect()
    });
    let rows = lines.iter().map(|line| {
        let mut values = vec![format::loss(line.train_loss), format::loss(line.valid_loss)];
        if figures.is_empty() {
            values.push(hundredths(line.train_accuracy, 2));
            values.push(hundredths(line.valid_accuracy, 2));
        } else {
            values.extend(figures.iter().map(|name| {
                let found = line.figures.iter().find(|(own, _)| own == name);
                found.map_or(NOTHING.to_owned(), |(_, value)| format::loss(*value))
            }));
        }
        if averaged {
            let accuracy = line.ema_accuracy.map(|share| hundredths(share, 2));
            values.push(accuracy.unwrap_or(NOTHING.to_owned()));
        }
        values.push(format::duration(line.seconds));
        values.push(per_second(line.images_per_second));
        context! {
            epoch => line.epoch,
            best => best.is_some_and(|best| best.epoch == line.epoch),
            values,
            note => line.note.as_deref().unwrap_or_default(),
        }
    });
    context! {
        epochs => rows.collect::<Vec<_>>(),
        number_of_epochs => format::count(lines.len()),
        averaged,
        figure_columns => match figures.is_empty() {
            true => vec!["Training accuracy, %", "Validation accuracy, %"],
            false => figures.clone(),
        },
        noted => lines.iter().any(|line| line.note.is_some()),
        best => best.map(|best| context! {
            accuracy => format::percent(best.valid_accuracy, 2),
            epoch => format::count(best.epoch),
        }),
    }
}

fn per_second(images: f64) -> String {
    if (10.0..1e9).contains(&images) {
        format::count(images.round() as usize)
    } else {
        format::number(images)
    }
}

/// A share without its sign, for columns that have it in their head.
fn hundredths(share: f64, decimals: usize) -> String {
    let text = format::percent(share, decimals);
    text.trim_end_matches(" %").to_owned()
}

fn share(share: Option<f64>) -> String {
    share.map_or(NOTHING.to_owned(), |share| hundredths(share, 1))
}

/// Why there is no matrix.
fn no_matrix(report: &Report) -> String {
    if report.confusion.is_empty() && report.classes.len() > LARGEST_CONFUSION {
        return format!(
            "There are {} classes; a confusion matrix is kept of up to {}.",
            format::count(report.classes.len()),
            format::count(LARGEST_CONFUSION)
        );
    }
    "No images were compared with their classes.".to_owned()
}

/// A row for each class, those of the weak ones, and the means of all.
fn classes(report: &Report) -> Value {
    let scores = scores::of(&report.confusion);
    let weakest = scores::weakest(&scores);
    let row = |class: usize| {
        let score = &scores[class];
        let taken_for = score.taken_for.map(|(other, count)| {
            let part = scores::share(count, score.images).unwrap_or(0.0);
            let (count, part) = (format::count(count), format::percent(part, 1));
            (report.class(other), format!("{count} ({part})"))
        });
        context! {
            name => report.class(class),
            weak => weakest.contains(&class),
            images => format::count(score.images),
            precision => share(score.precision()),
            recall => share(score.recall()),
            f1 => share(score.f1()),
            bar => format!("{:.3}", score.f1().unwrap_or(0.0)),
            taken_for => taken_for.as_ref().map(|(name, _)| name.clone()),
            taken_for_images => taken_for.map(|(_, images)| images),
        }
    };
    let images = scores.iter().map(|score| score.images);
    let images = images.fold(0, usize::saturating_add);
    let means = [Score::precision, Score::recall, Score::f1];
    let means = means.map(|score| share(scores::mean(&scores, score)));
    context! {
        classes => (0..scores.len()).map(row).collect::<Vec<_>>(),
        weakest => weakest.iter().map(|class| row(*class)).collect::<Vec<_>>(),
        number_of_classes => format::count(scores.len()),
        class_accuracy => scores::accuracy(&scores).map(|share| format::percent(share, 2)),
        means => [vec![format::count(images)], means.to_vec()].concat(),
    }
}

/// The most frequent mistakes, and the counts of a small matrix.
fn confusions(report: &Report) -> Value {
    let most = match report.classes.len() {
        0..=12 => MAX_CONFUSIONS / 2,
        _ => MAX_CONFUSIONS,
    };
    let images = scores::images(&report.confusion);
    let frequent = scores::frequent(&report.confusion, most);
    let kinds = scores::kinds(&report.confusion);
    let mut caption = "Most frequent confusions".to_owned();
    if frequent.len() < kinds {
        let (shown, kinds) = (frequent.len(), format::count(kinds));
        caption.push_str(&format!(", {shown} of {kinds} kinds"));
    }
    let rows = frequent.iter().map(|confusion| {
        context! {
            truth => report.class(confusion.truth),
            predicted => report.class(confusion.predicted),
            images => format::count(confusion.images),
            share => share(scores::share(confusion.images, images[confusion.truth])),
        }
    });
    let small = report.confusion.len() <= MAX_NUMBERS;
    let counts = report.confusion.iter().enumerate().filter(|_| small);
    let counts = counts.map(|(class, row)| context! { name => report.class(class), counts => row });
    let names = (0..report.classes.len()).map(|class| isolated(&report.class(class)));
    context! {
        confusions_caption => caption,
        confusions => rows.collect::<Vec<_>>(),
        names => names.collect::<Vec<_>>(),
        counts => counts.collect::<Vec<_>>(),
    }
}

fn mistakes(report: &Report, shown: &[Shown]) -> Result<Value> {
    // Who makes the report may have kept only the surest; the matrix knows of all.
    let mistakes = scores::mistakes(&report.confusion);
    let all = mistakes.max(report.mistakes.len());
    let number = if shown.len() < all {
        let (shown, all) = (shown.len(), format::count(all));
        format!("The {shown} mistakes of {all} that the model was surest of")
    } else {
        "The mistakes the model was surest of".to_owned()
    };
    let mistake = |shown: &Shown| {
        let mistake = shown.mistake;
        let (truth, predicted) = (isolated(&mistake.truth), isolated(&mistake.predicted));
        Ok(context! {
            image => shown.image.to_data_uri()?,
            enlarged => shown.is_enlarged(),
            alt => format!("An image of class {truth} that was taken for {predicted}"),
            truth => &mistake.truth,
            predicted => &mistake.predicted,
            probability => format::probability(mistake.probability),
        })
    };
    Ok(context! {
        mistakes => shown.iter().map(mistake).collect::<Result<Vec<_>>>()?,
        number_of_mistakes => number,
    })
}

/// A line of TOML and what it is.
fn toml_line(line: &str) -> Value {
    let start = line.trim_start();
    let key = line.split_once(" = ");
    let key = key.filter(|(key, _)| !key.contains(['"', '#', '[']));
    match key {
        _ if start.starts_with('#') => context! { kind => "note", text => line },
        _ if start.starts_with('[') && start.ends_with(']') => {
            context! { kind => "table", text => line }
        }
        Some((key, text)) => context! { kind => "key", key, text },
        None => context! { kind => "text", text => line },
    }
}
