//! Parses, calls the library, prints.

mod bench;
#[cfg(feature = "tui")]
mod dashboard;
mod eval;
mod finetune;
mod fractals;
#[cfg(feature = "hub")]
mod hub;
mod inspect;
mod judge;
mod logits;
mod lr_find;
mod notice;
mod place;
mod predict;
mod progress;
mod recipe;
mod source;
mod task;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use burn_zoo::manifest::non_commercial;
use burn_zoo::prelude::*;
use burn_zoo::weights::LoadReport;
use clap::{Args, Parser, Subcommand};

use self::place::{model_folder, open};

/// A transfer-learning model zoo: fine-tune, evaluate and export image classifiers.
#[derive(Parser)]
#[command(name = "burn-zoo", version, max_term_width = 100)]
struct Cli {
    /// Device to compute on: auto, cpu, cuda, cuda:N, wgpu or ndarray
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE",
        value_parser = device_name)]
    device: String,
    /// Threads to compute with on a CPU [default: as many as the machine gives]
    #[cfg(feature = "flex")]
    #[arg(long, global = true, value_name = "N", value_parser = count::<1024>)]
    threads: Option<usize>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the architectures
    List(inspect::ListArgs),
    /// Show a model's layers, output shapes, parameters and MACs
    Info(inspect::InfoArgs),
    /// Fine-tune a model on labelled images
    Finetune(Box<finetune::FinetuneArgs>),
    /// Try learning rates from very small to very large, and suggest one
    LrFind(Box<lr_find::LrFindArgs>),
    /// Write a run's report: one HTML page, and pictures
    #[cfg(feature = "plots")]
    Report(judge::ReportArgs),
    /// Evaluate a run or an exported folder on every image that is given
    Eval(eval::EvalArgs),
    /// Classify images, or folders of them, with a run or an exported folder
    Predict(predict::PredictArgs),
    /// Write a run's best model as a folder that timm opens
    Export(judge::ExportArgs),
    /// Draw images made of formulas, which the bundled weights are trained on
    Fractals(fractals::FractalsArgs),
    /// Compute logits and the output of every group for a tensor from a file
    Logits(logits::LogitsArgs),
    /// Measure images per second and peak memory
    Bench(bench::BenchArgs),
    /// Fetch weights into the cache, verified
    #[cfg(feature = "hub")]
    Fetch(hub::FetchArgs),
    /// Read every cached file again and compare its checksum
    #[cfg(feature = "hub")]
    Verify(hub::VerifyArgs),
    /// Show what is cached, or remove it
    #[cfg(feature = "hub")]
    #[command(subcommand)]
    Cache(hub::CacheCommand),
}

/// How a model is built from an architecture's name.
#[derive(Args)]
struct ModelArgs {
    /// Channels of the images [default: those of the weights]
    #[arg(long, value_name = "N")]
    in_channels: Option<usize>,
    /// Classes; 0 for no head [default: those of the weights]
    #[arg(long, value_name = "N")]
    num_classes: Option<usize>,
    /// Side of the images in pixels
    #[arg(long, value_name = "N", value_parser = pixels)]
    image_size: Option<usize>,
    /// Global pooling: avg, max, avgmax, catavgmax, token or none
    #[arg(long, value_parser = Pool::from_timm_name)]
    pool: Option<Pool>,
    /// How the first convolution is brought to other channels: fold, sum, repeat, or an
    /// initialisation such as xavier_uniform
    #[arg(long, value_name = "RULE", default_value_t)]
    stem: StemRule,
    /// How a new head starts: pytorch, course, xavier_uniform, kaiming_normal, .. [default:
    /// upstream's rule]
    #[arg(long, value_name = "INIT")]
    head_init: Option<Init>,
    /// Mean of the images that the weights were trained on, one number a channel
    #[arg(long, value_delimiter = ',', requires = "std", value_name = "M,..")]
    mean: Option<Vec<f64>>,
    /// Standard deviation of the images that the weights were trained on
    #[arg(long, value_delimiter = ',', requires = "mean", value_name = "S,..")]
    std: Option<Vec<f64>>,
}

