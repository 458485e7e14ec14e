//! From a name to a tuned model: the manifest, the hub and the command together, against a local
//! server that speaks the hub's routes.

#[path = "../../../tests/common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "../../../tests/common/hub_server.rs"]
mod hub_server;

use std::path::Path;
use std::process::{Command, Output};

use burn_zoo::prelude::*;
use common::{Fixture, relative_error, rule, rule_model, sample};
use hub_server::{COMMIT, HubServer, sha256};
use safetensors::{Dtype, tensor::TensorView};

/// A hub with a test_resnet whose values follow the rule, in the repository `me/mine`, and a
/// manifest of the user's that names it `test_resnet.mine`.
struct World {
    dir: tempfile::TempDir,
    server: HubServer,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("model");
        let spec = Zoo::test_resnet().image_size(64);
        let spec = spec.normalization(Normalization::inception());
        rule_model(spec, &Device::default())
            .export(&folder)
            .unwrap();
        let weights = std::fs::read(folder.join("model.safetensors")).unwrap();
        let config = std::fs::read(folder.join("config.json")).unwrap();
        let server = HubServer::start(b"another model");
        server.put("me/mine", "model.safetensors", &weights, true);
        server.put("me/mine", "config.json", &config, false);
        let world = Self { dir, server };
        world.manifest(&sha256(&weights), weights.len(), "cc-by-nc-4.0");
        world
    }

    fn manifest(&self, sha256: &str, bytes: usize, licence: &str) {
        let text = format!(
            "[test_resnet.mine]\nrepository = \"me/mine\"\nfile = \"model.safetensors\"\n\
             revision = \"{COMMIT}\"\nsha256 = \"{sha256}\"\nbytes = {bytes}\n\
             licence = \"{licence}\"\ninput_size = [3, 64, 64]\nmean = [0.5, 0.5, 0.5]\n\
             std = [0.5, 0.5, 0.5]\ninterpolation = \"bilinear\"\ncrop_pct = 0.95\n\
             crop_mode = \"center\"\nnum_classes = 1000\nfirst_conv = \"conv1.0\"\n\
             classifier = \"fc\"\nlicence_source = \"default of timm's _cfg\"\n"
        );
        std::fs::write(self.dir.path().join("mine.toml"), text).unwrap();
    }

    fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_burn-zoo"))
            .args(arguments)
            .current_dir(self.dir.path())
            .env("HF_ENDPOINT", &self.server.url)
            .env("HF_HOME", self.dir.path().join("hf"))
            .env("NO_PROXY", "127.0.0.1")
            .env_remove("HF_HUB_CACHE")
            .env_remove("HF_HUB_OFFLINE")
            .env_remove("HF_TOKEN")
            .env("BURN_ZOO_MANIFEST", self.dir.path().join("mine.toml"))
            .envs(environment.iter().copied())
            .output()
            .unwrap()
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> (String, String) {
        let output = self.command(arguments, environment);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (out, errors) = (text(output.stdout), text(output.stderr));
        assert!(output.status.success(), "{arguments:?}: {out}{errors}");
        (out, errors)
    }

    fn fail(&self, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let output = self.command(arguments, environment);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
        errors
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn input(&self, channels: usize) -> String {
        let path = self.path("in.safetensors");
        let shape = vec![1, channels, 64, 64];
        let values = rule("input", &shape);
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, shape, &bytes).unwrap();
        std::fs::write(
            &path,
            safetensors::serialize([("input", view)], None).unwrap(),
        )
        .unwrap();
        path
    }
}

/// An image of the fixtures.
fn some_png() -> std::path::PathBuf {
    let images = std::fs::read_dir(common::fixture("pixels"))
        .unwrap()
        .flatten();
    let mut images = images.map(|entry| entry.path());
    images
        .find(|path| path.extension().is_some_and(|e| e == "png"))
        .unwrap()
}

fn logits(path: &str) -> Vec<f32> {
    Fixture::open(path).get("logits").to_vec()
}

