//! The confusion matrix as a picture.

use minijinja::context;
use minijinja::value::Value;

use super::axis::Axis;
use super::class_scores as scores;
use super::contents::Report;
use super::format::{self, isolated};
use super::picture::Picture;
use super::templates::render;
use super::text_width::width;
use crate::error::Result;
use crate::preprocess::Image;

/// The largest matrix whose counts are written into it.
pub(super) const MAX_NUMBERS: usize = 30;
/// The largest matrix with a name at each row and column.
const MAX_NAMES: usize = 60;
/// Side of a matrix in pixels, at most.
const MAX_SIDE: f64 = 700.0;
/// The widest name of a class, in pixels.
const MAX_NAME: f64 = 150.0;
/// On fields stronger than this white numbers are easier to read than black ones.
const WHITE_NUMBERS: f64 = 0.925;
/// Mistakes are drawn no stronger than this, so that the numbers in them are readable.
const STRONGEST_MISTAKE: f64 = 0.85;
/// What is right; `.z-right` of the charts' style.
const RIGHT: [u8; 3] = [0x00, 0x72, 0xb2];
/// What is wrong; `.z-wrong` of the charts' style.
const WRONG: [u8; 3] = [0xd5, 0x5e, 0x00];

/// What is right on the diagonal in blue, what is wrong in vermillion; the stronger, the larger
/// the part of its row. None without counts.
pub(super) fn draw(report: &Report) -> Result<Option<Picture>> {
    let classes = report.classes.len();
    let images = scores::images(&report.confusion);
    if images.iter().all(|images| *images == 0) {
        return Ok(None);
    }
    let with_numbers = classes <= MAX_NUMBERS;
    // Whole pixels: a row of a heat map is as high as its neighbours.
    let cell = if with_numbers {
        (640.0 / classes as f64).clamp(24.0, 54.0).floor()
    } else {
        (MAX_SIDE / classes as f64).floor().max(1.0)
    };
    let side = (cell * classes as f64).min(MAX_SIDE.max(cell * MAX_NUMBERS as f64));
    let middle = |class: usize| (class as f64 + 0.5) * cell;
    let with_names = classes <= MAX_NAMES;
    let (mut names, mut indices) = (Vec::new(), Vec::new());
    let mut widest: f64 = if with_names { 20.0 } else { 36.0 };
    if with_names {
        for class in 0..classes {
            let text = report.class(class);
            widest = widest.max(width(&text) * 11.0).min(MAX_NAME);
            names.push(context! { text, middle => middle(class) });
        }
    } else {
        let axis = Axis::exact([0.0, classes as f64]);
        for tick in axis.whole_ticks(8) {
            indices.push(context! { label => tick as usize, at => axis.share(tick) * side });
        }
    }
    let fields = if with_numbers {
        fields(report, &images, cell)
    } else {
        Vec::new()
    };
    let empty = (0..classes).filter(|class| with_numbers && images[*class] == 0);
    let left = widest + 14.0;
    // Names of columns rise at an angle of 40 degrees.
    let top = 26.0
        + if with_names {
            widest * 0.65 + 12.0
        } else {
            22.0
        };
    let beside = if with_names { widest * 0.77 } else { 20.0 };
    let heat_map = if with_numbers {
        String::new()
    } else {
        heat_map(&report.confusion, &images)?.to_data_uri()?
    };
    let body = context! {
        left, top, side, cell, names, indices, fields, heat_map,
        max_name => MAX_NAME,
        empty_rows => empty.map(middle).collect::<Vec<_>>(),
        legend => [
            legend("z-right", "recognised", true),
            legend("z-wrong", "mistaken", false),
        ],
    };
    let accuracy = scores::accuracy(&scores::of(&report.confusion)).unwrap_or(f64::NAN);
    let block = match classes_per_pixel(classes) {
        1 => String::new(),
        block => {
            format!(
                " A field stands for {block} by {block} classes and shows the strongest of them."
            )
        }
    };
    Ok(Some(Picture {
        width: (left + side + beside).max(left + 330.0).ceil(),
        height: top + side + 54.0,
        title: "Confusion matrix",
        description: format!(
            "{classes} classes; {} of the images were recognised.",
            format::percent(accuracy, 2)
        ),
        caption: format!(
            "The stronger the colour of a field, the larger its part of the images of its row: \
             blue what was recognised, orange what was mistaken. The steps of the scale are not \
             even, so that rare mistakes can be seen.{block}"
        ),
        body: render("confusion.svg", body)?,
    }))
}

