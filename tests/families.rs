//! What holds of every family of the zoo, shown with its smallest variant (and with a ConvNeXt V2,
//! which has a layer that no other has).

mod common;

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Int, TensorData};
use burn_zoo::data::ImageSet;
use burn_zoo::init::Rng;
use burn_zoo::prelude::*;
use burn_zoo::train::{
    Control, EpochStart, FeatureCache, FitOptions, Monitor, Parallel, cross_entropy,
};
use burn_zoo::weights::HostTensor;
use burn_zoo::zoo::Architecture;
use burn_zoo::{Group, InputSize, zoo};
use common::{distance, fixture, relative_error, rule, rule_input, values};

const BATCH: usize = 4;
const CLASSES: usize = 5;
/// Parameters of a model, or of a group, that is not gone through in every way.
const LARGE: usize = 20_000_000;

/// A variant and the side of the images that it gets.
struct Member {
    name: &'static str,
    family: &'static str,
    size: usize,
}

fn members() -> Vec<Member> {
    let parameters = |architecture: &Architecture| architecture.numbers().unwrap().parameters;
    let mut smallest: Vec<&Architecture> = Vec::new();
    for architecture in zoo::architectures().filter(|a| common::is_chosen(a.name)) {
        match smallest
            .iter_mut()
            .find(|a| a.family == architecture.family)
        {
            None => smallest.push(architecture),
            Some(least) if parameters(architecture) < parameters(least) => *least = architecture,
            Some(_) => {}
        }
    }
    let members = smallest.into_iter().map(|architecture| {
        let (name, family) = (architecture.name, architecture.family);
        let model = Zoo::get(name).unwrap().build_zeros(&Device::default());
        let size = match (family, model.unwrap().backbone.describe().input_size) {
            // Its last stage has two positions on a side then: of a single one, attention learns nothing.
            ("EfficientVitMsra", _) => 128,
            // A product with four rows may end in other bits than with eight; here are at least 16.
            ("TinyVit", _) => 64,
            // Of a single position PoolFormer's mean around it leaves nothing.
            ("MetaFormer", _) => 64,
            // Of a single position a shift says nothing that the next normalisation leaves.
            ("RepGhostNet", _) => 64,
            // Attention of a single patch learns nothing.
            ("MobileVit" | "MobileVitV2", _) => 64,
            // Statistics of four values alone leave too little to divide by.
            ("RepVit" | "RegNet", _) => 96,
            // The last stage of a Swin has two positions on a side then.
            (_, InputSize::Exactly(_)) => 64,
            (_, InputSize::AtLeast(least)) => least.max(32),
            (_, InputSize::MultipleOf(side)) => side.next_multiple_of(32),
        };
        Member { name, family, size }
    });
    let v2 = Member {
        name: "convnextv2_atto",
        family: "ConvNeXt",
        size: 32,
    };
    members.chain([v2]).collect()
}

fn training() -> Device {
    Device::default().autodiff()
}

/// The values of the rule; of a large tensor those of its first rows, over and over.
fn start(name: &str, shape: &[usize]) -> Vec<f32> {
    const ROWS: usize = 37;
    let length = shape.iter().product::<usize>();
    if length < 1 << 20 || shape[0] <= ROWS {
        return rule(name, shape);
    }
    let mut few = shape.to_vec();
    few[0] = ROWS;
    rule(name, &few).into_iter().cycle().take(length).collect()
}

impl Member {
    fn spec(&self) -> Spec {
        Zoo::get(self.name).unwrap().image_size(self.size)
    }

    fn model(&self, classes: usize, device: &Device) -> Classifier {
        self.model_of(self.spec().num_classes(classes), device)
    }

    fn model_of(&self, spec: Spec, device: &Device) -> Classifier {
        let model = spec.build_zeros(device).unwrap();
        let model = model.map_state_dict(|name, shape| Some(start(name, shape)));
        model.unwrap()
    }

    fn images(&self, channels: usize, device: &Device) -> Tensor<4> {
        rule_input([BATCH, channels, self.size, self.size], device)
    }

    /// One step of plain SGD.
    fn step(&self, model: Classifier) -> Classifier {
        self.step_at(model, 0.1)
    }

