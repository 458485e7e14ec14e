//! The model card of a run: the README of its model on the hub.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::data::{FashionMnist, Task};
use crate::error::{Error, Result};
use crate::files::{remove_if_there, write_file};
use crate::model::Classifier;
use crate::train::{EpochRecord, RunData, RunFiles};
use crate::weights::manifest::Manifest;
use crate::weights::{CARD, CardFacts, at_repository, is_ours, public, weights_name, yaml};

use super::run_report::data_name;

/// FashionMNIST on the hub.
const FASHION_MNIST: &str = "zalando-datasets/fashion_mnist";
/// The recipe in an exported folder.
const RECIPE: &str = "recipe.toml";
/// All files that a card may show or name.
const BESIDE: [&str; 5] = [
    "curves.svg",
    "confusion.svg",
    "precision_recall.svg",
    "predicted.svg",
    RECIPE,
];
/// Pictures of a run folder, what they are called in an exported one, and what they show.
fn pictures(task: Task) -> [[&'static str; 3]; 2] {
    let of_task = match task {
        Task::SingleLabel => [
            "report/confusion.svg",
            "confusion.svg",
            "Confusion matrix of the validation images",
        ],
        Task::MultiLabel => [
            "report/precision_recall.svg",
            "precision_recall.svg",
            "Precision and recall of each label on the validation images",
        ],
        Task::Regression => [
            "report/predicted.svg",
            "predicted.svg",
            "Predicted and true numbers of the validation images",
        ],
    };
    let curves = "Loss and figures over the epochs";
    [["curves.svg", "curves.svg", curves], of_task]
}

/// The card of a run's model, and the files that it shows and names: curves, confusion matrix, recipe.
///
/// Its front matter is what the hub reads: `library_name`, `license` (that of the weights that the model
/// started from), `base_model`, `datasets`, `metrics`, and `model-index` with the figures of the best
/// epoch. Of paths on this machine it has the last part alone.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCard {
    text: String,
    files: Vec<(String, Vec<u8>)>,
    missing: Vec<String>,
}

/// A figure of the results: its type and its name on the hub, and its value.
type Figure = (&'static str, &'static str, f64);

impl ModelCard {
    /// Reads a run folder. `model` is the run's best model; `command` is how it was made, to be shown.
    ///
    /// # Errors
    /// [`Error::Folder`] if the folder is no run's, [`Error::Io`] if a file cannot be read, and what is
    /// wrong with the user's weights manifest, if there is one.
    pub fn of_run(
        dir: impl AsRef<Path>,
        model: &Classifier,
        command: Option<&str>,
    ) -> Result<Self> {
        let dir = dir.as_ref();
        let run = RunFiles::open(dir)?;
        let mut missing = Vec::new();
        let mut files = Vec::new();
        let origin = run.config.model_text("weights");
        let base_model = base_model(&origin)?;
        let licence = model.info().licence.as_deref();
        if licence.is_none_or(|licence| licence == "unknown") {
            missing.push(format!(
                "the licence of what the model started from ({}) is not known: the card states none",
                public(&origin)
            ));
        }
        let best = run.config.recipe.metric.best(&run.epochs);
        let best = best.map(|index| &run.epochs[index]);
        if best.is_none() {
            missing.push("no epoch is complete: the card has no results".to_owned());
        }
        let results = Results::of(&run, best, model.num_classes());

        let mut sections = results.section();
        for [from, name, what] in pictures(run.config.recipe.task) {
            let path = dir.join(from);
            match std::fs::read(&path) {
                Ok(bytes) => {
                    sections += &format!("![{what}]({name})\n\n");
                    files.push((name.to_owned(), bytes));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    missing.push(format!(
                        "{} is not there: `burn-zoo report {}` draws it, if the run went that far",
                        path.display(),
                        dir.display()
                    ))
                }
                Err(error) => return Err(Error::io("read", &path)(error)),
            }
        }
        let recipe = run.config.recipe.to_toml()?;
        sections += &training(&run, &recipe, command);
        files.push((RECIPE.to_owned(), recipe.into_bytes()));
        let facts = CardFacts {
            task: run.config.recipe.task,
            origin: Some(public(&origin)),
            base_model,
            results: results.metadata(&model.info().architecture),
            sections,
        };
        Ok(Self {
            text: model.card(&facts),
            files,
            missing,
        })
    }

