//! Training a model by few of its parameters: peft's arithmetic, peft's files, whole runs.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use burn::optim::GradientsParams;
use burn::tensor::{Int, Tensor};
use burn_zoo::Lora;
use burn_zoo::error::Error;
use burn_zoo::prelude::*;
use burn_zoo::train::cross_entropy;
use burn_zoo::weights::{Adapter, HostTensor};
use common::{Fixture, fixture, relative_error, rule, rule_input, rule_model, sample, values};

/// A case of `tests/fixtures/lora.py`.
struct Case {
    name: &'static str,
    spec: Spec,
    size: usize,
    lora: Lora,
    matching: &'static str,
    /// What factors and head are multiplied with.
    gain: f32,
    rate: f64,
    head: &'static str,
}

fn cases() -> [Case; 2] {
    [
        Case {
            name: "test_vit",
            spec: Zoo::test_vit().image_size(32).num_classes(10),
            size: 32,
            lora: Lora::new(4).alpha(8.0),
            matching: r"^blocks\.\d+\.(attn\.(qkv|proj)|mlp\.fc[12])$",
            gain: 1.0,
            rate: 0.05,
            head: "head",
        },
        Case {
            name: "test_resnet",
            spec: Zoo::test_resnet().num_classes(10),
            size: 64,
            lora: Lora::new(4).alpha(6.0).rslora(),
            matching: r"^layer\d\.\d\.conv\d$",
            gain: 0.1,
            rate: 1e-3,
            head: "fc",
        },
    ]
}

impl Case {
    /// The model before anything was trained of it.
    fn base(&self, device: &Device) -> Classifier {
        rule_model(self.spec.clone(), device)
    }

    fn is_trained(&self, name: &str) -> bool {
        name.contains(".lora_") || name.starts_with(&format!("{}.", self.head))
    }

    fn model(&self, device: &Device) -> Classifier {
        let model = self.base(device);
        let model = model.with_lora(self.lora, Some(self.matching), 0).unwrap();
        let trained = |name: &str, shape: &[usize]| {
            self.is_trained(name).then(|| {
                let values = rule(name, shape);
                values.iter().map(|value| value * self.gain).collect()
            })
        };
        model.map_state_dict(trained).unwrap()
    }

    fn images(&self, device: &Device) -> Tensor<4> {
        rule_input([4, 3, self.size, self.size], device)
    }

    fn logits(&self, model: &Classifier) -> Vec<f32> {
        let device = model.device();
        values(&model.forward(self.images(&device)).unwrap())
    }
}

fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f64) {
    let error = relative_error(found, expected);
    assert!(error < tolerance, "{what}: off by {error:e}");
}

fn state(model: &Classifier) -> BTreeMap<String, HostTensor> {
    model.state_dict().unwrap()
}

#[test]
fn logits_and_merged_weights_are_pefts() {
    let expected = Fixture::open("lora.safetensors");
    for case in cases() {
        let get = |key: &str| expected.get(&format!("{}.{key}", case.name));
        let model = case.model(&Device::default());
        assert_eq!(model.lora(), Some(case.lora));
        let logits = case.logits(&model);
        close(case.name, &logits, get("logits"), 1e-5);

        let merged = model.clone().merge_adapters();
        assert_eq!(merged.lora(), None);
        close(case.name, &case.logits(&merged), &logits, 1e-6);
        close(case.name, &logits, get("merged_logits"), 1e-5);
        let weights = state(&merged);
        let layers = &expected.metadata[&format!("{}.layers", case.name)];
        let mut count = 0;
        for layer in layers.split(' ') {
            let found = sample(&weights[&format!("{layer}.weight")].data, 16);
            let key = format!("merged.{layer}.weight");
            close(&key, &found, get(&key), 1e-6);
            count += 1;
        }
        assert_eq!(2 * count, state(&model).len() - weights.len());

        let fused = model.fuse();
        assert_eq!(fused.model().lora(), None);
        let images = case.images(&Device::default());
        close(
            case.name,
            &values(&fused.forward(images).unwrap()),
            &logits,
            1e-4,
        );
    }
}

