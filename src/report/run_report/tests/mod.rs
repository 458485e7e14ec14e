//! The page and the pictures of a report: their structure, their numbers, and what becomes of odd
//! data.

mod figures;
mod markup;
mod odd;
#[cfg(feature = "fashion-mnist-mini")]
mod of_run;
mod written;

use std::fs;
use std::path::Path;

use crate::Error;
use crate::preprocess::Image;
use crate::report::run_report::contents::{
    EpochLine, FreezeMark, Mistake, RateLine, Report, StepLine,
};

use markup::Element;
use written::{CHARTS, Written, epochs, image, mistake_pictures, owned};

/// The confusion of a small convolutional network on FashionMNIST's test images.
const CONFUSION: [[usize; 10]; 10] = [
    [883, 0, 15, 7, 3, 1, 86, 0, 5, 0],
    [0, 988, 0, 8, 0, 0, 2, 0, 2, 0],
    [16, 1, 891, 8, 43, 0, 41, 0, 0, 0],
    [10, 2, 10, 930, 23, 0, 25, 0, 0, 0],
    [1, 0, 48, 21, 891, 0, 39, 0, 0, 0],
    [0, 0, 0, 0, 0, 984, 0, 11, 0, 5],
    [96, 2, 55, 23, 60, 0, 758, 0, 6, 0],
    [0, 0, 0, 0, 0, 12, 0, 970, 0, 18],
    [2, 1, 1, 5, 1, 2, 1, 1, 986, 0],
    [0, 0, 0, 0, 0, 3, 1, 33, 0, 963],
];

/// Precision, recall and F1 of each class and their means, in per cent, by scikit-learn 1.9.1's
/// `precision_recall_fscore_support`.
const SCIKIT_LEARN: [[f64; 3]; 11] = [
    [87.5992, 88.3000, 87.9482],
    [99.3964, 98.8000, 99.0973],
    [87.3529, 89.1000, 88.2178],
    [92.8144, 93.0000, 92.9071],
    [87.2674, 89.1000, 88.1742],
    [98.2036, 98.4000, 98.3017],
    [79.5383, 75.8000, 77.6242],
    [95.5665, 97.0000, 96.2779],
    [98.6987, 98.6000, 98.6493],
    [97.6673, 96.3000, 96.9789],
    [92.4105, 92.4400, 92.4177],
];

const CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// A run with gradual unfreezing.
fn sample() -> Report {
    let groups = ["stem", "layer1", "layer2", "layer3", "layer4", "head"];
    let joins = |group: usize| (5 - group) as f64;
    let rates = groups.iter().enumerate().map(|(group, name)| RateLine {
        group: owned(name),
        points: (0..900)
            .map(|step| f64::from(step) / 100.0)
            .map(|epoch| match epoch < joins(group) {
                true => (epoch, 0.0),
                false => (epoch, 1e-3 * 0.4_f64.powf(joins(group))),
            })
            .collect(),
    });
    let freezes = groups.iter().enumerate().map(|(group, name)| FreezeMark {
        epoch: joins(group),
        text: format!("{name} joins"),
    });
    let steps = (0..9000).map(|step| StepLine {
        epoch: f64::from(step) / 1000.0,
        loss: 0.3 + 2.0 / (1.0 + f64::from(step)) + f64::from(step * 7919 % 101) / 500.0,
    });
    let mut epochs = epochs(9);
    // Of equals the earlier is the best.
    epochs[6].valid_accuracy = 0.9712;
    epochs[7].valid_accuracy = 0.9712;
    epochs[1].note = Some(owned("layer4 joins"));
    for line in &mut epochs {
        line.ema_accuracy = Some(line.valid_accuracy - 0.01);
    }
    Report {
        judged: None,
        title: owned("resnet18 on FashionMNIST"),
        subtitle: owned("gradual unfreezing"),
        epochs,
        rates: rates.collect(),
        freezes: freezes.collect(),
        steps: steps.collect(),
        classes: CLASSES.map(owned).to_vec(),
        confusion: CONFUSION.map(|row| row.to_vec()).to_vec(),
        mistakes: [0.7, 0.99, f64::NAN, 0.8]
            .map(|probability| Mistake {
                image: image(28, 28, 1),
                truth: owned("Shirt"),
                predicted: owned("Coat"),
                probability,
            })
            .to_vec(),
        configuration: owned("[recipe]\nepochs = 9\n# nine of them\n"),
        environment: vec![(owned("Device"), owned("Cpu"))],
        summary: vec![(owned("Best accuracy"), owned("97.12 %"))],
    }
}

