//! Values that have a kind, as text in flags, recipe files and messages: one grammar for schedules,
//! rates, rate scaling, optimizers, unfreezing, clipping, feature caches, augmentations and
//! initialisations.
//!
//! ```text
//! kind    kind:value:name=value    kind(value,name=value)
//! ```
//!
//! Which kinds and fields there are, which values they take and which they have by default is said
//! once, by the `Deserialize` of the type: an enum with the tag `kind`, or a struct with such a field.
//! What is written comes from its `Serialize`. A field that is true or false needs no value, a list is
//! `1,2` or `1..2`, and names may be in kebab case.

#[cfg(test)]
mod tests;

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::value::{
    MapAccessDeserializer, MapDeserializer, SeqAccessDeserializer, SeqDeserializer, StrDeserializer,
};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer, forward_to_deserialize_any};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// How the values of a type are written.
pub(crate) struct Form {
    /// What errors call it.
    name: &'static str,
    /// How many fields of a kind are written always and without their name. They are the first.
    positional: &'static [(&'static str, usize)],
    style: Style,
    /// What there is beside the kinds.
    others: &'static [&'static str],
    /// What errors list in place of the kinds. A kind that begins none of these has no text.
    only: Option<&'static [&'static str]>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Style {
    /// `kind:value:name=1,2`.
    Colons,
    /// `some-kind:name=1..2`, fields in alphabetical order: an item of a list with commas.
    Item,
    /// `kind(value,name=1)`.
    Call,
}

impl Form {
    pub const fn new(
        name: &'static str,
        style: Style,
        positional: &'static [(&'static str, usize)],
    ) -> Self {
        Self {
            name,
            positional,
            style,
            others: &[],
            only: None,
        }
    }

    pub const fn or(self, others: &'static [&'static str]) -> Self {
        Self { others, ..self }
    }

    pub const fn only(self, texts: &'static [&'static str]) -> Self {
        Self {
            only: Some(texts),
            ..self
        }
    }

    fn takes(&self, kind: &str) -> bool {
        let begins = |text: &&str| snake(text.split(':').next().unwrap_or_default()) == kind;
        self.only.is_none_or(|texts| texts.iter().any(begins))
    }

    fn positional(&self, kind: &str) -> usize {
        let own = self.positional.iter().find(|(name, _)| *name == kind);
        own.map_or(0, |(_, count)| *count)
    }

    fn join(&self, kind: &str, parts: &[String]) -> String {
        match self.style {
            Style::Call if parts.is_empty() => kind.to_owned(),
            Style::Call => format!("{kind}({})", parts.join(",")),
            Style::Item => [&[kind.replace('_', "-")], parts].concat().join(":"),
            Style::Colons => [&[kind.to_owned()], parts].concat().join(":"),
        }
    }

    fn value_text(&self, value: &Value) -> String {
        match value {
            Value::Array(items) => {
                let separator = if self.style == Style::Colons {
                    ","
                } else {
                    ".."
                };
                let items: Vec<String> = items.iter().map(|item| self.value_text(item)).collect();
                items.join(separator)
            }
            Value::String(text) => text.clone(),
            Value::Number(value) if value.is_f64() => {
                let value = value.as_f64().unwrap_or_default();
                // Where JSON has an exponent, a person would not have one.
                if self.style == Style::Call {
                    number(value)
                } else {
                    value.to_string()
                }
            }
            other => other.to_string(),
        }
    }
}

/// Implements `FromStr` and `Display`.
macro_rules! text_form {
    ($(#[$doc:meta])* $type:ty, $form:expr, $check:expr) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&crate::text::write(&$form, self))
            }
        }

        $(#[$doc])*
        impl std::str::FromStr for $type {
            type Err = crate::error::Error;

            fn from_str(text: &str) -> crate::error::Result<Self> {
                let value: Self = crate::text::parse(&$form, text)?;
                let check: fn(&Self) -> crate::error::Result<()> = $check;
                check(&value)?;
                Ok(value)
            }
        }
    };
}

