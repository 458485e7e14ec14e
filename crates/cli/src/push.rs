//! `push`: a model to the hub.

mod command;

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

use self::command::command;
use crate::model::warn_of;
use crate::model_folder::{model_folder, open_to_share, spec_of};
use crate::output::{print, print_json};
use crate::{notice, progress};

#[derive(Args)]
pub struct PushArgs {
    /// The folder of a run, of which the best model is sent, or an exported one
    dir: PathBuf,
    /// The repository, OWNER/NAME; created if it does not exist
    #[arg(value_name = "OWNER/NAME")]
    repository: String,
    /// Make a repository that does not exist a private one; into a public one nothing is sent
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
        let (folder, card) = self.folder(device, made.path())?;
        push.files = Self::files(&folder, &card)?;
        if self.dry_run {
            return self.show(&hub, &push, &card);
        }
        let pushed = progress::push(|watch| hub.push(&push, watch))?;
        if self.json {
            return print_json(&self.document(&pushed));
        }
        self.say(&pushed)
    }

    /// The exported folder that is sent, with its card: DIR itself, or that of a run's best model, which is
    /// written into `made`.
    fn folder(&self, device: &Device, made: &Path) -> Result<(PathBuf, ModelCard)> {
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
        let is_exported = source == *dir;
        if is_exported && !dir.join(WEIGHTS).is_file() {
            bail!(
                "{shown}: expected the folder of a run, or an exported one with {WEIGHTS} and \
                 {CONFIG}, found no {WEIGHTS}"
            );
        }
        // Also an exported one is opened: weights of another make than their configuration are of no
        // use to anybody.
        let model = open_to_share(dir, device)?;
        let folder = if is_exported {
            notice::say(format_args!(
                "{shown} is an exported folder: it is sent as it is"
            ));
            if !dir.join(CARD).is_file() {
                notice::tell(format!("{shown}: has no {CARD}; one is made"));
            }
            dir.clone()
        } else {
            notice::say(format_args!(
                "{shown} is a run: {} is sent",
                source.display()
            ));
            model.export(made)?;
            write_card(dir, &model, made)?;
            made.to_path_buf()
        };
        let card = ModelCard::of_folder(&folder, &model)?;
        let card = card.for_repository(&self.repository, self.revision.as_deref());
        Ok((folder, card))
    }

    /// The files of an exported folder, the largest first. Whatever else lies in it may be nobody's business:
    /// it is left out, which is told.
    fn files(folder: &Path, card: &ModelCard) -> Result<Vec<PushFile>> {
        let mut files: Vec<PushFile> = card
            .files()
            .map(|(name, bytes)| PushFile::of_bytes(name, bytes))
            .collect();
        let mut left_out = Vec::new();
        let entries = std::fs::read_dir(folder);
        for entry in entries.with_context(|| folder.display().to_string())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if card.files().any(|(of_card, _)| of_card == name) {
                continue;
            }
            let is_sent = [WEIGHTS, CONFIG].contains(&name.as_str()) || name.starts_with("LICENSE");
            let path = folder.join(&name);
            if is_sent && path.is_file() {
                files.push(PushFile::open(name, path));
            } else {
                left_out.push(name);
            }
        }
        if !left_out.is_empty() {
            left_out.sort();
            notice::tell(format!(
                "left out, as only the model, its card, pictures and licence are sent: {}",
                left_out.join(", ")
            ));
        }
        files.sort_by_key(|file| (file.path != WEIGHTS, file.path.clone()));
        Ok(files)
    }

    /// What would be sent.
    fn show(&self, hub: &Hub, push: &Push, card: &ModelCard) -> Result<()> {
        let metadata = front_matter(card.text());
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

#[cfg(test)]
mod tests {
    use burn_zoo::train::{Recipe, RunConfig, RunData};

    use super::{command, front_matter};

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
            command(&config("resnet18.a1_in1k (licence apache-2.0)", arguments)),
            "burn-zoo finetune resnet18.a1_in1k --config recipe.toml --limit-train 240 --test \
             --data 'my photos' --split-seed 42 --valid-share 0.2"
        );
        for (weights, expected) in [
            ("random (seed 3)", "resnet18 --weights random"),
            ("/a/b (old)/mine.pth", "resnet18 --weights mine.pth"),
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
    }

    #[test]
    fn a_changed_model_is_told_by_its_flags() {
        let mut config = config(
            "/my (old)/x.pth; key ema; first convolution from 3 to 1 channels: sum; new head of 2 \
             classes: kaiming_normal (seed 42)",
            "[data]\ncsv_label_columns = ['what', 'else']\ncsv_delimiter = \"\\t\"",
        );
        config.model.extend(
            "global_pool = 'max'\nstem = 'stride 2, no pooling'\nin_channels = 1\n[normalization]\nmean = [0.5]\n\
             std = [0.25]"
                .parse::<toml::Table>()
                .unwrap(),
        );
        assert_eq!(
            command(&config),
            "burn-zoo finetune resnet18 --weights x.pth --config recipe.toml --weights-key ema --stem sum \
             --head-init kaiming_normal --pool max --in-channels 1 --mean 0.5 --std 0.25 --stem-stride 2 \
             --no-stem-pool \
             --csv-delimiter tab --csv-label-columns what,else"
        );
        config.model.insert("global_pool".to_owned(), "avg".into());
        config
            .model
            .insert("stem".to_owned(), "patches of 4 pixels".into());
        let found = command(&config);
        assert!(
            found.contains("kaiming_normal --in-channels 1")
                && found.contains("--stem-stride 4 --csv"),
            "{found}"
        );
    }

    #[test]
    fn the_front_matter_of_a_card_is_its_beginning() {
        assert_eq!(front_matter("---\na: 1\n---\n# b\n---\n"), "---\na: 1\n---");
        assert_eq!(front_matter("# none\n---\n"), "");
    }
}