    fn step_at(&self, model: Classifier, rate: f64) -> Classifier {
        let device = model.device();
        let labels = Tensor::<1, Int>::from_ints([0, 1, 2, 3], &device);
        let recipe = Recipe::full().with_optimizer("sgd:momentum=0".parse().unwrap());
        let mut optimizer = recipe.optimizer(&model).unwrap();
        let images = self.images(model.in_channels(), &device);
        let loss = cross_entropy(model.forward(images).unwrap(), labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        optimizer.step(rate, model, gradients)
    }
}

/// Our path and the group of every tensor, by upstream's name.
fn places(model: &Classifier) -> BTreeMap<String, (String, String)> {
    let description = model.backbone.describe();
    let mut groups = description.all_groups();
    groups.push(Group::named("head"));
    let shapes = model.state_shapes();
    let mut places = BTreeMap::new();
    for path in model.trainable_parameters() {
        let name = description.key_table.upstream(&path);
        let name = name.unwrap_or_else(|| path.clone());
        let of = groups
            .iter()
            .filter(|group| path.starts_with(&group.prefix));
        let [group] = of.collect::<Vec<_>>()[..] else {
            panic!("{path} is in no group, or in two");
        };
        if let (Some(layer), Some(ours)) =
            (name.strip_suffix("weight"), path.strip_suffix("weight"))
        {
            for statistic in ["running_mean", "running_var"] {
                let place = (format!("{ours}{statistic}"), group.name.clone());
                places.insert(format!("{layer}{statistic}"), place);
            }
        }
        places.insert(name, (path, group.name.clone()));
    }
    places.retain(|name, _| shapes.contains_key(name));
    assert!(
        places.keys().eq(shapes.keys()),
        "every tensor is in a group"
    );
    places
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

type State = BTreeMap<String, HostTensor>;

/// A grey image in 0..1, normalised for one channel and, replicated, for three.
fn grey_pair(size: usize, normalization: &Normalization) -> [Tensor<4>; 2] {
    let pixels = rule("grey.weight", &[size * size]);
    [normalization.for_channels(1), normalization.clone()].map(|normalization| {
        let channels = normalization.mean().iter().zip(normalization.std());
        let data: Vec<f32> = channels
            .flat_map(|(mean, std)| {
                let (mean, std) = (*mean as f32, *std as f32);
                pixels.iter().map(move |v| ((v - 0.75) * 2.0 - mean) / std)
            })
            .collect();
        let shape = [1, normalization.channels(), size, size];
        Tensor::from_data(TensorData::new(data, shape), &Device::default())
    })
}

/// What was exported opens as it was.
fn check_export(member: &Member, model: &Classifier, before: &State, dir: &Path) {
    let again = Classifier::open(dir, &Device::default()).unwrap();
    assert!(again.state_dict().unwrap() == *before, "{}", member.name);
    let [a, b] = [model, &again].map(|model| {
        let images = member.images(3, &Device::default());
        bits(&values(&model.forward(images).unwrap()))
    });
    assert_eq!(a, b, "{}", member.name);
    let config = std::fs::read_to_string(dir.join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let text = std::fs::read_to_string(fixture("architectures.json")).unwrap();
    let timm: serde_json::Value = serde_json::from_str(&text).unwrap();
    let (name, weights) = (member.name, &config["pretrained_cfg"]);
    assert_eq!(config["architecture"], name);
    for key in ["classifier", "first_conv"] {
        assert_eq!(weights[key], timm["models"][name][key], "{name}");
    }
}

/// A file for three channels and 1000 classes, as it is and for others.
#[test]
fn exports_open_exactly_and_are_adapted() {
    for member in members() {
        let name = member.name;
        let dir = tempfile::tempdir().unwrap();
        let original = member.model(1000, &Device::default());
        original.export(dir.path()).unwrap();
        let before = original.state_dict().unwrap();
        check_export(&member, &original, &before, dir.path());
        let file = dir.path().join("model.safetensors");
        for (channels, classes) in [(1, 10), (4, 7), (3, 0)] {
            let spec = member.spec().weights(file.as_path());
            let adapted = spec.adapt(channels, classes).seed(1);
            let adapted = adapted.build(&Device::default()).unwrap();
            assert_eq!(
                (adapted.in_channels(), adapted.num_classes()),
                (channels, classes)
            );
            check_values(&adapted, &before, name);
            let described = adapted.backbone.describe();
            let heads = [Some(described.classifier), described.second_classifier];
            let heads = heads.into_iter().flatten();
            let left_out =
                heads.flat_map(|head| ["bias", "weight"].map(|part| format!("{head}.{part}")));
            let left_out: Vec<String> = left_out.collect();
            assert_eq!(adapted.load_report().unwrap().left_out, left_out, "{name}");
            let scores = adapted
                .forward(member.images(channels, &Device::default()))
                .unwrap();
            match classes {
                0 => {
                    let features = original.forward_features(member.images(3, &Device::default()));
                    let vector = original.forward_head(features.unwrap(), true).unwrap();
                    assert_eq!(vector.dims(), [BATCH, original.num_features()]);
                    assert_eq!(bits(&values(&scores)), bits(&values(&vector)), "{name}");
                }
                _ => assert_eq!(scores.dims(), [BATCH, classes]),
            }
            // A standardised kernel has another scale then.
            // A layer without a normalisation and a bias has no place for the constant.
            let described = original.backbone.describe();
            let takes_constant = described.first_convs.iter().all(|first| {
                let bias = described
                    .key_table
                    .upstream(&format!("{}.bias", first.conv));
                let bias = bias.unwrap_or_else(|| format!("{}.bias", first.conv));
                let has_place =
                    first.norm.is_some() || first.into_positions || before.contains_key(&bias);
                has_place && !first.is_standardized
            });
            if channels == 1 && takes_constant {
                check_grey(&member, &original, &adapted);
            }
        }
    }
}

/// The paths of the classifiers' parameters.
fn heads(model: &Classifier) -> Vec<&'static str> {
    let second = model.backbone.describe().second_classifier;
    let second = second.map(|_| ["head.fc2.weight", "head.fc2.bias"]);
    ["head.fc.weight", "head.fc.bias"]
        .into_iter()
        .chain(second.into_iter().flatten())
        .collect()
}

/// The first and the last layer are as they should be, everything else is the same to the bit.
fn check_values(adapted: &Classifier, before: &State, name: &str) {
    let description = adapted.backbone.describe();
    let upstream = |path: &str| {
        description
            .key_table
            .upstream(path)
            .unwrap_or(path.to_owned())
    };
    let (channels, classes) = (adapted.in_channels(), adapted.num_classes());
    let state = adapted.state_dict().unwrap();
    let head: BTreeMap<String, &str> = heads(adapted)
        .into_iter()
        .map(|path| (upstream(path), path))
        .collect();
    let left_out = if classes == 0 { head.len() } else { 0 };
    assert_eq!(state.len() + left_out, before.len());
    let first_convs = description.first_convs.iter();
    let convs: Vec<String> = first_convs
        .map(|first| upstream(&format!("{}.weight", first.conv)))
        .collect();
    // What the kernel adds to a grey image, the running mean or the bias makes up for.
    let first_convs = description.first_convs.iter();
    let shifted = first_convs.filter(|first| channels == 1 && !first.is_standardized);
    let shifted: Vec<String> = shifted
        .map(|first| match (&first.norm, &description.pos_embed) {
            (Some(norm), _) => upstream(&format!("{norm}.running_mean")),
            (None, Some(positions)) if first.into_positions => upstream(&positions.path),
            (None, _) => upstream(&format!("{}.bias", first.conv)),
        })
        .collect();
    for (tensor, now) in &state {
        let old = &before[tensor];
        if let Some(path) = head.get(tensor) {
            let (init, mut rng) = (&description.classifier_init, Rng::new(1, path));
            let weight = upstream(&path.replace("bias", "weight"));
            let shape = [classes, state[&weight].shape[1]];
            let expected = if path.ends_with("bias") {
                init.bias(&shape, classes, &mut rng)
            } else {
                init.weight(&shape, &mut rng)
            };
            assert_eq!(now.data, expected.unwrap(), "{name} {tensor}");
        } else if convs.contains(tensor) && channels != 3 {
            let taps: usize = old.shape[2..].iter().product();
            let out = old.shape[0];
            assert_eq!(now.shape, [&[out, channels], &old.shape[2..]].concat());
            if channels == 4 {
                let of = |o: usize, c: usize| &old.data[(3 * o + c % 3) * taps..][..taps];
                let repeated = (0..out).flat_map(|o| (0..4).flat_map(move |c| of(o, c)));
                let expected: Vec<f32> = repeated.map(|tap| tap * 0.75).collect();
                assert_eq!(now.data, expected, "{name} {tensor}");
            }
        } else if shifted.contains(tensor) {
            assert_eq!(now.shape, old.shape);
            assert_ne!(now.data, old.data, "{name} {tensor}");
        } else {
            assert_eq!(now.shape, old.shape, "{name} {tensor}");
            assert!(bits(&now.data) == bits(&old.data), "{name} {tensor}");
        }
    }
}

/// A grey image gives what its RGB replica gives: everywhere where patches are cut out for tokens, else in
/// the interior of the first group, where no kernel hangs over the border.
fn check_grey(member: &Member, original: &Classifier, adapted: &Classifier) {
    let size = match original.backbone.describe().input_size {
        InputSize::Exactly([side, _]) => side,
        InputSize::AtLeast(least) => least.max(96),
        InputSize::MultipleOf(side) => side.next_multiple_of(96),
    };
    let pair = grey_pair(size, &original.info().normalization);
    let [found, expected] = [adapted, original].map(|model| {
        let image = pair[usize::from(model.in_channels() == 3)].clone();
        let first = model.groups()[0].clone();
        let first = model.forward_intermediates(image, &[&first]).unwrap();
        let (_, first) = first.into_iter().next().unwrap();
        match first {
            Features::Map(map) => {
                let [_, channels, height, width] = map.dims();
                let border = 4.min((height - 1) / 2);
                let [rows, columns] = [height, width].map(|side| border..side - border);
                values(&map.slice([0..1, 0..channels, rows, columns]))
            }
            tokens => tokens.to_vec().unwrap(),
        }
    });
    let error = relative_error(&found, &expected);
    println!("{}: grey is off by {error:.1e}", member.name);
    assert!(error < 1e-5, "{}: off by {error:e}", member.name);
}

/// The groups one after the other; of a large model every second one, then the others.
fn turns(model: &Classifier) -> Vec<Vec<String>> {
    let groups = model.groups();
    let turns = if model.num_parameters() > LARGE {
        2
    } else {
        groups.len()
    };
    let turn = |turn| groups.iter().skip(turn).step_by(turns).cloned().collect();
    (0..turns).map(turn).collect()
}

/// After a step, parameters and running statistics of what is frozen are what they were, to the bit,
/// and everything else has moved. What the step made can be fused.
#[test]
fn each_group_freezes() {
    for member in members() {
        let model = member.model(CLASSES, &training());
        let before = model.state_dict().unwrap();
        let places = places(&model);
        for (turn, frozen) in turns(&model).into_iter().enumerate() {
            let freeze = Freeze::only(&frozen);
            let after = member.step(model.clone().freeze(&freeze).unwrap());
            for (name, tensor) in after.state_dict().unwrap() {
                let place = format!("{} without {frozen:?}: {name}", member.name);
                assert!(tensor.data.iter().all(|v| v.is_finite()), "{place}");
                let same = tensor.data == before[&name].data;
                // What is added to all scores of a head alike changes nothing, and does not learn; nor
                // does a shift that the next normalisation takes away, of which rounding is left at most.
                let is_nothing = name.ends_with("meta_mlp.fc2.bias")
                    || name.ends_with("attn.k.bias")
                    || ["RepGhostNet", "MobileVit", "RepVit"].contains(&member.family)
                        && name.ends_with(".bias");
                if !is_nothing {
                    assert_eq!(same, frozen.contains(&places[&name].1), "{place}");
                }
            }
            if turn == 0 {
                // A larger step leaves some networks, at this size, with scores beyond all numbers.
                let gentle = member.step_at(model.clone(), 1e-3);
                check_fused(&member, &gentle.valid());
            }
        }
    }
}

fn check_fused(member: &Member, model: &Classifier) {
    let images = || member.images(3, &Device::default());
    let expected = values(&model.forward(images()).unwrap());
    let fused = model.fuse();
    // The first run prepares the kernels.
    for _ in 0..2 {
        let error = relative_error(&values(&fused.forward(images()).unwrap()), &expected);
        println!("{}: fused is off by {error:.1e}", member.name);
        // With weights of this size a RepViT doubles rounding from block to block.
        let bound = if member.family == "RepVit" {
            1e-3
        } else {
            1e-5
        };
        assert!(error < bound, "{}: off by {error:e}", member.name);
    }
}

#[test]
fn a_frozen_backbone_leaves_the_head() {
    let mut with_pre_logits = Vec::new();
    for member in members() {
        let spec = member.spec().num_classes(CLASSES);
        let model = spec.build_zeros(&training()).unwrap();
        let trains = |freeze: Freeze| {
            model
                .clone()
                .freeze(&freeze)
                .unwrap()
                .trainable_parameters()
        };
        let head = heads(&model);
        assert_eq!(trains(Freeze::Backbone), head, "{}", member.name);
        let groups = model.groups();
        assert_eq!(groups.last().unwrap(), "head");
        // What stands before the classifier is a group of its own.
        if groups[groups.len() - 2] == "pre_logits" {
            with_pre_logits.push(member.name);
            let last = &model.backbone.describe().groups.last().unwrap().name;
            let rest = trains(Freeze::up_to(last));
            let own = &rest[..rest.len() - head.len()];
            assert!(!own.is_empty() && rest[own.len()..] == head);
            assert!(own.iter().all(|path| path.starts_with("pre_logits.")));
            let without = trains(Freeze::only(["pre_logits"]));
            assert_eq!(
                without.len() + own.len(),
                model.trainable_parameters().len()
            );
        }
    }
    assert!(with_pre_logits.len() > 2, "{with_pre_logits:?}");
}

#[test]
fn gradual_unfreezing_goes_down_the_groups() {
    for member in members() {
        let spec = member.spec().num_classes(CLASSES);
        let model = spec.build_zeros(&training()).unwrap();
        let groups = model.groups();
        let recipe = Recipe::gradual().epochs(groups.len());
        let plan = recipe.plan(&model, 10).unwrap();
        let backbone = groups.iter().rev().skip(1);
        let frozen = backbone.map(Freeze::up_to).chain([Freeze::Nothing]);
        let expected: Vec<(usize, Freeze)> = frozen.enumerate().map(|(i, f)| (10 * i, f)).collect();
        assert_eq!(plan.changes(), expected, "{}", member.name);
        // Each group 2.6 times slower than the one above it.
        assert!(plan.groups().eq(groups.iter().map(String::as_str)));
        let rates = plan.at(0).rates;
        assert!(
            rates
                .windows(2)
                .all(|pair| (pair[1] / pair[0] - 2.6).abs() < 1e-9)
        );
    }
}

/// Random images of one channel.
fn image_set(name: &str, count: usize, size: usize) -> Arc<ImageSet> {
    let pixels = rule(&format!("{name}.weight"), &[count * size * size]);
    let pixels = pixels.iter().map(|v| ((v - 0.75) * 511.0) as u8).collect();
    let labels = (0..count).map(|index| index % CLASSES).collect();
    let classes = (0..CLASSES).map(|class| class.to_string()).collect();
    Arc::new(ImageSet::new(pixels, labels, (size, size), 1, classes).unwrap())
}

/// Counts the batches that went through the frozen part to be kept.
#[derive(Default)]
struct Kept(usize);

impl Monitor for Kept {
    fn epoch_started(&mut self, _: &EpochStart<'_>, _: &mut Control) -> burn_zoo::Result<()> {
        Ok(())
    }
    fn features(&mut self, _: usize, _: usize) {
        self.0 += 1;
    }
}

/// A run with and without kept features: the losses and the weights are the same to the bit. When
/// features are kept, what evaluates them is not fused; that shows in the last bits of its loss.
fn check_kept(keep: impl Fn(&Member) -> bool) {
    for member in members().into_iter().filter(keep) {
        let model = member.model_of(member.spec().adapt(1, CLASSES), &training());
        // Everything but the head, and but the head and what stands before it.
        let mut freezes = vec![Freeze::Backbone];
        let description = model.backbone.describe();
        if description.has_pre_logits {
            let last = description.groups.last().unwrap();
            freezes.push(Freeze::up_to(&last.name));
        }
        if member.family == "Vgg" {
            freezes.remove(0);
        }
        for freeze in freezes {
            let run = |cache: &str| {
                let dir = tempfile::tempdir().unwrap();
                let recipe = Recipe::full()
                    .freeze(freeze.clone())
                    .with_optimizer("sgd:momentum=0".parse().unwrap())
                    .epochs(2)
                    .batch_size(8)
                    .image_size(member.size)
                    .feature_cache(cache.parse::<FeatureCache>().unwrap());
                // Products of few rows, and strided convolutions of small maps, add up in another order when
                // there are fewer images. Where that shows, all batches are whole.
                let exact = [
                    "ResNet",
                    "MobileNetV3",
                    "ConvNeXt",
                    "Vgg",
                    "VisionTransformer",
                    "Swin",
                ];
                let count = if exact.contains(&member.family) {
                    20
                } else {
                    24
                };
                let data = [("train", count), ("valid", 9)];
                let [train, valid] = data.map(|(name, count)| image_set(name, count, member.size));
                let (dir, mut kept) = (dir.path().join("run"), Kept::default());
                let options = FitOptions::default();
                let run = recipe.fit_with(model.clone(), train, valid, dir, options, &mut kept);
                (run.unwrap(), kept.0)
            };
            let ((without, none), (with, kept)) = (run("off"), run("memory"));
            let place = format!("{}, {freeze}", member.name);
            assert_eq!((none, kept), (0, 3 + 2), "{place}");
            for (a, b) in without.epochs().iter().zip(with.epochs()) {
                let figures = [a, b].map(|e| [e.train_loss, e.train_accuracy, e.valid_accuracy]);
                assert_eq!(figures[0], figures[1], "{place}");
                let off = (a.valid_loss - b.valid_loss).abs();
                println!("{place}: validation is off by {off:.1e}");
                assert!(off < 1e-6 * a.valid_loss, "{place}: {off:e}");
            }
            let [a, b] = [&without, &with].map(|run| run.model().state_dict().unwrap());
            for (name, tensor) in &a {
                assert!(*tensor == b[name], "{place}: another {name}");
            }
        }
    }
}

#[test]
fn kept_features_change_nothing() {
    // With the rule's weights, the attention of the latter makes a thousand of one rounding error.
    check_kept(|member| !["Vgg", "EfficientVitMsra"].contains(&member.family));
}

/// By itself: most of its time is for writing 530 MB in each epoch.
#[test]
fn kept_features_of_a_vgg_change_nothing() {
    check_kept(|member| member.family == "Vgg");
}

/// Every group, with a rule that gives biases values, too; a large one with zeros.
/// With several ranks, gradients are summed group by group while the others are computed.
#[test]
fn a_step_cut_between_groups_is_that_of_the_whole() {
    for member in members() {
        let model = member.model_of(member.spec().adapt(1, CLASSES), &training());
        if model.num_parameters() > LARGE {
            continue;
        }
        let run = |overlap: bool| {
            let dir = tempfile::tempdir().unwrap();
            let recipe = Recipe::full()
                .with_optimizer("sgd:momentum=0".parse().unwrap())
                .epochs(1)
                .batch_size(4)
                .image_size(member.size);
            let images = ["train", "valid"].map(|name| image_set(name, 8, member.size));
            let [train, valid] = images;
            let parallel = Parallel {
                devices: vec![Device::default(); 2],
                overlap,
                ..Parallel::default()
            };
            let options = FitOptions {
                parallel,
                ..FitOptions::default()
            };
            let dir = dir.path().join("run");
            let run = recipe.fit_with(model.clone(), train, valid, dir, options, &mut ());
            run.unwrap()
        };
        let (whole, cut) = (run(false), run(true));
        let moved = distance(&model, whole.model());
        let apart = distance(whole.model(), cut.model());
        println!("{}: moved {moved:.1e}, apart {apart:.1e}", member.name);
        assert!(apart < 1e-6 && moved > 1e-5, "{}: {apart}", member.name);
    }
}

#[test]
fn groups_start_anew() {
    for member in members() {
        let model = member.model(CLASSES, &Device::default());
        let before = model.state_dict().unwrap();
        let places = places(&model);
        // What is neither a weight nor its bias, such as a layer scale, may start the same in every model.
        let news = LazyCell::new(|| {
            [1, 2].map(|seed| {
                let spec = member.spec().num_classes(CLASSES);
                let new = spec
                    .weights(Weights::Random(seed))
                    .build(&Device::default());
                new.unwrap().state_dict().unwrap()
            })
        });
        let constant = |name: &str| {
            let [one, other] = news.each_ref().map(|state| &state[name].data);
            (one == other).then(|| one.clone())
        };
        for anew in turns(&model) {
            let rule = |group: &str| {
                let own = places.iter().filter(|(_, (_, of))| of == group);
                let count: usize = own.map(|(name, _)| before[name].data.len()).sum();
                if count > LARGE {
                    Init::Zeros
                } else {
                    Init::PyTorch
                }
            };
            let mut model = model.clone();
            for group in &anew {
                model = model.init_group(group, &rule(group), 3).unwrap();
            }
            for (name, tensor) in model.state_dict().unwrap() {
                let (path, group) = &places[&name];
                let place = format!("{}, {anew:?}: {name}", member.name);
                if !anew.contains(group) {
                    assert!(tensor.data == before[&name].data, "{place}");
                    continue;
                }
                let (rule, mut rng) = (rule(group), Rng::new(3, path));
                let length = tensor.data.len();
                let (layer, kind) = path.rsplit_once('.').unwrap();
                let upstream = name.rsplit_once('.').map_or("", |(layer, _)| layer);
                let weight = before.get(&format!("{upstream}.weight"));
                let weight = weight.map(|tensor| &tensor.shape[..]);
                let expected = match (kind, weight) {
                    _ if layer.ends_with(".grn") => vec![0.0; length],
                    (_, None) if constant(&name).is_some() => constant(&name).unwrap(),
                    // Of the last standardised kernels of a block, and of the others.
                    ("gain", _) if layer.ends_with("conv3") => vec![0.0; length],
                    ("gain", _) => vec![1.0; length],
                    ("weight", Some([_])) | ("running_var", _) => vec![1.0; length],
                    ("bias", Some([_])) | ("running_mean", _) => vec![0.0; length],
                    ("bias", Some(weight)) => rule.bias(weight, length, &mut rng).unwrap(),
                    _ => rule.weight(&tensor.shape, &mut rng).unwrap(),
                };
                assert!(tensor.data == expected, "{place}");
            }
        }
    }
}

/// With the family's own rule and the seed of a new model, a group becomes that of the new model, but
/// for layers that have another rule.
#[test]
fn groups_become_those_of_a_new_model() {
    let (narrow, fan_out) = (Init::trunc_normal(0.02), Init::kaiming_normal_fan_out());
    for member in members() {
        let (rule, others): (_, &[&str]) = match member.family {
            // The last normalisations of its blocks start as nothing.
            "ResNet" => (
                &fan_out,
                &[
                    "head.fc.weight",
                    "head.fc.bias",
                    ".bn2.weight",
                    ".bn3.weight",
                ],
            ),
            "ConvNeXt" => (&narrow, &[]),
            "VisionTransformer" => (&narrow, &["stem.proj.", "stem.cls_token"]),
            "Swin" => (&narrow, &["stem.proj."]),
            // Others have a rule for each layer, or take too long.
            _ => continue,
        };
        let spec = member
            .spec()
            .num_classes(CLASSES)
            .weights(Weights::Random(9));
        let new = spec.build(&Device::default()).unwrap();
        let places = places(&new);
        let mut model = member.model(CLASSES, &Device::default());
        for group in model.groups() {
            model = model.init_group(&group, rule, 9).unwrap();
        }
        let (model, new) = (model.state_dict().unwrap(), new.state_dict().unwrap());
        for (name, tensor) in model {
            let path = &places[&name].0;
            let is_other = others.iter().any(|other| path.contains(other));
            let same = tensor.data == new[&name].data;
            assert!(same || is_other, "{}: {name}", member.name);
        }
    }
}

#[test]
fn what_is_dropped_is_random_in_training_alone() {
    for member in members() {
        let device = training();
        device.seed(5);
        let model = member.model(CLASSES, &device);
        // A clone, as a forward pass moves running statistics.
        let trained = |model: &Classifier| {
            let images = member.images(3, &device);
            bits(&values(&model.clone().forward(images).unwrap()))
        };
        let evaluated = |model: &Classifier| {
            let images = member.images(3, &Device::default());
            bits(&values(&model.valid().forward(images).unwrap()))
        };
        // Of a Swin V2 CR, the network that computes biases drops features whatever is asked for.
        let drops_anyway = member.family == "SwinV2Cr";
        let is_random = trained(&model) != trained(&model);
        assert_eq!(is_random, drops_anyway, "{}", member.name);
        let plain = evaluated(&model);
        // A VGG has no blocks to drop.
        let drops_paths = format!("{:?}", model.backbone).contains("DropPath");
        for (drop_rate, drop_path_rate) in [(0.5, 0.0), (0.0, 0.5)] {
            let place = format!("{}, {drop_rate}, {drop_path_rate}", member.name);
            let dropping = match model.clone().with_drop_rates(drop_rate, drop_path_rate) {
                Ok(dropping) => dropping,
                Err(error) => {
                    let refused = error.to_string();
                    let expected = "drop_path_rate: expected 0: the architecture has no";
                    assert!(
                        drop_path_rate > 0.0 && refused.starts_with(expected),
                        "{place}"
                    );
                    continue;
                }
            };
            let is_random = drop_rate > 0.0 || drops_paths;
            assert_eq!(
                trained(&dropping) != trained(&dropping),
                is_random,
                "{place}"
            );
            assert_eq!(evaluated(&dropping), plain, "{place}");
            let all = Freeze::only(model.groups());
            let frozen = dropping.freeze(&all).unwrap();
            assert_eq!(trained(&frozen), trained(&frozen), "{place}, frozen");
        }
        // What was frozen stays frozen.
        let frozen = model.freeze(&Freeze::Backbone).unwrap();
        let Ok(dropping) = frozen.with_drop_rates(0.0, 0.5) else {
            continue;
        };
        let head = ["head.fc.weight", "head.fc.bias"];
        assert_eq!(dropping.trainable_parameters(), head);
        assert_eq!(trained(&dropping), trained(&dropping), "{}", member.name);
    }
}

#[test]
fn a_summary_names_every_layer() {
    for member in members() {
        let spec = member.spec().num_classes(CLASSES);
        let model = spec.build_zeros(&Device::default()).unwrap();
        let summary = model.summary(Some(member.size.into())).unwrap();
        let mut names: Vec<&str> = Vec::new();
        for layer in &summary.layers {
            // Pooling and the products of attention have no parameters, and no name.
            let is_product = ["Mean", "AttentionScores", "AttentionValues"].contains(&&*layer.kind);
            let is_nameless = is_product || layer.kind.ends_with("Pool2d");
            assert_eq!(
                layer.name.is_empty(),
                is_nameless,
                "{}: {layer:?}",
                member.name
            );
            assert_eq!(
                layer.parameters == 0,
                is_nameless,
                "{}: {layer:?}",
                member.name
            );
            if !is_nameless {
                assert!(
                    !names.contains(&layer.name.as_str()),
                    "{} twice",
                    layer.name
                );
                names.push(&layer.name);
            }
        }
        let counted = summary
            .layers
            .iter()
            .map(|layer| layer.parameters)
            .sum::<usize>();
        assert_eq!(counted, model.num_parameters(), "{}", member.name);
        assert_eq!((summary.parameters, summary.trainable), (counted, counted));
        // Each parameter's layer, or the parameter itself.
        for path in model.trainable_parameters() {
            let layer = path.rsplit_once('.').unwrap().0;
            let is_there = names.contains(&layer) || names.contains(&path.as_str());
            assert!(is_there, "{}: {path}", member.name);
        }
    }
}
