//! `fetch`, `verify` and `cache`.

use anyhow::{Result, bail};
use burn_zoo::manifest::{Manifest, licence_in_words, licence_source_in_words};
use burn_zoo::prelude::*;
use burn_zoo::weights::hub::{Hub, Outcome};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};
use indicatif::HumanBytes;

use crate::model::fetch;
use crate::output::print;

#[derive(Args)]
pub struct FetchArgs {
    /// Weights: resnet18 (the default tag), resnet18.tv_in1k, hf-hub:OWNER/REPO[@REVISION]
    #[arg(required_unless_present = "all")]
    names: Vec<String>,
    /// Fetch upstream's own files, such as torchvision's, instead of the hub's
    #[arg(long)]
    original: bool,
    /// Fetch all weights of the manifest whose name matches; * stands for anything
    #[arg(long, value_name = "PATTERN")]
    all: Option<String>,
}

impl FetchArgs {
    pub fn run(self) -> Result<()> {
        let mut names = self.names.clone();
        if let Some(pattern) = &self.all {
            let manifest = Manifest::with_user_files()?;
            let found = manifest.find(pattern);
            if found.is_empty() {
                bail!("--all: no weights match `{pattern}`; `burn-zoo list --tags` names them");
            }
            names.extend(found.into_iter().map(|entry| entry.name.clone()));
        }
        let mut failed = 0;
        let several = names.len() > 1;
        for name in &names {
            // One that cannot be had does not keep the others from being fetched.
            match self.spec(name).and_then(|spec| fetch(&spec)) {
                Ok(spec) => {
                    let (licence, source) = (spec.licence(), spec.licence_source());
                    let licence = licence_in_words(licence.as_deref());
                    let source = licence_source_in_words(source.as_deref());
                    let weights = spec.weights_in_words();
                    print(format!("{name}: {weights} (licence {licence}){source}"))?
                }
                Err(error) if several => {
                    failed += 1;
                    crate::notice::say(format_args!("error: {error:#}"));
                }
                Err(error) => return Err(error),
            }
        }
        if failed > 0 {
            bail!("{failed} of {} could not be fetched", names.len());
        }
        Ok(())
    }
}

impl FetchArgs {
    fn spec(&self, name: &str) -> Result<Spec> {
        let spec = Zoo::get(name)?;
        if !self.original {
            return Ok(spec);
        }
        // Only an entry of the manifest says where upstream's own file is.
        if spec.entry()?.is_none() {
            bail!("--original: expected the name of an entry such as resnet18, found {name}");
        }
        Ok(spec.original())
    }
}

#[derive(Args)]
pub struct VerifyArgs {}

impl VerifyArgs {
    pub fn run(self) -> Result<()> {
        let hub = Hub::from_env()?;
        let results = hub.verify()?;
        if results.is_empty() {
            return print(format!("nothing is cached in {}", hub.cache().display()));
        }
        let (mut bad, mut unknown) = (0, 0);
        for file in &results {
            let (sound, word) = match &file.outcome {
                Outcome::Sound { .. } => (true, "sound".to_owned()),
                Outcome::Unknown => (true, "no checksum is known".to_owned()),
                Outcome::Altered { expected, found } => (
                    false,
                    format!("altered: expected {expected}, found {found}"),
                ),
                Outcome::Missing => (false, "a link to a file that is gone".to_owned()),
                Outcome::Unreadable { reason } => (false, format!("cannot be read: {reason}")),
                _ => (false, "not understood by this version".to_owned()),
            };
            bad += usize::from(!sound);
            unknown += usize::from(matches!(file.outcome, Outcome::Unknown));
            print(format!("{} {}: {word}", file.repository, file.file))?;
        }
        if bad > 0 {
            bail!(
                "{bad} of {} files are not what they should be",
                results.len()
            );
        }
        let checked = results.len() - unknown;
        match unknown {
            0 => print(format!("{checked} files")),
            _ => print(format!(
                "{checked} files are sound; of {unknown} no checksum is known"
            )),
        }
    }
}

#[derive(Subcommand)]
pub enum CacheCommand {
    /// Show what is cached
    List,
    /// Remove everything of a repository
    Rm {
        /// OWNER/NAME, or the name of weights such as resnet18.a1_in1k
        #[arg(required = true)]
        names: Vec<String>,
    },
}

impl CacheCommand {
    pub fn run(self) -> Result<()> {
        let hub = Hub::from_env()?;
        match self {
            CacheCommand::List => {
                let files = hub.cached()?;
                let beside = hub.beside()?;
                for (repository, kept) in &beside {
                    crate::notice::tell(format!(
                        "{repository}: {} beside, in {} files of downloads that broke off or altered ones that were \
                         set aside; `burn-zoo cache rm {repository}` removes them with the rest",
                        HumanBytes(kept.bytes),
                        kept.files
                    ));
                }
                if files.is_empty() {
                    return print(format!("nothing is cached in {}", hub.cache().display()));
                }
                let mut table = Table::new();
                table.load_style(presets::UTF8_BORDERS_ONLY);
                table.set_header(["repository", "file", "size", "commit", "checked"]);
                for file in &files {
                    table.add_row([
                        file.repository.clone(),
                        file.file.clone(),
                        HumanBytes(file.bytes).to_string(),
                        file.commit.chars().take(8).collect(),
                        if file.verified { "yes" } else { "not yet" }.to_owned(),
                    ]);
                }
                print(table)
            }
            CacheCommand::Rm { names } => {
                for name in names {
                    let removed = hub.remove(&repository(&hub, &name)?)?;
                    let bytes = HumanBytes(removed.bytes);
                    print(format!("{name}: {} files, {bytes} freed", removed.files))?;
                }
                Ok(())
            }
        }
    }
}

/// The repository that a name of weights, or a repository's own name, stands for. Of a cached one all
/// revisions go.
fn repository(hub: &Hub, name: &str) -> Result<String> {
    if let Some(name) = name.strip_prefix("hf-hub:") {
        return Ok(name.split('@').next().unwrap_or(name).to_owned());
    }
    if name.contains('/') || hub.cached()?.iter().any(|file| file.repository == name) {
        return Ok(name.to_owned());
    }
    let manifest = Manifest::with_user_files()?;
    let entry = manifest.get(name)?;
    if entry.bundled().is_some() {
        bail!("{name} is part of burn-zoo, not cached");
    }
    match (entry.repository(), entry.original()) {
        (Some(repository), _) => Ok(repository.to_owned()),
        (None, Some(url)) => bail!("{name} is from {url}, not from a repository"),
        (None, None) => bail!("{name} is a file of yours, not a cached one"),
    }
}