#[test]
fn a_run_becomes_a_page_and_pictures() {
    let written = Written::new(&sample());
    let page = Element::parse(&written.page);
    assert_eq!(page.all("h1")[0].text(), "resnet18 on FashionMNIST");
    assert_eq!(page.all("title")[0].text(), "resnet18 on FashionMNIST");
    assert!(page.all("dl")[0].text().contains("97.12 %"));
    assert!(
        page.all("pre")[0]
            .text()
            .contains("[recipe]\nepochs = 9\n# nine of them")
    );
    assert!(!written.page.contains("http://") && !written.page.contains("https://"));
    assert!(written.page.contains("default-src 'none'"));
    assert!(written.page.len() < 400_000, "{}", written.page.len());
    assert_eq!(page.all("svg").len(), 4);
    for name in CHARTS {
        assert!(written.picture(name).exists(), "{name}");
    }
    let rates = written.chart("rates.svg");
    for group in ["stem", "layer1", "layer2", "layer3", "layer4", "head"] {
        assert!(rates.contains(&format!(">{group} joins</text>")), "{group}");
        assert!(rates.contains(&format!(">{group}<tspan")), "{group}");
    }
    for rate in ["1e-3", "4e-4", "1.02e-5"] {
        assert!(rates.contains(&format!("to {rate}</tspan>")), "{rate}");
    }
}

#[test]
fn epochs_are_listed_and_the_best_is_marked() {
    let written = Written::new(&sample());
    let rows = written.rows("epochs", "epochs");
    assert_eq!(rows.len(), 9);
    let first = [
        "1", "1.1000", "1.3000", "50.00", "40.00", "39.00", "61.5 s", "1,234", "",
    ];
    assert_eq!(rows[0], first);
    assert_eq!(rows[1][8], "layer4 joins");
    let marked: Vec<&str> = rows
        .iter()
        .map(|row| row[0].as_str())
        .filter(|text| text.contains("best"))
        .collect();
    assert_eq!(marked, ["7 best"]);
}

#[test]
fn the_scores_of_classes_are_scikit_learns() {
    let written = Written::new(&sample());
    let rows = written.rows("classes", "classes");
    assert_eq!(rows.len(), 10);
    for (class, row) in rows.iter().enumerate() {
        let name = row[0].trim_end_matches(" weak");
        assert_eq!(name, CLASSES[class]);
        assert_eq!(row[1], "1,000");
        let [precision, recall, f1] = SCIKIT_LEARN[class].map(|value| format!("{value:.1}"));
        assert_eq!(row[2..5], [precision, recall, f1], "{name}");
    }
    let page = Element::parse(&written.page);
    let foot = page.all("tfoot")[0];
    let means: Vec<String> = foot.all("td").iter().map(|cell| cell.text()).collect();
    let [precision, recall, f1] = SCIKIT_LEARN[10].map(|value| format!("{value:.1}"));
    assert_eq!(means[..4], [owned("10,000"), precision, recall, f1]);
    assert!(
        written
            .page
            .contains("<strong>92.44 %</strong> were recognised")
    );

    let column = |index: usize| rows.iter().map(move |row| row[index].as_str());
    let weak: Vec<&str> = column(0).filter(|name| name.ends_with("weak")).collect();
    assert_eq!(weak, ["T-shirt/top weak", "Shirt weak"]);
    assert_eq!(rows[6][5], "T-shirt/top 96 (9.6 %)");
    assert_eq!(rows[9][5], "Sneaker 33 (3.3 %)");
}

#[test]
fn numbers_of_the_matrix_are_its_counts() {
    let written = Written::new(&sample());
    let counts = written.rows("confusion", "counts");
    for (row, expected) in counts.iter().zip(CONFUSION) {
        assert_eq!(row[1..], expected.map(|count| count.to_string()));
    }
    let chart = Element::parse(&written.chart("confusion.svg"));
    let mut shown: Vec<usize> = chart
        .all("text")
        .iter()
        .filter(|text| text.attribute("class").starts_with("z-number"))
        .map(|text| text.text().trim().parse().unwrap())
        .collect();
    let mut expected: Vec<usize> = CONFUSION.iter().flatten().copied().collect();
    expected.retain(|count| *count > 0);
    shown.sort_unstable();
    expected.sort_unstable();
    assert_eq!(shown, expected);
    assert!(
        written
            .page
            .contains("Shirt\u{2069} taken for \u{2068}T-shirt/top\u{2069}: 96 of 1,000")
    );

    let confusions = written.rows("confusion", "confusions");
    assert_eq!(confusions.len(), 10);
    assert_eq!(confusions[0], ["Shirt", "T-shirt/top", "96", "9.6"]);
    assert_eq!(confusions[1], ["T-shirt/top", "Shirt", "86", "8.6"]);
    assert_eq!(confusions[9], ["Dress", "Shirt", "25", "2.5"]);
}

