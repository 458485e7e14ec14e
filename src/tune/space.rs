//! What is searched: parameters, the values that each may take, and when there is such a parameter.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::init::Rng;

/// Values of parameters by name.
pub type Params = BTreeMap<String, Value>;

/// The values that a parameter may take, and how likely each is, by Ray's names and conventions.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Distribution {
    /// One of these, each as likely as the others.
    Choice(Vec<Value>),
    /// A number in `low..high`.
    Uniform(Range<f64>),
    /// A number in `low..high` whose logarithm is uniform.
    LogUniform(Range<f64>),
    /// A number in `low..high`, rounded to a multiple of the second.
    QUniform(Range<f64>, f64),
    /// A whole number from `low` on and below `high`.
    RandInt(Range<i64>),
    /// A normal number of this mean and standard deviation.
    Normal(f64, f64),
}

/// [`Distribution::Choice`] of numbers, texts or truth values.
///
/// ```
/// let batch_size = burn_zoo::tune::choice([32, 64, 128]);
/// ```
pub fn choice<T: Into<Value>>(values: impl IntoIterator<Item = T>) -> Distribution {
    Distribution::Choice(values.into_iter().map(Into::into).collect())
}

/// Values of a range that is taken for a list.
const MOST: i64 = 100_000;

/// The names of distributions, as they stand in files, and what follows them.
const NAMES: [(&str, &str); 6] = [
    ("choice", "a list of values"),
    ("uniform", "[LOW, HIGH]"),
    ("loguniform", "[LOW, HIGH]"),
    ("quniform", "[LOW, HIGH, STEP]"),
    ("randint", "[LOW, HIGH], of which HIGH is not taken"),
    ("normal", "[MEAN, STANDARD DEVIATION]"),
];

