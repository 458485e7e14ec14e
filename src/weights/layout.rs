//! Where in a file the tensors of a model are: under which key, behind which prefix, and by whose
//! names.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::contents::Section;
use super::quote::{quoted, shown};
use crate::model::{OtherNames, Source};

/// Keys of a checkpoint that hold the weights themselves, best first.
pub(super) const PLAIN: [&str; 6] = [
    "state_dict",
    "model",
    "model_state_dict",
    "model_state",
    "net",
    "weights",
];

/// Keys that hold an average over the training, best first.
pub(super) const AVERAGES: [&str; 3] = ["state_dict_ema", "model_ema", "ema"];

/// Keys whose tensors are the state of a training.
const TRAINING: [&str; 13] = [
    "optimizer",
    "optimizers",
    "optimizer_states",
    "optimizer_state_dict",
    "optim",
    "opt",
    "callbacks",
    "loops",
    "lr_scheduler",
    "lr_schedulers",
    "scheduler",
    "scaler",
    "amp_scaler",
];

/// Prefixes that wrappers add: data-parallel training, compilation, and modules that hold the model
/// as an attribute.
const WRAPPERS: [&str; 5] = ["module.", "_orig_mod.", "model.", "backbone.", "encoder_q."];

/// The prefix of a model that is the first of a `Sequential`, as in a fastai `Learner`.
const FIRST_CHILD: &str = "0.";

/// As often as wrappers are nested in earnest. Names made of nothing but prefixes would otherwise
/// take time in proportion to the square of their length.
const MOST_PREFIXES: usize = 8;

/// The counter that `AveragedModel` keeps beside the names.
pub(crate) const COUNTER: &str = "n_averaged";

/// First segments of the names of last layers, in the libraries that people's files come from.
const HEADS: [&str; 7] = [
    "fc",
    "head",
    "head_dist",
    "heads",
    "classifier",
    "last_linear",
    "linear",
];

/// Whether a key holds the state of a training, and no weights.
pub(super) fn is_training_state(key: &str) -> bool {
    TRAINING.contains(&key)
}

/// Whether this key, or the last part of it, is that of an average.
pub(super) fn is_average(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key);
    AVERAGES.contains(&last)
}

/// Whether a name, without a prefix, is that of a last layer.
pub(crate) fn is_head(name: &str) -> bool {
    HEADS.contains(&name.split('.').next().unwrap_or(name))
}

/// Where known prefixes end at the start of a name, from `from` on, which is the first.
fn cuts<'a>(name: &'a str, from: usize, known: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
    let next = move |cut: &usize| {
        let rest = name.get(*cut..)?;
        let prefix = known.iter().find(|prefix| rest.starts_with(**prefix))?;
        Some(cut + prefix.len())
    };
    std::iter::successors(Some(from), next).take(MOST_PREFIXES + 1)
}

/// The longest chain of wrappers' prefixes, behind `base`, that all names have, but for a counter
/// of averages.
pub(super) fn common_prefix<T>(names: &BTreeMap<String, T>, base: &str) -> String {
    let counted = || {
        names
            .keys()
            .filter(|name| *name != COUNTER && name.starts_with(base))
    };
    let Some(first) = counted().next() else {
        return base.to_owned();
    };
    let shared = cuts(first, base.len(), &WRAPPERS)
        .filter_map(|cut| first.get(..cut))
        .take_while(|prefix| {
            counted().all(|name| name.len() > prefix.len() && name.starts_with(prefix))
        })
        .last();
    shared.unwrap_or(base).to_owned()
}

/// Where in a file the tensors of a model are.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub section: usize,
    pub prefix: String,
    /// How many names the tensors of the backbone have in such a file.
    pub num_names: usize,
    /// The names that the file has, if not upstream's.
    pub naming: Option<OtherNames>,
}

impl Layout {
    /// Where in the file the tensor is that upstream calls this.
    pub fn source(&self, upstream: &str) -> Source {
        match &self.naming {
            Some(other) => Source::of(&self.prefix, &other.table.name(upstream)),
            None => Source::Whole(format!("{}{upstream}", self.prefix)),
        }
    }

    /// Whether the tensor that upstream calls this may have another shape in the file.
    pub fn reshapes(&self, upstream: &str) -> bool {
        let naming = self.naming.iter();
        let mut allowed = naming.flat_map(|other| other.reshapes);
        allowed.any(|start| upstream.starts_with(start))
    }

