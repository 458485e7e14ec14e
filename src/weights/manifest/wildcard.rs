//! Names by a pattern.

/// Whether a name matches a pattern in which `*` stands for anything and `?` for one character.
pub(crate) fn wildcard(pattern: &str, name: &str) -> bool {
    let escaped = regex::escape(pattern)
        .replace(r"\*", ".*")
        .replace(r"\?", ".");
    regex::Regex::new(&format!("^{escaped}$")).is_ok_and(|regex| regex.is_match(name))
}
