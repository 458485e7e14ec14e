//! The manifest: what comes with the crate is sound, and whatever is malformed is refused by file,
//! line and key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::preprocess::{CropMode, Interpolation};
use crate::weights::manifest::entry::{Entry, Pin};
use crate::weights::manifest::{
    HubModel, Manifest, Source, Terms, USER_FILE, USER_VARIABLE, licence_in_words, non_commercial,
};
use crate::{Error, zoo};

fn bundled() -> Manifest {
    Manifest::bundled().unwrap()
}

fn hub(entry: &Entry) -> (&str, Option<&str>, Option<&Pin<String>>) {
    match &entry.source {
        Source::Hub {
            repository,
            file,
            revision,
        } => (repository, file.as_deref(), revision.as_ref()),
        other => panic!("{}: {other:?}", entry.name),
    }
}

/// Tags of timm that are left out, and why the heads of their files say.
fn is_left_out(architecture: &str, tag: &str) -> bool {
    let made_for_quick_gelu = ["openai", "metaclip_2pt5b", "metaclip_400m", "laion400m_e32"];
    let is_clip = architecture.contains("_clip_") && !architecture.contains("quickgelu");
    let is_gelu = architecture.contains("patch16") && tag == "laion400m_e32";
    architecture.starts_with("convnextv2_") && tag == "fcmae"
        || is_clip && made_for_quick_gelu.contains(&tag) && !is_gelu
}

fn fixture(name: &str) -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    serde_json::from_slice(&std::fs::read(path.join(name)).unwrap()).unwrap()
}

/// timm's tags, their default and their licences.
#[test]
fn every_architecture_has_timms_tags_and_licences() {
    let manifest = bundled();
    let mut read: Vec<PathBuf> = manifest.entries().map(|e| e.place.path.clone()).collect();
    read.dedup();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights-manifest");
    let files = folder.read_dir().unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|file| file.extension().is_some_and(|e| e == "toml"));
    assert_eq!(files.count(), read.len());

    let timm = fixture("architectures.json");
    let mut count = 0;
    for architecture in zoo::architectures() {
        let name = architecture.name;
        let tags = timm["models"][name]["tags"].as_object().unwrap();
        let expected: BTreeMap<&str, Option<&str>> = tags
            .iter()
            .map(|(tag, licence)| (tag.as_str(), licence.as_str()))
            .filter(|(tag, _)| !is_left_out(name, tag))
            .collect();
        let entries = manifest
            .tags(name)
            .filter(|entry| entry.repository().is_some());
        let found = entries.map(|entry| (entry.tag(), entry.licence.as_deref()));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected, "{name}");
        count += manifest.tags(name).count();
        if let Some(tag) = timm["models"][name]["default_tag"].as_str()
            && !is_left_out(name, tag)
        {
            assert_eq!(manifest.get(name).unwrap().tag(), tag, "{name}");
        }
    }
    assert_eq!(
        manifest.entries().count(),
        count,
        "entries of no architecture"
    );
}

/// The records of `pins.json`: the value, and whether independent ones agree.
#[test]
fn only_what_is_recorded_is_pinned() {
    let recorded = fixture("pins.json");
    for entry in bundled().entries() {
        // tests/bundled.rs compares it with the file itself; a file that others wrote has an address.
        if !matches!(entry.source, Source::Hub { .. }) {
            continue;
        }
        let (repository, file, revision) = hub(entry);
        let Some(upstream) = repository.strip_prefix("timm/") else {
            assert!(revision.is_none() && entry.sha256.is_none(), "{repository}");
            continue;
        };
        // CLIP's towers with quick GELU have the files of those without.
        assert_eq!(upstream, entry.name.replace("_quickgelu", ""));
        let record = &recorded[upstream];
        let text = |key: &str| {
            let value = record[key][0].as_str()?.to_owned();
            Some(pin((value, record[key][1] == true)))
        };
        let bytes = record["bytes"][0].as_u64();
        let bytes = bytes.map(|bytes| pin((bytes, record["bytes"][1] == true)));
        assert_eq!(file, record["file"].as_str(), "{}", entry.name);
        assert_eq!(revision, text("revision").as_ref(), "{}", entry.name);
        assert_eq!(entry.sha256, text("sha256"), "{}", entry.name);
        assert_eq!(entry.bytes, bytes, "{}", entry.name);
    }
}

fn pin<T>((value, confirmed): (T, bool)) -> Pin<T> {
    if confirmed {
        Pin::Confirmed(value)
    } else {
        Pin::Hint(value)
    }
}

#[test]
fn a_hint_confirms_nothing() {
    let manifest = bundled();
    let sha256 = |name| manifest.get(name).unwrap().sha256.clone().unwrap();
    assert_eq!(sha256("resnet34.tv_in1k").confirmed(), None);
    assert!(sha256("resnet34.tv_in1k").value().starts_with("0bb82595"));
    assert!(sha256("resnet18").confirmed().is_some());
}

#[test]
fn what_is_published_of_an_entry_is_all_there() {
    let manifest = bundled();
    let entry = manifest.get("resnet18.a1_in1k").unwrap();
    let original = entry.original.as_ref().unwrap();
    assert_eq!(original.file_name(), "resnet18_a1_0-d63eafa0.pth");
    assert_eq!(original.sha256_prefix.as_deref(), Some("d63eafa0"));
    assert_eq!(entry.licence.as_deref(), Some("apache-2.0"));
    assert_eq!(
        entry.licence_source.as_deref(),
        Some("default of timm's _rcfg")
    );
    assert_eq!(entry.papers, ["arXiv:2110.00476"]);
    assert_eq!(entry.num_classes, 1000);
    assert_eq!(entry.first_conv, ["conv1"]);
    assert_eq!(entry.classifier, ["fc"]);
    let data = &entry.data;
    assert_eq!(data.input_size, [3, 224, 224]);
    assert_eq!(data.mean, [0.485, 0.456, 0.406]);
    assert_eq!(data.std, [0.229, 0.224, 0.225]);
    assert_eq!(data.interpolation, Interpolation::Bicubic);
    assert_eq!((data.crop_pct, data.crop_mode), (0.95, CropMode::Center));
    assert!(!data.fixed_input_size);
    let test = data.at_test_size();
    assert_eq!((test.input_size, test.crop_pct), ([3, 288, 288], 1.0));
    let results: Vec<_> = entry
        .results
        .iter()
        .map(|r| (r.size, r.top1, r.top5, r.crop_pct))
        .collect();
    assert_eq!(
        results,
        [
            (224, 71.504, 90.086, Some(0.95)),
            (288, 73.164, 91.054, Some(1.0))
        ]
    );
    assert_eq!(entry.results[0].interpolation, Some(Interpolation::Bicubic));

    // Preprocessing belongs to the weights, not to the architecture.
    let other = manifest.get("resnet18.tv_in1k").unwrap();
    assert_eq!(other.licence.as_deref(), Some("bsd-3-clause"));
    assert_eq!(other.licence_source, None);
    assert_eq!(other.data.interpolation, Interpolation::Bilinear);
    assert_eq!(other.data.at_test_size(), other.data);
    let dino = manifest.get("vit_small_patch16_224.dino").unwrap();
    assert_eq!((dino.num_classes, dino.results.len()), (0, 0));
    assert!(dino.data.fixed_input_size);
    let address = dino.original.as_ref().unwrap();
    assert_eq!(address.sha256_prefix, None);
}

