//! A new run: [`Recipe::fit`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::classes::{begin, model_classes};
use super::ema::Ema;
use super::epoch::run_epochs;
use super::extend::Extension;
use super::monitor::Monitor;
use super::parallel::{Group, Parallel, run_replicas};
use super::place::Place;
use super::progress::Progress;
use super::recipe::Recipe;
use super::run::config::RunData;
use super::run::finished::Run;
use super::run::folder::RunFolder;
use super::setup::prepare;
use super::state::RunState;
use crate::data::ImageData;
use crate::error::{Error, Result};
use crate::model::{Classifier, InputSize};

/// What a run may do beside training.
#[derive(Debug, Clone, Default)]
pub struct FitOptions {
    /// Where the images come from, in words; written into `config.toml`.
    pub data: String,
    /// Replaces an old run in the same folder.
    pub overwrite: bool,
    /// Kept in `config.toml` for whoever resumes the run: see [`RunData::arguments`](super::RunData).
    pub arguments: toml::Table,
    /// Leaves out images that cannot be read, in training and in validation: the monitor is told of
    /// each, and [`Run::skipped_images`] lists them. Without it the first of them ends the run with
    /// [`Error::BrokenImage`].
    pub skip_broken: bool,
    /// Where the features of frozen layers are kept, and stay: a folder that several runs share. What
    /// one run has computed, others with the same frozen layers and images find. Without it, the
    /// run folder, until the run ends.
    pub feature_folder: Option<PathBuf>,
    /// For [`resume`](super::resume): trains on with a finished run.
    pub extend: Option<Extension>,
    /// Several devices or processes that train together.
    pub parallel: Parallel,
    /// How the model is cut over devices.
    pub place: Place,
}

impl Recipe {
    /// Fine-tunes a model and writes everything about it into a new run folder (see
    /// [`Run`]).
    ///
    /// By the validation images everything is chosen, the best epoch among them, so that they should be
    /// neither training nor test images: [`ImageSet::split`](crate::data::ImageSet::split) sets some
    /// aside, and [`Run::test`] judges the chosen model on a test set at the end. Progress and notices are for
    /// [`fit_with`](Self::fit_with): here nobody is told.
    ///
    /// # Errors
    /// [`Error::Exists`] if the folder is there already, [`Error::Folder`] if another process writes
    /// a run into it, [`Error::InvalidArgument`] for a recipe that does not fit model and data,
    /// [`Error::Diverged`] if the loss is no longer a number, and whatever reading images and
    /// writing files meets.
    pub fn fit(
        &self,
        model: Classifier,
        train: impl ImageData + 'static,
        valid: impl ImageData + 'static,
        dir: impl AsRef<Path>,
    ) -> Result<Run> {
        let (train, valid) = (Arc::new(train), Arc::new(valid));
        let options = FitOptions::default();
        self.fit_with(model, train, valid, dir, options, &mut ())
    }

    /// [`fit`](Self::fit) for somebody who watches: progress and notices go to `monitor`, which can also
    /// change what is frozen and stop the run. `&mut std::io::stderr()` is one that writes lines.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), [`Error::Interrupted`] if the monitor stopped it, and [`Error::Rank`] if one
    /// of several ranks has ended.
    pub fn fit_with(
        &self,
        model: Classifier,
        train: Arc<dyn ImageData>,
        valid: Arc<dyn ImageData>,
        dir: impl AsRef<Path>,
        options: FitOptions,
        monitor: &mut dyn Monitor,
    ) -> Result<Run> {
        let run = self.fit_rank(model, train, valid, dir, options, monitor)?;
        run.ok_or_else(only_rank_0)
    }

    /// [`fit_with`](Self::fit_with) where this process may be any of several ranks: only rank 0 writes the
    /// run folder and has the run, the others have nothing.
    ///
    /// # Errors
    /// As [`fit_with`](Self::fit_with).
    pub fn fit_rank(
        &self,
        model: Classifier,
        train: Arc<dyn ImageData>,
        valid: Arc<dyn ImageData>,
        dir: impl AsRef<Path>,
        options: FitOptions,
        monitor: &mut dyn Monitor,
    ) -> Result<Option<Run>> {
        self.validate()?;
        if options.extend.is_some() {
            let expected = "nothing where a run begins: its recipe says how many epochs it has";
            return Err(Error::argument("extend", expected, "an extension"));
        }
        let model = options.place.apply(model)?;
        let models = options.parallel.models(&model);
        // Replicas have their own.
        drop(model);
        let dir = dir.as_ref();
        let is_placed = !options.place.parts.is_empty();
        run_replicas(
            &options.parallel,
            models,
            is_placed,
            monitor,
            |group, model, monitor| {
                let group = Arc::new(group);
                let images = [train.clone(), valid.clone()];
                let run = self.fit_in(group.clone(), model, images, dir, &options, monitor);
                run.inspect_err(|error| group.fail(error))
            },
        )
    }

    /// A rank's part of a new run.
    fn fit_in(
        &self,
        group: Arc<Group>,
        model: Classifier,
        [train, valid]: [Arc<dyn ImageData>; 2],
        dir: &Path,
        options: &FitOptions,
        monitor: &mut dyn Monitor,
    ) -> Result<Option<Run>> {
        let data = RunData {
            source: options.data.clone(),
            train_images: train.len(),
            valid_images: valid.len(),
            classes: train.classes().to_vec(),
            arguments: options.arguments.clone(),
        };
        group.check_alike(&model, self, &data)?;
        let skip_broken = options.skip_broken;
        let (model, told) = begin(model, train.as_ref())?;
        let (model, mut setup) = prepare(self, model, train, valid, skip_broken, group.clone())?;
        setup.feature_folder.clone_from(&options.feature_folder);
        let (names, notice) = model_classes(&data.classes, model.num_classes());
        let mut model = model.with_classes(names)?;
        // What the model was tuned at goes with it, so that it is used at the same size.
        // Images that are not square stay as they are unless somebody asked for it.
        let [height, width] = setup.image_size;
        let is_square = height == width;
        model.set_image_size(self.image_size.or(is_square.then_some(height.into())));
        let any_size = !matches!(model.backbone.describe().input_size, InputSize::Exactly(_));
        if self.image_size.is_none() && any_size {
            // The images were taken as they are: nothing is cut off when they are used again.
            model.set_crop_pct(1.0);
        }
        options.place.prepare(&mut setup)?;
        let model = group.broadcast_model(model)?;

        let folder = if group.leads() {
            let folder = RunFolder::create(dir, options.overwrite, &setup.plan)?;
            folder.write_config(&setup.recipe, &model, &data)?;
            folder
        } else {
            RunFolder::none()?
        };
        for notice in told.iter().chain(&notice) {
            monitor.notice(notice);
        }
        let progress = Progress {
            optimizer: setup.recipe.optimizer(&model)?,
            ema: setup.recipe.ema.map(|ema| Ema::new(ema, &model)),
            model,
            state: RunState {
                ranks: group.size(),
                ..RunState::default()
            },
        };
        run_epochs(&setup, progress, folder, monitor)
    }
}

/// What a rank beside rank 0 says that is asked for its run.
pub(super) fn only_rank_0() -> Error {
    let expected = "rank 0, which alone has the run; the others use `fit_rank` and `resume_rank`";
    Error::argument("communicator", expected, "another rank")
}