#[test]
fn training_steps_are_pefts() {
    let expected = Fixture::open("lora.safetensors");
    for case in cases() {
        let get = |key: &str| expected.get(&format!("{}.{key}", case.name));
        let device = Device::default().autodiff();
        let mut model = case.model(&device);
        let start = state(&model);
        let labels = Tensor::<1, Int>::from_ints([0, 3, 6, 9], &device);
        let recipe = Recipe::full()
            .with_optimizer(Optimizer::sgd())
            .weight_decay(0.1);
        let mut optimizer = recipe.optimizer(&model).unwrap();
        for (step, loss_of_step) in get("loss").iter().enumerate() {
            let loss = cross_entropy(model.forward(case.images(&device)).unwrap(), labels.clone());
            close(
                "loss",
                &values(&loss.clone().reshape([1])),
                &[*loss_of_step],
                1e-4,
            );
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            if step == 0 {
                let found = model.gradient_dict(&gradients).unwrap();
                assert_eq!(found.len(), model.trainable_parameters().len());
                for (name, tensor) in &found {
                    assert!(case.is_trained(name), "{name}");
                    let expected = get(&format!("grad.{name}"));
                    let largest = expected.iter().fold(0f32, |most, v| most.max(v.abs()));
                    for (a, b) in sample(&tensor.data, 16).iter().zip(expected) {
                        let off = (a - b).abs();
                        assert!(off <= 1e-3 * largest + 1e-7, "{name}: {a} for {b}");
                    }
                }
            }
            model = optimizer.step(case.rate, model, gradients);
        }
        for (name, tensor) in state(&model) {
            if case.is_trained(&name) {
                let key = format!("after.{name}");
                close(&key, &sample(&tensor.data, 16), get(&key), 1e-4);
            } else {
                assert_eq!(tensor, start[&name], "{name} is frozen");
            }
        }
    }
}

#[test]
fn pefts_files_are_opened() {
    let expected = Fixture::open("lora.safetensors");
    for case in cases() {
        let adapter = Adapter::open(fixture("lora").join(case.name)).unwrap();
        assert_eq!(adapter.adapt, Adapt::Lora(case.lora));
        // A head of another number of classes gives way.
        let base = rule_model(case.spec.clone().num_classes(7), &Device::default());
        let model = base.with_adapter(&adapter).unwrap();
        let logits = expected.get(&format!("{}.logits", case.name));
        close(case.name, &case.logits(&model), logits, 1e-5);
    }
}

#[test]
fn an_adapter_is_written_in_pefts_names_and_shapes() {
    for case in cases() {
        let dir = tempfile::tempdir().unwrap();
        let model = case.model(&Device::default());
        let adapter = Adapter::of(&model, Adapt::Lora(case.lora)).unwrap();
        adapter.save(dir.path()).unwrap();
        let own = Fixture::read(&dir.path().join("adapter_model.safetensors"));
        let pefts = fixture("lora")
            .join(case.name)
            .join("adapter_model.safetensors");
        let pefts = Fixture::read(&pefts).tensors;
        assert!(own.tensors.keys().eq(pefts.keys()));
        for (name, (shape, values)) in &pefts {
            assert_eq!(own.tensors[name].0, *shape, "{name}");
            close(name, &own.tensors[name].1, values, 1e-6);
        }
        assert_eq!(Adapter::open(dir.path()).unwrap(), adapter);
        assert_eq!(
            adapter.num_parameters(),
            own.tensors.values().map(|(_, v)| v.len()).sum::<usize>()
        );
    }
}

#[test]
#[ignore = "takes a Python with peft and timm in BURN_ZOO_PYTHON"]
fn peft_opens_an_adapter() {
    let python = std::env::var_os("BURN_ZOO_PYTHON").expect("BURN_ZOO_PYTHON is not set");
    let expected = Fixture::open("lora.safetensors");
    for case in cases() {
        let dir = tempfile::tempdir().unwrap();
        let model = case.model(&Device::default());
        let adapter = Adapter::of(&model, Adapt::Lora(case.lora)).unwrap();
        adapter.save(dir.path()).unwrap();
        let output = std::process::Command::new(&python)
            .arg(fixture("lora_check.py"))
            .args([case.name, &case.size.to_string()])
            .arg(dir.path())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let found: Vec<f32> = serde_json::from_slice(&output.stdout).unwrap();
        let logits = expected.get(&format!("{}.logits", case.name));
        close(case.name, &found, logits, 1e-5);
    }
}

