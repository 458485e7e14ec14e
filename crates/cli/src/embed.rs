//! `embed`.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use burn_zoo::ImageSize;
use burn_zoo::manifest::Terms;
use burn_zoo::prelude::*;
use clap::Args;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, json};

use crate::features::{FeatureArgs, PartFeatures, never_random, of_one_class, positional};
use crate::output::{print, print_json};

#[derive(Args)]
#[command(
    mut_arg("data", positional),
    mut_arg("weights", never_random),
    mut_args(of_one_class),
    after_help = "The vector that the last layer would get is written for every image: of the \
    training part, then of the other one. OUT has the tensor `features` [images, length] of f32, and \
    as safetensors `labels` of i64, too. OUT.csv has a line for each image, in the same order: path, \
    label, class, part. docs/features.md shows how to read them."
)]
pub struct EmbedArgs {
    /// An architecture, arch.tag, hf-hub:OWNER/REPO, local-dir:DIR, or the folder of a run
    #[arg(long)]
    model: String,
    #[command(flatten)]
    features: FeatureArgs,
    /// The file to write: OUT.safetensors or OUT.npy; the images are named in a file beside it, with
    /// .csv behind the name
    #[arg(long, value_name = "OUT")]
    out: PathBuf,
    /// Replace old files of these names
    #[arg(long)]
    overwrite: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// How vectors are written.
#[derive(Clone, Copy)]
enum Form {
    Safetensors,
    Npy,
}

impl EmbedArgs {
    pub fn run(self, device: &Device) -> Result<()> {
        let started = Instant::now();
        let form = self.form()?;
        let rows = beside(&self.out);
        self.check_free(&rows)?;
        let spec = self.features.spec(&self.model)?;
        let data = self.features.open()?;
        let model = self.features.model(spec, &data, device)?;
        let size = self.features.image_size(&model, &data)?;
        let parts = self.features.all_parts(&data);
        let found = self.features.embed(&model.fuse(), size, &parts)?;

        let length = found.first().map_or(0, |part| part.features.length);
        let images: usize = found.iter().map(|part| part.features.len()).sum();
        let broken: usize = found.iter().map(|part| part.broken.len()).sum();
        let values = found.iter().flat_map(|part| &part.features.values);
        let values: Vec<u8> = values.flat_map(|value| value.to_le_bytes()).collect();
        let bytes = match form {
            Form::Npy => npy([images, length], &values),
            Form::Safetensors => {
                let labels = found.iter().flat_map(|part| &part.features.labels);
                let labels: Vec<u8> = labels.flat_map(|l| (*l as i64).to_le_bytes()).collect();
                let tensors = [
                    (
                        "features",
                        TensorView::new(Dtype::F32, vec![images, length], &values)?,
                    ),
                    (
                        "labels",
                        TensorView::new(Dtype::I64, vec![images], &labels)?,
                    ),
                ];
                let classes = data.train.classes();
                let metadata = metadata(&model, classes, size);
                safetensors::serialize(tensors, Some(metadata))?
            }
        };
        // Vectors are never beside the names of other images.
        let table = table(&found)?;
        burn_zoo::write_together([(&rows, &table), (&self.out, &bytes)]).context("--out")?;

        let of_part = found.iter().map(|part| {
            let count = part.features.len();
            (part.part.name(), count)
        });
        if self.json {
            let of_part = of_part.map(|(part, count)| (part.to_owned(), json!(count)));
            return print_json(&json!({
                "out": self.out.to_string_lossy(),
                "images_in": rows.to_string_lossy(),
                "model": model.info().architecture,
                "weights": model.info().origin,
                "licence": model.info().licence,
                "terms": model.info().licence.as_deref().map(|l| Terms::of(l).name()),
                "image_size": size,
                "features": length,
                "images": images,
                "parts": of_part.collect::<Map<_, _>>(),
                "images_broken": broken,
                "classes": data.train.classes(),
                "seconds": started.elapsed().as_secs_f64(),
            }));
        }
        let of_part = of_part.map(|(part, count)| format!("{count} {part}"));
        print(format!(
            "{images} images ({}) {}, {length} features each -> {}\npaths and labels -> {}",
            Vec::from_iter(of_part).join(", "),
            size.map_or("of their own size".to_owned(), |size| format!(
                "at {size} pixels"
            )),
            self.out.display(),
            rows.display()
        ))
    }

