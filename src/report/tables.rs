//! The numbers of a report, for reading rather than looking.

use Column::{Number, Text};

use super::scores::{self, Score};
use super::svg::add;
use super::text::{self, Escaped, isolated};
use super::{EpochLine, Report};

/// Longer tables are folded.
const MOST_ROWS: usize = 40;
/// Rows of the table of confusions.
const MOST_CONFUSIONS: usize = 20;
/// Stands for a share of nothing.
const NOTHING: &str = "\u{2013}";

/// The head of a column.
enum Column<'a> {
    Number(&'a str),
    Text(&'a str),
}

/// Opens a table inside a box that scrolls where a page is too narrow for it.
fn open(html: &mut String, class: &str, caption: &str, columns: &[Column]) {
    add!(
        html,
        "<div class=\"scroll\" role=\"region\" aria-label=\"{}\" tabindex=\"0\">\n\
         <table class=\"{class}\">\n<caption>{}</caption>\n<thead><tr>",
        Escaped(caption),
        Escaped(caption)
    );
    for column in columns {
        let (class, name) = match column {
            Column::Number(name) => ("", name),
            Column::Text(name) => (" class=\"text\"", name),
        };
        add!(html, "<th scope=\"col\"{class}>{}</th>", Escaped(name));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
}

const CLOSE: &str = "</tbody>\n</table>\n</div>\n";

/// A table that can be unfolded.
fn folded(html: &mut String, summary: &str, table: &str) {
    add!(
        html,
        "<details><summary>{}</summary>\n{table}</details>\n",
        Escaped(summary)
    );
}

/// The epoch with the best validation accuracy, the earlier of equals.
pub(super) fn best(epochs: &[EpochLine]) -> Option<&EpochLine> {
    let finite = epochs.iter().filter(|line| line.valid_accuracy.is_finite());
    finite.reduce(
        |best, line| match line.valid_accuracy > best.valid_accuracy {
            true => line,
            false => best,
        },
    )
}

/// A row for each epoch.
pub(super) fn epochs(report: &Report) -> String {
    let lines = &report.epochs;
    let best = best(lines).map(|line| line.epoch);
    let averaged = lines.iter().any(|line| line.ema_accuracy.is_some());
    let noted = lines.iter().any(|line| line.note.is_some());
    let mut columns = vec![
        Text("Epoch"),
        Number("Training loss"),
        Number("Validation loss"),
        Number("Training accuracy, %"),
        Number("Validation accuracy, %"),
    ];
    columns.extend(averaged.then_some(Number("Averaged weights, %")));
    columns.extend([Number("Time"), Number("Images/s")]);
    columns.extend(noted.then_some(Text("Note")));

    let mut table = String::new();
    open(&mut table, "epochs", "Epochs", &columns);
    for line in lines {
        let (row, tag) = match best == Some(line.epoch) {
            true => (" class=\"best\"", " <span class=\"tag good\">best</span>"),
            false => ("", ""),
        };
        add!(table, "<tr{row}><th scope=\"row\">{}{tag}</th>", line.epoch);
        let mut cell = |text: String| add!(table, "<td>{text}</td>");
        cell(text::loss(line.train_loss));
        cell(text::loss(line.valid_loss));
        cell(hundredths(line.train_accuracy, 2));
        cell(hundredths(line.valid_accuracy, 2));
        if averaged {
            let accuracy = line.ema_accuracy.map(|share| hundredths(share, 2));
            cell(accuracy.unwrap_or(NOTHING.to_owned()));
        }
        cell(text::duration(line.seconds));
        cell(per_second(line.images_per_second));
        if noted {
            let note = line.note.as_deref().unwrap_or_default();
            add!(
                table,
                "<td class=\"text\"><bdi>{}</bdi></td>",
                Escaped(note)
            );
        }
        table.push_str("</tr>\n");
    }
    table.push_str(CLOSE);
    if lines.len() <= MOST_ROWS {
        return table;
    }
    let mut html = String::new();
    folded(
        &mut html,
        &format!("All {} epochs", text::count(lines.len())),
        &table,
    );
    html
}

fn per_second(images: f64) -> String {
    match (10.0..1e9).contains(&images) {
        true => text::count(images.round() as usize),
        false => text::number(images),
    }
}

/// A share without its sign, for columns that have it in their head.
fn hundredths(share: f64, decimals: usize) -> String {
    let text = text::percent(share, decimals);
    text.trim_end_matches(" %").to_owned()
}

fn maybe(share: Option<f64>) -> String {
    share.map_or(NOTHING.to_owned(), |share| hundredths(share, 1))
}

/// A row for each class; of many classes the weak ones, and all of them folded.
pub(super) fn classes(report: &Report, scores: &[Score]) -> String {
    let weakest = scores::weakest(scores);
    let all: Vec<usize> = (0..scores.len()).collect();
    if scores.len() <= MOST_ROWS {
        return class_rows(report, scores, &all, &weakest, "Classes");
    }
    let mut html = class_rows(report, scores, &weakest, &weakest, "Weakest classes");
    let table = class_rows(report, scores, &all, &weakest, "All classes");
    folded(
        &mut html,
        &format!("All {} classes", text::count(scores.len())),
        &table,
    );
    html
}

fn class_rows(
    report: &Report,
    scores: &[Score],
    shown: &[usize],
    weakest: &[usize],
    caption: &str,
) -> String {
    let columns = [
        Text("Class"),
        Number("Images"),
        Number("Precision, %"),
        Number("Recall, %"),
        Number("F1, %"),
        Text("Most often taken for"),
    ];
    let mut html = String::new();
    open(&mut html, "classes", caption, &columns);
    for class in shown {
        let score = &scores[*class];
        let (row, tag) = match weakest.contains(class) {
            true => (" class=\"weak\"", " <span class=\"tag bad\">weak</span>"),
            false => ("", ""),
        };
        add!(
            html,
            "<tr{row}><th scope=\"row\"><bdi>{}</bdi>{tag}</th><td>{}</td><td>{}</td><td>{}</td>",
            Escaped(&report.class(*class)),
            text::count(score.images),
            maybe(score.precision()),
            maybe(score.recall()),
        );
        let f1 = score.f1();
        let bar = f1.unwrap_or(0.0);
        add!(
            html,
            "<td class=\"bar\" style=\"--share:{bar:.3}\">{}</td>",
            maybe(f1)
        );
        html.push_str("<td class=\"text\">");
        match score.taken_for {
            Some((other, count)) => add!(
                html,
                "<bdi>{}</bdi> <span class=\"soft\">{} ({})</span>",
                Escaped(&report.class(other)),
                text::count(count),
                text::percent(scores::share(count, score.images).unwrap_or(0.0), 1),
            ),
            None => html.push_str(NOTHING),
        }
        html.push_str("</td></tr>\n");
    }
    if shown.len() == scores.len() {
        html.push_str("</tbody>\n<tfoot>\n<tr><th scope=\"row\">All classes, means</th>");
        let images = scores
            .iter()
            .fold(0, |sum: usize, s| sum.saturating_add(s.images));
        add!(html, "<td>{}</td>", text::count(images));
        for mean in [Score::precision, Score::recall, Score::f1] {
            add!(html, "<td>{}</td>", maybe(scores::mean(scores, mean)));
        }
        html.push_str("<td class=\"text\"></td></tr>\n</tfoot>\n</table>\n</div>\n");
    } else {
        html.push_str(CLOSE);
    }
    html
}

/// The most frequent mistakes.
pub(super) fn confusions(report: &Report) -> String {
    let most = match report.classes.len() {
        0..=12 => MOST_CONFUSIONS / 2,
        _ => MOST_CONFUSIONS,
    };
    let images = scores::images(&report.confusion);
    let frequent = scores::frequent(&report.confusion, most);
    if frequent.is_empty() {
        return "<p>Every image was recognised.</p>\n".to_owned();
    }
    let mut html = String::new();
    let columns = [
        Text("Truth"),
        Text("Taken for"),
        Number("Images"),
        Number("Of class, %"),
    ];
    let kinds = scores::kinds(&report.confusion);
    let caption = if frequent.len() < kinds {
        format!(
            "Most frequent confusions, {} of {} kinds",
            frequent.len(),
            text::count(kinds)
        )
    } else {
        "Most frequent confusions".to_owned()
    };
    open(&mut html, "confusions", &caption, &columns);
    for confusion in frequent {
        add!(
            html,
            "<tr><th scope=\"row\"><bdi>{}</bdi></th><td class=\"text\"><bdi>{}</bdi></td>\
             <td>{}</td><td>{}</td></tr>\n",
            Escaped(&report.class(confusion.truth)),
            Escaped(&report.class(confusion.predicted)),
            text::count(confusion.images),
            maybe(scores::share(confusion.images, images[confusion.truth])),
        );
    }
    html.push_str(CLOSE);
    html
}

/// The confusion matrix as numbers, folded.
pub(super) fn counts(report: &Report) -> String {
    let mut table = String::new();
    let names = (0..report.classes.len()).map(|class| isolated(&report.class(class)));
    let names: Vec<String> = names.collect();
    let columns = names.iter().map(|name| Number(name));
    let columns: Vec<Column> = std::iter::once(Text("Truth, taken for"))
        .chain(columns)
        .collect();
    open(
        &mut table,
        "counts",
        "Counts of the confusion matrix",
        &columns,
    );
    for (class, row) in report.confusion.iter().enumerate() {
        add!(
            table,
            "<tr><th scope=\"row\"><bdi>{}</bdi></th>",
            Escaped(&report.class(class))
        );
        for count in row {
            add!(table, "<td>{count}</td>");
        }
        table.push_str("</tr>\n");
    }
    table.push_str(CLOSE);
    let mut html = String::new();
    folded(&mut html, "The matrix as a table", &table);
    html
}

/// Names and values.
pub(super) fn pairs(caption: &str, pairs: &[(String, String)]) -> String {
    let mut html = String::new();
    open(&mut html, "pairs", caption, &[Text("Name"), Text("Value")]);
    for (name, value) in pairs {
        add!(
            html,
            "<tr><th scope=\"row\"><bdi>{}</bdi></th><td class=\"text\"><bdi>{}</bdi></td></tr>\n",
            Escaped(name),
            Escaped(value)
        );
    }
    html.push_str(CLOSE);
    html
}