#[test]
fn a_name_becomes_a_verified_file_and_needs_the_network_once() {
    let world = World::new();
    let (out, errors) = world.run(&["fetch", "test_resnet.mine"], &[]);
    assert!(
        out.starts_with("test_resnet.mine: ") && out.contains("models--me--mine"),
        "{out}"
    );
    // The licence is shown before anything is fetched.
    assert!(
        errors.contains("licence cc-by-nc-4.0, which forbids commercial use"),
        "{errors}"
    );
    assert!(!world.server.seen().is_empty());

    let input = world.input(3);
    let output = world.path("out.safetensors");
    let files = ["--input", &input, "--output", &output, "--overwrite"];
    let expected = Fixture::open("parity/test_resnet.safetensors");
    let arguments = [
        &["logits", "test_resnet.mine"][..],
        &["logits", "test_resnet", "--weights", "hub:mine"],
        &["logits", "test_resnet.mine", "--weights", "hub"],
    ];
    for arguments in arguments {
        for offline in ["0", "1"] {
            std::fs::remove_file(&output).ok();
            world.run(
                &[arguments, &files].concat(),
                &[("HF_HUB_OFFLINE", offline)],
            );
            let found = sample(&logits(&output), 64);
            let error = relative_error(&found, expected.get("c3.s64.logits"));
            assert!(error < 2e-5, "off by {error:e}");
        }
    }
    let image = some_png();
    let image = image.to_str().unwrap();
    for weights in [
        &["test_resnet.mine", image][..],
        &["test_resnet", image, "--weights", "hub:mine"],
    ] {
        let (out, _) = world.run(&[&["predict"], weights, &["--top-k", "2"]].concat(), &[]);
        assert_eq!(out.lines().count(), 2, "{out}");
    }
    let error = world.fail(&["predict", "test_resnet", image], &[]);
    assert!(
        error.contains("--weights: expected hub, hub:TAG or a file"),
        "{error}"
    );
    assert_eq!(
        world.server.seen().len(),
        0,
        "a cached file needs no request"
    );

    // A file that was altered is noticed and not used.
    let (listed, _) = world.run(&["cache", "list"], &[]);
    assert!(
        listed.contains("me/mine") && listed.contains("yes"),
        "{listed}"
    );
    let (sound, _) = world.run(&["verify"], &[]);
    assert!(sound.ends_with(" files\n"), "{sound}");
    let snapshot = format!("hf/hub/models--me--mine/snapshots/{COMMIT}/model.safetensors");
    let blob = std::fs::canonicalize(world.dir.path().join(snapshot)).unwrap();
    let mut bytes = std::fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let offline = [("HF_HUB_OFFLINE", "1")];
    let error = world.fail(&[arguments[0], &files].concat(), &offline);
    assert!(
        error.contains("me/mine") && error.to_lowercase().contains("sha-256"),
        "{error}"
    );
    assert!(world.fail(&["verify"], &[]).contains("1 of "), "altered");
    // Online it is fetched anew, and that is told.
    let (_, errors) = world.run(&["fetch", "test_resnet.mine"], &[]);
    assert!(errors.contains("the cached file was altered"), "{errors}");

    let (removed, _) = world.run(&["cache", "rm", "test_resnet.mine"], &[]);
    assert!(removed.contains("files, "), "{removed}");
    let (empty, _) = world.run(&["verify"], &[]);
    assert!(empty.starts_with("nothing is cached in "), "{empty}");
    let error = world.fail(&[arguments[0], &files].concat(), &offline);
    assert!(error.contains("HF_HUB_OFFLINE"), "{error}");
}

#[test]
fn wrong_bytes_are_refused_with_both_checksums() {
    let world = World::new();
    let other = "0".repeat(64);
    world.manifest(&other, 1_912_345, "mit");
    let error = world.fail(&["fetch", "test_resnet.mine"], &[]);
    assert!(error.contains("me/mine"), "{error}");
    assert!(
        error.contains("1912345") || error.contains(&other),
        "{error}"
    );
    let (listed, _) = world.run(&["cache", "list"], &[]);
    assert!(listed.starts_with("nothing is cached"), "{listed}");
}