impl Distribution {
    fn name(&self) -> &'static str {
        match self {
            Distribution::Choice(_) => "choice",
            Distribution::Uniform(_) => "uniform",
            Distribution::LogUniform(_) => "loguniform",
            Distribution::QUniform(..) => "quniform",
            Distribution::RandInt(_) => "randint",
            Distribution::Normal(..) => "normal",
        }
    }

    fn arguments(&self) -> Value {
        match self {
            Distribution::Choice(values) => values.clone().into(),
            Distribution::Uniform(range) | Distribution::LogUniform(range) => {
                vec![range.start, range.end].into()
            }
            Distribution::QUniform(range, step) => vec![range.start, range.end, *step].into(),
            Distribution::RandInt(range) => vec![range.start, range.end].into(),
            Distribution::Normal(mean, deviation) => vec![*mean, *deviation].into(),
        }
    }

    /// By its name and what follows it; else what was expected.
    fn from_arguments(name: &str, arguments: &Value) -> Result<Self, String> {
        let takes = NAMES.iter().find(|(known, _)| *known == name);
        let Some((_, takes)) = takes else {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            return Err(format!("expected {}, found `{name}`", names.join(", ")));
        };
        let bad = || format!("{name}: expected {takes}, found {arguments}");
        let list = arguments.as_array().ok_or_else(bad)?;
        if name == "choice" {
            return Ok(Distribution::Choice(list.clone()));
        }
        let numbers: Option<Vec<f64>> = list.iter().map(Value::as_f64).collect();
        let numbers = numbers.ok_or_else(bad)?;
        Ok(match (name, numbers.as_slice()) {
            ("uniform", [low, high]) => Distribution::Uniform(*low..*high),
            ("loguniform", [low, high]) => Distribution::LogUniform(*low..*high),
            ("quniform", [low, high, step]) => Distribution::QUniform(*low..*high, *step),
            ("normal", [mean, deviation]) => Distribution::Normal(*mean, *deviation),
            ("randint", [_, _]) => match (list[0].as_i64(), list[1].as_i64()) {
                (Some(low), Some(high)) => Distribution::RandInt(low..high),
                _ => return Err(bad()),
            },
            _ => return Err(bad()),
        })
    }

    fn check(&self, name: &str) -> Result<()> {
        let bad = |expected: &str, found: String| Err(Error::argument(name, expected, found));
        let shown = self.to_string();
        match self {
            Distribution::Choice(values) if values.is_empty() => {
                bad("at least one value", "choice = []".to_owned())
            }
            Distribution::Choice(values) => {
                if let Some(value) = values.iter().find(|v| v.is_array() || v.is_object()) {
                    return bad("numbers, texts, true or false", value.to_string());
                }
                let twice = (1..values.len()).find(|i| values[..*i].contains(&values[*i]));
                match twice {
                    Some(index) => bad("each value once", format!("{} twice", values[index])),
                    None => Ok(()),
                }
            }
            Distribution::Uniform(range) | Distribution::LogUniform(range)
                if !(range.start < range.end && (range.end - range.start).is_finite()) =>
            {
                bad("a first number below the second", shown)
            }
            Distribution::LogUniform(range) if range.start <= 0.0 => {
                bad("numbers above 0, of which there are logarithms", shown)
            }
            Distribution::LogUniform(range) if range.start.ln() >= range.end.ln() => {
                bad("numbers whose logarithms differ", shown)
            }
            Distribution::QUniform(range, step) => {
                let fits = range.start < range.end && (range.end - range.start).is_finite();
                if !(fits && *step > 0.0 && range.start.abs().max(range.end.abs()) / step < 1e15) {
                    return bad("a first number below the second, and a step above 0", shown);
                }
                match self.steps() {
                    Some((first, last)) if first <= last => Ok(()),
                    _ => bad("a multiple of the step between both numbers", shown),
                }
            }
            Distribution::RandInt(range) if range.is_empty() => {
                bad("a first number below the second, which is not taken", shown)
            }
            Distribution::RandInt(range)
                if range
                    .end
                    .checked_sub(range.start)
                    .is_none_or(|count| count > MOST) =>
            {
                let expected =
                    format!("at most {MOST} values, below 2^53; uniform and quniform take more");
                bad(&expected, shown)
            }
            Distribution::Normal(mean, deviation)
                if !(mean.is_finite() && *deviation > 0.0 && deviation.is_finite()) =>
            {
                bad("a mean, and a standard deviation above 0", shown)
            }
            _ => Ok(()),
        }
    }

    /// The least and the largest multiple of the step between both numbers, as counts of steps.
    fn steps(&self) -> Option<(i64, i64)> {
        let Distribution::QUniform(range, step) = self else {
            return None;
        };
        // What rounding leaves of a multiple is one.
        let slack = 1e-9;
        let first = (range.start / step - slack).ceil();
        let last = (range.end / step + slack).floor();
        Some((first as i64, last as i64))
    }

    /// A value without regard to any other.
    pub(super) fn sample(&self, rng: &mut Rng) -> Value {
        let index = |rng: &mut Rng, count: usize| {
            (rng.uniform(0.0, count as f64) as usize).min(count.saturating_sub(1))
        };
        match self {
            Distribution::Choice(values) => values[index(rng, values.len())].clone(),
            Distribution::Normal(mean, deviation) => (mean + deviation * rng.normal()).into(),
            Distribution::RandInt(range) => {
                let count = (range.end - range.start) as usize;
                (range.start + index(rng, count) as i64).into()
            }
            _ => {
                let axis = Axis::of(self);
                self.value_at(rng.uniform(axis.low, axis.high))
            }
        }
    }

    /// Every value, if they can be counted; else `points` of them, evenly apart.
    pub(super) fn grid(&self, points: Option<usize>) -> Option<Vec<Value>> {
        match self {
            Distribution::Choice(values) => Some(values.clone()),
            Distribution::RandInt(range) => Some(range.clone().map(Value::from).collect()),
            Distribution::QUniform(_, step) => {
                let (first, last) = self.steps().filter(|(first, last)| last - first < MOST)?;
                let values = (first..=last).map(|count| multiple(count, *step).into());
                Some(values.collect())
            }
            Distribution::Uniform(_) | Distribution::LogUniform(_) => {
                let (points, axis) = (points?, Axis::of(self));
                let place = |index: usize| {
                    let share = index as f64 / (points.max(2) - 1) as f64;
                    self.value_at(axis.low + share * (axis.high - axis.low))
                };
                Some((0..points).map(place).collect())
            }
            // Quantiles would be a grid, and nobody's who writes one.
            Distribution::Normal(..) => None,
        }
    }

    /// Values that stand for all: those of a choice; of a range its ends and one between, which is no whole number
    /// where both ends are, or the `points` that a grid takes of it.
    pub(super) fn samples(&self, points: Option<usize>) -> Vec<Value> {
        let is_cut = matches!(self, Distribution::Uniform(_) | Distribution::LogUniform(_));
        if let Some(values) = points
            .filter(|_| is_cut)
            .and_then(|points| self.grid(Some(points)))
        {
            return values;
        }
        match self {
            Distribution::Choice(values) => values.clone(),
            Distribution::RandInt(range) => vec![range.start.into(), (range.end - 1).into()],
            Distribution::Normal(mean, _) => vec![(*mean).into()],
            _ => {
                let axis = Axis::of(self);
                let between = axis.low + 0.381_966_011 * (axis.high - axis.low);
                [axis.low, between, axis.high]
                    .map(|place| self.value_at(place))
                    .to_vec()
            }
        }
    }

    /// The number of values, where it is limited.
    pub(super) fn num_choices(&self) -> Option<usize> {
        match self {
            Distribution::Choice(values) => Some(values.len()),
            _ => None,
        }
    }

    /// The place of a value on the axis on which densities are estimated: its index, its logarithm,
    /// or itself. `None` for a value that is none of the distribution's.
    pub(super) fn place(&self, value: &Value) -> Option<f64> {
        match self {
            Distribution::Choice(values) => {
                let index = values.iter().position(|known| same(known, value));
                index.map(|index| index as f64)
            }
            Distribution::LogUniform(_) => value.as_f64().filter(|v| *v > 0.0).map(f64::ln),
            Distribution::RandInt(range) => value
                .as_f64()
                .filter(|v| range.contains(&(*v as i64)) && v.fract() == 0.0),
            _ => value.as_f64(),
        }
    }

    /// The value at a place on that axis.
    pub(super) fn value_at(&self, place: f64) -> Value {
        match self {
            Distribution::Choice(values) => {
                let index = (place.max(0.0) as usize).min(values.len().saturating_sub(1));
                values[index].clone()
            }
            Distribution::Uniform(range) => place.clamp(range.start, range.end).into(),
            Distribution::LogUniform(range) => place.exp().clamp(range.start, range.end).into(),
            Distribution::QUniform(_, step) => {
                let (first, last) = self.steps().unwrap_or_default();
                let count = (place / step).round() as i64;
                multiple(count.clamp(first, last), *step).into()
            }
            Distribution::RandInt(range) => (place.round() as i64)
                .clamp(range.start, range.end - 1)
                .into(),
            Distribution::Normal(..) => place.into(),
        }
    }
}

