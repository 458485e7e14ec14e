//! Optimisers, with PyTorch's arithmetic and defaults.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::{ParamGroup, ParamId};
use burn::optim::AdaptiveMomentumState;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdaGradConfig, AdafactorConfig, AdamConfig, AdamWConfig, AdanConfig, GradientsParams,
    LambConfig, LionConfig, ModuleOptimizer, MuonConfig, Optimizer as Update, RecordState,
    RmsPropConfig, StateSink, StateSource,
};
use burn::tensor::{Bytes, Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::Classifier;
use crate::model::params;

/// Which optimiser, with what it alone needs. In a recipe's file a value that is left out is the
/// default.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
#[non_exhaustive]
pub enum Optimizer {
    /// `torch.optim.SGD`; weight decay is added to the gradient.
    Sgd {
        /// Momentum; 0 for none.
        #[serde(default = "numbers::momentum")]
        momentum: f64,
        /// Nesterov's form of it.
        #[serde(default)]
        nesterov: bool,
    },
    /// `torch.optim.Adam` (Kingma & Ba, 2015, <https://arxiv.org/abs/1412.6980>); weight decay is
    /// added to the gradient.
    Adam {
        /// Decay of the gradients' average and of their squares'.
        #[serde(default = "numbers::adam")]
        betas: [f64; 2],
        /// Added to the denominator.
        #[serde(default = "numbers::epsilon")]
        epsilon: f64,
    },
    /// `torch.optim.AdamW` (Loshchilov & Hutter, 2019, <https://arxiv.org/abs/1711.05101>); weight
    /// decay acts on the weights.
    AdamW {
        /// Decay of the gradients' average and of their squares'.
        #[serde(default = "numbers::adam")]
        betas: [f64; 2],
        /// Added to the denominator.
        #[serde(default = "numbers::epsilon")]
        epsilon: f64,
    },
    /// `torch.optim.RMSprop`; weight decay is added to the gradient.
    RmsProp {
        /// Decay of the squared gradients' average.
        #[serde(default = "numbers::alpha")]
        alpha: f64,
        /// Momentum; 0 for none.
        #[serde(default)]
        momentum: f64,
        /// Divides by the variance in place of the mean square.
        #[serde(default)]
        centered: bool,
        /// Added to the denominator.
        #[serde(default = "numbers::epsilon")]
        epsilon: f64,
    },
    /// LAMB (You et al., 2020, <https://arxiv.org/abs/1904.00962>).
    Lamb {
        /// Decay of the gradients' average and of their squares'.
        #[serde(default = "numbers::adam")]
        betas: [f64; 2],
    },
    /// Lion (Chen et al., 2023, <https://arxiv.org/abs/2302.06675>). It wants a rate of a third to
    /// a tenth of AdamW's.
    Lion {
        /// Weights of the update and of the momentum.
        #[serde(default = "numbers::lion")]
        betas: [f64; 2],
    },
    /// Muon (Jordan et al., 2024, <https://kellerjordan.github.io/posts/muon/>) for everything of
    /// rank two and more, convolutions as matrices `[out, in * height * width]`, with the update
    /// scaled to the size of AdamW's (Liu et al., 2025, <https://arxiv.org/abs/2502.16982>); AdamW
    /// for the rest.
    Muon {
        /// Momentum, in Nesterov's form.
        #[serde(default = "numbers::muon")]
        momentum: f64,
    },
    /// `torch.optim.Adagrad`.
    AdaGrad,
    /// Adan (Xie et al., 2024, <https://arxiv.org/abs/2208.06677>).
    Adan,
    /// Adafactor (Shazeer & Stern, 2018, <https://arxiv.org/abs/1804.04235>), with the recipe's
    /// learning rate in place of a relative step.
    Adafactor,
}

/// PyTorch's defaults; burn's epsilon is 1e-5.
mod numbers {
    pub fn momentum() -> f64 {
        0.9
    }
    pub fn adam() -> [f64; 2] {
        [0.9, 0.999]
    }
    pub fn epsilon() -> f64 {
        1e-8
    }
    pub fn alpha() -> f64 {
        0.99
    }
    pub fn lion() -> [f64; 2] {
        [0.9, 0.99]
    }
    pub fn muon() -> f64 {
        0.95
    }
}

impl Optimizer {
    /// SGD with a momentum of 0.9.
    pub fn sgd() -> Self {
        Optimizer::Sgd {
            momentum: numbers::momentum(),
            nesterov: false,
        }
    }

    /// Adam with PyTorch's defaults.
    pub fn adam() -> Self {
        Optimizer::Adam {
            betas: numbers::adam(),
            epsilon: numbers::epsilon(),
        }
    }

    /// AdamW with PyTorch's defaults.
    pub fn adamw() -> Self {
        Optimizer::AdamW {
            betas: numbers::adam(),
            epsilon: numbers::epsilon(),
        }
    }

    /// The names that a command line takes.
    pub const NAMES: [&str; 11] = [
        "sgd",
        "nesterov",
        "adam",
        "adamw",
        "rmsprop",
        "lamb",
        "lion",
        "muon",
        "adagrad",
        "adan",
        "adafactor",
    ];

    /// The optimiser for a model: weights decay; biases, the scales and shifts of normalisations
    /// (everything of rank one) and what the family exempts do not, as in timm.
    pub(crate) fn init(&self, model: &Classifier, weight_decay: f64) -> ModelOptimizer {
        let exempt = model.backbone.no_weight_decay();
        let plain: Vec<ParamId> = params::list(model)
            .into_iter()
            .filter(|p| p.shape.len() <= 1 || exempt.contains(&p.path.as_str()))
            .map(|p| p.id)
            .collect();
        let momentum = Momentum::default();
        let live = |decay: f64| Live {
            kind: *self,
            decay,
            momentum: momentum.clone(),
        };
        // One type of update each, for those that decay and those that do not.
        macro_rules! with {
            ($decaying:expr, $plain:expr) => {{
                let (decaying, rest) = ($decaying, $plain);
                let group = ParamGroup::from_ids(plain.clone());
                let inner =
                    ModuleOptimizer::from(decaying.clone()).with_group(group, rest.clone(), None);
                // burn drops the state of parameters that are put into a group anew.
                let forget = move |inner: ModuleOptimizer, ids: &[ParamId]| {
                    let (without, with): (Vec<ParamId>, Vec<ParamId>) =
                        ids.iter().partition(|id| plain.contains(id));
                    inner
                        .with_group(ParamGroup::from_ids(with), decaying.clone(), None)
                        .with_group(ParamGroup::from_ids(without), rest.clone(), None)
                };
                (inner, Box::new(forget) as Forget)
            }};
        }
        let (inner, forget) = match self {
            Optimizer::Sgd { .. } => with!(Sgd(live(weight_decay)), Sgd(live(0.0))),
            Optimizer::Adam { .. } => with!(Adam(live(weight_decay)), Adam(live(0.0))),
            Optimizer::AdamW { .. } => with!(AdamW(live(weight_decay)), AdamW(live(0.0))),
            Optimizer::RmsProp { .. } => with!(RmsProp(live(weight_decay)), RmsProp(live(0.0))),
            Optimizer::Lamb { .. } => with!(Lamb(live(weight_decay)), Lamb(live(0.0))),
            Optimizer::Lion { .. } => with!(Lion(live(weight_decay)), Lion(live(0.0))),
            Optimizer::AdaGrad => with!(AdaGrad(live(weight_decay)), AdaGrad(live(0.0))),
            Optimizer::Adan => with!(Adan(live(weight_decay)), Adan(live(0.0))),
            Optimizer::Adafactor => with!(Adafactor(live(weight_decay)), Adafactor(live(0.0))),
            Optimizer::Muon { .. } => with!(Muon(live(weight_decay)), AdamW(live(0.0))),
        };
        ModelOptimizer {
            inner: Some(inner),
            momentum,
            forget,
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let fraction = |name: &str, value: f64| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => Err(Error::argument(name, "at least 0 and below 1", value)),
        };
        let positive = |value: f64| match value > 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(Error::argument("epsilon", "a number above 0", value)),
        };
        match *self {
            Optimizer::Sgd { momentum, nesterov } => {
                fraction("momentum", momentum)?;
                if nesterov && momentum == 0.0 {
                    return Err(Error::argument("nesterov", "a momentum above 0", momentum));
                }
                Ok(())
            }
            Optimizer::Adam { betas, epsilon } | Optimizer::AdamW { betas, epsilon } => {
                betas.iter().try_for_each(|b| fraction("betas", *b))?;
                positive(epsilon)
            }
            Optimizer::RmsProp {
                alpha,
                momentum,
                epsilon,
                ..
            } => {
                fraction("alpha", alpha)?;
                fraction("momentum", momentum)?;
                positive(epsilon)
            }
            Optimizer::Lamb { betas } | Optimizer::Lion { betas } => {
                betas.iter().try_for_each(|b| fraction("betas", *b))
            }
            Optimizer::Muon { momentum } => fraction("momentum", momentum),
            Optimizer::AdaGrad | Optimizer::Adan | Optimizer::Adafactor => Ok(()),
        }
    }
}

