//! Lists of random changes as text, and what a configuration file may hold.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

use super::augmentation::Augment;
use super::transform::Transform;
use crate::error::{Error, Result};

/// A name that stands for several transforms.
type Preset = (&'static str, fn() -> Augment);

const PRESETS: [Preset; 5] = [
    ("none", Augment::none),
    ("flip-crop", Augment::flip_crop),
    ("imagenet", Augment::imagenet),
    ("trivial", Augment::trivial),
    ("rand", Augment::rand),
];

/// The text that [`Augment`] describes; the result has passed [`Augment::check`].
impl FromStr for Augment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut augment = Augment::none();
        let items: Vec<&str> = text.split(',').map(str::trim).collect();
        if items.len() > 1 && items.contains(&"none") {
            let expected = "`none` alone, or random changes without it";
            return Err(Error::argument("augment", expected, format!("`{text}`")));
        }
        for item in items {
            match PRESETS.iter().find(|(name, _)| *name == item) {
                Some((_, preset)) => augment.0.extend(preset().0),
                None => augment.0.push(item.parse()?),
            }
        }
        augment.check()?;
        Ok(augment)
    }
}

/// The transforms separated by commas; `none` if there are none.
impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            return f.write_str("none");
        }
        for (i, transform) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            transform.fmt(f)?;
        }
        Ok(())
    }
}

/// The name, and `:SETTING=VALUE` for each setting that is not the default.
impl FromStr for Transform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let Some(mut transform) = Transform::all().into_iter().find(|t| t.name() == name) else {
            let names = Transform::all().map(|t| t.name());
            let presets = PRESETS.map(|(name, _)| name);
            return Err(Error::argument(
                "augment",
                format!("{} or {}", presets.join(", "), names.join(", ")),
                format!("`{name}`"),
            ));
        };
        let mut given = HashSet::new();
        for part in parts {
            transform = transform.with(part)?;
            let key = part.split('=').next().unwrap_or_default();
            if !given.insert(key) {
                return Err(Error::argument(
                    format!("augment {name} {key}"),
                    "one value",
                    "two",
                ));
            }
        }
        Ok(transform)
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let mut defaults = Transform::all().into_iter();
        let default = defaults.find(|t| t.name() == self.name());
        let defaults = default.map(|t| t.settings()).unwrap_or_default();
        for (key, value) in self.settings() {
            if defaults.get(&key) != Some(&value) {
                write!(f, ":{key}={}", write_value(&value))?;
            }
        }
        Ok(())
    }
}

impl Transform {
    /// The settings by name, and `kind`.
    fn settings(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(settings)) => settings,
            // Plain data can always be written.
            _ => Map::new(),
        }
    }

    /// The same with `part`, a setting and its value.
    fn with(&self, part: &str) -> Result<Self> {
        let mut settings = self.settings();
        let (key, text) = part.split_once('=').unwrap_or((part, ""));
        let known = settings.get(key).filter(|_| key != "kind").cloned();
        let Some(known) = known else {
            let keys = settings.keys().filter(|key| *key != "kind");
            let keys: Vec<String> = keys.map(|key| format!("{key}=..")).collect();
            return Err(Error::argument(
                format!("augment {}", self.name()),
                keys.join(" or "),
                format!("`{part}`"),
            ));
        };
        settings.insert(key.to_owned(), read_value(text));
        Transform::deserialize(Value::Object(settings)).map_err(|_| {
            Error::argument(
                format!("augment {} {key}", self.name()),
                format!("a value such as {}", write_value(&known)),
                format!("`{text}`"),
            )
        })
    }
}

/// Numbers with two dots between them are a list; what is no number is a word.
fn read_value(text: &str) -> Value {
    let number = |text: &str| match text.parse::<u64>() {
        Ok(whole) => Some(Value::from(whole)),
        Err(_) => Number::from_f64(text.parse().ok()?).map(Value::Number),
    };
    let word = || Value::from(text);
    match text.contains("..") {
        true => {
            let items: Option<Vec<Value>> = text.split("..").map(number).collect();
            items.map_or_else(word, Value::Array)
        }
        false => number(text).unwrap_or_else(word),
    }
}

fn write_value(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(write_value).collect();
            items.join("..")
        }
        Value::String(word) => word.clone(),
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (None, Some(value)) => value.to_string(),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// A text, or a list of tables; the result has passed [`Augment::check`].
impl<'de> Deserialize<'de> for Augment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrList)
    }
}

struct TextOrList;

impl<'de> Visitor<'de> for TextOrList {
    type Value = Augment;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a text such as \"flip-crop\", or a list of tables with `kind`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Augment, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Augment, A::Error> {
        let mut augment = Augment::none();
        while let Some(transform) = list.next_element()? {
            augment.0.push(transform);
        }
        augment.check().map_err(de::Error::custom)?;
        Ok(augment)
    }
}
