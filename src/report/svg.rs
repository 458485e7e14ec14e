//! Pictures of lines and letters.

use std::fmt::{self, Display, Write as _};

use super::text::{self, Escaped};

/// The look of all charts. Colours are written out, since many programs that read SVG know no
/// variables; those of lines are Okabe & Ito's, which people of any colour vision can tell apart.
pub(super) const STYLE: &str = include_str!("chart.css");

/// Letters that shrink further than this are not readable; a narrow page scrolls the chart instead.
const SMALLEST: f64 = 0.64;
/// Colours in [`STYLE`].
const COLORS: usize = 7;

/// A chart.
#[derive(Debug)]
pub(super) struct Picture {
    pub width: f64,
    pub height: f64,
    /// What it is.
    pub title: &'static str,
    /// What there is to see, for those who cannot.
    pub description: String,
    /// How to read it.
    pub caption: String,
    pub body: String,
}

impl Picture {
    /// As a part of a page that has [`STYLE`].
    pub fn inline(&self) -> String {
        let Self { width, height, .. } = self;
        format!(
            "<svg class=\"z-chart\" role=\"img\" aria-label=\"{}. {}\" viewBox=\"0 0 {} {}\" \
             style=\"min-width:{}px;max-width:{}px\">\n{}</svg>\n",
            self.title,
            Escaped(&self.description),
            Px(*width),
            Px(*height),
            Px(*width * SMALLEST),
            Px(*width),
            self.body
        )
    }

    /// As a file of its own.
    pub fn file(&self) -> String {
        let (width, height) = (Px(self.width), Px(self.height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"z-chart\" role=\"img\" \
             width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
             <title>{}</title>\n<desc>{}</desc>\n<style>\n{STYLE}</style>\n\
             <rect class=\"z-ground\" width=\"100%\" height=\"100%\"/>\n{}</svg>\n",
            self.title,
            Escaped(&self.description),
            self.body
        )
    }
}

/// A length in pixels, to a tenth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Px(pub f64);

impl Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 10.0).round() as i64;
        if tenths < 0 {
            f.write_char('-')?;
        }
        let tenths = tenths.unsigned_abs();
        match tenths % 10 {
            0 => write!(f, "{}", tenths / 10),
            part => write!(f, "{}.{part}", tenths / 10),
        }
    }
}

/// Adds formatted text. Writing into memory does not fail.
macro_rules! add {
    ($body:expr, $($format:tt)*) => {{
        use std::fmt::Write as _;
        let _ = write!($body, $($format)*);
    }};
}
pub(super) use add;

/// The classes of the line with this number: colours first, then other dashes.
pub(super) fn look(number: usize) -> String {
    let color = number % COLORS;
    match number / COLORS {
        0 => format!("z-c{color}"),
        round => format!("z-c{color} z-dash{}", (round - 1) % 2 + 1),
    }
}

/// A name shortened to so many pixels; what was left out is in the tooltip.
pub(super) fn name(body: &mut String, class: &str, [x, y]: [f64; 2], name: &str, room: f64) {
    let size = if class.contains("z-soft") { 11.0 } else { 12.0 };
    let short = text::shortened(name, room / size);
    add!(
        body,
        "<text class=\"{class}\" x=\"{}\" y=\"{}\">",
        Px(x),
        Px(y)
    );
    if short != name {
        add!(body, "<title>{}</title>", Escaped(name));
    }
    add!(body, "{}</text>\n", Escaped(&short));
}