/// One of [`Optimizer::NAMES`], with default values.
impl std::str::FromStr for Optimizer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "sgd" => Optimizer::sgd(),
            "nesterov" => Optimizer::Sgd {
                momentum: numbers::momentum(),
                nesterov: true,
            },
            "adam" => Optimizer::adam(),
            "adamw" => Optimizer::adamw(),
            "rmsprop" => Optimizer::RmsProp {
                alpha: numbers::alpha(),
                momentum: 0.0,
                centered: false,
                epsilon: numbers::epsilon(),
            },
            "lamb" => Optimizer::Lamb {
                betas: numbers::adam(),
            },
            "lion" => Optimizer::Lion {
                betas: numbers::lion(),
            },
            "muon" => Optimizer::Muon {
                momentum: numbers::muon(),
            },
            "adagrad" => Optimizer::AdaGrad,
            "adan" => Optimizer::Adan,
            "adafactor" => Optimizer::Adafactor,
            _ => {
                return Err(Error::argument(
                    "optimizer",
                    Optimizer::NAMES.join(", "),
                    format!("`{text}`"),
                ));
            }
        })
    }
}

/// The momentum of the moment, which a schedule may change from step to step: an optimiser of burn
/// fixes it when it is made. Without a value the optimiser's own holds.
#[derive(Debug, Clone)]
struct Momentum(Arc<AtomicU64>);