    fn form(&self) -> Result<Form> {
        match self.out.extension().and_then(OsStr::to_str) {
            Some("safetensors") => Ok(Form::Safetensors),
            Some("npy") => Ok(Form::Npy),
            _ => bail!(
                "--out: expected a file that ends in .safetensors or .npy, found {}",
                self.out.display()
            ),
        }
    }

    /// Before anything is computed.
    fn check_free(&self, rows: &Path) -> Result<()> {
        for path in [self.out.as_path(), rows] {
            if path.is_dir() {
                bail!(
                    "--out: expected a file, found the folder {}",
                    path.display()
                );
            }
            if path.exists() && !self.overwrite {
                bail!(
                    "--out: {} exists already; pass --overwrite to replace it",
                    path.display()
                );
            }
        }
        let folder = self.out.parent().filter(|dir| !dir.as_os_str().is_empty());
        match folder {
            Some(folder) if !folder.is_dir() => {
                bail!(
                    "--out: expected a folder that exists, found {}",
                    folder.display()
                )
            }
            _ => Ok(()),
        }
    }
}

/// The file that names the images.
fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".csv");
    name.into()
}

/// A line for each image.
fn table(found: &[PartFeatures]) -> Result<Vec<u8>> {
    let mut lines = csv::Writer::from_writer(Vec::new());
    lines.write_record(["path", "label", "class", "part"])?;
    for part in found {
        let classes = part.images.classes();
        let features = &part.features;
        for (index, label) in features.indices.iter().zip(&features.labels) {
            lines.write_record([
                part.images.name(*index).as_str(),
                label.to_string().as_str(),
                classes[*label].as_str(),
                part.part.name(),
            ])?;
        }
    }
    let lines = lines.into_inner();
    lines.map_err(|error| anyhow!("--out: {error}"))
}

fn metadata(
    model: &Classifier,
    classes: &[String],
    size: Option<ImageSize>,
) -> HashMap<String, String> {
    let info = model.info();
    let size = size.map_or("as they are".to_owned(), |size| size.to_string());
    let licence = info.licence.clone().unwrap_or("unknown".to_owned());
    let facts = [
        ("format", "pt".to_owned()),
        ("model", info.architecture.clone()),
        ("weights", info.origin.clone()),
        ("licence", licence),
        ("pool", model.head.pool().timm_name().to_owned()),
        ("image_size", size),
        ("classes", json!(classes).to_string()),
    ];
    facts.map(|(key, value)| (key.to_owned(), value)).into()
}

/// A matrix of f32 in NumPy's format, version 1.0.
fn npy([rows, columns]: [usize; 2], values: &[u8]) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // Values begin at a multiple of 64 bytes, behind ten of signature and length.
    let padding = 63 - (10 + header.len()) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    bytes
}

#[cfg(test)]
mod tests {
    use super::npy;

    #[test]
    fn values_are_aligned_behind_a_header_that_numpy_reads() {
        for rows in [1, 12, 123_456_789] {
            let bytes = npy([rows, 4], b"values");
            let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
            assert_eq!((10 + length) % 64, 0);
            assert_eq!(bytes[9 + length], b'\n');
            assert_eq!(&bytes[10 + length..], b"values");
            let header = std::str::from_utf8(&bytes[10..9 + length]).unwrap();
            let shape = format!("'shape': ({rows}, 4), }}");
            assert!(header.trim_end().ends_with(&shape), "{header}");
        }
    }
}