/// Implements `Serialize` and `Deserialize` as text.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Implements `FromStr` and `Display` for an enum without fields, with the names that serde has.
macro_rules! text_choice {
    ($type:ty, $name:literal) => {
        impl $type {
            /// Every name, as it is written on the command line and in files.
            pub fn names() -> &'static [&'static str] {
                crate::text::choose::<Self>("").map_or_else(|fault| fault.names, |_| &[])
            }
        }

        impl std::str::FromStr for $type {
            type Err = crate::error::Error;

            /// One of the [`names`](Self::names).
            fn from_str(text: &str) -> crate::error::Result<Self> {
                crate::text::choose(text).map_err(|fault| fault.error($name, text))
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                serde::Serialize::serialize(self, f)
            }
        }
    };
}

pub(crate) use {serde_as_text, text_choice, text_form};

/// Reads an enum without fields.
pub(crate) fn choose<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    T::deserialize(StrDeserializer::new(text))
}

/// The kinds of a type.
pub(crate) fn kinds<T: DeserializeOwned>() -> &'static [&'static str] {
    from_fields::<T>("", &[]).map_or_else(|fault| fault.names, |_| &[])
}

/// The fields of a kind, in their order.
fn fields<T: DeserializeOwned>(kind: &str) -> Vec<&'static str> {
    let names = from_fields::<T>(kind, &[("", "")]).map_or_else(|fault| fault.names, |_| &[]);
    let names = names.iter().filter(|name| **name != "kind");
    names.copied().collect()
}

fn from_fields<T: DeserializeOwned>(kind: &str, fields: &[(&str, &str)]) -> Result<T, Fault> {
    let fields = fields.iter().copied();
    let fields = [("kind", kind)].into_iter().chain(fields);
    let fields = fields.map(|(name, text)| (name, Token(text)));
    T::deserialize(MapDeserializer::new(fields))
}

/// Reads a value.
///
/// # Errors
/// [`Error::InvalidArgument`] that names the type, the kind and the field, what it takes and what
/// was found.
pub(crate) fn parse<T: DeserializeOwned>(form: &Form, text: &str) -> Result<T> {
    let unknown = |found: &str| {
        let kinds = kinds::<T>().iter().map(|kind| {
            let fields = fields::<T>(kind).into_iter().take(form.positional(kind));
            form.join(kind, &fields.map(str::to_uppercase).collect::<Vec<_>>())
        });
        let others = form.others.iter().map(|other| (*other).to_owned());
        let expected = match form.only {
            Some(texts) => either(texts),
            None => either(&others.chain(kinds).collect::<Vec<_>>()),
        };
        Error::argument(form.name, expected, format!("`{found}`"))
    };
    let (name, rest) = text.split_once([':', '(']).unwrap_or((text, ""));
    let (separator, rest) = if text[name.len()..].starts_with('(') {
        (',', rest.trim_end().strip_suffix(')'))
    } else {
        (':', Some(rest))
    };
    let rest = rest.ok_or_else(|| unknown(text))?;
    let none = text == name || separator == ',' && rest.trim().is_empty();
    let parts = rest.split(separator).map(str::trim).skip(usize::from(none));
    let mut kinds = kinds::<T>().iter().copied();
    let kind = kinds.find(|kind| *kind == snake(name) && form.takes(kind));
    let kind = kind.ok_or_else(|| unknown(name.trim()))?;

    let what = format!("{} {}", form.name, form.join(kind, &[]));
    let fields = fields::<T>(kind);
    let field = |name: &str| fields.iter().find(|field| **field == snake(name));
    let mut given: Vec<(&str, &str)> = Vec::new();
    for (index, part) in parts.enumerate() {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (field(name), value.trim()),
            None if index < form.positional(kind) => (fields.get(index), part),
            None => (field(part), "true"),
        };
        let Some(&name) = name else {
            let expected = match fields.as_slice() {
                [] => "nothing after it".to_owned(),
                [one] => format!("{one}, once"),
                fields => format!("{}, each once", either(fields)),
            };
            return Err(Error::argument(what, expected, format!("`{part}`")));
        };
        if given.iter().any(|(other, _)| *other == name) {
            return Err(Error::argument(what, format!("one value of {name}"), "two"));
        }
        // Alone, so that the error names it.
        if let Err(fault) = from_fields::<T>(kind, &[(name, value)])
            && fault.missing.is_none()
        {
            return Err(fault.error(&format!("{what} {name}"), value));
        }
        given.push((name, value));
    }
    from_fields(kind, &given).map_err(|fault: Fault| match fault.missing {
        None => fault.error(&what, text),
        Some(name) => {
            // The refusal of an empty text says what the field takes.
            let fault = from_fields::<T>(kind, &[(name, "")]).err().unwrap_or(fault);
            Error::argument(format!("{what} {name}"), fault.expected, "nothing")
        }
    })
}