#[test]
fn torchvisions_addresses_are_a_second_source() {
    let files = [
        ("resnet18.tv_in1k", "resnet18-f37072fd.pth"),
        ("resnet34.tv_in1k", "resnet34-b627a593.pth"),
        ("resnet50.tv_in1k", "resnet50-0676ba61.pth"),
        ("resnet50.tv2_in1k", "resnet50-11ad3fa6.pth"),
        ("resnet101.tv_in1k", "resnet101-63fe2227.pth"),
        ("resnet101.tv2_in1k", "resnet101-cd907fc2.pth"),
        ("resnet152.tv_in1k", "resnet152-394f9c45.pth"),
        ("resnet152.tv2_in1k", "resnet152-f82ba261.pth"),
        ("resnext50_32x4d.tv_in1k", "resnext50_32x4d-7cdf4587.pth"),
        ("resnext50_32x4d.tv2_in1k", "resnext50_32x4d-1a0047aa.pth"),
        ("wide_resnet50_2.tv_in1k", "wide_resnet50_2-95faca4d.pth"),
        ("wide_resnet50_2.tv2_in1k", "wide_resnet50_2-9ba9bcbe.pth"),
        ("vgg11.tv_in1k", "vgg11-8a719046.pth"),
        ("vgg13.tv_in1k", "vgg13-19584684.pth"),
        ("vgg16.tv_in1k", "vgg16-397923af.pth"),
        ("vgg19.tv_in1k", "vgg19-dcbb9e9d.pth"),
        ("vgg11_bn.tv_in1k", "vgg11_bn-6002323d.pth"),
        ("vgg13_bn.tv_in1k", "vgg13_bn-abd245e5.pth"),
        ("vgg16_bn.tv_in1k", "vgg16_bn-6c64b313.pth"),
        ("vgg19_bn.tv_in1k", "vgg19_bn-c79401a0.pth"),
    ];
    let manifest = bundled();
    for (name, file) in files {
        let entry = manifest.get(name).unwrap();
        let original = entry.original.as_ref().unwrap();
        assert_eq!(
            original.url,
            format!("https://download.pytorch.org/models/{file}")
        );
        assert_eq!(original.file_name(), file);
        let prefix = original.sha256_prefix.as_ref().unwrap();
        assert!(file.ends_with(&format!("-{prefix}.pth")), "{name}");
    }
    for entry in manifest.find("*.tv*") {
        let upstream = "https://download.pytorch.org/models/";
        let original = entry.original.as_ref();
        assert!(
            original.is_none_or(|it| it.url.starts_with(upstream)),
            "{}",
            entry.name
        );
    }
    // Whatever prefix is stated is the one in the file's name.
    let mut without = 0;
    for entry in manifest.entries() {
        let Some(original) = &entry.original else {
            continue;
        };
        match &original.sha256_prefix {
            Some(prefix) => assert!(original.file_name().ends_with(&format!("-{prefix}.pth"))),
            // Nothing to verify it with: such a file is not fetched.
            None => without += 1,
        }
    }
    assert!(without > 0);
}

#[test]
fn licences_that_forbid_commercial_use_are_known() {
    let manifest = bundled();
    let forbidden: Vec<&str> = manifest
        .entries()
        .filter(|entry| entry.non_commercial())
        .map(|entry| entry.name.as_str())
        .collect();
    let expected = manifest.entries().filter(|entry| {
        let forbids = [
            "cc-by-nc-4.0",
            "fair-noncommercial-research-license",
            "apple-amlr",
        ];
        entry
            .licence
            .as_deref()
            .is_some_and(|licence| forbids.contains(&licence))
    });
    let expected: Vec<&str> = expected.map(|entry| entry.name.as_str()).collect();
    assert_eq!(forbidden, expected);
    assert!(forbidden.len() > 30 && forbidden.contains(&"convnextv2_atto.fcmae_ft_in1k"));
    for licence in [
        "cc-by-nc-4.0",
        "CC-BY-NC-SA-4.0",
        "cc-by-nc-nd-3.0",
        "fair-noncommercial-research-license",
        "polyform-non-commercial",
        "apple-amlr",
        "intel-research",
    ] {
        assert!(non_commercial(licence), "{licence}");
    }
    for licence in ["apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "ncsa", ""] {
        assert!(!non_commercial(licence), "{licence}");
    }
    let mut mine = Manifest::default();
    mine.add_str(ENTRY, "my.toml").unwrap();
    let entry = mine.get("resnet18.mine").unwrap();
    assert!(entry.licence.is_none() && !entry.non_commercial());
    assert_eq!(
        (entry.terms(), entry.licence_in_words().as_str()),
        (Terms::Own, "unknown")
    );
}

/// A licence that is not known to allow commercial use is one to be read.
#[test]
fn licences_have_terms() {
    for (licence, terms, words) in [
        ("apache-2.0", Terms::Commercial, "apache-2.0"),
        ("MIT", Terms::Commercial, "MIT"),
        ("mit or apache-2.0", Terms::Commercial, "mit or apache-2.0"),
        (
            "cc-by-nc-4.0",
            Terms::NonCommercial,
            "cc-by-nc-4.0, no commercial use",
        ),
        (
            "apple-amlr",
            Terms::NonCommercial,
            "apple-amlr, no commercial use",
        ),
        (
            "dinov3-license",
            Terms::Own,
            "dinov3-license, its own terms",
        ),
        (
            "fastvit-license",
            Terms::Own,
            "fastvit-license, its own terms",
        ),
        (
            "mobileone-license",
            Terms::Own,
            "mobileone-license, its own terms",
        ),
        (
            "cvnets-license",
            Terms::Own,
            "cvnets-license, its own terms",
        ),
        ("apple-ascl", Terms::Own, "apple-ascl, its own terms"),
        (
            "mit and dinov3-license",
            Terms::Own,
            "mit and dinov3-license, its own terms",
        ),
        (
            "mit or cc-by-nc-4.0",
            Terms::Commercial,
            "mit or cc-by-nc-4.0",
        ),
        (
            "cc-by-nc-4.0 or dinov3-license",
            Terms::Own,
            "cc-by-nc-4.0 or dinov3-license, its own terms",
        ),
        ("unknown", Terms::Own, "unknown"),
        ("", Terms::Own, ", its own terms"),
    ] {
        assert_eq!(Terms::of(licence), terms, "{licence}");
        assert_eq!(licence_in_words(Some(licence)), words);
    }
    // Every licence of the manifest is of one of the three kinds that are known here.
    let manifest = bundled();
    for entry in manifest.entries() {
        let licence = entry.licence.as_deref().unwrap_or("unknown");
        let known = [
            "dinov3-license",
            "fastvit-license",
            "mobileone-license",
            "cvnets-license",
            "apple-ascl",
            "unknown",
        ];
        assert!(
            entry.terms() != Terms::Own || known.contains(&licence),
            "{}: {licence}",
            entry.name
        );
    }
}

