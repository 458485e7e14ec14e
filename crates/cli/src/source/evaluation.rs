//! Images to evaluate on.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use burn_zoo::data::{ImageData, ImageFolder, Part, Splits};

use super::args::DataArgs;
use super::notices::tell_of_report;
use super::training::TrainingImages;
use crate::{notice, progress};

/// The images of an evaluation.
pub struct EvaluationImages {
    pub images: Arc<dyn ImageData>,
    /// Which part they are; `None` if nothing is divided.
    pub part: Option<Part>,
    /// How many there were to choose from, those that cannot be read among them.
    pub of: usize,
    /// The name of the data set, or where it is.
    pub data: String,
    /// Whether those that cannot be read are left out.
    pub skip_broken: bool,
    /// What they are, in words.
    pub description: String,
}

impl DataArgs {
    /// Every image of what `--data` names, or of one part of it; labels are by name into `classes`.
    pub fn open_to_evaluate(
        &self,
        classes: &[String],
        part: Option<Part>,
    ) -> Result<EvaluationImages> {
        self.check_csv_flags()?;
        self.check_task()?;
        let Some(path) = self.folder() else {
            // Nothing is divided: all of FashionMNIST's training images are its training part.
            let whole = Self {
                splits_fashion_mnist: false,
                ..self.clone()
            };
            let chosen = whole.built_in_part(self.limit_test, part.unwrap_or(Part::Test))?;
            if part == Some(Part::Valid) && chosen.part != part {
                bail!(
                    "--part: expected train or test, the parts of {}, found val; `eval` sets no \
                     images aside but those of a run, without --data",
                    self.name()
                );
            }
            return Ok(chosen);
        };
        let options = self.folder_options();
        let set =
            progress::check(|watch| ImageFolder::open_part(path, &options, classes, part, watch));
        let set = set.map_err(|error| self.with_advice(error))?;
        tell_of_report(&set.report);
        let of = set.images.len() + set.report.skipped.len();
        let shown = path.display();
        let description = match set.part {
            None => format!("everything in {shown}"),
            Some(part) => format!("the {part} images of {shown}"),
        };
        if part.is_none() && !set.others.is_empty() {
            let others = set.others.iter();
            let others: Vec<String> = others
                .map(|(part, count)| format!("{count} {part} images (--part {})", part.name()))
                .collect();
            notice::tell(format!(
                "{description} are judged; not judged: {}",
                others.join(", ")
            ));
        }
        let images = Arc::new(self.limited(set.images, self.limit_test));
        Ok(self.evaluation_images(images, set.part, of, description))
    }

    /// A part of the images of a run, which `splits` has as the run divided them.
    pub fn part_of_run(
        &self,
        splits: Option<Splits>,
        limit_train: Option<usize>,
        part: Option<Part>,
    ) -> Result<EvaluationImages> {
        let part = part.unwrap_or(Part::Valid);
        let (Some(splits), Some(path)) = (splits, self.folder()) else {
            return self.built_in_part(limit_train, part);
        };
        let Some(set) = splits.part(part) else {
            bail!(
                "--part: expected train or val, the parts of {}, found test; --data names other \
                 images",
                path.display()
            );
        };
        let limit = if part == Part::Train {
            limit_train
        } else {
            self.limit_test
        };
        let images = Arc::new(self.limited(set.clone(), limit));
        let shown = path.display();
        let description = format!("the {part} images of {shown}, as the run divides them");
        Ok(self.evaluation_images(images, Some(part), set.len(), description))
    }

    /// A part of images that are in no folder.
    fn built_in_part(&self, limit_train: Option<usize>, part: Part) -> Result<EvaluationImages> {
        let without_limit = Self {
            limit_test: None,
            ..self.clone()
        };
        let of_part = |images: TrainingImages| {
            let found = images.part(part);
            found.with_context(|| format!("--part: {} has no {part} images", self.name()))
        };
        let (_, all) = of_part(without_limit.read(None)?)?;
        let (part, images) = of_part(self.open(limit_train)?)?;
        let mut description = format!("the {part} images of {}", self.name());
        if self.is_split_fashion_mnist() && part != Part::Test {
            description.push_str(", as the run divides them");
        }
        Ok(self.evaluation_images(images, Some(part), all.len(), description))
    }

    fn evaluation_images(
        &self,
        images: Arc<dyn ImageData>,
        part: Option<Part>,
        of: usize,
        description: String,
    ) -> EvaluationImages {
        EvaluationImages {
            images,
            part,
            of,
            data: self.name().to_owned(),
            skip_broken: self.skip_broken,
            description,
        }
    }
}
