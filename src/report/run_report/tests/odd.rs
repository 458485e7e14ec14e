//! What becomes of odd data.

use std::fs;

use crate::preprocess::Image;
use crate::report::run_report::contents::{
    EpochLine, FreezeMark, Mistake, RateLine, Report, StepLine,
};

use super::markup::{Element, decode_base64};
use super::written::{Written, epochs, image, mistake_pictures, owned};

#[test]
fn pictures_keep_their_pixels_and_large_ones_shrink() {
    let shapes = [
        (28, 28, 1),
        (32, 48, 3),
        (1, 1, 1),
        (1, 3000, 3),
        (600, 400, 3),
        (20, 30, 4),
    ];
    let mistakes = shapes.map(|(height, width, channels)| Mistake {
        image: image(height, width, channels),
        truth: owned("a"),
        predicted: owned("b"),
        probability: 0.5,
    });
    let report = Report {
        mistakes: mistakes.to_vec(),
        ..Report::default()
    };
    let pictures = mistake_pictures(&Written::new(&report).page);
    for (picture, mistake) in pictures.iter().zip(&report.mistakes).take(3) {
        assert_eq!(*picture, mistake.image);
    }
    let sizes: Vec<_> = pictures
        .iter()
        .map(|p| (p.height(), p.width(), p.channels()))
        .collect();
    assert_eq!(sizes[3..], [(1, 160, 3), (160, 106, 3), (20, 30, 3)]);

    let one = report.mistakes[0].clone();
    let report = Report {
        mistakes: vec![one; 100],
        ..Report::default()
    };
    let written = Written::new(&report);
    assert_eq!(mistake_pictures(&written.page).len(), Report::MOST_MISTAKES);
    assert!(written.page.contains("The 48 mistakes of 100"));
}

#[test]
fn text_of_any_kind_stays_text() {
    let long = "long name ".repeat(20);
    let names = [
        "<script>alert('x')</script>",
        "</style></title></svg><img src=x onerror=alert(1)>",
        "\"quotes\" & 'more' &amp;",
        &long,
        "שלום עולם",
        "a\u{202e}b",
        "日本語のとても長いクラス名前です日本語のとても長いクラス名前です",
        "nul\u{0}\u{1b}\u{7f}\u{85}\u{ffff}",
        "]]>",
        "",
    ];
    let classes: Vec<String> = names.map(owned).to_vec();
    let text = |index: usize| classes[index].clone();
    let mut lines = epochs(10);
    for (line, name) in lines.iter_mut().zip(&classes) {
        line.note = Some(name.clone());
    }
    let report = Report {
        title: text(0),
        subtitle: text(1),
        epochs: lines,
        rates: classes
            .iter()
            .map(|name| RateLine {
                group: name.clone(),
                points: vec![(0.0, 1e-3), (10.0, 1e-4)],
            })
            .collect(),
        freezes: classes
            .iter()
            .map(|name| FreezeMark {
                epoch: 2.0,
                text: name.clone(),
            })
            .collect(),
        confusion: vec![vec![3; 10]; 10],
        mistakes: classes
            .iter()
            .map(|name| Mistake {
                image: image(9, 9, 3),
                truth: name.clone(),
                predicted: name.clone(),
                probability: 0.5,
            })
            .collect(),
        configuration: classes.join("\n"),
        environment: vec![(text(0), text(1)), (text(2), text(3))],
        summary: vec![(text(0), text(1)), (text(2), text(3))],
        classes: classes.clone(),
        ..Report::default()
    };
    // `Written` finds elements that nobody meant.
    let written = Written::new(&report);
    assert!(!written.page.contains("<script"));
    let page = Element::parse(&written.page);
    assert_eq!(page.all("h1")[0].text(), names[0]);
    assert_eq!(page.all("img").len(), 10);
    let rows = written.rows("classes", "classes");
    for (row, name) in rows.iter().zip(names).take(7) {
        assert_eq!(row[0].trim_end_matches(" weak"), name);
    }
    assert!(rows[7][0].starts_with("nul\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"));
    assert_eq!(rows[9][0].trim_end_matches(" weak"), "class 9");
    // In charts long names end early, and are whole in a tooltip.
    let matrix = written.chart("confusion.svg");
    assert!(matrix.contains(&format!("<title>{long}</title>")));
    assert!(!matrix.contains(&format!(">{long}</text>")));
}

#[test]
fn nothing_makes_a_page_without_pictures() {
    let written = Written::new(&Report::default());
    let files = fs::read_dir(written.dir.path().join("report"))
        .unwrap()
        .count();
    assert_eq!(files, 0);
    let page = Element::parse(&written.page);
    assert_eq!(page.all("h1")[0].text(), "Training report");
    for words in [
        "No epochs were recorded.",
        "No learning rates were recorded.",
        "No images were compared with their classes.",
        "No mistakes were kept.",
        "No configuration was recorded.",
    ] {
        assert!(written.page.contains(words), "{words}");
    }
}