#[test]
fn fresh_adapters_change_nothing_and_are_pefts_in_size() {
    for case in cases() {
        let device = Device::default();
        let base = case.base(&device);
        let model = base.clone().with_lora(Lora::new(4), None, 3).unwrap();
        close(case.name, &case.logits(&model), &case.logits(&base), 1e-6);
        let (before, after) = (state(&base), state(&model));
        for (name, tensor) in &after {
            let bound = 1.0 / (tensor.shape[1..].iter().product::<usize>() as f32).sqrt();
            let largest = tensor.data.iter().fold(0f32, |most, v| most.max(v.abs()));
            if name.ends_with("lora_A.weight") {
                assert!(
                    largest <= bound && largest > 0.7 * bound,
                    "{name}: {largest}"
                );
            } else if name.ends_with("lora_B.weight") {
                assert_eq!(largest, 0.0, "{name}");
            } else {
                assert_eq!(tensor, &before[name]);
            }
        }
        // By the seed alone.
        let again = base.clone().with_lora(Lora::new(4), None, 3).unwrap();
        assert_eq!(state(&again), after);
        let other = base.with_lora(Lora::new(4), None, 4).unwrap();
        assert_ne!(state(&other), after);
    }
}

#[test]
fn several_adapters_share_a_backbone() {
    for case in cases() {
        let device = Device::default();
        let base = case.base(&device);
        let tuned = case.model(&device);
        let one = Adapter::of(&tuned, Adapt::Lora(case.lora)).unwrap();
        let mut two = one.clone();
        for tensor in two.tensors.values_mut() {
            tensor.data.iter_mut().for_each(|value| *value *= -0.5);
        }
        let (first, second) = (
            base.clone().with_adapter(&one).unwrap(),
            base.clone().with_adapter(&two).unwrap(),
        );
        assert_eq!(case.logits(&first), case.logits(&tuned));
        assert_ne!(case.logits(&second), case.logits(&tuned));
        // The base is what it was, and so is what is left when an adapter is taken away.
        let head = format!("{}.", case.head);
        let start = state(&base);
        for (name, tensor) in state(&second.without_adapters()) {
            if !name.starts_with(&head) {
                assert_eq!(tensor, start[&name], "{name}");
            }
        }
        assert_eq!(state(&base), start);
        // One after the other, not one upon the other.
        let error = first.with_adapter(&two).unwrap_err().to_string();
        assert!(error.contains("merge_adapters"), "{error}");
    }
}

/// Another model's adapter does not stay beside the weights.
#[test]
fn an_export_leaves_no_old_adapter() {
    let [_, case] = cases();
    let device = Device::default();
    let dir = tempfile::tempdir().unwrap();
    case.model(&device).export(dir.path()).unwrap();
    assert!(Adapter::is_in(dir.path()));
    case.base(&device).export(dir.path()).unwrap();
    assert!(!Adapter::is_in(dir.path()));
    assert!(!dir.path().join("adapter_model.safetensors").exists());
}