impl ModelArgs {
    /// What a model's name and `--weights` stand for, adapted as asked.
    fn spec(&self, model: &str, weights: Option<&str>, seed: u64) -> Result<Spec> {
        self.adapt(chosen(model, weights, seed)?)
    }

    fn adapt(&self, spec: Spec) -> Result<Spec> {
        let mut spec = spec.stem_rule(self.stem.clone());
        if let Some(init) = &self.head_init {
            spec = spec.head_init(init.clone());
        }
        if let Some(channels) = self.in_channels {
            spec = spec.in_channels(channels);
        }
        if let Some(classes) = self.num_classes {
            spec = spec.num_classes(classes);
        }
        if let Some(size) = self.image_size {
            spec = spec.image_size(size);
        }
        if let Some(pool) = self.pool {
            spec = spec.pool(pool);
        }
        if let (Some(mean), Some(std)) = (&self.mean, &self.std) {
            spec = spec.normalization(Normalization::new(mean.clone(), std.clone())?);
        }
        Ok(spec)
    }
}

/// Which tensors of a weights file are the model's.
#[derive(Args, Default)]
struct WeightsArgs {
    /// The key of the weights file that is taken, such as state_dict_ema [default: found]
    #[arg(long, value_name = "KEY")]
    weights_key: Option<String>,
    /// What the names in the weights file begin with, such as backbone. [default: found]
    #[arg(long, value_name = "PREFIX")]
    weights_prefix: Option<String>,
}

impl WeightsArgs {
    fn choose(&self, spec: Spec) -> Spec {
        let mut spec = spec;
        if let Some(key) = &self.weights_key {
            spec = spec.weights_key(key);
        }
        if let Some(prefix) = &self.weights_prefix {
            spec = spec.weights_prefix(prefix);
        }
        spec
    }

    fn is_empty(&self) -> bool {
        self.weights_key.is_none() && self.weights_prefix.is_none()
    }
}

/// Whether a model's name says by itself where its weights come from.
fn names_weights(model: &str) -> bool {
    place::folder_of(model).is_some() || model.starts_with("hf-hub:") || model.contains('.')
}

/// A model by name, with the weights that `--weights` asks for: `bundled`, `random`, `hub`, `hub:TAG`,
/// `original`, `original:TAG` or a file; unasked, those that the name says, else random ones. A folder
/// has weights of its own.
fn chosen(model: &str, weights: Option<&str>, seed: u64) -> Result<Spec> {
    place::tell_of_namesake(model);
    let spec = match place::folder_of(model) {
        Some(dir) => of_folder(dir, weights)?,
        None => Zoo::get(model).map_err(|error| place::or_folder(error, model))?,
    };
    Ok(match weights {
        None if names_weights(model) => spec,
        None | Some("random") => spec.weights(Weights::Random(seed)),
        Some("bundled") => spec.weights(Weights::Bundled),
        Some("hub") => spec,
        Some("original") => spec.original(),
        Some(text) => match text.split_once(':') {
            Some(("hub", tag)) => spec.weights(tag),
            Some(("original", tag)) => spec.weights(tag).original(),
            _ => spec.weights(Weights::File(text.into())),
        },
    })
}

/// The model in a folder, unless other weights are asked for: then its architecture is what counts.
fn of_folder(dir: &Path, weights: Option<&str>) -> Result<Spec> {
    let spec = place::spec_of(dir)?;
    let shown = dir.display();
    let named = |text: &str| {
        let kind = text.split(':').next().unwrap_or_default();
        kind == "hub" || kind == "original"
    };
    match weights {
        None => notice::tell(format!("weights: those of the model in {shown}")),
        Some(text) if named(text) => bail!(
            "--weights {text}: {shown} has weights of its own; leave --weights out, or name the \
             architecture, {}",
            spec.architecture()
        ),
        Some(_) => {}
    }
    Ok(spec)
}

/// Fetches what a spec names, with a bar, and says before it does if its licence forbids commercial
/// use.
fn fetch(spec: &Spec) -> Result<Spec> {
    warn_of_licence(spec);
    spec.assumed().iter().for_each(notice::tell);
    Ok(progress::fetch(|watch| spec.fetch(watch))?)
}