#[test]
fn entries_are_looked_up_by_name_and_by_pattern() {
    let manifest = bundled();
    let refusal = |name: &str| manifest.get(name).unwrap_err().to_string();
    assert_eq!(
        refusal("resnet18.a9_in1k"),
        "weights of resnet18: expected one of the tags a1_in1k (default), a2_in1k, a3_in1k, \
         tv_in1k, fb_ssl_yfcc100m_ft_in1k, fb_swsl_ig1b_ft_in1k, gluon_in1k, fractal, found `a9_in1k`"
    );
    assert_eq!(
        refusal("seresnet18"),
        "weights of seresnet18: expected an entry in a manifest, found none"
    );
    for unknown in [
        "resnet1",
        "resnet1.a1_in1k",
        "",
        ".",
        "../resnet18",
        "resnet18 ",
    ] {
        let error = manifest.get(unknown).unwrap_err();
        assert!(matches!(error, Error::UnknownModel { .. }), "{unknown}");
    }
    for unknown in [
        "resnet18.",
        "resnet18.a1_in1k.",
        "resnet18.A1_in1k",
        "resnet18.*",
    ] {
        let error = manifest.get(unknown).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }), "{unknown}");
    }

    let names = |pattern: &str| -> Vec<String> {
        let found = manifest.find(pattern);
        found.into_iter().map(|entry| entry.name.clone()).collect()
    };
    assert_eq!(names("resnet18.a?_in1k").len(), 3);
    assert_eq!(
        names("resnet18d"),
        ["resnet18d.ra2_in1k", "resnet18d.ra4_e3600_r224_in1k"]
    );
    assert_eq!(
        names("resnet1?t"),
        ["resnet10t.c3_in1k", "resnet14t.c3_in1k"]
    );
    assert_eq!(
        names("vit_small*.dino"),
        ["vit_small_patch16_224.dino", "vit_small_patch8_224.dino"]
    );
    assert_eq!(names("*").len(), manifest.entries().count());
    assert!(names("resnet18.(a1|a2)_in1k").is_empty() && names("").is_empty());
}

/// A sound entry of nine lines.
const ENTRY: &str = r#"[resnet18.mine]
repository = "me/mine"
file = "model.safetensors"
input_size = [3, 224, 224]
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
interpolation = "bicubic"
crop_pct = 0.95
num_classes = 10
"#;

/// `ENTRY` with another text for one of its lines; line 10 is a new one.
fn with(line: usize, text: &str) -> String {
    let mut lines: Vec<&str> = ENTRY.lines().chain([""]).collect();
    lines[line - 1] = text;
    lines.join("\n")
}

fn refusal(text: &str) -> String {
    let mut manifest = Manifest::default();
    let error = manifest.add_str(text, "my.toml").expect_err(text);
    assert_eq!(manifest.entries().count(), 0);
    error.to_string()
}

/// What an error must name: the line, and every one of these.
#[track_caller]
fn refusal_names(text: &str, line: usize, named: &[&str]) {
    let error = refusal(text);
    let place = format!("my.toml: line {line}, column ");
    assert!(error.starts_with(&place), "{line} {error}");
    for name in named {
        assert!(error.contains(name), "{name}: {error}");
    }
}

/// What is written, and the whole error but for the place and the entry's name.
#[track_caller]
fn refused(line: usize, text: &str, expected: &str) {
    let error = refusal(&with(line, text));
    let place = format!("my.toml: line {line}, column ");
    assert!(error.starts_with(&place), "{line} {error}");
    let (_, after) = error.split_once(": resnet18.mine.").expect(&error);
    assert_eq!(after, expected);
}

#[test]
fn a_sound_entry_is_accepted() {
    let mut manifest = Manifest::default();
    manifest.add_str(ENTRY, "my.toml").unwrap();
    let entry = manifest.get("resnet18.mine").unwrap();
    assert_eq!(hub(entry), ("me/mine", Some("model.safetensors"), None));
    assert_eq!(entry.data.crop_mode, CropMode::Center);
    assert_eq!(entry.place.to_string(), "my.toml, line 1");
    assert_eq!(
        manifest.get("resnet18").unwrap_err().to_string(),
        "weights of resnet18: expected one of the tags mine, found no tag, and no default"
    );

    // Every other key, other ways to write numbers, a one-channel model, Windows' line ends.
    let text = r#"
        [resnet34.mine]
        default = true
        path = "weights/moths.pth"
        sha256_hint = "829a220f9529d2b1ffdc8719d3273463001e0daf411eaf1916865d9db62c0ed2"
        bytes = 1_000
        url = "https://example.org/moths-829a220f.pth"
        url_sha256_prefix = "829a220f"
        origin = "https://example.org"
        licence = "cc-by-nc-4.0"
        licence_source = "a letter"
        papers = ["arXiv:2110.00476"]
        input_size = [1, 28, 28]
        test_input_size = [1, 32, 32]
        fixed_input_size = true
        mean = [0]
        std = [1]
        interpolation = "lanczos"
        crop_pct = 1
        test_crop_pct = 0.9
        crop_mode = "squash"
        num_classes = 0
        first_conv = "conv1"
        classifier = "fc"
        results = [{ size = 28, top1 = 0, top5 = 100.0 }]
    "#;
    manifest
        .add_str(&text.replace('\n', "\r\n"), "folder/mine.toml")
        .unwrap();
    let entry = manifest.get("resnet34").unwrap();
    let path = PathBuf::from("folder/weights/moths.pth");
    assert_eq!(entry.source, Source::File(path));
    assert!(entry.source.file_names().is_empty());
    assert_eq!(entry.bytes, Some(Pin::Confirmed(1000)));
    assert!(matches!(entry.sha256, Some(Pin::Hint(_))));
    assert_eq!(entry.data.crop_mode, CropMode::Squash);
    assert_eq!((entry.place.line, entry.results[0].top1), (2, 0.0));
    assert!(entry.non_commercial());

    // Nothing is an empty manifest; an address on this machine is for trying things out.
    Manifest::default().add_str("", "my.toml").unwrap();
    Manifest::default()
        .add_str(
            &with(10, "url = \"http://127.0.0.1:8000/a.pth\""),
            "my.toml",
        )
        .unwrap();
}

#[test]
fn what_is_not_toml_is_refused_by_its_line() {
    let missing_comma = with(5, "mean = [0.485, 0.456");
    refusal_names(&missing_comma, 6, &["not TOML", "missing comma"]);
    refusal_names(
        &with(8, "crop_pct 0.95"),
        8,
        &["not TOML", "key with no value", "`=`"],
    );
    refusal_names(
        &with(9, "mean = [1, 1, 1]"),
        9,
        &["not TOML", "duplicate key"],
    );
    refusal_names(
        &(ENTRY.to_owned() + ENTRY),
        10,
        &["not TOML", "duplicate key"],
    );
}

#[test]
fn errors_name_the_column_the_key_and_what_is_there() {
    assert_eq!(
        refusal(&with(5, "mean = [0.485, 0.456, \"é\"]")),
        "my.toml: line 5, column 8: resnet18.mine.mean: expected a list of numbers, \
         found [0.485, 0.456, \"é\"]"
    );
    // Columns count characters.
    let inline = "resnet18.mine = { origin = \"é\", path = 5 }";
    assert_eq!(
        refusal(inline),
        "my.toml: line 1, column 40: resnet18.mine.path: expected a line of text, found 5"
    );
    assert_eq!(
        refusal(&with(4, "input_size = [3,\n  224]")),
        "my.toml: line 4, column 14: resnet18.mine.input_size: expected [channels, height, width], \
         at most [1024, 16384, 16384], found [3, .."
    );
}

