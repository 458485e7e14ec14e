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
