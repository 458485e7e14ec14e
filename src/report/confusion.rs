//! The confusion matrix as a picture.

use std::borrow::Cow;

use super::Report;
use super::mistakes::data_uri;
use super::scores;
use super::svg::{Picture, Px, add, name};
use super::text::{self, Escaped, isolated};
use crate::error::Result;
use crate::preprocess::png::png;

/// The largest matrix whose counts are written into it.
pub(super) const MOST_NUMBERS: usize = 30;
/// The largest matrix with a name at each row and column.
const MOST_NAMES: usize = 60;
/// Side of a matrix in pixels, at most.
const SIDE: f64 = 700.0;
/// The widest name of a class, in pixels.
const WIDEST_NAME: f64 = 150.0;
/// On fields stronger than this white numbers are easier to read than black ones.
const WHITE_NUMBERS: f64 = 0.925;
/// Mistakes are drawn no stronger than this, so that the numbers in them are readable.
const STRONGEST_MISTAKE: f64 = 0.85;

/// What is right on the diagonal in blue, what is wrong in vermillion; the stronger, the larger
/// the part of its row. None without counts.
pub(super) fn draw(report: &Report) -> Result<Option<Picture>> {
    let classes = report.classes.len();
    let images = scores::images(&report.confusion);
    if images.iter().all(|images| *images == 0) {
        return Ok(None);
    }
    // Whole pixels: a row of a heat map is as high as its neighbours.
    let cell = match classes {
        0..=MOST_NUMBERS => (640.0 / classes as f64).clamp(24.0, 54.0).floor(),
        _ => (SIDE / classes as f64).floor().max(1.0),
    };
    let side = (cell * classes as f64).min(SIDE.max(cell * MOST_NUMBERS as f64));
    let named = classes <= MOST_NAMES;
    let names: Vec<Cow<str>> = (0..classes).map(|class| report.class(class)).collect();
    let widths = names.iter().map(|class| text::width(class) * 11.0);
    let widest = match named {
        true => widths.fold(20.0, f64::max).min(WIDEST_NAME),
        false => 36.0,
    };
    // Names of columns rise to the right, at an angle of 40 degrees.
    let rise = if named { widest * 0.65 + 12.0 } else { 22.0 };
    let left = widest + 14.0;
    let top = 26.0 + rise;

    let mut body = String::new();
    add!(
        body,
        "<text class=\"z-title\" x=\"2\" y=\"16\">Confusion matrix<tspan class=\"z-soft\" dx=\"8\">\
         rows: truth, columns: taken for</tspan></text>\n"
    );
    match named {
        true => class_names(&mut body, &names, [left, top], cell),
        false => class_indices(&mut body, classes, [left, top], side),
    }
    let frame = [left, top, side, side].map(Px);
    match classes <= MOST_NUMBERS {
        true => cells(&mut body, report, &images, [left, top], cell),
        false => {
            let uri = data_uri(&heat_map(&report.confusion, &images)?);
            let [x, y, width, height] = frame;
            add!(
                body,
                "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" \
                 preserveAspectRatio=\"none\" style=\"image-rendering:pixelated\" \
                 href=\"{uri}\"/>\n"
            );
        }
    }
    let [x, y, width, height] = frame;
    add!(
        body,
        "<rect class=\"z-frame\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>\n"
    );
    legend(&mut body, [left, top + side + 14.0]);
    let accuracy = scores::accuracy(&scores::of(&report.confusion)).unwrap_or(f64::NAN);
    let kept = if named { widest * 0.77 } else { 20.0 };
    Ok(Some(Picture {
        width: (left + side + kept).max(left + 330.0).ceil(),
        height: top + side + 54.0,
        title: "Confusion matrix",
        description: format!(
            "{classes} classes; {} of the images were recognised.",
            text::percent(accuracy, 2)
        ),
        caption: format!(
            "The stronger the colour of a field, the larger its part of the images of its row: \
             blue what was recognised, orange what was mistaken. The steps of the scale are not \
             even, so that rare mistakes can be seen.{}",
            match block(classes) {
                1 => String::new(),
                side => format!(
                    " A field stands for {side} by {side} classes and shows the strongest of them."
                ),
            }
        ),
        body,
    }))
}