    /// Whether a name of the file, without the prefix, is of a table that holds no weights.
    pub fn ignores(&self, name: &str) -> bool {
        let naming = self.naming.iter();
        naming
            .flat_map(|other| other.ignored)
            .any(|end| name.ends_with(end))
    }
}

/// The layouts in which names of a section, those that begin with `base`, are names of the
/// backbone, and how many are.
pub(super) fn layouts(
    index: usize,
    section: &Section,
    base: &str,
    backbone: &[String],
    other_names: &[OtherNames],
) -> Vec<(usize, Layout)> {
    let known: Vec<&str> = WRAPPERS.iter().copied().chain([FIRST_CHILD]).collect();
    let mut found = Vec::new();
    for naming in std::iter::once(None).chain(other_names.iter().map(Some)) {
        let mut names: HashSet<String> = HashSet::new();
        match naming {
            None => names.extend(backbone.iter().cloned()),
            Some(other) => {
                for name in backbone {
                    let source = Source::of("", &other.table.name(name));
                    names.extend(source.names().into_iter().map(str::to_owned));
                }
            }
        }
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for name in section.tensors.keys().filter(|n| n.starts_with(base)) {
            for cut in cuts(name, base.len(), &known) {
                if let Some((prefix, rest)) = name.split_at_checked(cut)
                    && names.contains(rest)
                {
                    *votes.entry(prefix).or_default() += 1;
                }
            }
        }
        found.extend(votes.into_iter().map(|(prefix, count)| {
            let prefix = prefix.to_owned();
            let layout = Layout {
                section: index,
                prefix,
                num_names: names.len(),
                naming: naming.cloned(),
            };
            (count, layout)
        }));
    }
    // Stable, so that of equals the model's own names and the shortest prefix come first.
    found.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    found
}

/// Prefixes, known or not, behind which a section has all of these names.
pub(super) fn prefixes_that_fit(section: &Section, backbone: &[String]) -> Vec<String> {
    const MOST: usize = 8;
    const LONGEST: usize = 200;
    let (Some(first), Some(last)) = (backbone.first(), backbone.last()) else {
        return Vec::new();
    };
    let has =
        |prefix: &str, name: &String| section.tensors.contains_key(&format!("{prefix}{name}"));
    let candidates = section
        .tensors
        .keys()
        .filter_map(|name| name.strip_suffix(first.as_str()))
        .filter(|prefix| prefix.ends_with('.') && prefix.len() <= LONGEST)
        // The first name can be the end of many, as `conv1.weight` is.
        .filter(|prefix| has(prefix, last));
    candidates
        .take(MOST)
        .filter(|prefix| backbone.iter().all(|name| has(prefix, name)))
        .map(str::to_owned)
        .collect()
}

