//! `push`: a model to the hub.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use burn_zoo::prelude::*;
use burn_zoo::report::ModelCard;
use burn_zoo::train::RunConfig;
use burn_zoo::weights::hub::{Hub, Push, PushFile, Pushed};
use clap::Args;
use comfy_table::{Table, presets};
use indicatif::HumanBytes;
use serde_json::{Value, json};

use crate::model::warn_of;
use crate::model_folder::{model_folder, open, spec_of};
use crate::output::{print, print_json};
use crate::{notice, progress};

#[derive(Args)]
pub struct PushArgs {
    /// The folder of a run, of which the best model is sent, or an exported one
    dir: PathBuf,
    /// The repository, OWNER/NAME; created if it does not exist
    #[arg(value_name = "OWNER/NAME")]
    repository: String,
    /// Make a repository that does not exist a private one
    #[arg(long)]
    private: bool,
    /// The branch, created from main if it does not exist [default: main]
    #[arg(long, value_name = "BRANCH")]
    revision: Option<String>,
    /// The message of the commit
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Show what would be sent, and send nothing; no access token is needed
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document on standard output, and nothing else there
    #[arg(long)]
    json: bool,
}

/// What of an exported folder is sent. Whatever else lies in it may be nobody's business.
const SENT: [&str; 6] = [
    WEIGHTS,
    CONFIG,
    CARD,
    "curves.svg",
    "confusion.svg",
    "recipe.toml",
];
const WEIGHTS: &str = "model.safetensors";
const CONFIG: &str = "config.json";
const CARD: &str = "README.md";