/// Builds a model, with its weights fetched, and tells what was taken from their file.
fn build(spec: &Spec, device: &Device) -> Result<Classifier> {
    let model = fetch(spec)?.build(device)?;
    if let Some(summary) = model.load_report().and_then(LoadReport::summary) {
        notice::tell(summary);
    }
    let unseen = model.backbone.unseen_edge();
    if unseen > 0 {
        notice::tell(format!(
            "warning: {unseen} pixels at the right and lower edges of an image are not seen: they \
             are no whole patch; another --image-size leaves none over"
        ));
    }
    Ok(model)
}

fn warn_of_licence(spec: &Spec) {
    if let Some(licence) = spec.licence()
        && non_commercial(&licence)
    {
        let weights = spec.weights_in_words();
        let name = spec.architecture();
        notice::tell(format!(
            "{name}, {weights}: licence {licence}, which forbids commercial use"
        ));
    }
}

/// A device's name, as far as it can be judged without asking the machine.
fn device_name(text: &str) -> Result<String, String> {
    let known = ["auto", "cpu", "cuda", "wgpu", "ndarray"].contains(&text);
    let index = text
        .strip_prefix("cuda:")
        .and_then(|n| n.parse::<usize>().ok());
    match known || index.is_some() {
        true => Ok(text.to_owned()),
        false => Err("expected auto, cpu, cuda, cuda:N, wgpu or ndarray".to_owned()),
    }
}

/// A count of at least one.
fn positive(text: &str) -> Result<usize, String> {
    count::<1_000_000_000>(text)
}

/// A count from one to a limit beyond which it is surely a mistake.
fn count<const MOST: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected at least 1".to_owned()),
        Ok(number) if number <= MOST => Ok(number),
        Ok(_) => Err(format!("expected at most {MOST}")),
        Err(_) => Err("expected a whole number of at least 1".to_owned()),
    }
}

/// A side of an image in pixels.
fn pixels(text: &str) -> Result<usize, String> {
    count::<16_384>(text)
}

/// A probability below one.
fn probability(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(p) if (0.0..1.0).contains(&p) => Ok(p),
        _ => Err("expected a number of at least 0 and below 1".to_owned()),
    }
}

/// Prints on standard output. A reader that has seen enough (`| head`) ends the program quietly.
fn print(text: impl std::fmt::Display) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        result => result.context("standard output"),
    }
}

/// Prints a JSON document, the only thing on standard output. An object gets a field `warnings` with
/// what was [told](notice::tell).
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let mut value = serde_json::to_value(value)?;
    if let Some(object) = value.as_object_mut() {
        object.insert("warnings".to_owned(), notice::told().into());
    }
    print(serde_json::to_string_pretty(&value)?)
}

pub fn run() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(feature = "flex")]
    if let Some(threads) = cli.threads
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
        Command::Info(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Finetune(args) => device().map_err(Into::into).and_then(|d| args.run(d)),
        Command::LrFind(args) => device().map_err(Into::into).and_then(|d| args.run(d)),
        #[cfg(feature = "plots")]
        Command::Report(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Eval(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Predict(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Export(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Logits(args) => device().map_err(Into::into).and_then(|d| args.run(&d)),
        Command::Bench(args) => device().map_err(Into::into).and_then(|d| args.run(d)),
        Command::Fractals(args) => fractals::run(&args),
        #[cfg(feature = "hub")]
        Command::Fetch(args) => args.run(),
        #[cfg(feature = "hub")]
        Command::Verify(args) => args.run(),
        #[cfg(feature = "hub")]
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
                // The shell's convention for a program ended by Ctrl-C.
                ExitCode::from(130)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Ctrl-C ended a command before its work was done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Stopped(String);

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

    use super::in_words;

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow!("no such file").context("cannot read a: no such file");
        assert_eq!(in_words(&error), "cannot read a: no such file");
        let error = anyhow!("no such file").context("cannot read a");
        let error = error.context("--data");
        assert_eq!(in_words(&error), "--data: cannot read a: no such file");
    }
}