#[test]
fn what_does_not_fit_is_refused() {
    const INIT: &str = "\"init_lora_weights\": true";
    let [vit, resnet] = cases();
    let device = Device::default();
    let refused = |pattern: &str| match vit.base(&device).with_lora(vit.lora, Some(pattern), 0) {
        Err(Error::Pattern { reason, .. }) => reason,
        other => panic!("{:?}", other.map(|model| model.lora())),
    };
    let reason = refused("nothing_like_it");
    assert!(reason.contains("blocks.0.attn.qkv"), "{reason}");
    assert!(refused("(").contains("regular expression"));
    let reason = refused("^head$");
    assert!(reason.contains("trains as a whole"), "{reason}");

    let adapter = Adapter::open(fixture("lora/test_resnet")).unwrap();
    let error = vit.base(&device).with_adapter(&adapter).unwrap_err();
    assert!(error.to_string().contains("adapter"), "{error}");
    let named = Adapter {
        architecture: "test_resnet".to_owned(),
        ..adapter.clone()
    };
    let error = vit.base(&device).with_adapter(&named).unwrap_err();
    assert!(error.to_string().contains("test_vit"), "{error}");
    let mut half = adapter.clone();
    half.tensors.remove("layer1.0.conv1.lora_B.weight").unwrap();
    let error = resnet.base(&device).with_adapter(&half).unwrap_err();
    assert!(error.to_string().contains("layer1.0.conv1.lora_B.weight"));
    let mut more = adapter.clone();
    let tensor = more.tensors["fc.bias"].clone();
    more.tensors.insert("fd.bias".to_owned(), tensor);
    let error = resnet.base(&device).with_adapter(&more).unwrap_err();
    assert!(error.to_string().contains("fd.bias"), "{error}");

    // All faults at once: a matrix on its side, one that is not there, one too many.
    let mut faults = more.clone();
    let [a, b] = [
        "layer2.0.conv1.lora_B.weight",
        "layer1.0.conv1.lora_B.weight",
    ];
    let turned = faults.tensors.get_mut(a).unwrap();
    turned.shape.swap(0, 1);
    faults.tensors.remove(b).unwrap();
    let error = resnet.base(&device).with_adapter(&faults).unwrap_err();
    let Error::WeightsMismatch(report) = error else {
        panic!("{error}");
    };
    assert_eq!(report.missing, [b]);
    assert_eq!(report.unused, ["fd.bias"]);
    assert_eq!(report.shapes.len(), 1);
    assert_eq!(report.shapes[0].name, a);
    assert_eq!(report.matched, adapter.tensors.len() - 2);

    let text = std::fs::read_to_string(fixture("lora/test_vit/adapter_config.json")).unwrap();
    for (from, to) in [
        ("\"use_dora\": false", "\"use_dora\": true"),
        ("\"rank_pattern\": {}", "\"rank_pattern\": {\"x\": 2}"),
        ("\"LORA\"", "\"LOHA\""),
        (INIT, "\"init_lora_weights\": \"pissa_niter_4\""),
        (INIT, "\"init_lora_weights\": \"olora\""),
    ] {
        assert!(text.contains(from), "{from}");
        let dir = tempfile::tempdir().unwrap();
        let copy = |name: &str| fixture("lora/test_vit").join(name);
        std::fs::copy(
            copy("adapter_model.safetensors"),
            dir.path().join("adapter_model.safetensors"),
        )
        .unwrap();
        std::fs::write(
            dir.path().join("adapter_config.json"),
            text.replace(from, to),
        )
        .unwrap();
        let error = Adapter::open(dir.path()).unwrap_err();
        assert!(matches!(error, Error::Folder { .. }), "{to}: {error}");
    }
    // Weights made anew would keep adapters that were for others.
    let model = || resnet.model(&device);
    for changed in [
        model().reset_stem(1, &StemRule::Fold, 0),
        model().init_group("stage1", &Init::Zeros, 0),
        model().init_matching("conv1", &Init::Zeros, 0),
    ] {
        let error = changed.map(|model| model.lora()).unwrap_err();
        assert!(error.to_string().contains("merge_adapters"), "{error}");
    }
}

/// Adapters stay where the structure is built anew.
#[test]
fn other_drop_rates_keep_adapters() {
    for case in cases() {
        let model = case.model(&Device::default());
        let other = model.clone().with_drop_rates(0.25, 0.0).unwrap();
        assert_eq!(other.lora(), model.lora());
        assert_eq!(case.logits(&other), case.logits(&model));
        assert_eq!(other.trainable_parameters(), model.trainable_parameters());
    }
}

/// In every kind of family layers are found, and with adapters that say something the model computes
/// something else, with them folded in the same.
#[test]
fn every_kind_of_family_takes_adapters() {
    for (name, size) in [
        ("resnet10t", 32),
        ("resnext50_32x4d", 32),
        ("mobilenetv3_small_050", 32),
        ("efficientnet_b0", 32),
        ("convnext_atto", 32),
        ("convnextv2_atto", 32),
        ("regnetx_002", 32),
        ("regnety_002", 32),
        ("vgg11_bn", 32),
        ("squeezenet1_1", 32),
        ("repvgg_a0", 32),
        ("mobileone_s0", 32),
        ("fastvit_t8", 64),
        ("repvit_m0_9", 32),
        ("edgenext_xx_small", 64),
        ("mobilevit_xxs", 64),
        ("ghostnet_050", 32),
        ("test_nfnet", 64),
        ("test_vit", 160),
    ] {
        let device = Device::default();
        let model = rule_model(Zoo::get(name).unwrap().num_classes(3), &device);
        let adapted = model.clone().with_lora(Lora::new(2), None, 1).unwrap();
        let images = rule_input([1, 3, size, size], &device);
        let logits = |model: &Classifier| values(&model.forward(images.clone()).unwrap());
        close(name, &logits(&adapted), &logits(&model), 1e-6);
        let adapted = adapted
            .map_state_dict(|name, shape| {
                let gain = 0.1;
                let values = rule(name, shape).into_iter().map(|value| gain * value);
                name.ends_with("lora_B.weight").then(|| values.collect())
            })
            .unwrap();
        let with = logits(&adapted);
        assert_ne!(with, logits(&model), "{name}");
        let merged = adapted.clone().merge_adapters();
        close(name, &logits(&merged), &with, 1e-6);
        let fused = values(&adapted.fuse().forward(images.clone()).unwrap());
        close(name, &fused, &with, 1e-3);
        assert_eq!(
            logits(&adapted.without_adapters()),
            logits(&model),
            "{name}"
        );
    }
}

