//! What a model card says beside what the model itself tells: the metadata that the hub reads, and what
//! a run knows.

use crate::data::Task;

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

/// A text in quotes, as YAML and JSON have them.
pub(crate) fn yaml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::licence_lines;

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