impl PushArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        let hub = Hub::from_env()?;
        let mut push = Push {
            repository: self.repository.clone(),
            private: self.private,
            revision: self.revision.clone(),
            message: self.message.clone(),
            files: Vec::new(),
        };
        hub.check_push(&push)?;
        let made = tempfile::tempdir().context("a temporary folder")?;
        let folder = self.folder(device, made.path())?;
        push.files = self.files(&folder, device)?;
        if self.dry_run {
            return self.show(&hub, &push, &folder);
        }
        let pushed = progress::push(|watch| hub.push(&push, watch))?;
        if self.private && pushed.private == Some(false) {
            notice::tell(format!(
                "--private: {} exists and is public, and stays so; its settings change that",
                self.repository
            ));
        }
        if self.json {
            return print_json(&self.document(&pushed));
        }
        self.say(&pushed)
    }

    /// The exported folder that is sent: DIR itself, or that of a run's best model, which is written
    /// into `made`.
    fn folder(&self, device: &Device, made: &Path) -> Result<PathBuf> {
        let dir = &self.dir;
        let shown = dir.display();
        let source = model_folder(dir)?;
        let spec = spec_of(dir)?;
        if let Some(licence) = spec.licence() {
            let source = spec.licence_source();
            warn_of(
                &licence,
                source.as_deref(),
                "the weights that it started from",
            );
        }
        if source == *dir {
            if !dir.join(WEIGHTS).is_file() {
                bail!(
                    "{shown}: expected the folder of a run, or an exported one with {WEIGHTS} and \
                     {CONFIG}, found no {WEIGHTS}"
                );
            }
            notice::say(format_args!(
                "{shown} is an exported folder: it is sent as it is"
            ));
            return Ok(dir.clone());
        }
        notice::say(format_args!(
            "{shown} is a run: {} is sent",
            source.display()
        ));
        let model = open(dir, device)?;
        model.export(made)?;
        write_card(dir, &model, made)?;
        Ok(made.to_path_buf())
    }

    /// The files of an exported folder. What is left out is told.
    fn files(&self, folder: &Path, device: &Device) -> Result<Vec<PushFile>> {
        let mut left_out = Vec::new();
        let mut names = Vec::new();
        let entries = std::fs::read_dir(folder);
        for entry in entries.with_context(|| folder.display().to_string())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let is_sent = SENT.contains(&name.as_str()) || name.starts_with("LICENSE");
            match is_sent && folder.join(&name).is_file() {
                true => names.push(name),
                false => left_out.push(name),
            }
        }
        if !left_out.is_empty() {
            left_out.sort();
            notice::tell(format!(
                "left out, as only the model, its card, pictures and licence are sent: {}",
                left_out.join(", ")
            ));
        }
        names.sort();
        // The largest first.
        names.sort_by_key(|name| name != WEIGHTS);
        let file = |name: &String| match name.as_str() {
            CARD => Ok(PushFile::of_bytes(CARD, self.card(folder)?)),
            name => Ok(PushFile::open(name, folder.join(name))),
        };
        let mut files = names.iter().map(file).collect::<Result<Vec<_>>>()?;
        if !names.iter().any(|name| name == CARD) {
            notice::tell(format!("{}: has no {CARD}; one is made", folder.display()));
            let made = tempfile::tempdir().context("a temporary folder")?;
            open(folder, device)?.export(made.path())?;
            files.push(PushFile::of_bytes(CARD, self.card(made.path())?));
        }
        Ok(files)
    }

    /// The card, in which the model has its address on the hub in place of a folder.
    fn card(&self, folder: &Path) -> Result<String> {
        let path = folder.join(CARD);
        let text = std::fs::read_to_string(&path);
        let text = text.with_context(|| path.display().to_string())?;
        let address = format!("hf-hub:{}", self.repository);
        let address = match &self.revision {
            Some(revision) => format!("{address}@{revision}"),
            None => address,
        };
        Ok(text.replace("local-dir:PATH", &address).replace(
            "burn_zoo::Classifier::open(\"PATH\", &device)?",
            &format!("burn_zoo::Zoo::get(\"{address}\")?.build(&device)?"),
        ))
    }

    /// What would be sent.
    fn show(&self, hub: &Hub, push: &Push, folder: &Path) -> Result<()> {
        let card = if folder.join(CARD).is_file() {
            self.card(folder)?
        } else {
            String::new()
        };
        let metadata = front_matter(&card);
        let revision = push.revision.as_deref().unwrap_or("main");
        let url = hub.page(&push.repository);
        if self.json {
            let files = push.files.iter().map(|file| {
                Ok(json!({ "path": file.path, "bytes": file.bytes()?, "large": file.is_large()? }))
            });
            return print_json(&json!({
                "dry_run": true,
                "repository": push.repository,
                "url": url,
                "revision": revision,
                "private": push.private,
                "files": files.collect::<burn_zoo::Result<Vec<Value>>>()?,
                "card": metadata,
            }));
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header(["file", "size", "kept in"]);
        for file in &push.files {
            table.add_row([
                file.path.clone(),
                HumanBytes(file.bytes()?).to_string(),
                kept_in(file.is_large()?).to_owned(),
            ]);
        }
        print(table)?;
        let new = if push.private {
            "private, if it is created"
        } else {
            "if it is created, as public or private as the owner's new repositories are"
        };
        print(format!("to {url}, branch {revision}; {new}"))?;
        if !metadata.is_empty() {
            print(format!("the card begins:\n{metadata}"))?;
        }
        print("nothing was sent; the hub itself decides what is kept in LFS")
    }

    fn document(&self, pushed: &Pushed) -> Value {
        let files = pushed.files.iter().map(|file| {
            json!({
                "path": file.path,
                "bytes": file.bytes,
                "large": file.large,
                "changed": file.changed,
                "sent": file.sent,
            })
        });
        json!({
            "dry_run": false,
            "repository": self.repository,
            "url": pushed.url,
            "revision": pushed.revision,
            "private": pushed.private,
            "created": pushed.created,
            "created_branch": pushed.created_branch,
            "commit": pushed.commit,
            "files": files.collect::<Vec<_>>(),
        })
    }

    fn say(&self, pushed: &Pushed) -> Result<()> {
        if pushed.created {
            let how = match pushed.private {
                Some(true) => "private",
                Some(false) => "public",
                None => "new",
            };
            print(format!("created the {how} repository {}", self.repository))?;
        }
        if pushed.created_branch {
            print(format!("created the branch {}", pushed.revision))?;
        }
        for file in &pushed.files {
            let what = match (file.changed, file.sent) {
                (false, _) => "unchanged",
                (true, true) => "sent",
                (true, false) => "in the storage already",
            };
            let size = HumanBytes(file.bytes);
            let place = kept_in(file.large);
            print(format!("{}: {size}, {place}, {what}", file.path))?;
        }
        match &pushed.commit {
            Some(commit) => print(format!("{}/commit/{commit}", pushed.url)),
            None => print(format!(
                "{} has all of it already: no commit was made",
                pushed.url
            )),
        }
    }
}

fn kept_in(large: bool) -> &'static str {
    if large { "LFS" } else { "Git" }
}

/// The YAML at the beginning of a card.
fn front_matter(card: &str) -> &str {
    let end = card
        .strip_prefix("---\n")
        .and_then(|rest| rest.find("\n---\n"));
    end.map_or("", |end| &card[..end + "---\n".len() + "\n---".len()])
}

