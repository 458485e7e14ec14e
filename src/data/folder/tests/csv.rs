//! CSV files as other tools write them: what is between the fields, what the columns are called,
//! which part an image belongs to, images that are named twice; and what is said of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use super::labelled_folder::{Dir, comma, contains, first, images, table};
use crate::data::folder::csv_report::CsvReport;
use crate::data::{
    Check, CsvOptions, CsvSplit, Division, FolderOptions, ImageData, ImageFolder, Splits,
};
use proptest::prelude::*;

/// What the library makes of a table, with the folder's path as `DIR`.
impl Dir {
    fn try_open(
        &self,
        name: &str,
        content: impl AsRef<[u8]>,
        options: CsvOptions,
    ) -> Result<Splits, String> {
        let file = self.path.join(name);
        fs::write(&file, content).unwrap();
        let options = FolderOptions {
            csv: options,
            ..FolderOptions::default()
        };
        ImageFolder::from_csv(&file, &options).map_err(|error| self.clean(&error.to_string()))
    }

    fn open_with(&self, content: impl AsRef<[u8]>, options: CsvOptions) -> Splits {
        let splits = self.try_open("l.csv", content, options);
        splits.unwrap_or_else(|error| panic!("{error}"))
    }

    fn open(&self, content: impl AsRef<[u8]>) -> Splits {
        self.open_with(content, CsvOptions::default())
    }

    fn error_with(&self, content: impl AsRef<[u8]>, options: CsvOptions) -> String {
        match self.try_open("l.csv", content, options) {
            Ok(splits) => panic!("accepted: {}", splits.report),
            Err(error) => error,
        }
    }

    fn error(&self, content: impl AsRef<[u8]>) -> String {
        self.error_with(content, CsvOptions::default())
    }

    fn clean(&self, text: &str) -> String {
        text.replace(&self.path.display().to_string(), "DIR")
    }

    /// What a person is told.
    fn told(&self, splits: &Splits) -> Vec<String> {
        let csv = splits.report.csv.iter();
        let mut told: Vec<String> = csv.flat_map(CsvReport::notices).collect();
        told.extend(splits.report.warnings.iter().map(ToString::to_string));
        told.iter().map(|line| self.clean(line)).collect()
    }

    fn names(&self, images: &ImageFolder) -> Vec<String> {
        let name = |index| {
            let path = images.path(index).unwrap();
            let path = path.strip_prefix(&self.path).unwrap();
            path.to_str().unwrap().to_owned()
        };
        (0..images.len()).map(name).collect()
    }

    /// That all images are there, and have their labels.
    fn is_whole(&self, splits: &Splits) {
        assert_eq!(splits.train.classes(), ["cat", "dog"]);
        let mut found = BTreeSet::new();
        for images in [&splits.train, &splits.valid] {
            for (index, name) in self.names(images).into_iter().enumerate() {
                let label = images.label(index).unwrap();
                assert!(name.starts_with(&images.classes()[label]), "{name}");
                found.insert(name);
            }
        }
        let all: BTreeSet<String> = images().map(|(path, _)| path).collect();
        assert_eq!(found, all);
        assert_eq!(splits.train.len() + splits.valid.len(), all.len());
    }
}

/// One line, which has all of this.
fn one(told: &[String], parts: &[&str]) {
    assert_eq!(told.len(), 1, "{told:?}");
    contains(&told[0], parts);
}

#[test]
fn what_everybody_expects_needs_no_word() {
    let dir = Dir::new();
    for content in [
        table("path,label", comma),
        table("Path,LABEL", comma),
        table("\u{feff}path,label", comma).replace('\n', "\r\n"),
        table("path,label", comma).replace('\n', "\r"),
        table("\"path\",\"label\"", |p, l| format!("\"{p}\" , \"{l}\"")),
        table("path,label,width", |p, l| format!("{p},{l},40")),
        table(",path,label", |p, l| format!("0,{p},{l}")),
        table("id,label,path", |p, l| format!("7,{l},{p}")),
        table("path,label", |p, l| {
            format!("{},{l}", dir.path.join(p).display())
        }),
        table("path,label", comma) + "\n\n   \n",
    ] {
        let splits = dir.open(&content);
        dir.is_whole(&splits);
        assert_eq!(dir.told(&splits), [] as [&str; 0], "{content}");
    }
}