#[test]
fn losses_that_are_no_numbers_leave_gaps() {
    let report = |bad: f64| {
        let mut epochs = epochs(9);
        epochs[3].train_loss = bad;
        Report {
            epochs,
            ..Report::default()
        }
    };
    let lines = |report: &Report| {
        let chart = Element::parse(&Written::new(report).chart("loss.svg"));
        let lines = chart.all("path").into_iter();
        let lines = lines.filter(|path| path.attribute("class") == "z-line z-c0");
        // The short one stands before the name.
        lines
            .filter(|path| !path.attribute("d").contains('h'))
            .count()
    };
    assert_eq!(lines(&report(0.4)), 1);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(lines(&report(bad)), 2, "{bad}");
    }
    let rows = Written::new(&report(f64::NAN)).rows("epochs", "epochs");
    assert_eq!(rows[3][1], "NaN");
}

#[test]
fn odd_runs_can_be_shown() {
    let finite = EpochLine {
        epoch: 1,
        train_loss: 0.5,
        valid_loss: 0.5,
        train_accuracy: 1.0,
        valid_accuracy: 1.0,
        ..EpochLine::default()
    };
    let nothing = EpochLine {
        train_loss: f64::NAN,
        valid_loss: f64::NAN,
        train_accuracy: f64::NAN,
        valid_accuracy: f64::NAN,
        ema_accuracy: Some(f64::NAN),
        seconds: f64::NAN,
        images_per_second: f64::INFINITY,
        ..finite.clone()
    };
    let huge = EpochLine {
        epoch: 2,
        train_loss: f64::MAX,
        valid_loss: f64::MIN,
        seconds: f64::MAX,
        ..finite.clone()
    };
    let tiny = EpochLine {
        epoch: usize::MAX,
        train_loss: 5e-324,
        valid_loss: 0.0,
        ..finite.clone()
    };
    for lines in [
        vec![finite.clone()],
        vec![nothing.clone()],
        vec![huge.clone()],
        vec![tiny.clone()],
        vec![nothing, huge, tiny],
    ] {
        Written::new(&Report {
            epochs: lines,
            ..Report::default()
        });
    }
    // Steps and rates without epochs, rates that are all zero, a single point.
    for points in [
        vec![],
        vec![(0.0, 0.0)],
        vec![(0.0, 0.0), (1.0, 0.0)],
        vec![(0.0, f64::NAN), (0.5, f64::INFINITY), (1.0, -1.0)],
        vec![(3.0, f64::MIN_POSITIVE), (3.0, f64::MAX)],
    ] {
        Written::new(&Report {
            rates: vec![RateLine {
                group: owned("head"),
                points,
            }],
            steps: [f64::NAN, 0.3, f64::INFINITY]
                .map(|loss| StepLine { epoch: 0.5, loss })
                .to_vec(),
            freezes: vec![FreezeMark {
                epoch: 1e300,
                text: owned("never"),
            }],
            ..Report::default()
        });
    }
}

#[test]
fn classes_without_images_have_no_shares() {
    let written = Written::new(&Report {
        classes: ["a", "b", "c"].map(owned).to_vec(),
        confusion: vec![vec![4, 0, 1], vec![0, 0, 0], vec![0, 0, 5]],
        ..Report::default()
    });
    let rows = written.rows("classes", "classes");
    assert_eq!(
        rows[0],
        ["a weak", "5", "100.0", "80.0", "88.9", "c 1 (20.0 %)"]
    );
    assert_eq!(rows[1], ["b", "0", "–", "–", "–", "–"]);
    assert!(written.chart("confusion.svg").contains("no images"));
    // Without any images there is no matrix.
    let written = Written::new(&Report {
        classes: ["a", "b"].map(owned).to_vec(),
        confusion: vec![vec![0; 2]; 2],
        ..Report::default()
    });
    assert!(!written.picture("confusion.svg").exists());
}

#[test]
fn long_runs_and_many_steps_stay_small() {
    let rates = (0..14).map(|group| RateLine {
        group: format!("blocks.{group}"),
        points: (0..20_000)
            .map(|step| {
                let epoch = f64::from(step) / 20.0;
                let cosine = 1.0 + (std::f64::consts::PI * epoch / 1000.0).cos();
                (epoch, 1e-3 * 0.7_f64.powi(group) * cosine)
            })
            .collect(),
    });
    let steps = (0..200_000).map(|step| StepLine {
        epoch: f64::from(step) / 200.0,
        loss: f64::from(step * 31 % 977) / 977.0,
    });
    let written = Written::new(&Report {
        epochs: epochs(1000),
        rates: rates.collect(),
        steps: steps.collect(),
        ..Report::default()
    });
    assert_eq!(written.rows("epochs", "epochs").len(), 1000);
    assert!(written.page.len() < 600_000, "{}", written.page.len());
    let rates = written.chart("rates.svg");
    for group in 0..14 {
        assert!(rates.contains(&format!(">blocks.{group}<tspan")));
    }
}