    /// The card that lies in an exported folder, with the pictures and the recipe that it names. Without
    /// one, what `model`, which was opened from there, tells of itself.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read.
    pub fn of_folder(dir: impl AsRef<Path>, model: &Classifier) -> Result<Self> {
        let read = |name: &str| {
            let path = dir.as_ref().join(name);
            match std::fs::read(&path) {
                Ok(bytes) => Ok(Some(bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(Error::io("read", &path)(error)),
            }
        };
        let text = match read(CARD)? {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None => model.card(&CardFacts {
                task: model.info().outputs.task,
                ..CardFacts::default()
            }),
        };
        let mut files = Vec::new();
        // What a card of ours does not name is of an earlier one; in somebody's card it may be named otherwise.
        let is_ours = is_ours(&text);
        for name in BESIDE
            .into_iter()
            .filter(|name| !is_ours || text.contains(name))
        {
            files.extend(read(name)?.map(|bytes| (name.to_owned(), bytes)));
        }
        Ok(Self {
            text,
            files,
            missing: Vec::new(),
        })
    }

    /// The card for a repository of the hub, `owner/name`, and a branch of it: the lines that open the model
    /// name it in place of a folder.
    pub fn for_repository(self, repository: &str, revision: Option<&str>) -> Self {
        Self {
            text: at_repository(&self.text, repository, revision),
            ..self
        }
    }

    /// What weights are called in the words for where they came from, such as
    /// [`ModelInfo::origin`](crate::ModelInfo::origin): without what was done to them.
    pub fn weights_name(origin: &str) -> &str {
        weights_name(origin)
    }

    /// The card and the files that it shows and names, by their names in the repository.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let beside = self.files.iter();
        let beside = beside.map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        std::iter::once((CARD, self.text.as_bytes())).chain(beside)
    }

    /// The card, in Markdown with a front matter in YAML.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it could not say or show, and why.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Writes the card, its pictures and the recipe into an exported folder. A model card that is not ours
    /// stays; one of ours is replaced, and its pictures go with it. Returns whether ours was written.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be written.
    pub fn write(&self, dir: impl AsRef<Path>) -> Result<bool> {
        let dir = dir.as_ref();
        for (name, bytes) in &self.files {
            write_file(&dir.join(name), bytes)?;
        }
        let path = dir.join(CARD);
        let old = std::fs::read_to_string(&path);
        let is_ours = old.is_ok_and(|old| is_ours(&old));
        if path.exists() && !is_ours {
            return Ok(false);
        }
        // What an earlier card showed would be pushed with this one.
        let has = |name: &str| self.files.iter().any(|(own, _)| own == name);
        for stale in BESIDE.iter().filter(|name| is_ours && !has(name)) {
            remove_if_there(&dir.join(stale))?;
        }
        write_file(&path, self.text.as_bytes())?;
        Ok(true)
    }
}

/// The figures of the best epoch, by the images that they were measured on.
struct Results<'a> {
    data: &'a RunData,
    task: Task,
    /// Which images, how many, and the figures.
    rows: Vec<(&'static str, usize, Vec<Figure>)>,
    /// Whether the epoch was chosen by the test images.
    chosen_by_test: bool,
}

impl<'a> Results<'a> {
    fn of(run: &'a RunFiles, best: Option<&EpochRecord>, classes: usize) -> Self {
        let figures = |metrics: &BTreeMap<String, f64>, accuracy, balanced, top5, loss| {
            let mut figures = vec![
                ("accuracy", "Accuracy", accuracy),
                ("balanced_accuracy", "Balanced accuracy", balanced),
            ];
            // Of five classes each is among the best five.
            if classes > 5 {
                figures.push(("top_5_accuracy", "Top-5 accuracy", top5));
            }
            figures.extend(metrics.iter().filter_map(|(name, value)| {
                let (kind, name) = metric_on_hub(name)?;
                Some((kind, name, *value))
            }));
            figures.push(("loss", "Loss", loss));
            figures.retain(|(_, _, value): &Figure| value.is_finite());
            figures
        };
        let data = &run.config.data;
        let chosen_by_test = chosen_by_test(data);
        let mut rows = Vec::new();
        if let Some(epoch) = best {
            let figures = figures(
                &epoch.metrics,
                epoch.valid_accuracy,
                epoch.valid_balanced_accuracy,
                epoch.valid_top5_accuracy,
                epoch.valid_loss,
            );
            let split = if chosen_by_test { "test" } else { "validation" };
            // Not noted by earlier versions.
            let images = match epoch.valid_images {
                0 => data.valid_images,
                images => images,
            };
            rows.push((split, images, figures));
        }
        if let Some(test) = &run.test {
            let figures = figures(
                &test.metrics,
                test.test_accuracy,
                test.test_balanced_accuracy,
                test.test_top5_accuracy,
                test.test_loss,
            );
            rows.push(("test", test.test_images, figures));
        }
        Self {
            data,
            task: run.config.recipe.task,
            rows,
            chosen_by_test,
        }
    }

