//! What a model card says beside what the model itself tells: the metadata that the hub reads, and what
//! a run knows.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::data::Task;
use crate::files::hex;

/// What is known of a model that is not in it.
#[derive(Debug, Default)]
pub(crate) struct CardFacts {
    /// What it tells of images.
    pub task: Task,
    /// Where the weights that it started from came from, in words, if that is not what the model says.
    pub origin: Option<String>,
    /// The repository of the hub that it started from.
    pub base_model: Option<String>,
    /// Further lines of the front matter.
    pub results: String,
    /// Further sections.
    pub sections: String,
}

/// Identifiers of the hub for licences that weights of images come with:
/// <https://huggingface.co/docs/hub/repositories-licenses>.
const HUB_LICENCES: [&str; 28] = [
    "afl-3.0",
    "agpl-3.0",
    "apache-2.0",
    "apple-amlr",
    "apple-ascl",
    "bsd-2-clause",
    "bsd-3-clause",
    "bsl-1.0",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-nc-2.0",
    "cc-by-nc-3.0",
    "cc-by-nc-4.0",
    "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cc0-1.0",
    "fair-noncommercial-research-license",
    "gpl-3.0",
    "isc",
    "lgpl-3.0",
    "mit",
    "mpl-2.0",
    "ncsa",
    "unlicense",
    "zlib",
];

impl CardFacts {
    /// The lines of the front matter behind those with which every card of ours begins.
    pub fn metadata(&self, licence: Option<&str>) -> String {
        // The hub has no pipeline for numbers.
        let mut lines = match self.task {
            Task::SingleLabel | Task::MultiLabel => "pipeline_tag: image-classification\n",
            Task::Regression => "",
        }
        .to_owned();
        let base = self.base_model.as_deref();
        lines += &licence.map_or_else(String::new, |licence| licence_lines(licence, base));
        if let Some(base) = base {
            lines += &format!("base_model: {base}\nbase_model_relation: finetune\n");
        }
        lines + &self.results
    }
}

/// A licence as the hub reads it. One that is unknown is not stated.
fn licence_lines(licence: &str, base_model: Option<&str>) -> String {
    let licence = licence.to_ascii_lowercase();
    // Of several with `or` between them, one is enough; the card's text names all.
    let known = licence
        .split(" or ")
        .map(str::trim)
        .find(|id| HUB_LICENCES.contains(id));
    match known {
        Some(id) => format!("license: {id}\n"),
        None if licence == "unknown" => String::new(),
        None => {
            let name = yaml(&licence.replace(' ', "-"));
            let link = base_model.map_or_else(String::new, |base| {
                format!("license_link: https://huggingface.co/{base}\n")
            });
            format!("license: other\nlicense_name: {name}\n{link}")
        }
    }
}

/// How the lines of a card that open a model name it: in a folder, until the card has a repository.
pub(crate) const TIMM_FOLDER: &str = "\"local-dir:PATH\"";
pub(crate) const TORCH_FILE: &str = "\"PATH/model.safetensors\"";
pub(crate) const TORCH_IMPORT: &str = "from safetensors.torch import load_file\n";
pub(crate) const RUST_FOLDER: &str = "burn_zoo::Classifier::open(\"PATH\", &device)?";

/// A card whose model is opened from a repository of the hub.
#[cfg(feature = "plots")]
pub(crate) fn at_repository(card: &str, repository: &str, revision: Option<&str>) -> String {
    if let Some(text) = unsealed(card) {
        return sealed(at_repository(text, repository, revision));
    }
    let at = revision.map_or_else(String::new, |revision| format!("@{revision}"));
    let address = format!("\"hf-hub:{repository}{at}\"");
    let mut card = card.replace(TIMM_FOLDER, &address).replace(
        RUST_FOLDER,
        &format!("burn_zoo::Zoo::get({address})?.build(&device)?"),
    );
    if card.contains(TORCH_FILE) {
        let revision = revision.map_or_else(String::new, |it| format!(", revision=\"{it}\""));
        let file = format!("hf_hub_download(\"{repository}\", \"model.safetensors\"{revision})");
        let import = format!("from huggingface_hub import hf_hub_download\n{TORCH_IMPORT}");
        card = card
            .replace(TORCH_FILE, &file)
            .replace(TORCH_IMPORT, &import);
    }
    card
}

/// What stands before the sum of a card's text in its last line, which readers of the card do not see.
pub(crate) const SEAL: &str = "\n<!-- burn-zoo ";

fn seal(text: &str) -> String {
    let sum = hex(&Sha256::digest(text));
    format!("{SEAL}{} -->\n", &sum[..16])
}

/// A card's text with a last line by which it shows whether somebody has changed it since.
pub(crate) fn sealed(text: String) -> String {
    let seal = seal(&text);
    text + &seal
}

