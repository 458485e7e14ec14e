//! `tune` and `trial`: what they print, what they leave, and how they go on.

#![cfg(unix)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use burn_zoo::train::RunFiles;
use burn_zoo::tune::{Report, SearchResult, TrialState, trial_folder};
use serde_json::{Value, json};

const SPACE: &str = "[search]\n\
    learning_rate = { loguniform = [1e-3, 1e-1] }\n\
    optimizer = { choice = ['adamw', 'sgd'] }\n\
    'optimizer.momentum' = { uniform = [0.5, 0.95], when = { optimizer = 'sgd' } }\n\
    pool = { choice = ['avg', 'max'] }\n";

const IMAGES: [&str; 5] = [
    "test_resnet",
    "--data=fashion-mnist-mini",
    "--limit-train=300",
    "--limit-test=100",
    "--epochs=4",
];

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-zoo"));
    command.args(arguments).env("BURN_DEVICE", "flex");
    command
}

fn search_arguments<'a>(file: &'a str, out: &'a str) -> Vec<&'a str> {
    let own = [
        "--search",
        file,
        "--trials=5",
        "--sampler=random",
        "--seed=3",
    ];
    let scheduler = ["--scheduler", "asha:max_t=4,grace=1,eta=2"];
    let images = IMAGES.iter().copied();
    std::iter::once("tune")
        .chain(images)
        .chain(own)
        .chain(scheduler)
        .chain(["--weights=random", "--recipe=features", "--out", out])
        .collect()
}

fn succeed(arguments: &[&str]) -> String {
    let output = command(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn fail(arguments: &[&str]) -> String {
    let output: Output = command(arguments).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && output.stdout.is_empty(),
        "{arguments:?}"
    );
    errors
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What a search told, without times.
fn told(dir: &Path) -> Vec<(Value, Vec<Report>, TrialState)> {
    let found = SearchResult::open(dir).unwrap();
    let trials = found.trials().iter().cloned();
    trials
        .map(|mut trial| {
            for report in &mut trial.reports {
                report.metrics.remove("seconds");
            }
            (json!(trial.params), trial.reports, trial.state)
        })
        .collect()
}

#[test]
fn a_search_leaves_runs_a_recipe_and_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "space.toml", SPACE);
    let dir = folder.path().join("search");
    let mut arguments = search_arguments(&file, text(&dir));
    arguments.push("--json");
    let document: Value = serde_json::from_str(&succeed(&arguments)).unwrap();
    let trials = document["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 5);
    for (index, trial) in trials.iter().enumerate() {
        assert_eq!(trial["trial"], index);
        assert!(
            ["completed", "stopped"].contains(&trial["state"].as_str().unwrap()),
            "{trial}"
        );
        assert_eq!(trial["state"] == "completed", trial["epochs"] == 4);
        let params = trial["params"].as_object().unwrap();
        assert_eq!(
            params.contains_key("optimizer.momentum"),
            params["optimizer"] == "sgd"
        );
        // A trial is an ordinary run.
        let run = RunFiles::open(dir.join(format!("trial-{index:04}"))).unwrap();
        assert_eq!(
            run.config.recipe.learning_rate,
            params["learning_rate"].as_f64().unwrap()
        );
        assert_eq!(run.epochs.len(), trial["epochs"].as_u64().unwrap() as usize);
    }
    let accuracy = |trial: &Value| trial["valid_accuracy"].as_f64().unwrap();
    let most = trials.iter().map(accuracy).fold(0.0, f64::max);
    let best = &document["best"];
    assert_eq!(accuracy(best), most);
    assert_eq!(
        trials[best["trial"].as_u64().unwrap() as usize]["params"],
        best["params"]
    );
    // Trials share the features of their pooling, which comes before what is kept.
    let features = std::fs::read_dir(dir.join("features")).unwrap().flatten();
    let names: Vec<String> = features
        .map(|f| f.file_name().into_string().unwrap())
        .collect();
    let files = names.iter().filter(|name| !name.ends_with(".lock"));
    assert_eq!(files.count(), 4, "{names:?}");
    let page = std::fs::read_to_string(dir.join("report.html")).unwrap();
    assert!(page.contains("\"maximize\":true") && !page.contains("/*DATA*/"));

    // The recipe is one that finetune takes, and gives the same.
    let config = dir.join("best.toml");
    let once_more = folder.path().join("once-more");
    let pool = best["params"]["pool"].as_str().unwrap();
    let mut arguments = vec!["finetune"];
    arguments.extend(&IMAGES[..4]);
    arguments.extend([
        "--weights=random",
        "--config",
        text(&config),
        "--pool",
        pool,
    ]);
    arguments.extend(["--out", text(&once_more), "--json", "--no-report"]);
    let run: Value = serde_json::from_str(&succeed(&arguments)).unwrap();
    assert!((accuracy(&run) - most).abs() < 0.02, "{run}");

    let shown = succeed(&["tune", "report", text(&dir)]);
    assert!(
        shown.contains("5 of 5 trials") && shown.contains("best: trial"),
        "{shown}"
    );
    // A search that has ended has nothing left to do.
    let again = succeed(&["tune", "--resume", text(&dir), "--json", "--no-report"]);
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["trials"], document["trials"]);
    // And one that gets more trials keeps those that it had.
    succeed(&["tune", "--resume", text(&dir), "--trials=6", "--no-report"]);
    assert_eq!(told(&dir).len(), 6);
}

