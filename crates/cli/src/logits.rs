//! `logits`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use burn_zoo::ImageSize;
use burn_zoo::prelude::*;
use burn_zoo::weights::{DType, WeightsFile};
use clap::Args;
use safetensors::tensor::{Dtype, TensorView};

use crate::model::{ModelArgs, WeightsArgs, build, names_weights};
use crate::model_folder;
use crate::output::print;

#[derive(Args)]
pub struct LogitsArgs {
    /// An architecture, arch.tag, hf-hub:OWNER/REPO, local-dir:DIR, or the folder of a run
    model: String,
    /// hub, hub:TAG, random or a file; needed unless the model names its weights
    #[arg(long, value_name = "bundled|hub[:TAG]|random|FILE")]
    weights: Option<String>,
    #[command(flatten)]
    choice: WeightsArgs,
    #[command(flatten)]
    options: ModelArgs,
    /// Seed of random weights and of a new head
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// A safetensors file with a tensor `input`: [N, C, H, W], f32, normalised already
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// The safetensors file to write: `logits`, `pre_logits` and the output of each group
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Replace an old file of that name
    #[arg(long)]
    overwrite: bool,
}

/// The first eight names, and how many more there are.
fn first_few<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    const SHOWN: usize = 8;
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<String> = names.take(SHOWN).map(|name| format!("`{name}`")).collect();
    match (shown.is_empty(), more) {
        (true, _) => "no tensor".to_owned(),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

impl LogitsArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        let shown = self.output.display();
        if self.output.exists() && !self.overwrite {
            bail!("--output: {shown} exists already; pass --overwrite to replace it");
        }
        let place = |path: &Path| path.canonicalize().ok();
        let weights = self.weights.as_deref().map(Path::new);
        let mut inputs = std::iter::once(self.input.as_path()).chain(weights);
        if inputs.any(|input| place(input).is_some() && place(input) == place(&self.output)) {
            bail!("--output: expected another file than those that are read, found {shown}");
        }
        let images = self.read_input(device)?;
        let [_, _, height, width] = images.dims();
        let model = self.model([height, width].into(), device)?;

        let groups = &model.backbone.describe().groups;
        let groups: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
        let outputs = model.forward_intermediates(images, &groups)?;
        let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
        if let Some((_, features)) = outputs.last() {
            for (name, pre_logits) in [("logits", false), ("pre_logits", true)] {
                let scores = model.forward_head(features.clone(), pre_logits)?;
                let values = scores.to_data().try_into_vec::<f32>();
                let values =
                    values.map_err(|error| anyhow!("the logits cannot be read as f32: {error}"))?;
                tensors.push((name.to_owned(), scores.dims().to_vec(), values));
            }
        }
        for (name, features) in outputs {
            tensors.push((name, features.dims(), features.to_vec()?));
        }
        self.write(&tensors)?;
        let name = &model.info().architecture;
        print(format!(
            "{name}: logits {:?} -> {}",
            tensors[0].1,
            self.output.display()
        ))
    }

    fn model(&self, image_size: ImageSize, device: &Device) -> Result<Classifier> {
        if let Some(dir) = model_folder::folder_of(&self.model) {
            if self.weights.is_some() {
                bail!("--weights: {} has weights of its own", dir.display());
            }
            let spec = model_folder::spec_of(dir)?;
            if !self.choice.is_empty() {
                bail!("--weights-key and --weights-prefix: only with --weights FILE");
            }
            return Ok(self.options.adapt(spec)?.seed(self.seed).build(device)?);
        }
        let weights = self.weights.as_deref();
        let spec = self.options.spec(&self.model, weights, self.seed)?;
        if weights.is_none() && !names_weights(&self.model) {
            bail!("--weights: expected hub, hub:TAG, random or a file, found nothing");
        }
        let size = self.options.image_size.unwrap_or(image_size);
        let spec = self.choice.choose(spec.image_size(size).seed(self.seed));
        build(&spec, device)
    }

    fn read_input(&self, device: &Device) -> Result<Tensor<4>> {
        let file = WeightsFile::open(&self.input)?;
        let at = || format!("{}: tensor `input`", self.input.display());
        let Some(info) = file.tensors().get("input") else {
            bail!(
                "{}: expected, found {}",
                at(),
                first_few(file.tensors().keys())
            );
        };
        let shape: [usize; 4] = info
            .shape
            .clone()
            .try_into()
            .map_err(|shape| anyhow!("{}: expected [N, C, H, W], found {shape:?}", at()))?;
        if info.dtype != DType::F32 {
            bail!("{}: expected f32, found {}", at(), info.dtype);
        }
        if shape.contains(&0) {
            bail!("{}: expected no side of zero, found {shape:?}", at());
        }
        let values = burn::tensor::TensorData::new(file.read_f32("input")?, shape);
        Ok(Tensor::from_data(values, device))
    }

    fn write(&self, tensors: &[(String, Vec<usize>, Vec<f32>)]) -> Result<()> {
        let bytes: Vec<Vec<u8>> = tensors
            .iter()
            .map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
            .collect();
        let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            view.map(|view| (name.as_str(), view))
        });
        let views: Vec<_> = views.collect::<Result<_, _>>()?;
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let bytes = safetensors::serialize(views, Some(metadata))?;
        burn_zoo::write_file(&self.output, &bytes).with_context(|| "--output")
    }
}
