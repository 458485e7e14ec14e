//! The classes of a data set beside those of a model or of another set.

use crate::error::{Error, Result};

/// How many names a message lists.
const LISTED: usize = 8;

/// Refuses a list of classes that is not the expected one, and says in what it differs.
pub(super) fn check_same_classes(
    argument: &str,
    expected: &[String],
    found: &[String],
) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let missing = difference(expected, found);
    let added = difference(found, expected);
    if !missing.is_empty() || !added.is_empty() {
        return Err(Error::argument(
            argument,
            format!("the {} classes of before", expected.len()),
            format!(
                "{}: gone {}; new {}",
                found.len(),
                listed(&missing),
                listed(&added)
            ),
        ));
    }
    let differs = expected.iter().zip(found).position(|(a, b)| a != b);
    let at = differs.unwrap_or(expected.len().min(found.len()));
    let name = |names: &[String]| match names.get(at) {
        Some(name) => format!("`{name}`"),
        None => "none".to_owned(),
    };
    Err(Error::argument(
        argument,
        format!(
            "the classes in their order, class {at} being {}",
            name(expected)
        ),
        format!(
            "the same names in another order, class {at} being {}",
            name(found)
        ),
    ))
}

/// The names that only the first list has.
fn difference<'a>(names: &'a [String], others: &[String]) -> Vec<&'a str> {
    let only = names.iter().filter(|name| !others.contains(name));
    only.map(String::as_str).collect()
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        names if names.len() > LISTED => {
            let shown = names[..LISTED].join("`, `");
            format!("`{shown}` and {} more", names.len() - LISTED)
        }
        names => format!("`{}`", names.join("`, `")),
    }
}

/// The names of a model's classes: those of the data, then `unused_N` for the classes that only the
/// model has; and a notice about the latter.
pub(super) fn model_classes(data: &[String], num_classes: usize) -> (Vec<String>, Option<String>) {
    let mut names = data.to_vec();
    for class in data.len()..num_classes {
        let mut name = format!("unused_{class}");
        while names.contains(&name) {
            name.push('_');
        }
        names.push(name);
    }
    let unused = match &names[data.len()..] {
        [] => return (names, None),
        [one] => format!("one class, `{one}`"),
        unused @ [first, .., last] => format!("{} classes, `{first}` to `{last}`", unused.len()),
    };
    let notice = format!(
        "num_classes is {num_classes}, and the data has {} classes: nothing is learnt of {unused}",
        data.len()
    );
    (names, Some(notice))
}