impl Default for Momentum {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(f64::NAN.to_bits())))
    }
}

impl Momentum {
    fn set(&self, value: Option<f64>) {
        let bits = value.unwrap_or(f64::NAN).to_bits();
        self.0.store(bits, Ordering::Relaxed);
    }

    fn or(&self, own: f64) -> f64 {
        let value = f64::from_bits(self.0.load(Ordering::Relaxed));
        if value.is_nan() { own } else { value }
    }
}

/// An optimiser of burn that is made anew for each update, which costs nothing: its state is kept
/// by the [`ModuleOptimizer`].
#[derive(Debug, Clone)]
struct Live {
    kind: Optimizer,
    decay: f64,
    momentum: Momentum,
}

impl Live {
    fn decay(&self) -> Option<WeightDecayConfig> {
        (self.decay > 0.0).then(|| WeightDecayConfig::new(self.decay as f32))
    }

    fn betas(&self) -> [f32; 2] {
        let [first, second] = match self.kind {
            Optimizer::Adam { betas, .. }
            | Optimizer::AdamW { betas, .. }
            | Optimizer::Lamb { betas }
            | Optimizer::Lion { betas } => betas,
            _ => numbers::adam(),
        };
        [self.momentum.or(first) as f32, second as f32]
    }

    fn epsilon(&self) -> f32 {
        match self.kind {
            Optimizer::Adam { epsilon, .. }
            | Optimizer::AdamW { epsilon, .. }
            | Optimizer::RmsProp { epsilon, .. } => epsilon as f32,
            _ => numbers::epsilon() as f32,
        }
    }

