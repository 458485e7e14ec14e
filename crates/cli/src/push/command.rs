//! The command by which a run was made.

use std::path::Path;

use burn_zoo::prelude::*;
use burn_zoo::report::ModelCard;
use burn_zoo::train::RunConfig;

/// The command that trains a run again, as far as its folder tells. Of paths it has the last part.
pub fn command(config: &RunConfig) -> String {
    let text = |key: &str| config.model.get(key).and_then(toml::Value::as_str);
    let architecture = text("architecture").unwrap_or("MODEL");
    let origin = text("weights").unwrap_or_default();
    let weights = ModelCard::weights_name(origin);
    let mut words = vec!["burn-zoo".to_owned(), "finetune".to_owned()];
    if weights.starts_with("hf-hub:") || (weights.contains('.') && Zoo::get(weights).is_ok()) {
        words.push(weights.to_owned());
    } else {
        let file = Path::new(weights).file_name();
        let file = file.map_or("random".into(), |file| file.to_string_lossy());
        words.extend([architecture.to_owned(), "--weights".to_owned(), file.into()]);
    }
    words.extend(["--config".to_owned(), "recipe.toml".to_owned()]);
    words.extend(model_flags(config, origin));
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
                // As the flag takes it.
                toml::Value::String(text) if text == "\t" => "tab".to_owned(),
                toml::Value::String(text) => text.clone(),
                toml::Value::Array(items) if name != "left_out" && !items.is_empty() => {
                    let items: Vec<&str> = items.iter().filter_map(|item| item.as_str()).collect();
                    items.join(",")
                }
                _ => continue,
            };
            words.extend([flag, value]);
        }
    };
    flags(&config.data.arguments);
    if let Some(toml::Value::Table(data)) = config.data.arguments.get("data") {
        flags(data);
    }
    let words: Vec<String> = words
        .iter()
        .map(|word| burn_zoo::shell_word(word))
        .collect();
    words.join(" ")
}

/// The flags by which a run's model differs from upstream's, as far as the words for its weights and its stem
/// tell.
fn model_flags(config: &RunConfig, origin: &str) -> Vec<String> {
    let text = |key: &str| config.model.get(key).and_then(toml::Value::as_str);
    let mut flags = Vec::new();
    let mut flag = |name: &str, value: &str| flags.extend([name.to_owned(), value.to_owned()]);
    for done in origin[ModelCard::weights_name(origin).len()..].split("; ") {
        if let Some(key) = done.strip_prefix("key ") {
            flag("--weights-key", key);
        } else if let Some(prefix) = done.strip_prefix("prefix ") {
            flag("--weights-prefix", prefix);
        } else if done.starts_with("first convolution from ") {
            let rule = done.split_once(": ").map(|(_, rule)| rule);
            let default = StemRule::default().to_string();
            if let Some(rule) = rule.filter(|rule| *rule != default) {
                flag("--stem", rule);
            }
        } else if done.starts_with("new head of ") {
            let rule = done.split_once(": ").map(|(_, rule)| rule);
            let rule = rule.and_then(|rule| rule.rsplit_once(" (seed "));
            if let Some((rule, _)) = rule {
                flag("--head-init", rule);
            }
        }
    }
    let upstream = text("architecture").and_then(|name| burn_zoo::zoo::find(name).ok());
    if let (Some(upstream), Some(pool)) = (upstream, text("global_pool"))
        && upstream.pool.timm_name() != pool
    {
        flag("--pool", if pool.is_empty() { "none" } else { pool });
    }
    let channels = config
        .model
        .get("in_channels")
        .and_then(toml::Value::as_integer);
    let channels = channels.and_then(|channels| usize::try_from(channels).ok());
    if let Some(channels) = channels {
        // Of built-in images there is one; of others it follows from them, unless somebody asked for it.
        let data = config
            .data
            .arguments
            .get("data")
            .and_then(|data| data.get("data"));
        let data = data.and_then(toml::Value::as_str).unwrap_or_default();
        if channels != 1 || !["fashion-mnist", "fashion-mnist-mini"].contains(&data) {
            flag("--in-channels", &channels.to_string());
        }
        let normalization = config.model.get("normalization").cloned();
        let normalization: Option<Normalization> =
            normalization.and_then(|own| own.try_into().ok());
        let usual = Normalization::imagenet().for_channels(channels);
        if let Some(own) = normalization.filter(|own| *own != usual) {
            let list = |numbers: &[f64]| -> Vec<String> {
                numbers.iter().map(ToString::to_string).collect()
            };
            flag("--mean", &list(own.mean()).join(","));
            flag("--std", &list(own.std()).join(","));
        }
    }
    // `stride 1, no pooling`, or `patches of 4 pixels`.
    if let Some(stem) = text("stem") {
        let number = stem
            .split([' ', ','])
            .find(|word| word.parse::<usize>().is_ok());
        if let Some(stride) = number {
            flag("--stem-stride", stride);
        }
        if stem.ends_with(", no pooling") {
            flags.push("--no-stem-pool".to_owned());
        }
    }
    flags
}