#[test]
fn tables_of_another_form_are_refused() {
    refusal_names(
        &with(1, "[\"resnet18.mine\"]"),
        1,
        &[
            "an architecture, as in [resnet18.my_tag] without quotes",
            "\"resnet18.mine\"",
        ],
    );
    let table = "a table, as in [resnet18.my_tag]";
    refusal_names(
        "[resnet18]\nrepository = \"me/mine\"",
        2,
        &["resnet18.repository", table, "\"me/mine\""],
    );
    refusal_names(
        &with(1, "[resnet18.mine.more]"),
        1,
        &[
            &["resnet18.mine", "`more`"][..],
            &KEYS.split(", ").collect::<Vec<_>>(),
        ]
        .concat(),
    );
    refusal_names("\nresnet18 = 5", 2, &["resnet18: ", table, "`5`"]);
    refusal_names(
        &with(1, "[[resnet18.mine]]"),
        1,
        &["resnet18.mine: ", table, "sequence"],
    );
    let tag = "a tag of letters, digits, `_` and `-`";
    refusal_names(
        &with(1, "[resnet18.\"my tag\"]"),
        1,
        &["resnet18: ", tag, "my tag"],
    );
    refusal_names(
        &with(1, r#"[resnet18."\u001B[31mred\u009B"]"#),
        1,
        &["resnet18: ", tag, r"\u001B[31mred\u009B"],
    );
    refusal_names(
        &with(1, "[resnett18.mine]"),
        1,
        &["`resnett18`", "resnet18,"],
    );
}

const KEYS: &str = "default, bundled, repository, file, path, revision, revision_hint, sha256, sha256_hint, \
                    bytes, bytes_hint, url, url_sha256_prefix, origin, licence, licence_source, \
                    papers, input_size, test_input_size, fixed_input_size, mean, std, \
                    interpolation, crop_pct, test_crop_pct, crop_mode, num_classes, first_conv, \
                    classifier, results";

#[test]
fn unknown_and_missing_keys_are_refused() {
    let keys: Vec<&str> = KEYS.split(", ").collect();
    for (line, text, key) in [
        (5, "meen = [0.485, 0.456, 0.406]", "`meen`"),
        (10, "license = \"mit\"", "`license`"),
    ] {
        let named = [&["resnet18.mine: ", key], &keys[..]].concat();
        refusal_names(&with(line, text), line, &named);
    }
    // Whatever it is called, it does nothing to a terminal and does not fill it.
    let error = refusal(&with(10, "\"\\u001b[2J\" = 5"));
    assert!(!error.contains('\u{1b}'), "{error}");
    for (line, key) in [
        (4, "input_size"),
        (5, "mean"),
        (6, "std"),
        (7, "interpolation"),
        (8, "crop_pct"),
        (9, "num_classes"),
    ] {
        let key = format!("missing field `{key}`");
        refusal_names(&with(line, ""), 1, &["resnet18.mine: ", &key]);
    }
    refusal_names(
        &with(2, ""),
        1,
        &["resnet18.mine: ", "`repository`", "`path`", "`url`", "none"],
    );
    let both = with(10, "path = \"a.safetensors\"");
    refusal_names(
        &both,
        1,
        &["resnet18.mine: ", "`repository`", "`path`", "more"],
    );
}

#[test]
fn only_the_crates_own_files_are_bundled() {
    refused(
        2,
        "bundled = \"mine.safetensors\"",
        "bundled: expected a file that comes with the crate (resnet18.fractal.safetensors), \
         found \"mine.safetensors\"",
    );
    let bundled = "bundled = \"resnet18.fractal.safetensors\"";
    let named = [
        "resnet18.mine: ",
        "`bundled`, `repository` and `path`",
        "more",
    ];
    refusal_names(&with(10, bundled), 1, &named);
    let alone = with(2, bundled).replace("file = \"model.safetensors\"", "");
    let mut manifest = Manifest::default();
    manifest.add_str(&alone, "my.toml").unwrap();
    let entry = manifest.get("resnet18.mine").unwrap();
    let expected = Source::Bundled("resnet18.fractal.safetensors".to_owned());
    assert_eq!(entry.source, expected);
    assert!(entry.source.file_names().is_empty());
}

#[test]
fn an_address_may_be_the_only_source() {
    let url = "url = \"https://example.org/mine-829a220f.pth\"";
    let alone = with(2, url).replace("file = \"model.safetensors\"", "");
    refusal_names(
        &alone,
        1,
        &["resnet18.mine: ", "`url_sha256_prefix`", "`url` alone"],
    );
    let mut manifest = Manifest::default();
    let verified = format!("{alone}\nurl_sha256_prefix = \"829a220f\"");
    manifest.add_str(&verified, "my.toml").unwrap();
    let entry = manifest.get("resnet18.mine").unwrap();
    assert_eq!(entry.source, Source::Original);
    assert_eq!((entry.repository(), entry.bundled()), (None, None));
    assert!(entry.source.file_names().is_empty());
    assert_eq!(
        entry.original(),
        Some("https://example.org/mine-829a220f.pth")
    );
}

#[test]
fn keys_that_need_another_are_refused_alone() {
    let sha256 = "80c49dee3da4822c009c5a7fe591e9223c5a2cfcf95a4067ca4dfb5a7b89c612";
    let sha256 = format!("sha256 = \"{sha256}\"");
    #[track_caller]
    fn alone(line: usize, text: &str, key: &str, other: &str) {
        let key = format!("resnet18.mine.{key}: ");
        refusal_names(text, line, &[&key, &format!("`{other}` beside it")]);
    }
    alone(3, &with(3, &sha256), "sha256", "file");
    alone(3, &with(3, "bytes_hint = 5"), "bytes_hint", "file");
    let prefix = with(10, "url_sha256_prefix = \"80c49dee\"");
    alone(10, &prefix, "url_sha256_prefix", "url");
    let local = with(2, "path = \"a.safetensors\"");
    alone(3, &local, "file", "repository");
    let source = with(10, "licence_source = \"a letter\"");
    alone(10, &source, "licence_source", "licence");
    let both = with(10, "bytes = 5\nbytes_hint = 5");
    refusal_names(
        &both,
        1,
        &["resnet18.mine: ", "`bytes`", "`bytes_hint`", "both"],
    );
}

#[test]
fn malformed_values_are_refused() {
    let repository = "repository: expected a repository of the hub, as in \"owner/name\", found";
    for bad in [
        "\"\"",
        "\"me\"",
        "\"me/\"",
        "\"/mine\"",
        "\"me/mine/more\"",
        "\"../mine\"",
        "\"me/..\"",
        "\"me/.git\"",
        "\"me/mi ne\"",
        "\"me/mine?\"",
        "\"me\\\\mine\"",
        "\"me/mi--ne\"",
        "5",
        "\"me/mine\\u0000\"",
        "\"ｍe/mine\"",
        "[\"me/mine\"]",
        "true",
    ] {
        refused(
            2,
            &format!("repository = {bad}"),
            &format!("{repository} {bad}"),
        );
    }
    let file =
        "file: expected a file name of letters, digits, `.`, `_` and `-`, without folders, found";
    for bad in [
        "\"\"",
        "\"a/b.safetensors\"",
        "\"../b.safetensors\"",
        "\"..\"",
        "\".hidden\"",
        "\"a\\\\b\"",
        "\"/etc/passwd\"",
        "\"a..b\"",
        "\"C:a\"",
        "\"-rf\"",
    ] {
        refused(3, &format!("file = {bad}"), &format!("{file} {bad}"));
    }
    let revision = "revision: expected a commit of 40 lowercase hex digits, found";
    for bad in [
        "\"main\"",
        "\"491b427b45c94c7fb0e78b5474cc919aff584bb\"",
        "\"491B427B45C94C7FB0E78B5474CC919AFF584BBF\"",
        "\"491b427b45c94c7fb0e78b5474cc919aff584bbg\"",
        "491",
    ] {
        refused(
            10,
            &format!("revision = {bad}"),
            &format!("{revision} {bad}"),
        );
    }
    refused(
        10,
        "sha256 = \"80C4\"",
        "sha256: expected 64 lowercase hex digits, found \"80C4\"",
    );
    refused(
        10,
        "sha256_hint = \"80c49dee3da4822c009c5a7fe591e9223c5a2cfcf95a4067ca4dfb5a7b89c6123\"",
        "sha256_hint: expected 64 lowercase hex digits, found \
         \"80c49dee3da4822c009c5a7fe591e9223c5a2cfcf95a4067ca4dfb5a7b89c6123\"",
    );
    for bad in ["0", "-1", "1.5", "\"5\"", "99999999999999999999"] {
        let expected = format!("bytes: expected a number of bytes above 0, found {bad}");
        refused(10, &format!("bytes = {bad}"), &expected);
    }
    for bad in [
        "\"\"",
        "\"http://example.org/a.pth\"",
        "\"ftp://example.org/a.pth\"",
        "\"https://a.pth\"",
        "\"file:///etc/passwd\"",
        "\"https://example.org/\"",
        "\"https://example.org/..\"",
        "\"https://example.org/a.pth?b=c\"",
        "\"https://exa mple.org/a.pth\"",
        "\"https:///a.pth\"",
    ] {
        let expected =
            format!("url: expected an https address that ends in a file name, found {bad}");
        refused(10, &format!("url = {bad}"), &expected);
    }
    refusal_names(
        &with(
            10,
            "url = \"https://example.org/a.pth\"\nurl_sha256_prefix = \"80c\"",
        ),
        11,
        &["resnet18.mine.url_sha256_prefix: expected 8 to 64 lowercase hex digits, found \"80c\""],
    );
    refused(
        10,
        "default = \"yes\"",
        "default: expected true or false, found \"yes\"",
    );
    refused(
        10,
        "licence = \"\"",
        "licence: expected a line of text, found \"\"",
    );
    refused(
        10,
        r#"licence = "\u001b[2J""#,
        r#"licence: expected a line of text, found "\u001b[2J""#,
    );
    refused(
        10,
        "papers = \"a\"",
        "papers: expected a list of lines of text, found \"a\"",
    );
    refused(
        10,
        "papers = [1]",
        "papers: expected a list of lines of text, found [1]",
    );
    refused(
        10,
        "first_conv = 1979-05-27",
        "first_conv: expected a line of text or a list of them, found 1979-05-27",
    );
    for bad in [
        "0",
        "[3, 224]",
        "[0, 1, 1]",
        "[3, 224, 0]",
        "[3, 224.0, 224]",
        "[3, 224, 99999]",
    ] {
        let expected = format!(
            "input_size: expected [channels, height, width], at most [1024, 16384, 16384], \
             found {bad}"
        );
        refused(4, &format!("input_size = {bad}"), &expected);
    }
    refused(
        4,
        "input_size = [3, 224, 192]",
        "input_size: expected [channels, side, side], as images are made square, found \
         [3, 224, 192]",
    );
    refused(
        10,
        "test_input_size = [1, 288, 288]",
        "test_input_size: expected 3 channels, as in input_size, found [1, 288, 288]",
    );
    for bad in [
        "0.5",
        "[]",
        "[nan, 0.5, 0.5]",
        "[inf, 0.5, 0.5]",
        "[\"0\", 0, 0]",
        "[[0], 0, 0]",
    ] {
        let expected = format!("mean: expected a list of numbers, found {bad}");
        refused(5, &format!("mean = {bad}"), &expected);
    }
    refused(
        5,
        "mean = [0.5]",
        "mean: expected 3 numbers, one a channel of input_size, found [0.5]",
    );
    for bad in [
        "[0.0, 0.5, 0.5]",
        "[-0.5, 0.5, 0.5]",
        "[0.5, 0.5, nan]",
        "[1e999, 1, 1]",
    ] {
        let expected = format!("std: expected a list of numbers above 0, found {bad}");
        refused(6, &format!("std = {bad}"), &expected);
    }
    refused(
        6,
        "std = [1, 1, 1, 1]",
        "std: expected 3 numbers, one a channel of input_size, found [1, 1, 1, 1]",
    );
    for bad in ["\"Bicubic\"", "\"cubic\"", "3"] {
        let names = "nearest, bilinear, bicubic, box, hamming, lanczos";
        let expected = format!("interpolation: expected one of {names}, found {bad}");
        refused(7, &format!("interpolation = {bad}"), &expected);
    }
    refused(
        10,
        "crop_mode = \"centre\"",
        "crop_mode: expected one of center, squash, border, found \"centre\"",
    );
    for bad in ["0", "0.0", "-0.5", "0.01", "95", "nan", "\"0.95\""] {
        let expected = format!("crop_pct: expected a number from 0.1 to 10, found {bad}");
        refused(8, &format!("crop_pct = {bad}"), &expected);
    }
    for bad in ["-1", "1000.0", "200001", "\"ten\"", "0xFFFFFFFFFFFFFFFFFF"] {
        let expected = format!("num_classes: expected 0 to 200000 classes, found {bad}");
        refused(9, &format!("num_classes = {bad}"), &expected);
    }
}

#[test]
fn malformed_results_are_refused_by_their_own_line() {
    for (row, named) in [
        (
            "{ size = 224, top1 = 71.5 }",
            &["results: ", "missing field `top5`"][..],
        ),
        (
            "{ size = 224, top1 = 101.0, top5 = 90 }",
            &["results.top1: expected a percentage, 0 to 100, found 101.0"],
        ),
        (
            "{ size = 224, top1 = 71.5, top5 = -1 }",
            &["results.top5: expected a percentage, 0 to 100, found -1"],
        ),
        (
            "{ size = 0, top1 = 71.5, top5 = 90 }",
            &["results.size: expected 1 to 16384 pixels, found 0"],
        ),
        (
            "{ size = 224, top1 = 71.5, top5 = 90, loss = 1 }",
            &[
                "`loss`",
                "`size`, `top1`, `top5`, `crop_pct`, `interpolation`",
            ],
        ),
        ("71.5", &["results: ", "a table", "{ size = 224", "`71.5`"]),
        ("[224, 71.5, 90]", &["results: ", "a table", "sequence"]),
    ] {
        let text = with(10, &format!("results = [\n  {row},\n]"));
        refusal_names(&text, 11, &["resnet18.mine.results"]);
        refusal_names(&text, 11, named);
    }
    refusal_names(
        &with(10, "results = 71.5"),
        10,
        &["resnet18.mine.results: ", "`71.5`"],
    );
}

#[test]
fn an_entry_replaces_none() {
    let mut manifest = bundled();
    let count = manifest.entries().count();
    let text = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/weights-manifest/resnet.toml"
    ));
    let line = text.lines().position(|line| line == "[resnet18.a1_in1k]");
    let old = format!("weights-manifest/resnet.toml, line {}", line.unwrap() + 1);
    let mut refusal = |text: &str| {
        let error = manifest.add_str(text, "my.toml").unwrap_err();
        assert_eq!(manifest.entries().count(), count);
        error.to_string()
    };
    assert_eq!(
        refusal(&with(1, "[resnet18.a1_in1k]")),
        format!(
            "my.toml: line 1: resnet18.a1_in1k: expected a name of its own, \
             found resnet18.a1_in1k in {old}"
        )
    );
    assert_eq!(
        refusal(&with(10, "default = true")),
        format!(
            "my.toml: line 1: resnet18.mine: expected to be the only default, \
             found resnet18.a1_in1k in {old}"
        )
    );
    // The sound entry before a clash is not kept either, wherever the clash is.
    let twice =
        with(1, "[seresnet18.one]\ndefault = true") + &with(1, "[seresnet18.two]\ndefault = true");
    assert_eq!(
        refusal(&twice),
        "my.toml: line 11: seresnet18.two: expected to be the only default, \
         found seresnet18.one in my.toml, line 1"
    );
    manifest.add_str(ENTRY, "my.toml").unwrap();
    assert_eq!(manifest.get("resnet18").unwrap().tag(), "a1_in1k");
    assert_eq!(manifest.get("resnet18.mine").unwrap().tag(), "mine");
}