/// Writes a run's card, its pictures and its recipe into an exported folder; of other folders nothing more is
/// known than their model. What the card lacks is told.
pub fn write_card(dir: &Path, model: &Classifier, exported: &Path) -> Result<()> {
    if !dir.join("config.toml").exists() {
        return Ok(());
    }
    let card = RunConfig::open(dir)
        .and_then(|config| ModelCard::of_run(dir, model, Some(&command(&config))));
    let card = match card {
        Ok(card) => card,
        // The model is worth more than what is said of it.
        Err(error) => {
            notice::tell(format!("{CARD} tells nothing of the run: {error}"));
            return Ok(());
        }
    };
    for missing in card.missing() {
        notice::tell(format!("{CARD}: {missing}"));
    }
    if !card.write(exported)? {
        let shown = exported.display();
        notice::tell(format!(
            "{shown}: its {CARD} is not ours and stays as it is"
        ));
    }
    Ok(())
}

/// The command that trains a run again, as far as its folder tells. Of paths it has the last part.
fn command(config: &RunConfig) -> String {
    let text = |key: &str| config.model.get(key).and_then(toml::Value::as_str);
    let architecture = text("architecture").unwrap_or("MODEL");
    let origin = text("weights").unwrap_or_default();
    let weights = origin.split("; ").next().unwrap_or(origin);
    let weights = weights.split(" (").next().unwrap_or(weights);
    let mut words = vec!["burn-zoo".to_owned(), "finetune".to_owned()];
    if weights.starts_with("hf-hub:") || (weights.contains('.') && Zoo::get(weights).is_ok()) {
        words.push(weights.to_owned());
    } else {
        let file = Path::new(weights).file_name();
        let file = file.map_or("random".into(), |file| file.to_string_lossy());
        words.extend([architecture.to_owned(), "--weights".to_owned(), file.into()]);
    }
    words.extend(["--config".to_owned(), "recipe.toml".to_owned()]);
    let mut flags = |table: &toml::Table| {
        for (name, value) in table {
            let flag = format!("--{}", name.replace('_', "-"));
            let value = match value {
                // That is no flag: it says how earlier versions divided the images.
                _ if name == "splits_fashion_mnist" => continue,
                toml::Value::Boolean(true) => {
                    words.push(flag);
                    continue;
                }
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Float(number) => number.to_string(),
                toml::Value::String(text) if name == "data" => {
                    let last = Path::new(text).file_name();
                    last.map_or(text.clone(), |last| last.to_string_lossy().into())
                }
                toml::Value::String(text) => text.clone(),
                _ => continue,
            };
            words.extend([flag, value]);
        }
    };
    flags(&config.data.arguments);
    if let Some(toml::Value::Table(data)) = config.data.arguments.get("data") {
        flags(data);
    }
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_.,:/=@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use burn_zoo::train::{Recipe, RunConfig, RunData};

    use super::{command, front_matter, quoted};

    fn config(weights: &str, arguments: &str) -> RunConfig {
        RunConfig {
            burn_zoo: "0.1.0".to_owned(),
            recipe: Recipe::full(),
            data: RunData {
                source: String::new(),
                train_images: 2,
                valid_images: 1,
                classes: Vec::new(),
                arguments: arguments.parse().unwrap(),
            },
            model: format!("architecture = 'resnet18'\nweights = '{weights}'")
                .parse()
                .unwrap(),
            extended: Vec::new(),
        }
    }

    #[test]
    fn a_run_is_told_as_a_command() {
        let arguments = "limit_train = 240\ntest = true\n[data]\ndata = '/home/me/my photos'\n\
                         left_out = []\nskip_broken = false\nsplit_seed = 42\nvalid_share = 0.2\n\
                         splits_fashion_mnist = true\n";
        assert_eq!(
            command(&config(
                "resnet18.a1_in1k (licence apache-2.0); new head",
                arguments
            )),
            "burn-zoo finetune resnet18.a1_in1k --config recipe.toml --limit-train 240 --test \
             --data 'my photos' --split-seed 42 --valid-share 0.2"
        );
        for (weights, expected) in [
            ("random (seed 3)", "resnet18 --weights random"),
            ("/a/b/mine.pth; key model", "resnet18 --weights mine.pth"),
            (
                "hf-hub:me/mine@0123 (licence unknown)",
                "hf-hub:me/mine@0123",
            ),
        ] {
            let found = command(&config(weights, ""));
            assert_eq!(
                found,
                format!("burn-zoo finetune {expected} --config recipe.toml")
            );
        }
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn the_front_matter_of_a_card_is_its_beginning() {
        assert_eq!(front_matter("---\na: 1\n---\n# b\n---\n"), "---\na: 1\n---");
        assert_eq!(front_matter("# none\n---\n"), "");
    }
}