/// What is right; `.z-right` of the charts' style.
const RIGHT: [u8; 3] = [0x00, 0x72, 0xb2];
/// What is wrong; `.z-wrong` of the charts' style.
const WRONG: [u8; 3] = [0xd5, 0x5e, 0x00];

/// How opaque a share is drawn, in 0..1. The root brings out small ones.
fn opacity(share: f64, right: bool) -> f64 {
    share.sqrt() * if right { 1.0 } else { STRONGEST_MISTAKE }
}

fn class_names(body: &mut String, names: &[Cow<str>], [left, top]: [f64; 2], cell: f64) {
    for (index, class) in names.iter().enumerate() {
        let middle = (index as f64 + 0.5) * cell;
        let place = [left - 7.0, top + middle + 4.0];
        name(body, "z-soft z-end", place, class, WIDEST_NAME);
        let (x, y) = (Px(left + middle + 2.0), Px(top - 7.0));
        add!(body, "<g transform=\"translate({x},{y}) rotate(-40)\">");
        name(body, "z-soft", [0.0, 0.0], class, WIDEST_NAME);
        body.push_str("</g>\n");
    }
}

/// Where there is no room for names: some of the numbers of the classes.
fn class_indices(body: &mut String, classes: usize, [left, top]: [f64; 2], side: f64) {
    let axis = super::axis::Axis::exact([0.0, classes as f64], [0.0, side]);
    for tick in axis.whole_ticks(8) {
        let place = axis.at(tick);
        add!(
            body,
            "<text class=\"z-soft z-end\" x=\"{}\" y=\"{}\">{tick}</text>\
             <text class=\"z-soft z-mid\" x=\"{}\" y=\"{}\">{tick}</text>\n",
            Px(left - 7.0),
            Px(top + place + 4.0),
            Px(left + place),
            Px(top - 7.0),
        );
    }
}

fn cells(body: &mut String, report: &Report, images: &[usize], at: [f64; 2], cell: f64) {
    let [left, top] = at;
    for (truth, row) in report.confusion.iter().enumerate() {
        if images[truth] == 0 {
            let y = top + (truth as f64 + 0.5) * cell + 4.0;
            let x = Px(left + 8.0);
            add!(
                body,
                "<text class=\"z-soft\" x=\"{x}\" y=\"{}\">no images</text>\n",
                Px(y)
            );
        }
        for (predicted, count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
            let right = truth == predicted;
            let share = scores::share(*count, images[truth]).unwrap_or(0.0);
            let opacity = opacity(share, right);
            let (x, y) = (left + predicted as f64 * cell, top + truth as f64 * cell);
            let of_all = format!(
                "{} of {} images ({})",
                text::count(*count),
                text::count(images[truth]),
                text::percent(share, 1)
            );
            let class = isolated(&report.class(truth));
            let words = match right {
                true => format!("{class}: {of_all} recognised"),
                false => {
                    let taken_for = isolated(&report.class(predicted));
                    format!("{class} taken for {taken_for}: {of_all}")
                }
            };
            let short = short_count(*count);
            let size = (cell * 0.92 / text::width(&short))
                .min(cell * 0.5)
                .min(13.0);
            add!(
                body,
                "<g><title>{}</title><rect class=\"{}\" fill-opacity=\"{opacity:.3}\" x=\"{}\" \
                 y=\"{}\" width=\"{side}\" height=\"{side}\"/>\
                 <text class=\"z-number{}\" style=\"font-size:{}px\" x=\"{}\" y=\"{}\">{short}\
                 </text></g>\n",
                Escaped(&words),
                if right { "z-right" } else { "z-wrong" },
                Px(x + 0.5),
                Px(y + 0.5),
                if right && opacity > WHITE_NUMBERS {
                    " z-strong"
                } else {
                    ""
                },
                Px(size),
                Px(x + cell / 2.0),
                Px(y + cell / 2.0 + size * 0.36),
                side = Px(cell - 1.0),
            );
        }
    }
}

/// A count in at most four characters, of which the last can be a prefix of units.
fn short_count(count: usize) -> String {
    let units = [
        (1, ""),
        (1_000, "k"),
        (1_000_000, "M"),
        (1_000_000_000, "G"),
    ];
    let fits = |unit: &&(usize, &str)| unit.0 == 1 && count < 10_000 || count / unit.0 < 1000;
    match units.iter().find(fits) {
        Some((unit, prefix)) => format!("{}{prefix}", count / unit),
        None => "≥1T".to_owned(),
    }
}