/// A multiple of a step, with no more decimals than the step has: three times 0.1 is 0.3.
fn multiple(count: i64, step: f64) -> f64 {
    let value = count as f64 * step;
    let decimals = step.to_string();
    let decimals = decimals.split_once('.').map_or(0, |(_, d)| d.len());
    format!("{value:.decimals$}").parse().unwrap_or(value)
}

/// Whether two values are the same; numbers by what they are and not by how they are written.
fn same(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a == b)
}

/// The axis of a distribution that has one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    /// Ends within which values lie; infinite for a normal distribution.
    pub low: f64,
    pub high: f64,
    /// What lies between two neighbouring values; 0 if nothing does.
    pub step: f64,
    /// The middle and the width of what is believed before anything is known.
    pub prior: [f64; 2],
}

impl Axis {
    /// For a choice, that of its indices.
    pub fn of(distribution: &Distribution) -> Self {
        let between = |low: f64, high: f64, step: f64| Self {
            low,
            high,
            step,
            prior: [0.5 * (low + high), high - low],
        };
        match distribution {
            Distribution::Choice(values) => between(-0.5, values.len() as f64 - 0.5, 1.0),
            Distribution::Uniform(range) => between(range.start, range.end, 0.0),
            Distribution::LogUniform(range) => between(range.start.ln(), range.end.ln(), 0.0),
            Distribution::QUniform(range, step) => between(range.start, range.end, *step),
            // Each whole number has half a step on both sides.
            Distribution::RandInt(range) => {
                between(range.start as f64 - 0.5, range.end as f64 - 0.5, 1.0)
            }
            Distribution::Normal(mean, deviation) => Self {
                low: f64::NEG_INFINITY,
                high: f64::INFINITY,
                step: 0.0,
                prior: [*mean, *deviation],
            },
        }
    }
}

impl Axis {
    /// With half a step beyond the first and the last of values that have steps.
    pub fn with_half_steps(distribution: &Distribution) -> Self {
        let axis = Self::of(distribution);
        let (Some((first, last)), Distribution::QUniform(_, step)) =
            (distribution.steps(), distribution)
        else {
            return axis;
        };
        let (low, high) = ((first as f64 - 0.5) * step, (last as f64 + 0.5) * step);
        Self {
            low,
            high,
            prior: [0.5 * (low + high), high - low],
            ..axis
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.name(), self.arguments())
    }
}

