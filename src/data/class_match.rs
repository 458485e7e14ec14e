//! Classes of two sets, matched by their names.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::image_data::ImageData;
use super::message::first_names;
use super::target::{Target, Task};
use crate::error::{Error, Result};
use crate::preprocess::Image;

/// The label among `classes` of each of `names`; of two classes with the same name, the first.
pub(crate) fn labels_by_name(names: &[String], classes: &[String]) -> Vec<Option<usize>> {
    let mut labels = HashMap::new();
    for (label, name) in classes.iter().enumerate() {
        labels.entry(name).or_insert(label);
    }
    names.iter().map(|name| labels.get(name).copied()).collect()
}

/// The same images with labels that count `classes`, a model's, by name; the set may lack some of
/// them.
///
/// # Errors
/// [`Error::InvalidArgument`] for a class of the images that is not among `classes`.
pub fn match_classes(images: Arc<dyn ImageData>, classes: &[String]) -> Result<Arc<dyn ImageData>> {
    let own = images.classes();
    if own == classes {
        return Ok(images);
    }
    let labels = labels_by_name(own, classes);
    let unknown = own.iter().zip(&labels).filter(|(_, label)| label.is_none());
    let unknown: Vec<String> = unknown.map(|(name, _)| name.clone()).collect();
    // A number that the images do not have cannot be told of them.
    if images.task() == Task::Regression && own.len() != classes.len() {
        let expected = format!("the model's numbers ({})", first_names(classes));
        return Err(Error::argument("data", expected, first_names(own)));
    }
    if !unknown.is_empty() {
        return Err(Error::argument(
            "data",
            format!("the model's classes alone ({})", first_names(classes)),
            format!("{}; the names must be the same", first_names(&unknown)),
        ));
    }
    Ok(Arc::new(MatchedClasses {
        labels: labels.into_iter().flatten().collect(),
        classes: classes.to_vec(),
        images,
    }))
}

/// Images whose labels count the classes of a model.
struct MatchedClasses {
    images: Arc<dyn ImageData>,
    /// The model's label for each of the images'.
    labels: Vec<usize>,
    classes: Vec<String>,
}

impl MatchedClasses {
    fn matched(&self, label: usize) -> Result<usize> {
        let matched = self.labels.get(label).copied();
        matched
            .ok_or_else(|| Error::argument("label", format!("below {}", self.labels.len()), label))
    }
}

impl MatchedClasses {
    fn matched_target(&self, target: Target) -> Result<Target> {
        Ok(match target {
            Target::Class(class) => Target::Class(self.matched(class)?),
            Target::Classes(classes) => {
                let classes = classes.into_iter().map(|class| self.matched(class));
                Target::Classes(classes.collect::<Result<_>>()?)
            }
            Target::Values(values) => {
                let mut matched = vec![0.0; self.classes.len()];
                for (index, value) in values.into_iter().enumerate() {
                    matched[self.matched(index)?] = value;
                }
                Target::Values(matched)
            }
        })
    }
}

impl ImageData for MatchedClasses {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn get(&self, index: usize) -> Result<(Image, Target)> {
        let (image, target) = self.images.get(index)?;
        Ok((image, self.matched_target(target)?))
    }

    fn target(&self, index: usize) -> Result<Target> {
        self.matched_target(self.images.target(index)?)
    }

    fn task(&self) -> Task {
        self.images.task()
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn name(&self, index: usize) -> String {
        self.images.name(index)
    }
}

/// Names in a message, at most.
const NAMED: usize = 5;

/// Where two lists of classes differ, in words: what was expected and what was found.
#[cfg_attr(not(feature = "plots"), allow(dead_code))] // the report compares classes
pub(crate) fn class_difference(expected: &[String], found: &[String]) -> Option<(String, String)> {
    if expected == found {
        return None;
    }
    let missing = only_in(expected, found);
    let added = only_in(found, expected);
    if missing.is_empty() && added.is_empty() && expected.len() == found.len() {
        // The same names in another order.
        let mut pairs = expected.iter().zip(found).enumerate();
        let (place, (a, b)) = pairs.find(|(_, (a, b))| a != b)?;
        return Some((format!("class {place} to be `{a}`"), format!("`{b}`")));
    }
    let describe = |classes: &[String], own: &[&String]| {
        let count = match classes.len() {
            1 => "1 class".to_owned(),
            number => format!("{number} classes"),
        };
        let named: Vec<String> = own.iter().take(NAMED).map(|n| format!("`{n}`")).collect();
        match (own.len(), own.len().saturating_sub(NAMED)) {
            (0, _) => count,
            (_, 0) => format!("{count} with {}", named.join(", ")),
            (_, more) => format!("{count} with {} and {more} more", named.join(", ")),
        }
    };
    Some((describe(expected, &missing), describe(found, &added)))
}

fn only_in<'a>(some: &'a [String], others: &[String]) -> Vec<&'a String> {
    let others: HashSet<&String> = others.iter().collect();
    some.iter().filter(|name| !others.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_that_differ_are_named() {
        let list = |names: &str| -> Vec<String> { names.chars().map(String::from).collect() };
        let difference = |a: &str, b: &str| class_difference(&list(a), &list(b));
        let words = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(difference("abc", "abc"), None);
        assert_eq!(
            difference("abc", "abd"),
            words("3 classes with `c`", "3 classes with `d`")
        );
        assert_eq!(
            difference("abc", "a"),
            words("3 classes with `b`, `c`", "1 class")
        );
        assert_eq!(difference("abc", "bac"), words("class 0 to be `a`", "`b`"));
        assert_eq!(difference("aab", "ab"), words("3 classes", "2 classes"));
        assert_eq!(
            difference("", "abcdefg"),
            words(
                "0 classes",
                "7 classes with `a`, `b`, `c`, `d`, `e` and 2 more"
            )
        );
    }
}
