//! Images with several labels: in a column, in columns of their own, in rows, and by links.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use super::labelled_folder::{Dir, contains};
use super::tables::{error, evaluate, of_task, open, targets, told, unseen, with_columns};
use crate::data::{CsvOptions, FolderOptions, ImageData, ImageFolder, Target, Task};

fn options() -> FolderOptions {
    of_task(Task::MultiLabel)
}

fn divided_by(label_separator: char) -> FolderOptions {
    FolderOptions {
        csv: CsvOptions {
            label_separator,
            ..CsvOptions::default()
        },
        ..options()
    }
}

fn image(path: &str, classes: &[usize]) -> (String, Target) {
    (path.to_owned(), Target::Classes(classes.to_vec()))
}

const IN_A_COLUMN: &str = "path,labels,split\n\
    cat/0.png,cat|pet,train\n\
    cat/1.png, pet | cat ||cat,train\n\
    cat/2.png,,train\n\
    cat/3.png,\"cat|dog\",train\n\
    dog/0.png,dog,val\n\
    dog/1.png,,val\n";

#[test]
fn labels_are_in_a_column() {
    let dir = Dir::new();
    let with_mark = format!("\u{feff}{IN_A_COLUMN}");
    let with_semicolons = IN_A_COLUMN.replace('|', ";");
    for (content, options) in [
        (IN_A_COLUMN, options()),
        (with_mark.as_str(), options()),
        (with_semicolons.as_str(), divided_by(';')),
    ] {
        let splits = open(&dir, content, &options);
        assert_eq!(splits.train.task(), Task::MultiLabel);
        for images in [&splits.train, &splits.valid] {
            assert_eq!(images.classes(), ["cat", "dog", "pet"]);
        }
        assert_eq!(
            targets(&dir, &splits.train),
            [
                image("cat/0.png", &[0, 2]),
                image("cat/1.png", &[0, 2]),
                image("cat/2.png", &[]),
                image("cat/3.png", &[0, 1]),
            ]
        );
        assert_eq!(
            targets(&dir, &splits.valid),
            [image("dog/0.png", &[1]), image("dog/1.png", &[])]
        );
        assert_eq!(splits.train.label(0), None);
        assert_eq!(
            splits.report.to_string(),
            "3 labels, 4 training and 2 validation images, as the column `split` says"
        );
        contains(
            &told(&dir, &splits),
            &[
                "4 training images: 1.50 labels each on average, without label: 1; images of each \
                 label: `cat` 3, `pet` 2, `dog` 1",
                "there are no validation images of class `pet`",
            ],
        );
    }
    // With bars between the columns, the list is quoted or has something else between its labels.
    let bars = "path|labels\ncat/0.png|\"a|b\"\ncat/1.png|a\ncat/2.png|b\ncat/3.png|b\n";
    assert_eq!(open(&dir, bars, &options()).train.classes(), ["a", "b"]);
}

#[test]
fn labels_are_in_columns_of_their_own() {
    let dir = Dir::new();
    let content = "path,cat,dog,split\n\
        cat/0.png,1,0,train\n\
        cat/1.png,true,FALSE,train\n\
        dog/0.png,no,yes,train\n\
        dog/1.png,1.0,1.0,train\n\
        dog/2.png,,,train\n\
        dog/3.png,0,1,val\n";
    let splits = open(&dir, content, &with_columns(options(), &["dog", "cat"]));
    assert_eq!(splits.train.classes(), ["dog", "cat"]);
    assert_eq!(
        targets(&dir, &splits.train),
        [
            image("cat/0.png", &[1]),
            image("cat/1.png", &[1]),
            image("dog/0.png", &[0]),
            image("dog/1.png", &[0, 1]),
            image("dog/2.png", &[]),
        ]
    );
    contains(&told(&dir, &splits), &["labels in columns `dog`, `cat`"]);
    for [wrong, found] in [["2", "\"2\""], ["-1", "\"-1\""], ["0.5", "\"0.5\""]] {
        let content = content.replace("no,yes", &format!("{wrong},yes"));
        let text = error(&dir, &content, &with_columns(options(), &["cat", "dog"]));
        contains(&text, &["DIR/l.csv", "1 or 0", "`cat`", "in line 4", found]);
    }
    // Without a header.
    let bare = "cat/0.png,1,0\ncat/1.png,1,1\ndog/0.png,0,1\ndog/1.png,0,0\n";
    let splits = open(&dir, bare, &with_columns(options(), &["1", "2"]));
    assert_eq!(splits.train.classes(), ["1", "2"]);
}

