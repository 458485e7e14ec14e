//! What trains and what stays as it is.

use std::collections::HashSet;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::adapt::Adapt;
use super::backbone::Group;
use super::classifier::Classifier;
use super::head::in_head;
use super::low_rank::{self, factor};
use super::params::{self, ParamInfo, Training};
use crate::error::{Error, Result};
use crate::nn::is_buffer;
use crate::text::{serde_as_text, text_choice};

/// Which parts of a model are frozen. All other parts train.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Freeze {
    /// Everything trains.
    #[default]
    Nothing,
    /// Everything but the head is frozen.
    Backbone,
    /// The named group and all before it are frozen.
    UpTo(String),
    /// The named groups are frozen.
    Only(Vec<String>),
    /// Every parameter is frozen whose path matches this regular expression. Patterns are
    /// unanchored, as in Rust's `regex` crate; paths are those that the summary shows, such as
    /// `stage1.0.conv1.weight`. A normalisation whose scale and shift both match stops moving its
    /// statistics.
    Matching(String),
}

impl Freeze {
    /// Freezes the named group and all before it.
    pub fn up_to(group: impl Into<String>) -> Self {
        Freeze::UpTo(group.into())
    }

    /// Freezes the named groups.
    pub fn only<S: Into<String>>(groups: impl IntoIterator<Item = S>) -> Self {
        Freeze::Only(groups.into_iter().map(Into::into).collect())
    }

    /// Freezes every parameter whose path matches.
    pub fn matching(pattern: impl Into<String>) -> Self {
        Freeze::Matching(pattern.into())
    }
}

/// `nothing`, `backbone`, `up-to:GROUP`, `only:GROUP,GROUP` or `matching:REGEX`.
impl std::str::FromStr for Freeze {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match (text, text.split_once(':')) {
            ("nothing", _) => Ok(Freeze::Nothing),
            ("backbone", _) => Ok(Freeze::Backbone),
            (_, Some(("up-to", group))) => Ok(Freeze::up_to(group)),
            (_, Some(("only", groups))) => Ok(Freeze::only(groups.split(','))),
            (_, Some(("matching", pattern))) => Ok(Freeze::matching(pattern)),
            _ => Err(Error::argument(
                "freeze",
                "nothing, backbone, up-to:GROUP, only:GROUP,.. or matching:REGEX",
                format!("`{text}`"),
            )),
        }
    }
}

impl std::fmt::Display for Freeze {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Freeze::Nothing => f.write_str("nothing"),
            Freeze::Backbone => f.write_str("backbone"),
            Freeze::UpTo(group) => write!(f, "up-to:{group}"),
            Freeze::Only(groups) => write!(f, "only:{}", groups.join(",")),
            Freeze::Matching(pattern) => write!(f, "matching:{pattern}"),
        }
    }
}

serde_as_text!(Freeze);

/// What freezing means for batch normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrozenNorm {
    /// Scale and shift are frozen with the layer, and its running statistics do not move; timm's
    /// `freeze`.
    #[default]
    Frozen,
    /// Scale and shift go on training while the running statistics do not move: fastai's
    /// default, but for the statistics, which fastai lets move.
    TrainAffine,
}

text_choice!(FrozenNorm, "frozen_norm");

impl Classifier {
    /// Freezes parts of the model and lets all others train.
    ///
    /// Frozen means: no gradient, hence no weight decay and no optimiser state; batch
    /// normalisation uses its running statistics and does not move them; dropout and stochastic
    /// depth do nothing. Of a model with [adapters](Self::with_lora), these and the head train.
    ///
    /// # Errors
    /// [`Error::UnknownGroup`] that lists the groups, [`Error::Pattern`] for a pattern that is no
    /// regular expression or matches nothing.
    pub fn freeze(self, freeze: &Freeze) -> Result<Self> {
        self.freeze_with(freeze, FrozenNorm::Frozen)
    }

    /// [`freeze`](Self::freeze), with a choice of what becomes of frozen batch normalisations.
    ///
    /// # Errors
    /// As [`freeze`](Self::freeze).
    pub fn freeze_with(self, freeze: &Freeze, norm: FrozenNorm) -> Result<Self> {
        let adapt = self.lora().map_or(Adapt::None, Adapt::Lora);
        self.freeze_for(freeze, norm, adapt)
    }

    /// [`freeze_with`](Self::freeze_with), and of what is not frozen only what `adapt` says trains, and
    /// the head. A layer of which nothing trains is a frozen one; a normalisation of which the shift
    /// alone trains is not, and moves its statistics.
    ///
    /// # Errors
    /// As [`freeze`](Self::freeze).
    pub fn freeze_for(self, freeze: &Freeze, norm: FrozenNorm, adapt: Adapt) -> Result<Self> {
        let selection = self.select(freeze)?;
        let kinds = Kinds::of(&self, adapt);
        // A layer with running statistics is a batch normalisation.
        let norms: Vec<String> = params::list(&self)
            .into_iter()
            .filter_map(|p| p.path.strip_suffix("running_mean").map(str::to_owned))
            .collect();
        let trains_affine = |path: &str| {
            norm == FrozenNorm::TrainAffine
                && (adapt != Adapt::BiasOnly || kinds.trains(path))
                && path
                    .rfind('.')
                    .is_some_and(|dot| norms.iter().any(|prefix| *prefix == path[..=dot]))
        };
        Ok(params::set_training(self, |path| {
            let frozen = selection.contains(path);
            Training {
                gradient: (!frozen && kinds.trains(path)) || trains_affine(path),
                flag: !frozen && kinds.has_some(path),
            }
        }))
    }

