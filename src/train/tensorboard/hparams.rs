//! Hyperparameters for the HParams tab, where runs are compared.

use std::collections::BTreeMap;

use prost::Message as _;

use super::proto;
use crate::error::{Error, Result};

/// The value of a hyperparameter.
#[derive(Debug, Clone, PartialEq)]
pub enum HParam {
    /// A number; it must be finite, because the dashboard's JSON holds no others.
    Number(f64),
    /// Text.
    Text(String),
    /// On or off.
    Flag(bool),
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStatus {
    /// It did what it was to do.
    Success,
    /// It failed.
    Failure,
}

/// The columns of the table: names and types of the hyperparameters, tags of the metrics.
pub fn experiment(
    hparams: &[(String, HParam)],
    metrics: &[&str],
    time: f64,
) -> Result<proto::Value> {
    check(hparams, metrics)?;
    let infos = hparams.iter().map(|(name, value)| {
        let flags = [false, true].map(|flag| json(&HParam::Flag(flag)));
        let (r#type, domain) = match value {
            HParam::Number(_) => (proto::DATA_TYPE_FLOAT64, None),
            HParam::Text(_) => (proto::DATA_TYPE_STRING, None),
            HParam::Flag(_) => (proto::DATA_TYPE_BOOL, Some(flags)),
        };
        proto::HParamInfo {
            name: name.clone(),
            r#type,
            domain_discrete: domain.map(|values| proto::ListValue {
                values: values.to_vec(),
            }),
        }
    });
    let metrics = metrics.iter().map(|tag| proto::MetricInfo {
        name: Some(proto::MetricName {
            tag: (*tag).to_owned(),
        }),
    });
    let data = proto::HParamsData {
        experiment: Some(proto::Experiment {
            time_created_secs: time,
            hparam_infos: infos.collect(),
            metric_infos: metrics.collect(),
        }),
        ..Default::default()
    };
    Ok(value("_hparams_/experiment", &data))
}

/// The row of this run.
pub fn session_start(hparams: &[(String, HParam)], time: f64) -> proto::Value {
    let hparams: BTreeMap<_, _> = hparams
        .iter()
        .map(|(name, value)| (name.clone(), json(value)))
        .collect();
    let data = proto::HParamsData {
        session_start_info: Some(proto::SessionStart {
            hparams,
            start_time_secs: time,
        }),
        ..Default::default()
    };
    value("_hparams_/session_start_info", &data)
}

/// The end of this run.
pub fn session_end(status: SessionStatus, time: f64) -> proto::Value {
    let data = proto::HParamsData {
        session_end_info: Some(proto::SessionEnd {
            status: match status {
                SessionStatus::Success => 1,
                SessionStatus::Failure => 2,
            },
            end_time_secs: time,
        }),
        ..Default::default()
    };
    value("_hparams_/session_end_info", &data)
}

fn check(hparams: &[(String, HParam)], metrics: &[&str]) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
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
    if metrics.iter().any(|tag| tag.is_empty()) {
        return Err(Error::argument(
            "metrics",
            "tags of scalars",
            "an empty one",
        ));
    }
    Ok(())
}

fn json(value: &HParam) -> proto::JsonValue {
    let mut json = proto::JsonValue::default();
    match value {
        HParam::Number(number) => json.number_value = Some(*number),
        HParam::Text(text) => json.string_value = Some(text.clone()),
        HParam::Flag(flag) => json.bool_value = Some(*flag),
    }
    json
}

/// All is in the metadata; the tensor holds nothing, but readers look for one.
fn value(tag: &str, data: &proto::HParamsData) -> proto::Value {
    proto::Value {
        tag: tag.to_owned(),
        tensor: Some(proto::Tensor {
            dtype: proto::DT_FLOAT,
            tensor_shape: Some(proto::TensorShape::new(&[0])),
            string_val: Vec::new(),
        }),
        metadata: Some(proto::SummaryMetadata {
            plugin_data: Some(proto::PluginData {
                plugin_name: "hparams".to_owned(),
                content: data.encode_to_vec(),
            }),
        }),
        ..Default::default()
    }
}
