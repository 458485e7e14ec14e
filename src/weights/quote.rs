//! Names from a file as they may stand in a message.

/// Text from a file as it may stand in a message: on one line, without control characters, and
/// short.
pub(super) fn shown(text: &str) -> String {
    clipped(text, 300)
}

/// As [`shown`], of about this many bytes at most.
pub(super) fn clipped(text: &str, longest: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.len() >= longest {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Quotes names for a message.
pub(super) fn quoted<S: AsRef<str>>(names: &[S]) -> String {
    const SHOWN: usize = 8;
    let some: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{}`", shown(name.as_ref())))
        .collect();
    let rest = names.len().saturating_sub(SHOWN);
    if rest == 0 {
        some.join(", ")
    } else {
        format!("{} and {rest} more", some.join(", "))
    }
}
