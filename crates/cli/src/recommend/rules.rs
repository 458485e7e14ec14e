//! The rules by which a recipe is chosen: data, which `docs/choosing.md` states, too.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

const RULES: &str = include_str!("rules.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    rule: Vec<Rule>,
}

/// A recipe, and for how many images.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Up to so many images a class.
    images_per_class: Option<f64>,
    pub recipe: String,
    pub epochs: usize,
    /// Epochs in which everything trains.
    pub trained: usize,
    pub reason: String,
}

/// Share of the images that a run sets aside for validation, unless told otherwise.
const VALID_SHARE: f64 = 0.2;

/// A forward pass takes so much of a training step: forward, and backward twice.
const FORWARD: f64 = 1.0 / 3.0;

impl Rule {
    /// That of so many images a class, and the one that costs least.
    pub fn of(images_per_class: f64) -> Result<[Self; 2]> {
        let rules: Rules = toml::from_str(RULES).context("the rules of the program")?;
        let holds = |rule: &&Rule| {
            rule.images_per_class
                .is_none_or(|most| images_per_class <= most)
        };
        let rule = rules.rule.iter().find(holds);
        let cheap = rules.rule.iter().find(|rule| rule.trained == 0);
        match (rule, cheap) {
            (Some(rule), Some(cheap)) => Ok([rule.clone(), cheap.clone()]),
            _ => bail!("the rules of the program: expected one for every number of images"),
        }
    }

    /// Whether the backbone trains.
    pub fn trains(&self) -> bool {
        self.trained > 0
    }

    /// How many images go through the model in a run on so many: in training steps, or, where nothing
    /// of the backbone trains, once each, as its output is kept.
    pub fn passes(&self, images: usize) -> f64 {
        let images = images as f64;
        if !self.trains() {
            return images;
        }
        let frozen = (self.epochs - self.trained) as f64 * FORWARD;
        let trained = (1.0 - VALID_SHARE) * (self.trained as f64 + frozen);
        let judged = VALID_SHARE * FORWARD * self.epochs as f64;
        images * (trained + judged)
    }
}

#[cfg(test)]
mod tests {
    use super::Rule;

    #[test]
    fn there_is_a_rule_for_every_number_of_images() {
        let recipe = |images: f64| Rule::of(images).unwrap()[0].recipe.clone();
        assert_eq!(
            [0.1, 20.0, 20.1, 500.0, 501.0, 1e9].map(recipe),
            [
                "features",
                "features",
                "fine-tune",
                "fine-tune",
                "full",
                "full"
            ]
        );
        let [full, cheap] = Rule::of(1e4).unwrap();
        assert_eq!((full.trains(), cheap.recipe.as_str()), (true, "features"));
        assert_eq!(cheap.passes(100), 100.0);
        // Nine epochs of 80 images, and forward alone of 20.
        assert!((full.passes(100) - (720.0 + 60.0)).abs() < 1e-9);
        for rule in [full, cheap] {
            assert!(burn_zoo::train::Recipe::named(&rule.recipe).is_ok());
        }
    }
}
