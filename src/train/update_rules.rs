//! How each optimiser changes a parameter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::optim::AdaptiveMomentumState;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{
    AdaGradConfig, AdafactorConfig, AdamConfig, AdamWConfig, AdanConfig, LambConfig, LionConfig,
    MuonConfig, Optimizer as Update, RecordState, RmsPropConfig, StateSink, StateSource,
};
use burn::tensor::{Device, Tensor};

use super::optimizer::{Optimizer, numbers};

/// The momentum, which a schedule may change from step to step: an optimiser of burn fixes it when
/// it is made. NaN where the optimiser's own holds.
#[derive(Debug, Clone)]
pub(super) struct Momentum(Arc<AtomicU64>);

impl Default for Momentum {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(f64::NAN.to_bits())))
    }
}

impl Momentum {
    pub fn set(&self, value: Option<f64>) {
        let bits = value.unwrap_or(f64::NAN).to_bits();
        self.0.store(bits, Ordering::Relaxed);
    }

    /// The value that was set, or else the optimiser's own.
    pub fn or(&self, own: f64) -> f64 {
        let value = f64::from_bits(self.0.load(Ordering::Relaxed));
        if value.is_nan() { own } else { value }
    }
}

/// What an optimiser of burn is made from, anew for each update. That costs nothing: its state is
/// kept by the [`ModuleOptimizer`](burn::optim::ModuleOptimizer).
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub kind: Optimizer,
    pub decay: f64,
    /// Whether these are biases and their like, which never decay.
    pub is_undecayed: bool,
    pub momentum: Momentum,
}

impl Settings {
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

    pub fn rmsprop(&self) -> burn::optim::RmsProp {
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

    pub fn lamb(&self) -> burn::optim::Lamb {
        let [beta_1, beta_2] = self.betas();
        LambConfig::new()
            .with_beta_1(beta_1)
            .with_beta_2(beta_2)
            .with_weight_decay(self.decay as f32)
            // By its own norm a bias that begins at 0 would hardly move. As in timm.
            .with_use_trust_ratio(!self.is_undecayed)
            .build()
    }

    pub fn lion(&self) -> burn::optim::Lion {
        let [beta_1, beta_2] = self.betas();
        LionConfig::new()
            .with_beta_1(beta_1)
            .with_beta_2(beta_2)
            .with_weight_decay(self.decay as f32)
            .build()
    }

    pub fn adagrad(&self) -> burn::optim::AdaGrad {
        // PyTorch's epsilon.
        AdaGradConfig::new()
            .with_epsilon(1e-10)
            .with_weight_decay(self.decay())
            .build()
    }

    pub fn adan(&self) -> burn::optim::Adan {
        AdanConfig::new()
            .with_weight_decay(self.decay as f32)
            .build()
    }

    pub fn adafactor(&self) -> burn::optim::Adafactor {
        AdafactorConfig::new()
            .with_relative_step(false)
            .with_weight_decay(self.decay as f32)
            .build()
    }

    fn muon_without_momentum(&self) -> burn::optim::Muon {
        let momentum = MomentumConfig::new()
            .with_momentum(0.0)
            .with_dampening(0.0)
            .with_nesterov(false);
        MuonConfig::new()
            .with_momentum(momentum)
            .with_adjust_lr_fn(burn::optim::AdjustLrFn::MatchRmsAdamW)
            .with_weight_decay(self.decay())
            .build()
    }
}

/// SGD, whose momentum PyTorch's rule keeps: `v = momentum v + g`.
#[derive(Debug, Clone)]
pub(super) struct Sgd(pub Settings);

/// What SGD remembers of a parameter.
#[derive(Debug, Clone)]
pub(super) struct Velocity<const D: usize>(Option<Tensor<D>>);

impl<const D: usize> RecordState for Velocity<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        if let Some(velocity) = &self.0 {
            let velocity = burn_zoo_cpu::row_major(velocity.clone());
            out.push_tensor(prefix, "velocity", velocity.into_data());
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
        let grad = if self.0.decay > 0.0 {
            grad + tensor.clone().mul_scalar(self.0.decay)
        } else {
            grad
        };
        if momentum == 0.0 {
            return (tensor - grad.mul_scalar(lr), None);
        }
        let velocity = match velocity {
            Some(velocity) => velocity.mul_scalar(momentum) + grad.clone(),
            None => grad.clone(),
        };
        let step = if nesterov {
            grad + velocity.clone().mul_scalar(momentum)
        } else {
            velocity.clone()
        };
        (tensor - step.mul_scalar(lr), Some(Velocity(Some(velocity))))
    }