    fn name(&self) -> &str {
        data_name(&self.data.source)
    }

    fn is_fashion_mnist(&self) -> bool {
        is_fashion_mnist(self.data)
    }

    /// What the hub calls the data set, or how it would be loaded.
    fn kind(&self) -> &str {
        let name = self.name();
        if self.is_fashion_mnist() {
            FASHION_MNIST
        } else if name == "fractals" {
            "fractals"
        } else if name.ends_with(".csv") || name.ends_with(".tsv") {
            "csv"
        } else {
            "imagefolder"
        }
    }

    /// `datasets`, `metrics` and `model-index`.
    fn metadata(&self, architecture: &str) -> String {
        let mut lines = String::new();
        if self.is_fashion_mnist() {
            lines += &format!("datasets:\n- {FASHION_MNIST}\n");
        }
        if self.rows.is_empty() {
            return lines;
        }
        let (name, kind) = (yaml(self.name()), self.kind());
        let title = yaml(&format!("{architecture} on {}", self.name()));
        lines += "metrics:\n";
        let kinds = self.rows.iter().flat_map(|(_, _, figures)| figures);
        let kinds = kinds.filter_map(|(kind, ..)| match *kind {
            "accuracy" | "mean_average_precision" | "f1" | "mae" | "rmse" | "r_squared" => {
                Some(*kind)
            }
            _ => None,
        });
        for kind in kinds.collect::<BTreeSet<_>>() {
            lines += &format!("- {kind}\n");
        }
        lines += &format!("model-index:\n- name: {title}\n  results:\n");
        let (task, task_name) = match self.task {
            Task::SingleLabel => ("image-classification", "Image Classification"),
            Task::MultiLabel => ("image-classification", "Multi-Label Image Classification"),
            Task::Regression => ("image-regression", "Image Regression"),
        };
        for (split, _, figures) in &self.rows {
            lines += &format!(
                "  - task:\n      type: {task}\n      name: {task_name}\n\
                 \x20   dataset:\n      type: {kind}\n      name: {name}\n      split: {split}\n\
                 \x20   metrics:\n"
            );
            for (kind, name, value) in figures {
                lines += &format!(
                    "    - type: {kind}\n      value: {value}\n      name: {name} ({split})\n"
                );
            }
        }
        lines
    }