    /// The paths of the parameters that train, in the order of the network.
    pub fn trainable_parameters(&self) -> Vec<String> {
        let training = params::training_state(self);
        params::list(self)
            .into_iter()
            .map(|p| p.path)
            .filter(|path| training.get(path) == Some(&true))
            .collect()
    }

    /// The paths that `freeze` speaks of.
    fn select(&self, freeze: &Freeze) -> Result<Selection> {
        let groups = self.all_groups();
        let position = |name: &str| {
            groups
                .iter()
                .position(|group| group.name == name)
                .ok_or_else(|| self.unknown_group(name, groups.clone()))
        };
        let prefixes = |range: &[Group]| {
            Selection::Prefixes(range.iter().map(|group| group.prefix.clone()).collect())
        };
        Ok(match freeze {
            Freeze::Nothing => Selection::Prefixes(Vec::new()),
            Freeze::Backbone => prefixes(&groups[..groups.len() - 1]),
            Freeze::UpTo(name) => prefixes(&groups[..=position(name)?]),
            Freeze::Only(names) => {
                let picked: Result<Vec<_>> = names
                    .iter()
                    .map(|n| Ok(groups[position(n)?].clone()))
                    .collect();
                prefixes(&picked?)
            }
            Freeze::Matching(pattern) => {
                let paths: Vec<String> = params::list(self).into_iter().map(|p| p.path).collect();
                Selection::matching(pattern, &paths)?
            }
        })
    }
}

/// A set of parameter paths.
enum Selection {
    Prefixes(Vec<String>),
    Matching { regex: Regex, paths: Vec<String> },
}

impl Selection {
    fn matching(pattern: &str, paths: &[String]) -> Result<Self> {
        let regex = compile(pattern)?;
        // Running statistics have no gradient that could be frozen.
        let trained = || paths.iter().filter(|path| !is_buffer(path));
        if !trained().any(|path| regex.is_match(path)) {
            return Err(no_match(pattern, &trained().cloned().collect::<Vec<_>>()));
        }
        Ok(Selection::Matching {
            regex,
            paths: paths.to_vec(),
        })
    }

    fn contains(&self, path: &str) -> bool {
        match self {
            Selection::Prefixes(prefixes) => prefixes.iter().any(|p| path.starts_with(p)),
            Selection::Matching { regex, paths } => match path.strip_suffix(".training") {
                None => regex.is_match(path),
                Some(layer) => {
                    let of_layer = of_flag(layer, paths);
                    !of_layer.is_empty() && of_layer.iter().all(|p| regex.is_match(p))
                }
            },
        }
    }
}

/// The parameters that a flag follows: those of its layer or, where the layer has none (a dropout), those
/// of the nearest module around it.
fn of_flag<'a>(layer: &str, paths: &'a [String]) -> Vec<&'a str> {
    let mut module = layer;
    loop {
        let prefix = format!("{module}.");
        let inside = paths.iter().map(String::as_str);
        let inside: Vec<&str> = inside
            .filter(|p| p.starts_with(&prefix) && !is_buffer(p))
            .collect();
        match module.rsplit_once('.') {
            Some((parent, _)) if inside.is_empty() => module = parent,
            _ => return inside,
        }
    }
}

/// The parameters that train where nothing is frozen.
enum Kinds {
    All,
    Some {
        trained: HashSet<String>,
        paths: Vec<String>,
    },
}

impl Kinds {
    fn of(model: &Classifier, adapt: Adapt) -> Self {
        if adapt.is_none() {
            return Self::All;
        }
        let params = params::list(model);
        let trained = of_kind(model, &params, adapt);
        Self::Some {
            trained: trained.into_iter().map(|p| p.path.clone()).collect(),
            paths: params.into_iter().map(|p| p.path).collect(),
        }
    }

    fn trains(&self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some { trained, .. } => trained.contains(path),
        }
    }

    /// Whether something trains of what a flag follows.
    fn has_some(&self, flag: &str) -> bool {
        match (self, flag.strip_suffix(".training")) {
            (Self::Some { trained, paths }, Some(layer)) => {
                of_flag(layer, paths).iter().any(|p| trained.contains(*p))
            }
            _ => true,
        }
    }
}

/// The parameters of the head, and those of which `adapt` says that they train.
pub(crate) fn of_kind<'a>(
    model: &Classifier,
    params: &'a [ParamInfo],
    adapt: Adapt,
) -> Vec<&'a ParamInfo> {
    let norms: HashSet<String> = match adapt {
        Adapt::NormOnly => low_rank::norm_parameters(model)
            .into_iter()
            .map(|p| p.path)
            .collect(),
        _ => HashSet::new(),
    };
    let is_of_kind = |p: &ParamInfo| match adapt {
        Adapt::None => true,
        Adapt::Lora(_) => factor(&p.path).is_some(),
        // Those of queries and values stand by themselves in some families (`q_bias`). A table of
        // position biases is none.
        Adapt::BiasOnly => {
            p.shape.len() == 1 && (p.path.ends_with(".bias") || p.path.ends_with("_bias"))
        }
        Adapt::NormOnly => norms.contains(&p.path),
    };
    let params = params.iter().filter(|p| !p.is_buffer());
    params
        .filter(|p| in_head(&p.path) || is_of_kind(p))
        .collect()
}

/// Compiles a user's pattern.
pub(crate) fn compile(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|error| Error::Pattern {
        pattern: pattern.to_owned(),
        reason: format!("not a regular expression: {error}"),
    })
}

/// The error for a pattern that no path matches.
pub(crate) fn no_match(pattern: &str, paths: &[String]) -> Error {
    let example = paths
        .first()
        .map_or(String::new(), |p| format!(", such as `{p}`"));
    Error::Pattern {
        pattern: pattern.to_owned(),
        reason: format!("matches none of the {} parameters{example}", paths.len()),
    }
}
