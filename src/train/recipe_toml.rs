//! Recipes in files.

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::recipe::Recipe;
use crate::data::Task;
use crate::error::{Error, Result};

impl Recipe {
    /// Writes the recipe as TOML.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for values that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|error| Error::argument("recipe", "values that TOML can hold", error))
    }

    /// Reads a recipe from TOML. A key `recipe` names the recipe that all others change; without
    /// it, that is `full`. A key `task` brings the usual loss and metric of that task.
    ///
    /// ```
    /// use burn_zoo::prelude::*;
    ///
    /// let recipe = Recipe::from_toml("recipe = 'gradual'\nepochs = 12").unwrap();
    /// assert_eq!(recipe, Recipe::gradual().epochs(12));
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] that names the line, and the keys and values that there are.
    pub fn from_toml(text: &str) -> Result<Self> {
        let bad = |mut error: toml::de::Error| {
            error.set_input(Some(text));
            Error::argument("recipe", "a recipe in TOML", error.to_string().trim_end())
        };
        let mut table = DeTable::parse(text).map_err(bad)?.into_inner();
        let is_of_run = table.contains_key("burn_zoo");
        let base;
        let values = match table
            .remove("recipe")
            .map(|value| (value.span(), value.into_inner()))
        {
            // A run's own `config.toml` holds its recipe in a table.
            Some((_, DeValue::Table(recipe))) if is_of_run => {
                let known = ["burn_zoo", "model", "data", "extended"];
                if let Some(other) = table
                    .keys()
                    .find(|key| !known.contains(&key.get_ref().as_ref()))
                {
                    let expected = "burn_zoo, recipe, model, data, extended at the top of a run's \
                                    file, and keys of the recipe in [recipe]";
                    return Err(Error::argument(
                        "recipe",
                        expected,
                        format!("`{}`", other.get_ref()),
                    ));
                }
                recipe
            }
            named => {
                let recipe = match named {
                    None => Self::full(),
                    Some((_, DeValue::String(name))) => Self::named(&name)?,
                    Some((span, _)) => {
                        return Err(Error::argument("recipe", "a name", &text[span]));
                    }
                };
                // A task brings its usual loss and metric.
                let task = match table.get("task").map(|task| task.get_ref()) {
                    Some(DeValue::String(task)) => task.parse().unwrap_or_default(),
                    _ => Task::default(),
                };
                base = recipe.task(task).to_toml()?;
                let mut values = DeTable::parse(&base).map_err(bad)?.into_inner();
                values.extend(table);
                values
            }
        };
        let values = Spanned::new(0..text.len(), values);
        let recipe = Recipe::deserialize(toml::Deserializer::from(values)).map_err(bad)?;
        recipe.validate()?;
        Ok(recipe)
    }
}
