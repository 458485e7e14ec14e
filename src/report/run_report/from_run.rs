//! A report of a run folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::contents::{
    EpochLine, Figures, FreezeMark, Judged, Mistake, RateLine, Report, StepLine,
};
use crate::data::{BrokenImage, ImageData, Loader, LoaderConfig, Subset, class_difference};
use crate::error::{Error, Result};
use crate::infer::best;
use crate::model::Classifier;
use crate::train::{EpochRecord, LoggedStep, Run, RunConfig, RunFiles, metrics_in_words};

impl Report {
    /// Reads a run folder, and looks once more at every image for validation with the run's best
    /// model. A run that has not ended is shown as far as it went.
    ///
    /// `model` is the run's best model, for instance from [`Classifier::open`].
    ///
    /// # Errors
    /// [`Error::Folder`] if the folder is no run's or its log cannot be understood,
    /// [`Error::InvalidArgument`] if the images have other classes than the run's, and whatever
    /// reading images meets.
    pub fn of_run(
        dir: impl AsRef<Path>,
        model: &Classifier,
        valid: Arc<dyn ImageData>,
    ) -> Result<Self> {
        let (report, _) = Self::of_run_but_broken(dir, model, valid, false)?;
        Ok(report)
    }

    /// [`of_run`](Self::of_run) that also says which images for validation it tells nothing of:
    /// those that the run left out, and with `skip_broken` those that cannot be read now, which are
    /// an error otherwise.
    ///
    /// # Errors
    /// As [`of_run`](Self::of_run), and [`Error::InvalidArgument`] if no image is left.
    pub fn of_run_but_broken(
        dir: impl AsRef<Path>,
        model: &Classifier,
        valid: Arc<dyn ImageData>,
        skip_broken: bool,
    ) -> Result<(Self, Vec<BrokenImage>)> {
        let files = RunFiles::open(dir.as_ref())?;
        let config = &files.config;
        let all = valid.len();
        // What the run left out cannot be shown either.
        let valid = files.validated(valid);
        let skipped = files.skipped.iter();
        let mut left_out: Vec<BrokenImage> = skipped
            .filter(|skipped| skipped.part == "valid" && skipped.image.index < all)
            .map(|skipped| skipped.image.clone())
            .collect();
        // A run whose model has more classes than its data knows no names.
        let expected = &config.data.classes;
        if !expected.is_empty()
            && let Some((expected, found)) = class_difference(expected, valid.classes())
        {
            let expected = format!("those of the run, {expected}");
            return Err(Error::argument("classes of the data", expected, found));
        }
        let loader = Loader::new(
            valid.clone(),
            model.preprocess(model.info().image_size),
            LoaderConfig {
                batch_size: config.recipe.batch_size,
                skip_broken,
                ..LoaderConfig::default()
            },
            &model.device(),
        )?;
        let mut wrong = Vec::new();
        let precision = config.recipe.precision;
        let evaluation = model.evaluate_while(&loader, precision, |batch| {
            let classes = model.num_classes().max(1);
            // Only of one class can another be taken for it.
            let labels = batch.targets.classes().unwrap_or_default();
            let rows = batch.scores.chunks_exact(classes).zip(labels);
            for (place, (scores, label)) in rows.enumerate() {
                let class = best(scores);
                if class != *label {
                    wrong.push(Wrong {
                        index: batch.first + place,
                        class,
                        probability: probability(scores, class),
                    });
                }
            }
            true
        })?;
        // Mistakes are counted among those that were judged.
        let broken = loader.broken();
        let unread: BTreeSet<usize> = broken.iter().map(|image| image.index).collect();
        let seen = Subset::without(valid, &unread);
        left_out.extend(broken);
        let mistakes = surest(wrong).into_iter().map(|wrong| {
            let (image, target) = seen.get(wrong.index)?;
            Ok(Mistake {
                image,
                truth: model.class_name(target.class()?),
                predicted: model.class_name(wrong.class),
                probability: wrong.probability,
            })
        });
        let mistakes = mistakes.collect::<Result<_>>()?;

        let (mut confusion, mut judged) = (Vec::new(), None);
        if let Some(evaluation) = evaluation {
            confusion = evaluation.confusion;
            let labels = evaluation.multi_label.map(Figures::Labels);
            let figures = labels.or(evaluation.regression.map(Figures::Numbers));
            let answers = evaluation.answers;
            judged = figures.map(|figures| Judged { figures, answers });
        }
        let epochs = &files.epochs;
        let metric = config.recipe.metric;
        let best_epoch = metric.best(epochs).map(|index| &epochs[index]);
        let (rates, freezes) = rates(&files);
        let info = model.info();
        let report = Self {
            title: format!(
                "{} on {}",
                info.architecture,
                data_name(&config.data.source)
            ),
            subtitle: format!(
                "{} images for training, {}; starting from {}",
                config.data.train_images,
                validation(config.data.valid_images, all, seen.len()),
                config.model_text("weights")
            ),
            summary: summary(epochs, best_epoch, &files),
            epochs: epochs
                .iter()
                .map(|record| EpochLine {
                    note: best_epoch
                        .is_some_and(|best| best.epoch == record.epoch)
                        .then(|| "best".to_owned()),
                    ..EpochLine::from(record)
                })
                .collect(),
            rates,
            freezes,
            steps: files
                .steps
                .iter()
                .map(|step| StepLine {
                    epoch: step.epoch,
                    loss: step.loss,
                })
                .collect(),
            classes: (0..model.num_classes())
                .map(|class| model.class_name(class))
                .collect(),
            confusion,
            judged,
            mistakes,
            configuration: files.text.clone(),
            environment: environment(config, epochs),
        };
        Ok((report, left_out))
    }
}

