//! An architecture that a program adds to the zoo is one like any other.

use std::sync::Arc;

use burn::module::Module;
use burn_zoo::data::{ImageSet, LoaderConfig};
use burn_zoo::nn::{Act, Conv2dConfig, ConvNorm, ParamBuilder};
use burn_zoo::prelude::*;
use burn_zoo::zoo::{Architecture, BackboneOptions};
use burn_zoo::{AnyBackbone, Description, Group, MapLayer, Result, Stages};

#[derive(Module, Debug)]
struct Tiny {
    stages: Stages<Vec<ConvNorm>>,
}

impl Backbone for Tiny {
    fn forward_group(&self, index: usize, x: Features) -> Result<Features> {
        Ok(Features::Map(
            self.stages.stage(index)?.forward(x.into_map()?),
        ))
    }
}

fn build(options: &BackboneOptions, params: &ParamBuilder) -> Result<AnyBackbone> {
    let conv = |from, to| {
        let conv = Conv2dConfig::new(from, to, 3).stride(2).padding(1);
        ConvNorm::new(conv, Act::Relu, params)
    };
    let stages = Stages::new(vec![vec![conv(options.in_channels, 8)], vec![conv(8, 12)]]);
    let description = Description::new(stages.groups(), options.in_channels, 12, "stage1.0");
    Ok(AnyBackbone::new(Tiny { stages }, description))
}

fn tiny(name: &'static str) -> Architecture {
    Architecture::new(name, build)
}

/// Images of two classes, dark and bright.
fn images() -> ImageSet {
    let pixels = (0..40 * 64).map(|i| if i / 64 % 2 == 0 { 40 } else { 200 });
    let labels = (0..40).map(|i| i % 2).collect();
    let classes = vec!["dark".to_owned(), "bright".to_owned()];
    ImageSet::new(pixels.collect(), labels, (8, 8), 1, classes).unwrap()
}

#[test]
fn a_registered_architecture_trains_exports_and_opens_again() {
    let spec = Zoo::register(tiny("tiny_registered")).unwrap();
    assert_eq!(spec, Zoo::get("tiny_registered").unwrap());
    assert_eq!(Zoo::list("tiny_reg*").len(), 1);

    let device = Device::default().autodiff();
    let spec = spec.weights(Weights::Random(3)).adapt(1, 2);
    let model = spec.build(&device).unwrap();
    assert_eq!(model.groups(), ["stage1", "stage2", "head"]);
    assert_eq!(
        model.num_parameters(),
        9 * 8 + 16 + 9 * 8 * 12 + 24 + 12 * 2 + 2
    );

    let dir = tempfile::tempdir().unwrap();
    let recipe = Recipe::full().epochs(8).batch_size(8).learning_rate(0.02);
    let run = recipe
        .fit(model, images(), images(), dir.path().join("run"))
        .unwrap();
    assert_eq!(run.best().valid_accuracy, 1.0);

    // What was exported is found by its name, and computes the same.
    let folder = dir.path().join("exported");
    run.model().export(&folder).unwrap();
    let reopened = Classifier::open(&folder, &Device::default()).unwrap();
    let loader = |model: &Classifier| {
        let config = LoaderConfig::default();
        let preprocess = model.preprocess(None);
        Loader::new(Arc::new(images()), preprocess, config, &Device::default()).unwrap()
    };
    let [before, after] = [run.model(), &reopened].map(|m| m.evaluate(&loader(m)).unwrap());
    assert_eq!((before.loss, before.accuracy), (after.loss, after.accuracy));

    // The card says that Python does not open it.
    let difference = "no other library has the architecture tiny_registered";
    assert_eq!(reopened.unknown_to_timm().unwrap(), difference);
    let card = std::fs::read_to_string(folder.join("README.md")).unwrap();
    assert!(
        card.contains(difference) && card.contains("library_name: burn-zoo\n"),
        "{card}"
    );
    assert!(!card.contains("import timm"), "{card}");
    // A card that somebody has changed is theirs, and stays.
    let changed = format!("{card}more\n");
    std::fs::write(folder.join("README.md"), &changed).unwrap();
    run.model().export(&folder).unwrap();
    let now = || std::fs::read_to_string(folder.join("README.md")).unwrap();
    assert_eq!(now(), changed);
    std::fs::write(folder.join("README.md"), &card).unwrap();
    run.model().export(&folder).unwrap();
    assert_eq!(now(), card);
}

#[test]
fn what_cannot_be_registered_or_built_is_named() {
    let refused = |architecture| Zoo::register(architecture).unwrap_err().to_string();
    let taken = "architecture: expected a name that the zoo does not have yet, found resnet18";
    assert_eq!(refused(tiny("resnet18")), taken);

    Zoo::register(tiny("tiny_once")).unwrap();
    assert_eq!(
        refused(tiny("tiny_once")),
        taken.replace("resnet18", "tiny_once")
    );

    for name in ["", "my.net", "my net", "hf-hub:net"] {
        let expected = "architecture: expected a name of letters, digits and `_`, found ";
        assert!(refused(tiny(name)).starts_with(expected), "{name}");
    }
    // Its cost is not in the table of those that come with the crate.
    let own = burn_zoo::zoo::find("tiny_once").unwrap();
    let error = own.numbers().unwrap_err().to_string();
    assert!(
        error.contains("a registered one is measured by `Classifier::summary`"),
        "{error}"
    );

    // Unasked, weights are published ones.
    let error = Zoo::get("tiny_once")
        .unwrap()
        .build(&Device::default())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "weights: expected random ones or a file: tiny_once was registered and has no published \
         weights, found the default tag"
    );

    // A group that is none, as a typing error makes it.
    let lost = Architecture::new("tiny_lost", |options, params| {
        let conv = Conv2dConfig::new(options.in_channels, 8, 3);
        let stages = Stages::new(vec![vec![ConvNorm::new(conv, Act::Relu, params)]]);
        let groups = vec![Group::named("stage2")];
        let description = Description::new(groups, options.in_channels, 8, "stage1.0.conv");
        Ok(AnyBackbone::new(Tiny { stages }, description))
    });
    let built = |architecture| {
        let spec = Zoo::register(architecture)
            .unwrap()
            .weights(Weights::Random(1));
        spec.build(&Device::default()).unwrap_err().to_string()
    };
    assert_eq!(
        built(lost),
        "tiny_lost: expected parameters whose paths begin with the prefix of exactly one group, \
         found stage1.0.weight"
    );

    // A first convolution that there is not.
    let blind = Architecture::new("tiny_blind", |options, params| {
        let conv = Conv2dConfig::new(options.in_channels, 8, 3);
        let stages = Stages::new(vec![vec![ConvNorm::new(conv, Act::Relu, params)]]);
        let description = Description::new(stages.groups(), options.in_channels, 8, "stem.conv");
        Ok(AnyBackbone::new(Tiny { stages }, description))
    });
    assert_eq!(
        built(blind),
        "tiny_blind: expected the path of a convolution for each that sees the image, found stem.conv"
    );
}