#[test]
fn a_search_that_is_killed_goes_on_as_if_it_had_not_been() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "space.toml", SPACE);
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    succeed(&search_arguments(&file, text(&whole)));
    let quiet = |mut command: Command| -> Child {
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut search = quiet(command(&search_arguments(&file, text(&cut))));
    let lines = |dir: &Path| {
        let text = std::fs::read_to_string(dir.join("tune.jsonl")).unwrap_or_default();
        text.lines().count()
    };
    // Killed after some events, and after some more.
    for events in [3, 8, 14] {
        while lines(&cut) < events && search.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        search.kill().unwrap();
        search.wait().unwrap();
        search = quiet(command(&["tune", "--resume", text(&cut), "--no-report"]));
    }
    assert!(search.wait().unwrap().success());
    assert_eq!(told(&cut), told(&whole));
}

#[test]
fn mistakes_end_a_search_before_the_first_trial() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("search");
    let good = write(folder.path(), "good.toml", SPACE);
    let mut number = 0;
    let mut with_space = |space: &str| {
        number += 1;
        write(folder.path(), &format!("{number}.toml"), space)
    };
    let spaces = [
        ("x = 3", "search"),
        (
            "trials = 50\n[search]\nlearning_rate = { uniform = [0, 1] }",
            "trials",
        ),
        (
            "[search]\nlearnin_rate = { uniform = [0, 1] }",
            "learnin_rate",
        ),
        (
            "[search]\nlearning_rate = { uniform = [1, 0] }",
            "learning_rate",
        ),
        (
            "[search]\nlearning_rate = { loguniform = [0, 1] }",
            "above 0",
        ),
        ("[search]\nlearning_rate = { gauss = [0, 1] }", "loguniform"),
        (
            "[search]\nmodel = { choice = ['resnet18', 'resnet8'] }",
            "resnet8",
        ),
        ("[search]\nstem_stride = { choice = [1, 3] }", "stem_stride"),
        ("[search]\nweights = { choice = ['bundeld'] }", "bundeld"),
        ("[search]\nbatch_size = { choice = ['many'] }", "batch_size"),
        (
            "[search]\nfreeze = { choice = ['backbone', 'up-to:stage9'] }",
            "stage9",
        ),
        (
            "[search]\nclass_weights = { choice = ['1,2'] }",
            "each of the 10 classes",
        ),
        (
            "[search]\nmetric = { choice = ['accuracy', 'loss'] }",
            "--metric",
        ),
        (
            "[search]\nepochs = { choice = [2, 4] }",
            "epochs: expected a parameter or --epochs, found both",
        ),
        (
            "[search]\ntag = { choice = ['a1_in1k'] }",
            "tag: expected a parameter or --weights, found both",
        ),
        (
            "[search]\nbatch_size = { uniform = [16, 64] }",
            "a whole number",
        ),
        ("[search\n", "line 1"),
    ];
    for (space, named) in spaces {
        let file = with_space(space);
        let mut arguments = search_arguments(&file, text(&dir));
        arguments
            .retain(|argument| !(space.contains("weights") && argument.starts_with("--weights")));
        let error = fail(&arguments);
        assert!(error.contains(named), "{space}: {error}");
        assert!(error.contains("--search"), "{space}: {error}");
    }
    for (flags, named) in [
        (&["--scheduler=ahsa"][..], "asha"),
        (&["--scheduler=asha:max_t=0"], "max_t"),
        (&["--trials=0"], "--trials"),
        (&["--jobs=0"], "--jobs"),
        (&["--time-budget=soon"], "--time-budget"),
        (&["--time-budget=2 cores, 1m"], "--time-budget"),
        (&["--devices=gpu"], "--devices"),
        (&["--data=nowhere"], "nowhere"),
        (&["--batch-size=auto"], "--batch-size"),
    ] {
        let mut arguments: Vec<&str> = search_arguments(&good, text(&dir));
        let name = flags[0].split('=').next().unwrap();
        arguments.retain(|argument| argument.split('=').next() != Some(name));
        if name == "--scheduler" {
            arguments.retain(|argument| !argument.starts_with("asha"));
        }
        arguments.extend(flags);
        let error = fail(&arguments);
        assert!(error.contains(named), "{flags:?}: {error}");
    }
    assert!(!dir.exists());
    let error = fail(&["tune", "test_resnet"]);
    assert!(error.contains("--search"), "{error}");
    let error = fail(&["tune", "--resume", text(folder.path())]);
    assert!(error.contains("found no search.toml"), "{error}");
    let error = fail(&["tune", "--resume", text(folder.path()), "--sampler=tpe"]);
    assert!(
        error.contains("--sampler cannot be used with --resume"),
        "{error}"
    );
    let error = fail(&search_arguments(&good, text(folder.path())));
    assert!(error.contains("choose another folder"), "{error}");
}

