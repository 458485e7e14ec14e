//! Lists of random changes as text.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::augmentation::Augment;
use super::transform::Transform;
use crate::error::{Error, Result};
use crate::text::{self, Form, Style, text_form};

/// Names that stand for several transforms.
const PRESETS: &[&str] = &["none", "flip-crop", "imagenet", "trivial", "rand"];

impl Augment {
    fn preset(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::none()),
            "flip-crop" => Some(Self::flip_crop()),
            "imagenet" => Some(Self::imagenet()),
            "trivial" => Some(Self::trivial()),
            "rand" => Some(Self::rand()),
            _ => None,
        }
    }
}

text_form!(
    /// The name, and `:SETTING=VALUE` for each setting that is not the default.
    Transform,
    Form::new("augment", Style::Item, &[]).or(PRESETS),
    |_| Ok(())
);

impl Transform {
    /// The name, as it is written in text.
    pub fn name(&self) -> String {
        text::kind(self).replace('_', "-")
    }
}

/// A text, or a list of tables; the result has passed [`Augment::check`].
impl<'de> Deserialize<'de> for Augment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let augment: Augment = text::deserialize::<_, Vec<Transform>, _>(from)?;
        augment.check().map_err(D::Error::custom)?;
        Ok(augment)
    }
}

/// The text that [`Augment`] describes; the result has passed [`Augment::check`].
impl FromStr for Augment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut depth = 0_usize;
        let between = |c: char| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == ',' && depth == 0
        };
        let items: Vec<&str> = text.split(between).map(str::trim).collect();
        if items.len() > 1 && items.contains(&"none") {
            let expected = "`none` alone, or random changes without it";
            return Err(Error::argument("augment", expected, format!("`{text}`")));
        }
        let mut augment = Augment::none();
        for item in items {
            match Augment::preset(item) {
                Some(preset) => augment.0.extend(preset.0),
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
        let transforms: Vec<String> = self.0.iter().map(Transform::to_string).collect();
        f.write_str(&transforms.join(","))
    }
}
