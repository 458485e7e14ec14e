//! Adapters of low rank on the weights of a model.
//!
//! An adapter is a reparameterisation of burn's: it hangs at a parameter, whose value then is the one to
//! compute with. So no layer knows of adapters, and every walk over a model meets the weight itself and
//! behind it the two factors, by the paths `stage1.0.conv1.weight.lora.a` and `.b`.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use burn::module::{
    Module, ModuleMapper, ModuleVisitor, Param, ParamId, Reparameterization, Reparameterizer,
};
use burn::tensor::Tensor;

use super::adapt::Lora;
use super::classifier::Classifier;
use super::key_table::KeyTable;
use super::params::{self, ParamInfo};
use super::path::Path;
use crate::nn::ParamBuilder;

/// What is added to a weight: `scale · B·A`.
#[derive(Module, Debug)]
struct LowRank {
    /// `[rank, in]`.
    a: Param<Tensor<2>>,
    /// `[out, rank]`.
    b: Param<Tensor<2>>,
    scale: f64,
}

impl Reparameterization for LowRank {
    const NAME: &'static str = "lora";

    /// On the CPU kernels lie as `[k, k, in, out]`, and so does the sum: nothing as large as a weight is then
    /// brought into another order, neither here nor on the way back.
    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let (a, b) = (self.a.val(), self.b.val().mul_scalar(self.scale));
        let dims = base.dims();
        if !burn_zoo_cpu::lays_out_kernels(&base) {
            return base + b.matmul(a).reshape(dims);
        }
        let [rank, _] = a.dims();
        let a_dims: [usize; D] =
            std::array::from_fn(|axis| if axis == 0 { rank } else { dims[axis] });
        // [out, in, k, k] to [k, k, in, out], and back.
        let inward: [isize; D] = std::array::from_fn(|axis| match D - axis {
            1 => 0,
            2 => 1,
            _ => axis as isize + 2,
        });
        let outward: [isize; D] = std::array::from_fn(|axis| match axis {
            0 => D as isize - 1,
            1 => D as isize - 2,
            _ => axis as isize - 2,
        });
        let shape: [usize; D] = inward.map(|axis| dims[axis as usize]);
        let rows = shape[..D - 1].iter().product::<usize>();
        let a = a.reshape(a_dims).permute(inward).reshape([rows, rank]);
        let delta = a.matmul(b.transpose()).reshape(shape);
        (base.permute(inward) + delta).permute(outward)
    }
}

/// One of the two factors of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Factor {
    A,
    B,
}

/// The path of the weight that a parameter is a factor for, and which of the two, if it is one.
pub(crate) fn factor(path: &str) -> Option<(&str, Factor)> {
    let (weight, factor) = path.rsplit_once(".lora.")?;
    match factor {
        "a" => Some((weight, Factor::A)),
        "b" => Some((weight, Factor::B)),
        _ => None,
    }
}

/// The path of the factor that has this name, of the weight at this path.
pub(crate) fn factor_path(weight: &str, name: &str) -> String {
    format!("{weight}.lora.{name}")
}

/// Upstream's name of the layer with this weight; `None` if upstream has no tensor of its own for it.
pub(crate) fn module_name(names: &KeyTable, weight: &str) -> Option<String> {
    let name = names.name(weight);
    let module = name.strip_suffix(".weight")?;
    (!module.contains(['[', '{'])).then(|| module.to_owned())
}

/// Upstream's name of a parameter, and peft's of a factor.
pub(crate) fn upstream_name(names: &KeyTable, path: &str) -> String {
    let Some((weight, factor)) = factor(path) else {
        return names.name(path);
    };
    let name = names.name(weight);
    let module = name.strip_suffix(".weight").unwrap_or(&name);
    match factor {
        Factor::A => format!("{module}.lora_A.weight"),
        Factor::B => format!("{module}.lora_B.weight"),
    }
}

/// Outputs and inputs of a weight as a matrix.
pub(crate) fn matrix(shape: &[usize]) -> [usize; 2] {
    [shape[0], shape[1..].iter().product()]
}

/// The weights of affine layers and convolutions, in the order of the network.
pub(crate) fn affine_weights(model: &Classifier) -> Vec<ParamInfo> {
    of_fields(model, |container, field| {
        matches!(container, "Struct:Linear" | "Struct:Conv2d") && field == "weight"
    })
}

/// Scales and shifts of normalisations.
pub(super) fn norm_parameters(model: &Classifier) -> Vec<ParamInfo> {
    let norms = [
        "Struct:BatchNorm2d",
        "Struct:LayerNorm",
        "Struct:GroupNorm",
        "Struct:RmsNorm",
        "Struct:EvoNorm",
        "Struct:GlobalResponseNorm",
    ];
    let params = of_fields(model, |container, _| norms.contains(&container));
    params.into_iter().filter(|p| !p.is_buffer()).collect()
}

