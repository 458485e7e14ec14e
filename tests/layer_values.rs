//! Each layer on its own gives what PyTorch and timm give: output, gradients, running statistics.

mod common;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{FloatDType, GradientCheckpointingStrategy, Gradients, Tensor, TensorData};
use burn_zoo::nn::{
    Act, BatchNorm2dConfig, ClassAttention, Conv2d, Conv2dConfig, ConvNorm, CrossCovariance,
    Dropout, EfficientAttention, Epilogue, FourierPositions, GlobalContext, GlobalResponseNorm,
    GroupNormConfig, LayerNorm, LayerScale, LinearConfig, Mlp, MultiQueryAttention, Norm,
    OffsetMlp, ParamBuilder, Pointwise, PositionBias, QkvKind, RmsNorm, Rotary, RotaryAttention,
    RotaryKind, SelfAttention, SqueezeExcite, SwiGlu, SwiGluPacked, Windows, adaptive_avg_pool2d,
    avg_pool2d, blur_pool2d, blur_pool2d_zeros, cosine_attention, local_means, log_length,
    max_pool2d, merge_neighbours, padded_avg_pool2d, upsample_nearest2d,
};
use burn_zoo::prelude::*;
use common::{Fixture, relative_error, rule, rule_input, rule_model, values};
use serde_json::Value;

const TOLERANCE: f64 = 1e-5;

/// Cases that no layer computes. Our average pooling takes windows over the edge, as all networks
/// of the zoo do, and PyTorch's default leaves them out.
const WITHOUT_LAYER: [&str; 1] = ["avg_pool.odd"];

/// Where a slope jumps: burn's. It takes the one on the inside of a clamp, PyTorch and the fast operations
/// the one outside.
const KINKS: [(Act, f32, f32); 6] = [
    (Act::Relu6, 0.0, 1.0),
    (Act::Relu6, 6.0, 1.0),
    (Act::HardSigmoid, -3.0, 1.0 / 6.0),
    (Act::HardSigmoid, 3.0, 1.0 / 6.0),
    (Act::HardSwish, -3.0, -0.5),
    (Act::HardSwish, 3.0, 1.5),
];

/// The fixture has the kind and the arguments of each case, see `fixtures/layers.py`. On the plain
/// device there are outputs only; the checkpointing one has burn's operations in place of the fast
/// ones of a CPU.
#[test]
fn layers_are_those_of_pytorch() {
    let fixture = Fixture::open("layers.safetensors");
    let plain = Device::default();
    let devices = [
        plain.clone().autodiff(),
        plain.clone().autodiff().gradient_checkpointing(),
        plain,
    ];
    let errors = RefCell::default();
    let (mut ran, mut skipped) = (0, BTreeSet::new());
    // None does nothing; it is among those of `a_normalised_convolution_is_its_parts`.
    let mut acts = BTreeSet::from(["None".to_owned()]);
    for (name, arguments) in &fixture.metadata {
        let Ok(arguments @ Value::Object(_)) = serde_json::from_str(arguments) else {
            continue; // the versions of torch and timm
        };
        for device in &devices {
            let (arguments, fixture) = (&arguments, &fixture);
            let case = Case {
                name,
                arguments,
                fixture,
                device,
                errors: &errors,
            };
            if !case.check() {
                skipped.insert(name.as_str());
            } else if device.is_autodiff() {
                ran += 1;
            }
            if case.text("kind") == "activation" {
                acts.insert(format!("{:?}", case.act("name")));
            }
        }
    }
    assert!(skipped.into_iter().eq(WITHOUT_LAYER));
    let cases = fixture.metadata.values().filter(|it| it.starts_with('{'));
    let cases = cases.count();
    assert!(cases > 140, "{cases} cases");
    assert_eq!(ran, 2 * (cases - WITHOUT_LAYER.len()));
    let all = Act::ALL.map(|act| format!("{act:?}"));
    assert_eq!(acts, BTreeSet::from(all), "activations");

    let mut worst = BTreeMap::<String, (f64, String)>::new();
    for (kind, error, what) in errors.into_inner() {
        let worst = worst.entry(kind).or_default();
        if error >= worst.0 {
            *worst = (error, what);
        }
    }
    println!("{worst:#?}");
    let off: Vec<_> = worst.values().filter(|it| it.0 > TOLERANCE).collect();
    assert!(off.is_empty(), "{off:?}");
}

/// Ours and theirs: how the name of a parameter begins.
type Names<'a> = &'a [(&'a str, &'a str)];

/// A case on a device.
struct Case<'a> {
    name: &'a str,
    arguments: &'a Value,
    fixture: &'a Fixture,
    device: &'a Device,
    /// By kind.
    errors: &'a RefCell<Vec<(String, f64, String)>>,
}

