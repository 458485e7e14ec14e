//! `info`.

use std::sync::Arc;

use anyhow::{Result, bail};
use burn_zoo::manifest::{Entry, Manifest, Terms, licence_in_words, licence_source_in_words};
use burn_zoo::prelude::*;
use burn_zoo::preprocess::Image;
use burn_zoo::train::{GroupMemory, MemoryUse};
use burn_zoo::zoo::Architecture;
use burn_zoo::{ImageSize, InputSize, Summary};
use clap::Args;
use serde_json::{Value, json};

use crate::flags::count;
use crate::list::{INHERITED, align_right, extend, licence, table, top1};
use crate::model::{ModelArgs, chosen, warn_of_licence, warn_of_unseen_edge};
use crate::model_folder;
use crate::output::{print, print_json};
use crate::place::{Cut, cut, part_table, parts};
use crate::progress;

#[derive(Args)]
pub struct InfoArgs {
    /// An architecture, hf-hub:OWNER/REPO, local-dir:DIR, or the folder of a run
    model: String,
    #[command(flatten)]
    options: ModelArgs,
    /// What is frozen: nothing, backbone, up-to:GROUP, only:GROUP,.. or matching:REGEX
    #[arg(long, default_value_t)]
    freeze: Freeze,
    /// What trains of what is not frozen: none, lora:rank=R,alpha=A, bias-only or norm-only
    #[arg(long, value_name = "RULE", default_value_t)]
    adapt: Adapt,
    /// The layers that get adapters, by their names in timm
    #[arg(long, value_name = "REGEX")]
    adapt_matching: Option<String>,
    /// Show what training takes memory for, by use: predicted from steps with small batches of random
    /// images, and measured with one of --batch-size
    #[arg(long)]
    memory: bool,
    /// Images that go through the model at once, for --memory and --place
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = count::<65_536>)]
    batch_size: usize,
    /// The optimiser, for --memory and --place
    #[arg(long, value_name = "NAME", default_value_t = Optimizer::adam())]
    optimizer: Optimizer,
    /// Keep fewer activations for the backward pass, for --memory and --place
    #[arg(long)]
    gradient_checkpointing: bool,
    /// Show what each part needs of a model that is cut over devices: stem..stage2=cuda:0,.., each group
    /// once; or auto:N, which proposes an even cut. The devices need not be here
    #[arg(long, value_name = "GROUPS=DEVICE,..", value_parser = cut)]
    place: Option<Cut>,
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
        let spec = self.options.adapt(spec)?;
        let model = spec.clone().build_zeros(device)?;
        warn_of_unseen_edge(&model);
        let size = self.options.image_size.or(model.info().image_size);
        let facts = Facts {
            architecture: burn_zoo::zoo::find(&model.info().architecture)?,
            manifest: Manifest::with_user_files()?,
            entry,
            licence,
            licence_source,
        };
        let mut adapted = Recipe::full().adapt(self.adapt);
        adapted.adapt_matching.clone_from(&self.adapt_matching);
        let model = adapted.adapted(model)?;
        let model = model.freeze_for(&self.freeze, FrozenNorm::Frozen, self.adapt)?;
        let summary = model.summary(size)?;
        let memory = if self.memory || self.place.is_some() {
            let spec = spec.weights(Weights::Random(0));
            let model = spec.build(&device.clone().autodiff())?;
            Some(self.memory(&model, &summary)?)
        } else {
            None
        };
        if self.json {
            let mut document = serde_json::to_value(&summary)?;
            extend(&mut document, facts.document(&model));
            if let Some((whole, parts)) = memory {
                let parts = parts.into_iter().map(|(device, part)| {
                    let mut part = serde_json::to_value(part)?;
                    extend(&mut part, json!({ "device": device }));
                    Ok(part)
                });
                let parts = parts.collect::<Result<Vec<Value>>>()?;
                extend(&mut document, json!({ "memory": whole, "place": parts }));
            }
            return print_json(&document);
        }
        print(&summary)?;
        facts.print(&model)?;
        let Some((whole, parts)) = memory else {
            return Ok(());
        };
        print(format!("\n{whole}"))?;
        if parts.is_empty() {
            return Ok(());
        }
        print(part_table(&parts))
    }

    /// What training takes memory for, and of that each part of a cut.
    fn memory(
        &self,
        model: &Classifier,
        summary: &Summary,
    ) -> Result<(MemoryUse, Vec<(String, GroupMemory)>)> {
        let [channels, height, width] = summary.input[..] else {
            bail!("the model takes no images");
        };
        let images = Arc::new(RandomImages {
            sides: [height, width, channels],
            count: self.batch_size.max(4),
            classes: (0..model.num_classes())
                .map(|class| class.to_string())
                .collect(),
        });
        let mut recipe = Recipe::full()
            .batch_size(self.batch_size)
            .with_optimizer(self.optimizer)
            .freeze(self.freeze.clone())
            .image_size(ImageSize { height, width })
            .gradient_checkpointing(self.gradient_checkpointing);
        recipe.workers = 0;
        recipe.adapt = self.adapt;
        recipe.adapt_matching.clone_from(&self.adapt_matching);
        let between = crate::allocator::give_back;
        let whole = progress::wait("measuring", || {
            recipe.memory_use(model, images, self.memory, between)
        })?;
        let Some(cut) = &self.place else {
            return Ok((whole, Vec::new()));
        };
        let size = Some(ImageSize { height, width });
        let groups = recipe.memory_by_group(model, size, &whole)?;
        let parts = parts(cut, model, &groups)?;
        Ok((whole, parts))
    }
}

/// Images that nobody has to have.
struct RandomImages {
    /// Height, width, channels.
    sides: [usize; 3],
    count: usize,
    classes: Vec<String>,
}

impl ImageData for RandomImages {
    fn len(&self) -> usize {
        self.count
    }

    fn get(&self, index: usize) -> burn_zoo::Result<(Image, Target)> {
        let [height, width, channels] = self.sides;
        let mut state = index as u32 + 1;
        let pixels = std::iter::repeat_with(|| {
            // Any numbers do: a linear congruential generator's.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        });
        let pixels = pixels.take(height * width * channels).collect();
        Ok((
            Image::new(height, width, channels, pixels)?,
            Target::Class(index % self.classes.len().max(1)),
        ))
    }

    fn classes(&self) -> &[String] {
        &self.classes
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