/// Writes a value so that [`parse`] reads it: the positional fields, and those that are not the
/// default.
pub(crate) fn write<T: Serialize + DeserializeOwned>(form: &Form, value: &T) -> String {
    let table = table_of(value);
    let kind = kind(value);
    let mut order = fields::<T>(&kind);
    if form.style == Style::Item {
        order.sort_unstable();
    }
    let defaults = defaults::<T>(&kind);
    let mut parts = Vec::new();
    for (index, name) in order.into_iter().enumerate() {
        match table.get(name) {
            None => {}
            Some(value) if index < form.positional(&kind) => parts.push(form.value_text(value)),
            same if same == defaults.get(name) => {}
            Some(Value::Bool(true)) => parts.push(name.to_owned()),
            Some(value) => parts.push(format!("{name}={}", form.value_text(value))),
        }
    }
    form.join(&kind, &parts)
}

/// The default of each field of a kind that has one.
fn defaults<T: Serialize + DeserializeOwned>(kind: &str) -> Map<String, Value> {
    let mut required = Vec::new();
    loop {
        match from_fields::<T>(kind, &required) {
            Ok(value) => {
                let mut table = table_of(&value);
                table.retain(|name, _| required.iter().all(|(required, _)| required != name));
                return table;
            }
            Err(Fault {
                missing: Some(name),
                ..
            }) => required.push((name, "0")),
            Err(_) => return Map::new(),
        }
    }
}

/// The kind of a value, as serde names it.
pub(crate) fn kind<T: Serialize>(value: &T) -> String {
    let kind = table_of(value).remove("kind").unwrap_or_default();
    kind.as_str().unwrap_or_default().to_owned()
}

fn table_of<T: Serialize>(value: &T) -> Map<String, Value> {
    let mut json = serde_json::to_value(value).unwrap_or_default();
    if let Ok(toml) = toml::Value::try_from(value) {
        restore_not_finite(&mut json, &toml);
    }
    match json {
        Value::Object(table) => table,
        // Plain data can always be written.
        _ => Map::new(),
    }
}

/// JSON has neither infinities nor NaN, TOML has; but TOML's whole numbers end at 2^63.
fn restore_not_finite(json: &mut Value, toml: &toml::Value) {
    match (json, toml) {
        (json @ Value::Null, toml::Value::Float(value)) => *json = value.to_string().into(),
        (Value::Array(json), toml::Value::Array(toml)) => {
            for (json, toml) in json.iter_mut().zip(toml) {
                restore_not_finite(json, toml);
            }
        }
        (Value::Object(json), toml::Value::Table(toml)) => {
            for (name, json) in json {
                if let Some(toml) = toml.get(name) {
                    restore_not_finite(json, toml);
                }
            }
        }
        _ => {}
    }
}