#[test]
fn a_search_says_what_no_trial_takes() {
    let folder = tempfile::tempdir().unwrap();
    let space = "[search]\nepochs = { choice = [2, 3] }\nmodel = { choice = ['test_vit'] }\n\
                 image_size = { choice = [32], when = { epochs = [2, 3] } }\n";
    let file = write(folder.path(), "space.toml", space);
    let dir = folder.path().join("search");
    let mut arguments = vec!["tune"];
    arguments.extend(&IMAGES[..4]);
    arguments.extend(["--weights=random", "--image-size=96", "--no-report"]);
    arguments.extend(["--sampler=grid", "--scheduler=asha:max_t=1", "--search"]);
    arguments.extend([&*file, "--out", text(&dir)]);
    let output = command(&arguments).output().unwrap();
    let [shown, told] = [output.stdout, output.stderr].map(|t| String::from_utf8(t).unwrap());
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains("no trial comes further than epoch 1 of 3"),
        "{told}"
    );
    assert!(told.contains("test_resnet: no trial takes it"), "{told}");
    let once_more = shown.lines().find(|line| line.starts_with("once more: "));
    let once_more = once_more.expect(&shown);
    assert!(once_more.contains(" test_vit ") && !once_more.contains("--image-size"));
    // TensorBoard has what was searched, and no trial says for all which columns there are.
    let events = trial_folder(&dir, 0).join("tensorboard");
    let events = std::fs::read_dir(events).unwrap().flatten().next().unwrap();
    let events = std::fs::read(events.path()).unwrap();
    let has = |text: &[u8]| events.windows(text.len()).any(|found| found == text);
    assert!(has(b"_hparams_/session_start_info") && has(b"\n\x05model"));
    assert!(!has(b"_hparams_/experiment"));
}