#[test]
fn files_that_are_no_manifest_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = |path: &Path| {
        let error = Manifest::default().add_file(path).unwrap_err();
        let text = error.to_string();
        text.replace(&dir.path().display().to_string(), "DIR")
    };
    let file = dir.path().join("my.toml");
    assert_eq!(
        refusal(&file),
        "cannot read DIR/my.toml: No such file or directory (os error 2)"
    );
    assert_eq!(
        refusal(dir.path()),
        "DIR: expected a manifest file, found something else than a file"
    );
    std::fs::write(&file, b"[resnet18.\xff]").unwrap();
    assert_eq!(
        refusal(&file),
        "DIR/my.toml: expected text in UTF-8, found other bytes"
    );
    std::fs::write(&file, " ".repeat(1 << 20) + ENTRY).unwrap();
    assert_eq!(
        refusal(&file),
        "DIR/my.toml: expected a manifest file of at most 1 MiB, found a larger file"
    );
    // Far larger than memory: only the beginning is read.
    std::fs::File::create(&file)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    assert!(refusal(&file).ends_with("found a larger file"));
    #[cfg(unix)]
    {
        let pipe = dir.path().join("pipe.toml");
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        assert!(refusal(&pipe).ends_with("found something else than a file"));
    }
    std::fs::write(&file, ENTRY).unwrap();
    let mut manifest = Manifest::default();
    manifest.add_file(&file).unwrap();
    assert_eq!(manifest.get("resnet18.mine").unwrap().place.path, file);
}

