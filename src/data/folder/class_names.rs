//! Names of classes that are perhaps mistakes.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Names that differ only in upper and lower case.
pub(super) fn alike(classes: &[String]) -> Vec<Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for class in classes {
        let group = groups.entry(class.to_lowercase()).or_default();
        group.push(class.clone());
    }
    groups
        .into_values()
        .filter(|group| group.len() > 1)
        .collect()
}

/// The names that look like lists of labels, if they are at least half of all, or made of other names.
pub(super) fn label_lists(classes: &[String]) -> Vec<&str> {
    let names: HashSet<&str> = classes.iter().map(String::as_str).collect();
    let of_names = [",", ";", "|"].map(|separator| {
        let is_list = |class: &&str| {
            let mut parts = parts(class, separator);
            parts.clone().nth(1).is_some() && parts.all(|part| names.contains(part))
        };
        classes.iter().map(String::as_str).filter(is_list).collect()
    });
    let certain: Vec<&str> = of_names
        .into_iter()
        .max_by_key(Vec::len)
        .unwrap_or_default();
    let lists = [",", ";", "|", " "].map(|separator| lists_by(classes, separator));
    let longest = lists.into_iter().max_by_key(Vec::len).unwrap_or_default();
    if longest.len() < 2 || longest.len() * 2 < classes.len() {
        return certain;
    }
    longest
}

/// The names that the separator divides into parts which other names have, too.
fn lists_by<'c>(classes: &'c [String], separator: &str) -> Vec<&'c str> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for part in classes.iter().flat_map(|class| parts(class, separator)) {
        *counts.entry(part).or_default() += 1;
    }
    let shared = |part: &str| counts.get(part).is_some_and(|count| *count > 1);
    let is_list = |class: &&str| {
        // Many a class has a name of two words.
        let fits = match separator {
            " " => parts(class, separator).all(shared),
            _ => parts(class, separator).any(shared),
        };
        fits && parts(class, separator).nth(1).is_some()
    };
    classes.iter().map(String::as_str).filter(is_list).collect()
}

fn parts<'c>(class: &'c str, separator: &str) -> impl Iterator<Item = &'c str> + Clone {
    let parts = class.split(separator).map(str::trim);
    parts.filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(classes: &[&str]) -> usize {
        let classes: Vec<String> = classes.iter().map(|c| (*c).to_owned()).collect();
        label_lists(&classes).len()
    }

    #[test]
    fn lists_of_labels_are_told_from_names() {
        assert_eq!(found(&["cat,pet", "dog,pet", "fish,pet"]), 3);
        assert_eq!(found(&["cat", "cat;dog", "dog", "dog;cat"]), 2);
        assert_eq!(found(&["clear primary", "clear water", "primary water"]), 3);
        assert_eq!(found(&["cat|dog", "cat|fish"]), 2);
        assert_eq!(found(&["bird", "cat", "cat|dog", "dog", "fish", "pig"]), 1);
        // Breeds, and two animals of which one is called after its home.
        assert_eq!(found(&["golden retriever", "labrador retriever", "pug"]), 0);
        assert_eq!(found(&["cat", "dog", "hot dog", "a, b"]), 0);
        assert_eq!(found(&["cat", "dog"]), 0);
    }
}
