//! Hyperparameters for the HParams tab, where runs are compared.

use std::collections::{BTreeMap, HashSet};

use super::message::{plugin_metadata, tensor_shape};
use crate::error::{Error, Result};
use crate::protobuf::Message;

/// The value of a hyperparameter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum HParam {
    /// A number; it must be finite, because the dashboard's JSON holds no others.
    Number(f64),
    /// Text.
    Text(String),
    /// On or off.
    Flag(bool),
}

/// The columns of the table: names and types of the hyperparameters, tags of the metrics.
pub fn experiment(hparams: &[(String, HParam)], metrics: &[&str], time: f64) -> Result<Message> {
    check(hparams, metrics)?;
    let infos = hparams.iter().map(|(name, value)| {
        let info = Message::default().text(1, name);
        match value {
            HParam::Text(_) => info.int(4, 1),
            HParam::Number(_) => info.int(4, 3),
            HParam::Flag(_) => {
                let flags = [false, true].map(|flag| json(&HParam::Flag(flag)));
                info.int(4, 2)
                    .push(5, &Message::default().push_all(1, flags))
            }
        }
    });
    let metrics = metrics.iter().map(|tag| {
        let name = Message::default().text(2, tag);
        Message::default().push(1, &name)
    });
    let columns = Message::default().double(3, time);
    let columns = columns.push_all(4, infos).push_all(5, metrics);
    Ok(value("experiment", Message::default().push(2, &columns)))
}

/// The row of this run.
pub fn session_start(hparams: &[(String, HParam)], time: f64) -> Message {
    let hparams = hparams.iter();
    let hparams: BTreeMap<_, _> = hparams.map(|(name, v)| (name.clone(), json(v))).collect();
    let start = Message::default().map(1, hparams).double(5, time);
    value("session_start_info", Message::default().push(3, &start))
}

/// The end of this run.
pub fn session_end(time: f64) -> Message {
    const SUCCESS: i64 = 1;
    let end = Message::default().int(1, SUCCESS).double(2, time);
    value("session_end_info", Message::default().push(4, &end))
}

fn check(hparams: &[(String, HParam)], metrics: &[&str]) -> Result<()> {
    let mut seen = HashSet::new();
    for (name, value) in hparams {
        if name.is_empty() {
            return Err(Error::argument(
                "hparams",
                "a name for each",
                "an empty one",
            ));
        }
        if !seen.insert(name) {
            let found = format!("`{name}` twice");
            return Err(Error::argument("hparams", "each name once", found));
        }
        if let HParam::Number(number) = value
            && !number.is_finite()
        {
            let argument = format!("hparams {name}");
            return Err(Error::argument(argument, "a finite number", number));
        }
    }
    if metrics.contains(&"") {
        return Err(Error::argument(
            "metrics",
            "tags of scalars",
            "an empty one",
        ));
    }
    Ok(())
}

/// `google.protobuf.Value`.
fn json(value: &HParam) -> Message {
    match value {
        HParam::Number(number) => Message::default().push_double(2, *number),
        HParam::Text(text) => Message::default().push_text(3, text),
        HParam::Flag(flag) => Message::default().push_int(4, i64::from(*flag)),
    }
}

/// `Summary.Value`. All is in the metadata; the tensor holds nothing, but readers look for one.
fn value(tag: &str, data: Message) -> Message {
    let no_floats = Message::default().int(1, 1).push(2, &tensor_shape(&[0]));
    Message::default()
        .text(1, &format!("_hparams_/{tag}"))
        .push(8, &no_floats)
        .push(9, &plugin_metadata("hparams", data.as_bytes()))
}