#[test]
fn delimiters_are_detected_and_told() {
    let dir = Dir::new();
    for (delimiter, name) in [(';', "semicolons"), ('\t', "tabs"), ('|', "bars")] {
        let line = |path: &str, label: &str| format!("{path}{delimiter}{label}");
        for header in [
            line("path", "label"),
            line("my photo", "my kind"),
            String::new(),
        ] {
            let splits = dir.open(table(&header, line));
            dir.is_whole(&splits);
            contains(&dir.told(&splits)[0], &[name, "DIR/l.csv"]);
            assert_eq!(splits.report.csv.as_ref().unwrap().delimiter, delimiter);
        }
        // A field may have the other delimiters.
        let splits = dir.open(table(&line("path", "label"), |path, label| {
            line(path, &format!("{label}, a"))
        }));
        assert_eq!(splits.report.classes[0].name, "cat, a");
    }
    // Given, it is not asked about.
    let options = CsvOptions {
        delimiter: Some('#'),
        ..CsvOptions::default()
    };
    let splits = dir.open_with(table("path#label", |p, l| format!("{p}#{l}")), options);
    dir.is_whole(&splits);
    for delimiter in ['"', '\n', 'a', '0', 'é'] {
        let options = CsvOptions {
            delimiter: Some(delimiter),
            ..CsvOptions::default()
        };
        contains(
            &dir.error_with("path,label\n", options),
            &["--csv-delimiter"],
        );
    }
    contains(
        &dir.error("path:label\ncat/0.png:cat\n"),
        &[
            "DIR/l.csv",
            "path:label",
            "--csv-path-column",
            "--csv-delimiter",
        ],
    );
}

#[test]
fn utf_16_is_read() {
    let dir = Dir::new();
    let text = format!("\u{feff}{}", table("path,label", comma));
    let units = || text.encode_utf16();
    for bytes in [
        units().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(),
        units().flat_map(u16::to_be_bytes).collect(),
    ] {
        let splits = dir.open(&bytes);
        dir.is_whole(&splits);
        assert_eq!(dir.told(&splits), [] as [&str; 0]);
        let text = dir.error(&bytes[..bytes.len() - 1]);
        contains(&text, &["DIR/l.csv", "UTF-16", "in line 13"]);
    }
    // Half a pair in the third line.
    let mut bytes: Vec<u8> = "\u{feff}path,label\ncat/0.png,cat\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    bytes.extend([0, 0xd8, b'a', 0]);
    contains(&dir.error(bytes), &["DIR/l.csv", "UTF-16", "in line 3"]);
    contains(&dir.error(b"PK\x03\x04\0\0"), &["DIR/l.csv", "Excel"]);
    contains(
        &dir.error(b"path,label\ncat/0.png,caf\xe9\n"),
        &["DIR/l.csv", "UTF-8", "in line 2"],
    );
}

#[test]
fn titles_of_other_tools_are_known_and_told() {
    let dir = Dir::new();
    for path in [
        "file_name",
        "filename",
        "image",
        "Image Path",
        "img",
        "fname",
        "id",
        "name",
    ] {
        for label in ["label", "Class", "category", "target", "breed"] {
            let splits = dir.open(table(&format!("{path},{label}"), comma));
            dir.is_whole(&splits);
            one(
                &dir.told(&splits),
                &[&format!("`{path}`"), &format!("`{label}`")],
            );
        }
    }
}

#[test]
fn a_column_that_alone_can_be_meant_is_taken_and_told() {
    let dir = Dir::new();
    let splits = dir.open(table("path,pet", comma));
    dir.is_whole(&splits);
    let told = dir.told(&splits).join("\n");
    contains(&told, &["`pet` is taken for labels", "--csv-label-column"]);
    let splits = dir.open(table("where,label", comma));
    dir.is_whole(&splits);
    let told = dir.told(&splits).join("\n");
    contains(&told, &["`where` is taken for paths", "--csv-path-column"]);
    // pandas, of a table without titles.
    let splits = dir.open(table(",0,1", |p, l| format!("5,{p},{l}")));
    dir.is_whole(&splits);
    assert_eq!(dir.told(&splits).len(), 3);

    let text = dir.error(table("path,a,b", |p, l| format!("{p},{l},{l}")));
    contains(&text, &["DIR/l.csv", "\"a\", \"b\"", "--csv-label-column"]);
    let text = dir.error(table("filename,image,label", |p, l| format!("{p},{p},{l}")));
    contains(&text, &["\"filename\", \"image\"", "--csv-path-column"]);
    let text = dir.error(table("path,class,category", |p, l| format!("{p},{l},{l}")));
    contains(&text, &["\"class\", \"category\"", "--csv-label-column"]);
    let text = dir.error("a,label\n1,cat\n2,dog\n");
    contains(&text, &["paths", "\"a\", \"label\"", "--csv-path-column"]);
}

