//! What is left of a search: the best trial's recipe and model, and the command that trains it once more.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use burn_zoo::tune::{SearchResult, trial_folder};
use clap::{Args as _, Command};
use serde_json::Value;

use super::child::ChildPlan;
use crate::recipe::RecipeArgs;

/// What is left of the best trial.
pub struct BestFiles {
    pub recipe: PathBuf,
    pub model: PathBuf,
    pub command: String,
}

/// The best trial's recipe as a file for `finetune --config`, and its model.
pub fn write_best(found: &SearchResult, plan: &ChildPlan) -> Result<Option<BestFiles>> {
    let Some(best) = found.best() else {
        return Ok(None);
    };
    let folder = trial_folder(found.dir(), best.trial);
    let config = burn_zoo::train::RunConfig::open(&folder)?;
    let recipe = found.dir().join("best.toml");
    burn_zoo::write_file(&recipe, config.recipe.to_toml()?.as_bytes())?;
    let model = found.dir().join("best");
    copy_model(&folder.join("best"), &model)?;
    // Flags of the recipe would override the file.
    let of_recipe: Vec<String> = RecipeArgs::augment_args(Command::new("recipe"))
        .get_arguments()
        .filter_map(|argument| argument.get_long().map(|flag| format!("--{flag}")))
        .collect();
    let is_recipe = |argument: &&String| {
        let flag = argument.split('=').next().unwrap_or_default();
        of_recipe.iter().any(|known| known == flag)
    };
    let mut command: Vec<String> = plan
        .command
        .iter()
        .filter(|argument| !is_recipe(argument))
        .cloned()
        .collect();
    for (name, value) in &best.params {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        match name.as_str() {
            "model" => {
                if let Some(model) = command
                    .iter_mut()
                    .find(|argument| !argument.starts_with("--"))
                {
                    *model = text;
                }
            }
            // Of the recipe, and its flag is one of the model.
            "image_size" => command.retain(|argument| !argument.starts_with("--image-size=")),
            "weights" => set_flag(&mut command, "--weights", &text),
            "tag" => set_flag(&mut command, "--weights", &format!("hub:{text}")),
            "stem_rule" => set_flag(&mut command, "--stem", &text),
            "stem_stride" => set_flag(&mut command, "--stem-stride", &text),
            "head_init" => set_flag(&mut command, "--head-init", &text),
            "pool" => set_flag(&mut command, "--pool", &text),
            "in_channels" => set_flag(&mut command, "--in-channels", &text),
            "small_images" => {
                set_switch(&mut command, "--small-images", value == &Value::Bool(true))
            }
            "stem_pool" => set_switch(&mut command, "--no-stem-pool", value == &Value::Bool(false)),
            _ => {}
        }
    }
    // Files that flags name are found from where the search began.
    let here = std::env::current_dir().context("the current folder")?;
    let (config, go) = match here == plan.folder {
        true => (recipe.clone(), String::new()),
        false => {
            let folder = burn_zoo::shell_word(&plan.folder.display().to_string());
            (here.join(&recipe), format!("cd {folder} && "))
        }
    };
    command.push("--config".to_owned());
    command.push(config.display().to_string());
    let words: Vec<String> = command
        .iter()
        .map(|word| burn_zoo::shell_word(word))
        .collect();
    let command = format!("{go}burn-zoo finetune {}", words.join(" "));
    Ok(Some(BestFiles {
        recipe,
        model,
        command,
    }))
}

/// Copies an exported model into the place of an earlier one, which goes when the copy is whole.
fn copy_model(from: &Path, to: &Path) -> Result<()> {
    let new = to.with_extension("new");
    let copy = || -> std::io::Result<()> {
        std::fs::create_dir_all(&new)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            std::fs::copy(entry.path(), new.join(entry.file_name()))?;
        }
        if to.exists() {
            std::fs::remove_dir_all(to)?;
        }
        std::fs::rename(&new, to)
    };
    copy().with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

fn set_switch(command: &mut Vec<String>, flag: &str, on: bool) {
    command.retain(|argument| argument != flag);
    if on {
        command.push(flag.to_owned());
    }
}

fn set_flag(command: &mut Vec<String>, flag: &str, value: &str) {
    command.retain(|argument| !argument.starts_with(&format!("{flag}=")));
    command.push(format!("{flag}={value}"));
}