/// Classes on a side of a field of the heat map.
fn block(classes: usize) -> usize {
    classes.div_ceil(SIDE as usize).max(1)
}

/// One pixel for each field, its colour transparent where the share is small. Where classes are
/// more than pixels, the largest share among neighbours counts: no mistake gets lost.
fn heat_map(confusion: &[Vec<usize>], images: &[usize]) -> Result<Vec<u8>> {
    let block = block(confusion.len());
    let side = confusion.len().div_ceil(block);
    let mut strongest = vec![(0.0, false); side * side];
    for (truth, row) in confusion.iter().enumerate() {
        for (predicted, count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
            let right = truth == predicted;
            let share = scores::share(*count, images[truth]).unwrap_or(0.0);
            let pixel = &mut strongest[truth / block * side + predicted / block];
            let opacity = opacity(share, right);
            if opacity > pixel.0 {
                *pixel = (opacity, right);
            }
        }
    }
    let pixels = strongest.into_iter().flat_map(|(opacity, right)| {
        let [red, green, blue] = match (opacity > 0.0, right) {
            (false, _) => [0; 3],
            (true, true) => RIGHT,
            (true, false) => WRONG,
        };
        [red, green, blue, (opacity * 255.0_f64).round() as u8]
    });
    png(&pixels.collect::<Vec<u8>>(), [side, side], 4)
}

/// What the shades stand for.
fn legend(body: &mut String, [left, top]: [f64; 2]) {
    let rows = [("z-right", "recognised"), ("z-wrong", "mistaken")];
    for (row, (class, words)) in rows.into_iter().enumerate() {
        let y = top + row as f64 * 18.0;
        add!(
            body,
            "<text class=\"z-soft\" x=\"{}\" y=\"{}\">{words}</text>\n",
            Px(left),
            Px(y + 10.0)
        );
        for (index, share) in [0.01, 0.05, 0.2, 0.5, 1.0].into_iter().enumerate() {
            let x = left + 70.0 + index as f64 * 50.0;
            let (shade, label) = (opacity(share, row == 0), text::percent(share, 0));
            add!(
                body,
                "<rect class=\"{class}\" fill-opacity=\"{shade:.3}\" x=\"{}\" y=\"{}\" \
                 width=\"13\" height=\"13\"/><text class=\"z-soft\" x=\"{}\" y=\"{}\">{label}\
                 </text>\n",
                Px(x),
                Px(y),
                Px(x + 17.0),
                Px(y + 10.0),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance of an sRGB colour (WCAG 2.2).
    fn luminance(color: [f64; 3]) -> f64 {
        let linear = color.map(|value| match value / 255.0 {
            value if value <= 0.04045 => value / 12.92,
            value => ((value + 0.055) / 1.055).powf(2.4),
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    #[test]
    fn numbers_stand_out_from_their_fields() {
        for (color, class) in [(RIGHT, "right"), (WRONG, "wrong")] {
            let hex: String = color.map(|value| format!("{value:02x}")).concat();
            assert!(super::super::svg::STYLE.contains(&format!(".z-{class} {{ fill: #{hex}")));
            for step in 1..=1000 {
                let opacity = opacity(f64::from(step) / 1000.0, class == "right");
                let white = class == "right" && opacity > WHITE_NUMBERS;
                for (ground, number) in [
                    ([255.0; 3], if white { 1.0 } else { 0.0 }),
                    ([18.0, 22.0, 27.0], 1.0),
                ] {
                    let mixed: [f64; 3] = std::array::from_fn(|i| {
                        opacity * f64::from(color[i]) + (1.0 - opacity) * ground[i]
                    });
                    let field = luminance(mixed) + 0.05;
                    let number = number + 0.05;
                    let contrast = field.max(number) / field.min(number);
                    assert!(contrast >= 4.5, "{class} {opacity} {contrast}");
                }
            }
        }
    }

    #[test]
    fn counts_fit_their_fields() {
        for (count, text) in [
            (7, "7"),
            (9999, "9999"),
            (10_000, "10k"),
            (999_999, "999k"),
            (1_000_000, "1M"),
            (usize::MAX, "≥1T"),
        ] {
            assert_eq!(short_count(count), text);
        }
    }
}