impl Case<'_> {
    fn text(&self, key: &str) -> &str {
        self.arguments[key].as_str().unwrap_or_default()
    }

    fn number(&self, key: &str) -> usize {
        self.arguments[key].as_u64().unwrap() as usize
    }

    /// A length that is the same for height and width.
    fn side(&self, key: &str) -> usize {
        let [height, width] = self.pair(key);
        assert_eq!(height, width, "{}: {key}", self.name);
        height
    }

    fn pair(&self, key: &str) -> [usize; 2] {
        [0, 1].map(|side| self.arguments[key][side].as_u64().unwrap() as usize)
    }

    fn epsilon(&self) -> f64 {
        self.arguments["eps"].as_f64().unwrap()
    }

    fn says(&self, key: &str) -> bool {
        self.arguments[key].as_bool().unwrap()
    }

    fn is_training(&self) -> bool {
        self.arguments.get("training").is_none()
    }

    fn is_map(&self) -> bool {
        self.text("layout") == "nchw"
    }

    /// timm writes `hard_swish` for [`Act::HardSwish`].
    fn act(&self, key: &str) -> Act {
        let name = self.text(key).replace('_', "");
        let mut all = Act::ALL.into_iter();
        all.find(|act| format!("{act:?}").eq_ignore_ascii_case(&name))
            .unwrap()
    }

    fn tensor<const D: usize>(&self, what: &str) -> Tensor<D> {
        let key = format!("{}.{what}", self.name);
        let (shape, values) = &self.fixture.tensors[&key];
        assert_eq!(shape.len(), D, "{key}");
        let data = TensorData::new(values.clone(), shape.as_slice());
        Tensor::from_data(data, self.device)
    }

    fn has(&self, what: &str) -> bool {
        let key = format!("{}.{what}", self.name);
        self.fixture.tensors.contains_key(&key)
    }

    fn channels(&self, what: &str) -> usize {
        self.tensor::<1>(what).dims()[0]
    }

    fn compare<const D: usize>(&self, what: &str, found: &Tensor<D>) {
        let key = format!("{}.{what}", self.name);
        assert_eq!(found.dims(), self.tensor::<D>(what).dims(), "{key}");
        let (kind, found) = (self.text("kind").to_owned(), values(found));
        let expected = self.fixture.get(&key);
        let error = match kind.as_str() {
            "activation" => self.error_of_activation(what, &found),
            // Nothing but rounding: the bias of keys changes no score beside the others.
            _ if expected.iter().all(|value| value.abs() < 1e-12) => found
                .iter()
                .fold(0.0, |most: f64, v| most.max(v.abs().into())),
            _ => relative_error(&found, expected),
        };
        let what = format!("{key} on {:?}", self.device);
        self.errors.borrow_mut().push((kind, error, what));
    }

    /// Each value on its own, relative to it or to 1.
    fn error_of_activation(&self, what: &str, found: &[f32]) -> f64 {
        let [inputs, expected] =
            ["input", what].map(|what| self.fixture.get(&format!("{}.{what}", self.name)));
        let points = inputs.iter().zip(found).zip(expected);
        let errors = points.map(|((x, found), expected)| {
            let here = (self.act("name"), *x);
            let kink = KINKS.iter().find(|(act, x, _)| (*act, *x) == here);
            let expected = match kink {
                Some((_, _, slope)) if what == "grad.input" && self.is_burns() => slope,
                _ => expected,
            };
            relative_error(&[*found, 1.0], &[*expected, 1.0])
        });
        errors.fold(0.0, f64::max)
    }

    /// Whether burn computes, and not the fast operations of a CPU.
    fn is_burns(&self) -> bool {
        let strategy = self.device.gradient_checkpointing_strategy();
        strategy == Some(GradientCheckpointingStrategy::Balanced)
    }

    /// Gives a layer the case's parameters and compares all there is to compare.
    fn run<M: Module, const D: usize>(
        &self,
        layer: M,
        names: Names<'_>,
        forward: impl FnOnce(&M, Tensor<D>) -> Tensor<D>,
    ) {
        let has_graph = self.device.is_autodiff();
        let mut walk = Walk {
            case: self,
            names,
            path: Vec::new(),
            seen: BTreeSet::new(),
            gradients: None,
        };
        let layer = layer.map(&mut walk);
        let prefixes = ["param", "buffer"].map(|kind| format!("{}.{kind}.", self.name));
        let keys = self.fixture.tensors.keys();
        let all: BTreeSet<_> = keys
            .filter_map(|key| prefixes.iter().find_map(|prefix| key.strip_prefix(prefix)))
            .collect();
        assert!(
            walk.seen.iter().eq(&all),
            "{}: {:?}, not {all:?}",
            self.name,
            walk.seen
        );

        let mut input = self.tensor("input");
        if has_graph {
            input = input.require_grad();
        }
        let output = forward(&layer, input.clone());
        self.compare("output", &output);
        if has_graph {
            let gradients = (output * self.tensor("cotangent")).sum().backward();
            self.compare("grad.input", &input.grad(&gradients).unwrap());
            walk.gradients = Some(gradients);
            layer.visit(&mut walk);
        }
    }

    /// The same for a layer without parameters.
    fn run_function<const D: usize>(&self, function: impl FnOnce(Tensor<D>) -> Tensor<D>) {
        let no_layer = false;
        self.run(no_layer, &[], |_, x| function(x));
    }

    /// Whether there is a layer for the case; compares it then.
    fn check(&self) -> bool {
        let params = &ParamBuilder::new(self.device);
        let init = &Init::PyTorch;
        if WITHOUT_LAYER.contains(&self.name) {
            return false;
        }
        match self.text("kind") {
            "conv" => {
                let channels = [self.number("in_channels"), self.number("out_channels")];
                let mut conv = Conv2dConfig::new(channels[0], channels[1], self.pair("kernel"))
                    .stride(self.pair("stride"))
                    .dilation(self.pair("dilation"))
                    .groups(self.number("groups"));
                conv = match self.text("padding") {
                    "same" => conv.same(),
                    _ => conv.padding(self.pair("padding")),
                };
                if self.says("bias") {
                    conv = conv.bias();
                }
                self.run(conv.init(params), &[], Conv2d::forward);
            }
            "activation" => self.check_activation(self.act("name")),
            "batch_norm" => {
                // Without a graph there is no training.
                if self.device.is_autodiff() || !self.is_training() {
                    let norm = BatchNorm2dConfig::new(self.channels("param.weight"))
                        .epsilon(self.epsilon())
                        .momentum(self.arguments["momentum"].as_f64().unwrap())
                        .init(params);
                    self.run(norm, &[], |norm, x| norm.forward(x));
                }
            }
            "layer_norm" => {
                let features = self.channels("param.weight");
                let mut norm = LayerNorm::new(features, self.epsilon(), params);
                if !self.has("param.bias") {
                    norm = norm.without_bias();
                }
                let is_map = self.is_map();
                self.run(norm, &[], |norm, x| match is_map {
                    true => norm.forward_map(x),
                    false => norm.forward(x),
                });
            }
            "grn" => {
                let norm = GlobalResponseNorm::new(self.channels("param.weight"), params);
                self.run(norm, &[], |norm, x| self.as_map(x, |x| norm.forward(x)));
            }
            "squeeze_excite" => {
                let [channels, hidden] = ["channels", "reduced"].map(|key| self.number(key));
                let acts = [self.act("act"), self.act("gate")];
                let layer = SqueezeExcite::new(channels, hidden, acts, |_| Init::PyTorch, params);
                let names = [("reduce", "conv_reduce"), ("expand", "conv_expand")];
                self.run(layer, &names, SqueezeExcite::forward);
            }
            "layer_scale" => {
                let scale = LayerScale::new(self.channels("param.gamma"), 1.0, params);
                match self.is_map() {
                    true => self.run(scale, &[], LayerScale::forward_map),
                    false => self.run(scale, &[], |scale, x: Tensor<3>| scale.forward(x)),
                }
            }
            "mlp" => self.check_mlp(params),
            "linear" => {
                let [to, from] = self.tensor::<2>("param.weight").dims();
                let mut linear = LinearConfig::new(from, to);
                if !self.says("bias") {
                    linear = linear.without_bias();
                }
                self.run(linear.init(params), &[], |linear, x: Tensor<3>| {
                    linear.forward(x)
                });
            }
            "patch_merging" => {
                let [to, from] = self.tensor::<2>("param.reduction.weight").dims();
                let linear = LinearConfig::new(from, to).without_bias().init(params);
                let layers = (LayerNorm::new(from, 1e-5, params), linear);
                let names = [("0.", "norm."), ("1.", "reduction.")];
                self.run(layers, &names, |(norm, reduction), x| {
                    reduction.forward(norm.forward(merge_neighbours(x)))
                });
            }
            "window_attention" => {
                let windows = self.windows();
                let names = [("0", "relative_position_bias_table"), ("1.", "")];
                self.compare_bias(&windows);
                let layers = (
                    params.weight([windows.num_offsets(), self.number("heads")], init),
                    SelfAttention::new(self.number("dim"), self.number("heads"), init, params),
                );
                self.run(layers, &names, |(table, attention), x| {
                    attention.forward_biased(x, windows.bias(table.val()))
                });
            }
            "cosine_attention" => self.check_cosine_attention(params),
            "distance_attention" => {
                let [width, heads] = ["dim", "heads"].map(|key| self.number(key));
                let windows = Windows::new(self.pair("window"));
                let layers = (
                    LayerNorm::new(width, 1e-5, params),
                    PositionBias::distances(&windows, heads, params),
                    SelfAttention::new(width, heads, init, params).by_head(),
                );
                let names = [("0.", "norm."), ("1", "attention_biases"), ("2.", "")];
                self.run(layers, &names, |(norm, biases, attention), x| {
                    attention.forward_biased(norm.forward(x), biases.bias(&windows))
                });
            }
            "spread" => {
                let windows = Windows::spread(self.pair("window"));
                self.run_function(|x: Tensor<4>| {
                    let [_, height, width, _] = x.dims();
                    let cut = windows.split(x.clone());
                    let joined = windows.join(cut.clone(), [height, width]);
                    assert_eq!(values(&joined), values(&x));
                    cut.unsqueeze_dim(1)
                });
            }
            "swin_block" => self.check_swin_block(params),
            "rms_norm" => {
                let mut norm = RmsNorm::new(self.channels("param.weight"), self.epsilon(), params);
                if self.says("by_variance") {
                    norm = norm.by_variance();
                }
                match self.is_map() {
                    true => self.run(norm, &[], RmsNorm::forward_map),
                    false => self.run(norm, &[], |norm, x: Tensor<3>| norm.forward(x)),
                }
            }
            "group_norm" => {
                let norm =
                    GroupNormConfig::new(self.channels("param.weight"), self.number("groups"));
                let norm = norm.epsilon(self.epsilon()).init(params);
                self.run(norm, &[], |norm, x| {
                    norm.forward_with(x, Epilogue::default())
                });
            }
            "swiglu" => {
                let [features, hidden] = ["in", "hidden"].map(|key| self.number(key));
                let end = Epilogue::default();
                if self.says("packed") {
                    let mlp = SwiGluPacked::new(features, hidden, [init; 2], params);
                    self.run(mlp, &[], |mlp, x: Tensor<3>| mlp.forward_with(x, end));
                } else {
                    let norm = || LayerNorm::new(hidden, 1e-6, params);
                    let mlp = SwiGlu::new(features, hidden, [init; 2], params);
                    let mlp = mlp.norm(self.says("norm").then(norm));
                    self.run(mlp, &[], |mlp, x: Tensor<3>| mlp.forward_with(x, end));
                }
            }
            "rotary" => {
                let rotary = self.rotary(self.number("head"));
                self.run_function(|x| rotary.forward(x));
            }
            "rotary_attention" => {
                let [_, _, features] = self.tensor::<3>("input").dims();
                let is_biased = self.says("biased");
                let kind = match self.says("split") {
                    true => QkvKind::Split,
                    false => QkvKind::Fused { is_biased },
                };
                let rotary = self.rotary(features / self.number("heads"));
                let norm = || LayerNorm::new(features, 1e-6, params);
                let layer = RotaryAttention::new(features, kind, [init; 2], rotary, params)
                    .norm(self.says("norm").then(norm));
                let end = Epilogue::default();
                self.run(layer, &[("input.", "")], |layer, x| {
                    layer.forward_with(x, end)
                });
            }
            "cross_covariance" => {
                let [_, _, features] = self.tensor::<3>("input").dims();
                let layer = CrossCovariance::new(features, self.number("heads"), init, params);
                self.run(layer, &[], CrossCovariance::forward);
            }
            "class_attention" => {
                let [_, _, features] = self.tensor::<3>("input").dims();
                let layer = ClassAttention::new(features, self.number("heads"), init, params);
                self.run(layer, &[], ClassAttention::forward);
            }
            "fourier" => {
                let [_, channels, ..] = self.tensor::<4>("input").dims();
                let layer = FourierPositions::new(channels, init, params);
                self.run(layer, &[], FourierPositions::forward);
            }
            "local_mean" => self.run_function(|x| local_means(x, self.number("kernel"))),
            "max_pool" => {
                let [kernel, stride] = ["kernel", "stride"].map(|key| self.side(key));
                self.run_function(|x| max_pool2d(x, kernel, stride, 0));
            }
            "avg_pool" => {
                let [kernel, stride] = ["kernel", "stride"].map(|key| self.side(key));
                self.run_function(|x| avg_pool2d(x, kernel, stride));
            }
            "adaptive_avg_pool" => {
                self.run_function(|x| adaptive_avg_pool2d(x, self.pair("output")));
            }
            "std_conv" => {
                let channels = [self.number("in_channels"), self.number("out_channels")];
                let kernel = self.number("kernel");
                let conv = Conv2dConfig::new(channels[0], channels[1], kernel)
                    .stride(self.number("stride"))
                    .padding(kernel / 2)
                    .groups(self.number("groups"));
                let conv = match self.arguments["gamma"].as_f64() {
                    Some(gamma) => conv.bias().scaled_standardized(self.epsilon(), gamma, 1.0),
                    None => conv.standardized(self.epsilon()),
                };
                self.run(conv.init(params), &[], Conv2d::forward);
            }
            "eca" => {
                let layer = EfficientAttention::new(self.number("channels"), params);
                let names = [("weight", "conv.weight")];
                self.run(layer, &names, EfficientAttention::forward);
            }
            "blur_pool" => match self.says("zeros") {
                true => self.run_function(blur_pool2d_zeros),
                false => self.run_function(blur_pool2d),
            },
            "global_context" => {
                let [channels, hidden] = ["channels", "reduced"].map(|key| self.number(key));
                let weights = |_| Init::PyTorch;
                let layer =
                    GlobalContext::weighing(channels, hidden, self.act("act"), weights, params);
                let names = [("attend", "conv_attn"), ("", "mlp_scale.")];
                self.run(layer, &names, GlobalContext::forward);
            }
            "multi_query" => {
                let [from, to, heads, width] =
                    ["in", "out", "heads", "width"].map(|key| self.number(key));
                let layer = MultiQueryAttention::new([from, to], heads, width, None, params);
                let names = [("query", "query.proj"), ("output", "output.proj")];
                self.run(layer, &names, MultiQueryAttention::forward);
            }
            "padded_avg_pool" => {
                let [kernel, stride, padding] =
                    ["kernel", "stride", "padding"].map(|key| self.number(key));
                self.run_function(|x| padded_avg_pool2d(x, kernel, stride, padding));
            }
            "upsample" => self.run_function(|x| upsample_nearest2d(x, self.number("factor"))),
            other => panic!("{}: no test of a {other}", self.name),
        }
        true
    }

    /// Alone, and behind layers that do nothing themselves.
    fn check_activation(&self, act: Act) {
        self.run_function(|x: Tensor<1>| act.forward(x));
        self.run_function(|x: Tensor<1>| {
            let params = ParamBuilder::new(&x.device());
            let mut conv = Conv2dConfig::new(1, 1, 1).init(&params);
            conv.weight = Param::from_tensor(Tensor::ones([1, 1, 1, 1], &x.device()));
            let x = x.reshape([1, 1, 3, 67]);
            conv.forward_with(x, Epilogue::act(act)).flatten(0, 3)
        });
        self.run_function(|x: Tensor<1>| {
            let params = ParamBuilder::new(&x.device());
            let mut linear = LinearConfig::new(1, 1).init(&params);
            linear.weight = Param::from_tensor(Tensor::ones([1, 1], &x.device()));
            let x = x.reshape([201, 1]);
            linear.forward_with(x, Epilogue::act(act)).flatten(0, 1)
        });
    }

    fn check_mlp(&self, params: &ParamBuilder) {
        let (act, init) = (self.act("act"), &Init::PyTorch);
        let [features, hidden] = ["in", "hidden"].map(|key| self.number(key));
        if !self.is_map() && !self.says("grn") {
            let mlp = Mlp::new(features, hidden, init, params).act(act);
            let end = Epilogue::default();
            return self.run(mlp, &[], |mlp, x: Tensor<3>| mlp.forward_with(x, end));
        }
        let layer = |from, to| Pointwise::new(self.is_map(), from, to, init, params);
        let grn = || GlobalResponseNorm::new(hidden, params);
        let layers = (
            layer(features, hidden),
            self.says("grn").then(grn),
            layer(hidden, features),
        );
        let names = [("0.", "fc1."), ("1.", "norm."), ("2.", "fc2.")];
        self.run(layers, &names, |(fc1, grn, fc2), x| {
            self.as_map(x, |x| {
                let mut x = fc1.forward(x, act);
                if let Some(grn) = grn {
                    x = grn.forward(x);
                }
                fc2.forward(x, Act::None)
            })
        });
    }

    fn check_swin_block(&self, params: &ParamBuilder) {
        let [width, heads, hidden] = ["dim", "heads", "mlp_hidden"].map(|key| self.number(key));
        let (windows, init) = (self.windows(), &Init::PyTorch);
        let norm = || LayerNorm::new(width, 1e-5, params);
        let layers = (
            norm(),
            params.weight([windows.num_offsets(), heads], init),
            SelfAttention::new(width, heads, init, params),
            norm(),
            Mlp::new(width, hidden, init, params),
        );
        let names = [
            ("0.", "norm1."),
            ("1", "attn.relative_position_bias_table"),
            ("2.", "attn."),
            ("3.", "norm2."),
            ("4.", "mlp."),
        ];
        self.run(
            layers,
            &names,
            |(norm1, table, attention, norm2, mlp), x: Tensor<4>| {
                let mixed = windows.split(norm1.forward(x.clone()));
                let mixed = attention.forward_biased(mixed, windows.bias(table.val()));
                let [_, height, width, _] = x.dims();
                let x = x + windows.join(mixed, [height, width]);
                let end = Epilogue {
                    residual: Some(&x),
                    act: Act::None,
                };
                mlp.forward_with(norm2.forward(x.clone()), end)
            },
        );
    }

    fn rotary(&self, head: usize) -> Rotary {
        let kind = match self.arguments["side"].as_u64() {
            Some(side) => RotaryKind::Counted {
                side: side as usize,
            },
            None => RotaryKind::Centred,
        };
        Rotary::new(kind, self.pair("grid"), head, self.number("prefix"))
    }

    fn check_cosine_attention(&self, params: &ParamBuilder) {
        let [width, heads] = ["dim", "heads"].map(|key| self.number(key));
        let (windows, init) = (self.windows(), &Init::PyTorch);
        let linear = |from, to| LinearConfig::new(from, to);
        let mlp = OffsetMlp {
            fc1: linear(2, 512).init(params),
            dropout: Dropout::new(0.0),
            fc2: linear(512, heads).without_bias().init(params),
        };
        let layers = (
            params.weight([heads, 1, 1], init),
            mlp,
            linear(width, 3 * width).without_bias().init(params),
            params.constant([width], 0.0),
            params.constant([width], 0.0),
            linear(width, width).init(params),
        );
        let names = [
            ("0", "logit_scale"),
            ("1.fc1.", "cpb_mlp.0."),
            ("1.fc2.", "cpb_mlp.2."),
            ("2.", "qkv."),
            ("3", "q_bias"),
            ("4", "v_bias"),
            ("5.", "proj."),
        ];
        let trained = self.pair("trained");
        let sides = if trained == [0; 2] {
            windows.sides()
        } else {
            trained
        };
        let measured = |offset: [i64; 2]| {
            [0, 1].map(|dim| {
                let length = 8.0 * offset[dim] as f64 / (sides[dim] - 1) as f64;
                log_length(length) / 8f64.ln()
            })
        };
        self.run(
            layers,
            &names,
            |(scale, mlp, qkv, queries, values, proj), x: Tensor<3>| {
                let table = Act::Sigmoid.forward(mlp.forward(windows.offsets().map(measured)));
                let keys = queries.val().zeros_like();
                let bias = Tensor::cat(vec![queries.val(), keys, values.val()], 0);
                let qkv = qkv.forward_biased(x, bias);
                let scale = scale.val().flatten(0, 2);
                proj.forward(cosine_attention(
                    qkv,
                    heads,
                    scale,
                    windows.bias(table * 16.0),
                ))
            },
        );
    }

    fn windows(&self) -> Windows {
        Windows::shifted(self.pair("grid"), self.pair("window"), self.pair("shift"))
    }

    /// What is added to the scores: the table's rows by "index", and "mask".
    fn compare_bias(&self, windows: &Windows) {
        let table = self.tensor::<2>("param.relative_position_bias_table");
        let index = self.tensor::<2>("index");
        let [length, _] = index.dims();
        let heads = table.dims()[1];
        let rows = table.clone().select(0, index.flatten::<1>(0, 1).int());
        let rows = rows
            .reshape([1, length, length, heads])
            .permute([0, 3, 1, 2]);
        let expected = match self.says("masked") {
            true => rows + self.tensor::<3>("mask").unsqueeze_dim(1),
            false => rows,
        };
        let found = windows.bias(table);
        assert_eq!(found.dims(), expected.dims(), "{}", self.name);
        assert_eq!(values(&found), values(&expected), "{}", self.name);
    }

    /// Runs something that takes `[batch, channels, height, width]`, with the case's layout.
    fn as_map(&self, x: Tensor<4>, run: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
        if self.is_map() {
            return run(x);
        }
        run(x.permute([0, 3, 1, 2])).permute([0, 2, 3, 1])
    }
}