    fn adam(&self) -> burn::optim::Adam {
        let [beta_1, beta_2] = self.betas();
        AdamConfig::new()
            .with_beta_1(beta_1)
            .with_beta_2(beta_2)
            .with_epsilon(self.epsilon())
            .with_weight_decay(self.decay())
            .build()
    }

    fn adamw(&self) -> burn::optim::AdamW {
        let [beta_1, beta_2] = self.betas();
        AdamWConfig::new()
            .with_beta_1(beta_1)
            .with_beta_2(beta_2)
            .with_epsilon(self.epsilon())
            .with_weight_decay(self.decay as f32)
            .build()
    }

    fn rmsprop(&self) -> burn::optim::RmsProp {
        let (alpha, momentum, centered) = match self.kind {
            Optimizer::RmsProp {
                alpha,
                momentum,
                centered,
                ..
            } => (alpha, self.momentum.or(momentum), centered),
            _ => (numbers::alpha(), 0.0, false),
        };
        RmsPropConfig::new()
            .with_alpha(alpha as f32)
            .with_momentum(momentum as f32)
            .with_centered(centered)
            .with_epsilon(self.epsilon())
            .with_weight_decay(self.decay())
            .build()
    }

    fn lamb(&self) -> burn::optim::Lamb {
        let [beta_1, beta_2] = self.betas();
        LambConfig::new()
            .with_beta_1(beta_1)
            .with_beta_2(beta_2)
            .with_weight_decay(self.decay as f32)
            .build()
    }

    fn lion(&self) -> burn::optim::Lion {
        let [beta_1, beta_2] = self.betas();
        LionConfig::new()
            .with_beta_1(beta_1)
            .with_beta_2(beta_2)
            .with_weight_decay(self.decay as f32)
            .build()
    }

    fn adagrad(&self) -> burn::optim::AdaGrad {
        // PyTorch's epsilon.
        AdaGradConfig::new()
            .with_epsilon(1e-10)
            .with_weight_decay(self.decay())
            .build()
    }

    fn adan(&self) -> burn::optim::Adan {
        AdanConfig::new()
            .with_weight_decay(self.decay as f32)
            .build()
    }

    fn adafactor(&self) -> burn::optim::Adafactor {
        AdafactorConfig::new()
            .with_relative_step(false)
            .with_weight_decay(self.decay as f32)
            .build()
    }

    fn muon(&self) -> burn::optim::Muon {
        let own = match self.kind {
            Optimizer::Muon { momentum } => momentum,
            _ => numbers::muon(),
        };
        let momentum = MomentumConfig::new()
            .with_momentum(self.momentum.or(own))
            .with_dampening(0.0)
            .with_nesterov(true);
        MuonConfig::new()
            .with_momentum(momentum)
            .with_adjust_lr_fn(burn::optim::AdjustLrFn::MatchRmsAdamW)
            .with_weight_decay(self.decay())
            .build()
    }
}

/// SGD, whose momentum PyTorch's rule keeps: `v = momentum v + g`.
#[derive(Debug, Clone)]
struct Sgd(Live);

/// What SGD remembers of a parameter.
#[derive(Debug, Clone)]
struct Velocity<const D: usize>(Option<Tensor<D>>);

impl<const D: usize> RecordState for Velocity<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        if let Some(velocity) = &self.0 {
            out.push_tensor(prefix, "velocity", velocity.to_data());
        }
    }

    fn state_unflatten(prefix: &str, from: &mut StateSource, device: &Device) -> Option<Self> {
        let velocity = from.take_tensor(prefix, "velocity")?;
        Some(Self(Some(Tensor::from_data(velocity, device))))
    }
}

