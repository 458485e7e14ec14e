//! Every link between the documents leads to a file, and to a heading if it names one.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// What is in a folder.
fn entries(folder: PathBuf) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
}

/// Every package's README, and all Markdown files of the folders that hold documents.
fn documents(root: &Path) -> Vec<PathBuf> {
    let mut files = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    files.extend(entries(root.join("docs")));
    files.extend(entries(root.join("weights-manifest")));
    files.extend(entries(root.join("crates")).map(|package| package.join("README.md")));
    files.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    files
}

/// The lines that are no code.
fn prose(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let mut in_code = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// What a link to a heading has behind its `#`, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let text: String = heading.to_lowercase().chars().filter(kept).collect();
    text.replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut links = 0;
    let mut broken = Vec::new();
    for document in documents(root) {
        // A link may be broken over two lines before its address.
        let text = prose(&document).join("\n");
        for target in link
            .captures_iter(&text)
            .map(|matched| matched[1].to_owned())
        {
            if target.contains("://") {
                continue;
            }
            links += 1;
            let (path, fragment) = target.split_once('#').unwrap_or((target.as_str(), ""));
            let file = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            let has_heading = |fragment: &str| {
                let lines = prose(&file);
                let mut headings = lines.iter().filter(|line| line.starts_with('#'));
                headings.any(|line| anchor(line.trim_start_matches('#').trim_start()) == fragment)
            };
            if !file.exists() || (!fragment.is_empty() && !has_heading(fragment)) {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(links > 50, "{links} links");
    assert!(broken.is_empty(), "{broken:#?}");
}