fn columns(path: Option<&str>, label: Option<&str>, split: Option<&str>) -> CsvOptions {
    CsvOptions {
        path_column: path.map(str::to_owned),
        label_column: label.map(str::to_owned),
        split: match split {
            None => CsvSplit::Detect,
            Some("none") => CsvSplit::Ignore,
            Some(column) => CsvSplit::Column(column.to_owned()),
        },
        ..CsvOptions::default()
    }
}

#[test]
fn columns_can_be_given() {
    let dir = Dir::new();
    let content = table("path,label,a,b,c", |p, l| {
        format!("x.png,x,{p},{l},{}", p.ends_with("0.png"))
    });
    for [path, label, split] in [["a", "b", "c"], ["A", "B", "C"], ["2", "3", "4"]] {
        let splits = dir.open_with(&content, columns(Some(path), Some(label), Some(split)));
        dir.is_whole(&splits);
        assert_eq!(dir.names(&splits.valid), ["cat/0.png", "dog/0.png"]);
        one(&dir.told(&splits), &["`a`", "`b`", "`c`"]);
    }
    let text = dir.error_with(&content, columns(None, Some("breed"), None));
    contains(
        &text,
        &[
            "--csv-label-column",
            "DIR/l.csv",
            "\"breed\"",
            "\"path\", \"label\", \"a\"",
        ],
    );
    let text = dir.error_with(&content, columns(Some("5"), None, None));
    contains(&text, &["--csv-path-column", "from 0 to 4", "\"5\""]);
    let text = dir.error_with(&content, columns(Some("a"), Some("2"), None));
    contains(&text, &["--csv-label-column", "--csv-path-column", "\"a\""]);
    let text = dir.error_with("x,X\na,b\n", columns(Some("y"), None, None));
    contains(&text, &["--csv-path-column", "\"y\""]);
    let text = dir.error_with("x,X\na,b\n", columns(Some("x"), Some("x"), None));
    contains(&text, &["--csv-label-column"]);
    // A folder has no columns.
    let options = FolderOptions {
        csv: columns(Some("a"), None, None),
        ..FolderOptions::default()
    };
    let error = ImageFolder::open_with(&dir.path, &options).unwrap_err();
    contains(&error.to_string(), &["csv", "folder"]);
}

#[test]
fn a_first_line_that_names_an_image_is_no_header() {
    let dir = Dir::new();
    let splits = dir.open(table("", comma));
    dir.is_whole(&splits);
    one(&dir.told(&splits), &["no header", "`0`", "`1`"]);
    let splits = dir.open(table("", |p, l| format!("{l},{p}")));
    dir.is_whole(&splits);
    one(
        &dir.told(&splits),
        &["paths in column `1`", "labels in column `0`"],
    );
    // Neither a class that is called as a column may be, nor an image that is not there.
    let text = dir.error("cat/none.png,class\ncat/0.png,class\ndog/0.png,dog\n");
    contains(&text, &["DIR/cat/none.png", "line 1 of DIR/l.csv"]);
    // Names without extension.
    let splits = dir.open(table("", |p, l| {
        format!("{},{l}", p.trim_end_matches(".png"))
    }));
    dir.is_whole(&splits);

    let three = table("", |p, l| {
        format!("{p},{l},{}", if p.contains('0') { "val" } else { "train" })
    });
    let text = dir.error(&three);
    contains(&text, &["3 columns without a header", "--csv-label-column"]);
    let splits = dir.open_with(&three, columns(None, Some("1"), Some("2")));
    dir.is_whole(&splits);
    assert_eq!(splits.valid.len(), 2);
}