    fn to_device<const D: usize>(state: Velocity<D>, device: &Device) -> Velocity<D> {
        Velocity(state.0.map(|velocity| velocity.to_device(device)))
    }
}

impl Settings {
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
    ($($name:ident, $held:ident => $state:ident, $build:ident;)+) => {$(
        #[derive(Debug, Clone)]
        pub(super) struct $name(pub Settings);

        /// What burn's rule remembers of a parameter, read out as fast as a step of ours is.
        #[derive(Clone)]
        pub(super) struct $held<const D: usize>(burn::optim::$state<D>);

        impl<const D: usize> RecordState for $held<D> {
            fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
                let AdaptiveMomentumState { time, moment_1, moment_2, max_moment_2 } =
                    self.0.momentum.clone();
                let momentum = AdaptiveMomentumState {
                    time,
                    moment_1: burn_zoo_cpu::row_major(moment_1),
                    moment_2: burn_zoo_cpu::row_major(moment_2),
                    max_moment_2,
                };
                burn::optim::$state { momentum }.state_flatten(prefix, out);
            }

            fn state_unflatten(
                prefix: &str,
                from: &mut StateSource,
                device: &Device,
            ) -> Option<Self> {
                RecordState::state_unflatten(prefix, from, device).map(Self)
            }
        }

        impl Update for $name {
            type State<const D: usize> = $held<D>;

            fn step<const D: usize>(
                &self,
                lr: f64,
                mut tensor: Tensor<D>,
                grad: Tensor<D>,
                state: Option<$held<D>>,
            ) -> (Tensor<D>, Option<$held<D>>) {
                let mut momentum = state.map(|state| state.0.momentum);
                let done = self.0.adam_on_cpu(lr, &mut tensor, &grad, &mut momentum);
                let state = momentum.map(|momentum| burn::optim::$state { momentum });
                if done {
                    return (tensor, state.map($held));
                }
                let (tensor, state) = self.0.$build().step(lr, tensor, grad, state);
                (tensor, state.map($held))
            }

            fn to_device<const D: usize>(state: $held<D>, device: &Device) -> $held<D> {
                $held(<burn::optim::$name as Update>::to_device(state.0, device))
            }
        }
    )+};
}

adams! {
    Adam, HeldAdam => AdamState, adam;
    AdamW, HeldAdamW => AdamWState, adamw;
}

/// Any other optimiser of burn, made from the settings for each step.
#[derive(Debug, Clone)]
pub(super) struct Rebuilt<U> {
    pub settings: Settings,
    pub build: fn(&Settings) -> U,
}

impl<U: Update> Update for Rebuilt<U> {
    type State<const D: usize> = U::State<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<U::State<D>>,
    ) -> (Tensor<D>, Option<U::State<D>>) {
        (self.build)(&self.settings).step(lr, tensor, grad, state)
    }

    fn to_device<const D: usize>(state: U::State<D>, device: &Device) -> U::State<D> {
        U::to_device(state, device)
    }
}

/// burn's Muon takes matrices only; here whatever has more dimensions is one for it.
#[derive(Debug, Clone)]
pub(super) struct Muon(pub Settings);

/// What Muon remembers of a parameter: its velocity, in a record as a matrix and by burn's name.
#[derive(Debug, Clone)]
pub(super) struct MuonVelocity<const D: usize>(Tensor<D>);

/// Where burn's Muon has its velocity in a record.
const MUON_VELOCITY: &str = "momentum.velocity";