#[test]
fn mistakes_are_shown_from_the_surest() {
    let mut report = sample();
    for (index, mistake) in report.mistakes.iter_mut().enumerate() {
        mistake.image = Image::new(28, 28, 1, vec![index as u8; 28 * 28]).unwrap();
    }
    let written = Written::new(&report);
    let page = Element::parse(&written.page);
    let captions: Vec<String> = page.all("li").iter().map(|li| li.text()).collect();
    let captions: Vec<&String> = captions
        .iter()
        .filter(|text| text.contains("is "))
        .collect();
    let parts = ["99.0 %", "80.0 %", "70.0 %", "NaN"];
    assert_eq!(captions.len(), parts.len());
    for (caption, part) in captions.iter().zip(parts) {
        assert_eq!(**caption, format!("Coat {part}is Shirt"));
    }
    let pictures = mistake_pictures(&written.page);
    let shades: Vec<u8> = pictures.iter().map(|image| image.pixels()[0]).collect();
    assert_eq!(shades, [1, 3, 0, 2]);
    assert!(
        page.all("img")
            .iter()
            .all(|img| img.attribute("class") == "enlarged")
    );

    // The sheet has the same pictures, enlarged five times.
    let sheet = Image::open(written.picture("mistakes.png")).unwrap();
    assert_eq!((sheet.height(), sheet.width()), (8 + 168, 8 + 4 * 168));
    let middle = |place: usize| sheet.pixels()[(88 * sheet.width() + 88 + place * 168) * 3];
    assert_eq!([0, 1, 2, 3].map(middle), [1, 3, 0, 2]);
}

#[test]
fn pictures_of_an_earlier_report_go() {
    let written = Written::new(&sample());
    let mut later = sample();
    later.mistakes.clear();
    later.rates.clear();
    later.write(written.dir.path()).unwrap();
    assert!(!written.picture("mistakes.png").exists());
    assert!(!written.picture("rates.svg").exists());
    assert!(written.picture("loss.svg").exists());
}

#[test]
fn what_does_not_fit_is_refused() {
    let refused = |report: Report, expected: &str| {
        let error = report.check().unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }));
        assert_eq!(error.to_string(), expected);
        let dir = tempfile::tempdir().unwrap();
        assert!(report.write(dir.path()).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    };
    refused(
        Report {
            classes: vec![owned("a"), owned("b")],
            confusion: vec![vec![1, 2], vec![3]],
            ..Report::default()
        },
        "confusion: expected 2 rows of 2 counts, as there are classes, found 1 in a row or column",
    );
    refused(
        Report {
            confusion: vec![vec![1]],
            ..Report::default()
        },
        "confusion: expected 0 rows of 0 counts, as there are classes, found 1 in a row or column",
    );
    refused(
        Report {
            epochs: vec![EpochLine::default()],
            ..Report::default()
        },
        "epochs: expected a count from 1, found 0",
    );
    let mut twice = epochs(2);
    twice[0].epoch = 2;
    refused(
        Report {
            epochs: twice,
            ..Report::default()
        },
        "epochs: expected ascending order, found 2 before 2",
    );
    let step = |epoch: f64| StepLine { epoch, loss: 1.0 };
    for (positions, found) in [
        ([2.0, 1.0], "1 after 2"),
        ([f64::NAN, 1.0], "NaN after 0"),
        ([-1.0, 1.0], "-1 after 0"),
        ([0.0, f64::INFINITY], "inf after 0"),
    ] {
        refused(
            Report {
                steps: positions.map(step).to_vec(),
                ..Report::default()
            },
            &format!(
                "steps: expected positions in epochs, from 0 in ascending order, found {found}"
            ),
        );
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let error = sample().write(&file).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert_eq!(fs::read_to_string(Path::new(&file)).unwrap(), "in the way");
}