/// A parameter that is searched.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// The values that it may take.
    pub distribution: Distribution,
    /// It exists only where each of these other parameters has one of the values.
    pub when: BTreeMap<String, Vec<Value>>,
}

impl From<Distribution> for Parameter {
    fn from(distribution: Distribution) -> Self {
        let when = BTreeMap::new();
        Self { distribution, when }
    }
}

impl Parameter {
    /// It exists only where the other parameter has one of these values.
    #[must_use]
    pub fn when<T: Into<Value>>(
        mut self,
        other: &str,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.when.insert(other.to_owned(), values);
        self
    }
}

/// The parameters that are searched, by name: in TOML
///
/// ```toml
/// [search]
/// learning_rate = { loguniform = [1e-5, 1e-2] }
/// batch_size = { choice = [32, 64, 128] }
/// optimizer = { choice = ["adamw", "sgd"] }
/// "optimizer.momentum" = { uniform = [0.5, 0.99], when = { optimizer = "sgd" } }
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Space(BTreeMap<String, Parameter>);

impl Space {
    /// Adds a parameter, in place of an earlier one of the same name.
    pub fn insert(&mut self, name: impl Into<String>, parameter: impl Into<Parameter>) {
        self.0.insert(name.into(), parameter.into());
    }

    /// The parameters, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Parameter)> {
        self.0
            .iter()
            .map(|(name, parameter)| (name.as_str(), parameter))
    }

    /// A parameter.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.0.get(name)
    }

    /// How many parameters there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// # Errors
    /// [`Error::InvalidArgument`] that names the parameter: no values, values out of order, a
    /// condition that no value of the other parameter meets, conditions in a circle.
    pub fn validate(&self) -> Result<()> {
        if self.is_empty() {
            let example =
                "at least one parameter, such as learning_rate = { loguniform = [1e-5, 1e-2] }";
            return Err(Error::argument("search", example, "none"));
        }
        for (name, parameter) in &self.0 {
            parameter.distribution.check(name)?;
            for (other, values) in &parameter.when {
                self.check_condition(name, other, values)?;
            }
            self.check_no_circle(name)?;
        }
        Ok(())
    }

    fn check_condition(&self, name: &str, other: &str, values: &[Value]) -> Result<()> {
        let argument = format!("{name} when");
        let Some(parent) = self.0.get(other) else {
            let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
            let expected = format!("a parameter of the search: {}", names.join(", "));
            return Err(Error::argument(argument, expected, format!("`{other}`")));
        };
        let Some(known) = parent.distribution.grid(None) else {
            let expected = format!("{other} to be a choice, a randint or a quniform");
            return Err(Error::argument(argument, expected, &parent.distribution));
        };
        let unknown = |value: &&Value| !known.iter().any(|known| same(known, value));
        match values.iter().find(unknown) {
            Some(value) => {
                let expected = format!("values that {other} takes, {}", Value::from(known));
                Err(Error::argument(argument, expected, value))
            }
            None if values.is_empty() => Err(Error::argument(
                argument,
                format!("values of {other}"),
                "none, so that it never exists",
            )),
            None => Ok(()),
        }
    }

    fn check_no_circle(&self, name: &str) -> Result<()> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&str> = vec![name];
        while let Some(next) = open.pop() {
            let others = self.0.get(next).into_iter().flat_map(|p| p.when.keys());
            for other in others {
                if other == name {
                    let found = format!("one that depends on {name} itself");
                    return Err(Error::argument(
                        format!("{name} when"),
                        "another parameter",
                        found,
                    ));
                }
                if seen.insert(other.as_str()) {
                    open.push(other);
                }
            }
        }
        Ok(())
    }

    /// Leaves out the parameters whose conditions the others do not meet.
    pub(super) fn active(&self, mut params: Params) -> Params {
        // One round for each link of a chain of conditions.
        loop {
            let inactive: Vec<String> = params
                .keys()
                .filter(|name| !self.is_active(name, &params))
                .cloned()
                .collect();
            if inactive.is_empty() {
                return params;
            }
            for name in inactive {
                params.remove(&name);
            }
        }
    }

    fn is_active(&self, name: &str, params: &Params) -> bool {
        let Some(parameter) = self.0.get(name) else {
            return false;
        };
        parameter.when.iter().all(|(other, values)| {
            let value = params.get(other);
            value.is_some_and(|value| values.iter().any(|known| same(known, value)))
        })
    }

    /// Values under which a parameter exists, without a word on the others.
    pub(super) fn under_which(&self, name: &str) -> Params {
        let mut params = Params::new();
        let mut open = vec![name];
        while let Some(next) = open.pop() {
            for (other, values) in self.0.get(next).into_iter().flat_map(|p| &p.when) {
                if let Some(first) = values.first()
                    && !params.contains_key(other)
                {
                    params.insert(other.clone(), first.clone());
                    open.push(other);
                }
            }
        }
        params
    }

    /// Values without regard to any that were tried.
    pub(super) fn sample(&self, seed: u64, trial: usize) -> Params {
        let sample = |(name, parameter): (&String, &Parameter)| {
            let mut rng = Rng::new(seed, &format!("trial {trial} {name}"));
            (name.clone(), parameter.distribution.sample(&mut rng))
        };
        self.active(self.0.iter().map(sample).collect())
    }
}

