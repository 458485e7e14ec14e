//! Surgery on the first and the last layer.

mod common;

use std::collections::BTreeMap;

use burn::tensor::{Tensor, TensorData};
use burn_zoo::prelude::*;
use burn_zoo::weights::HostTensor;
use common::{Fixture, relative_error, rule, rule_input, rule_model, sample, values};

fn device() -> Device {
    Device::default()
}

#[test]
fn sum_and_repeat_equal_timm_bit_for_bit() {
    let expected = Fixture::open("adapt.safetensors");
    let original = rule_model(Zoo::resnet18().num_classes(2), &device());
    for channels in [1, 2, 4, 5, 6, 9] {
        let rule = match channels {
            1 => StemRule::Sum,
            _ => StemRule::Repeat,
        };
        let adapted = original.clone().reset_stem(channels, &rule, 0).unwrap();
        let state = adapted.state_dict().unwrap();
        // The rule gives the fixture's eight filters as the first of the layer's 64.
        let filters = &state["conv1.weight"].data[..8 * channels * 49];
        let wanted = expected.get(&format!("c{channels}"));
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(filters), bits(wanted), "{channels} channels");
        // Nothing else moved.
        for (name, tensor) in original.state_dict().unwrap() {
            assert!(name == "conv1.weight" || state[&name] == tensor, "{name}");
        }
    }
    let error = original
        .clone()
        .reset_stem(1, &StemRule::Repeat, 0)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "stem rule `repeat`: expected two or more input channels; `fold` or `sum` serve one, found \
         1 channel"
    );
    let error = original.reset_stem(2, &StemRule::Sum, 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "stem rule `sum`: expected one input channel; `repeat` serves any other number, found 2 \
         channels"
    );
}

/// A grey image in 0..1, normalised for one channel and, replicated, for three.
fn grey_pair(size: usize, normalization: &Normalization) -> (Tensor<4>, Tensor<4>) {
    let pixels: Vec<f32> = rule("grey.weight", &[size * size])
        .into_iter()
        .map(|v| (v - 0.75) * 2.0)
        .collect();
    let tensor = |n: &Normalization| {
        let channel = |(mean, std): (&f64, &f64)| {
            let (mean, std) = (*mean as f32, *std as f32);
            pixels
                .iter()
                .map(move |p| (p - mean) / std)
                .collect::<Vec<f32>>()
        };
        let data: Vec<f32> = n.mean().iter().zip(n.std()).flat_map(channel).collect();
        let shape = [1, n.channels(), size, size];
        Tensor::from_data(TensorData::new(data, shape), &device())
    };
    (
        tensor(&normalization.for_channels(1)),
        tensor(normalization),
    )
}

/// The middle of a `[1, channels, side, side]` map.
fn middle(features: &Features, margin: usize) -> Vec<f32> {
    let Features::Map(map) = features else {
        panic!("a feature map was expected");
    };
    let [n, c, h, w] = map.dims();
    let inside = map
        .clone()
        .slice([0..n, 0..c, margin..h - margin, margin..w - margin]);
    values(&inside)
}

#[test]
fn fold_gives_what_the_rgb_replica_gives() {
    for spec in [Zoo::resnet18(), Zoo::resnet18d()] {
        let original = rule_model(spec, &device());
        let normalization = original.info().normalization.clone();
        let (grey, rgb) = grey_pair(224, &normalization);
        let folded = original.clone().reset_stem(1, &StemRule::Fold, 0).unwrap();
        let summed = original.clone().reset_stem(1, &StemRule::Sum, 0).unwrap();
        assert_eq!(folded.in_channels(), 1);
        assert_eq!(folded.info().normalization, normalization.for_channels(1));

        let groups = ["stem", "stage1"];
        let wanted = original
            .forward_intermediates(rgb.clone(), &groups)
            .unwrap();
        let found = folded.forward_intermediates(grey.clone(), &groups).unwrap();
        // The stem's kernel hangs over the border of two outputs (four with a deep stem); each of
        // stage1's four convolutions carries that one further.
        for ((name, wanted), ((_, found), margin)) in wanted.iter().zip(found.iter().zip([4, 8])) {
            let error = relative_error(&middle(found, margin), &middle(wanted, margin));
            assert!(error < 1e-5, "{name}: off by {error:e}");
        }

        let wanted = values(&original.forward(rgb).unwrap());
        let error = |model: &Classifier| {
            relative_error(&values(&model.forward(grey.clone()).unwrap()), &wanted)
        };
        let (fold, sum) = (error(&folded), error(&summed));
        println!(
            "{}: fold {fold:.2e}, sum {sum:.2e}",
            original.info().architecture
        );
        assert!(fold < 0.5 * sum, "fold {fold}, sum {sum}");
    }
}