/// Gives parameters and buffers the values of a case, and compares them afterwards.
struct Walk<'a> {
    case: &'a Case<'a>,
    names: Names<'a>,
    path: Vec<String>,
    seen: BTreeSet<String>,
    gradients: Option<Gradients>,
}

impl Walk<'_> {
    fn enter(&mut self, name: &str, container: &str) {
        // The variant of an enum is no part of a name.
        let is_wrapper = container.starts_with("Enum:");
        self.path
            .push(if is_wrapper { "" } else { name }.to_owned());
    }

    fn name(&self) -> String {
        let levels = self.path.iter().filter(|level| !level.is_empty());
        let path = levels.cloned().collect::<Vec<_>>().join(".");
        let renamed = self.names.iter().find_map(|(ours, theirs)| {
            let rest = path.strip_prefix(ours)?;
            Some(format!("{theirs}{rest}"))
        });
        renamed.unwrap_or(path)
    }
}

impl ModuleMapper for Walk<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.name();
        let kind = if name.starts_with("running_") {
            "buffer"
        } else {
            "param"
        };
        let value = self.case.tensor::<D>(&format!("{kind}.{name}"));
        assert_eq!(
            param.lazy_shape(),
            value.shape(),
            "{}: {name}",
            self.case.name
        );
        self.seen.insert(name);
        let id = param.id;
        param.transform_for_load(value, id)
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        flag.with_value(self.case.is_training())
    }
}

