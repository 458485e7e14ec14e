//! The templates of page and pictures, and how values get into them.

use std::fmt::Write as _;
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior};

use super::text_width::shortened;
use crate::error::{Error, Result};

macro_rules! templates {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("templates/", $name)))),*]
    };
}

static TEMPLATES: LazyLock<std::result::Result<Environment, minijinja::Error>> =
    LazyLock::new(|| {
        let mut templates = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        let syntax = syntax.trim_blocks(true).lstrip_blocks(true).build()?;
        templates.set_syntax(syntax);
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_formatter(write_value);
        templates.add_filter("shortened", shortened);
        for (name, source) in templates!(
            "chart.css",
            "chart.html",
            "confusion.svg",
            "line_chart.svg",
            "page.css",
            "page.html",
            "panels.svg",
            "parts.svg",
            "picture.svg",
            "section.html",
            "tables.html"
        ) {
            templates.add_template(name, source)?;
        }
        Ok(templates)
    });

/// Fills in a template.
///
/// # Errors
/// [`Error::InvalidArgument`] for values that the template does not expect.
pub(super) fn render(name: &str, values: Value) -> Result<String> {
    let fail = |error: &minijinja::Error| {
        Error::argument(name, "values for all of the template", format!("{error:#}"))
    };
    let templates = TEMPLATES.as_ref().map_err(fail)?;
    let template = templates.get_template(name);
    let text = template.and_then(|template| template.render(values));
    text.map_err(|error| fail(&error))
}

/// Text is escaped, numbers with a fraction are pixels to a tenth. Only what a template made itself
/// is markup.
fn write_value(
    out: &mut Output,
    _: &mut State,
    value: &Value,
) -> std::result::Result<(), minijinja::Error> {
    match value.as_str() {
        Some(markup) if value.is_safe() => out.write_str(markup)?,
        Some(text) => text.chars().try_for_each(|letter| escape(out, letter))?,
        None if value.is_number() && !value.is_integer() => {
            out.write_str(&pixels(f64::try_from(value.clone())?))?;
        }
        None => write!(out, "{value}")?,
    }
    Ok(())
}

/// A character between tags or in a quoted attribute. What XML does not allow becomes U+FFFD.
fn escape(out: &mut Output, character: char) -> std::fmt::Result {
    match character {
        '&' => out.write_str("&amp;"),
        '<' => out.write_str("&lt;"),
        '>' => out.write_str("&gt;"),
        '"' => out.write_str("&quot;"),
        '\'' => out.write_str("&#39;"),
        '\t' | '\n' => out.write_char(character),
        '\u{fffe}' | '\u{ffff}' => out.write_char(char::REPLACEMENT_CHARACTER),
        _ if character.is_control() => out.write_char(char::REPLACEMENT_CHARACTER),
        _ => out.write_char(character),
    }
}

/// A length to a tenth of a pixel.
pub(super) fn pixels(length: f64) -> String {
    // Adding zero makes a negative zero positive.
    format!("{}", (length * 10.0).round() / 10.0 + 0.0)
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::*;

    #[test]
    fn text_is_escaped_and_lengths_are_rounded() {
        let templates = TEMPLATES.as_ref().unwrap();
        let fill = |value: Value| templates.render_str("{{ x }}", context! { x => value });
        assert_eq!(
            fill("<a href='x'>\"&\u{0}\u{8}\n\u{ffff}שלום".into()).unwrap(),
            "&lt;a href=&#39;x&#39;&gt;&quot;&amp;\u{fffd}\u{fffd}\n\u{fffd}שלום"
        );
        assert_eq!(
            fill(Value::from_safe_string("<b/>".to_owned())).unwrap(),
            "<b/>"
        );
        for (length, text) in [(2.0, "2"), (0.25, "0.3"), (-0.04, "0"), (-3.16, "-3.2")] {
            assert_eq!(fill(length.into()).unwrap(), text);
        }
        assert_eq!(fill(1_000_000_usize.into()).unwrap(), "1000000");
        assert!(templates.render_str("{{ missing }}", ()).is_err());
    }
}