#[test]
fn hostile_texts_are_errors() {
    let add = |text: &str| {
        // Sound or not, it comes back.
        let _ = Manifest::default().add_str(text, "my.toml");
    };
    for at in 0..=ENTRY.len() {
        add(&ENTRY[..at]);
        for bad in [
            "\"", "[", "]", "{", "\n", "=", "\0", "\u{9b}", "0", "é", "#", "'''",
        ] {
            add(&format!("{}{bad}{}", &ENTRY[..at], &ENTRY[at..]));
            let rest = ENTRY.get(at + 1..).unwrap_or_default();
            add(&format!("{}{bad}{rest}", &ENTRY[..at]));
        }
    }
    let many = 200_000;
    for deep in [
        "[".repeat(many),
        format!("[resnet18.mine]\nmean = {}", "[".repeat(many)),
        format!("[resnet18.mine]\nmean = {}", "{a=".repeat(many)),
        format!("[resnet18{}]", ".a".repeat(many)),
        format!("resnet18{} = 1", ".a".repeat(many)),
        format!("\u{feff}{}", "\"".repeat(many)),
        format!("[resnet18.mine]\n{}", "\n".repeat(many)),
        (0..many / 4)
            .map(|i| format!("[resnet18.t{i}]\n"))
            .collect(),
        (0..many / 4).map(|i| format!("k{i} = 1\n")).collect(),
        with(1, &format!("[resnet18.{}]", "a".repeat(many))),
        with(8, &format!("crop_pct = {}", "9".repeat(many))),
        with(9, &format!("num_classes = {}", "9".repeat(many))),
        with(10, &format!("licence = \"{}\"", "é".repeat(many))),
    ] {
        let error = refusal(&deep);
        assert!(error.starts_with("my.toml: line "), "{error:.300}");
        assert!(error.len() < 700, "{} bytes", error.len());
    }
}

/// Where a user's entries are looked for; in a process of its own, as it reads the environment.
#[test]
fn user_files_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let tags = |variable: Option<&Path>| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "weights::manifest::tests::print_user_tags",
                "--ignored",
                "--nocapture",
            ])
            .current_dir(dir.path())
            .env_remove(USER_VARIABLE);
        if let Some(path) = variable {
            command.env(USER_VARIABLE, path);
        }
        let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let (_, after) = output.split_once("<<").unwrap();
        after.split_once(">>").unwrap().0.to_owned()
    };
    assert_eq!(tags(None), "");

    std::fs::write(dir.path().join(USER_FILE), ENTRY).unwrap();
    assert_eq!(tags(None), "resnet18.mine");
    assert_eq!(tags(Some(Path::new(""))), "resnet18.mine");

    // A variable goes before the file here; a folder's files are read in the order of their names.
    let folder = dir.path().join("entries");
    std::fs::create_dir(&folder).unwrap();
    assert_eq!(
        tags(Some(Path::new("entries"))),
        "entries: BURN_ZOO_MANIFEST names this folder, but it has no .toml file"
    );
    std::fs::write(folder.join("b.toml"), with(1, "[resnet18.b]")).unwrap();
    std::fs::write(folder.join("a.toml"), with(1, "[resnet34.a]")).unwrap();
    std::fs::write(folder.join("notes.txt"), "not TOML").unwrap();
    assert_eq!(tags(Some(Path::new("entries"))), "resnet34.a resnet18.b");
    assert_eq!(tags(Some(Path::new("entries/b.toml"))), "resnet18.b");
    assert_eq!(
        tags(Some(Path::new("nowhere.toml"))),
        "cannot read nowhere.toml: No such file or directory (os error 2)"
    );

    std::fs::write(folder.join("c.toml"), with(1, "[resnet18.b]")).unwrap();
    assert_eq!(
        tags(Some(Path::new("entries"))),
        "entries/c.toml: line 1: resnet18.b: expected a name of its own, \
         found resnet18.b in entries/b.toml, line 1"
    );
}

/// Not a test: what `user_files_are_found` runs.
#[test]
#[ignore = "run by user_files_are_found"]
fn print_user_tags() {
    let bundled = bundled().entries().count();
    let text = match Manifest::with_user_files() {
        Ok(manifest) => {
            let names = manifest.entries().skip(bundled).map(|e| e.name.as_str());
            names.collect::<Vec<_>>().join(" ")
        }
        Err(error) => error.to_string(),
    };
    println!("<<{text}>>");
}

#[test]
fn the_examples_of_the_documentation_are_sound() {
    for text in [
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/weights-manifest/README.md"
        )),
        &include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/weights/manifest/mod.rs"
        ))
        .replace("//! ", "")
        .replace("//!", ""),
    ] {
        let (_, example) = text.split_once("```toml\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        let mut manifest = bundled();
        manifest.add_str(example, "my.toml").unwrap();
        assert!(manifest.get("resnet18.moths").is_ok());
    }
    let readme = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/weights-manifest/README.md"
    ));
    for key in KEYS.split(", ") {
        assert!(readme.contains(&format!("`{key}`")), "{key}");
    }
}

