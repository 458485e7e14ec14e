//! Walking over a module's parameters by path.
//!
//! Paths are those of the struct fields, without the names that merely wrap: `stage1.0.conv1.weight`,
//! `head.fc.bias`. A path's first part is the prefix of its [group](crate::Group).

use std::collections::{HashMap, HashSet};

use burn::module::{Flag, Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{GradientCheckpointingStrategy, Tensor, TensorData};

use super::classifier::Classifier;
use super::host_tensor::{HostTensor, host_vec};
use super::path::Path;
use crate::error::Result;
use crate::nn::is_buffer;

/// One parameter or buffer.
#[derive(Debug, Clone)]
pub(crate) struct ParamInfo {
    pub path: String,
    pub id: ParamId,
    pub shape: Vec<usize>,
}

impl ParamInfo {
    pub fn is_buffer(&self) -> bool {
        is_buffer(&self.path)
    }

    pub fn num_elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Every parameter and buffer, in the order of the fields. Nothing lazy is initialised.
pub(crate) fn list(model: &Classifier) -> Vec<ParamInfo> {
    struct List {
        path: Path,
        params: Vec<ParamInfo>,
    }
    impl ModuleVisitor for List {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.params.push(ParamInfo {
                path: self.path.join(),
                id: param.id,
                shape: param.lazy_shape().to_vec(),
            });
        }
    }
    let mut visitor = List {
        path: Path::default(),
        params: Vec::new(),
    };
    model.visit(&mut visitor);
    visitor.params
}

/// By path: whether a parameter requires a gradient, and whether a layer's training flag is set.
/// Buffers are not among them.
pub(crate) fn training_state(model: &Classifier) -> HashMap<String, bool> {
    #[derive(Default)]
    struct State {
        path: Path,
        state: HashMap<String, bool>,
    }
    impl ModuleVisitor for State {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let path = self.path.join();
            if !is_buffer(&path) {
                self.state.insert(path, param.is_require_grad());
            }
        }
        fn visit_flag(&mut self, flag: &Param<Flag>) {
            self.state.insert(self.path.join(), flag.is_enabled());
        }
    }
    // Only on an autodiff device does a tensor say whether it requires a gradient.
    let model = model.clone().train();
    let mut visitor = State::default();
    model.visit(&mut visitor);
    visitor.state
}

/// Every value, by path.
pub(crate) fn read(model: &Classifier) -> Result<Vec<(String, HostTensor)>> {
    to_host(model, None, &|_| true)
}

/// The values of which `which` says so by their path.
pub(crate) fn read_where(
    model: &Classifier,
    which: &dyn Fn(&str) -> bool,
) -> Result<Vec<(String, HostTensor)>> {
    to_host(model, None, which)
}

/// The gradients that a backward pass left for the parameters, by path.
pub(crate) fn gradients(
    model: &Classifier,
    gradients: &GradientsParams,
) -> Result<Vec<(String, HostTensor)>> {
    to_host(model, Some(gradients), &|_| true)
}

/// The gradients that there are, or else the values.
fn to_host(
    model: &Classifier,
    gradients: Option<&GradientsParams>,
    which: &dyn Fn(&str) -> bool,
) -> Result<Vec<(String, HostTensor)>> {
    struct Read<'a> {
        path: Path,
        gradients: Option<&'a GradientsParams>,
        which: &'a dyn Fn(&str) -> bool,
        tensors: Vec<(String, HostTensor)>,
        result: Result<()>,
    }
    impl ModuleVisitor for Read<'_> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let path = self.path.join();
            if self.result.is_err() || !(self.which)(&path) {
                return;
            }
            let tensor = match self.gradients {
                Some(gradients) => gradients.get::<D>(param.id),
                None => Some(param.val()),
            };
            let Some(tensor) = tensor else {
                return;
            };
            let shape = tensor.dims().to_vec();
            let tensor = burn_zoo_cpu::row_major(tensor.without_autodiff());
            match host_vec(tensor.into_data()) {
                Ok(data) => self.tensors.push((path, HostTensor { shape, data })),
                Err(error) => self.result = Err(error),
            }
        }
    }
    let mut visitor = Read {
        path: Path::default(),
        gradients,
        which,
        tensors: Vec::new(),
        result: Ok(()),
    };
    model.visit(&mut visitor);
    visitor.result?;
    Ok(visitor.tensors)
}

