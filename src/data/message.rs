//! Texts from files, and lists of them, as parts of messages.

/// The first eight, and how many more there are.
pub(crate) fn first_few(items: &[String]) -> String {
    const SHOWN: usize = 8;
    let text = items[..items.len().min(SHOWN)].join(", ");
    match items.len().saturating_sub(SHOWN) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

/// The first eight names in backticks, and how many more there are.
pub(crate) fn first_names(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    first_few(&names)
}

/// A text in quotes, on one line, and not too long.
#[cfg(feature = "image")]
pub(crate) fn quoted(text: &str) -> String {
    const LENGTH: usize = 80;
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{:?}..", &text[..end]),
        None => format!("{text:?}"),
    }
}
