//! The commands and their flags, and how an error becomes an exit code.

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::flags::{count, device_name};
use crate::output::Stopped;
use crate::progress::Stop;
use crate::{
    bench, embed, eval, export, finetune, fractals, hub, info, list, logits, lr_find, notice,
    predict, probe, push, recommend, report, tune,
};

/// A transfer-learning model zoo: fine-tune, evaluate and export image classifiers.
#[derive(Parser)]
#[command(name = "burn-zoo", version, max_term_width = 100)]
struct Cli {
    /// Device to compute on: auto, cpu, cuda, cuda:N, wgpu or ndarray
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE",
        value_parser = device_name)]
    device: String,
    /// Threads to compute with on a CPU [default: as many as the machine gives]
    #[arg(long, global = true, value_name = "N", value_parser = count::<1024>)]
    threads: Option<usize>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List architectures or weights: size, accuracy, licence
    List(list::ListArgs),
    /// Recommend three models for your images and your time, by measured speed
    Recommend(recommend::RecommendArgs),
    /// Show a model's layers, parameters and MACs; its groups, poolings, licence, paper and tags
    Info(info::InfoArgs),
    /// Fine-tune a model on labelled images
    Finetune(Box<finetune::FinetuneArgs>),
    /// Search for the best recipe: values, who goes on, what it found
    Tune(Box<tune::TuneArgs>),
    /// Fine-tune with given values and print a line for each epoch, for a program that searches
    Trial(Box<tune::TrialArgs>),
    /// Try learning rates from very small to very large, and suggest one
    LrFind(Box<lr_find::LrFindArgs>),
    /// Write a run's report: one HTML page, and pictures
    Report(report::ReportArgs),
    /// Evaluate a run or an exported folder on every image that is given
    Eval(eval::EvalArgs),
    /// Classify images, or folders of them, with a run or an exported folder
    Predict(predict::PredictArgs),
    /// Write the features of images into a file, one vector for each
    Embed(Box<embed::EmbedArgs>),
    /// Compare what the features of several models tell of your images, without training
    Probe(Box<probe::ProbeArgs>),
    /// Write a run's best model as a folder that timm opens
    Export(export::ExportArgs),
    /// Send a run's best model, or an exported folder, to a repository of the hub
    Push(push::PushArgs),
    /// Draw images made of formulas, which the bundled weights are trained on
    Fractals(fractals::FractalsArgs),
    /// Compute logits and the output of every group for a tensor from a file
    Logits(logits::LogitsArgs),
    /// Measure images per second and peak memory
    Bench(bench::BenchArgs),
    /// Fetch weights into the cache, verified
    Fetch(hub::FetchArgs),
    /// Read every cached file again and compare its checksum
    Verify(hub::VerifyArgs),
    /// Show what is cached, or remove it
    #[command(subcommand)]
    Cache(hub::CacheCommand),
}

pub fn run() -> ExitCode {
    let matches = command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let threads = match threads(&cli) {
        Ok(threads) => threads,
        Err(text) => {
            notice::say(format_args!("error: {text}"));
            return ExitCode::FAILURE;
        }
    };
    if let Some(threads) = threads
        && let Err(error) = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
    {
        notice::say(format_args!("error: --threads {threads}: {error}"));
        return ExitCode::FAILURE;
    }
    let device = || burn_zoo::device_with(&cli.device, &mut |text| notice::tell(text));
    let result = match cli.command {
        Command::List(args) => args.run(),
        Command::Recommend(args) => device().map_err(Into::into).and_then(|d| args.run(d)),
        Command::Info(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Finetune(args) => args
            .check_device(&cli.device)
            .and_then(|()| device().map_err(Into::into))
            .and_then(|d| args.run(d)),
        Command::Tune(args) => {
            let given = matches.subcommand().map(|(_, given)| given);
            let given = given.unwrap_or(&matches);
            device()
                .map_err(Into::into)
                .and_then(|d| args.run(&cli.device, threads, d, given))
        }
        Command::Trial(args) => device().map_err(Into::into).and_then(|d| args.run(d)),
        Command::LrFind(args) => device().map_err(Into::into).and_then(|d| args.run(d)),
        Command::Report(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Eval(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Predict(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Embed(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Probe(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Export(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Push(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Logits(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Bench(args) => device().map_err(Into::into).and_then(|d| args.run(d)),
        Command::Fractals(args) => fractals::run(&args),
        Command::Fetch(args) => args.run(),
        Command::Verify(args) => args.run(),
        Command::Cache(command) => command.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            notice::say(format_args!("error: {}", in_words(&error)));
            let interrupted = matches!(
                error.downcast_ref(),
                Some(burn_zoo::Error::Interrupted { .. })
            );
            if interrupted || error.is::<Stopped>() {
                ExitCode::from(Stop::exit_code())
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// The command line. The flags of `trial` go by the names of fields as well, as programs that search
/// write them: `--batch_size=32`. `tune` has a sampler of its own.
fn command() -> clap::Command {
    let command = Cli::command().mut_subcommand("tune", |tune| {
        tune.mut_arg("sampler", |argument| argument.long("image-sampler"))
    });
    command.mut_subcommand("trial", |trial| {
        trial.mut_args(|argument| {
            let Some(flag) = argument.get_long().map(str::to_owned) else {
                return argument;
            };
            match flag.as_str() {
                "lr" => argument.alias("learning_rate"),
                flag if flag.contains('-') => argument.alias(flag.replace('-', "_")),
                _ => argument,
            }
        })
    })
}

/// The threads that are asked for, by their own flag or by a budget.
fn threads(cli: &Cli) -> Result<Option<usize>, String> {
    let Command::Recommend(args) = &cli.command else {
        return Ok(cli.threads);
    };
    let there = std::thread::available_parallelism().map_or(1, usize::from);
    match (cli.threads, args.cores()) {
        (Some(threads), Some(cores)) if threads != cores => Err(format!(
            "--threads: expected {cores}, the cores of --budget, found {threads}"
        )),
        (None, Some(cores)) if cores > there => {
            notice::tell(format!(
                "--budget: {cores} cores are not here: times are measured with {there}"
            ));
            Ok(Some(there))
        }
        (threads, cores) => Ok(threads.or(cores)),
    }
}

/// An error with its causes as one sentence. Some messages have their cause in them already: it is
/// said once.
fn in_words(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::{command, in_words};

    #[test]
    fn no_two_flags_have_one_name() {
        command().debug_assert();
    }

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow!("no such file").context("cannot read a: no such file");
        assert_eq!(in_words(&error), "cannot read a: no such file");
        let error = anyhow!("no such file").context("cannot read a");
        let error = error.context("--data");
        assert_eq!(in_words(&error), "--data: cannot read a: no such file");
    }
}
