//! Fields of a recipe by their names.

use serde_json::Value;

use super::sampler::Sampler;
use super::space::{Params, Space};
use crate::error::{Error, Result};
use crate::train::Recipe;

/// The recipe with these values: keys are its fields as they stand in TOML, those of a table behind a
/// point, as `warmup.epochs`.
///
/// ```
/// use burn_zoo::prelude::*;
/// use burn_zoo::tune::{Params, with_values};
///
/// let values = Params::from([
///     ("learning_rate".to_owned(), 0.01.into()),
///     ("optimizer".to_owned(), "sgd:momentum=0.8".into()),
/// ]);
/// let recipe = with_values(&Recipe::full(), &values)?;
/// assert_eq!(recipe.learning_rate, 0.01);
/// # Ok::<(), burn_zoo::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidArgument`] that names the field and what it takes.
pub fn with_values(recipe: &Recipe, values: &Params) -> Result<Recipe> {
    let mut recipe = recipe.clone();
    // A value as a text becomes the table whose fields others change.
    let (inner, outer): (Vec<_>, Vec<_>) = values.iter().partition(|(name, _)| name.contains('.'));
    for (name, value) in outer {
        recipe = with(&recipe, &[(name, value)])?;
    }
    if !inner.is_empty() {
        recipe = with(&recipe, &inner)?;
    }
    recipe.validate()?;
    Ok(recipe)
}

fn with(recipe: &Recipe, values: &[(&String, &Value)]) -> Result<Recipe> {
    let names: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(", ");
    let unwritable = |error: toml::ser::Error| {
        Error::argument(names.as_str(), "values that TOML can hold", error)
    };
    let mut table = toml::Table::try_from(recipe).map_err(unwritable)?;
    for (name, value) in values {
        let value = toml::Value::try_from(value).map_err(unwritable)?;
        set(&mut table, name, value).map_err(|found| {
            let expected = "a field of the recipe that has fields of its own";
            Error::argument(name.as_str(), expected, found)
        })?;
    }
    toml::Value::Table(table)
        .try_into()
        .map_err(|error: toml::de::Error| {
            let shown: Vec<String> = values.iter().map(|(_, value)| value.to_string()).collect();
            let message = error.message().trim();
            let (reason, expected) = match message.rsplit_once("expected ") {
                Some((reason, expected)) => (reason.trim_end_matches([',', ' ']), expected),
                None => (message, "a value that the recipe takes"),
            };
            let expected = match expected {
                "f32" | "f64" => "a number",
                "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
                "bool" | "a boolean" => "true or false",
                other => other,
            };
            let found = match reason.starts_with("unknown field") {
                true => reason.to_owned(),
                false => shown.join(", "),
            };
            Error::argument(names.as_str(), expected, found)
        })
}

/// Sets a field; else what is there instead of a table.
fn set(table: &mut toml::Table, name: &str, value: toml::Value) -> Result<(), String> {
    let Some((first, rest)) = name.split_once('.') else {
        let value = match (table.get(name), value) {
            // Steps of a range are numbers with a point.
            (Some(toml::Value::Integer(_)), toml::Value::Float(number))
                if number.fract() == 0.0 =>
            {
                toml::Value::Integer(number as i64)
            }
            (_, value) => value,
        };
        table.insert(name.to_owned(), value);
        return Ok(());
    };
    let inner = table
        .entry(first)
        .or_insert_with(|| toml::Value::Table(toml::Table::new()));
    match inner {
        toml::Value::Table(inner) => set(inner, rest, value),
        other => Err(other.to_string()),
    }
}

/// Tries the values of each parameter before anything runs: all of a choice; of a range its ends and one between,
/// or those that a grid takes of it. `try_one` is called with the parameter's value and those under which it exists.
///
/// # Errors
/// Whatever `try_one` returns.
pub fn check_values(
    space: &Space,
    sampler: &Sampler,
    mut try_one: impl FnMut(&str, &Params) -> Result<()>,
) -> Result<()> {
    let points = match sampler {
        Sampler::Grid { points } => *points,
        _ => None,
    };
    for (name, parameter) in space.iter() {
        let conditions = space.under_which(name);
        for value in parameter.distribution.samples(points) {
            let mut values = conditions.clone();
            values.insert(name.to_owned(), value);
            try_one(name, &values)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Adapt, Lora};
    use crate::train::Optimizer;

    fn params(values: &[(&str, Value)]) -> Params {
        let values = values.iter().cloned();
        values
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// The rank alone, so that the scale of adapters stays as it is; an alpha that was given stays too.
    #[test]
    fn ranks_of_adapters_vary() {
        let values = params(&[("adapt.rank", 2.0.into())]);
        let of = |adapt: Adapt| with_values(&Recipe::full().adapt(adapt), &values).unwrap();
        assert_eq!(of(Adapt::lora(8)).adapt, Adapt::lora(2));
        let given = Lora::new(2).alpha(16.0);
        assert_eq!(
            of(Adapt::Lora(Lora { rank: 8, ..given })).adapt,
            Adapt::Lora(given)
        );
    }

    #[test]
    fn fields_are_set_by_name() {
        let values = params(&[
            ("optimizer", "sgd".into()),
            ("optimizer.momentum", 0.7.into()),
            ("batch_size", 32.0.into()),
            ("early_stopping.min_delta", 0.1.into()),
            ("early_stopping.patience", 3.into()),
            ("warmup.epochs", 2.into()),
            ("image_size", 32.into()),
            ("drop_rate", 0.2.into()),
            ("schedule", "cosine:end=0.01".into()),
        ]);
        let recipe = with_values(&Recipe::full(), &values).unwrap();
        assert!(matches!(recipe.optimizer, Optimizer::Sgd { momentum, .. } if momentum == 0.7));
        assert_eq!((recipe.batch_size, recipe.warmup.epochs), (32, 2.0));
        let rule = recipe.early_stopping.unwrap();
        assert_eq!((rule.patience, rule.min_delta), (3, 0.1));
        assert_eq!(recipe.schedule.to_string(), "cosine:end=0.01");
    }

    #[test]
    fn mistakes_name_the_field_and_what_it_takes() {
        for (name, value, expected) in [
            ("learnin_rate", Value::from(0.1), "`learning_rate`"),
            ("learning_rate", "fast".into(), "expected a number, found"),
            (
                "batch_size",
                "large".into(),
                "expected a whole number, found",
            ),
            ("drop_last", 3.into(), "expected true or false, found"),
            (
                "warmup",
                3.into(),
                "warmup: expected a table such as { epochs = 3.0 }, found 3",
            ),
            (
                "ema",
                0.9.into(),
                "ema: expected a table such as { decay = 0.999 }, found 0.9",
            ),
            (
                "early_stopping",
                3.into(),
                "expected a table such as { patience = 3 }, found 3",
            ),
            (
                "mixing",
                0.2.into(),
                "expected a table such as { mixup_alpha = 0.2 }, found 0.2",
            ),
            (
                "checkpoints",
                2.into(),
                "expected a table such as { last = 1, best = 1 }, found 2",
            ),
            ("learning_rate", (-1.0).into(), "learning_rate"),
            ("batch_size", 32.5.into(), "batch_size"),
            ("optimizer", "sdg".into(), "sgd"),
            ("optimizer.momentun", 0.5.into(), "optimizer.momentun"),
            ("epochs.count", 3.into(), "fields of its own"),
        ] {
            let error = with_values(&Recipe::full(), &params(&[(name, value)])).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains(expected) && error.contains(name),
                "{name}: {error}"
            );
        }
    }
}