#[test]
fn a_search_of_what_fails_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let space = "[search]\nweights = { choice = ['one.pth', 'two.pth'] }\n";
    let file = write(folder.path(), "space.toml", space);
    let dir = folder.path().join("search");
    let mut arguments = search_arguments(&file, text(&dir));
    arguments.retain(|argument| !argument.starts_with("--weights"));
    let output = command(&arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        error.contains("5 trials failed") && error.contains(".pth"),
        "{error}"
    );
    // Each of them was told with its cause.
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told.matches("failed: ").count(), 5, "{told}");
    // One that ends before has no result either.
    let other = folder.path().join("other");
    let mut arguments = search_arguments(&file, text(&other));
    arguments.retain(|argument| !["--trials=5", "--weights=random"].contains(argument));
    arguments.extend(["--trials=2", "--json"]);
    let output = command(&arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("no trial has a result"), "{error}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["best"], Value::Null);
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn trial_arguments(dir: &str) -> Vec<&str> {
    let images = IMAGES.iter().copied();
    std::iter::once("trial")
        .chain(images)
        .chain(["--weights=random", "--dir", dir])
        .collect()
}

#[test]
fn a_trial_prints_a_line_for_each_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("run");
    let params =
        r#"{"learning_rate": 0.01, "optimizer": "sgd", "optimizer.momentum": 0.8, "pool": "max"}"#;
    let mut arguments = trial_arguments(text(&dir));
    arguments.extend(["--params-json", "-", "--trial-id", "a7"]);
    let mut command = command(&arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(params.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let lines = lines(std::str::from_utf8(&output.stdout).unwrap());
    assert_eq!(lines.len(), 4);
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line["training_iteration"], index + 1);
        assert_eq!(
            (&line["trial_id"], &line["done"]),
            (&json!("a7"), &json!(index == 3))
        );
        for name in ["valid_accuracy", "valid_loss", "seconds"] {
            assert!(line[name].is_f64(), "{name}: {line}");
        }
    }
    let config = RunFiles::open(&dir).unwrap().config;
    assert_eq!(config.recipe.learning_rate, 0.01);
    assert_eq!(config.recipe.optimizer.to_string(), "sgd:momentum=0.8");

    // As sweeps write flags, and as Katib reads lines.
    let dir = folder.path().join("flags");
    let mut arguments = trial_arguments(text(&dir));
    let flags = [
        "--learning_rate=0.01",
        "--batch_size=32",
        "--metrics-format",
        "name=value",
    ];
    arguments.extend(flags);
    let shown = succeed(&arguments);
    assert_eq!(shown.lines().count(), 4);
    let pattern = regex::Regex::new(r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)").unwrap();
    let last = shown.lines().last().unwrap();
    let found = pattern
        .captures_iter(last)
        .find(|pair| &pair[1] == "valid_accuracy")
        .unwrap();
    let files = RunFiles::open(&dir).unwrap();
    assert_eq!(
        found[2].parse::<f64>().unwrap(),
        files.epochs[3].valid_accuracy
    );
    assert_eq!(
        (
            files.config.recipe.learning_rate,
            files.config.recipe.batch_size
        ),
        (0.01, 32)
    );
}

#[test]
fn a_trial_that_is_terminated_goes_on_from_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    let expected = lines(&succeed(&trial_arguments(text(&whole))));
    let mut command = command(&trial_arguments(text(&cut)));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = output.next().unwrap().unwrap();
    let pid = child.id().to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    let mut told: Vec<Value> = vec![serde_json::from_str(&first).unwrap()];
    told.extend(output.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()));
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let mut arguments = trial_arguments(text(&cut));
    arguments.push("--resume");
    told.extend(lines(&succeed(&arguments)));
    let without_times = |lines: &[Value]| -> Vec<Value> {
        let mut lines = lines.to_vec();
        for line in &mut lines {
            line.as_object_mut().unwrap().remove("seconds");
        }
        lines
    };
    assert_eq!(without_times(&told), without_times(&expected));
}

