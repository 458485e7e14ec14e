//! `recommend`.

mod budget;
mod candidates;
mod rules;

use anyhow::{Result, bail};
use burn_zoo::manifest::Manifest;
use burn_zoo::prelude::*;
use clap::Args;
use serde_json::json;

pub use self::budget::Budget;
use self::candidates::{Candidate, Speed, candidates};
use self::rules::Rule;
use crate::flags::{count, positive};
use crate::list::{INHERITED, align_right, licence, short, table, top1};
use crate::notice;
use crate::output::{Stopped, print, print_json};
use crate::progress::{self, Stop, clock};

#[derive(Args)]
#[command(
    after_help = "A recipe is chosen by the number of images a class, by rules that \
    docs/choosing.md states with their sources. Of the models with published weights, those with the \
    best accuracy on ImageNet that can be tuned within the budget, within a third of it and within a \
    tenth are named; speed is measured by short runs on this machine. `burn-zoo probe` compares them on \
    your own images."
)]
pub struct RecommendArgs {
    /// Labelled images that you have
    #[arg(long, value_name = "N", value_parser = positive)]
    images: usize,
    /// Classes that they are of: 2 and more, and no more than images
    #[arg(long, value_name = "N", value_parser = count::<100_000>)]
    classes: usize,
    /// Side of the images in pixels that the model shall get
    #[arg(long, value_name = "PX", value_parser = count::<16_384>)]
    size: usize,
    /// What the tuning may take: '2 cores, 10 minutes', or a time alone
    #[arg(long, value_name = "BUDGET")]
    budget: Budget,
    /// Only weights whose licence is known to allow commercial use
    #[arg(long)]
    commercial: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Shares of the budget that a candidate is looked for within.
const SHARES: [(f64, &str); 3] = [
    (1.0, "the most accurate within the budget"),
    (1.0 / 3.0, "the most accurate within a third of the budget"),
    (0.1, "the most accurate within a tenth of the budget"),
];

/// Models that are measured at most for each of these.
const TRIALS: usize = 6;

/// A model, and why it.
struct Recommended<'a> {
    candidate: &'a Candidate,
    seconds: f64,
    images_per_second: f64,
    reason: &'static str,
    fits: bool,
}

/// A time as a person reads it; those below a second are none to a clock.
fn time(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 1.0 => format!("{:.1} ms", 1e3 * seconds),
        seconds => clock(seconds),
    }
}

impl Recommended<'_> {
    fn name(&self) -> &'static str {
        self.candidate.architecture.name
    }
}

impl RecommendArgs {
    /// The cores that the budget names.
    pub fn cores(&self) -> Option<usize> {
        self.budget.cores
    }

    pub fn run(self, device: Device) -> Result<()> {
        if !(2..=self.images).contains(&self.classes) {
            bail!(
                "--classes: expected 2 and more, and an image of each among the {} of --images, found {}",
                self.images,
                self.classes
            );
        }
        let per_class = self.images as f64 / self.classes as f64;
        let [mut rule, cheap] = Rule::of(per_class)?;
        let manifest = Manifest::with_user_files()?;
        let all = candidates(&manifest, self.size, self.commercial)?;
        let mut found = self.within(&rule, &all, &device)?;
        if found.iter().all(|found| !found.fits) && rule.trains() {
            let reason = format!(
                "{} is too little for the recipe {}",
                time(self.budget.seconds),
                rule.recipe
            );
            notice::tell(format!(
                "--budget: {reason}; {} is taken, which trains no backbone",
                cheap.recipe
            ));
            found = self.within(&cheap, &all, &device)?;
            // Not the reason of the rule: that speaks of the number of images.
            rule = cheap;
            rule.reason = reason;
        }
        for above in found.iter().filter(|found| !found.fits) {
            let name = &above.candidate.entry.name;
            notice::tell(format!(
                "--budget: no model fits {}: the fastest that is found, {name}, takes about {}; give it \
                 that much, fewer images or a smaller --size",
                time(self.budget.seconds),
                time(above.seconds)
            ));
        }
        if found.iter().all(|found| found.fits) && found.len() < SHARES.len() {
            notice::tell(format!(
                "{} of {} models: no other that fits is found in {TRIALS} trials at most for each place",
                found.len(),
                SHARES.len()
            ));
        }
        if self.json {
            return self.print_json(&rule, per_class, &found, &device);
        }
        self.print(&rule, &found)
    }