#[test]
fn rows_of_an_image_are_joined() {
    let dir = Dir::new();
    let content = "path,label,split\n\
        cat/0.png,cat,train\n\
        dog/0.png,dog,train\n\
        ./cat/0.png,pet,train\n\
        cat/0.png,cat,train\n\
        dog/1.png,dog,val\n\
        dog/1.png,pet,val\n";
    let splits = open(&dir, content, &options());
    assert_eq!(
        targets(&dir, &splits.train),
        [image("cat/0.png", &[0, 2]), image("dog/0.png", &[1])]
    );
    assert_eq!(targets(&dir, &splits.valid), [image("dog/1.png", &[1, 2])]);
    let csv = splits.report.csv.as_ref().unwrap();
    assert_eq!((csv.joined, csv.repeated), (3, 0));
    contains(&told(&dir, &splits), &["whose labels are joined", ": 3"]);
}

#[test]
fn columns_that_do_not_go_with_the_task() {
    let dir = Dir::new();
    let columns = ["cat", "dog"];
    let text = error(
        &dir,
        IN_A_COLUMN,
        &with_columns(options(), &["fish", "cat"]),
    );
    contains(&text, &["--csv-label-columns", "DIR/l.csv", "\"fish\""]);
    let text = error(
        &dir,
        IN_A_COLUMN,
        &with_columns(of_task(Task::SingleLabel), &columns),
    );
    contains(
        &text,
        &["--csv-label-columns", "--task multi-label", "single-label"],
    );
    let mut both = with_columns(options(), &columns);
    both.csv.label_column = Some("labels".to_owned());
    let text = error(&dir, IN_A_COLUMN, &both);
    contains(
        &text,
        &["--csv-label-columns", "--csv-label-column", "both"],
    );
    let twice = with_columns(options(), &["labels", "LABELS"]);
    contains(
        &error(&dir, IN_A_COLUMN, &twice),
        &["--csv-label-columns", "each column once"],
    );
    let same = "path,x,x\ncat/0.png,1,0\n";
    let text = error(&dir, same, &with_columns(options(), &["1", "2"]));
    contains(
        &text,
        &["--csv-label-columns", "titles of their own", "\"x\""],
    );
    for separator in ['a', '7', '"', '\n'] {
        let text = error(&dir, IN_A_COLUMN, &divided_by(separator));
        contains(&text, &["--csv-label-separator", &format!("{separator:?}")]);
    }
    let unused = FolderOptions {
        task: Task::SingleLabel,
        ..divided_by(';')
    };
    contains(
        &error(&dir, IN_A_COLUMN, &unused),
        &["--csv-label-separator", "multi-label"],
    );
    let several = "path,a,b\ncat/0.png,1,0\ncat/1.png,0,1\n";
    let text = error(&dir, several, &options());
    contains(
        &text,
        &["a column of labels", "\"a\", \"b\"", "--csv-label-columns"],
    );
}

#[test]
fn labels_that_cannot_be_learnt() {
    let dir = Dir::new();
    let of_validation = IN_A_COLUMN.replace("dog/1.png,", "dog/1.png,fish");
    let text = error(&dir, &of_validation, &options());
    contains(
        &text,
        &["DIR/l.csv", "training images in line 7", "\"fish\""],
    );
    let one = "path,labels\ncat/0.png,cat\ncat/1.png,cat\ncat/2.png,cat\n";
    let text = error(&dir, one, &options());
    contains(
        &text,
        &[
            "DIR/l.csv",
            "two labels or more",
            "`cat`, which every image has",
        ],
    );
    let none = "path,labels\ncat/0.png,\ncat/1.png,|\n";
    contains(
        &error(&dir, none, &options()),
        &["two labels or more", "none"],
    );
    // There are images without the label.
    let splits = open(
        &dir,
        &(one.to_owned() + "dog/0.png,\ndog/1.png,\n"),
        &options(),
    );
    assert_eq!(splits.train.classes(), ["cat"]);
    let never = "path,cat,dog\ncat/0.png,1,0\ncat/1.png,0,0\ncat/2.png,1,0\n";
    let text = error(&dir, never, &with_columns(options(), &["cat", "dog"]));
    contains(&text, &["every class", "none of `dog`", "columns"]);
}

