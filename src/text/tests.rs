//! Values as text: what is written is read back as the same, and flags and recipe files take the
//! same texts.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use crate::Error;
use crate::adapt::StemRule;
use crate::data::Sampler;
use crate::prelude::*;
use crate::preprocess::augment::{
    Affine, ColorJitter, HorizontalFlip, RandAugment, RandomCrop, RandomErasing, RandomResizedCrop,
    Spread, Transform, TrivialAugmentWide, VerticalFlip, Views,
};
use crate::train::{
    BackboneRate, CachePlace, ClassWeights, Clip, FeatureCache, Metric, Per, Plateau, Precision,
    RateScaling,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Writes and reads a value: as a flag, as text in a recipe's file, and as the file has it.
#[track_caller]
fn both_ways<T>(key: &str, value: T, set: impl Fn(&mut Recipe, T))
where
    T: Display + FromStr<Err = Error> + PartialEq + Debug + Clone,
{
    let text = value.to_string();
    assert_eq!(text.parse::<T>().unwrap(), value, "{text}");
    let mut recipe = Recipe::full().augment(Augment::flip_crop());
    set(&mut recipe, value);
    let file = match key {
        "augment" => format!("augment = '{text}'"),
        _ => format!("augment = 'flip-crop'\n{key} = '{text}'"),
    };
    assert_eq!(Recipe::from_toml(&file).unwrap(), recipe, "{file}");
    let file = recipe.to_toml().unwrap();
    assert_eq!(Recipe::from_toml(&file).unwrap(), recipe, "{file}");
}

fn part() -> impl Strategy<Value = f64> + Clone {
    prop_oneof![1e-9..1.0f64, Just(0.5), Just(0.9)]
}

fn schedules() -> impl Strategy<Value = Schedule> {
    prop_oneof![
        Just(Schedule::Constant),
        (1..9usize, part()).prop_map(|(epochs, gamma)| Schedule::Step { epochs, gamma }),
        (vec(1..40usize, 1..5), part())
            .prop_map(|(milestones, gamma)| Schedule::MultiStep { milestones, gamma }),
        part().prop_map(|gamma| Schedule::Exponential { gamma }),
        part().prop_map(|end| Schedule::Linear { end }),
        (part(), part()).prop_map(|(power, end)| Schedule::Polynomial { power, end }),
        (part(), 1..6usize, 0.3..3.0f64, part()).prop_map(
            |(end, cycles, cycle_mul, cycle_decay)| Schedule::Cosine {
                end,
                cycles,
                cycle_mul,
                cycle_decay,
            }
        ),
        (part(), 1.0..1e6f64, [part(), part(), part()]).prop_map(|(pct_start, div, momentum)| {
            Schedule::OneCycle {
                pct_start,
                div,
                div_final: 1e5,
                momentum,
            }
        }),
        (part(), 0..99usize, part()).prop_map(|(factor, patience, threshold)| {
            Schedule::Plateau(Plateau {
                factor,
                patience,
                threshold,
                ..Plateau::default()
            })
        }),
    ]
}

fn rates() -> impl Strategy<Value = Rates> {
    prop_oneof![
        Just(Rates::Same),
        part().prop_map(|lowest| Rates::Geometric { lowest }),
        (1.0..9.0f64).prop_map(|divide| Rates::Factor { divide }),
        Just(Rates::Slice),
        (part(), part()).prop_map(|(decay, min_scale)| Rates::LayerDecay { decay, min_scale }),
    ]
}

fn optimizers() -> impl Strategy<Value = Optimizer> {
    let betas = || [part(), part()];
    prop_oneof![
        prop::sample::select(Optimizer::names()).prop_map(|name| name.parse().unwrap()),
        (part(), any::<bool>())
            .prop_map(|(momentum, nesterov)| Optimizer::Sgd { momentum, nesterov }),
        (betas(), part()).prop_map(|(betas, epsilon)| Optimizer::AdamW { betas, epsilon }),
        (part(), part(), any::<bool>()).prop_map(|(alpha, epsilon, centered)| {
            Optimizer::RmsProp {
                alpha,
                momentum: 0.0,
                centered,
                epsilon,
            }
        }),
        betas().prop_map(|betas| Optimizer::Lion { betas }),
    ]
}

fn freezes() -> impl Strategy<Value = Freeze> {
    prop_oneof![
        Just(Freeze::Nothing),
        Just(Freeze::Backbone),
        "[a-z0-9]{1,8}".prop_map(Freeze::up_to),
        vec("[a-z0-9]{1,8}", 1..4).prop_map(Freeze::only),
        "[a-z(:=|.)^$]{1,8}".prop_map(Freeze::matching),
    ]
}

fn unfreezes() -> impl Strategy<Value = Unfreeze> {
    prop_oneof![
        Just(Unfreeze::Never),
        prop::option::of(part()).prop_map(|every| Unfreeze::Gradual { every }),
        vec(freezes(), 1..4).prop_map(|freezes| {
            let epochs = (0..).map(|epoch| f64::from(epoch) / 2.0);
            Unfreeze::at(epochs.zip(freezes))
        }),
        (0..9usize, part(), part()).prop_map(|(freeze_epochs, lr_mult, pct_start)| {
            Unfreeze::FineTune {
                freeze_epochs,
                lr_mult,
                pct_start,
                div: 5.0,
            }
        }),
        (0..9usize, part(), any::<bool>()).prop_map(|(joins_at, ratio, align)| {
            Unfreeze::Backbone(BackboneRate {
                joins_at,
                ratio,
                align,
                ..BackboneRate::default()
            })
        }),
    ]
}

fn caches() -> impl Strategy<Value = FeatureCache> {
    let place = prop::sample::select(vec![CachePlace::Auto, CachePlace::Memory, CachePlace::Disk]);
    (place, any::<bool>(), 0..1000usize).prop_map(|(place, half, views)| FeatureCache {
        place,
        half,
        views,
    })
}

fn transforms() -> impl Strategy<Value = Transform> {
    let spread = || {
        prop_oneof![
            (0.0..0.4f64).prop_map(Spread::Around),
            Just(Spread::Between([0.0, 0.25])),
        ]
    };
    prop_oneof![
        (part(), part()).prop_map(|(low, p)| {
            let resized = RandomResizedCrop {
                scale: [low.min(p), low.max(p)],
                ..Default::default()
            };
            resized.into()
        }),
        (0..9usize, any::<u8>()).prop_map(|(padding, fill)| {
            let crop = RandomCrop {
                padding,
                fill,
                ..Default::default()
            };
            crop.into()
        }),
        part().prop_map(|p| HorizontalFlip { p }.into()),
        part().prop_map(|p| VerticalFlip { p }.into()),
        (spread(), part()).prop_map(|(degrees, part)| {
            let affine = Affine {
                degrees,
                translate: [0.0, part],
                ..Default::default()
            };
            affine.into()
        }),
        (spread(), spread()).prop_map(|(brightness, hue)| {
            let jitter = ColorJitter {
                brightness,
                hue,
                ..Default::default()
            };
            jitter.into()
        }),
        (0..31usize).prop_map(|magnitude| {
            let augment = RandAugment {
                magnitude,
                ..Default::default()
            };
            augment.into()
        }),
        Just(TrivialAugmentWide::default().into()),
    ]
}

fn augments() -> impl Strategy<Value = Augment> {
    (vec(transforms(), 0..4), prop::option::of(part())).prop_map(|(transforms, p)| {
        let augment: Augment = transforms.into();
        match p {
            Some(p) => {
                let erasing = RandomErasing {
                    p,
                    ..Default::default()
                };
                augment.then(Augment::from(vec![erasing.into()]))
            }
            None => augment,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn schedules_and_rates_are_read_as_written(
        schedule in schedules(),
        rates in rates(),
        base in 1..9999usize,
        max in part(),
    ) {
        both_ways("schedule", schedule, |recipe, value| recipe.schedule = value);
        both_ways("rates", rates, |recipe, value| recipe.rates = value);
        for scaling in [RateScaling::None, RateScaling::Linear { base }, RateScaling::Sqrt { base }] {
            both_ways("rate_scaling", scaling, |recipe, value| recipe.rate_scaling = value);
        }
        for clip in [Clip::None, Clip::Norm { max }, Clip::Value { max }] {
            both_ways("clip", clip, |recipe, value| recipe.clip = value);
        }
    }

    #[test]
    fn what_trains_is_read_as_written(
        optimizer in optimizers(),
        freeze in freezes(),
        unfreeze in unfreezes(),
        cache in caches(),
    ) {
        both_ways("optimizer", optimizer, |recipe, value| recipe.optimizer = value);
        both_ways("freeze", freeze, |recipe, value| recipe.freeze = value);
        both_ways("unfreeze", unfreeze, |recipe, value| recipe.unfreeze = value);
        both_ways("feature_cache", cache, |recipe, value| recipe.feature_cache = value);
    }

    #[test]
    fn augmentations_are_read_as_written(augment in augments()) {
        both_ways("augment", augment, |recipe, value| recipe.augment = value);
    }

    #[test]
    fn no_text_is_a_panic(text in "\\PC*", rest in "[a-z0-9=,.:() -]*") {
        fn read<T: FromStr>(text: &str) {
            let _ = text.parse::<T>();
        }
        let kinds = ["cosine", "sgd", "layer_decay", "norm", "disk", "gradual", "affine", "1"];
        let texts = kinds.map(|kind| format!("{kind}:{rest}"));
        for text in texts.iter().chain([&text, &rest]) {
            read::<Schedule>(text);
            read::<Rates>(text);
            read::<RateScaling>(text);
            read::<Clip>(text);
            read::<Optimizer>(text);
            read::<Freeze>(text);
            read::<Unfreeze>(text);
            read::<FeatureCache>(text);
            read::<ClassWeights>(text);
            read::<Augment>(text);
            read::<StemRule>(text);
            read::<Metric>(text);
        }
    }
}

/// Enums without values have one list of names, which is serde's.
#[test]
fn names_are_those_of_the_files() {
    fn check<T>(names: &[&str])
    where
        T: FromStr<Err = Error> + Display + serde::Serialize,
    {
        assert!(names.len() > 1);
        for name in names {
            let value: T = name.parse().unwrap();
            assert_eq!(value.to_string(), *name);
            assert_eq!(serde_json::to_value(&value).unwrap(), *name);
        }
        let error = "some".parse::<T>().err().unwrap().to_string();
        assert!(names.iter().all(|name| error.contains(name)), "{error}");
        assert!(error.contains("`some`"), "{error}");
    }
    check::<Metric>(Metric::names());
    check::<Precision>(Precision::names());
    check::<Per>(Per::names());
    check::<Sampler>(Sampler::names());
    check::<FrozenNorm>(FrozenNorm::names());
    check::<Views>(Views::names());
}

/// One grammar: what one type takes, all do.
#[test]
fn spellings_stand_for_the_same() {
    fn same<T: FromStr<Err = Error> + PartialEq + Debug>(texts: &[&str]) {
        let first: T = texts[0].parse().unwrap();
        for text in texts {
            assert_eq!(text.parse::<T>().unwrap(), first, "{text}");
        }
    }
    same::<Schedule>(&[
        "cosine:end=0.01:cycles=3",
        "cosine(end=0.01,cycles=3)",
        "cosine( cycles = 3, end = 1e-2 )",
    ]);
    same::<Schedule>(&[
        "multi_step:30,60:0.1",
        "multi-step:30..60",
        "multi_step(30..60,gamma=0.1)",
    ]);
    same::<Init>(&["trunc_normal(std=0.02)", "trunc-normal:std=0.02"]);
    same::<Augment>(&[
        "random-crop:padding=2:fill=9,horizontal-flip",
        "random_crop(padding=2,fill=9), horizontal-flip:p=0.5",
    ]);
    same::<Optimizer>(&[
        "nesterov",
        "nesterov()",
        "sgd:nesterov",
        "sgd:nesterov=true:momentum=0.9",
    ]);
    same::<Optimizer>(&[
        "sgd:nesterov:momentum=0.8",
        "nesterov:momentum=0.8",
        "nesterov(momentum=0.8)",
    ]);
    same::<Optimizer>(&["adamw:betas=0.9,0.99", "adamw(betas=0.9..0.99)"]);
    same::<FeatureCache>(&["disk:f16:views=4", "disk(views=4,f16)"]);
    same::<Clip>(&["norm:1", "norm:max=1", "norm(1)"]);
    same::<Unfreeze>(&["fine-tune", "fine_tune:lr_mult=100"]);
    let file = "class_weights = '1,2.5'\nfeature_cache = { kind = 'disk', f16 = true }";
    let recipe = Recipe::from_toml(file).unwrap();
    assert_eq!(recipe.class_weights, ClassWeights::Given(vec![1.0, 2.5]));
    assert_eq!(recipe.feature_cache, "disk:f16".parse().unwrap());
}

#[test]
fn errors_name_what_is_wrong_and_what_there_is() {
    fn refused<T: FromStr<Err = Error> + Debug>(text: &str, parts: &[&str]) {
        let error = text.parse::<T>().unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }));
        let error = error.to_string();
        for part in parts {
            assert!(error.contains(part), "{text}: {error}, without: {part}");
        }
    }
    refused::<Clip>("most", &["clip", "none", "norm:MAX", "`most`"]);
    refused::<Clip>("norm", &["clip norm max", "a number", "found nothing"]);
    refused::<Clip>("norm:x", &["clip norm max", "a number", "`x`"]);
    refused::<Clip>("none:1", &["clip none", "nothing after it", "`1`"]);
    refused::<Optimizer>("sdg", &["optimizer", "sgd, ", "adamw", "`sdg`"]);
    refused::<Optimizer>(
        "sgd:nesterof",
        &["optimizer sgd", "momentum", "nesterov", "`nesterof`"],
    );
    refused::<Optimizer>("adam:betas=0.9", &["optimizer adam betas", "2", "`0.9`"]);
    refused::<Optimizer>("adan:x=1", &["optimizer adan", "nothing after it"]);
    refused::<Unfreeze>("gradual:x", &["unfreeze gradual every", "a number", "`x`"]);
    for text in ["often", "at"] {
        let list = "never, gradual, gradual:EPOCHS, fine-tune, backbone, backbone:EPOCH or \
                    EPOCH=FREEZE;.., found";
        refused::<Unfreeze>(text, &["unfreeze", list, text]);
    }
    refused::<Optimizer>("nesterovx:momentum=1", &["nesterov, ", "`nesterovx`"]);
    refused::<Optimizer>("nesterov:nesterov", &["one value of nesterov"]);
    refused::<FeatureCache>(
        "disk:views=x",
        &["feature_cache disk views", "a whole number"],
    );
    refused::<FeatureCache>("disk:f16:f16", &["feature_cache disk", "one value of f16"]);
    refused::<ClassWeights>("1,x", &["class_weights", "balanced", "`1,x`"]);
}
