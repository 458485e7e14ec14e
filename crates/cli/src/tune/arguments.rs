//! What was typed behind `tune`, for the trials and beside `--resume`.

use anyhow::{Result, anyhow, bail};
use burn_zoo::tune::Space;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args as _, Command};

use super::trial::TrialArgs;

/// Flags that go with `--resume`.
const WITH_RESUME: [&str; 7] = [
    "go_on",
    "trials",
    "jobs",
    "devices",
    "time_budget",
    "no_report",
    "json",
];

/// What was typed.
pub fn is_given(given: &ArgMatches, id: &str) -> bool {
    let known = given.try_contains_id(id).unwrap_or(false);
    known && given.value_source(id) == Some(ValueSource::CommandLine)
}

pub fn refuse_beside_resume(given: &ArgMatches) -> Result<()> {
    let ids = given.ids().map(clap::Id::as_str);
    let refused: Vec<String> = ids
        .filter(|id| !id.starts_with(char::is_uppercase) && is_given(given, id))
        .filter(|id| !WITH_RESUME.contains(id) && !["device", "threads"].contains(id))
        .map(|id| match id {
            "model" => "MODEL".to_owned(),
            "search_sampler" => "--sampler".to_owned(),
            id => format!("--{}", id.replace('_', "-")),
        })
        .collect();
    if !refused.is_empty() {
        bail!(
            "{} cannot be used with --resume: the search goes on with what it began with",
            refused.join(", ")
        );
    }
    Ok(())
}

/// A flag and a search of the same: no trial would take the flag's value. Where a parameter exists under conditions
/// alone, the others do.
pub fn refuse_flags_of(search: &Space, given: &ArgMatches) -> Result<()> {
    for (name, _) in search.iter().filter(|(_, own)| own.when.is_empty()) {
        let id = match name {
            "learning_rate" => "lr",
            "tag" => "weights",
            "stem_rule" => "stem",
            "stem_pool" => "no_stem_pool",
            "warmup.epochs" => "warmup",
            "ema.decay" => "ema",
            "early_stopping.patience" => "early_stopping",
            "early_stopping.min_delta" => "min_delta",
            "checkpoints.last" => "keep_last",
            "checkpoints.best" => "keep_best",
            "checkpoints.every_steps" => "checkpoint_steps",
            "mixing.mixup_alpha" => "mixup",
            "mixing.cutmix_alpha" => "cutmix",
            // The one has no flag, and the flag of the other is the search's, too.
            "model" | "seed" => continue,
            other => other,
        };
        if is_given(given, id) {
            let flag = match id {
                "sampler" => "image-sampler".to_owned(),
                id => id.replace('_', "-"),
            };
            bail!(
                "{name}: expected a parameter or --{flag}, found both; no trial would take the flag's value"
            );
        }
    }
    Ok(())
}

/// The arguments that `trial` takes as `tune` got them.
pub fn shared_arguments(given: &ArgMatches) -> Result<Vec<String>> {
    let mut arguments = Vec::new();
    for argument in TrialArgs::augment_args(Command::new("trial")).get_arguments() {
        let id = argument.get_id().as_str();
        // The file of `--config` is kept in the search.
        if !is_given(given, id) || id == "config" {
            continue;
        }
        let Some(flag) = argument.get_long() else {
            let values = given.get_raw(id).into_iter().flatten();
            arguments.extend(values.map(|value| value.to_string_lossy().into_owned()));
            continue;
        };
        if matches!(argument.get_action(), ArgAction::SetTrue) {
            arguments.push(format!("--{flag}"));
            continue;
        }
        let values: Vec<&str> = given
            .get_raw(id)
            .into_iter()
            .flatten()
            .map(|value| {
                value
                    .to_str()
                    .ok_or_else(|| anyhow!("--{flag}: expected UTF-8"))
            })
            .collect::<Result<_>>()?;
        arguments.push(format!("--{flag}={}", values.join(",")));
    }
    Ok(arguments)
}