/// Patches do not overlap a border, so a transformer's fold is exact everywhere. The first convolution
/// of CLIP has no bias: what it gains goes into the positions of the patches.
#[test]
fn fold_of_a_transformer_is_exact() {
    for spec in [Zoo::test_vit(), Zoo::vit_xsmall_patch16_clip_224()] {
        let original = rule_model(spec.image_size(64).num_classes(7), &device());
        let (grey, rgb) = grey_pair(64, &original.info().normalization);
        let folded = original.clone().reset_stem(1, &StemRule::Fold, 0).unwrap();
        let error = relative_error(
            &values(&folded.forward(grey).unwrap()),
            &values(&original.forward(rgb).unwrap()),
        );
        assert!(error < 1e-5, "off by {error:e}");
    }
}

/// The classifiers of a distilled DeiT are made, replaced and written together.
#[test]
fn two_classifiers_are_one_head() {
    let dir = tempfile::tempdir().unwrap();
    let spec = || Zoo::deit_tiny_distilled_patch16_224().image_size(32);
    let original = rule_model(spec().num_classes(7), &device());
    let images = |channels| rule_input([2, channels, 32, 32], &device());
    original.export(dir.path()).unwrap();
    let again = Classifier::open(dir.path(), &device()).unwrap();
    let state = original.state_dict().unwrap();
    assert!(again.state_dict().unwrap() == state);
    let config = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let classifiers = &config["pretrained_cfg"]["classifier"];
    assert_eq!(*classifiers, serde_json::json!(["head", "head_dist"]));

    let file = || spec().weights(dir.path().join("model.safetensors").as_path());
    for (channels, classes) in [(1, 5), (3, 0)] {
        let adapted = file().adapt(channels, classes).seed(1);
        let adapted = adapted.build(&device()).unwrap();
        let left_out = [
            "head.bias",
            "head.weight",
            "head_dist.bias",
            "head_dist.weight",
        ];
        assert_eq!(adapted.load_report().unwrap().left_out, left_out);
        let output = adapted.forward(images(channels)).unwrap();
        let found = adapted.state_dict().unwrap();
        if classes == 0 {
            assert_eq!(found.len() + 4, state.len());
            let features = original.forward_features(images(3)).unwrap();
            let vector = original.forward_head(features, true).unwrap();
            assert_eq!(vector.dims(), [2, original.num_features()]);
            assert_eq!(values(&output), values(&vector));
            continue;
        }
        assert_eq!(output.dims(), [2, classes]);
        let heads = ["head.weight", "head_dist.weight"].map(|name| &found[name]);
        assert!(heads.iter().all(|head| head.shape == [classes, 192]));
        assert_ne!(heads[0], heads[1]);
        let rule = adapted.backbone.describe().classifier_init.clone();
        let reset = original.clone().reset_head(classes, &rule, 1).unwrap();
        let reset = reset.state_dict().unwrap();
        assert!(heads == ["head.weight", "head_dist.weight"].map(|name| &reset[name]));
    }

    let model = spec().num_classes(3).build_zeros(&device().autodiff());
    let model = model.unwrap().freeze(&Freeze::Backbone).unwrap();
    let parts = ["fc.weight", "fc.bias", "fc2.weight", "fc2.bias"];
    let parts = parts.map(|part| format!("head.{part}"));
    assert_eq!(model.trainable_parameters(), parts);
}

/// What a file has for training alone, or for another pooling, stays there.
#[test]
fn what_a_model_does_not_use_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dinov2.safetensors");
    let spec = Zoo::vit_small_patch14_dinov2()
        .image_size(28)
        .num_classes(0);
    let model = spec.build_zeros(&device()).unwrap();
    let mut state = model.state_dict().unwrap();
    let mask = HostTensor {
        shape: vec![1, 384],
        data: vec![0.0; 384],
    };
    state.insert("mask_token".to_owned(), mask);
    write(&path, &state);
    let loaded = spec.weights(path.as_path()).build(&device()).unwrap();
    assert_eq!(loaded.load_report().unwrap().left_out, ["mask_token"]);
}

