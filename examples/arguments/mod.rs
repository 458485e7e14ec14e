//! What an example is told on the command line, by place: a word that it cannot use is an error.
#![allow(dead_code, reason = "not every example uses all of it")]

use std::str::FromStr;

use burn_zoo::error::{Error, Result};
use burn_zoo::prelude::*;

/// The words after the name of the example; each may be left out with all that follow.
pub struct Arguments {
    words: Vec<String>,
    names: &'static [&'static str],
}

impl Arguments {
    /// # Errors
    /// If there are more words than names.
    pub fn read(names: &'static [&'static str]) -> Result<Self> {
        let words: Vec<String> = std::env::args().skip(1).collect();
        match words.get(names.len()) {
            Some(word) => Err(Error::argument("arguments", names.join(" "), word)),
            None => Ok(Self { words, names }),
        }
    }

    pub fn text(&self, place: usize) -> Option<&str> {
        self.words.get(place).map(String::as_str)
    }

    /// # Errors
    /// If what is there is no whole number.
    pub fn number<T: FromStr>(&self, place: usize, default: T) -> Result<T> {
        let Some(text) = self.text(place) else {
            return Ok(default);
        };
        let wrong = |_| Error::argument(self.names[place], "a whole number", text);
        text.parse().map_err(wrong)
    }

    /// A ResNet-18 that was trained before, or a small network of random weights.
    ///
    /// # Errors
    /// If there is another word.
    pub fn bundled_or_random(&self, place: usize) -> Result<Spec> {
        match self.text(place) {
            None | Some("random") => Ok(Zoo::test_resnet().weights(Weights::Random(42))),
            #[cfg(feature = "bundled-weights")]
            Some("bundled") => Ok(Zoo::resnet18().weights(Weights::Bundled)),
            Some(other) => {
                let expected = "random, or bundled with the feature bundled-weights";
                Err(Error::argument(self.names[place], expected, other))
            }
        }
    }
}
