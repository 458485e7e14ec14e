//! The table of docs/models.md is what the manifest, timm's numbers, the parity table and the measured
//! speeds say. `UPDATE=1 cargo test --release --test models_document` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use burn_zoo::manifest::Manifest;
use burn_zoo::zoo;

const BEGIN: &str = "<!-- made by tests/models_document.rs -->\n";
const END: &str = "<!-- end -->\n";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of a file with a head and commas, by their first field.
fn rows(path: &Path) -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().skip(1).map(|line| {
        let mut fields = line.split(',').map(str::to_owned);
        (fields.next().unwrap(), fields.collect())
    });
    rows.collect()
}

/// `1.23 M`, with three digits.
fn short(count: f64) -> String {
    let (value, unit) = match count {
        count if count >= 1e9 => (count / 1e9, "G"),
        count => (count / 1e6, "M"),
    };
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

fn table() -> String {
    let timm = std::fs::read_to_string(root().join("tests/fixtures/architectures.json")).unwrap();
    let timm: serde_json::Value = serde_json::from_str(&timm).unwrap();
    let parity = rows(&root().join("docs/parity.csv"));
    let speed = rows(&root().join("docs/speed.csv"));
    let manifest = Manifest::bundled().unwrap();
    let mut text = String::from(
        "| name | parameters | MACs | size | tags | top-1 | licence | off by | images/s | PyTorch's |\n\
         |---|---:|---:|---:|---:|---:|---|---:|---:|---:|\n",
    );
    let mut family = "";
    for architecture in zoo::architectures() {
        let name = architecture.name;
        if architecture.family != family {
            family = architecture.family;
            writeln!(text, "| **[{family}]({})** |||||||||", architecture.paper).unwrap();
        }
        let facts = &timm["models"][name];
        let number = |key: &str| {
            facts[key]
                .as_f64()
                .unwrap_or_else(|| panic!("{name}: {key}"))
        };
        let mut licences: Vec<&str> = Vec::new();
        for entry in manifest.tags(name) {
            let licence = entry.licence.as_deref().unwrap_or("unknown");
            if !licences.contains(&licence) {
                licences.push(licence);
            }
        }
        let top1 = manifest.get(name).ok().and_then(|entry| {
            let native = entry
                .results
                .iter()
                .find(|r| r.size == entry.data.input_size[1]);
            native
                .or(entry.results.first())
                .map(|r| format!("{:.1}", r.top1))
        });
        let off_by = parity.get(name).map_or("", |row| row[1].as_str());
        let [ours, theirs] = match speed.get(name) {
            Some(row) => [row[0].as_str(), row[1].as_str()],
            None => ["", ""],
        };
        writeln!(
            text,
            "| `{name}` | {} | {} | {} | {} | {} | {} | {off_by} | {ours} | {theirs} |",
            short(number("num_params")),
            short(number("macs")),
            architecture.image_size,
            manifest.tags(name).count(),
            top1.unwrap_or_default(),
            licences.join(", "),
        )
        .unwrap();
    }
    text
}

#[test]
fn the_table_of_models_is_current() {
    let path = root().join("docs/models.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();
    let table = table();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, [before, BEGIN, &table, END, after].concat()).unwrap();
        return;
    }
    assert!(
        written == table,
        "docs/models.md is not current; UPDATE=1 cargo test --release --test models_document writes it"
    );
}

/// Every architecture has been compared with timm, to the bound of tests/parity.rs.
#[test]
fn every_architecture_agrees_with_timm() {
    let parity = rows(&root().join("docs/parity.csv"));
    for architecture in zoo::architectures() {
        let row = parity.get(architecture.name);
        let off_by: f64 = row.unwrap_or_else(|| panic!("{}", architecture.name))[1]
            .parse()
            .unwrap();
        // Group norms behind standardised kernels double rounding from stage to stage, in PyTorch too.
        let bound = if architecture.name.ends_with("_bit") {
            1e-4
        } else {
            2e-5
        };
        assert!(off_by < bound, "{}: {off_by}", architecture.name);
    }
    assert_eq!(parity.len(), zoo::architectures().count());
}

#[test]
fn documents_count_as_the_zoo_does() {
    let architectures = zoo::architectures().count();
    let tags = Manifest::bundled().unwrap().entries().count();
    let read = |name| std::fs::read_to_string(root().join(name)).unwrap();
    assert!(read("README.md").contains(&format!("one of {architectures} networks")));
    let change = format!("{architectures} architectures, and {tags} tags");
    assert!(read("CHANGELOG.md").contains(&change), "{change}");
}