fn is_non_commercial(model: &HubModel) -> bool {
    let licence = model.licence.as_deref();
    licence.is_some_and(crate::manifest::non_commercial)
}

fn config(text: &str) -> HubModel {
    HubModel::from_config(text, "config.json").unwrap()
}

#[track_caller]
fn config_refused(text: &str, expected: &str) {
    let error = HubModel::from_config(text, "config.json").unwrap_err();
    assert_eq!(error.to_string(), format!("config.json: {expected}"));
}

#[test]
fn a_configuration_of_timm_is_read() {
    let model = config(include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/export/timm_config.json"
    )));
    assert_eq!(model.architecture, "test_resnet");
    assert_eq!(model.tag.as_deref(), Some("r160_in1k"));
    assert_eq!((model.in_channels, model.num_classes), (1, 3));
    assert_eq!(model.label_names, ["cat", "dog", "eel"]);
    assert_eq!(model.data.input_size, [1, 160, 160]);
    assert_eq!((model.data.mean[0], model.data.std[0]), (0.5, 0.5));
    assert_eq!(model.data.interpolation, Interpolation::Bilinear);
    assert_eq!(model.data.crop_pct, 0.95);
    assert_eq!(model.global_pool.as_deref(), Some("avg"));
    assert_eq!(model.first_conv, ["conv1.0"]);
    assert_eq!(model.classifier, ["fc"]);
    assert_eq!(model.licence.as_deref(), Some("apache-2.0"));
    assert!(!is_non_commercial(&model) && model.other_args.is_empty());

    let model = config(include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/export/test_vit_config.json"
    )));
    assert_eq!(model.image_size, Some([32, 32]));
    assert_eq!(model.data.input_size, [1, 32, 32]);
    let other = |key: &str| (key.to_owned(), "false".to_owned());
    assert_eq!(
        model.other_args,
        [other("dynamic_img_size"), other("fc_norm")]
    );
    assert_eq!((model.licence, model.tag), (None, None));

    let model = config(include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/export/resnet18_config.json"
    )));
    assert_eq!((model.in_channels, model.label_names.len()), (1, 10));
    assert_eq!(model.data.mean, [0.449]);
}

#[test]
fn the_older_flat_configuration_is_read() {
    let model = config(
        r#"{"architecture": "resnet18", "num_classes": 2, "num_features": 512,
            "global_pool": "avg", "labels": ["no", "yes"], "input_size": [3, 96, 128],
            "test_input_size": [3, 128, 128], "test_crop_pct": 1, "mean": [0.5, 0.4, 0.3],
            "std": [0.1, 0.2, 0.3], "interpolation": "lanczos", "crop_pct": 0.9,
            "crop_mode": "border", "first_conv": "conv1", "classifier": "fc",
            "license": "cc-by-nc-4.0", "url": "", "custom_load": false}"#,
    );
    assert_eq!((model.in_channels, model.num_classes), (3, 2));
    assert_eq!(model.label_names, ["no", "yes"]);
    assert_eq!(model.data.input_size, [3, 96, 128]);
    assert_eq!(model.data.at_test_size().input_size, [3, 128, 128]);
    assert_eq!(model.data.mean, [0.5, 0.4, 0.3]);
    assert_eq!(model.data.interpolation, Interpolation::Lanczos);
    assert_eq!(model.data.crop_mode, CropMode::Border);
    assert!(model.assumed.is_empty());
    assert!(is_non_commercial(&model));
}

#[test]
fn absent_and_null_are_timms_defaults() {
    let nulls = r#"{"architecture": "resnet18", "num_classes": null, "label_names": null,
        "model_args": null, "pretrained_cfg": {"tag": "", "input_size": null, "mean": null,
        "std": null, "interpolation": null, "crop_pct": null, "crop_mode": null,
        "test_input_size": null, "num_classes": null, "first_conv": null, "license": null}}"#;
    for text in [r#"{"architecture": "resnet18"}"#, nulls] {
        let model = config(text);
        assert_eq!((model.in_channels, model.num_classes), (3, 1000));
        assert_eq!(model.data.input_size, [3, 224, 224]);
        assert_eq!(model.data.mean, [0.485, 0.456, 0.406]);
        assert_eq!(model.data.std, [0.229, 0.224, 0.225]);
        assert_eq!(model.data.interpolation, Interpolation::Bicubic);
        assert_eq!(model.data.crop_pct, 0.875);
        assert_eq!(model.data.crop_mode, CropMode::Center);
        assert_eq!((model.drop_rate, model.drop_path_rate), (0.0, 0.0));
        assert!(model.label_names.is_empty());
        // That they were assumed is told.
        let keys: Vec<&str> = (model.assumed.iter())
            .filter_map(|text| text.split(" is not given: ").next())
            .collect();
        let expected = [
            "input_size",
            "num_classes",
            "mean",
            "std",
            "interpolation",
            "crop_pct",
        ];
        assert_eq!(keys, expected);
        let absent = [&model.tag, &model.global_pool, &model.licence];
        assert!(absent.iter().all(|value| value.is_none()));
        assert!(model.first_conv.is_empty());
    }
}