/// Writes a state dict as safetensors.
fn write(path: &std::path::Path, state: &BTreeMap<String, HostTensor>) {
    let bytes: Vec<Vec<u8>> = state
        .values()
        .map(|t| t.data.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = state.iter().zip(&bytes).map(|((name, tensor), bytes)| {
        let shape = tensor.shape.clone();
        let dtype = safetensors::Dtype::F32;
        (
            name.as_str(),
            safetensors::tensor::TensorView::new(dtype, shape, bytes).unwrap(),
        )
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_file_is_adapted_as_a_built_model_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test_resnet.safetensors");
    let original = rule_model(Zoo::test_resnet().num_classes(7), &device());
    write(&path, &original.state_dict().unwrap());
    let file = || Zoo::test_resnet().weights(Weights::File(path.clone()));

    // Unasked, the model is that of the file.
    let same = file().build(&device()).unwrap();
    assert_eq!((same.in_channels(), same.num_classes()), (3, 7));
    assert_eq!(same.state_dict().unwrap(), original.state_dict().unwrap());

    for (rule, channels) in [
        (StemRule::Fold, 1),
        (StemRule::Sum, 1),
        (StemRule::Repeat, 5),
        (StemRule::Fold, 5),
        (StemRule::Init(Init::Course), 1),
        (StemRule::Init(Init::Course), 3),
    ] {
        let from_file = file().in_channels(channels).stem_rule(rule.clone()).seed(3);
        let from_file = from_file.build(&device()).unwrap().state_dict().unwrap();
        let reset = original.clone().reset_stem(channels, &rule, 3).unwrap();
        assert_eq!(from_file, reset.state_dict().unwrap(), "{rule}");
        assert_ne!(
            from_file["conv1.0.weight"],
            original.state_dict().unwrap()["conv1.0.weight"]
        );
    }

    // The same number of classes keeps the head, another makes a fresh one.
    let kept = file().num_classes(7).build(&device()).unwrap();
    assert_eq!(kept.state_dict().unwrap(), original.state_dict().unwrap());
    let fresh = file()
        .adapt(3, 5)
        .head_init(Init::Course)
        .build(&device())
        .unwrap();
    let state = fresh.state_dict().unwrap();
    assert_eq!(state["fc.weight"].shape, [5, 96]);
    let bound = (6f32 / (96.0 + 5.0)).sqrt();
    let largest = state["fc.weight"]
        .data
        .iter()
        .fold(0f32, |m, v| m.max(v.abs()));
    assert!(
        largest <= bound && largest > 0.9 * bound,
        "{largest} of {bound}"
    );
    assert!(
        state["fc.bias"]
            .data
            .iter()
            .all(|v| v.abs() <= 1.0 / 96f32.sqrt() && *v != 0.0)
    );
    let reset = original.clone().reset_head(5, &Init::Course, 0).unwrap();
    assert_eq!(reset.state_dict().unwrap(), state);

    // No classes, no head.
    let headless = file().num_classes(0).build(&device()).unwrap();
    assert!(
        !headless
            .state_dict()
            .unwrap()
            .keys()
            .any(|name| name.starts_with("fc"))
    );
    let features = headless
        .forward(rule_input([2, 3, 32, 32], &device()))
        .unwrap();
    assert_eq!(features.dims(), [2, 96]);
}

#[test]
fn position_embeddings_are_resampled_as_timm_does() {
    let expected = Fixture::open("pooling.safetensors");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vit.safetensors");
    let original = rule_model(Zoo::test_vit().image_size(224).num_classes(2), &device());
    let mut state = original.state_dict().unwrap();
    // The fixture has 16 features; the other 48 of the model are zero.
    let source = rule("pos_embed", &[1, 197, 16]);
    let embed = state.get_mut("pos_embed").unwrap();
    for (token, values) in embed.data.chunks_exact_mut(64).enumerate() {
        values.fill(0.0);
        values[..16].copy_from_slice(&source[token * 16..][..16]);
    }
    write(&path, &state);
    for grid in [4, 1, 10, 20] {
        let spec = Zoo::test_vit()
            .weights(Weights::File(path.clone()))
            .image_size(16 * grid);
        let state = spec.build(&device()).unwrap().state_dict().unwrap();
        let found: Vec<f32> = state["pos_embed"]
            .data
            .chunks_exact(64)
            .flat_map(|token| token[..16].to_vec())
            .collect();
        let error = relative_error(&found, expected.get(&format!("pos_embed.{grid}")));
        assert!(error < 1e-5, "grid {grid}: off by {error:e}");
    }
}

#[test]
fn tables_of_position_biases_are_resampled_as_timm_does() {
    let expected = Fixture::open("pooling.safetensors");
    let dir = tempfile::tempdir().unwrap();
    for (name, size) in [
        ("test_maxvit", [96, 64]),
        ("test_coatnet", [64, 224]),
        ("maxvit_tiny_tf_224", [256, 160]),
        ("efficientvit_m0", [96, 64]),
        ("swin_tiny_patch4_window7_224", [96, 128]),
        ("beit_base_patch16_224", [96, 64]),
    ] {
        let path = dir.path().join(name);
        let spec = || Zoo::get(name).unwrap();
        let original = rule_model(spec().num_classes(2), &device());
        let before = original.state_dict().unwrap();
        write(&path, &before);
        let spec = spec().weights(path.as_path()).image_size(size);
        let state = spec.build(&device()).unwrap().state_dict().unwrap();
        let prefix = format!("tables.{name}.{}x{}.", size[0], size[1]);
        let mut tables: Vec<&str> = expected
            .tensors
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix))
            .collect();
        tables.sort();
        assert!(!tables.is_empty(), "{name}");
        for (key, tensor) in &state {
            if !tables.contains(&key.as_str()) {
                assert_eq!(*tensor, before[key], "{name} {key}");
                continue;
            }
            let found = sample(&tensor.data, 64);
            let error = relative_error(&found, expected.get(&format!("{prefix}{key}")));
            assert!(error < 1e-5, "{name} {key}: off by {error:e}");
        }
        assert!(tables.iter().all(|key| state.contains_key(*key)), "{name}");
    }
}

#[test]
fn groups_start_anew_by_name_and_by_pattern() {
    let original = rule_model(Zoo::test_resnet().num_classes(7), &device());
    let before = original.state_dict().unwrap();
    let rule = Init::kaiming_normal_fan_out();
    let model = original.clone().init_group("stage4", &rule, 1).unwrap();
    for (name, tensor) in model.state_dict().unwrap() {
        assert_eq!(
            name.starts_with("layer4"),
            tensor != before[&name],
            "{name}"
        );
        if name.starts_with("layer4") {
            match name.rsplit('.').next().unwrap() {
                "running_var" => assert!(tensor.data.iter().all(|v| *v == 1.0)),
                "running_mean" | "bias" => assert!(tensor.data.iter().all(|v| *v == 0.0)),
                _ if tensor.shape.len() == 1 => assert!(tensor.data.iter().all(|v| *v == 1.0)),
                _ => {
                    let fan_out = tensor.shape[0] * tensor.shape[2] * tensor.shape[3];
                    let n = tensor.data.len() as f64;
                    let square: f64 = tensor.data.iter().map(|v| f64::from(*v).powi(2)).sum();
                    let std = (square / n).sqrt() / (2.0 / fan_out as f64).sqrt();
                    assert!((std - 1.0).abs() < 5.0 / (2.0 * n).sqrt(), "{name}: {std}");
                }
            }
        }
    }
    let again = original.clone().init_group("stage4", &rule, 1).unwrap();
    assert_eq!(again.state_dict().unwrap(), model.state_dict().unwrap());
    let other = original.clone().init_group("stage4", &rule, 2).unwrap();
    assert_ne!(other.state_dict().unwrap(), model.state_dict().unwrap());

    let pattern = original
        .clone()
        .init_matching(r"^stage[12]\..*conv2", &Init::Zeros, 0)
        .unwrap();
    for (name, tensor) in pattern.state_dict().unwrap() {
        let matched =
            (name.starts_with("layer1") || name.starts_with("layer2")) && name.contains("conv2");
        assert_eq!(matched, tensor.data.iter().all(|v| *v == 0.0), "{name}");
    }

    let error = |result: burn_zoo::Result<Classifier>| result.unwrap_err().to_string();
    assert_eq!(
        error(original.clone().init_group("layer4", &Init::Zeros, 0)),
        "test_resnet has no group `layer4`; its groups are stem, stage1, stage2, stage3, stage4, \
         head"
    );
    let count = original.state_dict().unwrap().len();
    assert_eq!(
        error(
            original
                .clone()
                .init_matching("nothing_like_it", &Init::Zeros, 0)
        ),
        format!(
            "pattern `nothing_like_it`: matches none of the {count} parameters, such as \
             `stem.deep.conv1.weight`"
        )
    );
    assert!(
        error(original.init_matching("(", &Init::Zeros, 0))
            .starts_with("pattern `(`: not a regular expression: ")
    );
}

#[test]
fn arguments_out_of_range_are_named() {
    let build = |spec: Spec| {
        let spec = spec.weights(Weights::Random(0));
        spec.build(&device()).unwrap_err().to_string()
    };
    assert_eq!(
        build(Zoo::resnet18().in_channels(0)),
        "in_channels: expected 1 to 1024, found 0"
    );
    assert_eq!(
        build(Zoo::resnet18().drop_rate(1.0)),
        "drop_rate: expected a probability of at least 0 and below 1, found 1"
    );
    assert_eq!(
        build(Zoo::resnet18().drop_path_rate(f64::NAN)),
        "drop_path_rate: expected a probability of at least 0 and below 1, found NaN"
    );
    // timm's first Xception cannot be told a rate.
    assert_eq!(
        build(Zoo::legacy_xception().drop_path_rate(0.1)),
        "drop_path_rate: expected 0: the architecture has no stochastic depth, found 0.1"
    );
    assert_eq!(
        Zoo::get("resnet18.tv9")
            .unwrap_err()
            .to_string()
            .split(", found")
            .next(),
        Some(
            "weights of resnet18: expected one of the tags a1_in1k (default), a2_in1k, a3_in1k, \
             tv_in1k, fb_ssl_yfcc100m_ft_in1k, fb_swsl_ig1b_ft_in1k, gluon_in1k, fractal"
        )
    );
    assert_eq!(
        Zoo::get("resnet81").unwrap_err().to_string(),
        "unknown model `resnet81`; did you mean resnet101, resnet18, resnet18d?"
    );
    assert_eq!(
        Zoo::get("xyz").unwrap_err().to_string(),
        "unknown model `xyz`; `burn-zoo list` names them all"
    );
}

#[test]
fn random_weights_follow_upstreams_rules_and_repeat() {
    let build = |seed| {
        let spec = Zoo::resnet18().weights(Weights::Random(seed)).adapt(1, 10);
        spec.build(&device()).unwrap().state_dict().unwrap()
    };
    let state = build(1);
    assert_eq!(state, build(1));
    assert_ne!(state, build(2));
    let all = |name: &str, value: f32| state[name].data.iter().all(|v| *v == value);
    // timm's `zero_init_last`.
    assert!(all("layer3.1.bn2.weight", 0.0) && all("layer3.1.bn1.weight", 1.0));
    assert!(all("bn1.bias", 0.0) && all("bn1.running_mean", 0.0) && all("bn1.running_var", 1.0));
    let bound = 1.0 / 512f32.sqrt();
    assert!(
        state["fc.bias"]
            .data
            .iter()
            .all(|v| v.abs() <= bound && *v != 0.0)
    );
    let std = |name: &str| {
        let data = &state[name].data;
        let square: f64 = data.iter().map(|v| f64::from(*v).powi(2)).sum();
        (square / data.len() as f64).sqrt()
    };
    let wanted = (2.0 / (512.0 * 9.0f64)).sqrt();
    assert!((std("layer4.1.conv2.weight") / wanted - 1.0).abs() < 0.005);
}

#[test]
fn features_of_another_backbone_are_refused() {
    let device = Device::default();
    for (name, other) in [
        ("test_resnet", "resnet18"),
        ("test_vit", "vit_tiny_patch16_224"),
    ] {
        let model = Zoo::get(name).unwrap().build_zeros(&device).unwrap();
        let other = Zoo::get(other).unwrap().build_zeros(&device).unwrap();
        let images = Tensor::zeros([1, 3, 160, 160], &device);
        let own = model.forward_features(images).unwrap();
        assert!(model.forward_head(own.clone(), false).is_ok());
        let error = other.forward_head(own, false).unwrap_err().to_string();
        assert!(error.contains("features: expected [batch, "), "{error}");
    }
    let tokens = Features::Tokens(Tensor::zeros([1, 1, 64], &device));
    let model = Zoo::get("test_vit").unwrap().build_zeros(&device).unwrap();
    let error = model.forward_head(tokens, false).unwrap_err().to_string();
    assert!(error.contains("2 or more, 64]"), "{error}");
}
