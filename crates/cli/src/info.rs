//! `info`.

use anyhow::Result;
use burn_zoo::InputSize;
use burn_zoo::manifest::{Entry, Manifest, Terms, licence_in_words, licence_source_in_words};
use burn_zoo::prelude::*;
use burn_zoo::zoo::Architecture;
use clap::Args;
use serde_json::{Value, json};

use crate::list::{INHERITED, align_right, extend, licence, table, top1};
use crate::model::{ModelArgs, chosen, warn_of_licence, warn_of_unseen_edge};
use crate::model_folder;
use crate::output::{print, print_json};

#[derive(Args)]
pub struct InfoArgs {
    /// An architecture, hf-hub:OWNER/REPO, local-dir:DIR, or the folder of a run
    model: String,
    #[command(flatten)]
    options: ModelArgs,
    /// What is frozen: nothing, backbone, up-to:GROUP, only:GROUP,.. or matching:REGEX
    #[arg(long, default_value_t)]
    freeze: Freeze,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl InfoArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        let spec = match model_folder::folder_of(&self.model) {
            Some(dir) => model_folder::spec_of(dir)?,
            None => as_trained(chosen(&self.model, Some("hub"), 0)?),
        };
        warn_of_licence(&spec);
        let entry = spec.entry().ok().flatten();
        let (licence, licence_source) = (spec.licence(), spec.licence_source());
        let model = self.options.adapt(spec)?.build_zeros(device)?;
        warn_of_unseen_edge(&model);
        let size = self.options.image_size.or(model.info().image_size);
        let facts = Facts {
            architecture: burn_zoo::zoo::find(&model.info().architecture)?,
            manifest: Manifest::with_user_files()?,
            entry,
            licence,
            licence_source,
        };
        let model = model.freeze(&self.freeze)?;
        let summary = model.summary(size)?;
        if self.json {
            let mut document = serde_json::to_value(&summary)?;
            extend(&mut document, facts.document(&model));
            return print_json(&document);
        }
        print(&summary)?;
        facts.print(&model)
    }
}

/// The spec with the channels and classes that its weights' entry says, so that a model which is
/// only looked at has the shapes of the one that would be fetched. An architecture of which no weights
/// are known is shown as upstream builds it.
fn as_trained(spec: Spec) -> Spec {
    match spec.entry().ok().flatten() {
        Some(entry) => spec.adapt(entry.data.input_size[0], entry.num_classes),
        None => spec,
    }
}

/// What there is to know of a model beside its layers.
struct Facts {
    architecture: &'static Architecture,
    manifest: Manifest,
    /// What the manifest says of the model's weights, if they are in it.
    entry: Option<Entry>,
    /// That of the model's weights.
    licence: Option<String>,
    /// Where it was read, if upstream does not state it for them.
    licence_source: Option<String>,
}

impl Facts {
    fn tags(&self) -> impl Iterator<Item = &Entry> {
        self.manifest.tags(self.architecture.name)
    }

    fn papers_of_weights(&self) -> &[String] {
        self.entry.as_ref().map_or(&[], |entry| &entry.papers)
    }

    fn document(&self, model: &Classifier) -> Value {
        let description = model.backbone.describe();
        let (least, step, exact) = match description.input_size {
            InputSize::AtLeast(least) => (Some(least), Some(1), None),
            InputSize::MultipleOf(step) => (Some(step), Some(step), None),
            InputSize::Exactly(size) => (None, None, Some(size)),
        };
        let tags = self.tags().map(|entry| {
            json!({
                "name": entry.name,
                "default": entry.default,
                "top1": entry.best_result().map(|result| result.top1),
                "top1_size": entry.best_result().map(|result| result.size),
                "licence": entry.licence,
                "licence_source": entry.licence_source,
                "terms": entry.terms().name(),
            })
        });
        let entry = self.entry.as_ref();
        json!({
            "family": self.architecture.family,
            "what": self.architecture.summary,
            "paper": self.architecture.paper,
            "groups": model.groups(),
            "poolings": description.pools.iter().map(|pool| pool_name(*pool)).collect::<Vec<_>>(),
            "default_pooling": pool_name(self.architecture.pool),
            "upstream_image_size": self.architecture.image_size,
            "least_image_size": least,
            "image_size_step": step,
            "exact_image_size": exact,
            "stem": description.stem.as_ref().map(|stem| json!({
                "stride": stem.stride(),
                "upstream_stride": stem.upstream_stride(),
                "pools": stem.pools(),
                "is_patch": stem.is_patch(),
            })),
            "weights": entry.map(|entry| &entry.name),
            "papers_of_weights": self.papers_of_weights(),
            "licence": self.licence,
            "licence_source": self.licence_source,
            "terms": self.licence.as_deref().map_or(Terms::Own, Terms::of).name(),
            "tags": tags.collect::<Vec<_>>(),
        })
    }

    fn print(&self, model: &Classifier) -> Result<()> {
        let Architecture {
            family,
            summary,
            paper,
            image_size,
            ..
        } = self.architecture;
        let description = model.backbone.describe();
        let sizes = match description.input_size {
            InputSize::AtLeast(1) => format!("of any size; upstream's is {image_size}"),
            InputSize::AtLeast(least) => {
                format!("of {least} pixels and more on both sides; upstream's size is {image_size}")
            }
            InputSize::MultipleOf(step) => {
                format!("of multiples of {step} pixels; upstream's size is {image_size}")
            }
            InputSize::Exactly([height, width]) => {
                format!("of {height} x {width} pixels; --image-size builds it for another size")
            }
        };
        let pools = description.pools.iter().map(|pool| {
            let upstream = *pool == self.architecture.pool;
            format!(
                "{}{}",
                pool_name(*pool),
                if upstream { " (upstream's)" } else { "" }
            )
        });
        let stem = match &description.stem {
            None => "cannot be changed".to_owned(),
            Some(stem) if !stem.is_changed() => format!("{stem}; --small-images makes it finer"),
            Some(stem) => format!("{stem}; upstream's stride is {}", stem.upstream_stride()),
        };
        let mut lines = vec![
            ("family", format!("{family}: {summary}")),
            ("groups", model.groups().join(", ")),
            ("poolings", Vec::from_iter(pools).join(", ")),
            ("images", sizes),
            ("stem", stem),
        ];
        let of_model = licence_in_words(self.licence.as_deref());
        let of_weights = self
            .entry
            .as_ref()
            .map(|entry| format!(", of {}", entry.name));
        let of_weights = of_weights.unwrap_or_default();
        let source = licence_source_in_words(self.licence_source.as_deref());
        lines.push(("licence", format!("{of_model}{of_weights}{source}")));
        let of_weights = match self.papers_of_weights() {
            [] => String::new(),
            papers => format!("; of the weights {}", papers.join(", ")),
        };
        lines.push(("cite", format!("{paper}{of_weights}")));
        for (what, text) in lines {
            print(format!("{what:<9} {text}"))?;
        }
        let mut tags = table(["weights", "top-1", "licence"]);
        for entry in self.tags() {
            let mark = if entry.default { " *" } else { "" };
            tags.add_row([format!("{}{mark}", entry.name), top1(entry), licence(entry)]);
        }
        if tags.is_empty() {
            return print("weights   none are known");
        }
        align_right(&mut tags, &[1]);
        print(tags)?;
        print(format!("* is the default tag; {INHERITED}"))
    }
}

/// A pooling as flags name it.
fn pool_name(pool: Pool) -> &'static str {
    match pool {
        Pool::None => "none",
        pool => pool.timm_name(),
    }
}