/// The text of a card that nobody has changed.
pub(crate) fn unsealed(card: &str) -> Option<&str> {
    let text = &card[..card.rfind(SEAL)?];
    (card[text.len()..] == seal(text)).then_some(text)
}

/// What is written behind the name of weights when they are loaded (`builder/load.rs`).
const DONE: [&str; 4] = [
    "; key ",
    "; prefix ",
    "; first convolution from ",
    "; new head of ",
];

/// What weights are called, without what was done to them: `resnet18.a1_in1k`, `hf-hub:owner/name@..`,
/// a path, or `random`.
pub(crate) fn weights_name(origin: &str) -> &str {
    // A path may have semicolons and brackets of its own.
    let end = DONE.iter().filter_map(|done| origin.find(done)).min();
    let name = &origin[..end.unwrap_or(origin.len())];
    if name.starts_with("random (seed ") {
        return "random";
    }
    match name.rfind(" (licence ") {
        Some(end) if name.ends_with(')') => &name[..end],
        _ => name,
    }
}

/// The same origin with no more of a path than its last part: folders are nobody's business.
pub(crate) fn public(origin: &str) -> String {
    let name = weights_name(origin);
    let last = Path::new(name).file_name().and_then(|last| last.to_str());
    match last {
        Some(last) if !name.starts_with("hf-hub:") => origin.replacen(name, last, 1),
        _ => origin.to_owned(),
    }
}

/// A text in quotes, as YAML and JSON have them.
pub(crate) fn yaml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::{licence_lines, public, sealed, unsealed, weights_name};

    #[test]
    fn where_weights_came_from_names_no_folder() {
        let entry =
            "resnet18.a1_in1k (licence apache-2.0); new head of 10 classes: pytorch (seed 42)";
        let hub = "hf-hub:me/mine@0123 (licence unknown)";
        for (origin, name, expected) in [
            (entry, "resnet18.a1_in1k", entry),
            (hub, "hf-hub:me/mine@0123", hub),
            ("random (seed 3)", "random", "random (seed 3)"),
            (
                "/home/me/secret/mine.safetensors; new head of 3 classes: pytorch (seed 1)",
                "/home/me/secret/mine.safetensors",
                "mine.safetensors; new head of 3 classes: pytorch (seed 1)",
            ),
            (
                "/a; b/c (1)/mine.pth; key model",
                "/a; b/c (1)/mine.pth",
                "mine.pth; key model",
            ),
        ] {
            assert_eq!(weights_name(origin), name);
            assert_eq!(public(origin), expected);
        }
    }

    #[test]
    fn a_card_shows_whether_it_was_changed() {
        let card = sealed("---\na: 1\n---\n# b\n".to_owned());
        assert_eq!(unsealed(&card), Some("---\na: 1\n---\n# b\n"));
        for changed in [
            card.replace("1", "2"),
            card.clone() + "more\n",
            "---\n".to_owned(),
        ] {
            assert_eq!(unsealed(&changed), None, "{changed}");
        }
    }

    #[cfg(feature = "plots")]
    #[test]
    fn a_card_of_a_repository_names_it() {
        use super::{RUST_FOLDER, TIMM_FOLDER, TORCH_FILE, TORCH_IMPORT, at_repository};
        let card = sealed(format!(
            "{TORCH_IMPORT}{TIMM_FOLDER}\n{TORCH_FILE}\n{RUST_FOLDER}\n"
        ));
        let card = at_repository(&card, "me/x", Some("next"));
        assert_eq!(
            unsealed(&card).unwrap(),
            "from huggingface_hub import hf_hub_download\n\
             from safetensors.torch import load_file\n\
             \"hf-hub:me/x@next\"\n\
             hf_hub_download(\"me/x\", \"model.safetensors\", revision=\"next\")\n\
             burn_zoo::Zoo::get(\"hf-hub:me/x@next\")?.build(&device)?\n"
        );
        assert_eq!(at_repository(&card, "me/x", Some("next")), card);
    }

    #[test]
    fn a_licence_is_one_of_the_hub_or_has_a_name_and_a_link() {
        assert_eq!(licence_lines("Apache-2.0", None), "license: apache-2.0\n");
        assert_eq!(licence_lines("mit or apache-2.0", None), "license: mit\n");
        assert_eq!(licence_lines("unknown", Some("timm/x")), "");
        assert_eq!(
            licence_lines("dinov3-license", Some("timm/x")),
            "license: other\nlicense_name: \"dinov3-license\"\n\
             license_link: https://huggingface.co/timm/x\n"
        );
        assert_eq!(
            licence_lines("my own: terms", None),
            "license: other\nlicense_name: \"my-own:-terms\"\n"
        );
    }
}