/// Replaces values. `value` gets a path and a shape and answers with as many values as the shape
/// says, or with `None` to leave the parameter alone. The first error ends the walk.
pub(crate) fn write(
    model: Classifier,
    value: impl FnMut(&str, &[usize]) -> Result<Option<Vec<f32>>>,
) -> Result<Classifier> {
    struct Write<F> {
        path: Path,
        value: F,
        result: Result<()>,
    }
    impl<F: FnMut(&str, &[usize]) -> Result<Option<Vec<f32>>>> ModuleMapper for Write<F> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.exit();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if self.result.is_err() {
                return param;
            }
            let shape = param.lazy_shape();
            match (self.value)(&self.path.join(), &shape.to_vec()) {
                Ok(Some(values)) => {
                    let device = param.lazy_device();
                    let strategy = device.gradient_checkpointing_strategy();
                    let values = TensorData::new(values, shape);
                    let tensor = Tensor::from_data(values, &device.without_autodiff());
                    // Before it is part of a graph, in which it cannot be laid out.
                    let mut tensor = burn_zoo_cpu::kernel_layout(tensor);
                    if let Some(strategy) = strategy {
                        tensor = tensor
                            .autodiff()
                            .with_gradient_checkpointing_strategy(strategy);
                    }
                    let id = param.id;
                    param.transform_for_load(tensor, id)
                }
                Ok(None) => param,
                Err(error) => {
                    self.result = Err(error);
                    param
                }
            }
        }
    }
    let mut mapper = Write {
        path: Path::default(),
        value,
        result: Ok(()),
    };
    let model = model.map(&mut mapper);
    mapper.result?;
    Ok(model)
}

/// The ids of the parameters that train.
pub(crate) fn trainable_ids(model: &Classifier) -> HashSet<ParamId> {
    #[derive(Default)]
    struct Ids {
        path: Path,
        ids: HashSet<ParamId>,
    }
    impl ModuleVisitor for Ids {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad() && !is_buffer(&self.path.join()) {
                self.ids.insert(param.id);
            }
        }
    }
    let mut visitor = Ids::default();
    model.visit(&mut visitor);
    visitor.ids
}

/// Gives every parameter and buffer another id; `None` if `id` lacks one.
pub(crate) fn with_ids(
    model: Classifier,
    id: impl FnMut(&str) -> Option<ParamId>,
) -> Option<Classifier> {
    struct SetIds<F> {
        path: Path,
        id: F,
        complete: bool,
    }
    impl<F: FnMut(&str) -> Option<ParamId>> ModuleMapper for SetIds<F> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.exit();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(id) = (self.id)(&self.path.join()) else {
                self.complete = false;
                return param;
            };
            let (_, value, mapper) = param.consume();
            Param::from_mapped_value(id, value, mapper)
        }
    }
    let mut mapper = SetIds {
        path: Path::default(),
        id,
        complete: true,
    };
    let model = model.map(&mut mapper);
    mapper.complete.then_some(model)
}

/// The same model, whose activations are partly computed anew in the backward pass.
pub(crate) fn with_gradient_checkpointing(model: Classifier) -> Classifier {
    struct Strategy;
    impl ModuleMapper for Strategy {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, value, mapper) = param.consume();
            let trains = value.is_require_grad();
            let value = value
                .without_autodiff()
                .autodiff()
                .with_gradient_checkpointing_strategy(GradientCheckpointingStrategy::Balanced)
                .set_require_grad(trains);
            Param::from_mapped_value(id, value, mapper)
        }
    }
    model.map(&mut Strategy)
}

/// What shall become of a parameter's gradient, or of the training flag of a normalisation or a
/// dropout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Training {
    pub gradient: bool,
    pub flag: bool,
}

/// Sets which parameters train. `state` gets the path of a parameter, or of a flag.
pub(crate) fn set_training(model: Classifier, state: impl Fn(&str) -> Training) -> Classifier {
    struct Set<F> {
        path: Path,
        state: F,
    }
    impl<F: Fn(&str) -> Training> ModuleMapper for Set<F> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.exit();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let path = self.path.join();
            let gradient = !is_buffer(&path) && (self.state)(&path).gradient;
            param.set_require_grad(gradient)
        }
        fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
            let state = (self.state)(&self.path.join());
            flag.with_value(state.flag)
        }
    }
    let mut mapper = Set {
        path: Path::default(),
        state,
    };
    model.map(&mut mapper)
}

/// The model with the values of some groups only, named by the prefixes of their paths; all others
/// hold nothing.
pub(crate) fn only(model: Classifier, prefixes: Vec<String>) -> Classifier {
    struct Only {
        path: Path,
        prefixes: Vec<String>,
    }
    impl ModuleMapper for Only {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.exit();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let path = self.path.join();
            if self.prefixes.iter().any(|prefix| path.starts_with(prefix)) {
                return param;
            }
            let (id, value, mapper) = param.consume();
            Param::from_mapped_value(id, Tensor::zeros([0; D], &value.device()), mapper)
        }
    }
    let mut mapper = Only {
        path: Path::default(),
        prefixes,
    };
    model.map(&mut mapper)
}
