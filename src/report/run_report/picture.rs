//! A finished picture: part of a page, or a file of its own.

use minijinja::context;
use minijinja::value::Value;

use super::templates::render;
use crate::error::Result;

#[derive(Debug, Clone)]
pub(super) struct Picture {
    pub width: f64,
    pub height: f64,
    /// What it is.
    pub title: &'static str,
    /// What there is to see, for those who cannot.
    pub description: String,
    /// How to read it.
    pub caption: String,
    /// Markup.
    pub body: String,
}

impl Picture {
    /// For a template.
    pub fn value(&self) -> Value {
        context! {
            width => self.width,
            height => self.height,
            title => self.title,
            description => &self.description,
            caption => self.caption.trim(),
            body => Value::from_safe_string(self.body.clone()),
        }
    }

    /// An SVG file.
    pub fn file(&self) -> Result<String> {
        render("picture.svg", context! { picture => self.value() })
    }
}