impl ModuleVisitor for Walk<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (name, case) = (self.name(), self.case);
        if name.starts_with("running_") {
            return case.compare(&format!("after.{name}"), &param.val());
        }
        let gradient = param.val().grad(self.gradients.as_ref().unwrap());
        let gradient = gradient.unwrap_or_else(|| panic!("{}: {name}: no gradient", case.name));
        case.compare(&format!("grad.{name}"), &gradient);
    }
}

#[test]
fn same_padding_gives_a_position_for_each_stride() {
    let device = Device::default();
    let params = ParamBuilder::new(&device);
    let mut lines = Vec::new();
    for kernel in 1..=7 {
        for stride in 1..=4 {
            for dilation in 1..=3 {
                lines.extend((1..=20).map(|side| [kernel, stride, dilation, side]));
            }
        }
    }
    for (index, height) in lines.iter().enumerate() {
        // Each is a width once, beside another height.
        let width = &lines[index * 11 % lines.len()];
        let [kernel, stride, dilation, sides] = [0, 1, 2, 3].map(|i| [height[i], width[i]]);
        let conv = Conv2dConfig::new(1, 1, kernel)
            .stride(stride)
            .dilation(dilation)
            .same()
            .init(&params);
        let [_, _, h, w] = conv
            .forward(Tensor::ones([1, 1, sides[0], sides[1]], &device))
            .dims();
        let expected = [0, 1].map(|i| sides[i].div_ceil(stride[i]));
        assert_eq!(
            [h, w],
            expected,
            "{kernel:?} {stride:?} {dilation:?} {sides:?}"
        );
    }
}