#[test]
fn names_without_extension_are_those_of_images() {
    let dir = Dir::new();
    let bare = |path: &str, label: &str| format!("{},{label}", path.trim_end_matches(".png"));
    let splits = dir.open(table("id,breed", bare));
    dir.is_whole(&splits);
    assert_eq!(splits.report.csv.as_ref().unwrap().completed, 12);
    contains(&dir.told(&splits)[1], &["extension", "12"]);
    // Where the extension is that of a photograph, too; a name may have a dot.
    dir.image("cat/v1.5.PNG");
    let splits = dir.open(table("path,label", comma) + "cat/v1.5,cat\n");
    assert_eq!(splits.train.len() + splits.valid.len(), 13);
    one(&dir.told(&splits), &["extension", ": 1"]);

    dir.image("cat/0.jpg");
    let text = dir.error(table("id,breed", bare));
    contains(&text, &["DIR/l.csv", "in line 2", "cat/0", "0.jpg, 0.png"]);
    let text = dir.error("id,breed\ncat/1,cat\ndog/9,dog\n");
    contains(&text, &["DIR/dog/9", "line 3 of DIR/l.csv"]);
}

#[cfg(unix)]
#[test]
fn backslashes_are_slashes_where_there_is_such_a_file() {
    let dir = Dir::new();
    let turned = |path: &str, label: &str| format!("{},{label}", path.replace('/', "\\"));
    let splits = dir.open(table("path,label", turned));
    dir.is_whole(&splits);
    assert_eq!(splits.report.csv.as_ref().unwrap().turned, 12);
    one(&dir.told(&splits), &["backslashes", "12"]);
    let bare = |path: &str, label: &str| turned(path.trim_end_matches(".png"), label);
    dir.is_whole(&dir.open(table("path,label", bare)));
    // A file that is called so.
    dir.image("cat\\0.png");
    let splits = dir.open(table("path,label", turned));
    assert_eq!(splits.report.csv.as_ref().unwrap().turned, 11);
    let text = dir.error(table("path,label", turned) + "cat\\none.png,cat\n");
    contains(&text, &["DIR/cat\\none.png", "line 14 of DIR/l.csv"]);
}

#[test]
fn a_column_is_the_split() {
    let dir = Dir::new();
    let splits = dir.open(table("path,label,part", |p, l| {
        format!("{p},{l},{}", if first(p) { "val" } else { "train" })
    }));
    assert_eq!(splits.report.division, Division::Column);
    assert_eq!((splits.train.len(), splits.valid.len()), (10, 2));
    for (title, valid, train) in [
        ("split", "val", "train"),
        ("Split", "Validation", "TRAIN"),
        ("set", "valid", "training"),
        ("subset", "val", "train"),
        ("partition", "val", "train"),
        ("is_valid", "True", "False"),
        ("is_valid", "1", "0"),
        ("Is Valid", "yes", "no"),
        ("is_val", "true", "false"),
        ("valid", "1.0", "0.0"),
        ("is_train", "False", "True"),
    ] {
        let content = table(&format!("path,label,{title}"), |p, l| {
            format!("{p},{l},{}", if first(p) { valid } else { train })
        });
        let splits = dir.open(&content);
        dir.is_whole(&splits);
        assert_eq!(
            dir.names(&splits.valid),
            ["cat/0.png", "dog/0.png"],
            "{title}"
        );
        assert_eq!(splits.report.division, Division::Column);
        let text = splits.report.to_string();
        contains(&text, &[&format!("as the column `{title}` says")]);
        let told = dir.told(&splits).concat();
        assert_eq!(
            told.is_empty(),
            title.eq_ignore_ascii_case("split"),
            "{told}"
        );

        // Left aside, it is said.
        let splits = dir.open_with(&content, columns(None, None, Some("none")));
        assert!(matches!(splits.report.division, Division::Seeded { .. }));
        one(&dir.told(&splits), &[&format!("`{title}` is left aside")]);
    }
}

#[test]
fn a_test_part_beside_or_in_place_of_a_validation_part() {
    let dir = Dir::new();
    let content = table("path,label,is_test", |p, l| format!("{p},{l},{}", first(p)));
    let splits = dir.open(&content);
    assert_eq!(dir.names(&splits.valid), ["cat/0.png", "dog/0.png"]);
    let told = dir.told(&splits).join("\n");
    contains(
        &told,
        &["`is_test`", "there are no validation images", "test images"],
    );
    let content = table("path,label,split", |p, l| format!("{p},{l},train"));
    let splits = dir.open(&content);
    one(
        &dir.told(&splits),
        &["`split`", "training images only", "by seed"],
    );
}