impl Update for Sgd {
    type State<const D: usize> = Velocity<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        mut tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Velocity<D>>,
    ) -> (Tensor<D>, Option<Velocity<D>>) {
        let (momentum, nesterov) = match self.0.kind {
            Optimizer::Sgd { momentum, nesterov } => (self.0.momentum.or(momentum), nesterov),
            _ => (0.0, false),
        };
        let mut velocity = state.and_then(|state| state.0);
        let sgd = burn_zoo_cpu::Sgd {
            learning_rate: lr as f32,
            momentum: momentum as f32,
            nesterov,
            weight_decay: self.0.decay as f32,
        };
        if burn_zoo_cpu::sgd_step(sgd, &mut tensor, &grad, &mut velocity) {
            return (tensor, velocity.map(|v| Velocity(Some(v))));
        }
        let grad = match self.0.decay > 0.0 {
            true => grad + tensor.clone().mul_scalar(self.0.decay),
            false => grad,
        };
        if momentum == 0.0 {
            return (tensor - grad.mul_scalar(lr), None);
        }
        let velocity = match velocity {
            Some(velocity) => velocity.mul_scalar(momentum) + grad.clone(),
            None => grad.clone(),
        };
        let step = match nesterov {
            true => grad + velocity.clone().mul_scalar(momentum),
            false => velocity.clone(),
        };
        (tensor - step.mul_scalar(lr), Some(Velocity(Some(velocity))))
    }

    fn to_device<const D: usize>(state: Velocity<D>, device: &Device) -> Velocity<D> {
        Velocity(state.0.map(|velocity| velocity.to_device(device)))
    }
}

impl Live {
    /// A step of Adam in one pass over memory: whether there is an operation for these tensors.
    fn adam_on_cpu<const D: usize>(
        &self,
        lr: f64,
        tensor: &mut Tensor<D>,
        grad: &Tensor<D>,
        state: &mut Option<AdaptiveMomentumState<D>>,
    ) -> bool {
        let step = state.as_ref().map_or(0, |state| state.time) + 1;
        let adam = burn_zoo_cpu::Adam {
            learning_rate: lr as f32,
            betas: self.betas(),
            epsilon: self.epsilon(),
            weight_decay: self.decay as f32,
            decoupled: matches!(self.kind, Optimizer::AdamW { .. } | Optimizer::Muon { .. }),
            step,
        };
        let mut moments = state.take().map(|state| [state.moment_1, state.moment_2]);
        let done = burn_zoo_cpu::adam_step(adam, tensor, grad, &mut moments);
        let time = if done { step } else { step - 1 };
        *state = moments.map(|[first, second]| AdaptiveMomentumState::new(time, first, second));
        done
    }
}

/// Adam and AdamW, which differ in their decay and their state's name.
macro_rules! adams {
    ($($name:ident => $state:ident, $build:ident;)+) => {$(
        #[derive(Debug, Clone)]
        struct $name(Live);

        impl Update for $name {
            type State<const D: usize> = burn::optim::$state<D>;

            fn step<const D: usize>(
                &self,
                lr: f64,
                mut tensor: Tensor<D>,
                grad: Tensor<D>,
                state: Option<Self::State<D>>,
            ) -> (Tensor<D>, Option<Self::State<D>>) {
                let mut momentum = state.map(|state| state.momentum);
                let done = self.0.adam_on_cpu(lr, &mut tensor, &grad, &mut momentum);
                let state = momentum.map(|momentum| burn::optim::$state { momentum });
                if done {
                    return (tensor, state);
                }
                self.0.$build().step(lr, tensor, grad, state)
            }

            fn to_device<const D: usize>(
                state: Self::State<D>,
                device: &Device,
            ) -> Self::State<D> {
                <burn::optim::$name as Update>::to_device(state, device)
            }
        }
    )+};
}

adams! {
    Adam => AdamState, adam;
    AdamW => AdamWState, adamw;
}