impl Serialize for Space {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, parameter)| {
            let distribution = &parameter.distribution;
            let mut table = BTreeMap::from([(distribution.name(), distribution.arguments())]);
            if !parameter.when.is_empty() {
                let when = parameter.when.iter();
                let when = when.map(|(other, values)| (other.clone(), values.clone().into()));
                table.insert("when", Value::Object(when.collect()));
            }
            (name, table)
        }))
    }
}

impl<'de> Deserialize<'de> for Space {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let tables = serde_json::Map::deserialize(from)?;
        let mut space = Space::default();
        for (name, value) in tables {
            space.read(&name, &value).map_err(D::Error::custom)?;
        }
        Ok(space)
    }
}

impl Space {
    /// Reads a parameter, or several whose names begin with this one: TOML makes a table of
    /// `warmup.epochs`.
    fn read(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let named = |reason: String| format!("{name}: {reason}");
        let Value::Object(table) = value else {
            return Err(named(format!(
                "expected a distribution such as {{ choice = [..] }}, found {value}"
            )));
        };
        let is_distribution = |key: &String| NAMES.iter().any(|(known, _)| known == key);
        let own: Vec<&String> = table.keys().filter(|key| is_distribution(key)).collect();
        match own.as_slice() {
            [] => {}
            [kind] => {
                let distribution = Distribution::from_arguments(kind, &table[kind.as_str()]);
                let mut parameter = Parameter::from(distribution.map_err(named)?);
                if let Some(when) = table.get("when") {
                    parameter.when = conditions(when).map_err(named)?;
                }
                self.insert(name, parameter);
            }
            [one, two, ..] => {
                return Err(named(format!(
                    "expected one distribution, found {one} and {two}"
                )));
            }
        }
        for (key, value) in table {
            if is_distribution(key) || (key == "when" && !own.is_empty()) {
                continue;
            }
            if !value.is_object() {
                let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
                return Err(named(format!(
                    "expected {}, found `{key}`",
                    names.join(", ")
                )));
            }
            self.read(&format!("{name}.{key}"), value)?;
        }
        if table.is_empty() {
            return Err(named("expected a distribution, found {}".to_owned()));
        }
        Ok(())
    }
}

