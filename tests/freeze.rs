//! Frozen means frozen: shown after real training steps.

mod common;

use burn::optim::GradientsParams;
use burn::tensor::{Int, Tensor};
use burn_zoo::prelude::*;
use burn_zoo::train::cross_entropy;
use common::{rule_input, rule_model};

const BATCH: usize = 8;

fn model() -> Classifier {
    rule_model(
        Zoo::test_resnet().num_classes(4),
        &Device::default().autodiff(),
    )
}

/// Three steps of AdamW with weight decay; what each parameter's gradient was, by upstream's name.
fn train(mut model: Classifier) -> (Classifier, Vec<String>, usize) {
    let device = model.device();
    let images = rule_input([BATCH, 3, 64, 64], &device);
    let labels = Tensor::<1, Int>::from_ints([0, 1, 2, 3, 0, 1, 2, 3], &device);
    let recipe = Recipe::full()
        .with_optimizer(Optimizer::adamw())
        .weight_decay(0.1);
    let mut optimizer = recipe.optimizer(&model).unwrap();
    let mut with_gradient = Vec::new();
    for _ in 0..3 {
        let loss = cross_entropy(model.forward(images.clone()).unwrap(), labels.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        with_gradient = model
            .gradient_dict(&gradients)
            .unwrap()
            .into_keys()
            .collect();
        model = optimizer.step(1e-2, model, gradients);
    }
    let states = optimizer.num_states();
    (model, with_gradient, states)
}

/// Trains with this freeze and asserts that exactly the tensors that `frozen` names stay.
fn check(freeze: Freeze, norm: FrozenNorm, frozen: impl Fn(&str) -> bool) {
    let before = model();
    let start = before.state_dict().unwrap();
    let (after, gradients, _) = train(before.freeze_with(&freeze, norm).unwrap());
    let mut stayed = 0;
    for (name, tensor) in after.state_dict().unwrap() {
        let same = tensor == start[&name];
        assert_eq!(same, frozen(&name), "{freeze}, {norm:?}: {name}");
        let is_statistic = name.contains("running_");
        assert_eq!(
            gradients.contains(&name),
            !same && !is_statistic,
            "{freeze}: {name}"
        );
        stayed += usize::from(same);
    }
    println!(
        "{freeze}, {norm:?}: {stayed} of {} tensors stayed",
        start.len()
    );
}

#[test]
fn nothing_is_frozen() {
    check(Freeze::Nothing, FrozenNorm::Frozen, |_| false);
}

#[test]
fn the_backbone_is_frozen() {
    check(Freeze::Backbone, FrozenNorm::Frozen, |name| {
        !name.starts_with("fc")
    });
}

#[test]
fn everything_up_to_a_group_is_frozen() {
    let frozen = ["conv1.", "bn1.", "layer1.", "layer2."];
    check(Freeze::up_to("stage2"), FrozenNorm::Frozen, |name| {
        frozen.iter().any(|prefix| name.starts_with(prefix))
    });
}

#[test]
fn only_the_named_groups_are_frozen() {
    check(
        Freeze::only(["stage1", "head"]),
        FrozenNorm::Frozen,
        |name| name.starts_with("layer1") || name.starts_with("fc"),
    );
}

#[test]
fn a_pattern_freezes_what_it_matches() {
    check(
        Freeze::matching(r"conv2\.weight$"),
        FrozenNorm::Frozen,
        |name| {
            // The deep stem's second convolution is upstream's `conv1.3`.
            name.ends_with("conv2.weight") || name == "conv1.3.weight"
        },
    );
    // The statistics of a normalisation whose scale and shift are frozen stay as well.
    check(
        Freeze::matching(r"stage1\.0\.bn1\.(weight|bias)"),
        FrozenNorm::Frozen,
        |name| name.starts_with("layer1.0.bn1"),
    );
    // A normalisation that matches as a whole stops moving its statistics.
    check(
        Freeze::matching(r"stage[12]\.0\.bn1\."),
        FrozenNorm::Frozen,
        |name| name.starts_with("layer1.0.bn1") || name.starts_with("layer2.0.bn1"),
    );
}

#[test]
fn frozen_statistics_with_a_trainable_scale() {
    check(Freeze::Backbone, FrozenNorm::TrainAffine, |name| {
        let statistics = name.contains("running_");
        let of_norm = name.contains("bn") || name.contains("downsample.2");
        let of_norm = of_norm || name.starts_with("conv1.1.") || name.starts_with("conv1.4.");
        !name.starts_with("fc") && (statistics || !of_norm)
    });
}

#[test]
fn frozen_parameters_have_no_optimiser_state() {
    let (_, _, all) = train(model());
    let frozen = model().freeze(&Freeze::Backbone).unwrap();
    let (_, gradients, head) = train(frozen);
    assert_eq!(gradients, ["fc.bias", "fc.weight"]);
    assert!(head > 0 && head * 10 < all, "{head} of {all}");
}

#[test]
fn thawing_lets_everything_train_again() {
    let frozen = model().freeze(&Freeze::Backbone).unwrap();
    assert_eq!(
        frozen.trainable_parameters(),
        ["head.fc.weight", "head.fc.bias"]
    );
    let start = frozen.state_dict().unwrap();
    let (after, _, _) = train(frozen.freeze(&Freeze::Nothing).unwrap());
    for (name, tensor) in after.state_dict().unwrap() {
        assert_ne!(tensor, start[&name], "{name}");
    }
}

#[test]
fn surgery_keeps_what_is_frozen() {
    let frozen = model().freeze(&Freeze::up_to("stage2")).unwrap();
    let before = frozen.trainable_parameters();
    let reset = frozen.reset_stem(1, &StemRule::Fold, 0).unwrap();
    assert_eq!(reset.trainable_parameters(), before);
    let reset = reset.reset_head(3, &Init::Course, 0).unwrap();
    assert_eq!(reset.trainable_parameters(), before);

    // The statistics of the frozen stem stay where they are after surgery, too.
    let start = reset.state_dict().unwrap();
    let device = reset.device();
    reset.forward(rule_input([4, 1, 32, 32], &device)).unwrap();
    let after = reset.state_dict().unwrap();
    for name in ["conv1.1.running_mean", "layer2.0.bn1.running_var"] {
        assert_eq!(after[name], start[name], "{name}");
    }
    assert_ne!(
        after["layer3.0.bn1.running_mean"],
        start["layer3.0.bn1.running_mean"]
    );
}

#[test]
fn a_model_on_a_plain_device_keeps_what_is_frozen() {
    use burn::module::Module;
    let plain = rule_model(Zoo::test_resnet().num_classes(4), &Device::default());
    let frozen = plain.freeze(&Freeze::Backbone).unwrap().train();
    assert_eq!(
        frozen.trainable_parameters(),
        ["head.fc.weight", "head.fc.bias"]
    );
    let again = frozen.valid().train();
    assert_eq!(
        again.trainable_parameters(),
        ["head.fc.weight", "head.fc.bias"]
    );
}

#[test]
fn unknown_groups_and_patterns_are_named() {
    let error = |freeze: Freeze| model().freeze(&freeze).unwrap_err().to_string();
    let known = "its groups are stem, stage1, stage2, stage3, stage4, head";
    assert_eq!(
        error(Freeze::up_to("layer2")),
        format!("test_resnet has no group `layer2`; {known}")
    );
    assert_eq!(
        error(Freeze::only(["stem", "tail"])),
        format!("test_resnet has no group `tail`; {known}")
    );
    assert!(error(Freeze::matching("conv9")).starts_with("pattern `conv9`: matches none of the "));
    // Running statistics do not train, so nothing would be frozen.
    let statistics = error(Freeze::matching("running_(mean|var)"));
    assert!(statistics.contains("matches none of the "), "{statistics}");
    assert_eq!(
        "everything".parse::<Freeze>().unwrap_err().to_string(),
        "freeze: expected nothing, backbone, up-to:GROUP, only:GROUP,.. or matching:REGEX, found \
         `everything`"
    );
    for text in [
        "nothing",
        "backbone",
        "up-to:stage2",
        "only:stem,head",
        "matching:^stem",
    ] {
        assert_eq!(text.parse::<Freeze>().unwrap().to_string(), text);
    }
}

#[test]
fn a_transformers_groups_freeze_as_well() {
    let vit = rule_model(
        Zoo::test_vit().image_size(32).num_classes(4),
        &Device::default().autodiff(),
    );
    let vit = vit.freeze(&Freeze::up_to("block5")).unwrap();
    let trains = vit.trainable_parameters();
    assert!(trains.iter().all(|path| {
        ["blocks.5.", "norm.", "head."]
            .iter()
            .any(|prefix| path.starts_with(prefix))
    }));
    assert_eq!(trains.len(), 12 + 2 + 2);
}

#[test]
fn the_summary_says_what_is_frozen() {
    let model = rule_model(Zoo::resnet18().adapt(1, 10), &Device::default());
    let summary = model
        .freeze(&Freeze::Backbone)
        .unwrap()
        .summary(Some(28.into()))
        .unwrap();
    assert_eq!((summary.parameters, summary.trainable), (11_175_370, 5_130));
    let first = &summary.layers[0];
    assert_eq!(
        (first.name.as_str(), first.kind.as_str()),
        ("stem.conv", "Conv2d")
    );
    assert_eq!(
        (first.output.as_slice(), first.parameters),
        (&[64, 14, 14][..], 3136)
    );
    assert_eq!(first.macs, 3136 * 14 * 14);
    let text = summary.to_string();
    assert!(text.contains("head.fc") && text.contains("trains") && text.contains("frozen"));
    assert!(text.ends_with(
        "parameters 11 175 370 (trainable 5 130, frozen 11 170 240), multiply-accumulates \
         33 010 944\n"
    ));
    // torchvision publishes 1.814 GMACs for ResNet-18 at 224 pixels.
    let full = Zoo::resnet18().build_zeros(&Device::default()).unwrap();
    let macs = full.summary(None).unwrap().macs as f64;
    assert!((macs / 1.814e9 - 1.0).abs() < 1e-3, "{macs}");
}