/// A tensor of the rule.
fn ruled<const D: usize>(name: &str, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(rule(name, &shape), shape), device)
}

/// Clears the flags by which layers act in training.
struct Evaluating;

impl ModuleMapper for Evaluating {
    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        flag.with_value(false)
    }
}

#[test]
fn a_normalised_convolution_is_its_parts() {
    let plain = Device::default();
    let conv = || Conv2dConfig::new(8, 12, 3);
    let windows = [
        ("square", conv().padding(1)),
        ("strided", conv().stride(2).padding(1)),
        ("grouped", conv().padding(1).groups(4)),
        (
            "depthwise",
            Conv2dConfig::new(8, 8, 3).padding(1).depthwise(),
        ),
        ("pointwise", Conv2dConfig::new(8, 12, 1)),
        ("dilated", conv().padding(2).dilation(2)),
        ("wide", Conv2dConfig::new(8, 12, [1, 5]).padding([0, 2])),
        ("same", conv().stride(2).same()),
    ];
    for device in [plain.clone(), plain.autodiff()] {
        let x = rule_input([2, 8, 9, 8], &device);
        for (name, config) in &windows {
            for (act, has_bias) in Act::ALL.map(|act| [(act, false), (act, true)]).concat() {
                let config = config.clone();
                let config = if has_bias { config.bias() } else { config };
                let layer = ruled_conv_norm(config, act, &device);
                let Some(Norm::Batch(norm)) = &layer.norm else {
                    panic!("no batch normalisation");
                };
                let (mean, variance) = (norm.running_mean.value(), norm.running_var.value());
                let scale = norm.weight.val() / (variance + 1e-3).sqrt();
                let [mean, scale, shift] =
                    [mean, scale, norm.bias.val()].map(|vector| vector.reshape([1, -1, 1, 1]));
                let y = (layer.conv.forward(x.clone()) - mean) * scale + shift;

                let residual = rule_input(y.dims(), &device);
                let end = Epilogue {
                    residual: Some(&residual),
                    act,
                };
                let found = [layer.forward(x.clone()), layer.forward_with(x.clone(), end)];
                let expected = [y.clone(), y + residual.clone()].map(|y| act.forward(y));
                for (found, expected) in found.iter().zip(&expected) {
                    let error = relative_error(&values(found), &values(expected));
                    let what = format!("{name}, {act:?}, bias {has_bias}");
                    assert!(error < TOLERANCE, "{what}: off by {error:e}");
                }
            }
        }
    }
}

