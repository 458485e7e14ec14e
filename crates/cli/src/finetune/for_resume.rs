//! What goes with `--resume`.

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// Refuses what does not go with `--resume`, by the name of what was given. It has no argument of its
/// own.
pub struct ForResume;

impl ForResume {
    /// What goes with `--resume`.
    const TAKEN: [&str; 19] = [
        "resume",
        "test",
        "epochs",
        "schedule",
        "lr",
        "data",
        "skip_broken",
        "tensorboard",
        "no_report",
        "json",
        "tui",
        "device",
        "threads",
        "devices",
        "parallel_timeout",
        "bucket",
        "no_overlap",
        "place",
        "micro_batches",
    ];

    fn check(given: &[&str]) -> Result<(), String> {
        if !given.contains(&"resume") {
            return Ok(());
        }
        let flag = |id: &&str| match *id {
            "model" => "MODEL".to_owned(),
            id => format!("--{}", id.replace('_', "-")),
        };
        let refused: Vec<String> = given
            .iter()
            .filter(|id| !Self::TAKEN.contains(id))
            .map(flag)
            .collect();
        if !refused.is_empty() {
            return Err(format!(
                "{} cannot be used with --resume: the run goes on with the model, the images and \
                 the recipe that it began with",
                refused.join(", ")
            ));
        }
        let alone: Vec<String> = given
            .iter()
            .filter(|id| ["schedule", "lr"].contains(id))
            .map(flag)
            .collect();
        if !alone.is_empty() && !given.contains(&"epochs") {
            return Err(format!(
                "{} cannot be used with --resume alone, but with --resume and --epochs N, for the \
                 epochs that are added to a finished run",
                alone.join(", ")
            ));
        }
        Ok(())
    }
}

impl FromArgMatches for ForResume {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let typed = |id: &&str| matches.value_source(id) == Some(ValueSource::CommandLine);
        // Groups of arguments are named after our types, in upper case.
        let ids = matches.ids().map(clap::Id::as_str);
        let given: Vec<&str> = ids
            .filter(|id| !id.starts_with(char::is_uppercase))
            .filter(typed)
            .collect();
        Self::check(&given)
            .map(|()| Self)
            .map_err(|text| clap::Error::raw(ErrorKind::ArgumentConflict, format!("{text}\n")))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        Self::from_arg_matches(matches).map(drop)
    }
}

impl Args for ForResume {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}
