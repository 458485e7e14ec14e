//! What follows from a network's weights alone: computed once here, and not for each image.

use std::collections::{BTreeMap, HashMap, HashSet};

use burn::backend::Flex;
use burn::backend::capture::TensorId;
use burn::backend::ir::{
    FloatOperationIr, IrVisitorMut, NumericOperationIr, OperationIr, TensorIr, TensorStatus,
};
use burn::tensor::{TensorData, read_sync};
use burn_router::TensorInterpreter;

use super::impossible;
use super::recording::Recording;
use crate::error::Result;
use crate::panics;

/// The tensors of a network that are the same for all images.
pub struct Constants {
    known: BTreeMap<TensorId, TensorData>,
}

impl Constants {
    /// Computes the constants of a network, and leaves of its operations those that see the images and are seen in
    /// the output, in their order.
    pub fn of(recording: &mut Recording) -> Result<Self> {
        let operations = needed(recording);
        let mut known = std::mem::take(&mut recording.values);
        known.remove(&recording.input);
        let mut constant: HashSet<TensorId> = known.keys().copied().collect();
        let (mut computed, mut left) = (Vec::new(), Vec::new());
        for operation in operations {
            let has_one_shape = |tensor: &TensorIr| {
                let mut sides = recording.sides(tensor).iter();
                sides.all(|side| side.fixed().is_some())
            };
            let is_constant = !is_random(&operation)
                && operation.inputs().all(|input| constant.contains(&input.id))
                && operation.outputs().all(has_one_shape);
            if is_constant {
                constant.extend(operation.outputs().map(|output| output.id));
                computed.push(operation);
            } else {
                left.push(operation);
            }
        }
        recording.operations = left;
        let asked: HashMap<TensorId, TensorIr> = recording
            .operations
            .iter()
            .flat_map(|operation| operation.inputs())
            .filter(|input| constant.contains(&input.id) && !known.contains_key(&input.id))
            .map(|input| (input.id, read_only(input)))
            .collect();
        let results = panics::quietly(|_| true, || compute(&computed, &known, asked));
        let results = results.map_err(|(message, _)| {
            let found = message.unwrap_or_default();
            impossible("operations on weights that the CPU computes", found)
        })?;
        known.extend(results?);
        Ok(Self { known })
    }

    /// Takes the values of a constant out.
    pub fn take(&mut self, id: TensorId) -> Option<TensorData> {
        self.known.remove(&id)
    }
}

/// The operations that the output follows from, in their order.
fn needed(recording: &mut Recording) -> Vec<OperationIr> {
    let mut wanted = HashSet::from([recording.output]);
    let mut operations = std::mem::take(&mut recording.operations);
    operations.reverse();
    operations.retain(|operation| {
        let is_needed = operation
            .outputs()
            .any(|output| wanted.contains(&output.id));
        if is_needed {
            wanted.extend(operation.inputs().map(|input| input.id));
        }
        is_needed
    });
    operations.reverse();
    operations
}

fn is_random(operation: &OperationIr) -> bool {
    matches!(
        operation,
        OperationIr::Float(_, FloatOperationIr::Random(_))
            | OperationIr::NumericInt(_, NumericOperationIr::IntRandom(_))
    )
}

/// Runs operations on the CPU, and gives those of their outputs that are asked for.
fn compute(
    operations: &[OperationIr],
    known: &BTreeMap<TensorId, TensorData>,
    asked: HashMap<TensorId, TensorIr>,
) -> Result<Vec<(TensorId, TensorData)>> {
    let mut interpreter = TensorInterpreter::<Flex>::new(Default::default());
    let mut given = HashSet::new();
    for operation in operations {
        for input in operation.inputs() {
            if let Some(values) = known.get(&input.id)
                && given.insert(input.id)
            {
                interpreter.register_tensor_data_id(input.id, values.clone());
            }
        }
        let mut operation = operation.clone();
        operation.visit_mut(&mut Kept);
        interpreter.register_op(operation);
    }
    let results = asked.into_iter().map(|(id, tensor)| {
        let values = read_sync(interpreter.read_tensor_async(tensor));
        let values = values.map_err(|error| impossible("weights that can be read", error))?;
        Ok((id, values))
    });
    results.collect()
}

/// Every tensor is kept: in a run the last operation that uses one may take its memory, but here some of those
/// that use it are left out.
struct Kept;

impl IrVisitorMut for Kept {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        tensor.status = TensorStatus::ReadOnly;
    }
}

fn read_only(tensor: &TensorIr) -> TensorIr {
    TensorIr {
        status: TensorStatus::ReadOnly,
        ..tensor.clone()
    }
}