#[test]
fn another_separator_is_suspected() {
    let dir = Dir::new();
    let content = "path,labels\ncat/0.png,a;b\ncat/1.png,b;c\ncat/2.png,a;c\ncat/3.png,a\n";
    let splits = open(&dir, &format!("{content}cat/4.png,a;b\n"), &options());
    contains(
        &told(&dir, &splits),
        &["look like several", "--csv-label-separator"],
    );
}

/// A table of 100 images: all have `a`, every tenth has `b`, two have `c`, and the last ten have none.
fn hundred() -> Vec<String> {
    let line = |image: usize| {
        let mut labels = "a".to_owned();
        if image.is_multiple_of(10) {
            labels.push_str("|b");
        }
        if [7, 33].contains(&image) {
            labels.push_str("|c");
        }
        if image >= 90 {
            labels.clear();
        }
        format!("{image}.png,{labels}\n")
    };
    (0..100).map(line).collect()
}

#[test]
fn each_label_comes_into_both_parts() {
    let dir = Dir::new();
    let options = unseen(options());
    let lines = hundred();
    let set = |images: &ImageFolder| -> BTreeSet<String> {
        let images = targets(&dir, images).into_iter();
        images.map(|(path, _)| path).collect()
    };
    let forward = open(&dir, &format!("path,labels\n{}", lines.concat()), &options);
    let reversed: String = lines.iter().rev().map(String::as_str).collect();
    let backward = open(&dir, &format!("path,labels\n{reversed}"), &options);
    assert_eq!(set(&forward.valid), set(&backward.valid));
    assert_eq!(forward.train.len() + forward.valid.len(), 100);
    let counts: Vec<_> = forward
        .report
        .classes
        .iter()
        .map(|class| class.images)
        .collect();
    assert_eq!(
        counts.iter().map(|c| c.valid).collect::<Vec<_>>(),
        [18, 2, 1]
    );
    assert_eq!(
        counts.iter().map(|c| c.train).collect::<Vec<_>>(),
        [72, 7, 1]
    );
    assert_eq!(forward.valid.len(), 20);
    let other = FolderOptions { seed: 7, ..options };
    let other = open(&dir, &format!("path,labels\n{}", lines.concat()), &other);
    assert_ne!(set(&forward.valid), set(&other.valid));

    let some = forward.train.subset(16, 3);
    assert_eq!((some.len(), some.task()), (16, Task::MultiLabel));
    assert_eq!(some.classes(), forward.train.classes());
    let without = targets(&dir, &some).into_iter();
    let without = without.filter(|(_, target)| *target == Target::Classes(Vec::new()));
    assert_eq!(without.count(), 2);
}

#[test]
fn labels_of_a_model_are_matched_by_name() {
    let dir = Dir::new();
    let content = "path,labels\ncat/0.png,cat|pet\ndog/0.png,pet\ndog/1.png,\n";
    let set = evaluate(&dir, content, &options(), &["pet", "fish", "cat"]).unwrap();
    assert_eq!(
        targets(&dir, &set.images),
        [
            image("cat/0.png", &[0, 2]),
            image("dog/0.png", &[0]),
            image("dog/1.png", &[])
        ]
    );
    assert_eq!(set.missing, ["fish"]);
    assert_eq!(set.report.to_string(), "3 labels, 3 images, undivided");
    let text = evaluate(&dir, content, &options(), &["cat", "dog"]).unwrap_err();
    contains(&text, &["DIR/l.csv", "the model's classes alone", "`pet`"]);
    // Columns that are called as the model's labels need no word.
    let content = "path,cat,pet\ncat/0.png,1,0\ndog/0.png,0,0\n";
    let set = evaluate(&dir, content, &options(), &["pet", "cat"]).unwrap();
    assert_eq!(
        targets(&dir, &set.images),
        [image("cat/0.png", &[1]), image("dog/0.png", &[])]
    );
}