#[test]
fn a_repository_says_itself_what_it_holds() {
    let world = World::new();
    let input = world.input(3);
    let output = world.path("out.safetensors");
    let files = ["--input", &input, "--output", &output, "--overwrite"];
    let expected = Fixture::open("parity/test_resnet.safetensors");
    // The licence that a repository's configuration names is shown, too.
    let config = world.path("model/config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replacen(
        "\"pretrained_cfg\": {",
        "\"pretrained_cfg\": {\"license\": \"cc-by-nc-4.0\",",
        1,
    );
    world
        .server
        .put("me/unfree", "config.json", text.as_bytes(), false);
    let (_, errors) = world.run(&["info", "hf-hub:me/unfree"], &[]);
    assert!(
        errors.contains("licence cc-by-nc-4.0, which forbids commercial use"),
        "{errors}"
    );

    for name in ["hf-hub:me/mine", &format!("hf-hub:me/mine@{COMMIT}")] {
        for weights in [&[][..], &["--weights", "hub"]] {
            world.run(&[&["logits", name][..], weights, &files].concat(), &[]);
            let found = sample(&logits(&output), 64);
            let error = relative_error(&found, expected.get("c3.s64.logits"));
            assert!(error < 2e-5, "off by {error:e}");
        }
    }
    let local = format!("local-dir:{}", world.path("model"));
    world.run(&[&["logits", &local][..], &files].concat(), &[]);
    let error = relative_error(&sample(&logits(&output), 64), expected.get("c3.s64.logits"));
    assert!(error < 2e-5, "off by {error:e}");

    let error = world.fail(
        &[&["logits", "hf-hub:me/nothing"][..], &files].concat(),
        &[],
    );
    assert!(error.contains("me/nothing"), "{error}");
    let error = world.fail(&[&["logits", "hf-hub:../../etc"][..], &files].concat(), &[]);
    assert!(error.contains("expected"), "{error}");
}

/// The names of the classes come with the weights, and stay while the head does.
#[test]
fn the_classes_of_a_repository_have_names() {
    let world = World::new();
    let folder = world.dir.path().join("named");
    let names = ["cat", "dog", "eel"].map(str::to_owned).to_vec();
    let model = rule_model(
        Zoo::test_resnet().num_classes(3).image_size(64),
        &Device::default(),
    );
    model.with_classes(names).unwrap().export(&folder).unwrap();
    for (file, large) in [("model.safetensors", true), ("config.json", false)] {
        let bytes = std::fs::read(folder.join(file)).unwrap();
        world.server.put("me/named", file, &bytes, large);
    }
    let image = some_png();
    let local = format!("local-dir:{}", folder.display());
    // Upstream's own file is known of an entry of the manifest only.
    let error = world.fail(&["fetch", "--original", "hf-hub:me/named"], &[]);
    assert!(
        error.contains("--original") && error.contains("hf-hub:me/named"),
        "{error}"
    );
    for name in ["hf-hub:me/named", &local] {
        let (out, _) = world.run(&["predict", name, image.to_str().unwrap()], &[]);
        assert!(
            ["cat", "dog", "eel"].iter().all(|name| out.contains(name)),
            "{out}"
        );
    }
}

/// What a configuration leaves open is told with what it is taken to be.
#[test]
fn what_a_configuration_leaves_open_is_told() {
    let world = World::new();
    let folder = world.dir.path().join("model");
    let path = folder.join("config.json");
    let mut config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let local = format!("local-dir:{}", folder.display());
    let (_, errors) = world.run(&["fetch", &local], &[]);
    assert!(!errors.contains("is not given"), "{errors}");
    for key in ["mean", "std"] {
        config["pretrained_cfg"]
            .as_object_mut()
            .unwrap()
            .remove(key);
    }
    std::fs::write(&path, config.to_string()).unwrap();
    let (_, errors) = world.run(&["fetch", &local], &[]);
    for key in ["mean", "std"] {
        let words = format!("config.json: {key} is not given: ImageNet's");
        assert!(errors.contains(&words), "{errors}");
    }
}

