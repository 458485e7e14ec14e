//! Where results go: a table on the screen, a file, a JSON document.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use burn_zoo::prelude::Task;
use burn_zoo::train::Prediction;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::notice;
use crate::output::print;

/// What is known of one image.
pub struct Row {
    pub path: String,
    /// Its classes, the best first, or why there are none.
    pub result: Result<Vec<Prediction>, String>,
}

impl Row {
    /// As an object of JSON, with the path by this name.
    fn json(&self, path: &str) -> Value {
        match &self.result {
            Ok(predictions) => json!({ path: self.path, "predictions": predictions }),
            Err(reason) => json!({ path: self.path, "error": reason }),
        }
    }
}

pub enum Output {
    Screen(Screen),
    File(Box<File>),
    /// Kept for one JSON document.
    Document(Vec<Value>),
}

impl Output {
    pub fn write(&mut self, row: &Row) -> Result<()> {
        match self {
            Output::Screen(screen) => screen.write(row),
            Output::File(file) => file.write(row),
            Output::Document(rows) => {
                rows.push(row.json("image"));
                Ok(())
            }
        }
    }
}

/// A table whose rows are printed as they come.
pub struct Screen {
    task: Task,
    path: usize,
    class: usize,
    begun: bool,
}

/// Columns are no wider than this; what is longer is shown in full, out of line.
const WIDEST: usize = 60;

impl Screen {
    /// A table for these paths and classes.
    pub fn new<'a>(
        task: Task,
        paths: impl Iterator<Item = &'a Path>,
        classes: impl Iterator<Item = &'a str>,
    ) -> Self {
        let width = |text: &str| text.chars().count();
        let paths = paths.map(|path| width(&path.to_string_lossy()));
        let fit = |heading: &str, widest: Option<usize>| {
            widest.unwrap_or_default().clamp(width(heading), WIDEST)
        };
        Self {
            task,
            path: fit("image", paths.max()),
            class: fit("class", classes.map(width).max()),
            begun: false,
        }
    }

    fn write(&mut self, row: &Row) -> Result<()> {
        let (path, class) = (self.path, self.class);
        // One line for each, whatever a name holds.
        let name = row.path.replace(char::is_control, "?");
        if !self.begun {
            self.begun = true;
            let line = match self.task {
                Task::SingleLabel => {
                    format!("{:path$}  {:class$}  probability  next", "image", "class")
                }
                Task::MultiLabel => format!("{:path$}  labels above their thresholds", "image"),
                Task::Regression => format!("{:path$}  values", "image"),
            };
            print(line)?;
        }
        let predictions = match &row.result {
            Ok(predictions) => predictions,
            Err(reason) => {
                let line = format!("{name:path$}  error: {reason}");
                return print(notice::plain(line));
            }
        };
        if self.task != Task::SingleLabel {
            let words: Vec<String> = predictions.iter().map(in_words).collect();
            let line = match words.is_empty() {
                true => format!("{name:path$}  none"),
                false => format!("{name:path$}  {}", words.join(", ")),
            };
            return print(notice::plain(line));
        }
        let Some((best, others)) = predictions.split_first() else {
            return print(notice::plain(name));
        };
        let percent = |p: &Prediction| 100.0 * p.probability;
        let others: Vec<String> = others
            .iter()
            .map(|p| format!("{} {:.2} %", p.name, percent(p)))
            .collect();
        let line = format!(
            "{name:path$}  {:class$}  {:>9.2} %  {}",
            best.name,
            percent(best),
            others.join(", ")
        );
        print(notice::plain(line.trim_end()))
    }
}

/// A label with its probability, or a number with its name.
fn in_words(prediction: &Prediction) -> String {
    match prediction.value {
        Some(value) => format!("{} {value:.4}", prediction.name),
        None => format!(
            "{} {:.2} %",
            prediction.name,
            100.0 * prediction.probability
        ),
    }
}

/// A file that appears whole, at the end.
pub struct File {
    path: PathBuf,
    overwrite: bool,
    columns: Columns,
    form: Form,
}

/// What there is beside the path and the error.
pub enum Columns {
    /// So many classes, the best first.
    Best(usize),
    /// All labels of an image, with `|` between them.
    Labels,
    /// Numbers of these names.
    Numbers(Vec<String>),
}

impl Columns {
    /// Refuses names that a table could not tell from others.
    pub fn check(&self, path: &Path, classes: &[String]) -> Result<()> {
        if !is(path, "csv") {
            return Ok(());
        }
        let unclear = match self {
            Columns::Best(_) => None,
            Columns::Labels => classes.iter().find(|name| name.contains('|')),
            Columns::Numbers(own) => own
                .iter()
                .find(|name| ["path", "error"].contains(&&***name)),
        };
        let expected = match self {
            Columns::Numbers(_) => {
                "numbers with other names than `path` and `error`, which are columns already"
            }
            _ => "labels without `|`, which is between labels",
        };
        match unclear {
            None => Ok(()),
            Some(name) => bail!(
                "--output {}: expected {expected}, found `{name}`; FILE.jsonl takes it",
                path.display()
            ),
        }
    }
}

enum Form {
    Csv(Box<csv::Writer<NamedTempFile>>),
    JsonLines(BufWriter<NamedTempFile>),
}

