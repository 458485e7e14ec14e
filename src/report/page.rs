//! The page of a report.

use super::confusion::MOST_NUMBERS;
use super::mistakes;
use super::scores;
use super::svg::{self, Picture, add};
use super::tables;
use super::text::{self, Escaped, isolated};
use super::{Mistake, Report};
use crate::error::Result;
use crate::infer::LARGEST_CONFUSION;

/// The look of the page; that of its charts is [`svg::STYLE`].
const STYLE: &str = include_str!("page.css");

/// Nothing is fetched and nothing is run, whatever names and notes say.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

/// The sections in order: their places in the page and their headings.
const SECTIONS: [(&str, &str); 8] = [
    ("curves", "Loss and accuracy"),
    ("rates", "Learning rates"),
    ("epochs", "Epochs"),
    ("confusion", "Confusion"),
    ("classes", "Classes"),
    ("mistakes", "Mistakes"),
    ("configuration", "Configuration"),
    ("environment", "Environment"),
];

/// The whole page, which is also well-formed XML. `charts` are loss, accuracy, rates and confusion.
pub(super) fn html(
    report: &Report,
    charts: &[Option<Picture>; 4],
    mistakes: &[&Mistake],
) -> Result<String> {
    let title = match report.title.trim() {
        "" => "Training report",
        title => title,
    };
    let mut html = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n");
    add!(
        html,
        "<meta charset=\"utf-8\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <title>{}</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n<header>\n\
         <p class=\"kind\">Training report</p>\n<h1><bdi>{}</bdi></h1>\n",
        Escaped(title),
        svg::STYLE,
        Escaped(title)
    );
    if !report.subtitle.is_empty() {
        add!(
            html,
            "<p class=\"subtitle\"><bdi>{}</bdi></p>\n",
            Escaped(&report.subtitle)
        );
    }
    tiles(&mut html, &report.summary);
    html.push_str("<nav aria-label=\"Sections\"><ul>\n");
    for (id, heading) in SECTIONS {
        add!(html, "<li><a href=\"#{id}\">{heading}</a></li>\n");
    }
    html.push_str("</ul></nav>\n</header>\n<main>\n");

    let [loss, accuracy, rates, matrix] = charts;
    for (id, heading) in SECTIONS {
        add!(html, "<section id=\"{id}\">\n<h2>{heading}</h2>\n");
        match id {
            "curves" => curves(&mut html, [loss, accuracy]),
            "rates" => chart(
                &mut html,
                rates.as_ref(),
                "No learning rates were recorded.",
            ),
            "epochs" => epochs(&mut html, report),
            "confusion" => confusion(&mut html, report, matrix.as_ref()),
            "classes" => classes(&mut html, report),
            "mistakes" => wrong(&mut html, report, mistakes)?,
            "configuration" => configuration(&mut html, &report.configuration),
            _ => environment(&mut html, &report.environment),
        }
        html.push_str("</section>\n");
    }
    add!(
        html,
        "</main>\n<footer><p>Written by burn-zoo {}.</p></footer>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    );
    Ok(html)
}

fn nothing(html: &mut String, words: &str) {
    add!(html, "<p class=\"nothing\">{words}</p>\n");
}

fn tiles(html: &mut String, summary: &[(String, String)]) {
    if summary.is_empty() {
        return;
    }
    html.push_str("<dl class=\"tiles\">\n");
    for (name, value) in summary {
        // Long values would not fit at the size of figures.
        let class = if text::width(value) > 9.0 {
            " class=\"long\""
        } else {
            ""
        };
        add!(
            html,
            "<div><dt><bdi>{}</bdi></dt><dd{class}><bdi>{}</bdi></dd></div>\n",
            Escaped(name),
            Escaped(value)
        );
    }
    html.push_str("</dl>\n");
}

fn chart(html: &mut String, picture: Option<&Picture>, otherwise: &str) {
    match picture {
        None => nothing(html, otherwise),
        Some(picture) => add!(
            html,
            "<figure><div class=\"scroll\" role=\"region\" aria-label=\"{}\" tabindex=\"0\">\n{}\
             </div><figcaption>{}</figcaption></figure>\n",
            picture.title,
            picture.inline(),
            Escaped(picture.caption.trim())
        ),
    }
}

fn curves(html: &mut String, charts: [&Option<Picture>; 2]) {
    if charts.iter().all(|chart| chart.is_none()) {
        return nothing(html, "No epochs were recorded.");
    }
    html.push_str("<div class=\"pair\">\n");
    for picture in charts.into_iter().flatten() {
        chart(html, Some(picture), "");
    }
    html.push_str("</div>\n");
}

fn epochs(html: &mut String, report: &Report) {
    if report.epochs.is_empty() {
        return nothing(html, "No epochs were recorded.");
    }
    if let Some(best) = tables::best(&report.epochs) {
        add!(
            html,
            "<p>Best validation accuracy: <strong>{}</strong> after epoch {}.</p>\n",
            text::percent(best.valid_accuracy, 2),
            text::count(best.epoch)
        );
    }
    html.push_str(&tables::epochs(report));
}

/// Why there is no matrix.
fn no_matrix(report: &Report) -> String {
    if report.confusion.is_empty() && report.classes.len() > LARGEST_CONFUSION {
        return format!(
            "There are {} classes; a confusion matrix is kept of up to {}.",
            text::count(report.classes.len()),
            text::count(LARGEST_CONFUSION)
        );
    }
    "No images were compared with their classes.".to_owned()
}

fn confusion(html: &mut String, report: &Report, picture: Option<&Picture>) {
    if picture.is_none() {
        return nothing(html, &no_matrix(report));
    }
    html.push_str("<div class=\"matrix\">\n");
    chart(html, picture, "");
    add!(html, "<div>{}</div>\n</div>\n", tables::confusions(report));
    if report.classes.len() <= MOST_NUMBERS {
        html.push_str(&tables::counts(report));
    } else {
        add!(
            html,
            "<p class=\"soft\">The counts of the matrix are written out for up to {MOST_NUMBERS} \
             classes.</p>\n"
        );
    }
}

fn classes(html: &mut String, report: &Report) {
    if report.confusion.is_empty() {
        return nothing(html, &no_matrix(report));
    }
    let scores = scores::of(&report.confusion);
    if let Some(accuracy) = scores::accuracy(&scores) {
        let weak = match scores::weakest(&scores).len() {
            0 => "",
            _ => " The classes of the lowest F1 are marked as weak.",
        };
        add!(
            html,
            "<p>Of all images that were judged, <strong>{}</strong> were recognised.{weak}</p>\n",
            text::percent(accuracy, 2)
        );
    }
    html.push_str(&tables::classes(report, &scores));
    html.push_str(
        "<p class=\"soft\">Precision: of the images taken for the class, the part that belongs to \
         it. Recall: of the images of the class, the part that was recognised. F1: their harmonic \
         mean. Shares of nothing are left out, also of the means.</p>\n",
    );
}

fn wrong(html: &mut String, report: &Report, shown: &[&Mistake]) -> Result<()> {
    if shown.is_empty() {
        nothing(html, "No mistakes were kept.");
        return Ok(());
    }
    // Who makes the report may have kept only the surest; the matrix knows of all.
    let all = report
        .mistakes
        .len()
        .max(scores::mistakes(&report.confusion));
    let number = if shown.len() < all {
        format!(
            "The {} mistakes of {} that the model was surest of",
            shown.len(),
            text::count(all)
        )
    } else {
        "The mistakes the model was surest of".to_owned()
    };
    add!(
        html,
        "<p>{number}, the surest first: what it was taken for, how sure the model was, and \
         what it is.</p>\n<ul class=\"mistakes\">\n"
    );
    for mistake in shown {
        let (uri, enlarged) = mistakes::picture(&mistake.image)?;
        let class = if enlarged { " class=\"enlarged\"" } else { "" };
        let (truth, predicted) = (isolated(&mistake.truth), isolated(&mistake.predicted));
        let words = format!("An image of class {truth} that was taken for {predicted}");
        add!(
            html,
            "<li><figure><img{class} src=\"{uri}\" alt=\"{}\"/><figcaption>\
             <span class=\"predicted\"><bdi>{}</bdi> <b>{}</b></span>\
             <span class=\"truth\">is <bdi>{}</bdi></span></figcaption></figure></li>\n",
            Escaped(&words),
            Escaped(&mistake.predicted),
            Escaped(&text::probability(mistake.probability)),
            Escaped(&mistake.truth)
        );
    }
    html.push_str("</ul>\n");
    Ok(())
}

/// TOML with its keys and tables set apart, a line at a time.
fn configuration(html: &mut String, toml: &str) {
    if toml.trim().is_empty() {
        return nothing(html, "No configuration was recorded.");
    }
    html.push_str("<pre tabindex=\"0\"><code>");
    for line in toml.trim().lines() {
        let start = line.trim_start();
        let key = line
            .split_once(" = ")
            .filter(|(key, _)| !key.contains(['"', '#', '[']));
        if start.starts_with('#') {
            add!(html, "<span class=\"note\">{}</span>\n", Escaped(line));
        } else if start.starts_with('[') && start.ends_with(']') {
            add!(html, "<b>{}</b>\n", Escaped(line));
        } else if let Some((key, value)) = key {
            let (key, value) = (Escaped(key), Escaped(value));
            add!(html, "<span class=\"key\">{key}</span> = {value}\n");
        } else {
            add!(html, "{}\n", Escaped(line));
        }
    }
    html.push_str("</code></pre>\n");
}

fn environment(html: &mut String, pairs: &[(String, String)]) {
    match pairs.is_empty() {
        true => nothing(html, "Nothing was recorded about where it ran."),
        false => html.push_str(&tables::pairs("Environment", pairs)),
    }
}