/// Writes a value as text: for a value in a file.
pub(crate) fn serialize<T: Display, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Reads a text, or `F`, the fields: for a value in a file.
pub(crate) fn deserialize<'de, T, F, D>(from: D) -> Result<T, D::Error>
where
    T: FromStr<Err = Error> + From<F>,
    F: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct TextOrFields<T, F>(PhantomData<(T, F)>);

    impl<'de, T: FromStr<Err = Error> + From<F>, F: Deserialize<'de>> Visitor<'de>
        for TextOrFields<T, F>
    {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a text, or a table with `kind`")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }

        fn visit_map<A: de::MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
            F::deserialize(MapAccessDeserializer::new(fields)).map(T::from)
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, items: A) -> Result<T, A::Error> {
            F::deserialize(SeqAccessDeserializer::new(items)).map(T::from)
        }
    }

    from.deserialize_any(TextOrFields(PhantomData))
}

/// For the `deserialize_with` of a list, which text cannot tell from a single value.
pub(crate) fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<usize>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "whole numbers with commas between them")]
    enum OneOrMore {
        One(usize),
        More(Vec<usize>),
    }
    Ok(match OneOrMore::deserialize(from)? {
        OneOrMore::One(value) => vec![value],
        OneOrMore::More(values) => values,
    })
}

/// For the `deserialize_with` of a unit variant, which would let unknown fields pass.
pub(crate) fn no_fields<'de, D: Deserializer<'de>>(from: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    Nothing::deserialize(from).map(|Nothing {}| ())
}

fn snake(name: &str) -> String {
    name.trim().replace('-', "_")
}

/// `a, b or c`.
fn either<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<&str> = names.iter().map(S::as_ref).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, first)) => format!("{} or {last}", first.join(", ")),
        None => String::new(),
    }
}

/// A number as the shortest text that reads back as the same, without the digits that `Display`
/// would spell out for a very large or small one.
pub(crate) fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude.is_finite() && magnitude != 0.0 && !(1e-5..1e16).contains(&magnitude) {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}

/// A value within a text: a whole number, a number, true or false, a list of them, else a word.
#[derive(Clone, Copy)]
struct Token<'a>(&'a str);

impl<'de> Deserializer<'de> for Token<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let text = self.0;
        if let Ok(number) = text.parse::<u64>() {
            visitor.visit_u64(number)
        } else if let Some(number) = text.parse::<f64>().ok().filter(|n| n.is_finite()) {
            visitor.visit_f64(number)
        } else if let Ok(flag) = text.parse::<bool>() {
            visitor.visit_bool(flag)
        } else if let Some(separator) = ["..", ","].into_iter().find(|s| text.contains(s)) {
            visitor.visit_seq(SeqDeserializer::new(text.split(separator).map(Token)))
        } else {
            visitor.visit_borrowed_str(text)
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        StrDeserializer::new(self.0).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Fault> for Token<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Why a type refuses what it is given.
#[derive(Debug, Default)]
pub(crate) struct Fault {
    /// What it takes.
    expected: String,
    /// The kinds or fields that it has instead of an unknown one.
    pub names: &'static [&'static str],
    /// The field without a default that is not given.
    missing: Option<&'static str>,
}

impl Fault {
    pub fn error(self, argument: &str, found: &str) -> Error {
        Error::argument(argument, self.expected, format!("`{found}`"))
    }

    fn one_of(names: &'static [&'static str]) -> Self {
        let expected = either(names);
        Fault {
            expected,
            names,
            missing: None,
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expected)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<M: Display>(message: M) -> Self {
        let message = message.to_string();
        // "invalid type: integer `3`, expected a string".
        let expected = message
            .split_once("expected ")
            .map_or(&*message, |(_, expected)| expected);
        let expected = match expected {
            "f64" => "a number",
            "u8" => "a whole number from 0 to 255",
            "u16" | "u32" | "u64" | "usize" => "a whole number of at least 0",
            other => other,
        };
        Fault {
            expected: expected.to_owned(),
            ..Fault::default()
        }
    }

    fn unknown_variant(_: &str, names: &'static [&'static str]) -> Self {
        Fault::one_of(names)
    }

    fn unknown_field(_: &str, names: &'static [&'static str]) -> Self {
        Fault::one_of(names)
    }

    fn missing_field(name: &'static str) -> Self {
        Fault {
            expected: "a value".to_owned(),
            missing: Some(name),
            ..Fault::default()
        }
    }
}