impl Run {
    /// Writes `report.html` and the folder `report` of pictures into the run folder, and gives the
    /// page's path. `valid` are the images that the run was validated on.
    ///
    /// # Errors
    /// As [`Report::of_run`], and [`Error::Io`] if a file cannot be written.
    pub fn write_report(&self, valid: Arc<dyn ImageData>) -> Result<PathBuf> {
        Report::of_run(self.dir(), self.model(), valid)?.write(self.dir())
    }
}

impl From<&EpochRecord> for EpochLine {
    fn from(record: &EpochRecord) -> Self {
        Self {
            epoch: record.epoch,
            train_loss: record.train_loss,
            train_accuracy: record.train_accuracy,
            valid_loss: record.valid_loss,
            // Averaged weights have a curve of their own.
            valid_accuracy: record.raw_valid_accuracy.unwrap_or(record.valid_accuracy),
            ema_accuracy: record.raw_valid_accuracy.map(|_| record.valid_accuracy),
            seconds: record.seconds,
            images_per_second: record.images_per_second,
            figures: metrics_in_words(&record.metrics).collect(),
            note: None,
        }
    }
}

/// What the data is called: its description up to the first colon, and of a path the last part.
pub(in crate::report) fn data_name(source: &str) -> &str {
    let name = source.split(": ").next().unwrap_or(source);
    let last = Path::new(name).file_name().and_then(|name| name.to_str());
    match last.unwrap_or(name) {
        "" => "images of its own",
        name => name,
    }
}

/// How many images for validation the run had, how many there are now, and how many of them could
/// be read and were judged for this report.
fn validation(then: usize, now: usize, judged: usize) -> String {
    let tell = "of which matrix, classes and mistakes tell";
    match (then == now, now == judged) {
        (true, true) => format!("{judged} for validation"),
        (true, false) => format!("{judged} of {now} for validation could be read, {tell}"),
        (false, true) => format!("{then} for validation, {now} by now, {tell}"),
        (false, false) => {
            format!("{then} for validation, {now} by now, {judged} could be read, {tell}")
        }
    }
}

fn summary(
    epochs: &[EpochRecord],
    best: Option<&EpochRecord>,
    files: &RunFiles,
) -> Vec<(String, String)> {
    let Some(best) = best else {
        return vec![("epochs".to_owned(), "none is complete".to_owned())];
    };
    let seconds: f64 = epochs.iter().map(|e| e.seconds).sum();
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let planned = files.config.epochs();
    let mut own = Vec::new();
    let mut rows = match best.valid_accuracy.is_nan() {
        false => vec![
            ("validation accuracy", percent(best.valid_accuracy)),
            (
                "balanced validation accuracy",
                percent(best.valid_balanced_accuracy),
            ),
        ],
        true => metrics_in_words(&best.metrics)
            .map(|(name, value)| (name, format!("{value:.4}")))
            .collect(),
    };
    rows.extend([
        ("validation loss", format!("{:.4}", best.valid_loss)),
        ("best epoch", format!("{} of {}", best.epoch, epochs.len())),
        ("time", format!("{seconds:.0} s")),
    ]);
    if let Some(test) = &files.test {
        if !test.test_accuracy.is_nan() {
            rows.push(("test accuracy", percent(test.test_accuracy)));
            let balanced = percent(test.test_balanced_accuracy);
            rows.push(("balanced test accuracy", balanced));
        }
        let of_test = metrics_in_words(&test.metrics);
        own.extend(of_test.map(|(name, value)| (format!("test {name}"), format!("{value:.4}"))));
        rows.extend([
            ("test loss", format!("{:.4}", test.test_loss)),
            ("test images", test.test_images.to_string()),
        ]);
    }
    // Stopped early, or not at its end yet.
    if epochs.len() < planned {
        rows.push(("epochs", format!("{} of {planned} planned", epochs.len())));
    }
    let rows = rows
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    rows.chain(own).collect()
}