/// In evaluation mode, with an epsilon of 1e-3.
fn ruled_conv_norm(config: Conv2dConfig, act: Act, device: &Device) -> ConvNorm {
    let params = ParamBuilder::new(device);
    let [out, ..] = config.init(&params).weight.dims();
    let norm = BatchNorm2dConfig::new(out).epsilon(1e-3);
    let mut layer = ConvNorm::with_norm(config, norm, act, &params).map(&mut Evaluating);
    let vector = |name| ruled(name, [out], device);
    let conv = &mut layer.conv;
    conv.weight = Param::from_tensor(ruled("conv.weight", conv.weight.dims(), device));
    if let Some(bias) = &mut conv.bias {
        *bias = Param::from_tensor(vector("conv.bias"));
    }
    let Some(Norm::Batch(norm)) = &mut layer.norm else {
        panic!("no batch normalisation");
    };
    norm.weight = Param::from_tensor(vector("bn.weight"));
    norm.bias = Param::from_tensor(vector("bn.bias"));
    norm.running_mean.set(vector("bn.running_mean"));
    norm.running_var.set(vector("bn.running_var"));
    layer
}

/// VGG's convolutions have a bias before the normalisation, the other ones none.
#[test]
fn a_fused_model_is_its_layers_one_after_the_other() {
    let device = Device::default().autodiff();
    for spec in [
        Zoo::vgg11_bn(),
        Zoo::mobilenetv3_small_050(),
        Zoo::resnet10t(),
    ] {
        let name = spec.architecture();
        let model = rule_model(spec.num_classes(5), &device).map(&mut Evaluating);
        let images = rule_input([2, 3, 64, 64], &device);
        let groups = model.groups();
        let groups = groups.iter().map(String::as_str);
        let groups: Vec<_> = groups
            .filter(|group| !["pre_logits", "head"].contains(group))
            .collect();
        let outputs = |intermediates: Vec<(String, Features)>, scores: Tensor<2>| {
            let maps = intermediates.into_iter();
            let mut outputs: Vec<_> = maps.map(|(_, map)| map.to_vec().unwrap()).collect();
            outputs.push(values(&scores));
            outputs
        };
        // In a graph nothing is folded.
        let expected = outputs(
            model
                .forward_intermediates(images.clone(), &groups)
                .unwrap(),
            model.forward(images.clone()).unwrap(),
        );
        let fused = model.fuse();
        // The second time everything is prepared.
        for _ in 0..2 {
            let found = outputs(
                fused
                    .forward_intermediates(images.clone(), &groups)
                    .unwrap(),
                fused.forward(images.clone()).unwrap(),
            );
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let error = relative_error(found, expected);
                assert!(
                    error < TOLERANCE,
                    "{name}, output {index}: off by {error:e}"
                );
            }
        }
    }
}