#[test]
fn the_arguments_of_the_saved_model_go_first() {
    let model = config(
        r#"{"architecture": "resnet18", "num_classes": 5, "global_pool": "avg",
            "model_args": {"in_chans": 4, "num_classes": 7, "global_pool": "catavgmax",
                           "drop_rate": 0.1, "drop_path_rate": 0.2, "act_layer": "gelu",
                           "img_size": null},
            "pretrained_cfg": {"input_size": [3, 224, 224], "test_input_size": [3, 288, 288],
                               "num_classes": 1000, "mean": [0.5, 0.5, 0.5],
                               "std": [0.5, 0.5, 0.5]}}"#,
    );
    assert_eq!((model.in_channels, model.num_classes), (4, 7));
    assert_eq!(model.global_pool.as_deref(), Some("catavgmax"));
    assert_eq!((model.drop_rate, model.drop_path_rate), (0.1, 0.2));
    assert_eq!(model.data.input_size, [4, 224, 224]);
    assert_eq!(model.data.test_input_size, Some([4, 288, 288]));
    // timm leaves the statistics of the RGB model it came from.
    assert_eq!(model.data.mean.len(), 3);
    let other = ("act_layer".to_owned(), "\"gelu\"".to_owned());
    assert_eq!(model.other_args, [other]);

    // Only a model of a fixed size has the size it was built for.
    let sized = |fixed: bool, args: &str| {
        config(&format!(
            r#"{{"architecture": "test_vit", "model_args": {{{args}}},
                "pretrained_cfg": {{"input_size": [3, 160, 160], "fixed_input_size": {fixed}}}}}"#
        ))
    };
    let model = sized(true, r#""img_size": [96, 64]"#);
    assert_eq!(model.image_size, Some([96, 64]));
    assert_eq!(model.data.input_size, [3, 96, 64]);
    assert!(model.data.fixed_input_size);
    let model = sized(false, r#""img_size": 96"#);
    assert_eq!(model.image_size, Some([96, 96]));
    assert_eq!(model.data.input_size, [3, 160, 160]);
    let model = sized(true, r#""img_size": 96, "dynamic_img_size": true"#);
    assert_eq!(model.data.input_size, [3, 160, 160]);
    assert!(!model.data.fixed_input_size);
}

#[test]
fn classes_have_the_names_that_are_given() {
    let names = |value: &str| {
        let text = format!(
            r#"{{"architecture": "resnet18", "num_classes": 3,
                "pretrained_cfg": {{"label_names": {value}}}}}"#
        );
        HubModel::from_config(&text, "config.json").map(|model| model.label_names)
    };
    assert_eq!(names(r#"["a", "b", "c"]"#).unwrap(), ["a", "b", "c"]);
    assert_eq!(names(r#"{"2": "c", "0": "a"}"#).unwrap(), ["a", "1", "c"]);
    assert!(names("[]").unwrap().is_empty() && names("{}").unwrap().is_empty());
    let refusal = |value: &str| names(value).unwrap_err().to_string();
    let key = "config.json: pretrained_cfg.label_names: expected";
    assert_eq!(
        refusal(r#"["a"]"#),
        format!("{key} a list of 3 names, found [\"a\"]")
    );
    assert_eq!(refusal("5"), format!("{key} a list of 3 names, found 5"));
    assert_eq!(
        refusal(r#"["a", "b", 3]"#),
        format!("{key} a list of 3 names, found [\"a\",\"b\",3]")
    );
    for bad in [
        r#"{"3":"d"}"#,
        r#"{"x":"d"}"#,
        r#"{"-1":"d"}"#,
        r#"{"0":0}"#,
    ] {
        assert_eq!(
            refusal(bad),
            format!("{key} names of the classes 0 to below 3, found {bad}")
        );
    }
}

#[test]
fn malformed_configurations_are_refused_by_their_key() {
    config_refused(
        "{",
        "not a model configuration: EOF while parsing an object at line 1 column 1",
    );
    config_refused(
        "<!DOCTYPE html>",
        "not a model configuration: expected value at line 1 column 1",
    );
    config_refused("[]", "expected a JSON object, found []");
    config_refused(
        "{}",
        "architecture: expected the name that timm has for it, found none",
    );
    config_refused(
        r#"{"architectures": ["ResNetForImageClassification"], "model_type": "resnet"}"#,
        "architecture: expected the name that timm has for it, found `architectures` of another \
         library: [\"ResNetForImageClassification\"]",
    );
    config_refused(
        r#"{"architecture": 18}"#,
        "architecture: expected a line of text, found 18",
    );
    config_refused(
        r#"{"architecture": "swin", "pretrained_cfg": {"classifier": ["a", "b"]}}"#,
        "unknown model `swin`; `burn-zoo list` names them all",
    );
    config_refused(
        r#"{"architecture": "resnet18", "pretrained_cfg": "a1_in1k"}"#,
        "pretrained_cfg: expected a JSON object, found \"a1_in1k\"",
    );
    config_refused(
        r#"{"architecture": "resnet18", "model_args": [1]}"#,
        "model_args: expected a JSON object, found [1]",
    );
    for (args, expected) in [
        (
            "\"in_chans\": 0",
            "in_chans: expected 1 to 1024 channels, found 0",
        ),
        (
            "\"in_chans\": \"3\"",
            "in_chans: expected 1 to 1024 channels, found \"3\"",
        ),
        (
            "\"num_classes\": -1",
            "num_classes: expected 0 to 200000 classes, found -1",
        ),
        (
            "\"num_classes\": 1e3",
            "num_classes: expected 0 to 200000 classes, found 1000.0",
        ),
        (
            "\"drop_rate\": 1",
            "drop_rate: expected a number from 0 to below 1, found 1",
        ),
        (
            "\"global_pool\": 1",
            "global_pool: expected a line of text, found 1",
        ),
        (
            "\"img_size\": [1, 2, 3]",
            "img_size: expected 1 to 16384 pixels, or [height, width], found [1,2,3]",
        ),
    ] {
        let text = format!(r#"{{"architecture": "resnet18", "model_args": {{{args}}}}}"#);
        config_refused(&text, &format!("model_args.{expected}"));
    }
    for (cfg, expected) in [
        (
            "\"input_size\": [224, 224]",
            "input_size: expected [channels, height, width], at most [1024, 16384, 16384], \
             found [224,224]",
        ),
        (
            "\"mean\": 0.5",
            "mean: expected a list of numbers, found 0.5",
        ),
        (
            "\"mean\": [0.5, 0.5]",
            "mean: expected 3 numbers, one a channel, found [0.5,0.5]",
        ),
        (
            "\"std\": [0, 1, 1]",
            "std: expected a list of numbers above 0, found [0,1,1]",
        ),
        (
            "\"std\": [1]",
            "std: expected 3 numbers, as many as in mean, found [1]",
        ),
        (
            "\"mean\": [0.5]",
            "std: expected as many numbers as in mean, found none",
        ),
        (
            "\"interpolation\": \"random\"",
            "interpolation: expected one of nearest, bilinear, bicubic, box, hamming, lanczos, \
             found \"random\"",
        ),
        (
            "\"crop_pct\": \"0.9\"",
            "crop_pct: expected a number from 0.1 to 10, found \"0.9\"",
        ),
        (
            "\"crop_mode\": true",
            "crop_mode: expected one of center, squash, border, found true",
        ),
        (
            "\"fixed_input_size\": 1",
            "fixed_input_size: expected true or false, found 1",
        ),
        (
            "\"classifier\": [5]",
            "classifier: expected a line of text or a list of them, found [5]",
        ),
        (
            "\"license\": \"a\\nb\"",
            "license: expected a line of text, found \"a\\nb\"",
        ),
    ] {
        let text = format!(r#"{{"architecture": "resnet18", "pretrained_cfg": {{{cfg}}}}}"#);
        config_refused(&text, &format!("pretrained_cfg.{expected}"));
    }
    // In the flat form the key stands alone.
    config_refused(
        r#"{"architecture": "resnet18", "crop_pct": 20}"#,
        "crop_pct: expected a number from 0.1 to 10, found 20",
    );
}

#[test]
fn hostile_configurations_are_errors() {
    let read = |text: &str| HubModel::from_config(text, "config.json");
    let sound = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/export/timm_config.json"
    ));
    for at in 0..=sound.len() {
        let _ = read(&sound[..at]);
        for bad in ["\"", "[", "}", "{", "-", "null", "9", "\0"] {
            let rest = sound.get(at + 1..).unwrap_or_default();
            let _ = read(&format!("{}{bad}{rest}", &sound[..at]));
        }
    }
    let many = 200_000;
    let value = |key: &str, value: String| {
        format!(r#"{{"architecture": "resnet18", "pretrained_cfg": {{"{key}": {value}}}}}"#)
    };
    for text in [
        "[".repeat(many),
        "{\"a\":".repeat(many),
        value("mean", "[".repeat(many)),
        value("mean", format!("[{}1]", "1,".repeat(many))),
        value("crop_pct", "9".repeat(many)),
        value("num_classes", "9".repeat(many)),
        value("license", format!("\"{}\"", "é".repeat(many))),
        value("label_names", format!("[{}1]", "\"a\",".repeat(many))),
    ] {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.len() < 300, "{error}");
    }
    let large = " ".repeat((16 << 20) + 1);
    config_refused(&large, "expected a configuration of at most 16 MiB");
}
