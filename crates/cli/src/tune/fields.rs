//! Fields of the spec by their names, beside those of the recipe.

use anyhow::{Context as _, Result, bail};
use burn_zoo::data::Task;
use burn_zoo::prelude::*;
use burn_zoo::tune::{Params, with_values};
use serde_json::Value;

use crate::recipe::{BatchSizeArg, RecipeArgs};
use crate::task::StartArgs;

/// What a trial trains, and how.
pub struct Choice {
    pub model: String,
    pub start: StartArgs,
    pub recipe: Recipe,
}

/// Fields that are no recipe's.
const SPEC: [&str; 10] = [
    "model",
    "weights",
    "tag",
    "stem_rule",
    "small_images",
    "stem_stride",
    "stem_pool",
    "head_init",
    "pool",
    "in_channels",
];

impl Choice {
    /// What the flags say, with these values in place of theirs.
    pub fn new(
        model: &str,
        start: &StartArgs,
        recipe: &RecipeArgs,
        task: Option<Task>,
        params: &Params,
    ) -> Result<Self> {
        if recipe.batch_size == Some(BatchSizeArg::Auto) {
            bail!("--batch-size: expected a number in a search, found auto");
        }
        let mut choice = Self {
            model: model.to_owned(),
            start: start.clone(),
            recipe: recipe.recipe(start.options.image_size, task)?,
        };
        if params.contains_key("image_size") {
            // It is the recipe's now.
            choice.start.options.image_size = None;
        }
        if params.contains_key("weights") && params.contains_key("tag") {
            bail!("weights and tag: expected one of them, found both");
        }
        let is_spec = |name: &String| SPEC.contains(&name.as_str());
        for (name, value) in params.iter().filter(|(name, _)| is_spec(name)) {
            choice.set(name, value).with_context(|| name.clone())?;
        }
        let mut fields = params.clone();
        fields.retain(|name, _| !is_spec(name));
        choice.recipe = with_values(&choice.recipe, &fields).map_err(|error| match error {
            burn_zoo::Error::InvalidArgument {
                argument,
                expected,
                found,
            } if found.starts_with("unknown field") => burn_zoo::Error::InvalidArgument {
                argument,
                expected: format!("{expected}, or of the model {}", SPEC.join(", ")),
                found,
            },
            error => error,
        })?;
        Ok(choice)
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<()> {
        let text = || match value {
            Value::String(text) => Ok(text.clone()),
            other => bail!("expected a text, found {other}"),
        };
        let truth = || match value {
            Value::Bool(truth) => Ok(*truth),
            other => bail!("expected true or false, found {other}"),
        };
        let count = || match value.as_u64() {
            Some(count) if count > 0 => Ok(count as usize),
            _ => bail!("expected a whole number of at least 1, found {value}"),
        };
        let options = &mut self.start.options;
        match name {
            "model" => self.model = text()?,
            "weights" => self.start.weights = Some(text()?),
            "tag" => self.start.weights = Some(format!("hub:{}", text()?)),
            "stem_rule" => options.stem = text()?.parse()?,
            "small_images" => options.small_images = truth()?,
            "stem_stride" => options.stem_stride = Some(count()?),
            "stem_pool" => options.no_stem_pool = !truth()?,
            "head_init" => options.head_init = Some(text()?.parse()?),
            "pool" => options.pool = Some(Pool::from_timm_name(&text()?)?),
            "in_channels" => options.in_channels = Some(count()?),
            _ => bail!("expected one of {}", SPEC.join(", ")),
        }
        Ok(())
    }

    /// What model and weights stand for.
    /// What the model is built from, by the names of fields, for a trial that goes on: it has to be the same.
    pub fn start(&self) -> toml::Table {
        let StartArgs {
            weights,
            choice,
            options,
        } = &self.start;
        let numbers = |list: &Option<Vec<f64>>| list.as_ref().map(|list| format!("{list:?}"));
        let of_model = [
            ("model", Some(self.model.clone())),
            ("weights", weights.clone()),
            ("weights_key", choice.weights_key.clone()),
            ("weights_prefix", choice.weights_prefix.clone()),
            ("in_channels", shown(&options.in_channels)),
            ("num_classes", shown(&options.num_classes)),
            ("image_size", shown(&self.recipe.image_size)),
            ("pool", options.pool.map(|pool| format!("{pool:?}"))),
            ("stem_rule", Some(options.stem.to_string())),
            ("small_images", Some(options.small_images.to_string())),
            ("stem_stride", shown(&options.stem_stride)),
            ("stem_pool", Some((!options.no_stem_pool).to_string())),
            ("head_init", shown(&options.head_init)),
            ("mean", numbers(&options.mean)),
            ("std", numbers(&options.std)),
        ];
        let given = of_model.into_iter();
        let given = given.filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
        given.collect()
    }

    pub fn spec(&self) -> Result<Spec> {
        let StartArgs {
            weights,
            choice,
            options,
        } = &self.start;
        let spec = options.spec(&self.model, weights.as_deref(), self.recipe.seed)?;
        Ok(choice.choose(spec))
    }
}

fn shown<T: ToString>(value: &Option<T>) -> Option<String> {
    value.as_ref().map(T::to_string)
}
