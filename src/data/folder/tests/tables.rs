//! Tables and folders that are opened for any task.

use std::fs;
use std::path::Path;

use super::labelled_folder::Dir;
use crate::data::{
    Check, CsvOptions, EvaluationSet, FolderOptions, ImageData, ImageFolder, Splits, Target, Task,
};

pub(super) fn of_task(task: Task) -> FolderOptions {
    FolderOptions {
        task,
        ..FolderOptions::default()
    }
}

/// The options with these columns of labels or numbers.
pub(super) fn with_columns(options: FolderOptions, columns: &[&str]) -> FolderOptions {
    FolderOptions {
        csv: CsvOptions {
            label_columns: columns.iter().map(|c| (*c).to_owned()).collect(),
            ..options.csv
        },
        ..options
    }
}

/// The options for tables of images that are not there.
pub(super) fn unseen(options: FolderOptions) -> FolderOptions {
    FolderOptions {
        check: Some(Check::No),
        ..options
    }
}

fn clean(dir: &Dir, text: &str) -> String {
    text.replace(&dir.path.display().to_string(), "DIR")
}

fn write(dir: &Dir, content: &str) -> std::path::PathBuf {
    let file = dir.path.join("l.csv");
    fs::write(&file, content).unwrap();
    file
}

pub(super) fn open(dir: &Dir, content: &str, options: &FolderOptions) -> Splits {
    let splits = ImageFolder::from_csv(write(dir, content), options);
    splits.unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn error(dir: &Dir, content: &str, options: &FolderOptions) -> String {
    match ImageFolder::from_csv(write(dir, content), options) {
        Ok(splits) => panic!("accepted: {}", splits.report),
        Err(error) => clean(dir, &error.to_string()),
    }
}

/// Everything in a table, with the labels of a model.
pub(super) fn evaluate(
    dir: &Dir,
    content: &str,
    options: &FolderOptions,
    classes: &[&str],
) -> Result<EvaluationSet, String> {
    let classes: Vec<String> = classes.iter().map(|class| (*class).to_owned()).collect();
    let file = write(dir, content);
    let set = ImageFolder::open_part(&file, options, &classes, None, &mut |_| {});
    set.map_err(|error| clean(dir, &error.to_string()))
}

/// Each image's path below the folder, and what is to be told of it.
pub(super) fn targets(dir: &Dir, images: &ImageFolder) -> Vec<(String, Target)> {
    let target = |index| {
        let path = images.path(index).unwrap();
        let path = path.strip_prefix(&dir.path).unwrap_or(Path::new("?"));
        let target = images.target(index).unwrap();
        assert_eq!(target.task(), images.task());
        (path.to_str().unwrap().to_owned(), target)
    };
    (0..images.len()).map(target).collect()
}

/// What a person is told, in one text.
pub(super) fn told(dir: &Dir, splits: &Splits) -> String {
    clean(dir, &splits.report.notices().join("\n"))
}
