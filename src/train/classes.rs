//! The classes of a data set beside those of a model or of another set.

use std::collections::{HashMap, HashSet};

use crate::data::{ImageData, Task, labels_by_name, targets};
use crate::error::{Error, Result};
use crate::model::{Classifier, Outputs, TargetScaling, in_head, params};

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

/// The model as a new run begins with it, and what is to be told of its head: the rows of the same classes in another
/// order are put in that of the data, and numbers are scaled by those of the training images.
pub(super) fn begin(
    mut model: Classifier,
    train: &dyn ImageData,
) -> Result<(Classifier, Vec<String>)> {
    let (own, classes) = (model.info().classes.clone(), train.classes());
    let mut told = Vec::new();
    let mut old = model.info().outputs.scaling.clone();
    let is_other = !own.is_empty() && own.get(..classes.len()) != Some(classes);
    if is_other && let Some(rows) = order(classes, &own) {
        let names = rows.iter().map(|row| own[*row].clone());
        model = with_rows(model, &rows)?.with_classes(names.collect())?;
        if let Some(TargetScaling { mean, std }) = &mut old {
            *mean = rows.iter().map(|row| mean[*row]).collect();
            *std = rows.iter().map(|row| std[*row]).collect();
        }
    } else if is_other {
        let names =
            |names: &[String]| listed(&names.iter().map(String::as_str).collect::<Vec<_>>());
        told.push(format!(
            "the head of {} is kept for {}; `--head-init RULE` (`Spec::head_init`) begins with a new one",
            names(&own),
            names(classes)
        ));
    }
    // Of what does not fit, other checks speak.
    let fits = train.task() == Task::Regression && model.num_classes() == classes.len();
    if let Some(old) = old.filter(|_| fits) {
        let new = TargetScaling::of(&targets(train)?)?;
        if new != old {
            told.push(format!(
                "numbers are scaled by those of the training images, means {:?} and deviations {:?}; the head was \
                 trained with means {:?} and deviations {:?}",
                new.mean, new.std, old.mean, old.std
            ));
        }
        let outputs = Outputs {
            scaling: Some(new),
            ..model.info().outputs.clone()
        };
        model = model
            .with_classes(classes.to_vec())?
            .with_outputs(outputs)?;
    }
    Ok((model, told))
}

/// Where each of some classes is among a model's, and behind them the others of the model.
fn order(classes: &[String], own: &[String]) -> Option<Vec<usize>> {
    let places = labels_by_name(classes, own).into_iter();
    let mut places: Vec<usize> = places.collect::<Option<_>>()?;
    let found: HashSet<usize> = places.iter().copied().collect();
    places.extend((0..own.len()).filter(|place| !found.contains(place)));
    // A name that is there twice has one place.
    (places.len() == own.len()).then_some(places)
}

/// The model with the rows of its head in another order.
fn with_rows(model: Classifier, rows: &[usize]) -> Result<Classifier> {
    let head: HashMap<_, _> = params::read_where(&model, &in_head)?.into_iter().collect();
    params::write(model, |path, _| {
        Ok(head.get(path).map(|tensor| {
            let width = tensor.data.len() / rows.len();
            let row = |row: &usize| &tensor.data[row * width..(row + 1) * width];
            rows.iter().flat_map(row).copied().collect()
        }))
    })
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

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn classes_are_found_among_a_models() {
        let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let own = names("a b c");
        for (classes, expected) in [
            ("a b c", Some(vec![0, 1, 2])),
            ("c a b", Some(vec![2, 0, 1])),
            // What the data lacks is behind.
            ("c b", Some(vec![2, 1, 0])),
            ("a d c", None),
            ("a a b", None),
        ] {
            assert_eq!(order(&names(classes), &own), expected, "{classes}");
        }
    }
}