/// How opaque a share is drawn, in 0..1. The root brings out small ones.
fn opacity(share: f64, right: bool) -> f64 {
    share.sqrt() * if right { 1.0 } else { STRONGEST_MISTAKE }
}

/// The counts above zero: truth, predicted, images, and their share of the class.
fn counts<'a>(
    confusion: &'a [Vec<usize>],
    images: &'a [usize],
) -> impl Iterator<Item = (usize, usize, usize, f64)> + 'a {
    confusion.iter().enumerate().flat_map(move |(truth, row)| {
        let counts = row.iter().copied().enumerate();
        counts
            .filter(|(_, count)| *count > 0)
            .map(move |(predicted, count)| {
                let share = scores::share(count, images[truth]).unwrap_or(0.0);
                (truth, predicted, count, share)
            })
    })
}

fn fields(report: &Report, images: &[usize], cell: f64) -> Vec<Value> {
    let field = |(truth, predicted, count, share): (usize, usize, usize, f64)| {
        let right = truth == predicted;
        let opacity = opacity(share, right);
        let class = isolated(&report.class(truth));
        let of_all = format!(
            "{} of {} images ({})",
            format::count(count),
            format::count(images[truth]),
            format::percent(share, 1)
        );
        let short = short_count(count);
        let size = cell * 0.92 / width(&short);
        context! {
            text => if right {
                format!("{class}: {of_all} recognised")
            } else {
                format!("{class} taken for {}: {of_all}", isolated(&report.class(predicted)))
            },
            class => if right { "z-right" } else { "z-wrong" },
            opacity => format!("{opacity:.3}"),
            x => predicted as f64 * cell,
            y => truth as f64 * cell,
            size => size.min(cell * 0.5).min(13.0),
            white => right && opacity > WHITE_NUMBERS,
            count => short,
        }
    };
    counts(&report.confusion, images).map(field).collect()
}

/// What the shades of a colour stand for.
fn legend(class: &str, text: &str, right: bool) -> Value {
    let shades = [0.01, 0.05, 0.2, 0.5, 1.0].map(|share| {
        let opacity = format!("{:.3}", opacity(share, right));
        context! { opacity, label => format::percent(share, 0) }
    });
    context! { class, text, shades }
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

/// Classes on a side of a pixel of the heat map.
fn classes_per_pixel(classes: usize) -> usize {
    classes.div_ceil(MAX_SIDE as usize).max(1)
}

/// One pixel for each field, its colour transparent where the share is small. Where classes are
/// more than pixels, the largest share among neighbours counts: no mistake gets lost.
fn heat_map(confusion: &[Vec<usize>], images: &[usize]) -> Result<Image> {
    let block = classes_per_pixel(confusion.len());
    let side = confusion.len().div_ceil(block);
    let mut strongest = vec![(0.0, [0; 3]); side * side];
    for (truth, predicted, _, share) in counts(confusion, images) {
        let right = truth == predicted;
        let pixel = &mut strongest[truth / block * side + predicted / block];
        let opacity = opacity(share, right);
        if opacity > pixel.0 {
            *pixel = (opacity, if right { RIGHT } else { WRONG });
        }
    }
    let pixels = strongest
        .into_iter()
        .flat_map(|(opacity, [red, green, blue])| {
            [red, green, blue, (opacity * 255.0_f64).round() as u8]
        });
    Image::new(side, side, 4, pixels.collect())
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
            assert!(
                include_str!("templates/chart.css")
                    .contains(&format!(".z-{class} {{ fill: #{hex}"))
            );
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