/// No architecture is left out, and all layers have names that peft's files can hold.
#[test]
fn every_architecture_has_layers_for_adapters() {
    let device = Device::default();
    for architecture in Zoo::list("*") {
        let name = architecture.name;
        let model = Zoo::get(name).unwrap().build_zeros(&device).unwrap();
        let model = model.with_lora(Lora::new(1), None, 0).unwrap();
        let names: Vec<String> = model.state_shapes().into_keys().collect();
        let factors = |end: &str| names.iter().filter(|n| n.ends_with(end)).count();
        let count = factors(".lora_A.weight");
        assert!(count > 0, "{name}");
        assert_eq!(factors(".lora_B.weight"), count, "{name}");
        let odd = names.iter().find(|name| name.contains(['[', '{']));
        assert!(odd.is_none(), "{name}: {odd:?}");
    }
}

/// Trains three steps and tells what moved, by upstream's name.
fn moved(model: Classifier, size: usize) -> Vec<String> {
    let device = model.device();
    let images = rule_input([8, 3, size, size], &device);
    let labels = Tensor::<1, Int>::from_ints([0, 1, 2, 3, 0, 1, 2, 3], &device);
    let mut optimizer = Recipe::full().optimizer(&model).unwrap();
    let start = state(&model);
    let mut model = model;
    for _ in 0..3 {
        let loss = cross_entropy(model.forward(images.clone()).unwrap(), labels.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-2, model, gradients);
    }
    let after = state(&model).into_iter();
    let moved = after.filter(|(name, tensor)| *tensor != start[name]);
    moved.map(|(name, _)| name).collect()
}

#[test]
fn biases_or_normalisations_train_alone() {
    let device = Device::default().autodiff();
    let resnet = || rule_model(Zoo::test_resnet().num_classes(4), &device);
    let vit = || rule_model(Zoo::test_vit().image_size(32).num_classes(4), &device);
    let with = |model: Classifier, adapt: Adapt| {
        let recipe = Recipe::full().adapt(adapt);
        recipe.adapted(model).unwrap()
    };
    let biases = moved(with(resnet(), Adapt::BiasOnly), 64);
    assert!(biases.iter().any(|name| name == "layer1.0.bn1.bias"));
    for name in biases {
        let is_bias = name.ends_with(".bias") || name.contains("running_");
        assert!(is_bias || name.starts_with("fc."), "{name}");
    }
    // Nor do scales where the normalisations of frozen layers train.
    let of_frozen = resnet().freeze_for(
        &Freeze::up_to("stage2"),
        FrozenNorm::TrainAffine,
        Adapt::BiasOnly,
    );
    let biases = of_frozen.unwrap().trainable_parameters();
    assert!(biases.iter().any(|name| name == "stage1.0.bn1.bias"));
    for name in biases {
        assert!(
            name.ends_with(".bias") || name.starts_with("head."),
            "{name}"
        );
    }
    let norms = moved(with(resnet(), Adapt::NormOnly), 64);
    assert!(norms.iter().any(|name| name == "layer1.0.bn1.weight"));
    // Kernels have four dimensions, and no convolution here has a bias.
    let shapes = state(&resnet());
    for name in norms {
        let is_norm = shapes[&name].shape.len() == 1;
        assert!(is_norm || name.starts_with("fc."), "{name}");
    }
    let biases = moved(with(vit(), Adapt::BiasOnly), 32);
    assert!(biases.iter().any(|name| name == "blocks.0.mlp.fc1.bias"));
    assert!(
        biases
            .iter()
            .all(|name| name.ends_with(".bias") || name == "head.weight")
    );
    let norms = moved(with(vit(), Adapt::NormOnly), 32);
    assert!(norms.iter().any(|name| name == "norm.weight"));
    assert!(
        norms
            .iter()
            .all(|name| name.contains("norm") || name.starts_with("head."))
    );
    // With adapters, what is frozen beside them stays frozen.
    let frozen = with(resnet(), Adapt::lora(2)).freeze(&Freeze::up_to("stage2"));
    for name in moved(frozen.unwrap(), 64) {
        let is_late = name.starts_with("layer3") || name.starts_with("layer4");
        assert!(
            name.starts_with("fc.") || (is_late && name.contains("lora_")),
            "{name}"
        );
    }
}

