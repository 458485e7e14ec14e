//! Images with numbers.

use super::labelled_folder::{Dir, contains};
use super::tables::{error, evaluate, of_task, open, targets, told, unseen, with_columns};
use crate::data::{CsvOptions, FolderOptions, ImageData, ImageFolder, Target, Task};

fn options() -> FolderOptions {
    of_task(Task::Regression)
}

fn in_column(column: &str) -> FolderOptions {
    FolderOptions {
        csv: CsvOptions {
            label_column: Some(column.to_owned()),
            ..CsvOptions::default()
        },
        ..options()
    }
}

fn image(path: &str, values: &[f32]) -> (String, Target) {
    (path.to_owned(), Target::Values(values.to_vec()))
}

const TWO: &str = "path,x,y,split\n\
    cat/0.png,1,-0.5,train\n\
    cat/1.png,2.5,1e2,train\n\
    cat/2.png,+4,.5,train\n\
    dog/0.png,3,0,val\n";

#[test]
fn numbers_are_in_columns() {
    let dir = Dir::new();
    let splits = open(&dir, TWO, &with_columns(options(), &["y", "x"]));
    assert_eq!(splits.train.task(), Task::Regression);
    assert_eq!(splits.train.classes(), ["y", "x"]);
    assert_eq!(
        targets(&dir, &splits.train),
        [
            image("cat/0.png", &[-0.5, 1.0]),
            image("cat/1.png", &[100.0, 2.5]),
            image("cat/2.png", &[0.5, 4.0]),
        ]
    );
    assert_eq!(
        targets(&dir, &splits.valid),
        [image("dog/0.png", &[0.0, 3.0])]
    );
    assert_eq!(splits.train.label(0), None);
    assert_eq!(
        splits.report.to_string(),
        "2 numbers for each image, 3 training and 1 validation images, as the column `split` says"
    );
    contains(
        &told(&dir, &splits),
        &[
            "numbers in columns `y`, `x`",
            "3 training images: `y` -0.5 to 100 (mean 33.33), `x` 1 to 4 (mean 2.5)",
        ],
    );
    // Without a header.
    let bare = "cat/0.png,1,2\ncat/1.png,3,4\ncat/2.png,5,6\n";
    let splits = open(&dir, bare, &with_columns(options(), &["1", "2"]));
    assert_eq!(splits.train.classes(), ["1", "2"]);
}

#[test]
fn a_number_is_in_the_column_that_alone_can_be_meant() {
    let dir = Dir::new();
    let content = "path,age\ncat/0.png,3\ncat/1.png,4\ncat/2.png,5\n";
    for options in [
        options(),
        in_column("age"),
        with_columns(options(), &["Age"]),
    ] {
        let splits = open(&dir, content, &options);
        assert_eq!(splits.train.classes(), ["age"]);
        contains(
            &splits.report.to_string(),
            &["a number for each image, 2 training and 1"],
        );
    }
    let splits = open(&dir, content, &options());
    contains(
        &told(&dir, &splits),
        &["`age` is taken for numbers", "--csv-label-column"],
    );
    let text = error(&dir, TWO, &options());
    let flags = [
        "a column of numbers",
        "\"x\", \"y\"",
        "--csv-label-column",
        "--csv-label-columns",
    ];
    contains(&text, &flags);
    contains(
        &error(&dir, content, &in_column("height")),
        &["--csv-label-column", "\"height\""],
    );
}

#[test]
fn what_is_no_number() {
    let dir = Dir::new();
    for (field, found) in [
        ("old", "\"old\""),
        ("nan", "\"nan\""),
        ("inf", "\"inf\""),
        ("-Infinity", "\"-Infinity\""),
        ("1e40", "\"1e40\""),
        ("1_000", "\"1_000\""),
        ("0x10", "\"0x10\""),
        ("3 4", "\"3 4\""),
        ("", "an empty field"),
        ("\"1,234.5\"", "\"1,234.5\""),
    ] {
        let content = format!("path,age\ncat/0.png,3\ncat/1.png,{field}\n");
        let text = error(&dir, &content, &options());
        contains(
            &text,
            &["DIR/l.csv", "a number in the column `age` in line 3", found],
        );
    }
    let content = "path;age\ncat/0.png;3\ncat/1.png;3,5\n";
    let text = error(&dir, content, &options());
    contains(&text, &["in line 3", "\"3,5\", a decimal comma; write 3.5"]);
}

#[test]
fn an_image_may_be_named_again_with_the_same_numbers() {
    let dir = Dir::new();
    let content = "path,age\ncat/0.png,3\ncat/1.png,4\ncat/2.png,5\ncat/0.png,3.0\n";
    let splits = open(&dir, content, &options());
    assert_eq!(splits.train.len() + splits.valid.len(), 4);
    assert_eq!(splits.report.csv.as_ref().unwrap().repeated, 1);
    for images in [&splits.train, &splits.valid] {
        let same = targets(&dir, images).into_iter();
        assert_ne!(same.filter(|(path, _)| path == "cat/0.png").count(), 1);
    }
    let text = error(
        &dir,
        &(content.to_owned() + "./cat/1.png,4.5\n"),
        &options(),
    );
    let parts = [
        "the number 4 for \"cat/1.png\" in line 6, as in line 3",
        "the number 4.5",
    ];
    contains(&text, &parts);
}