#[test]
fn a_trial_takes_answers() {
    let folder = tempfile::tempdir().unwrap();
    let answer = |name: &str, answers: &[&str], more: &[&str]| -> (Vec<Value>, Output) {
        let dir = folder.path().join(name);
        let mut arguments = trial_arguments(text(&dir));
        arguments.push("--wait-for-answer");
        arguments.extend(more);
        let mut command = command(&arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = Vec::new();
        for answer in answers {
            let line = output.next().unwrap().unwrap();
            told.push(serde_json::from_str(&line).unwrap());
            writeln!(input, "{answer}").unwrap();
        }
        told.extend(output.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap()));
        drop(input);
        (told, child.wait_with_output().unwrap())
    };
    let epochs = |lines: &[Value]| -> Vec<u64> {
        lines
            .iter()
            .map(|line| line["training_iteration"].as_u64().unwrap())
            .collect()
    };
    let (told, output) = answer("stop", &["continue", "stop"], &[]);
    assert!(output.status.success());
    assert_eq!(epochs(&told), [1, 2]);
    let (told, output) = answer("pause", &["continue", "pause"], &[]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(epochs(&told), [1, 2]);
    let (told, output) = answer("pause", &["continue"; 2], &["--resume"]);
    assert!(output.status.success());
    assert_eq!(epochs(&told), [3, 4]);
    // Two folders whose names differ behind a point are two trials.
    for name in ["deep/lr=0.1", "deep/lr=0.2"] {
        let (told, output) = answer(name, &["stop"], &[]);
        assert!(output.status.success());
        assert_eq!(epochs(&told), [1]);
    }
    assert!(folder.path().join("deep/lr=0.1.lock").exists());
    let (told, output) = answer("other", &["perhaps"], &[]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && error.contains("`perhaps`"),
        "{error}"
    );
    assert_eq!(epochs(&told), [1]);
}

#[test]
fn mistakes_in_the_values_of_a_trial_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("run");
    for (params, named) in [
        ("", "--params-json"),
        ("[1]", "--params-json"),
        ("{\"learning_rate\": 0.1", "--params-json"),
        ("{\"learning_rat\": 0.1}", "learning_rat"),
        ("{\"learning_rate\": \"fast\"}", "learning_rate"),
        ("{\"learning_rate\": null}", "learning_rate"),
        ("{\"pool\": \"least\"}", "pool"),
        ("{\"small_images\": 1}", "small_images"),
        ("{\"weights\": 3}", "weights"),
        ("{\"model\": \"resnet8\"}", "resnet8"),
    ] {
        let file = write(folder.path(), "params.json", params);
        let mut arguments = trial_arguments(text(&dir));
        arguments.extend(["--params-json", &file]);
        let error = fail(&arguments);
        assert!(error.contains(named), "{params}: {error}");
        assert!(!dir.exists(), "{params}");
    }
    let mut arguments = trial_arguments(text(&dir));
    arguments.extend(["--params-json", "nowhere.json"]);
    assert!(fail(&arguments).contains("nowhere.json"));
}

/// A folder goes on with the model that it began with, or not at all.
#[test]
fn a_trial_does_not_go_on_with_another_model() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("run");
    let begin = trial_arguments(text(&dir));
    succeed(&begin);
    let go_on = |more: &[&'static str]| [&begin[..], more, &["--resume"]].concat();
    succeed(&go_on(&[]));
    for (more, named) in [
        (&["--pool=max"][..], "pool"),
        (&["--in-channels=3"], "in_channels"),
        (&["--image-size=32"], "image_size"),
        (&["--stem-stride=1"], "stem_stride"),
        (&["--lr=0.5"], "learning_rate"),
    ] {
        let error = fail(&go_on(more));
        let expected = format!("found others of {named};");
        assert!(error.contains(&expected), "{more:?}: {error}");
    }
    let mut other = go_on(&[]);
    other[1] = "test_vit";
    let error = fail(&other);
    assert!(error.contains("found others of model;"), "{error}");
    // The check itself changes nothing.
    succeed(&go_on(&[]));
    // Nor is it lost where another command trains on.
    succeed(&["finetune", "--resume", text(&dir), "--epochs=9", "--json"]);
    let error = fail(&go_on(&["--pool=max"]));
    assert!(error.contains("pool;"), "{error}");
}