    /// The best for each share of the budget; the fastest, if nothing is within.
    fn within<'a>(
        &self,
        rule: &Rule,
        all: &'a [Candidate],
        device: &Device,
    ) -> Result<Vec<Recommended<'a>>> {
        let passes = rule.passes(self.images);
        let mut speed = Speed::new(device.clone(), rule.trains(), self.classes);
        let stop = Stop::on_signal()?;
        let bar = progress::bar(SHARES.len() * TRIALS, "measuring");
        let measure = |speed: &mut Speed, candidate: &Candidate| -> Result<f64> {
            if stop.asked() {
                return Err(Stopped("interrupted while speeds were measured".to_owned()).into());
            }
            if !speed.is_measured(candidate) {
                bar.set_message(candidate.architecture.name);
                speed.measure(candidate)?;
                bar.inc(1);
            }
            Ok(speed.seconds(candidate) * passes)
        };
        let recommended = |candidate, seconds, reason| Recommended {
            candidate,
            seconds,
            images_per_second: passes / seconds,
            reason,
            fits: seconds <= self.budget.seconds,
        };
        let mut found: Vec<Recommended> = Vec::new();
        for (share, reason) in SHARES {
            let most = self.budget.seconds * share;
            let before = speed.count();
            // Those that were found, and those that took too long.
            let mut tried: Vec<&str> = Vec::from_iter(found.iter().map(Recommended::name));
            while speed.count() - before < TRIALS {
                let next = all.iter().find(|candidate| {
                    !tried.contains(&candidate.architecture.name)
                        && speed.seconds(candidate) * passes <= most
                });
                let Some(candidate) = next else { break };
                tried.push(candidate.architecture.name);
                let seconds = measure(&mut speed, candidate)?;
                if seconds <= most {
                    found.push(recommended(candidate, seconds, reason));
                    break;
                }
            }
        }
        let fastest = all.iter().min_by(|a, b| {
            let [a, b] = [a, b].map(|candidate| speed.seconds(candidate));
            a.total_cmp(&b)
        });
        if let (true, Some(candidate)) = (found.is_empty(), fastest) {
            let seconds = measure(&mut speed, candidate)?;
            found.push(recommended(candidate, seconds, "the fastest that is found"));
        }
        bar.finish_and_clear();
        Ok(found)
    }

    /// What tunes it.
    fn command(&self, rule: &Rule, candidate: &Candidate) -> String {
        let name = &candidate.entry.name;
        let size = match candidate.numbers.least_size {
            Some(_) => format!(" --image-size {}", candidate.size),
            None => String::new(),
        };
        let Rule { recipe, epochs, .. } = rule;
        format!("burn-zoo finetune {name} --data DATA --recipe {recipe} --epochs {epochs}{size}")
    }

    fn print(&self, rule: &Rule, found: &[Recommended]) -> Result<()> {
        print(format!(
            "recipe: {}, {} epochs, for {} images of {} classes: {}\n",
            rule.recipe, rule.epochs, self.images, self.classes, rule.reason
        ))?;
        let header = [
            "model",
            "top-1",
            "parameters",
            "size",
            "images/s",
            "time",
            "licence",
        ];
        let mut rows = table(header);
        for found in found {
            let entry = &found.candidate.entry;
            let above = if found.fits { "" } else { ", above the budget" };
            rows.add_row([
                entry.name.clone(),
                top1(entry),
                short(found.candidate.numbers.parameters),
                found.candidate.size.to_string(),
                format!("{:.0}", found.images_per_second),
                format!("{}{above}", time(found.seconds)),
                licence(entry),
            ]);
        }
        align_right(&mut rows, &[1, 2, 3, 4, 5]);
        print(rows)?;
        print(INHERITED)?;
        for found in found {
            print(format!(
                "\n{}: {}\n  {}",
                found.candidate.entry.name,
                found.reason,
                self.command(rule, found.candidate)
            ))?;
        }
        Ok(())
    }

    fn print_json(
        &self,
        rule: &Rule,
        per_class: f64,
        found: &[Recommended],
        device: &Device,
    ) -> Result<()> {
        let candidates = found.iter().map(|found| {
            let Candidate {
                architecture,
                entry,
                result,
                numbers,
                size,
            } = found.candidate;
            json!({
                "model": entry.name,
                "family": architecture.family,
                "reason": found.reason,
                "fits": found.fits,
                "seconds": found.seconds,
                "images_per_second": found.images_per_second,
                "image_size": size,
                "top1": result.top1,
                "top1_size": result.size,
                "parameters": numbers.parameters,
                "macs": numbers.macs,
                "licence": entry.licence,
                "licence_source": entry.licence_source,
                "terms": entry.terms().name(),
                "command": self.command(rule, found.candidate),
            })
        });
        print_json(&json!({
            "recipe": rule.recipe,
            "epochs": rule.epochs,
            "reason": rule.reason,
            "images_per_class": per_class,
            "budget_seconds": self.budget.seconds,
            "device": burn_zoo::device_name(device),
            "threads": rayon::current_num_threads(),
            "candidates": candidates.collect::<Vec<_>>(),
        }))
    }
}