/// A line for each group, and a mark wherever one begins to train.
fn rates(files: &RunFiles) -> (Vec<RateLine>, Vec<FreezeMark>) {
    let RunFiles { groups, steps, .. } = files;
    let lines = groups.iter().enumerate().map(|(index, group)| RateLine {
        group: group.clone(),
        points: steps
            .iter()
            .map(|step| (began(step), step.rates[index]))
            .collect(),
    });
    let lines = lines.collect();
    let mut marks = Vec::new();
    for (before, after) in steps.iter().zip(steps.iter().skip(1)) {
        // A rate that is 0 because the schedule is there frees nothing when it rises.
        if before.rates.last().is_none_or(|head| *head <= 0.0) {
            continue;
        }
        let rates = before.rates.iter().zip(&after.rates);
        let joined = groups.iter().zip(rates);
        let joined = joined.filter(|(_, (before, after))| **before <= 0.0 && **after > 0.0);
        let joined: Vec<&String> = joined.map(|(group, _)| group).collect();
        let text = match joined.as_slice() {
            [] => continue,
            [one] => format!("{one} joins"),
            // From the input on: what lies between the first and the last joins as well.
            [first, .., last] => format!("{first} to {last} join"),
        };
        let epoch = began(after);
        marks.push(FreezeMark { epoch, text });
    }
    (lines, marks)
}

/// Where a step began: it is written down when it is done.
fn began(step: &LoggedStep) -> f64 {
    let length = step.epoch / step.step.max(1) as f64;
    (step.epoch - length).max(0.0)
}

fn environment(config: &RunConfig, epochs: &[EpochRecord]) -> Vec<(String, String)> {
    let mib = |bytes: u64| format!("{:.0} MiB", bytes as f64 / (1u64 << 20) as f64);
    let peak = epochs.iter().filter_map(|e| e.memory.peak).max();
    let device = epochs.iter().filter_map(|e| e.memory.device_reserved).max();
    let system = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    let rows = [
        ("burn-zoo", Some(config.burn_zoo.clone())),
        ("system", Some(system)),
        ("device", Some(config.model_text("device"))),
        ("threads", Some(config.model_text("threads"))),
        ("parameters", Some(config.model_text("parameters"))),
        (
            "parameters that train at first",
            Some(config.model_text("trainable")),
        ),
        ("peak memory of the process", peak.map(mib)),
        ("memory of the device", device.map(mib)),
    ];
    let rows = rows.into_iter();
    let rows = rows.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    rows.collect()
}

/// The probability of a class from a row of logits.
fn probability(scores: &[f32], class: usize) -> f64 {
    let highest = scores.iter().copied().fold(f32::MIN, f32::max);
    let part = |score: f32| f64::from(score - highest).exp();
    let sum: f64 = scores.iter().map(|score| part(*score)).sum();
    part(scores[class]) / sum
}

/// An image that was not recognised.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Wrong {
    index: usize,
    class: usize,
    probability: f64,
}

/// The mistakes of the highest probability, the highest first; of equals the earlier.
fn surest(mut mistakes: Vec<Wrong>) -> Vec<Wrong> {
    mistakes.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    mistakes.truncate(Report::MOST_MISTAKES);
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_mistakes_are_kept_in_order() {
        let mistakes = (0..500).map(|index| Wrong {
            index,
            class: 0,
            probability: (index * 7 % 500) as f64 / 500.0,
        });
        let surest = surest(mistakes.collect());
        let surest: Vec<f64> = surest.iter().map(|wrong| wrong.probability).collect();
        let expected: Vec<f64> = (0..Report::MOST_MISTAKES)
            .map(|place| (499 - place) as f64 / 500.0)
            .collect();
        assert_eq!(surest, expected);
    }

    #[test]
    fn probabilities_are_a_softmax() {
        let scores = [1000.0, 1000.0 + 3f32.ln()];
        assert!((probability(&scores, 1) - 0.75).abs() < 1e-4);
    }

    #[test]
    fn other_images_than_those_of_the_run_are_told() {
        assert_eq!(validation(100, 100, 100), "100 for validation");
        assert!(validation(100, 100, 98).starts_with("98 of 100 for validation"));
        let told = validation(100, 120, 120);
        assert!(
            told.contains("100") && told.contains("120 by now"),
            "{told}"
        );
    }

    #[test]
    fn data_is_named_by_the_last_part_of_its_path() {
        assert_eq!(data_name("some/where/pets: 12 images"), "pets");
        assert_eq!(
            data_name("fashion-mnist-mini: the first 3"),
            "fashion-mnist-mini"
        );
        assert_eq!(data_name(""), "images of its own");
    }
}