/// Upstream's own file, verified by the hash prefix in its name.
#[test]
fn the_original_is_a_second_source() {
    let world = World::new();
    let bytes = std::fs::read(world.dir.path().join("model/model.safetensors")).unwrap();
    let prefix = &sha256(&bytes)[..8];
    let name = format!("test_resnet-{prefix}.pth");
    world.server.put("me/mine", &name, &bytes, false);
    let path = world.path("mine.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let url = format!("{}/me/mine/resolve/main/{name}", world.server.url);
    let with = |url: &str, prefix: &str| {
        let more = format!("url = \"{url}\"\nurl_sha256_prefix = \"{prefix}\"\n");
        std::fs::write(&path, format!("{text}{more}")).unwrap();
    };
    let cache = world.path("cache");
    let environment = [("BURN_ZOO_CACHE", cache.as_str())];
    let fetch = ["fetch", "test_resnet.mine", "--original"];

    // Wrong bytes: both sides are named, and nothing is left behind.
    with(&url, "00000000");
    let error = world.fail(&fetch, &environment);
    let expected = "expected a SHA-256 that begins with 00000000, as the file's name says, found ";
    assert!(
        error.contains(expected) && error.contains(prefix),
        "{error}"
    );
    let left = std::fs::read_dir(Path::new(&cache).join("weights"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
    with(
        &format!("{}/me/mine/resolve/main/gone.pth", world.server.url),
        prefix,
    );
    assert!(
        world
            .fail(&fetch, &environment)
            .contains("the server answered 404")
    );

    with(&url, prefix);
    let (out, _) = world.run(&fetch, &environment);
    assert!(out.contains(&name), "{out}");
    world.server.seen();
    let input = world.input(3);
    let output = world.path("out.safetensors");
    let logits_of = ["--input", &input, "--output", &output];
    let arguments = ["logits", "test_resnet", "--weights", "original:mine"];
    world.run(&[&arguments[..], &logits_of].concat(), &environment);
    let expected = Fixture::open("parity/test_resnet.safetensors");
    let error = relative_error(&sample(&logits(&output), 64), expected.get("c3.s64.logits"));
    assert!(error < 2e-5, "off by {error:e}");
    assert_eq!(
        world.server.seen().len(),
        0,
        "a cached file needs no request"
    );

    // An altered one is fetched anew; without a network it is an error.
    let cached = Path::new(&cache).join("weights").join(&name);
    std::fs::write(&cached, "altered").unwrap();
    let offline = [environment[0], ("HF_HUB_OFFLINE", "1")];
    assert!(world.fail(&fetch, &offline).contains("HF_HUB_OFFLINE"));
    world.run(&fetch, &environment);
    assert_eq!(std::fs::read(&cached).unwrap(), bytes);

    // An address may be the only source; no flag asks for it then.
    let of_repository = ["repository", "file", "revision", "sha256", "bytes"];
    let is_left = |line: &&str| !of_repository.iter().any(|key| line.starts_with(key));
    let rest: Vec<&str> = text.lines().filter(is_left).collect();
    let alone = |bytes: usize| {
        let rest = rest.join("\n");
        let source = format!("url = \"{url}\"\nurl_sha256_prefix = \"{prefix}\"");
        std::fs::write(&path, format!("{rest}\n{source}\nbytes = {bytes}\n")).unwrap();
    };
    alone(bytes.len());
    std::fs::remove_file(&cached).unwrap();
    let (out, _) = world.run(&["fetch", "test_resnet.mine"], &environment);
    assert!(out.contains(&name), "{out}");
    assert_eq!(std::fs::read(&cached).unwrap(), bytes);
    alone(bytes.len() + 1);
    let error = world.fail(&["fetch", "test_resnet.mine"], &offline);
    assert!(error.contains("expected a size of"), "{error}");
}

/// Images that nobody asked to resize stay as they are when a run is repeated, whatever part of an image these
/// weights were judged by.
#[test]
fn a_run_is_repeated_from_its_configuration() {
    let world = World::new();
    let losses = |out: &str, more: &[&str]| {
        let mut arguments = vec![
            "finetune",
            "test_resnet.mine",
            "--data",
            "fashion-mnist-mini",
            "--out",
            out,
        ];
        arguments.extend(more);
        world.run(&arguments, &[]);
        let log = std::fs::read_to_string(Path::new(out).join("log.jsonl")).unwrap();
        let epoch: serde_json::Value = serde_json::from_str(&log).unwrap();
        [epoch["train_loss"].clone(), epoch["valid_loss"].clone()]
    };
    let [first, second] = ["first", "second"].map(|name| world.path(name));
    let limits = ["--limit-train", "64", "--limit-test", "50"];
    let own = losses(&first, &[&["--epochs", "1"], &limits[..]].concat());
    let config = Path::new(&first).join("config.toml");
    let repeated = losses(
        &second,
        &[&["--config", config.to_str().unwrap()], &limits[..]].concat(),
    );
    assert_eq!(own, repeated);
}

#[test]
fn fetched_weights_are_adapted_and_tuned() {
    let world = World::new();
    let out = world.path("run");
    let arguments = [
        "finetune",
        "test_resnet.mine",
        "--recipe",
        "features",
        "--image-size",
        "64",
        "--limit-train",
        "64",
        "--limit-test",
        "50",
        "--epochs",
        "1",
        "--out",
        &out,
    ];
    world.run(&arguments, &[]);
    let config = std::fs::read_to_string(Path::new(&out).join("config.toml")).unwrap();
    let config: toml::Table = config.parse().unwrap();
    let origin = config["model"]["weights"].as_str().unwrap();
    assert_eq!(
        origin,
        "test_resnet.mine (licence cc-by-nc-4.0, no commercial use); first convolution from 3 to 1 channels: fold; \
         new head of 10 classes: pytorch (seed 42)"
    );
    // The normalisation of the entry, folded to one channel, goes with the model.
    let mean = config["model"]["normalization"]["mean"].as_array().unwrap();
    assert_eq!(mean, &[toml::Value::Float(0.5)]);
    let exported = std::fs::read_to_string(Path::new(&out).join("best/config.json")).unwrap();
    let exported: serde_json::Value = serde_json::from_str(&exported).unwrap();
    assert_eq!(exported["pretrained_cfg"]["interpolation"], "bilinear");
    assert_eq!(exported["pretrained_cfg"]["crop_pct"], 0.95);
    // So does their licence: into the model card, and on from folder to folder.
    let mark = "licence of the weights that it started from: cc-by-nc-4.0, no commercial use (default of \
                timm's _cfg; upstream does not state it for these weights themselves)\n";
    assert_eq!(exported["license_source"], "default of timm's _cfg");
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    assert!(read(&format!("{out}/best/README.md")).contains(mark));
    let folder = world.path("exported");
    let (_, errors) = world.run(&["export", &out, &folder], &[]);
    assert!(
        errors.contains("licence cc-by-nc-4.0, which forbids commercial use"),
        "{errors}"
    );
    assert!(read(&format!("{folder}/README.md")).contains(mark));
    let (_, errors) = world.run(&["info", &folder], &[]);
    assert!(
        errors.contains("licence cc-by-nc-4.0, which forbids commercial use"),
        "{errors}"
    );
}

#[test]
fn the_manifest_is_listed_and_checked() {
    let world = World::new();
    let (out, _) = world.run(&["list", "test_resnet.*"], &[]);
    assert!(
        out.contains("test_resnet.r160_in1k *") && out.contains("no commercial use"),
        "{out}"
    );
    let (out, _) = world.run(&["list", "--check"], &[]);
    assert!(out.ends_with(" entries, all sound\n"), "{out}");
    let path = world.path("mine.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    // That nobody has stated a licence is said, too.
    let stated = |line: &&str| !line.starts_with("licence");
    let silent = Vec::from_iter(text.lines().filter(stated)).join("\n");
    std::fs::write(&path, silent).unwrap();
    let (_, errors) = world.run(&["info", "test_resnet.mine"], &[]);
    assert!(
        errors.contains("licence unknown, so that nobody knows what they may be used for"),
        "{errors}"
    );
    std::fs::write(&path, text.replace("crop_pct = 0.95", "crop_pct = 95")).unwrap();
    let error = world.fail(&["list", "--check"], &[]);
    assert!(
        error.contains("mine.toml") && error.contains("line 12"),
        "{error}"
    );
    let error = world.fail(&["fetch", "resnet18.tv9"], &[]);
    assert!(
        error.contains("mine.toml"),
        "a broken manifest is named first: {error}"
    );
}

/// A run goes to the hub and comes back from there; nobody reads the token.
#[test]
fn a_run_is_pushed_with_its_card() {
    const TOKEN: &str = "hf_secretSECRETsecret";
    let world = World::new();
    let out = world.path("run");
    let arguments = [
        "finetune",
        "test_resnet.mine",
        "--recipe",
        "features",
        "--image-size",
        "64",
        "--limit-train",
        "64",
        "--limit-test",
        "50",
        "--epochs",
        "1",
        "--test",
        "--out",
        &out,
    ];
    world.run(&arguments, &[]);
    let token = [("HF_TOKEN", TOKEN)];
    let safe = |(out, errors): (String, String)| {
        assert!(
            !out.contains(TOKEN) && !errors.contains(TOKEN),
            "{out}{errors}"
        );
        (out, errors)
    };

    // A dry run needs no token and makes no request.
    world.server.seen();
    let dry = ["push", &out, "me/tuned", "--private", "--dry-run"];
    let (text, _) = world.run(&dry, &[]);
    for expected in [
        "model.safetensors",
        "LFS",
        "/me/tuned, branch main",
        "library_name: timm",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    let (text, _) = world.run(&[&dry[..], &["--json"]].concat(), &[]);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["private"], true);
    assert_eq!(document["files"][0]["path"], "model.safetensors");
    assert_eq!(document["files"][0]["large"], true);
    assert!(world.server.seen().is_empty());
    let error = world.fail(&["push", &out, "me/tuned"], &[]);
    assert!(
        error.contains("HF_TOKEN") && error.contains("the right to write"),
        "{error}"
    );

    let (text, _) = safe(world.run(&["push", &out, "me/tuned", "--private"], &token));
    assert!(
        text.contains("created the private repository me/tuned"),
        "{text}"
    );
    let files = world.server.written(|written| {
        let repository = &written.repositories["me/tuned"];
        assert!(repository.private);
        repository.branches["main"].files.clone()
    });
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            ".gitattributes",
            "README.md",
            "config.json",
            "confusion.svg",
            "curves.svg",
            "model.safetensors",
            "recipe.toml"
        ]
    );
    let best = std::fs::read(format!("{out}/best/model.safetensors")).unwrap();
    assert_eq!(files["model.safetensors"], best);
    let card = String::from_utf8(files["README.md"].clone()).unwrap();
    for expected in [
        "license: cc-by-nc-4.0\nbase_model: me/mine\nbase_model_relation: finetune\n",
        "datasets:\n- zalando-datasets/fashion_mnist\n",
        "      split: validation\n",
        "      split: test\n",
        "![Confusion matrix of the validation images](confusion.svg)",
        "burn-zoo finetune test_resnet.mine --config recipe.toml",
        "timm.create_model(\"hf-hub:me/tuned\", pretrained=True)",
    ] {
        assert!(card.contains(expected), "{expected}: {card}");
    }
    assert!(!card.contains(world.dir.path().to_str().unwrap()), "{card}");

    // Once more: no commit. Then as an exported folder, with files that are nobody's business.
    let (text, _) = safe(world.run(&["push", &out, "me/tuned"], &token));
    assert!(text.contains("no commit was made"), "{text}");
    let folder = world.path("exported");
    world.run(&["export", &out, &folder], &[]);
    std::fs::write(format!("{folder}/notes.txt"), "mine").unwrap();
    let (text, errors) = safe(world.run(
        &["push", &folder, "me/tuned", "--private", "--json"],
        &token,
    ));
    assert!(errors.contains("notes.txt"), "{errors}");
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["commit"], serde_json::Value::Null, "{text}");
    assert_eq!(document["private"], true);
    let (_, errors) = safe(world.run(&["push", &folder, "me/tuned", "--revision", "next"], &token));
    assert!(errors.contains("exported folder"), "{errors}");
    world.server.written(|written| {
        assert_eq!(written.commits, 2);
        let next = &written.repositories["me/tuned"].branches["next"];
        let card = String::from_utf8(next.files["README.md"].clone()).unwrap();
        assert!(card.contains("hf-hub:me/tuned@next"));
    });

    // A network for other runtimes has the origin of the run, from its folder or from an exported one.
    let network = world.path("model.onnx");
    let home = world.dir.path().to_str().unwrap();
    for (from, expected) in [
        (&out, "test_resnet.mine (licence cc-by-nc-4.0"),
        (&folder, "test_resnet.mine (licence cc-by-nc-4.0"),
    ] {
        world.run(&["export", from, &network, "--overwrite"], &[]);
        let bytes = std::fs::read(&network).unwrap();
        let holds = |text: &str| {
            let mut parts = bytes.windows(text.len());
            parts.any(|part| part == text.as_bytes())
        };
        assert!(holds(expected) && !holds(home), "{from}");
    }

    // What shall be private is not sent where everybody sees it.
    world.server.written(|written| {
        let repository = written.repositories.get_mut("me/tuned").unwrap();
        repository.private = false;
    });
    let error = world.fail(&["push", &out, "me/tuned", "--private"], &token);
    assert!(error.contains("expected a private repository"), "{error}");

    // A card that is made is shown, without pictures that it does not have; weights that are none are not sent.
    std::fs::remove_file(format!("{folder}/README.md")).unwrap();
    let (text, errors) = world.run(&["push", &folder, "me/tuned", "--dry-run"], &[]);
    assert!(errors.contains("one is made"), "{errors}");
    assert!(text.contains("library_name: timm"), "{text}");
    assert!(!text.contains("curves.svg"), "{text}");
    world.server.seen();
    std::fs::write(format!("{folder}/model.safetensors"), "none").unwrap();
    let error = world.fail(&["push", &folder, "me/tuned"], &token);
    assert!(error.contains("model.safetensors"), "{error}");
    assert!(world.server.seen().is_empty());

    // The server repeats the token, and still nobody reads it.
    world.server.before(|seen| {
        let body = format!(
            "{{\"error\": \"{} may not\"}}",
            seen.headers["authorization"]
        );
        Some(hub_server::Answer::new(403, body))
    });
    let output = world.command(&["push", &out, "me/other"], &token);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors.contains("refuses it (403)") && !errors.contains(TOKEN),
        "{errors}"
    );
    world.server.heal();
    for (arguments, expected) in [
        (["push", &out, "tuned"], "expected owner/name"),
        (["push", "nowhere", "me/tuned"], "no such folder"),
        (
            ["push", world.dir.path().to_str().unwrap(), "me/tuned"],
            "expected best/ or config.json",
        ),
    ] {
        let error = world.fail(&arguments, &token);
        assert!(error.contains(expected), "{error}");
    }
}