/// What overflows in 16 bits, such as squares, is computed in 32.
#[test]
fn normalisations_of_16_bits_compute_in_32() {
    let device = Device::default().autodiff();
    let params = ParamBuilder::new(&device);
    let batch_norm = BatchNorm2dConfig::new(6).init(&params);
    let layer_norm = LayerNorm::new(6, 1e-6, &params);
    let mut grn = GlobalResponseNorm::new(6, &params);
    grn.weight = Param::from_tensor(ruled("weight", [6], &device));
    let layers: [(&str, &dyn Fn(Tensor<4>) -> Tensor<4>); 3] = [
        ("batch_norm", &|x| batch_norm.forward(x)),
        ("layer_norm", &|x| layer_norm.forward_map(x)),
        ("grn", &|x| grn.forward(x)),
    ];
    let types = [FloatDType::F16, FloatDType::BF16];
    assert!(types.iter().any(|dtype| device.supports_dtype(*dtype)));
    for dtype in types {
        if !device.supports_dtype(dtype) {
            continue;
        }
        let x = (rule_input([2, 6, 32, 32], &device) * 300.0).cast(dtype);
        for (name, layer) in layers {
            let values = |y: Tensor<4>| values(&y.cast(FloatDType::F32));
            let found = values(layer(x.clone()));
            let expected = values(layer(x.clone().cast(FloatDType::F32)).cast(dtype));
            assert!(found == expected, "{name} in {dtype:?}");
        }
    }
}
