//! Recipes in files.

use super::recipe::Recipe;
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
    /// it, that is `full`.
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
        let bad = |error: toml::de::Error| {
            Error::argument("recipe", "a recipe in TOML", error.to_string().trim_end())
        };
        let mut table: toml::Table = text.parse().map_err(bad)?;
        // A run's own `config.toml` holds its recipe in a table.
        if let (true, Some(toml::Value::Table(own))) =
            (table.contains_key("burn_zoo"), table.get("recipe"))
        {
            let recipe: Recipe = own.clone().try_into().map_err(bad)?;
            recipe.validate()?;
            return Ok(recipe);
        }
        let base = match table.remove("recipe") {
            None => Self::full(),
            Some(toml::Value::String(name)) => Self::named(&name)?,
            Some(other) => return Err(Error::argument("recipe", "a name", other)),
        };
        // Once from the text, so that an error names its line. The line that named the recipe is
        // kept, empty, so that the others keep their numbers.
        let mut top = true;
        let own: String = text
            .lines()
            .map(|line| {
                top &= !line.trim_start().starts_with('[');
                let key = line.split('=').next().unwrap_or_default().trim();
                match key.trim_matches(['"', '\'']) {
                    "recipe" if top => "\n".to_owned(),
                    _ => format!("{line}\n"),
                }
            })
            .collect();
        toml::from_str::<Recipe>(&own).map_err(bad)?;
        // And once over the values of the recipe that was named.
        let mut values = toml::Table::try_from(&base)
            .map_err(|error| Error::argument("recipe", "values that TOML can hold", error))?;
        values.extend(table);
        let recipe: Recipe = values.try_into().map_err(bad)?;
        recipe.validate()?;
        Ok(recipe)
    }
}