#[test]
fn hundreds_of_classes_become_a_heat_map() {
    for classes in [31, 300, 1500] {
        let mut confusion = vec![vec![0; classes]; classes];
        for (class, row) in confusion.iter_mut().enumerate() {
            row[class] = 40;
            row[class * 7 % classes] += 1 + class % 9;
        }
        let written = Written::new(&Report {
            classes: (0..classes).map(|class| format!("class {class}")).collect(),
            confusion: confusion.clone(),
            ..Report::default()
        });
        assert!(written.page.len() < 2_000_000, "{}", written.page.len());
        let chart = Element::parse(&written.chart("confusion.svg"));
        let data = chart.all("image")[0].attribute("href");
        let data = data.strip_prefix("data:image/png;base64,").unwrap();
        let map = Image::decode(&decode_base64(data), "map").unwrap();
        let block = if classes == 1500 { 3 } else { 1 };
        assert_eq!(
            (map.height(), map.width()),
            (classes / block, classes / block)
        );
        // Blue where images were recognised, vermillion where they were mistaken.
        let pixel = |row: usize, column: usize| {
            let at = (row / block * map.width() + column / block) * 3;
            [map.pixels()[at], map.pixels()[at + 1], map.pixels()[at + 2]]
        };
        assert_eq!(pixel(classes - 1, classes - 1), [0x00, 0x72, 0xb2]);
        assert_eq!(pixel(4, 28), [0xd5, 0x5e, 0x00]);
        assert_eq!(pixel(4, 14), [0, 0, 0]);

        let rows = written.rows("confusion", "confusions");
        assert_eq!(rows.len(), 20);
        let mut counts: Vec<usize> = (0..classes)
            .filter(|class| class * 7 % classes != *class)
            .map(|class| 1 + class % 9)
            .collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let shown: Vec<String> = rows.iter().map(|row| row[2].clone()).collect();
        let expected: Vec<String> = counts[..20].iter().map(usize::to_string).collect();
        assert_eq!(shown, expected);
        let page = Element::parse(&written.page);
        let rows = page
            .all("table")
            .iter()
            .map(|t| t.all("tbody")[0].all("tr").len())
            .max();
        assert_eq!(rows, Some(classes));
    }
}

#[test]
fn thirty_classes_still_have_numbers() {
    let report = |classes: usize| Report {
        classes: (0..classes).map(|class| format!("class {class}")).collect(),
        confusion: vec![vec![123_456; classes]; classes],
        ..Report::default()
    };
    for classes in [1, 2, 30] {
        let chart = Written::new(&report(classes)).chart("confusion.svg");
        assert_eq!(chart.matches(">123k").count(), classes * classes);
    }
    assert!(
        !Written::new(&report(31))
            .chart("confusion.svg")
            .contains("123k")
    );
}

/// Whatever a page cuts, thins out or leaves out is told on it.
#[test]
fn what_is_left_out_is_told() {
    let page = |report: &Report| Element::parse(&Written::new(report).page).text();
    let told = |report: &Report, words: &[&str]| {
        let page = page(report);
        for words in words {
            assert!(page.contains(words), "{words}");
        }
    };
    // Kinds of mistakes, and mistakes of which only the surest were kept.
    let mut confusion = vec![vec![1; 40]; 40];
    confusion[0][1] = 3;
    told(
        &Report {
            classes: (0..40).map(|class| format!("class {class}")).collect(),
            confusion,
            mistakes: vec![Mistake {
                image: image(8, 8, 1),
                truth: owned("a"),
                predicted: owned("b"),
                probability: 0.5,
            }],
            ..Report::default()
        },
        &[
            "20 of 1,560 kinds",
            "The 1 mistakes of 1,562 that the model was surest of",
            "written out for up to 30 classes",
        ],
    );
    // Fields of the heat map that stand for several classes.
    let mut confusion = vec![vec![0; 1500]; 1500];
    confusion[0][0] = 1;
    told(
        &Report {
            classes: (0..1500).map(|class| format!("class {class}")).collect(),
            confusion,
            ..Report::default()
        },
        &["A field stands for 3 by 3 classes"],
    );
    // So many classes that no matrix is kept.
    told(
        &Report {
            classes: (0..2001).map(|class| format!("class {class}")).collect(),
            ..Report::default()
        },
        &["There are 2,001 classes; a confusion matrix is kept of up to 2,000."],
    );
    // Epochs that cannot be pointed at, values that cannot be drawn.
    let mut lines = epochs(600);
    lines[3].train_loss = f64::NAN;
    told(
        &Report {
            epochs: lines,
            steps: [f64::NAN, 0.3, f64::INFINITY, 0.4]
                .map(|loss| StepLine { epoch: 0.5, loss })
                .to_vec(),
            ..Report::default()
        },
        &[
            "one epoch in 3",
            "(1) leave gaps",
            "2 of 4 are no finite numbers",
        ],
    );
}
