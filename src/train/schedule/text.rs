//! Tagged values as a person types them: a kind and its values, `step:30:0.1` or
//! `cosine:end=0.01:cycles=3`.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::Schedule;
use crate::error::{Error, Result};

/// One kind of a tagged enum, and how it is written.
pub(crate) struct Form {
    /// The tag.
    pub kind: &'static str,
    /// The fields, in the order in which they are written.
    pub fields: &'static [&'static str],
    /// How many of them are written always, and without their name. The others are written by name,
    /// where they are not the default.
    pub bare: usize,
}

impl Form {
    pub(crate) const fn new(
        kind: &'static str,
        fields: &'static [&'static str],
        bare: usize,
    ) -> Self {
        Self { kind, fields, bare }
    }
}

/// Reads a value of an enum with the tag `kind`, of which every field has a default.
///
/// `what` names it in errors; `expected` says what there is.
pub(crate) fn parse<T: Serialize + DeserializeOwned>(
    what: &str,
    expected: &str,
    forms: &[Form],
    text: &str,
) -> Result<T> {
    let mut parts = text.split(':');
    let kind = parts.next().unwrap_or_default().replace('-', "_");
    let unknown = || Error::argument(what, expected, format!("`{text}`"));
    let form = forms.iter().find(|f| f.kind == kind).ok_or_else(unknown)?;
    let what = format!("{what} {kind}");

    let defaults = defaults::<T>(form);
    let mut given = tagged(form);
    for (index, part) in parts.enumerate() {
        let (field, value) = match part.split_once('=') {
            Some((name, value)) => {
                let name = name.replace('-', "_");
                (form.fields.iter().find(|f| **f == name), value)
            }
            None => (form.fields[..form.bare].get(index), part),
        };
        let Some(&field) = field else {
            return Err(Error::argument(what, choices(form), format!("`{part}`")));
        };
        let like = defaults.get(field).unwrap_or(&Value::Null);
        let value = read(value, like).map_err(|expected| {
            Error::argument(format!("{what} {field}"), expected, format!("`{value}`"))
        })?;
        if given.insert(field.to_owned(), value).is_some() {
            let expected = format!("one value of {field}");
            return Err(Error::argument(what, expected, "two"));
        }
    }
    serde_json::from_value(Value::Object(given)).map_err(|error| {
        let error = error.to_string();
        let expected = error.split_once("expected ").map_or(&*error, |(_, e)| e);
        Error::argument(what, expected, format!("`{text}`"))
    })
}

/// Writes a value so that [`parse`] reads it.
pub(crate) fn write<T: Serialize + DeserializeOwned>(
    value: &T,
    forms: &[Form],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let value = object(value);
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or("");
    f.write_str(kind)?;
    let Some(form) = forms.iter().find(|form| form.kind == kind) else {
        return Ok(());
    };
    let defaults = defaults::<T>(form);
    for (index, field) in form.fields.iter().enumerate() {
        let shown = value.get(*field).map(show).unwrap_or_default();
        if index < form.bare {
            write!(f, ":{shown}")?;
        } else if value.get(*field) != defaults.get(*field) {
            write!(f, ":{field}={shown}")?;
        }
    }
    Ok(())
}

/// For the `deserialize_with` of a unit variant, which would let unknown fields pass.
pub(crate) fn no_fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    Nothing::deserialize(deserializer).map(|Nothing {}| ())
}

fn tagged(form: &Form) -> Map<String, Value> {
    let kind = Value::String(form.kind.to_owned());
    Map::from_iter([("kind".to_owned(), kind)])
}

/// What a kind holds where nothing is said.
fn defaults<T: Serialize + DeserializeOwned>(form: &Form) -> Map<String, Value> {
    serde_json::from_value::<T>(Value::Object(tagged(form)))
        .map(|value| object(&value))
        .unwrap_or_default()
}

fn object<T: Serialize>(value: &T) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// A value of the type of the default; what was expected, if it is none.
fn read(text: &str, like: &Value) -> Result<Value, &'static str> {
    match like {
        Value::Number(number) if number.is_u64() => text
            .parse::<u64>()
            .map(Value::from)
            .map_err(|_| "a whole number"),
        Value::Array(items) => text
            .split(',')
            .map(|item| read(item, items.first().unwrap_or(&Value::Null)))
            .collect::<Result<_, _>>()
            .map(Value::Array)
            .map_err(|_| "numbers with commas between them"),
        Value::Number(_) => text
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .map(Value::from)
            .ok_or("a number"),
        _ => Ok(Value::from(text)),
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(show).collect::<Vec<_>>().join(","),
        Value::String(text) => text.clone(),
        // Where JSON has an exponent, a person would not have one.
        Value::Number(number) if !number.is_u64() => {
            number.as_f64().map_or(String::new(), |n| n.to_string())
        }
        other => other.to_string(),
    }
}

fn choices(form: &Form) -> String {
    match form.fields {
        [] => "nothing after it".to_owned(),
        [one] => format!("{one}, once"),
        [first @ .., last] => format!("{} or {last}, each once", first.join(", ")),
    }
}

const FORMS: &[Form] = &[
    Form::new("constant", &[], 0),
    Form::new("step", &["epochs", "gamma"], 2),
    Form::new("multi_step", &["milestones", "gamma"], 2),
    Form::new("exponential", &["gamma"], 1),
    Form::new("linear", &["end"], 0),
    Form::new("polynomial", &["power", "end"], 1),
    Form::new("cosine", &["end", "cycles", "cycle_mul", "cycle_decay"], 0),
    Form::new(
        "one_cycle",
        &["pct_start", "div", "div_final", "momentum"],
        0,
    ),
    Form::new(
        "plateau",
        &[
            "factor",
            "patience",
            "threshold",
            "threshold_mode",
            "cooldown",
            "min_factor",
        ],
        0,
    ),
];

/// `constant`, `step:EPOCHS:GAMMA`, `multi_step:EPOCH,EPOCH:GAMMA`, `exponential:GAMMA`, `linear`,
/// `polynomial:POWER`, `cosine`, `one_cycle` or `plateau`; every kind takes its other values by
/// name, as in `cosine:end=0.01:cycles=3`.
impl std::str::FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let expected = "constant, step:EPOCHS:GAMMA, multi_step:EPOCH,EPOCH:GAMMA, \
                        exponential:GAMMA, linear, polynomial:POWER, cosine, one_cycle or plateau";
        let schedule: Schedule = parse("schedule", expected, FORMS, text)?;
        schedule.validate()?;
        Ok(schedule)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self, FORMS, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_name_every_field() {
        for form in FORMS {
            let mut held: Vec<String> = defaults::<Schedule>(form)
                .into_iter()
                .map(|f| f.0)
                .collect();
            held.retain(|name| name != "kind");
            let mut named = form.fields.to_vec();
            named.sort();
            assert_eq!(held, named, "{}", form.kind);
        }
    }
}