/// What a search began with stays, whatever becomes of the file.
#[test]
fn trials_share_the_configuration_of_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "space.toml", SPACE);
    let base = "recipe = 'features'\nweight_decay = 0.25\n";
    let config = write(folder.path(), "base.toml", base);
    let dir = folder.path().join("search");
    let mut arguments = search_arguments(&file, text(&dir));
    arguments.retain(|argument| *argument != "--recipe=features");
    arguments.extend(["--no-report", "--config", &config]);
    succeed(&arguments);
    std::fs::remove_file(config).unwrap();
    succeed(&["tune", "--resume", text(&dir), "--trials=6", "--no-report"]);
    let found = SearchResult::open(&dir).unwrap();
    assert_eq!(found.trials().len(), 6);
    for trial in found.trials() {
        let run = RunFiles::open(trial_folder(&dir, trial.trial)).unwrap();
        assert_eq!(run.config.recipe.weight_decay, 0.25);
    }
}

/// A reader that has seen enough, and a signal to the search alone.
#[test]
fn a_search_ends_when_it_is_asked_to_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "space.toml", SPACE);
    let dir = folder.path().join("read");
    let mut child = command(&search_arguments(&file, text(&dir)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    output.next().unwrap().unwrap();
    drop(output);
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("; the search goes on"), "{errors}");
    assert!(dir.join("best.toml").is_file() && dir.join("report.html").is_file());

    // Epochs are over in no time; the trial ends with the next one nevertheless.
    let dir = folder.path().join("asked it's");
    let mut arguments = search_arguments(&file, text(&dir));
    arguments.extend(["--epochs=2000", "--scheduler=none", "--no-report"]);
    arguments.retain(|argument| {
        !["--epochs=4", "--scheduler", "asha:max_t=4,grace=1,eta=2"].contains(argument)
    });
    let child = command(&arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !trial_folder(&dir, 0).join("log.jsonl").is_file() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{errors}");
    // The command can be copied.
    let command = format!(
        "burn-zoo tune --resume {} goes on",
        burn_zoo::shell_word(text(&dir))
    );
    assert!(errors.contains(&command), "{errors}");
    let trials = SearchResult::open(&dir).unwrap().trials().to_vec();
    assert!(
        trials.len() == 1 && trials[0].state == TrialState::Running,
        "{trials:?}"
    );
}

/// Trials find their images and weights from the folder that the search was started in.
#[test]
fn a_search_whose_folder_is_gone_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "space.toml", SPACE);
    let (started, dir) = (folder.path().join("here"), folder.path().join("search"));
    std::fs::create_dir(&started).unwrap();
    let mut search = command(&search_arguments(&file, text(&dir)));
    assert!(
        search
            .arg("--no-report")
            .current_dir(&started)
            .output()
            .unwrap()
            .status
            .success()
    );
    let events = told(&dir).len();
    // Its command is for where its files are.
    let shown = succeed(&["tune", "--resume", text(&dir), "--no-report"]);
    let go = format!("once more: cd {} && burn-zoo finetune ", text(&started));
    assert!(shown.contains(&go), "{shown}");
    std::fs::remove_dir(&started).unwrap();
    let error = fail(&["tune", "--resume", text(&dir), "--trials=6"]);
    assert!(
        error.contains(&format!("in the folder {}", text(&started))),
        "{error}"
    );
    assert_eq!(told(&dir).len(), events);
}