#[test]
fn an_adapter_of_biases_goes_back_on() {
    let device = Device::default();
    let base = rule_model(Zoo::test_resnet().num_classes(10), &device);
    let tuned = base
        .clone()
        .map_state_dict(|name, shape| {
            let differs = name.ends_with(".bias") || name.contains("running_mean");
            differs.then(|| rule("another", shape))
        })
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    Adapter::of(&tuned, Adapt::BiasOnly)
        .unwrap()
        .save(dir.path())
        .unwrap();
    let mut adapter = Adapter::open(dir.path()).unwrap();
    let found = base.clone().with_adapter(&adapter).unwrap();
    assert_eq!(state(&found), state(&tuned));

    // Nothing may be missing, and nothing else of the model may be there.
    let missing = ["layer1.0.bn1.bias", "layer1.0.bn1.running_var"];
    for name in missing {
        adapter.tensors.remove(name).unwrap();
    }
    let weight = "layer1.0.conv1.weight";
    let tensor = state(&tuned)[weight].clone();
    adapter.tensors.insert(weight.to_owned(), tensor);
    match base.with_adapter(&adapter).unwrap_err() {
        Error::WeightsMismatch(report) => {
            assert_eq!(report.missing, missing);
            assert_eq!(report.unused, [weight]);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn recipes_are_checked() {
    let recipe = Recipe::full()
        .adapt(Adapt::lora(4))
        .adapt_matching("conv2$");
    let text = recipe.to_toml().unwrap();
    assert_eq!(Recipe::from_toml(&text).unwrap(), recipe, "{text}");
    for adapt in [
        "'lora:rank=4'",
        "'lora:rank=4,alpha=8'",
        "{ kind = 'lora', rank = 4 }",
    ] {
        let text = format!("adapt = {adapt}\nadapt_matching = 'conv2$'");
        assert_eq!(Recipe::from_toml(&text).unwrap(), recipe, "{adapt}");
    }
    for text in [
        "adapt = 'bias-only'\nadapt_matching = 'x'",
        "adapt = 'lora:rank=0'",
        "adapt = { kind = 'lora', alpha = -1.0 }",
        "recipe = 'features'\nadapt = 'lora'",
    ] {
        Recipe::from_toml(text).unwrap_err();
    }
    let model = rule_model(Zoo::test_resnet(), &Device::default());
    let other = Recipe::full().adapt(Adapt::lora(2));
    let adapted = recipe.adapted(model).unwrap();
    assert!(other.adapted(adapted.clone()).is_err());
    // A pattern is never just left aside.
    for pattern in ["conv1$", "conv[12]$"] {
        let other = recipe.clone().adapt_matching(pattern);
        let error = other.adapted(adapted.clone()).map(|model| model.lora());
        let error = error.unwrap_err().to_string();
        assert!(error.contains(pattern), "{error}");
    }
    let without = Recipe::full().adapt_matching("conv2$");
    let plain = rule_model(Zoo::test_resnet(), &Device::default());
    assert!(without.adapted(plain).is_err());
    assert_eq!(
        recipe.adapted(adapted.clone()).unwrap().lora(),
        adapted.lora()
    );
}

#[cfg(feature = "fashion-mnist-mini")]
mod runs {
    use std::sync::Arc;

    use burn::module::Module as _;
    use burn_zoo::data::ImageSet;
    use burn_zoo::train::{
        EmaConfig, FeatureCache, FitOptions, Monitor, Parallel, Place, Run, RunConfig, StepRecord,
        resume,
    };

    use super::*;

    fn images() -> (Arc<ImageSet>, Arc<ImageSet>) {
        let data = FashionMnist::bundled().unwrap();
        let parts = (data.train().take_first(160), data.test().take_first(64));
        (Arc::new(parts.0), Arc::new(parts.1))
    }

    fn model() -> Classifier {
        // A random one begins with normalisations of 0 behind each block, which stay so: no adapter in a
        // block would have a gradient.
        let spec = Zoo::test_resnet().adapt(1, 10);
        rule_model(spec, &Device::default().autodiff())
    }

    fn recipe(adapt: Adapt) -> Recipe {
        let recipe = Recipe::full().epochs(2).batch_size(32).learning_rate(5e-3);
        recipe.adapt(adapt)
    }

    #[derive(Default)]
    struct Watch {
        notices: Vec<String>,
        stop_after: Option<usize>,
        steps: usize,
    }

    impl Monitor for Watch {
        fn step(
            &mut self,
            _: &StepRecord,
            _: &mut burn_zoo::train::Control,
        ) -> burn_zoo::Result<()> {
            self.steps += 1;
            Ok(())
        }
        fn notice(&mut self, text: &str) {
            self.notices.push(text.to_owned());
        }
        fn should_stop(&mut self) -> bool {
            self.stop_after.is_some_and(|steps| self.steps >= steps)
        }
    }

    fn fit(recipe: &Recipe, dir: &Path, watch: &mut Watch) -> burn_zoo::Result<Run> {
        let (train, valid) = images();
        recipe.fit_with(model(), train, valid, dir, FitOptions::default(), watch)
    }

    #[test]
    fn a_run_leaves_a_whole_model_and_an_adapter() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let watch = &mut Watch::default();
        let finished = fit(&recipe(Adapt::lora(4)), &run, watch).unwrap();
        let said = watch.notices.iter().any(|n| n.starts_with("lora:rank=4: "));
        assert!(said, "{:?}", watch.notices);
        let config = RunConfig::open(&run).unwrap();
        assert_eq!(config.recipe.adapt, Adapt::lora(4));

        // The best model is one without adapters, and the adapter makes it from what it began with.
        let device = Device::default();
        let best = Classifier::open(run.join("best"), &device).unwrap();
        assert_eq!(best.lora(), None);
        assert_eq!(state(&best), state(finished.model()));
        let adapter = Adapter::open(run.join("best")).unwrap();
        let start = state(&model());
        let trained = config.model["trainable"].as_integer().unwrap();
        assert_eq!(adapter.num_parameters(), trained as usize);
        assert_eq!(adapter.classes, best.info().classes);
        let again = model().valid().with_adapter(&adapter).unwrap();
        let again = state(&again.merge_adapters());
        let mut changed = 0;
        for (name, tensor) in state(&best) {
            let off = relative_error(&again[&name].data, &tensor.data);
            assert!(off < 1e-6, "{name}: off by {off:e}");
            changed += usize::from(tensor != start[&name]);
        }
        // Weights with adapters, and the head.
        assert_eq!(2 * (changed - 2), adapter.tensors.len() - 2);
    }

    /// Also within an epoch, with averaged weights and with frozen groups in front.
    #[test]
    fn a_run_goes_on_to_the_bit() {
        let recipes = [
            recipe(Adapt::lora(2)),
            recipe(Adapt::lora(2)).ema(EmaConfig::new(0.9)),
            recipe(Adapt::lora(2))
                .unfreeze(Unfreeze::Gradual { every: Some(0.5) })
                .freeze(Freeze::Backbone),
            recipe(Adapt::BiasOnly),
            recipe(Adapt::NormOnly).freeze(Freeze::up_to("stage1")),
        ];
        for recipe in recipes {
            let dir = tempfile::tempdir().unwrap();
            let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
            let expected = fit(&recipe, &whole, &mut Watch::default()).unwrap();
            let stopping = &mut Watch {
                stop_after: Some(3),
                ..Watch::default()
            };
            let error = fit(&recipe, &parts, stopping).unwrap_err();
            assert!(matches!(error, Error::Interrupted { .. }), "{error}");
            let (train, valid) = images();
            let device = Device::default();
            let options = FitOptions::default();
            let found = resume(&parts, &device, train, valid, options, &mut ()).unwrap();
            assert_eq!(state(found.model()), state(expected.model()));
            let losses = |run: &Run| -> Vec<f64> {
                run.epochs().iter().map(|epoch| epoch.train_loss).collect()
            };
            assert_eq!(losses(&found), losses(&expected));
        }
    }

    #[test]
    fn a_checkpoint_without_its_weights_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let stopping = &mut Watch {
            stop_after: Some(3),
            ..Watch::default()
        };
        fit(&recipe(Adapt::lora(2)), &run, stopping).unwrap_err();
        let checkpoints = std::fs::read_dir(run.join("checkpoints")).unwrap();
        let bases = checkpoints
            .map(|entry| entry.unwrap().path().join("adapter_base.safetensors"))
            .find(|path| path.is_file())
            .unwrap();
        let refused = || {
            let (train, valid) = images();
            let device = Device::default();
            let options = FitOptions::default();
            match resume(&run, &device, train, valid, options, &mut ()) {
                Err(Error::Folder { path, reason }) => {
                    assert_eq!(path, bases, "{reason}");
                    reason
                }
                other => panic!("{:?}", other.map(|run| run.epochs().len())),
            }
        };
        // Of other layers, the file is there and does not fit.
        let weights = bases.with_file_name("adapter_model.safetensors");
        std::fs::copy(weights, &bases).unwrap();
        let reason = refused();
        assert!(reason.contains("weights of"), "{reason}");
        std::fs::remove_file(&bases).unwrap();
        let reason = refused();
        assert!(reason.contains("before the adapters"), "{reason}");
    }

    /// Normalisations are frozen, so that ranks and parts compute what one device does.
    #[test]
    fn ranks_and_cut_models_train_adapters_alike() {
        let device = Device::default();
        let on_two = FitOptions {
            parallel: Parallel {
                devices: vec![device.clone(); 2],
                ..Parallel::default()
            },
            ..FitOptions::default()
        };
        let cut = FitOptions {
            place: Place {
                parts: vec![
                    ("stem..stage2".to_owned(), device.clone()),
                    ("stage3..head".to_owned(), device.clone()),
                ],
                micro_batches: 2,
            },
            ..FitOptions::default()
        };
        let losses = |batch: usize, options: FitOptions| -> Vec<f64> {
            let dir = tempfile::tempdir().unwrap();
            let (train, valid) = images();
            // Adam would make much of what rounding makes of gradients near zero.
            let recipe = recipe(Adapt::lora(2))
                .batch_size(batch)
                .with_optimizer(Optimizer::sgd());
            let run = dir.path().join("run");
            let run = recipe.fit_with(model(), train, valid, run, options, &mut ());
            let run = run.unwrap();
            let adapter = Adapter::open(run.dir().join("best")).unwrap();
            assert_eq!(adapter.adapt, Adapt::lora(2));
            run.epochs().iter().map(|epoch| epoch.train_loss).collect()
        };
        let alone = losses(32, FitOptions::default());
        for other in [losses(16, on_two), losses(32, cut)] {
            for (found, expected) in other.iter().zip(&alone) {
                assert!((found - expected).abs() < 1e-3, "{other:?} and {alone:?}");
            }
        }
    }

    /// With all groups frozen nothing is left to adapters, at any time of the run.
    #[test]
    fn adapters_have_something_to_train() {
        let dir = tempfile::tempdir().unwrap();
        for (index, adapt) in [Adapt::lora(2), Adapt::BiasOnly].into_iter().enumerate() {
            let run = dir.path().join(index.to_string());
            let frozen = recipe(adapt).freeze(Freeze::up_to("stage4"));
            let error = fit(&frozen, &run, &mut Watch::default()).unwrap_err();
            assert!(error.to_string().contains("beside the head"), "{error}");
            assert!(!run.exists());
        }
    }

    /// Adapters within and behind frozen groups: what these compute is kept, and nothing else changes by it.
    #[test]
    fn features_of_a_frozen_prefix_are_kept() {
        // Fresh adapters add nothing, wherever they are.
        let started = || {
            let model = model().with_lora(Lora::new(2), None, 1).unwrap();
            let factors = |name: &str, shape: &[usize]| {
                let gain = 0.1;
                let values = rule(name, shape).into_iter().map(|value| gain * value);
                name.ends_with("lora_B.weight").then(|| values.collect())
            };
            model.map_state_dict(factors).unwrap()
        };
        let of = |cache: &str| {
            let dir = tempfile::tempdir().unwrap();
            let mut recipe = recipe(Adapt::lora(2))
                .freeze(Freeze::up_to("stage2"))
                .with_optimizer(Optimizer::sgd());
            recipe.feature_cache = cache.parse::<FeatureCache>().unwrap();
            let watch = &mut Watch::default();
            let (train, valid) = images();
            let (run, options) = (dir.path().join("run"), FitOptions::default());
            let run = recipe.fit_with(started(), train, valid, run, options, watch);
            let run = run.unwrap();
            let kept = watch.notices.iter().any(|n| n.contains("features of"));
            (run.epochs()[1].train_loss, kept)
        };
        let ((with, kept), (without, none)) = (of("memory"), of("off"));
        assert!(kept && !none);
        assert!((with - without).abs() < 1e-4, "{with} and {without}");
    }
}
