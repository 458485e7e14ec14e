//! Every architecture computes what timm computes from the same weights.
//!
//! The fixtures hold what timm gave for weights and images that both sides generate from the same
//! written rule; `tests/fixtures/parity.py` makes them.

mod common;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use burn_zoo::prelude::*;
use burn_zoo::{Group, ImageSize, InputSize, zoo};
use common::{
    Fixture, fixture, relative_error, rule, rule_input, rule_model, rule_with_gain, sample, values,
};
use sha2::{Digest, Sha256};

/// The bound asked for is 1e-4; f32 itself is good for some 1e-6 over these depths.
const TOLERANCE: f64 = 2e-5;

#[test]
fn both_sides_follow_the_same_rule() {
    let text = std::fs::read_to_string(fixture("rule.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
    let entries = golden["golden"].as_array().or(golden.as_array()).unwrap();
    assert!(!entries.is_empty());
    for entry in entries {
        let name = entry["name"].as_str().unwrap();
        let shape: Vec<usize> = serde_json::from_value(entry["shape"].clone()).unwrap();
        let made = rule(name, &shape);
        for value in entry["values"].as_array().unwrap() {
            let index = value["index"].as_u64().unwrap() as usize;
            let bits = value["bits"].as_str().unwrap().trim_start_matches("0x");
            assert_eq!(
                made[index].to_bits(),
                u32::from_str_radix(bits, 16).unwrap(),
                "{name}"
            );
        }
    }
}

/// Architectures of which there are fixtures here.
const FIXTURES: usize = 137;

/// Fixtures of the smallest and of a large variant of every family are here; `parity.py --out DIR`
/// makes all of them, and the ignored test reads them.
#[test]
fn architectures_compute_what_timm_computes() {
    let device = Device::default();
    let mut families: BTreeMap<&str, usize> = BTreeMap::new();
    let fixtures = fixture("parity").read_dir().unwrap().count();
    for architecture in zoo::architectures() {
        let path = fixture(&format!("parity/{}.safetensors", architecture.name));
        if path.exists() {
            *families.entry(architecture.family).or_default() += 1;
            agrees_with_timm(architecture.name, &path, Spec::clone, &device);
        }
    }
    for architecture in zoo::architectures() {
        let compared = families.get(architecture.family).copied().unwrap_or(0);
        let of_family = zoo::architectures().filter(|a| a.family == architecture.family);
        assert!(
            compared >= of_family.count().min(2),
            "{}: {compared} compared",
            architecture.family
        );
    }
    let compared = families.values().sum::<usize>();
    assert_eq!((compared, fixtures), (FIXTURES, FIXTURES));
}

/// Families whose stem leaves nothing to change: it does not stride.
const WITHOUT_STEM: [&str; 1] = ["Vgg"];

/// A stem for small images is what PyTorch has with these strides, patches and without the pooling;
/// `tests/fixtures/stems.py` makes the fixtures.
#[test]
fn stems_for_small_images_compute_what_pytorch_computes() {
    let device = Device::default();
    let mut families: BTreeMap<&str, usize> = BTreeMap::new();
    for architecture in zoo::architectures() {
        let name = architecture.name;
        let path = fixture(&format!("stems/{name}.safetensors"));
        if path.exists() && common::is_chosen(name) {
            agrees_with_timm(name, &path, |spec| spec.clone().small_images(), &device);
            *families.entry(architecture.family).or_default() += 1;
        }
    }
    let all: BTreeSet<&str> = zoo::architectures().map(|a| a.family).collect();
    let missing: Vec<&str> = all
        .into_iter()
        .filter(|family| !families.contains_key(family) && !WITHOUT_STEM.contains(family))
        .collect();
    assert!(
        std::env::var("MODELS").is_ok() || missing.is_empty(),
        "{missing:?}"
    );
}

/// No architecture ignores what is asked of its stem: it has it, or it says that it cannot.
#[test]
fn every_stem_is_as_asked_or_refused() {
    let device = Device::default();
    for architecture in zoo::architectures().filter(|a| common::is_chosen(a.name)) {
        let name = architecture.name;
        let upstream = Zoo::get(name)
            .unwrap()
            .num_classes(10)
            .build_zeros(&device)
            .unwrap();
        let small = Zoo::get(name).unwrap().num_classes(10).small_images();
        let Some(stem) = &upstream.backbone.describe().stem else {
            let refused = small.build_zeros(&device).unwrap_err().to_string();
            let expected =
                format!("small_images: expected nothing: {name} has no stem that can be");
            assert!(refused.starts_with(&expected), "{name}: {refused}");
            assert!(WITHOUT_STEM.contains(&architecture.family), "{name}");
            continue;
        };
        assert!(!stem.is_changed(), "{name}: {stem}");
        let small = small.build_zeros(&device).unwrap();
        let changed = small.backbone.describe().stem.clone().unwrap();
        assert!(
            changed.is_changed() && changed.stride() < stem.stride(),
            "{name}: {changed}"
        );
        if changed.is_patch() {
            continue;
        }
        assert_eq!(
            (changed.stride(), changed.pools().unwrap_or(false)),
            (1, false),
            "{name}"
        );
        // Kernels stay, so that the weights of upstream's stem are those of this one; tables of positions
        // follow the windows.
        if small.backbone.describe().position_tables.is_empty() {
            assert_eq!(names_hash(&small), names_hash(&upstream), "{name}");
        }
        let too_far = Zoo::get(name).unwrap().stem_stride(64).build_zeros(&device);
        let too_far = too_far.unwrap_err().to_string();
        assert!(
            too_far.starts_with("stem_stride: expected one that the stem can have: 1"),
            "{name}: {too_far}"
        );
    }
}

#[test]
#[ignore = "needs the fixtures of all architectures, in a folder that PARITY names; MODELS chooses some"]
fn every_architecture_computes_what_timm_computes() {
    let folder = std::env::var("PARITY").expect("PARITY names the folder of parity.py --out");
    for architecture in zoo::architectures().filter(|a| common::is_chosen(a.name)) {
        let path = Path::new(&folder).join(format!("{}.safetensors", architecture.name));
        let (compared, worst) =
            agrees_with_timm(architecture.name, &path, Spec::clone, &Device::default());
        println!("| `{}` | {compared} | {worst:.1e} |", architecture.name);
    }
}

/// Compares every group's output, the vector before the classifier and the scores, for 3, 1 and 4
/// channels and all sizes of the fixture, with 3 fused too. Gives the number of outputs and the worst error.
fn agrees_with_timm(
    name: &str,
    path: &Path,
    change: fn(&Spec) -> Spec,
    device: &Device,
) -> (usize, f64) {
    let spec = || change(&Zoo::get(name).unwrap());
    let expected = Fixture::read(path);
    let sizes: Vec<ImageSize> = expected.metadata["sizes"]
        .split(',')
        .map(|size| size.parse().unwrap())
        .collect();
    for (suffix, channels, classes) in [("", 3, 1000), ("_c1_n10", 1, 10)] {
        let spec = spec().adapt(channels, classes);
        let model = spec.image_size(sizes[0]).build_zeros(device).unwrap();
        let known = |key: &str| &expected.metadata[&format!("{key}{suffix}")];
        assert_eq!(
            &model.num_parameters().to_string(),
            known("num_params"),
            "{name}{suffix}"
        );
        assert_eq!(&names_hash(&model), known("names_sha256"), "{name}{suffix}");
    }
    // Where the rule's weights let little of the image through, they are larger.
    let gain: f32 = expected
        .metadata
        .get("gain")
        .map_or(1.0, |gain| gain.parse().unwrap());
    let tolerance = expected.metadata.get("tolerance");
    let tolerance = tolerance.map_or(TOLERANCE, |tolerance| tolerance.parse().unwrap());
    let mut worst = 0.0f64;
    let (mut compared, mut fused) = (0, 0);
    // Of the models for other channels and sizes, most tensors are the same.
    let mut known: HashMap<(String, Vec<usize>), Vec<f32>> = HashMap::new();
    let mut value = |name: &str, shape: &[usize]| {
        let values = known.entry((name.to_owned(), shape.to_vec()));
        let values = values.or_insert_with(|| rule_with_gain(name, shape, gain));
        Some(values.clone())
    };
    for channels in [3, 1, 4] {
        // A convolutional backbone is built once; one with a fixed size for each.
        let mut built: Option<Classifier> = None;
        for &size in &sizes {
            let fixed = built.as_ref().map(|m| m.backbone.describe().input_size);
            if matches!(fixed, None | Some(InputSize::Exactly(_))) {
                let spec = spec().in_channels(channels).image_size(size);
                let zeros = spec.build_zeros(device).unwrap();
                built = Some(zeros.map_state_dict(&mut value).unwrap());
            }
            let model = built.as_ref().unwrap();
            let mut check = |output: &str, found: Vec<f32>| {
                let key = format!("c{channels}.s{size}.{output}");
                let error = relative_error(&sample(&found, 64), expected.get(&key));
                assert!(error < tolerance, "{name} {key}: off by {error:e}");
                worst = worst.max(error);
                let stats = expected.get(&format!("{key}.stats"));
                let norm = found
                    .iter()
                    .map(|v| f64::from(*v).powi(2))
                    .sum::<f64>()
                    .sqrt();
                let error = (norm / f64::from(stats[1]) - 1.0).abs();
                assert!(error < tolerance, "{name} {key}: norm off by {error:e}");
                worst = worst.max(error);
                compared += 1;
            };
            let images = rule_input([1, channels, size.height, size.width], device);
            let groups = &model.backbone.describe().groups;
            let groups: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
            let outputs = model.forward_intermediates(images, &groups).unwrap();
            assert_eq!(outputs.len(), groups.len());
            let (_, last) = outputs.last().unwrap().clone();
            for (group, features) in outputs {
                check(&group, features.to_vec().unwrap());
            }
            let vector = model.forward_head(last.clone(), true).unwrap();
            check("pre_logits", values(&vector));
            let logits = model.forward_head(last, false).unwrap();
            check("logits", values(&logits));

            // What is fused does not depend on the channels of the images.
            if channels != 3 {
                continue;
            }
            let images = rule_input([1, channels, size.height, size.width], device);
            fused += groups.len() + 1;
            let model = model.fuse();
            for (group, features) in model
                .forward_intermediates(images.clone(), &groups)
                .unwrap()
            {
                check(&group, features.to_vec().unwrap());
            }
            check("logits", values(&model.forward(images).unwrap()));
        }
    }
    let keys = expected
        .tensors
        .keys()
        .filter(|key| !key.ends_with(".stats"));
    assert_eq!(
        compared,
        keys.count() + fused,
        "{name}: not everything was compared"
    );
    println!("{name}: {compared} outputs agree to {worst:.1e}");
    (compared, worst)
}

/// timm's numbers of every architecture, and a hash of its tensors' names and shapes.
#[test]
fn architectures_are_described_as_in_timm() {
    let device = Device::default();
    let text = std::fs::read_to_string(fixture("architectures.json")).unwrap();
    let timm: serde_json::Value = serde_json::from_str(&text).unwrap();
    for architecture in zoo::architectures().filter(|a| common::is_chosen(a.name)) {
        let name = architecture.name;
        let expected = &timm["models"][name];
        let number = |key: &str| {
            expected[key]
                .as_u64()
                .unwrap_or_else(|| panic!("{name} {key}")) as usize
        };
        let model = Zoo::get(name).unwrap().build_zeros(&device).unwrap();
        assert_eq!(model.num_parameters(), number("num_params"), "{name}");
        assert_eq!(names_hash(&model), expected["names_sha256"], "{name}");
        assert_eq!(model.summary(None).unwrap().macs, number("macs"), "{name}");
        let described = model.backbone.describe();
        match described.second_classifier {
            None => assert_eq!(described.classifier, expected["classifier"], "{name}"),
            Some(second) => {
                let both = serde_json::json!([described.classifier, second]);
                assert_eq!(both, expected["classifier"], "{name}");
            }
        }
        let first_convs = described.first_convs.iter().map(|first| &first.conv);
        let first_convs: Vec<String> = first_convs
            .map(|conv| described.key_table.upstream(conv).unwrap_or(conv.clone()))
            .collect();
        match &expected["first_conv"] {
            serde_json::Value::String(one) => assert_eq!(&first_convs, &[one.as_str()], "{name}"),
            several => assert_eq!(&serde_json::json!(first_convs), several, "{name}"),
        }
        let mut groups = described.all_groups();
        groups.push(Group::named("head"));
        for path in model.trainable_parameters() {
            let of = groups
                .iter()
                .filter(|group| path.starts_with(&group.prefix));
            assert_eq!(of.count(), 1, "{name}: groups of {path}");
        }
        assert_eq!(described.num_features, number("num_features"), "{name}");
        assert_eq!(model.num_features(), number("head_hidden_size"), "{name}");
        assert_eq!(architecture.image_size, expected["input_size"][1], "{name}");
    }
}

/// A hash of the names and shapes of a model's tensors, as `architectures.py` makes it.
fn names_hash(model: &Classifier) -> String {
    let mut names: Vec<String> = Vec::new();
    for (name, shape) in model.state_shapes() {
        if let Some(norm) = name.strip_suffix("running_mean") {
            names.push(format!("{norm}num_batches_tracked []"));
        }
        names.push(format!("{name} {shape:?}"));
    }
    names.sort();
    Sha256::digest(names.join("\n"))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn pooling_is_timms() {
    let device = Device::default();
    let expected = Fixture::open("pooling.safetensors");
    let close = |key: &str, found: &[f32]| {
        let error = relative_error(found, expected.get(key));
        assert!(error < TOLERANCE, "{key}: off by {error:e}");
    };
    let images = rule_input([1, 3, 64, 64], &device);
    for pool in [Pool::Avg, Pool::Max, Pool::AvgMax, Pool::CatAvgMax] {
        let model = rule_model(Zoo::resnet18().num_classes(10).pool(pool), &device);
        let features = model.forward_features(images.clone()).unwrap();
        let name = pool.timm_name();
        let pooled = values(&model.forward_head(features.clone(), true).unwrap());
        assert_eq!(pooled.len(), model.num_features());
        close(&format!("{name}.pre_logits"), &sample(&pooled, 64));
        close(
            &format!("{name}.logits"),
            &values(&model.forward_head(features, false).unwrap()),
        );
    }
    let model = rule_model(Zoo::resnet18().num_classes(0).pool(Pool::None), &device);
    let flat = values(&model.forward(images.clone()).unwrap());
    close("none.output", &sample(&flat, 64));

    for pool in [Pool::Token, Pool::Avg, Pool::Max, Pool::AvgMax] {
        let spec = Zoo::test_vit().image_size(64).num_classes(10).pool(pool);
        let model = rule_model(spec, &device);
        let features = model.forward_features(images.clone()).unwrap();
        let name = pool.timm_name();
        let pooled = values(&model.forward_head(features.clone(), true).unwrap());
        close(&format!("vit.{name}.pre_logits"), &pooled);
        close(
            &format!("vit.{name}.logits"),
            &values(&model.forward_head(features, false).unwrap()),
        );
    }
}

#[test]
fn sizes_and_pools_that_do_not_fit_are_named() {
    let device = Device::default();
    let resnet = rule_model(Zoo::test_resnet().num_classes(3), &device);
    // A single pixel survives the strides.
    let one = resnet.forward(rule_input([2, 3, 1, 1], &device)).unwrap();
    assert_eq!(one.dims(), [2, 3]);
    let error = |shape| {
        resnet
            .forward(Tensor::zeros(shape, &device))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        error([1, 1, 8, 8]),
        "test_resnet: input expected as [batch, 3, height, width] with height and width of at \
         least 1, found [1, 1, 8, 8]"
    );

    let vit = rule_model(Zoo::test_vit().image_size(32).num_classes(3), &device);
    let error = vit
        .forward(Tensor::zeros([1, 3, 48, 48], &device))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "test_vit: input expected as [batch, 3, 32, 32], found [1, 3, 48, 48]"
    );
    let build = |spec: Spec| spec.weights(Weights::Random(0)).build(&device).unwrap_err();
    assert_eq!(
        build(Zoo::test_vit().image_size(15)).to_string(),
        "image_size: expected 16, the side of a patch, to 4096, found 15"
    );
    // As in timm, what is no whole patch is not seen; whoever builds such a model can tell.
    for (size, unseen) in [(230, 6), (224, 0)] {
        let vit = Zoo::test_vit().image_size(size);
        let vit = vit.build_zeros(&device).unwrap();
        assert_eq!(vit.backbone.describe().unseen_edge, [unseen; 2]);
    }
    assert_eq!(
        build(Zoo::test_vit().pool(Pool::CatAvgMax)).to_string(),
        "pool: expected one that test_vit has: avg, max, avgmax, token, none, found catavgmax"
    );
    assert_eq!(
        build(Zoo::resnet18().pool(Pool::None)).to_string(),
        "pool: expected a pooling, or num_classes 0: a head needs one vector per image, found \
         none with 1000 classes"
    );
    let unknown = resnet
        .forward_intermediates(rule_input([1, 3, 8, 8], &device), &["stage5"])
        .unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "test_resnet has no group `stage5`; its groups are stem, stage1, stage2, stage3, stage4"
    );
}