/// `{ optimizer = "sgd" }` or `{ optimizer = ["sgd", "adamw"] }`.
fn conditions(when: &Value) -> Result<BTreeMap<String, Vec<Value>>, String> {
    let Value::Object(table) = when else {
        let expected = "expected { PARAMETER = VALUE } or { PARAMETER = [VALUES] }";
        return Err(format!("when: {expected}, found {when}"));
    };
    let values = |value: &Value| match value {
        Value::Array(values) => values.clone(),
        one => vec![one.clone()],
    };
    Ok(table
        .iter()
        .map(|(name, value)| (name.clone(), values(value)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(text: &str) -> Result<Space, String> {
        let space: Space = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        space.validate().map_err(|error| error.to_string())?;
        Ok(space)
    }

    #[test]
    fn a_space_is_read_and_written() {
        let text = "learning_rate = { loguniform = [1e-5, 1e-2] }\n\
                    epochs = { randint = [4, 10] }\n\
                    optimizer = { choice = ['adamw', 'sgd'] }\n\
                    optimizer.momentum = { uniform = [0.5, 0.99], when = { optimizer = 'sgd' } }\n\
                    label_smoothing = { quniform = [0, 0.3, 0.1] }\n\
                    weight_decay = { normal = [0.05, 0.01] }";
        let read = space(text);
        // TOML has no table that is a value, too.
        assert!(read.is_err());
        let text = text.replace("optimizer.momentum", "'optimizer.momentum'");
        let read = space(&text).unwrap();
        assert_eq!(read.len(), 6);
        let again: Space = toml::from_str(&toml::to_string(&read).unwrap()).unwrap();
        assert_eq!(read, again);
        let smoothing = &read.get("label_smoothing").unwrap().distribution;
        let grid: Vec<f64> = smoothing
            .grid(None)
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect();
        assert!(
            grid == [0.0, 0.1, 0.2, 0.3] && smoothing.value_at(0.29) == 0.3,
            "{grid:?}"
        );
        let under = "a = { choice = [1], when = { b = 0.3 } }\nb = { quniform = [0, 0.3, 0.1] }";
        assert!(space(under).is_ok());
        let nested = space("warmup.epochs = { uniform = [0.0, 2.0] }").unwrap();
        assert!(nested.get("warmup.epochs").is_some());
    }

    #[test]
    fn mistakes_name_the_parameter() {
        for (text, named) in [
            ("", "at least one parameter"),
            ("a = 3", "a: expected a distribution"),
            ("a = { unifrm = [0, 1] }", "found `unifrm`"),
            (
                "a = { uniform = [1, 0] }",
                "a: expected a first number below the second",
            ),
            (
                "a = { uniform = [1, 1] }",
                "a: expected a first number below",
            ),
            ("a = { uniform = [0, inf] }", "a: "),
            ("a = { loguniform = [0, 1] }", "a: expected numbers above 0"),
            (
                "a = { loguniform = [-1, 1] }",
                "a: expected numbers above 0",
            ),
            ("a = { uniform = [0] }", "a: uniform: expected [LOW, HIGH]"),
            (
                "a = { randint = [0.5, 2] }",
                "a: randint: expected [LOW, HIGH]",
            ),
            (
                "a = { randint = [2, 2] }",
                "a: expected a first number below",
            ),
            ("a = { quniform = [0, 1, 0] }", "a step above 0"),
            ("a = { quniform = [0.1, 0.2, 5] }", "a multiple of the step"),
            ("a = { normal = [0, 0] }", "a standard deviation above 0"),
            ("a = { choice = [] }", "a: expected at least one value"),
            ("a = { choice = [1, 1] }", "a: expected each value once"),
            ("a = { choice = [[1], [2]] }", "a: expected numbers, texts"),
            ("a = { choice = [1], uniform = [0, 1] }", "one distribution"),
            (
                "a = { choice = [1], when = { b = 1 } }",
                "a parameter of the search",
            ),
            (
                "a = { choice = [1], when = { b = 3 } }\nb = { choice = [1, 2] }",
                "a when: expected values that b takes",
            ),
            (
                "a = { choice = [1], when = { b = 0.5 } }\nb = { uniform = [0, 1] }",
                "a when: expected b to be a choice",
            ),
            (
                "a = { choice = [1], when = { b = 1 } }\nb = { choice = [1], when = { a = 1 } }",
                "depends on",
            ),
            ("a = { choice = [1], when = { a = 1 } }", "depends on"),
        ] {
            let error = space(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn a_parameter_exists_where_its_conditions_hold() {
        let mut space = Space::default();
        space.insert("a", choice([1, 2]));
        space.insert("b", Parameter::from(choice(["x", "y"])).when("a", [2]));
        space.insert(
            "c",
            Parameter::from(Distribution::Uniform(0.0..1.0)).when("b", ["y"]),
        );
        space.validate().unwrap();
        let mut lengths = BTreeMap::new();
        for trial in 0..400 {
            let params = space.sample(7, trial);
            assert_eq!(params.contains_key("b"), params["a"] == 2);
            assert_eq!(
                params.contains_key("c"),
                params.get("b").is_some_and(|b| b == "y")
            );
            *lengths.entry(params.len()).or_insert(0) += 1;
        }
        // A half, a quarter, a quarter.
        assert!((160..=240).contains(&lengths[&1]) && (70..=130).contains(&lengths[&3]));
        let under = space.under_which("c");
        assert_eq!(
            (&under["b"], &under["a"]),
            (&Value::from("y"), &Value::from(2))
        );
    }
}