/// Whether a file can be written: asked before anything is computed.
pub fn check(path: &Path, overwrite: bool) -> Result<()> {
    let shown = path.display();
    if !is(path, "csv") && !is(path, "jsonl") {
        bail!("--output: expected a name that ends in .csv or .jsonl, found {shown}");
    }
    if path.is_dir() {
        bail!("--output: expected a file, found the folder {shown}");
    }
    if !overwrite && path.exists() {
        return Err(exists(path));
    }
    Ok(())
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case(extension))
}

fn exists(path: &Path) -> anyhow::Error {
    anyhow!(
        "--output: {} exists already; pass --overwrite to replace it",
        path.display()
    )
}

impl File {
    /// Begins a file with these columns.
    pub fn create(path: &Path, overwrite: bool, columns: Columns) -> Result<Self> {
        check(path, overwrite)?;
        // A link stays a link: the file behind it is replaced.
        let target = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = dir.unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".burn-zoo-");
        // Temporary files are private by default; what a user asks for should not be.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        let file = builder
            .tempfile_in(dir)
            .with_context(|| format!("--output: cannot write into {}", dir.display()))?;
        let form = if is(path, "csv") {
            Form::Csv(Box::new(csv::Writer::from_writer(file)))
        } else {
            Form::JsonLines(BufWriter::new(file))
        };
        let mut file = Self {
            path: target,
            overwrite,
            columns,
            form,
        };
        file.heading()?;
        Ok(file)
    }

    /// `path,class,probability,class_2,probability_2,..,error`, `path,labels,probabilities,error`, or
    /// `path,NAME,..,error`.
    fn heading(&mut self) -> Result<()> {
        let Form::Csv(writer) = &mut self.form else {
            return Ok(());
        };
        let mut names = vec!["path".to_owned()];
        match &self.columns {
            Columns::Best(count) => {
                for rank in 1..=*count {
                    let end = match rank {
                        1 => String::new(),
                        rank => format!("_{rank}"),
                    };
                    names.extend([format!("class{end}"), format!("probability{end}")]);
                }
            }
            Columns::Labels => names.extend(["labels", "probabilities"].map(str::to_owned)),
            Columns::Numbers(own) => names.extend(own.iter().cloned()),
        }
        names.push("error".to_owned());
        writer.write_record(names)?;
        Ok(())
    }

    fn write(&mut self, row: &Row) -> Result<()> {
        let written = match &mut self.form {
            Form::JsonLines(writer) => writeln!(writer, "{}", row.json("path")),
            Form::Csv(writer) => {
                let (predictions, error) = match &row.result {
                    Ok(predictions) => (predictions.as_slice(), ""),
                    Err(reason) => (&[][..], reason.as_str()),
                };
                let mut fields = vec![row.path.clone()];
                match &self.columns {
                    Columns::Best(count) => {
                        for rank in 0..*count {
                            fields.extend(match predictions.get(rank) {
                                Some(p) => [p.name.clone(), json!(p.probability).to_string()],
                                None => Default::default(),
                            });
                        }
                    }
                    Columns::Labels => {
                        let names = predictions.iter().map(|p| p.name.clone());
                        fields.push(names.collect::<Vec<_>>().join("|"));
                        let sure = predictions.iter().map(|p| json!(p.probability).to_string());
                        fields.push(sure.collect::<Vec<_>>().join("|"));
                    }
                    Columns::Numbers(own) => fields.extend((0..own.len()).map(|index| {
                        let value = predictions.get(index).and_then(|p| p.value);
                        value.map_or_else(String::new, |value| json!(value).to_string())
                    })),
                }
                fields.push(error.to_owned());
                writer.write_record(fields).map_err(std::io::Error::from)
            }
        };
        written.with_context(|| self.cannot_write())
    }

    fn cannot_write(&self) -> String {
        format!("--output: cannot write {}", self.path.display())
    }

    /// Gives the file its name.
    pub fn finish(self) -> Result<()> {
        let cannot_write = self.cannot_write();
        let file = match self.form {
            Form::Csv(writer) => writer.into_inner().map_err(|e| e.into_error()),
            Form::JsonLines(writer) => writer.into_inner().map_err(|e| e.into_error()),
        };
        let file = file.with_context(|| cannot_write.clone())?;
        file.as_file()
            .sync_all()
            .with_context(|| cannot_write.clone())?;
        let kept = if self.overwrite {
            file.persist(&self.path)
        } else {
            file.persist_noclobber(&self.path)
        };
        match kept {
            Ok(_) => Ok(()),
            // Somebody else has written it meanwhile.
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(exists(&self.path))
            }
            Err(error) => Err(error.error).with_context(|| cannot_write),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_no_names_that_mean_two_things() {
        let check = |columns: Columns, path: &str| {
            let labels = ["red".to_owned(), "red|pink".to_owned()];
            columns.check(Path::new(path), &labels)
        };
        let error = check(Columns::Labels, "a.csv").unwrap_err().to_string();
        assert_eq!(
            error,
            "--output a.csv: expected labels without `|`, which is between labels, found `red|pink`; FILE.jsonl \
             takes it"
        );
        let numbers = || Columns::Numbers(vec!["age".to_owned(), "error".to_owned()]);
        let error = check(numbers(), "a.csv").unwrap_err().to_string();
        assert!(error.contains("found `error`"), "{error}");
        check(Columns::Best(2), "a.csv").unwrap();
        check(Columns::Labels, "a.jsonl").unwrap();
        check(numbers(), "a.jsonl").unwrap();
    }
}