#[test]
fn splits_that_cannot_be_followed() {
    let dir = Dir::new();
    for (title, bad, good) in [("split", "dev", "train"), ("is_valid", "perhaps", "False")] {
        let line = |p: &str, l: &str| {
            let field = if p == "dog/1.png" { bad } else { good };
            format!("{p},{l},{field}")
        };
        let text = dir.error(table(&format!("path,label,{title}"), line));
        contains(&text, &["DIR/l.csv", "in line 9", &format!("{bad:?}")]);
        let line = |p: &str, l: &str| {
            let field = if p == "dog/1.png" { "" } else { good };
            format!("{p},{l},{field}")
        };
        let text = dir.error(table(&format!("path,label,{title}"), line));
        contains(&text, &["DIR/l.csv", "in line 9", "an empty field"]);
    }
    let text = dir.error(table("path,label,split,is_valid", |p, l| {
        format!("{p},{l},train,True")
    }));
    contains(&text, &["\"split\", \"is_valid\"", "--csv-split-column"]);
    // Numbers of folds are no split.
    let splits = dir.open(table("path,label,fold", |p, l| format!("{p},{l},3")));
    dir.is_whole(&splits);
    one(&dir.told(&splits), &["`fold`", "left aside"]);
    // And never labels.
    let splits = dir.open(table("path,kind,set", |p, l| format!("{p},{l},train")));
    dir.is_whole(&splits);
}

#[test]
fn an_image_may_be_named_again_with_the_same_label() {
    let dir = Dir::new();
    let absolute = dir.path.join("dog/0.png");
    let again = format!(
        "cat/0.png,cat\n./cat/0.png,cat\n{},dog\n",
        absolute.display()
    );
    let splits = dir.open(table("path,label", comma) + &again);
    assert_eq!(splits.train.len() + splits.valid.len(), 15);
    assert_eq!(splits.report.csv.as_ref().unwrap().repeated, 3);
    one(&dir.told(&splits), &["once more", "3"]);

    let text = dir.error(table("path,label", comma) + &again + "./cat/1.png,dog\n");
    contains(
        &text,
        &[
            "DIR/l.csv",
            "cat/1.png",
            "\"cat\"",
            "\"dog\"",
            "in line 17",
            "in line 3",
        ],
    );
}

#[test]
fn an_image_is_known_by_its_file_however_it_is_written() {
    let dir = Dir::new();
    let folder = dir.path.file_name().unwrap().to_str().unwrap();
    let again = |label: &str| format!("../{folder}/cat/1.png,{label}\n");
    let splits = dir.open(table("path,label", comma) + &again("cat"));
    one(&dir.told(&splits), &["once more", "1"]);
    let text = dir.error(table("path,label", comma) + &again("dog"));
    contains(&text, &["\"cat\"", "\"dog\"", "in line 14", "in line 3"]);
}

#[test]
fn quotes_that_hide_lines_are_told() {
    let dir = Dir::new();
    let inch = |hidden: &'static [&str]| {
        table("path,label,note", move |path, label| {
            let note = if hidden.contains(&path) {
                "\"5 inch"
            } else {
                ""
            };
            format!("{path},{label},{note}")
        })
    };
    let text = dir.error(inch(&["dog/0.png"]));
    contains(
        &text,
        &["DIR/l.csv", "a quote in line 8 that is never closed"],
    );
    let splits = dir.open(inch(&["cat/0.png", "cat/3.png"]));
    assert_eq!(splits.train.len() + splits.valid.len(), 9);
    one(
        &dir.told(&splits),
        &["`note`", ": 1 (the first: lines 2 to 5)"],
    );
    // Text may well have quotes, and end as our own last line does.
    let content = table("path,label,note", |p, l| format!("{p},{l},\"a \"\"b\"\"\""));
    dir.is_whole(&dir.open(content.trim_end()));
    let splits = dir.open(table("path,label", |p, l| {
        if first(p) {
            return format!("{p}, \"{l}\"");
        }
        format!("{p},\"\"\"{l}\"\"\"")
    }));
    assert_eq!(splits.train.classes(), ["\"cat\"", "\"dog\"", "cat", "dog"]);
}