/// A repository may have one of two files: which one is found out once, and a branch stays where it was.
#[test]
fn a_cached_file_is_found_under_either_name() {
    let world = World::new();
    let config = std::fs::read(world.path("model/config.json")).unwrap();
    world
        .server
        .put("me/binonly", "config.json", &config, false);
    world
        .server
        .put("me/binonly", "pytorch_model.bin", b"weights", true);
    let fetch = ["fetch", "hf-hub:me/binonly"];
    let (out, _) = world.run(&fetch, &[]);
    assert!(out.contains("pytorch_model.bin"), "{out}");
    world.server.seen();
    let (again, _) = world.run(&fetch, &[]);
    assert_eq!(again, out);
    assert!(world.server.seen().is_empty());
    // Python, which asked for no other file, has left no word of one.
    let repository = world.dir.path().join("hf/hub/models--me--binonly");
    std::fs::remove_dir_all(repository.join(".no_exist")).unwrap();
    let (offline, _) = world.run(&fetch, &[("HF_HUB_OFFLINE", "1")]);
    assert_eq!(offline, out);

    // What takes room beside the files is told, and goes with them, by the name that `fetch` takes.
    let partial = repository.join(".burn-zoo/partial");
    std::fs::create_dir_all(&partial).unwrap();
    std::fs::write(partial.join("x"), [0; 2048]).unwrap();
    let (_, errors) = world.run(&["cache", "list"], &[]);
    assert!(errors.contains("me/binonly: 2.00 KiB beside"), "{errors}");
    world.run(&["cache", "rm", "hf-hub:me/binonly@main"], &[]);
    assert!(!repository.exists());
}

/// A token that no header can hold is told with the file that has it.
#[test]
fn a_broken_token_is_told_with_its_file() {
    let world = World::new();
    let file = world.dir.path().join("hf/token");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "hf_bad token").unwrap();
    let error = world.fail(&["fetch", "hf-hub:me/mine"], &[]);
    assert!(
        error.contains(&format!("found others in {}", file.display())),
        "{error}"
    );
    assert!(!error.contains("hf_bad"), "{error}");
}