/// The parameters in fields of which `wanted` says so by the struct and the field.
fn of_fields(model: &Classifier, wanted: impl Fn(&str, &str) -> bool) -> Vec<ParamInfo> {
    struct Find<F> {
        path: Path,
        wanted: F,
        levels: Vec<bool>,
        found: Vec<ParamInfo>,
    }
    impl<F: Fn(&str, &str) -> bool> ModuleVisitor for Find<F> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.levels.push((self.wanted)(container_type, name));
            self.path.enter(name, container_type);
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.levels.pop();
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.levels.last() == Some(&true) {
                self.found.push(ParamInfo {
                    path: self.path.join(),
                    id: param.id,
                    shape: param.lazy_shape().to_vec(),
                });
            }
        }
    }
    let mut visitor = Find {
        path: Path::default(),
        wanted,
        levels: Vec::new(),
        found: Vec::new(),
    };
    model.visit(&mut visitor);
    visitor.found
}

impl Classifier {
    /// The adapters that the model has, if it has any: see [`with_lora`](Self::with_lora).
    pub fn lora(&self) -> Option<Lora> {
        self.info.lora
    }

    /// Folds the adapters into the weights: the same scores from a model without adapters, which is as fast
    /// as any. What trains is left as it is: the head, until something else is said.
    pub fn merge_adapters(self) -> Self {
        /// Brings kernels back into the layout that is computed with.
        struct Layout(HashSet<ParamId>);
        impl ModuleMapper for Layout {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                if self.0.contains(&param.id) {
                    param.map(burn_zoo_cpu::kernel_layout)
                } else {
                    param
                }
            }
        }
        if self.info.lora.is_none() {
            return self;
        }
        let mut layout = Layout(adapted(&self).into_iter().map(|p| p.id).collect());
        let mut model = self.materialize().map(&mut layout);
        Arc::make_mut(&mut model.info).lora = None;
        model
    }

    /// Takes the adapters away: the weights are those from before. The head stays as it is.
    pub fn without_adapters(self) -> Self {
        /// The parameters themselves, by their ids.
        struct Bases(HashMap<ParamId, Box<dyn Any>>);
        impl ModuleVisitor for Bases {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0.insert(param.id, Box::new(param.clone()));
            }
        }
        impl ModuleMapper for Bases {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let base = self.0.remove(&param.id);
                let base = base.and_then(|base| base.downcast().ok());
                base.map_or(param, |base| *base)
            }
        }
        if self.info.lora.is_none() {
            return self;
        }
        let mut bases = Bases(HashMap::new());
        self.visit(&mut bases);
        let mut model = self.materialize().map(&mut bases);
        Arc::make_mut(&mut model.info).lora = None;
        model
    }

    /// Hangs adapters at weights, by the weights' paths and with these ranks. Both factors are 0.
    pub(crate) fn attach(self, lora: Lora, ranks: &HashMap<String, usize>) -> Self {
        let weights = affine_weights(&self).into_iter();
        let ranks = weights.filter_map(|p| Some((p.id, *ranks.get(&p.path)?)));
        let attach = Attach {
            lora,
            ranks: ranks.collect(),
        };
        let mut model = self.apply_reparameterization(attach);
        Arc::make_mut(&mut model.info).lora = Some(lora);
        model
    }

    /// Hangs adapters where another model has them.
    pub(crate) fn attach_like(self, other: &Self) -> Self {
        let Some(lora) = other.info.lora else {
            return self;
        };
        let factors = params::list(other).into_iter().filter_map(|p| {
            let (weight, factor) = factor(&p.path)?;
            (factor == Factor::A).then(|| (weight.to_owned(), p.shape[0]))
        });
        self.attach(lora, &factors.collect())
    }
}

/// The weights that have an adapter.
pub(crate) fn adapted(model: &Classifier) -> Vec<ParamInfo> {
    let params = params::list(model);
    let weights: HashSet<&str> = params
        .iter()
        .filter_map(|p| factor(&p.path).map(|(weight, _)| weight))
        .collect();
    let adapted = params.iter().filter(|p| weights.contains(&*p.path));
    adapted.cloned().collect()
}

struct Attach {
    lora: Lora,
    ranks: HashMap<ParamId, usize>,
}

impl Reparameterizer for Attach {
    type Reparam = LowRank;

    fn reparameterize<const D: usize>(
        &mut self,
        _path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<LowRank>) {
        let Some(&rank) = self.ranks.get(&param.id) else {
            return (param, None);
        };
        let [outputs, inputs] = matrix(&param.lazy_shape().to_vec());
        // Where the weight is: a model may be on several devices.
        let params = ParamBuilder::new(&param.lazy_device());
        let adapter = LowRank {
            a: params.constant([rank, inputs], 0.0),
            b: params.constant([outputs, rank], 0.0),
            scale: self.lora.scale(rank),
        };
        (param, Some(adapter))
    }
}
