//! Commands in the README and in `docs/` name subcommands and flags that exist.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;

/// The commands in the shell blocks of a document, as words. Comments and continued lines are dealt
/// with as a shell does.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut in_shell = false;
    let mut commands = Vec::new();
    for line in text.replace("\\\n", " ").lines() {
        if line.starts_with("```") {
            in_shell = line == "```sh";
        } else if in_shell {
            let code = line.split(" #").next().unwrap();
            commands.push(code.split_whitespace().map(str::to_owned).collect());
        }
    }
    commands
}

/// The words behind the command's name, if it is `burn-zoo` in one of its two forms.
fn arguments(command: &[String]) -> Option<&[String]> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["burn-zoo", ..] => Some(&command[1..]),
        ["cargo", "run", "--release", "--", ..] => Some(&command[4..]),
        _ => None,
    }
}

/// The flags that a subcommand's help lists.
fn flags(subcommand: &str) -> BTreeSet<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-zoo"));
    let output = command.args([subcommand, "--help"]).output().unwrap();
    assert!(output.status.success(), "burn-zoo {subcommand} --help");
    let help = String::from_utf8(output.stdout).unwrap();
    let words = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let flags = words.filter(|word| word.starts_with("--"));
    flags.map(str::to_owned).collect()
}

#[test]
fn documented_flags_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut documents = vec![root.join("README.md"), root.join("crates/cli/README.md")];
    for entry in std::fs::read_dir(root.join("docs")).unwrap() {
        documents.push(entry.unwrap().path());
    }
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));

    let mut known: HashMap<String, BTreeSet<String>> = HashMap::new();
    let mut checked = 0;
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for command in commands(&text) {
            let Some([subcommand, rest @ ..]) = arguments(&command) else {
                continue;
            };
            if subcommand == "help" {
                continue;
            }
            let known = known
                .entry(subcommand.clone())
                .or_insert_with(|| flags(subcommand));
            for flag in rest.iter().filter(|word| word.starts_with("--")) {
                let name = flag.split('=').next().unwrap();
                let document = document.display();
                assert!(known.contains(name), "{document}: {subcommand} {name}");
            }
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked} commands");
}

/// `docs/choosing.md` states the rules by which `recommend` goes.
#[test]
fn documented_rules_are_those_of_the_program() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(package.join(path)).unwrap();
    let rules: toml::Table = read("src/recommend/rules.toml").parse().unwrap();
    let page = read("../../docs/choosing.md");
    let rows: Vec<String> = rules["rule"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            let images = rule
                .get("images_per_class")
                .map_or("more".to_owned(), |n| format!("up to {n}"));
            let recipe = rule["recipe"].as_str().unwrap();
            format!(
                "| {images} | `{recipe}` | {} | {} |",
                rule["epochs"], rule["trained"]
            )
        })
        .collect();
    assert!(page.contains(&rows.join("\n")), "{rows:#?}");
}