/// The first axis by all others.
fn matrix_shape(shape: &[usize]) -> [usize; 2] {
    [shape[0], shape[1..].iter().product()]
}

impl<const D: usize> RecordState for MuonVelocity<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        let velocity = burn_zoo_cpu::row_major(self.0.clone());
        let matrix = velocity.reshape(matrix_shape(&self.0.dims()));
        out.push_tensor(prefix, MUON_VELOCITY, matrix.into_data());
    }

    fn state_unflatten(prefix: &str, from: &mut StateSource, device: &Device) -> Option<Self> {
        let matrix = from.take_tensor(prefix, MUON_VELOCITY)?;
        let matrix = Tensor::<2>::from_data(matrix, device);
        // The parameter's shape is known to the next step only.
        let mut shape = [1; D];
        shape[0] = matrix.dims()[0];
        shape[D - 1] *= matrix.dims()[1];
        Some(Self(matrix.reshape(shape)))
    }
}

impl Update for Muon {
    type State<const D: usize> = MuonVelocity<D>;

    fn step<const D: usize>(
        &self,
        lr: f64,
        mut tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<MuonVelocity<D>>,
    ) -> (Tensor<D>, Option<MuonVelocity<D>>) {
        let shape = tensor.dims();
        let own = match self.0.kind {
            Optimizer::Muon { momentum } => momentum,
            _ => numbers::muon(),
        };
        let momentum = self.0.momentum.or(own);
        // A reshape is a copy in row-major order, even to the shape that it has.
        let mut velocity = state.map(|state| match state.0.dims() == shape {
            true => state.0,
            false => state.0.reshape(shape),
        });
        let rule = burn_zoo_cpu::Muon {
            learning_rate: lr as f32,
            momentum: momentum as f32,
            weight_decay: self.0.decay as f32,
        };
        if burn_zoo_cpu::muon_step(rule, &mut tensor, &grad, &mut velocity) {
            return (tensor, velocity.map(MuonVelocity));
        }
        let velocity = match velocity {
            Some(velocity) => velocity.mul_scalar(momentum) + grad.clone(),
            None => grad.clone(),
        };
        let direction = grad + velocity.clone().mul_scalar(momentum);
        let matrix = matrix_shape(&shape);
        let (tensor, _) = self.0.muon_without_momentum().step(
            lr,
            tensor.reshape(matrix),
            direction.reshape(matrix),
            None,
        );
        (tensor.reshape(shape), Some(MuonVelocity(velocity)))
    }

    fn to_device<const D: usize>(state: MuonVelocity<D>, device: &Device) -> MuonVelocity<D> {
        MuonVelocity(state.0.to_device(device))
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Distribution};

    use super::*;

    /// Where there is no operation of ours, as in 64 bits, burn's Muon makes the same steps.
    #[test]
    fn muon_is_the_same_with_and_without_its_operation() {
        let rule = Muon(Settings {
            kind: Optimizer::Muon { momentum: 0.9 },
            decay: 0.1,
            is_undecayed: false,
            momentum: Momentum::default(),
        });
        let device = Device::default();
        let random = || Tensor::<4>::random([12, 5, 3, 3], Distribution::Default, &device);
        let mut ours = random();
        let mut burns = ours.clone().cast(DType::F64);
        let (mut our_state, mut burns_state) = (None, None);
        for _ in 0..3 {
            let grad = random() - 0.5;
            (burns, burns_state) =
                rule.step(0.1, burns, grad.clone().cast(DType::F64), burns_state);
            (ours, our_state) = rule.step(0.1, ours, grad, our_state);
            let off = (ours.clone() - burns.clone().cast(DType::F32)).abs().max();
            let off = off.into_scalar::<f32>();
            assert!(off < 1e-4, "{off}");
        }
        let velocities = [our_state, burns_state].map(|state| state.unwrap().0.cast(DType::F32));
        let [ours, burns] = velocities;
        assert!((ours - burns).abs().max().into_scalar::<f32>() < 1e-5);
    }
}