/// Makes a type of update whose every step goes to an optimiser of burn.
macro_rules! updates {
    ($($name:ident => $burn:ident, $build:ident;)+) => {$(
        #[derive(Debug, Clone)]
        struct $name(Live);

        impl Update for $name {
            type State<const D: usize> = <burn::optim::$burn as Update>::State<D>;

            fn step<const D: usize>(
                &self,
                lr: f64,
                tensor: Tensor<D>,
                grad: Tensor<D>,
                state: Option<Self::State<D>>,
            ) -> (Tensor<D>, Option<Self::State<D>>) {
                self.0.$build().step(lr, tensor, grad, state)
            }

            fn to_device<const D: usize>(
                state: Self::State<D>,
                device: &Device,
            ) -> Self::State<D> {
                <burn::optim::$burn as Update>::to_device(state, device)
            }
        }
    )+};
}

updates! {
    RmsProp => RmsProp, rmsprop;
    Lamb => Lamb, lamb;
    Lion => Lion, lion;
    AdaGrad => AdaGrad, adagrad;
    Adan => Adan, adan;
    Adafactor => Adafactor, adafactor;
}

/// burn's Muon takes matrices only; here whatever has more dimensions is one for it.
#[derive(Debug, Clone)]
struct Muon(Live);

impl Update for Muon {
    type State<const D: usize> = <burn::optim::Muon as Update>::State<2>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let shape = tensor.dims();
        let rows = shape[0];
        let columns = shape[1..].iter().product::<usize>();
        let (tensor, state) = self.0.muon().step(
            lr,
            tensor.reshape([rows, columns]),
            grad.reshape([rows, columns]),
            state,
        );
        (tensor.reshape(shape), state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        <burn::optim::Muon as Update>::to_device(state, device)
    }
}

/// Drops the state of some parameters.
type Forget = Box<dyn Fn(ModuleOptimizer, &[ParamId]) -> ModuleOptimizer + Send>;

/// An optimiser for one model: burn's [`ModuleOptimizer`], whose momentum a schedule may change.
pub struct ModelOptimizer {
    /// Always there but while it is being changed.
    inner: Option<ModuleOptimizer>,
    momentum: Momentum,
    forget: Forget,
}

impl ModelOptimizer {
    /// Updates the parameters that have a gradient. `rate` is a number, or burn's
    /// [`ModuleLearningRate`] with one for each group of parameters, as [`Plan`](super::Plan)
    /// makes it.
    pub fn step(
        &mut self,
        rate: impl Into<ModuleLearningRate>,
        model: Classifier,
        gradients: GradientsParams,
    ) -> Classifier {
        match &mut self.inner {
            Some(inner) => inner.step(rate, model, gradients),
            None => model,
        }
    }

    /// Sets the momentum (Adam's first beta) for the steps to come; `None` for the optimiser's own.
    pub fn set_momentum(&mut self, momentum: Option<f64>) {
        self.momentum.set(momentum);
    }

    /// How many parameters the optimiser remembers something about.
    pub fn num_states(&self) -> usize {
        self.inner
            .as_ref()
            .map_or(0, |inner| inner.to_record().len())
    }

    /// Drops the state of parameters, so that they start afresh when they train again.
    pub(crate) fn forget(&mut self, ids: &[ParamId]) {
        if let Some(inner) = self.inner.take() {
            self.inner = Some((self.forget)(inner, ids));
        }
    }

    /// Everything the optimiser remembers.
    pub(crate) fn to_bytes(&self) -> std::result::Result<Bytes, String> {
        let inner = self.inner.as_ref().ok_or("no optimiser")?;
        inner.into_bytes().map_err(|error| error.to_string())
    }

    /// Takes over what [`to_bytes`](Self::to_bytes) gave, for parameters of the same ids.
    pub(crate) fn load(&mut self, bytes: Bytes) -> std::result::Result<(), String> {
        let inner = self.inner.take().ok_or("no optimiser")?;
        self.inner = Some(inner.from_bytes(bytes).map_err(|error| error.to_string())?);
        Ok(())
    }
}
