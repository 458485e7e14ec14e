//! Values of flags that several commands take.

use std::ffi::OsStr;
use std::marker::PhantomData;
use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, Command};

/// A value of one of some kinds, which help, errors and shells list.
#[derive(Clone)]
pub struct Choice<T> {
    kinds: Vec<&'static str>,
    value: PhantomData<T>,
}

impl<T> Choice<T> {
    pub fn of(kinds: &[&'static str]) -> Self {
        Self {
            kinds: kinds.to_vec(),
            value: PhantomData,
        }
    }
}

impl<T> TypedValueParser for Choice<T>
where
    T: FromStr<Err = burn_zoo::Error> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(&self, cmd: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        let kind = value
            .to_str()
            .and_then(|text| text.split([':', '(']).next());
        if kind.is_none_or(|kind| !self.kinds.contains(&kind)) {
            PossibleValuesParser::new(&self.kinds).parse_ref(cmd, arg, value)?;
        }
        TypedValueParser::parse_ref(&T::from_str, cmd, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.kinds.iter().map(PossibleValue::new)))
    }
}

/// A device's name, as far as it can be judged without asking the machine.
pub fn device_name(text: &str) -> Result<String, String> {
    let known = ["auto", "cpu", "cuda", "wgpu", "ndarray"].contains(&text);
    let index = text
        .strip_prefix("cuda:")
        .and_then(|n| n.parse::<usize>().ok());
    if known || index.is_some() {
        Ok(text.to_owned())
    } else {
        Err("expected auto, cpu, cuda, cuda:N, wgpu or ndarray".to_owned())
    }
}

/// A count of at least one.
pub fn positive(text: &str) -> Result<usize, String> {
    count::<1_000_000_000>(text)
}

/// A count from one to a limit beyond which it is surely a mistake.
pub fn count<const MOST: usize>(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("expected at least 1".to_owned()),
        Ok(number) if number <= MOST => Ok(number),
        Ok(_) => Err(format!("expected at most {MOST}")),
        Err(_) => Err("expected a whole number of at least 1".to_owned()),
    }
}

/// A probability below one.
pub fn probability(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(p) if (0.0..1.0).contains(&p) => Ok(p),
        _ => Err("expected a number of at least 0 and below 1".to_owned()),
    }
}

/// Bounds of a number: `<6M`, `>=80`, or several with commas between them.
#[derive(Debug, Clone)]
pub struct Bounds {
    text: String,
    bounds: Vec<(Comparison, f64)>,
}

#[derive(Debug, Clone, Copy)]
enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
}

impl Bounds {
    /// Bounds of a count, which may be written in thousands, millions and thousands of millions: `6M`.
    pub fn of_count(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected <, <=, > or >= and a number such as <6M or >=1M,<6M";
        Self::parse(text, EXPECTED, |number| {
            let units = [('K', 1e3), ('M', 1e6), ('G', 1e9)];
            let unit = units
                .into_iter()
                .find(|(unit, _)| number.ends_with([*unit, unit.to_ascii_lowercase()]));
            match unit {
                Some((_, factor)) => Some(factor * number[..number.len() - 1].parse::<f64>().ok()?),
                None => number.parse().ok(),
            }
        })
    }

    /// Bounds of a percentage.
    pub fn of_percentage(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected <, <=, > or >= and a percentage such as >80 or >=75,<80";
        Self::parse(text, EXPECTED, |number| {
            number.trim_end_matches('%').trim_end().parse().ok()
        })
    }

    fn parse(
        text: &str,
        expected: &str,
        number: impl Fn(&str) -> Option<f64>,
    ) -> Result<Self, String> {
        // The longer signs first: each begins like a shorter one.
        let signs = [
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("<", Comparison::Below),
            (">", Comparison::Above),
        ];
        let bound = |bound: &str| {
            let bound = bound.trim();
            let found = signs
                .iter()
                .find_map(|(sign, comparison)| Some((comparison, bound.strip_prefix(sign)?)));
            let (comparison, rest) = found?;
            let value = number(rest.trim()).filter(|value| value.is_finite() && *value >= 0.0)?;
            Some((*comparison, value))
        };
        let bounds = text.split(',').map(bound).collect::<Option<Vec<_>>>();
        Ok(Self {
            text: text.to_owned(),
            bounds: bounds.ok_or_else(|| expected.to_owned())?,
        })
    }

    /// Whether a number is within all of them.
    pub fn hold(&self, value: f64) -> bool {
        self.bounds
            .iter()
            .all(|(comparison, bound)| match comparison {
                Comparison::Below => value < *bound,
                Comparison::AtMost => value <= *bound,
                Comparison::Above => value > *bound,
                Comparison::AtLeast => value >= *bound,
            })
    }
}

impl std::fmt::Display for Bounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::Bounds;

    #[test]
    fn bounds_are_read_and_hold() {
        let within = |text: &str, value: f64| Bounds::of_count(text).unwrap().hold(value);
        assert!(within("<6M", 5.9e6) && !within("<6M", 6e6) && within("<=6m", 6e6));
        assert!(within(">= 1.5G", 1.5e9) && !within(">1.5G", 1.5e9));
        assert!(within(">1M,<6M", 3e6) && !within(">1M,<6M", 7e6) && within(">70", 71.0));
        let percent = Bounds::of_percentage(">80 %").unwrap();
        assert!(percent.hold(80.1) && !percent.hold(80.0));
        for wrong in ["6M", "<", "<six", "<6Q", "<-1", "<inf", "=6", "<6M,", ""] {
            let error = Bounds::of_count(wrong).unwrap_err();
            assert!(
                error.starts_with("expected <, <=, > or >= and a number"),
                "{wrong}"
            );
        }
        assert!(Bounds::of_percentage(">80M").is_err());
    }
}