    fn section(&self) -> String {
        let [(_, _, figures), ..] = &self.rows[..] else {
            return String::new();
        };
        let mut text = "## Results\n\n| images |".to_owned();
        for (_, name, _) in figures {
            text += &format!(" {} |", name.to_lowercase());
        }
        text += &format!("\n|---|{}\n", "---|".repeat(figures.len()));
        for (split, images, figures) in &self.rows {
            text += &format!("| {images} for {split} |");
            for (kind, _, value) in figures {
                text += &match *kind {
                    "accuracy" | "balanced_accuracy" | "top_5_accuracy" => {
                        format!(" {:.2} % |", 100.0 * value)
                    }
                    _ => format!(" {value:.4} |"),
                };
            }
            text.push('\n');
        }
        let how = match (self.chosen_by_test, self.rows.len()) {
            (true, _) => {
                "The epoch was chosen by the same test images, so that these figures are a little \
                 optimistic."
            }
            (false, 1) => {
                "The epoch was chosen by the same images, so that these figures are a little \
                 optimistic; no others were judged."
            }
            (false, _) => {
                "The epoch was chosen by the validation images; nothing was chosen by the test images."
            }
        };
        text + &format!("\n{how}\n\n")
    }
}

/// A figure of a log as the hub calls it, and as a person reads it.
fn metric_on_hub(name: &str) -> Option<(&'static str, &'static str)> {
    let name = name
        .trim_start_matches("valid_")
        .trim_start_matches("test_");
    Some(match name {
        "map" => ("mean_average_precision", "mAP"),
        "micro_f1" => ("f1", "Micro F1"),
        "macro_f1" => ("f1", "Macro F1"),
        "mae" => ("mae", "MAE"),
        "rmse" => ("rmse", "RMSE"),
        "r2" => ("r_squared", "R²"),
        _ => return None,
    })
}

/// Whether the images are FashionMNIST's, from wherever they came: no name of a folder tells.
fn is_fashion_mnist(data: &RunData) -> bool {
    data.classes == FashionMnist::CLASSES
}

/// Whether a run of FashionMNIST was validated on its test images, as earlier versions did.
fn chosen_by_test(data: &RunData) -> bool {
    let arguments = data.arguments.get("data").and_then(toml::Value::as_table);
    let Some(arguments) = arguments.filter(|_| is_fashion_mnist(data)) else {
        return false;
    };
    let splits = arguments.get("splits_fashion_mnist");
    splits.and_then(toml::Value::as_bool) != Some(true)
}

/// How it was trained.
fn training(run: &RunFiles, recipe: &str, command: Option<&str>) -> String {
    let data = &run.config.data;
    let mut text = format!(
        "## Training\n\nTrained with burn-zoo {} on {} images of {} ({} for validation).\n\n",
        run.config.burn_zoo,
        data.train_images,
        data_name(&data.source),
        data.valid_images
    );
    if let Some(command) = command {
        text += &format!(
            "This trains it again, as far as the run folder tells; `{RECIPE}` lies beside this \
             card:\n\n```sh\n{command}\n```\n\n"
        );
    }
    for added in &run.config.extended {
        text += &format!(
            "{} epochs were added after epoch {} (`finetune --resume`).\n\n",
            added.epochs, added.from_epoch
        );
    }
    text + &format!("The recipe:\n\n```toml\n{recipe}```\n\n")
}

/// The repository of the hub that a model started from, if it was one.
fn base_model(origin: &str) -> Result<Option<String>> {
    let name = weights_name(origin);
    if let Some(repository) = name.strip_prefix("hf-hub:") {
        let repository = repository.split('@').next().unwrap_or(repository);
        return Ok(Some(repository.to_owned()));
    }
    // Paths and seeds name no entry.
    if !name.contains('.') || name.contains(std::path::is_separator) {
        return Ok(None);
    }
    let manifest = Manifest::with_user_files()?;
    let entry = manifest.get(name).ok();
    Ok(entry.and_then(|entry| Some(entry.repository()?.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::{ModelCard, base_model};
    use crate::weights::CARD;

    #[test]
    fn what_weights_came_from_a_repository_of_the_hub() {
        let base = |origin| base_model(origin).unwrap();
        let entry =
            "resnet18.a1_in1k (licence apache-2.0); new head of 10 classes: pytorch (seed 42)";
        assert_eq!(base(entry).unwrap(), "timm/resnet18.a1_in1k");
        let hub = "hf-hub:me/mine@0123 (licence unknown)";
        assert_eq!(base(hub).unwrap(), "me/mine");
        for origin in [
            "/home/me/secret/mine.safetensors; new head of 3 classes: pytorch (seed 1)",
            "random (seed 3)",
            "resnet18.fractal (licence mit or apache-2.0)",
        ] {
            assert_eq!(base(origin), None, "{origin}");
        }
    }

    #[test]
    fn pictures_of_an_earlier_card_go_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let card = |names: &[&str]| ModelCard {
            text: crate::weights::sealed("text".to_owned()),
            files: names
                .iter()
                .map(|name| ((*name).to_owned(), Vec::new()))
                .collect(),
            missing: Vec::new(),
        };
        let there = |name: &str| dir.path().join(name).exists();
        std::fs::write(dir.path().join("mine.svg"), "").unwrap();
        let old = card(&["curves.svg", "confusion.svg", "recipe.toml"]);
        assert!(old.write(dir.path()).unwrap());
        assert!(card(&["curves.svg"]).write(dir.path()).unwrap());
        assert!(there("curves.svg") && there("mine.svg"));
        assert!(!there("confusion.svg") && !there("recipe.toml"));
        // With a card of somebody's, nothing goes.
        std::fs::write(dir.path().join(CARD), "# mine\n").unwrap();
        assert!(!card(&[]).write(dir.path()).unwrap());
        assert!(there("curves.svg"));
    }
}