#[test]
fn images_of_two_parts_are_told() {
    let dir = Dir::new();
    let content = table("path,label,split", |p, l| {
        format!("{p},{l},{}", if first(p) { "val" } else { "train" })
    });
    let splits = dir.open(content + "cat/0.png,cat,train\ncat/1.png,cat,val\ncat/1.png,cat,val\n");
    let told = dir.told(&splits);
    assert_eq!(told.len(), 2);
    contains(&told[0], &["once more", ": 1"]);
    contains(
        &told[1],
        &[
            "training",
            "validation",
            ": 2",
            "cat/1.png",
            "lines 3 and 15",
        ],
    );
}

#[test]
fn labels_that_are_perhaps_mistakes_are_told() {
    let dir = Dir::new();
    let splits = dir.open(table("path,label", |p, l| {
        if first(p) {
            return format!("{p},{}", l.to_uppercase());
        }
        comma(p, l)
    }));
    let told = dir.told(&splits).join("\n");
    contains(&told, &["`CAT` and `cat`", "`DOG` and `dog`"]);
    let splits = dir.open(table("path,label", |p, l| format!("{p},\"{l},pet\"")));
    assert_eq!(splits.report.classes[0].name, "cat,pet");
    let parts = ["several labels", ": 2", "`cat,pet`", "--task multi-label"];
    one(&dir.told(&splits), &parts);
    // Numbers are text.
    let number = |p: &str, l: &str| format!("{p},{}", if l == "cat" { "10.0" } else { "2.0" });
    let splits = dir.open(table("path,label", number));
    assert_eq!(splits.report.classes[0].name, "10.0");
    assert_eq!(dir.told(&splits), [] as [&str; 0]);
}

#[test]
fn lines_that_are_not_as_the_header_says() {
    let dir = Dir::new();
    let text = dir.error(table("path,label", comma) + "\n \ncat/1.png\n");
    contains(&text, &["DIR/l.csv", "2 fields in line 16", "found 1"]);
    let text = dir.error(table("path,label", comma) + ",\n");
    contains(&text, &["DIR/l.csv", "a path in line 14", "an empty field"]);
    contains(&dir.error("\n\n"), &["DIR/l.csv", "nothing"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// All rows of an image come into the same part, which is the one it has without them.
    #[test]
    fn the_seed_puts_an_image_into_one_part(
        times in prop::collection::vec(1usize..6, 4..40),
        share in 0.05f64..0.95,
        seed: u64,
    ) {
        let dir = Dir::new();
        let file = dir.path.join("l.csv");
        let options = FolderOptions {
            valid_share: share,
            seed,
            check: Some(Check::No),
            ..FolderOptions::default()
        };
        let open = |most: usize| {
            let mut text = "path,label\n".to_owned();
            for round in 0..most {
                for (image, times) in times.iter().enumerate() {
                    if round < *times {
                        writeln!(text, "{image}.png,{}", image % 2).unwrap();
                    }
                }
            }
            fs::write(&file, text).unwrap();
            ImageFolder::from_csv(&file, &options).unwrap()
        };
        let set = |images: &ImageFolder| dir.names(images).into_iter().collect::<BTreeSet<_>>();
        let (once, often) = (open(1), open(6));
        prop_assert_eq!(set(&once.train), set(&often.train));
        prop_assert_eq!(set(&once.valid), set(&often.valid));
        prop_assert_eq!(often.train.len() + often.valid.len(), times.iter().sum::<usize>());
    }

    /// Whatever is in a file, it is read or refused with a message that names it.
    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "[a-z0-9,;|\\t\"\\\\/. \\r\\n]{0,200}".prop_map(String::into_bytes),
            "(path|id|cat/0|cat/1.png|dog/0.png|label|split|train|val|[,;\\n\"]){0,60}"
                .prop_map(String::into_bytes),
        ],
    ) {
        let dir = Dir::new();
        if let Err(error) = dir.try_open("l.csv", bytes, CsvOptions::default()) {
            prop_assert!(error.contains("DIR/"), "{}", error);
        }
    }
}