#[test]
fn a_fingerprint_tells_labels() {
    let dir = Dir::new();
    let of = |content: &str| open(&dir, content, &options()).train.fingerprint().unwrap();
    let other = IN_A_COLUMN.replace("cat/2.png,", "cat/2.png,pet");
    assert_eq!(of(IN_A_COLUMN), of(IN_A_COLUMN));
    assert_ne!(of(IN_A_COLUMN), of(&other));
}

fn folder(dir: &Dir) -> Result<crate::data::Splits, String> {
    let opened = ImageFolder::open_with(&dir.path, &options());
    opened.map_err(|error| {
        error
            .to_string()
            .replace(&dir.path.display().to_string(), "DIR")
    })
}

#[test]
fn copies_are_images_of_their_own_and_told() {
    let dir = Dir::new();
    let splits = folder(&dir).unwrap();
    assert_eq!(splits.train.len() + splits.valid.len(), 12);
    let parts = ["DIR/dog/0.png: a copy of DIR/cat/0.png", "CSV"];
    contains(&told(&dir, &splits), &parts);
    for image in 0..6_u8 {
        fs::write(dir.path.join(format!("dog/{image}.png")), [image; 30]).unwrap();
    }
    let unchecked = ImageFolder::open_with(&dir.path, &unseen(options())).unwrap();
    assert!(!told(&dir, &unchecked).contains("a copy of"));
}

#[cfg(unix)]
#[test]
fn links_give_an_image_several_labels() {
    use std::os::unix::fs::symlink;

    let dir = Dir::new();
    let at = |path: &str| dir.path.join(path);
    fs::create_dir(at("pet")).unwrap();
    symlink("../cat/0.png", at("dog/9.png")).unwrap();
    symlink("../cat/2.png", at("pet/2.png")).unwrap();
    fs::hard_link(at("cat/0.png"), at("pet/0.png")).unwrap();
    fs::hard_link(at("dog/1.png"), at("pet/1.png")).unwrap();
    // Again in the same class.
    symlink("0.png", at("cat/again.png")).unwrap();
    let splits = folder(&dir).unwrap();
    assert_eq!(splits.train.classes(), ["cat", "dog", "pet"]);
    let mut all = targets(&dir, &splits.train);
    all.extend(targets(&dir, &splits.valid));
    assert_eq!(all.len(), 12);
    for (path, classes) in [
        ("cat/0.png", &[0, 1, 2][..]),
        ("cat/1.png", &[0]),
        ("cat/2.png", &[0, 2]),
        ("dog/0.png", &[1]),
        ("dog/1.png", &[1, 2]),
    ] {
        assert!(all.contains(&image(path, classes)), "{path}: {all:?}");
    }
    contains(
        &told(&dir, &splits),
        &["DIR/cat/again.png: links lead to this image twice", ": 1"],
    );
    // The whole of a class.
    symlink("cat", at("young")).unwrap();
    let splits = folder(&dir).unwrap();
    let young = splits
        .report
        .classes
        .iter()
        .find(|class| class.name == "young");
    let young = young.unwrap().images;
    assert_eq!(young.train + young.valid, 6);

    symlink("none.png", at("cat/x.png")).unwrap();
    contains(&folder(&dir).unwrap_err(), &["DIR/cat/x.png", "not there"]);
    fs::remove_file(at("cat/x.png")).unwrap();
    symlink("..", at("dog/loop")).unwrap();
    contains(&folder(&dir).unwrap_err(), &["DIR/dog/loop", "a loop"]);
}

#[test]
fn many_rows_are_read_fast() {
    let dir = Dir::new();
    let mut content = "path,labels\n".to_owned();
    for image in 0..20_000 {
        writeln!(content, "{image}.png,a{}|b{}", image % 300, image % 7).unwrap();
    }
    let splits = open(&dir, &content, &unseen(options()));
    assert_eq!(splits.train.classes().len(), 307);
    assert!(
        splits
            .report
            .classes
            .iter()
            .all(|class| class.images.valid > 0)
    );
}
