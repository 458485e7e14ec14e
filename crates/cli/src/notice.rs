//! What a user must be told beside the result: what was left out, cut, chosen for them or overruled.

use std::fmt::Display;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Whether nothing is said: of several processes one speaks.
static QUIET: AtomicBool = AtomicBool::new(false);

static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A text that does nothing to a terminal: names of files and lines of damaged files may hold any
/// character, and some of them move the cursor, or hide what comes before.
pub fn plain(text: impl Display) -> String {
    let mut plain = String::new();
    for c in text.to_string().chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// From now on another process speaks.
#[cfg(feature = "mpi")]
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// From now on this process speaks for itself.
#[cfg(feature = "mpi")]
pub fn be_loud() {
    QUIET.store(false, Ordering::Relaxed);
}

/// Whether another process speaks for this one.
pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Says it on standard error. Where nobody reads that any more, nobody is told.
pub fn say(text: impl Display) {
    if is_quiet() {
        return;
    }
    let _ = writeln!(std::io::stderr(), "{}", plain(text));
}

/// Says it on standard error, and keeps it for the field `warnings` of a JSON document.
pub fn tell(text: impl Display) {
    let text = text.to_string();
    say(&text);
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    told.push(text);
}

/// All that was told so far, in order.
pub fn told() -> Vec<String> {
    TOLD.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_terminal_is_left_alone() {
        let text = "line 1\n\tcol\u{1b}[2Jumn\0 \u{9b}31m\r\u{7f} \u{e9}\u{1f600}";
        let expected = "line 1\n\tcol\\u{1b}[2Jumn\\u{0} \\u{9b}31m\\r\\u{7f} \u{e9}\u{1f600}";
        assert_eq!(plain(text), expected);
    }
}