/// What all names begin with: whole segments.
fn beginning(section: &Section) -> Option<String> {
    let mut names = section.tensors.keys().filter(|name| *name != COUNTER);
    // Sorted, so what the first and the last share, all share.
    let first = names.next()?;
    let last = names.next_back()?;
    let shared = first
        .bytes()
        .zip(last.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let end = first.get(..shared)?.rfind('.')?;
    first.get(..=end).map(str::to_owned)
}

/// The first segments of a section's names, as prefixes.
pub(super) fn first_segments(section: &Section) -> Vec<String> {
    let first = |name: &String| {
        let (segment, _) = name.split_once('.')?;
        Some(format!("{segment}."))
    };
    let segments: BTreeSet<String> = section.tensors.keys().filter_map(first).collect();
    segments.into_iter().collect()
}

/// Signs of other libraries' models: all of these must be at the end of some name, or within it if
/// they end in a point.
const SIGNS: [(&[&str], &str); 13] = [
    (
        &["dist_token", "head_dist.weight"],
        "names of timm's distilled DeiT, which has a second token and a second head",
    ),
    (
        &[
            "embeddings.patch_embeddings.projection.weight",
            "encoder.layer.0.attention.attention.query.weight",
        ],
        "names of transformers' ViT",
    ),
    (
        &[
            "class_token",
            "conv_proj.weight",
            "encoder.layers.encoder_layer_0.ln_1.weight",
        ],
        "names of torchvision's vit_b_16 and its kin",
    ),
    (
        &[
            "embedder.embedder.convolution.weight",
            "encoder.stages.0.layers.0.layer.0.convolution.weight",
        ],
        "names of transformers' ResNet",
    ),
    (
        &["rpn.head.cls_logits.weight", "roi_heads.box_predictor."],
        "names of torchvision's Faster R-CNN or Mask R-CNN, a detector",
    ),
    (
        &["backbone.bottom_up.", "proposal_generator."],
        "names of a detector of detectron2",
    ),
    (
        &["visual.conv1.weight", "visual.transformer.resblocks.0."],
        "names of CLIP with a ViT",
    ),
    (
        &["visual.conv1.weight", "visual.attnpool."],
        "names of CLIP with a ResNet",
    ),
    (
        &[
            "blocks.0.attn.qkv.weight",
            "blocks.0.ls1.gamma",
            "mask_token",
        ],
        "names of DINOv2's ViT, which has layer scale",
    ),
    (
        &[
            "stages.0.blocks.0.gamma",
            "stages.0.blocks.0.conv_dw.weight",
        ],
        "names of timm's ConvNeXt",
    ),
    (
        &["features.0.0.weight", "features.1.0.block.0.0.weight"],
        "names of torchvision's EfficientNet",
    ),
    (
        &["features.0.0.weight", "features.1.block.0.0.weight"],
        "names of torchvision's MobileNetV3, which has another epsilon; timm's files are read",
    ),
    (
        &["conv_stem.weight", "blocks.0.0.conv_dw.weight"],
        "names of timm's EfficientNet or MobileNet",
    ),
];

/// What the names of a section look like, in words.
pub(super) fn looks_like(section: &Section) -> Option<&'static str> {
    let has = |sign: &&str| {
        section.tensors.keys().any(|name| {
            if sign.ends_with('.') {
                name.contains(*sign)
            } else {
                let rest = name.strip_suffix(*sign);
                rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
        })
    };
    let found = SIGNS.iter().find(|(signs, _)| signs.iter().all(has));
    found.map(|(_, words)| *words)
}

/// Where else in a section the model is, or what its names have in common.
pub(super) fn prefix_hint(section: &Section, used: &str, backbone: &[String]) -> Option<String> {
    let fitting: Vec<String> = prefixes_that_fit(section, backbone)
        .into_iter()
        .filter(|prefix| prefix != used)
        .collect();
    let shared = beginning(section).filter(|shared| shared != used);
    match (&fitting[..], shared) {
        ([one], Some(shared)) if *one == shared => Some(format!(
            "all names begin with `{0}`; weights_prefix (--weights-prefix {0}) takes them",
            shown(one)
        )),
        ([one], _) => Some(format!(
            "the model's names are behind `{0}`; weights_prefix (--weights-prefix {0}) takes them",
            shown(one)
        )),
        ([], Some(shared)) if !used.starts_with(&shared) => {
            Some(format!("all names begin with `{}`", shown(&shared)))
        }
        ([], _) => None,
        (several, _) => Some(format!(
            "the model's names are behind each of {}; weights_prefix (--weights-prefix) chooses",
            quoted(several)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_whole_prefixes_and_few() {
        let of = |name: &str| cuts(name, 0, &WRAPPERS).collect::<Vec<_>>();
        assert_eq!(of("fc.weight"), [0]);
        assert_eq!(of("module.model.fc.weight"), [0, 7, 13]);
        assert_eq!(of("modules.fc"), [0]);
        assert_eq!(of(&"module.".repeat(1000)).len(), MOST_PREFIXES + 1);
    }

    #[test]
    fn a_prefix_is_found_among_names_that_end_alike() {
        use super::super::contents::{DType, TensorInfo};
        let blocks = (0..20).map(|block| format!("layer1.{block}.conv1.weight"));
        let backbone: Vec<String> = std::iter::once("conv1.weight".to_owned())
            .chain(blocks)
            .collect();
        let names = ["student.", "teacher.net."]
            .iter()
            .flat_map(|prefix| backbone.iter().map(move |name| format!("{prefix}{name}")));
        let info = TensorInfo {
            shape: Vec::new(),
            dtype: DType::F32,
        };
        let section = Section {
            key: None,
            tensors: names.map(|name| (name, info.clone())).collect(),
            values: Box::new(BTreeMap::<String, pytorch_reader::Tensor>::new()),
        };
        let found = prefixes_that_fit(&section, &backbone);
        assert_eq!(found, ["student.", "teacher.net."]);
    }
}