#[test]
fn a_folder_has_no_numbers() {
    let dir = Dir::new();
    let error = ImageFolder::open_with(&dir.path, &options()).unwrap_err();
    contains(
        &error.to_string(),
        &["a CSV file", "regression", "a folder"],
    );
}

#[test]
fn a_number_that_never_changes_is_told() {
    let dir = Dir::new();
    let content = "path,age\ncat/0.png,3\ncat/1.png,3\ncat/2.png,3\n";
    let splits = open(&dir, content, &options());
    contains(
        &told(&dir, &splits),
        &["warning: the number `age` is the same for all"],
    );
    let one = error(&dir, "path,age\ncat/0.png,3\n", &options());
    contains(&one, &["two images or more", "one"]);
}

#[test]
fn numbers_of_a_model_are_matched_by_name() {
    let dir = Dir::new();
    // Columns that are called as the model's numbers need no word.
    let whole = TWO.replace("val", "train");
    let set = evaluate(&dir, &whole, &options(), &["y", "x"]).unwrap();
    assert_eq!(set.images.classes(), ["y", "x"]);
    assert_eq!(
        targets(&dir, &set.images)[1],
        image("cat/1.png", &[100.0, 2.5])
    );
    let columns = with_columns(options(), &["x", "y"]);
    let set = evaluate(&dir, &whole, &columns, &["y", "x"]).unwrap();
    assert_eq!(
        targets(&dir, &set.images)[1],
        image("cat/1.png", &[100.0, 2.5])
    );
    let set = evaluate(&dir, &whole, &columns, &[]).unwrap();
    assert_eq!(
        targets(&dir, &set.images)[1],
        image("cat/1.png", &[2.5, 100.0])
    );
    assert!(set.missing.is_empty());
    let one = with_columns(options(), &["x"]);
    let text = evaluate(&dir, &whole, &one, &["x", "y"]).unwrap_err();
    contains(&text, &["the model's numbers (`x`, `y`)", "found `x`"]);
    let text = evaluate(&dir, &whole, &columns, &["y"]).unwrap_err();
    contains(&text, &["the model's numbers alone (`y`)", "`x`"]);
}

#[test]
fn images_are_divided_by_seed_whatever_their_order() {
    let dir = Dir::new();
    let options = unseen(options());
    let lines: Vec<String> = (0..100)
        .map(|image| format!("{image}.png,{image}\n"))
        .collect();
    let splits = open(&dir, &format!("path,age\n{}", lines.concat()), &options);
    assert_eq!((splits.train.len(), splits.valid.len()), (80, 20));
    let reversed: String = lines.iter().rev().map(String::as_str).collect();
    let other = open(&dir, &format!("path,age\n{reversed}"), &options);
    let sorted = |images: &ImageFolder| {
        let mut images = targets(&dir, images);
        images.sort_by(|a, b| a.0.cmp(&b.0));
        images
    };
    assert_eq!(sorted(&splits.valid), sorted(&other.valid));
    assert_eq!(splits.train.subset(7, 1).len(), 7);
}

#[test]
fn a_fingerprint_tells_numbers() {
    let dir = Dir::new();
    let of = |content: &str| {
        let options = with_columns(options(), &["x", "y"]);
        open(&dir, content, &options).train.fingerprint().unwrap()
    };
    assert_eq!(of(TWO), of(TWO));
    assert_ne!(of(TWO), of(&TWO.replace("1e2", "1e3")));
}

#[test]
fn numbers_that_32_bits_cannot_tell_apart_are_refused() {
    let dir = Dir::new();
    let at = |values: [&str; 4]| {
        let images = ["cat/0.png", "cat/1.png", "cat/2.png", "cat/3.png"];
        let lines = images
            .iter()
            .zip(values)
            .map(|(path, value)| format!("{path},{value}\n"));
        format!("path,value\n{}", lines.collect::<String>())
    };
    let seconds = at(["1700000001", "1700000006", "1700000011", "1700000016"]);
    let text = error(&dir, &seconds, &options());
    contains(
        &text,
        &[
            "DIR/l.csv",
            "`value`",
            "difference to 1700000001",
            "in line 5",
            "which becomes 1700000000",
        ],
    );
    // Dates of some years, and what is rounded by a hair.
    for values in [
        ["19990101", "20240115", "20240116", "20111231"],
        ["0.1", "0.2", "0.3", "1e-9"],
    ] {
        open(&dir, &at(values), &options());
    }
}
